"""Steps of each leaf in proportion to its norm: LARS, LAMB and Fromage."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import scale_by_adam
from jaxnn.optim._arithmetic import floating, next_count, scaled
from jaxnn.optim._checks import check_decay, check_number, check_params
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._masking import masked
from jaxnn.optim._momentum import trace
from jaxnn.optim._norms import leaf_norm
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import WeightDecaySchedule, add_decayed_weights
from jaxnn.typing import Scalar, Schedule


def scale_by_trust_ratio(min_norm: Scalar = 0.0, trust_coefficient: Scalar = 1.0, eps: Scalar = 0.0) -> Optimizer:
    """Give the step of each leaf a norm in proportion to that of its parameters.

    With the norms |p| and |g| of a leaf, neither taken as less than min_norm,
    direction = trust_coefficient |p| / (|g| + eps) g, and g itself where |p| or |g| is 0, so that parameters that
    begin at 0 can leave it.

    Args:
        min_norm: The least norm.
        trust_coefficient: The norm of a step over that of the parameters.
        eps: Added to |g|.

    Raises:
        ValueError: An argument is a number below 0, or NaN; or `update` is called without parameters.

    >>> t = scale_by_trust_ratio()
    >>> g, p = jnp.array([3.0, 4.0]), jnp.array([0.0, 2.0])
    >>> t.update(g, t.init(p), p)[0]
    Array([1.2, 1.6], dtype=float32)

    Source: You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017).
    """
    check_number("it is a norm", min_norm=min_norm)
    check_number("it is a ratio of norms", trust_coefficient=trust_coefficient)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        check_params(params, "a step is as long as their norm says")

        def direction(g, p):
            p_norm, g_norm = leaf_norm(p, min_norm), leaf_norm(g, min_norm)
            apart = (p_norm != 0) & (g_norm != 0)
            divisor = jnp.where(apart, g_norm, 1) + jnp.asarray(eps, g_norm.dtype)
            ratio = (jnp.asarray(trust_coefficient, p_norm.dtype) * p_norm).astype(divisor.dtype) / divisor
            return scaled(jnp.where(apart, ratio, 1), g)

        return jax.tree.map(direction, updates, params), state

    return optax.GradientTransformation(init, update)


def lars(
    learning_rate: LearningRate,
    weight_decay: Scalar | Schedule = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: Scalar = 0.001,
    eps: Scalar = 0.0,
    trust_ratio_mask: Any = True,
    momentum: Scalar = 0.9,
    nesterov: bool = False,
) -> Optimizer:
    """LARS: gradient descent with a velocity, in which the step of each leaf is in proportion to its norm.

    u = g + weight_decay p, v <- momentum v + learning_rate trust_coefficient |p| / (|u| + eps) u, p <- p - v.
    The learning rate is within v, as in the paper: a change of it is felt only as v fades.

    Args:
        learning_rate: A number, a tracer or a schedule.
        weight_decay: L2, added to the gradient. With 0, and eps 0, the length of the gradient does not matter.
        weight_decay_mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        trust_coefficient: The norm of a step over that of the parameters.
        eps: Added to |u|.
        trust_ratio_mask: Likewise: what is scaled; biases and the parameters of normalization are often left out.
        momentum: Decay of v.
        nesterov: Whether to look ahead by one step.

    Raises:
        ValueError: `momentum` is a number that is not from 0 to below 1, or another argument one below 0; or `update`
            is called without parameters.

    >>> optimizer, x = lars(0.5), jnp.array([3.0, 4.0])
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array([-0.0015, -0.002 ], dtype=float32)

    Source: You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017).
    """
    check_decay("a velocity must fade", momentum=momentum)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )


def lamb(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-6,
    eps_root: Scalar = 0.0,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """LAMB: Adam with the step of each leaf in proportion to its norm.

    u = m^ / (sqrt(v^ + eps_root) + eps) + weight_decay p, as in `adamw`, p <- p - learning_rate |p| / |u| u.

    Args:
        learning_rate: A number, a tracer or a schedule: the norm of a step over that of the parameters.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. Keras's default is 1e-7.
        eps_root: Added inside the root.
        weight_decay: Added to the direction before its norm is taken; 0.01 in the paper.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0; or
            `update` is called without parameters.

    >>> optimizer, x = lamb(0.5), jnp.array([0.0, 2.0])
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array([-0., -1.], dtype=float32)

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020).
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


def fromage(learning_rate: LearningRate, min_norm: Scalar = 1e-6) -> Optimizer:
    """Fromage: steps in proportion to the norm of each leaf, and a shrinking so that the norm does not grow.

    p <- (p - eta |p| / |g| g) / sqrt(1 + eta^2), eta the learning rate: a step at a right angle to p leaves |p| as it
    was. A leaf of zero gradients shrinks too.

    Args:
        learning_rate: A number, a tracer or a schedule; 0.01 in the paper, whatever the network.
        min_norm: The least norm of either.

    Raises:
        ValueError: An argument is a number below 0, or NaN; or `update` is called without parameters.

    >>> optimizer, p = fromage(0.75), jnp.array([0.0, 1.0])
    >>> optimizer.update(jnp.array([3.0, 0.0]), optimizer.init(p), p)[0]
    Array([-0.6, -0.2], dtype=float32)

    Source: Bernstein et al., "On the distance between two neural networks and the stability of learning" (2020).
    """
    check_number("it is the length of a step", learning_rate=learning_rate)
    if callable(learning_rate):
        return chain(
            scale_by_trust_ratio(min_norm),
            scale_by_learning_rate(lambda count: _shortened(learning_rate(count))),
            _shrink(lambda count: _excess(learning_rate(count))),
        )
    return chain(
        scale_by_trust_ratio(min_norm),
        scale_by_learning_rate(_shortened(learning_rate)),
        _shrink(_excess(learning_rate)),
    )


def _shortened(eta: Any) -> Any:
    return floating(eta) / _lengthening(eta)


def _lengthening(eta: Any) -> Any:
    return (1 + floating(eta) ** 2) ** 0.5


def _excess(eta: Any) -> Any:
    """1 - 1 / sqrt(1 + eta^2), without the difference, of which rounding would leave little for a small eta."""
    r = _lengthening(eta)
    return floating(eta) ** 2 / (r * (1 + r))


def _shrink(part: LearningRate) -> Optimizer:
    """Take a part of the parameters away, after the learning rate: what decay by minus that part would do."""

    def init(params):
        del params
        return WeightDecaySchedule(jnp.zeros((), jnp.int32)) if callable(part) else optax.EmptyState()

    def update(updates, state, params=None):
        s = part(state.count) if callable(part) else part
        new = WeightDecaySchedule(next_count(state.count)) if callable(part) else state
        return jax.tree.map(lambda g, p: g - scaled(s, p).astype(g.dtype), updates, params), new

    return optax.GradientTransformation(init, update)
