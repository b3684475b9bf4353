"""Losses of overlap: how much of a region is found, and how much of what is found is of the region.

Dimensions: `batch` examples, `...` the axes of space, `classes` the last axis.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError, values
from jaxnn.ops import sigmoid, softmax
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype

_REDUCTIONS = ("mean", "sum", "none")


def _check_regions(predictions: AnyArray, targets: AnyArray, **settings) -> None:
    p, t = (_with_classes(a.shape, b.shape) for a, b in ((predictions, targets), (targets, predictions)))
    if p != t:
        raise ShapeError(
            "predictions and targets of one shape, (batch, ..., classes)",
            why="regions are compared place by place",
            got=f"predictions {tuple(predictions.shape)}, targets {tuple(targets.shape)}",
        )
    reduction, weights = settings.get("reduction", "mean"), settings.get("class_weights")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"expected a reduction of {', '.join(_REDUCTIONS)}, of classes; got {reduction!r}")
    if weights is not None and np.shape(weights) != p[-1:]:
        raise ShapeError(f"class_weights of shape {p[-1:]}", why="there is one a class", got=np.shape(weights))
    seen = values(predictions)
    if not settings.get("apply_softmax", True) and seen is not None and seen.size:
        seen = seen.astype(float).reshape(p)
        off = max(-seen.min(), seen.max() - 1, 0 if p[-1] == 1 else np.abs(seen.sum(-1) - 1).max())
        if off > 1e-2:
            raise ValueError(
                "expected predictions that are probabilities, because they are taken as they are; "
                f"got numbers from {seen.min():g} to {seen.max():g}"
                + ("" if p[-1] == 1 else f" with sums from {seen.sum(-1).min():g} to {seen.sum(-1).max():g}")
            )


@op(_check_regions)
def dice_loss(
    predictions: Float[Array, "..."],
    targets: Num[Array, "..."],
    *,
    class_weights: Array | tuple[float, ...] | None = None,
    smooth: Scalar = 1.0,
    alpha: Scalar = 0.5,
    beta: Scalar = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: int | tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """One minus the overlap of regions, l_c = 1 - (I + s) / (I + alpha (P - I) + beta (T - I) + s).

    For each class c, P and T are the sums over space of the probabilities p and of the targets t, and I is that of
    p t, so that P - I is what is found wrongly and T - I what is missed. With both weights 1/2 it is Dice's, or the
    F1 score's; others make Tversky's.

    Args:
        predictions: Logits, `(batch, ..., classes)`; `(batch, ..., 1)` is one region, by a sigmoid. An axis of
            classes that only the other has is added.
        targets: t, one-hot or any probabilities, the same shape.
        class_weights: A weight for the loss of each class, `(classes,)`.
        smooth: s, without which an empty region that is rightly found empty is 0 / 0.
        alpha: Weight of what is found wrongly.
        beta: Weight of what is missed.
        apply_softmax: `False` if predictions are probabilities already. (optax then looks at their values, which
            a compiled program cannot do, and refuses any single region.)
        reduction: Of the classes: mean, sum or none.
        ignore_background: Whether the first of several classes is left out.
        axis: Of the sums, one or several; all but the first and the last if `None`.

    Returns:
        `(batch,)`, or `(batch, classes)` without a reduction.

    Raises:
        ShapeError: The shapes differ.
        ValueError: The reduction is none of the three, or predictions are concrete and no probabilities.

    >>> found, t = jnp.array([[20.0, 20.0, -20.0, -20.0]]), jnp.array([[1.0, 0.0, 1.0, 0.0]])
    >>> dice_loss(found[..., None], t[..., None], smooth=0.0).round(4)
    Array([0.5], dtype=float32)

    Source: Milletari, Navab and Ahmadi, "V-Net" (2016); Salehi, Erdogmus and Gholipour, "Tversky loss function"
    (2017); the name and the value are optax's.
    """
    settings = {"class_weights": class_weights, "smooth": smooth, "alpha": alpha, "beta": beta, "axis": axis}
    settings |= {"apply_softmax": apply_softmax, "reduction": reduction, "ignore_background": ignore_background}
    return dice_loss_fwd(predictions, targets, **settings)[0]


def dice_loss_fwd(predictions, targets, *, class_weights=None, smooth=1.0, alpha=0.5, beta=0.5, apply_softmax=True,
                  reduction="mean", ignore_background=False, axis=None):  # fmt: skip
    """Remember the probabilities, the targets, and what the softmax or the sigmoid remembers."""
    p, t, activation = _probabilities(predictions, targets, apply_softmax)
    numerator, denominator = _overlap(p, t, smooth, alpha, beta, axis)
    l = (1 - numerator / denominator).squeeze(_axes(axis, p))
    if class_weights is not None:
        l = l * _along_last(class_weights, l)
    l = _reduce(l[..., _first(ignore_background, p) :], reduction)
    return l.astype(predictions.dtype), (shape_only(predictions), shape_only(targets), p, t, activation)


def dice_loss_bwd(residuals, dl, *, class_weights=None, smooth=1.0, alpha=0.5, beta=0.5, apply_softmax=True,
                  reduction="mean", ignore_background=False, axis=None):  # fmt: skip
    """With l = 1 - N / D: dN = -dl / D, dD = dl N / D^2; dI = dN + (1 - alpha - beta) dD, dP = alpha dD, dT = beta dD.

    Then dp = dI t + dP and dt = dI p + dT at every place, and the softmax or the sigmoid passes dp on to its logits.
    """
    predictions, targets, p, t, activation = residuals
    n, d = _overlap(p, t, smooth, alpha, beta, axis)
    first, classes = _first(ignore_background, p), p.shape[-1]
    dl = dl.astype(p.dtype)
    if reduction != "none":
        dl = dl[..., None] / (classes - first if reduction == "mean" else 1)
        dl = jnp.broadcast_to(dl, (*dl.shape[:-1], classes - first))
    dl = jnp.pad(dl, [(0, 0)] * (dl.ndim - 1) + [(first, 0)])
    if class_weights is not None:
        dl = dl * _along_last(class_weights, dl)
    dl = jnp.expand_dims(dl, _axes(axis, p))
    alpha, beta = jnp.asarray(alpha, p.dtype), jnp.asarray(beta, p.dtype)
    d_n, d_d = -dl / d, dl * n / (d * d)
    d_i = d_n + (1 - alpha - beta) * d_d
    dp = d_i * t + alpha * d_d
    if apply_softmax:
        (dp,) = _activation(p).bwd(activation, dp)
    dt = None
    if jnp.issubdtype(targets.dtype, jnp.floating):
        dt = (d_i * p + beta * d_d).reshape(targets.shape[1:]).astype(targets.dtype)
    return dp.reshape(predictions.shape[1:]).astype(predictions.dtype), dt


dice_loss.defvjp(dice_loss_fwd, dice_loss_bwd)


def _check_one_region(predictions: AnyArray, targets: AnyArray, *, smooth: Scalar = 1.0, apply_sigmoid: bool = True):
    del smooth
    _check_regions(*_one_class(predictions, targets), apply_softmax=apply_sigmoid)


@op(_check_one_region)
def binary_dice_loss(
    predictions: Float[Array, "..."], targets: Num[Array, "..."], *, smooth: Scalar = 1.0, apply_sigmoid: bool = True
) -> Float[Array, "..."]:
    """One minus the overlap of one region, l = 1 - (I + s) / ((P + T) / 2 + s), as `dice_loss`.

    Args:
        predictions: Logits, `(batch, ...)` or `(batch, ..., 1)`.
        targets: 0 or 1, the same shape.
        smooth: s.
        apply_sigmoid: `False` if predictions are probabilities already.

    Returns:
        `(batch,)`.

    Raises:
        ShapeError: The shapes differ.
        ValueError: Predictions are concrete and no probabilities.

    >>> t = jnp.array([[1.0, 0.0, 1.0, 0.0]])
    >>> binary_dice_loss(jnp.array([[20.0, 20.0, -20.0, -20.0]]), t, smooth=0.0).round(4)
    Array([0.5], dtype=float32)

    Source: Milletari, Navab and Ahmadi, "V-Net" (2016); the name and the value are optax's.
    """
    return dice_loss(*_one_class(predictions, targets), smooth=smooth, apply_softmax=apply_sigmoid)


def binary_dice_loss_fwd(predictions, targets, *, smooth=1.0, apply_sigmoid=True):
    """Remember what the loss of several regions remembers, and the shapes."""
    l, residuals = dice_loss.fwd(*_one_class(predictions, targets), smooth=smooth, apply_softmax=apply_sigmoid)
    return l, (shape_only(predictions), shape_only(targets), residuals)


def binary_dice_loss_bwd(residuals, dl, *, smooth=1.0, apply_sigmoid=True):
    """As that of several regions, without the axis that was added."""
    predictions, targets, inner = residuals
    dp, dt = dice_loss.bwd(inner, dl, smooth=smooth, apply_softmax=apply_sigmoid)
    return dp.reshape(predictions.shape[1:]), dt if dt is None else dt.reshape(targets.shape[1:])


binary_dice_loss.defvjp(binary_dice_loss_fwd, binary_dice_loss_bwd)


def _check_many_regions(predictions: AnyArray, targets: AnyArray, *, apply_softmax: bool = True, **_) -> None:
    if predictions.shape != targets.shape:
        raise ShapeError(
            "predictions and targets of one shape, (batch, ..., classes)",
            why="regions are compared place by place",
            got=f"predictions {tuple(predictions.shape)}, targets {tuple(targets.shape)}",
        )
    _check_regions(predictions, targets, apply_softmax=apply_softmax)


@op(_check_many_regions)
def multiclass_generalized_dice_loss(
    predictions: Float[Array, "batch ... classes"],
    targets: Num[Array, "batch ... classes"],
    *,
    smooth: Scalar = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Float[Array, ""]:
    """Mean over batch and classes of w_c times the `dice_loss` of class c, where w_c is as 1 / (sum of t_c)^2.

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
    w = _weights(targets)[1][_first(ignore_background, targets) :]
    wide = l.astype(w.dtype)
    return (wide * _along_last(w, wide)).mean().astype(l.dtype), (wide, targets, inner)


