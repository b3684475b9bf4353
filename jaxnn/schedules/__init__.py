"""Schedules: a hyperparameter as a function of the step count, every argument of which may be a tracer.

A schedule is called with the number of steps taken before: the first step has its value at 0. Those that optax has too
have its names, arguments, defaults and values; a schedule of either library may stand where one of the other may.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.schedules._constant import constant_schedule as constant_schedule
    from jaxnn.schedules._constant import piecewise_constant_schedule as piecewise_constant_schedule
    from jaxnn.schedules._constant import step_decay as step_decay
    from jaxnn.schedules._cosine import cosine_decay_schedule as cosine_decay_schedule
    from jaxnn.schedules._cyclic import cyclic_schedule as cyclic_schedule
    from jaxnn.schedules._exponential import exponential_decay as exponential_decay
    from jaxnn.schedules._exponential import inverse_square_root_schedule as inverse_square_root_schedule
    from jaxnn.schedules._exponential import inverse_time_decay as inverse_time_decay
    from jaxnn.schedules._exponential import noam_schedule as noam_schedule
    from jaxnn.schedules._joining import join_schedules as join_schedules
    from jaxnn.schedules._joining import warmup_schedule as warmup_schedule
    from jaxnn.schedules._one_cycle import cosine_onecycle_schedule as cosine_onecycle_schedule
    from jaxnn.schedules._one_cycle import linear_onecycle_schedule as linear_onecycle_schedule
    from jaxnn.schedules._one_cycle import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from jaxnn.schedules._polynomial import linear_decay as linear_decay
    from jaxnn.schedules._polynomial import linear_schedule as linear_schedule
    from jaxnn.schedules._polynomial import polynomial_schedule as polynomial_schedule
    from jaxnn.schedules._restarts import cosine_restarts_schedule as cosine_restarts_schedule
    from jaxnn.schedules._restarts import sgdr_schedule as sgdr_schedule
    from jaxnn.schedules._warmup import warmup_constant_schedule as warmup_constant_schedule
    from jaxnn.schedules._warmup import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from jaxnn.schedules._warmup import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "cyclic_schedule",
    "exponential_decay",
    "inverse_square_root_schedule",
    "inverse_time_decay",
    "join_schedules",
    "linear_decay",
    "linear_onecycle_schedule",
    "linear_schedule",
    "noam_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "step_decay",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_schedule",
]
