"""What a metric asks of prediction, target and weights, and how it reads them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnn.errors import ShapeError, is_array, values
from jaxnn.losses import cross_entropy
from jaxnn.losses._shapes import check_range, check_same_shape
from jaxnn.typing import AnyArray, Array, Scalar


def check_arrays(**named: Any) -> None:
    """Raise an error unless all of these are arrays.

    >>> check_arrays(prediction=[0.5, 1.0], target=np.ones(2))
    Traceback (most recent call last):
        ...
    TypeError: expected prediction as an array, because its shape and dtype say what it is; got list
      hint: jnp.asarray(prediction)
    """
    for name, x in named.items():
        if not is_array(x):
            raise TypeError(f"expected {name} as an array, because its shape and dtype say what it is; "
                            f"got {type(x).__name__}\n  hint: jnp.asarray({name})")  # fmt: skip


def check_classes(prediction: AnyArray, target: AnyArray) -> None:
    """Raise an error unless there is a score for each of two classes or more, and a label or a one-hot row."""
    check_arrays(prediction=prediction, target=target)
    if prediction.ndim < 1 or prediction.shape[-1] < 2:
        raise ShapeError(
            "prediction of shape (..., classes) with two classes or more",
            why="the largest of them is the answer",
            got=tuple(prediction.shape),
            hint="one logit a yes-or-no question: binary_accuracy",
        )
    cross_entropy.check(prediction, target)


def check_answers(prediction: AnyArray, target: AnyArray) -> None:
    """Raise an error unless there is a score for each target, and the targets are 0, 1 or between."""
    check_arrays(prediction=prediction, target=target)
    check_same_shape(prediction, target)
    check_range("targets", target, 0, 1, why="they are probabilities")


def check_distributions(prediction: AnyArray, target: AnyArray) -> None:
    """Raise an error unless the rows of the prediction are probabilities, and the target fits them."""
    check_classes(prediction, target)
    _check_probabilities(prediction, "softmax", rows=True)


def check_chances(prediction: AnyArray, target: AnyArray) -> None:
    """Raise an error unless there is a probability for each target, and the targets are 0, 1 or between."""
    check_answers(prediction, target)
    _check_probabilities(prediction, "sigmoid", rows=False)


def _check_probabilities(prediction, transform, *, rows):
    seen = values(prediction)
    if seen is None or not seen.size:
        return
    seen, near = seen.astype(np.float64), _near(prediction.dtype)
    hint = f"  hint: logits: Through(jaxnn.{transform}, metric)"
    if seen.min() < -near or seen.max() > 1 + near:
        error = ValueError("expected predictions from 0 to 1, because they are probabilities; "
                           f"got predictions from {seen.min():.6g} to {seen.max():.6g}")  # fmt: skip
    elif rows and not np.isnan(seen).any() and abs(seen.sum(-1) - 1).max() > near:
        sums = seen.sum(-1)
        error = ValueError("expected rows of predictions that sum to 1, because they are probabilities; "
                           f"got sums from {sums.min():.6g} to {sums.max():.6g}")  # fmt: skip
    else:
        return
    error.add_note(hint)
    raise error


def no_distributions(p: Array) -> Array:
    """Whether rows are no probabilities, where an error cannot be raised; `(..., classes)` to `(...)`, bool."""
    return no_chances(p).any(-1) | (abs(p.sum(-1) - 1) > _near(p.dtype))


def no_chances(p: Array) -> Array:
    """Whether numbers are no probabilities, NaN among them; any shape, bool."""
    return ~((p >= -_near(p.dtype)) & (p <= 1 + _near(p.dtype)))


def _near(dtype) -> float:
    """How far from 1 a sum of probabilities may be that were rounded to `dtype`, and perhaps to float32 before."""
    floating = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    return max(1e-3, float(jnp.finfo(floating).eps) ** 0.5)


def labels(target: Array) -> Array:
    """Return the classes that integer labels or one-hot rows stand for, int32; a row with a NaN for none, -1."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return target.astype(jnp.int32)
    return jnp.where(jnp.isnan(target).any(-1), -1, target.argmax(-1)).astype(jnp.int32)


def spread(weight: AnyArray | None, shape: tuple[int, ...]) -> Array:
    """Return a weight for each element of `shape`, in JAX's float dtype; 1 where there is none.

    Raises:
        ShapeError: The weights have no longer or shorter prefix of that shape.
        TypeError: They are no array.

    >>> spread(jnp.array([1.0, 0.0]), (2, 3))
    Array([[1., 1., 1.],
           [0., 0., 0.]], dtype=float32)
    """
    if weight is None:
        return jnp.ones(shape, jnp.result_type(float))
    check_arrays(weight=weight)
    if weight.shape != shape[: weight.ndim] or (weight.ndim == 0 and shape):
        raise ShapeError(
            f"weights of shape {shape[:1]}, or any longer prefix of {shape}",
            why=f"what is weighed is {shape}",
            got=tuple(weight.shape),
        )
    weight = jnp.asarray(weight).astype(jnp.result_type(float))
    return jnp.broadcast_to(weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim)), shape)


def weighed(weight: Array, x: Array) -> Array:
    """Return w x, in the dtype of w; what weighs nothing counts for nothing, even if it is NaN."""
    return jnp.where(weight == 0, 0, weight * x.astype(weight.dtype))


def ratio(numerator: Array, denominator: Array, otherwise: Scalar = jnp.nan) -> Array:
    """Return a quotient, and `otherwise` where the denominator is 0."""
    otherwise = jnp.asarray(otherwise, numerator.dtype)
    return jnp.where(denominator == 0, otherwise, numerator / jnp.where(denominator == 0, 1, denominator))
