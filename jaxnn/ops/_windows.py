"""Sliding windows: where they lie along an axis, and how data moves between the axis and its windows.

Along one axis of n positions a window of k taps moves with a stride s, and its taps lie d (the dilation) apart.
With `low` and `high` positions of padding before and after the n, tap j of window q lies at position

    p = s q + d j - low,    q = 0 ... out - 1,    out = floor((n + low + high - d (k - 1) - 1) / s) + 1.

Convolution and pooling, forward and backward, are made of two moves: `tap` brings what all windows see at their
tap j side by side, and `spread` puts it back where it came from, adding where windows overlap. Each is the
transpose of the other. Neither needs a gather, a scatter or a dilated array.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, SupportsIndex, TypeAlias, get_args

import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError
from jaxnn.ops._settings import static
from jaxnn.typing import Array

Each: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
"""One whole number for all spatial axes, or one for each."""

NamedPadding: TypeAlias = Literal["SAME", "SAME_LOWER", "VALID", "CAUSAL", "CIRCULAR", "REFLECT"]
Padding: TypeAlias = NamedPadding | SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]]
"""`"SAME"`: as much that out = ceil(n / s), the odd one after, or with `"SAME_LOWER"` before; `"VALID"`: none;
`"CAUSAL"`: only before, so that no window sees what comes after it; or as many positions as these, for each axis or
for each of its ends. All these are zeros. `"CIRCULAR"` and `"REFLECT"` repeat x, so that out = ceil(n / s)."""

REPEATING = ("CIRCULAR", "REFLECT")
"""The paddings that are not zeros but positions of x again: see `_edges.py`."""


@dataclass(frozen=True)
class Axis:
    """The windows along one axis."""

    size: int  # n, positions without padding
    taps: int  # k
    stride: int  # s
    dilation: int  # d
    low: int  # positions of padding before
    high: int  # positions of padding after

    @property
    def out(self) -> int:
        """Number of windows."""
        return (self.size + self.low + self.high - self.reach) // self.stride + 1

    @property
    def reach(self) -> int:
        """Positions from a window's first tap to its last, both included."""
        return self.dilation * (self.taps - 1) + 1

    def turned(self) -> "Axis":
        """Return the windows of positions over windows: those that take y back to x, with w turned round.

        Where windows lie a stride apart, so do the positions of y; in between is nothing.
        """
        wide = (self.out - 1) * self.stride + 1
        low = self.reach - 1 - self.low
        return Axis(wide, self.taps, 1, self.dilation, low, self.size - 1 - wide + self.reach - low)


Axes = tuple[Axis, ...]
"""The windows along every spatial axis."""


def per_axis(setting: Each, rank: int, name: str, *, least: int = 1) -> tuple[int, ...]:
    """Return one number for each of `rank` axes, given that or one number for all.

    >>> per_axis(2, 3, "stride")
    (2, 2, 2)
    """
    setting = static(setting)
    numbers: Any = tuple(setting) if isinstance(setting, Iterable) else (setting,) * rank
    if not all(map(_is_whole, numbers)):
        raise ValueError(f"expected {name} as whole numbers, because it counts positions; got {setting!r}")
    if any(number < least for number in numbers):
        raise ValueError(f"expected {name} of at least {least}, because it counts positions; got {setting}")
    if len(numbers) != rank:
        raise ValueError(
            f"expected {name} as one number or {rank}, because windows lie along {rank} axes; got {setting}"
        )
    return numbers


def _is_whole(number: Any) -> bool:
    """Whether it counts something, which a bool does not mean to."""
    return isinstance(number, int) and not isinstance(number, bool)


