"""Gradient descent, plain and with a velocity."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, scaled, widest
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._masking import MaskedNode
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class TraceState(NamedTuple):
    """State of `trace`."""

    trace: Any  # v, like the parameters


def trace(decay: Scalar, nesterov: bool = False, accumulator_dtype: Any = None) -> Optimizer:
    """Accumulate a velocity, v <- decay v + g, and move along v, or with nesterov along g + decay v.

    This is the heavy-ball form, without a factor 1 - decay; PyTorch's is the same. Keras keeps the learning
    rate inside v, which differs as soon as the rate changes. The Nesterov form is the reformulation in
    which the gradient is taken at the parameters themselves rather than ahead of them.

    Args:
        decay: Of the velocity, from 0, which is plain gradient descent, to just below 1.
        nesterov: Whether to look ahead by one step.
        accumulator_dtype: Dtype of v; that of the parameters if `None`.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1. A tracer that is not makes v grow without bound.

    >>> t = trace(0.9)
    >>> updates, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> t.update(jnp.array(2.0), state)[0]
    Array(5.6, dtype=float32)

    Source: Polyak (1964); Sutskever et al., "On the importance of initialization and momentum" (2013).
    """
    check_decay("a velocity must fade", decay=decay)

    def init(params):
        return TraceState(jax.tree.map(lambda p: jnp.zeros_like(p, accumulator_dtype), params))

    def update(updates, state, params=None):
        del params

        def accumulate(g, v):
            wide = widest(g, v)
            return jnp.asarray(decay, wide) * v.astype(wide) + g.astype(wide)

        v = jax.tree.map(accumulate, updates, state.trace)
        direction = jax.tree.map(accumulate, updates, v) if nesterov else v
        return cast_like(direction, updates), TraceState(cast_like(v, state.trace))

    return optax.GradientTransformation(init, update)


class EmaState(NamedTuple):
    """State of `ema`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    ema: Any  # m, like the parameters


