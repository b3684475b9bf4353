"""jaxnn: neural networks as pure functions on JAX, with a hand-written backward beside every forward.

Everything is a pair of pure functions, and a training run is a pure function too.
"""

# ops
from jaxnn import ops as ops
from jaxnn.ops import Op as Op
from jaxnn.ops import add as add
from jaxnn.ops import concatenate as concatenate
from jaxnn.ops import flatten as flatten
from jaxnn.ops import global_average_pool as global_average_pool
from jaxnn.ops import global_max_pool as global_max_pool
from jaxnn.ops import plain as plain
from jaxnn.ops import relu as relu
from jaxnn.ops import sigmoid as sigmoid
from jaxnn.ops import softmax as softmax
from jaxnn.ops import tanh as tanh

# isort: split
# losses, metrics, initialisers
from jaxnn import initializers as initializers
from jaxnn import losses as losses
from jaxnn import metrics as metrics

# isort: split
# layers
from jaxnn import layers as layers
from jaxnn.layers import AdaptiveAveragePool as AdaptiveAveragePool
from jaxnn.layers import AdaptiveMaxPool as AdaptiveMaxPool
from jaxnn.layers import AveragePool as AveragePool
from jaxnn.layers import BatchNorm as BatchNorm
from jaxnn.layers import Conv as Conv
from jaxnn.layers import ConvTranspose as ConvTranspose
from jaxnn.layers import Dense as Dense
from jaxnn.layers import DepthwiseConv as DepthwiseConv
from jaxnn.layers import Dropout as Dropout
from jaxnn.layers import Embed as Embed
from jaxnn.layers import Layer as Layer
from jaxnn.layers import MaxPool as MaxPool
from jaxnn.layers import parallel as parallel
from jaxnn.layers import repeat as repeat
from jaxnn.layers import residual as residual
from jaxnn.layers import serial as serial

# isort: split
# gradients
from jaxnn._comparison import compare as compare
from jaxnn.gradients import by_autodiff as by_autodiff
from jaxnn.gradients import by_hand as by_hand

# isort: split
# optimizers and schedules
from jaxnn import optim as optim
from jaxnn.optim import adam as adam
from jaxnn.optim import adamw as adamw
from jaxnn.optim import constant_schedule as constant_schedule
from jaxnn.optim import cosine_decay_schedule as cosine_decay_schedule
from jaxnn.optim import momentum as momentum
from jaxnn.optim import nesterov as nesterov
from jaxnn.optim import sgd as sgd

# isort: split
# training
from jaxnn import training as training
from jaxnn.training import EarlyStopping as EarlyStopping
from jaxnn.training import dry_run as dry_run
from jaxnn.training import evaluate as evaluate
from jaxnn.training import fit as fit
from jaxnn.training import overfit as overfit
from jaxnn.training import run as run
from jaxnn.training import trainer as trainer

# isort: split
# data, tables, pictures
from jaxnn import data as data
from jaxnn import plot as plot
from jaxnn import tree as tree
from jaxnn._receptive_field import receptive_field as receptive_field
from jaxnn._summary import summary as summary
from jaxnn.data import Data as Data
from jaxnn.errors import ShapeError as ShapeError

__version__ = "0.1.0"

__all__ = [
    "AdaptiveAveragePool",
    "AdaptiveMaxPool",
    "AveragePool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Data",
    "Dense",
    "DepthwiseConv",
    "Dropout",
    "EarlyStopping",
    "Embed",
    "Layer",
    "MaxPool",
    "Op",
    "ShapeError",
    "adam",
    "adamw",
    "add",
    "by_autodiff",
    "by_hand",
    "compare",
    "concatenate",
    "constant_schedule",
    "cosine_decay_schedule",
    "data",
    "dry_run",
    "evaluate",
    "fit",
    "flatten",
    "global_average_pool",
    "global_max_pool",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "momentum",
    "nesterov",
    "ops",
    "optim",
    "overfit",
    "parallel",
    "plain",
    "plot",
    "receptive_field",
    "relu",
    "repeat",
    "residual",
    "run",
    "serial",
    "sgd",
    "sigmoid",
    "softmax",
    "summary",
    "tanh",
    "trainer",
    "training",
    "tree",
]
