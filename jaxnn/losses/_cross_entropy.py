"""Losses of classes: cross-entropy, from logits.

Dimensions: `batch` examples, `classes` the last axis of logits, `...` any further axes.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Integer, Num

from jaxnn.errors import ShapeError, values
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


def _check_integer_labels(logits: AnyArray, labels: AnyArray) -> None:
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            f"integer labels of shape {tuple(logits.shape[:-1])}",
            why=f"logits are {tuple(logits.shape)}, with the classes last",
            got=tuple(labels.shape),
            hint="one-hot rows are floating: y.astype(float)" if labels.shape == logits.shape else None,
        )
    seen = values(labels)
    if seen is not None and seen.size:
        classes, smallest, largest = logits.shape[-1], seen.min(), seen.max()
        if smallest < 0 or largest >= classes:
            raise ValueError(
                f"expected labels from 0 to {classes - 1}, because logits are {tuple(logits.shape)}, with the "
                f"classes last; got labels from {smallest} to {largest}"
            )


@op(_check_integer_labels)
def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Negative log-probability of the label, l = log sum_j exp(z_j) - z_label for logits z.

    Args:
        logits: z, `(..., classes)`, any real numbers.
        labels: Integers from 0 to classes - 1, `(...)`.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives
        NaN.

    Raises:
        ShapeError: The labels have another shape than the logits without their last axis.
        ValueError: A concrete label is out of range.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> softmax_cross_entropy_with_integer_labels(logits, jnp.array([1])).round(4)
    Array([0.3567], dtype=float32)

    Source: Bridle (1990); the name and the value are optax's.
    """
    shifted, log_sum, chosen, missing = _log_sum_exp_and_choice(logits, labels)
    return log_sum - jnp.where(chosen, shifted, 0).sum(-1) + missing


def softmax_cross_entropy_with_integer_labels_fwd(logits, labels):
    """Remember the probabilities p = softmax(z) and the labels."""
    shifted, log_sum, chosen, missing = _log_sum_exp_and_choice(logits, labels)
    p = jnp.exp(shifted - log_sum[..., None])
    return log_sum - jnp.where(chosen, shifted, 0).sum(-1) + missing, (p, labels)


def softmax_cross_entropy_with_integer_labels_bwd(residuals, dl):
    """d log sum exp / dz_j = p_j and dz_label / dz_j = [j = label], so dz = dl (p - onehot)."""
    p, labels = residuals
    return jnp.where(_onehot(labels, p), p - 1, p) * dl[..., None], None


softmax_cross_entropy_with_integer_labels.defvjp(
    softmax_cross_entropy_with_integer_labels_fwd, softmax_cross_entropy_with_integer_labels_bwd
)


@op(check_same_shape)
def softmax_cross_entropy(
    logits: Float[Array, "*batch classes"], labels: Float[Array, "*batch classes"]
) -> Float[Array, "*batch"]:
    """Cross-entropy of a distribution and the softmax of logits, l = -sum_j t_j log p_j, p = softmax(z).

    Args:
        logits: z, `(..., classes)`, any real numbers.
        labels: t, one-hot or any probabilities, `(..., classes)`.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> softmax_cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.3567], dtype=float32)

    Source: Bridle (1990); the name and the value are optax's.
    """
    return -(labels * _log_softmax(logits)).sum(-1)


def softmax_cross_entropy_fwd(logits, labels):
    """Remember log p and t."""
    log_p = _log_softmax(logits)
    return -(labels * log_p).sum(-1), (log_p, labels)


def softmax_cross_entropy_bwd(residuals, dl):
    """d log p_j / dz_k = [j = k] - p_k, so dz = dl (p sum(t) - t); and dl/dt = -log p."""
    log_p, t = residuals
    dl = dl[..., None]
    return dl * (jnp.exp(log_p) * t.sum(-1, keepdims=True) - t), -dl * log_p


softmax_cross_entropy.defvjp(softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)


def _by_target(target: AnyArray):
    integer = jnp.issubdtype(target.dtype, jnp.integer)
    return softmax_cross_entropy_with_integer_labels if integer else softmax_cross_entropy


