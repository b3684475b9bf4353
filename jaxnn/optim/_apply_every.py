"""Updates that are held back and come as a sum."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import widest
from jaxnn.optim._checks import check_count
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class ApplyEvery(NamedTuple):
    """State of `apply_every`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps since the last sum, shape (), int32
    grad_acc: Any  # the sum, like the parameters


def apply_every(k: Scalar = 1) -> Optimizer:
    """Give the sum of the last k updates at every k-th step, and 0 at the others.

    What stands before it in a chain sees every step, and its state changes at every one: with Adam before it, k steps
    of small batches are not one step of a batch of all their examples. For that there is `MultiSteps`, which gives its
    optimizer the mean of k gradients.

    Args:
        k: After how many steps the sum is given.

    Raises:
        ValueError: `k` is a number below 1, or not whole. With a tracer below 1 what comes out means nothing.

    >>> t, p = apply_every(2), jnp.array(0.0)
    >>> first, state = t.update(jnp.array(3.0), t.init(p))
    >>> second, state = t.update(jnp.array(4.0), state)
    >>> first, second
    (Array(0., dtype=float32), Array(7., dtype=float32))
    """
    check_count("it counts steps", k=k)

    def init(params):
        return ApplyEvery(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        period = jnp.asarray(k, jnp.int32)
        first, last = state.count == 0, state.count == period - 1

        def add(g, total):
            wide = widest(g, total)
            return jnp.where(first, 0, total.astype(wide)) + g.astype(wide)

        total = jax.tree.map(add, updates, state.grad_acc)
        given = jax.tree.map(lambda a, g: jnp.where(last, a, 0).astype(g.dtype), total, updates)
        kept = jax.tree.map(lambda a, old: a.astype(old.dtype), total, state.grad_acc)
        return given, ApplyEvery((state.count + 1) % period, kept)

    return optax.GradientTransformation(init, update)
