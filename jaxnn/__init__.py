"""jaxnn: neural networks as pure functions on JAX, with a hand-written backward beside every forward.

Everything is a pair of pure functions, and a training run is a pure function too.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    # ops
    from jaxnn import ops as ops
    from jaxnn.ops import Op as Op
    from jaxnn.ops import add as add
    from jaxnn.ops import concatenate as concatenate
    from jaxnn.ops import elu as elu
    from jaxnn.ops import flatten as flatten
    from jaxnn.ops import gelu as gelu
    from jaxnn.ops import gelu_tanh as gelu_tanh
    from jaxnn.ops import global_average_pool as global_average_pool
    from jaxnn.ops import global_max_pool as global_max_pool
    from jaxnn.ops import glu as glu
    from jaxnn.ops import hard_silu as hard_silu
    from jaxnn.ops import hard_swish as hard_swish
    from jaxnn.ops import identity as identity
    from jaxnn.ops import last as last
    from jaxnn.ops import leaky_relu as leaky_relu
    from jaxnn.ops import log_sigmoid as log_sigmoid
    from jaxnn.ops import log_softmax as log_softmax
    from jaxnn.ops import mean_over_time as mean_over_time
    from jaxnn.ops import mish as mish
    from jaxnn.ops import plain as plain
    from jaxnn.ops import relu as relu
    from jaxnn.ops import relu6 as relu6
    from jaxnn.ops import selu as selu
    from jaxnn.ops import sigmoid as sigmoid
    from jaxnn.ops import silu as silu
    from jaxnn.ops import softmax as softmax
    from jaxnn.ops import softplus as softplus
    from jaxnn.ops import step as step
    from jaxnn.ops import swiglu as swiglu
    from jaxnn.ops import swish as swish
    from jaxnn.ops import tanh as tanh

    # isort: split
    # losses, metrics, initialisers
    from jaxnn import initializers as initializers
    from jaxnn import losses as losses
    from jaxnn import metrics as metrics

    # isort: split
    # layers
    from jaxnn import layers as layers
    from jaxnn.layers import GRU as GRU
    from jaxnn.layers import LSTM as LSTM
    from jaxnn.layers import RNN as RNN
    from jaxnn.layers import ActivityPenalty as ActivityPenalty
    from jaxnn.layers import AdaptiveAveragePool as AdaptiveAveragePool
    from jaxnn.layers import AdaptiveMaxPool as AdaptiveMaxPool
    from jaxnn.layers import AveragePool as AveragePool
    from jaxnn.layers import BatchNorm as BatchNorm
    from jaxnn.layers import Bias as Bias
    from jaxnn.layers import Conv as Conv
    from jaxnn.layers import ConvTranspose as ConvTranspose
    from jaxnn.layers import CrossAttention as CrossAttention
    from jaxnn.layers import Dense as Dense
    from jaxnn.layers import DepthwiseConv as DepthwiseConv
    from jaxnn.layers import Dropout as Dropout
    from jaxnn.layers import DropPath as DropPath
    from jaxnn.layers import Embed as Embed
    from jaxnn.layers import Ensemble as Ensemble
    from jaxnn.layers import GaussianKL as GaussianKL
    from jaxnn.layers import GaussianNoise as GaussianNoise
    from jaxnn.layers import GaussianSample as GaussianSample
    from jaxnn.layers import GroupNorm as GroupNorm
    from jaxnn.layers import InstanceNorm as InstanceNorm
    from jaxnn.layers import Layer as Layer
    from jaxnn.layers import LayerNorm as LayerNorm
    from jaxnn.layers import MaxPool as MaxPool
    from jaxnn.layers import PositionalEmbedding as PositionalEmbedding
    from jaxnn.layers import Precision as Precision
    from jaxnn.layers import PReLU as PReLU
    from jaxnn.layers import Reshape as Reshape
    from jaxnn.layers import RMSNorm as RMSNorm
    from jaxnn.layers import SelfAttention as SelfAttention
    from jaxnn.layers import Sinusoidal as Sinusoidal
    from jaxnn.layers import SpatialDropout as SpatialDropout
    from jaxnn.layers import SqueezeExcite as SqueezeExcite
    from jaxnn.layers import Swish as Swish
    from jaxnn.layers import bidirectional as bidirectional
    from jaxnn.layers import drop_connect as drop_connect
    from jaxnn.layers import each_step as each_step
    from jaxnn.layers import in_precision as in_precision
    from jaxnn.layers import on_weights as on_weights
    from jaxnn.layers import parallel as parallel
    from jaxnn.layers import remat as remat
    from jaxnn.layers import repeat as repeat
    from jaxnn.layers import replace_layer as replace_layer
    from jaxnn.layers import residual as residual
    from jaxnn.layers import separable_conv as separable_conv
    from jaxnn.layers import serial as serial
    from jaxnn.layers import spectral_normed as spectral_normed
    from jaxnn.layers import stochastic_depth as stochastic_depth
    from jaxnn.layers import vote as vote
    from jaxnn.layers import weight_standardised as weight_standardised

    # isort: split
    # gradients, and initialisation that looks at data
    from jaxnn._comparison import compare as compare
    from jaxnn._lsuv import lsuv as lsuv
    from jaxnn._micro_batches import largest_micro_batch as largest_micro_batch
    from jaxnn._micro_batches import micro_batched as micro_batched
    from jaxnn.gradients import by_autodiff as by_autodiff
    from jaxnn.gradients import by_hand as by_hand
    from jaxnn.gradients import with_penalty as with_penalty

    # isort: split
    # optimizers and schedules
    from jaxnn import optim as optim
    from jaxnn import schedules as schedules
    from jaxnn.optim import adam as adam
    from jaxnn.optim import adamw as adamw
    from jaxnn.optim import momentum as momentum
    from jaxnn.optim import nesterov as nesterov
    from jaxnn.optim import sgd as sgd
    from jaxnn.schedules import constant_schedule as constant_schedule
    from jaxnn.schedules import cosine_decay_schedule as cosine_decay_schedule
    from jaxnn.schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule

    # isort: split
    # training
    from jaxnn import training as training
    from jaxnn._compilation_cache import cache_compilations as cache_compilations
    from jaxnn.training import EarlyStopping as EarlyStopping
    from jaxnn.training import dry_run as dry_run
    from jaxnn.training import evaluate as evaluate
    from jaxnn.training import find_learning_rate as find_learning_rate
    from jaxnn.training import fit as fit
    from jaxnn.training import minimize as minimize
    from jaxnn.training import overfit as overfit
    from jaxnn.training import predict as predict
    from jaxnn.training import refreeze as refreeze
    from jaxnn.training import run as run
    from jaxnn.training import trainer as trainer
    from jaxnn.training import transfer as transfer

    # isort: split
    # whole runs as values
    from jaxnn import search as search
    from jaxnn.search import cross_validate as cross_validate
    from jaxnn.search import sweep as sweep

    # isort: split
    # several models as one
    from jaxnn import ensembles as ensembles

    # isort: split
    # models
    from jaxnn import models as models

    # isort: split
    # data, tables, pictures
    from jaxnn import data as data
    from jaxnn import plot as plot
    from jaxnn import tree as tree
    from jaxnn._receptive_field import receptive_field as receptive_field
    from jaxnn._recommend import recommend as recommend
    from jaxnn._summary import summary as summary
    from jaxnn.data import Data as Data
    from jaxnn.data import Sequences as Sequences
    from jaxnn.errors import ShapeError as ShapeError
else:
    __getattr__, __dir__ = on_demand(__name__)

__version__ = "0.1.0"

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
    "Conv",
    "ConvTranspose",
    "CrossAttention",
    "Data",
    "Dense",
    "DepthwiseConv",
    "DropPath",
    "Dropout",
    "EarlyStopping",
    "Embed",
    "Ensemble",
    "GaussianKL",
    "GaussianNoise",
    "GaussianSample",
    "GroupNorm",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Op",
    "PReLU",
    "PositionalEmbedding",
    "Precision",
    "RMSNorm",
    "Reshape",
    "SelfAttention",
    "Sequences",
    "ShapeError",
    "Sinusoidal",
    "SpatialDropout",
    "SqueezeExcite",
    "Swish",
    "adam",
    "adamw",
    "add",
    "bidirectional",
    "by_autodiff",
    "by_hand",
    "cache_compilations",
    "compare",
    "concatenate",
    "constant_schedule",
    "cosine_decay_schedule",
    "cross_validate",
    "data",
    "drop_connect",
    "dry_run",
    "each_step",
    "elu",
    "ensembles",
    "evaluate",
    "find_learning_rate",
    "fit",
    "flatten",
    "gelu",
    "gelu_tanh",
    "global_average_pool",
    "global_max_pool",
    "glu",
    "hard_silu",
    "hard_swish",
    "identity",
    "in_precision",
    "initializers",
    "largest_micro_batch",
    "last",
    "layers",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "lsuv",
    "mean_over_time",
    "metrics",
    "micro_batched",
    "minimize",
    "mish",
    "models",
    "momentum",
    "nesterov",
    "on_weights",
    "ops",
    "optim",
    "overfit",
    "parallel",
    "plain",
    "plot",
    "predict",
    "receptive_field",
    "recommend",
    "refreeze",
    "relu",
    "relu6",
    "remat",
    "repeat",
    "replace_layer",
    "residual",
    "run",
    "schedules",
    "search",
    "selu",
    "separable_conv",
    "serial",
    "sgd",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "spectral_normed",
    "step",
    "stochastic_depth",
    "summary",
    "sweep",
    "swiglu",
    "swish",
    "tanh",
    "trainer",
    "training",
    "transfer",
    "tree",
    "vote",
    "warmup_cosine_decay_schedule",
    "weight_standardised",
    "with_penalty",
]
