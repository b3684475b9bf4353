"""Metrics: of examples, which are averaged as losses are, and of all that is seen, which are gathered in a state.

In snake case stand functions of prediction and target. Those that return the figure of each example, such as
`accuracy` and `brier_score`, are averaged, weighed and batched exactly as a loss is; `evaluate` and `fit` take both.
`roc_auc` and `average_precision` are of whole arrays.

In camel case stand metrics with a state, such as `Precision(threshold=0.5)`: pairs of pure functions, which `evaluate`
takes too. `Mean(accuracy)` makes one of a function of examples, `Collected(roc_auc, 1000)` one of a function of whole
arrays, and `Through(softmax, metric)` one of logits where a metric wants probabilities.

Dimensions: `batch` examples, `classes` the last axis of logits.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.metrics._accuracy import accuracy as accuracy
    from jaxnn.metrics._accuracy import binary_accuracy as binary_accuracy
    from jaxnn.metrics._accuracy import top_k_accuracy as top_k_accuracy
    from jaxnn.metrics._agreement import BalancedAccuracy as BalancedAccuracy
    from jaxnn.metrics._agreement import CohenKappa as CohenKappa
    from jaxnn.metrics._agreement import MatthewsCorrelation as MatthewsCorrelation
    from jaxnn.metrics._calibration import BinaryCalibrationError as BinaryCalibrationError
    from jaxnn.metrics._calibration import CalibrationError as CalibrationError
    from jaxnn.metrics._collected import Collected as Collected
    from jaxnn.metrics._confusion import ConfusionMatrix as ConfusionMatrix
    from jaxnn.metrics._curves import AveragePrecision as AveragePrecision
    from jaxnn.metrics._curves import PrecisionRecallCurve as PrecisionRecallCurve
    from jaxnn.metrics._curves import RocAuc as RocAuc
    from jaxnn.metrics._curves import RocCurve as RocCurve
    from jaxnn.metrics._mean import Mean as Mean
    from jaxnn.metrics._mean import Through as Through
    from jaxnn.metrics._metric import Metric as Metric
    from jaxnn.metrics._precision import FBeta as FBeta
    from jaxnn.metrics._precision import Precision as Precision
    from jaxnn.metrics._precision import Recall as Recall
    from jaxnn.metrics._probabilities import Perplexity as Perplexity
    from jaxnn.metrics._probabilities import binary_brier_score as binary_brier_score
    from jaxnn.metrics._probabilities import binary_log_loss as binary_log_loss
    from jaxnn.metrics._probabilities import brier_score as brier_score
    from jaxnn.metrics._probabilities import log_loss as log_loss
    from jaxnn.metrics._ranking import average_precision as average_precision
    from jaxnn.metrics._ranking import roc_auc as roc_auc
    from jaxnn.metrics._regression import R2 as R2
    from jaxnn.metrics._regression import ExplainedVariance as ExplainedVariance
    from jaxnn.metrics._regression import MeanAbsoluteError as MeanAbsoluteError
    from jaxnn.metrics._regression import MeanSquaredError as MeanSquaredError
    from jaxnn.metrics._regression import RootMeanSquaredError as RootMeanSquaredError
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "R2",
    "AveragePrecision",
    "BalancedAccuracy",
    "BinaryCalibrationError",
    "CalibrationError",
    "CohenKappa",
    "Collected",
    "ConfusionMatrix",
    "ExplainedVariance",
    "FBeta",
    "MatthewsCorrelation",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "PrecisionRecallCurve",
    "Recall",
    "RocAuc",
    "RocCurve",
    "RootMeanSquaredError",
    "Through",
    "accuracy",
    "average_precision",
    "binary_accuracy",
    "binary_brier_score",
    "binary_log_loss",
    "brier_score",
    "log_loss",
    "roc_auc",
    "top_k_accuracy",
]
