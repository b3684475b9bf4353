"""Cross-entropy of classes, from logits, whose targets are rows of probabilities; and that of either kind of target.

Dimensions: `batch` examples, `classes` the axis of logits that `axis` names, by default the last, `...` any further
axes. `where` says which logits count, or which examples: one that does not has the loss 0.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._integer_labels import softmax_cross_entropy_with_integer_labels
from jaxnn.losses._linear_cross_entropy import linear_cross_entropy
from jaxnn.losses._log_probabilities import axes_of, log_softmax, masked, spread, times_log, where_any
from jaxnn.losses._shapes import check_axes, check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Deferred


def check_rows(
    logits: AnyArray,
    labels: AnyArray,
    axis: int | tuple[int, ...] | None = -1,
    where: AnyArray | None = None,
    **settings: object,
) -> None:
    """Raise an error unless there is one probability a logit."""
    check_same_shape(logits, labels)
    check_axes(logits.shape, axis, where)


@op(check_rows)
def softmax_cross_entropy(
    logits: Float[Array, "*shape"],
    labels: Num[Array, "*shape"],
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy of a distribution and the softmax of logits, l = -sum_j t_j log p_j, p = softmax(z).

    A logit of minus infinity gives NaN, as in optax: see `safe_softmax_cross_entropy`.

    Args:
        logits: z, `(..., classes)`, any real numbers.
        labels: t, one-hot or any probabilities, `(..., classes)`; integers have no derivative.
        axis: The axis or axes of classes, None for all.
        where: Which classes are summed over, `(..., classes)`, or which examples count, `(...)`; a mask.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> softmax_cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.3567], dtype=float32)

    Source: Bridle (1990); the name, the signature and the value are optax's.
    """
    z, t = together(logits, labels)
    return -(masked(t, axis, where) * log_softmax(z, axis, where)).sum(axis)


def softmax_cross_entropy_fwd(logits, labels, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count, and the dtypes."""
    z, t = together(logits, labels)
    log_p, t = log_softmax(z, axis, where), masked(t, axis, where)
    return -(t * log_p).sum(axis), (log_p, t, shape_only(logits), shape_only(labels))


def softmax_cross_entropy_bwd(residuals, dl, axis=-1, where=None):
    """d log p_j / dz_k = [j = k] - p_k, so dz = dl (p sum(t) - t); and dl/dt = -log p."""
    log_p, t, logits, labels = residuals
    dl = spread(dl, t.ndim, axis)
    dz = dl * (jnp.exp(log_p) * t.sum(axes_of(axis, t.ndim), keepdims=True) - t)
    return cotangents((masked(dz, axis, where), -dl * log_p), (logits, labels))


softmax_cross_entropy.defvjp(softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)


@op(check_same_shape)
def safe_softmax_cross_entropy(
    logits: Float[Array, "*batch classes"], labels: Num[Array, "*batch classes"]
) -> Float[Array, "*batch"]:
    """Cross-entropy of a distribution and the softmax of logits, l = -sum_j t_j log p_j, with 0 log 0 = 0.

    So a class that cannot be may have the logit minus infinity, if its target is 0.

    Args:
        logits: z, `(..., classes)`, any real numbers, or minus infinity.
        labels: t, one-hot or any probabilities, `(..., classes)`; integers have no derivative.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> logits = jnp.array([[0.0, 0.0, -jnp.inf]])
    >>> safe_softmax_cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]])).round(4)
    Array([0.6931], dtype=float32)

    Source: Bridle (1990); the name, the signature and the value are optax's.
    """
    z, t = together(logits, labels)
    return -times_log(t, log_softmax(z)).sum(-1)


def safe_softmax_cross_entropy_fwd(logits, labels):
    """Remember log p and t, and the dtypes."""
    z, t = together(logits, labels)
    log_p = log_softmax(z)
    return -times_log(t, log_p).sum(-1), (log_p, t, shape_only(logits), shape_only(labels))


def safe_softmax_cross_entropy_bwd(residuals, dl):
    """As without safety, for p is 0 where log p is not finite: dz = dl (p sum(t) - t); and dl/dt = -log p."""
    log_p, t, logits, labels = residuals
    dl = dl[..., None]
    dz, dt = dl * (jnp.exp(log_p) * t.sum(-1, keepdims=True) - t), -dl * where_any(t, log_p)
    return cotangents((dz, dt), (logits, labels))


safe_softmax_cross_entropy.defvjp(safe_softmax_cross_entropy_fwd, safe_softmax_cross_entropy_bwd)


def _by_target(target: AnyArray):
    integer = jnp.issubdtype(target.dtype, jnp.integer)
    return softmax_cross_entropy_with_integer_labels if integer else safe_softmax_cross_entropy


def check_classes(logits: AnyArray | Deferred, target: AnyArray, **settings: object) -> None:
    """Raise an error unless the target is integer labels or float rows that fit."""
    if isinstance(logits, Deferred):
        linear_cross_entropy.check(*logits, target)
        return
    if jnp.issubdtype(target.dtype, jnp.floating) and target.shape == logits.shape[:-1]:
        raise ShapeError(
            f"one-hot rows of shape {tuple(logits.shape)}, or integer labels of shape {tuple(target.shape)}",
            why=f"logits are {tuple(logits.shape)}, with the classes last",
            got=f"{target.dtype} of shape {tuple(target.shape)}",
            hint="integer labels: y.astype(int)",
        )
    _by_target(target).check(logits, target)


@op(check_classes)
def cross_entropy(
    logits: Float[Array, "*batch classes"] | Deferred, target: Num[Array, "..."]
) -> Float[Array, "*batch"]:
    """Cross-entropy from logits, l = -log softmax(z)_label, for integer labels or one-hot rows.

    With smoothing, ignored labels or class weights it is `sparse_cross_entropy`.

    Args:
        logits: z, `(..., classes)`, any real numbers: the model's output without a softmax. Or `Deferred`, what they
            are the product of, as a `DeferredDense` leaves them.
        target: Integer labels, `(...)`, or float probabilities, `(..., classes)`; of `Deferred` labels.

    Returns:
        `(...)`, as `softmax_cross_entropy_with_integer_labels`, `safe_softmax_cross_entropy` or, in chunks of the
        classes, `linear_cross_entropy`.

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
    if isinstance(logits, Deferred):
        return linear_cross_entropy(*logits, target)
    return _by_target(target)(logits, target)


def cross_entropy_fwd(logits, target):
    """Remember what the one that fits remembers; last in those of logits is what has the target's dtype."""
    if isinstance(logits, Deferred):
        l, residuals = linear_cross_entropy.fwd(*logits, target)
        return l, {"deferred": residuals}
    return _by_target(target).fwd(logits, target)


def cross_entropy_bwd(residuals, dl):
    """dz = dl (p - t), by the one that fits; of `Deferred` dx, dw and db."""
    if isinstance(residuals, dict):
        *d, d_labels = linear_cross_entropy.bwd(residuals["deferred"], dl)
        return Deferred(*d), d_labels
    return _by_target(residuals[-1]).bwd(residuals, dl)


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)
