"""The size of one leaf, which is no less than a least one."""

import jax.numpy as jnp

from jaxnn.optim._arithmetic import root
from jaxnn.optim._global_norm import global_norm
from jaxnn.typing import Array, Scalar, accumulator_dtype


def leaf_norm(x: Array, least: Scalar) -> Array:
    """Return max(sqrt(sum(x^2)), least), in float32 at least; where it is `least`, it does not change with x.

    >>> leaf_norm(jnp.array([3.0, 4.0]), 1.0), leaf_norm(jnp.array([0.3, 0.4]), 1.0)
    (Array(5., dtype=float32), Array(1., dtype=float32))
    """
    return _from(least, global_norm(x))


def leaf_rms(x: Array, least: Scalar) -> Array:
    """Return max(sqrt(mean(x^2)), least), in float32 at least; that of a leaf without numbers is `least`.

    >>> leaf_rms(jnp.array([1.0, 7.0]), 1.0), leaf_rms(jnp.zeros((0, 3)), 1.0)
    (Array(5., dtype=float32), Array(1., dtype=float32))
    """
    square = jnp.square(x.astype(accumulator_dtype(x.dtype))).sum()
    return _from(least, root(square / max(x.size, 1)))


def _from(least: Scalar, size: Array) -> Array:
    least = jnp.asarray(least, size.dtype)
    return jnp.where(size <= least, least, size)  # a size that is NaN stays
