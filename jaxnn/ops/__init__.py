"""Ops: pure functions on arrays, each with its hand-written backward beside it."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.ops._attention import attention as attention
    from jaxnn.ops._average_pooling import adaptive_average_pool as adaptive_average_pool
    from jaxnn.ops._average_pooling import average_pool as average_pool
    from jaxnn.ops._average_pooling import global_average_pool as global_average_pool
    from jaxnn.ops._convolution import conv as conv
    from jaxnn.ops._convolution import conv_transpose as conv_transpose
    from jaxnn.ops._convolution import depthwise_conv as depthwise_conv
    from jaxnn.ops._dropout import dropout as dropout
    from jaxnn.ops._exponential_rectifiers import celu as celu
    from jaxnn.ops._exponential_rectifiers import elu as elu
    from jaxnn.ops._exponential_rectifiers import selu as selu
    from jaxnn.ops._feature_gate import feature_gate as feature_gate
    from jaxnn.ops._gated_linear_units import glu as glu
    from jaxnn.ops._gated_linear_units import swiglu as swiglu
    from jaxnn.ops._gates import gelu as gelu
    from jaxnn.ops._gates import gelu_tanh as gelu_tanh
    from jaxnn.ops._gates import hard_silu as hard_silu
    from jaxnn.ops._gates import hard_swish as hard_swish
    from jaxnn.ops._gates import mish as mish
    from jaxnn.ops._gates import parametric_swish as parametric_swish
    from jaxnn.ops._gates import silu as silu
    from jaxnn.ops._gates import swish as swish
    from jaxnn.ops._gaussian_noise import gaussian_noise as gaussian_noise
    from jaxnn.ops._group_norm import group_norm as group_norm
    from jaxnn.ops._group_norm import instance_norm as instance_norm
    from jaxnn.ops._layer_norm import layer_norm as layer_norm
    from jaxnn.ops._layer_norm import rms_norm as rms_norm
    from jaxnn.ops._linear import bias as bias
    from jaxnn.ops._linear import embed as embed
    from jaxnn.ops._linear import linear as linear
    from jaxnn.ops._max_pooling import adaptive_max_pool as adaptive_max_pool
    from jaxnn.ops._max_pooling import global_max_pool as global_max_pool
    from jaxnn.ops._max_pooling import max_pool as max_pool
    from jaxnn.ops._normalisation import batch_norm as batch_norm
    from jaxnn.ops._normalisation import normalise as normalise
    from jaxnn.ops._op import Op as Op
    from jaxnn.ops._op import op as op
    from jaxnn.ops._op import plain as plain
    from jaxnn.ops._over_time import last as last
    from jaxnn.ops._over_time import mean_over_time as mean_over_time
    from jaxnn.ops._positions import rotary as rotary
    from jaxnn.ops._positions import sinusoidal as sinusoidal
    from jaxnn.ops._rectifiers import identity as identity
    from jaxnn.ops._rectifiers import leaky_relu as leaky_relu
    from jaxnn.ops._rectifiers import prelu as prelu
    from jaxnn.ops._rectifiers import relu as relu
    from jaxnn.ops._rectifiers import relu6 as relu6
    from jaxnn.ops._recurrence_gru import gru as gru
    from jaxnn.ops._recurrence_lstm import lstm as lstm
    from jaxnn.ops._recurrence_rnn import rnn as rnn
    from jaxnn.ops._reshaping import add as add
    from jaxnn.ops._reshaping import concatenate as concatenate
    from jaxnn.ops._reshaping import flatten as flatten
    from jaxnn.ops._reshaping import reshape as reshape
    from jaxnn.ops._sampling import gaussian_sample as gaussian_sample
    from jaxnn.ops._sigmoids import hard_sigmoid as hard_sigmoid
    from jaxnn.ops._sigmoids import hard_tanh as hard_tanh
    from jaxnn.ops._sigmoids import log_sigmoid as log_sigmoid
    from jaxnn.ops._sigmoids import sigmoid as sigmoid
    from jaxnn.ops._sigmoids import soft_sign as soft_sign
    from jaxnn.ops._sigmoids import sparse_sigmoid as sparse_sigmoid
    from jaxnn.ops._sigmoids import tanh as tanh
    from jaxnn.ops._smooth_rectifiers import softplus as softplus
    from jaxnn.ops._smooth_rectifiers import sparse_plus as sparse_plus
    from jaxnn.ops._smooth_rectifiers import squareplus as squareplus
    from jaxnn.ops._softmax import is_probability_vector as is_probability_vector
    from jaxnn.ops._softmax import log_softmax as log_softmax
    from jaxnn.ops._softmax import softmax as softmax
    from jaxnn.ops._spectral_norm import spectral_norm as spectral_norm
    from jaxnn.ops._standardize import standardize as standardize
    from jaxnn.ops._steps import step as step
    from jaxnn.ops._temperature import tempered as tempered
    from jaxnn.ops._voting import hard_vote as hard_vote
    from jaxnn.ops._voting import mean_of_members as mean_of_members
    from jaxnn.ops._voting import soft_vote as soft_vote
    from jaxnn.ops._voting import sum_of_members as sum_of_members
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Op",
    "adaptive_average_pool",
    "adaptive_max_pool",
    "add",
    "attention",
    "average_pool",
    "batch_norm",
    "bias",
    "celu",
    "concatenate",
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "dropout",
    "elu",
    "embed",
    "feature_gate",
    "flatten",
    "gaussian_noise",
    "gaussian_sample",
    "gelu",
    "gelu_tanh",
    "global_average_pool",
    "global_max_pool",
    "glu",
    "group_norm",
    "gru",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "hard_vote",
    "identity",
    "instance_norm",
    "is_probability_vector",
    "last",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "lstm",
    "max_pool",
    "mean_of_members",
    "mean_over_time",
    "mish",
    "normalise",
    "op",
    "parametric_swish",
    "plain",
    "prelu",
    "relu",
    "relu6",
    "reshape",
    "rms_norm",
    "rnn",
    "rotary",
    "selu",
    "sigmoid",
    "silu",
    "sinusoidal",
    "soft_sign",
    "soft_vote",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "spectral_norm",
    "squareplus",
    "standardize",
    "step",
    "sum_of_members",
    "swiglu",
    "swish",
    "tanh",
    "tempered",
]
