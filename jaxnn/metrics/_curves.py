"""Curves at fixed thresholds, and the areas under them from the same histogram, batch by batch.

Dimensions: `thresholds` the thresholds, ascending; `bins` = thresholds + 1 the gaps between and around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn._equality import by_value
from jaxnn.errors import ShapeError, is_array, values
from jaxnn.metrics._metric import Metric, whole_number, zeros
from jaxnn.metrics._ranking import area, precision_area, sides
from jaxnn.metrics._targets import check_answers, ratio
from jaxnn.ops._settings import static
from jaxnn.typing import Array


class Histogram(NamedTuple):
    """State of a binned metric: in bin b are the scores above exactly b of the thresholds."""

    positive: Array  # weight of positives, (bins,)
    negative: Array  # weight of negatives, (bins,)


@dataclass(frozen=True, repr=False)
class Binned(Metric):
    """What is computed from how many positives and negatives have scores between any two thresholds.

    Attributes:
        thresholds: Ascending numbers; or how many, evenly spaced from 0 to 1. An array or a tracer will do.

    Raises:
        ShapeError: Thresholds are not in a row.
        ValueError: They do not ascend, or there are none; or there are fewer than two evenly spaced ones.
    """

    thresholds: int | Sequence[float] | Any = 200

    def __post_init__(self) -> None:
        if not is_array(self.thresholds):
            object.__setattr__(self, "thresholds", static(self.thresholds))
        if isinstance(self.thresholds, int):
            whole_number(self.thresholds, "thresholds", least=2, why="they are spaced from 0 to 1")
            return
        thresholds: Any = self.thresholds if is_array(self.thresholds) else np.asarray(self.thresholds)
        seen, shape = values(thresholds), tuple(thresholds.shape)
        if len(shape) != 1 or shape == (0,):
            raise ShapeError("thresholds in a row, (thresholds,)", why="bins lie between them", got=shape)
        if seen is not None and not (seen[1:] > seen[:-1]).all():
            raise ValueError(f"expected thresholds that ascend, because bins lie between them; got {seen}")

    def check(self, prediction, target):
        check_answers(prediction, target)

    def init(self) -> Histogram:
        bins = 1 + (self.thresholds if isinstance(self.thresholds, int) else len(self.thresholds))
        return Histogram(zeros(bins), zeros(bins))

    def update(self, state, prediction, target, weight=None) -> Histogram:
        score, positive, negative = sides(prediction, target, weight)
        bins = state.positive.size
        index = jnp.searchsorted(self._thresholds(score.dtype), score)
        gather = lambda w: jax.ops.segment_sum(w, index, bins)
        # What is in no bin, NaN, is in all.
        poison = jnp.where(jnp.isnan(positive + negative).any(), jnp.nan, 0).astype(positive.dtype)
        return Histogram(state.positive + gather(positive) + poison, state.negative + gather(negative) + poison)

    def _thresholds(self, dtype: Any) -> Array:
        if isinstance(self.thresholds, int):
            return jnp.linspace(0, 1, self.thresholds, dtype=dtype)
        return jnp.asarray(self.thresholds, dtype)

    def _above(self, state: Histogram) -> tuple[Array, Array, Array]:
        """The thresholds, and the weights of positives and negatives above each, `(thresholds,)`."""
        above = lambda h: jnp.cumsum(h[::-1])[-2::-1]
        return self._thresholds(state.positive.dtype), above(state.positive), above(state.negative)


class Roc(NamedTuple):
    """Points of a receiver operating characteristic."""

    false_positive_rate: Array  # (thresholds,)
    true_positive_rate: Array  # (thresholds,)
    thresholds: Array  # (thresholds,)


class PrecisionRecall(NamedTuple):
    """Points of a precision-recall curve."""

    precision: Array  # (thresholds,)
    recall: Array  # (thresholds,)
    thresholds: Array  # (thresholds,)


@final
@by_value
@dataclass(frozen=True, repr=False)
class RocCurve(Binned):
    """Share of negatives and of positives above each threshold t, FP(t) / W- and TP(t) / W+.

    From the largest threshold to the smallest the points rise from towards (0, 0) to towards (1, 1). A rate of
    what never occurs is NaN. What equals a threshold is not above it, as in `Precision`; in scikit-learn it is.

    Attributes:
        thresholds: Ascending numbers; or how many, evenly spaced from 0 to 1.

    >>> roc = RocCurve([0.0, 0.5, 1.0])(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0]))
    >>> roc.false_positive_rate, roc.true_positive_rate
    (Array([1., 0., 0.], dtype=float32), Array([1. , 0.5, 0. ], dtype=float32))

    Source: Fawcett, "An introduction to ROC analysis" (2006).
    """

    def compute(self, state) -> Roc:
        thresholds, tp, fp = self._above(state)
        return Roc(ratio(fp, state.negative.sum()), ratio(tp, state.positive.sum()), thresholds)


@final
@by_value
@dataclass(frozen=True, repr=False)
class PrecisionRecallCurve(Binned):
    """Precision and recall above each threshold t, TP(t) / (TP(t) + FP(t)) and TP(t) / W+.

    Where nothing is above a threshold precision is 1, as at the last point of scikit-learn's curve, for no claim is
    wrong. Without positives recall is NaN. What equals a threshold is not above it; in scikit-learn it is.

    Attributes:
        thresholds: Ascending numbers; or how many, evenly spaced from 0 to 1.

    >>> metric = PrecisionRecallCurve([0.0, 0.5, 1.0])
    >>> curve = metric(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0]))
    >>> curve.precision, curve.recall
    (Array([0.5, 1. , 1. ], dtype=float32), Array([1. , 0.5, 0. ], dtype=float32))

    Source: Davis and Goadrich, "The relationship between precision-recall and ROC curves" (2006).
    """

    def compute(self, state) -> PrecisionRecall:
        thresholds, tp, fp = self._above(state)
        return PrecisionRecall(ratio(tp, tp + fp, 1), ratio(tp, state.positive.sum()), thresholds)


@final
@by_value
@dataclass(frozen=True, repr=False)
class RocAuc(Binned):
    """`roc_auc` of scores of which only their bin is known: two in one bin count as equal, that is half.

    So it is exact if no bin has both positives and negatives of different scores, and otherwise off by no more than
    half the chance that a positive and a negative share a bin. For logits choose thresholds over their range.

    Attributes:
        thresholds: Ascending numbers; or how many, evenly spaced from 0 to 1.

    >>> RocAuc(100)(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0]))
    Array(0.75, dtype=float32)

    Source: Hanley and McNeil (1982).
    """

    def compute(self, state) -> Array:
        return area(state.positive[::-1], state.negative[::-1])


@final
@by_value
@dataclass(frozen=True, repr=False)
class AveragePrecision(Binned):
    """`average_precision` of scores of which only their bin is known: two in one bin count as equal.

    So it is exact if no bin has both positives and negatives of different scores.

    Attributes:
        thresholds: Ascending numbers; or how many, evenly spaced from 0 to 1.

    >>> metric = AveragePrecision(100)
    >>> metric(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])).round(4)
    Array(0.8333, dtype=float32)

    Source: Zhu (2004).
    """

    def compute(self, state) -> Array:
        return precision_area(state.positive[::-1], state.negative[::-1])
