"""Convolution on a CPU: its three bilinear maps as products of matrices.

XLA's convolutions on a CPU are often slow (where they are not, they stay), and the one that weighs is many times
slower still inside a loop, where a training run lives. A matrix product is neither. One factor of it is what the
windows see, with all their taps side by side (im2col): several times larger than x, so it is formed for a few images
at a time, as many as a cache holds, in a loop. `benchmarks/NOTES.md` tells how these forms were found, and
`benchmarks/conv_ops.py` measures them.

The functions are those of `_correlation.py`, with its indices x_pi, y_qo and w_jio. Groups are of features that do
not see each other.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ops import _correlation_xla as xla
from jaxnn.ops._windows import Axes, Axis, pad, spread, tap
from jaxnn.typing import Array, accumulator_dtype

WORKSPACE = 2**21
"""Bytes of the factor that one step of the loop forms: about what the caches nearest to two cores hold."""

NARROW = 32
"""Features below which a matrix product is slow: groups of fewer are taken together."""

Product = Callable[..., Array]


def correlate(x: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """y_qo = sum_ji x_pi w_jio."""
    *taps, i, o = w.shape
    if i == 1:
        return _correlate_each(x, w, axes, groups)
    if groups > 1:
        return _in_groups(correlate, x, w, axes, groups)
    if _xla_is_faster(i, o, axes):
        return xla.correlate(x, w, axes=axes, groups=1)

    # The last axis' taps cost less added up after the product than laid side by side before it, as long as the
    # product, which then runs over the padded axis, is not much longer for it.
    last = axes[-1]
    late = last.taps > 1 and last.stride == 1 and last.out >= 12
    early = axes[:-1] if late else axes
    if late:
        w = jnp.moveaxis(w, -3, -2)  # taps before it, i, its taps, o
    matrix = w.reshape(math.prod(a.taps for a in early) * i, -1)

    def block(x):
        y = _product(_side_by_side(pad(x, axes), early), matrix)
        if late:
            y = y.reshape(*y.shape[:-1], last.taps, o)
            y = reduce(jnp.add, (tap(y[..., j, :], len(axes), last, j) for j in range(last.taps)))
        return y.astype(x.dtype)

    rows = math.prod(a.out for a in early) * (last.size + last.low + last.high if late else 1)
    return _over_images(block, (x,), rows * max(matrix.shape) if max(taps) > 1 else 0)


def _xla_is_faster(i: int, o: int, axes: Axes) -> bool:
    """Where XLA's own forward wins, in a loop too: narrow features, one axis, and in two axes many or distant taps."""
    wide = math.prod(a.taps for a in axes) > 9 or any(a.dilation > 1 for a in axes)
    return min(i, o) < 8 or len(axes) == 1 or (len(axes) == 2 and wide)


def transpose(y: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """x_pi = sum_jo y_qo w_jio."""
    if all(a.stride == 1 for a in axes):
        return correlate(y, xla.turned(w, groups), axes=tuple(map(Axis.turned, axes)), groups=groups)
    *taps, i, o = w.shape
    if i == 1:
        return _transpose_each(y, w, axes, groups)
    if groups > 1:
        return _in_groups(transpose, y, w, axes, groups)
    matrix = w.reshape(-1, o).T

    def block(y):
        x = _product(y, matrix).reshape(*y.shape[:-1], *taps, i)
        return _spread(lambda j: x[(..., *j, slice(None))], axes).astype(y.dtype)

    return _over_images(block, (y,), math.prod(y.shape[1:-1]) * matrix.shape[1])


def weigh(x: Array, y: Array, *, axes: Axes, groups: int) -> Array:
    """w_jio = sum_q x_pi y_qo."""
    taps, i, o = [a.taps for a in axes], x.shape[-1] // groups, y.shape[-1]
    if groups > 1:
        return _weigh_each(x, y, axes, groups) if i == 1 else _weigh_in_groups(x, y, axes, groups)

    def block(x, y):
        # y first: the long factor is then read as it lies.
        return _transposed_product(y, _side_by_side(pad(x, axes), axes))

    # A third of what is formed: a product that adds up more rows at once is worth a fuller cache.
    numbers = math.prod(y.shape[1:-1]) * math.prod(taps) * i // 3 if max(taps) > 1 else 0
    w = _over_images(block, (x, y), numbers, add=True)
    return w.T.reshape(*taps, i, o).astype(x.dtype)


# Moves and products.


def _side_by_side(x: Array, axes: Axes) -> Array:
    """What the windows along the first axes of a padded x see, tap beside tap: `(batch, ..., taps * features)`."""
    return jnp.concatenate([_seen(x, axes, j) for j in _taps(axes)], axis=-1)


def _seen(x: Array, axes: Axes, j: Sequence[int]) -> Array:
    """What every window sees at tap j, which has one number for each axis."""
    for axis, (along, j_along) in enumerate(zip(axes, j, strict=True), start=1):
        x = tap(x, axis, along, j_along)
    return x


def _taps(axes: Axes) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(a.taps) for a in axes))


def _spread(at: Callable[[tuple[int, ...]], Array], axes: Axes, axis: int = 1) -> Array:
    """What windows hold, at each tap, added up where it came from: one axis of taps after the other."""
    if not axes:
        return at(())
    along, *others = axes
    each = [_spread(lambda rest, j=j: at((j, *rest)), tuple(others), axis + 1) for j in range(along.taps)]
    return spread(each, axis, along)


