"""Updates times a number, and updates of a given length."""

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import ratio, scaled
from jaxnn.optim._checks import check_not_nan, check_number
from jaxnn.optim._norms import global_norm
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


def scale(step_size: Scalar) -> Optimizer:
    """Multiply by a number, g <- step_size g; by a negative one to descend.

    Args:
        step_size: Any number. `scale_by_learning_rate` takes schedules too, and turns ascent into descent.

    Raises:
        ValueError: `step_size` is NaN.

    >>> t = scale(-0.5)
    >>> t.update(jnp.array(4.0), t.init(None))[0]
    Array(-2., dtype=float32)
    """
    check_not_nan("updates are multiplied by it", step_size=step_size)

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: scaled(step_size, g), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def normalize_by_update_norm(scale_factor: Scalar = 1.0, eps: Scalar = 1e-6) -> Optimizer:
    """Give the updates one length, g <- scale_factor g / (||g|| + eps), with the norm over all leaves together.

    Updates that are all zero stay so, with an `eps` of 0 too (where optax's become NaN).

    Args:
        scale_factor: The length; a negative one turns the direction round.
        eps: Keeps the divisor from 0.

    Raises:
        ValueError: `scale_factor` is NaN, or `eps` a number below 0 or NaN.

    >>> t = normalize_by_update_norm(2.0, eps=0.0)
    >>> t.update(jnp.array([3.0, 4.0]), t.init(None))[0]
    Array([1.2, 1.6], dtype=float32)
    """
    check_not_nan("updates are multiplied by it", scale_factor=scale_factor)
    check_number("it keeps a divisor from 0", eps=eps)

    def update(updates, state, params=None):
        del params
        norm = global_norm(updates)
        length = norm + jnp.asarray(eps, norm.dtype)
        factor = ratio(jnp.asarray(scale_factor, norm.dtype), length)
        return jax.tree.map(lambda g: scaled(factor, g), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
