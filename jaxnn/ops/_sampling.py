"""Random draws that have a derivative: of a normal distribution, whose mean and variance are computed.

Dimensions: `shape` any shape.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Key


def _check_gaussian(means: AnyArray, log_variances: AnyArray, key: Any) -> None:
    del key
    if means.shape != log_variances.shape:
        raise ShapeError(
            f"log_variances of shape {tuple(means.shape)}",
            why="there is one for each mean",
            got=tuple(log_variances.shape),
        )


@op(_check_gaussian)
def gaussian_sample(
    means: Float[Array, "*shape"], log_variances: Float[Array, "*shape"], key: Key
) -> Float[Array, "*shape"]:
    """A draw of N(m, exp(s)) as a function of m and s, z = m + exp(s / 2) e, with e from N(0, 1).

    All that is random is in e, which depends on neither, so that z has a derivative with respect to both: the
    reparameterisation by which a network with a draw in its middle is trained.

    Args:
        means: m, any shape.
        log_variances: s, the logarithms of the variances, the same shape.
        key: Of the draw.

    Raises:
        ShapeError: The shapes differ.

    >>> gaussian_sample(jnp.array([1.0, 2.0]), jnp.array([-jnp.inf, -jnp.inf]), jax.random.key(0))
    Array([1., 2.], dtype=float32)

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014); Rezende, Mohamed and Wierstra, "Stochastic
    backpropagation" (2014).
    """
    return means + jnp.exp(log_variances / 2) * jax.random.normal(key, means.shape, means.dtype)


def gaussian_sample_fwd(means, log_variances, key):
    """Remember z - m = exp(s / 2) e."""
    moved = jnp.exp(log_variances / 2) * jax.random.normal(key, means.shape, means.dtype)
    return means + moved, moved


def gaussian_sample_bwd(moved, dz):
    """dz/dm = 1, and dz/ds = exp(s / 2) e / 2 = (z - m) / 2."""
    return dz, dz * moved / 2, None


gaussian_sample.defvjp(gaussian_sample_fwd, gaussian_sample_bwd)
