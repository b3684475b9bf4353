"""One row per schedule: under every row, every property of the contract tests is checked."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import optax

from jaxnn import schedules


class Row(NamedTuple):
    """A schedule of jaxnn, optax's if it has it, and all arguments that one could sweep."""

    name: str
    ours: Callable[..., Any]
    peer: Callable[..., Any] | None
    arguments: Mapping[str, float]


LINE = {"init_value": 0.2, "end_value": 0.03, "transition_steps": 25.0, "transition_begin": 5.0}
WARM = {"init_value": 0.01, "peak_value": 0.1, "warmup_steps": 10.0}
FALL = {"init_value": 0.1, "transition_steps": 12.0, "decay_rate": 0.7, "transition_begin": 5.0}


def stairs(library):
    """With names for what stands in a dict; the steps are not swept here, for optax's must be Python's numbers."""
    return lambda s0, c1, c2: library.piecewise_constant_schedule(s0, {30: c2, 10: c1})


def points(library, way):
    return lambda s0, c1, c2: library.piecewise_interpolate_schedule(way, s0, {30: c2, 10: c1})


def restarts(library):
    def schedule(peak_value, decay_steps):
        first = {"init_value": 0.0, "peak_value": peak_value, "warmup_steps": 4, "decay_steps": decay_steps}
        return library.sgdr_schedule([first, first | {"peak_value": 0.05, "end_value": 0.01}])

    return schedule


def joined(library, line, cosine):
    return lambda peak, boundary: library.join_schedules([line(0.0, peak, 10), cosine(peak, 30)], [boundary])


# Counts at which no staircase turns and no bound is met stay so if an argument moves by little: 17 is looked at.
SCHEDULES = [
    Row("constant", schedules.constant_schedule, optax.constant_schedule, {"value": 0.1}),
    Row("piecewise_constant", stairs(schedules), stairs(optax), {"s0": 0.1, "c1": 0.5, "c2": 0.3}),
    Row(
        "step_decay",
        schedules.step_decay,
        lambda init_value, decay_steps, decay_rate: optax.exponential_decay(
            init_value, decay_steps, decay_rate, staircase=True
        ),
        {"init_value": 0.1, "decay_steps": 10.3, "decay_rate": 0.5},
    ),
    Row("polynomial", schedules.polynomial_schedule, optax.polynomial_schedule, {**LINE, "power": 2.5}),
    Row("polynomial_root", schedules.polynomial_schedule, optax.polynomial_schedule, {**LINE, "power": 0.5}),
    Row("linear", schedules.linear_schedule, optax.linear_schedule, LINE),
    Row(
        "linear_decay",
        schedules.linear_decay,
        lambda init_value, total_steps: optax.linear_schedule(init_value, 0.0, total_steps),
        {"init_value": 0.1, "total_steps": 30.0},
    ),
    Row("exponential", schedules.exponential_decay, optax.exponential_decay, FALL),
    Row(
        "exponential_staircase",
        partial(schedules.exponential_decay, staircase=True),
        partial(optax.exponential_decay, staircase=True),
        {**FALL, "transition_steps": 5.1},
    ),
    Row("exponential_to_a_bound", schedules.exponential_decay, optax.exponential_decay, {**FALL, "end_value": 0.06}),
    Row(
        "exponential_growth",
        schedules.exponential_decay,
        optax.exponential_decay,
        {**FALL, "decay_rate": 1.3, "end_value": 0.16},
    ),
    Row(
        "inverse_time",
        schedules.inverse_time_decay,
        None,
        {"init_value": 0.1, "decay_steps": 10.0, "decay_rate": 0.5},
    ),
    Row(
        "inverse_time_staircase",
        partial(schedules.inverse_time_decay, staircase=True),
        None,
        {"init_value": 0.1, "decay_steps": 10.0, "decay_rate": 0.5},
    ),
    Row(
        "inverse_square_root",
        schedules.inverse_square_root_schedule,
        None,
        {"peak_value": 0.1, "warmup_steps": 10.0},
    ),
    Row("noam", schedules.noam_schedule, None, {"features": 64.0, "warmup_steps": 30.0, "factor": 2.0}),
    Row(
        "cosine",
        schedules.cosine_decay_schedule,
        optax.cosine_decay_schedule,
        {"init_value": 0.1, "decay_steps": 40.0},
    ),
    Row(
        "cosine_to_alpha",
        schedules.cosine_decay_schedule,
        optax.cosine_decay_schedule,
        {"init_value": 0.1, "decay_steps": 40.0, "alpha": 0.01, "exponent": 2.0},
    ),
    Row("warmup_constant", schedules.warmup_constant_schedule, optax.warmup_constant_schedule, WARM),
    Row(
        "warmup_cosine",
        schedules.warmup_cosine_decay_schedule,
        optax.warmup_cosine_decay_schedule,
        {**WARM, "decay_steps": 40.0, "end_value": 0.02, "exponent": 1.5},
    ),
    Row(
        "warmup_exponential",
        schedules.warmup_exponential_decay_schedule,
        optax.warmup_exponential_decay_schedule,
        {**WARM, "transition_steps": 12.0, "decay_rate": 0.7, "transition_begin": 3.0, "end_value": 0.05},
    ),
    Row(
        "warmup_then_anything",
        lambda warmup_steps, init_value, peak: schedules.warmup_schedule(
            schedules.inverse_time_decay(peak, 20, 0.5), warmup_steps, init_value
        ),
        None,
        {"warmup_steps": 10.0, "init_value": 0.01, "peak": 0.1},
    ),
    Row(
        "joined",
        joined(schedules, schedules.linear_schedule, schedules.cosine_decay_schedule),
        joined(optax, optax.linear_schedule, optax.cosine_decay_schedule),
        {"peak": 0.1, "boundary": 10.0},
    ),
    Row("sgdr", restarts(schedules), restarts(optax), {"peak_value": 0.1, "decay_steps": 15.0}),
    Row(
        "cosine_restarts",
        schedules.cosine_restarts_schedule,
        None,
        {"init_value": 0.1, "first_decay_steps": 6.0, "t_mul": 2.0, "m_mul": 0.8, "alpha": 0.01},
    ),
    Row(
        "cyclic",
        schedules.cyclic_schedule,
        None,
        {
            "base_value": 0.01,
            "max_value": 0.1,
            "step_size_up": 7.0,
            "step_size_down": 5.0,
            "cycle_decay": 0.7,
            "step_decay": 0.99,
        },
    ),
    Row("points_on_lines", points(schedules, "linear"), points(optax, "linear"), {"s0": 0.1, "c1": 0.5, "c2": 0.3}),
    Row("points_on_cosines", points(schedules, "cosine"), points(optax, "cosine"), {"s0": 0.1, "c1": 0.5, "c2": 0.3}),
    Row(
        "linear_onecycle",
        partial(schedules.linear_onecycle_schedule, 47),
        partial(optax.linear_onecycle_schedule, 47),
        {"peak_value": 0.1, "div_factor": 20.0, "final_div_factor": 100.0},
    ),
    Row(
        "cosine_onecycle",
        partial(schedules.cosine_onecycle_schedule, 47),
        partial(optax.cosine_onecycle_schedule, 47),
        {"peak_value": 0.1, "div_factor": 20.0, "final_div_factor": 100.0},
    ),
]
