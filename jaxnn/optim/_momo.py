"""MoMo: a learning rate from the value of the loss and a bound that it does not fall below."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, ratio, root, widest
from jaxnn.optim._checks import check_decay, check_not_nan, check_number, check_params, check_real
from jaxnn.optim._learning_rate import LearningRate, at
from jaxnn.optim._moments import average_square
from jaxnn.optim._norms import inner_product
from jaxnn.optim._parameters import narrowest
from jaxnn.typing import Array, Scalar


class MomoState(NamedTuple):
    """State of `momo`; the numbers have shape () and the narrowest dtype of the parameters."""

    exp_avg: Any  # m, like the parameters
    barf: Array  # f, the mean of losses
    gamma: Array  # the mean of <g, p>
    lb: Array  # the lower bound
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, int32; optax's name


def momo(
    learning_rate: LearningRate = 1.0,
    beta: Scalar = 0.9,
    lower_bound: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    adapt_lower_bound: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Momentum with the largest step that the loss, a line along the mean gradient, lets reach its lower bound.

    With running means m, f and gamma of g, the loss, and <g, p>, that begin with the first ones, and k =
    1 + learning_rate weight_decay: h = max(k (f - lb - gamma) + <m, p>, 0),
    p <- p - min(learning_rate, h / |m|^2) m - learning_rate weight_decay / k p.

    Args:
        learning_rate: The longest step; a number, a tracer or a schedule.
        beta: Decay of the running means.
        lower_bound: lb, what the loss does not fall below.
        weight_decay: Decoupled, and multiplied by the learning rate.
        adapt_lower_bound: Whether lb is estimated on the way, from `lower_bound` up.

    Raises:
        ValueError: `beta` is a number that is not from 0 to below 1, `learning_rate` or `weight_decay` one below 0,
            `lower_bound` NaN; or `update` is called without parameters or without `value`.

    >>> optimizer, x = momo(), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x, value=x**2)[0]
    Array(-1., dtype=float32)

    Where m is 0 the step is.

    Source: Schaipp, Ohana, Eickenberg, Defazio and Gower, "MoMo: momentum models for adaptive learning rates" (2023).
    """
    check_decay("a mean must forget", beta=beta)
    _check(learning_rate, weight_decay, lower_bound)

    def init(params):
        dtype = narrowest(params)
        zero = lambda: jnp.zeros((), dtype)
        return MomoState(jax.tree.map(jnp.zeros_like, params), zero(), zero(), jnp.array(lower_bound, dtype),
                         jnp.zeros((), jnp.int32))  # fmt: skip

    def update(updates, state, params=None, *, value=None, **extra):
        del extra
        _check_given(params, value)
        check_real(updates)
        wide = widest(state.lb, *jax.tree.leaves(updates), *jax.tree.leaves(params))
        b = jnp.where(state.count == 0, 0, jnp.asarray(beta, wide))
        m = jax.tree.map(lambda m, g: average(m, g, b), state.exp_avg, updates)
        f = average(state.barf, jnp.asarray(value, wide), b)
        gamma = average(state.gamma, inner_product(updates, params), b)

        rate = jnp.asarray(at(learning_rate, state.count), wide)
        product, square = inner_product(m, params), inner_product(m, m)
        model = _Model(f, gamma, product, square, rate, jnp.asarray(weight_decay, wide))
        lb, floor = state.lb.astype(wide), jnp.asarray(lower_bound, wide)
        if adapt_lower_bound:
            lb = model.feasible(lb, floor)
        tau = jnp.minimum(rate, model.step(lb))
        if adapt_lower_bound:
            lb = jnp.maximum(model.reached(tau), floor)

        fade = model.fade()
        step = lambda m, p, g: (-fade * p.astype(wide) - tau * m.astype(wide)).astype(g.dtype)
        dtype = state.lb.dtype
        return jax.tree.map(step, m, params, updates), MomoState(
            cast_like(m, state.exp_avg), f.astype(dtype), gamma.astype(dtype), lb.astype(dtype), next_count(state.count)
        )

    return optax.GradientTransformationExtraArgs(init, update)


class MomoAdamState(NamedTuple):
    """State of `momo_adam`; the numbers have shape () and the narrowest dtype of the parameters."""

    exp_avg: Any  # m, like the parameters
    exp_avg_sq: Any  # v, like the parameters
    barf: Array  # f, the mean of losses
    gamma: Array  # the mean of <g, p>
    lb: Array  # the lower bound
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, int32; optax's name


