"""A scale and an offset for each feature, with which every normalisation ends, y = scale x^ + offset.

Dimensions: `features` the last axis.
"""

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.typing import AnyArray, Array

Features = Float[Array, " features"]


def check_features(x: AnyArray, *per_feature: AnyArray | None, epsilon: float = 1e-5) -> None:
    """Raise an error unless x is floating and there is one scale, offset or statistic for each of its features."""
    del epsilon
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because it is divided by a deviation; got {x.dtype}: cast it first")
    for p in per_feature:
        if p is not None and p.shape != x.shape[-1:]:
            raise ShapeError(
                f"x of shape (..., {p.shape[0] if p.ndim else 1})",
                why=f"scale, offset and statistics are {tuple(p.shape)}",
                got=tuple(x.shape),
            )


def scaled_and_offset(normal, scale, offset):
    """Return y = scale x^ + offset in the dtype of x^; scale and offset may be `None`."""
    wide = lambda p: jnp.broadcast_to(p.astype(normal.dtype), normal.shape)
    y = normal if scale is None else normal * wide(scale)
    return y if offset is None else y + wide(offset)


def scaled_and_offset_bwd(normal, scale, offset, dy):
    """With y_nf = scale_f x^_nf + offset_f, and the axes before the last folded into one, n:

    d^_nf = dy_nf scale_f, d_scale_f = sum_n dy_nf x^_nf, d_offset_f = sum_n dy_nf. Sums are in the dtype of dy.
    """
    axes = tuple(range(dy.ndim - 1))
    d_normal = dy if scale is None else dy * jnp.broadcast_to(scale.astype(dy.dtype), dy.shape)
    d_scale = None if scale is None else (dy * normal.astype(dy.dtype)).sum(axes).astype(scale.dtype)
    d_offset = None if offset is None else dy.sum(axes).astype(offset.dtype)
    return d_normal, d_scale, d_offset
