"""The inner product of two trees, and what dtype numbers about a whole tree have."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import widest
from jaxnn.typing import Array


def number_dtype(tree: Any) -> Any:
    """Return the dtype of a number about all leaves: the widest of theirs, and float32 at least.

    >>> import jax.numpy as jnp
    >>> number_dtype({"w": jnp.zeros(2, jnp.bfloat16)})
    dtype('float32')
    """
    leaves = jax.tree.leaves(tree)
    return widest(*leaves) if leaves else jnp.dtype(jnp.float32)


def inner_product(x: Any, y: Any) -> Array:
    """Return the sum over all leaves of x . y, in float32 at least; leaves that are `None` in both count nothing.

    >>> inner_product({"w": jnp.array([1.0, 2.0]), "b": None}, {"w": jnp.array([3.0, 4.0]), "b": None})
    Array(11., dtype=float32)
    """
    dtype = number_dtype((x, y))
    products = jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a.astype(dtype) * b.astype(dtype)), x, y))
    return functools.reduce(operator.add, products, jnp.zeros((), dtype))