def multiclass_generalized_dice_loss_bwd(residuals, dl, *, smooth=1.0, apply_softmax=True, ignore_background=False):
    """As of a weighted mean, where the weights w = k r / sum r, r = 1 / (f^2 + 1e-7), pass dw on to f = sum t too.

    dr = (dw - mean(dw w)) k / sum r and df = -2 f r^2 dr.
    """
    l, targets, inner = residuals
    settings = {"smooth": smooth, "apply_softmax": apply_softmax, "ignore_background": ignore_background}
    (f, r), w = _weights(targets)
    first, classes = _first(ignore_background, targets), targets.shape[-1]
    dl = dl.astype(l.dtype) / l.size
    d_each = jnp.broadcast_to(dl * _along_last(w[first:], l), l.shape).astype(inner[0].dtype)
    dp, dt = dice_loss.bwd(inner, d_each, reduction="none", **settings)
    if dt is None:
        return dp, None
    dw = jnp.pad(dl * l.sum(tuple(range(l.ndim - 1))), (first, 0))
    dr = (dw - (dw * w).sum() / classes) * classes / r.sum()
    return dp, dt + _along_last((-2 * f * r * r * dr).astype(dt.dtype), dt)


multiclass_generalized_dice_loss.defvjp(multiclass_generalized_dice_loss_fwd, multiclass_generalized_dice_loss_bwd)


