"""Padding that repeats x: an axis that goes round, or that is mirrored at its ends.

Zeros need no memory, for a convolution steps over them. What repeats x does: `surround` puts it there, and the
windows then lie within an array that has no padding. `fold` is its transpose: what comes back to a repeated position
is added to the one it repeats.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxnn.ops._windows import REPEATING, Axes, Axis
from jaxnn.typing import Array


def surround(x: Array, axes: Axes, padding: Any) -> tuple[Array, Axes]:
    """Return x with its padding, if that repeats x, and the windows within; else x and its windows as they are.

    >>> from jaxnn.ops._windows import windows
    >>> x = jnp.arange(4).reshape(1, 4, 1)
    >>> [surround(x, windows((4,), (4,), padding=p), p)[0].ravel().tolist() for p in ("CIRCULAR", "REFLECT")]
    [[3, 0, 1, 2, 3, 0, 1], [1, 0, 1, 2, 3, 2, 1]]
    """
    if padding not in REPEATING:
        return x, axes
    for axis, along in enumerate(axes, 1):
        before, after = (
            _turned(lax.slice_in_dim(x, start, start + count, axis=axis), axis, padding)
            for start, count in _repeated(along, padding)
        )
        x = lax.concatenate([before, x, after], axis)
    return x, windows_within(axes, padding)


def windows_within(axes: Axes, padding: Any) -> Axes:
    """Return the same windows, of an array that has its padding if that is a repeating one."""
    if padding not in REPEATING:
        return axes
    return tuple(replace(a, size=a.size + a.low + a.high, low=0, high=0) for a in axes)


def fold(dx: Array, axes: Axes, padding: Any) -> Array:
    """Return the transpose of `surround`: dx_p = d_(low + p) + what came back to the repetitions of p."""
    if padding not in REPEATING:
        return dx
    for axis, along in enumerate(axes, 1):
        n, low = along.size, along.low
        ends = (0, low), (low + n, low + n + along.high)
        whole = lax.slice_in_dim(dx, low, low + n, axis=axis)
        for (start, count), end in zip(_repeated(along, padding), ends, strict=True):
            back = _turned(lax.slice_in_dim(dx, *end, axis=axis), axis, padding)
            room = [(0, 0, 0)] * dx.ndim
            room[axis] = (start, n - start - count, 0)
            whole = whole + lax.pad(back, jnp.zeros((), dx.dtype), room)
        dx = whole
    return dx


def _repeated(along: Axis, padding: str) -> Sequence[tuple[int, int]]:
    """Where the positions that are repeated before and after an axis begin, and how many they are."""
    n, low, high = along.size, along.low, along.high
    return ((n - low, low), (0, high)) if padding == "CIRCULAR" else ((1, low), (n - 1 - high, high))


def _turned(x: Array, axis: int, padding: str) -> Array:
    return lax.rev(x, (axis,)) if padding == "REFLECT" else x
