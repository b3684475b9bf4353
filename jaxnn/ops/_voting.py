"""Votes: one output made of those of several members.

Dimensions: `members` the first axis of z; `batch`; `...` any further axes; `classes` the last axis of logits. Weights
are `(members,)`, or have more of the axes of z, in its order, so that each example may have its own; without weights
all members count alike. Sums are taken in float32 at least.
"""

import math

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError, values
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._softmax import log_softmax
from jaxnn.typing import AnyArray, Array, accumulator_dtype

# exp of more than this is only met for members of weight 0 or next to it, where it has to be no more than finite.
_LARGEST_EXPONENT = 80.0


def _check_sum(z: AnyArray, weights: AnyArray | None = None) -> None:
    if z.ndim < 2:
        raise ShapeError("z of shape (members, batch, ...)", why="it holds the outputs of members", got=tuple(z.shape))
    if weights is not None and (weights.ndim < 1 or weights.shape != z.shape[: weights.ndim]):
        raise ShapeError(
            f"weights of shape ({z.shape[0]},) or {tuple(z.shape[:2])}",
            why=f"they weigh members, or each example of each, and z is {tuple(z.shape)}",
            got=tuple(weights.shape),
        )


def _check_mean(z: AnyArray, weights: AnyArray | None = None) -> None:
    _check_sum(z, weights)
    seen = values(weights)
    if seen is not None and (seen < 0).any():
        raise ValueError(f"expected weights of at least 0, because a mean is taken with them; got {seen.min()}")


def _check_vote(z: AnyArray, weights: AnyArray | None = None) -> None:
    if z.ndim < 3 or z.shape[-1] < 2:
        raise ShapeError(
            "z of shape (members, batch, ..., classes) with 2 classes at least",
            why="members vote for classes",
            got=tuple(z.shape),
            hint="mean_of_members is for outputs that are no logits of classes",
        )
    if weights is not None and weights.ndim == z.ndim:
        raise ShapeError(
            f"weights of shape ({z.shape[0]},) or {tuple(z.shape[:2])}",
            why="the classes of an example have one weight together",
            got=tuple(weights.shape),
        )
    _check_mean(z, weights)


@op(_check_sum)
def sum_of_members(
    z: Float[Array, "members batch ..."], weights: Float[Array, "members ..."] | None = None
) -> Float[Array, "batch ..."]:
    """Weighted sum of the outputs of members, y = sum_m w_m z_m, as gradient boosting adds its stages up.

    Args:
        z: `(members, batch, ...)`.
        weights: `(members,)`, or as far along the shape of z as they differ; `None` for 1. May be negative.

    Returns:
        `(batch, ...)`.

    Raises:
        ShapeError: z has no axis of members, or the weights do not fit it.

    >>> sum_of_members(jnp.array([[[1.0, 2.0]], [[10.0, 20.0]]]), jnp.array([1.0, 0.1]))
    Array([[2., 4.]], dtype=float32)

    Source: Friedman, "Greedy function approximation: a gradient boosting machine" (2001).
    """
    w, z_wide = _wide(z, weights)
    return (_along(w, z) * z_wide).sum(0).astype(z.dtype)


def sum_of_members_fwd(z, weights=None):
    """Remember z and w, for each is the other's derivative."""
    return sum_of_members.plain(z, weights), (z, weights)


def sum_of_members_bwd(residuals, dy):
    """dz_m = w_m dy, and dw_m = sum dy z_m over what has that weight."""
    z, weights = residuals
    w, z_wide = _wide(z, weights)
    dy = dy.astype(w.dtype)[None]
    return (_along(w, z) * dy).astype(z.dtype), _to_weights(dy * z_wide, weights)


sum_of_members.defvjp(sum_of_members_fwd, sum_of_members_bwd)


@op(_check_mean)
def mean_of_members(
    z: Float[Array, "members batch ..."], weights: Float[Array, "members ..."] | None = None
) -> Float[Array, "batch ..."]:
    """Weighted mean of the outputs of members, y = sum_m w_m z_m / sum_m w_m, as for regression.

    Args:
        z: `(members, batch, ...)`.
        weights: `(members,)`, or as far along the shape of z as they differ, at least 0; `None` for 1.

    Returns:
        `(batch, ...)`; NaN where all weights are 0, for there is nobody to ask.

    Raises:
        ShapeError: z has no axis of members, or the weights do not fit it.
        ValueError: A weight is negative.

    >>> mean_of_members(jnp.array([[[1.0, 2.0]], [[3.0, 6.0]]]), jnp.array([3.0, 1.0]))
    Array([[1.5, 3. ]], dtype=float32)

    Source: Perrone and Cooper, "When networks disagree: ensemble methods for hybrid neural networks" (1993).
    """
    w, z_wide = _wide(z, weights)
    w = w / w.sum(0, keepdims=True)
    return (_along(w, z) * z_wide).sum(0).astype(z.dtype)


def mean_of_members_fwd(z, weights=None):
    """Remember z and w, for each is the other's derivative."""
    return mean_of_members.plain(z, weights), (z, weights)


def mean_of_members_bwd(residuals, dy):
    """dz_m = w_m / W dy with W = sum_m w_m, and dw_m = sum dy (z_m - y) / W over what has that weight."""
    z, weights = residuals
    w, z_wide = _wide(z, weights)
    total = w.sum(0, keepdims=True)
    share = _along(w / total, z)
    dy = dy.astype(w.dtype)[None]
    y = (share * z_wide).sum(0, keepdims=True)
    return (share * dy).astype(z.dtype), _to_weights(dy * (z_wide - y) / _along(total, z), weights)


mean_of_members.defvjp(mean_of_members_fwd, mean_of_members_bwd)


@op(_check_vote)
def soft_vote(
    z: Float[Array, "members batch ... classes"], weights: Float[Array, "members ..."] | None = None
) -> Float[Array, "batch ... classes"]:
    """Logarithm of the weighted mean of members' probabilities, y = log(sum_m w_m softmax(z_m) / sum_m w_m).

    So the softmax of y is that mean, and y may stand wherever logits do: the cross entropy of y is that of the mean
    probabilities. It is taken from logarithms, and so stays finite where probabilities are too small to be held.

    Args:
        z: Logits, `(members, batch, ..., classes)`.
        weights: `(members,)`, or as far along the shape of z as they differ, at least 0; `None` for 1.

    Returns:
        `(batch, ..., classes)`; NaN where all weights are 0.

    Raises:
        ShapeError: There are fewer than 2 classes, or the weights do not fit z.
        ValueError: A weight is negative.

    >>> z = jnp.log(jnp.array([[[0.9, 0.1]], [[0.2, 0.8]]]))
    >>> jnp.exp(soft_vote(z)).round(2), jnp.exp(soft_vote(z, jnp.array([3.0, 1.0]))).round(3)
    (Array([[0.55, 0.45]], dtype=float32), Array([[0.725, 0.275]], dtype=float32))

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles" (2017).
    """
    return _log_mean(z, weights)[0].astype(z.dtype)


def soft_vote_fwd(z, weights=None):
    """Remember p_m, the ratio r_m = p_m / (sum_k w_k p_k) and w, of which the derivative is a function."""
    y, log_p, ratio = _log_mean(z, weights)
    return y.astype(z.dtype), (shape_only(z), jnp.exp(log_p), ratio, weights)


def soft_vote_bwd(residuals, dy):
    """dw_m = sum_c dy_c (r_mc - 1 / W), with W = sum_m w_m.

    The cotangent of log p_m is g_m = dy w_m r_m, and so dz_m = g_m - p_m sum_c g_mc.
    """
    z, p, ratio, weights = residuals
    w, _ = _wide(p, weights)
    dy = dy.astype(p.dtype)[None]
    g = dy * _along(w, p) * ratio
    dz = g - p * g.sum(-1, keepdims=True)
    return dz.astype(z.dtype), _to_weights(dy * (ratio - 1 / _along(w.sum(0, keepdims=True), p)), weights)


soft_vote.defvjp(soft_vote_fwd, soft_vote_bwd, install=True)


@op(_check_vote)
def hard_vote(
    z: Float[Array, "members batch ... classes"], weights: Float[Array, "members ..."] | None = None
) -> Float[Array, "batch ... classes"]:
    """Logarithm of the share of votes of each class, y_c = log(sum_m w_m [argmax z_m = c] / sum_m w_m).

    Each member has one vote, for the first of the classes with its largest logit. So the softmax of y is the shares,
    and its argmax is what the majority says, or among equals the first class. A class without a vote has the
    logarithm of the least normal number, so that y stays finite. No gradient goes to z, for a small change of it
    changes no vote.

    Args:
        z: Logits, `(members, batch, ..., classes)`.
        weights: `(members,)`, or as far along the shape of z as they differ, at least 0; `None` for 1.

    Returns:
        `(batch, ..., classes)`; NaN where all weights are 0, or a member's logits are NaN.

    Raises:
        ShapeError: There are fewer than 2 classes, or the weights do not fit z.
        ValueError: A weight is negative.

    >>> z = jnp.array([[[0.9, 0.1]], [[0.6, 0.4]], [[-9.0, 9.0]]])
    >>> jnp.exp(hard_vote(z, jnp.array([1.0, 2.0, 1.0]))).round(2), hard_vote(z[:2]).argmax(-1)
    (Array([[0.75, 0.25]], dtype=float32), Array([0], dtype=int32))

    Source: Hansen and Salamon, "Neural network ensembles" (1990).
    """
    return _log_share(z, weights)[1].astype(z.dtype)


