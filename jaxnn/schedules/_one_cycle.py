"""A value that passes through given points, and the cycles that are made of it: up once, and down again."""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.schedules._arguments import check_positive, number
from jaxnn.schedules._constant import BoundariesAndScales, steps_and_scales
from jaxnn.typing import Array, Scalar, Schedule


def _line(r: Array) -> Array:
    return r


def _cosine(r: Array) -> Array:
    return (1 - jnp.cos(jnp.pi * r)) / 2


_WAYS: dict[str, Callable[[Array], Array]] = {"linear": _line, "cosine": _cosine}


def piecewise_interpolate_schedule(
    interpolate_type: Literal["linear", "cosine"],
    init_value: Scalar,
    boundaries_and_scales: BoundariesAndScales | None = None,
) -> Schedule:
    """Through points, s(b_i) = s_0 c_1 ... c_i, along lines or halves of cosines, and the last value from then on.

    Args:
        interpolate_type: How to go from point to point.
        init_value: s_0, the value at step 0.
        boundaries_and_scales: b_i and c_i, as a dict or, where a step is a tracer, as pairs in order. Each scale
            multiplies the value of the point before it.

    Raises:
        ValueError: The type is another one, or a scale is negative.

    >>> schedule = piecewise_interpolate_schedule("linear", 0.1, {10: 0.5, 20: 0.5})
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20, 30)]
    [0.1, 0.075, 0.05, 0.025, 0.025]

    The name and the values are optax's.
    """
    if interpolate_type not in _WAYS:
        raise ValueError(f"expected interpolate_type to be 'linear' or 'cosine', because these are the ways from point "
                         f"to point; got {interpolate_type!r}")  # fmt: skip
    way, pairs = _WAYS[interpolate_type], steps_and_scales(boundaries_and_scales)

    def schedule(count: Any) -> Any:
        t, begin, s = number(count), number(0), number(init_value)
        point = s  # the value at the begin of the piece
        for boundary, scale in pairs:
            end = number(boundary)
            r = jnp.clip((t - begin) / jnp.maximum(end - begin, 1), 0, 1)
            s = jnp.where(t >= begin, point + (number(scale) - 1) * point * way(r), s)
            begin, point = end, point * number(scale)
        return jnp.where(t >= begin, point, s)

    return schedule


def linear_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    pct_final: Scalar = 0.85,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Schedule:
    """Three lines: up to p, down to where it began, and on down to almost nothing.

    Args:
        transition_steps: T, the steps of the whole.
        peak_value: p.
        pct_start: When the value is p, as a fraction of T; rounded down to a step.
        pct_final: When it is back where it began.
        div_factor: How much lower than p it begins.
        final_div_factor: How much lower than where it began it ends.

    Raises:
        ValueError: `transition_steps` is not positive.

    >>> schedule = linear_onecycle_schedule(100, 0.1, div_factor=10.0)
    >>> [round(float(schedule(t)), 6) for t in (0, 15, 30, 85, 100)]
    [0.01, 0.055, 0.1, 0.01, 1e-06]

    The name and the values are optax's. Source: Smith and Topin, "Super-convergence" (2017).
    """
    check_positive("the cycle is as long", transition_steps=transition_steps)
    start, final = _whole(pct_start, transition_steps), _whole(pct_final, transition_steps)
    p, d, f = _factors(peak_value, div_factor, final_div_factor)
    return piecewise_interpolate_schedule("linear", p / d, [(start, d), (final, 1 / d), (transition_steps, 1 / f)])


def cosine_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Schedule:
    """Two halves of cosines: up to p, and down to almost nothing.

    Args:
        transition_steps: T, the steps of the whole.
        peak_value: p.
        pct_start: When the value is p, as a fraction of T; rounded down to a step.
        div_factor: How much lower than p it begins.
        final_div_factor: How much lower than where it began it ends.

    Raises:
        ValueError: `transition_steps` is not positive.

    >>> schedule = cosine_onecycle_schedule(100, 0.1, div_factor=10.0)
    >>> [round(float(schedule(t)), 6) for t in (0, 15, 30, 65, 100)]
    [0.01, 0.055, 0.1, 0.05, 1e-06]

    The name and the values are optax's. Source: Smith and Topin, "Super-convergence" (2017).
    """
    check_positive("the cycle is as long", transition_steps=transition_steps)
    start = _whole(pct_start, transition_steps)
    p, d, f = _factors(peak_value, div_factor, final_div_factor)
    return piecewise_interpolate_schedule("cosine", p / d, [(start, d), (transition_steps, 1 / (d * f))])


def _factors(*factors: Scalar) -> tuple[Any, ...]:
    """Numbers of Python as they are, which keeps them exact until their dtype is known."""
    return factors


def _whole(part: Scalar, steps: Scalar) -> Scalar:
    """A part of the steps, rounded down: by Python where both are seen, for float32 may round to either side."""
    seen, all_steps = values(part), values(steps)
    if seen is None or all_steps is None:
        return jnp.floor(number(part) * number(steps))
    return int(float(seen) * float(all_steps))
