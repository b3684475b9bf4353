"""Activations that level off on both sides: sigmoid and tanh, their straight and their rational cousins.

At a kink the derivative is that of the level piece, 0, as PyTorch's. At NaN it is JAX's, NaN for those without kinks.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import Op
from jaxnn.typing import Array


@Op
def sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Logistic function, y = 1 / (1 + exp(-x)), without overflow for any x.

    >>> sigmoid(jnp.array([0.0, 1.0, -1000.0]))
    Array([0.5      , 0.7310586, 0.       ], dtype=float32)

    Source: Verhulst (1845); as a unit of networks, Rumelhart, Hinton and Williams (1986).
    """
    return lax.logistic(x)


def sigmoid_fwd(x):
    """Remember y, for the derivative is a function of it."""
    y = lax.logistic(x)
    return y, y


def sigmoid_bwd(y, dy):
    """y' = exp(-x) / (1 + exp(-x))^2 = y (1 - y)."""
    return (dy * y * (1 - y),)


sigmoid.defvjp(sigmoid_fwd, sigmoid_bwd)


@Op
def log_sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Logarithm of the sigmoid, y = -log(1 + exp(-x)), finite for every finite x.

    >>> log_sigmoid(jnp.array([-1000.0, 0.0, 1000.0]))
    Array([-1.000000e+03, -6.931472e-01, -0.000000e+00], dtype=float32)

    Source: Cox, "The regression analysis of binary sequences" (1958).
    """
    return -jnp.logaddexp(-x, 0)


def log_sigmoid_fwd(x):
    """Remember y, for the derivative is a function of it."""
    y = log_sigmoid.plain(x)
    return y, y


def log_sigmoid_bwd(y, dy):
    """y' = exp(-x) / (1 + exp(-x)) = 1 - exp(y)."""
    return (dy * -jnp.expm1(y),)


log_sigmoid.defvjp(log_sigmoid_fwd, log_sigmoid_bwd)


@Op
def tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Hyperbolic tangent, y = (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    >>> tanh(jnp.array([0.0, 1.0]))
    Array([0.       , 0.7615942], dtype=float32)

    Source: LeCun et al., "Efficient BackProp" (1998), for its outputs centred on 0.
    """
    return jnp.tanh(x)


def tanh_fwd(x):
    """Remember y, for the derivative is a function of it."""
    y = jnp.tanh(x)
    return y, y


def tanh_bwd(y, dy):
    """By the quotient rule y' = 1 - y^2."""
    return (dy * (1 - y * y),)


tanh.defvjp(tanh_fwd, tanh_bwd)


@Op
def hard_sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Sigmoid of three straight pieces, y = min(max(x + 3, 0), 6) / 6.

    As in JAX, PyTorch and Keras 3; earlier versions of Keras rose by 0.2, not by 1/6.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 1.5]))
    Array([0.  , 0.5 , 0.75], dtype=float32)

    Source: Courbariaux, Bengio and David, "BinaryConnect" (2015), with another rise; with this one, Howard et al.,
    "Searching for MobileNetV3" (2019).
    """
    return jnp.where(jnp.abs(x) < 3, x + 3, lax.stop_gradient(jnp.clip(x + 3, 0, 6))) / 6


def hard_sigmoid_fwd(x):
    """Remember where x is between the kinks: one byte an element."""
    return hard_sigmoid.plain(x), jnp.abs(x) < 3


def hard_sigmoid_bwd(between, dy):
    """y' is 1/6 where -3 < x < 3 and 0 elsewhere."""
    return (jnp.where(between, dy / 6, 0),)


hard_sigmoid.defvjp(hard_sigmoid_fwd, hard_sigmoid_bwd)


@Op
def hard_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Tanh of three straight pieces, y = min(max(x, -1), 1).

    The derivative at -1 and 1 is 0; JAX's is 1 there.

    >>> hard_tanh(jnp.array([-2.0, 0.5, 2.0]))
    Array([-1. ,  0.5,  1. ], dtype=float32)

    Source: Collobert, "Large scale machine learning" (2004).
    """
    return jnp.where(jnp.abs(x) >= 1, lax.stop_gradient(jnp.clip(x, -1, 1)), x)


def hard_tanh_fwd(x):
    """Remember where x is level: one byte an element."""
    return jnp.clip(x, -1, 1), jnp.abs(x) >= 1


def hard_tanh_bwd(level, dy):
    """y' is 0 where x <= -1 or x >= 1 and 1 elsewhere, which is at NaN too."""
    return (jnp.where(level, 0, dy),)


hard_tanh.defvjp(hard_tanh_fwd, hard_tanh_bwd)


@Op
def sparse_sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Sigmoid that reaches 0 and 1, y = min(max(x + 1, 0), 2) / 2, the derivative of `sparse_plus`.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 0.5]))
    Array([0.  , 0.5 , 0.75], dtype=float32)

    Source: Martins and Astudillo, "From softmax to sparsemax" (2016): sparsemax of x / 2 and -x / 2.
    """
    return jnp.where(jnp.abs(x) < 1, x + 1, lax.stop_gradient(jnp.clip(x + 1, 0, 2))) / 2


def sparse_sigmoid_fwd(x):
    """Remember where x is between the kinks: one byte an element."""
    return sparse_sigmoid.plain(x), jnp.abs(x) < 1


def sparse_sigmoid_bwd(between, dy):
    """y' is 1/2 where -1 < x < 1 and 0 elsewhere."""
    return (jnp.where(between, dy / 2, 0),)


sparse_sigmoid.defvjp(sparse_sigmoid_fwd, sparse_sigmoid_bwd)


@Op
def soft_sign(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rational sigmoid, y = x / (1 + |x|), which levels off far more slowly than tanh.

    At an infinity it is 1 or -1, where JAX's is NaN.

    >>> soft_sign(jnp.array([-1.0, 0.0, 3.0]))
    Array([-0.5 ,  0.  ,  0.75], dtype=float32)

    Source: Bergstra et al., "Quadratic polynomials learn better image features" (2009).
    """
    x = finite(x)  # an infinity would be divided by itself
    return x / (1 + jnp.abs(x))


def soft_sign_fwd(x):
    """Remember y, for the derivative is a function of it."""
    y = soft_sign.plain(x)
    return y, y


def soft_sign_bwd(y, dy):
    """By the quotient rule y' = 1 / (1 + |x|)^2 = (1 - |y|)^2."""
    return (dy * (1 - jnp.abs(y)) ** 2,)


soft_sign.defvjp(soft_sign_fwd, soft_sign_bwd)


def finite(x: Array) -> Array:
    """Return x with the largest number in place of an infinity, as a limit wants it; NaN stays, and its derivative.

    >>> finite(jnp.array([-jnp.inf, 1.0, jnp.nan]))
    Array([-3.4028235e+38,  1.0000000e+00,            nan], dtype=float32)
    """
    return jnp.where(jnp.isinf(x), jnp.sign(x) * jnp.finfo(x.dtype).max, x)
