"""Dice's loss of overlap: how much of a region is found, and how much of what is found is of the region.

Dimensions: `batch` examples, `...` the axes of space, `classes` the last axis.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError, values
from jaxnn.losses._dtypes import common_dtype, cotangents
from jaxnn.ops import sigmoid, softmax
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype

_REDUCTIONS = ("mean", "sum", "none")


def check_places(predictions: AnyArray, targets: AnyArray, p: tuple[int, ...], t: tuple[int, ...]) -> None:
    """Raise an error unless both have one shape, given their shapes with an axis of classes."""
    if p != t:
        raise ShapeError(
            "predictions and targets of one shape, (batch, ..., classes)",
            why="regions are compared place by place",
            got=f"predictions {tuple(predictions.shape)}, targets {tuple(targets.shape)}",
        )


def check_probabilities(predictions: AnyArray, classes: int) -> None:
    """Raise an error unless predictions that can be seen are probabilities, which add up to 1 for several classes."""
    seen = values(predictions)
    if seen is not None and seen.size:
        seen = seen.astype(float).reshape(-1, classes)
        off = max(-seen.min(), seen.max() - 1, 0 if classes == 1 else np.abs(seen.sum(-1) - 1).max())
        if off > 1e-2:
            raise ValueError(
                "expected predictions that are probabilities, because they are taken as they are; "
                f"got numbers from {seen.min():g} to {seen.max():g}"
                + ("" if classes == 1 else f" with sums from {seen.sum(-1).min():g} to {seen.sum(-1).max():g}")
            )


def _check_regions(predictions: AnyArray, targets: AnyArray, **settings) -> None:
    p, t = _with_classes(predictions.shape, targets.shape)
    check_places(predictions, targets, p, t)
    reduction, weights = settings.get("reduction", "mean"), settings.get("class_weights")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"expected a reduction of {', '.join(_REDUCTIONS)}, of classes; got {reduction!r}")
    if weights is not None and np.shape(weights) != p[-1:]:
        raise ShapeError(f"class_weights of shape {p[-1:]}", why="there is one a class", got=np.shape(weights))
    if not settings.get("apply_softmax", True):
        check_probabilities(predictions, p[-1])


@op(_check_regions)
def dice_loss(
    predictions: Float[Array, "..."],
    targets: Num[Array, "..."],
    *,
    class_weights: Array | None = None,
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
        targets: t, one-hot or any probabilities, the same shape; integers have no derivative.
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
    """Remember the probabilities, the targets, what the softmax or the sigmoid remembers, and the shapes."""
    p, t, activation = _probabilities(predictions, targets, apply_softmax)
    numerator, denominator = _overlap(p, t, smooth, alpha, beta, axis)
    l = (1 - numerator / denominator).squeeze(_axes(axis, p))
    if class_weights is not None:
        l = l * along_last(class_weights, l)
    l = _reduce(l[..., first_class(ignore_background, p) :], reduction)
    residuals = p, t, activation, shape_only(predictions), shape_only(targets)
    return l.astype(common_dtype(predictions, targets)), residuals


def dice_loss_bwd(residuals, dl, *, class_weights=None, smooth=1.0, alpha=0.5, beta=0.5, apply_softmax=True,
                  reduction="mean", ignore_background=False, axis=None):  # fmt: skip
    """With l = 1 - N / D: dN = -dl / D, dD = dl N / D^2; dI = dN + (1 - alpha - beta) dD, dP = alpha dD, dT = beta dD.

    Then dp = dI t + dP and dt = dI p + dT at every place, and the softmax or the sigmoid passes dp on to its logits.
    """
    p, t, activation, *arrays = residuals
    n, d = _overlap(p, t, smooth, alpha, beta, axis)
    first, classes = first_class(ignore_background, p), p.shape[-1]
    dl = dl.astype(p.dtype)
    if reduction != "none":
        dl = dl[..., None] / (classes - first if reduction == "mean" else 1)
        dl = jnp.broadcast_to(dl, (*dl.shape[:-1], classes - first))
    dl = jnp.pad(dl, [(0, 0)] * (dl.ndim - 1) + [(first, 0)])
    if class_weights is not None:
        dl = dl * along_last(class_weights, dl)
    dl = jnp.expand_dims(dl, _axes(axis, p))
    alpha, beta = jnp.asarray(alpha, p.dtype), jnp.asarray(beta, p.dtype)
    d_n, d_d = -dl / d, dl * n / (d * d)
    d_i = d_n + (1 - alpha - beta) * d_d
    dp = d_i * t + alpha * d_d
    if apply_softmax:
        (dp,) = _activation(p).bwd(activation, dp)
    dt = d_i * p + beta * d_d
    return cotangents((d.reshape(a.shape[1:]) for d, a in zip((dp, dt), arrays, strict=True)), arrays)


dice_loss.defvjp(dice_loss_fwd, dice_loss_bwd)


def _check_one_region(predictions: AnyArray, targets: AnyArray, *, smooth: Scalar = 1.0, apply_sigmoid: bool = True):
    del smooth
    check_places(predictions, targets, *_with_classes(*_with_one_class(predictions.shape, targets.shape)))
    if not apply_sigmoid:
        check_probabilities(predictions, 1)


@op(_check_one_region)
def binary_dice_loss(
    predictions: Float[Array, "..."], targets: Num[Array, "..."], *, smooth: Scalar = 1.0, apply_sigmoid: bool = True
) -> Float[Array, "..."]:
    """One minus the overlap of one region, l = 1 - (I + s) / ((P + T) / 2 + s), as `dice_loss`.

    Args:
        predictions: Logits, `(batch, ...)` or `(batch, ..., 1)`.
        targets: 0 or 1, the same shape; integers have no derivative.
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
    return dice_loss(*_of_one_class(predictions, targets), smooth=smooth, apply_softmax=apply_sigmoid)


