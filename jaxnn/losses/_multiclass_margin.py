"""Losses of margins between many classes: how far the true score is above the others.

Dimensions: `batch` examples, `classes` the last axis of scores.
"""

import jax.numpy as jnp
from jaxtyping import Float, Integer, Num

from jaxnn.errors import ShapeError, values
from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._log_probabilities import counted_beside, missing, number, onehot, times
from jaxnn.losses._margin import or_nan
from jaxnn.losses._shapes import check_integer, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar


def check_classes(scores: AnyArray, labels: AnyArray, **_) -> None:
    """Raise an error unless labels are one class for each row of scores."""
    if labels.shape != scores.shape[:-1]:
        raise ShapeError(
            f"integer labels of shape {tuple(scores.shape[:-1])}",
            why=f"scores are {tuple(scores.shape)}, with the classes last",
            got=tuple(labels.shape),
        )
    check_integer(labels)
    seen = values(labels)
    if seen is not None and seen.size and (seen.min() < 0 or seen.max() >= scores.shape[-1]):
        raise ValueError(
            f"expected labels from 0 to {scores.shape[-1] - 1}, because scores are {tuple(scores.shape)}, with the "
            f"classes last; got labels from {seen.min()} to {seen.max()}"
        )


@op(check_classes)
def multiclass_hinge_loss(
    scores: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Crammer and Singer's hinge loss, l = max_j (s_j + [j != y]) - s_y.

    It is max(0, 1 + max_{j != y} s_j - s_y): the true class against the best of the wrong ones.
    `categorical_hinge_loss`, which is Keras's, differs where all wrong scores are negative; PyTorch's
    `MultiMarginLoss` adds up all wrong classes and divides by their number. Classes that tie share the derivative.

    Args:
        scores: s, `(..., classes)`, any real numbers.
        labels: y, integers from 0 to classes - 1, `(...)`.

    Returns:
        `(...)`. Inside a compiled program a label that is out of range gives NaN.

    Raises:
        ShapeError: The labels have another shape than the scores without their last axis.
        ValueError: A concrete label is out of range.

    >>> scores = jnp.array([[2.0, 1.0, 0.5], [2.0, 1.0, 0.5]])
    >>> multiclass_hinge_loss(scores, jnp.array([0, 1]))
    Array([0., 2.], dtype=float32)

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines"
    (2001); the name and the value are optax's.
    """
    return multiclass_perceptron_loss(_with_margin(scores, labels), labels)


def multiclass_hinge_loss_fwd(scores, labels):
    """Remember what the perceptron's loss of the scores plus margin remembers."""
    return multiclass_perceptron_loss.fwd(_with_margin(scores, labels), labels)


def multiclass_hinge_loss_bwd(residuals, dl):
    """The margin is a constant, so ds is that of the perceptron's loss."""
    return multiclass_perceptron_loss.bwd(residuals, dl)


multiclass_hinge_loss.defvjp(multiclass_hinge_loss_fwd, multiclass_hinge_loss_bwd)


@op(check_classes)
def multiclass_perceptron_loss(
    scores: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """How far the best score is above that of the true class, l = max_j s_j - s_y.

    Args:
        scores: s, `(..., classes)`, any real numbers.
        labels: y, integers from 0 to classes - 1, `(...)`.

    Returns:
        `(...)`. Inside a compiled program a label that is out of range gives NaN.

    Raises:
        ShapeError: The labels have another shape than the scores without their last axis.
        ValueError: A concrete label is out of range.

    >>> multiclass_perceptron_loss(jnp.array([[2.0, 1.0, 0.5]]), jnp.array([1]))
    Array([1.], dtype=float32)

    Source: Collins, "Discriminative training methods for hidden Markov models" (2002); the name and the value are
    optax's.
    """
    best, true = scores.max(-1), jnp.where(onehot(labels, scores), scores, 0).sum(-1)
    return jnp.where(_both_infinite(best, true), 0, best - true) + missing(labels, scores)


def multiclass_perceptron_loss_fwd(scores, labels):
    """Remember s and y."""
    return multiclass_perceptron_loss.plain(scores, labels), (scores, labels)


def multiclass_perceptron_loss_bwd(residuals, dl):
    """ds_j = dl (share_j - [j = y]), where the k classes with the largest score share 1, each 1/k."""
    s, y = residuals
    chosen = onehot(y, s)
    dl = jnp.where(_both_infinite(s.max(-1), jnp.where(chosen, s, 0).sum(-1)), 0, dl)
    return dl[..., None] * (_shares(s) - chosen.astype(s.dtype)), None


multiclass_perceptron_loss.defvjp(multiclass_perceptron_loss_fwd, multiclass_perceptron_loss_bwd)


def _check_targets(scores: AnyArray, target: AnyArray, **_) -> None:
    if jnp.issubdtype(target.dtype, jnp.integer):
        return check_classes(scores, target)
    return check_same_shape(scores, target)


@op(_check_targets)
def categorical_hinge_loss(
    scores: Float[Array, "*batch classes"], target: Num[Array, "..."], *, margin: Scalar = 1.0
) -> Float[Array, "*batch"]:
    """Keras's categorical hinge, l = max(0, margin + max_j (1 - t_j) s_j - sum_j t_j s_j) for one-hot t.

    In the maximum the true class stands as 0, so no margin against the others counts for less than that
    against 0: where all wrong scores are negative, this differs from `multiclass_hinge_loss`. The derivative at
    a loss of exactly 0 is taken as 0.

    Args:
        scores: s, `(..., classes)`, any real numbers.
        target: t, one-hot rows of floats, `(..., classes)`, or integer labels, `(...)`.
        margin: How far the true score is to be above the best of the others.

    Returns:
        `(...)`. Inside a compiled program an integer label that is out of range gives NaN.

    Raises:
        ShapeError: The target has neither shape.
        ValueError: A concrete integer label is out of range.

    >>> scores = jnp.array([[2.0, 1.0, 0.5], [2.0, 1.0, 0.5]])
    >>> categorical_hinge_loss(scores, jnp.array([0, 1]))
    Array([0., 2.], dtype=float32)

    Source: Weston and Watkins, "Support vector machines for multi-class pattern recognition" (1999), for margins
    between classes; the form is Keras's.
    """
    s, t, mark = _rows(scores, target)
    shortfall = number(margin, s) + times(1 - t, s).max(-1) - times(t, s).sum(-1)
    return jnp.where(shortfall > 0, shortfall, or_nan(shortfall)) + mark


def categorical_hinge_loss_fwd(scores, target, *, margin=1.0):
    """Remember s, the target and where the loss is positive."""
    l = categorical_hinge_loss.plain(scores, target, margin=margin)
    return l, (scores, target, l > 0)


def categorical_hinge_loss_bwd(residuals, dl, *, margin=1.0):
    """With the winners' share of the maximum: ds = dl (share (1 - t) - t), and dl/dt = -s (share + 1)."""
    del margin
    scores, target, positive = residuals
    s, t, _ = _rows(scores, target)
    dl = jnp.where(positive, dl, 0)[..., None]
    share = _shares(times(1 - t, s))
    ds, dt = dl * (share * (1 - t) - t), -dl * (share * counted_beside(1 - t, s) + counted_beside(t, s))
    return cotangents((ds, dt), (scores, target))


categorical_hinge_loss.defvjp(categorical_hinge_loss_fwd, categorical_hinge_loss_bwd)


def _with_margin(scores, labels):
    return scores + 1 - onehot(labels, scores).astype(scores.dtype)


def _both_infinite(best, true):
    """Where the true score is infinite and the best, and the loss 0."""
    return jnp.isinf(best) & (best == true)


def _rows(scores, target):
    """The scores and one-hot rows of the target in one dtype, and NaN for each label that is out of range."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return scores, onehot(target, scores).astype(scores.dtype), missing(target, scores)
    return *together(scores, target), 0


def _shares(s):
    winners = (s == s.max(-1, keepdims=True)).astype(s.dtype)
    return winners / winners.sum(-1, keepdims=True)
