"""Precision, recall and what joins them, of one class or averaged over classes.

For a class, TP are its examples that were taken for it, FP those of other classes that were, and FN its own that were
not. `average` says what becomes of several classes:

==========  ==============================================================================================
binary      class 1 alone, of two; the default
micro       TP, FP and FN are summed over classes first; with one answer an example, that is the accuracy
macro       the mean over classes
weighted    the mean over classes, each weighed by its examples TP + FN
none        no mean: one figure a class, `(classes,)`
==========  ==============================================================================================

All classes count, also those that never occur (scikit-learn leaves those out unless it is given `labels`).
Where a figure would be 0 / 0 it is `zero_division`: 0 by default, as in scikit-learn without its warning. If that is
NaN, macro and weighted means leave such classes out.
"""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, final, get_args

import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.metrics._confusion import OfConfusion
from jaxnn.metrics._metric import one_number, positive_number
from jaxnn.metrics._targets import ratio
from jaxnn.typing import Array, Scalar

Average: TypeAlias = Literal["binary", "micro", "macro", "weighted", "none"]


@final
@by_value
@dataclass(frozen=True, repr=False)
class Precision(OfConfusion):
    """How much of what is taken for a class is of it, P = TP / (TP + FP).

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.
        average: Over classes: binary, micro, macro, weighted or none; see the module.
        zero_division: The value where nothing is taken for a class; NaN is left out of means.

    Raises:
        ValueError: There is threshold and classes or neither, no such average, or a binary one of several classes.

    >>> Precision(threshold=0.5)(jnp.array([0.9, 0.2, 0.8, 0.6]), jnp.array([1.0, 0.0, 0.0, 1.0])).round(4)
    Array(0.6667, dtype=float32)

    Source: Kent et al., "Machine literature searching VIII" (1955), there as relevance.
    """

    _: KW_ONLY
    average: Average = "binary"
    zero_division: Scalar = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_average(self)

    def compute(self, state) -> Array:
        tp, predicted, true = _counts(state, self.average)
        return _averaged(tp, predicted, true, self)


@final
@by_value
@dataclass(frozen=True, repr=False)
class Recall(OfConfusion):
    """How much of a class is taken for it, R = TP / (TP + FN); also called sensitivity.

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.
        average: Over classes: binary, micro, macro, weighted or none; see the module.
        zero_division: The value where a class never occurs; NaN is left out of means.

    Raises:
        ValueError: There is threshold and classes or neither, no such average, or a binary one of several classes.

    >>> Recall(classes=3, average="none")(jnp.eye(3), jnp.array([0, 2, 2]))
    Array([1. , 0. , 0.5], dtype=float32)

    Source: Kent et al., "Machine literature searching VIII" (1955).
    """

    _: KW_ONLY
    average: Average = "binary"
    zero_division: Scalar = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_average(self)

    def compute(self, state) -> Array:
        tp, _, true = _counts(state, self.average)
        return _averaged(tp, true, true, self)


@final
@by_value
@dataclass(frozen=True, repr=False)
class FBeta(OfConfusion):
    """Harmonic mean of precision and recall, F = (1 + b^2) P R / (b^2 P + R), with recall b times as important.

    Computed as (1 + b^2) TP / ((1 + b^2) TP + FP + b^2 FN), which is the same and 0 / 0 only for a class that is
    neither true nor predicted. F lies between P and R.

    Attributes:
        beta: b, above 0; 1 for the F1 score. May be a tracer.
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.
        average: Over classes: binary, micro, macro, weighted or none; see the module.
        zero_division: The value where a class is neither true nor predicted; NaN is left out of means.

    Raises:
        ValueError: beta is not above 0; there is threshold and classes or neither, no such average, or a binary one
            of several classes.

    >>> f1 = FBeta(threshold=0.5)
    >>> f1, f1(jnp.array([0.9, 0.2, 0.8, 0.6]), jnp.array([1.0, 0.0, 0.0, 1.0]))
    (FBeta(threshold=0.5), Array(0.8, dtype=float32))

    Source: van Rijsbergen, "Information retrieval" (1979), chapter 7.
    """

    beta: Scalar = 1.0
    _: KW_ONLY
    average: Average = "binary"
    zero_division: Scalar = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_average(self)
        positive_number(self.beta, "beta", why="it is how much more recall counts than precision")

    def compute(self, state) -> Array:
        tp, predicted, true = _counts(state, self.average)
        b2 = jnp.asarray(self.beta, state.dtype) ** 2
        return _averaged((1 + b2) * tp, predicted + b2 * true, true, self)


def _check_average(metric) -> None:
    if metric.average not in get_args(Average):
        raise ValueError(f"expected average to be {', '.join(get_args(Average))}, because these are what there is; "
                         f"got {metric.average!r}")  # fmt: skip
    if metric.average == "binary" and metric.size != 2:
        raise ValueError(f"expected average micro, macro, weighted or none, because there are {metric.size} classes; "
                         "got 'binary'")  # fmt: skip
    one_number(metric.zero_division, "zero_division")
    if isinstance(metric.zero_division, float) and math.isnan(metric.zero_division):
        object.__setattr__(metric, "zero_division", math.nan)  # of one NaN two are equal


def _counts(matrix, average):
    """TP, TP + FP and TP + FN, of each class, of class 1 or of all together."""
    each = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    if average == "binary":
        return tuple(count[1] for count in each)
    return tuple(count.sum() for count in each) if average == "micro" else each


def _averaged(numerator, denominator, true, metric):
    otherwise = jnp.asarray(metric.zero_division, numerator.dtype)
    figures = ratio(numerator, denominator, otherwise)
    if metric.average not in ("macro", "weighted"):
        return figures
    weights = jnp.ones_like(true) if metric.average == "macro" else true
    weights = jnp.where((denominator == 0) & jnp.isnan(otherwise), 0, weights)
    return ratio(jnp.where(weights == 0, 0, weights * figures).sum(), weights.sum(), otherwise)
