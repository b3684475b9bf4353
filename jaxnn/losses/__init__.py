"""Losses: ops of prediction and target that return the loss of each example; the mean is taken afterwards.

A loss has the shape `(batch, ...)` of what it judges, not a mean, so that examples, or tokens, can be
weighed. `weighted_mean` then reduces it, in the trainer and on both roads to the gradient. No loss
broadcasts: `(n, 1)` against `(n,)` would silently compare every prediction with every target.
"""

from jaxnn.losses._cross_entropy import binary_cross_entropy as binary_cross_entropy
from jaxnn.losses._cross_entropy import cross_entropy as cross_entropy
from jaxnn.losses._cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jaxnn.losses._cross_entropy import (
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from jaxnn.losses._regression import mse as mse
from jaxnn.losses._weighted_mean import weighted_mean as weighted_mean

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "mse",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "weighted_mean",
]
