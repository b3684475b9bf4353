"""Losses whose probabilities can be exactly 0, and the family of losses that a maximum makes.

Dimensions: `batch` examples, `classes` the last axis of scores, `shape` any shape.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Integer, Shaped

from jaxnn.errors import ShapeError, values
from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._log_probabilities import missing, onehot
from jaxnn.losses._multiclass_margin import check_classes
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops import sparse_plus
from jaxnn.ops._op import Op, op
from jaxnn.typing import AnyArray, Array


def _check_yes_or_no(logits: AnyArray, labels: AnyArray) -> None:
    check_same_shape(logits, labels)
    seen = values(labels)
    if seen is not None and not np.isin(seen, (0, 1)).all():
        raise ValueError(
            f"expected labels of 0 and 1, because there are two classes; got labels from {seen.min()} to {seen.max()}"
        )


@op(_check_yes_or_no)
def sparsemax_loss(logits: Float[Array, "*shape"], labels: Shaped[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Loss of yes and no that reaches 0, l = plus(-z) if the label is 1, else plus(z).

    plus(z) is 0 up to -1, (z + 1)^2 / 4 up to 1, and z from there on. The loss is exactly 0 once the logit is beyond
    1 on the right side, where cross-entropy goes on for ever.

    Args:
        logits: z, any real numbers and any shape.
        labels: 0 or 1, or bools, the same shape; they have no derivative.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete label is neither 0 nor 1.

    >>> sparsemax_loss(jnp.array([-1.0, 0.0, 2.0]), jnp.array([0, 1, 0]))
    Array([0.  , 0.25, 2.  ], dtype=float32)

    Source: Blondel, Martins and Niculae, "Learning with Fenchel-Young losses" (2020); the name and the value are
    optax's.
    """
    return sparse_plus(jnp.where(labels != 0, -logits, logits))


def sparsemax_loss_fwd(logits, labels):
    """Remember the labels, and what plus remembers."""
    l, inner = sparse_plus.fwd(jnp.where(labels != 0, -logits, logits))
    return l, (inner, labels)


def sparsemax_loss_bwd(residuals, dl):
    """plus' = min(max((z + 1) / 2, 0), 1), with the sign that the label gave the logit."""
    inner, labels = residuals
    (dz,) = sparse_plus.bwd(inner, dl)
    return jnp.where(labels != 0, -dz, dz), None


sparsemax_loss.defvjp(sparsemax_loss_fwd, sparsemax_loss_bwd)


