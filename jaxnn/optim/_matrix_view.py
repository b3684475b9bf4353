"""Tensors seen as matrices, for rules that are about matrices: which axes are rows, and which are columns."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from jaxnn.errors import ShapeError
from jaxnn.typing import AnyArray, Array


class MatrixView(NamedTuple):
    """How a tensor is a matrix, or several."""

    rows: int
    columns: int
    batch: int  # how many matrices; 1 where all axes are named
    to: Callable[[Array], Array]  # to shape (batch, rows, columns)
    back: Callable[[Array], Array]


def matrix_view(x: AnyArray, reduction_axis: Sequence[int] | int, output_axis: Sequence[int] | int) -> MatrixView:
    """Return the view in which some axes are rows, some columns, and the others count matrices.

    Args:
        x: A tensor, of which the shape is looked at.
        reduction_axis: The axis or axes of rows, which a product x @ w sums over.
        output_axis: The axis or axes of columns.

    Raises:
        ShapeError: `x` has fewer than two axes, or none of those named.
        ValueError: An axis is named twice.

    >>> import jax.numpy as jnp
    >>> x = jnp.zeros((7, 2, 3, 5))
    >>> view = matrix_view(x, 1, (3, 2))
    >>> view.to(x).shape, view.back(view.to(x)).shape
    ((7, 2, 15), (7, 2, 3, 5))
    """
    named = [(axes,) if isinstance(axes, int) else tuple(axes) for axes in (reduction_axis, output_axis)]
    if x.ndim < 2 or not all(-x.ndim <= axis < x.ndim for axes in named for axis in axes):
        raise ShapeError(f"a parameter with axes {named[0]} and {named[1]}", why="they are the rows and the columns of "
                         "a matrix", got=x.shape, hint="leave this parameter to another optimizer")  # fmt: skip
    rows, columns = (tuple(axis % x.ndim for axis in axes) for axes in named)
    if len(set(rows + columns)) < len(rows + columns):
        raise ValueError(f"expected axes of rows and of columns that are not the same, because each is one or the "
                         f"other; got {reduction_axis} and {output_axis} of shape {x.shape}")  # fmt: skip
    batch = tuple(axis for axis in range(x.ndim) if axis not in rows + columns)
    order = batch + rows + columns
    sizes = tuple(x.shape[axis] for axis in order)
    shape = tuple(math.prod(x.shape[axis] for axis in axes) for axes in (batch, rows, columns))
    inverse = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return MatrixView(
        shape[1],
        shape[2],
        shape[0],
        lambda x: x.transpose(order).reshape(shape),
        lambda x: x.reshape(sizes).transpose(inverse),
    )


def dimension_numbers(given: Any, tree: Any, kind: type) -> Any:
    """Return dimension numbers, or `None`, for each leaf of a tree.

    Args:
        given: `None` for those of a matrix, where a leaf has two axes; some for all leaves that have two or more; a
            tree of them and of `None`, which may be a prefix; or a function from a tree to such a tree.
        tree: Parameters or updates, some of which may be masked.
        kind: The class of dimension numbers.
    """
    if given is None:
        return jax.tree.map(lambda x: kind() if x.ndim == 2 else None, tree)
    if isinstance(given, kind):
        return jax.tree.map(lambda x: given if x.ndim >= 2 else None, tree)
    each = given(tree) if callable(given) else given
    is_one = lambda numbers: numbers is None or isinstance(numbers, kind | optax.MaskedNode)
    return jax.tree.map(lambda numbers, part: jax.tree.map(lambda _: numbers, part), each, tree, is_leaf=is_one)
