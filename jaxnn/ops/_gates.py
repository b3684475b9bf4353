"""Activations that are x times a gate of x itself: silu, mish, gelu.

A shut gate of an infinity gives 0, the limit, and an open one the infinity; JAX's functions are NaN there, as minus
infinity times 0 is.

Dimensions: `...` any shape.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import Op, op
from jaxnn.ops._rectifiers import check_last_axes, sum_to
from jaxnn.ops._sigmoids import finite
from jaxnn.typing import Array, Scalar


def _through(x, gate):
    """x times the gate of x, and infinite where x is and the gate is not shut: there the gate has levelled off."""
    return jnp.where(jnp.isinf(x) & (gate > 0), x * lax.stop_gradient(gate), finite(x) * gate)


@Op
def silu(x: Float[Array, "..."], *, beta: Scalar = 1.0) -> Float[Array, "..."]:
    """Sigmoid linear unit, y = x s(beta x) with s the sigmoid; also called swish, and `swish` is another name of it.

    It falls to -0.2784645 / beta at x = -1.2784645 / beta before it rises.

    Args:
        x: Any shape.
        beta: Sharpness of the gate, 1 in JAX, PyTorch and Keras. May be swept; to learn it, take the layer
            `Swish`.

    Returns:
        The shape of x.

    >>> silu(jnp.array([-1.0, 0.0, 1.0]))
    Array([-0.26894143,  0.        ,  0.7310586 ], dtype=float32)

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016); with beta, Ramachandran, Zoph and Le,
    "Searching for activation functions" (2017).
    """
    return _through(x, lax.logistic(jnp.asarray(beta, x.dtype) * finite(x)))


def silu_fwd(x, *, beta=1.0):
    """Remember x, for two x can have the same y."""
    return silu.plain(x, beta=beta), x


def silu_bwd(x, dy, *, beta=1.0):
    """With s' = beta s (1 - s), y' = s + x beta s (1 - s)."""
    x, beta = finite(x), jnp.asarray(beta, x.dtype)
    s = lax.logistic(beta * x)
    return (dy * (s + x * (s * (1 - s)) * beta),)


silu.defvjp(silu_fwd, silu_bwd)

swish = silu


@op(lambda x, beta: check_last_axes(x, beta, "beta"))
def parametric_swish(x: Float[Array, "..."], beta: Float[Array, "..."]) -> Float[Array, "..."]:
    """Swish with a learned gate, y = x s(beta x) with s the sigmoid.

    Args:
        x: Any shape.
        beta: `()` if it is shared, `(features,)` for one a feature, or any more of the last axes of x.

    Returns:
        The shape of x.

    Raises:
        ShapeError: beta has not the last axes of x.

    >>> parametric_swish(jnp.array([-1.0, 1.0]), jnp.array(0.0))
    Array([-0.5,  0.5], dtype=float32)

    Source: Ramachandran, Zoph and Le, "Searching for activation functions" (2017).
    """
    return _through(x, lax.logistic(jnp.broadcast_to(beta, x.shape) * finite(x)))


def parametric_swish_fwd(x, beta):
    """Remember x and beta."""
    return parametric_swish.plain(x, beta), (x, beta)


def parametric_swish_bwd(residuals, dy):
    """dy/dx as in `silu`; dy/dbeta = x^2 s (1 - s), summed over all that share a beta."""
    x, beta = residuals
    x, wide = finite(x), jnp.broadcast_to(beta, x.shape)
    s = lax.logistic(wide * x)
    rise = x * (s * (1 - s))
    return dy * (s + rise * wide), sum_to(dy * (x * rise), beta)


parametric_swish.defvjp(parametric_swish_fwd, parametric_swish_bwd)


@Op
def hard_silu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Silu with a gate of straight pieces, y = x min(max(x + 3, 0), 6) / 6; `hard_swish` is another name of it.

    The derivative at -3 is 0 and at 3 is 1, those of the straight pieces.

    >>> hard_silu(jnp.array([-4.0, -1.5, 0.0, 4.0]))
    Array([-0.   , -0.375,  0.   ,  4.   ], dtype=float32)

    Source: Howard et al., "Searching for MobileNetV3" (2019).
    """
    return _through(x, jnp.where(jnp.abs(x) < 3, x + 3, lax.stop_gradient(jnp.clip(x + 3, 0, 6))) / 6)


