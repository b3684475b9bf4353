"""Rearrangement without arithmetic, and the joining of branches.

Dimensions: `batch` the leading axis, `...` any others.
"""

import math
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import jax.numpy as jnp
from jaxtyping import Num

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array


def _check_flatten(x: AnyArray) -> None:
    if x.ndim == 0:
        raise ShapeError("x of shape (batch, ...)", why="flatten keeps the batch axis", got=x.shape)


@op(_check_flatten)
def flatten(x: Num[Array, "batch ..."]) -> Num[Array, "batch features"]:
    """All axes but the first in one, y of shape (batch, product of the others), in row-major order.

    >>> flatten(jnp.zeros((32, 28, 28))).shape
    (32, 784)
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def flatten_fwd(x):
    """Remember the shape."""
    return flatten.plain(x), shape_only(x)


def flatten_bwd(shape, dy):
    """Each element has its own place, so dx is dy in the shape of x."""
    return (dy.reshape(shape.shape[1:]),)


flatten.defvjp(flatten_fwd, flatten_bwd)


def _check_reshape(x: AnyArray, *, shape: SupportsIndex | Sequence[SupportsIndex]) -> None:
    if x.ndim == 0:
        raise ShapeError("x of shape (batch, ...)", why="reshape keeps the batch axis", got=x.shape)
    _filled(x, shape)


@op(_check_reshape)
def reshape(x: Num[Array, "batch ..."], *, shape: SupportsIndex | Sequence[SupportsIndex]) -> Num[Array, "batch ..."]:
    """Each example in another shape, y of shape (batch, *shape), in row-major order.

    Args:
        x: Input, `(batch, ...)`.
        shape: Of an example, without the batch axis; -1 for the one axis that takes what the others leave.

    Raises:
        ShapeError: An example has another number of elements.
        ValueError: The shape has a negative axis that is not -1, or more than one -1.

    >>> reshape(jnp.zeros((32, 784)), shape=(28, 28, 1)).shape, reshape(jnp.zeros((32, 6, 4)), shape=(-1, 8)).shape
    ((32, 28, 28, 1), (32, 3, 8))
    """
    return x.reshape(x.shape[0], *_filled(x, shape))


def reshape_fwd(x, *, shape):
    """Remember the shape."""
    return reshape.plain(x, shape=shape), shape_only(x)


def reshape_bwd(x, dy, *, shape):
    """Each element has its own place, so dx is dy in the shape of x."""
    del shape
    return (dy.reshape(x.shape[1:]),)


reshape.defvjp(reshape_fwd, reshape_bwd)


def _filled(x: AnyArray, shape: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, ...]:
    """The shape, with a number for the -1 in it."""
    sizes = tuple(map(operator.index, (shape,) if isinstance(shape, SupportsIndex) else shape))
    if min(sizes, default=0) < -1 or sizes.count(-1) > 1:
        raise ValueError(f"expected a shape with at most one -1 and nothing else below 0, because it counts elements; "
                         f"got {sizes}")  # fmt: skip
    elements, known = math.prod(x.shape[1:]), math.prod(n for n in sizes if n != -1)
    fits = known != 0 and elements % known == 0 if -1 in sizes else elements == known
    if not fits:
        raise ShapeError(
            f"x of {'a multiple of ' if -1 in sizes else ''}{known} elements an example",
            why=f"each gets the shape {sizes}",
            got=f"{elements} in {tuple(x.shape)}",
        )
    return tuple(elements // known if n == -1 else n for n in sizes)


def _check_concatenate(*arrays: AnyArray) -> None:
    leading = {a.shape[:-1] for a in arrays}
    if len(leading) != 1 or any(a.ndim == 0 for a in arrays):
        raise ShapeError(
            "arrays that agree in every axis but the last",
            why="they are joined along the last",
            got=", ".join(str(tuple(a.shape)) for a in arrays),
        )


@op(_check_concatenate)
def concatenate(*arrays: Num[Array, "..."]) -> Num[Array, "... features"]:
    """Arrays side by side along the last axis, which is the only one in which they may differ.

    >>> concatenate(jnp.zeros((8, 8, 32)), jnp.zeros((8, 8, 16))).shape
    (8, 8, 48)

    Source: as a way to join branches, Szegedy et al., "Going deeper with convolutions" (2015).
    """
    return jnp.concatenate(arrays, axis=-1)


def concatenate_fwd(*arrays):
    """Remember the shapes."""
    return concatenate.plain(*arrays), tuple(shape_only(a) for a in arrays)


def concatenate_bwd(shapes, dy):
    """Each element has its own place, so each array gets its own columns of dy."""
    ends = [sum(s.shape[-1] for s in shapes[: i + 1]) for i in range(len(shapes) - 1)]
    return tuple(jnp.split(dy, ends, axis=-1))


concatenate.defvjp(concatenate_fwd, concatenate_bwd)


def _check_add(*arrays: AnyArray) -> None:
    if len({a.shape for a in arrays}) != 1:
        raise ShapeError(
            "arrays of one shape",
            why="they are added element by element",
            got=", ".join(str(tuple(a.shape)) for a in arrays),
            hint="project the narrower one first, with Dense(features)",
        )


@op(_check_add)
def add(*arrays: Num[Array, "*shape"]) -> Num[Array, "*shape"]:
    """The sum of arrays of one shape, y = x_1 + ... + x_k.

    >>> add(jnp.array([1.0, 2.0]), jnp.array([10.0, 20.0]))
    Array([11., 22.], dtype=float32)

    Source: as a way to join branches, He et al., "Deep residual learning" (2016).
    """
    return sum(arrays[1:], arrays[0])


def add_fwd(*arrays):
    """Remember how many there were."""
    return add.plain(*arrays), tuple(shape_only(a) for a in arrays)


def add_bwd(arrays, dy):
    """dy/dx_i = 1, so every array gets dy."""
    return (dy,) * len(arrays)


add.defvjp(add_fwd, add_bwd)
