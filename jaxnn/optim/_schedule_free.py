"""Averages in the place of a schedule: gradients at a point between the steps and their mean."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, ratio, widest
from jaxnn.optim._checks import check_number, check_params, check_range
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, at, scale_by_learning_rate
from jaxnn.optim._momentum import sgd
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import narrowest
from jaxnn.optim._rmsprop import scale_by_rms
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.schedules import warmup_constant_schedule
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class ScheduleFreeState(NamedTuple):
    """State of `schedule_free`; the numbers have shape () and the narrowest dtype of the parameters."""

    b1: Array  # b, for `schedule_free_eval_params`
    weight_sum: Array  # of the weights so far
    step_count: Array  # t, from 1, int32
    max_lr: Array  # the largest rate so far
    base_optimizer_state: Any
    z: Any  # like the parameters


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """Return the mean x, to evaluate a model by: from y, the parameters trained at, x = (y - (1 - b) z) / b.

    Args:
        state: Of `schedule_free`, itself rather than within the state of a chain.
        params: y.

    Raises:
        ValueError: `state` is another one.

    >>> optimizer, y = schedule_free_sgd(0.5, b1=0.5), jnp.array(2.0)
    >>> updates, state = optimizer.update(y, optimizer.init(y), y)
    >>> schedule_free_eval_params(state, y + updates)
    Array(1., dtype=float32)
    """
    b, z = getattr(state, "b1", None), getattr(state, "z", None)
    if b is None or z is None:
        raise ValueError("expected the state of schedule_free, because the mean is computed from it; "
                         f"got {type(state).__name__}\n  hint: in a chain it is one of several")  # fmt: skip
    return jax.tree.map(lambda y, z: _mean(y, z, b).astype(y.dtype), params, z)


def schedule_free(
    base_optimizer: Optimizer,
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Average the steps of an optimizer and take gradients near the mean, rather than let a learning rate fall.

    z <- z + u, where u is what the optimizer makes of the gradient at y; x <- (1 - c) x + c z; y <- b x + (1 - b) z.
    y are the parameters, x is to be evaluated, see `schedule_free_eval_params`. c = w / (the sum of all w so far)
    with w = l^weight_lr_power and l the largest learning rate so far, so that with a constant one x is the mean of
    all z. x is not kept, as y and z say what it is.

    Args:
        base_optimizer: Without momentum, in whose place the average stands: Adam with a b1 of 0.
        learning_rate: That of the optimizer, once more, from which weights are computed; a warm-up, and no decay.
            A schedule is called with counts from 1 here, as in optax, though those of optimizers begin with 0.
        b1: b, between the step and the mean; above 0.
        weight_lr_power: Makes early, short steps of a warm-up count less.
        state_dtype: Dtype of z; that of the parameters if `None`.

    Raises:
        ValueError: `b1` is a number that is not above 0 and at most 1, `learning_rate` or `weight_lr_power` one below
            0, or `update` is called without parameters.

    >>> optimizer, y = schedule_free(sgd(0.5), 0.5, b1=0.5), jnp.array(2.0)
    >>> updates, state = optimizer.update(y, optimizer.init(y), y)
    >>> updates, state.z
    (Array(-1., dtype=float32), Array(1., dtype=float32))

    Source: Defazio et al., "The road less scheduled" (2024).
    """
    check_range("above 0 and at most 1", lambda x: (x > 0) & (x <= 1), "the mean is found by dividing by it", b1=b1)
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_number("early steps must not count more", weight_lr_power=weight_lr_power)
    base = optax.with_extra_args_support(base_optimizer)

    def init(params):
        dtype = narrowest(params)
        zero = lambda: jnp.zeros((), dtype)
        z = jax.tree.map(lambda p: jnp.array(p, state_dtype), params)
        return ScheduleFreeState(jnp.asarray(b1, dtype), zero(), jnp.ones((), jnp.int32), zero(), base.init(params), z)

    def update(updates, state, params=None, **extra):
        check_params(params, "the mean is computed from them")
        dtype = state.max_lr.dtype
        wide = accumulator_dtype(dtype)
        largest = jnp.maximum(state.max_lr.astype(wide), jnp.asarray(at(learning_rate, state.step_count), wide))
        power, positive = jnp.asarray(weight_lr_power, wide), largest > 0
        weight = jnp.where(positive, jnp.where(positive, largest, 1) ** power, jnp.zeros((), wide) ** power)
        weights = state.weight_sum.astype(wide) + weight
        c = ratio(weight, weights)

        u, base_state = base.update(updates, state.base_optimizer_state, params, **extra)
        # Rounded as it is kept, so that the mean that is computed from it later is the one meant now.
        z = jax.tree.map(lambda z, u: (z.astype(widest(z, u)) + u.astype(widest(z, u))).astype(z.dtype), state.z, u)

        def step(g, y, old, new):
            dtype = widest(y, old)
            b, part, old, new = jnp.asarray(b1, dtype), c.astype(dtype), old.astype(dtype), new.astype(dtype)
            # The new y less the old one, b (x_new - x) + (1 - b) (z_new - z), without the loss of digits.
            return (b * part * (new - _mean(y, old, b)) + (1 - b) * (new - old)).astype(g.dtype)

        steps = jax.tree.map(step, updates, params, state.z, z)
        return steps, ScheduleFreeState(
            state.b1, weights.astype(dtype), next_count(state.step_count), largest.astype(dtype), base_state, z
        )

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_free_sgd(
    learning_rate: LearningRate = 1.0,
    warmup_steps: Scalar | None = None,
    b1: Scalar = 0.9,
    weight_decay: Scalar | Schedule | None = None,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """`schedule_free` of gradient descent.

    Args:
        learning_rate: A number or a tracer; without `warmup_steps` a schedule too.
        warmup_steps: Over how many steps it rises from 0; with `None` it does not.
        b1: Between the step and the mean, above 0.
        weight_decay: Adds weight_decay y to the gradients; with `None` nothing.
        weight_lr_power: Of the learning rate, in weights of the mean.
        state_dtype: Dtype of z; that of the parameters if `None`.

    Raises:
        ValueError: See `schedule_free`; or `weight_decay` is a number below 0.

    >>> optimizer, y = schedule_free_sgd(0.5, b1=0.5), jnp.array(2.0)
    >>> optimizer.update(y, optimizer.init(y), y)[0]
    Array(-1., dtype=float32)

    Source: Defazio et al., "The road less scheduled" (2024).
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def schedule_free_adamw(
    learning_rate: LearningRate = 0.0025,
    warmup_steps: Scalar | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 0.0,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """`schedule_free` of AdamW without its mean of gradients.

    Args:
        learning_rate: A number or a tracer; without `warmup_steps` a schedule too.
        warmup_steps: Over how many steps it rises from 0; with `None` it does not.
        b1: Between the step and the mean, above 0.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        weight_decay: Multiplied by the learning rate.
        weight_lr_power: Of the learning rate, in weights of the mean.
        state_dtype: Dtype of z; that of the parameters if `None`.

    Raises:
        ValueError: See `schedule_free`; or `b2` is a number that is not from 0 to below 1, `eps` or `weight_decay` one
            below 0.

    >>> optimizer, y = schedule_free_adamw(0.5, b1=0.5), jnp.array(2.0)
    >>> optimizer.update(y, optimizer.init(y), y)[0].round(3)
    Array(-0.5, dtype=float32)

    Source: Defazio et al., "The road less scheduled" (2024).
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def _warmed_up(learning_rate: LearningRate, steps: Scalar | None) -> LearningRate:
    if steps is None:
        return learning_rate
    if callable(learning_rate):
        raise ValueError("expected learning_rate to be a number, because with warmup_steps it is what the rate rises "
                         f"to; got {learning_rate}")  # fmt: skip
    check_number("it is the length of a step", learning_rate=learning_rate)
    return warmup_constant_schedule(0.0, learning_rate, steps)


def _mean(y: Array, z: Array, b: Scalar) -> Array:
    wide = widest(y, z)
    b = jnp.asarray(b, wide)
    return (y.astype(wide) - (1 - b) * z.astype(wide)) / b
