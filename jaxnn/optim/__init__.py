"""Optimizers and schedules with optax's contract, names and numbers, and hyperparameters that can be swept."""

from jaxnn.optim._aliases import adam as adam
from jaxnn.optim._aliases import adamw as adamw
from jaxnn.optim._aliases import momentum as momentum
from jaxnn.optim._aliases import nesterov as nesterov
from jaxnn.optim._aliases import sgd as sgd
from jaxnn.optim._combining import apply_updates as apply_updates
from jaxnn.optim._combining import chain as chain
from jaxnn.optim._optimizer import Optimizer as Optimizer
from jaxnn.optim._schedules import constant_schedule as constant_schedule
from jaxnn.optim._schedules import cosine_decay_schedule as cosine_decay_schedule
from jaxnn.optim._transforms import ScaleByAdamState as ScaleByAdamState
from jaxnn.optim._transforms import ScaleByScheduleState as ScaleByScheduleState
from jaxnn.optim._transforms import TraceState as TraceState
from jaxnn.optim._transforms import add_decayed_weights as add_decayed_weights
from jaxnn.optim._transforms import scale_by_adam as scale_by_adam
from jaxnn.optim._transforms import scale_by_learning_rate as scale_by_learning_rate
from jaxnn.optim._transforms import scale_by_schedule as scale_by_schedule
from jaxnn.optim._transforms import trace as trace

__all__ = [
    "Optimizer",
    "ScaleByAdamState",
    "ScaleByScheduleState",
    "TraceState",
    "adam",
    "adamw",
    "add_decayed_weights",
    "apply_updates",
    "chain",
    "constant_schedule",
    "cosine_decay_schedule",
    "momentum",
    "nesterov",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "sgd",
    "trace",
]
