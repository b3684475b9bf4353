"""A layer whose weights go through another layer first: what drops, standardises, bounds or disturbs them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import jax

from jaxnn import tree
from jaxnn.layers._dropout import Dropout
from jaxnn.layers._layer import Layer, LayerLike, as_layer, child_key
from jaxnn.typing import Array, Key, Params, Scalar


@final
@dataclass(frozen=True, repr=False)
class OnWeights(Layer):
    """A layer whose weights go through a transform first, as `on_weights` makes it. It adds no level of names.

    State: `layer`, that of the layer, and `weights`, that of the transform for each weight by its name.

    Attributes:
        layer: The layer.
        transform: A layer without parameters, whose input is a weight.
    """

    layer: Layer
    transform: Layer

    def init(self, key, x):
        params, state = self.layer.init(jax.random.fold_in(key, 1), x)
        own = {}
        for name, w, w_key in _weights(params, key):
            learned, own[name] = self.transform.init(w_key, w)
            if jax.tree.leaves(learned):
                raise TypeError("expected a transform without parameters, because it has those of the layer; got "
                                f"{self.transform!r}")  # fmt: skip
        if not own:
            raise TypeError(f"expected a layer with weights, because they go through {self.transform!r}; got "
                            f"{self.layer!r}")  # fmt: skip
        return params, {"layer": state, "weights": own}

    def apply(self, params, state, x, *, key=None, train=False):
        made, new = {}, {}
        for name, w, w_key in _weights(params, key):
            made[name], new[name] = self.transform.apply({}, _own(state, name), w, key=w_key, train=train)
        y, of_layer = self.layer.apply(
            _with(params, made), state.get("layer", {}), x, key=child_key(key, 1), train=train
        )
        return y, {"layer": of_layer, "weights": new}

    def fwd(self, params, state, x, *, key=None, train=False):
        made, new, residuals = {}, {}, {}
        for name, w, w_key in _weights(params, key):
            (made[name], new[name]), residuals[name] = self.transform.fwd(
                {}, _own(state, name), w, key=w_key, train=train
            )
        (y, of_layer), of_y = self.layer.fwd(
            _with(params, made), state.get("layer", {}), x, key=child_key(key, 1), train=train
        )
        return (y, {"layer": of_layer, "weights": new}), {"layer": of_y, "weights": residuals}

    def bwd(self, residuals, dy):
        d_params, dx = self.layer.bwd(residuals["layer"], dy)
        own = residuals["weights"]
        back = lambda name, d: self.transform.bwd(own[name], d)[1] if name in own else d
        return tree.map_named(back, d_params), dx

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self.layer, "weights": self.transform}

    def freeze(self, frozen):
        return OnWeights(self.layer.freeze(frozen), self.transform.freeze(frozen))

    def __repr__(self) -> str:
        return f"on_weights({self.layer!r}, {self.transform!r})"


def on_weights(layer: LayerLike, transform: LayerLike) -> OnWeights:
    """Let the weights of a layer go through a transform before it uses them: y = f(x; t(w)).

    The transform is a layer without parameters whose input is a weight, so `Dropout` drops weights, `GaussianNoise`
    disturbs them, and a layer of your own rounds them. It is given each leaf that is named `w`, or `w_` and more, in
    the layer and all within; biases, scales and tables are used as they are. The layer keeps its name and those of its
    parameters, which are the weights before the transform.

    Args:
        layer: The layer, of one or more.
        transform: What its weights go through.

    Raises:
        TypeError: The layer has no weights, or the transform has parameters.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer = nn.on_weights(nn.Dense(2), nn.tanh)
    >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> params = {"w": jnp.full((3, 2), 99.0), "b": jnp.zeros(2)}
    >>> layer.apply(params, state, jnp.ones((1, 3)))[0]
    Array([[3., 3.]], dtype=float32)
    >>> nn.on_weights(nn.Dense(64), nn.GaussianNoise(0.1))
    on_weights(Dense(64), GaussianNoise(0.1))
    """
    return OnWeights(as_layer(layer), as_layer(transform))


def drop_connect(layer: LayerLike, rate: Scalar) -> OnWeights:
    """In training, drop each weight of a layer with probability `rate` and scale the rest, y = f(x; m w / (1 - rate)).

    One mask is drawn for the whole batch. The mean of the weights over masks is w, and in inference they are w; the
    paper drops them for each example by itself, and in inference draws from a normal distribution instead. Biases are
    not dropped. Where `Dropout` leaves out units, this leaves out single connections.

    Args:
        layer: The layer, of one or more.
        rate: Probability of dropping, from 0 to 1. May be a tracer.

    Returns:
        `on_weights(layer, Dropout(rate))`, which keeps the layer's name and those of its parameters.

    Raises:
        TypeError: The layer has no weights.
        ValueError: The rate is not from 0 to 1, or there is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.drop_connect(nn.Dense(5, bias=False), 0.5), jnp.ones((1, 1))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params = {"w": jnp.ones((1, 5))}
    >>> layer.apply(params, state, x, key=jax.random.key(0), train=True)[0]
    Array([[2., 0., 2., 0., 2.]], dtype=float32)

    Source: Wan et al., "Regularization of neural networks using DropConnect" (2013).
    """
    return on_weights(layer, Dropout(rate))


def _weights(params: Params, key: Key | None) -> Iterator[tuple[str, Array, Any]]:
    """The weights by name, each with a key of its own."""
    for i, (name, leaf) in enumerate(tree.named_leaves(params).items()):
        if re.fullmatch(r"w(_.*)?", name.rpartition("/")[2]):
            yield name, leaf, child_key(child_key(key, 0), i)


def _with(params: Params, made: Mapping[str, Array]) -> Params:
    return tree.map_named(made.get, params)


def _own(state: Mapping[str, Any], name: str) -> Any:
    return state.get("weights", {}).get(name, {})
