"""Convolution of groups of features that do not see each other, on a CPU: its three bilinear maps.

Narrow groups are multiplied together, with weights of 0 between them: a NaN or an infinity in one of them reaches the
others that are taken together with it, as NaN.

One group after the other, or, where every feature in is alone in its group (a depthwise convolution, and a grey
image), element by element.

The functions are those of `_correlation.py`, with its indices x_pi, y_qo and w_jio.
"""

import math
from collections.abc import Callable
from functools import reduce

import jax.numpy as jnp
from jax import lax

from jaxnn.ops._correlation_products import all_taps, over_images, seen, spread_taps, transposed_product
from jaxnn.ops._windows import Axes, pad
from jaxnn.typing import Array, accumulator_dtype

NARROW = 32
"""Features below which a matrix product is slow: groups of fewer are taken together."""

Bilinear = Callable[..., Array]
"""One of the maps, with or without groups."""


def in_groups(bilinear: Bilinear, a: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """`correlate` or `transpose` one group after the other; narrow groups together, unconnected by weights of 0."""
    *taps, i, o = w.shape
    together = _together(i, o // groups, groups)
    if together > 1:
        connected = jnp.eye(together, dtype=w.dtype).reshape(*[1] * len(taps), together, 1, 1, together, 1)
        w = w.reshape(*taps, 1, i, groups // together, together, o // groups) * connected
        return bilinear(a, w.reshape(*taps, together * i, o), axes=axes, groups=groups // together)
    each = lambda a_w: bilinear(*a_w, axes=axes, groups=1)
    return _join(lax.map(each, (_split(a, groups), _split(w, groups))))


def weigh_in_groups(weigh: Bilinear, x: Array, y: Array, *, axes: Axes, groups: int) -> Array:
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


def correlate_each(x: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """`correlate` where every feature in is alone in its group: a sum over taps, element by element."""
    *taps, _, o = w.shape
    dtype = x.dtype
    wide = accumulator_dtype(dtype)
    x, w = pad(x, axes)[..., None].astype(wide), w.reshape(*taps, groups, o // groups).astype(wide)
    y = reduce(jnp.add, (seen(x, axes, j) * jnp.expand_dims(w[j], range(x.ndim - 2)) for j in all_taps(axes)))
    return y.reshape(*y.shape[:-2], o).astype(dtype)


def transpose_each(y: Array, w: Array, *, axes: Axes, groups: int) -> Array:
    """`transpose` where every feature of x is alone in its group."""
    *taps, _, o = w.shape
    dtype = y.dtype
    y, w = (a.reshape(*a.shape[:-1], groups, o // groups) for a in (y, w.reshape(*taps, o)))
    y, w = y.astype(accumulator_dtype(dtype)), w.astype(accumulator_dtype(dtype))
    return spread_taps(lambda j: (y * jnp.expand_dims(w[j], range(y.ndim - 2))).sum(-1), axes).astype(dtype)


def weigh_each(x: Array, y: Array, *, axes: Axes, groups: int) -> Array:
    """`weigh` where every feature in is alone in its group: for each tap a sum of x_p y_q."""
    o = y.shape[-1]

    def block(x, y):
        x = pad(x, axes)[..., None]
        y = y.reshape(*y.shape[:-1], groups, o // groups)
        ones = jnp.ones((*y.shape[:-2], 1), y.dtype)  # XLA's product with them is faster than its sum
        return jnp.stack(
            [transposed_product(ones, (seen(x, axes, j) * y).reshape(*y.shape[:-2], o)) for j in all_taps(axes)]
        )

    w = over_images(block, (x, y), 3 * math.prod(y.shape[1:]), add=True)
    return w.reshape(*(a.taps for a in axes), 1, o).astype(x.dtype)
