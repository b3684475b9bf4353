"""Negative log-likelihoods: what a predicted distribution says of the number that was seen.

Terms that hold no prediction are left out unless `full` asks for them: they move no gradient, but a likelihood without
them cannot be compared between targets.

Dimensions: `shape` any shape, of which the first axis is that of examples.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Num

from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._shapes import check_positive, check_range, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


def _check_counts(prediction: AnyArray, targets: AnyArray, *, full: bool = False) -> None:
    check_same_shape(prediction, targets)
    check_range("targets", targets, 0, why="they are counts")


def _check_poisson(rates: AnyArray, targets: AnyArray, *, full: bool = False) -> None:
    _check_counts(rates, targets)
    check_range("rates", rates, 0, why="they are means of counts; logarithms have poisson_nll_from_log_rate")


@op(_check_poisson)
def poisson_nll(
    rates: Float[Array, "*shape"], targets: Num[Array, "*shape"], *, full: bool = False
) -> Float[Array, "*shape"]:
    """Poisson loss from a rate, l = r - y log r, without the term log y!; smallest at r = y.

    Args:
        rates: r, above 0, any shape; at 0 the loss is infinite unless y is 0. Keras adds 1e-7 to r in the
            logarithm, PyTorch 1e-8.
        targets: y, counts, the same shape; integers have no derivative.
        full: Whether log y! is added, for y > 1 by Stirling's formula y log y - y + log(2 pi y) / 2, as in PyTorch.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete rate or count is negative.

    >>> poisson_nll(jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0]))
    Array([1., 3.], dtype=float32)

    Source: Poisson (1837); as a loss, Nelder and Wedderburn, "Generalized linear models" (1972).
    """
    r, y = together(rates, targets)
    return r - y * _log_rate(r, y) + _stirling(y, full)


def poisson_nll_fwd(rates, targets, *, full=False):
    """Remember r and y."""
    return poisson_nll.plain(rates, targets, full=full), (rates, targets)


def poisson_nll_bwd(residuals, dl, *, full=False):
    """dl/dr = 1 - y / r, and dl/dy = -log r, to which log y! adds log y + 1 / (2 y)."""
    r, y = together(*residuals)
    dr, dy = dl * (1 - y / jnp.where((r == 0) & (y == 0), 1, r)), dl * (_slope_of_stirling(y, full) - _log_rate(r, y))
    return cotangents((dr, dy), residuals)


poisson_nll.defvjp(poisson_nll_fwd, poisson_nll_bwd)


@op(_check_counts)
def poisson_nll_from_log_rate(
    log_rates: Float[Array, "*shape"], targets: Num[Array, "*shape"], *, full: bool = False
) -> Float[Array, "*shape"]:
    """Poisson loss from the logarithm of a rate, l = exp(z) - y z, without the term log y!; smallest at z = log y.

    A model's output may be any number, so this is what to train with. It is PyTorch's `poisson_nll_loss`, whose input
    is a logarithm by default. The loss is infinite where exp(z) is.

    Args:
        log_rates: z, any shape, any real numbers.
        targets: y, counts, the same shape; integers have no derivative.
        full: Whether log y! is added, for y > 1 by Stirling's formula y log y - y + log(2 pi y) / 2, as in PyTorch.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete count is negative.

    >>> poisson_nll_from_log_rate(jnp.array([0.0, -1000.0]), jnp.array([2.0, 0.0]))
    Array([1., 0.], dtype=float32)

    Source: Nelder and Wedderburn, "Generalized linear models" (1972).
    """
    z, y = together(log_rates, targets)
    return jnp.exp(z) - y * _bounded(z, y) + _stirling(y, full)


def poisson_nll_from_log_rate_fwd(log_rates, targets, *, full=False):
    """Remember z and y."""
    return poisson_nll_from_log_rate.plain(log_rates, targets, full=full), (log_rates, targets)


def poisson_nll_from_log_rate_bwd(residuals, dl, *, full=False):
    """dl/dz = exp(z) - y, and dl/dy = -z, to which log y! adds log y + 1 / (2 y)."""
    z, y = together(*residuals)
    return cotangents((dl * (jnp.exp(z) - y), dl * (_slope_of_stirling(y, full) - _bounded(z, y))), residuals)


poisson_nll_from_log_rate.defvjp(poisson_nll_from_log_rate_fwd, poisson_nll_from_log_rate_bwd)


def _check_gamma(means: AnyArray, targets: AnyArray) -> None:
    check_same_shape(means, targets)
    check_positive("means", means, why="they are means of positive numbers; logarithms have gamma_nll_from_log_mean")
    check_range("targets", targets, 0, why="a gamma distribution has no negative numbers")


@op(_check_gamma)
def gamma_nll(means: Float[Array, "*shape"], targets: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Gamma loss from a mean, l = log m + y / m: times its shape, and up to what holds no m; smallest at m = y.

    For positive numbers whose spread grows with their mean.

    Args:
        means: m, above 0, any shape.
        targets: y, positive numbers, the same shape; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete mean is not positive, or a target is negative.

    >>> gamma_nll(jnp.array([1.0, 1.0]), jnp.array([2.0, 3.0]))
    Array([2., 3.], dtype=float32)

    Source: Nelder and Wedderburn, "Generalized linear models" (1972).
    """
    m, y = together(means, targets)
    # Where y is 0 no m changes y / m, but JAX's derivative has an m^2 in it, which may be 0 though m is not.
    return jnp.log(m) + y / jnp.where(y == 0, lax.stop_gradient(m), m)


