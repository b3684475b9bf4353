"""Pooling layers: of each window, or of each part of an axis, the largest element or the mean.

What is pooled over all positions needs no settings: `global_max_pool` and `global_average_pool` stand in a model as
they are, as `flatten` does.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

from jaxnn.layers._layer import OpLayer
from jaxnn.ops import Op, adaptive_average_pool, adaptive_max_pool, average_pool, max_pool
from jaxnn.ops._pooling import PerAxis
from jaxnn.ops._windows import Padding


@final
@dataclass(frozen=True, repr=False)
class MaxPool(OpLayer):
    """Largest element of each window of `(batch, *spatial, channels)`, in every channel by itself.

    Where elements are equal the first, in row-major order, gets the gradient.

    Attributes:
        window: Size along each spatial axis, such as `(2, 2)`; a number means all of them.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for out = ceil(n / stride); or positions before and after each
            axis. It is never the largest.

    Raises:
        ShapeError: The input has other spatial axes than the window, or one that is smaller than it.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.MaxPool((2, 2)).apply({}, {}, jnp.arange(16.0).reshape(1, 4, 4, 1))[0][0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)

    Source: Ranzato et al., "Unsupervised learning of invariant feature hierarchies" (2007).
    """

    window: PerAxis
    stride: PerAxis | None = None
    _: KW_ONLY
    padding: Padding = "VALID"

    op: ClassVar[Op] = max_pool

    @property
    def settings(self):
        return {"window": self.window, "stride": self.stride, "padding": self.padding}

    def init(self, key, x):
        del key, x
        return {}, {}


@final
@dataclass(frozen=True, repr=False)
class AveragePool(OpLayer):
    """Mean of each window of `(batch, *spatial, channels)`, in every channel by itself.

    Attributes:
        window: Size along each spatial axis, such as `(2, 2)`; a number means all of them.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for out = ceil(n / stride); or positions before and after each axis.
        count_padding: Whether padding counts, as zeros, as it does in flax.linen and PyTorch unless told
            otherwise. Keras and TensorFlow average what is there.

    Raises:
        ShapeError: The input has other spatial axes than the window, or one that is smaller than it.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AveragePool(3, 1, padding="SAME").apply({}, {}, jnp.arange(6.0).reshape(1, 6, 1))[0][0, :, 0]
    Array([0.5, 1. , 2. , 3. , 4. , 4.5], dtype=float32)

    Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998), without its weights.
    """

    window: PerAxis
    stride: PerAxis | None = None
    _: KW_ONLY
    padding: Padding = "VALID"
    count_padding: bool = False

    op: ClassVar[Op] = average_pool

    @property
    def settings(self):
        return {
            "window": self.window,
            "stride": self.stride,
            "padding": self.padding,
            "count_padding": self.count_padding,
        }

    def init(self, key, x):
        del key, x
        return {}, {}


@final
@dataclass(frozen=True, repr=False)
class AdaptiveMaxPool(OpLayer):
    """Largest element of each of `size` parts of each spatial axis, whatever its length.

    Attributes:
        size: Parts of each spatial axis, such as `(7, 7)`; a number means as many of all of them.

    Raises:
        ShapeError: The input has other spatial axes than the size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveMaxPool(7).apply({}, {}, jnp.zeros((1, 30, 18, 4)))[0].shape
    (1, 7, 7, 4)

    Source: the windows of PyTorch's AdaptiveMaxPool.
    """

    size: PerAxis

    op: ClassVar[Op] = adaptive_max_pool

    @property
    def settings(self):
        return {"size": self.size}

    def init(self, key, x):
        del key, x
        return {}, {}


@final
@dataclass(frozen=True, repr=False)
class AdaptiveAveragePool(OpLayer):
    """Mean of each of `size` parts of each spatial axis, whatever its length.

    Attributes:
        size: Parts of each spatial axis, such as `(7, 7)`; a number means as many of all of them.

    Raises:
        ShapeError: The input has other spatial axes than the size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveAveragePool(7).apply({}, {}, jnp.zeros((1, 30, 18, 4)))[0].shape
    (1, 7, 7, 4)

    Source: the windows of PyTorch's AdaptiveAvgPool.
    """

    size: PerAxis

    op: ClassVar[Op] = adaptive_average_pool

    @property
    def settings(self):
        return {"size": self.size}

    def init(self, key, x):
        del key, x
        return {}, {}
