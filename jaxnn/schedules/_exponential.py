"""Schedules that fall by factors or by fractions of time: exponential, inverse-time and inverse-root decay."""

from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import check_positive, number
from jaxnn.typing import Scalar, Schedule


def exponential_decay(
    init_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """A factor for every so many steps, s(t) = s_0 r^((t - B) / T) from t = B on, and s_0 before.

    Args:
        init_value: s_0.
        transition_steps: T, the steps in which the value falls by the factor.
        decay_rate: r. With 0 the value stays s_0, as in optax.
        transition_begin: B; 0 if it is negative.
        staircase: Whether to round (t - B) / T down, so that the value falls once every T steps.
        end_value: What the value never passes: a lower bound for r < 1, and an upper bound otherwise.

    Raises:
        ValueError: `transition_steps` is not positive. For optax, and for a tracer here, the value then stays s_0.

    >>> schedule = exponential_decay(0.1, 1, 0.9)
    >>> [round(float(schedule(t)), 6) for t in (0, 10)]
    [0.1, 0.034868]

    The name and the values are optax's.
    """
    check_positive("the value decays over them", transition_steps=transition_steps)

    def schedule(count: Any) -> Any:
        s0, T, r = number(init_value), number(transition_steps), number(decay_rate)
        t = jnp.maximum(number(count) - jnp.maximum(number(transition_begin), 0), 0)
        moves = (T > 0) & (r != 0)
        part = t / jnp.where(T > 0, T, 1)
        s = s0 * jnp.where(moves, r, 1) ** (jnp.floor(part) if staircase else part)
        if end_value is None:
            return s
        end = number(end_value)
        return jnp.where(moves, jnp.where(r < 1, jnp.maximum(s, end), jnp.minimum(s, end)), s)

    return schedule


def inverse_time_decay(
    init_value: Scalar, decay_steps: Scalar, decay_rate: Scalar, staircase: bool = False
) -> Schedule:
    """Time-based decay, s(t) = s_0 / (1 + k t / T).

    Args:
        init_value: s_0.
        decay_steps: T, the steps after which the divisor has grown by k.
        decay_rate: k.
        staircase: Whether to round t / T down.

    Raises:
        ValueError: `decay_steps` is not positive. A tracer that is not gives what the equation gives.

    >>> schedule = inverse_time_decay(0.1, 100, 1.0)
    >>> [round(float(schedule(t)), 6) for t in (0, 100, 300)]
    [0.1, 0.05, 0.025]

    The name and the values are those of Keras; optax has none.
    Source: Robbins and Monro, "A stochastic approximation method" (1951).
    """
    check_positive("the value decays over them", decay_steps=decay_steps)

    def schedule(count: Any) -> Any:
        part = number(count) / number(decay_steps)
        return number(init_value) / (1 + number(decay_rate) * (jnp.floor(part) if staircase else part))

    return schedule


def inverse_square_root_schedule(peak_value: Scalar, warmup_steps: Scalar) -> Schedule:
    """Linear warm-up and then decay with the root of time, s(t) = p min((t + 1) / W, sqrt(W / (t + 1))).

    Args:
        peak_value: p, reached at step W - 1, which is the W-th.
        warmup_steps: W.

    Raises:
        ValueError: `warmup_steps` is not positive. A tracer that is not gives what the equation gives.

    >>> schedule = inverse_square_root_schedule(0.1, 100)
    >>> [round(float(schedule(t)), 6) for t in (0, 49, 99, 399)]
    [0.001, 0.05, 0.1, 0.05]

    Source: Vaswani et al., "Attention is all you need" (2017), of whose rate `noam_schedule` has the peak.
    """
    check_positive("the value rises over them", warmup_steps=warmup_steps)

    def schedule(count: Any) -> Any:
        W, t = number(warmup_steps), number(count) + 1
        return number(peak_value) * jnp.minimum(t / W, jnp.sqrt(W / t))

    return schedule


def noam_schedule(features: Scalar, warmup_steps: Scalar, factor: Scalar = 1.0) -> Schedule:
    """The transformer's rate, s(t) = factor features^(-1/2) min((t + 1)^(-1/2), (t + 1) W^(-3/2)).

    Args:
        features: Width of the model.
        warmup_steps: W.
        factor: Of the whole; 1 in the paper.

    Raises:
        ValueError: `features` or `warmup_steps` is not positive.

    >>> schedule = noam_schedule(512, 4000)
    >>> [f"{float(schedule(t)):.2e}" for t in (0, 3999, 15999)]
    ['1.75e-07', '6.99e-04', '3.49e-04']

    Source: Vaswani et al., "Attention is all you need" (2017), equation 3, whose steps count from 1.
    """
    check_positive("it is the width of a model", features=features)
    peak = lambda: number(factor) / jnp.sqrt(number(features) * number(warmup_steps))
    schedule = inverse_square_root_schedule(1.0, warmup_steps)
    return lambda count: peak() * schedule(count)
