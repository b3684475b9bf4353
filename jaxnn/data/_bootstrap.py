"""Bootstrap samples: rows that are drawn with replacement, a sample for each member, and the rows that it lacks.

Dimensions: `members` samples, `size` rows of each, `n` examples to draw from.
"""

from typing import SupportsIndex

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.training._checks import count
from jaxnn.typing import AnyArray, Array, Key


def bootstrap(key: Key, n: SupportsIndex, members: SupportsIndex, *, size: SupportsIndex | None = None) -> Array:
    """Draw for each member as many rows as there are, with replacement: each row is any of 0, ..., n - 1 alike.

    A sample of n rows lacks a given one with a probability of (1 - 1/n)^n, about 1/e = 0.368: what it lacks is out of
    the bag, and tells what a model of the sample makes of examples that it has not seen (see `out_of_bag`). The rows of
    a member follow from the key and its number alone, so more members leave those of the others as they are.

    Args:
        key: Chooses all of them.
        n: How many examples there are.
        members: How many samples to draw.
        size: How many rows each has; by default n.

    Returns:
        int32 `(members, size)`. `data.take(rows[m])` is the sample of member m, and so is `fit(..., sampling=rows[m])`
        without a copy of the data.

    Raises:
        TypeError: A count is no int.
        ValueError: A count is below 1.

    >>> rows = bootstrap(jax.random.key(0), 5, 3)
    >>> rows.shape, bool((rows == bootstrap(jax.random.key(0), 5, 4)[:3]).all())
    ((3, 5), True)

    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979); Breiman, "Bagging predictors" (1996).
    """
    n = count(n, "n", why="rows are drawn of so many examples")
    members = count(members, "members", why="each has a sample of its own")
    size = n if size is None else count(size, "size", why="a sample has so many rows")
    draw = lambda member: jax.random.randint(jax.random.fold_in(key, member), (size,), 0, n, jnp.int32)
    return jax.vmap(draw)(jnp.arange(members, dtype=jnp.int32))


def out_of_bag(rows: AnyArray, n: SupportsIndex) -> Array:
    """Return which examples are in no row of a member's sample.

    Args:
        rows: Integers from 0 to n - 1, `(members, size)`, such as `bootstrap` returns; or of one sample, `(size,)`.
        n: How many examples there are.

    Returns:
        bool `(members, n)`, or `(n,)` of a single sample.

    Raises:
        TypeError: Rows are no integers; `n` is no int.
        ShapeError: Rows have neither one nor two axes.
        ValueError: A row, where it can be seen, is out of range; `n` is below 1.

    >>> out_of_bag(jnp.array([[0, 0, 2], [1, 1, 1]]), 3).astype(int)
    Array([[0, 1, 0],
           [1, 0, 1]], dtype=int32)

    Source: Breiman, "Out-of-bag estimation" (1996).
    """
    n = count(n, "n", why="it counts examples")
    if not is_array(rows) or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise TypeError(f"expected rows as an array of integers, because they are indices; got {describe(rows)}")
    if rows.ndim not in (1, 2):
        raise ShapeError("rows of shape (members, size) or (size,)", why="each member has a sample", got=rows.shape)
    seen = values(rows)
    if seen is not None and seen.size and not (seen.min() >= 0 and seen.max() < n):
        raise ValueError(
            f"expected rows from 0 to {n - 1}, because there are {n} examples; got {seen.min()} to {seen.max()}"
        )
    lacks = lambda rows: jnp.ones(n, bool).at[rows].set(False)
    rows = jnp.asarray(rows)
    return lacks(rows) if rows.ndim == 1 else jax.vmap(lacks)(rows)