def binary_dice_loss_fwd(predictions, targets, *, smooth=1.0, apply_sigmoid=True):
    """Remember what the loss of several regions remembers, and the shapes."""
    l, residuals = dice_loss.fwd(*_of_one_class(predictions, targets), smooth=smooth, apply_softmax=apply_sigmoid)
    return l, (shape_only(predictions), shape_only(targets), residuals)


def binary_dice_loss_bwd(residuals, dl, *, smooth=1.0, apply_sigmoid=True):
    """As that of several regions, without the axis that was added."""
    predictions, targets, inner = residuals
    dp, dt = dice_loss.bwd(inner, dl, smooth=smooth, apply_softmax=apply_sigmoid)
    return dp.reshape(predictions.shape[1:]), dt if dt is None else dt.reshape(targets.shape[1:])


binary_dice_loss.defvjp(binary_dice_loss_fwd, binary_dice_loss_bwd)


def _with_classes(p, t):
    """Both shapes with an axis of classes, if one of them lacks it."""
    add = lambda shape, other: (*shape, 1) if len(shape) == len(other) - 1 else tuple(shape)
    return add(p, t), add(t, p)


def _with_one_class(p, t):
    """Both shapes with an axis of one class, if they have none."""
    return ((*p, 1), (*t, 1)) if len(p) == len(t) and p[-1:] != (1,) else (p, t)


def _of_one_class(predictions, targets):
    p, t = _with_one_class(predictions.shape, targets.shape)
    return predictions.reshape(p), targets.reshape(t)


def _activation(p):
    return sigmoid if p.shape[-1] == 1 else softmax


def _probabilities(predictions, targets, apply_softmax):
    wide = accumulator_dtype(common_dtype(predictions, targets))
    shapes = _with_classes(predictions.shape, targets.shape)
    p, t = (a.astype(wide).reshape(s) for a, s in zip((predictions, targets), shapes, strict=True))
    p, activation = _activation(p).fwd(p) if apply_softmax else (p, ())
    return p, t, activation


def _axes(axis, p):
    return tuple(range(1, p.ndim - 1)) if axis is None else axis


def _overlap(p, t, smooth, alpha, beta, axis):
    """Numerator and denominator of each class, with the axes that were summed kept."""
    smooth, alpha, beta = (jnp.asarray(a, p.dtype) for a in (smooth, alpha, beta))
    i, p_sum, t_sum = (a.sum(_axes(axis, p), keepdims=True) for a in (p * t, p, t))
    return i + smooth, i + alpha * (p_sum - i) + beta * (t_sum - i) + smooth


def first_class(ignore_background: bool, p: Array) -> int:
    """Return the index of the first class that counts."""
    return int(ignore_background and p.shape[-1] > 1)


def along_last(w: Array, like: Array) -> Array:
    """Return numbers of the last axis so that they multiply an array."""
    w = jnp.asarray(w, like.dtype)
    return w.reshape((1,) * (like.ndim - 1) + w.shape)


def _reduce(l, reduction):
    return l.mean(-1) if reduction == "mean" else l.sum(-1) if reduction == "sum" else l
