"""Adamax: a running mean of gradients over their largest size, which fades."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import ScaleByAdamState
from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, widest
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Scalar, Schedule, accumulator_dtype


def scale_by_adamax(b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8) -> Optimizer:
    """Divide a running mean of gradients, corrected for its start, by the largest of them, which fades.

    m <- b1 m + (1 - b1) g, u <- max(b2 u, |g| + eps), direction = m / (1 - b1^t) / u, t from 1.

    The state is that of `scale_by_adam`, with u for v. u is what the p-th root of a running mean of p-th powers tends
    to as p grows; it is not too small at the start, and nothing corrects it.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the maximum, beta_2.
        eps: Added to |g| inside the maximum, as in PyTorch. The paper has none; Keras's is added to u, and its
            default is 1e-7. Where it is 0, a gradient that has always been 0 has the direction NaN.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` one below 0.

    >>> t = scale_by_adamax()
    >>> t.update(jnp.array(-4.0), t.init(jnp.array(2.0)))[0]
    Array(-1., dtype=float32)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1.
    """
    check_decay("a mean and a maximum must fade", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)

        def largest(u, g):
            wide = widest(u, g)
            return jnp.maximum(jnp.asarray(b2, wide) * u.astype(wide), jnp.abs(g).astype(wide) + jnp.asarray(eps, wide))

        def direction(m, u, g):
            wide = accumulator_dtype(g.dtype)
            return (corrected(m.astype(wide), b1, t) / u.astype(wide)).astype(g.dtype)

        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(largest, state.nu, updates)
        return jax.tree.map(direction, mu, nu, updates), ScaleByAdamState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def adamax(learning_rate: LearningRate, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8) -> Optimizer:
    """Adamax, u <- max(b2 u, |g| + eps), p <- p - learning_rate m^ / u, with m^ as in Adam.

    Args:
        learning_rate: A number, a tracer or a schedule. PyTorch's default is 2e-3, Keras's 1e-3.
        b1: Decay of the mean of gradients.
        b2: Decay of the maximum of their sizes.
        eps: Added to |g|; Keras adds it to u.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adamax(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


def adamaxw(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 1e-4,
    mask: Any = None,
) -> Optimizer:
    """Adamax with decoupled weight decay, p <- p - learning_rate (m^ / u + weight_decay p).

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the maximum of their sizes.
        eps: Added to |g|.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate. PyTorch's Adamax adds the
            decay to the gradient instead, which is L2.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adamaxw(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Kingma and Ba, "Adam" (2015); Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    return chain(
        scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate)
    )
