"""Penalties: what weights cost by their size.

Dimensions: `...` any shape.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.losses._shapes import check_range
from jaxnn.ops._op import op
from jaxnn.typing import Array, Scalar, accumulator_dtype


def check_strengths(w: Any, **strengths: Scalar) -> None:
    """Raise an error if a strength that can be seen is negative."""
    for name, strength in strengths.items():
        check_range(name, strength, 0, why="a penalty grows with the weights")


@op(check_strengths)
def l1_penalty(w: Float[Array, "..."], *, strength: Scalar) -> Float[Array, ""]:
    """Sum of absolute values, strength sum |w|: the lasso, which makes weights exactly 0 (by `soft_threshold`).

    The derivative at 0 is taken as 0.

    Args:
        w: Any shape.
        strength: At least 0.

    Raises:
        ValueError: The strength is concrete and negative.

    >>> l1_penalty(jnp.array([1.0, -2.0, 3.0]), strength=0.1)
    Array(0.6, dtype=float32)

    Source: Tibshirani, "Regression shrinkage and selection via the lasso" (1996).
    """
    return _absolute(w, strength).astype(w.dtype)


def l1_penalty_fwd(w, *, strength):
    """Remember w."""
    return l1_penalty.plain(w, strength=strength), w


def l1_penalty_bwd(w, d, *, strength):
    """dw = d strength sign(w)."""
    return (d * jnp.asarray(strength, w.dtype) * jnp.sign(w),)


l1_penalty.defvjp(l1_penalty_fwd, l1_penalty_bwd)


@op(check_strengths)
def l2_penalty(w: Float[Array, "..."], *, strength: Scalar) -> Float[Array, ""]:
    """Sum of squares, strength sum w^2: ridge, without a factor 1/2, so that its slope is 2 strength w.

    With plain gradient descent it is a decay of the weights by 2 strength times the learning rate; with Adam
    and others that divide by the size of gradients it is not: there `adamw` decays.

    Args:
        w: Any shape.
        strength: At least 0. Half of PyTorch's `weight_decay`, whose slope is `weight_decay` w.

    Raises:
        ValueError: The strength is concrete and negative.

    >>> l2_penalty(jnp.array([1.0, -2.0, 3.0]), strength=0.1)
    Array(1.4, dtype=float32)

    Source: Hoerl and Kennard, "Ridge regression" (1970).
    """
    return _squares(w, strength).astype(w.dtype)


def l2_penalty_fwd(w, *, strength):
    """Remember w."""
    return l2_penalty.plain(w, strength=strength), w


def l2_penalty_bwd(w, d, *, strength):
    """dw = 2 d strength w."""
    return (2 * d * jnp.asarray(strength, w.dtype) * w,)


l2_penalty.defvjp(l2_penalty_fwd, l2_penalty_bwd)


@op(check_strengths)
def elastic_net_penalty(w: Float[Array, "..."], *, l1: Scalar = 0.0, l2: Scalar = 0.0) -> Float[Array, ""]:
    """Both sums, l1 sum |w| + l2 sum w^2.

    Args:
        w: Any shape.
        l1: Strength of the absolute values, at least 0. (scikit-learn: `alpha * l1_ratio`.)
        l2: Strength of the squares, at least 0. (scikit-learn: `alpha * (1 - l1_ratio) / 2`.)

    Raises:
        ValueError: A strength is concrete and negative.

    >>> elastic_net_penalty(jnp.array([1.0, -2.0, 3.0]), l1=0.1, l2=0.1)
    Array(2., dtype=float32)

    Source: Zou and Hastie, "Regularization and variable selection via the elastic net" (2005).
    """
    return (_absolute(w, l1) + _squares(w, l2)).astype(w.dtype)


def elastic_net_penalty_fwd(w, *, l1=0.0, l2=0.0):
    """Remember w."""
    return elastic_net_penalty.plain(w, l1=l1, l2=l2), w


def elastic_net_penalty_bwd(w, d, *, l1=0.0, l2=0.0):
    """dw = d (l1 sign(w) + 2 l2 w)."""
    l1, l2 = jnp.asarray(l1, w.dtype), jnp.asarray(l2, w.dtype)
    return (d * (l1 * jnp.sign(w) + 2 * l2 * w),)


elastic_net_penalty.defvjp(elastic_net_penalty_fwd, elastic_net_penalty_bwd)


def _absolute(w, strength):
    x = w.astype(accumulator_dtype(w.dtype))
    return jnp.asarray(strength, x.dtype) * jnp.abs(jnp.where(x == 0, 0, x)).sum()


def _squares(w, strength):
    x = w.astype(accumulator_dtype(w.dtype))
    return jnp.asarray(strength, x.dtype) * (x * x).sum()


def _check_threshold(w: Any, *, threshold: Scalar) -> None:
    check_range("threshold", threshold, 0, why="weights are moved towards 0")


@op(_check_threshold)
def soft_threshold(w: Float[Array, "..."], *, threshold: Scalar) -> Float[Array, "..."]:
    """Move every element towards 0, y = sign(w) max(|w| - threshold, 0): what comes near is exactly 0.

    It is the proximal step of `l1_penalty`, the v that makes (v - w)^2 / 2 + threshold |v| least. Descent along the
    slope of |w| steps over 0 and back, and never stays there.

    Args:
        w: Any shape.
        threshold: At least 0: for a penalty, its strength times the learning rate.

    Raises:
        ValueError: The threshold is concrete and negative.

    >>> soft_threshold(jnp.array([0.05, -0.05, 0.5]), threshold=0.1)
    Array([0. , 0. , 0.4], dtype=float32)

    Source: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage" (1994).
    """
    threshold = jnp.asarray(threshold, w.dtype)
    # Not NaN where the two are compared, and NaN where w is.
    return jnp.where(jnp.abs(w) <= threshold, 0, w - jnp.sign(w) * threshold)


def soft_threshold_fwd(w, *, threshold):
    """Remember which elements do not become 0."""
    return soft_threshold.plain(w, threshold=threshold), ~(jnp.abs(w) <= jnp.asarray(threshold, w.dtype))


def soft_threshold_bwd(kept, dy, *, threshold):
    """dy/dw is 1 where |w| > threshold, and 0 elsewhere."""
    del threshold
    return (jnp.where(kept, dy, 0),)


soft_threshold.defvjp(soft_threshold_fwd, soft_threshold_bwd)
