"""One row per op and layer that normalises or regularises, and per small layer."""

import jax.numpy as jnp

import jaxnn as nn
from cases._kinds import (
    VOCABULARY,
    B,
    C,
    F,
    LayerCase,
    OpCase,
    absent,
    each,
    fixed_key,
    integers,
    normal,
    sequences,
    unit,
)
from jaxnn.layers import Precision, in_precision

ops = nn.ops

OPS = [
    OpCase("layer_norm", ops.layer_norm, each(normal(B, F), normal(F), normal(F)), family="layer_norm"),
    OpCase("layer_norm_of_images", ops.layer_norm, each(normal(B, 3, 2, F), normal(F), normal(F))),
    OpCase("layer_norm_bare", ops.layer_norm, each(normal(B, F), absent, absent), {"epsilon": 1e-2}),
    OpCase("rms_norm", ops.rms_norm, each(normal(B, 3, F), normal(F)), family="rms_norm"),
    OpCase("rms_norm_bare", ops.rms_norm, each(normal(B, F), absent), {"epsilon": 1e-2}),
    OpCase("group_norm", ops.group_norm, each(normal(B, 3, 2, F), normal(F), normal(F)), {"groups": 2}, family="group"),
    OpCase("group_norm_in_one", ops.group_norm, each(normal(B, F), normal(F), normal(F)), {"groups": 1}),
    OpCase("group_norm_bare", ops.group_norm, each(normal(B, 5, F), absent, absent), {"groups": 2, "epsilon": 1e-2}),
    OpCase("instance_norm", ops.instance_norm, each(normal(B, 3, 2, C), normal(C), normal(C)), family="instance"),
    OpCase("instance_norm_bare", ops.instance_norm, each(normal(B, 5, C), absent, absent), {"epsilon": 1e-2}),
    OpCase("dropout_of_features", ops.dropout, each(normal(B, 3, 2, F), unit(), fixed_key), {"shared": (1, 2)}),
    OpCase("dropout_of_examples", ops.dropout, each(normal(B, 3, F), unit(), fixed_key), {"shared": (1, -1)}),
    OpCase("gaussian_noise", ops.gaussian_noise, each(normal(B, F), unit(), fixed_key), family="gaussian_noise"),
    OpCase(
        "spectral_norm", ops.spectral_norm, each(normal(B, F), normal(F), normal(B)), empty=False, family="spectral"
    ),
    OpCase("spectral_norm_of_windows", ops.spectral_norm, each(normal(3, 2, F), normal(F), normal(6)), empty=False),
    OpCase("bias", ops.bias, each(normal(B, 3, F), normal(F)), family="bias"),
    OpCase("reshape", ops.reshape, each(normal(B, 6, F)), {"shape": (2, -1, 3)}),
    OpCase("reshape_to_rows", ops.reshape, each(normal(B, 6, F)), {"shape": 24}),
    OpCase("feature_gate", ops.feature_gate, each(normal(B, 3, 2, F), normal(B, F)), family="feature_gate"),
    OpCase("feature_gate_of_rows", ops.feature_gate, each(normal(B, F), normal(B, F))),
]

SPARSE = nn.serial(nn.Dense(F), nn.layers.ActivityPenalty(l1=0.1), nn.tanh)
PENALISED = nn.serial(nn.repeat(nn.remat(nn.residual(SPARSE)), 2), nn.parallel(nn.each_step(SPARSE), SPARSE), nn.add)
BLOCK = nn.residual(nn.Dense(F), nn.BatchNorm(), nn.Dropout(0.4), nn.tanh)
FLOAT64 = Precision(jnp.float64, jnp.float64, jnp.float64)  # by which numbers are checked
NORMED = nn.serial(nn.Conv(C, 3), nn.BatchNorm(), nn.tanh, nn.flatten, nn.Dense(2))

