"""Noise that is added: each element is moved by a normal number of its own."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import values
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Key, Scalar, accumulator_dtype


def _check_gaussian_noise(x: AnyArray, deviation: Scalar, key: Any) -> None:
    del key
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because noise is added; got {x.dtype}: cast it first")
    seen = values(deviation)
    if seen is not None and not seen >= 0:
        raise ValueError(f"expected a deviation of at least 0, because it is the root of a variance; got {seen}")


@op(_check_gaussian_noise)
def gaussian_noise(x: Float[Array, "..."], deviation: Scalar, key: Key) -> Float[Array, "..."]:
    """Add normal numbers of mean 0, y = x + deviation n, n ~ N(0, 1).

    The deviation may be a tracer, and y has a derivative with respect to it: n.

    Args:
        x: Any shape.
        deviation: Of the noise.
        key: Of the noise.

    Returns:
        The shape of x.

    Raises:
        TypeError: x is not floating.
        ValueError: A concrete deviation is negative.

    >>> gaussian_noise(jnp.zeros(3), 0.5, jax.random.key(0)).round(2)
    Array([ 0.81,  1.01, -0.22], dtype=float32)

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization" (1995).
    """
    return gaussian_noise_fwd(x, deviation, key)[0]


def gaussian_noise_fwd(x, deviation, key):
    """Remember the key, of which the noise can be drawn again, and the dtype of the deviation."""
    deviation = jnp.asarray(deviation)
    return x + deviation.astype(x.dtype) * _noise(key, x), (key, shape_only(deviation))


def gaussian_noise_bwd(residuals, dy):
    """dy/dx = 1 and dy_i/d deviation = n_i, so dx = dy and d_deviation = sum_i dy_i n_i."""
    key, deviation = residuals
    wide = accumulator_dtype(dy.dtype)
    d_deviation = (dy.astype(wide) * _noise(key, dy).astype(wide)).sum()
    return dy, d_deviation.astype(deviation.dtype), None


gaussian_noise.defvjp(gaussian_noise_fwd, gaussian_noise_bwd)


def _noise(key, x):
    return jax.random.normal(key, x.shape, accumulator_dtype(x.dtype)).astype(x.dtype)
