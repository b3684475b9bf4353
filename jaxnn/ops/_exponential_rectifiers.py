"""Rectifiers whose negative side is an exponential that flattens out: elu, celu, selu.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.ops._op import Op
from jaxnn.ops._rectifiers import negative
from jaxnn.typing import Array, Scalar

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@Op
def elu(x: Float[Array, "..."], *, alpha: Scalar = 1.0) -> Float[Array, "..."]:
    """Exponential linear unit, y = x if x > 0 else alpha (exp(x) - 1).

    Args:
        x: Any shape.
        alpha: How far down the negative side goes. May be swept.

    Returns:
        The shape of x. The derivative at 0 is alpha.

    >>> elu(jnp.array([-1.0, 0.0, 2.0]))
    Array([-0.63212055,  0.        ,  2.        ], dtype=float32)

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear
    units" (2016).
    """
    return jnp.where(x > 0, x, jnp.asarray(alpha, x.dtype) * jnp.expm1(negative(x)))


def elu_fwd(x, *, alpha=1.0):
    """Remember x. From y the derivative is y + alpha, which cancels where y is nearly -alpha."""
    return elu.plain(x, alpha=alpha), x


def elu_bwd(x, dy, *, alpha=1.0):
    """dy/dx is 1 where x > 0 and alpha exp(x) elsewhere."""
    return (jnp.where(x > 0, dy, dy * jnp.asarray(alpha, x.dtype) * jnp.exp(negative(x))),)


elu.defvjp(elu_fwd, elu_bwd)


@Op
def celu(x: Float[Array, "..."], *, alpha: Scalar = 1.0) -> Float[Array, "..."]:
    """Elu whose derivative is continuous for every alpha, y = x if x > 0 else alpha (exp(x / alpha) - 1).

    >>> celu(jnp.array([-1.0, 0.0, 2.0]), alpha=0.5)
    Array([-0.43233237,  0.        ,  2.        ], dtype=float32)

    Source: Barron, "Continuously differentiable exponential linear units" (2017).
    """
    alpha = jnp.asarray(alpha, x.dtype)
    return jnp.where(x > 0, x, alpha * jnp.expm1(negative(x) / alpha))


def celu_fwd(x, *, alpha=1.0):
    """Remember x, as `elu` does."""
    return celu.plain(x, alpha=alpha), x


def celu_bwd(x, dy, *, alpha=1.0):
    """dy/dx is 1 where x > 0 and exp(x / alpha) elsewhere."""
    return (dy * jnp.exp(negative(x) / jnp.asarray(alpha, x.dtype)),)


celu.defvjp(celu_fwd, celu_bwd)


@Op
def selu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Self-normalising unit, y = scale (x if x > 0 else alpha (exp(x) - 1)), scale = 1.0507, alpha = 1.6733.

    The two numbers are those for which a standard normal x gives a y of mean 0 and variance 1, so that a deep
    stack of layers under `lecun_normal` keeps both. The derivative at 0 is scale alpha.

    >>> selu(jnp.array([-1.0, 0.0, 2.0]))
    Array([-1.1113307,  0.       ,  2.101402 ], dtype=float32)

    Source: Klambauer et al., "Self-normalizing neural networks" (2017).
    """
    return SELU_SCALE * elu.plain(x, alpha=SELU_ALPHA)


def selu_fwd(x):
    """Remember x, as `elu` does."""
    return selu.plain(x), x


def selu_bwd(x, dy):
    """dy/dx is scale times that of `elu`."""
    return elu_bwd(x, SELU_SCALE * dy, alpha=SELU_ALPHA)


selu.defvjp(selu_fwd, selu_bwd)