def hard_silu_fwd(x):
    """Remember x."""
    return hard_silu.plain(x), x


def hard_silu_bwd(x, dy):
    """y' is (2 x + 3) / 6 where -3 < x < 3, and 0 or 1 elsewhere."""
    return (dy * jnp.where(jnp.abs(x) < 3, (2 * x + 3) / 6, jnp.clip(x, 0, 1)),)


hard_silu.defvjp(hard_silu_fwd, hard_silu_bwd)

hard_swish = hard_silu


@Op
def mish(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Self-gated unit, y = x tanh(log(1 + exp(x))).

    >>> [round(float(y), 4) for y in mish(jnp.array([-1.0, 0.0, 1.0]))]
    [-0.3034, 0.0, 0.8651]

    Source: Misra, "Mish: a self regularized non-monotonic activation function" (2020).
    """
    return _through(x, jnp.tanh(jnp.logaddexp(finite(x), 0)))


def mish_fwd(x):
    """Remember x, for two x can have the same y."""
    return mish.plain(x), x


def mish_bwd(x, dy):
    """With g = tanh(log(1 + exp(x))), whose derivative is (1 - g^2) s(x), y' = g + x (1 - g^2) s(x)."""
    x = finite(x)
    g = jnp.tanh(jnp.logaddexp(x, 0))
    return (dy * (g + x * ((1 - g * g) * lax.logistic(x))),)


mish.defvjp(mish_fwd, mish_bwd)


@Op
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Gaussian error linear unit, y = x P(z <= x) for a standard normal z, by the error function.

    P(z <= x) = (1 + erf(x / sqrt 2)) / 2. This is the function itself, as PyTorch's and Keras's `gelu` are by
    default; that of `jax.nn` and flax is by default the approximation, which is `gelu_tanh` here. It falls to
    -0.1699712 at x = -0.7517915 before it rises.

    >>> [round(float(y), 4) for y in gelu(jnp.array([-1.0, 0.0, 1.0]))]
    [-0.1587, 0.0, 0.8413]

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return _through(x, _normal_probability(finite(x)))


def gelu_fwd(x):
    """Remember x, for two x can have the same y."""
    return gelu.plain(x), x


def gelu_bwd(x, dy):
    """y' = P + x p, with the density p = exp(-x^2 / 2) / sqrt(2 pi) of the standard normal."""
    x = finite(x)
    p = jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return (dy * (_normal_probability(x) + x * p),)


gelu.defvjp(gelu_fwd, gelu_bwd)


def _normal_probability(x):
    # By the complement, which keeps its digits where x is far below 0.
    return lax.erfc(-x / math.sqrt(2)) / 2


@Op
def gelu_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Gelu approximated, y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as in BERT and GPT-2.

    At most 0.0005 from `gelu`; what `jax.nn.gelu` computes by default.

    >>> [round(float(y), 4) for y in gelu_tanh(jnp.array([-1.0, 0.0, 1.0]))]
    [-0.1588, 0.0, 0.8412]

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return _through(x, (1 + _gelu_tanh(x)[0]) / 2)


def gelu_tanh_fwd(x):
    """Remember x, for two x can have the same y."""
    return gelu_tanh.plain(x), x


def gelu_tanh_bwd(x, dy):
    """With t = tanh(u), t' = (1 - t^2) u' and u' = sqrt(2 / pi) (1 + 0.134145 x^2), y' = (1 + t + x t') / 2."""
    t, near = _gelu_tanh(x)
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near * near)
    return (dy * (1 + t + near * ((1 - t * t) * du)) / 2,)


gelu_tanh.defvjp(gelu_tanh_fwd, gelu_tanh_bwd, install=True)


def _gelu_tanh(x):
    """Tanh(u), and x cut to where it moves: from 20 on tanh(u) is 1 in every precision, but x^3 overflows."""
    near = jnp.clip(x, -20, 20)
    return jnp.tanh(math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)), near
