"""Layers that normalise each example over all its positions, by groups of features or by single ones."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

from jaxnn.layers._layer import OpLayer
from jaxnn.layers._layer_norm import ones_and_zeros, wanted
from jaxnn.ops import Op, group_norm, instance_norm


@final
@dataclass(frozen=True, repr=False)
class GroupNorm(OpLayer):
    """Normalise groups of features of each example, y = scale (x - mean) / sqrt(var + epsilon) + offset.

    mean and var are those of `features / groups` neighbouring features, or channels, over all positions of an example.
    It does the same in training and in inference. var is the biased variance.

    Parameters: `scale`, `offset`, both `(features,)`.

    Attributes:
        groups: How many there are; they divide the features. 32 in the paper, flax and Keras.
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6, Keras 1e-3.
        scale: Whether there is a scale.
        offset: Whether there is an offset.

    Raises:
        ShapeError: The features are not those it was initialised for, or a group is a single number.
        ValueError: The groups do not divide the features.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.GroupNorm(2), jnp.array([[1.0, 3.0, 10.0, 30.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3)
    Array([[-1.,  1., -1.,  1.]], dtype=float32)

    Source: Wu and He, "Group normalization" (2018).
    """

    groups: int
    _: KW_ONLY
    epsilon: float = 1e-5
    scale: bool = True
    offset: bool = True

    op: ClassVar[Op] = group_norm
    arrays: ClassVar[tuple[str, ...]] = ("x", "scale", "offset")

    @property
    def parameters(self) -> tuple[str, ...]:
        return wanted(scale=self.scale, offset=self.offset)

    def init(self, key, x):
        return ones_and_zeros(key, self.parameters, x), {}


@final
@dataclass(frozen=True, repr=False)
class InstanceNorm(OpLayer):
    """Normalise each feature of each example, y = scale (x - mean) / sqrt(var + epsilon) + offset.

    mean and var are those of one feature, or channel, over all positions of an example; features are not pooled. It
    does the same in training and in inference. var is the biased variance.

    Parameters: `scale`, `offset`, both `(features,)`.

    Attributes:
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6.
        scale: Whether there is a scale, as in flax; PyTorch has none unless told.
        offset: Whether there is an offset, as in flax; PyTorch has none unless told.

    Raises:
        ShapeError: The features are not those it was initialised for, or there is only one position.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.InstanceNorm(), jnp.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3)
    Array([[[-1., -1.],
            [ 1.,  1.]]], dtype=float32)

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization" (2016).
    """

    _: KW_ONLY
    epsilon: float = 1e-5
    scale: bool = True
    offset: bool = True

    op: ClassVar[Op] = instance_norm
    arrays: ClassVar[tuple[str, ...]] = ("x", "scale", "offset")

    @property
    def parameters(self) -> tuple[str, ...]:
        return wanted(scale=self.scale, offset=self.offset)

    def init(self, key, x):
        return ones_and_zeros(key, self.parameters, x), {}
