"""Schedules that stay where they are: for good, or until the next of some steps."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.schedules._arguments import check_positive, number, power
from jaxnn.typing import Scalar, Schedule

BoundariesAndScales: TypeAlias = Mapping[int, Scalar] | Iterable[tuple[Scalar, Scalar]]
"""Steps, and what the value is multiplied by there: a dict as in optax, or pairs, for a tracer cannot be a key."""


def constant_schedule(value: Scalar) -> Schedule:
    """The same at every step, s(t) = value.

    >>> constant_schedule(0.1)(1000)
    0.1

    The name and the value are optax's.
    """

    def schedule(count: Any) -> Any:
        del count
        return value

    return schedule


def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: BoundariesAndScales | None = None
) -> Schedule:
    """A staircase, s(t) = s_0 times the product of all scales whose boundary is at or before t.

    Args:
        init_value: s_0.
        boundaries_and_scales: Steps and factors, as a dict or, where a step is a tracer, as pairs.

    Raises:
        ValueError: A scale is negative.

    >>> schedule = piecewise_constant_schedule(0.1, {100: 0.5, 200: 0.1})
    >>> [round(float(schedule(t)), 6) for t in (99, 100, 200)]
    [0.1, 0.05, 0.005]

    The name and the values are optax's.
    """
    pairs = steps_and_scales(boundaries_and_scales)

    def schedule(count: Any) -> Any:
        t, s = number(count), number(init_value)
        for boundary, scale in pairs:
            s = jnp.where(t >= number(boundary), s * number(scale), s)
        return s

    return schedule


def steps_and_scales(boundaries_and_scales: BoundariesAndScales | None) -> list[tuple[Scalar, Scalar]]:
    """Return the pairs, sorted by step unless a step is a tracer; an error for a negative scale."""
    given = boundaries_and_scales or {}
    pairs: list[tuple[Any, Any]] = list(given.items()) if isinstance(given, Mapping) else list(given)
    negative = [scale for _, scale in pairs if (seen := values(scale)) is not None and not (seen >= 0).all()]
    if negative:
        raise ValueError(f"expected scales of 0 or more, because a schedule keeps its sign; got {negative}")
    if any(values(boundary) is None for boundary, _ in pairs):
        return pairs
    return sorted(pairs, key=lambda pair: float(pair[0]))


def step_decay(init_value: Scalar, decay_steps: Scalar, decay_rate: Scalar = 0.5) -> Schedule:
    """A staircase of equal steps, s(t) = s_0 decay_rate^floor(t / decay_steps).

    Args:
        init_value: s_0.
        decay_steps: Length of a stair, in steps of the optimizer: for stairs of ten epochs, ten times the steps of one.
        decay_rate: What is left of the value after each. PyTorch's `StepLR` calls it gamma, and has 0.1 by default.

    Raises:
        ValueError: `decay_steps` is not positive. A tracer that is not gives s_0 decay_rate^-inf or NaN.

    >>> schedule = step_decay(0.1, 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]

    The same as optax's `exponential_decay` with `staircase`.
    """
    check_positive("it is the length of a stair", decay_steps=decay_steps)

    def schedule(count: Any) -> Any:
        return number(init_value) * power(number(decay_rate), jnp.floor(number(count) / number(decay_steps)))

    return schedule