def momo_adam(
    learning_rate: LearningRate = 1e-2,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    lower_bound: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    adapt_lower_bound: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam with the largest step that the loss, a line along the mean gradient, lets reach its lower bound.

    With running means m, v, f and gamma of g, g^2, the loss, and <g, p>, all from 0, c = 1 - b1^t, d = sqrt(v / (1 -
    b2^t)) + eps and k = 1 + learning_rate weight_decay: h = max(k (f - c lb - gamma) + <m, p>, 0),
    p <- p - min(learning_rate / c, h / <m, m / d>) m / d - learning_rate weight_decay / k p.

    Args:
        learning_rate: The rate of Adam, as the longest step; a number, a tracer or a schedule.
        b1: Decay of the means of gradients, losses and products.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. Without it what has had no gradient stays; in optax it becomes NaN.
        lower_bound: lb, what the loss does not fall below.
        weight_decay: Decoupled, and multiplied by the learning rate.
        adapt_lower_bound: Whether lb is estimated on the way, from `lower_bound` up.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, `learning_rate`, `eps` or `weight_decay` one
            below 0, `lower_bound` NaN; or `update` is called without parameters or without `value`.

    >>> optimizer, x = momo_adam(2.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x, value=x**2)[0].round(3)
    Array(-1., dtype=float32)

    Source: Schaipp, Ohana, Eickenberg, Defazio and Gower, "MoMo: momentum models for adaptive learning rates" (2023).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps)
    _check(learning_rate, weight_decay, lower_bound)

    def init(params):
        dtype = narrowest(params)
        zeros, zero = lambda: jax.tree.map(jnp.zeros_like, params), lambda: jnp.zeros((), dtype)
        return MomoAdamState(zeros(), zeros(), zero(), zero(), jnp.array(lower_bound, dtype), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, value=None, **extra):
        del extra
        _check_given(params, value)
        check_real(updates)
        t = next_count(state.count)
        wide = widest(state.lb, *jax.tree.leaves(updates), *jax.tree.leaves(params))
        m = jax.tree.map(lambda m, g: average(m, g, b1), state.exp_avg, updates)
        v = jax.tree.map(lambda v, g: average_square(v, g, b2), state.exp_avg_sq, updates)
        f = average(state.barf, jnp.asarray(value, wide), b1)
        gamma = average(state.gamma, inner_product(updates, params), b1)

        def over(m, v):
            d = root(corrected(v.astype(wide), b2, t)) + jnp.asarray(eps, wide)
            return ratio(m.astype(wide), d)

        direction = jax.tree.map(over, m, v)
        c = 1 - jnp.asarray(b1, wide) ** t.astype(wide)
        rate = jnp.asarray(at(learning_rate, state.count), wide)
        product, square = inner_product(m, params), inner_product(m, direction)
        model = _Model(f, gamma, product, square, rate, jnp.asarray(weight_decay, wide))
        lb, floor = state.lb.astype(wide), jnp.asarray(lower_bound, wide)
        if adapt_lower_bound:
            lb = model.feasible(lb, floor, c)
        tau = jnp.minimum(rate / c, model.step(c * lb))
        if adapt_lower_bound:
            lb = jnp.maximum(model.reached(tau) / c, floor)

        fade = model.fade()
        step = lambda direction, p, g: (-fade * p.astype(wide) - tau * direction).astype(g.dtype)
        dtype = state.lb.dtype
        return jax.tree.map(step, direction, params, updates), MomoAdamState(
            cast_like(m, state.exp_avg), cast_like(v, state.exp_avg_sq), f.astype(dtype), gamma.astype(dtype),
            lb.astype(dtype), t,
        )  # fmt: skip

    return optax.GradientTransformationExtraArgs(init, update)


class _Model(NamedTuple):
    """The loss as a line along m, and what follows from where it meets its lower bound."""

    f: Array
    gamma: Array
    product: Array  # <m, p>
    square: Array  # <m, direction>
    rate: Array
    weight_decay: Array

    def stretch(self) -> Array:
        return 1 + self.rate * self.weight_decay

    def fade(self) -> Array:
        return self.rate * self.weight_decay / self.stretch()

    def step(self, bound: Array) -> Array:
        height = jnp.maximum(self.stretch() * (self.f - bound - self.gamma) + self.product, 0)
        some = ~(self.square <= 2.0**-52)  # optax's: the spacing of float64 around 1, whatever the dtype; NaN stays
        return jnp.where(some, height / jnp.where(some, self.square, 1), 0)

    def reached(self, tau: Array) -> Array:
        return self.f + self.product - self.gamma - tau * self.square / 2

    def feasible(self, lb: Array, floor: Array, c: Any = 1) -> Array:
        """Return a bound lowered to half of what the line leaves room for, where it was above all of it."""
        cap = self.stretch() * (self.f - self.gamma) + self.product
        return jnp.where(cap < self.stretch() * c * lb, jnp.maximum(cap / (2 * c * self.stretch()), floor), lb)


def _check(learning_rate: LearningRate, weight_decay: Scalar, lower_bound: Scalar) -> None:
    check_not_nan("steps aim at it", lower_bound=lower_bound)
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_number("weights fade and do not grow", weight_decay=weight_decay)


def _check_given(params: Any, value: Any) -> None:
    check_params(params, "the loss is modelled as a line through them")
    if value is None:
        raise ValueError("expected value, because the step is found from the loss; got None: call update(updates, "
                         "state, params, value=loss)")  # fmt: skip
