"""Optimism: the next gradient is foreseen from the last two."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import scale_by_adam
from jaxnn.optim._arithmetic import cast_like, widest
from jaxnn.optim._checks import check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class ScaleByOptimisticGradientState(NamedTuple):
    """State of `scale_by_optimistic_gradient`."""

    is_initial_step: Array  # shape (), bool
    previous_gradient: Any  # g of the step before, like the parameters


def scale_by_optimistic_gradient(alpha: Scalar = 1.0, beta: Scalar = 1.0) -> Optimizer:
    """Add the change of the gradient since the step before, direction = alpha g_t + beta (g_t - g_(t-1)).

    It is made for games, of which descent and ascent at once circle the solution. At the first step there is no
    change, and the direction is alpha g.

    Args:
        alpha: The weight of the gradient.
        beta: The weight of its change; 0 is gradient descent.

    Raises:
        ValueError: An argument is a number below 0, or NaN.

    >>> t = scale_by_optimistic_gradient()
    >>> updates, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> updates, t.update(jnp.array(3.0), state)[0]
    (Array(4., dtype=float32), Array(2., dtype=float32))

    Source: Mokhtari, Ozdaglar and Pattathil, "A unified analysis of extra-gradient and optimistic gradient methods for
    saddle point problems" (2020), where it is generalized by alpha and beta.
    """
    check_number("it weighs a gradient", alpha=alpha, beta=beta)

    def init(params):
        return ScaleByOptimisticGradientState(jnp.array(True), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params

        def direction(g, before):
            wide = widest(g, before)
            ahead = g.astype(wide)
            change = jnp.where(state.is_initial_step, 0, ahead - before.astype(wide))
            return jnp.asarray(alpha, wide) * ahead + jnp.asarray(beta, wide) * change

        ahead = jax.tree.map(direction, updates, state.previous_gradient)
        kept = cast_like(updates, state.previous_gradient)
        return cast_like(ahead, updates), ScaleByOptimisticGradientState(jnp.array(False), kept)

    return optax.GradientTransformation(init, update)


def optimistic_gradient_descent(learning_rate: LearningRate, alpha: Scalar = 1.0, beta: Scalar = 1.0) -> Optimizer:
    """Optimistic gradient descent, p <- p - learning_rate (alpha g_t + beta (g_t - g_(t-1))).

    Args:
        learning_rate: A number, a tracer or a schedule.
        alpha: The weight of the gradient. Not a schedule, which optax's annotation allows and its code cannot take.
        beta: The weight of its change; 0 is gradient descent. Not a schedule.

    Raises:
        ValueError: An argument is a number below 0, or NaN.

    >>> optimizer, x = optimistic_gradient_descent(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.4, dtype=float32)

    Source: Mokhtari, Ozdaglar and Pattathil, "A unified analysis of extra-gradient and optimistic gradient methods for
    saddle point problems" (2020).
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


def optimistic_adam_v2(
    learning_rate: LearningRate,
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> Optimizer:
    """Adam with optimism, p <- p - learning_rate (alpha u_t + beta (u_t - u_(t-1))), with u of `scale_by_adam`.

    Args:
        learning_rate: A number, a tracer or a schedule.
        alpha: The weight of the direction.
        beta: The weight of its change.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether Adam looks ahead. By default it does, unlike in `adam`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> optimizer, x = optimistic_adam_v2(0.1, nesterov=False), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Daskalakis et al., "Training GANs with optimism" (2018), algorithm 1.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )
