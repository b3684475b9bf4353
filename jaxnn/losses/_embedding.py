"""Losses of embeddings: what is alike is to be near, and what is not is to be far.

Dimensions: `batch` examples, `features` the last axis of embeddings, `...` any further axes.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Shaped

from jaxnn.errors import ShapeError, values
from jaxnn.losses._dtypes import common_dtype, cotangents, together
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_triplets(anchors: AnyArray, positives: AnyArray, negatives: AnyArray, *, norm_degree=2, **_) -> None:
    if not anchors.shape == positives.shape == negatives.shape:
        raise ShapeError(
            "anchors, positives and negatives of one shape",
            why="each anchor has one of both",
            got=", ".join(str(tuple(x.shape)) for x in (anchors, positives, negatives)),
        )
    degree = values(norm_degree)
    if degree is not None and not degree >= 1:
        raise ValueError(f"expected a norm_degree of at least 1, because below it there is no norm; got {degree}")
    if degree is not None and degree == np.inf:
        raise ValueError("expected a finite norm_degree, because the largest difference is the limit of these norms "
                         "but none of their sums; got inf\n  hint: a degree of 20 comes near it")  # fmt: skip


@op(_check_triplets)
def triplet_margin_loss(
    anchors: Float[Array, "*shape"],
    positives: Float[Array, "*shape"],
    negatives: Float[Array, "*shape"],
    axis: int = -1,
    norm_degree: Scalar = 2,
    margin: Scalar = 1.0,
    eps: Scalar = 1e-6,
) -> Float[Array, "..."]:
    """How far a positive fails to be nearer than a negative, l = max(0, |a - p| - |a - n| + margin).

    Args:
        anchors: a, `(batch, features)` or any shape.
        positives: p, of the same kind as the anchors; the same shape.
        negatives: n, of another kind; the same shape.
        axis: Along which the vectors lie.
        norm_degree: q of the norm |d| = (sum_i |d_i|^q + eps)^(1/q), finite. Differences are taken by their absolute
            value, which optax leaves out: for odd q its sums are not norms, for q = 2 there is no difference.
        margin: By how much the positive is to be nearer. At a loss of exactly 0 the derivative is 0.
        eps: Inside the root, so that its derivative is finite where two vectors are equal; PyTorch adds
            its 1e-6 to each difference instead.

    Returns:
        The shape without `axis`.

    Raises:
        ShapeError: The three shapes differ.
        ValueError: A concrete `norm_degree` is below 1 or infinite.

    >>> a, p, n = jnp.array([[0.0, 0.0]]), jnp.array([[0.3, 0.4]]), jnp.array([[0.6, 0.8]])
    >>> triplet_margin_loss(a, p, n).round(4)
    Array([0.5], dtype=float32)

    Source: Schroff, Kalenichenko and Philbin, "FaceNet" (2015); Balntas et al., "Learning local feature descriptors
    with triplets" (2016); the name and the value are optax's.
    """
    a, p, n = _wide(anchors, positives, negatives)
    near, far = (_distance(a - b, axis, norm_degree, eps) for b in (p, n))
    l = near - far + jnp.asarray(margin, near.dtype)
    l = jnp.where(l > 0, l, lax.stop_gradient(jnp.maximum(l, 0)))
    return l.astype(common_dtype(anchors, positives, negatives))


def triplet_margin_loss_fwd(anchors, positives, negatives, axis=-1, norm_degree=2, margin=1.0, eps=1e-6):
    """Remember the three, and where the loss is positive."""
    settings = {"axis": axis, "norm_degree": norm_degree, "margin": margin, "eps": eps}
    l = triplet_margin_loss.plain(anchors, positives, negatives, **settings)
    return l, (anchors, positives, negatives, l > 0)


def triplet_margin_loss_bwd(residuals, dl, axis=-1, norm_degree=2, margin=1.0, eps=1e-6):
    """d|d|/dd_i = sign(d_i) (|d_i| / |d|)^(q - 1); a gets both slopes, p and n the negative of theirs."""
    del margin
    *arrays, positive = residuals
    a, p, n = _wide(*arrays)
    dl = jnp.expand_dims(jnp.where(positive, dl, 0).astype(a.dtype), axis)
    d_near, d_far = (dl * _slope(a - b, axis, norm_degree, eps) for b in (p, n))
    return cotangents((d_near - d_far, -d_near, d_far), arrays)


triplet_margin_loss.defvjp(triplet_margin_loss_fwd, triplet_margin_loss_bwd)


def _check_pairs(first: AnyArray, second: AnyArray, same: AnyArray, **_) -> None:
    check_same_shape(first, second)
    if same.shape != first.shape[:-1]:
        raise ShapeError(
            f"same of shape {tuple(first.shape[:-1])}",
            why=f"the embeddings are {tuple(first.shape)}, with the features last",
            got=tuple(same.shape),
        )


@op(_check_pairs)
def contrastive_loss(
    first: Float[Array, "*batch features"],
    second: Float[Array, "*batch features"],
    same: Shaped[Array, "*batch"],
    *,
    margin: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Pull pairs together or push them apart, l = D^2 if same, else max(0, margin - D)^2, D = |a - b|.

    The paper has a factor 1/2 and calls Y = 0 what is `same` here. Where two embeddings that are to be apart are
    equal, no direction is the way out, and the derivative is taken as 0.

    Args:
        first: a, `(..., features)`.
        second: b, the same shape.
        same: Whether the two of a pair are alike: 1, 0 or bools, `(...)`.
        margin: The distance at which what differs is far enough apart.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes do not belong together.

    >>> a, b = jnp.zeros((2, 2)), jnp.array([[0.3, 0.4], [0.3, 0.4]])
    >>> contrastive_loss(a, b, jnp.array([1, 0])).round(4)
    Array([0.25, 0.25], dtype=float32)

    Source: Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping" (2006).
    """
    d = _difference(first, second)
    room = jnp.asarray(margin, d.dtype) - _distance(d, -1, 2, 0.0)
    room = jnp.where(room > 0, room, lax.stop_gradient(jnp.maximum(room, 0)))
    return jnp.where(same != 0, (d * d).sum(-1), room * room).astype(common_dtype(first, second))


