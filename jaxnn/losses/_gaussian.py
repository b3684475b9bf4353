"""Gaussian negative log-likelihoods: a prediction of a number and of how uncertain it is.

Dimensions: `shape` any shape, of which the first axis is that of examples.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.losses._shapes import check_positive, check_range, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar

_LOG_2_PI = math.log(2 * math.pi)


def _check_gaussian(
    means: AnyArray, targets: AnyArray, variances: AnyArray, *, floor: Scalar = 1e-6, full: bool = False
) -> None:
    check_same_shape(means, targets)
    check_same_shape(variances, targets)
    check_range("variances", variances, 0, why="they are means of squares")
    check_positive("floor", floor, why="it is the least variance")


@op(_check_gaussian)
def gaussian_nll(
    means: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    variances: Float[Array, "*shape"],
    *,
    floor: Scalar = 1e-6,
    full: bool = False,
) -> Float[Array, "*shape"]:
    """Gaussian loss of a mean and a variance, l = (log v + (m - y)^2 / v) / 2, v = max(variance, floor).

    Args:
        means: m, any shape.
        targets: y, the same shape.
        variances: 0 or more, the same shape. Below the floor the derivative is 0; PyTorch's is that of v there.
        floor: The least variance, without which the loss has no lower bound; may be swept.
        full: Whether log(2 pi) / 2 is added.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete variance is negative, or the floor is not positive.

    >>> gaussian_nll(jnp.array([1.0, 1.0]), jnp.array([3.0, 1.0]), jnp.array([4.0, 1.0])).round(4)
    Array([1.1931, 0.    ], dtype=float32)

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994).
    """
    v, e = _floored(variances, floor), means - targets
    return (jnp.log(v) + e * e / v) / 2 + (_LOG_2_PI / 2 if full else 0)


def gaussian_nll_fwd(means, targets, variances, *, floor=1e-6, full=False):
    """Remember the error e = m - y and the variance."""
    return gaussian_nll.plain(means, targets, variances, floor=floor, full=full), (means - targets, variances)


def gaussian_nll_bwd(residuals, dl, *, floor=1e-6, full=False):
    """dl/dm = e / v, dl/dy = -e / v, and dl/dv = (1 - e^2 / v) / (2 v)."""
    e, variances = residuals
    v = _floored(variances, floor)
    de, dv = dl * e / v, dl * (1 - e * e / v) / (2 * v)
    return de, -de, jnp.where(variances <= lax.convert_element_type(floor, v.dtype), 0, dv)


gaussian_nll.defvjp(gaussian_nll_fwd, gaussian_nll_bwd)


def _check_pairs(predictions: AnyArray, targets: AnyArray, *, full: bool = False) -> None:
    if predictions.shape != (*targets.shape, 2):
        raise ShapeError(
            f"predictions of shape {(*targets.shape, 2)}",
            why="the last axis holds a mean and the logarithm of a variance for each target",
            got=tuple(predictions.shape),
        )


@op(_check_pairs)
def gaussian_nll_from_log_variance(
    predictions: Float[Array, "*shape 2"], targets: Float[Array, "*shape"], *, full: bool = False
) -> Float[Array, "*shape"]:
    """Gaussian loss of a mean and a log-variance, l = (s + (m - y)^2 exp(-s)) / 2, for a model with two outputs.

    Both may be any numbers, and prediction and target are two arrays, so this is what to train with.

    Args:
        predictions: m and s, `(..., 2)`.
        targets: y, `(...)`.
        full: Whether log(2 pi) / 2 is added.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The predictions are not two for each target.

    >>> gaussian_nll_from_log_variance(jnp.array([[1.0, 0.0]]), jnp.array([3.0]))
    Array([2.], dtype=float32)

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994).
    """
    e, s = predictions[..., 0] - targets, predictions[..., 1]
    return (s + e * _scaled(e, s)) / 2 + (_LOG_2_PI / 2 if full else 0)


def gaussian_nll_from_log_variance_fwd(predictions, targets, *, full=False):
    """Remember the error e = m - y and s."""
    residuals = predictions[..., 0] - targets, predictions[..., 1]
    return gaussian_nll_from_log_variance.plain(predictions, targets, full=full), residuals


def gaussian_nll_from_log_variance_bwd(residuals, dl, *, full=False):
    """dl/dm = e exp(-s), dl/dy = -dl/dm, and dl/ds = (1 - e^2 exp(-s)) / 2."""
    e, s = residuals
    dm, ds = dl * _scaled(e, s), dl * (1 - e * _scaled(e, s)) / 2
    return jnp.stack([dm, ds], -1), -dm


gaussian_nll_from_log_variance.defvjp(gaussian_nll_from_log_variance_fwd, gaussian_nll_from_log_variance_bwd)


def _scaled(e, s):
    """e exp(-s), and 0 where e is, even where the other is infinite."""
    return jnp.where(e == 0, 0, e * jnp.exp(jnp.where(e == 0, 0, -s)))


def _floored(variances, floor):
    floor = lax.convert_element_type(floor, variances.dtype)
    return jnp.where(variances <= floor, floor, variances)