def _product(x: Array, w: Array) -> Array:
    """x w over the last axis of x, in float32 at least, because it is to be added to others."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return lax.dot(rows, w, preferred_element_type=accumulator_dtype(x.dtype)).reshape(*x.shape[:-1], w.shape[-1])


def _transposed_product(a: Array, b: Array) -> Array:
    """a^T b, over all axes but the last; a sum over many rows, so in float32 at least."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    rows = (((0,), (0,)), ((), ()))
    return lax.dot_general(a, b, rows, preferred_element_type=accumulator_dtype(a.dtype))


def _over_images(block: Product, arrays: Sequence[Array], numbers: int, *, add: bool = False) -> Array:
    """Apply `block`, which forms so many numbers an image, to a few images at a time; join or add what it returns.

    With taps of 1 nothing is formed, and there is nothing to keep in a cache.
    """
    n, nbytes = len(arrays[0]), numbers * arrays[0].dtype.itemsize
    least = min(n, -(-n * nbytes // WORKSPACE))
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


# Groups.


def _correlate_each(x: Array, w: Array, axes: Axes, groups: int) -> Array:
    """`correlate` where every feature in is alone in its group: a sum over taps, element by element."""
    *taps, _, o = w.shape
    dtype = x.dtype
    wide = accumulator_dtype(dtype)
    x, w = pad(x, axes)[..., None].astype(wide), w.reshape(*taps, groups, o // groups).astype(wide)
    y = reduce(jnp.add, (_seen(x, axes, j) * jnp.expand_dims(w[j], range(x.ndim - 2)) for j in _taps(axes)))
    return y.reshape(*y.shape[:-2], o).astype(dtype)


def _transpose_each(y: Array, w: Array, axes: Axes, groups: int) -> Array:
    """`transpose` where every feature of x is alone in its group."""
    *taps, _, o = w.shape
    dtype = y.dtype
    y, w = (a.reshape(*a.shape[:-1], groups, o // groups) for a in (y, w.reshape(*taps, o)))
    y, w = y.astype(accumulator_dtype(dtype)), w.astype(accumulator_dtype(dtype))
    return _spread(lambda j: (y * jnp.expand_dims(w[j], range(y.ndim - 2))).sum(-1), axes).astype(dtype)


def _weigh_each(x: Array, y: Array, axes: Axes, groups: int) -> Array:
    """`weigh` where every feature in is alone in its group: for each tap a sum of x_p y_q."""
    o = y.shape[-1]

    def block(x, y):
        x = pad(x, axes)[..., None]
        y = y.reshape(*y.shape[:-1], groups, o // groups)
        ones = jnp.ones((*y.shape[:-2], 1), y.dtype)  # XLA's product with them is faster than its sum
        return jnp.stack(
            [_transposed_product(ones, (_seen(x, axes, j) * y).reshape(*y.shape[:-2], o)) for j in _taps(axes)]
        )

    w = _over_images(block, (x, y), 3 * math.prod(y.shape[1:]), add=True)
    return w.reshape(*(a.taps for a in axes), 1, o).astype(x.dtype)


def _in_groups(product: Product, a: Array, w: Array, axes: Axes, groups: int) -> Array:
    """`correlate` or `transpose` one group after the other; narrow groups together, unconnected by weights of 0."""
    *taps, i, o = w.shape
    together = _together(i, o // groups, groups)
    if together > 1:
        connected = jnp.eye(together, dtype=w.dtype).reshape(*[1] * len(taps), together, 1, 1, together, 1)
        w = w.reshape(*taps, 1, i, groups // together, together, o // groups) * connected
        return product(a, w.reshape(*taps, together * i, o), axes=axes, groups=groups // together)
    each = lambda a_w: product(*a_w, axes=axes, groups=1)
    return _join(lax.map(each, (_split(a, groups), _split(w, groups))))


def _weigh_in_groups(x: Array, y: Array, axes: Axes, groups: int) -> Array:
    """`weigh` one group after the other; narrow groups together, of which their own weights are kept."""
    i, o = x.shape[-1] // groups, y.shape[-1] // groups
    together = _together(i, o, groups)
    if together > 1:
        w = weigh(x, y, axes=axes, groups=groups // together)
        taps = w.shape[:-2]
        w = w.reshape(*taps, together, i, groups // together, together, o)
        own = jnp.diagonal(w, axis1=len(taps), axis2=len(taps) + 3)  # taps, i, groups // together, o, together
        return own.swapaxes(-1, -2).reshape(*taps, i, groups * o)
    each = lambda x_y: weigh(*x_y, axes=axes, groups=1)
    return _join(lax.map(each, (_split(x, groups), _split(y, groups))))


def _together(i: int, o: int, groups: int) -> int:
    """How many groups to take together: a divisor of their number."""
    return max(g for g in range(1, groups + 1) if groups % g == 0 and (g == 1 or g * max(i, o) <= NARROW))


def _split(a: Array, groups: int) -> Array:
    """The last axis in groups, which become the first axis."""
    return jnp.moveaxis(a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups), -2, 0)


def _join(a: Array) -> Array:
    """The inverse of `_split`."""
    a = jnp.moveaxis(a, 0, -2)
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])
