"""Activations: functions of each element, and softmax, which is one of each row.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import Op
from jaxnn.typing import Array


@Op
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rectified linear unit, y = max(x, 0).

    The derivative at 0 is taken as 0. (That of `jnp.maximum(x, 0)` is 0.5 there, and blank pixels under a
    zero bias are exactly there.) NaN stays NaN, so that it can be seen.

    >>> relu(jnp.array([-2.0, 0.0, 3.0]))
    Array([0., 0., 3.], dtype=float32)

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """
    return jnp.where(x > 0, x, lax.stop_gradient(jnp.maximum(x, 0)))


def relu_fwd(x):
    """Remember where x is positive: one byte an element, where the output would take four."""
    return jnp.maximum(x, 0), x > 0


def relu_bwd(positive, dy):
    """dy/dx is 1 where x > 0 and 0 elsewhere, so dx = dy there and 0 elsewhere."""
    return (jnp.where(positive, dy, 0),)


relu.defvjp(relu_fwd, relu_bwd)


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
def softmax(x: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Positive numbers with sum 1 along an axis, y_i = exp(x_i) / sum_j exp(x_j).

    The largest x is subtracted first, which changes no y and keeps every exponential finite.

    >>> softmax(jnp.array([1.0, 2.0, 3.0]))
    Array([0.09003057, 0.24472848, 0.66524094], dtype=float32)

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    e = jnp.exp(x - lax.stop_gradient(x.max(axis, keepdims=True)))
    return e / e.sum(axis, keepdims=True)


def softmax_fwd(x, *, axis=-1):
    """Remember y, for the derivative is a function of it."""
    y = softmax.plain(x, axis=axis)
    return y, y


def softmax_bwd(y, dy, *, axis=-1):
    """dy_i/dx_j = y_i ([i = j] - y_j), so dx_j = y_j (dy_j - sum_i dy_i y_i)."""
    return (y * (dy - (dy * y).sum(axis, keepdims=True)),)


softmax.defvjp(softmax_fwd, softmax_bwd)
