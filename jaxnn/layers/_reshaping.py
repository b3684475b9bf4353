"""Reshaping as a layer. `flatten`, which needs no settings, stands in a model as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, SupportsIndex, final

from jaxnn.layers._layer import OpLayer
from jaxnn.ops import Op, reshape


@final
@dataclass(frozen=True, repr=False)
class Reshape(OpLayer):
    """Give each example another shape, y of shape (batch, *shape), in row-major order.

    Attributes:
        shape: Of an example, without the batch axis, as in Keras; -1 for the one axis that takes what the others leave.

    Raises:
        ShapeError: An example has another number of elements.
        ValueError: The shape has a negative axis that is not -1, or more than one -1.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.Reshape((28, 28, 1)).apply({}, {}, jnp.zeros((32, 784)))[0].shape
    (32, 28, 28, 1)
    """

    shape: SupportsIndex | Sequence[SupportsIndex]

    op: ClassVar[Op] = reshape
