"""What a prediction and its target must have in common, and what their values may be."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnn.errors import ShapeError, values
from jaxnn.typing import AnyArray


def check_same_shape(prediction: AnyArray, target: AnyArray | None = None, **settings: Any) -> None:
    """Raise an error unless both have one shape: a loss does not broadcast. Settings do not matter."""
    if target is not None and prediction.shape != target.shape:
        squeezed = [s for s in (prediction.shape, target.shape) if s[-1:] == (1,)]
        raise ShapeError(
            f"prediction and target of one shape, {tuple(target.shape)}",
            why="broadcasting would compare every prediction with every target",
            got=f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)}",
            hint="drop the last axis: prediction[..., 0], or keep it in both" if squeezed else None,
        )


def check_integer(labels: AnyArray) -> None:
    """Raise an error unless labels are integers: a float would be cut to one."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):  # JAX's, which knows keys and bfloat16
        raise TypeError(f"expected integer labels, because they count classes; got {labels.dtype}\n"
                        "  hint: labels.astype(int)")  # fmt: skip


def check_axes(shape: tuple[int, ...], axis: int | tuple[int, ...] | None, where: AnyArray | None) -> None:
    """Raise an error unless the axes are axes of the shape and the mask is one of it, or of it without them."""
    rank = len(shape)
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else axis
    if not all(-rank <= a < rank for a in axes):
        raise ShapeError(f"axes from {-rank} to {rank - 1}", why=f"the shape is {tuple(shape)}", got=axis)
    if where is not None:
        rest = tuple(n for a, n in enumerate(shape) if a not in {b % rank for b in axes})
        mask = np.shape(where)
        like = shape if len(mask) == rank else rest
        if len(mask) != len(like) or any(n not in (1, m) for n, m in zip(mask, like, strict=True)):
            raise ShapeError(
                f"where of shape {tuple(shape)} or {rest}",
                why="it says which elements, or which examples, count",
                got=tuple(mask),
            )


def check_class_weights(logits: AnyArray, class_weights: AnyArray | None) -> None:
    """Raise an error unless there is one weight a class."""
    if class_weights is not None and np.shape(class_weights) != logits.shape[-1:]:
        raise ShapeError(
            f"class weights of shape {tuple(logits.shape[-1:])}",
            why=f"logits are {tuple(logits.shape)}, with the classes last",
            got=tuple(np.shape(class_weights)),
        )


def check_range(name: str, x: Any, low: int | float, high: int | float = np.inf, *, why: str) -> None:
    """Raise an error if values that can be seen are not within low and high; NaN is let through, to be seen later.

    >>> check_range("targets", np.array([0.5, 2.0]), 0, 1, why="they are probabilities")
    Traceback (most recent call last):
        ...
    ValueError: expected targets from 0 to 1, because they are probabilities; got targets from 0.5 to 2.0
    """
    seen = values(x)
    if seen is not None and seen.size:
        smallest, largest = seen.min(), seen.max()
        if smallest < low or largest > high:
            bounds = f"from {low} to {high}" if np.isfinite(high) else f"of at least {low}"
            raise ValueError(f"expected {name} {bounds}, because {why}; got {name} from {smallest} to {largest}")


def check_positive(name: str, x: Any, *, why: str) -> None:
    """Raise an error if values that can be seen are not above 0.

    >>> check_positive("delta", 0.0, why="it is a width")
    Traceback (most recent call last):
        ...
    ValueError: expected delta above 0, because it is a width; got 0.0
    """
    seen = values(x)
    if seen is not None and seen.size and seen.min() <= 0:
        raise ValueError(f"expected {name} above 0, because {why}; got {seen.min()}")
