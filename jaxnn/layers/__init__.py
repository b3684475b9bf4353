"""Layers: settings with pure functions, and the combinators that make models of them."""

from jaxnn.layers._activations import PReLU as PReLU
from jaxnn.layers._activations import Swish as Swish
from jaxnn.layers._combinators import Parallel as Parallel
from jaxnn.layers._combinators import Repeat as Repeat
from jaxnn.layers._combinators import Residual as Residual
from jaxnn.layers._combinators import Serial as Serial
from jaxnn.layers._combinators import parallel as parallel
from jaxnn.layers._combinators import repeat as repeat
from jaxnn.layers._combinators import residual as residual
from jaxnn.layers._combinators import serial as serial
from jaxnn.layers._convolution import Conv as Conv
from jaxnn.layers._convolution import ConvTranspose as ConvTranspose
from jaxnn.layers._convolution import DepthwiseConv as DepthwiseConv
from jaxnn.layers._dense import Dense as Dense
from jaxnn.layers._dropout import Dropout as Dropout
from jaxnn.layers._embedding import Embed as Embed
from jaxnn.layers._layer import Layer as Layer
from jaxnn.layers._layer import LayerLike as LayerLike
from jaxnn.layers._layer import OpLayer as OpLayer
from jaxnn.layers._layer import as_layer as as_layer
from jaxnn.layers._normalisation import BatchNorm as BatchNorm
from jaxnn.layers._pooling import AdaptiveAveragePool as AdaptiveAveragePool
from jaxnn.layers._pooling import AdaptiveMaxPool as AdaptiveMaxPool
from jaxnn.layers._pooling import AveragePool as AveragePool
from jaxnn.layers._pooling import MaxPool as MaxPool

__all__ = [
    "AdaptiveAveragePool",
    "AdaptiveMaxPool",
    "AveragePool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "DepthwiseConv",
    "Dropout",
    "Embed",
    "Layer",
    "LayerLike",
    "MaxPool",
    "OpLayer",
    "PReLU",
    "Parallel",
    "Repeat",
    "Residual",
    "Serial",
    "Swish",
    "as_layer",
    "parallel",
    "repeat",
    "residual",
    "serial",
]
