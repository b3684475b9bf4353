"""Losses of margins: how far a score is on the right side, for two classes or for many.

Dimensions: `batch` examples, `classes` the last axis of scores, `shape` any shape.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from jaxnn.errors import values
from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


def _check_signs(predictor_outputs: AnyArray, targets: AnyArray, **_) -> None:
    check_same_shape(predictor_outputs, targets)
    seen = values(targets)
    # A thousandth off is allowed, so that the loss can be differentiated by differences in the targets too.
    if seen is not None and seen.size and np.abs(np.abs(seen.astype(float)) - 1).max() > 1e-3:
        error = ValueError(
            "expected targets of -1 and 1, because a margin is the score times its sign; "
            f"got targets from {seen.min()} to {seen.max()}"
        )
        error.add_note("  hint: of labels 0 and 1 make signs: 2 * y - 1")
        raise error


@op(_check_signs)
def hinge_loss(predictor_outputs: Float[Array, "*shape"], targets: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """How much a margin is short of 1, l = max(0, 1 - t s) for a raw score s and a sign t.

    The derivative at a margin of exactly 1 is taken as 0.

    Args:
        predictor_outputs: s, any real numbers and any shape: scores, not probabilities.
        targets: t, -1 or 1, the same shape. Labels 0 and 1 are not mapped, as Keras maps them: give `2 * y - 1`.

    Returns:
        The loss of each element. Inside a compiled program, where a target cannot be refused, one of 0 gives NaN
        (optax's is 1, whatever the score).

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is neither -1 nor 1.

    >>> hinge_loss(jnp.array([0.3, 0.3, 2.0]), jnp.array([1.0, -1.0, 1.0]))
    Array([0.7, 1.3, 0. ], dtype=float32)

    Source: Cortes and Vapnik, "Support-vector networks" (1995); the name and the value are optax's.
    """
    shortfall = _shortfall(predictor_outputs, targets)
    return jnp.where(shortfall > 0, shortfall, or_nan(shortfall))


def hinge_loss_fwd(predictor_outputs, targets):
    """Remember s and t."""
    return hinge_loss.plain(predictor_outputs, targets), (predictor_outputs, targets)


def hinge_loss_bwd(residuals, dl):
    """Where t s < 1, dl/ds = -t and dl/dt = -s; elsewhere both are 0."""
    s, t = together(*residuals)
    dl = jnp.where(_shortfall(s, t) > 0, dl, 0)
    return cotangents((-dl * t, -dl * s), residuals)


hinge_loss.defvjp(hinge_loss_fwd, hinge_loss_bwd)


@op(_check_signs)
def squared_hinge_loss(
    predictor_outputs: Float[Array, "*shape"], targets: Num[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The hinge loss squared, l = max(0, 1 - t s)^2, whose derivative has no jump.

    Args:
        predictor_outputs: s, any real numbers and any shape: scores, not probabilities.
        targets: t, -1 or 1, the same shape. Labels 0 and 1 are not mapped, as Keras maps them: give `2 * y - 1`.

    Returns:
        The loss of each element; NaN inside a compiled program where a target is 0.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is neither -1 nor 1.

    >>> squared_hinge_loss(jnp.array([0.5, 0.5, 2.0]), jnp.array([1.0, -1.0, 1.0]))
    Array([0.25, 2.25, 0.  ], dtype=float32)

    Source: Lee and Mangasarian, "SSVM: a smooth support vector machine" (2001).
    """
    l = hinge_loss(predictor_outputs, targets)
    return l * l


def squared_hinge_loss_fwd(predictor_outputs, targets):
    """Remember s and t."""
    return squared_hinge_loss.plain(predictor_outputs, targets), (predictor_outputs, targets)


def squared_hinge_loss_bwd(residuals, dl):
    """By the chain rule, 2 max(0, 1 - t s) times the derivative of the hinge loss."""
    l = hinge_loss(*residuals)
    return hinge_loss_bwd(residuals, 2 * l * dl)


squared_hinge_loss.defvjp(squared_hinge_loss_fwd, squared_hinge_loss_bwd)


@op(_check_signs)
def perceptron_loss(predictor_outputs: Float[Array, "*shape"], targets: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """How far a score is on the wrong side of 0, l = max(0, -t s): its gradient step is the perceptron's rule.

    A score of exactly 0 counts as a mistake: the derivative there is -t, so that a perceptron whose weights begin
    at 0 learns. (In optax it is half of that, by the rule of `jnp.maximum` for ties.)

    Args:
        predictor_outputs: s, any real numbers and any shape.
        targets: t, -1 or 1, the same shape.

    Returns:
        The loss of each element; NaN inside a compiled program where a target is 0.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is neither -1 nor 1.

    >>> perceptron_loss(jnp.array([0.5, 0.5, 0.0]), jnp.array([1.0, -1.0, 1.0]))
    Array([ 0. ,  0.5, -0. ], dtype=float32)

    Source: Rosenblatt, "The perceptron" (1958); the name and the value are optax's.
    """
    wrong = -_margin(predictor_outputs, targets)
    return jnp.where(wrong >= 0, wrong, or_nan(wrong))


def perceptron_loss_fwd(predictor_outputs, targets):
    """Remember s and t."""
    return perceptron_loss.plain(predictor_outputs, targets), (predictor_outputs, targets)


def perceptron_loss_bwd(residuals, dl):
    """Where t s <= 0, dl/ds = -t and dl/dt = -s; elsewhere both are 0."""
    s, t = together(*residuals)
    dl = jnp.where(_margin(s, t) <= 0, dl, 0)
    return cotangents((-dl * t, -dl * s), residuals)


perceptron_loss.defvjp(perceptron_loss_fwd, perceptron_loss_bwd)


def _margin(s, t):
    """The score times its sign, and NaN where that is 0."""
    s, t = together(s, t)
    return s * jnp.where(t == 0, jnp.nan, t)


def _shortfall(s, t):
    return 1 - _margin(s, t)


def or_nan(x):
    """Return 0, or NaN where x is."""
    return jnp.where(jnp.isnan(x), x, 0)
