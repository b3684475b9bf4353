"""How good probabilities are, by example, and the perplexity.

Predictions are probabilities: of logits, say `Through(jaxnn.softmax, log_loss)`. What is none is refused, or inside of
a compiled program NaN.

Dimensions: `batch` examples, `classes` the last axis of predictions.
"""

from dataclasses import dataclass
from typing import final

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.losses import cross_entropy
from jaxnn.metrics._mean import Sums, add, mean, no_sums
from jaxnn.metrics._metric import Metric, wide
from jaxnn.metrics._targets import check_arrays, check_chances, check_distributions, no_chances, no_distributions
from jaxnn.ops._op import op
from jaxnn.typing import Array


@op(check_distributions)
def log_loss(prediction: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """Negative logarithm of the probability of what came true, l = -sum_k t_k log p_k.

    p is clipped to eps and 1 - eps, with the machine epsilon of its dtype, of float32 at least, as in scikit-learn; so
    l is at most 15.9 in float32 and 36 in float64. To train, use `jaxnn.losses.cross_entropy`, which is of logits.

    Args:
        prediction: Probabilities p, `(..., classes)`.
        target: Integer labels, `(...)`, or t itself, `(..., classes)`.

    Returns:
        `(...)`, float32 at least; NaN where p are no probabilities.

    Raises:
        ShapeError: There is one class, or the target has neither shape.
        ValueError: A concrete prediction is not from 0 to 1 or sums to another number than 1, or a concrete label
            is out of range.

    >>> log_loss(jnp.array([[0.5, 0.5], [1.0, 0.0]]), jnp.array([1, 1]))
    Array([ 0.6931472, 15.942385 ], dtype=float32)

    Source: Good, "Rational decisions" (1952).
    """
    p, t = wide(prediction), _rows(target, prediction)
    return jnp.where(no_distributions(prediction), jnp.nan, -(t * jnp.log(_clipped(p))).sum(-1))


@op(check_chances)
def binary_log_loss(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Negative logarithm of the probability of what came true, l = -t log p - (1 - t) log(1 - p).

    p is clipped to eps and 1 - eps, with the machine epsilon of its dtype, of float32 at least.

    Args:
        prediction: Probabilities p of yes, any shape.
        target: t, 0 or 1 or a probability, the same shape.

    Returns:
        The same shape, float32 at least; NaN where p or t is no probability.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete prediction or target is not from 0 to 1.

    >>> binary_log_loss(jnp.array([0.25, 0.25]), jnp.array([1.0, 0.0]))
    Array([1.3862944 , 0.28768206], dtype=float32)

    Source: Good, "Rational decisions" (1952).
    """
    p, t = _clipped(wide(prediction)), wide(target)
    return jnp.where(no_chances(prediction) | no_chances(target), jnp.nan, -t * jnp.log(p) - (1 - t) * jnp.log1p(-p))


@op(check_distributions)
def brier_score(prediction: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """Squared distance of probabilities from what came true, b = sum_k (p_k - t_k)^2, from 0 to 2.

    Of two classes it is twice `binary_brier_score`.

    Args:
        prediction: Probabilities p, `(..., classes)`.
        target: Integer labels, `(...)`, or t itself, `(..., classes)`.

    Returns:
        `(...)`, float32 at least; NaN where p are no probabilities.

    Raises:
        ShapeError: There is one class, or the target has neither shape.
        ValueError: A concrete prediction is not from 0 to 1 or sums to another number than 1, or a concrete label
            is out of range.

    >>> brier_score(jnp.array([[0.5, 0.5], [1.0, 0.0]]), jnp.array([1, 1]))
    Array([0.5, 2. ], dtype=float32)

    Source: Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    e = wide(prediction) - _rows(target, prediction)
    return jnp.where(no_distributions(prediction), jnp.nan, (e * e).sum(-1))


@op(check_chances)
def binary_brier_score(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squared distance of a probability from what came true, b = (p - t)^2, from 0 to 1.

    Args:
        prediction: Probabilities p of yes, any shape.
        target: t, 0 or 1 or a probability, the same shape.

    Returns:
        The same shape, float32 at least; NaN where p or t is no probability.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete prediction or target is not from 0 to 1.

    >>> binary_brier_score(jnp.array([0.5, 1.0]), jnp.array([1.0, 0.0]))
    Array([0.25, 1.  ], dtype=float32)

    Source: Brier (1950), there summed over yes and no, which doubles it.
    """
    e = wide(prediction) - wide(target)
    return jnp.where(no_chances(prediction) | no_chances(target), jnp.nan, e * e)


@final
@dataclass(frozen=True, repr=False)
class Perplexity(Metric):
    """Exponential of the mean cross-entropy, exp(sum_i w_i l_i / sum_i w_i), l = -log softmax(z)_label.

    Of logits, as `jaxnn.losses.cross_entropy` is, and so of log-probabilities too. A model that chooses evenly
    among k words has perplexity k. NaN over nothing; weigh padding, whatever valid labels it has, with 0.

    >>> Perplexity()(jnp.zeros((2, 3, 8)), jnp.zeros((2, 3), int)).round(4)
    Array(8., dtype=float32)

    Source: Jelinek et al., "Perplexity - a measure of the difficulty of speech recognition tasks" (1977).
    """

    def check(self, prediction, target):
        check_arrays(prediction=prediction, target=target)
        cross_entropy.check(prediction, target)

    def init(self) -> Sums:
        return no_sums()

    def update(self, state, prediction, target, weight=None) -> Sums:
        self.check(prediction, target)
        target = wide(target) if jnp.issubdtype(target.dtype, jnp.floating) else jnp.asarray(target)
        return add(state, cross_entropy(wide(prediction), target), weight)

    def compute(self, state) -> Array:
        return jnp.exp(mean(state))


def _rows(target, prediction):
    """One-hot rows for integer labels, with NaN for a label that is out of range."""
    if not jnp.issubdtype(target.dtype, jnp.integer):
        return wide(target)
    k, dtype = prediction.shape[-1], wide(prediction).dtype
    label = target.astype(jnp.int32)[..., None]
    onehot = (label == jnp.arange(k, dtype=jnp.int32).reshape((1,) * target.ndim + (k,))).astype(dtype)
    return jnp.where((label >= 0) & (label < k), onehot, jnp.nan)


def _clipped(p):
    eps = jnp.finfo(p.dtype).eps
    return jnp.clip(p, eps, 1 - eps)