def windows(
    sizes: Sequence[int],
    taps: Sequence[int],
    *,
    stride: Each = 1,
    padding: Padding = "VALID",
    dilation: Each = 1,
) -> tuple[Axis, ...]:
    """Return the windows along each axis of an array with these sizes.

    Raises:
        ShapeError: A window is larger than the axis with its padding, or the axis is smaller than what repeats it.
        ValueError: A setting is not for these axes.

    >>> [axis.out for axis in windows((21, 16), (3, 2), stride=2)]
    [10, 8]

    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
    """
    rank = len(sizes)
    strides, dilations = per_axis(stride, rank, "stride"), per_axis(dilation, rank, "dilation")
    taps = per_axis(taps, rank, "window")
    axes = [Axis(n, k, s, d, 0, 0) for n, k, s, d in zip(sizes, taps, strides, dilations, strict=True)]
    axes = [replace(a, low=low, high=high) for a, (low, high) in zip(axes, _ends(axes, padding), strict=True)]
    if any(a.size + a.low + a.high < a.reach for a in axes):
        raise ShapeError(
            f"an input of at least {tuple(max(a.reach - a.low - a.high, 1) for a in axes)} in its {rank} spatial axes",
            why=f"a window spans {tuple(a.reach for a in axes)}"
            + (f" and padding is {padding}" if padding != "VALID" else ""),
            got=tuple(sizes),
            hint="leave out a pooling or a stride, or pad with padding='SAME'",
        )
    _check_repeating(axes, padding)
    return tuple(axes)


