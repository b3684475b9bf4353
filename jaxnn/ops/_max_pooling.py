"""Max pooling: of each window, of each of m parts of an axis, or of a whole image the largest element.

The gradient of an output goes to the one element that won. Where several are equal, as whole windows are
after a relu, it is the first of them in row-major order, on every road: by hand, by JAX's derivative of the plain
function, and in PyTorch. Two exceptions: where all that a window sees of x is -inf, JAX's derivative may give its
gradient to the padding, and by hand the first element of x has it; and of NaNs the first has it, in PyTorch the last.

Pooling goes axis by axis, the last first: the largest of a window is the largest of its rows' largest, and the first
row that has it, with the first place in that row, is first in row-major order. So k_h + k_w elements are looked at,
not k_h k_w, and what is remembered is one small number for each axis: which one won (`_winners.py`).

Dimensions: `batch`; one spatial axis or several, `n` positions before pooling and `q` after; `features` (also called
channels), each of which is pooled by itself.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Num

from jaxnn.ops._op import op, shape_only
from jaxnn.ops._pooling import Parts, parts_of, pooled_windows
from jaxnn.ops._windows import Axis, Each, Padding
from jaxnn.ops._winners import MOST_PARTS, largest, largest_of_parts, lowest, to_largest, to_parts
from jaxnn.typing import AnyArray, Array


def _check_max_pool(x: AnyArray, *, window: Each, stride: Each | None = None, padding: Padding = "VALID") -> None:
    pooled_windows(x.shape, window, stride, padding)


@op(_check_max_pool)
def max_pool(
    x: Num[Array, "batch *n features"],
    *,
    window: Each,
    stride: Each | None = None,
    padding: Padding = "VALID",
) -> Num[Array, "batch *q features"]:
    """Largest element of each window, y_q = max_j x_(s q + j).

    Where elements are equal the first, in row-major order, gets the gradient. NaN stays NaN. Integers are
    pooled too, without a derivative.

    Args:
        x: Input, `(batch, *n, features)`.
        window: Size along each spatial axis, such as `(2, 2)`; a number means every axis of x between the
            first and the last. Keras calls it `pool_size`, PyTorch `kernel_size`, flax `window_shape`.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for ceil(n / s) outputs, the odd position after, or with `"SAME_LOWER"`
            before; or positions before and after each axis. It is never the largest.

    Returns:
        y, `(batch, *q, features)`, q = floor((n + padding - k) / s) + 1 along each axis.

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
    axes = pooled_windows(x.shape, window, stride, padding)
    return lax.reduce_window(x, lowest(x.dtype), lax.max, *_dimensions(axes))


def max_pool_fwd(x, *, window, stride=None, padding: Padding = "VALID"):
    """Remember for each axis which tap won, a byte for each window along it, and of x the shape.

    For 2 x 2 that is 0.75 bytes an element of x, where JAX's own derivative remembers x, which takes 4.
    Of many taps it is the position that won: a byte if n <= 256.
    """
    shape, winners = shape_only(x), []
    for axis, along in reversed(list(enumerate(pooled_windows(x.shape, window, stride, padding), 1))):
        x, winner = largest(x, axis, along)
        winners.insert(0, winner)
    return x, (tuple(winners), shape)


def max_pool_bwd(residuals, dy, *, window, stride=None, padding: Padding = "VALID"):
    """Along an axis y_q is x at one position, s q + winner_q, so dx = dy there and 0 elsewhere, summed over windows.

    Axis by axis in the other order than forward, because dy comes back through the last step first.
    """
    winners, x = residuals
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return (None,)
    axes = pooled_windows(x.shape[1:], window, stride, padding)
    dx = dy
    for axis, (along, winner) in enumerate(zip(axes, winners, strict=True), 1):
        dx = to_largest(dx, winner, axis, along)
    return (dx,)


# On a CPU JAX's own derivative, which selects and scatters, takes 14 to 30 times as long; 4 to 6 at a stride of 1.
max_pool.defvjp(max_pool_fwd, max_pool_bwd, install=True)


