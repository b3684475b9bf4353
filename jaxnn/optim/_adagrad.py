"""AdaGrad: a rate for each parameter, which falls with all that its gradients have been."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import cast_like, ratio, root, squared, widest
from jaxnn.optim._checks import check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


class ScaleByRssState(NamedTuple):
    """State of `scale_by_rss`."""

    sum_of_squares: Any  # G, like the parameters


def scale_by_rss(initial_accumulator_value: Scalar = 0.1, eps: Scalar = 1e-7) -> Optimizer:
    """Divide by the root of the sum of all squares so far, G <- G + g^2, direction = g / sqrt(G + eps), 0 where G is 0.

    Args:
        initial_accumulator_value: G before the first step; 0 in the paper and in PyTorch.
        eps: Added inside the root, as in Keras; PyTorch adds its 1e-10 outside.

    Raises:
        ValueError: An argument is a number below 0, or NaN. Tracers that are give NaN.

    >>> t = scale_by_rss(0.0)
    >>> updates, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> t.update(jnp.array(3.0), state)[0]
    Array(0.6, dtype=float32)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning" (2011).
    """
    check_number("it is a sum of squares", initial_accumulator_value=initial_accumulator_value)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        return ScaleByRssState(
            jax.tree.map(lambda p: jnp.full_like(p, jnp.asarray(initial_accumulator_value, p.dtype)), params)
        )

    def update(updates, state, params=None):
        del params

        def accumulate(G, g):
            wide = widest(G, g)
            return G.astype(wide) + squared(g.astype(wide))

        def direction(G, g):
            divisor = jnp.where(G == 0, 0, root(G + jnp.asarray(eps, G.dtype)))
            return ratio(g.astype(G.dtype), divisor).astype(g.dtype)

        G = jax.tree.map(accumulate, state.sum_of_squares, updates)
        return jax.tree.map(direction, G, updates), ScaleByRssState(cast_like(G, state.sum_of_squares))

    return optax.GradientTransformation(init, update)


def adagrad(learning_rate: LearningRate, initial_accumulator_value: Scalar = 0.1, eps: Scalar = 1e-7) -> Optimizer:
    """AdaGrad, G <- G + g^2, p <- p - learning_rate g / sqrt(G + eps): for gradients that are often 0.

    G never falls, so the steps become ever smaller: like 1 / sqrt(t) where gradients stay as they are.

    Args:
        learning_rate: A number, a tracer or a schedule.
        initial_accumulator_value: G before the first step; 0 in the paper and in PyTorch.
        eps: Added inside the root.

    Raises:
        ValueError: An argument is a number below 0, or NaN.

    >>> optimizer, x = adagrad(0.1, initial_accumulator_value=0.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning" (2011).
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))
