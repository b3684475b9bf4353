"""What poolings share: the windows or the parts of x's axes, and how these are checked."""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp

from jaxnn.errors import ShapeError
from jaxnn.ops._windows import REPEATING, Axes, Axis, Each, Padding, per_axis, windows
from jaxnn.typing import AnyArray

Parts = Sequence[tuple[int, int]]
"""Start and end of each of the parts of one axis."""


def pooled_windows(shape: Sequence[int], window: Each, stride: Each | None, padding: Padding) -> Axes:
    """The windows along each spatial axis of an array of this shape."""
    if padding in REPEATING:
        raise ValueError(f"expected padding that repeats nothing of x, because what is padded is not pooled; "
                         f"got {padding!r}\n  hint: pad x before, with jnp.pad")  # fmt: skip
    taps = _spatial(shape, window, "window")
    axes = windows(shape[1:-1], taps, stride=taps if stride is None else stride, padding=padding)
    if any(max(a.low, a.high) >= a.taps for a in axes):
        raise ValueError(f"expected padding smaller than the window, because each window must see an element of x; "
                         f"got padding {padding} and window {window}")  # fmt: skip
    return axes


def seen(along: Axis) -> Parts:
    """Start and end of what each window sees of x along one axis."""
    starts = [along.stride * q - along.low for q in range(along.out)]
    return [(max(start, 0), min(start + along.taps, along.size)) for start in starts]


def parts_of(shape: Sequence[int], size: Each) -> list[Parts]:
    """Start and end of each of the m parts, for each spatial axis of an array of this shape."""
    sizes = _spatial(shape, size, "size")
    return [[(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(shape[1:-1], sizes, strict=True)]


def check_mean(x: AnyArray) -> None:
    """Raise an error unless x is floating."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because a mean of integers is not one; got {x.dtype}: cast it first")


def _spatial(shape: Sequence[int], setting: Each, name: str) -> tuple[int, ...]:
    """The setting for each spatial axis of an array of this shape; as many as it has itself, if it is a tuple."""
    own = len(tuple(setting)) if isinstance(setting, Iterable) else None
    rank = max(len(shape) - 2, 1) if own is None else own
    if len(shape) != rank + 2:
        spatial = "*n" if own is None else ", ".join(f"n{axis}" for axis in range(rank))
        raise ShapeError(
            f"x of shape (batch, {spatial}, features)",
            why=f"the {name} is {setting}",
            got=tuple(shape),
            hint="images without colour need an axis of one feature: x[..., None]" if len(shape) == rank + 1 else None,
        )
    if 0 in shape[1:-1]:
        raise ShapeError(
            "at least one position along each spatial axis",
            why="nothing has no largest element and no mean",
            got=tuple(shape),
        )
    return per_axis(setting, rank, name)
