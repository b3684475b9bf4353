"""Weights divided by their largest singular value, so that a layer stretches no input by more than 1.

Dimensions: `out` the last axis of w; `in` all others in one, which an output is a sum over.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_spectral_norm(w: AnyArray, u: AnyArray, v: AnyArray) -> None:
    if w.ndim < 2:
        raise ShapeError("w of shape (..., out)", why="it is divided by the norm of a matrix", got=tuple(w.shape))
    for name, vector, size in zip("uv", (u, v), sizes_of_vectors(w), strict=True):
        if vector.shape != (size,):
            raise ShapeError(f"{name} of shape ({size},)", why=f"w is {tuple(w.shape)}", got=tuple(vector.shape))


@op(_check_spectral_norm)
def spectral_norm(
    w: Float[Array, "*fan_in out"], u: Float[Array, " out"], v: Float[Array, " in"]
) -> Float[Array, "*fan_in out"]:
    """Divide weights by an estimate of their largest singular value, w^ = w / sigma with sigma = v^T w u.

    w is taken as a matrix of shape `(in, out)`. u and v are unit vectors that `power_iteration` has made: sigma is the
    largest singular value once they are its vectors, and less before. In training u and v are held fixed; they have
    derivatives all the same. Weights of zero stay zero. Sums are in float32 at least.

    Args:
        w: Weights, `(..., out)`.
        u: Unit vector, `(out,)`.
        v: Unit vector, `(in,)`.

    Returns:
        The shape of w.

    Raises:
        ShapeError: u or v does not fit.

    >>> w = jnp.array([[3.0, 0.0], [0.0, 1.0]])
    >>> spectral_norm(w, jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]))
    Array([[1.        , 0.        ],
           [0.        , 0.33333334]], dtype=float32)

    Source: Miyato et al., "Spectral normalization for generative adversarial networks" (2018).
    """
    return spectral_norm_fwd(w, u, v)[0]


def spectral_norm_fwd(w, u, v):
    """Remember w^, u, v and sigma: with them w itself is not needed."""
    matrix, left, right = _matrix(w), v.astype(_wide(w)), u.astype(_wide(w))
    sigma = left @ matrix @ right
    sigma = jnp.where(sigma == 0, 1, sigma)
    y = (matrix / sigma).reshape(w.shape).astype(w.dtype)
    return y, (y, u, v, sigma)


def spectral_norm_bwd(residuals, dy):
    """With s = sum_ij dy_ij w^_ij, dsigma = -s / sigma; and sigma = sum_ij v_i w_ij u_j, so

    dw = (dy - s v u^T) / sigma, du = -s w^^T v and dv = -s w^ u.
    """
    y, u, v, sigma = residuals
    d, normal, left, right = _matrix(dy), _matrix(y), v.astype(_wide(dy)), u.astype(_wide(dy))
    s = (d * normal).sum()
    dw = (d - s * jnp.outer(left, right)) / sigma
    du, dv = -s * (left @ normal), -s * (normal @ right)
    return dw.reshape(dy.shape).astype(dy.dtype), du.astype(u.dtype), dv.astype(v.dtype)


spectral_norm.defvjp(spectral_norm_fwd, spectral_norm_bwd)


def sizes_of_vectors(w: AnyArray) -> tuple[int, int]:
    """Return how long u and v are."""
    return w.shape[-1], math.prod(w.shape[:-1])


def power_iteration(
    w: Float[Array, "*fan_in out"], u: Float[Array, " out"], v: Float[Array, " in"]
) -> tuple[Array, Array]:
    """Return unit vectors that are nearer to those of the largest singular value: u of w^T v, and v of w u.

    In the order of PyTorch's parametrisation. One that would be 0 stays what it was, for weights may begin at zero.
    They are constants: nothing is differentiated through them.
    """
    matrix = lax.stop_gradient(_matrix(w))
    u = _unit(v @ matrix, u)
    return u, _unit(matrix @ u, v)


def _unit(a, otherwise):
    norm = jnp.linalg.norm(a)
    return jnp.where(norm > 0, a / jnp.where(norm > 0, norm, 1), otherwise)


def _matrix(w):
    return w.reshape(-1, w.shape[-1]).astype(_wide(w))


def _wide(w):
    return accumulator_dtype(w.dtype)
