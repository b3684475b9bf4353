"""Pooling: of each window, or of each of m parts of an axis, the largest element or the mean.

Max pooling gives the gradient of an output to the one element that won. Where several are equal, as whole windows are
after a relu, it is the first of them in row-major order, on every road: by hand, by JAX's derivative of the plain
function, and in PyTorch. Two exceptions: where all that a window sees of x is -inf, JAX's derivative may give its
gradient to the padding, and by hand the first element of x has it; and of NaNs the first has it, in PyTorch the last.

Pooling goes axis by axis, the last first: the largest of a window is the largest of its rows' largest, and the first
row that has it, with the first place in that row, is first in row-major order. So k_h + k_w elements are looked at,
not k_h k_w, and what is remembered is one small number for each axis: which tap won.

Dimensions: `batch`; `spatial` one axis or more, such as height and width; `out` as many after pooling; `channels`,
each of which is pooled by itself.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._windows import Axis, Padding, pad, per_axis, spread, tap, windows
from jaxnn.typing import AnyArray, Array, accumulator_dtype

PerAxis = int | tuple[int, ...]


def _check_max_pool(x: AnyArray, *, window: PerAxis, stride: PerAxis | None = None, padding: Padding = "VALID") -> None:
    _axes(x.shape, window, stride, padding)


@op(_check_max_pool)
def max_pool(
    x: Num[Array, "batch *spatial channels"],
    *,
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
) -> Num[Array, "batch *out channels"]:
    """Largest element of each window, y_q = max_j x_(s q + j).

    Where elements are equal the first, in row-major order, gets the gradient. NaN stays NaN. Integers are
    pooled too, without a derivative.

    Args:
        x: Input, `(batch, *spatial, channels)`.
        window: Size along each spatial axis, such as `(2, 2)`; a number means every axis of x between the
            first and the last.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for out = ceil(n / s); or positions before and after each axis.
            It is never the largest.

    Returns:
        y, `(batch, *out, channels)`, with out = floor((n + padding - k) / s) + 1.

    Raises:
        ShapeError: x has other spatial axes than the window, or one that is smaller than it with its padding.
        ValueError: A setting is not for these axes, or a window would see nothing but padding.

    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> max_pool(x, window=(2, 2))[0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    >>> max_pool(x, window=(2, 2), stride=1).shape, max_pool(x, window=3, padding="SAME").shape
    ((1, 3, 3, 1), (1, 2, 2, 1))

    Source: Ranzato et al., "Unsupervised learning of invariant feature hierarchies" (2007); as a part of convolutional
    networks, Krizhevsky et al., "ImageNet classification with deep convolutional neural networks" (2012).
    """
    axes = _axes(x.shape, window, stride, padding)
    return lax.reduce_window(x, _lowest(x.dtype), lax.max, *_dimensions(axes))


def max_pool_fwd(x, *, window, stride=None, padding="VALID"):
    """Remember for each axis which tap won, a byte for each window along it, and of x the shape.

    For 2 x 2 that is 0.75 bytes an element of x, where JAX's own derivative remembers x, which takes 4.
    """
    shape, winners = shape_only(x), []
    for axis, along in reversed(list(enumerate(_axes(x.shape, window, stride, padding), 1))):
        x, winner = _largest(x, axis, along)
        winners.insert(0, winner)
    return x, (tuple(winners), shape)


def max_pool_bwd(residuals, dy, *, window, stride=None, padding="VALID"):
    """Along an axis y_q is x at one position, s q + winner_q, so dx = dy there and 0 elsewhere, summed over windows.

    Axis by axis in the other order than forward, because dy comes back through the last step first.
    """
    winners, x = residuals
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return (None,)
    axes = _axes(x.shape[1:], window, stride, padding)
    dx = dy
    for axis, (along, winner) in enumerate(zip(axes, winners, strict=True), 1):
        dx = _to_largest(dx, winner, axis, along)
    return (dx,)


# On a CPU JAX's own derivative, which selects and scatters, takes 14 to 30 times as long; 4 to 6 at a stride of 1.
max_pool.defvjp(max_pool_fwd, max_pool_bwd, install=True)


def _check_average_pool(
    x: AnyArray,
    *,
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    count_padding: bool = False,
) -> None:
    del count_padding
    _check_mean(x)
    _axes(x.shape, window, stride, padding)


@op(_check_average_pool)
def average_pool(
    x: Float[Array, "batch *spatial channels"],
    *,
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    count_padding: bool = False,
) -> Float[Array, "batch *out channels"]:
    """Mean of each window, y_q = 1/k_q sum_j x_(s q + j), where k_q elements are there to be averaged.

    Args:
        x: Input, `(batch, *spatial, channels)`.
        window: Size along each spatial axis, such as `(2, 2)`; a number means every axis of x between the
            first and the last.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for out = ceil(n / s); or positions before and after each axis.
        count_padding: Whether padding counts, as zeros, as it does in flax.linen and PyTorch unless told
            otherwise. Keras and TensorFlow average what is there.

    Returns:
        y, `(batch, *out, channels)`, summed in float32 at least.

    Raises:
        ShapeError: x has other spatial axes than the window, or one that is smaller than it with its padding.
        ValueError: A setting is not for these axes, or a window would see nothing but padding.
        TypeError: x is not floating.

    >>> x = jnp.arange(6.0).reshape(1, 6, 1)
    >>> average_pool(x, window=3)[0, :, 0]
    Array([1., 4.], dtype=float32)
    >>> average_pool(x, window=3, stride=1, padding="SAME")[0, :, 0]
    Array([0.5, 1. , 2. , 3. , 4. , 4.5], dtype=float32)

    Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998), without its weights.
    """
    axes = _axes(x.shape, window, stride, padding)
    total = pad(x.astype(accumulator_dtype(x.dtype)), axes)
    for axis, along in enumerate(axes, 1):
        total = functools.reduce(jnp.add, [tap(total, axis, along, j) for j in range(along.taps)])
    return (total / _counts(axes, count_padding, total.dtype)).astype(x.dtype)


def average_pool_fwd(x, *, window, stride=None, padding="VALID", count_padding=False):
    """Remember the shape: a mean is linear in x."""
    y = average_pool.plain(x, window=window, stride=stride, padding=padding, count_padding=count_padding)
    return y, shape_only(x)


def average_pool_bwd(x, dy, *, window, stride=None, padding="VALID", count_padding=False):
    """Window q averages k_q elements p, so dy_q/dx_p = 1/k_q, and dx_p = sum dy_q / k_q over the windows on p."""
    axes = _axes(x.shape[1:], window, stride, padding)
    wide = accumulator_dtype(x.dtype)
    dx = dy.astype(wide) / _counts(axes, count_padding, wide)
    for axis, along in enumerate(axes, 1):
        dx = spread([dx] * along.taps, axis, along)
    return (dx.astype(x.dtype),)


average_pool.defvjp(average_pool_fwd, average_pool_bwd)  # JAX's own derivative is as fast for small windows


def _check_adaptive_max_pool(x: AnyArray, *, size: PerAxis) -> None:
    _parts(x.shape, size)


@op(_check_adaptive_max_pool)
def adaptive_max_pool(x: Num[Array, "batch *spatial channels"], *, size: PerAxis) -> Num[Array, "batch *out channels"]:
    """Largest element of each of m parts of an axis, whatever its length n: part i is floor(i n/m) to ceil((i+1) n/m).

    Where m does not divide n, neighbours share an element; where n < m too, as in PyTorch, so that a small
    input is repeated rather than refused. Where elements are equal the first gets the gradient.

    Args:
        x: Input, `(batch, *spatial, channels)`.
        size: m for each spatial axis, such as `(7, 7)`; a number means every axis of x between the first
            and the last.

    Returns:
        y, `(batch, *size, channels)`.

    Raises:
        ShapeError: x has other spatial axes than the size, or an empty one.

    >>> adaptive_max_pool(jnp.array([5.0, 1.0, 4.0, 2.0, 3.0]).reshape(1, 5, 1), size=3)[0, :, 0]
    Array([5., 4., 3.], dtype=float32)

    Source: the windows of PyTorch's AdaptiveMaxPool.
    """
    for axis, parts in reversed(list(enumerate(_parts(x.shape, size), 1))):
        x = lax.concatenate([_whole(lax.slice_in_dim(x, *part, axis=axis), axis) for part in parts], axis)
    return x


def adaptive_max_pool_fwd(x, *, size):
    """Remember for each axis where the largest element of each part stands, a byte if n <= 256, and of x the shape."""
    shape, winners = shape_only(x), []
    for axis, parts in reversed(list(enumerate(_parts(x.shape, size), 1))):
        x, winner = _largest_of_parts(x, axis, parts)
        winners.insert(0, winner)
    return x, (tuple(winners), shape)


def adaptive_max_pool_bwd(residuals, dy, *, size):
    """Along an axis y_i is x at one position, winner_i, so dx_p = sum_i [p = winner_i] dy_i."""
    winners, x = residuals
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return (None,)
    dx = dy
    for axis, winner in enumerate(winners, 1):
        dx = _to_positions(dx, winner, axis, x.shape[1 + axis])
    return (dx,)


# JAX's own derivative takes several times as long.
adaptive_max_pool.defvjp(adaptive_max_pool_fwd, adaptive_max_pool_bwd, install=True)


def _check_adaptive_average_pool(x: AnyArray, *, size: PerAxis) -> None:
    _check_mean(x)
    _parts(x.shape, size)


@op(_check_adaptive_average_pool)
def adaptive_average_pool(
    x: Float[Array, "batch *spatial channels"], *, size: PerAxis
) -> Float[Array, "batch *out channels"]:
    """Mean of each of m parts of an axis, whatever its length n: part i is floor(i n/m) to ceil((i+1) n/m).

    Along an axis that is y = A x with A_ip = 1 / length of part i for each p in it. Where m does not divide
    n, neighbours share an element; where n < m too, as in PyTorch, so that a small input is repeated rather
    than refused.

    Args:
        x: Input, `(batch, *spatial, channels)`.
        size: m for each spatial axis, such as `(7, 7)`; a number means every axis of x between the first
            and the last.

    Returns:
        y, `(batch, *size, channels)`, summed in float32 at least.

    Raises:
        ShapeError: x has other spatial axes than the size, or an empty one.
        TypeError: x is not floating.

    >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1), size=3)[0, :, 0]
    Array([0.5, 2. , 3.5], dtype=float32)

    Source: the windows of PyTorch's AdaptiveAvgPool.
    """
    y = x.astype(accumulator_dtype(x.dtype))
    for axis, parts in enumerate(_parts(x.shape, size), 1):
        y = _product(_means(parts, x.shape[axis]), y, axis)
    return y.astype(x.dtype)


def adaptive_average_pool_fwd(x, *, size):
    """Remember the shape: a mean is linear in x."""
    return adaptive_average_pool.plain(x, size=size), shape_only(x)


def adaptive_average_pool_bwd(x, dy, *, size):
    """y = A x along each axis, so dx = A^T dy along each."""
    dx = dy.astype(accumulator_dtype(x.dtype))
    for axis, parts in enumerate(_parts(x.shape[1:], size), 1):
        dx = _product(_means(parts, x.shape[1 + axis]).T, dx, axis)
    return (dx.astype(x.dtype),)


adaptive_average_pool.defvjp(adaptive_average_pool_fwd, adaptive_average_pool_bwd)


def _check_global_max_pool(x: AnyArray) -> None:
    _parts(x.shape, 1)


@op(_check_global_max_pool)
def global_max_pool(x: Num[Array, "batch *spatial channels"]) -> Num[Array, "batch channels"]:
    """Largest element of each channel, y = max over all spatial axes.

    Where elements are equal the first, in row-major order, gets the gradient.

    Raises:
        ShapeError: x has no spatial axis, or an empty one.

    >>> global_max_pool(jnp.arange(12.0).reshape(1, 2, 3, 2))
    Array([[10., 11.]], dtype=float32)

    Source: Oquab et al., "Is object localization for free?" (2015).
    """
    return adaptive_max_pool.plain(x, size=1).reshape(x.shape[0], x.shape[-1])


def global_max_pool_fwd(x):
    """Remember for each axis where the largest element stands."""
    y, residuals = adaptive_max_pool.fwd(x, size=1)
    return y.reshape(x.shape[0], x.shape[-1]), residuals


def global_max_pool_bwd(residuals, dy):
    """It is adaptive pooling to one part of each axis."""
    rank = len(residuals[0])
    return adaptive_max_pool.bwd(residuals, jnp.expand_dims(dy, range(1, 1 + rank)), size=1)


# JAX's own derivative takes many times as long.
global_max_pool.defvjp(global_max_pool_fwd, global_max_pool_bwd, install=True)


def _check_global_average_pool(x: AnyArray) -> None:
    _check_mean(x)
    _parts(x.shape, 1)


@op(_check_global_average_pool)
def global_average_pool(x: Float[Array, "batch *spatial channels"]) -> Float[Array, "batch channels"]:
    """Mean of each channel over all n of its positions, y = 1/n sum x, summed in float32 at least.

    Raises:
        ShapeError: x has no spatial axis, or an empty one.
        TypeError: x is not floating.

    >>> global_average_pool(jnp.arange(12.0).reshape(1, 2, 3, 2))
    Array([[5., 6.]], dtype=float32)

    Source: Lin, Chen and Yan, "Network in network" (2014).
    """
    return x.mean(tuple(range(1, x.ndim - 1)), dtype=accumulator_dtype(x.dtype)).astype(x.dtype)


def global_average_pool_fwd(x):
    """Remember the shape: a mean is linear in x."""
    return global_average_pool.plain(x), shape_only(x)


def global_average_pool_bwd(x, dy):
    """dy/dx = 1/n for each of n positions."""
    shape = x.shape[1:]
    n = math.prod(shape[1:-1])
    share = (dy.astype(accumulator_dtype(x.dtype)) / n).astype(x.dtype)
    return (jnp.broadcast_to(jnp.expand_dims(share, range(1, len(shape) - 1)), shape),)


global_average_pool.defvjp(global_average_pool_fwd, global_average_pool_bwd)


def _spatial(shape: Sequence[int], setting: PerAxis, name: str) -> tuple[int, ...]:
    """The setting for each spatial axis of an array of this shape; as many as it has itself, if it is a tuple."""
    rank = max(len(shape) - 2, 1) if isinstance(setting, int) else len(setting)
    if len(shape) != rank + 2:
        spatial = "*spatial" if isinstance(setting, int) else ", ".join("spatial" for _ in range(rank))
        raise ShapeError(
            f"x of shape (batch, {spatial}, channels)",
            why=f"the {name} is {setting}",
            got=tuple(shape),
            hint="add an axis of channels: x[..., None]" if len(shape) == rank + 1 else None,
        )
    if 0 in shape[1:-1]:
        raise ShapeError(
            "at least one position along each spatial axis",
            why="nothing has no largest element and no mean",
            got=tuple(shape),
        )
    return per_axis(setting, rank, name)


def _check_mean(x: AnyArray) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because a mean of integers is not one; got {x.dtype}: cast it first")


def _axes(shape: Sequence[int], window: PerAxis, stride: PerAxis | None, padding: Any) -> tuple[Axis, ...]:
    """The windows along each spatial axis of an array of this shape."""
    taps = _spatial(shape, window, "window")
    axes = windows(shape[1:-1], taps, stride=taps if stride is None else stride, padding=padding)
    if any(max(a.low, a.high) >= a.taps for a in axes):
        raise ValueError(f"expected padding smaller than the window, because each window must see an element of x; "
                         f"got padding {padding} and window {window}")  # fmt: skip
    return axes


def _dimensions(axes: Sequence[Axis]) -> tuple[Any, Any, Any]:
    """The window, its strides and the padding of an array with a batch and a channel axis, as `lax` wants them."""
    return (
        (1, *(a.taps for a in axes), 1),
        (1, *(a.stride for a in axes), 1),
        ((0, 0), *((a.low, a.high) for a in axes), (0, 0)),
    )


def _lowest(dtype: Any) -> np.ndarray:
    """What no element is below, as the constant in which `lax` sees a maximum it can differentiate."""
    return np.array(-np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min, dtype)


def _largest(x: Array, axis: int, along: Axis) -> tuple[Array, Array]:
    """The largest element of each window along one axis, and which one it is."""
    if along.out < along.taps:  # few windows of many taps are looked at one by one, else the program would be long
        return _largest_of_parts(x, axis, _seen(along))
    # The first tap that is not on padding, the winner where all that a window sees of x is as low as padding, -inf.
    first = np.maximum(along.low - along.stride * np.arange(along.out), 0)
    x = pad(x, (along,), _lowest(x.dtype), axis)
    y = tap(x, axis, along, 0)
    winner = lax.broadcast_in_dim(first.astype(_counter(along.taps)), y.shape, (axis,))
    for j in range(1, along.taps):
        x_j = tap(x, axis, along, j)
        larger = ~(x_j <= y) & (y == y)  # x_j > y, if a NaN is larger than any number and the first one stays
        y, winner = jnp.where(larger, x_j, y), jnp.where(larger, j, winner)
    return y, winner


def _to_largest(dy: Array, winner: Array, axis: int, along: Axis) -> Array:
    """dy at the winner of each window along one axis, 0 elsewhere, summed over windows."""
    if along.out < along.taps:
        return _to_positions(dy, winner, axis, along.size)
    return spread([jnp.where(winner == j, dy, 0) for j in range(along.taps)], axis, along)


def _largest_of_parts(x: Array, axis: int, parts: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """The largest element of each part of one axis, and its position."""
    position = lax.broadcasted_iota(_counter(x.shape[axis]), x.shape, axis)
    largest, winner = [], []
    for start, end in parts:
        x_i, p = (lax.slice_in_dim(a, start, end, axis=axis) for a in (x, position))
        y_i = x_i.max(axis, keepdims=True)
        largest.append(y_i)
        # The first that equals the largest, or the first NaN, which equals nothing; an argmax takes ten times as long.
        winner.append(jnp.where((x_i == y_i) | (x_i != x_i), p, end - 1).min(axis, keepdims=True))
    return lax.concatenate(largest, axis), lax.concatenate(winner, axis)


def _to_positions(dy: Array, winner: Array, axis: int, n: int) -> Array:
    """dx_p = sum_i [p = winner_i] dy_i along one axis of n positions."""
    shape = (*dy.shape[:axis], n, *dy.shape[axis + 1 :])
    p = lax.broadcasted_iota(winner.dtype, shape, axis)
    dx = jnp.zeros(shape, dy.dtype)
    for i in range(dy.shape[axis]):
        winner_i, dy_i = (lax.slice_in_dim(a, i, i + 1, axis=axis) for a in (winner, dy))
        dx = dx + jnp.where(p == winner_i, dy_i, 0)
    return dx


def _seen(along: Axis) -> list[tuple[int, int]]:
    """Start and end of what each window sees of x along one axis."""
    starts = [along.stride * q - along.low for q in range(along.out)]
    return [(max(start, 0), min(start + along.taps, along.size)) for start in starts]


def _counts(axes: Sequence[Axis], count_padding: bool, dtype: Any) -> Array:
    """How many elements each window averages, in the shape of one image of y with one channel."""
    along = [[a.taps if count_padding else end - start for start, end in _seen(a)] for a in axes]
    k = functools.reduce(np.multiply.outer, along, np.ones(1))
    return jnp.asarray(k[..., None], dtype)


def _parts(shape: Sequence[int], size: PerAxis) -> list[list[tuple[int, int]]]:
    """Start and end of each of the m parts, for each spatial axis of an array of this shape."""
    sizes = _spatial(shape, size, "size")
    return [[(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(shape[1:-1], sizes, strict=True)]


def _whole(x: Array, axis: int) -> Array:
    """The largest element along one axis, as a window; `jnp.max` would share the gradient among equal ones."""
    dimensions = [1] * x.ndim
    dimensions[axis] = x.shape[axis]
    return lax.reduce_window(x, _lowest(x.dtype), lax.max, dimensions, [1] * x.ndim, "VALID")


def _means(parts: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    """The matrix A_ip = 1 / length of part i for each p in it."""
    p = np.arange(n)
    return np.stack([((start <= p) & (p < end)) / (end - start) for start, end in parts])


def _product(a: np.ndarray, x: Array, axis: int) -> Array:
    """A x along one axis of x."""
    y = jnp.tensordot(jnp.asarray(a, x.dtype), x, (1, axis), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(y, 0, axis)


def _counter(n: int) -> np.dtype:
    """The smallest dtype that counts from 0 to n - 1."""
    return np.min_scalar_type(n - 1)
