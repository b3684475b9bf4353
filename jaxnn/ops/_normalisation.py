"""Normalisation of activations by their own statistics.

Dimensions: `features` the last axis; all others, `...`, are what statistics are taken over.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._scale_and_offset import Features, check_features
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_batch_norm(x: AnyArray, scale: AnyArray | None, offset: AnyArray | None, *, epsilon: float = 1e-5) -> None:
    check_features(x, scale, offset)
    if x.size == 0:
        raise ShapeError("at least one example", why="training normalises by the batch's own mean", got=tuple(x.shape))


@op(_check_batch_norm)
def batch_norm(
    x: Float[Array, "... features"], scale: Features | None, offset: Features | None, *, epsilon: float = 1e-5
) -> tuple[Float[Array, "... features"], Features, Features]:
    """Normalise each feature over the batch, y = scale x^ + offset with x^ = (x - mean) / sqrt(var + epsilon).

    mean and var are those of this batch, per feature, over every other axis. var is the biased one
    (divided by n); so are the running statistics that a layer keeps of it, as in flax and Keras; PyTorch
    keeps the unbiased one. Statistics are computed centred and in float32 at least.

    Args:
        x: Input, `(..., features)`.
        scale: `(features,)`, the paper's gamma, or `None` for 1.
        offset: `(features,)`, the paper's beta, or `None` for 0.
        epsilon: Keeps the square root away from 0. Keras's default is 1e-3.

    Returns:
        y, mean and var.

    Raises:
        ShapeError: scale or offset does not fit, or the batch is empty.

    >>> y, mean, var = batch_norm(jnp.array([[1.0], [2.0], [3.0], [4.0]]), None, None, epsilon=0.0)
    >>> y[:, 0], mean, var
    (Array([-1.3416407, -0.4472136,  0.4472136,  1.3416407], dtype=float32),
     Array([2.5], dtype=float32), Array([1.25], dtype=float32))

    Source: Ioffe and Szegedy, "Batch normalization" (2015), with the square root of the variance.
    """
    (y, mean, var), _ = batch_norm_fwd(x, scale, offset, epsilon=epsilon)
    return y, mean, var


def batch_norm_fwd(x, scale, offset, *, epsilon=1e-5):
    """Remember x^ and 1 / sqrt(var + epsilon): with them the backward needs no statistics again."""
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(accumulator_dtype(x.dtype))
    mean = wide.mean(axes)
    centred = wide - jnp.broadcast_to(mean, x.shape)
    var = (centred * centred).mean(axes)
    r = lax.rsqrt(var + epsilon)
    normal = (centred * jnp.broadcast_to(r, x.shape)).astype(x.dtype)
    residuals = normal, r, scale, None if offset is None else shape_only(offset)
    return (_scale_and_offset(normal, scale, offset), mean, var), residuals


def batch_norm_bwd(residuals, d_out, *, epsilon=1e-5):
    """With n examples, r = 1 / sqrt(var + epsilon) and d^ = dy scale, the cotangent of x^:

    x^ depends on x directly, through the mean and through var, which together give
    dx = r (d^ - mean(d^) - x^ mean(d^ x^)). The outputs mean and var add dmean / n + dvar 2 (x - mean) / n.
    """
    del epsilon
    (normal, r, scale, offset), (dy, d_mean, d_var) = residuals, d_out
    axes = tuple(range(dy.ndim - 1))
    n = math.prod(dy.shape[:-1])
    dtype, dy, normal = dy.dtype, dy.astype(r.dtype), normal.astype(r.dtype)
    d_offset = dy.sum(axes)
    d_scale = (dy * normal).sum(axes)
    gain = r if scale is None else r * scale.astype(r.dtype)

    def wide(feature):
        return jnp.broadcast_to(feature.astype(r.dtype), dy.shape)

    dx = wide(gain) * (dy - wide(d_offset) / n - normal * (wide(d_scale) / n))
    if d_mean is not None:
        dx = dx + wide(d_mean) / n
    if d_var is not None:
        dx = dx + wide(d_var) * 2 * normal / (wide(r) * n)
    return (
        dx.astype(dtype),
        None if scale is None else d_scale.astype(scale.dtype),
        None if offset is None else d_offset.astype(offset.dtype),
    )


batch_norm.defvjp(batch_norm_fwd, batch_norm_bwd, install=True)


@op(check_features)
def normalise(
    x: Float[Array, "... features"],
    mean: Features,
    var: Features,
    scale: Features | None,
    offset: Features | None,
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "... features"]:
    """Normalise each feature by given statistics, y = scale (x - mean) / sqrt(var + epsilon) + offset.

    What batch normalisation does in inference, where the statistics are running averages.

    >>> one = jnp.array([1.0])
    >>> normalise(jnp.array([[3.0]]), one, 4 * one, one, 2 * one, epsilon=0.0)
    Array([[3.]], dtype=float32)

    Source: Ioffe and Szegedy, "Batch normalization" (2015), algorithm 2.
    """
    return normalise_fwd(x, mean, var, scale, offset, epsilon=epsilon)[0]


def normalise_fwd(x, mean, var, scale, offset, *, epsilon=1e-5):
    """Remember x^ and 1 / sqrt(var + epsilon)."""
    r = lax.rsqrt(var + epsilon)
    centred = x.astype(r.dtype) - jnp.broadcast_to(mean, x.shape)
    normal = (centred * jnp.broadcast_to(r, x.shape)).astype(x.dtype)
    residuals = normal, r, scale, None if offset is None else shape_only(offset)
    return _scale_and_offset(normal, scale, offset), residuals


def normalise_bwd(residuals, dy, *, epsilon=1e-5):
    """With r = 1 / sqrt(var + epsilon), x^ = (x - mean) r and g = r scale:

    dx = dy g; d_mean = -sum dy g; and dr/dvar = -r^3 / 2, so d_var = -r^2 / 2 sum dy scale x^.
    """
    del epsilon
    normal, r, scale, offset = residuals
    axes = tuple(range(dy.ndim - 1))
    dtype, dy, normal = dy.dtype, dy.astype(r.dtype), normal.astype(r.dtype)
    d_offset = dy.sum(axes)
    d_scale = (dy * normal).sum(axes)
    gain = r if scale is None else r * scale.astype(r.dtype)
    dx = (dy * jnp.broadcast_to(gain, dy.shape)).astype(dtype)
    d_mean = -gain * d_offset
    d_var = -gain * r * d_scale / 2
    d_scale = None if scale is None else d_scale.astype(scale.dtype)
    return dx, d_mean, d_var, d_scale, None if offset is None else d_offset.astype(offset.dtype)


normalise.defvjp(normalise_fwd, normalise_bwd)


def _scale_and_offset(normal, scale, offset):
    y = normal if scale is None else normal * jnp.broadcast_to(scale, normal.shape)
    return y if offset is None else y + jnp.broadcast_to(offset, normal.shape)
