"""Standardising each row by its own mean and deviation, with nothing learned.

Dimensions: `...` any shape.
"""

from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import Op
from jaxnn.typing import Array, accumulator_dtype


@Op
def standardize(
    x: Float[Array, "..."], *, axis: int | tuple[int, ...] = -1, epsilon: float = 1e-5
) -> Float[Array, "..."]:
    """Mean 0 and variance 1 along an axis, y = (x - mean) / sqrt(var + epsilon), var the biased one.

    The variance is the mean square of x - mean. JAX's is the difference of two means, which loses digits where
    the mean is large. Equal numbers give 0, to rounding, however large they are.

    Args:
        x: Any shape.
        axis: Along which mean and variance are taken.
        epsilon: Keeps the square root away from 0.

    Returns:
        The shape of x.

    >>> import jax.numpy as jnp
    >>> standardize(jnp.array([1.0, 1.0, 3.0, 3.0]), epsilon=0.0)
    Array([-1., -1.,  1.,  1.], dtype=float32)

    Source: as layer normalisation without scale and offset, Ba, Kiros and Hinton (2016).
    """
    return standardize_fwd(x, axis=axis, epsilon=epsilon)[0]


def standardize_fwd(x, *, axis: int | tuple[int, ...] = -1, epsilon=1e-5):
    """Remember y and r = 1 / sqrt(var + epsilon), one number a row."""
    mean = lambda a: a.mean(axis, keepdims=True)
    wide = x.astype(accumulator_dtype(x.dtype))
    # y is the same wherever x is shifted to. The mean of large numbers is rounded; that of what it leaves is not.
    shifted = wide - lax.stop_gradient(mean(wide))
    centred = shifted - mean(shifted)
    r = lax.rsqrt(mean(centred * centred) + epsilon)
    y = (centred * r).astype(x.dtype)
    return y, (y, r)


def standardize_bwd(residuals, dy, *, axis: int | tuple[int, ...] = -1, epsilon=1e-5):
    """With dvar/dx_j = 2 (x_j - mean) / n, dx = r (dy - mean(dy) - y mean(dy y))."""
    del epsilon
    y, r = residuals
    wide, y = dy.astype(r.dtype), y.astype(r.dtype)
    mean = lambda a: a.mean(axis, keepdims=True)
    return ((r * (wide - mean(wide) - y * mean(wide * y))).astype(dy.dtype),)


standardize.defvjp(standardize_fwd, standardize_bwd)
