"""What works at each time step of sequences alike, whatever their lengths."""

from dataclasses import dataclass
from typing import final

from jaxnn.layers._combinators import one_layer
from jaxnn.layers._layer import Layer, LayerLike
from jaxnn.typing import Sequences


@final
@dataclass(frozen=True, repr=False)
class EachStep(Layer):
    """A layer of the values of `Sequences`, as `each_step` makes it. It adds no level of names.

    Attributes:
        layer: The layer, whose output at a time step depends on its input at that step alone.
    """

    layer: Layer

    def init(self, key, x):
        return self.layer.init(key, values_of(x))

    def apply(self, params, state, x, *, key=None, train=False):
        y, state = self.layer.apply(params, state, values_of(x), key=key, train=train)
        return with_values(x, y), state

    def fwd(self, params, state, x, *, key=None, train=False):
        (y, state), residuals = self.layer.fwd(params, state, values_of(x), key=key, train=train)
        return (with_values(x, y), state), residuals

    def bwd(self, residuals, dy):
        d_params, dx = self.layer.bwd(residuals, values_of(dy))
        return d_params, with_values(dy, dx)

    @property
    def children(self):
        return {"": self.layer}

    def freeze(self, frozen):
        return EachStep(self.layer.freeze(frozen))

    def __repr__(self) -> str:
        return f"each_step({self.layer!r})"


def each_step(*layers: LayerLike, **named: LayerLike) -> EachStep:
    """Apply a layer to the values of `Sequences`, and hand their lengths on.

    It is for layers that treat each time step on its own: `Dense`, `Embed`, `LayerNorm`, activations. One that
    looks at neighbouring steps, or at the whole batch, would see what lies beyond the ends. An array is
    treated as it is.

    Args:
        *layers: The layer, or several that are put in series.
        **named: Further layers under names of your own.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.each_step(nn.Embed(26, 8))
    >>> words = nn.Sequences(jnp.array([[7, 8, 0], [2, 24, 4]]), lengths=jnp.array([2, 3]))
    >>> params, state = model.init(jax.random.key(0), words)
    >>> y, state = model.apply(params, state, words)
    >>> y.x.shape, y.lengths
    ((2, 3, 8), Array([2, 3], dtype=int32))

    Source: as `TimeDistributed`, Keras.
    """
    return EachStep(one_layer(layers, named))


def values_of(x):
    """Return the values of `Sequences`; an array is its own."""
    return x.x if isinstance(x, Sequences) else x


def with_values(x, y):
    """Return the sequences x with other values y; in a backward, their cotangent, which has no lengths."""
    return x._replace(x=y) if isinstance(x, Sequences) else y
