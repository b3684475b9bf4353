"""Figures of numbers that are predicted.

Every element is an observation, so of several outputs these are figures of all together; those of each are
`jax.vmap(metric, in_axes=-1)`, and scikit-learn's default is the mean of these.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import jax.numpy as jnp

from jaxnn.metrics._mean import Sums, add, mean, no_sums
from jaxnn.metrics._metric import Metric, wide, zeros
from jaxnn.metrics._targets import ratio, spread, weighed
from jaxnn.typing import Array


@final
@dataclass(frozen=True, repr=False)
class MeanSquaredError(Metric):
    """Mean squared error, sum_i w_i (prediction_i - target_i)^2 / sum_i w_i; NaN over nothing.

    >>> MeanSquaredError()(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0])).round(4)
    Array(1.4167, dtype=float32)

    Source: Gauss, "Theoria motus" (1809).
    """

    def init(self) -> Sums:
        return no_sums()

    def update(self, state, prediction, target, weight=None) -> Sums:
        self.check(prediction, target)
        return add(state, (wide(prediction) - wide(target)) ** 2, weight)

    def compute(self, state) -> Array:
        return mean(state)


@final
@dataclass(frozen=True, repr=False)
class RootMeanSquaredError(Metric):
    """Root of the mean squared error, sqrt(sum_i w_i (prediction_i - target_i)^2 / sum_i w_i); NaN over nothing.

    The root is taken at the end: the mean of the roots of batches would be another number, and a smaller one.

    >>> RootMeanSquaredError()(jnp.array([1.0, 2.0, 5.0, 4.0]), jnp.array([1.0, 2.0, 3.0, 4.0]))
    Array(1., dtype=float32)

    Source: Gauss, "Theoria combinationis observationum" (1823), there as the mean error to be feared.
    """

    def init(self) -> Sums:
        return no_sums()

    def update(self, state, prediction, target, weight=None) -> Sums:
        return MeanSquaredError().update(state, prediction, target, weight)

    def compute(self, state) -> Array:
        return jnp.sqrt(mean(state))


@final
@dataclass(frozen=True, repr=False)
class MeanAbsoluteError(Metric):
    """Mean absolute error, sum_i w_i |prediction_i - target_i| / sum_i w_i; NaN over nothing.

    >>> MeanAbsoluteError()(jnp.array([1.5, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0]))
    Array(0.5, dtype=float32)

    Source: Laplace (1774).
    """

    def init(self) -> Sums:
        return no_sums()

    def update(self, state, prediction, target, weight=None) -> Sums:
        self.check(prediction, target)
        return add(state, jnp.abs(wide(prediction) - wide(target)), weight)

    def compute(self, state) -> Array:
        return mean(state)


class Moments(NamedTuple):
    """Weight, mean, and squared distance from the mean: what a variance is merged from without cancellation."""

    weight: Array  # W = sum w, shape ()
    mean: Array  # m = sum w x / W, shape (); 0 of nothing
    square: Array  # M = sum w (x - m)^2, shape ()


def moments(x: Array, w: Array) -> Moments:
    """Return the moments of some numbers, taken from one of them on, so that a constant has no variance at all."""
    if x.size == 0:
        return Moments(zeros(), zeros(), zeros())
    x, w = x.reshape(-1).astype(w.dtype), w.reshape(-1)
    origin = x[(w != 0).argmax()]
    d, weight = x - origin, w.sum()
    shift = ratio(weighed(w, d).sum(), weight, 0)
    return Moments(weight, jnp.where(weight == 0, 0, origin + shift), weighed(w, (d - shift) ** 2).sum())


def joined(a: Moments, b: Moments) -> Moments:
    """W = Wa + Wb, m = ma + d Wb / W and M = Ma + Mb + d^2 Wa Wb / W, with d = mb - ma.

    Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).
    """
    weight, d = a.weight + b.weight, b.mean - a.mean
    part = ratio(b.weight, weight, 0)
    mean = jnp.where(a.weight == 0, b.mean, jnp.where(b.weight == 0, a.mean, a.mean + d * part))
    # Where either is of nothing its mean is none, and there is no distance.
    between = jnp.where((a.weight == 0) | (b.weight == 0), 0, d * d * a.weight * part)
    return Moments(weight, mean, a.square + b.square + between)


def _explained(rest, all_of_it):
    """1 - rest / all; where there is nothing to explain 1 if nothing is left, else 0."""
    return jnp.where(all_of_it == 0, (rest == 0).astype(rest.dtype), 1 - ratio(rest, all_of_it))


class Determination(NamedTuple):
    """State of `R2`."""

    target: Moments
    error: Array  # SSE = sum w (prediction - target)^2, shape ()


@final
@dataclass(frozen=True, repr=False)
class R2(Metric):
    """Coefficient of determination, R2 = 1 - SSE / SST, with SST = sum_i w_i (target_i - mean target)^2.

    1 is perfect, 0 is no better than the mean of the targets, and there is no lower bound. If the targets are all
    equal it is 1 where every prediction is right and else 0, as in scikit-learn, and so for one target alone
    (scikit-learn has NaN); over nothing NaN. States do not add: see `merged`.

    >>> R2()(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array(-1.125, dtype=float32)

    Source: Wright, "Correlation and causation" (1921).
    """

    def init(self) -> Determination:
        return Determination(Moments(zeros(), zeros(), zeros()), zeros())

    def update(self, state, prediction, target, weight=None) -> Determination:
        self.check(prediction, target)
        prediction, target, w = wide(prediction), wide(target), spread(weight, target.shape)
        error = weighed(w, (prediction - target) ** 2).sum()
        return self.merge(state, Determination(moments(target, w), error))

    def merge(self, state, other) -> Determination:
        return Determination(joined(state.target, other.target), state.error + other.error)

    def compute(self, state) -> Array:
        figure = _explained(state.error, state.target.square)
        return jnp.where(state.target.weight == 0, jnp.nan, figure)


class Explanation(NamedTuple):
    """State of `ExplainedVariance`."""

    target: Moments
    error: Moments  # of target - prediction


@final
@dataclass(frozen=True, repr=False)
class ExplainedVariance(Metric):
    """Share of the variance that is explained, 1 - Var(target - prediction) / Var(target).

    Unlike R2 it does not mind an error that is the same everywhere. If the targets are all equal it is 1 where the
    errors are too and else 0, as in scikit-learn; over nothing NaN. States do not add: see `merged`.

    >>> ExplainedVariance()(jnp.array([2.0, 3.0, 4.0]), jnp.array([1.0, 2.0, 3.0]))
    Array(1., dtype=float32)

    Source: the name and the definition are those of scikit-learn's `explained_variance_score`.
    """

    def init(self) -> Explanation:
        none = Moments(zeros(), zeros(), zeros())
        return Explanation(none, none)

    def update(self, state, prediction, target, weight=None) -> Explanation:
        self.check(prediction, target)
        prediction, target, w = wide(prediction), wide(target), spread(weight, target.shape)
        return self.merge(state, Explanation(moments(target, w), moments(target - prediction, w)))

    def merge(self, state, other) -> Explanation:
        return Explanation(joined(state.target, other.target), joined(state.error, other.error))

    def compute(self, state) -> Array:
        figure = _explained(state.error.square, state.target.square)
        return jnp.where(state.target.weight == 0, jnp.nan, figure)
