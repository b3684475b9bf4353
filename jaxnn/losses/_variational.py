"""Losses of variational autoencoders: how far codes are from a standard normal, and the bound that is trained.

Dimensions: `batch` examples, `...` the axes of an example, `latent` numbers in a code.
"""

from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.errors import describe
from jaxnn.losses._binary import binary_cross_entropy, check_binary
from jaxnn.losses._log_probabilities import number
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype

Reconstruction: TypeAlias = tuple[
    Float[Array, "batch ..."], tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]
]
"""Logits of the picture, and mean and log-variance of its code."""


def _check_code(means: AnyArray, log_variances: AnyArray) -> None:
    check_same_shape(means, log_variances)


@op(_check_code)
def gaussian_kl(
    means: Float[Array, "*batch latent"], log_variances: Float[Array, "*batch latent"]
) -> Float[Array, "*batch"]:
    """Divergence of N(m, exp(s)) from the standard normal, l = 1/2 sum_j (m_j^2 + exp(s_j) - 1 - s_j).

    It is KL(N(m, exp(s)) || N(0, 1)), in nats, summed over the independent numbers of a code: 0 where m and s are.

    Args:
        means: m, `(..., latent)`.
        log_variances: s, the logarithms of the variances, the same shape.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> gaussian_kl(jnp.array([[0.0, 0.0], [1.0, 2.0]]), jnp.zeros((2, 2)))
    Array([0. , 2.5], dtype=float32)

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix B.
    """
    m, s = _wide(means), _wide(log_variances)
    return (m * m + jnp.expm1(s) - s).sum(-1).astype(means.dtype) / 2


def gaussian_kl_fwd(means, log_variances):
    """Remember m and s."""
    return gaussian_kl.plain(means, log_variances), (means, log_variances)


def gaussian_kl_bwd(residuals, dl):
    """dl/dm = m, and dl/ds = (exp(s) - 1) / 2."""
    m, s = residuals
    dl = dl[..., None]
    return dl * m, dl * jnp.expm1(s) / 2


gaussian_kl.defvjp(gaussian_kl_fwd, gaussian_kl_bwd)


def _check_elbo(prediction: Any, targets: AnyArray, **settings: Any) -> None:
    if not (isinstance(prediction, tuple) and len(prediction) == 2 and isinstance(prediction[1], tuple)):
        raise TypeError("expected a prediction (logits, (means, log_variances)), because the bound is of a picture and "
                        f"of its code; got {describe(prediction)}\n  hint: nn.models.vae puts out such")  # fmt: skip
    logits, (means, log_variances) = prediction
    check_binary(logits, targets)
    check_same_shape(means, log_variances)


@op(_check_elbo)
def negative_elbo(
    prediction: Reconstruction, targets: Num[Array, "batch ..."], *, beta: Scalar = 1.0
) -> Float[Array, " batch"]:
    """What a variational autoencoder minimises, l = sum_j H(t_j, s(z_j)) + beta KL(N(m, exp(s)) || N(0, 1)), in nats.

    The first term, `binary_cross_entropy`, is the reconstruction's, of each pixel from one drawn code; the second,
    `gaussian_kl`, is what the code costs. At beta = 1 the mean of l over draws is no less than -log p(t).

    Args:
        prediction: `(z, (m, s))`: logits of each pixel, `(batch, ...)`, and the code's means and log-variances,
            `(batch, latent)`, as `nn.models.vae` puts them out.
        targets: t, 0 or 1 or a brightness between, `(batch, ...)`; integers have no derivative.
        beta: What the code's nats count; may be swept.

    Returns:
        `(batch,)`: a sum over pixels, not a mean, or the code would weigh too much.

    Raises:
        TypeError: The prediction is no such tuple.
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> code = jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2))
    >>> negative_elbo((jnp.zeros((1, 3)), code), jnp.ones((1, 3)))  # 3 log 2 + 2.5
    Array([4.5794415], dtype=float32)

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014); beta, Higgins et al., "beta-VAE" (2017).
    """
    logits, code = prediction
    pixels = _wide(binary_cross_entropy(logits, targets))
    reconstruction = pixels.sum(tuple(range(1, pixels.ndim))).astype(logits.dtype)
    return reconstruction + number(beta, logits) * gaussian_kl(*code)


def negative_elbo_fwd(prediction, targets, *, beta=1.0):
    """Remember what both terms do."""
    logits, code = prediction
    residuals = binary_cross_entropy.fwd(logits, targets)[1], gaussian_kl.fwd(*code)[1]
    return negative_elbo.plain(prediction, targets, beta=beta), residuals


def negative_elbo_bwd(residuals, dl, *, beta=1.0):
    """Both terms of an example get its dl, each pixel's cross-entropy as it is and the divergence times beta."""
    pixels, code = residuals
    z, _ = pixels
    d_pixels = jnp.broadcast_to(dl.reshape(dl.shape + (1,) * (z.ndim - 1)), z.shape)
    dz, dt = binary_cross_entropy.bwd(pixels, d_pixels)
    return (dz, gaussian_kl.bwd(code, number(beta, dl) * dl)), dt


negative_elbo.defvjp(negative_elbo_fwd, negative_elbo_bwd)


def _wide(a):
    return a.astype(accumulator_dtype(a.dtype))