def _check_cross_entropy(logits: AnyArray, target: AnyArray) -> None:
    if jnp.issubdtype(target.dtype, jnp.floating) and target.shape == logits.shape[:-1]:
        raise ShapeError(
            f"one-hot rows of shape {tuple(logits.shape)}, or integer labels of shape {tuple(target.shape)}",
            why=f"logits are {tuple(logits.shape)}, with the classes last",
            got=f"{target.dtype} of shape {tuple(target.shape)}",
            hint="integer labels: y.astype(int)",
        )
    _by_target(target).check(logits, target)


@op(_check_cross_entropy)
def cross_entropy(logits: Float[Array, "*batch classes"], target: Num[Array, "..."]) -> Float[Array, "*batch"]:
    """Cross-entropy from logits, l = -log softmax(z)_label, for integer labels or one-hot rows.

    Args:
        logits: z, `(..., classes)`, any real numbers: the model's output without a softmax.
        target: Integer labels, `(...)`, or float probabilities, `(..., classes)`.

    Returns:
        `(...)`, as `softmax_cross_entropy_with_integer_labels` or `softmax_cross_entropy`.

    Raises:
        ShapeError: The target has neither shape.
        ValueError: A concrete label is out of range.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> cross_entropy(logits, jnp.array([1])).round(4)
    Array([0.3567], dtype=float32)
    >>> cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.3567], dtype=float32)

    Source: Bridle (1990).
    """
    return _by_target(target)(logits, target)


def cross_entropy_fwd(logits, target):
    """Remember what the one of the two that fits the target remembers; the target is last in both."""
    return _by_target(target).fwd(logits, target)


def cross_entropy_bwd(residuals, dl):
    """dz = dl (p - t), by the one of the two that fits the target."""
    return _by_target(residuals[-1]).bwd(residuals, dl)


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)


def _check_probabilities(logits: AnyArray, target: AnyArray) -> None:
    check_same_shape(logits, target)
    seen = values(target)
    if seen is not None and seen.size:
        smallest, largest = seen.min(), seen.max()
        if smallest < 0 or largest > 1:
            raise ValueError(
                "expected targets from 0 to 1, because they are probabilities; "
                f"got targets from {smallest} to {largest}"
            )


@op(_check_probabilities)
def binary_cross_entropy(logits: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Cross-entropy of yes and no from a logit, l = -t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid.

    Computed as log(1 + exp(z)) - t z, which is the same and finite for every finite z. Each element is
    judged by itself, so several labels an example may be true at once.

    Args:
        logits: z, any shape, any real numbers: the model's output without a sigmoid.
        target: t, 0 or 1 or a probability, the same shape and dtype.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> binary_cross_entropy(jnp.array([0.0, 1000.0, -1000.0]), jnp.array([1.0, 1.0, 1.0]))
    Array([6.931472e-01, 0.000000e+00, 1.000000e+03], dtype=float32)

    Source: Cox, "The regression analysis of binary sequences" (1958). Equal to optax's
    `sigmoid_binary_cross_entropy`; Keras starts from probabilities.
    """
    return jnp.logaddexp(logits, 0) - target * logits


def binary_cross_entropy_fwd(logits, target):
    """Remember z and t."""
    return binary_cross_entropy.plain(logits, target), (logits, target)


def binary_cross_entropy_bwd(residuals, dl):
    """d log(1 + exp(z)) / dz = s(z), so dz = dl (s(z) - t); and dl/dt = -z."""
    z, t = residuals
    return dl * (lax.logistic(z) - t), -dl * z


binary_cross_entropy.defvjp(binary_cross_entropy_fwd, binary_cross_entropy_bwd)


def _onehot(labels, like):
    # In int32, for in uint8 the count of 256 or more classes would begin again at 0.
    return labels.astype(jnp.int32)[..., None] == lax.broadcasted_iota(jnp.int32, like.shape, like.ndim - 1)


def _log_sum_exp_and_choice(logits, labels):
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    log_sum = jnp.log(jnp.exp(shifted).sum(-1))
    in_range = (labels >= 0) & (labels.astype(jnp.int32) < logits.shape[-1])
    return shifted, log_sum, _onehot(labels, logits), jnp.where(in_range, 0, jnp.nan).astype(logits.dtype)


def _log_softmax(logits):
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    return shifted - jnp.log(jnp.exp(shifted).sum(-1, keepdims=True))
