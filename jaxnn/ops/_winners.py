"""The largest element of each window, or of each part, of one axis: which it is, and the way back to it.

Each has three forms. A few taps are looked at one after the other, by all windows at once; a few parts one after the
other, each as a whole. Both are written out in the program, which is fastest as long as they are few, and takes the
compiler seconds where they are hundreds; then it is a loop over parts. The winner is the same in all: the first of
equal elements, the first NaN if there is one, and never the padding.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.ops._pooling import Parts, seen
from jaxnn.ops._windows import Axis, pad, spread, tap
from jaxnn.typing import Array

MOST_TAPS, MOST_PARTS = 64, 16
"""How many are written out: what takes half a second or one to compile, for a gradient along one axis."""


def _tap_by_tap(along: Axis) -> bool:
    """Whether windows are looked at together, and the winner is a tap, not a position of x."""
    return along.taps <= min(along.out, MOST_TAPS)


def largest(x: Array, axis: int, along: Axis) -> tuple[Array, Array]:
    """The largest element of each window along one axis, and which one it is."""
    if not _tap_by_tap(along):
        return largest_of_parts(x, axis, seen(along))
    # The first tap that is not on padding, the winner where all that a window sees of x is as low as padding, -inf.
    first = np.maximum(along.low - along.stride * np.arange(along.out), 0)
    x = pad(x, (along,), lowest(x.dtype), axis)
    y = tap(x, axis, along, 0)
    winner = lax.broadcast_in_dim(first.astype(_counter(along.taps)), y.shape, (axis,))
    for j in range(1, along.taps):
        x_j = tap(x, axis, along, j)
        larger = ~(x_j <= y) & (y == y)  # x_j > y, if a NaN is larger than any number and the first one stays
        y, winner = jnp.where(larger, x_j, y), jnp.where(larger, j, winner)
    return y, winner


def to_largest(dy: Array, winner: Array, axis: int, along: Axis) -> Array:
    """dy at the winner of each window along one axis, 0 elsewhere, summed over windows."""
    if not _tap_by_tap(along):
        return to_parts(dy, winner, axis, along.size, seen(along))
    return spread([jnp.where(winner == j, dy, 0) for j in range(along.taps)], axis, along)


def largest_of_parts(x: Array, axis: int, parts: Parts) -> tuple[Array, Array]:
    """The largest element of each part of one axis, and its position."""
    if len(parts) > MOST_PARTS:
        return _largest_in_a_loop(x, axis, parts)
    position = lax.broadcasted_iota(_counter(x.shape[axis]), x.shape, axis)
    largest, winner = [], []
    for start, end in parts:
        x_i, p = (lax.slice_in_dim(a, start, end, axis=axis) for a in (x, position))
        y_i = x_i.max(axis, keepdims=True)
        largest.append(y_i)
        # The first that equals the largest, or the first NaN, which equals nothing; an argmax takes ten times as long.
        winner.append(jnp.where((x_i == y_i) | (x_i != x_i), p, end - 1).min(axis, keepdims=True))
    return lax.concatenate(largest, axis), lax.concatenate(winner, axis)


def to_parts(dy: Array, winner: Array, axis: int, n: int, parts: Parts) -> Array:
    """dx_p = sum_i [p = winner_i] dy_i along one axis of n positions."""
    if len(parts) > MOST_PARTS:
        return _to_parts_in_a_loop(dy, winner, axis, n, parts)
    shape = (*dy.shape[:axis], n, *dy.shape[axis + 1 :])
    p = lax.broadcasted_iota(winner.dtype, shape, axis)
    dx = jnp.zeros(shape, dy.dtype)
    for i in range(dy.shape[axis]):
        winner_i, dy_i = (lax.slice_in_dim(a, i, i + 1, axis=axis) for a in (winner, dy))
        dx = dx + jnp.where(p == winner_i, dy_i, 0)
    return dx


def _largest_in_a_loop(x: Array, axis: int, parts: Parts) -> tuple[Array, Array]:
    """`largest_of_parts`, where each step takes as much of x as the longest part is, and leaves out what is not its."""
    longest, firsts, starts, ends = _spans(parts, x.shape[axis])

    def of_part(span):
        first, start, end = span
        x_i = lax.dynamic_slice_in_dim(x, first, longest, axis)
        p = first + lax.broadcasted_iota(firsts.dtype, x_i.shape, axis)
        within = (start <= p) & (p < end)
        y_i = jnp.where(within, x_i, lowest(x.dtype)).max(axis, keepdims=True)
        wins = within & ((x_i == y_i) | (x_i != x_i))
        return y_i, jnp.where(wins, p, end - 1).min(axis, keepdims=True).astype(_counter(x.shape[axis]))

    y, winner = lax.map(of_part, (firsts, starts, ends))
    return tuple(jnp.moveaxis(a.squeeze(axis + 1), 0, axis) for a in (y, winner))  # pyright: ignore[reportReturnType]


def _to_parts_in_a_loop(dy: Array, winner: Array, axis: int, n: int, parts: Parts) -> Array:
    """`to_parts`, where each step adds to as much of dx as the longest part is."""
    longest, firsts, _, _ = _spans(parts, n)

    def add(dx, part):
        first, winner_i, dy_i = part
        old = lax.dynamic_slice_in_dim(dx, first, longest, axis)
        p = first + lax.broadcasted_iota(firsts.dtype, old.shape, axis)
        more = jnp.where(p == jnp.expand_dims(winner_i.astype(p.dtype), axis), jnp.expand_dims(dy_i, axis), 0)
        return lax.dynamic_update_slice_in_dim(dx, old + more, first, axis), None

    dx = jnp.zeros((*dy.shape[:axis], n, *dy.shape[axis + 1 :]), dy.dtype)
    return lax.scan(add, dx, (firsts, *(jnp.moveaxis(a, axis, 0) for a in (winner, dy))))[0]


def _spans(parts: Parts, n: int) -> tuple[int, Array, Array, Array]:
    """How long the longest part is; where a span of that length around each part begins; and start and end of each."""
    starts, ends = np.array(parts).T
    longest = int((ends - starts).max())
    firsts = np.minimum(starts, n - longest)
    firsts, starts, ends = (jnp.asarray(a, jnp.int32) for a in (firsts, starts, ends))
    return longest, firsts, starts, ends


def lowest(dtype: Any) -> np.ndarray:
    """What no element is below, as the constant in which `lax` sees a maximum it can differentiate."""
    return np.array(-np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min, dtype)


def _counter(n: int) -> np.dtype:
    """The smallest dtype that counts from 0 to n - 1."""
    return np.min_scalar_type(n - 1)
