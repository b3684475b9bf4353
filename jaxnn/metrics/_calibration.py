"""Calibration: whether what is given the probability p comes true in p of all cases.

Dimensions: `bins` the bins of probabilities, evenly spaced from 0 to 1.
"""

import abc
from dataclasses import KW_ONLY, dataclass
from typing import Literal, NamedTuple, final

import jax
import jax.numpy as jnp

from jaxnn.metrics._metric import Metric, whole_number, wide, zeros
from jaxnn.metrics._targets import (
    check_chances,
    check_distributions,
    labels,
    no_chances,
    no_distributions,
    ratio,
    spread,
    weighed,
)
from jaxnn.typing import Array


class Calibration(NamedTuple):
    """State of a calibration error; `true / weight` against `confidence / weight` is a reliability diagram."""

    weight: Array  # of the examples in each bin, (bins,)
    confidence: Array  # the sum of their probabilities, (bins,)
    true: Array  # the weight of those that came true, (bins,)


@dataclass(frozen=True, repr=False)
class OfBins(Metric):
    """How far frequencies are from probabilities, bin by bin."""

    bins: int = 15
    _: KW_ONLY
    norm: Literal["l1", "l2", "max"] = "l1"

    def __post_init__(self) -> None:
        whole_number(self.bins, "bins", least=1, why="it counts the bins from 0 to 1")
        if self.norm not in ("l1", "l2", "max"):
            raise ValueError(f"expected norm l1, l2 or max, because these are what there is; got {self.norm!r}")

    def init(self) -> Calibration:
        return Calibration(*(zeros(self.bins) for _ in range(3)))

    def update(self, state, prediction, target, weight=None) -> Calibration:
        self.check(prediction, target)
        p, true, known = self._answers(jnp.asarray(prediction), jnp.asarray(target))
        w = spread(weight, p.shape)
        w = jnp.where(known | (w == 0), w, jnp.nan).reshape(-1)
        p, true = p.reshape(-1), true.reshape(-1)
        index = jnp.searchsorted(jnp.linspace(0, 1, self.bins + 1, dtype=p.dtype)[1:-1], p)
        # What is in no bin, NaN, is in all.
        poison = jnp.where(jnp.isnan(w).any(), jnp.nan, 0).astype(w.dtype)
        gather = lambda x: jax.ops.segment_sum(x, index, self.bins) + poison
        return jax.tree.map(jnp.add, state, Calibration(gather(w), gather(weighed(w, p)), gather(weighed(w, true))))

    def compute(self, state) -> Array:
        gap = jnp.abs(ratio(state.true - state.confidence, state.weight, 0))
        total = state.weight.sum()
        if self.norm == "max":
            return jnp.where(total == 0, jnp.nan, gap.max())
        share = ratio(state.weight, total)
        return (share * gap).sum() if self.norm == "l1" else jnp.sqrt((share * gap * gap).sum())

    @abc.abstractmethod
    def _answers(self, prediction: Array, target: Array) -> tuple[Array, Array, Array]:
        """Of each example its probability, whether it came true, and whether these are known."""


@final
@dataclass(frozen=True, repr=False)
class CalibrationError(OfBins):
    """Expected calibration error, ECE = sum_b w_b |a_b - c_b| / sum_b w_b, of the classes that are chosen.

    Examples fall into bins by their confidence, the largest probability; a_b is the accuracy in bin b, c_b the mean
    confidence, w_b the weight. A bin has its upper end. NaN over nothing.

    Attributes:
        bins: How many there are between 0 and 1, of one width.
        norm: "l1" for the mean gap; "l2" for the root of the mean square; "max" for the largest.

    Raises:
        ValueError: There are fewer bins than one, or the norm is none of these.

    >>> CalibrationError(10)(jnp.array([[0.75, 0.25], [0.25, 0.75]]), jnp.array([0, 0]))
    Array(0.25, dtype=float32)

    Source: Naeini et al. (2015); Guo et al., "On calibration of modern neural networks" (2017).
    """

    def check(self, prediction, target):
        check_distributions(prediction, target)

    def _answers(self, prediction, target):
        label = labels(target)
        known = ~no_distributions(prediction) & (label >= 0) & (label < prediction.shape[-1])
        return wide(prediction).max(-1), prediction.argmax(-1).astype(jnp.int32) == label, known


@final
@dataclass(frozen=True, repr=False)
class BinaryCalibrationError(OfBins):
    """Expected calibration error, ECE = sum_b w_b |a_b - c_b| / sum_b w_b, of the probability of yes.

    Examples fall into bins by this probability; a_b is the share of yes in bin b, c_b the mean probability, w_b the
    weight. A bin has its upper end, as in scikit-learn's `calibration_curve`. NaN over nothing.

    Attributes:
        bins: How many there are between 0 and 1, of one width.
        norm: "l1" for the mean gap; "l2" for the root of the mean square; "max" for the largest.

    Raises:
        ValueError: There are fewer bins than one, or the norm is none of these.

    >>> BinaryCalibrationError(10)(jnp.array([0.75, 0.75, 0.125]), jnp.array([1.0, 0.0, 0.0])).round(4)
    Array(0.2083, dtype=float32)

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning" (2015).
    """

    def check(self, prediction, target):
        check_chances(prediction, target)

    def _answers(self, prediction, target):
        t = wide(target)
        return wide(prediction), t > 0.5, ~no_chances(prediction) & (t >= 0) & (t <= 1)