def _with_classes(shape, other):
    return (*shape, 1) if len(shape) == len(other) - 1 else tuple(shape)


def _one_class(predictions, targets):
    """Both with an axis of one class, if they have none."""
    if predictions.ndim == targets.ndim and predictions.shape[-1:] != (1,):
        return tuple(_reshaped(a, (*a.shape, 1)) for a in (predictions, targets))
    return predictions, targets


def _reshaped(a, shape):
    return a.reshape(shape) if hasattr(a, "reshape") else a.update(shape=shape)


def _activation(p):
    return sigmoid if p.shape[-1] == 1 else softmax


def _probabilities(predictions, targets, apply_softmax):
    wide = accumulator_dtype(predictions.dtype)
    p, t = (a.astype(wide) for a in (predictions, targets))
    p, t = p.reshape(_with_classes(p.shape, t.shape)), t.reshape(_with_classes(t.shape, p.shape))
    p, activation = _activation(p).fwd(p) if apply_softmax else (p, ())
    return p, t, activation


def _axes(axis, p):
    return tuple(range(1, p.ndim - 1)) if axis is None else axis


def _overlap(p, t, smooth, alpha, beta, axis):
    """Numerator and denominator of each class, with the axes that were summed kept."""
    smooth, alpha, beta = (jnp.asarray(a, p.dtype) for a in (smooth, alpha, beta))
    i, p_sum, t_sum = (a.sum(_axes(axis, p), keepdims=True) for a in (p * t, p, t))
    return i + smooth, i + alpha * (p_sum - i) + beta * (t_sum - i) + smooth


def _first(ignore_background, p):
    return int(ignore_background and p.shape[-1] > 1)


def _along_last(w, like):
    w = jnp.asarray(w, like.dtype)
    return w.reshape((1,) * (like.ndim - 1) + w.shape)


def _reduce(l, reduction):
    return l.mean(-1) if reduction == "mean" else l.sum(-1) if reduction == "sum" else l


def _weights(targets):
    """The frequency f of each class with r = 1 / (f^2 + 1e-7), and the weights, r by its mean."""
    t = targets.astype(accumulator_dtype(targets.dtype)) if jnp.issubdtype(targets.dtype, jnp.floating) else targets
    f = t.sum(tuple(range(t.ndim - 1)))
    f = f if jnp.issubdtype(f.dtype, jnp.floating) else f.astype(jnp.result_type(float))
    r = 1 / (f * f + 1e-7)
    return (f, r), r / r.sum() * len(r)
