"""What optimizers that find their learning rate on the way share: numbers taken over all parameters at once."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.optim._arithmetic import widest
from jaxnn.optim._inner_product import number_dtype
from jaxnn.optim._learning_rate import LearningRate
from jaxnn.typing import Array, Scalar


def total(a: Any) -> Array:
    """The sum of |a| over all leaves, with derivative 0 at 0."""
    dtype = number_dtype(a)
    return sum((jnp.sum(jnp.abs(x.astype(dtype))) for x in jax.tree.leaves(a)), start=jnp.zeros((), dtype))


def difference(a: Any, b: Any) -> Any:
    """a - b leaf by leaf, in float32 at least, where both are equal exactly 0."""

    def minus(x, y):
        wide = widest(x, y)
        return x.astype(wide) - y.astype(wide)

    return jax.tree.map(minus, a, b)


def ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 with derivative 0 where b is 0."""
    some = b != 0
    return jnp.where(some, a / jnp.where(some, b, 1), 0)


def narrowest(params: Any) -> Any:
    """Return the narrowest dtype of the leaves, in which optax keeps numbers that concern all of them."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
    return min(dtypes, key=lambda dtype: jnp.finfo(dtype).bits, default=jnp.result_type(float))


def copied(params: Any) -> Any:
    """Return arrays of their own, so that parameters and state may both be donated to a compiled step."""
    return jax.tree.map(jnp.copy, params)


def rate_at(learning_rate: LearningRate, count: Array, dtype: Any) -> Array:
    """Return the learning rate at a count of steps, whether it is a schedule or not."""
    return jnp.asarray(learning_rate(count) if callable(learning_rate) else learning_rate, dtype)


def check_params(params: Any, because: str) -> None:
    """Raise an error for parameters that were not given.

    >>> check_params(None, "weights fade")
    Traceback (most recent call last):
        ...
    ValueError: expected params, because weights fade; got None: call update(updates, state, params)
    """
    if params is None:
        raise ValueError(f"expected params, because {because}; got None: call update(updates, state, params)")


def check_positive(because: str, **numbers: Scalar | None) -> None:
    """Raise an error for numbers that can be seen and are not above 0; `None` passes.

    >>> check_positive("estimates only grow from it", estim_lr0=0.0)
    Traceback (most recent call last):
        ...
    ValueError: expected estim_lr0 above 0, because estimates only grow from it; got 0.0
    """
    for name, number in numbers.items():
        seen = values(number)
        if seen is not None and not (seen > 0).all():
            raise ValueError(f"expected {name} above 0, because {because}; got {number}")
