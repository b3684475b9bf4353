"""The length of a tree of arrays, taken as one vector."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import widest
from jaxnn.typing import Array


def global_norm(updates: Any) -> Array:
    """Return sqrt(sum of the squares of all leaves), in float32 at least; its derivative at 0 is 0.

    Squares of numbers beyond 1.8e19 are infinite in float32, and so is the norm of them.

    Args:
        updates: A tree of arrays; a tree without any has norm 0.

    >>> global_norm({"w": jnp.array([[3.0]]), "b": jnp.array([4.0])})
    Array(5., dtype=float32)
    """
    leaves = jax.tree.leaves(updates)
    wide = widest(*leaves) if leaves else jnp.float32
    return length(sum((jnp.square(x.astype(wide)).sum() for x in leaves), start=jnp.zeros((), wide)))


def length(square: Array) -> Array:
    """sqrt(square) of a sum of squares, with derivative 0 at 0. That of NaN is NaN, for no bound must hide it."""
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))
