"""Metrics: functions of prediction and target that return the figure of each example, as losses do.

So a metric is averaged, weighed and batched exactly as a loss is; `evaluate` and `fit` take both.

Dimensions: `batch` examples, `classes` the last axis of logits.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.losses import cross_entropy
from jaxnn.typing import Array

__all__ = [
    "accuracy",
]


def accuracy(prediction: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """1 where the largest prediction is the target's, else 0; the mean is the fraction that is right.

    Args:
        prediction: Logits or probabilities, `(..., classes)`. Of equals the first counts.
        target: Integer labels, `(...)`, or one-hot rows, `(..., classes)`.

    Returns:
        `(...)`, of the prediction's dtype.

    Raises:
        ShapeError: The target has neither shape.

    >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
    Array([1., 0.], dtype=float32)
    """
    cross_entropy.check(prediction, target)
    labels = target if jnp.issubdtype(target.dtype, jnp.integer) else target.argmax(-1)
    right = prediction.argmax(-1) == labels.astype(prediction.argmax(-1).dtype)
    return right.astype(prediction.dtype)
