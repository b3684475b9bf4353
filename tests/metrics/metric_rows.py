"""One row per metric with a state: what it judges, and what it says of nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

import jaxnn as nn
from jaxnn import metrics as m

CLASSES = 3


def answers(random, n):
    """Scores with ties, and yes or no."""
    return random.integers(0, 21, n) / 20, random.integers(0, 2, n).astype(float)


def distributions(random, n):
    p = random.uniform(0.1, 1, (n, CLASSES))
    return p / p.sum(-1, keepdims=True), random.integers(0, CLASSES, n).astype(np.int32)


def logits(random, n):
    return random.normal(size=(n, CLASSES)), random.integers(0, CLASSES, n).astype(np.int32)


def onehot(random, n):
    prediction, label = logits(random, n)
    return prediction, np.eye(CLASSES)[label]


def numbers(random, n):
    target = random.normal(size=n)
    return target + random.normal(size=n) / 2, target


def images(random, n):
    """A number for each of several elements of an example."""
    prediction, target = numbers(random, 2 * n)
    return prediction.reshape(n, 2), target.reshape(n, 2)


@dataclass(frozen=True, eq=False)
class Row:
    metric: m.Metric
    draw: Callable[[np.random.Generator, int], tuple]
    empty: Any = nan  # what it says of nothing
    additive: bool = True  # whether states merge by addition
    judges_nan: bool = False  # whether NaN is an answer to it, a wrong one

    def __repr__(self):
        return repr(self.metric)


ROWS = [
    Row(m.Mean(m.accuracy), logits, judges_nan=True),
    Row(m.Mean(m.top_k_accuracy.bind(k=2)), onehot, judges_nan=True),
    Row(m.Mean(nn.losses.mse), images),
    Row(m.Mean(m.log_loss), distributions),
    Row(m.Mean(m.binary_log_loss), answers),
    Row(m.Mean(m.brier_score), distributions),
    Row(m.Through(nn.softmax, m.brier_score), logits),
    Row(m.Through(nn.sigmoid, m.BinaryCalibrationError(5)), answers),
    Row(m.ConfusionMatrix(classes=CLASSES), onehot, empty=0),
    Row(m.ConfusionMatrix(threshold=0.5), answers, empty=0),
    Row(m.Precision(threshold=0.5), answers, empty=0),
    Row(m.Precision(classes=CLASSES, average="macro", zero_division=1.0), logits, empty=1),
    Row(m.Recall(classes=CLASSES, average="weighted"), logits, empty=0),
    Row(m.Recall(classes=CLASSES, average="macro", zero_division=nan), logits),
    Row(m.FBeta(2.0, classes=CLASSES, average="none"), logits, empty=0),
    Row(m.FBeta(threshold=0.31), answers, empty=0),
    Row(m.BalancedAccuracy(classes=CLASSES), logits),
    Row(m.MatthewsCorrelation(classes=CLASSES), logits),
    Row(m.CohenKappa(classes=CLASSES), logits),
    Row(m.RocAuc(20), answers),
    Row(m.AveragePrecision((0.2, 0.5, 0.8)), answers),
    Row(m.RocCurve((0.2, 0.5, 0.8)), answers),
    Row(m.PrecisionRecallCurve((0.2, 0.5, 0.8)), answers, empty=(1, nan)),
    Row(m.Collected(m.roc_auc, 64), answers, additive=False),
    Row(m.Collected(m.average_precision, 64), answers, additive=False),
    Row(m.CalibrationError(5), distributions),
    Row(m.CalibrationError(5, norm="l2"), distributions),
    Row(m.BinaryCalibrationError(5, norm="max"), answers),
    Row(m.Perplexity(), logits),
    Row(m.MeanSquaredError(), images),
    Row(m.RootMeanSquaredError(), numbers),
    Row(m.MeanAbsoluteError(), numbers),
    Row(m.R2(), numbers, additive=False),
    Row(m.ExplainedVariance(), images, additive=False),
]
