"""One row per activation."""

import jaxnn as nn
from cases._kinds import B, C, F, OpCase, each, normal

OPS = [
    OpCase("relu", nn.ops.relu, each(normal(B, F)), family="relu"),
    OpCase("sigmoid", nn.ops.sigmoid, each(normal(B, F)), family="sigmoid"),
    OpCase("tanh", nn.ops.tanh, each(normal(B, F)), family="tanh"),
    OpCase("softmax", nn.ops.softmax, each(normal(B, F)), family="softmax"),
    OpCase("softmax_of_columns", nn.ops.softmax, each(normal(B, F, C)), {"axis": 1}),
]

LAYERS = []
