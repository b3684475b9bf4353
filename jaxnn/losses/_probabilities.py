"""Cross-entropies and a divergence from probabilities, for models that end in a sigmoid or a softmax.

Start from logits where you can: there nothing is cut off, and a model that is wrong and sure of it still learns. Here a
probability below `epsilon` counts as `epsilon`, so that its logarithm is finite, and has the derivative 0.

Dimensions: `batch` examples, `classes` the last axis, `shape` any shape.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Num

from jaxnn.losses._binary import check_binary, sum_of_last
from jaxnn.losses._categorical import check_classes
from jaxnn.losses._dtypes import cotangent, cotangents, together
from jaxnn.losses._log_probabilities import missing, number, onehot
from jaxnn.losses._shapes import check_positive, check_range, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar


def _check_binary(probabilities: AnyArray, labels: AnyArray, *, epsilon: Scalar = 1e-7) -> None:
    check_binary(probabilities, labels)
    _check_probabilities(probabilities, epsilon)


@op(_check_binary)
def binary_cross_entropy_from_probabilities(
    probabilities: Float[Array, "*shape"],
    labels: Num[Array, "*shape"] | Bool[Array, "*shape"],
    *,
    epsilon: Scalar = 1e-7,
) -> Float[Array, "*shape"]:
    """Log loss, l = -t log max(p, epsilon) - (1 - t) log max(1 - p, epsilon).

    Args:
        probabilities: p, from 0 to 1, any shape.
        labels: t, 0 or 1 or a probability, the same shape; integers and booleans have no derivative.
        epsilon: The least probability. Keras cuts p off at both ends, so that its least loss is epsilon, not 0;
            PyTorch cuts the logarithms off at -100.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete probability or target is not within 0 and 1, or epsilon is not positive.

    >>> binary_cross_entropy_from_probabilities(jnp.array([0.9, 0.1]), jnp.array([1, 1])).round(4)
    Array([0.1054, 2.3026], dtype=float32)

    Source: Good, "Rational decisions" (1952).
    """
    t = labels.astype(probabilities.dtype)
    return -t * _log(probabilities, epsilon) - (1 - t) * _log(1 - probabilities, epsilon)


def binary_cross_entropy_from_probabilities_fwd(probabilities, labels, *, epsilon=1e-7):
    """Remember p and t."""
    return binary_cross_entropy_from_probabilities.plain(probabilities, labels, epsilon=epsilon), (
        probabilities,
        labels,
    )


def binary_cross_entropy_from_probabilities_bwd(residuals, dl, *, epsilon=1e-7):
    """Where nothing is cut off, dp = dl ((1 - t) / (1 - p) - t / p); and dl/dt = log(1 - p) - log p."""
    p, labels = residuals
    t = labels.astype(p.dtype)
    dp = _over(dl * (1 - t), 1 - p, epsilon) - _over(dl * t, p, epsilon)
    return dp, cotangent(dl * (_log(1 - p, epsilon) - _log(p, epsilon)), labels)


binary_cross_entropy_from_probabilities.defvjp(
    binary_cross_entropy_from_probabilities_fwd, binary_cross_entropy_from_probabilities_bwd
)


def _check_categorical(probabilities: AnyArray, target: AnyArray, *, epsilon: Scalar = 1e-7) -> None:
    check_classes(probabilities, target)
    _check_probabilities(probabilities, epsilon)


@op(_check_categorical)
def cross_entropy_from_probabilities(
    probabilities: Float[Array, "*batch classes"], target: Num[Array, "..."], *, epsilon: Scalar = 1e-7
) -> Float[Array, "*batch"]:
    """Cross-entropy of classes, l = -sum_j t_j log max(p_j, epsilon), for integer labels or one-hot rows.

    Args:
        probabilities: p, `(..., classes)`, from 0 to 1. They are taken as they are; Keras divides them by their sum.
        target: Integer labels, `(...)`, or float probabilities, `(..., classes)`.
        epsilon: The least probability. Keras cuts p off at 1 - epsilon too.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives NaN.

    Raises:
        ShapeError: The target has neither shape.
        ValueError: A concrete label or probability is out of range, or epsilon is not positive.

    >>> p = jnp.array([[0.2, 0.7, 0.1]])
    >>> cross_entropy_from_probabilities(p, jnp.array([1])).round(4)
    Array([0.3567], dtype=float32)
    >>> cross_entropy_from_probabilities(p, jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.3567], dtype=float32)

    Source: Good, "Rational decisions" (1952).
    """
    p, t, marks = _rows(probabilities, target)
    return -sum_of_last(t * _log(p, epsilon)) + marks


def cross_entropy_from_probabilities_fwd(probabilities, target, *, epsilon=1e-7):
    """Remember p and t."""
    return cross_entropy_from_probabilities.plain(probabilities, target, epsilon=epsilon), (probabilities, target)


def cross_entropy_from_probabilities_bwd(residuals, dl, *, epsilon=1e-7):
    """Where nothing is cut off, dp_j = -dl t_j / p_j; and dl/dt_j = -log p_j."""
    probabilities, target = residuals
    p, t, _ = _rows(probabilities, target)
    dl = dl[..., None]
    dp, dt = _over(-dl * t, p, epsilon), -dl * _log(p, epsilon)
    return cotangents((dp, dt), (probabilities, target))


cross_entropy_from_probabilities.defvjp(cross_entropy_from_probabilities_fwd, cross_entropy_from_probabilities_bwd)


def _check_both(predictions: AnyArray, targets: AnyArray, *, epsilon: Scalar = 1e-7) -> None:
    check_same_shape(predictions, targets)
    check_range("predictions", predictions, 0, why="they are probabilities; logarithms have kl_divergence")
    check_range("targets", targets, 0, why="they are probabilities")
    check_positive("epsilon", epsilon, why="it stands for probabilities of 0")


@op(_check_both)
def kl_divergence_from_probabilities(
    predictions: Float[Array, "*batch classes"], targets: Num[Array, "*batch classes"], *, epsilon: Scalar = 1e-7
) -> Float[Array, "*batch"]:
    """Kullback-Leibler divergence of clipped probabilities, l = sum_j t_j log(t_j / p_j), both within epsilon and 1.

    Keras's convention: its `KLDivergence` has this value, but takes the target first. The direction is that of
    `kl_divergence`, KL(target || prediction). What is clipped has the derivative 0.

    Args:
        predictions: p, `(..., classes)`, probabilities.
        targets: t, probabilities, the same shape.
        epsilon: The least probability.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete probability is negative, or epsilon is not positive.

    >>> kl_divergence_from_probabilities(jnp.array([0.9, 0.1]), jnp.array([0.5, 0.5])).round(4)
    Array(0.5108, dtype=float32)

    Source: Kullback and Leibler, "On information and sufficiency" (1951).
    """
    p, t = (_clip(a, epsilon) for a in together(predictions, targets))
    return (t * (jnp.log(t) - jnp.log(p))).sum(-1)


def kl_divergence_from_probabilities_fwd(predictions, targets, *, epsilon=1e-7):
    """Remember p and t."""
    return kl_divergence_from_probabilities.plain(predictions, targets, epsilon=epsilon), (predictions, targets)


def kl_divergence_from_probabilities_bwd(residuals, dl, *, epsilon=1e-7):
    """Where nothing is clipped, dl/dp = -t / p, and dl/dt = log t + 1 - log p."""
    both = together(*residuals)
    p, t = (_clip(a, epsilon) for a in both)
    p_clipped, t_clipped = ((a <= number(epsilon, a)) | (a >= 1) for a in both)
    dl = dl[..., None]
    dp = jnp.where(p_clipped, 0, -dl * t / p)
    dt = jnp.where(t_clipped, 0, dl * (jnp.log(t) + 1 - jnp.log(p)))
    return cotangents((dp, dt), residuals)


kl_divergence_from_probabilities.defvjp(kl_divergence_from_probabilities_fwd, kl_divergence_from_probabilities_bwd)


def _check_probabilities(probabilities, epsilon):
    check_range("probabilities", probabilities, 0, 1, why="their logarithms are taken; logits have losses of their own")
    check_positive("epsilon", epsilon, why="it stands for probabilities of 0")


def _rows(p, target):
    """Both as rows of probabilities of one dtype, and what is added to mark labels that are no class."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return p, onehot(target, p).astype(p.dtype), missing(target, p)
    return *together(p, target), 0


def _log(p, epsilon):
    epsilon = number(epsilon, p)
    return jnp.log(jnp.where(p <= epsilon, epsilon, p))


def _over(d, p, epsilon):
    """d times the derivative of it: 0 where p is cut off. (1 / p by itself overflows in float16.)"""
    cut = p <= number(epsilon, p)
    return jnp.where(cut, 0, d / jnp.where(cut, 1, p))


def _clip(p, epsilon):
    epsilon = number(epsilon, p)
    return jnp.where(p >= 1, 1, jnp.where(p <= epsilon, epsilon, p))
