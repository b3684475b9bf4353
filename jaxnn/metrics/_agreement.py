"""Single figures of a whole confusion matrix that guessing cannot make look good."""

from dataclasses import dataclass
from typing import final

import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.metrics._confusion import OfConfusion
from jaxnn.metrics._targets import ratio
from jaxnn.typing import Array


@final
@by_value
@dataclass(frozen=True, repr=False)
class BalancedAccuracy(OfConfusion):
    """Mean recall of the classes that occur, sum_i C_ii / sum_j C_ij over their number; NaN over nothing.

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.

    >>> BalancedAccuracy(classes=3)(jnp.array([0, 0, 0, 0]), jnp.array([0, 0, 0, 1]))
    Array(0.5, dtype=float32)

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution" (2010).
    """

    def compute(self, state) -> Array:
        true = state.sum(1)
        return ratio(ratio(state.diagonal(), true, 0).sum(), (true != 0).astype(state.dtype).sum())


@final
@by_value
@dataclass(frozen=True, repr=False)
class MatthewsCorrelation(OfConfusion):
    """Correlation of answers and labels, r = (sum_i C_ii - t.p) / sqrt((1 - p.p) (1 - t.t)), from -1 to 1.

    The matrix C is divided by its sum, and t and p are its row and column sums: how often each class is true and
    predicted. r is 0 if all answers or all labels are of one class, and NaN over nothing.

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.

    >>> answers, labels = jnp.array([0, 0, 0, 1, 1, 1, 1, 0]), jnp.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> MatthewsCorrelation(classes=2)(answers, labels).round(4)
    Array(0.5, dtype=float32)

    Source: Matthews (1975); for several classes, Gorodkin (2004).
    """

    def compute(self, state) -> Array:
        total = state.sum()
        share = ratio(state, total)
        t, p = share.sum(1), share.sum(0)
        # As they stand these would be differences of numbers near 1 where nearly all are of one class; what lies off
        # the diagonals is not.
        apart = lambda m: jnp.where(jnp.eye(len(state), dtype=bool), 0, m).sum()
        agreement = apart(jnp.outer(t, p)) - apart(share)
        r = ratio(agreement, jnp.sqrt(apart(jnp.outer(p, p))) * jnp.sqrt(apart(jnp.outer(t, t))), 0)
        return jnp.where(total == 0, jnp.nan, r)


@final
@by_value
@dataclass(frozen=True, repr=False)
class CohenKappa(OfConfusion):
    """Agreement beyond that of chance, k = 1 - sum_{i!=j} C_ij / sum_{i!=j} E_ij, at most 1.

    E_ij = t_i p_j / s is what answers would be that have the same frequencies and know nothing; t and p are row and
    column sums of C, and s its sum. If answers and labels are all of one and the same class, it is NaN.

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.

    >>> CohenKappa(classes=2)(jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 1]))
    Array(0.5, dtype=float32)

    Source: Cohen, "A coefficient of agreement for nominal scales" (1960).
    """

    def compute(self, state) -> Array:
        share = ratio(state, state.sum())
        expected = jnp.outer(share.sum(1), share.sum(0))
        apart = ~jnp.eye(len(state), dtype=bool)
        return 1 - ratio(jnp.where(apart, share, 0).sum(), jnp.where(apart, expected, 0).sum())
