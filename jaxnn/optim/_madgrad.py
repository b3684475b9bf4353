"""MADGRAD: sums of gradients, from where the parameters began, over the cube root of a sum of squares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import cast_like, next_count, widest
from jaxnn.optim._checks import check_decay, check_number, check_params, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, at
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar


class MadgradState(NamedTuple):
    """State of `scale_by_madgrad`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name
    grad_sum_sq: Any  # G, like the parameters
    s: Any  # like the parameters
    x0: Any  # the parameters before the first step


def scale_by_madgrad(learning_rate: LearningRate, momentum: Scalar = 0.9, eps: Scalar = 1e-6) -> Optimizer:
    """Move towards where the sum of all gradients, scaled by their squares, leads from the first parameters.

    l = (learning_rate + eps) sqrt(t), t from 1, G <- G + l g^2, s <- s + l g, z = p_0 - s / (cbrt(G) + eps),
    update = (1 - momentum) (z - p).

    The updates are what to add to the parameters: no learning rate or sign is to follow.

    Args:
        learning_rate: A number, a tracer or a schedule. It stands in both sums: with eps of 0, a constant one moves z
            away from p_0 in proportion to learning_rate^(2/3).
        momentum: How much of p stays: 0 is to move to z at once.
        eps: Added to the learning rate and to the cube root, as in the authors' own code. With 0, gradients that were
            always 0 give NaN.

    Raises:
        ValueError: `learning_rate` or `eps` is a number below 0, `momentum` one that is not from 0 to below 1, or
            `update` is called without parameters.

    >>> t, p = scale_by_madgrad(1.0, eps=0.0), jnp.array(2.0)
    >>> f"{t.update(jnp.array(8.0), t.init(p), p)[0]:.4f}"
    '-0.2000'

    Source: Defazio and Jelassi, "Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient
    method for stochastic optimization" (2021).
    """
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_decay("parameters must move", momentum=momentum)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        G, s = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return MadgradState(jnp.zeros((), jnp.int32), G, s, jax.tree.map(jnp.array, params))  # p_0 copied

    def update(updates, state, params=None):
        check_params(params, "it moves them to where the sum of gradients leads")
        check_real(updates)
        rate = at(learning_rate, state.count)

        def weighted(total, g, power):
            wide = widest(total, g)
            weight = (jnp.asarray(rate, wide) + jnp.asarray(eps, wide)) * jnp.sqrt(state.count.astype(wide) + 1)
            return total.astype(wide) + weight * g.astype(wide) ** power

        def move(G, s, p_0, p, g):
            wide = widest(G, s, p)
            G, s, p_0, p = (a.astype(wide) for a in (G, s, p_0, p))
            z = p_0 - s / (_cube_root(G) + jnp.asarray(eps, wide))
            return ((1 - jnp.asarray(momentum, wide)) * (z - p)).astype(g.dtype)

        G = jax.tree.map(lambda G, g: weighted(G, g, 2), state.grad_sum_sq, updates)
        s = jax.tree.map(lambda s, g: weighted(s, g, 1), state.s, updates)
        return jax.tree.map(move, G, s, state.x0, params, updates), MadgradState(
            next_count(state.count), cast_like(G, state.grad_sum_sq), cast_like(s, state.s), state.x0
        )

    return optax.GradientTransformation(init, update)


def madgrad(
    learning_rate: LearningRate,
    momentum: Scalar = 0.9,
    weight_decay: Scalar = 0.0,
    eps: Scalar = 1e-6,
) -> Optimizer:
    """MADGRAD, p <- momentum p + (1 - momentum) (p_0 - s / (cbrt(G) + eps)); see `scale_by_madgrad` for s and G.

    Args:
        learning_rate: A number, a tracer or a schedule.
        momentum: How much of p stays at each step.
        weight_decay: weight_decay p is added to the gradient, so that this is L2.
        eps: Added to the learning rate and to the cube root. With 0, gradients that were always 0 give NaN.

    Raises:
        ValueError: `momentum` is a number that is not from 0 to below 1, another argument one below 0, or `update` is
            called without parameters.

    >>> import jax.numpy as jnp
    >>> optimizer, x = madgrad(1.0, eps=0.0), jnp.array(4.0)
    >>> f"{optimizer.update(2 * x, optimizer.init(x), x)[0]:.4f}"
    '-0.2000'

    Source: Defazio and Jelassi, "Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient
    method for stochastic optimization" (2021).
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))


def _cube_root(x: Array) -> Array:
    """cbrt(x) of x from 0, with derivative 0 at 0: guarded on both sides, as `root` is."""
    positive = x > 0
    return jnp.where(positive, jnp.cbrt(jnp.where(positive, x, 1)), 0)