def _check_adaptive_max_pool(x: AnyArray, *, size: Each) -> None:
    parts_of(x.shape, size)


@op(_check_adaptive_max_pool)
def adaptive_max_pool(x: Num[Array, "batch *n features"], *, size: Each) -> Num[Array, "batch *q features"]:
    """Largest element of each of m parts of an axis, whatever its length n: part i is floor(i n/m) to ceil((i+1) n/m).

    Where m does not divide n, neighbours share an element; where n < m too, as in PyTorch, so that a small
    input is repeated rather than refused. Where elements are equal the first gets the gradient.

    Args:
        x: Input, `(batch, *n, features)`.
        size: m for each spatial axis, such as `(7, 7)`; a number means every axis of x between the first
            and the last.

    Returns:
        y, `(batch, *size, features)`.

    Raises:
        ShapeError: x has other spatial axes than the size, or an empty one.

    >>> adaptive_max_pool(jnp.array([5.0, 1.0, 4.0, 2.0, 3.0]).reshape(1, 5, 1), size=3)[0, :, 0]
    Array([5., 4., 3.], dtype=float32)

    Source: the windows of PyTorch's AdaptiveMaxPool.
    """
    for axis, parts in reversed(list(enumerate(parts_of(x.shape, size), 1))):
        x = _largest_of_each(x, axis, parts)
    return x


def adaptive_max_pool_fwd(x, *, size):
    """Remember for each axis where the largest element of each part stands, a byte if n <= 256, and of x the shape."""
    shape, winners = shape_only(x), []
    for axis, parts in reversed(list(enumerate(parts_of(x.shape, size), 1))):
        x, winner = largest_of_parts(x, axis, parts)
        winners.insert(0, winner)
    return x, (tuple(winners), shape)


def adaptive_max_pool_bwd(residuals, dy, *, size):
    """Along an axis y_i is x at one position, winner_i, so dx_p = sum_i [p = winner_i] dy_i."""
    winners, x = residuals
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return (None,)
    dx, shape = dy, x.shape[1:]
    for axis, (parts, winner) in enumerate(zip(parts_of(shape, size), winners, strict=True), 1):
        dx = to_parts(dx, winner, axis, shape[axis], parts)
    return (dx,)


# JAX's own derivative takes several times as long.
adaptive_max_pool.defvjp(adaptive_max_pool_fwd, adaptive_max_pool_bwd, install=True)


def _check_global_max_pool(x: AnyArray) -> None:
    parts_of(x.shape, 1)


@op(_check_global_max_pool)
def global_max_pool(x: Num[Array, "batch *n features"]) -> Num[Array, "batch features"]:
    """Largest element of each feature, y = max over all spatial axes.

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


def _dimensions(axes: Sequence[Axis]) -> tuple[Any, Any, Any]:
    """The window, its strides and the padding of an array with a batch and a channel axis, as `lax` wants them."""
    return (
        (1, *(a.taps for a in axes), 1),
        (1, *(a.stride for a in axes), 1),
        ((0, 0), *((a.low, a.high) for a in axes), (0, 0)),
    )


def _largest_of_each(x: Array, axis: int, parts: Parts) -> Array:
    """The largest element of each part of one axis, in forms whose derivative JAX gives to the first of equal ones."""
    if len(parts) <= MOST_PARTS:
        return lax.concatenate([_whole(lax.slice_in_dim(x, *part, axis=axis), axis) for part in parts], axis)
    # Side by side, with the last element of the shorter ones repeated, which being second never wins.
    starts, ends = np.array(parts).T
    positions = np.minimum(starts[:, None] + np.arange((ends - starts).max()), ends[:, None] - 1)
    return _whole(jnp.take(x, positions, axis=axis), axis + 1).squeeze(axis + 1)


def _whole(x: Array, axis: int) -> Array:
    """The largest element along one axis, as a window; `jnp.max` would share the gradient among equal ones."""
    dimensions = [1] * x.ndim
    dimensions[axis] = x.shape[axis]
    return lax.reduce_window(x, lowest(x.dtype), lax.max, dimensions, [1] * x.ndim, "VALID")
