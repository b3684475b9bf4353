"""Layers: settings with pure functions, and the combinators that make models of them."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.layers._activations import PReLU as PReLU
    from jaxnn.layers._activations import Swish as Swish
    from jaxnn.layers._activity import ActivityPenalty as ActivityPenalty
    from jaxnn.layers._activity import GaussianKL as GaussianKL
    from jaxnn.layers._attention import SelfAttention as SelfAttention
    from jaxnn.layers._bias import Bias as Bias
    from jaxnn.layers._bidirectional import Bidirectional as Bidirectional
    from jaxnn.layers._bidirectional import bidirectional as bidirectional
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
    from jaxnn.layers._cross_attention import CrossAttention as CrossAttention
    from jaxnn.layers._deferred import DeferredDense as DeferredDense
    from jaxnn.layers._dense import Dense as Dense
    from jaxnn.layers._dropout import Dropout as Dropout
    from jaxnn.layers._dropout import SpatialDropout as SpatialDropout
    from jaxnn.layers._each_step import EachStep as EachStep
    from jaxnn.layers._each_step import each_step as each_step
    from jaxnn.layers._embedding import Embed as Embed
    from jaxnn.layers._ensemble import Ensemble as Ensemble
    from jaxnn.layers._group_norm import GroupNorm as GroupNorm
    from jaxnn.layers._group_norm import InstanceNorm as InstanceNorm
    from jaxnn.layers._layer import Layer as Layer
    from jaxnn.layers._layer import LayerLike as LayerLike
    from jaxnn.layers._layer import OpLayer as OpLayer
    from jaxnn.layers._layer import as_layer as as_layer
    from jaxnn.layers._layer_norm import LayerNorm as LayerNorm
    from jaxnn.layers._layer_norm import RMSNorm as RMSNorm
    from jaxnn.layers._noise import GaussianNoise as GaussianNoise
    from jaxnn.layers._normalisation import BatchNorm as BatchNorm
    from jaxnn.layers._normed_weights import SpectralNorm as SpectralNorm
    from jaxnn.layers._normed_weights import WeightStandardisation as WeightStandardisation
    from jaxnn.layers._normed_weights import spectral_normed as spectral_normed
    from jaxnn.layers._normed_weights import weight_standardised as weight_standardised
    from jaxnn.layers._on_weights import OnWeights as OnWeights
    from jaxnn.layers._on_weights import drop_connect as drop_connect
    from jaxnn.layers._on_weights import on_weights as on_weights
    from jaxnn.layers._pooling import AdaptiveAveragePool as AdaptiveAveragePool
    from jaxnn.layers._pooling import AdaptiveMaxPool as AdaptiveMaxPool
    from jaxnn.layers._pooling import AveragePool as AveragePool
    from jaxnn.layers._pooling import MaxPool as MaxPool
    from jaxnn.layers._positions import PositionalEmbedding as PositionalEmbedding
    from jaxnn.layers._positions import Sinusoidal as Sinusoidal
    from jaxnn.layers._precision import InPrecision as InPrecision
    from jaxnn.layers._precision import Precision as Precision
    from jaxnn.layers._precision import in_precision as in_precision
    from jaxnn.layers._recurrence import GRU as GRU
    from jaxnn.layers._recurrence import LSTM as LSTM
    from jaxnn.layers._recurrence import RNN as RNN
    from jaxnn.layers._remat import Remat as Remat
    from jaxnn.layers._remat import remat as remat
    from jaxnn.layers._reshaping import Reshape as Reshape
    from jaxnn.layers._rewriting import replace_layer as replace_layer
    from jaxnn.layers._sampling import GaussianSample as GaussianSample
    from jaxnn.layers._separable_conv import separable_conv as separable_conv
    from jaxnn.layers._squeeze_excite import SqueezeExcite as SqueezeExcite
    from jaxnn.layers._stochastic_depth import DropPath as DropPath
    from jaxnn.layers._stochastic_depth import stochastic_depth as stochastic_depth
    from jaxnn.layers._temperature import Temperature as Temperature
    from jaxnn.layers._vote import Vote as Vote
    from jaxnn.layers._vote import vote as vote
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ActivityPenalty",
    "AdaptiveAveragePool",
    "AdaptiveMaxPool",
    "AveragePool",
    "BatchNorm",
    "Bias",
    "Bidirectional",
    "Conv",
    "ConvTranspose",
    "CrossAttention",
    "DeferredDense",
    "Dense",
    "DepthwiseConv",
    "DropPath",
    "Dropout",
    "EachStep",
    "Embed",
    "Ensemble",
    "GaussianKL",
    "GaussianNoise",
    "GaussianSample",
    "GroupNorm",
    "InPrecision",
    "InstanceNorm",
    "Layer",
    "LayerLike",
    "LayerNorm",
    "MaxPool",
    "OnWeights",
    "OpLayer",
    "PReLU",
    "Parallel",
    "PositionalEmbedding",
    "Precision",
    "RMSNorm",
    "Remat",
    "Repeat",
    "Reshape",
    "Residual",
    "SelfAttention",
    "Serial",
    "Sinusoidal",
    "SpatialDropout",
    "SpectralNorm",
    "SqueezeExcite",
    "Swish",
    "Temperature",
    "Vote",
    "WeightStandardisation",
    "as_layer",
    "bidirectional",
    "drop_connect",
    "each_step",
    "in_precision",
    "on_weights",
    "parallel",
    "remat",
    "repeat",
    "replace_layer",
    "residual",
    "separable_conv",
    "serial",
    "spectral_normed",
    "stochastic_depth",
    "vote",
    "weight_standardised",
]
