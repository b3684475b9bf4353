"""Errors that say what was expected, why, what came, and where; and how an error learns its layer's name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.core
import numpy as np

_HINT = "  hint: "


class ShapeError(ValueError):
    """An array has a shape that cannot be meant.

    The message has one form everywhere, and the layers that it passes through add where it happened:

    >>> raise ShapeError("x of shape (..., 784)", why="w is (784, 64)", got=(32, 28, 28), hint="flatten")
    Traceback (most recent call last):
        ...
    jaxnn.errors.ShapeError: expected x of shape (..., 784), because w is (784, 64); got (32, 28, 28)
      hint: flatten
    """

    def __init__(self, expected: str, *, why: str, got: Any, hint: str | None = None) -> None:
        super().__init__(f"expected {expected}, because {why}; got {got}")
        if hint is not None:
            self.add_note(_HINT + hint)


def describe(x: Any) -> str:
    """Return the dtypes and shapes of a tree of arrays, such as `float32[32,28,28]`.

    >>> import jax.numpy as jnp
    >>> describe(jnp.zeros((2, 3))), describe((jnp.zeros(4), jnp.arange(2)))
    ('float32[2,3]', '(float32[4], int32[2])')
    """
    leaves = [
        f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" if is_array(leaf) else repr(leaf)
        for leaf in jax.tree.leaves(x)
    ]
    return leaves[0] if len(leaves) == 1 else f"({', '.join(leaves)})"


@contextmanager
def located(where: Callable[[], str]) -> Iterator[None]:
    """Add the line `in {where()}` to any error that passes through, innermost first and before the hint.

    >>> with located(lambda: "dense_0: Dense(64)"):
    ...     raise ValueError("too wide")
    Traceback (most recent call last):
        ...
    ValueError: too wide
      in dense_0: Dense(64)
    """
    try:
        yield
    except Exception as error:
        # A hint stays last, and a note that JAX adds on the way out of a scan comes after both.
        error.add_note(f"  in {where()}")
        rank = lambda note: 0 if note.startswith("  in ") else 1 if note.startswith(_HINT) else 2
        error.__notes__.sort(key=rank)
        raise


def is_array(x: Any) -> bool:
    """Whether `x` has a shape and a dtype: a JAX or NumPy array, a tracer, or a `ShapeDtypeStruct`."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def values(x: Any) -> np.ndarray | None:
    """Return the values of an array or a number if they can be seen now, on the host; `None` for tracers and outlines.

    >>> import jax.numpy as jnp
    >>> values(jnp.arange(3))
    array([0, 1, 2], dtype=int32)
    >>> values(jax.ShapeDtypeStruct((3,), jnp.int32)) is None
    True
    """
    abstract = isinstance(x, jax.core.Tracer | jax.ShapeDtypeStruct)
    return np.asarray(x) if not abstract and (is_array(x) or isinstance(x, int | float)) else None
