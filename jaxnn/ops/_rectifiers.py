"""Activations of straight pieces: the identity, and the rectifiers, which bend at 0.

At a kink the derivative is that of the flatter piece: 0 for `relu` at 0 and for `relu6` at 6, the slope for
`leaky_relu` at 0. So it is in PyTorch; JAX's own `maximum` and `clip` would give one half. At NaN, too, it is that of
the flatter piece, as in JAX's rectifiers.

Dimensions: `...` any shape.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import Op, op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


@Op
def identity(x: Float[Array, "..."], *, slope: Scalar = 1.0) -> Float[Array, "..."]:
    """Linear activation, y = slope x; with slope 1, no activation at all.

    It is what a regression's output wants, which may be any number. (`linear` is the op of weights.)

    >>> identity(jnp.array([-2.0, 3.0])), identity(jnp.array([-2.0, 3.0]), slope=0.5)
    (Array([-2.,  3.], dtype=float32), Array([-1. ,  1.5], dtype=float32))

    Source: Widrow and Hoff, "Adaptive switching circuits" (1960).
    """
    return x * jnp.asarray(slope, x.dtype)


def identity_fwd(x, *, slope=1.0):
    """Remember nothing: the derivative is the same everywhere."""
    return identity.plain(x, slope=slope), ()


def identity_bwd(residuals, dy, *, slope=1.0):
    """dy/dx = slope."""
    del residuals
    return (dy * jnp.asarray(slope, dy.dtype),)


identity.defvjp(identity_fwd, identity_bwd)


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
def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rectified linear unit that stops at 6, y = min(max(x, 0), 6).

    The derivative is 0 at both kinks.

    >>> relu6(jnp.array([-2.0, 3.0, 8.0]))
    Array([0., 3., 6.], dtype=float32)

    Source: Krizhevsky, "Convolutional deep belief networks on CIFAR-10" (2010).
    """
    return jnp.where((x > 0) & (x < 6), x, lax.stop_gradient(jnp.clip(x, 0, 6)))


def relu6_fwd(x):
    """Remember where x is between the kinks: one byte an element."""
    return jnp.clip(x, 0, 6), (x > 0) & (x < 6)


def relu6_bwd(between, dy):
    """dy/dx is 1 where 0 < x < 6 and 0 elsewhere."""
    return (jnp.where(between, dy, 0),)


relu6.defvjp(relu6_fwd, relu6_bwd)


@Op
def leaky_relu(x: Float[Array, "..."], *, slope: Scalar = 0.01) -> Float[Array, "..."]:
    """Rectified linear unit that leaks, y = x if x > 0 else slope x.

    It is written in two pieces because max(slope x, x), which one finds in books, is another function once
    the slope is above 1.

    Args:
        x: Any shape.
        slope: Of the negative side, 0.01 as in JAX, PyTorch and the paper; Keras has 0.2 in its function and
            0.3 in its layer. May be swept; to learn it, take the layer `PReLU`.

    Returns:
        The shape of x. The derivative at 0 is the slope, as PyTorch's; JAX's is 1 there.

    >>> leaky_relu(jnp.array([-2.0, 0.0, 3.0]))
    Array([-0.02,  0.  ,  3.  ], dtype=float32)

    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).
    """
    return jnp.where(x > 0, x, jnp.asarray(slope, x.dtype) * negative(x))


def leaky_relu_fwd(x, *, slope=0.01):
    """Remember where x is positive: one byte an element."""
    return leaky_relu.plain(x, slope=slope), x > 0


def leaky_relu_bwd(positive, dy, *, slope=0.01):
    """dy/dx is 1 where x > 0 and the slope elsewhere."""
    return (jnp.where(positive, dy, jnp.asarray(slope, dy.dtype) * dy),)


leaky_relu.defvjp(leaky_relu_fwd, leaky_relu_bwd)


def check_last_axes(x: AnyArray, learned: AnyArray, name: str) -> None:
    """Raise an error unless what is learned is one number, or has the last axes of x."""
    if learned.shape != x.shape[len(x.shape) - len(learned.shape) :]:
        raise ShapeError(
            f"a {name} of shape (), or of the last axes of x",
            why=f"there is one for all, or one for each feature, and x is {tuple(x.shape)}",
            got=tuple(learned.shape),
        )


@op(lambda x, slope: check_last_axes(x, slope, "slope"))
def prelu(x: Float[Array, "..."], slope: Float[Array, "..."]) -> Float[Array, "..."]:
    """Parametric rectified linear unit, y = x if x > 0 else a x, with a slope a that is learned.

    Args:
        x: Any shape.
        slope: a, `()` if it is shared, `(features,)` for one a feature, or any more of the last axes of x.

    Returns:
        The shape of x.

    Raises:
        ShapeError: The slope has not the last axes of x.

    >>> prelu(jnp.array([-2.0, 2.0]), jnp.array(1.5))
    Array([-3.,  2.], dtype=float32)

    Source: He et al., "Delving deep into rectifiers" (2015).
    """
    return jnp.where(x > 0, x, jnp.broadcast_to(slope, x.shape) * negative(x))


def prelu_fwd(x, slope):
    """Remember x and a: the derivative with respect to a is made of x."""
    return prelu.plain(x, slope), (x, slope)


def prelu_bwd(residuals, dy):
    """dy/dx is 1 or a; dy/da is x where x <= 0 and 0 elsewhere, summed over all that share an a."""
    x, slope = residuals
    dx = jnp.where(x > 0, dy, jnp.broadcast_to(slope, x.shape) * dy)
    return dx, sum_to(jnp.where(x > 0, 0, x * dy), slope)


prelu.defvjp(prelu_fwd, prelu_bwd, install=True)


def sum_to(d: Array, learned: Array) -> Array:
    """Sum what was broadcast from `learned` back to its shape, in float32 at least."""
    shared = tuple(range(d.ndim - learned.ndim))
    return d.sum(shared, dtype=accumulator_dtype(d.dtype)).astype(learned.dtype)


def negative(x: Array) -> Array:
    """Return x where it is negative and 0 elsewhere, so that what is made of it is finite on the side that is not used.

    Otherwise JAX would give it a derivative of 0 times an infinity.

    >>> negative(jnp.array([-2.0, jnp.inf]))
    Array([-2.,  0.], dtype=float32)
    """
    return jnp.where(x > 0, 0, x)