def _ends(axes: Sequence[Axis], padding: Padding, *, transposed: bool = False) -> list[tuple[int, int]]:
    """The padding before and after each axis."""
    padding = static(padding)
    if padding == "VALID":
        return [(0, 0)] * len(axes)
    if padding in ("SAME", "SAME_LOWER"):
        total = [max((-(-a.size // a.stride) - 1) * a.stride + a.reach - a.size, 0) for a in axes]
        ends = [(t // 2, t - t // 2) for t in total]
        return ends if padding == "SAME" else [(high, low) for low, high in ends]
    if padding == "CAUSAL":
        if len(axes) != 1:
            raise ValueError(
                f"expected one spatial axis for padding='CAUSAL', because that axis is time; got {len(axes)}"
            )
        return [(0, max(axes[0].reach - axes[0].stride, 0)) if transposed else (axes[0].reach - 1, 0)]
    if padding in REPEATING:  # whatever the stride, as in flax
        return [((a.reach - 1) // 2, a.reach // 2) for a in axes]
    if isinstance(padding, str):
        names = get_args(NamedPadding)
        hint = f"\n  hint: in capitals, {padding.upper()!r}" if padding.upper() in names else ""
        raise ValueError(f"expected padding {', '.join(names)} or numbers, because other words have no meaning; "
                         f"got {padding!r}{hint}")  # fmt: skip
    return _numbers(padding, len(axes))


def _numbers(padding: Any, rank: int) -> list[tuple[int, int]]:
    """The padding before and after each axis, given as numbers."""
    each = padding if isinstance(padding, tuple) else (padding,) * rank
    ends = [p if isinstance(p, tuple) else (p, p) for p in each]
    if any(len(p) != 2 or not all(map(_is_whole, p)) for p in ends):
        raise ValueError(f"expected padding as whole numbers or pairs of them, (before, after), because it counts "
                         f"positions; got {padding!r}")  # fmt: skip
    if len(ends) != rank:
        raise ValueError(
            f"expected padding as one number, or one number or pair for each of {rank} axes, because windows lie along "
            f"them; got {padding}"
            + (
                f"\n  hint: before and after the only axis is written ({padding},)"
                if rank == 1 == len(ends) - 1
                else ""
            )
        )
    if min(map(min, ends), default=0) < 0:
        raise ValueError(f"expected padding of at least 0, because it counts positions before and after; got {padding}")
    return ends


def _check_repeating(axes: Sequence[Axis], padding: Padding) -> None:
    """Raise an error if what is to be repeated is more than there is."""
    if padding not in REPEATING:
        return
    mirrored = padding == "REFLECT"
    least = tuple(max(a.low, a.high, 1) + (mirrored and a.reach > 1) for a in axes)
    if any(a.size < n for a, n in zip(axes, least, strict=True)):
        raise ShapeError(
            f"at least {least} positions along {len(axes)} spatial axes",
            why=f"padding={padding!r} repeats as many" + (" but the one at the end" if mirrored else ""),
            got=tuple(a.size for a in axes),
        )


def pad(x: Array, axes: Sequence[Axis], value: Any = 0, first: int = 1) -> Array:
    """Add the padding of every axis; the first of them is axis `first` of x."""
    ends = [(0, 0, 0)] * x.ndim
    ends[first : first + len(axes)] = [(a.low, a.high, 0) for a in axes]
    return x if not any(map(any, ends)) else lax.pad(x, jnp.asarray(value, x.dtype), ends)


def tap(x: Array, axis: int, along: Axis, j: int) -> Array:
    """Return what every window sees at its tap j, of an x that is padded along this axis.

    >>> tap(jnp.arange(7), 0, Axis(7, taps=3, stride=2, dilation=1, low=0, high=0), 1)
    Array([1, 3, 5], dtype=int32)
    """
    start = along.dilation * j
    return lax.slice_in_dim(x, start, start + (along.out - 1) * along.stride + 1, along.stride, axis)


def spread(taps: Sequence[Array], axis: int, along: Axis) -> Array:
    """Put what every window holds at each tap back where it came from; sum where windows overlap.

    With s (q + a) + r = p, where a and r are quotient and remainder of (d j - low) / s, each tap belongs to one
    remainder r, and moves there by a. So a stride asks for s sums, interleaved, and not for a dilated array.

    >>> three = jnp.ones(3)
    >>> spread([three, three, three], 0, Axis(7, taps=3, stride=2, dilation=1, low=0, high=0))
    Array([1., 1., 2., 1., 2., 1., 1.], dtype=float32)
    """
    s, rows = along.stride, -(-along.size // along.stride)
    sums: list[Any] = [0] * s
    for j, piece in enumerate(taps):
        a, r = divmod(along.dilation * j - along.low, s)
        ends = [(0, 0, 0)] * piece.ndim
        ends[axis] = (a, rows - along.out - a, 0)
        sums[r] = sums[r] + lax.pad(piece, jnp.zeros((), piece.dtype), ends)
    if s == 1:
        return sums[0]
    shape = list(taps[0].shape)
    shape[axis] = rows
    whole = jnp.stack([jnp.zeros(shape, taps[0].dtype) if isinstance(x, int) else x for x in sums], axis=axis + 1)
    shape[axis] = rows * s
    return lax.slice_in_dim(whole.reshape(shape), 0, along.size, axis=axis)


def transposed_windows(
    counts: Sequence[int],
    taps: Sequence[int],
    *,
    stride: Each = 1,
    padding: Padding = "VALID",
    dilation: Each = 1,
    extra: Each = 0,
) -> tuple[Axis, ...]:
    """Return the windows of which there are `counts`, along axes as long as a transposed convolution makes them.

    Raises:
        ShapeError: Nothing is left of an axis.
        ValueError: A setting is not for these axes, or `extra` as large as the stride, or with a
            padding that leaves none.

    >>> [axis.size for axis in transposed_windows((10, 8), (3, 2), stride=2)]
    [21, 16]
    """
    rank = len(counts)
    strides, dilations = per_axis(stride, rank, "stride"), per_axis(dilation, rank, "dilation")
    more = per_axis(extra, rank, "extra", least=0)
    whole = isinstance(padding, str) and padding != "VALID"  # s outputs for every window
    if any(more) and whole:
        raise ValueError(f"expected no extra with padding={padding!r}, because that makes a whole stride of positions "
                         f"for every window already; got extra={extra}\n  hint: give padding as numbers")  # fmt: skip
    axes = []
    for q, k, s, d in zip(counts, per_axis(taps, rank, "window"), strides, dilations, strict=True):
        size = s * q if whole else s * (q - 1) + d * (k - 1) + 1
        axes.append(Axis(size, k, s, d, 0, 0))
    axes = [
        replace(a, size=a.size + e - (0 if isinstance(padding, str) else low + high), low=low, high=high)
        for a, (low, high), e in zip(axes, _ends(axes, padding, transposed=True), more, strict=True)
    ]
    if any(a.size < 1 for a in axes):
        raise ShapeError(
            f"an input of more windows than {tuple(counts)} in its {rank} spatial axes",
            why=f"of their positions padding={padding} takes away all",
            got=tuple(counts),
        )
    _check_repeating(axes, padding)
    if any(a.out != q for a, q in zip(axes, counts, strict=True)):
        raise ValueError(f"expected extra so small that no further window fits, because extra positions belong to no "
                         f"window; got extra={extra} with stride={stride} and padding={padding!r}")  # fmt: skip
    return tuple(axes)
