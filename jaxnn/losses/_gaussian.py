"""Gaussian negative log-likelihoods: a prediction of a number and of how uncertain it is.

Dimensions: `shape` any shape, of which the first axis is that of examples.
"""

import math

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses._dtypes import common_dtype, cotangents, together
from jaxnn.losses._likelihood import times_exp
from jaxnn.losses._log_probabilities import number
from jaxnn.losses._shapes import check_positive, check_range, check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype

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
    targets: Num[Array, "*shape"],
    variances: Float[Array, "*shape"],
    *,
    floor: Scalar = 1e-6,
    full: bool = False,
) -> Float[Array, "*shape"]:
    """Gaussian loss of a mean and a variance, l = (log v + u^2) / 2, u = (m - y) / sqrt(v), v = max(variance, floor).

    It is computed in float32 at least, because float16 cannot hold the derivatives at the floor. The root keeps them
    finite on both roads: JAX's derivative of (m - y)^2 / v has a v^2 in it, which may be 0 where v is not.

    Args:
        means: m, any shape.
        targets: y, the same shape; integers have no derivative.
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
    dtype, (m, y, v) = common_dtype(means, targets, variances), _wide(means, targets, variances)
    v = _floored(v, floor)
    u = (m - y) / jnp.sqrt(v)
    return ((jnp.log(v) + u * u) / 2 + (_LOG_2_PI / 2 if full else 0)).astype(dtype)


def gaussian_nll_fwd(means, targets, variances, *, floor=1e-6, full=False):
    """Remember all three."""
    return gaussian_nll.plain(means, targets, variances, floor=floor, full=full), (means, targets, variances)


def gaussian_nll_bwd(residuals, dl, *, floor=1e-6, full=False):
    """dl/dm = u / sqrt(v), dl/dy = -u / sqrt(v), and dl/dv = (1 - u^2) / (2 v)."""
    m, y, variances = _wide(*residuals)
    v = _floored(variances, floor)
    u, dl = (m - y) / jnp.sqrt(v), dl.astype(v.dtype)
    dm, dv = dl * u / jnp.sqrt(v), jnp.where(variances <= number(floor, v), 0, dl * (1 - u * u) / (2 * v))
    return cotangents((dm, -dm, dv), residuals)


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
    predictions: Float[Array, "*shape 2"], targets: Num[Array, "*shape"], *, full: bool = False
) -> Float[Array, "*shape"]:
    """Gaussian loss of a mean and a log-variance, l = (s + u^2) / 2, u = (m - y) exp(-s / 2), for two outputs.

    Both may be any numbers, and prediction and target are two arrays, so this is what to train with.

    Args:
        predictions: m and s, `(..., 2)`.
        targets: y, `(...)`; integers have no derivative.
        full: Whether log(2 pi) / 2 is added.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The predictions are not two for each target.

    >>> gaussian_nll_from_log_variance(jnp.array([[1.0, 0.0]]), jnp.array([3.0]))
    Array([2.], dtype=float32)

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994).
    """
    e, s = _error_and_spread(predictions, targets)
    u = times_exp(e, -s / 2)
    return (s + u * u) / 2 + (_LOG_2_PI / 2 if full else 0)


def gaussian_nll_from_log_variance_fwd(predictions, targets, *, full=False):
    """Remember the error e = m - y and s, and the dtypes."""
    l = gaussian_nll_from_log_variance.plain(predictions, targets, full=full)
    return l, (*_error_and_spread(predictions, targets), shape_only(predictions), shape_only(targets))


def gaussian_nll_from_log_variance_bwd(residuals, dl, *, full=False):
    """dl/dm = u exp(-s / 2), dl/dy = -dl/dm, and dl/ds = (1 - u^2) / 2."""
    e, s, *arrays = residuals
    u = times_exp(e, -s / 2)
    dm, ds = dl * times_exp(u, -s / 2), dl * (1 - u * u) / 2
    return cotangents((jnp.stack([dm, ds], -1), -dm), arrays)


gaussian_nll_from_log_variance.defvjp(gaussian_nll_from_log_variance_fwd, gaussian_nll_from_log_variance_bwd)


def _error_and_spread(predictions, targets):
    predictions, targets = together(predictions, targets)
    return predictions[..., 0] - targets, predictions[..., 1]


def _wide(*arrays):
    """The arrays in one dtype, float32 at least."""
    return [a.astype(accumulator_dtype(a.dtype)) for a in together(*arrays)]


def _floored(variances, floor):
    floor = number(floor, variances)
    return jnp.where(variances <= floor, floor, variances)
