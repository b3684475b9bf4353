"""Optimizers by name: chains of transformations, with optax's names, arguments, defaults and numbers."""

from typing import Any, TypeAlias

from jaxnn.optim._combining import chain, identity
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._transforms import add_decayed_weights, scale_by_adam, scale_by_learning_rate, trace
from jaxnn.typing import Scalar, Schedule

LearningRate: TypeAlias = Scalar | Schedule


def sgd(
    learning_rate: LearningRate,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> Optimizer:
    """Gradient descent, p <- p - learning_rate g, on whatever batch the gradient is of.

    Args:
        learning_rate: A number, a tracer or a schedule.
        momentum: Decay of the velocity; with `None` there is none, and no state for one.
        nesterov: Whether to look ahead by one step.
        accumulator_dtype: Dtype of the velocity; that of the parameters if `None`.

    >>> import jax, jax.numpy as jnp
    >>> optimizer, x = sgd(0.1), jnp.array(2.0)
    >>> optimizer.update(jax.grad(lambda x: x**2)(x), optimizer.init(x), x)[0]
    Array(-0.4, dtype=float32)

    Source: Robbins and Monro, "A stochastic approximation method" (1951).
    """
    velocity = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(velocity, scale_by_learning_rate(learning_rate))


def momentum(learning_rate: LearningRate, decay: Scalar = 0.9) -> Optimizer:
    """Heavy-ball momentum, v <- decay v + g, p <- p - learning_rate v: `sgd` with a velocity.

    The other form in circulation, v <- decay v + (1 - decay) g, takes the same path at a learning rate
    larger by 1 / (1 - decay).

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1.

    >>> momentum(0.1).init(0.0)
    (TraceState(trace=Array(0., dtype=float32, weak_type=True)), EmptyState())

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).
    """
    _check_decay(decay)
    return sgd(learning_rate, decay)


def nesterov(learning_rate: LearningRate, decay: Scalar = 0.9) -> Optimizer:
    """Nesterov momentum, v <- decay v + g, p <- p - learning_rate (g + decay v), one gradient a step.

    The parameters here are those ahead, theta - learning_rate decay v, at which the textbook form takes
    its gradient.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1.

    >>> nesterov(0.1).init(0.0)
    (TraceState(trace=Array(0., dtype=float32, weak_type=True)), EmptyState())

    Source: Nesterov (1983); Sutskever et al., "On the importance of initialization and momentum" (2013).
    """
    _check_decay(decay)
    return sgd(learning_rate, decay, nesterov=True)


def _check_decay(decay: Scalar) -> None:
    if isinstance(decay, float | int) and not 0 <= decay < 1:
        raise ValueError(f"expected decay from 0 to below 1, because a velocity must fade; got {decay}")


def adam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Adam, p <- p - learning_rate m^ / (sqrt(v^ + eps_root) + eps); see `scale_by_adam` for m^ and v^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether to look ahead, which makes it Nadam.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adam(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


def adamw(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: Scalar = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Adam with decoupled weight decay, p <- p - learning_rate (m^ / (sqrt(v^) + eps) + weight_decay p).

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        weight_decay: Multiplied by the learning rate, unlike in the paper. PyTorch's default is 1e-2,
            Keras's 4e-3.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        nesterov: Whether to look ahead.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adamw(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
