"""AdaBelief: a running mean of gradients over the root of how far they are from it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, squared
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import mean_ahead, over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype


class ScaleByBeliefState(NamedTuple):
    """State of `scale_by_belief`, and of `scale_by_acprop`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # s, like the parameters


def scale_by_belief(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    eps_root: Scalar = 1e-16,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Divide a running mean of gradients by the root of their running square distance from it.

    m <- b1 m + (1 - b1) g, s <- b2 s + (1 - b2) (g - m)^2 + eps_root, both corrected for their start as in Adam,
    direction = m^ / (sqrt(s^) + eps). Steps are long where gradients are as the mean led one to believe.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square distance, beta_2.
        eps: Added outside the root.
        eps_root: Added to s at each step, as in the paper, so that s gathers up to eps_root / (1 - b2).
        nesterov: Whether m^ looks ahead, as in `scale_by_adam`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` or `eps_root` one below 0.

    >>> t = scale_by_belief(b1=0.5)
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(2., dtype=float32)

    Source: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients" (2020).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleByBeliefState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)

        def distance(s, m, g):
            s = average(s, squared(g.astype(m.dtype) - m), b2)
            return s + jnp.asarray(eps_root, s.dtype)

        def direction(m, s, g):
            wide = accumulator_dtype(g.dtype)
            m, s = m.astype(wide), s.astype(wide)
            return over_root(mean_ahead(m, g, b1, t, nesterov), corrected(s, b2, t), eps).astype(g.dtype)

        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(distance, state.nu, mu, updates)
        return jax.tree.map(direction, mu, nu, updates), ScaleByBeliefState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def adabelief(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    eps_root: Scalar = 1e-16,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """AdaBelief, p <- p - learning_rate m^ / (sqrt(s^) + eps); see `scale_by_belief` for m^ and s^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of their square distance from it.
        eps: Added outside the root.
        eps_root: Added to that distance at each step.
        nesterov: Whether the mean looks ahead by one step.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adabelief(0.1, b1=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients" (2020).
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))
