"""Schedules that go from one value to another along a line or a power of one, and stay there."""

from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import check_positive, number
from jaxnn.schedules._arguments import power as raised
from jaxnn.typing import Scalar, Schedule


def polynomial_schedule(
    init_value: Scalar,
    end_value: Scalar,
    power: Scalar,
    transition_steps: Scalar,
    transition_begin: Scalar = 0,
) -> Schedule:
    """From I to E along a power, s(t) = (I - E) (1 - (t - B) / T)^P + E, with t - B held between 0 and T.

    Args:
        init_value: I.
        end_value: E.
        power: P.
        transition_steps: T. With 0 or less the value stays I, which is what a warm-up of no steps asks for.
        transition_begin: B, the step from which on the value moves; 0 if it is negative.

    >>> schedule = polynomial_schedule(1.0, 0.1, 2, 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20)]
    [1.0, 0.325, 0.1, 0.1]

    The name and the values are optax's; a power below 1 has derivative 0 at the end here, and there none.
    """

    def schedule(count: Any) -> Any:
        I, E, P = number(init_value), number(end_value), number(power)
        T, B = number(transition_steps), jnp.maximum(number(transition_begin), 0)
        moves = T > 0
        part = jnp.clip((number(count) - B) / jnp.where(moves, T, 1), 0, 1)
        return jnp.where(moves, (I - E) * raised(1 - part, P) + E, I)

    return schedule


def linear_schedule(
    init_value: Scalar,
    end_value: Scalar,
    transition_steps: Scalar,
    transition_begin: Scalar = 0,
) -> Schedule:
    """From I to E along a line, s(t) = I + (E - I) (t - B) / T, with t - B held between 0 and T.

    Args:
        init_value: I.
        end_value: E.
        transition_steps: T. With 0 or less the value stays I.
        transition_begin: B, the step from which on the value moves; 0 if it is negative.

    >>> schedule = linear_schedule(0.0, 0.1, 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20)]
    [0.0, 0.05, 0.1, 0.1]

    The name and the values are optax's.
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def linear_decay(init_value: Scalar, total_steps: Scalar) -> Schedule:
    """A line down to nothing, s(t) = s_0 (1 - t / total_steps), and 0 from then on.

    Raises:
        ValueError: `total_steps` is not positive.

    >>> schedule = linear_decay(0.1, 100)
    >>> [round(float(schedule(t)), 6) for t in (0, 25, 100, 200)]
    [0.1, 0.075, 0.0, 0.0]

    The same as `linear_schedule(init_value, 0, total_steps)`.
    """
    check_positive("the value decays over them", total_steps=total_steps)
    return linear_schedule(init_value, 0.0, total_steps)
