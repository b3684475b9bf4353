"""Accuracy, by example: 1 for what is right, 0 for what is wrong.

Dimensions: `batch` examples, `classes` the last axis of logits.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.metrics._metric import wide
from jaxnn.metrics._targets import check_answers, check_classes, labels
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


@op(check_classes)
def accuracy(prediction: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """1 where the largest prediction is the target's, a = [argmax_k p_k = t], else 0; the mean is what share is right.

    Args:
        prediction: Logits or probabilities p, `(..., classes)`. Of equals the first counts; NaN is never right.
        target: Integer labels t, `(...)`, or one-hot rows, `(..., classes)`.

    Returns:
        `(...)`, float32 at least.

    Raises:
        ShapeError: There is one class, or the target has neither shape.
        ValueError: A concrete label is out of range.

    >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
    Array([1., 0.], dtype=float32)

    Source: Kohavi and Provost, "Glossary of terms" (1998).
    """
    right = prediction.argmax(-1).astype(jnp.int32) == labels(target)
    return _as_float(right & ~jnp.isnan(prediction).any(-1), prediction)


@op(check_answers)
def binary_accuracy(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 where the logit is positive and the target above 1/2, or neither is, a = [[z > 0] = [t > 1/2]], else 0.

    Args:
        prediction: Logits z, any shape, as for `binary_cross_entropy`; NaN is never right.
        target: t, 0 or 1 or a probability, the same shape; NaN is never right.

    Returns:
        The same shape, float32 at least.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> binary_accuracy(jnp.array([2.0, -1.0, 0.5]), jnp.array([1.0, 1.0, 0.0]))
    Array([1., 0., 0.], dtype=float32)

    Source: Kohavi and Provost (1998).
    """
    right = (prediction > 0) == (target > 0.5)
    return _as_float(right & ~jnp.isnan(prediction) & ~jnp.isnan(target), prediction)


def _check_top_k(prediction: AnyArray, target: AnyArray, *, k: int = 5) -> None:
    check_classes(prediction, target)
    if k < 1:
        raise ValueError(f"expected k of at least 1, because it counts answers; got {k}")


@op(_check_top_k)
def top_k_accuracy(
    prediction: Float[Array, "*batch classes"], target: Num[Array, "..."], *, k: int = 5
) -> Float[Array, "*batch"]:
    """1 where fewer than k classes are predicted above the target's, a = [|{j: p_j > p_t}| < k], else 0.

    Args:
        prediction: Logits or probabilities p, `(..., classes)`. Of equals the first comes first, so that k = 1 is
            `accuracy` (scikit-learn has the last come first); NaN is never right.
        target: Integer labels t, `(...)`, or one-hot rows, `(..., classes)`.
        k: How many answers are allowed; all are right if there are no more classes than that.

    Returns:
        `(...)`, float32 at least.

    Raises:
        ShapeError: There is one class, or the target has neither shape.
        ValueError: A concrete label is out of range, or k is below 1.

    >>> top_k_accuracy(jnp.array([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]]), jnp.array([2, 1]), k=2)
    Array([1., 0.], dtype=float32)

    Source: Russakovsky et al., "ImageNet large scale visual recognition challenge" (2015), with k = 5.
    """
    label = labels(target)[..., None]
    classes = jnp.arange(prediction.shape[-1], dtype=jnp.int32).reshape((1,) * (prediction.ndim - 1) + (-1,))
    own = jnp.where(classes == label, prediction, -jnp.inf).max(-1, keepdims=True)
    above = (prediction > own) | ((prediction == own) & (classes < label))
    known = (label[..., 0] >= 0) & (label[..., 0] < prediction.shape[-1])
    right = (above.astype(jnp.int32).sum(-1) < k) & known
    return _as_float(right & ~jnp.isnan(prediction).any(-1), prediction)


def _as_float(right, prediction):
    return right.astype(wide(prediction).dtype)
