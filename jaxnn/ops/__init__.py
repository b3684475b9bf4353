"""Ops: pure functions on arrays, each with its hand-written backward beside it."""

from jaxnn.ops._activations import relu as relu
from jaxnn.ops._activations import sigmoid as sigmoid
from jaxnn.ops._activations import softmax as softmax
from jaxnn.ops._activations import tanh as tanh
from jaxnn.ops._dropout import dropout as dropout
from jaxnn.ops._linear import embed as embed
from jaxnn.ops._linear import linear as linear
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
    "add",
    "batch_norm",
    "concatenate",
    "dropout",
    "embed",
    "flatten",
    "linear",
    "normalise",
    "op",
    "plain",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
