"""RMSProp: gradients over the root of their running square, or of their running variance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, root, squared
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square
from jaxnn.optim._momentum import trace
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class ScaleByRmsState(NamedTuple):
    """State of `scale_by_rms`."""

    nu: Any  # v, like the parameters


class ScaleByRmsWithCountState(NamedTuple):
    """State of `scale_by_rms` with `bias_correction`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    nu: Any  # v, like the parameters


def scale_by_rms(
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Optimizer:
    """Divide by the root of the running square, v <- decay v + (1 - decay) g^2, direction = g / sqrt(v + eps).

    Args:
        decay: Of the running square. PyTorch's default is 0.99.
        eps: Keeps the divisor from 0; Keras's default is 1e-7.
        initial_scale: v before the first step.
        eps_in_sqrt: Whether eps is added inside the root, as in Keras, or outside, g / (sqrt(v) + eps), as in PyTorch.
        bias_correction: Whether v is divided by 1 - decay^t, so that a start from 0 does not make the first steps long.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1, or `eps` or `initial_scale` one below 0.

    >>> t = scale_by_rms(decay=0.75)
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(2., dtype=float32)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e (2012).
    """
    _check(decay, eps, initial_scale)

    def init(params):
        nu = jax.tree.map(lambda p: jnp.full_like(p, jnp.asarray(initial_scale, p.dtype)), params)
        return ScaleByRmsWithCountState(jnp.zeros((), jnp.int32), nu) if bias_correction else ScaleByRmsState(nu)

    def update(updates, state, params=None):
        del params
        nu = jax.tree.map(lambda v, g: average_square(v, g, decay), state.nu, updates)
        if bias_correction:
            t = next_count(state.count)
            square = jax.tree.map(lambda v: corrected(v, decay, t), nu)
            new = ScaleByRmsWithCountState(t, cast_like(nu, state.nu))
        else:
            square, new = nu, ScaleByRmsState(cast_like(nu, state.nu))
        return jax.tree.map(lambda g, v: _over_root(g, v, eps, eps_in_sqrt), updates, square), new

    return optax.GradientTransformation(init, update)


class ScaleByRStdDevState(NamedTuple):
    """State of `scale_by_stddev`."""

    mu: Any  # m, like the parameters
    nu: Any  # v, like the parameters


class ScaleByRStdDevWithCountState(NamedTuple):
    """State of `scale_by_stddev` with `bias_correction`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # v, like the parameters


def scale_by_stddev(
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Optimizer:
    """Divide by the running standard deviation, direction = g / sqrt(v - m^2 + eps), with running means m, v of g, g^2.

    Args:
        decay: Of both running means.
        eps: Keeps the divisor from 0. A v - m^2 that is rounded to below 0, as where gradients hardly change, is 0
            here; in optax the direction is NaN if it is below -eps.
        initial_scale: v before the first step; m is 0.
        eps_in_sqrt: Whether eps is added inside the root, or outside.
        bias_correction: Whether both are divided by 1 - decay^t.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1, or `eps` or `initial_scale` one below 0.

    >>> t = scale_by_stddev(decay=0.5)
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(2., dtype=float32)

    Source: Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 40.
    """
    _check(decay, eps, initial_scale)

    def init(params):
        mu = jax.tree.map(jnp.zeros_like, params)
        nu = jax.tree.map(lambda p: jnp.full_like(p, jnp.asarray(initial_scale, p.dtype)), params)
        if bias_correction:
            return ScaleByRStdDevWithCountState(jnp.zeros((), jnp.int32), mu, nu)
        return ScaleByRStdDevState(mu, nu)

    def update(updates, state, params=None):
        del params
        mu = jax.tree.map(lambda m, g: average(m, g, decay), state.mu, updates)
        nu = jax.tree.map(lambda v, g: average_square(v, g, decay), state.nu, updates)
        mean, square = mu, nu
        kept = cast_like(mu, state.mu), cast_like(nu, state.nu)
        if bias_correction:
            t = next_count(state.count)
            mean, square = (jax.tree.map(lambda a: corrected(a, decay, t), tree) for tree in (mu, nu))
            new = ScaleByRStdDevWithCountState(t, *kept)
        else:
            new = ScaleByRStdDevState(*kept)
        variance = jax.tree.map(_variance, mean, square)
        return jax.tree.map(lambda g, v: _over_root(g, v, eps, eps_in_sqrt), updates, variance), new

    return optax.GradientTransformation(init, update)


def rmsprop(
    learning_rate: LearningRate,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Optimizer:
    """RMSProp, v <- decay v + (1 - decay) g^2, p <- p - learning_rate g / sqrt(v + eps).

    Args:
        learning_rate: A number, a tracer or a schedule.
        decay: Of the running square. PyTorch's default is 0.99.
        eps: Keeps the divisor from 0; Keras's default is 1e-7.
        initial_scale: v before the first step.
        eps_in_sqrt: Whether eps is added inside the root, as in Keras, or outside, as in PyTorch.
        centered: Whether to divide by the running standard deviation, `scale_by_stddev`.
        momentum: Decay of a velocity of the scaled steps, as in Keras; with `None` there is none. PyTorch's is of
            steps before they are multiplied by the learning rate, which differs under a schedule.
        nesterov: Whether that looks ahead by one step.
        bias_correction: Whether running means are corrected for their start.

    Raises:
        ValueError: `decay` or `momentum` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> optimizer, x = rmsprop(0.1, decay=0.75), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e (2012).
    """
    check_decay("a velocity must fade", momentum=momentum)
    scale_by = scale_by_stddev if centered else scale_by_rms
    return chain(
        scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )


def _variance(m: Array, v: Array) -> Array:
    difference = (v - squared(m)).real
    return jnp.where(difference < 0, 0, difference).astype(v.dtype)


def _over_root(g: Array, v: Array, eps: Scalar, eps_in_sqrt: bool) -> Array:
    eps = jnp.asarray(eps, v.dtype)
    return (g.astype(v.dtype) / (root(v + eps) if eps_in_sqrt else root(v) + eps)).astype(g.dtype)


def _check(decay: Scalar, eps: Scalar, initial_scale: Scalar) -> None:
    check_decay("a mean must forget", decay=decay)
    check_number("it keeps a divisor from 0", eps=eps)
    check_number("it is a mean of squares", initial_scale=initial_scale)