def contrastive_loss_fwd(first, second, same, *, margin=1.0):
    """Remember the difference d = a - b, which pairs are alike, and the dtypes."""
    l = contrastive_loss.plain(first, second, same, margin=margin)
    return l, (_difference(first, second), same, shape_only(first), shape_only(second))


def contrastive_loss_bwd(residuals, dl, *, margin=1.0):
    """da = 2 d dl for what is alike, and -2 max(0, margin - D) d / D dl for what is not; db = -da."""
    d, same, *arrays = residuals
    room = jnp.maximum(jnp.asarray(margin, d.dtype) - _distance(d, -1, 2, 0.0), 0)[..., None]
    da = 2 * jnp.where(same[..., None] != 0, d, -room * _slope(d, -1, 2, 0.0)) * dl[..., None].astype(d.dtype)
    return *cotangents((da, -da), arrays), None


contrastive_loss.defvjp(contrastive_loss_fwd, contrastive_loss_bwd)


def _check_embeddings(embeddings: AnyArray, labels: AnyArray, **_) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ShapeError(
            "embeddings of shape (batch, features) and labels of shape (batch,)",
            why="every two of a batch are compared",
            got=f"embeddings {tuple(embeddings.shape)}, labels {tuple(labels.shape)}",
        )


@op(_check_embeddings)
def ntxent(
    embeddings: Float[Array, "batch features"], labels: Shaped[Array, " batch"], temperature: Scalar = 0.07
) -> Float[Array, ""]:
    """Cross-entropy of finding each positive among the negatives, averaged over positive pairs.

    A trainer wants the loss of each example, so this is for steps of one's own.

    L = mean over i, j with y_i = y_j of -log(exp(x_ij) / (exp(x_ij) + sum over k with y_k != y_i of exp(x_ik))),
    where x_ij is the cosine of embeddings i and j divided by the temperature. It is one number for a batch, for its
    examples judge each other. Embeddings of zeros are finite, for squared norms have the dtype's epsilon as floor.

    Args:
        embeddings: `(batch, features)`, any real numbers; they are normalised here.
        labels: y, `(batch,)`: what has the same label is a positive pair.
        temperature: The smaller, the more the nearest negatives count.

    Returns:
        A scalar; 0 if there is no positive pair (optax: NaN).

    Raises:
        ShapeError: The shapes do not belong together.

    >>> ntxent(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 0, 1]), 1.0).round(2)
    Array(0.31, dtype=float32)

    Source: Sohn (2016) and Chen et al., "A simple framework for contrastive learning" (2020); the name and the
    value are optax's.
    """
    _, _, x, positive, negative = _compared(embeddings, labels, temperature)
    log_negatives, any_negative = _log_sum_exp(x, negative)
    l = jnp.logaddexp(jnp.where(any_negative, log_negatives - x, 0), 0)  # of one pair
    l = jnp.where(positive & any_negative, l, 0)
    return (l.sum() / jnp.maximum(positive.sum(), 1).astype(x.dtype)).astype(embeddings.dtype)


