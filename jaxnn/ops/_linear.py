"""Affine maps: a matrix product, its bias alone, and the look-up that is its special case for one-hot rows.

Dimensions: `in`, `out` features before and after; `vocabulary` rows of a table of `features`.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError, values
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array


def _check_linear(x: AnyArray, w: AnyArray, b: AnyArray | None = None) -> None:
    if w.ndim != 2:
        raise ShapeError("w of shape (in, out)", why="linear is a matrix product", got=w.shape)
    if x.ndim < 1 or x.shape[-1] != w.shape[0]:
        fits = x.ndim > 2 and math.prod(x.shape[1:]) == w.shape[0]
        hint = f"flatten first: serial(flatten, Dense({w.shape[1]}), ...)" if fits else None
        raise ShapeError(f"x of shape (..., {w.shape[0]})", why=f"w is {tuple(w.shape)}", got=tuple(x.shape), hint=hint)
    if b is not None and b.shape != w.shape[1:]:
        raise ShapeError(f"b of shape ({w.shape[1]},)", why=f"w is {tuple(w.shape)}", got=tuple(b.shape))


@op(_check_linear)
def linear(
    x: Float[Array, "... in"], w: Float[Array, "in out"], b: Float[Array, " out"] | None = None
) -> Float[Array, "... out"]:
    """Affine map of the last axis, y = x w + b.

    Args:
        x: Input, `(..., in)`.
        w: Weights, `(in, out)`; the transpose of PyTorch's.
        b: Bias, `(out,)`, or `None` for a linear map.

    Returns:
        y, `(..., out)`.

    Raises:
        ShapeError: The last axis of x is not the first of w, or b is not as long as the last of w.

    >>> linear(jnp.array([[3.0, 4.0]]), jnp.array([[2.0], [-1.0]]), jnp.array([0.5]))
    Array([[2.5]], dtype=float32)

    Source: Rosenblatt, "The perceptron" (1958), without its threshold.
    """
    y = x @ w
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def linear_fwd(x, w, b=None):
    """Remember x and w, for each is the other's derivative, and whether there is a b."""
    return linear.plain(x, w, b), (x, w, None if b is None else shape_only(b))


def linear_bwd(residuals, dy):
    """With the leading axes folded into one, n:

    y_no = sum_i x_ni w_io + b_o, so dx_ni = sum_o dy_no w_io, dw_io = sum_n x_ni dy_no, db_o = sum_n dy_no.
    """
    x, w, b = residuals
    x_rows, dy_rows = (a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in (x, dy))
    dx = dy @ w.T
    dw = _transposed(x_rows) @ dy_rows
    db = None if b is None else dy_rows.sum(axis=0)
    return dx, dw, db


# Of x with several axes JAX's own takes half as long again, for its dw is a product that has as many.
linear.defvjp(linear_fwd, linear_bwd, install=True)

SMALL = 2**12
"""Up to so many numbers a factor of a product is small."""


def _transposed(x):
    """x^T; of a small x on a CPU a copy.

    There XLA has a fast form of small products, but not of those with a factor to transpose. Large ones are as fast
    without a copy, or faster.
    """
    if not isinstance(x.size, int) or x.size > SMALL:  # where programs are exported a size may be a symbol
        return x.T
    return lax.platform_dependent(x, cpu=lambda x: lax.optimization_barrier(x.T), default=jnp.transpose)


def _check_bias(x: AnyArray, b: AnyArray) -> None:
    if b.ndim != 1 or x.shape[-1:] != b.shape:
        raise ShapeError(f"x of shape (..., {b.size})", why=f"b is {tuple(b.shape)}", got=tuple(x.shape))


@op(_check_bias)
def bias(x: Float[Array, "... features"], b: Float[Array, " features"]) -> Float[Array, "... features"]:
    """Shift of each feature, y = x + b: what `linear` adds last, as if of a constant input of 1.

    Raises:
        ShapeError: b has not one number for each feature of x.

    >>> bias(jnp.array([[3.0, 4.0]]), jnp.array([0.5, -1.0]))
    Array([[3.5, 3. ]], dtype=float32)

    Source: Widrow and Hoff, "Adaptive switching circuits" (1960).
    """
    return x + jnp.broadcast_to(b, x.shape)


def bias_fwd(x, b):
    """Remember nothing but the dtype of b."""
    return bias.plain(x, b), shape_only(b)


def bias_bwd(b, dy):
    """y_no = x_no + b_o, so dx = dy and db_o = sum_n dy_no."""
    return dy, dy.sum(range(dy.ndim - 1)).astype(b.dtype)


bias.defvjp(bias_fwd, bias_bwd)


def _check_embed(ids: AnyArray, table: AnyArray) -> None:
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"expected integer ids, because they index rows of a table; got {ids.dtype}")
    seen = values(ids)
    if seen is not None and seen.size:
        smallest, largest = seen.min(), seen.max()
        if smallest < 0 or largest >= table.shape[0]:
            raise ValueError(
                f"expected ids from 0 to {table.shape[0] - 1}, because the table is {tuple(table.shape)}; "
                f"got ids from {smallest} to {largest}"
            )


@op(_check_embed)
def embed(ids: Integer[Array, "..."], table: Float[Array, "vocabulary features"]) -> Float[Array, "... features"]:
    """Rows of a table, y = table[ids]: the product of one-hot rows and the table, without the product.

    Args:
        ids: Integers from 0 to vocabulary - 1, any shape.
        table: Rows to choose from, `(vocabulary, features)`.

    Returns:
        The rows, `(..., features)`. Inside a compiled program, where an id cannot be refused, one that is
        out of range gives NaN rather than some other row.

    Raises:
        TypeError: The ids are not integers.
        ValueError: A concrete id is out of range.

    >>> embed(jnp.array([2, 0]), jnp.array([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]))
    Array([[2. , 2.5],
           [0. , 0.5]], dtype=float32)

    Source: Bengio et al., "A neural probabilistic language model" (2003).
    """
    return jnp.take(table, _rows(ids, table.shape[0]), axis=0, mode="fill")


def embed_fwd(ids, table):
    """Remember the ids, and of the table its shape."""
    return embed.plain(ids, table), (ids, shape_only(table))


def embed_bwd(residuals, dy):
    """Row v of the table is used wherever ids = v, so d_table_v = the sum of dy over those places."""
    ids, table = residuals
    rows = _rows(ids, table.shape[1])
    d_table = jnp.zeros(table.shape[1:], table.dtype).at[rows].add(dy, mode="drop")
    return None, d_table


embed.defvjp(embed_fwd, embed_bwd)


def _rows(ids, vocabulary):
    """The ids, with one past the end for negative ones, which JAX would count from the end of the table."""
    return jnp.where(ids < 0, vocabulary, ids.astype(jnp.int32))
