"""The step of Polyak: as long as the loss is above its least value."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import scaled
from jaxnn.optim._checks import check_not_nan, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate
from jaxnn.optim._momentum import sgd
from jaxnn.optim._norms import inner_product
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


def scale_by_polyak(
    f_min: Scalar = 0.0, max_learning_rate: Scalar = 1.0, eps: Scalar = 0.0, variant: str = "sps"
) -> optax.GradientTransformationExtraArgs:
    """Multiply by the learning rate at which a loss that is linear along the gradient would reach its least value.

    direction = eta g, eta = min((value - f_min) / (|g|^2 + eps), max_learning_rate), with the norm over all leaves;
    0 where |g|^2 + eps is at most 2.2e-16. `update` takes the loss: update(grads, state, params, value=loss).

    Args:
        f_min: The least value of the loss, or a bound below it.
        max_learning_rate: The largest eta.
        eps: Added to the square of the norm.
        variant: "sps", or "sps+", in which a value below `f_min` counts as `f_min`, so that eta is not below 0.

    Raises:
        ValueError: `variant` is another; `f_min` is NaN, or `max_learning_rate` or `eps` a number below 0; or `update`
            is called without `value`.

    >>> t = scale_by_polyak()
    >>> x = jnp.array([3.0, 4.0])
    >>> t.update(2 * x, t.init(x), x, value=jnp.sum(x**2))[0]
    Array([1.5, 2. ], dtype=float32)

    Source: Polyak, "Introduction to optimization" (1987); "sps": Loizou et al., "Stochastic Polyak step-size for SGD"
    (2021); "sps+": Garrigos et al., "Function value learning" (2023).
    """
    check_number("it is the length of a step", max_learning_rate=max_learning_rate)
    check_number("it keeps a divisor from 0", eps=eps)
    check_not_nan("values are compared with it", f_min=f_min)
    if variant not in ("sps", "sps+"):
        raise ValueError(f"expected variant 'sps' or 'sps+', because there are no others; got {variant!r}")

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None, *, value: Any = None, **extra):
        del params, extra
        if value is None:
            raise ValueError("expected value, because a step is as long as the loss is high; got None: "
                             "call update(updates, state, params, value=loss)")  # fmt: skip
        square = inner_product(updates, updates)
        wide = square.dtype
        gap = jnp.asarray(value).astype(wide) - jnp.asarray(f_min, wide)
        if variant == "sps+":
            gap = jnp.maximum(gap, 0)
        divisor = square + jnp.asarray(eps, wide)
        moves = ~(divisor <= jnp.finfo(float).eps)  # NaN stays
        eta = jnp.minimum(gap / jnp.where(moves, divisor, 1), jnp.asarray(max_learning_rate, wide))
        return jax.tree.map(lambda g: scaled(jnp.where(moves, eta, 0), g), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def polyak_sgd(
    max_learning_rate: Scalar = 1.0,
    scaling: LearningRate = 1.0,
    f_min: Scalar = 0.0,
    eps: Scalar = 0.0,
    variant: str = "sps",
) -> Optimizer:
    """Gradient descent with the learning rate of `scale_by_polyak`, p <- p - eta scaling g.

    `update` takes the loss of the batch that the gradient is of: update(grads, state, params, value=loss).

    Args:
        max_learning_rate: The largest eta.
        scaling: A number, a tracer or a schedule. As in optax it multiplies the gradient before eta is taken, with the
            norm of scaling g: a scaling of 1/2 halves steps with the largest eta, and doubles the others.
        f_min: The least value of the loss, or a bound below it.
        eps: Added to the square of the norm.
        variant: "sps", or "sps+", in which no eta is below 0.

    Raises:
        ValueError: `variant` is another; `f_min` is NaN, or another argument a number below 0; or `update` is called
            without `value`.

    >>> optimizer, x = polyak_sgd(), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x, value=x**2)[0]
    Array(-1., dtype=float32)

    Source: Loizou et al., "Stochastic Polyak step-size for SGD" (2021).
    """
    return chain(sgd(scaling), scale_by_polyak(f_min, max_learning_rate, eps, variant))