def hard_vote_fwd(z, weights=None):
    """Remember the votes, what they add up to, and w."""
    votes, y = _log_share(z, weights)
    return y.astype(z.dtype), (shape_only(z), votes, y, weights)


def hard_vote_bwd(residuals, dy):
    """dz_m = 0, and dw_m = sum_c dy_c ([m votes for c] / share_c - 1) / W over classes that have a vote."""
    z, votes, y, weights = residuals
    y = y[None]
    dz = jnp.zeros(z.shape[1:], z.dtype)
    if weights is None:
        return dz, None
    w, _ = _wide(votes, weights)
    total = _along(w.sum(0, keepdims=True), votes)
    dy = jnp.where(y > _floor(y.dtype), dy.astype(votes.dtype)[None], 0)
    return dz, _to_weights(dy * (votes * jnp.exp(-y) - 1) / total, weights)


hard_vote.defvjp(hard_vote_fwd, hard_vote_bwd)


def _log_mean(z, weights):
    """The logarithms of the weighted mean of members' probabilities, and of these; and their ratios to the sum."""
    w, z_wide = _wide(z, weights)
    log_p = log_softmax.plain(z_wide)
    w = _along(w, z)
    # The largest of those that count, so that what counts neither overflows nor vanishes altogether.
    largest = jnp.where(w > 0, log_p, -jnp.inf).max(0, keepdims=True)
    largest = jnp.where(largest > -jnp.inf, largest, 0)
    p = jnp.exp(jnp.minimum(log_p - largest, _LARGEST_EXPONENT))
    total = (w * p).sum(0, keepdims=True)
    share = total / w.sum(0, keepdims=True)  # 1, and its logarithm 0, where members agree
    none = share == 0  # and not NaN
    y = largest + jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, share)))
    return (
        y.squeeze(0),
        log_p,
        jnp.where(none, 0, jnp.minimum(p / jnp.where(none, 1, total), math.exp(_LARGEST_EXPONENT))),
    )


def _log_share(z, weights):
    """The votes, 1 for the class that a member votes for and 0 for others, and the logarithm of their shares."""
    w, _ = _wide(z, weights)
    classes = jnp.arange(z.shape[-1]).reshape((1,) * (z.ndim - 1) + (-1,))
    votes = (z.argmax(-1, keepdims=True) == classes).astype(w.dtype)
    votes = jnp.where(jnp.isnan(z).any(-1, keepdims=True), jnp.nan, votes)
    share = (_along(w / w.sum(0, keepdims=True), z) * votes).sum(0)
    some = share > jnp.finfo(w.dtype).tiny
    least = jnp.where(jnp.isnan(share), jnp.nan, _floor(w.dtype)).astype(w.dtype)
    return votes, jnp.where(some, jnp.log(jnp.where(some, share, 1)), least)


def _floor(dtype):
    """The logarithm of the least normal number."""
    return jnp.log(jnp.finfo(dtype).tiny)


def _wide(z, weights):
    """Weights and z in the dtype in which sums are taken."""
    dtype = accumulator_dtype(z.dtype)
    w = jnp.ones(z.shape[:1], dtype) if weights is None else jnp.asarray(weights).astype(dtype)
    return w, jnp.asarray(z).astype(dtype)


def _along(w, z):
    """What has the first axes of z, or an axis of 1 for members, with all the others."""
    return jnp.broadcast_to(w.reshape(w.shape + (1,) * (z.ndim - w.ndim)), (*w.shape[:1], *z.shape[1:]))


def _to_weights(d, weights):
    """The sum over all that has one weight; `None` for integers, which have no gradient."""
    if weights is None or not jnp.issubdtype(weights.dtype, jnp.inexact):
        return None
    return d.sum(range(weights.ndim, d.ndim)).astype(weights.dtype)