def ema(decay: Scalar, debias: bool = True, accumulator_dtype: Any = None) -> Optimizer:
    """Average gradients, m <- decay m + (1 - decay) g, and move along m / (1 - decay^t), or along m.

    Args:
        decay: Of the running mean.
        debias: Whether to divide by 1 - decay^t, so that a start from 0 does not make the first steps short.
        accumulator_dtype: Dtype of m; that of the parameters if `None`.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1.

    >>> t = ema(0.75)
    >>> updates, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> updates, state.ema
    (Array(4., dtype=float32), Array(1., dtype=float32))

    The name and the numbers are optax's; `debias` is the correction of Kingma and Ba, "Adam" (2015).
    """
    check_decay("a mean must forget", decay=decay)

    def init(params):
        return EmaState(jnp.zeros((), jnp.int32), jax.tree.map(lambda p: jnp.zeros_like(p, accumulator_dtype), params))

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)
        m = jax.tree.map(lambda m, g: average(m, g, decay), state.ema, updates)
        direction = jax.tree.map(lambda m: corrected(m, decay, t), m) if debias else m
        return cast_like(direction, updates), EmaState(t, cast_like(m, state.ema))

    return optax.GradientTransformation(init, update)


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

    Raises:
        ValueError: `learning_rate` is a number below 0, or `momentum` one that is not from 0 to below 1.

    >>> import jax, jax.numpy as jnp
    >>> optimizer, x = sgd(0.1), jnp.array(2.0)
    >>> optimizer.update(jax.grad(lambda x: x**2)(x), optimizer.init(x), x)[0]
    Array(-0.4, dtype=float32)

    Source: Robbins and Monro, "A stochastic approximation method" (1951).
    """
    check_decay("a velocity must fade", momentum=momentum)
    velocity = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(velocity, scale_by_learning_rate(learning_rate))


def momentum(learning_rate: LearningRate, decay: Scalar = 0.9) -> Optimizer:
    """Heavy-ball momentum, v <- decay v + g, p <- p - learning_rate v: `sgd` with a velocity.

    The other form in circulation, v <- decay v + (1 - decay) g, is `averaged_momentum`, and takes the same path at a
    learning rate larger by 1 / (1 - decay).

    Args:
        learning_rate: A number, a tracer or a schedule.
        decay: Of the velocity, beta in much of the literature.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `decay` one that is not from 0 to below 1.

    >>> momentum(0.1).init(0.0)
    (TraceState(trace=Array(0., dtype=float32, weak_type=True)), EmptyState())

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).
    """
    check_decay("a velocity must fade", decay=decay)
    return sgd(learning_rate, decay)


def averaged_momentum(learning_rate: LearningRate, decay: Scalar = 0.9) -> Optimizer:
    """Momentum as a running mean, m <- decay m + (1 - decay) g, p <- p - learning_rate m.

    With a constant decay it takes the path of `momentum`, the heavy ball, at a learning rate of
    learning_rate (1 - decay). Nothing is corrected for the start of m from 0: the first steps are short.

    Args:
        learning_rate: A number, a tracer or a schedule.
        decay: Of the running mean.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `decay` one that is not from 0 to below 1.

    >>> optimizer, x = averaged_momentum(0.1, decay=0.75), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: the form of Kingma and Ba, "Adam" (2015), and of many courses.
    """
    return chain(ema(decay, debias=False), scale_by_learning_rate(learning_rate))


def nesterov(learning_rate: LearningRate, decay: Scalar = 0.9) -> Optimizer:
    """Nesterov momentum, v <- decay v + g, p <- p - learning_rate (g + decay v), one gradient a step.

    The parameters here are those ahead, theta - learning_rate decay v, at which the textbook form takes
    its gradient.

    Args:
        learning_rate: A number, a tracer or a schedule.
        decay: Of the velocity.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `decay` one that is not from 0 to below 1.

    >>> nesterov(0.1).init(0.0)
    (TraceState(trace=Array(0., dtype=float32, weak_type=True)), EmptyState())

    Source: Nesterov (1983); Sutskever et al., "On the importance of initialization and momentum" (2013).
    """
    check_decay("a velocity must fade", decay=decay)
    return sgd(learning_rate, decay, nesterov=True)


def look_ahead(learning_rate: Scalar, decay: Scalar = 0.9) -> Callable[[Any, Any], Any]:
    """Where the textbook's Nesterov momentum takes its gradient, p - learning_rate decay v; `momentum` does the rest.

    v <- decay v + g(p - learning_rate decay v), p <- p - learning_rate v, for `trainer(..., momentum(learning_rate,
    decay), gradient_at=look_ahead(learning_rate, decay))`. The points at which it looks are the parameters of
    `nesterov`, and its parameters are those of `nesterov` plus learning_rate decay v.

    Args:
        learning_rate: That of the optimizer, a number or a tracer: under a schedule use `nesterov`.
        decay: That of the velocity.

    Returns:
        A function of the parameters and the optimizer's state, in which it finds v by its name, `trace`.

    Raises:
        ValueError: `learning_rate` is a number below 0, `decay` one that is not from 0 to below 1, or the optimizer
            has not one velocity.

    >>> optimizer, x = momentum(0.5), jnp.array(2.0)
    >>> _, state = optimizer.update(jnp.array(1.0), optimizer.init(x), x)
    >>> look_ahead(0.5)(x, state)
    Array(1.55, dtype=float32)

    Source: Nesterov (1983), as in Sutskever et al., "On the importance of initialization and momentum" (2013).
    """
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_decay("a velocity must fade", decay=decay)

    def at(params, opt_state):
        velocities = [state.trace for state in _states(opt_state) if isinstance(state, TraceState | optax.TraceState)]
        parted = any(
            isinstance(leaf, MaskedNode) for v in velocities for leaf in jax.tree.leaves(v, is_leaf=_is_masked)
        )
        if len(velocities) != 1 or parted:
            of = "a part" if parted else "them"
            raise ValueError("expected the state of one velocity, because it leads to where the gradient is taken; got "
                             f"{len(velocities)} of {of} in {jax.tree.structure(opt_state)}\n"
                             "  hint: give the trainer momentum(learning_rate, decay)")  # fmt: skip
        ahead = lambda p, v: p - scaled(learning_rate, scaled(decay, v)).astype(p.dtype)
        return jax.tree.map(ahead, params, velocities[0])

    return at


def _is_masked(leaf: Any) -> bool:
    return isinstance(leaf, MaskedNode)


def _states(opt_state):
    return jax.tree.leaves(opt_state, is_leaf=lambda state: isinstance(state, TraceState | optax.TraceState))