def ntxent_fwd(embeddings, labels, temperature=0.07):
    """Remember both: the rest is batch^2 numbers, and made again."""
    return ntxent.plain(embeddings, labels, temperature=temperature), (embeddings, labels)


def ntxent_bwd(residuals, dl, temperature=0.07):
    """With P pairs and s_ij the negatives' share in pair ij, dx_ij = -s_ij / P and dx_ik = softmax_k sum_j s_ij / P.

    The cosines x = u u^T / T pass dx on as du = (dx + dx^T) u / T, and each u = e / |e| as de = (du - (du.u) u) / |e|.
    """
    embeddings, labels = residuals
    u, (norm, free), x, positive, negative = _compared(embeddings, labels, temperature)
    log_negatives, any_negative = _log_sum_exp(x, negative)
    share = jnp.where(positive & any_negative, lax.logistic(jnp.where(any_negative, log_negatives - x, 0)), 0)
    softmax = jnp.where(negative, jnp.exp(jnp.where(negative, x - log_negatives, 0)), 0)
    scale = dl.astype(x.dtype) / jnp.maximum(positive.sum(), 1).astype(x.dtype)
    dx = scale * (softmax * share.sum(1, keepdims=True) - share)
    du = (dx + dx.T) @ u / jnp.asarray(temperature, x.dtype)
    de = (du - jnp.where(free, (du * u).sum(-1, keepdims=True) * u, 0)) / norm
    return de.astype(embeddings.dtype), None


ntxent.defvjp(ntxent_fwd, ntxent_bwd)


def _wide(*arrays):
    """The arrays in one dtype, float32 at least."""
    return [a.astype(accumulator_dtype(a.dtype)) for a in together(*arrays)]


def _difference(first, second):
    a, b = _wide(first, second)
    return a - b


def _distance(d, axis, degree, eps):
    """(sum |d|^q + eps)^(1/q), of which the derivative at 0 is 0.

    The largest is divided out before, so that no power overflows; the result does not depend on what is divided by.
    """
    q = jnp.asarray(degree, d.dtype)
    size, root = jnp.abs(jnp.where(d == 0, 0, d)), jnp.asarray(eps, d.dtype) ** (1 / q)
    largest = lax.stop_gradient(jnp.maximum(size.max(axis, keepdims=True, initial=0), root))
    largest = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    total = ((size / largest) ** q).sum(axis, keepdims=True) + (root / largest) ** q
    distance = largest * jnp.where(total == 0, 0, jnp.where(total == 0, 1, total) ** (1 / q))
    return distance.squeeze(axis)


def _slope(d, axis, degree, eps):
    """The derivative of `_distance`, sign(d) (|d| / distance)^(q - 1)."""
    distance = jnp.expand_dims(_distance(d, axis, degree, eps), axis)
    ratio = jnp.abs(d) / jnp.where(distance == 0, 1, distance)
    return jnp.sign(d) * ratio ** (jnp.asarray(degree, d.dtype) - 1)


def _compared(e, labels, temperature):
    """Directions, lengths, cosines over the temperature, and which pairs are positive and which negative."""
    floor = jnp.finfo(e.dtype).eps
    (e,) = _wide(e)
    floor = jnp.asarray(floor, e.dtype)
    square = (e * e).sum(-1, keepdims=True)
    free = square > floor
    norm = jnp.sqrt(jnp.where(free, square, floor))
    u = e / norm
    same = labels[:, None] == labels[None, :]
    positive = same & ~jnp.eye(len(labels), dtype=bool)
    return u, (norm, free), u @ u.T / jnp.asarray(temperature, e.dtype), positive, ~same


def _log_sum_exp(x, where):
    """log of the sum of exp(x) over the columns where it is asked for, and whether there are any; `(batch, 1)`."""
    some = where.any(1, keepdims=True)
    largest = lax.stop_gradient(
        jnp.where(some, jnp.where(where, x, -jnp.inf).max(1, keepdims=True, initial=-jnp.inf), 0)
    )
    total = jnp.where(where, jnp.exp(jnp.where(where, x - largest, 0)), 0).sum(1, keepdims=True)
    return largest + jnp.log(jnp.where(some, total, 1)), some
