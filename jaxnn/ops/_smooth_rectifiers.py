"""Rectifiers without a kink, never negative: softplus, squareplus, sparse_plus.

The derivative of each is a sigmoid, and a function of the output alone, which the next layer keeps anyhow.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import values
from jaxnn.ops._op import Op, op
from jaxnn.typing import AnyArray, Array, Scalar


@Op
def softplus(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Smooth rectifier, y = log(1 + exp(x)), without overflow for any x.

    >>> softplus(jnp.array([-1000.0, 0.0, 1000.0]))
    Array([0.000000e+00, 6.931472e-01, 1.000000e+03], dtype=float32)

    Source: Dugas et al., "Incorporating second-order functional knowledge for better option pricing" (2001).
    """
    return jnp.logaddexp(x, 0)


def softplus_fwd(x):
    """Remember y."""
    y = softplus.plain(x)
    return y, y


def softplus_bwd(y, dy):
    """dy/dx = exp(x) / (1 + exp(x)) = 1 - exp(-y), the sigmoid of x."""
    return (dy * -jnp.expm1(-y),)


softplus.defvjp(softplus_fwd, softplus_bwd)


def _check_squareplus(x: AnyArray, *, b: Scalar = 4.0) -> None:
    seen = values(b)
    if seen is not None and not seen.min() > 0:
        raise ValueError(f"expected b > 0, because at 0 it is relu, which has a kink; got b={b}")


@op(_check_squareplus)
def squareplus(x: Float[Array, "..."], *, b: Scalar = 4.0) -> Float[Array, "..."]:
    """Smooth rectifier without exponentials, y = (x + sqrt(x^2 + b)) / 2.

    For negative x it is computed as the equal (b / 2) / (sqrt(x^2 + b) - x), where nothing cancels.

    Args:
        x: Any shape.
        b: Width of the bend; the value at 0 is sqrt(b) / 2. May be swept.

    Returns:
        The shape of x.

    Raises:
        ValueError: A concrete b is not positive.

    >>> squareplus(jnp.array([-10000.0, 0.0, 10000.0]))
    Array([1.e-04, 1.e+00, 1.e+04], dtype=float32)

    Source: Barron, "Squareplus: a softplus-like algebraic rectifier" (2021).
    """
    b = jnp.asarray(b, x.dtype)
    size = jnp.where(x > 0, x, -x)
    # Where x^2 could overflow, b makes no difference; and infinities must not meet in the derivative.
    large = size > jnp.sqrt(b / jnp.finfo(x.dtype).eps)
    inside = jnp.where(large, 0, x)
    reach = size + jnp.where(large, size, jnp.sqrt(inside * inside + b))
    return jnp.where(x > 0, jnp.where(large, x, reach / 2), b / 2 / reach)


def squareplus_fwd(x, *, b=4.0):
    """Remember y."""
    y = squareplus.plain(x, b=b)
    return y, y


def squareplus_bwd(y, dy, *, b=4.0):
    """y (y - x) = b / 4, so dy/dx = y / (2 y - x) = 1 / (1 + b / (4 y^2))."""
    return (dy / (1 + jnp.asarray(b, y.dtype) / 4 / y / y),)


squareplus.defvjp(squareplus_fwd, squareplus_bwd, install=True)


@Op
def sparse_plus(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Smooth rectifier that reaches 0, y = 0 if x <= -1, x if x >= 1, (x + 1)^2 / 4 between.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 2.0]))
    Array([0.  , 0.25, 2.  ], dtype=float32)

    Source: as `jax.nn.sparse_plus`, the integral of `sparse_sigmoid`; with sparsemax, Martins and Astudillo,
    "From softmax to sparsemax" (2016).
    """
    between = jnp.where(jnp.abs(x) >= 1, 0, x)
    bend = (between + 1) ** 2 / 4
    return jnp.where(x >= 1, x, jnp.where(x <= -1, 0, bend))


def sparse_plus_fwd(x):
    """Remember y."""
    y = sparse_plus.plain(x)
    return y, y


def sparse_plus_bwd(y, dy):
    """dy/dx is 0, (x + 1) / 2 or 1, which is sqrt(y) where y < 1 and 1 elsewhere."""
    return (dy * jnp.sqrt(jnp.minimum(y, 1)),)


sparse_plus.defvjp(sparse_plus_fwd, sparse_plus_bwd)
