"""Cross-entropy of integer labels that are smoothed, ignored or weighed by class.

Dimensions: `batch` examples, of any axes, `classes` the last axis of logits.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError
from jaxnn.losses._integer_labels import check_integer_labels
from jaxnn.losses._log_probabilities import axes_of, log_softmax, missing, number, onehot, times_log
from jaxnn.losses._shapes import check_axes, check_class_weights, check_range
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_smooth_labels(
    labels: AnyArray,
    alpha: Scalar,
    *,
    axis: int | tuple[int, ...] | None = -1,
    where: AnyArray | None = None,
) -> None:
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        raise TypeError(
            f"expected one-hot rows of floats, because they become fractions; got {labels.dtype}\n"
            "  hint: integer labels are smoothed in sparse_cross_entropy(logits, labels, smoothing=...)"
        )
    check_axes(labels.shape, axis, where)
    check_range("alpha", alpha, 0, 1, why="it is the share of the uniform distribution")


@op(_check_smooth_labels)
def smooth_labels(
    labels: Float[Array, "*shape"],
    alpha: Scalar,
    *,
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "*shape"]:
    """Mixture of one-hot rows and the uniform distribution, s = (1 - alpha) t + alpha / classes.

    Args:
        labels: t, one-hot, `(..., classes)`.
        alpha: The share of the uniform distribution, from 0 to 1; it has no default, as in optax.
        axis: The axis or axes of classes, None for all.
        where: Which classes are counted; a mask that broadcasts to the labels.

    Raises:
        TypeError: The labels are integers.
        ValueError: A concrete alpha is not within 0 and 1.

    >>> smooth_labels(jnp.array([0.0, 1.0]), 0.5)
    Array([0.25, 0.75], dtype=float32)

    Source: Szegedy et al., "Rethinking the Inception architecture" (2016); the name, the signature and the value are
    optax's. PyTorch's `label_smoothing` and Keras's mix alike; Keras's of two classes gives alpha / 2 to each.
    """
    alpha = number(alpha, labels)
    return (1 - alpha) * labels + alpha * _share(labels, axis, where)


def smooth_labels_fwd(labels, alpha, *, axis=-1, where=None):
    """Remember t and alpha, which may be learned."""
    return smooth_labels.plain(labels, alpha, axis=axis, where=where), (labels, jnp.asarray(alpha))


def smooth_labels_bwd(residuals, ds, *, axis=-1, where=None):
    """ds/dt = 1 - alpha, and ds/dalpha = 1 / classes - t."""
    t, alpha = residuals
    wide = accumulator_dtype(t.dtype)
    share = _share(t.astype(wide), axis, where)
    d_alpha = (ds.astype(wide) * (share - t.astype(wide))).sum()
    return (1 - alpha.astype(t.dtype)) * ds, d_alpha.astype(alpha.dtype)


smooth_labels.defvjp(smooth_labels_fwd, smooth_labels_bwd)


def _check_sparse(
    logits: AnyArray,
    labels: AnyArray,
    *,
    smoothing: Scalar = 0.0,
    class_weights: AnyArray | None = None,
    ignore: int | None = None,
) -> None:
    check_integer_labels(logits, labels, ignore=ignore)
    check_range("smoothing", smoothing, 0, 1, why="it is the share of the uniform distribution")
    check_class_weights(logits, class_weights)


@op(_check_sparse)
def sparse_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    smoothing: Scalar = 0.0,
    class_weights: Array | None = None,
    ignore: int | None = None,
) -> Float[Array, "*batch"]:
    """Cross-entropy of weighed, smoothed labels, l = -sum_j w_j ((1 - s) [j = label] + s / classes) log p_j.

    Each value is that of PyTorch's `cross_entropy` without reduction. What differs between libraries is the mean. Here,
    as in Keras, sums are divided by the number of examples, or by the sum of the weights that are given with
    them. PyTorch divides by the sum of the class weights of the labels that are not ignored: for that, leave weights
    and ignored labels to `label_weights`, and give what it returns as the weights of the examples.

    Args:
        logits: z, `(..., classes)`, any real numbers; p = softmax(z).
        labels: Integers from 0 to classes - 1, `(...)`, or `ignore`.
        smoothing: s, the share of the uniform distribution, from 0 to 1; may be swept.
        class_weights: w, `(classes,)`, or None for 1.
        ignore: A label whose examples have the loss 0, such as -100; None for none.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives NaN.

    Raises:
        ShapeError: The labels or the weights do not fit the logits.
        ValueError: A concrete label, or a concrete smoothing, is out of range.

    >>> sparse_cross_entropy(jnp.zeros((3, 2)), jnp.array([0, 1, -100]), class_weights=jnp.array([1.0, 3.0]),
    ...                      ignore=-100).round(4)
    Array([0.6931, 2.0794, 0.    ], dtype=float32)

    Source: Bridle (1990); smoothing: Szegedy et al. (2016).
    """
    return _sparse(log_softmax(logits), labels, smoothing, class_weights, ignore)


def sparse_cross_entropy_fwd(logits, labels, *, smoothing=0.0, class_weights=None, ignore=None):
    """Remember log p and the labels."""
    log_p = log_softmax(logits)
    return _sparse(log_p, labels, smoothing, class_weights, ignore), (log_p, labels)


def sparse_cross_entropy_bwd(residuals, dl, *, smoothing=0.0, class_weights=None, ignore=None):
    """l = -sum_j c_j log p_j and d log p_j / dz_k = [j = k] - p_k, so dz = dl (p sum(c) - c)."""
    log_p, labels = residuals
    c = _coefficients(labels, log_p, smoothing, class_weights, ignore)
    return dl[..., None] * (jnp.exp(log_p) * c.sum(-1, keepdims=True) - c), None


sparse_cross_entropy.defvjp(sparse_cross_entropy_fwd, sparse_cross_entropy_bwd)


def label_weights(
    labels: Integer[Array, "*batch"],
    *,
    class_weights: Float[Array, " classes"] | Sequence[float | int] | None = None,
    ignore: int | None = None,
) -> Float[Array, "*batch"]:
    """Return the weight of each example by its label, w_i = class_weights[label_i], and 0 for what is ignored.

    As `Data.w`, or in `weighted_mean`, it makes the mean PyTorch's: sum_i w_i l_i / sum_i w_i.

    Args:
        labels: Integers from 0 to classes - 1, or `ignore`, any shape.
        class_weights: `(classes,)`, an array or a list, or None for 1.
        ignore: A label that weighs nothing, such as -100; None for none.

    Returns:
        The labels' shape. A label that is neither a class nor ignored has the weight NaN.

    Raises:
        ShapeError: The weights are not in one row.

    >>> label_weights(jnp.array([0, 1, -100]), class_weights=jnp.array([1.0, 3.0]), ignore=-100)
    Array([1., 3., 0.], dtype=float32)
    """
    if class_weights is None:
        w = jnp.ones(labels.shape, jnp.float32)
    else:
        weights = jnp.asarray(class_weights)
        weights = weights if jnp.issubdtype(weights.dtype, jnp.floating) else weights.astype(float)
        if weights.ndim != 1:
            raise ShapeError("class weights of shape (classes,)", why="there is one a class", got=tuple(weights.shape))
        rows = jnp.broadcast_to(weights, (*labels.shape, weights.size))
        w = jnp.where(onehot(labels, rows), rows, 0).sum(-1) + missing(labels, rows)
    return w if ignore is None else jnp.where(labels == ignore, 0, w)


def _share(labels, axis, where):
    """1 / classes."""
    axes = axes_of(axis, labels.ndim)
    if where is None:
        return 1 / math.prod(labels.shape[a] for a in axes)
    return 1 / where.sum(axes, keepdims=True).astype(labels.dtype)


def _coefficients(labels, like, smoothing, class_weights, ignore):
    s = number(smoothing, like)
    c = (1 - s) * onehot(labels, like).astype(like.dtype) + s / like.shape[-1]
    if class_weights is not None:
        c = c * jnp.broadcast_to(class_weights.astype(like.dtype), c.shape)
    return c if ignore is None else jnp.where((labels == ignore)[..., None], 0, c)


def _sparse(log_p, labels, smoothing, class_weights, ignore):
    l = -times_log(_coefficients(labels, log_p, smoothing, class_weights, ignore), log_p).sum(-1)
    l = l + missing(labels, log_p)
    return l if ignore is None else jnp.where(labels == ignore, 0, l)
