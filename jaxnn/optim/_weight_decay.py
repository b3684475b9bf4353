"""Weights that fade in proportion to themselves."""

from typing import Any

import jax
import optax

from jaxnn.optim._arithmetic import check_number, scaled
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


def add_decayed_weights(weight_decay: Scalar = 0.0, mask: Any = None) -> Optimizer:
    """Add weight_decay p to the direction: decoupled decay after an adaptive scaling, L2 before one.

    Args:
        weight_decay: The rate of decay; a later learning rate multiplies it, unlike in the paper.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays. By
            default all does, as in optax.

    Raises:
        ValueError: `weight_decay` is a number below 0, or `update` is called without parameters.

    >>> import jax.numpy as jnp
    >>> t = add_decayed_weights(0.1)
    >>> t.update(jnp.array(1.0), t.init(jnp.array(2.0)), jnp.array(2.0))[0]
    Array(1.2, dtype=float32)

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    check_number("weights fade and do not grow", weight_decay=weight_decay)

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("expected params, because weights decay in proportion to themselves; got None: "
                             "call update(updates, state, params)")  # fmt: skip
        return jax.tree.map(lambda g, p: g + scaled(weight_decay, p).astype(g.dtype), updates, params), state

    decay = optax.GradientTransformation(init, update)
    return decay if mask is None else optax.masked(decay, mask)
