"""How well scores put what is so above what is not: exactly, of whole arrays.

Both figures are sums over groups of equal scores, highest first, so ties are right: of a group there are the weights of
its positives and of its negatives. A bin of a histogram is such a group too, which is how the streaming forms work.

Dimensions: `groups` groups of scores that are alike, highest first.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.metrics._metric import wide
from jaxnn.metrics._targets import check_answers, ratio, spread
from jaxnn.typing import AnyArray, Array


def roc_auc(prediction: AnyArray, target: AnyArray, weight: AnyArray | None = None) -> Array:
    """Chance that a positive has the higher score, AUC = sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / (W+ W-).

    The sum is over pairs of a positive i and a negative j, whose weights sum to W+ and W-; it is the area under the
    receiver operating characteristic. Sorting makes it take n log n steps. Nothing but the order of scores matters:
    logits and probabilities are alike, as long as no two of them round to one.

    Args:
        prediction: Scores s, any shape; all elements are ranked together.
        target: 0 or 1, the same shape; positive above 1/2.
        weight: Weights w, the same shape or any prefix of it.

    Returns:
        A scalar, float32 at least; NaN if there is no positive or no negative, or a score is NaN.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> roc_auc(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0]))
    Array(0.75, dtype=float32)

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    return area(*_groups(prediction, target, weight))


def average_precision(prediction: AnyArray, target: AnyArray, weight: AnyArray | None = None) -> Array:
    """Mean over positives of the precision down to their score, AP = sum_k (R_k - R_(k-1)) P_k.

    k counts the distinct scores from the highest, and P_k and R_k are precision and recall of answering yes from
    there up. It is a step function's area under the precision-recall curve, not a trapezoid's, which is too large.

    Args:
        prediction: Scores, any shape; all elements are ranked together.
        target: 0 or 1, the same shape; positive above 1/2.
        weight: Weights, the same shape or any prefix of it.

    Returns:
        A scalar, float32 at least; NaN if there is no positive (scikit-learn has 0), or a score is NaN.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> average_precision(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])).round(4)
    Array(0.8333, dtype=float32)

    Source: Zhu, "Recall, precision and average precision" (2004).
    """
    return precision_area(*_groups(prediction, target, weight))


def area(positive: Array, negative: Array) -> Array:
    """AUC from the weights of positives and negatives in each group, `(groups,)`, highest scores first."""
    above = jnp.cumsum(positive) - positive / 2
    return ratio((above * ratio(negative, negative.sum())).sum(), positive.sum())


def precision_area(positive: Array, negative: Array) -> Array:
    """AP from the weights of positives and negatives in each group, `(groups,)`, highest scores first."""
    true, claimed = jnp.cumsum(positive), jnp.cumsum(positive + negative)
    return ratio((positive * ratio(true, claimed, 0)).sum(), positive.sum())


def sides(score: AnyArray, target: AnyArray, weight: AnyArray | None) -> tuple[Array, Array, Array]:
    """Scores, and the weights of positives and negatives, all `(n,)`; NaN weights where either is not known."""
    check_answers(score, target)
    score, t = wide(score).reshape(-1), wide(target).reshape(-1)
    w = spread(weight, target.shape).reshape(-1)
    known = ~jnp.isnan(score) & (t >= 0) & (t <= 1)
    w = jnp.where(known | (w == 0), w, jnp.nan)
    return score, jnp.where(t > 0.5, w, 0), jnp.where(t > 0.5, 0, w)


def _groups(prediction, target, weight):
    score, positive, negative = sides(prediction, target, weight)
    poison = jnp.where(jnp.isnan(positive + negative).any(), jnp.nan, 0).astype(positive.dtype)
    score, positive, negative = lax.sort((-score, positive, negative), num_keys=1)
    # Which group each belongs to: one more wherever the score changes. Groups that are left over weigh nothing.
    group = jnp.cumsum(jnp.append(score[:1] != score[:1], score[1:] != score[:-1]).astype(jnp.int32))
    gather = lambda w: jax.ops.segment_sum(w, group, score.size, indices_are_sorted=True) + poison
    return gather(positive), gather(negative)
