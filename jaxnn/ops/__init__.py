"""Ops: pure functions on arrays, each with its hand-written backward beside it."""

from jaxnn.ops._activations import relu as relu
from jaxnn.ops._activations import sigmoid as sigmoid
from jaxnn.ops._activations import softmax as softmax
from jaxnn.ops._activations import tanh as tanh
from jaxnn.ops._average_pooling import adaptive_average_pool as adaptive_average_pool
from jaxnn.ops._average_pooling import average_pool as average_pool
from jaxnn.ops._average_pooling import global_average_pool as global_average_pool
from jaxnn.ops._convolution import conv as conv
from jaxnn.ops._convolution import conv_transpose as conv_transpose
from jaxnn.ops._convolution import depthwise_conv as depthwise_conv
from jaxnn.ops._dropout import dropout as dropout
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
from jaxnn.ops._reshaping import add as add
from jaxnn.ops._reshaping import concatenate as concatenate
from jaxnn.ops._reshaping import flatten as flatten

__all__ = [
    "Op",
    "adaptive_average_pool",
    "adaptive_max_pool",
    "add",
    "average_pool",
    "batch_norm",
    "concatenate",
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "dropout",
    "embed",
    "flatten",
    "global_average_pool",
    "global_max_pool",
    "linear",
    "max_pool",
    "normalise",
    "op",
    "plain",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
