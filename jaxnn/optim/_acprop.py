"""ACProp: gradients over the root of how far those before them were from their mean."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adabelief import ScaleByBeliefState
from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, squared, widest
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Scalar, Schedule, accumulator_dtype


def scale_by_acprop(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    eps_root: Scalar = 1e-16,
) -> Optimizer:
    """Divide gradients by the root of the running square distance of earlier ones from their running mean.

    direction = g / (sqrt(s / (1 - b2^(t-1))) + eps), and g / (1 + eps) at the first step, where s is 0, and only then
    s <- b2 s + (1 - b2) (g - m)^2 + eps_root, m <- b1 m + (1 - b1) g, t from 1.

    The state is that of `scale_by_belief`. Unlike there, the gradient is not in its own divisor, it is taken from the
    mean before it, and it is the gradient that moves the parameters, not the mean.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square distance, beta_2.
        eps: Added outside the root.
        eps_root: Added to s at each step, so that s gathers up to eps_root / (1 - b2). Where it and eps are 0, a
            gradient that has always been 0 has the direction NaN.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` or `eps_root` one below 0.

    >>> t = scale_by_acprop()
    >>> first, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> first, t.update(jnp.array(2.0), state)[0]
    (Array(4., dtype=float32), Array(0.5, dtype=float32))

    Source: Zhuang et al., "Momentum centering and asynchronous update for adaptive gradient methods" (2021).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleByBeliefState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        first = state.count == 0
        before = jnp.maximum(state.count, 1)  # at the first step s^ is 1 whatever t is, and 0 would divide by 0

        def direction(g, s):
            wide = accumulator_dtype(g.dtype)
            s_hat = jnp.where(first, 1, corrected(s.astype(wide), b2, before))
            return over_root(g.astype(wide), s_hat, eps).astype(g.dtype)

        def distance(s, m, g):
            wide = widest(s, m, g)
            return average(s, squared(g.astype(wide) - m.astype(wide)), b2) + jnp.asarray(eps_root, wide)

        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(distance, state.nu, state.mu, updates)
        return jax.tree.map(direction, updates, state.nu), ScaleByBeliefState(
            next_count(state.count), cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def acprop(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    eps_root: Scalar = 1e-16,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """ACProp, p <- p - learning_rate (g / (sqrt(s^) + eps) + weight_decay p), with s^ of earlier gradients only.

    See `scale_by_acprop` for s^. The first step is that of gradient descent.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of their square distance from it.
        eps: Added outside the root.
        eps_root: Added to that distance at each step.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = acprop(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.5, dtype=float32)

    Source: Zhuang et al., "Momentum centering and asynchronous update for adaptive gradient methods" (2021).
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
