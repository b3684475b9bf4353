"""What an initialiser is, and the fans of a weight."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from jaxnn.errors import ShapeError, values
from jaxnn.typing import Array, Key

Initializer: TypeAlias = Callable[[Key, tuple[int, ...], Any], Array]
"""A function `(key, shape, dtype) -> array`; any of `jax.nn.initializers` is one."""


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs a unit sums over, and how many units an input feeds: fan_in and fan_out.

    The last two axes are in and out; any before them are the window of a convolution, fan_in = prod(window) in and
    fan_out = prod(window) out, as JAX counts. A layer with groups draws each group by itself, so that these are the
    fans of a group. Strides are not counted, here as elsewhere: after a `ConvTranspose` of stride s, which reaches
    an output with only prod(window) / s^axes taps, the variance is smaller by as much.

    Args:
        shape: Of a weight, `(*window, in, out)`.

    Returns:
        fan_in and fan_out.

    Raises:
        ShapeError: There are fewer than two axes.

    >>> fans((300, 100)), fans((3, 3, 64, 128))
    ((300, 100), (576, 1152))

    Source: LeCun et al., "Efficient BackProp" (1998); for convolutions, He et al. (2015).
    """
    check_axes(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def check_axes(shape: tuple[int, ...]) -> None:
    """Raise an error unless a shape has axes for in and out."""
    if len(shape) < 2:
        raise ShapeError("a shape of at least two axes", why="the last two are in and out", got=shape)


def check_size(size: Any, name: str, why: str) -> None:
    """Raise an error if a size, where it can be seen now, is negative or no number."""
    seen = values(size)
    if seen is not None and not (seen >= 0).all():
        raise ValueError(f"expected {name} of at least 0, because {why}; got {size}")
