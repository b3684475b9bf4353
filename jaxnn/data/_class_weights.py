"""Weights of classes: that what is rare counts as much as what is frequent.

Dimensions: `batch` examples, `...` further axes, such as time, `classes`.
"""

import operator
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnn.errors import ShapeError, is_array, values
from jaxnn.losses._shapes import check_integer, check_range
from jaxnn.metrics._targets import spread
from jaxnn.typing import AnyArray, Array, Data


def class_weights(y: AnyArray, classes: int, weights: Any = "balanced", *, w: AnyArray | None = None) -> Array:
    """Return a weight for each class; balanced ones are n / (K n_k) for the n_k of n examples that are of class k.

    K is the number of classes that have examples, so that the mean of the weights over examples is 1. A class without
    any has the weight 0: there is no number that would make up for it.

    Args:
        y: Integer labels, `(batch, ...)`, or floating one-hot rows, `(batch, ..., classes)`. Rows may be of any
            probabilities, such as smoothed ones; they count for several classes in part.
        classes: How many there are.
        weights: `"balanced"`, as scikit-learn's `compute_class_weight` has it; or a number for each class,
            `(classes,)`; or a dict from labels to numbers, in which those that are left out have 1. They are at
            least 0, and may be tracers.
        w: Weights of the examples, of the shape of labels or any prefix of it. n and n_k are sums of them: what weighs
            nothing is not counted. All count alike by default.

    Returns:
        `(classes,)`, in JAX's float dtype.

    Raises:
        TypeError: Labels are neither integers nor rows of floats; `weights` is none of the three.
        ValueError: A label is out of range, or a row no distribution; a weight is negative. Where values cannot be
            seen, in a compiled program, such labels are not counted.
        ShapeError: There is not one weight a class, or not one number in a row.

    >>> class_weights(jnp.array([0, 0, 0, 1]), 2).round(4)
    Array([0.6667, 2.    ], dtype=float32)
    >>> class_weights(jnp.array([0, 0, 0, 1]), 2, {1: 5.0})
    Array([1., 5.], dtype=float32)

    Source: King and Zeng, "Logistic regression in rare events data" (2001).
    """
    _check_labels(y, classes, w)
    return _resolved(jnp.asarray(y), classes, weights, w)


def class_weighted(data: Data, weights: Any = "balanced", classes: int | None = None) -> Data:
    """Return the data with the weight of each example times that of its class.

    A loss over it is sum_i w_i l_i / sum_i w_i, as PyTorch's `CrossEntropyLoss(weight=...)` has it. Keras's
    `class_weight` divides by the number of examples instead, which over all the data is the same for balanced weights,
    whose mean is 1. Validation data get the weights of the training data by
    `class_weighted(validation, class_weights(train.y, classes))`.

    Args:
        data: With integer labels `(batch, ...)` for targets, such as one a token, or one-hot rows
            `(batch, ..., classes)`. Of a row of any other probabilities the weight is the mean of those of its classes.
        weights: As in `class_weights`; balanced ones are of what the examples weigh already.
        classes: How many there are; by default as many as a row or `weights` has, or the largest label says, if it
            can be seen.

    Returns:
        The data with weights of the shape of its labels.

    Raises:
        TypeError: The data is no `Data`, its targets are neither integers nor rows of floats, or `weights` is none of
            the three; `classes` is left out and labels cannot be seen.
        ValueError: A label is out of range, or a row no distribution; a weight is negative. Where values cannot be
            seen, in a compiled program, such labels have the weight NaN.
        ShapeError: There is not one weight a class, or not one number in a row; examples have weights of another shape.

    >>> import jaxnn as nn
    >>> data = nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 0, 1]))
    >>> nn.data.class_weighted(data).w.round(4)
    Array([0.6667, 0.6667, 0.6667, 2.    ], dtype=float32)
    """
    if not isinstance(data, Data):
        raise TypeError(f"expected nn.Data(x, y), because its targets are weighed; got {type(data).__name__}")
    y, w = data.y, data.w
    _check_targets(y)
    classes = _classes(y, weights) if classes is None else classes
    _check_labels(y, classes, w)
    y = jnp.asarray(y)
    each, own = _resolved(y, classes, weights, w), spread(w, _shape(y))
    if _rows(y):
        of_examples = (y.astype(each.dtype) * each.reshape((1,) * (y.ndim - 1) + (classes,))).sum(-1)
    else:
        of_examples = each.at[_inside(y, classes)].get(mode="fill", fill_value=jnp.nan)
    # What weighs nothing may have any label.
    weighed = own * jnp.where(own == 0, 0, of_examples)
    if w is not None and jnp.issubdtype(w.dtype, jnp.floating):
        weighed = weighed.astype(jnp.asarray(w).dtype)
    return data._replace(w=weighed)


