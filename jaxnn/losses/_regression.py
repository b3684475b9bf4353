"""Losses of numbers: how far a prediction is from its target.

Dimensions: `shape` any shape, of which the first axis is that of examples. A target of None stands for zeros, as in
optax. What is remembered is the error e, and arrays of no elements that have the dtypes of both.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Num

from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._shapes import check_positive, check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


@op(check_same_shape)
def mse(predictions: Float[Array, "*shape"], targets: Num[Array, "*shape"] | None = None) -> Float[Array, "*shape"]:
    """Squared error of each element, l = (prediction - target)^2, whose mean is the mean squared error.

    There is no factor 1/2: `half_squared_error` has one. It is `squared_error` too, optax's name; Keras takes the mean
    over the last axis, PyTorch over all.

    Args:
        predictions: Any shape.
        targets: The same shape, or None for zeros; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.

    >>> mse(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([0.25, 0.  , 4.  ], dtype=float32)

    Source: Gauss, "Theoria motus" (1809).
    """
    e = _error(predictions, targets)
    return e * e


def mse_fwd(predictions, targets=None):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return e * e, (e, _marks(predictions, targets))


def mse_bwd(residuals, dl):
    """dl/de = 2 e, and e grows with the prediction and falls with the target."""
    e, marks = residuals
    return _of_both(2 * e * dl, marks)


mse.defvjp(mse_fwd, mse_bwd)


@op(check_same_shape)
def half_squared_error(
    predictions: Float[Array, "*shape"], targets: Num[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Half the squared error of each element, l = (prediction - target)^2 / 2, whose derivative is the error.

    It is `l2_loss` too, optax's name. Its sum is often printed under the name of mean squared error, which it is not.

    Args:
        predictions: Any shape.
        targets: The same shape, or None for zeros; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.

    >>> half_squared_error(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([0.125, 0.   , 2.   ], dtype=float32)

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    e = _error(predictions, targets)
    return e * e / 2


def half_squared_error_fwd(predictions, targets=None):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return e * e / 2, (e, _marks(predictions, targets))


def half_squared_error_bwd(residuals, dl):
    """dl/de = e."""
    e, marks = residuals
    return _of_both(e * dl, marks)


half_squared_error.defvjp(half_squared_error_fwd, half_squared_error_bwd)


@op(check_same_shape)
def sse(predictions: Float[Array, "batch ..."], targets: Num[Array, "batch ..."]) -> Float[Array, " batch"]:
    """Sum of squared errors of each example, l_i = sum_j (prediction_ij - target_ij)^2, without a factor or a mean.

    The sum over examples is `sse(...).sum()`: its gradient, and so the largest learning rate that is stable, grow with
    the data set. The trainer takes the mean over examples, as of every loss.

    Args:
        predictions: `(batch, ...)`.
        targets: The same shape; integers have no derivative.

    Returns:
        `(batch,)`: all axes after the first are summed, in float32 at least.

    Raises:
        ShapeError: The shapes differ.

    >>> sse(jnp.array([[1.5, 2.0], [5.0, 0.0]]), jnp.array([[1.0, 2.0], [3.0, 1.0]]))
    Array([0.25, 5.  ], dtype=float32)

    Source: Legendre, "Nouvelles méthodes pour la détermination des orbites des comètes" (1805).
    """
    return _sum_of_squares(_error(predictions, targets))


def sse_fwd(predictions, targets):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return _sum_of_squares(e), (e, _marks(predictions, targets))


def sse_bwd(residuals, dl):
    """dl_i/de_ij = 2 e_ij."""
    e, marks = residuals
    return _of_both(2 * e * dl.reshape(dl.shape + (1,) * (e.ndim - 1)), marks)


sse.defvjp(sse_fwd, sse_bwd)


@op(check_same_shape)
def mae(predictions: Float[Array, "*shape"], targets: Num[Array, "*shape"] | None = None) -> Float[Array, "*shape"]:
    """Absolute error of each element, l = |prediction - target|, whose mean is the mean absolute error.

    The derivative at 0 is taken as 0. It is `absolute_error` too; PyTorch calls its mean L1 loss.

    Args:
        predictions: Any shape.
        targets: The same shape, or None for zeros; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.

    >>> mae(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([0.5, 0. , 2. ], dtype=float32)

    Source: Boscovich (1757); Laplace (1793).
    """
    e = _error(predictions, targets)
    return jnp.abs(jnp.where(e == 0, 0, e))  # JAX's derivative of abs is 1 at 0


def mae_fwd(predictions, targets=None):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return jnp.abs(e), (e, _marks(predictions, targets))


def mae_bwd(residuals, dl):
    """dl/de = sign(e), which is 0 at 0."""
    e, marks = residuals
    return _of_both(jnp.sign(e) * dl, marks)


mae.defvjp(mae_fwd, mae_bwd)


def _check_huber(predictions: AnyArray, targets: AnyArray | None = None, *, delta: Scalar = 1.0) -> None:
    check_same_shape(predictions, targets)
    check_positive("delta", delta, why="errors up to it count as squares")


@op(_check_huber)
def huber_loss(
    predictions: Float[Array, "*shape"], targets: Num[Array, "*shape"] | None = None, *, delta: Scalar = 1.0
) -> Float[Array, "*shape"]:
    """Squared error near 0 and absolute error beyond, l = e^2 / 2 if |e| <= delta else delta (|e| - delta / 2).

    Both branches meet at |e| = delta with the same slope; the derivative is the error clipped to [-delta, delta].
    It is `huber` too. With delta 1 it is PyTorch's smooth L1 loss, which otherwise is this one divided by delta.

    Args:
        predictions: Any shape.
        targets: The same shape, or None for zeros; integers have no derivative.
        delta: Where the parabola becomes a line, a positive number; may be swept.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete delta is not positive.

    >>> huber_loss(jnp.array([0.5, 0.0, 2.0]), jnp.zeros(3))
    Array([0.125, 0.   , 1.5  ], dtype=float32)

    Source: Huber, "Robust estimation of a location parameter" (1964); optax's name, signature and value.
    """
    return _huber(_error(predictions, targets), delta)


def huber_loss_fwd(predictions, targets=None, *, delta=1.0):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return _huber(e, delta), (e, _marks(predictions, targets))


def huber_loss_bwd(residuals, dl, *, delta=1.0):
    """dl/de = e if |e| <= delta else delta sign(e): e, clipped."""
    e, marks = residuals
    delta = lax.convert_element_type(delta, e.dtype)
    return _of_both(jnp.clip(e, -delta, delta) * dl, marks)


huber_loss.defvjp(huber_loss_fwd, huber_loss_bwd)


@op(check_same_shape)
def log_cosh(
    predictions: Float[Array, "*shape"], targets: Num[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Logarithm of the hyperbolic cosine of the error, l = log cosh(e): e^2 / 2 near 0, |e| - log 2 far away.

    Computed as log(1 + 2 sinh(e/2)^2) for |e| < 1, where the difference of logarithms that optax takes has lost its
    digits, and as |e| + log(1 + exp(-2 |e|)) - log 2 beyond.

    Args:
        predictions: Any shape.
        targets: The same shape, or None for zeros; integers have no derivative.

    Raises:
        ShapeError: The shapes differ.

    >>> log_cosh(jnp.array([0.001, 1.0, -1e4]), jnp.zeros(3))
    Array([5.0000006e-07, 4.3378079e-01, 9.9993066e+03], dtype=float32)

    Source: Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder" (2019); optax's name and
    signature.
    """
    return _log_cosh(_error(predictions, targets))


def log_cosh_fwd(predictions, targets=None):
    """Remember the error e = prediction - target."""
    e = _error(predictions, targets)
    return _log_cosh(e), (e, _marks(predictions, targets))


def log_cosh_bwd(residuals, dl):
    """dl/de = sinh(e) / cosh(e) = tanh(e)."""
    e, marks = residuals
    return _of_both(jnp.tanh(e) * dl, marks)


log_cosh.defvjp(log_cosh_fwd, log_cosh_bwd)


def _error(predictions, targets):
    predictions, targets = together(predictions, targets)
    return predictions if targets is None else predictions - targets


def _marks(predictions, targets):
    return shape_only(predictions), None if targets is None else shape_only(targets)


def _of_both(de, marks):
    """The cotangents of prediction and target, of which e is the difference."""
    return cotangents((de, -de), marks)


def _sum_of_squares(e):
    wide = e.astype(accumulator_dtype(e.dtype))
    return (wide * wide).sum(tuple(range(1, e.ndim))).astype(e.dtype)


def _huber(e, delta):
    delta = lax.convert_element_type(delta, e.dtype)
    quadratic = jnp.minimum(jnp.abs(e), delta)
    return quadratic * quadratic / 2 + delta * (jnp.abs(e) - quadratic)


def _log_cosh(e):
    near = jnp.abs(e) < 1
    small, large = jnp.where(near, e, 0), jnp.abs(jnp.where(near, 1, e))
    return jnp.where(
        near, jnp.log1p(2 * jnp.sinh(small / 2) ** 2), large + jnp.log1p(jnp.exp(-2 * large)) - math.log(2)
    )


# The names of optax, and one that the literature has.
squared_error, l2_loss, absolute_error, huber = mse, half_squared_error, mae, huber_loss