LAYERS = [
    LayerCase("layer_norm", nn.LayerNorm(), normal(B, 2, F)),
    LayerCase("layer_norm_bare", nn.LayerNorm(epsilon=1e-3, scale=False, offset=False), normal(B, F)),
    LayerCase("rms_norm", nn.RMSNorm(), normal(B, 2, F)),
    LayerCase("group_norm", nn.GroupNorm(2), normal(B, 3, 2, F)),
    LayerCase("group_norm_without_offset", nn.GroupNorm(2, offset=False), normal(B, F)),
    LayerCase("instance_norm", nn.InstanceNorm(), normal(B, 3, 2, C)),
    LayerCase("spatial_dropout", nn.SpatialDropout(0.4), normal(B, 3, 2, F)),
    LayerCase("spatial_dropout_of_sequences", nn.SpatialDropout(0.4), sequences(normal(B, 5, F))),
    LayerCase("dropout_of_sequences", nn.Dropout(0.4), sequences(normal(B, 5, F))),
    LayerCase("drop_path", nn.DropPath(0.4), normal(B, 3, F)),
    LayerCase("gaussian_noise", nn.GaussianNoise(0.3), normal(B, F)),
    LayerCase("stochastic_depth", nn.stochastic_depth(nn.Dense(F), nn.tanh, rate=0.4), normal(B, F)),
    LayerCase("drop_connect_of_several", nn.drop_connect(NORMED, 0.4), normal(B, 4, F)),
    LayerCase("weight_standardised", nn.weight_standardised(nn.Conv(C, (2, 3))), normal(B, 3, 4, 2)),
    LayerCase("spectral_normed", nn.spectral_normed(nn.Dense(C)), normal(B, F), held=True),
    LayerCase("spectral_normed_of_several", nn.spectral_normed(NORMED), normal(B, 4, F), held=True),
    LayerCase("noise_on_weights", nn.on_weights(nn.Dense(F), nn.GaussianNoise(0.1)), normal(B, F)),
    LayerCase(
        "noise_on_normed_weights", nn.on_weights(nn.spectral_normed(nn.Dense(F)), nn.tanh), normal(B, F), held=True
    ),
    LayerCase("bias", nn.Bias(), normal(B, 3, F)),
    LayerCase("reshape", nn.Reshape((2, -1, 3)), normal(B, 6, F)),
    LayerCase("squeeze_excite", nn.SqueezeExcite(2), normal(B, 3, 2, F)),
    LayerCase("separable_conv", nn.separable_conv(C, (3, 3), stride=2), normal(B, 5, 4, 2)),
    LayerCase("remat", nn.remat(BLOCK), normal(B, F)),
    LayerCase("remat_of_ids", nn.remat(nn.Embed(VOCABULARY, F), nn.tanh), integers(VOCABULARY, B, 5)),
    LayerCase("remat_of_sequences", nn.remat(nn.each_step(nn.Dense(F)), nn.Dropout(0.4)), sequences(normal(B, 5, F))),
    LayerCase("remat_in_repeat", nn.repeat(nn.remat(BLOCK), 2), normal(B, F)),
    LayerCase("repeat_in_remat", nn.remat(nn.repeat(BLOCK, 2), nn.Dense(2)), normal(B, F)),
    LayerCase("activity_penalty", nn.layers.ActivityPenalty(l1=0.3, l2=0.2), normal(B, 3, F)),
    LayerCase("activity_penalty_of_sequences", nn.layers.ActivityPenalty(l2=0.2), sequences(normal(B, 5, F))),
    LayerCase("activity_penalty_in_all", PENALISED, normal(B, F)),
    LayerCase("gaussian_kl", nn.serial(nn.parallel(nn.Dense(2), nn.Dense(2)), nn.layers.GaussianKL(0.5)), normal(B, F)),
    LayerCase("in_precision", in_precision(BLOCK, policy=FLOAT64), normal(B, F), keeps=False),
    LayerCase(
        "in_precision_of_sequences",
        in_precision(nn.each_step(nn.Dense(F)), nn.GRU(2), policy=FLOAT64),
        sequences(normal(B, 5, F)),
        keeps=False,
    ),
]
