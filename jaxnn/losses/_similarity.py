"""Losses of direction: the angle between a prediction and its target.

Dimensions: `batch` examples, `features` the last axis of embeddings, `...` any further axes.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses._dtypes import common_dtype, cotangents, together
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_vectors(predictions: AnyArray, targets: AnyArray, *, axis=-1, where=None, **_) -> None:
    check_same_shape(predictions, targets)
    axes = range(predictions.ndim) if axis is None else axis if isinstance(axis, Sequence) else (axis,)
    if not all(-predictions.ndim <= a < predictions.ndim for a in axes):
        raise ShapeError(f"vectors along axis {axis}", why="angles are between vectors", got=tuple(predictions.shape))
    if where is not None and jnp.shape(where) != predictions.shape:
        raise ShapeError(
            f"where of shape {tuple(predictions.shape)}", why="the vectors have it", got=tuple(jnp.shape(where))
        )


@op(_check_vectors)
def cosine_similarity(
    predictions: Float[Array, "*shape"],
    targets: Num[Array, "*shape"],
    *,
    epsilon: Scalar = 0.0,
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Cosine of the angle between two vectors, c = p.t / (|p| |t|), with |p|^2 and |t|^2 at least epsilon.

    The larger, the more alike: as a loss take `cosine_distance` or `cosine_proximity`. A vector of zeros has no
    direction: with an epsilon of 0, its c and its gradients are NaN, as in optax; with a positive one they are
    finite. PyTorch has an epsilon of 1e-8, under the norms.

    Args:
        predictions: p.
        targets: t, the same shape; integers have no derivative.
        epsilon: Floor of the squared norms.
        axis: Along which the vectors lie, one or several; all if `None`.
        where: Which elements count, a mask of the same shape.

    Returns:
        The shape without `axis`.

    Raises:
        ShapeError: The shapes differ, or have no such axis.

    >>> cosine_similarity(jnp.array([[3.0, 0.0]]), jnp.array([[2.0, 0.0]]))
    Array([1.], dtype=float32)

    Source: Salton, Wong and Yang, "A vector space model for automatic indexing" (1975); the name and the value are
    optax's.
    """
    p, t = (_unit(v, epsilon, axis, where)[0] for v in together(predictions, targets))
    return (p * t).sum(axis, where=where).astype(common_dtype(predictions, targets))


