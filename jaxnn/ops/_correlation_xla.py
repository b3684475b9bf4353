"""The three bilinear maps of convolution, `_correlation.py`, as XLA's convolutions."""

import jax.numpy as jnp
from jax import lax

from jaxnn.ops._windows import Axes, Axis
from jaxnn.typing import Array


def correlate(x: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """y_qo = sum_ji x_pi w_jio: XLA's convolution, which does not turn w round either."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=[a.stride for a in axes],
        padding=[(a.low, a.high) for a in axes],
        rhs_dilation=[a.dilation for a in axes],
        dimension_numbers=_features_last(len(axes)),
        feature_group_count=groups,
    )


def transpose(y: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """x_pi = sum_jo y_qo w_jio: XLA's convolution of y, its positions s apart, with w turned round."""
    return lax.conv_general_dilated(
        y,
        turned(w, groups),
        window_strides=[1] * len(axes),
        padding=[(a.low, a.high) for a in map(Axis.turned, axes)],
        lhs_dilation=[a.stride for a in axes],
        rhs_dilation=[a.dilation for a in axes],
        dimension_numbers=_features_last(len(axes)),
        feature_group_count=groups,
    )


def weigh(x: Array, y: Array, *, axes: Axes, groups: int) -> Array:
    """w_jio = sum_q x_pi y_qo: XLA's convolution of x with y, in which examples and features change places."""
    rank = len(axes)
    exchanged = (rank + 1, 0, *range(1, rank + 1))  # where "batch", "features" and the spatial axes are
    seen = [(a.out - 1) * a.stride + 1 for a in axes]
    return lax.conv_general_dilated(
        x,
        y,
        window_strides=[a.dilation for a in axes],
        padding=[(a.low, a.reach - 1 + n - a.size - a.low) for a, n in zip(axes, seen, strict=True)],
        rhs_dilation=[a.stride for a in axes],
        dimension_numbers=lax.ConvDimensionNumbers(exchanged, exchanged, (rank, rank + 1, *range(rank))),
        batch_group_count=groups,
    )


def turned(w: Array, groups: int) -> Array:
    """w with its taps in reverse, and in every group features in and out exchanged.

    >>> turned(jnp.zeros((3, 3, 4, 6)), groups=2).shape
    (3, 3, 3, 8)
    """
    *taps, i, o = w.shape
    w = jnp.flip(w, range(len(taps))).reshape(*taps, i, groups, o // groups)
    return w.swapaxes(-1, -3).reshape(*taps, o // groups, groups * i)


def _features_last(rank: int) -> lax.ConvDimensionNumbers:
    spatial = range(1, rank + 1)
    return lax.ConvDimensionNumbers((0, rank + 1, *spatial), (rank + 1, rank, *range(rank)), (0, rank + 1, *spatial))