def gamma_nll_fwd(means, targets):
    """Remember m and y."""
    return gamma_nll.plain(means, targets), (means, targets)


def gamma_nll_bwd(residuals, dl):
    """dl/dm = (1 - y / m) / m, and dl/dy = 1 / m."""
    m, y = together(*residuals)
    return cotangents((dl * (1 - y / m) / m, dl / m), residuals)


gamma_nll.defvjp(gamma_nll_fwd, gamma_nll_bwd)


def _check_log_gamma(log_means: AnyArray, targets: AnyArray) -> None:
    check_same_shape(log_means, targets)
    check_range("targets", targets, 0, why="a gamma distribution has no negative numbers")


@op(_check_log_gamma)
def gamma_nll_from_log_mean(log_means: Float[Array, "*shape"], targets: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Gamma loss from the logarithm of a mean, l = z + y exp(-z), as `gamma_nll`; smallest at z = log y.

    A model's output may be any number, so this is what to train with. The loss is infinite where exp(-z) is.

    Args:
        log_means: z, any shape, any real numbers.
        targets: y, positive numbers, the same shape; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is negative.

    >>> gamma_nll_from_log_mean(jnp.zeros(2), jnp.array([1.0, 2.0]))
    Array([1., 2.], dtype=float32)

    Source: Nelder and Wedderburn, "Generalized linear models" (1972).
    """
    z, y = together(log_means, targets)
    return z + times_exp(y, -z)


def gamma_nll_from_log_mean_fwd(log_means, targets):
    """Remember z and y."""
    return gamma_nll_from_log_mean.plain(log_means, targets), (log_means, targets)


def gamma_nll_from_log_mean_bwd(residuals, dl):
    """dl/dz = 1 - y exp(-z), and dl/dy = exp(-z)."""
    z, y = together(*residuals)
    return cotangents((dl * (1 - times_exp(y, -z)), dl * _exp_beside(y, -z)), residuals)


gamma_nll_from_log_mean.defvjp(gamma_nll_from_log_mean_fwd, gamma_nll_from_log_mean_bwd)


def times_exp(a: Array, z: Array) -> Array:
    """Return a exp(z), and 0 where a is, even where the exponential overflows.

    >>> times_exp(jnp.array([0.0, 2.0]), jnp.array([1e4, 0.0]))
    Array([0., 2.], dtype=float32)
    """
    return a * _exp_beside(a, z)


def _exp_beside(a, z):
    """exp(z), and the largest number where it overflows and a is 0."""
    lost = (a == 0) & jnp.isinf(jnp.exp(z))
    return jnp.where(lost, jnp.finfo(z.dtype).max, jnp.exp(jnp.where(lost, 0, z)))


def _log_rate(r, y):
    """log r, and 0 where that times y is to be 0, or is nothing beside r."""
    return jnp.log(jnp.where(((r == 0) & (y == 0)) | (r == jnp.inf), 1, r))


def _bounded(z, y):
    """z, and 0 where that times y is to be 0, or is nothing beside exp(z)."""
    return jnp.where(((z == -jnp.inf) & (y == 0)) | (z == jnp.inf), 0, z)


def _stirling(y, full):
    if not full:
        return jnp.zeros_like(y)
    y = jnp.where(y > 1, y, 1)
    return jnp.where(y > 1, y * jnp.log(y) - y + jnp.log(2 * math.pi * y) / 2, 0)


def _slope_of_stirling(y, full):
    return jnp.where(y > 1, jnp.log(jnp.where(y > 1, y, 1)) + 1 / (2 * y), 0) if full else jnp.zeros_like(y)
