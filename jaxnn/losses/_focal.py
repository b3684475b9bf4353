"""Losses that turn to hard examples: focal losses, which weigh by the chance of being wrong, and the poly loss.

Dimensions: `batch` examples, `classes` the last axis of logits, `shape` any shape. With gamma = 0 the focal losses are
cross-entropies.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Integer, Num

from jaxnn.losses._binary import check_binary, cross_entropy_of_logits
from jaxnn.losses._categorical import check_rows, softmax_cross_entropy
from jaxnn.losses._dtypes import cotangent, cotangents, together
from jaxnn.losses._integer_labels import check_integer_labels
from jaxnn.losses._log_probabilities import axes_of, log_softmax, masked, missing, number, onehot, spread
from jaxnn.losses._shapes import check_class_weights, check_range
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar


def _check_sigmoid_focal(
    logits: AnyArray, labels: AnyArray, *, alpha: Scalar | None = None, gamma: Scalar = 2.0
) -> None:
    check_binary(logits, labels)
    check_range("gamma", gamma, 0, why="easy examples are to weigh less")


@op(_check_sigmoid_focal)
def sigmoid_focal_loss(
    logits: Float[Array, "*shape"],
    labels: Num[Array, "*shape"] | Bool[Array, "*shape"],
    *,
    alpha: Scalar | None = None,
    gamma: Scalar = 2.0,
) -> Float[Array, "*shape"]:
    """Binary cross-entropy times a power of the chance of being wrong, l = a q^gamma CE(z, t).

    q = (1 - t) s(z) + t s(-z), and a = alpha t + (1 - alpha) (1 - t), or 1 without alpha.

    Args:
        logits: z, any shape, any real numbers; s is the sigmoid.
        labels: t, 0 or 1 or a probability, the same shape; integers and booleans have no derivative.
        alpha: The weight of positives, from 0 to 1; None weighs none, as in optax (the paper and Keras: 0.25).
        gamma: The power, 0 or more; both may be swept.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1, or gamma is negative.

    >>> sigmoid_focal_loss(jnp.array([100.0, -100.0]), jnp.array([1.0, 1.0]))
    Array([  0., 100.], dtype=float32)

    Source: Lin et al., "Focal loss for dense object detection" (2017); the name, the signature and the value are
    optax's.
    """
    t = labels.astype(logits.dtype)
    z = jnp.where(jnp.isinf(logits), lax.stop_gradient(logits), logits)  # there the sigmoid has the slope 0
    q = (1 - t) * lax.logistic(z) + t * lax.logistic(-z)
    return _balance(t, alpha) * _power(q, gamma) * cross_entropy_of_logits(logits, t)


def sigmoid_focal_loss_fwd(logits, labels, *, alpha=None, gamma=2.0):
    """Remember z and t."""
    return sigmoid_focal_loss.plain(logits, labels, alpha=alpha, gamma=gamma), (logits, labels)


def sigmoid_focal_loss_bwd(residuals, dl, *, alpha=None, gamma=2.0):
    """l = a f(q) c with f(q) = q^gamma and c the cross-entropy.

    dq/dz = (1 - 2t) s(z) s(-z) and dc/dz = s(z) - t, so dz = dl a (f'(q) c dq/dz + f(q) dc/dz); and
    da/dt = 2 alpha - 1, dq/dt = s(-z) - s(z), dc/dt = -z.
    """
    z, labels = residuals
    t = labels.astype(z.dtype)
    p, n = lax.logistic(z), lax.logistic(-z)
    q, c = (1 - t) * p + t * n, cross_entropy_of_logits(z, t)
    a, f, df = _balance(t, alpha), _power(q, gamma), _slope(q, gamma)
    # Where z is infinite, so is c, and p n is 0.
    steep = jnp.where(p * n == 0, 0, df * c)
    dz = dl * a * (steep * (1 - 2 * t) * p * n + f * (p - t))
    da = 0 if alpha is None else 2 * number(alpha, z) - 1
    return dz, cotangent(dl * (da * f * c + a * (df * (n - p) * c - f * z)), labels)


sigmoid_focal_loss.defvjp(sigmoid_focal_loss_fwd, sigmoid_focal_loss_bwd)


def _check_softmax_focal(
    logits: AnyArray, labels: AnyArray, *, class_weights: AnyArray | None = None, gamma: Scalar = 2.0
) -> None:
    check_integer_labels(logits, labels)
    check_class_weights(logits, class_weights)
    check_range("gamma", gamma, 0, why="easy examples are to weigh less")


@op(_check_softmax_focal)
def softmax_focal_loss(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    class_weights: Array | None = None,
    gamma: Scalar = 2.0,
) -> Float[Array, "*batch"]:
    """Cross-entropy times a power of the chance of another class, l = -w_label (1 - p_label)^gamma log p_label.

    1 - p_label is summed from the other classes, so that it keeps its digits where the label is nearly certain.

    Args:
        logits: z, `(..., classes)`, any real numbers; p = softmax(z).
        labels: Integers from 0 to classes - 1, `(...)`.
        class_weights: w, `(classes,)`, or None for 1; Keras's `alpha` is one for all, 0.25.
        gamma: The power, 0 or more; may be swept.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives NaN.

    Raises:
        ShapeError: The labels or the weights do not fit the logits.
        ValueError: A concrete label is out of range, or gamma is negative.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> softmax_focal_loss(logits, jnp.array([1])).round(4)
    Array([0.0321], dtype=float32)

    Source: Lin et al., "Focal loss for dense object detection" (2017).
    """
    return _softmax_focal(log_softmax(logits), labels, class_weights, gamma)


def softmax_focal_loss_fwd(logits, labels, *, class_weights=None, gamma=2.0):
    """Remember log p and the labels."""
    log_p = log_softmax(logits)
    return _softmax_focal(log_p, labels, class_weights, gamma), (log_p, labels)


def softmax_focal_loss_bwd(residuals, dl, *, class_weights=None, gamma=2.0):
    """l = -w f(q) log p_label with f(q) = q^gamma, q = 1 - p_label and d log p_label / dz_k = [k = label] - p_k.

    So dz_k = dl w (f'(q) p_label log p_label - f(q)) ([k = label] - p_k).
    """
    log_p, labels = residuals
    p, chosen = jnp.exp(log_p), onehot(labels, log_p)
    w, q, log_label = _of_label(log_p, labels, class_weights)
    p_label = jnp.exp(log_label)
    steep = jnp.where(p_label == 0, 0, _slope(q, gamma) * p_label * log_label)
    return (dl * w * (steep - _power(q, gamma)))[..., None] * jnp.where(chosen, 1 - p, -p), None


softmax_focal_loss.defvjp(softmax_focal_loss_fwd, softmax_focal_loss_bwd)


@op(check_rows)
def poly_loss_cross_entropy(
    logits: Float[Array, "*shape"],
    labels: Num[Array, "*shape"],
    *,
    epsilon: Scalar = 2.0,
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy with its first coefficient changed, l = sum_j t_j (-log p_j + epsilon (1 - p_j)).

    Cross-entropy is the series sum_k (1 - p)^k / k; epsilon is added to the coefficient of its first power.

    Args:
        logits: z, `(..., classes)`, any real numbers; p = softmax(z).
        labels: t, one-hot or any probabilities, `(..., classes)`; integers have no derivative.
        epsilon: What is added; the paper has 2 for pictures and -1 for detection. May be swept.
        axis: The axis or axes of classes, None for all.
        where: Which classes are summed over, `(..., classes)`, or which examples count, `(...)`; a mask.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> poly_loss_cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]])).round(3)
    Array([0.957], dtype=float32)

    Source: Leng et al., "PolyLoss" (2022); the name, the signature and the value are optax's.
    """
    z, t = together(logits, labels)
    epsilon = number(epsilon, z)
    t, log_p = masked(t, axis, where), log_softmax(z, axis, where)
    return (t * (epsilon * (1 - jnp.exp(log_p)) - log_p)).sum(axis)


def poly_loss_cross_entropy_fwd(logits, labels, *, epsilon=2.0, axis=-1, where=None):
    """Remember what the cross-entropy does: log p and t, both 0 for what does not count."""
    loss = poly_loss_cross_entropy.plain(logits, labels, epsilon=epsilon, axis=axis, where=where)
    return loss, softmax_cross_entropy.fwd(logits, labels, axis=axis, where=where)[1]


def poly_loss_cross_entropy_bwd(residuals, dl, *, epsilon=2.0, axis=-1, where=None):
    """To the cross-entropy's dz, dp_j / dz_k = p_j ([j = k] - p_k) adds -dl epsilon p_k (t_k - sum_j t_j p_j)."""
    log_p, t, logits, labels = residuals
    dz, dt = softmax_cross_entropy.bwd((log_p, t, log_p, t), dl, axis=axis, where=where)
    d_p = spread(dl, t.ndim, axis) * number(epsilon, t)
    p = jnp.exp(log_p)
    more = d_p * p * (t - (t * p).sum(axes_of(axis, t.ndim), keepdims=True))
    dz, dt = dz - masked(more, axis, where), dt + masked(d_p * (1 - p), axis, where)
    return cotangents((dz, dt), (logits, labels))


poly_loss_cross_entropy.defvjp(poly_loss_cross_entropy_fwd, poly_loss_cross_entropy_bwd)


def _balance(t, alpha):
    if alpha is None:
        return jnp.ones_like(t)
    alpha = number(alpha, t)
    return alpha * t + (1 - alpha) * (1 - t)


def _power(q, gamma):
    """q^gamma, with 0^0 = 1, and a finite derivative at 0."""
    gamma = number(gamma, q)
    return jnp.where(q > 0, jnp.exp(gamma * jnp.log(jnp.where(q > 0, q, 1))), jnp.where(gamma == 0, 1, 0))


def _slope(q, gamma):
    """The derivative of q^gamma, and 0 at 0."""
    gamma = number(gamma, q)
    return jnp.where(q > 0, gamma * _power(q, gamma) / jnp.where(q > 0, q, 1), 0)


def _of_label(log_p, labels, class_weights):
    """The weight of the label, the probability of all other classes, and the log of the label's own."""
    chosen = onehot(labels, log_p)
    w = 1 if class_weights is None else jnp.broadcast_to(class_weights.astype(log_p.dtype), log_p.shape)
    q = jnp.where(chosen, 0, jnp.exp(log_p)).sum(-1)
    return jnp.where(chosen, w, 0).sum(-1).astype(log_p.dtype), q, jnp.where(chosen, log_p, 0).sum(-1)


def _softmax_focal(log_p, labels, class_weights, gamma):
    w, q, log_label = _of_label(log_p, labels, class_weights)
    q = jnp.where(log_label == -jnp.inf, lax.stop_gradient(q), q)  # it moves by p_label, which is 0
    return -w * _power(q, gamma) * log_label + missing(labels, log_p)
