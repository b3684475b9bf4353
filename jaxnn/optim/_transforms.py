"""Transformations of gradients: the parts that optimizers are chained from, with optax's names and numbers.

Every hyperparameter may be a tracer; none is branched on in Python but those whose `None` is documented.
Moments are averaged in float32 at least, for in bfloat16 a decay of 0.999 would round to 1, and kept in the dtype of
their parameter, as optax keeps them. (Kept in bfloat16, a second moment that hardly changes stands still: keep
parameters in float32 for long runs.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


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

    >>> t = trace(0.9)
    >>> updates, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> t.update(jnp.array(2.0), state)[0]
    Array(5.6, dtype=float32)

    Source: Polyak (1964); Sutskever et al., "On the importance of initialization and momentum" (2013).
    """

    def init(params):
        return TraceState(jax.tree.map(lambda p: jnp.zeros_like(p, accumulator_dtype), params))

    def update(updates, state, params=None):
        del params

        def accumulate(g, v):
            wide = _wide(g, v)
            return jnp.asarray(decay, wide) * v.astype(wide) + g.astype(wide)

        v = jax.tree.map(accumulate, updates, state.trace)
        direction = jax.tree.map(accumulate, updates, v) if nesterov else v
        return _cast_like(direction, updates), TraceState(_cast_like(v, state.trace))

    return optax.GradientTransformation(init, update)


class ScaleByAdamState(NamedTuple):
    """State of `scale_by_adam`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # v, like the parameters


def scale_by_adam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Divide a running mean of gradients by the root of their running square, both corrected for their start.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, m^ = m / (1 - b1^t), v^ = v / (1 - b2^t), t from 1,
    direction = m^ / (sqrt(v^ + eps_root) + eps).

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2.
        eps: Added outside the root, as in the paper and PyTorch; Keras's default is 1e-7, on sqrt(v).
        eps_root: Added inside the root; 0 in the paper. The gradient through a root of 0 is taken as 0
            here, so that hypergradients are finite without it.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        nesterov: Use b1 m_(t) / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t) for m^, with constant b1.

    >>> t = scale_by_adam()
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(1., dtype=float32)

    Source: Kingma and Ba, "Adam" (2015); Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        nu = jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = _next(state.count)
        mu = jax.tree.map(lambda m, g: _average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: _average(v, g * g, b2), state.nu, updates)

        def direction(m, v, g):
            wide = accumulator_dtype(g.dtype)
            m, v = m.astype(wide), v.astype(wide)
            if nesterov:
                beta = jnp.asarray(b1, wide)
                m_hat = beta * _corrected(m, b1, t + 1) + (1 - beta) * _corrected(g.astype(wide), b1, t)
            else:
                m_hat = _corrected(m, b1, t)
            v_hat = _corrected(v, b2, t)
            return (m_hat / (_root(v_hat + jnp.asarray(eps_root, wide)) + jnp.asarray(eps, wide))).astype(g.dtype)

        return jax.tree.map(direction, mu, nu, updates), ScaleByAdamState(
            t, _cast_like(mu, state.mu), _cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def add_decayed_weights(weight_decay: Scalar = 0.0, mask: Any = None) -> Optimizer:
    """Add weight_decay p to the direction: decoupled decay after an adaptive scaling, L2 before one.

    Args:
        weight_decay: The rate of decay; a later learning rate multiplies it, unlike in the paper.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays. By
            default all does, as in optax.

    Raises:
        ValueError: `update` is called without parameters.

    >>> t = add_decayed_weights(0.1)
    >>> t.update(jnp.array(1.0), t.init(jnp.array(2.0)), jnp.array(2.0))[0]
    Array(1.2, dtype=float32)

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("expected params, because weights decay in proportion to themselves; got None: "
                             "call update(updates, state, params)")  # fmt: skip
        return jax.tree.map(lambda g, p: g + _scaled(weight_decay, p).astype(g.dtype), updates, params), state

    decay = optax.GradientTransformation(init, update)
    return decay if mask is None else optax.masked(decay, mask)


class ScaleByScheduleState(NamedTuple):
    """State of `scale_by_schedule`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name


def scale_by_schedule(step_size_fn: Schedule) -> Optimizer:
    """Multiply by a function of the count of steps before this one: the first step has the value at 0.

    >>> t = scale_by_schedule(lambda count: 0.5**count)
    >>> _, state = t.update(jnp.array(4.0), t.init(None))
    >>> t.update(jnp.array(4.0), state)[0]
    Array(2., dtype=float32)
    """

    def init(params):
        del params
        return ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        s = step_size_fn(state.count)
        return jax.tree.map(lambda g: _scaled(s, g), updates), ScaleByScheduleState(_next(state.count))

    return optax.GradientTransformation(init, update)


def scale_by_learning_rate(learning_rate: Scalar | Schedule, *, flip_sign: bool = True) -> Optimizer:
    """Multiply by the learning rate and, unless told otherwise, turn ascent into descent.

    Args:
        learning_rate: A number, a tracer, or a schedule.
        flip_sign: Whether to multiply by -1 too.

    >>> t = scale_by_learning_rate(0.5)
    >>> t.update(jnp.array(4.0), t.init(None))[0]
    Array(-2., dtype=float32)
    """
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        return scale_by_schedule(lambda count: sign * learning_rate(count))

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: sign * _scaled(learning_rate, g), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _wide(*arrays):
    """Float32 at least, or the widest dtype of the arrays."""
    return accumulator_dtype(max((a.dtype for a in arrays), key=lambda dtype: jnp.finfo(dtype).bits))


def _cast_like(tree, like):
    return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, like)


def _scaled(factor, x):
    """Factor x, in float32 at least, in the dtype of x."""
    wide = accumulator_dtype(x.dtype)
    return (jnp.asarray(factor, wide) * x.astype(wide)).astype(x.dtype)


def _average(average, value, decay):
    wide = _wide(average, value)
    decay = jnp.asarray(decay, wide)
    return decay * average.astype(wide) + (1 - decay) * value.astype(wide)


def _corrected(average, decay, t):
    """Undo the start from 0: after t steps an average of constants c is c (1 - decay^t)."""
    return average / (1 - jnp.asarray(decay, average.dtype) ** t.astype(average.dtype))


def _root(x):
    """sqrt(x), with derivative 0 at 0: guarded on both sides, for 0 times an infinite derivative is NaN."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _next(count):
    """count + 1, without wrapping around at the largest integer."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)
