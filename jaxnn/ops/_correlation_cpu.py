"""Convolution on a CPU: which form of its three bilinear maps is the fastest.

XLA's convolutions on a CPU are often slow, and the one that weighs is many times slower still inside a loop, where a
training run lives. So they are products of matrices, of one kind or another, wherever these are faster.
`benchmarks/conv_ops.py` measures them, and `benchmarks/NOTES.md` tells how the choices were found.

The functions are those of `_correlation.py`, with its indices x_pi, y_qo and w_jio.
"""

import math

from jaxnn.ops import _correlation_groups as groupwise
from jaxnn.ops import _correlation_products as products
from jaxnn.ops import _correlation_winograd as winograd
from jaxnn.ops import _correlation_xla as xla
from jaxnn.ops._windows import Axes, Axis
from jaxnn.typing import Array, accumulator_dtype

WIDE, MANY = 32, 2**17
"""From how many features, and how many numbers of features in, out and windows, Winograd's form correlates faster."""

THIN = 8
"""Features below which windows side by side are copied in too small pieces."""


def correlate(x: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """y_qo = sum_ji x_pi w_jio."""
    *_, i, o = w.shape
    if i == 1:
        return groupwise.correlate_each(x, w, axes=axes, groups=groups)
    if groups > 1:
        return groupwise.in_groups(correlate, x, w, axes=axes, groups=groups)
    if _winograd_correlates_faster(x, w, axes):
        return winograd.correlate(x, w, axes=axes)
    # XLA wins for thin features, few windows, one axis, and in two axes many or distant taps; in a loop too.
    many = math.prod(a.taps for a in axes) > 9 or any(a.dilation > 1 for a in axes)
    if min(i, o) < THIN or math.prod(a.out for a in axes) < 36 or len(axes) == 1 or (len(axes) == 2 and many):
        return xla.correlate(x, w, axes=axes, groups=1)
    return products.correlate(x, w, axes=axes)


def transpose(y: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """x_pi = sum_jo y_qo w_jio."""
    if all(a.stride == 1 for a in axes):
        turned = tuple(map(Axis.turned, axes))
        if groups == 1 and _winograd_correlates_faster(y, w, turned):
            return winograd.transpose(y, w, axes=axes)
        return correlate(y, xla.turned(w, groups), axes=turned, groups=groups)
    if w.shape[-2] == 1:
        return groupwise.transpose_each(y, w, axes=axes, groups=groups)
    if groups > 1:
        return groupwise.in_groups(transpose, y, w, axes=axes, groups=groups)
    return products.transpose(y, w, axes=axes)


def weigh(x: Array, y: Array, *, axes: Axes, groups: int) -> Array:
    """w_jio = sum_q x_pi y_qo."""
    i, o = x.shape[-1] // groups, y.shape[-1] // groups
    if i == 1 and groups > 1:
        return groupwise.weigh_each(x, y, axes=axes, groups=groups)
    if groups > 1:
        return groupwise.weigh_in_groups(weigh, x, y, axes=axes, groups=groups)
    if _is_for_winograd(x, axes) and min(i, o) >= THIN:
        return winograd.weigh(x, y, axes=axes)
    return products.weigh(x, y, axes=axes)


def _winograd_correlates_faster(x: Array, w: Array, axes: Axes) -> bool:
    *_, i, o = w.shape
    many = i * o * math.prod(a.out for a in axes) >= MANY
    return _is_for_winograd(x, axes) and min(i, o) >= WIDE and many


def _is_for_winograd(x: Array, axes: Axes) -> bool:
    """Whether its windows are these, and x precise enough to be added up before it is multiplied."""
    return winograd.filters(axes[-1]) and x.dtype == accumulator_dtype(x.dtype)
