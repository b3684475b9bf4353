"""A loss of rankings: how far the order of scores is from that of relevance.

Dimensions: `items` the last axis, a list to rank, `...` any further axes.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses._dtypes import cotangent
from jaxnn.losses._log_probabilities import times_log, where_any
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_lists(logits: AnyArray, labels: AnyArray, *, where=None, weights=None, reduce_fn=jnp.mean) -> None:
    check_same_shape(logits, labels)
    for name, given in (("where", where), ("weights", weights)):
        if given is not None and jnp.shape(given) != logits.shape:
            raise ShapeError(
                f"{name} of shape {tuple(logits.shape)}", why="there is one an item", got=tuple(jnp.shape(given))
            )
    if reduce_fn not in (jnp.mean, jnp.sum, None):
        raise ValueError(
            "expected a reduce_fn of jnp.mean, jnp.sum or None, because its backward is written by hand; "
            f"got {reduce_fn!r}"
        )


@op(_check_lists)
def ranking_softmax_loss(
    logits: Float[Array, "*batch items"],
    labels: Num[Array, "*batch items"],
    *,
    where: Array | None = None,
    weights: Array | None = None,
    reduce_fn: Callable[..., Any] | None = jnp.mean,
) -> Float[Array, "..."]:
    """Cross-entropy of a list's relevance and the softmax of its scores, l = -sum_i y_i log softmax(s)_i.

    Args:
        logits: s, the score of each item, `(..., items)`.
        labels: y, the relevance of each item, the same shape.
        where: Which items there are, a mask of the same shape; the others count for nothing.
        weights: Of the items, the same shape.
        reduce_fn: `jnp.mean` or `jnp.sum` over all lists that have an item, or `None`, which is what a trainer
            wants. The mean of no list is 0.

    Returns:
        A scalar, or `(...)` without a reduction.

    Raises:
        ShapeError: The shapes differ.
        ValueError: The reduction is none of these.

    >>> ranking_softmax_loss(jnp.array([2.0, 1.0, 3.0]), jnp.array([1.0, 0.0, 0.0])).round(2)
    Array(1.41, dtype=float32)

    Source: Cao et al., "Learning to rank: from pairwise approach to listwise approach" (2007); the name and the
    value are optax's.
    """
    l = -times_log(_relevance(logits, labels, where, weights), _log_softmax(logits, where)).sum(-1)
    if reduce_fn is not None:
        l = l.sum()
        l = l / _count(where, logits).astype(l.dtype) if reduce_fn is jnp.mean else l
    return l.astype(logits.dtype)


def ranking_softmax_loss_fwd(logits, labels, *, where=None, weights=None, reduce_fn=jnp.mean):
    """Remember both."""
    l = ranking_softmax_loss.plain(logits, labels, where=where, weights=weights, reduce_fn=reduce_fn)
    return l, (logits, labels)


def ranking_softmax_loss_bwd(residuals, dl, *, where=None, weights=None, reduce_fn=jnp.mean):
    """With p = softmax(s), ds = dl (p sum(y) - y) and dy = -dl w log p; a mean divides dl among the lists."""
    logits, labels = residuals
    log_p, y = _log_softmax(logits, where), _relevance(logits, labels, where, weights)
    dl = dl.astype(log_p.dtype)
    if reduce_fn is jnp.mean:
        dl = dl / _count(where, logits).astype(dl.dtype)
    dl = dl if reduce_fn is not None else dl[..., None]
    p = jnp.exp(log_p) if where is None else jnp.where(where.astype(bool), jnp.exp(log_p), 0)
    ds = dl * (p * y.sum(-1, keepdims=True) - y)
    dy = -dl * where_any(y, log_p)
    dy = dy if weights is None else dy * weights.astype(dl.dtype)
    return ds.astype(logits.dtype), cotangent(dy, labels)


ranking_softmax_loss.defvjp(ranking_softmax_loss_fwd, ranking_softmax_loss_bwd)


def _relevance(logits, labels, where, weights):
    y = labels.astype(accumulator_dtype(logits.dtype))
    y = y if where is None else jnp.where(where.astype(bool), y, 0)
    return y if weights is None else y * weights.astype(y.dtype)


def _log_softmax(logits, where):
    """log softmax over the items that there are, and 0 for the others, whatever their scores."""
    s = logits.astype(accumulator_dtype(logits.dtype))
    there = jnp.ones(s.shape, bool) if where is None else where.astype(bool)
    some = there.any(-1, keepdims=True)
    largest = jnp.where(some, jnp.where(there, s, -jnp.inf).max(-1, keepdims=True, initial=-jnp.inf), 0)
    s = jnp.where(there, s, 0) - lax.stop_gradient(largest)
    total = jnp.where(there, jnp.exp(jnp.where(there, s, 0)), 0).sum(-1, keepdims=True)
    return jnp.where(there, s - jnp.log(jnp.where(some, total, 1)), 0)


def _count(where, logits):
    """The number of lists that have an item, 1 if there are none."""
    lists = jnp.asarray(logits[..., 0].size) if where is None else where.astype(bool).any(-1).sum()
    return jnp.maximum(lists, 1)