@op(check_classes)
def multiclass_sparsemax_loss(
    scores: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Loss of which the sparsemax is the link, l = max_p (p.s + (1 - p.p) / 2) - s_y over probabilities p.

    The maximum is at p = sparsemax(s) = max(s - tau, 0), with the tau for which p sums to 1: the point of the
    simplex that is nearest to s. The loss is 0 as soon as s_y is 1 above all others.

    Args:
        scores: s, `(..., classes)`, any real numbers.
        labels: y, integers from 0 to classes - 1, `(...)`. (optax takes one leading axis.)

    Returns:
        `(...)`. Inside a compiled program a label that is out of range gives NaN.

    Raises:
        ShapeError: The labels have another shape than the scores without their last axis.
        ValueError: A concrete label is out of range.

    >>> multiclass_sparsemax_loss(jnp.array([[2.0, 1.0, 0.5], [2.0, 1.0, 0.5]]), jnp.array([0, 1]))
    Array([0., 1.], dtype=float32)

    Source: Martins and Astudillo, "From softmax to sparsemax" (2016); the name and the value are optax's.
    """
    return multiclass_sparsemax_loss_fwd(scores, labels)[0]


def multiclass_sparsemax_loss_fwd(scores, labels):
    """Remember p and y."""
    # The largest is subtracted, which changes nothing, for p sums to 1, and keeps digits.
    s = scores - lax.stop_gradient(scores.max(-1, keepdims=True))
    p = _sparsemax(s)
    l = (p * jnp.where(p > 0, s, 0)).sum(-1) + (1 - (p * p).sum(-1)) / 2 - jnp.where(onehot(labels, s), s, 0).sum(-1)
    return l + missing(labels, scores), (p, labels)


def multiclass_sparsemax_loss_bwd(residuals, dl):
    """The slope of a maximum is that of what is maximised, at its place: ds = dl (p - onehot(y))."""
    p, labels = residuals
    return dl[..., None] * (p - onehot(labels, p).astype(p.dtype)), None


multiclass_sparsemax_loss.defvjp(multiclass_sparsemax_loss_fwd, multiclass_sparsemax_loss_bwd)


def make_fenchel_young_loss(max_fun: Callable[..., Any]) -> Op:
    """Make the loss l = max_fun(s) - t.s of a maximum, such as log sum exp, which makes cross-entropy.

    A maximum of p.s minus a convex function of p has the maximising p as its slope, so ds = dl (p - t): the loss
    moves that p to the target t. Without the constant that depends on t alone, the loss need not be 0 there.

    Args:
        max_fun: A function of a vector of scores, `(n,)`, that returns a scalar. If it is an op with a
            hand-written backward, so is the loss; of any other function the backward is JAX's.

    Returns:
        An op of scores and targets, both `(..., n)`, that returns `(...)`, and passes further arguments by name on
        to `max_fun`.

    >>> from jax.scipy.special import logsumexp
    >>> loss = make_fenchel_young_loss(max_fun=logsumexp)
    >>> loss(jnp.log(jnp.array([[0.2, 0.7, 0.1]])), jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.3567], dtype=float32)

    Source: Blondel, Martins and Niculae, "Learning with Fenchel-Young losses" (2020); the name and the value are
    optax's.
    """

    def fenchel_young_loss(scores, targets, **settings):
        s, t = together(scores, targets)
        best = jax.vmap(lambda s: max_fun(s, **settings))(_rows(s))
        return best.reshape(s.shape[:-1]) - (t * s).sum(-1)

    loss = Op(fenchel_young_loss, _check_pair)
    if not (isinstance(max_fun, Op) and max_fun.hand):
        return loss

    def fwd(scores, targets, **settings):
        s, t = together(scores, targets)
        best, residuals = jax.vmap(lambda s: max_fun.fwd(s, **settings))(_rows(s))
        return best.reshape(s.shape[:-1]) - (t * s).sum(-1), (scores, targets, residuals)

    def bwd(residuals, dl, **settings):
        scores, targets, inner = residuals
        s, t = together(scores, targets)
        (ds,) = jax.vmap(lambda r, d: max_fun.bwd(r, d, **settings))(inner, dl.reshape(-1))
        dl = dl[..., None]
        return cotangents((ds.reshape(s.shape) - dl * t, -dl * s), (scores, targets))

    loss.defvjp(fwd, bwd)
    return loss


def _check_pair(scores: AnyArray, targets: AnyArray, **_) -> None:
    check_same_shape(scores, targets)
    if scores.ndim == 0:
        raise ShapeError("scores of shape (..., n)", why="the maximum is over the last axis", got=())


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _sparsemax(s):
    """The nearest probabilities, max(s - tau, 0), with tau = (sum of the k largest s - 1) / k; the largest s is 0."""
    z = -jnp.sort(-s, axis=-1)
    k = jnp.arange(1, s.shape[-1] + 1, dtype=s.dtype).reshape((1,) * (s.ndim - 1) + (-1,))
    # The k-th is in as long as all k, less as much as they exceed 1 together, stay positive.
    support = z * k > jnp.cumsum(jnp.where(jnp.isfinite(z), z, 0), -1) - 1
    tau = (jnp.where(support, z, 0).sum(-1, keepdims=True) - 1) / support.sum(-1, keepdims=True).astype(s.dtype)
    return jnp.maximum(s - tau, 0)
