"""Squeeze and excitation: what is in the whole image decides how much each feature counts in it."""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax

from jaxnn.initializers import Initializer, lecun_normal
from jaxnn.layers._dense import Dense
from jaxnn.layers._layer import Layer
from jaxnn.ops import feature_gate, global_average_pool, linear, relu, sigmoid


@final
@dataclass(frozen=True, repr=False)
class SqueezeExcite(Layer):
    """Gate each feature of an example by all its features, y = x g with g = sigmoid(relu(m w_1 + b_1) w_2 + b_2).

    m is the mean of each feature over all positions, and g scales it at all of them. x is `(batch, ..., features)` with
    at least one spatial axis. Features are also called channels.

    Parameters: `reduce`, with `w` of shape `(features, features / ratio)` and `b`; `expand`, with `w` of shape
    `(features / ratio, features)` and `b`.

    Attributes:
        ratio: Of the features to those between the two products, rounded down.
        w_init: Initialiser of both w.

    Raises:
        ValueError: The ratio leaves no feature between.
        ShapeError: x has no spatial axis, or other features than it was initialised for.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.SqueezeExcite(16), jnp.zeros((8, 28, 28, 64))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape, nn.tree.count(params)
    ((8, 28, 28, 64), 580)

    Source: Hu, Shen and Sun, "Squeeze-and-excitation networks" (2018).
    """

    ratio: int = 16
    _: KW_ONLY
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value

    def init(self, key, x):
        features = x.shape[-1]
        if not 1 <= self.ratio <= features:
            raise ValueError(f"expected a ratio from 1 to {features}, because of {features} features at least one is "
                             f"left between; got {self.ratio}")  # fmt: skip
        mean = jax.eval_shape(global_average_pool, x)
        reduce, expand = Dense(features // self.ratio, w_init=self.w_init), Dense(features, w_init=self.w_init)
        between = jax.ShapeDtypeStruct((x.shape[0], reduce.features), mean.dtype)
        reduce_key, expand_key = jax.random.split(key)
        return {"reduce": reduce.init(reduce_key, mean)[0], "expand": expand.init(expand_key, between)[0]}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        reduce, expand = params["reduce"], params["expand"]
        hidden = relu(linear(global_average_pool(x), reduce["w"], reduce["b"]))
        return feature_gate(x, sigmoid(linear(hidden, expand["w"], expand["b"]))), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        reduce, expand, remembered = params["reduce"], params["expand"], {}
        mean, remembered["mean"] = global_average_pool.fwd(x)
        hidden, remembered["reduce"] = linear.fwd(mean, reduce["w"], reduce["b"])
        hidden, remembered["relu"] = relu.fwd(hidden)
        gate, remembered["expand"] = linear.fwd(hidden, expand["w"], expand["b"])
        gate, remembered["sigmoid"] = sigmoid.fwd(gate)
        y, remembered["gate"] = feature_gate.fwd(x, gate)
        return (y, state), remembered

    def bwd(self, residuals, dy):
        dx, d_gate = feature_gate.bwd(residuals["gate"], dy)
        (d_gate,) = sigmoid.bwd(residuals["sigmoid"], d_gate)
        d_hidden, d_w2, d_b2 = linear.bwd(residuals["expand"], d_gate)
        (d_hidden,) = relu.bwd(residuals["relu"], d_hidden)
        d_mean, d_w1, d_b1 = linear.bwd(residuals["reduce"], d_hidden)
        (dx_mean,) = global_average_pool.bwd(residuals["mean"], d_mean)
        return {"reduce": {"w": d_w1, "b": d_b1}, "expand": {"w": d_w2, "b": d_b2}}, dx + dx_mean
