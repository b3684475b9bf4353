"""A value that goes up and down between two bounds without end."""

from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import check_positive, number, power
from jaxnn.typing import Scalar, Schedule


def cyclic_schedule(
    base_value: Scalar,
    max_value: Scalar,
    step_size_up: Scalar,
    step_size_down: Scalar | None = None,
    cycle_decay: Scalar = 1.0,
    step_decay: Scalar = 1.0,
) -> Schedule:
    """Triangles, s(t) = b + (p - b) c^i d^t h, of which h rises from 0 to 1 and falls back in cycle i = 0, 1, ...

    Args:
        base_value: b, where each triangle begins and ends.
        max_value: p, where each is at its height.
        step_size_up: How many steps h rises.
        step_size_down: How many steps h falls; as many if `None`.
        cycle_decay: c, by which each triangle is lower than the one before: 1 for the policy `triangular`, and 1/2 for
            `triangular2`.
        step_decay: d, by which a height falls in each step; below 1 for the policy `exp_range`.

    Raises:
        ValueError: `step_size_up` or `step_size_down` is not positive. Tracers that are not give NaN.

    >>> schedule = cyclic_schedule(0.0, 0.1, 10, cycle_decay=0.5)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 15, 20, 30)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.05]

    The arguments are those of PyTorch's `CyclicLR`, whose `mode` is the two decays here.
    Source: Smith, "Cyclical learning rates for training neural networks" (2017).
    """
    step_size_down = step_size_up if step_size_down is None else step_size_down
    check_positive("a triangle has a width", step_size_up=step_size_up, step_size_down=step_size_down)

    def schedule(count: Any) -> Any:
        t, up, down = number(count), number(step_size_up), number(step_size_down)
        i = jnp.floor(t / (up + down))
        within = t - i * (up + down)
        h = jnp.minimum(within / up, (up + down - within) / down)
        height = power(number(cycle_decay), i) * power(number(step_decay), t) * h
        return number(base_value) + (number(max_value) - number(base_value)) * height

    return schedule