def _resolved(y: Array, classes: int, weights: Any, w: AnyArray | None) -> Array:
    """The weight of each class, `(classes,)`."""
    dtype = jnp.result_type(float)
    if isinstance(weights, str) and weights == "balanced":
        return _balanced(y, classes, w)
    if isinstance(weights, Mapping):
        each = jnp.ones(classes, dtype)
        for label, weight in weights.items():
            check_range(f"the weight of class {label}", weight, 0, why="it weighs examples")
            each = each.at[_label(label, classes)].set(jnp.asarray(weight, dtype))
        return each
    if isinstance(weights, list | tuple) or is_array(weights):
        each = jnp.asarray(weights, dtype)
        if each.shape != (classes,):
            raise ShapeError(f"weights of shape ({classes},)", why="there is one for each class", got=each.shape)
        check_range("weights", each, 0, why="they weigh examples")
        return each
    raise TypeError("expected weights to be 'balanced', a number for each class, or a dict from labels to numbers, "
                    f"because classes get them; got {weights!r}")  # fmt: skip


def _balanced(y: Array, classes: int, w: AnyArray | None) -> Array:
    """n / (K n_k), and 0 where n_k is."""
    dtype = jnp.result_type(float)
    if _rows(y):
        own = spread(w, _shape(y))[..., None]
        n_k = jnp.where(own == 0, 0, own * y.astype(dtype)).reshape(-1, classes).sum(0)
    else:
        # Integers where they do: ones that are added up in float32 stay at 2^24.
        own = jnp.ones(y.shape, jnp.int32) if w is None else spread(w, y.shape)
        n_k = jnp.zeros(classes, own.dtype).at[_inside(y, classes)].add(own, mode="drop").astype(dtype)
    seen = n_k > 0
    k = seen.sum().astype(dtype)
    return jnp.where(seen, n_k.sum() / jnp.where(seen, k * n_k, 1), 0)


def _classes(y: AnyArray, weights: Any) -> int:
    """How many classes there are, as far as targets and weights say."""
    if _rows(y):
        return y.shape[-1]
    if is_array(weights) or isinstance(weights, list | tuple):
        return len(weights)
    seen = values(y)
    if seen is None:
        raise TypeError("expected classes, because labels cannot be seen within jit and the like; got None\n"
                        "  hint: class_weighted(data, classes=10)")  # fmt: skip
    labels = map(operator.index, weights) if isinstance(weights, Mapping) else ()
    return max(int(seen.max(initial=0)), *labels, 0) + 1


def _check_targets(y: Any) -> None:
    """Raise an error unless these are integer labels, or have the shape of one-hot rows."""
    if not is_array(y):
        raise TypeError(f"expected labels as an array, because its dtype says what they are; got {type(y).__name__}\n"
                        "  hint: jnp.asarray(labels)")  # fmt: skip
    if not _rows(y):
        check_integer(y)
    elif y.ndim < 2:
        raise TypeError(
            f"expected integer labels, or one-hot rows of shape (batch, classes), because they say of which "
            f"class an example is; got {y.dtype} of shape {tuple(y.shape)}\n  hint: labels.astype(int)"
        )


def _check_labels(y: Any, classes: int, w: AnyArray | None) -> None:
    """Raise an error unless those that count and can be seen are of these classes."""
    _check_targets(y)
    if operator.index(classes) < 1:
        raise ValueError(f"expected classes of at least 1, because each has a weight; got {classes}")
    seen = values(y)
    if _rows(y):
        if y.shape[-1] != classes:
            raise ShapeError(f"one-hot rows of shape (..., {classes})", why="there is a number for each class",
                             got=tuple(y.shape))  # fmt: skip
        weight = values(w)
        if seen is not None and weight is not None and weight.shape == seen.shape[: weight.ndim]:
            seen = seen[weight != 0]  # what weighs nothing may be anything
        if seen is not None and not (seen.min(initial=0) >= 0 and np.allclose(seen.sum(-1, dtype=float), 1, atol=1e-2)):
            sums = seen.sum(-1, dtype=float)
            raise ValueError("expected one-hot rows, because floats are no labels; got rows that are no distributions, "
                             f"of sums from {sums.min():.6g} to {sums.max():.6g}")  # fmt: skip
        return
    weight = values(w)
    if seen is None or (w is not None and weight is None):
        return
    if weight is not None and weight.shape == seen.shape[: weight.ndim]:
        seen = seen[weight != 0]  # what weighs nothing may have any label
    if seen.size and (seen.min() < 0 or seen.max() >= classes):
        raise ValueError(
            f"expected labels from 0 to {classes - 1}, because there are {classes} classes; got labels from "
            f"{seen.min()} to {seen.max()}\n  hint: those that are to be ignored have weights of 0"
        )


def _label(label: Any, classes: int) -> int:
    number = operator.index(label)
    if not 0 <= number < classes:
        raise ValueError(f"expected weights of labels from 0 to {classes - 1}, because there are {classes} classes; "
                         f"got one of {label}")  # fmt: skip
    return number


def _rows(y: AnyArray) -> bool:
    """Whether targets are rows of probabilities, and no labels."""
    return jnp.issubdtype(y.dtype, jnp.floating)


def _shape(y: AnyArray) -> tuple[int, ...]:
    """The shape that labels have, or would have in the place of rows."""
    return y.shape[:-1] if _rows(y) else y.shape


def _inside(y: Array, classes: int) -> Array:
    """Labels as indices, of which those below 0 are out of range too, and do not count from the end."""
    y = y.astype(jnp.int32)
    return jnp.where(y < 0, classes, y)
