"""Warm-ups by optax's names: a line up to a peak, and then what comes after it."""

from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import check_positive, number
from jaxnn.schedules._cosine import cosine_decay_schedule
from jaxnn.schedules._exponential import exponential_decay
from jaxnn.schedules._joining import join_schedules
from jaxnn.schedules._polynomial import linear_schedule
from jaxnn.typing import Scalar, Schedule


def warmup_constant_schedule(init_value: Scalar, peak_value: Scalar, warmup_steps: Scalar) -> Schedule:
    """A line from `init_value` to `peak_value`, and then `peak_value`.

    Args:
        init_value: Where it begins. With 0 the first step leaves the parameters as they are.
        peak_value: Where it ends.
        warmup_steps: Length of the line. With 0 the value stays `init_value`, as in optax.

    >>> schedule = warmup_constant_schedule(0.0, 0.1, 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 100)]
    [0.0, 0.05, 0.1, 0.1]

    The name and the values are optax's.
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    decay_steps: Scalar,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """A line from `init_value` to `peak_value`, and then half a period of a cosine to `end_value`.

    Args:
        init_value: Where it begins. With 0 the first step leaves the parameters as they are.
        peak_value: What it rises to.
        warmup_steps: Length of the line.
        decay_steps: Length of the whole, warm-up included.
        end_value: Where it ends.
        exponent: Makes the fall steeper, see `cosine_decay_schedule`.

    Raises:
        ValueError: `decay_steps` is not above `warmup_steps`.

    >>> schedule = warmup_cosine_decay_schedule(0.0, 0.1, 10, 110)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 60, 110)]
    [0.0, 0.05, 0.1, 0.05, 0.0]

    The name and the values are optax's. Source: Loshchilov and Hutter, "SGDR" (2017).
    """
    whole: Any = decay_steps
    falling = whole - warmup_steps
    check_positive("decay_steps counts the warm-up too", **{"decay_steps - warmup_steps": falling})

    def fall(count):
        peak = number(peak_value)
        alpha = jnp.where(peak == 0, 0, number(end_value) / jnp.where(peak == 0, 1, peak))
        return cosine_decay_schedule(peak_value, falling, alpha, exponent)(count)

    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), fall], [warmup_steps])


def warmup_exponential_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """A line from `init_value` to `peak_value`, and then `exponential_decay`, which counts from the peak.

    Args:
        init_value: Where it begins. With 0 the first step leaves the parameters as they are.
        peak_value: What it rises to.
        warmup_steps: Length of the line.
        transition_steps: The steps in which the value falls by `decay_rate`.
        decay_rate: The factor by which it falls.
        transition_begin: For how many steps after the peak it stays there.
        staircase: Whether it falls at once every `transition_steps`.
        end_value: What the value never passes.

    Raises:
        ValueError: `transition_steps` is not positive.

    >>> schedule = warmup_exponential_decay_schedule(0.0, 0.1, 10, 20, 0.5)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 30, 50)]
    [0.0, 0.05, 0.1, 0.05, 0.025]

    The name and the values are optax's.
    """
    fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), fall], [warmup_steps])
