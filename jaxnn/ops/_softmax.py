"""Activations of a whole row at once: softmax and its logarithm, and what makes a row one of probabilities.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float

from jaxnn.ops._op import Op
from jaxnn.typing import Array, accumulator_dtype


@Op
def softmax(
    x: Float[Array, "..."], *, axis: int | tuple[int, ...] = -1, where: Array | None = None
) -> Float[Array, "..."]:
    """Positive numbers with sum 1 along an axis, y_i = exp(x_i) / sum_j exp(x_j).

    The largest x is subtracted first, which changes no y and keeps every exponential finite. An x of minus
    infinity gives a y of 0; a row of nothing else, or with plus infinity in it, is NaN.

    Args:
        x: Any shape.
        axis: Along which the sum is 1.
        where: Which x there are, bools of the shape of x, or of one that broadcasts to it; the others have a y of
            0. If there are none in a row, it is all 0.

    Returns:
        The shape of x.

    >>> softmax(jnp.array([1.0, 2.0, 3.0]))
    Array([0.09003057, 0.24472848, 0.66524094], dtype=float32)
    >>> softmax(jnp.array([1.0, 1.0, 3.0]), where=jnp.array([True, True, False]))
    Array([0.5, 0.5, 0. ], dtype=float32)

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    shifted, total = _shifted_and_total(x, axis, where)
    return jnp.exp(shifted) / total


def softmax_fwd(x, *, axis=-1, where=None):
    """Remember y, for the derivative is a function of it."""
    y = softmax.plain(x, axis=axis, where=where)
    return y, y


def softmax_bwd(y, dy, *, axis=-1, where=None):
    """dy_i/dx_j = y_i ([i = j] - y_j), so dx_j = y_j (dy_j - sum_i dy_i y_i); where y_j is 0 so is dx_j."""
    del where
    return (y * (dy - (dy * y).sum(axis, keepdims=True)),)


softmax.defvjp(softmax_fwd, softmax_bwd)


@Op
def log_softmax(
    x: Float[Array, "..."], *, axis: int | tuple[int, ...] = -1, where: Array | None = None
) -> Float[Array, "..."]:
    """Logarithm of the softmax, y_i = x_i - log sum_j exp(x_j), finite for every finite x.

    Args:
        x: Any shape.
        axis: Along which the probabilities have the sum 1.
        where: Which x there are, as in `softmax`; the others have a y of minus infinity.

    Returns:
        The shape of x.

    >>> log_softmax(jnp.array([0.0, 1000.0]))
    Array([-1000.,     0.], dtype=float32)

    Source: Bridle (1990).
    """
    shifted, total = _shifted_and_total(x, axis, where)
    y = shifted - jnp.log(total)
    # Or JAX would give what comes back to minus infinity to the others.
    return y if where is None else jnp.where(where, y, -jnp.inf)


def log_softmax_fwd(x, *, axis=-1, where=None):
    """Remember y, for the derivative is a function of it."""
    y = log_softmax.plain(x, axis=axis, where=where)
    return y, y


def log_softmax_bwd(y, dy, *, axis=-1, where=None):
    """dy_i/dx_j = [i = j] - exp(y_j), so dx_j = dy_j - exp(y_j) sum_i dy_i, over those that there are."""
    if where is not None:
        dy = jnp.where(where, dy, 0)
    return (dy - jnp.exp(y) * dy.sum(axis, keepdims=True),)


log_softmax.defvjp(log_softmax_fwd, log_softmax_bwd)


def _shifted_and_total(x, axis, where):
    """Each x less the largest, minus infinity where there is none, and the sum of exponentials of these."""
    if where is None:
        shifted = x - lax.stop_gradient(x.max(axis, keepdims=True))
        return shifted, jnp.exp(shifted).sum(axis, keepdims=True)
    where = jnp.broadcast_to(where, x.shape)
    largest = x.max(axis, keepdims=True, initial=-jnp.inf, where=where)
    shifted = jnp.where(where, x - lax.stop_gradient(largest), -jnp.inf)
    none = ~where.any(axis, keepdims=True)
    return shifted, jnp.where(none, 1, jnp.exp(shifted).sum(axis, keepdims=True))


def is_probability_vector(
    p: Float[Array, "..."], *, axis: int | tuple[int, ...] = -1, tolerance: float = 1e-3
) -> Bool[Array, "..."]:
    """Say of each row whether it could be the output of a softmax: all in 0 to 1, with the sum 1.

    Args:
        p: Any shape.
        axis: Along which the sum is taken.
        tolerance: How far from 1 the sum may be. NaN is never within it.

    Returns:
        The shape of p without the axis.

    >>> is_probability_vector(jnp.array([[0.2, 0.7, 0.1], [0.2, 0.7, 0.2], [1.2, -0.1, -0.1]]))
    Array([ True, False, False], dtype=bool)
    """
    inside = ((p >= 0) & (p <= 1)).all(axis)
    return inside & (jnp.abs(p.sum(axis, dtype=accumulator_dtype(p.dtype)) - 1) <= tolerance)
