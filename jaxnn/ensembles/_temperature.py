"""Temperature scaling: one number that makes a classifier as sure as it is right.

Dimensions: `batch`; `...` any further axes; `classes` the last axis of logits.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ensembles._fitted import Fitted
from jaxnn.errors import ShapeError
from jaxnn.layers import serial
from jaxnn.layers._temperature import Temperature
from jaxnn.losses import cross_entropy
from jaxnn.losses._log_probabilities import missing, onehot
from jaxnn.losses._shapes import check_range
from jaxnn.typing import AnyArray, Array, Data, accumulator_dtype

_COLDEST = 1e-4
"""The least temperature that is looked at; the largest is its inverse."""


def temperature(logits: AnyArray, y: AnyArray, w: AnyArray | None = None) -> Array:
    """Find the temperature T at which logits fit the targets best, argmin_T sum_i w_i CE(z_i / T, y_i).

    The logits must be those of examples that the model has not learnt from: on the others it is right too often. T is
    found by Newton's method in log T, within a bracket that is halved where Newton's step leaves it; with 1 / T for
    the variable the sum is convex, so there is one minimum. The result may be differentiated with respect to logits
    and weights: by the last step, as the minimum moves with them.

    Args:
        logits: z, `(batch, ..., classes)`.
        y: Integer labels, `(batch, ...)`, or float probabilities, `(batch, ..., classes)`.
        w: Weights, `(batch,)` or any longer prefix of the labels' shape; `None` weighs all alike.

    Returns:
        T, `()`, from 1e-4 to 1e4: the least if all are right, and the largest if chance would be better than the
        logits; 1 if no logits tell one class from another; NaN if there are no weights above 0.

    Raises:
        ShapeError: Targets or weights do not fit the logits.
        ValueError: There are no examples, or a concrete label is out of range, or a weight negative.

    >>> z = jnp.array([[6.0, 0.0], [6.0, 0.0], [6.0, 0.0], [0.0, 6.0]])  # 99.8 % sure, and right in 3 of 4 cases
    >>> t = temperature(z, jnp.array([0, 0, 1, 1]))
    >>> t.round(1), jax.nn.softmax(z[0] / t).round(2)
    (Array(5.5, dtype=float32), Array([0.75, 0.25], dtype=float32))

    Source: Guo et al., "On calibration of modern neural networks" (2017).
    """
    logits, y = jnp.asarray(logits), jnp.asarray(y)
    if logits.ndim < 2:
        raise ShapeError("logits of shape (batch, ..., classes)", why="examples are weighed", got=logits.shape)
    cross_entropy.check(logits, y)
    if 0 in logits.shape:
        raise ValueError(f"expected examples, because the temperature is what fits them; got logits {logits.shape}")
    batch = logits.shape[:-1]
    w = jnp.ones(batch[:1]) if w is None else jnp.asarray(w)
    if w.ndim < 1 or w.shape != batch[: w.ndim]:
        raise ShapeError(f"weights of shape {batch[:1]}", why=f"logits are {logits.shape}", got=w.shape)
    check_range("weights", w, 0, why="a mean is taken with them")

    z = logits.astype(accumulator_dtype(logits.dtype))
    z = z - lax.stop_gradient(z.max(-1, keepdims=True))
    if jnp.issubdtype(y.dtype, jnp.integer):
        target = onehot(y, z).astype(z.dtype) + missing(y, z)[..., None]
    else:
        target = y.astype(z.dtype)
    w = jnp.broadcast_to(w.astype(z.dtype).reshape(w.shape + (1,) * (len(batch) - w.ndim)), batch)
    return jnp.exp(-_least(z, target, w / w.sum()))


def calibrated(fitted: Fitted, data: Data) -> Fitted:
    """Put after a fitted model the temperature that fits `data`, which it has not learnt from.

    Args:
        fitted: A model that puts out logits, such as an ensemble.
        data: Examples, such as those of a validation set, all put through the model at once.

    Returns:
        The model in series with a `Temperature`, under the names `model` and `temperature`.

    Raises:
        ShapeError: Targets or weights do not fit the logits.
        ValueError: There are no examples, or a concrete label is out of range.

    >>> import jaxnn as nn
    >>> x = jnp.array([[6.0, 0.0], [6.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    >>> fitted = nn.ensembles.calibrated(Fitted(nn.serial(), {}, {}), nn.Data(x, jnp.array([0, 0, 1, 1])))
    >>> fitted.model, fitted.params["temperature"]["temperature"].round(1)
    (serial(model=serial(), temperature=Temperature()), Array(5.5, dtype=float32))

    Source: Guo et al. (2017).
    """
    z, _ = fitted.model.apply(fitted.params, fitted.state, data.x)
    t = temperature(z, data.y, data.w).astype(z.dtype)
    return Fitted(
        serial(model=fitted.model, temperature=Temperature()),
        {"model": fitted.params, "temperature": {"temperature": t}},
        {"model": fitted.state, "temperature": {}},
    )


@jax.jit  # or else the loop is compiled at every call
def _least(z: Array, target: Array, w: Array) -> Array:
    """Return u = -log T at which the derivative of the weighted cross-entropy by u, which grows with u, is 0."""
    # A class that cannot be has the logit minus infinity and the probability 0, and adds nothing.
    finite = jnp.where(z == -jnp.inf, 0, z)

    def slopes(u, z, finite, target, w):
        """The first derivative by 1 / T, and the derivative of that by u."""
        p = jax.nn.softmax(jnp.exp(u) * z)
        mean = (p * finite).sum(-1)
        variance = (p * (finite - mean[..., None]) ** 2).sum(-1)
        total = target.sum(-1)
        return (w * (total * mean - (target * finite).sum(-1))).sum(), jnp.exp(u) * (w * total * variance).sum()

    def step(first, second):
        return jnp.where(second == 0, 0, first / jnp.where(second == 0, 1, second))

    def nearer(search):
        u, low, high, _, steps = search
        first, second = slopes(u, *held)
        low, high = jnp.where(first <= 0, u, low), jnp.where(first > 0, u, high)
        newton = u - step(first, second)
        new = jnp.where((low < newton) & (newton < high), newton, (low + high) / 2)
        return new, low, high, jnp.abs(new - u), steps + 1

    held = lax.stop_gradient((z, finite, target, w))
    end = jnp.asarray(-math.log(_COLDEST), z.dtype)
    # Where steps are shorter than this, the next one is shorter than what the dtype can tell: that is the one below.
    enough = math.sqrt(jnp.finfo(z.dtype).eps)
    begin = jnp.zeros_like(end), -end, end, jnp.full_like(end, jnp.inf), 0
    u, *_ = lax.while_loop(lambda search: (search[3] > enough) & (search[4] < 100), nearer, begin)
    first, _ = slopes(u, z, finite, target, w)
    least = jnp.clip(u - step(first, slopes(u, *held)[1]), -end, end)
    # To logits that are all alike any temperature is as good, and the end of a search by slopes that are 0 is none.
    return jnp.where((w[..., None] * finite == 0).all(), 0, least)
