"""COCOB: each parameter is a bet on the outcome of a coin, and the wealth won so far its learning rate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import ratio, widest
from jaxnn.optim._checks import check_number, check_params, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import copied
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Scalar, Schedule


class COCOBState(NamedTuple):
    """State of `scale_by_cocob`; all like the parameters."""

    init_particles: Any  # p_0
    cumulative_gradients: Any  # C
    scale: Any  # L
    subgradients: Any  # G
    reward: Any  # R


def scale_by_cocob(alpha: Scalar = 100.0, eps: Scalar = 1e-8) -> Optimizer:
    """Move each parameter to where it bets, see `cocob`: the updates are p_new - p, descent already.

    Args:
        alpha: At least how many of the largest gradients are taken to have been seen, so that early bets are small.
        eps: The largest gradient before the first one.

    Raises:
        ValueError: `alpha` or `eps` is a number below 0 or NaN, or `update` is called without parameters.

    >>> t, x = scale_by_cocob(alpha=4.0), jnp.array(2.0)
    >>> t.update(2 * x, t.init(x), x)[0]
    Array(-0.25, dtype=float32)

    Source: Orabona and Tommasi, "Training deep networks without learning rates through coin betting" (2017).
    """
    check_number("it counts gradients", alpha=alpha)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        L = jax.tree.map(lambda p: jnp.full_like(p, jnp.asarray(eps, p.dtype)), params)
        return COCOBState(copied(params), zeros(), L, zeros(), zeros())

    def update(updates, state, params=None):
        check_params(params, "the distance from the first ones is measured")
        check_real(updates)

        def bet(g, p, start, C, L, G, R):
            wide = widest(g, p)
            kept, gradient = p.dtype, g.dtype
            g, p, start, C, L, G, R = (a.astype(wide) for a in (g, p, start, C, L, G, R))
            L = jnp.maximum(L, jnp.abs(g))
            G = G + jnp.abs(g)
            R = jnp.maximum(R - g * (p - start), 0)
            C = C - g
            new = start + ratio(C, L * jnp.maximum(G + L, jnp.asarray(alpha, wide) * L)) * (L + R)
            return ((new - p).astype(gradient), *(a.astype(kept) for a in (C, L, G, R)))

        bets = jax.tree.map(bet, updates, params, *state)
        pick = lambda i: jax.tree.map(lambda _, bet: bet[i], updates, bets)
        return pick(0), COCOBState(state.init_particles, pick(1), pick(2), pick(3), pick(4))

    return optax.GradientTransformation(init, update)


def cocob(
    learning_rate: LearningRate = 1.0,
    alpha: Scalar = 100.0,
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """Continuous coin betting, p <- p_0 + C / (L max(G + L, alpha L)) (L + R), for each parameter alone.

    C <- C - g, L <- max(L, |g|), G <- G + |g|, R <- max(R - g (p - p_0), 0), before they are used; g is
    learning_rate times the gradient. Of what was won, R, and the largest gradient, L, a share is bet that grows with
    how much the gradients agree, C / G. A constant factor of all gradients changes nothing but how large eps is.

    Args:
        learning_rate: A factor of the gradients; a number, a tracer or a schedule.
        alpha: At least how many of the largest gradients are taken to have been seen, so that early bets are small.
        eps: L before the first gradient. With 0, what has had no gradient stays; in optax it becomes NaN.
        weight_decay: Adds weight_decay p to the gradients.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: A number is below 0 or NaN, or `update` is called without parameters.

    >>> optimizer, x = cocob(alpha=4.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.25, dtype=float32)

    Source: Orabona and Tommasi, "Training deep networks without learning rates through coin betting" (2017).
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
