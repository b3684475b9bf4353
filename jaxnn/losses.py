"""Losses: ops of prediction and target that return the loss of each example; the mean is taken afterwards.

A loss has the shape `(batch, ...)` of what it judges, not a mean, so that examples, or tokens, can be
weighed. `weighted_mean` then reduces it, in the trainer and on both roads to the gradient. No loss
broadcasts: `(n, 1)` against `(n,)` would silently compare every prediction with every target.

Dimensions: `batch` examples, `classes` the last axis of logits, `...` any further axes.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Integer, Num

from jaxnn.errors import ShapeError, values
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, accumulator_dtype

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "mse",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "weighted_mean",
]


def _check_same_shape(prediction: AnyArray, target: AnyArray) -> None:
    if prediction.shape != target.shape:
        squeezed = [s for s in (prediction.shape, target.shape) if s[-1:] == (1,)]
        raise ShapeError(
            f"prediction and target of one shape, {tuple(target.shape)}",
            why="broadcasting would compare every prediction with every target",
            got=f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)}",
            hint="drop the last axis: prediction[..., 0], or keep it in both" if squeezed else None,
        )


@op(_check_same_shape)
def mse(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squared error of each element, l = (prediction - target)^2, whose mean is the mean squared error.

    There is no factor 1/2: optax's `l2_loss` and many textbooks have one. Equal to optax's
    `squared_error`; Keras takes the mean over the last axis, PyTorch over all.

    Raises:
        ShapeError: The shapes differ.

    >>> mse(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([0.25, 0.  , 4.  ], dtype=float32)

    Source: Gauss, "Theoria motus" (1809).
    """
    e = prediction - target
    return e * e


def mse_fwd(prediction, target):
    """Remember the error e = prediction - target."""
    e = prediction - target
    return e * e, e


def mse_bwd(e, dl):
    """dl/de = 2 e, and e grows with the prediction and falls with the target."""
    d_prediction = 2 * e * dl
    return d_prediction, -d_prediction


mse.defvjp(mse_fwd, mse_bwd)


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


@op(_check_same_shape)
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
    _check_same_shape(logits, target)
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


def _check_weights(losses: AnyArray, w: AnyArray | None = None) -> None:
    if losses.ndim == 0:
        raise ShapeError(
            "a loss of shape (batch, ...)", why="examples are weighed one by one", got="a scalar",
            hint="return the loss of each example and leave the mean to the trainer",
        )  # fmt: skip
    if w is not None and (w.ndim == 0 or w.shape != losses.shape[: w.ndim]):
        raise ShapeError(
            f"weights of shape {tuple(losses.shape[:1])}, or any longer prefix of {tuple(losses.shape)}",
            why=f"the loss is {tuple(losses.shape)}",
            got=tuple(w.shape),
        )


@op(_check_weights)
def weighted_mean(losses: Float[Array, "batch ..."], w: Num[Array, "..."] | None = None) -> Float[Array, ""]:
    """Mean over trailing axes, then over weighed examples, L = sum_i w_i l_i / sum_i w_i.

    l_i is the mean of the losses over the axes that w does not have; with no w, all count alike. If all
    weights are 0, so is L.

    Args:
        losses: Any loss, `(batch, ...)`.
        w: Weights, `(batch,)` or any longer prefix of the losses' shape, such as one weight a token.

    Raises:
        ShapeError: The losses are a scalar, or w is not such a prefix.

    >>> weighted_mean(jnp.array([1.0, 2.0, 6.0]), jnp.array([1.0, 1.0, 0.0]))
    Array(1.5, dtype=float32)
    """
    return weighted_mean_fwd(losses, w)[0]


def weighted_mean_fwd(losses, w=None):
    """Remember l, the weights, the mean L, and the losses' shape."""
    l, weights, total = _examples(losses, w)
    # What weighs nothing counts for nothing, even if it is infinite.
    mean = jnp.where(weights == 0, 0, weights * l).sum() / total
    return mean.astype(losses.dtype), (shape_only(losses), l, w, mean)


def weighted_mean_bwd(residuals, d_mean):
    """dL/dl_i = w_i / sum w, spread over the k elements whose mean l_i is; dL/dw_i = (l_i - L) / sum w."""
    losses, l, w, mean = residuals
    shape = losses.shape[1:]
    weights, total = _weights(l, w)
    d_mean = d_mean.astype(l.dtype)
    k = math.prod(shape[l.ndim :])
    dl = d_mean * weights / total / k
    d_losses = jnp.broadcast_to(dl.reshape(dl.shape + (1,) * (len(shape) - dl.ndim)), shape).astype(losses.dtype)
    if w is None or not jnp.issubdtype(w.dtype, jnp.floating):
        return d_losses, None
    return d_losses, (d_mean * (l - mean) / total).astype(w.dtype)


weighted_mean.defvjp(weighted_mean_fwd, weighted_mean_bwd)


def _examples(losses, w):
    """The loss and the weight of each example, and the sum of weights, in float32 at least."""
    rank = 1 if w is None else w.ndim
    l = losses.astype(accumulator_dtype(losses.dtype)).mean(tuple(range(rank, losses.ndim)))
    return l, *_weights(l, w)


def _weights(l, w):
    """The weight of each example, and the sum of weights: 1 where it is 0, to divide by."""
    w = jnp.ones_like(l) if w is None else w.astype(l.dtype)
    total = w.sum()
    return w, jnp.where(total == 0, 1, total)


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
