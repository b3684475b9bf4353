"""Pooling layers: of each window, or of each part of an axis, the largest element or the mean.

What is pooled over all positions needs no settings: `global_max_pool` and `global_average_pool` stand in a model as
they are, as `flatten` does.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

from jaxnn.layers._layer import OpLayer
from jaxnn.ops import Op, adaptive_average_pool, adaptive_max_pool, average_pool, max_pool
from jaxnn.ops._windows import Each, Padding


@final
@dataclass(frozen=True, repr=False)
class MaxPool(OpLayer):
    """Largest element of each window of `(batch, *n, features)`, in every feature, or channel, by itself.

    Where elements are equal the first, in row-major order, gets the gradient.

    Attributes:
        window: Size along each spatial axis, such as `(2, 2)`; a number means all of them. Keras calls it
            `pool_size`, PyTorch `kernel_size`.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for ceil(n / stride) outputs, the odd position after, or with
            `"SAME_LOWER"` before; or positions before and after each axis. It is never the largest.

    Raises:
        ShapeError: The input has other spatial axes than the window, or one that is smaller than it.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.MaxPool((2, 2)).apply({}, {}, jnp.arange(16.0).reshape(1, 4, 4, 1))[0][0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)

    Source: Ranzato et al., "Unsupervised learning of invariant feature hierarchies" (2007).
    """

    window: Each
    _: KW_ONLY
    stride: Each | None = None
    padding: Padding = "VALID"

    op: ClassVar[Op] = max_pool


@final
@dataclass(frozen=True, repr=False)
class AveragePool(OpLayer):
    """Mean of each window of `(batch, *n, features)`, in every feature, or channel, by itself.

    Attributes:
        window: Size along each spatial axis, such as `(2, 2)`; a number means all of them. Keras calls it
            `pool_size`, PyTorch `kernel_size`.
        stride: Steps between windows; `None` for the window's size, as in Keras and PyTorch. flax.linen has 1.
        padding: `"VALID"` for none; `"SAME"` for ceil(n / stride) outputs, the odd position after, or with
            `"SAME_LOWER"` before; or positions before and after each axis.
        count_padding: Whether padding counts, as zeros, as it does in flax.linen and PyTorch unless told
            otherwise. Keras and TensorFlow average what is there.

    Raises:
        ShapeError: The input has other spatial axes than the window, or one that is smaller than it.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AveragePool(3, stride=1, padding="SAME").apply({}, {}, jnp.arange(6.0).reshape(1, 6, 1))[0][0, :, 0]
    Array([0.5, 1. , 2. , 3. , 4. , 4.5], dtype=float32)

    Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998), without its weights.
    """

    window: Each
    _: KW_ONLY
    stride: Each | None = None
    padding: Padding = "VALID"
    count_padding: bool = False

    op: ClassVar[Op] = average_pool


@final
@dataclass(frozen=True, repr=False)
class AdaptiveMaxPool(OpLayer):
    """Largest element of each of `size` parts of each spatial axis, whatever its length, in every feature (channel).

    Attributes:
        size: Parts of each spatial axis, such as `(7, 7)`; a number means as many of all of them.

    Raises:
        ShapeError: The input has other spatial axes than the size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveMaxPool(7).apply({}, {}, jnp.zeros((1, 30, 18, 4)))[0].shape
    (1, 7, 7, 4)

    Source: the windows of PyTorch's AdaptiveMaxPool.
    """

    size: Each

    op: ClassVar[Op] = adaptive_max_pool


@final
@dataclass(frozen=True, repr=False)
class AdaptiveAveragePool(OpLayer):
    """Mean of each of `size` parts of each spatial axis, whatever its length, in every feature (channel).

    Attributes:
        size: Parts of each spatial axis, such as `(7, 7)`; a number means as many of all of them.

    Raises:
        ShapeError: The input has other spatial axes than the size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveAveragePool(7).apply({}, {}, jnp.zeros((1, 30, 18, 4)))[0].shape
    (1, 7, 7, 4)

    Source: the windows of PyTorch's AdaptiveAvgPool.
    """

    size: Each

    op: ClassVar[Op] = adaptive_average_pool
