"""The mean of what each example has, and a metric of what becomes of a prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError, is_array
from jaxnn.metrics._metric import Metric, wide, zeros
from jaxnn.metrics._targets import check_arrays, ratio, spread, weighed
from jaxnn.ops._op import Op
from jaxnn.typing import AnyArray, Array


class Sums(NamedTuple):
    """State of a weighted mean."""

    total: Array  # sum w m, shape ()
    weight: Array  # sum w, shape ()


def no_sums() -> Sums:
    """Return the sums over nothing, 0 and 0."""
    return Sums(zeros(), zeros())


def add(sums: Sums, m: Array, weight: AnyArray | None) -> Sums:
    """Add the figures of some examples, any shape."""
    w = spread(weight, m.shape)
    return Sums(sums.total + weighed(w, m).sum(), sums.weight + w.sum())


def mean(sums: Sums) -> Array:
    """Return sum w m / sum w, NaN over nothing."""
    return ratio(sums.total, sums.weight)


@final
@dataclass(frozen=True, repr=False)
class Mean(Metric):
    """Weighted mean of the figures of examples, sum_i w_i m_i / sum_i w_i; NaN over nothing.

    It is what `evaluate` and `fit` take of any loss or metric of examples, except that theirs over nothing is 0.

    Attributes:
        op: A function `(prediction, target) -> (batch, ...)`, such as `accuracy`, `brier_score` or any loss.

    >>> import jaxnn as nn
    >>> metric = Mean(nn.metrics.top_k_accuracy.bind(k=2))
    >>> metric, metric(jnp.array([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]]), jnp.array([2, 1]), jnp.array([3.0, 1.0]))
    (Mean(top_k_accuracy(k=2)), Array(0.75, dtype=float32))
    """

    op: Callable[..., Any]

    def check(self, prediction, target):
        check_arrays(prediction=prediction, target=target)
        if isinstance(self.op, Op):
            self.op.check(prediction, target)

    def init(self) -> Sums:
        return no_sums()

    def update(self, state, prediction, target, weight=None) -> Sums:
        check_arrays(prediction=prediction, target=target)
        m = self.op(jnp.asarray(prediction), jnp.asarray(target))
        if m.ndim == 0 and jnp.ndim(target):
            raise ShapeError("a figure of shape (batch, ...)", why="those of examples are averaged", got="a scalar",
                             hint="a function of whole arrays: Collected(function, capacity)")  # fmt: skip
        return add(state, m, weight)

    def compute(self, state) -> Array:
        return mean(state)


@final
@dataclass(frozen=True, repr=False)
class Through(Metric):
    """A metric of a function of the prediction: of probabilities, where a model gives logits.

    Attributes:
        function: Of the prediction, such as `jaxnn.softmax` or `jaxnn.sigmoid`.
        metric: Of what it returns; a loss or metric of examples stands for its mean.

    >>> import jaxnn as nn
    >>> metric = Through(nn.sigmoid, nn.metrics.binary_brier_score)
    >>> metric, metric(jnp.array([0.0, 100.0]), jnp.array([1.0, 1.0]))
    (Through(sigmoid, Mean(binary_brier_score)), Array(0.125, dtype=float32))
    """

    function: Callable[..., Any]
    metric: Any

    def __post_init__(self) -> None:
        if not isinstance(self.metric, Metric):
            object.__setattr__(self, "metric", Mean(self.metric))

    def check(self, prediction, target):
        _check_leaves(prediction)
        self.metric.check(jax.eval_shape(self.function, prediction), target)

    def init(self):
        return self.metric.init()

    def update(self, state, prediction, target, weight=None):
        _check_leaves(prediction)
        widened = jax.tree.map(wide, prediction)
        return self.metric.update(state, self.function(widened), target, weight)

    def compute(self, state):
        return self.metric.compute(state)

    def merge(self, state, other):
        return self.metric.merge(state, other)


def _check_leaves(prediction):
    """Raise an error unless a prediction is an array, or a tree of arrays."""
    if not all(map(is_array, jax.tree.leaves(prediction))):
        check_arrays(prediction=prediction)
