"""Convolution on a CPU: its three bilinear maps as products of matrices, over windows side by side (im2col).

One factor of the product is what the windows see, with all their taps side by side: several times larger than x, so
it is formed for a few images at a time, as many as a cache holds, in a loop. `benchmarks/NOTES.md` tells how these
forms were found, and `benchmarks/conv_ops.py` measures them.

The functions are those of `_correlation.py`, without groups, with its indices x_pi, y_qo and w_jio.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ops._windows import Axes, pad, spread, tap
from jaxnn.typing import Array, accumulator_dtype

WORKSPACE = 2**21
"""Bytes of the factor that one step of the loop forms: about what the caches nearest to two cores hold."""


def correlate(x: Array, w: Array, *, axes: Axes) -> Array:
    """y_qo = sum_ji x_pi w_jio.

    The last axis' taps cost less added up after the product than laid side by side before it, as long as the product,
    which then runs over the padded axis, is not much longer for it.
    """
    *taps, i, o = w.shape
    last = axes[-1]
    late = last.taps > 1 and last.stride == 1 and last.out >= 12
    early = axes[:-1] if late else axes
    if late:
        w = jnp.moveaxis(w, -3, -2)  # taps before it, i, its taps, o
    matrix = w.reshape(math.prod(a.taps for a in early) * i, -1)

    def block(x):
        y = product(side_by_side(pad(x, axes), early), matrix)
        if late:
            y = y.reshape(*y.shape[:-1], last.taps, o)
            y = reduce(jnp.add, (tap(y[..., j, :], len(axes), last, j) for j in range(last.taps)))
        return y.astype(x.dtype)

    rows = math.prod(a.out for a in early) * (last.size + last.low + last.high if late else 1)
    return over_images(block, (x,), rows * max(matrix.shape) if max(taps) > 1 else 0)


def transpose(y: Array, w: Array, *, axes: Axes) -> Array:
    """x_pi = sum_jo y_qo w_jio."""
    *taps, i, o = w.shape
    matrix = w.reshape(-1, o).T

    def block(y):
        x = product(y, matrix).reshape(*y.shape[:-1], *taps, i)
        return spread_taps(lambda j: x[(..., *j, slice(None))], axes).astype(y.dtype)

    return over_images(block, (y,), math.prod(y.shape[1:-1]) * matrix.shape[1])


def weigh(x: Array, y: Array, *, axes: Axes) -> Array:
    """w_jio = sum_q x_pi y_qo."""
    taps, i, o = [a.taps for a in axes], x.shape[-1], y.shape[-1]

    def block(x, y):
        # y first: the long factor is then read as it lies.
        return transposed_product(y, side_by_side(pad(x, axes), axes))

    numbers = math.prod(y.shape[1:-1]) * math.prod(taps) * i if max(taps) > 1 else 0
    # A product that adds up more rows at once is worth a fuller cache.
    w = over_images(block, (x, y), numbers, workspaces=3, add=True)
    return w.T.reshape(*taps, i, o).astype(x.dtype)


# Moves and products.


def side_by_side(x: Array, axes: Axes) -> Array:
    """What the windows along the first axes of a padded x see, tap beside tap: `(batch, ..., taps * features)`."""
    if not axes:
        return x
    return jnp.concatenate([seen(x, axes, j) for j in all_taps(axes)], axis=-1)


def seen(x: Array, axes: Axes, j: Sequence[int]) -> Array:
    """What every window sees at tap j, which has one number for each axis."""
    for axis, (along, j_along) in enumerate(zip(axes, j, strict=True), start=1):
        x = tap(x, axis, along, j_along)
    return x


def all_taps(axes: Axes) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(a.taps) for a in axes))


def spread_taps(at: Callable[[tuple[int, ...]], Array], axes: Axes, axis: int = 1) -> Array:
    """What windows hold, at each tap, added up where it came from: one axis of taps after the other."""
    if not axes:
        return at(())
    along, *others = axes
    each = [spread_taps(lambda rest, j=j: at((j, *rest)), tuple(others), axis + 1) for j in range(along.taps)]
    return spread(each, axis, along)


def product(x: Array, w: Array) -> Array:
    """x w over the last axis of x, in float32 at least, because it is to be added to others."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return lax.dot(rows, w, preferred_element_type=accumulator_dtype(x.dtype)).reshape(*x.shape[:-1], w.shape[-1])


def transposed_product(a: Array, b: Array) -> Array:
    """a^T b, over all axes but the last; a sum over many rows, so in float32 at least."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    rows = (((0,), (0,)), ((), ()))
    return lax.dot_general(a, b, rows, preferred_element_type=accumulator_dtype(a.dtype))


def over_images(
    block: Callable[..., Array], arrays: Sequence[Array], numbers: int, *, workspaces: int = 1, add: bool = False
) -> Array:
    """Apply `block`, which forms so many numbers an image, to a few images at a time; join or add what it returns.

    A few are as many as form no more bytes than some workspaces. With taps of 1 nothing is formed, and there is
    nothing to keep in a cache.
    """
    n, nbytes = len(arrays[0]), numbers * arrays[0].dtype.itemsize
    least = min(n, -(-n * nbytes // (workspaces * WORKSPACE)))
    if least <= 1:
        return block(*arrays)
    # Blocks of equal size if it takes no more than twice as many of them. Otherwise images of zeros fill up the last:
    # their y is cut off, and they weigh nothing.
    blocks = next((blocks for blocks in range(least, 2 * least) if n % blocks == 0), least)
    images = -(-n // blocks)
    blocks = -(-n // images)
    fill = lambda a: jnp.pad(a, ((0, blocks * images - n), *[(0, 0)] * (a.ndim - 1)))
    split = tuple(fill(a).reshape(blocks, images, *a.shape[1:]) for a in arrays)
    if add:
        total = jax.eval_shape(block, *(a[0] for a in split))
        none = jnp.zeros(total.shape, total.dtype)
        return lax.scan(lambda total, few: (total + block(*few), None), none, split)[0]
    y = lax.scan(lambda _, few: (None, block(*few)), None, split)[1]
    return y.reshape(-1, *y.shape[2:])[:n]
