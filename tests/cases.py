"""One row per op, loss and layer: what the contract tests run every property over.

A new member is one row here. `arrays(random, batch, dtype)` makes the inputs of an op, and `x(random, batch, dtype)`
the input of a layer, from a NumPy generator, so that the same row serves every dtype and batch size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from jaxnn.layers import Layer, as_layer

FEATURES, CLASSES, VOCABULARY = 4, 3, 7


@dataclass(frozen=True, eq=False)
class OpCase:
    name: str
    op: nn.Op
    arrays: Callable[[np.random.Generator, int, Any], tuple]
    settings: dict[str, Any] = field(default_factory=dict)
    empty: bool = True  # whether an empty batch makes sense
    mapped: bool = True  # whether every array can be given a further leading axis
    family: str = ""  # where one row of a family stands for all in the tests of wrong backwards

    def __repr__(self):
        return self.name


def normal(*shape):
    """Numbers away from kinks: the tests of derivatives must not meet a relu at 0."""
    return lambda random, batch, dtype: _array(random.normal(size=_sized(shape, batch)), dtype)


def probabilities(*shape):
    def draw(random, batch, dtype):
        p = random.uniform(0.1, 1, size=_sized(shape, batch))
        return _array(p / p.sum(-1, keepdims=True), dtype)

    return draw


def unit(*shape):
    return lambda random, batch, dtype: _array(random.uniform(0.1, 0.9, size=_sized(shape, batch)), dtype)


def integers(high, *shape):
    return lambda random, batch, dtype: jnp.asarray(random.integers(0, high, size=_sized(shape, batch)), jnp.int32)


def onehot(*shape):
    def draw(random, batch, dtype):
        labels = random.integers(0, shape[-1], size=_sized(shape[:-1], batch))
        return _array(np.eye(shape[-1])[labels], dtype)

    return draw


def fixed_key(random, batch, dtype):
    return jax.random.key(3)


def absent(random, batch, dtype):
    return None


def each(*draws):
    return lambda random, batch, dtype: tuple(draw(random, batch, dtype) for draw in draws)


def _sized(shape, batch):
    return tuple(batch if axis == "n" else axis for axis in shape)


def _array(values, dtype):
    return jnp.asarray(np.asarray(values)).astype(dtype)


B, F, C = "n", FEATURES, CLASSES

OPS = [
    OpCase("linear", nn.ops.linear, each(normal(B, F), normal(F, C), normal(C)), family="linear"),
    OpCase("linear_without_bias", nn.ops.linear, each(normal(B, F), normal(F, C), absent)),
    OpCase("linear_of_sequences", nn.ops.linear, each(normal(B, 5, F), normal(F, C), normal(C))),
    OpCase("embed", nn.ops.embed, each(integers(VOCABULARY, B, 5), normal(VOCABULARY, F)), family="embed"),
    OpCase("relu", nn.ops.relu, each(normal(B, F)), family="relu"),
    OpCase("sigmoid", nn.ops.sigmoid, each(normal(B, F)), family="sigmoid"),
    OpCase("tanh", nn.ops.tanh, each(normal(B, F)), family="tanh"),
    OpCase("softmax", nn.ops.softmax, each(normal(B, F)), family="softmax"),
    OpCase("softmax_of_columns", nn.ops.softmax, each(normal(B, F, C)), {"axis": 1}),
    OpCase("batch_norm", nn.ops.batch_norm, each(normal(B, F), normal(F), normal(F)), empty=False, family="norm"),
    OpCase("batch_norm_of_images", nn.ops.batch_norm, each(normal(B, 3, 2, F), normal(F), normal(F)), empty=False),
    OpCase("batch_norm_bare", nn.ops.batch_norm, each(normal(B, F), absent, absent), {"epsilon": 1e-3}, empty=False),
    OpCase("normalise", nn.ops.normalise, each(normal(B, F), normal(F), unit(F), normal(F), normal(F))),
    OpCase("normalise_bare", nn.ops.normalise, each(normal(B, 3, F), normal(F), unit(F), absent, absent)),
    OpCase("dropout", nn.ops.dropout, each(normal(B, F), unit(), fixed_key), mapped=False, family="dropout"),
    OpCase("flatten", nn.ops.flatten, each(normal(B, 3, F)), family="reshaping"),
    OpCase("concatenate", nn.ops.concatenate, each(normal(B, F), normal(B, 1), normal(B, C))),
    OpCase("add", nn.ops.add, each(normal(B, F), normal(B, F), normal(B, F))),
]

LOSSES = [
    OpCase("mse", nn.losses.mse, each(normal(B, C), normal(B, C)), family="regression"),
    OpCase("mse_of_numbers", nn.losses.mse, each(normal(B), normal(B))),
    OpCase("cross_entropy", nn.losses.cross_entropy, each(normal(B, C), integers(C, B)), family="classification"),
    OpCase("cross_entropy_of_tokens", nn.losses.cross_entropy, each(normal(B, 5, C), integers(C, B, 5))),
    OpCase("cross_entropy_onehot", nn.losses.cross_entropy, each(normal(B, C), onehot(B, C))),
    OpCase(
        "softmax_cross_entropy_with_integer_labels",
        nn.losses.softmax_cross_entropy_with_integer_labels,
        each(normal(B, C), integers(C, B)),
    ),
    OpCase("softmax_cross_entropy", nn.losses.softmax_cross_entropy, each(normal(B, C), probabilities(B, C))),
    OpCase("binary_cross_entropy", nn.losses.binary_cross_entropy, each(normal(B), unit(B)), family="binary"),
    OpCase("weighted_mean", nn.losses.weighted_mean, each(normal(B, 2), unit(B)), empty=False, family="mean"),
    OpCase("weighted_mean_of_tokens", nn.losses.weighted_mean, each(normal(B, 2, 3), unit(B, 2)), empty=False),
    OpCase("weighted_mean_unweighted", nn.losses.weighted_mean, each(normal(B, 2), absent), empty=False),
]


@dataclass(frozen=True, eq=False)
class LayerCase:
    name: str
    layer: Layer
    x: Callable[[np.random.Generator, int, Any], Any]
    hand: bool = True

    def __repr__(self):
        return self.name


@dataclass(frozen=True)
class Affine(Layer):
    """A research layer with nothing but `apply`: its backward is JAX's."""

    def init(self, key, x):
        return {"gain": jnp.ones(x.shape[-1:], x.dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return jnp.tanh(x * jnp.broadcast_to(params["gain"], x.shape)), state


@dataclass(frozen=True)
class Square(Layer):
    """A research layer with nothing but a hand-written pair: `apply` is its forward."""

    def init(self, key, x):
        return {}, {}

    def fwd(self, params, state, x, *, key=None, train=False):
        return (x * x, state), x

    def bwd(self, residuals, dy):
        return {}, 2 * residuals * dy


def double(x):
    return 2 * x


BLOCK = nn.serial(nn.Dense(F, bias=False), nn.BatchNorm(), nn.tanh, nn.Dropout(0.5))

LAYERS = [
    LayerCase("dense", nn.Dense(C), normal(B, F)),
    LayerCase("dense_without_bias", nn.Dense(C, bias=False), normal(B, F)),
    LayerCase("embed", nn.Embed(VOCABULARY, F), integers(VOCABULARY, B, 5)),
    LayerCase("batch_norm", nn.BatchNorm(), normal(B, F)),
    LayerCase("batch_norm_bare", nn.BatchNorm(scale=False, offset=False), normal(B, 2, F)),
    LayerCase("dropout", nn.Dropout(0.5), normal(B, F)),
    LayerCase("relu", as_layer(nn.relu), normal(B, F)),
    LayerCase("sigmoid", as_layer(nn.sigmoid), normal(B, F)),
    LayerCase("tanh", as_layer(nn.tanh), normal(B, F)),
    LayerCase("softmax", as_layer(nn.softmax), normal(B, F)),
    LayerCase("flatten", as_layer(nn.flatten), normal(B, 3, F)),
    LayerCase("function", as_layer(double), normal(B, F), hand=False),
    LayerCase("apply_only", Affine(), normal(B, F), hand=False),
    LayerCase("pair_only", Square(), normal(B, F)),
    LayerCase("serial", nn.serial(nn.Dense(5), nn.relu, nn.Dense(C)), normal(B, F)),
    LayerCase("serial_named", nn.serial(stem=nn.Dense(5), head=nn.serial(nn.tanh, nn.Dense(C))), normal(B, F)),
    LayerCase("serial_empty", nn.serial(), normal(B, F)),
    LayerCase("serial_of_ids", nn.serial(nn.Embed(VOCABULARY, F), nn.flatten, nn.Dense(C)), integers(VOCABULARY, B, 5)),
    LayerCase("residual", nn.residual(nn.Dense(F), nn.tanh), normal(B, F)),
    LayerCase("residual_of_one", nn.residual(nn.Dense(F)), normal(B, F)),
    LayerCase("parallel", nn.parallel(nn.Dense(2), nn.serial(), nn.tanh), normal(B, F)),
    LayerCase("concatenate", nn.serial(nn.parallel(nn.Dense(2), nn.serial()), nn.concatenate), normal(B, F)),
    LayerCase("add", nn.serial(nn.parallel(a=nn.Dense(F), b=nn.serial()), nn.add), normal(B, F)),
    LayerCase("repeat", nn.repeat(nn.residual(BLOCK), 3), normal(B, F)),
    LayerCase("repeat_once", nn.repeat(nn.Dense(F), 1), normal(B, F)),
    LayerCase("repeat_apply_only", nn.repeat(Affine(), 2), normal(B, F), hand=False),
    LayerCase("repeat_twice", nn.repeat(nn.serial(nn.repeat(nn.Dense(F), 2), nn.tanh), 2), normal(B, F)),
]
