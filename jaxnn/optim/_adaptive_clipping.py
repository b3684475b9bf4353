"""Bounds on the gradient of each unit, relative to the norm of the unit's weights."""

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import root, scaled, squared, widest
from jaxnn.optim._checks import check_number, check_params
from jaxnn.optim._norms import number_dtype
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype

Axes = int | tuple[int, ...]


def unitwise_norm(x: Array, axis: Axes | None = None) -> Array:
    """Return the norm of each unit, sqrt(sum |x|^2 over its fan-in), in the place of every number of the unit.

    Args:
        x: Weights, or their gradients, with the units on the last axis.
        axis: The axes of the fan-in. With `None` they go by the rank, as in optax: all of a vector or a number (and of
            whatever has but one axis longer than 1); axis 0 of `(in, out)` and of `(in, heads, features)`; all but the
            last of kernels `(height, width, in, out)` and `(depth, height, width, in, out)`. A kernel of a convolution
            over time, `(width, in, out)`, has three axes too: for it give `axis=(0, 1)`.

    Raises:
        ValueError: `x` has more than five axes and there is no `axis`, or it has not the axes.

    >>> unitwise_norm(jnp.array([[3.0, 0.0], [4.0, 2.0]]))
    Array([[5., 2.],
           [5., 2.]], dtype=float32)
    """
    square = squared(x.astype(accumulator_dtype(x.dtype))).real.sum(_fan_in(x, axis), keepdims=True)
    return jnp.broadcast_to(root(square), x.shape).astype(jnp.finfo(x.dtype).dtype)


def unitwise_clip(g_norm: Array, max_norm: Array, grad: Array, div_eps: Scalar = 1e-6) -> Array:
    """Return g max_norm / max(||g||, div_eps) where ||g|| >= max_norm, and g itself elsewhere.

    Args:
        g_norm: ||g||, of the shape of `grad`, as `unitwise_norm` returns it.
        max_norm: Bounds, of the shape of `grad`.
        grad: g.
        div_eps: Keeps the divisor from 0.

    Raises:
        ValueError: The three have not the same shape, or `div_eps` is a number below 0.

    >>> unitwise_clip(jnp.array([5.0, 2.0]), jnp.array([1.0, 3.0]), jnp.array([3.0, 2.0]))
    Array([0.6, 2. ], dtype=float32)
    """
    check_number("it keeps a divisor from 0", div_eps=div_eps)
    if not g_norm.shape == max_norm.shape == grad.shape:
        raise ValueError("expected g_norm and max_norm of the shape of grad, because each number has its bound; "
                         f"got {g_norm.shape}, {max_norm.shape} and {grad.shape}")  # fmt: skip
    wide = number_dtype((g_norm, max_norm, grad))
    norm, bound = g_norm.astype(wide), max_norm.astype(wide)
    factor = jnp.where(norm < bound, 1, bound / jnp.maximum(norm, jnp.asarray(div_eps, wide)))
    return scaled(factor, grad)


def adaptive_grad_clip(clipping: Scalar, eps: Scalar = 1e-3, axis: Axes | None = None) -> Optimizer:
    """Shorten each unit's gradient to a norm of at most clipping max(||w||, eps), where w are the unit's weights.

    Args:
        clipping: The largest ratio of the norm of a gradient to that of the weights.
        eps: Stands in for norms of weights below it, so that units which begin at 0 can learn.
        axis: The axes of a unit's fan-in; by the rank with `None`, see `unitwise_norm`.

    Raises:
        ValueError: `clipping` or `eps` is a number below 0, or NaN; `update` is called without parameters; a leaf has
            more than five axes and there is no `axis`, or it has not the axes.

    >>> t, w = adaptive_grad_clip(0.1), jnp.array([[3.0, 0.0], [4.0, 2.0]])
    >>> t.update(jnp.array([[0.0, 0.1], [1.0, 0.0]]), t.init(w), w)[0]
    Array([[0. , 0.1],
           [0.5, 0. ]], dtype=float32)

    Source: Brock, De, Smith and Simonyan, "High-performance large-scale image recognition without normalization"
    (2021), section 4.1.
    """
    check_number("it is a ratio of norms", clipping=clipping)
    check_number("it is a norm", eps=eps)

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        check_params(params, "gradients are bounded by the norm of the weights")

        def clipped(g, w):
            wide, real = widest(g, w), number_dtype((g, w))
            size = jnp.maximum(unitwise_norm(w.astype(wide), axis), jnp.asarray(eps, real))
            return unitwise_clip(unitwise_norm(g.astype(wide), axis), jnp.asarray(clipping, real) * size, g)

        return jax.tree.map(clipped, updates, params), state

    return optax.GradientTransformation(init, update)


def _fan_in(x: Array, axis: Axes | None) -> Axes | None:
    if axis is not None:
        axes = (axis,) if isinstance(axis, int) else axis
        if not all(-x.ndim <= a < x.ndim for a in axes):
            raise ValueError(f"expected an array with the axes {axes}, because a unit's norm is taken over them; "
                             f"got shape {x.shape}")  # fmt: skip
        return axes
    if sum(length != 1 for length in x.shape) <= 1:
        return None
    if x.ndim > 5:
        raise ValueError("expected an array of at most five axes, because beyond those no axes of a fan-in are known; "
                         f"got shape {x.shape}\n  hint: give the axes of the fan-in as axis")  # fmt: skip
    return 0 if x.ndim <= 3 else tuple(range(x.ndim - 1))
