"""One row per layer that is no activation."""

from dataclasses import dataclass

import jax.numpy as jnp

import jaxnn as nn
from cases._kinds import VOCABULARY, B, C, F, LayerCase, integers, normal, sequences
from jaxnn.layers import Layer, as_layer
from jaxnn.typing import accumulator_dtype


@dataclass(frozen=True)
class Affine(Layer):
    """A research layer with nothing but `apply`: its backward is JAX's."""

    def init(self, key, x):
        return {"gain": jnp.ones(x.shape[-1:], x.dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return jnp.tanh(x * jnp.broadcast_to(params["gain"], x.shape)), state


@dataclass(frozen=True)
class Balance(Layer):
    """A research layer with nothing but `apply` that adds to the loss."""

    def init(self, key, x):
        return {"gain": jnp.ones(x.shape[-1:], x.dtype)}, {"auxiliary_loss": jnp.zeros((), accumulator_dtype(x.dtype))}

    def apply(self, params, state, x, *, key=None, train=False):
        y = x * jnp.broadcast_to(params["gain"], x.shape)
        added = (y.astype(accumulator_dtype(x.dtype)).mean(0) ** 2).sum()
        return y, {"auxiliary_loss": added} if train else state


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
IDS = nn.serial(nn.Embed(VOCABULARY, F), nn.flatten, nn.Dense(C))

LAYERS = [
    LayerCase("dense", nn.Dense(C), normal(B, F)),
    LayerCase("dense_without_bias", nn.Dense(C, bias=False), normal(B, F)),
    LayerCase("deferred_dense", nn.layers.DeferredDense(C), normal(B, F)),
    LayerCase("deferred_dense_without_bias", nn.layers.DeferredDense(C, bias=False), normal(B, F)),
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
    LayerCase("apply_only_adding", nn.serial(Balance(), nn.repeat(Balance(), 2)), normal(B, F), hand=False),
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
    LayerCase("each_step", nn.each_step(nn.Dense(C), nn.tanh), sequences(normal(B, 5, F))),
    LayerCase("each_step_of_ids", nn.each_step(nn.Embed(VOCABULARY, F)), sequences(integers(VOCABULARY, B, 5))),
    LayerCase("each_step_of_an_array", nn.each_step(nn.Dense(C)), normal(B, 5, F)),
    LayerCase("residual_of_sequences", nn.residual(nn.each_step(nn.Dense(F))), sequences(normal(B, 5, F))),
    LayerCase("repeat", nn.repeat(nn.residual(BLOCK), 3), normal(B, F)),
    LayerCase("repeat_once", nn.repeat(nn.Dense(F), 1), normal(B, F)),
    LayerCase("repeat_apply_only", nn.repeat(Affine(), 2), normal(B, F), hand=False),
    LayerCase("repeat_twice", nn.repeat(nn.serial(nn.repeat(nn.Dense(F), 2), nn.tanh), 2), normal(B, F)),
    LayerCase("ensemble", nn.Ensemble(BLOCK, 3, combine=nn.ops.mean_of_members), normal(B, F)),
    LayerCase("ensemble_of_one", nn.Ensemble(nn.Dense(C), 1), normal(B, F)),
    LayerCase("ensemble_of_ids", nn.Ensemble(IDS, 2), integers(VOCABULARY, B, 5)),
    LayerCase("ensemble_apply_only", nn.Ensemble(Affine(), 2, combine=nn.ops.sum_of_members), normal(B, F), hand=False),
    LayerCase("ensemble_adding", nn.Ensemble(nn.serial(nn.Dense(C), nn.ActivityPenalty(l2=0.1)), 2), normal(B, F)),
    LayerCase("temperature", nn.layers.Temperature(), normal(B, F)),
    LayerCase("vote", nn.vote(nn.Dense(F), BLOCK, nn.tanh, combine=nn.ops.mean_of_members), normal(B, F)),
    LayerCase("vote_of_ids", nn.vote(IDS, deep=nn.serial(IDS, nn.tanh, nn.Dense(C))), integers(VOCABULARY, B, 5)),
    LayerCase("ensemble_in_serial", nn.serial(nn.tanh, nn.Ensemble(nn.Dense(C), 3), nn.Dense(2)), normal(B, F)),
]
