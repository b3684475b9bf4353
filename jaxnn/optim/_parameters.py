"""Parameters as a whole: their copies, the way between two of them, and the dtype of numbers about all of them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import widest


def difference(a: Any, b: Any) -> Any:
    """a - b leaf by leaf, in float32 at least, where both are equal exactly 0."""

    def minus(x, y):
        wide = widest(x, y)
        return x.astype(wide) - y.astype(wide)

    return jax.tree.map(minus, a, b)


def narrowest(params: Any) -> Any:
    """Return the narrowest dtype of the leaves, real, in which optax keeps numbers that concern all of them."""
    dtypes = [jnp.dtype(jnp.finfo(leaf.dtype).dtype) for leaf in jax.tree.leaves(params)]
    return min(dtypes, key=lambda dtype: dtype.itemsize, default=jnp.result_type(float))


def copied(params: Any) -> Any:
    """Return arrays of their own, so that parameters and state may both be donated to a compiled step."""
    return jax.tree.map(jnp.copy, params)
