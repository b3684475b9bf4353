"""Layers that normalise each position over its own features, whatever the batch."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

from jaxnn.initializers import ones, zeros
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, layer_norm, rms_norm
from jaxnn.typing import Key, Params


@final
@dataclass(frozen=True, repr=False)
class LayerNorm(OpLayer):
    """Normalise each position over its features, y = scale (x - mean) / sqrt(var + epsilon) + offset.

    It does the same in training and in inference, and needs no other examples. var is the biased variance.

    Parameters: `scale`, `offset`, both `(features,)`.

    Attributes:
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6, Keras 1e-3.
        scale: Whether there is a scale.
        offset: Whether there is an offset.

    Raises:
        ShapeError: The features are not those it was initialised for, or there is only one.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.LayerNorm(), jnp.array([[1.0, 1.0, 3.0, 3.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3)
    Array([[-1., -1.,  1.,  1.]], dtype=float32)

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    _: KW_ONLY
    epsilon: float = 1e-5
    scale: bool = True
    offset: bool = True

    op: ClassVar[Op] = layer_norm
    arrays: ClassVar[tuple[str, ...]] = ("x", "scale", "offset")

    @property
    def parameters(self) -> tuple[str, ...]:
        return wanted(scale=self.scale, offset=self.offset)

    def init(self, key, x):
        return ones_and_zeros(key, self.parameters, x), {}


@final
@dataclass(frozen=True, repr=False)
class RMSNorm(OpLayer):
    """Divide each position by the root mean square of its features, y = scale x / sqrt(mean(x^2) + epsilon).

    It does the same in training and in inference, and needs no other examples.

    Parameters: `scale`, `(features,)`.

    Attributes:
        epsilon: Keeps the square root away from 0. As in flax and Keras; PyTorch has the resolution of x's dtype.
        scale: Whether there is a scale.

    Raises:
        ShapeError: The features are not those it was initialised for.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.RMSNorm(), jnp.array([[2.0, -2.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3)
    Array([[ 1., -1.]], dtype=float32)

    Source: Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """

    _: KW_ONLY
    epsilon: float = 1e-6
    scale: bool = True

    op: ClassVar[Op] = rms_norm
    arrays: ClassVar[tuple[str, ...]] = ("x", "scale")

    @property
    def name(self) -> str:
        return "rms_norm"

    @property
    def parameters(self) -> tuple[str, ...]:
        return wanted(scale=self.scale)

    def init(self, key, x):
        return ones_and_zeros(key, self.parameters, x), {}


def wanted(**parameters: bool) -> tuple[str, ...]:
    """Return the names of those that are to be there."""
    return tuple(name for name, there in parameters.items() if there)


def ones_and_zeros(key: Key, names: tuple[str, ...], x: Any) -> Params:
    """Return a scale of 1 and an offset of 0 for each feature of x, with which a normalisation begins."""
    inits = {"scale": ones, "offset": zeros}
    return {name: inits[name](key, x.shape[-1:], parameter_dtype(x)) for name in names}
