"""A learning rate in proportion to the gradient."""

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._checks import check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar, accumulator_dtype


def scale_by_magnitude(max_factor: Scalar | None = None) -> Optimizer:
    """Multiply each gradient by its own magnitude, direction = |g| g, or min(|g|, max_factor) g.

    Args:
        max_factor: What a gradient is multiplied by at most; with `None` there is no limit.

    Raises:
        ValueError: `max_factor` is a number below 0, or NaN.

    >>> import jax.numpy as jnp
    >>> t = scale_by_magnitude(max_factor=2.0)
    >>> t.update(jnp.array([-0.5, 4.0]), t.init(jnp.zeros(2)))[0]
    Array([-0.25,  8.  ], dtype=float32)
    """
    check_number("it limits a magnitude", max_factor=max_factor)

    def update(updates, state, params=None):
        del params

        def direction(g):
            wide = g.astype(accumulator_dtype(g.dtype))
            size = jnp.abs(wide)
            factor = size if max_factor is None else jnp.minimum(size, jnp.asarray(max_factor, size.dtype))
            return (factor.astype(wide.dtype) * wide).astype(g.dtype)

        return jax.tree.map(direction, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def proportional_rate(learning_rate: LearningRate, max_factor: Scalar | None = None) -> Optimizer:
    """Gradient descent with a learning rate of learning_rate |g| for each parameter, p <- p - learning_rate |g| g.

    The rate is always the original one times |g|, and never the last one times |g|, which would compound. Steps are
    long on slopes and short near a minimum, both to excess: on x^2 with a rate of 0.01 it diverges from |x| > 50,
    where gradient descent converges, and near 0 it creeps, x_n being about 1 / (4 learning_rate n). `max_factor`
    mends the first: with 1 no step is longer than that of gradient descent.

    Args:
        learning_rate: The original rate: a number, a tracer or a schedule.
        max_factor: What the original rate is multiplied by at most; with `None` there is no limit.

    Raises:
        ValueError: `learning_rate` or `max_factor` is a number below 0, or NaN.

    >>> import jax.numpy as jnp
    >>> optimizer, x = proportional_rate(0.01), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.16, dtype=float32)
    """
    return chain(scale_by_magnitude(max_factor), scale_by_learning_rate(learning_rate))
