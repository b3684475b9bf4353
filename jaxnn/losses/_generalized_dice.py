"""Dice's loss of many classes of which some are rare.

Dimensions: `batch` examples, `...` the axes of space, `classes` the last axis.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.losses._dice import along_last, check_places, check_probabilities, dice_loss, first_class
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_many_regions(predictions: AnyArray, targets: AnyArray, *, apply_softmax: bool = True, **_) -> None:
    check_places(predictions, targets, tuple(predictions.shape), tuple(targets.shape))
    if not apply_softmax:
        check_probabilities(predictions, predictions.shape[-1])


@op(_check_many_regions)
def multiclass_generalized_dice_loss(
    predictions: Float[Array, "batch ... classes"],
    targets: Num[Array, "batch ... classes"],
    *,
    smooth: Scalar = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Float[Array, ""]:
    """Mean over batch and classes of w_c times the `dice_loss` of class c, w = r / mean(r), r_c = 1 / (sum of t_c)^2.

    The weights have mean 1 over the classes, so that each class counts alike however small its regions are. A class
    that the batch does not have weighs by far the most, as in optax: leave out a loss that is about such a class.

    Args:
        predictions: Logits, `(batch, ..., classes)`.
        targets: t, one-hot or any probabilities, the same shape.
        smooth: As of `dice_loss`.
        apply_softmax: `False` if predictions are probabilities already.
        ignore_background: Whether the first class is left out, after the weights are made.

    Returns:
        A scalar: the weights are those of the batch.

    Raises:
        ShapeError: The shapes differ.
        ValueError: Predictions are concrete and no probabilities.

    >>> t = jnp.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> multiclass_generalized_dice_loss(t, t, apply_softmax=False)
    Array(0., dtype=float32)

    Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced
    segmentations" (2017); the name and the value are optax's.
    """
    settings = {"smooth": smooth, "apply_softmax": apply_softmax, "ignore_background": ignore_background}
    return multiclass_generalized_dice_loss_fwd(predictions, targets, **settings)[0]


def multiclass_generalized_dice_loss_fwd(
    predictions, targets, *, smooth=1.0, apply_softmax=True, ignore_background=False
):
    """Remember the loss of each class without its weight, and what that remembers."""
    settings = {"smooth": smooth, "apply_softmax": apply_softmax, "ignore_background": ignore_background}
    l, inner = dice_loss.fwd(predictions, targets, reduction="none", **settings)
    wide = l.astype(accumulator_dtype(l.dtype))
    w = _weights(targets, wide.dtype)[1][first_class(ignore_background, targets) :]
    return (wide * along_last(w, wide)).mean().astype(l.dtype), (wide, targets, inner)


def multiclass_generalized_dice_loss_bwd(residuals, dl, *, smooth=1.0, apply_softmax=True, ignore_background=False):
    """As of a weighted mean, where the weights w = k r / sum r, r = 1 / (f^2 + 1e-7), pass dw on to f = sum t too.

    dr = (dw - mean(dw w)) k / sum r and df = -2 f r^2 dr.
    """
    l, targets, inner = residuals
    settings = {"smooth": smooth, "apply_softmax": apply_softmax, "ignore_background": ignore_background}
    (f, r), w = _weights(targets, l.dtype)
    first, classes = first_class(ignore_background, targets), targets.shape[-1]
    dl = dl.astype(l.dtype) / l.size
    d_each = jnp.broadcast_to(dl * along_last(w[first:], l), l.shape)
    dp, dt = dice_loss.bwd(inner, d_each, reduction="none", **settings)
    if dt is None:
        return dp, None
    dw = jnp.pad(dl * l.sum(tuple(range(l.ndim - 1))), (first, 0))
    dr = (dw - (dw * w).sum() / classes) * classes / r.sum()
    return dp, dt + along_last((-2 * f * r * r * dr).astype(dt.dtype), dt)


multiclass_generalized_dice_loss.defvjp(multiclass_generalized_dice_loss_fwd, multiclass_generalized_dice_loss_bwd)


def _weights(targets, dtype):
    """The frequency f of each class with r = 1 / (f^2 + 1e-7), and the weights, r by its mean."""
    f = targets.astype(dtype).sum(tuple(range(targets.ndim - 1)))
    r = 1 / (f * f + 1e-7)
    return (f, r), r / r.sum() * len(r)
