"""Weights that are normed before they are used: standardised, or divided by their largest singular value."""

from dataclasses import dataclass
from typing import final

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError
from jaxnn.layers._combinators import Repeat
from jaxnn.layers._convolution import ConvTranspose
from jaxnn.layers._ensemble import Ensemble
from jaxnn.layers._layer import Layer, LayerLike, all_held, as_layer
from jaxnn.layers._normalisation import Inference
from jaxnn.layers._on_weights import OnWeights, on_weights
from jaxnn.ops import spectral_norm, standardize
from jaxnn.ops._spectral_norm import power_iteration, sizes_of_vectors
from jaxnn.typing import accumulator_dtype


@final
@dataclass(frozen=True, repr=False)
class WeightStandardisation(Layer):
    """A transform for `on_weights`: the weights of each output get mean 0 and variance 1; see `weight_standardised`.

    Attributes:
        epsilon: Keeps the square root away from 0.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.layers.WeightStandardisation().apply({}, {}, jnp.array([[5.0], [5.0], [7.0], [7.0]]))[0].round(3)[:, 0]
    Array([-1., -1.,  1.,  1.], dtype=float32)
    """

    epsilon: float = 1e-5

    def init(self, key, x):
        del key
        if x.ndim < 2:
            raise ShapeError("w of shape (..., out)", why="each output has weights to standardise", got=tuple(x.shape))
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key, train
        return standardize(x, axis=_inputs(x), epsilon=self.epsilon), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key, train
        y, residuals = standardize.fwd(x, axis=_inputs(x), epsilon=self.epsilon)
        return (y, state), residuals

    def bwd(self, residuals, dy):
        return {}, standardize.bwd(residuals, dy, axis=_inputs(dy), epsilon=self.epsilon)[0]


def weight_standardised(layer: LayerLike, *, epsilon: float = 1e-5) -> OnWeights:
    """Standardise the weights of each output of a layer, w^ = (w - mean) / sqrt(var + epsilon), before they are used.

    mean and var are those of the weights that one output is a sum over, its fan-in. var is the biased one, and epsilon
    is under the root, as in the paper's equation; its code divides by the unbiased deviation plus epsilon. Outputs are
    larger by the root of the fan-in than with usual weights, so a normalisation is to follow, such as `GroupNorm`.

    Args:
        layer: The layer, of one or more; its weights have their outputs along the last axis.
        epsilon: Keeps the square root away from 0.

    Returns:
        A layer that keeps its name and those of its parameters.

    Raises:
        TypeError: The layer has no weights, or is a `Repeat`, an `Ensemble` or a `ConvTranspose`, or holds one.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.weight_standardised(nn.Dense(1, bias=False)), jnp.array([[1.0, 1.0, 0.0, 0.0]])
    >>> _, state = layer.init(jax.random.key(0), x)
    >>> params = {"w": jnp.array([[5.0], [5.0], [7.0], [7.0]])}
    >>> layer.apply(params, state, x)[0].round(3)
    Array([[-2.]], dtype=float32)

    Source: Qiao et al., "Micro-batch training with batch-channel normalization and weight standardization" (2019).
    """
    _check_outputs_last(as_layer(layer))
    return on_weights(layer, WeightStandardisation(epsilon))


@final
@dataclass(frozen=True, repr=False)
class SpectralNorm(Layer):
    """A transform for `on_weights`: weights are divided by their largest singular value; see `spectral_normed`.

    State: `u`, `(out,)`, and `v`, `(in,)`, unit vectors in float32 at least. They rest when all parameters of the layer
    are held fixed.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> w = jnp.array([[4.0, 0.0], [0.0, 1.0]])
    >>> _, state = nn.layers.SpectralNorm().init(jax.random.key(0), w)
    >>> nn.layers.SpectralNorm().apply({}, state, w)[0].round(3)
    Array([[1.  , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """

    def init(self, key, x):
        u, v = (
            jax.random.normal(part, (size,), accumulator_dtype(x.dtype))
            for part, size in zip(jax.random.split(key), sizes_of_vectors(x), strict=True)
        )
        u, v = lax.fori_loop(0, 15, lambda _, vectors: power_iteration(x, *vectors), (_unit(u), _unit(v)))
        return {}, {"u": u, "v": v}

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key
        state = self._nearer(state, x, train)
        return spectral_norm(x, state["u"], state["v"]), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key
        state = self._nearer(state, x, train)
        y, residuals = spectral_norm.fwd(x, state["u"], state["v"])
        return (y, state), residuals

    def bwd(self, residuals, dy):
        return {}, spectral_norm.bwd(residuals, dy)[0]

    def freeze(self, frozen):
        return Inference(self) if all_held(frozen) else self

    def _nearer(self, state, w, train):
        return dict(zip("uv", power_iteration(w, state["u"], state["v"]), strict=True)) if train else state


def spectral_normed(layer: LayerLike) -> OnWeights:
    """Divide the weights of a layer by their largest singular value, w^ = w / sigma with sigma = v^T w u.

    Then the layer stretches no input by more than 1, which keeps a discriminator from growing steep. w is a matrix with
    all but its last axis in one. u and v are unit vectors in the state, which every call in training brings one power
    iteration nearer to the singular vectors, and 15 of them at first; in inference they are used as they are, as in
    PyTorch. The gradient holds them fixed, as the paper does, so what `compare` finds by central differences is another
    one while they move.

    Args:
        layer: The layer, of one or more; its weights have their outputs along the last axis.

    Returns:
        A layer that keeps its name and those of its parameters.

    Raises:
        TypeError: The layer has no weights, or is a `Repeat`, an `Ensemble` or a `ConvTranspose`, or holds one.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.spectral_normed(nn.Dense(4, bias=False)), jnp.ones((1, 32))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> for _ in range(50):
    ...     _, state = layer.apply(params, state, x, train=True)
    >>> w, _ = layer.apply(params, state, jnp.eye(32))
    >>> jnp.linalg.norm(w, ord=2).round(3)
    Array(1., dtype=float32)

    Source: Miyato et al., "Spectral normalization for generative adversarial networks" (2018).
    """
    _check_outputs_last(as_layer(layer))
    return on_weights(layer, SpectralNorm())


def _unit(a):
    return a / jnp.linalg.norm(a)


def _check_outputs_last(layer: Layer) -> None:
    """Raise an error if here or within the weights of an output are not all that lies before the last axis."""
    for kind, other, hint in (
        (Repeat, "are stacked", "norm the block: repeat(spectral_normed(block), n)"),
        (Ensemble, "are stacked", "norm the model: Ensemble(spectral_normed(model), n)"),
        (ConvTranspose, "have their outputs last but one", "resize, and then Conv"),
    ):
        if isinstance(layer, kind):
            raise TypeError(
                "expected weights with their outputs along the last axis and their inputs before it, because they are "
                f"normed output by output or as a matrix; got {layer!r}, whose weights {other}\n  hint: {hint}"
            )
    for child in layer.children.values():
        _check_outputs_last(child)


def _inputs(w):
    """The axes that one output is a sum over: all but the last."""
    return tuple(range(w.ndim - 1))
