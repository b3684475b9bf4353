"""Weights that fade in proportion to themselves."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, scaled
from jaxnn.optim._checks import check_number, check_params
from jaxnn.optim._masking import masked
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule


class WeightDecaySchedule(NamedTuple):
    """State of `add_decayed_weights` under a schedule."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name


def add_decayed_weights(weight_decay: Scalar | Schedule = 0.0, mask: Any = None) -> Optimizer:
    """Add weight_decay p to the direction: decoupled decay after an adaptive scaling, L2 before one.

    Args:
        weight_decay: The rate of decay, a number, a tracer or a schedule; a later learning rate multiplies it, unlike
            in the paper.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays. By
            default all does, as in optax.

    Raises:
        ValueError: `weight_decay` is a number below 0, or `update` is called without parameters.

    >>> t = add_decayed_weights(0.1)
    >>> t.update(jnp.array(1.0), t.init(jnp.array(2.0)), jnp.array(2.0))[0]
    Array(1.2, dtype=float32)

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    check_number("weights fade and do not grow", weight_decay=weight_decay)

    def init(params):
        del params
        return WeightDecaySchedule(jnp.zeros((), jnp.int32)) if callable(weight_decay) else optax.EmptyState()

    def update(updates, state, params=None):
        check_params(params, "weights decay in proportion to themselves")
        if callable(weight_decay):
            rate, state = weight_decay(state.count), WeightDecaySchedule(next_count(state.count))
        else:
            rate = weight_decay
        return jax.tree.map(lambda g, p: g + scaled(rate, p).astype(g.dtype), updates, params), state

    decay = optax.GradientTransformation(init, update)
    return decay if mask is None else masked(decay, mask)
