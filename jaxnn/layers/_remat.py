"""Computing again what would take memory to remember."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import jax
from jax import lax

from jaxnn.layers._combinators import one_layer
from jaxnn.layers._layer import Layer, LayerLike


@final
@dataclass(frozen=True, repr=False)
class Remat(Layer):
    """A layer whose backward computes its forward once more, as `remat` makes it. It adds no level of names.

    Attributes:
        layer: The layer.
    """

    layer: Layer

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        def layer(params, state, x, key):
            return self.layer.apply(params, state, x, key=key, train=train)

        return jax.checkpoint(layer)(params, state, x, key)

    def fwd(self, params, state, x, *, key=None, train=False):
        out, _ = self.layer.fwd(params, state, x, key=key, train=train)
        return out, {"train" if train else "inference": (params, state, x, key)}

    def bwd(self, residuals, dy):
        ((mode, given),) = residuals.items()
        # Otherwise the compiler would see that all this has been computed before, and keep that, or do it too early.
        (params, state, x, key), dy = lax.optimization_barrier((given, dy))
        _, residuals = self.layer.fwd(params, state, x, key=key, train=mode == "train")
        return self.layer.bwd(residuals, dy)

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self.layer}

    def freeze(self, frozen):
        return Remat(self.layer.freeze(frozen))

    def __repr__(self) -> str:
        return f"remat({self.layer!r})"


def remat(*layers: LayerLike, **named: LayerLike) -> Remat:
    """Remember of layers only what they are given, and compute the rest again in the backward.

    Values and gradients are the same, from the same key. It costs one forward more and saves what that would have
    remembered: `repeat(remat(block), n)` remembers n inputs and keys instead of all that is within n blocks. On a CPU
    XLA saves it only in such a loop: elsewhere it computes as much at once as it can, here as with `jax.checkpoint`.

    Args:
        *layers: The layer, or several that are put in series.
        **named: Further layers under names of your own.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> block, x = nn.residual(nn.Dense(256), nn.gelu, nn.Dense(64)), jnp.zeros((32, 64))
    >>> [nn.summary(model, x).remembered for model in (nn.repeat(block, 8), nn.repeat(nn.remat(block), 8))]
    [589824, 65600]

    Source: Chen et al., "Training deep nets with sublinear memory cost" (2016).
    """
    return Remat(one_layer(layers, named))
