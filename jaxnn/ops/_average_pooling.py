"""Average pooling: of each window, of each of m parts of an axis, or of a whole image the mean.

Dimensions: `batch`; one spatial axis or several, `n` positions before pooling and `q` after; `features` (also called
channels), each of which is pooled by itself.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import op, shape_only
from jaxnn.ops._pooling import check_mean, parts_of, pooled_windows, seen
from jaxnn.ops._windows import Axis, Each, Padding, pad, spread, tap
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_average_pool(
    x: AnyArray,
    *,
    window: Each,
    stride: Each | None = None,
    padding: Padding = "VALID",
    count_padding: bool = False,
) -> None:
    del count_padding
    check_mean(x)
    pooled_windows(x.shape, window, stride, padding)


@op(_check_average_pool)
def average_pool(
    x: Float[Array, "batch *n features"],
    *,
    window: Each,
    stride: Each | None = None,
    padding: Padding = "VALID",
    count_padding: bool = False,
) -> Float[Array, "batch *q features"]:
    """Mean of each window, y_q = 1/k_q sum_j x_(s q + j), where k_q elements are there to be averaged.

    Args:
        x: Input, `(batch, *n, features)`.
        window: Size along each spatial axis, such as `(2, 2)`; a number means every axis of x between the
            first and the last. Keras calls it `pool_size`, PyTorch `kernel_size`, flax `window_shape`.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for ceil(n / s) outputs, the odd position after, or with `"SAME_LOWER"`
            before; or positions before and after each axis.
        count_padding: Whether padding counts, as zeros, as it does in flax.linen and PyTorch unless told
            otherwise. Keras and TensorFlow average what is there.

    Returns:
        y, `(batch, *q, features)`, summed in float32 at least.

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
    axes = pooled_windows(x.shape, window, stride, padding)
    total = pad(x.astype(accumulator_dtype(x.dtype)), axes)
    for axis, along in enumerate(axes, 1):
        total = functools.reduce(jnp.add, [tap(total, axis, along, j) for j in range(along.taps)])
    return (total / _counts(axes, count_padding, total.dtype)).astype(x.dtype)


def average_pool_fwd(x, *, window, stride=None, padding: Padding = "VALID", count_padding=False):
    """Remember the shape: a mean is linear in x."""
    y = average_pool.plain(x, window=window, stride=stride, padding=padding, count_padding=count_padding)
    return y, shape_only(x)


def average_pool_bwd(x, dy, *, window, stride=None, padding: Padding = "VALID", count_padding=False):
    """Window q averages k_q elements p, so dy_q/dx_p = 1/k_q, and dx_p = sum dy_q / k_q over the windows on p."""
    axes = pooled_windows(x.shape[1:], window, stride, padding)
    wide = accumulator_dtype(x.dtype)
    dx = dy.astype(wide) / _counts(axes, count_padding, wide)
    for axis, along in enumerate(axes, 1):
        dx = spread([dx] * along.taps, axis, along)
    return (dx.astype(x.dtype),)


average_pool.defvjp(average_pool_fwd, average_pool_bwd)  # JAX's own derivative is as fast for small windows


def _check_adaptive_average_pool(x: AnyArray, *, size: Each) -> None:
    check_mean(x)
    parts_of(x.shape, size)


@op(_check_adaptive_average_pool)
def adaptive_average_pool(x: Float[Array, "batch *n features"], *, size: Each) -> Float[Array, "batch *q features"]:
    """Mean of each of m parts of an axis, whatever its length n: part i is floor(i n/m) to ceil((i+1) n/m).

    Along an axis that is y = A x with A_ip = 1 / length of part i for each p in it. Where m does not divide
    n, neighbours share an element; where n < m too, as in PyTorch, so that a small input is repeated rather
    than refused.

    Args:
        x: Input, `(batch, *n, features)`.
        size: m for each spatial axis, such as `(7, 7)`; a number means every axis of x between the first
            and the last.

    Returns:
        y, `(batch, *size, features)`, summed in float32 at least.

    Raises:
        ShapeError: x has other spatial axes than the size, or an empty one.
        TypeError: x is not floating.

    >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1), size=3)[0, :, 0]
    Array([0.5, 2. , 3.5], dtype=float32)

    Source: the windows of PyTorch's AdaptiveAvgPool.
    """
    y = x.astype(accumulator_dtype(x.dtype))
    for axis, parts in enumerate(parts_of(x.shape, size), 1):
        y = _product(_means(parts, x.shape[axis]), y, axis)
    return y.astype(x.dtype)


def adaptive_average_pool_fwd(x, *, size):
    """Remember the shape: a mean is linear in x."""
    return adaptive_average_pool.plain(x, size=size), shape_only(x)


def adaptive_average_pool_bwd(x, dy, *, size):
    """y = A x along each axis, so dx = A^T dy along each."""
    dx = dy.astype(accumulator_dtype(x.dtype))
    for axis, parts in enumerate(parts_of(x.shape[1:], size), 1):
        dx = _product(_means(parts, x.shape[1 + axis]).T, dx, axis)
    return (dx.astype(x.dtype),)


adaptive_average_pool.defvjp(adaptive_average_pool_fwd, adaptive_average_pool_bwd)


def _check_global_average_pool(x: AnyArray) -> None:
    check_mean(x)
    parts_of(x.shape, 1)


@op(_check_global_average_pool)
def global_average_pool(x: Float[Array, "batch *n features"]) -> Float[Array, "batch features"]:
    """Mean of each feature over all n of its positions, y = 1/n sum x, summed in float32 at least.

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


def _counts(axes: Sequence[Axis], count_padding: bool, dtype: Any) -> Array:
    """How many elements each window averages, in the shape of one image of y with one channel."""
    along = [[a.taps if count_padding else end - start for start, end in seen(a)] for a in axes]
    k = functools.reduce(np.multiply.outer, along, np.ones(1))
    return jnp.asarray(k[..., None], dtype)


def _means(parts: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    """The matrix A_ip = 1 / length of part i for each p in it."""
    p = np.arange(n)
    return np.stack([((start <= p) & (p < end)) / (end - start) for start, end in parts])


def _product(a: np.ndarray, x: Array, axis: int) -> Array:
    """A x along one axis of x."""
    y = jnp.tensordot(jnp.asarray(a, x.dtype), x, (1, axis), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(y, 0, axis)
