"""Convolution with windows of three taps in fewer multiplications: Winograd's minimal filtering, F(2, 3).

Two neighbouring windows of three taps see four positions, and share two of them. Their six products can be four:

    V = (x_0 - x_2,  x_1 + x_2,  x_2 - x_1,  x_1 - x_3)                 of four positions of x
    U = (w_0,  (w_0 + w_1 + w_2) / 2,  (w_0 - w_1 + w_2) / 2,  w_2)     of the taps
    Z = (y_0,  y_0 + y_1,  y_0 - y_1,  -y_1)                            of two windows of y

    correlate    y = (M_0 + M_1 + M_2,  M_1 - M_2 - M_3),                                    M_k = V_k U_k
    weigh        w = (D_0 + (D_1 + D_2) / 2,  (D_1 - D_2) / 2,  (D_1 + D_2) / 2 + D_3),      D_k = V_k Z_k

(Z is made of y by the transpose of what makes y of M, and w of D by that of what makes U of w; `transpose` is
`correlate` of y with w turned round.) For every k there is a product of matrices, with the features as one of their
sides: along one axis 1.5 times fewer multiplications than without, along two 2.25 times. More is added instead, and
moved.

Nothing leaks: what a window does not see takes no part in its sum, not even by a rounding error, so zeros stay zeros,
and NaN stays where it belongs. Only what sees an infinity may be NaN.

Source: Winograd, "Arithmetic Complexity of Computations" (1980); Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import jax.numpy as jnp
from jax import lax

from jaxnn.ops._correlation_products import over_images, product, side_by_side, transposed_product
from jaxnn.ops._windows import Axes, Axis, pad
from jaxnn.typing import Array


def filters(axis: Axis) -> bool:
    """Whether this form is for the windows along an axis."""
    return (axis.taps, axis.stride, axis.dilation) == (3, 1, 1)


def correlate(x: Array, w: Array, *, axes: Axes) -> Array:
    """y_qo = sum_ji x_pi w_jio: along the last two axes if both have three taps, or along the last."""
    return _correlate(x, w, axes, lambda u: u.reshape(-1, u.shape[-1]).T)


def transpose(y: Array, w: Array, *, axes: Axes) -> Array:
    """x_pi = sum_jo y_qo w_jio: y correlated with w turned round.

    That i and o change places is left to the product: a copy of w would take longer than it where there are hundreds.
    """
    w = jnp.flip(w, range(len(axes)))
    turned = tuple(map(Axis.turned, axes))
    return _correlate(y, w, turned, lambda u: jnp.moveaxis(u, -2, 0).reshape(u.shape[-2], -1))


def _correlate(x: Array, w: Array, axes: Axes, matrix: Callable[[Array], Array]) -> Array:
    """`correlate`, where `matrix` makes of each U a matrix of features out by taps times features in."""
    late = 2 if len(axes) > 1 and filters(axes[-2]) else 1
    early, tiles = axes[:-late], tuple(map(_in_pairs, axes[-late:]))
    along = range(x.ndim - 1 - late, x.ndim - 1)
    u = [matrix(u) for u in _each(_of_w, [w], range(w.ndim - 2 - late, w.ndim - 2))]

    def block(x):
        v = _each(_of_x, [pad(x, early + tiles)], along)
        m = [product(side_by_side(v, early), u.T) for v, u in zip(v, u, strict=True)]
        y = _together(_of_m, m, along)
        return y[(slice(None), *(slice(a.out) for a in axes))].astype(x.dtype)

    numbers = 2**late * math.prod(a.out for a in early + tiles) * sum(u[0].shape)
    return over_images(block, (x,), numbers, workspaces=12)


def weigh(x: Array, y: Array, *, axes: Axes) -> Array:
    """w_jio = sum_q x_pi y_qo: along the last axis; along two the products would be too thin to be fast."""
    i, o = x.shape[-1], y.shape[-1]
    early, tiles = axes[:-1], (_in_pairs(axes[-1]),)
    along = [x.ndim - 2]
    even = [(0, 0)] * (y.ndim - 2) + [(0, tiles[0].out - axes[-1].out), (0, 0)]

    def block(x, y):
        v = [side_by_side(v, early) for v in _each(_of_x, [pad(x, early + tiles)], along)]
        z = _each(_of_y, [jnp.pad(y, even)], along)
        a, b = (v, z) if o > i else (z, v)  # the longer rows second: these are read as they lie
        return jnp.stack([transposed_product(a, b) for a, b in zip(a, b, strict=True)])

    taps = [a.taps for a in early]
    numbers = 2 * math.prod(a.out for a in early + tiles) * (math.prod(taps) * i + o)
    d = over_images(block, (x, y), numbers, workspaces=6, add=True)
    d = d if o > i else d.swapaxes(1, 2)
    return _of_d(list(d.reshape(4, *taps, 1, i, o)), len(taps)).astype(x.dtype)


def _in_pairs(axis: Axis) -> Axis:
    """An even number of windows along an axis: one more where there is an odd one."""
    return replace(axis, high=axis.high + axis.out % 2)


# Along one axis, and along each of several: four arrays of each, in the order of the axes.


def _of_x(x: Array, axis: int) -> list[Array]:
    """V of x, which has two positions more than windows."""
    tiles = x.shape[axis] // 2 - 1
    x = x.reshape(*x.shape[:axis], tiles + 1, 2, *x.shape[axis + 1 :])
    halves = (lax.slice_in_dim(x, start, start + tiles, axis=axis) for start in (0, 1))
    x0, x1, x2, x3 = (lax.index_in_dim(half, j, axis + 1, keepdims=False) for half in halves for j in (0, 1))
    return [x0 - x2, x1 + x2, x2 - x1, x1 - x3]


def _of_w(w: Array, axis: int) -> list[Array]:
    """U of w; the axis is kept, with a length of one."""
    w0, w1, w2 = (lax.index_in_dim(w, j, axis) for j in range(3))
    return [w0, (w0 + w1 + w2) / 2, (w0 - w1 + w2) / 2, w2]


def _of_y(y: Array, axis: int) -> list[Array]:
    """Z of y, an even number of windows."""
    y = y.reshape(*y.shape[:axis], y.shape[axis] // 2, 2, *y.shape[axis + 1 :])
    y0, y1 = (lax.index_in_dim(y, j, axis + 1, keepdims=False) for j in (0, 1))
    return [y0, y0 + y1, y0 - y1, -y1]


def _of_m(m: Sequence[Array], axis: int) -> Array:
    """y of M."""
    y = jnp.stack([m[0] + m[1] + m[2], m[1] - m[2] - m[3]], axis + 1)
    return y.reshape(*y.shape[:axis], 2 * y.shape[axis], *y.shape[axis + 2 :])


def _of_d(d: Sequence[Array], axis: int) -> Array:
    """w of D, where the axis has a length of one."""
    return jnp.concatenate([d[0] + (d[1] + d[2]) / 2, (d[1] - d[2]) / 2, (d[1] + d[2]) / 2 + d[3]], axis)


def _each(of: Callable[[Array, int], list[Array]], arrays: list[Array], axes: Iterable[int]) -> list[Array]:
    """Apply a transform along every axis."""
    for axis in axes:
        arrays = [transformed for array in arrays for transformed in of(array, axis)]
    return arrays


def _together(of: Callable[[Sequence[Array], int], Array], arrays: list[Array], axes: Sequence[int]) -> Array:
    """Take what was transformed along every axis together again."""
    for axis in reversed(axes):
        arrays = [of(arrays[k : k + 4], axis) for k in range(0, len(arrays), 4)]
    return arrays[0]
