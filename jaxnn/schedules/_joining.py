"""Schedules from schedules: one after the other, and any after a warm-up."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import number
from jaxnn.schedules._polynomial import linear_schedule
from jaxnn.typing import Scalar, Schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[Scalar]) -> Schedule:
    """One schedule after the other, s(t) = s_i(t - b_i) for b_i <= t < b_(i+1): each counts from its own begin.

    Args:
        schedules: s_0, s_1, and so on.
        boundaries: b_1 and so on, one fewer than schedules: the step at which each but the first begins.

    Raises:
        ValueError: There are not as many boundaries as schedules to begin at them.

    >>> schedule = join_schedules([linear_schedule(0.0, 0.1, 10), linear_schedule(0.1, 0.0, 20)], [10])
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20, 30)]
    [0.0, 0.05, 0.1, 0.05, 0.0]

    The name and the values are optax's.
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(f"expected one boundary fewer than schedules, because each but the first begins at one; "
                         f"got {len(boundaries)} for {len(schedules)} schedules")  # fmt: skip

    def schedule(count: Any) -> Any:
        t = number(count)
        s = number(schedules[0](count))
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            since = t - number(boundary)
            # Before its begin it is not asked for: what it would say of a negative step need not have a derivative.
            s = jnp.where(since < 0, s, number(following(jnp.maximum(since, 0))))
        return s

    return schedule


def warmup_schedule(schedule: Schedule, warmup_steps: Scalar, init_value: Scalar = 0.0) -> Schedule:
    """Any schedule after a warm-up: a line from `init_value` to its first value, and then all of it.

    Args:
        schedule: What comes after the warm-up, and begins there.
        warmup_steps: Length of the warm-up; with 0 there is none.
        init_value: Where it begins. With 0 the first step of an optimizer leaves the parameters as they are.

    >>> from jaxnn.schedules import step_decay
    >>> schedule = warmup_schedule(step_decay(0.1, 10), 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 19, 20)]
    [0.0, 0.05, 0.1, 0.1, 0.05]

    Source: Goyal et al., "Accurate, large minibatch SGD" (2017).
    """
    warmup = linear_schedule(init_value, schedule(0), warmup_steps)
    return join_schedules([warmup, schedule], [warmup_steps])
