"""Bounds on gradients: on each number, on the norm of all together, on the size of each array."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import scaled
from jaxnn.optim._checks import check_number, check_real
from jaxnn.optim._norms import global_norm, leaf_rms
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


def clip(max_delta: Scalar) -> Optimizer:
    """Bound each number of the updates, g <- min(max(g, -max_delta), max_delta).

    This turns the direction: [3, 4] becomes [1, 1] with a bound of 1. `clip_by_global_norm` only shortens it.

    Args:
        max_delta: The bound, as Keras's `clipvalue` and PyTorch's `clip_grad_value_` have it.

    Raises:
        ValueError: `max_delta` is a number below 0, or NaN. A tracer that is below 0 puts it, with its sign, in the
            place of every number; one that is NaN makes all NaN.

    >>> t = clip(1.0)
    >>> t.update(jnp.array([3.0, -4.0, 0.5]), t.init(None))[0]
    Array([ 1. , -1. ,  0.5], dtype=float32)
    """
    check_number("it bounds absolute values", max_delta=max_delta)

    def update(updates, state, params=None):
        del params
        check_real(updates)

        def clipped(g):
            bound = jnp.asarray(max_delta, g.dtype)
            return jnp.clip(g, -bound, bound)

        return jax.tree.map(clipped, updates), state

    return optax.GradientTransformation(_init, update)


def clip_by_global_norm(max_norm: Scalar) -> Optimizer:
    """Shorten the updates to a norm of at most max_norm, g <- g min(1, max_norm / ||g||), over all leaves together.

    The direction stays. Updates whose norm is not above the bound are not changed at all, nor are those that are all
    zero. Where the norm is infinite all finite updates become 0 (in float32 that is from 1.8e19 on), and where one
    number is NaN all become NaN: `zero_nans` or `apply_if_finite` come before.

    Args:
        max_norm: The bound, as Keras's `global_clipnorm` has it. PyTorch's `clip_grad_norm_` divides by ||g|| + 1e-6
            and so shortens to a little less, by a millionth of g at a norm of 1, and also where the norm is above
            max_norm - 1e-6.

    Raises:
        ValueError: `max_norm` is a number below 0, or NaN. A tracer below 0 turns the direction round; one that is NaN
            makes all NaN.

    >>> t = clip_by_global_norm(1.0)
    >>> t.update(jnp.array([3.0, 4.0]), t.init(None))[0]
    Array([0.6, 0.8], dtype=float32)

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
    """
    check_number("it bounds a norm", max_norm=max_norm)

    def update(updates, state, params=None):
        del params
        factor = shrinking(global_norm(updates), max_norm)
        return jax.tree.map(lambda g: scaled(factor, g), updates), state

    return optax.GradientTransformation(_init, update)


def clip_by_block_rms(threshold: Scalar) -> Optimizer:
    """Shorten each leaf to a root mean square of at most the threshold, g <- g min(1, threshold / sqrt(mean(g^2))).

    Args:
        threshold: The bound, the same for all leaves.

    Raises:
        ValueError: `threshold` is a number below 0, or NaN. A tracer below 0 turns the direction round; one that is
            NaN makes all NaN.

    >>> t = clip_by_block_rms(1.0)
    >>> t.update({"w": jnp.array([1.0, 7.0]), "b": jnp.array([0.5])}, t.init(None))[0]
    {'b': Array([0.5], dtype=float32), 'w': Array([0.2, 1.4], dtype=float32)}

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), section 6.
    """
    check_number("it bounds a root of squares", threshold=threshold)

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: scaled(shrinking(leaf_rms(g, 0.0), threshold), g), updates), state

    return optax.GradientTransformation(_init, update)


def shrinking(norm: Array, bound: Scalar) -> Array:
    """Return what makes a norm at most the bound: bound / norm, or exactly 1 where it is already; NaN where either is.

    >>> shrinking(jnp.array([4.0, 1.0, 0.0]), 2.0)
    Array([0.5, 1. , 1. ], dtype=float32)
    """
    bound = jnp.asarray(bound, norm.dtype)
    within = norm <= bound
    return jnp.where(within, 1, bound / jnp.where(within, 1, norm))


def _init(params: Any) -> optax.EmptyState:
    del params
    return optax.EmptyState()
