"""Optimizers with optax's contract, names and numbers, and hyperparameters that can be swept."""

from jaxnn.optim._adagrad import ScaleByRssState as ScaleByRssState
from jaxnn.optim._adagrad import adagrad as adagrad
from jaxnn.optim._adagrad import scale_by_rss as scale_by_rss
from jaxnn.optim._adam import ScaleByAdamState as ScaleByAdamState
from jaxnn.optim._adam import adam as adam
from jaxnn.optim._adam import adamw as adamw
from jaxnn.optim._adam import scale_by_adam as scale_by_adam
from jaxnn.optim._combining import apply_updates as apply_updates
from jaxnn.optim._combining import chain as chain
from jaxnn.optim._learning_rate import ScaleByScheduleState as ScaleByScheduleState
from jaxnn.optim._learning_rate import scale_by_learning_rate as scale_by_learning_rate
from jaxnn.optim._learning_rate import scale_by_schedule as scale_by_schedule
from jaxnn.optim._momentum import EmaState as EmaState
from jaxnn.optim._momentum import TraceState as TraceState
from jaxnn.optim._momentum import averaged_momentum as averaged_momentum
from jaxnn.optim._momentum import ema as ema
from jaxnn.optim._momentum import momentum as momentum
from jaxnn.optim._momentum import nesterov as nesterov
from jaxnn.optim._momentum import sgd as sgd
from jaxnn.optim._momentum import trace as trace
from jaxnn.optim._optimizer import Optimizer as Optimizer
from jaxnn.optim._plateau import ReduceLROnPlateauState as ReduceLROnPlateauState
from jaxnn.optim._plateau import reduce_on_plateau as reduce_on_plateau
from jaxnn.optim._rmsprop import ScaleByRmsState as ScaleByRmsState
from jaxnn.optim._rmsprop import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from jaxnn.optim._rmsprop import ScaleByRStdDevState as ScaleByRStdDevState
from jaxnn.optim._rmsprop import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from jaxnn.optim._rmsprop import rmsprop as rmsprop
from jaxnn.optim._rmsprop import scale_by_rms as scale_by_rms
from jaxnn.optim._rmsprop import scale_by_stddev as scale_by_stddev
from jaxnn.optim._weight_decay import add_decayed_weights as add_decayed_weights

__all__ = [
    "EmaState",
    "Optimizer",
    "ReduceLROnPlateauState",
    "ScaleByAdamState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRssState",
    "ScaleByScheduleState",
    "TraceState",
    "adagrad",
    "adam",
    "adamw",
    "add_decayed_weights",
    "apply_updates",
    "averaged_momentum",
    "chain",
    "ema",
    "momentum",
    "nesterov",
    "reduce_on_plateau",
    "rmsprop",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_stddev",
    "sgd",
    "trace",
]
