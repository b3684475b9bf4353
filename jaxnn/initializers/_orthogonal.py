"""Initialisers that keep lengths: orthogonal matrices, and convolutions that are one at a single tap."""

import math
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.errors import ShapeError
from jaxnn.initializers._constant import at_centre
from jaxnn.initializers._initializer import check_axes
from jaxnn.typing import Array, Key, Scalar, accumulator_dtype


@final
@by_value
@dataclass(frozen=True)
class Orthogonal:
    """`scale` times an orthogonal matrix, all of which are equally likely.

    The weight is seen as a matrix w of `column_axis` against all other axes: of rows for what a unit sums over,
    columns for units. If it is square or tall, w^T w = scale^2 I: its columns are orthonormal. If it is wide its
    rows are, w w^T = scale^2 I, for there cannot be as many orthonormal columns. So y = x w keeps the length of x if
    in <= out, and of a square matrix the gradients' too; only where the layers between are linear, of course.

    Attributes:
        scale: Of the matrix: `gain` in PyTorch and Keras. May be a tracer.
        column_axis: The axis of units.

    Raises:
        ShapeError: The shape has fewer than two axes.

    >>> w = Orthogonal()(jax.random.key(0), (3, 2), jnp.float32)
    >>> bool(jnp.allclose(w.T @ w, jnp.eye(2), atol=1e-6))
    True

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks" (2014); for equally likely, Mezzadri, "How to generate random matrices from the classical compact
    groups" (2007).
    """

    scale: Scalar = 1.0
    column_axis: int = -1

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array of at least two axes."""
        check_axes(shape)
        columns = shape[self.column_axis]
        others = list(shape)
        del others[self.column_axis]
        rows = math.prod(others)
        drawn = jax.random.normal(key, (max(rows, columns), min(rows, columns)), accumulator_dtype(dtype))
        w = orthonormal(drawn if rows >= columns else drawn.T)
        w = jnp.moveaxis(w.reshape(*others, columns), -1, self.column_axis)
        return w.astype(dtype) * jnp.asarray(self.scale, dtype)


def orthogonal(scale: Scalar = 1.0, column_axis: int = -1) -> Orthogonal:
    """Orthonormal columns, or rows if there are fewer of these, times `scale`; JAX's signature and numbers.

    >>> orthogonal(2.0)
    Orthogonal(scale=2.0, column_axis=-1)

    Source: Saxe et al. (2014).
    """
    return Orthogonal(scale, column_axis)


@final
@by_value
@dataclass(frozen=True)
class DeltaOrthogonal:
    """The weight of a convolution that is zero but for the centre of its window, where it has orthonormal rows.

    Under "SAME" padding and stride 1 the length of x's features is then kept at every position, as a dense
    orthogonal layer would. The centre is that of `Identity`.

    Attributes:
        scale: Of the matrix. May be a tracer.

    Raises:
        ShapeError: The shape is not that of a convolution over one to three axes, or there are more inputs than
            outputs, whose length could not be kept.

    >>> w = DeltaOrthogonal()(jax.random.key(0), (3, 2, 2), jnp.float32)
    >>> bool(jnp.allclose(w[1] @ w[1].T, jnp.eye(2), atol=1e-6)), float(abs(w[0]).max() + abs(w[2]).max())
    (True, 0.0)

    Source: Xiao et al., "Dynamical isometry and a mean field theory of CNNs" (2018).
    """

    scale: Scalar = 1.0

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array of three to five axes."""
        if not 3 <= len(shape) <= 5:
            raise ShapeError("a shape of three to five axes", why="it is of a convolution over one to three", got=shape)
        if shape[-2] > shape[-1]:
            raise ShapeError(
                "a shape with at least as many outputs as inputs",
                why="fewer cannot hold a vector of the same length for every x",
                got=shape,
                hint="orthogonal() draws any shape",
            )
        return at_centre(Orthogonal(self.scale)(key, shape[-2:], dtype), shape)


def delta_orthogonal(scale: Scalar = 1.0) -> DeltaOrthogonal:
    """An orthogonal matrix at the centre of a convolution's window, zeros around it; JAX's numbers.

    >>> delta_orthogonal()
    DeltaOrthogonal(scale=1.0)

    Source: Xiao et al. (2018).
    """
    return DeltaOrthogonal(scale)


def orthonormal(matrix: Array) -> Array:
    """Return the orthonormal factor of a matrix: of its columns if it is square or tall, else of its rows.

    It is the Q of matrix = Q R with positive numbers on the diagonal of R, which makes it unique: of a matrix that is
    orthonormal already, that matrix.

    >>> q = orthonormal(jnp.array([[3.0, 1.0], [4.0, 7.0]]))
    >>> bool(jnp.allclose(q, jnp.array([[0.6, -0.8], [0.8, 0.6]])))
    True
    """
    rows, columns = matrix.shape
    if 0 in matrix.shape:
        return matrix
    q, r = jnp.linalg.qr(matrix if rows >= columns else matrix.T)
    q = jnp.where(jnp.diagonal(r)[None, :] < 0, -q, q)
    return q if rows >= columns else q.T