def cosine_similarity_fwd(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    """Remember both vectors by direction, and by what they were divided by to be of length 1; and the dtypes."""
    c = cosine_similarity.plain(predictions, targets, epsilon=epsilon, axis=axis, where=where)
    remembered = (_unit(v, epsilon, axis, where) for v in together(predictions, targets))
    return c, (*remembered, shape_only(predictions), shape_only(targets))


def cosine_similarity_bwd(residuals, dc, *, epsilon=0.0, axis=-1, where=None):
    """With the directions u = p / |p| and v = t / |t|, dp = dc (v - c u) / |p|, and dp = dc v / |p| at the floor."""
    del epsilon
    (u, p_norm, p_free), (v, t_norm, t_free), *arrays = residuals
    dc = jnp.expand_dims(dc.astype(u.dtype), _axes(axis, u.ndim))
    c = (u * v).sum(axis, keepdims=True, where=where)
    # Not 0 but 0 u at the floor, which is NaN where there is no direction, as on the other road.
    dp = dc * (v - jnp.where(p_free, c, 0) * u) / p_norm
    dt = dc * (u - jnp.where(t_free, c, 0) * v) / t_norm
    if where is not None:
        dp, dt = jnp.where(where, dp, 0), jnp.where(where, dt, 0)
    return cotangents((dp, dt), arrays)


cosine_similarity.defvjp(cosine_similarity_fwd, cosine_similarity_bwd)


@op(_check_vectors)
def cosine_distance(
    predictions: Float[Array, "*shape"],
    targets: Num[Array, "*shape"],
    *,
    epsilon: Scalar = 0.0,
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """One minus the cosine of the angle between two vectors, l = 1 - p.t / (|p| |t|), from 0 to 2.

    Args:
        predictions: p.
        targets: t, the same shape; integers have no derivative.
        epsilon: Floor of the squared norms; with 0, as in optax, vectors of zeros give NaN.
        axis: Along which the vectors lie, one or several; all if `None`.
        where: Which elements count, a mask of the same shape.

    Returns:
        The shape without `axis`.

    Raises:
        ShapeError: The shapes differ, or have no such axis.

    >>> cosine_distance(jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 2.0]]))
    Array([1.], dtype=float32)

    Source: as `cosine_similarity`; the name and the value are optax's.
    """
    return 1 - cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)


def cosine_distance_fwd(predictions, targets, **settings):
    """Remember what the similarity remembers."""
    c, residuals = cosine_similarity.fwd(predictions, targets, **settings)
    return 1 - c, residuals


def cosine_distance_bwd(residuals, dl, **settings):
    """dl/dc = -1."""
    return cosine_similarity.bwd(residuals, -dl, **settings)


cosine_distance.defvjp(cosine_distance_fwd, cosine_distance_bwd)


@op(_check_vectors)
def cosine_proximity(
    prediction: Float[Array, "*shape"], target: Num[Array, "*shape"], *, axis: int = -1
) -> Float[Array, "..."]:
    """The cosine of the angle with its sign turned, l = -p.t / (|p| |t|), least at -1 and finite everywhere.

    A vector of zeros has no direction: its loss is 0, and so is its gradient. (Keras floors the squared norm at
    1e-12, which makes the gradient there as large as 1e6.) Vectors are first divided by their largest element,
    so that none is so long or so short that its square could not be held.

    Args:
        prediction: p.
        target: t, the same shape; integers have no derivative.
        axis: Along which the vectors lie.

    Returns:
        The shape without `axis`.

    Raises:
        ShapeError: The shapes differ, or have no such axis.

    >>> cosine_proximity(jnp.array([[3.0, 0.0], [0.0, 0.0]]), jnp.array([[2.0, 0.0], [2.0, 1.0]])) + 0.0
    Array([-1.,  0.], dtype=float32)

    Source: Salton, Wong and Yang (1975); the sign is that of Keras's `CosineSimilarity` loss.
    """
    p, t = (_direction(v, axis)[0] for v in together(prediction, target))
    return -(p * t).sum(axis).astype(common_dtype(prediction, target))


def cosine_proximity_fwd(prediction, target, *, axis=-1):
    """Remember both by direction and length, which are 0 and infinity where there is none; and the dtypes."""
    remembered = (_direction(v, axis) for v in together(prediction, target))
    return cosine_proximity.plain(prediction, target, axis=axis), (
        *remembered,
        shape_only(prediction),
        shape_only(target),
    )


def cosine_proximity_bwd(residuals, dl, *, axis=-1):
    """With the directions u = p / |p| and v = t / |t| and c = u.v, dp = -dl (v - c u) / |p|."""
    (u, p_norm), (v, t_norm), *arrays = residuals
    dl = jnp.expand_dims(dl.astype(u.dtype), axis)
    c = (u * v).sum(axis, keepdims=True)
    dp, dt = -dl * (v - c * u) / p_norm, -dl * (u - c * v) / t_norm
    return cotangents((dp, dt), arrays)


cosine_proximity.defvjp(cosine_proximity_fwd, cosine_proximity_bwd)


def _unit(x, epsilon, axis, where):
    """The direction of x, its floored norm, and where the floor did not act."""
    x = x.astype(accumulator_dtype(x.dtype))
    square = (x * x).sum(axis, keepdims=True, where=where)
    floor = jnp.asarray(epsilon, x.dtype)
    free = (square > floor) | (floor == 0)  # without a floor zeros have a root's derivative at 0: NaN on both roads
    norm = jnp.sqrt(jnp.where(free, square, floor))
    return x / norm, norm, free


def _direction(x, axis):
    """The direction of x and its length; 0 and infinity if x is 0, so that its gradient vanishes."""
    x = x.astype(accumulator_dtype(x.dtype))
    largest = lax.stop_gradient(jnp.abs(x).max(axis, keepdims=True, initial=0))
    zero = largest == 0
    # The direction does not depend on the scale, so nothing is lost by taking `largest` for a constant.
    x = x / jnp.where(zero, 1, largest)
    square = jnp.where(zero, 1, (x * x).sum(axis, keepdims=True))
    norm = jnp.sqrt(square)
    return jnp.where(zero, 0, x / norm), jnp.where(zero, jnp.inf, norm * largest)


def _axes(axis, rank):
    return tuple(range(rank)) if axis is None else axis
