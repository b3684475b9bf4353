"""Normalisation of each position over its own features, which needs no batch.

Dimensions: `features` the last axis; all others, `...`, are positions that do not see each other.
"""

from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._scale_and_offset import Features, check_features, scaled_and_offset, scaled_and_offset_bwd
from jaxnn.ops._standardize import standardize_bwd, standardize_fwd
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_layer_norm(x: AnyArray, scale: AnyArray | None, offset: AnyArray | None, *, epsilon: float = 1e-5) -> None:
    check_features(x, scale, offset, epsilon=epsilon)
    if x.shape[-1:] in ((), (1,)):
        raise ShapeError(
            "x of shape (..., features) with more than one of them",
            why="a single number less its mean is 0",
            got=tuple(x.shape),
        )


@op(_check_layer_norm)
def layer_norm(
    x: Float[Array, "... features"], scale: Features | None, offset: Features | None, *, epsilon: float = 1e-5
) -> Float[Array, "... features"]:
    """Normalise each position over its features, y = scale x^ + offset with x^ = (x - mean) / sqrt(var + epsilon).

    mean and var are those of the features of one position of one example, so that nothing else in the batch matters.
    var is the biased one, divided by the number of features. Statistics are computed centred and in float32 at least.

    Args:
        x: Input, `(..., features)`.
        scale: `(features,)`, the paper's gain, or `None` for 1.
        offset: `(features,)`, the paper's bias, or `None` for 0.
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6, Keras 1e-3.

    Returns:
        The shape of x.

    Raises:
        ShapeError: scale or offset does not fit, or there is only one feature.

    >>> import jax.numpy as jnp
    >>> layer_norm(jnp.array([[1.0, 1.0, 3.0, 3.0]]), jnp.full(4, 2.0), jnp.ones(4), epsilon=0.0)
    Array([[-1., -1.,  3.,  3.]], dtype=float32)

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """
    return layer_norm_fwd(x, scale, offset, epsilon=epsilon)[0]


def layer_norm_fwd(x, scale, offset, *, epsilon=1e-5):
    """Remember x^, and 1 / sqrt(var + epsilon), one number a position."""
    normal, (_, r) = standardize_fwd(x.astype(accumulator_dtype(x.dtype)), epsilon=epsilon)
    residuals = normal.astype(x.dtype), r, scale, None if offset is None else shape_only(offset)
    return scaled_and_offset(normal, scale, offset).astype(x.dtype), residuals


def layer_norm_bwd(residuals, dy, *, epsilon=1e-5):
    """The backward of scale and offset gives d^, the cotangent of x^; that of `standardize` makes dx of it."""
    normal, r, scale, offset = residuals
    d_normal, d_scale, d_offset = scaled_and_offset_bwd(normal, scale, offset, dy.astype(r.dtype))
    (dx,) = standardize_bwd((normal, r), d_normal, epsilon=epsilon)
    return dx.astype(dy.dtype), d_scale, d_offset


layer_norm.defvjp(layer_norm_fwd, layer_norm_bwd, install=True)


@op(check_features)
def rms_norm(
    x: Float[Array, "... features"], scale: Features | None, *, epsilon: float = 1e-6
) -> Float[Array, "... features"]:
    """Divide each position by the root mean square of its features, y = scale x^, x^ = x / sqrt(mean(x^2) + epsilon).

    It is `layer_norm` without the mean: what x is multiplied by does not matter, but where it is centred does.
    Squares are averaged in float32 at least.

    Args:
        x: Input, `(..., features)`.
        scale: `(features,)`, the paper's gain, or `None` for 1.
        epsilon: Keeps the square root away from 0. As in flax and Keras; PyTorch has the resolution of x's dtype.

    Returns:
        The shape of x.

    Raises:
        ShapeError: scale does not fit.

    >>> import jax.numpy as jnp
    >>> rms_norm(jnp.array([[1.0, 7.0, 5.0, 5.0]]), None, epsilon=0.0)
    Array([[0.2, 1.4, 1. , 1. ]], dtype=float32)

    Source: Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """
    return rms_norm_fwd(x, scale, epsilon=epsilon)[0]


def rms_norm_fwd(x, scale, *, epsilon=1e-6):
    """Remember x^, and r = 1 / sqrt(mean(x^2) + epsilon), one number a position."""
    wide = x.astype(accumulator_dtype(x.dtype))
    r = lax.rsqrt((wide * wide).mean(-1, keepdims=True) + epsilon)
    normal = wide * r
    return scaled_and_offset(normal, scale, None).astype(x.dtype), (normal.astype(x.dtype), r, scale)


def rms_norm_bwd(residuals, dy, *, epsilon=1e-6):
    """With dr/dx_j = -r^3 x_j / n = -r^2 x^_j / n, and d^ = dy scale the cotangent of x^ = x r:

    dx_j = d^_j r + sum_i d^_i x_i dr/dx_j = r (d^_j - x^_j mean(d^ x^)).
    """
    del epsilon
    normal, r, scale = residuals
    d_normal, d_scale, _ = scaled_and_offset_bwd(normal, scale, None, dy.astype(r.dtype))
    normal = normal.astype(r.dtype)
    dx = r * (d_normal - normal * (d_normal * normal).mean(-1, keepdims=True))
    return dx.astype(dy.dtype), d_scale


rms_norm.defvjp(rms_norm_fwd, rms_norm_bwd)
