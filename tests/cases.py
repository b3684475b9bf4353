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
    exact: bool = True  # whether forward and plain are the same to the last bit, not only to rounding

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

TRANSPOSE = nn.ops.conv_transpose


def conv_row(name, sizes, taps, i, o, *, op=nn.ops.conv, bias=False, family="", **settings):
    """A row for a convolution from i to o features."""
    groups = i if op is nn.ops.depthwise_conv else settings.get("groups", 1)
    w = normal(*taps, o // groups, i) if op is TRANSPOSE else normal(*taps, i // groups, o)
    arrays = each(normal(B, *sizes, i), w, normal(o) if bias else absent)
    return OpCase(name, op, arrays, settings, family=family, exact=False)


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
    conv_row("conv", (5, 4), (3, 3), 2, 3, bias=True, family="conv"),
    conv_row("conv_without_bias", (5, 4), (3, 3), 2, 3),
    conv_row("conv_wide", (3, 13), (3, 3), 8, 9),
    conv_row("conv_of_wide_features", (5, 5), (3, 2), 8, 9, stride=(2, 1), padding="VALID"),
    conv_row("conv_strided", (7, 6), (3, 2), 8, 9, stride=(2, 3)),
    conv_row("conv_of_grey", (5, 4), (3, 3), 1, 4, stride=2),
    conv_row("conv_1x1", (3, 4), (1, 1), 8, 9, bias=True),
    conv_row("conv_1x1_strided", (5, 4), (1, 1), 8, 9, stride=2),
    conv_row("conv_padded", (4, 3), (2, 3), 8, 8, padding=((2, 0), (1, 3))),
    conv_row("conv_padded_widely", (3, 2), (2, 2), 8, 8, padding=3, stride=2),
    conv_row("conv_padded_lower", (6, 4), (3, 2), 8, 8, padding="SAME_LOWER", stride=2),
    conv_row("conv_circular", (5, 4), (4, 3), 2, 3, bias=True, padding="CIRCULAR", family="conv_circular"),
    conv_row("conv_reflected", (6, 5), (3, 4), 8, 9, padding="REFLECT", stride=(2, 1), family="conv_reflected"),
    conv_row("conv_dilated", (7, 6), (3, 2), 8, 8, dilation=(2, 3)),
    conv_row("conv_strided_and_dilated", (9, 8), (3, 2), 8, 8, dilation=2, stride=3),
    conv_row("conv_stepping_over", (7, 8), (2, 2), 8, 8, stride=3, padding="VALID"),
    conv_row("conv_in_groups", (5, 4), (3, 3), 4, 6, bias=True, groups=2),
    conv_row("conv_in_wide_groups", (4, 4), (2, 2), 36, 36, stride=2, groups=2),
    conv_row("conv_in_lonely_groups", (5, 4), (3, 3), 3, 6, stride=2, groups=3),
    conv_row("conv_of_sequences", (6,), (3,), 8, 9, bias=True, padding="VALID", stride=2),
    conv_row("conv_causal", (6,), (3,), 2, 3, padding="CAUSAL", dilation=2),
    conv_row("conv_of_volumes", (3, 4, 3), (2, 3, 2), 8, 9, bias=True, padding="VALID"),
    conv_row("depthwise_conv", (5, 4), (3, 3), 3, 3, op=nn.ops.depthwise_conv, bias=True, family="depthwise_conv"),
    conv_row("depthwise_conv_circular", (5,), (3,), 3, 6, op=nn.ops.depthwise_conv, padding="CIRCULAR"),
    conv_row("depthwise_conv_strided", (5, 4), (3, 2), 3, 6, op=nn.ops.depthwise_conv, stride=2, padding="VALID"),
    conv_row("conv_transpose", (3, 4), (4, 4), 2, 3, op=TRANSPOSE, bias=True, stride=2, family="conv_transpose"),
    conv_row("conv_transpose_valid", (3, 2), (3, 2), 8, 9, op=TRANSPOSE, stride=(2, 3), padding="VALID"),
    conv_row("conv_transpose_cut", (3, 3), (3, 3), 8, 9, op=TRANSPOSE, stride=2, padding=1, extra=1),
    conv_row("conv_transpose_in_groups", (3, 3), (3, 3), 4, 6, op=TRANSPOSE, dilation=2, groups=2),
    conv_row("conv_transpose_causal", (4,), (3,), 8, 9, op=TRANSPOSE, stride=2, padding="CAUSAL"),
    conv_row("conv_transpose_circular", (4,), (5,), 2, 3, op=TRANSPOSE, stride=2, padding="CIRCULAR"),
    conv_row("conv_transpose_reflected", (3, 2), (3, 4), 8, 9, op=TRANSPOSE, stride=2, padding="REFLECT"),
    conv_row("conv_transpose_of_volumes", (2, 3, 2), (2, 2, 3), 8, 9, op=TRANSPOSE, stride=2),
    OpCase("max_pool", nn.ops.max_pool, each(normal(B, 5, 4, 2)), {"window": (2, 2)}, family="max_pool"),
    OpCase("max_pool_of_sequences", nn.ops.max_pool, each(normal(B, 7, 2)), {"window": 2, "stride": 3}),
    OpCase("max_pool_of_volumes", nn.ops.max_pool, each(normal(B, 4, 3, 5, 2)), {"window": 2, "stride": (1, 1, 2)}),
    OpCase("max_pool_same", nn.ops.max_pool, each(normal(B, 5, 6, 2)), {"window": 3, "stride": 2, "padding": "SAME"}),
    OpCase("max_pool_everywhere", nn.ops.max_pool, each(normal(B, 4, 5, 2)), {"window": 3, "stride": 1, "padding": 1}),
    OpCase(
        "max_pool_padded",
        nn.ops.max_pool,
        each(normal(B, 4, 5, 2)),
        {"window": (2, 4), "stride": (3, 1), "padding": (1, (0, 2))},
    ),
    OpCase(
        "max_pool_lower", nn.ops.max_pool, each(normal(B, 6, 2)), {"window": 3, "stride": 2, "padding": "SAME_LOWER"}
    ),
    OpCase("max_pool_of_many_taps", nn.ops.max_pool, each(normal(B, 140, 1)), {"window": 66, "stride": 1}),
    OpCase("max_pool_once", nn.ops.max_pool, each(normal(B, 4, 3, 2)), {"window": (4, 3)}),
    OpCase("average_pool", nn.ops.average_pool, each(normal(B, 5, 4, 2)), {"window": (2, 2)}, family="average_pool"),
    OpCase("average_pool_of_sequences", nn.ops.average_pool, each(normal(B, 7, 2)), {"window": 2, "stride": 3}),
    OpCase("average_pool_of_volumes", nn.ops.average_pool, each(normal(B, 4, 3, 5, 2)), {"window": 2, "stride": 1}),
    OpCase(
        "average_pool_same",
        nn.ops.average_pool,
        each(normal(B, 5, 6, 2)),
        {"window": 3, "stride": 2, "padding": "SAME"},
    ),
    OpCase(
        "average_pool_counting",
        nn.ops.average_pool,
        each(normal(B, 4, 5, 2)),
        {"window": (2, 4), "stride": (3, 1), "padding": (1, (0, 2)), "count_padding": True},
    ),
    OpCase("average_pool_once", nn.ops.average_pool, each(normal(B, 4, 3, 2)), {"window": (4, 3)}),
    OpCase("adaptive_max_pool", nn.ops.adaptive_max_pool, each(normal(B, 5, 7, 2)), {"size": (2, 3)}, family="parts"),
    OpCase("adaptive_max_pool_of_many_parts", nn.ops.adaptive_max_pool, each(normal(B, 50, 1)), {"size": 18}),
    OpCase("adaptive_max_pool_repeating", nn.ops.adaptive_max_pool, each(normal(B, 3, 2)), {"size": 4}),
    OpCase("adaptive_average_pool", nn.ops.adaptive_average_pool, each(normal(B, 5, 7, 2)), {"size": (2, 3)}),
    OpCase("adaptive_average_pool_repeating", nn.ops.adaptive_average_pool, each(normal(B, 3, 2)), {"size": 4}),
    OpCase("global_max_pool", nn.ops.global_max_pool, each(normal(B, 3, 4, 2)), family="global_max_pool"),
    OpCase("global_average_pool", nn.ops.global_average_pool, each(normal(B, 3, 4, 2)), family="global_average_pool"),
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
    LayerCase("conv", nn.Conv(C, (3, 3)), normal(B, 5, 4, 2)),
    LayerCase("conv_without_bias", nn.Conv(C, 2, stride=2, padding="VALID", bias=False), normal(B, 5, 2)),
    LayerCase("conv_in_groups", nn.Conv(6, (3, 3), groups=2, dilation=(1, 2)), normal(B, 5, 4, 4)),
    LayerCase("conv_circular", nn.Conv(C, (3, 3), padding="CIRCULAR"), normal(B, 5, 4, 2)),
    LayerCase("depthwise_conv", nn.DepthwiseConv((3, 3), multiplier=2, stride=2), normal(B, 5, 4, 3)),
    LayerCase("depthwise_conv_without_bias", nn.DepthwiseConv(2, bias=False), normal(B, 4, 3, 2)),
    LayerCase("conv_transpose", nn.ConvTranspose(C, (4, 4), stride=2), normal(B, 3, 2, 2)),
    LayerCase("conv_transpose_in_groups", nn.ConvTranspose(6, 3, groups=2, bias=False), normal(B, 4, 4)),
    LayerCase("max_pool", nn.MaxPool((2, 2)), normal(B, 5, 4, 2)),
    LayerCase("max_pool_everywhere", nn.MaxPool(3, stride=1, padding="SAME"), normal(B, 4, 5, 2)),
    LayerCase("average_pool", nn.AveragePool((2, 2)), normal(B, 5, 4, 2)),
    LayerCase("average_pool_counting", nn.AveragePool(3, stride=1, padding=1, count_padding=True), normal(B, 4, 5, 2)),
    LayerCase("adaptive_max_pool", nn.AdaptiveMaxPool((2, 3)), normal(B, 5, 7, 2)),
    LayerCase("adaptive_average_pool", nn.AdaptiveAveragePool((2, 3)), normal(B, 5, 7, 2)),
    LayerCase("global_max_pool", as_layer(nn.global_max_pool), normal(B, 3, 4, 2)),
    LayerCase("global_average_pool", as_layer(nn.global_average_pool), normal(B, 3, 4, 2)),
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
