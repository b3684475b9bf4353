"""Metrics: functions of prediction and target that return the figure of each example, as losses do.

So a metric is averaged, weighed and batched exactly as a loss is; `evaluate` and `fit` take both.

Dimensions: `batch` examples, `classes` the last axis of logits.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses import binary_cross_entropy, cross_entropy
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype

__all__ = [
    "accuracy",
    "binary_accuracy",
]


def _check_classes(prediction: AnyArray, target: AnyArray) -> None:
    if prediction.ndim < 1 or prediction.shape[-1] < 2:
        raise ShapeError(
            "prediction of shape (..., classes) with two classes or more",
            why="the largest of them is the answer",
            got=tuple(prediction.shape),
            hint="one logit a yes-or-no question: binary_accuracy",
        )
    cross_entropy.check(prediction, target)


@op(_check_classes)
def accuracy(prediction: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """1 where the largest prediction is the target's, else 0; the mean is the fraction that is right.

    Args:
        prediction: Logits or probabilities, `(..., classes)`. Of equals the first counts; NaN is never right.
        target: Integer labels, `(...)`, or one-hot rows, `(..., classes)`.

    Returns:
        `(...)`, float32 at least.

    Raises:
        ShapeError: There is one class, or the target has neither shape.
        ValueError: A concrete label is out of range.

    >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
    Array([1., 0.], dtype=float32)
    """
    labels = target if jnp.issubdtype(target.dtype, jnp.integer) else target.argmax(-1)
    right = prediction.argmax(-1).astype(jnp.int32) == labels.astype(jnp.int32)
    return _as_float(right & ~jnp.isnan(prediction).any(-1), prediction)


@op(binary_cross_entropy.check)
def binary_accuracy(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 where the logit is positive and the target above 1/2, or neither is, else 0.

    Args:
        prediction: Logits, any shape, as for `binary_cross_entropy`; NaN is never right.
        target: 0 or 1 or a probability, the same shape.

    Returns:
        The same shape, float32 at least.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> binary_accuracy(jnp.array([2.0, -1.0, 0.5]), jnp.array([1.0, 1.0, 0.0]))
    Array([1., 0., 0.], dtype=float32)
    """
    right = (prediction > 0) == (target > 0.5)
    return _as_float(right & ~jnp.isnan(prediction), prediction)


def _as_float(right, prediction):
    return right.astype(accumulator_dtype(prediction.dtype))
