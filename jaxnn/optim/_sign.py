"""Steps of one length: the sign of the gradient, or of its running mean."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._checks import check_decay
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._momentum import ema
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


def scale_by_sign() -> Optimizer:
    """Keep the sign, direction = sign(g): 1, -1, or 0 where g is 0.

    >>> t = scale_by_sign()
    >>> t.update(jnp.array([4.0, 0.0, -0.1]), t.init(None))[0]
    Array([ 1.,  0., -1.], dtype=float32)

    Source: Bernstein et al., "signSGD: compressed optimisation for non-convex problems" (2018).
    """

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        del params
        return jax.tree.map(jnp.sign, updates), state

    return optax.GradientTransformation(init, update)


def sign_sgd(learning_rate: LearningRate) -> Optimizer:
    """Descent by signs, p <- p - learning_rate sign(g).

    The steps do not shorten near a minimum, so it circles one at a distance of the learning rate: use a schedule.

    Args:
        learning_rate: A number, a tracer or a schedule: the length of every step of every parameter.

    Raises:
        ValueError: `learning_rate` is a number below 0, or NaN.

    >>> optimizer, x = sign_sgd(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Bernstein et al., "signSGD: compressed optimisation for non-convex problems" (2018).
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


def signum(learning_rate: LearningRate, beta: Scalar = 0.9, accumulator_dtype: Any = None) -> Optimizer:
    """Descent by the signs of a running mean, m <- beta m + (1 - beta) g, p <- p - learning_rate sign(m).

    The start of m from 0 is not corrected: that would not change a sign.

    Args:
        learning_rate: A number, a tracer or a schedule: the length of every step of every parameter.
        beta: Decay of m. A derivative by it is 0, as a sign does not change with it but where it jumps.
        accumulator_dtype: Dtype of m; that of the parameters if `None`.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `beta` one that is not from 0 to below 1.

    >>> optimizer, x = signum(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Bernstein et al., "signSGD: compressed optimisation for non-convex problems" (2018), algorithm 2.
    """
    check_decay("a mean must forget", beta=beta)
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )
