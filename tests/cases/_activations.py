"""One row per activation."""

import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from cases._kinds import B, C, F, LayerCase, OpCase, each, normal
from jaxnn.layers import as_layer


def spread(*shape):
    """Numbers on every piece of a function with kinks at -3, -1, 0, 1, 3 or 6, and on none of the kinks."""

    def draw(random, batch, dtype):
        sized = tuple(batch if axis == "n" else axis for axis in shape)
        pieces = np.resize([-3.7, -1.8, -0.6, 0.4, 1.7, 4.5, 6.3], sized)
        return jnp.asarray(pieces + random.uniform(-0.3, 0.3, sized)).astype(dtype)

    return draw


def row(op, *, family=True, **settings):
    """A row for a function of each element."""
    name = "_of_".join([op.name, *settings]) if settings else op.name
    return OpCase(name, op, each(spread(B, F)), settings, family=op.name if family else "")


OPS = [
    OpCase("relu", nn.ops.relu, each(normal(B, F)), family="relu"),
    row(nn.ops.identity, family=False),
    row(nn.ops.identity, family=False, slope=-2.5),
    row(nn.ops.step, family=False),
    row(nn.ops.step, family=False, low=-1.0, threshold=0.2),
    row(nn.ops.relu6),
    row(nn.ops.leaky_relu),
    row(nn.ops.leaky_relu, family=False, slope=1.5),
    OpCase("prelu", nn.ops.prelu, each(spread(B, F), normal(F)), family="prelu"),
    OpCase("prelu_shared", nn.ops.prelu, each(spread(B, F), normal())),
    OpCase("prelu_of_pictures", nn.ops.prelu, each(spread(B, 2, 3, F), normal(3, F))),
    row(nn.ops.elu),
    row(nn.ops.elu, family=False, alpha=0.3),
    row(nn.ops.celu, alpha=1.7),
    row(nn.ops.selu),
    row(nn.ops.softplus),
    row(nn.ops.squareplus),
    row(nn.ops.squareplus, family=False, b=0.5),
    row(nn.ops.sparse_plus),
    OpCase("sigmoid", nn.ops.sigmoid, each(normal(B, F)), family="sigmoid"),
    row(nn.ops.log_sigmoid),
    row(nn.ops.hard_sigmoid),
    OpCase("tanh", nn.ops.tanh, each(normal(B, F)), family="tanh"),
    row(nn.ops.hard_tanh),
    row(nn.ops.sparse_sigmoid),
    row(nn.ops.soft_sign),
    row(nn.ops.silu),
    row(nn.ops.silu, family=False, beta=-0.7),
    OpCase("parametric_swish", nn.ops.parametric_swish, each(spread(B, F), normal(F)), family="parametric_swish"),
    OpCase("parametric_swish_shared", nn.ops.parametric_swish, each(spread(B, 3, F), normal())),
    row(nn.ops.hard_silu),
    row(nn.ops.mish),
    row(nn.ops.gelu),
    row(nn.ops.gelu_tanh),
    row(nn.ops.glu),
    OpCase("glu_of_columns", nn.ops.glu, each(normal(B, F, C)), {"axis": 1}),
    row(nn.ops.swiglu),
    OpCase("swiglu_of_columns", nn.ops.swiglu, each(normal(B, F, C)), {"axis": 1}),
    OpCase("softmax", nn.ops.softmax, each(normal(B, F)), family="softmax"),
    OpCase("softmax_of_columns", nn.ops.softmax, each(normal(B, F, C)), {"axis": 1}),
    OpCase("log_softmax", nn.ops.log_softmax, each(normal(B, F)), family="log_softmax"),
    OpCase("log_softmax_of_pictures", nn.ops.log_softmax, each(normal(B, F, C)), {"axis": (1, 2)}),
    OpCase("standardize", nn.ops.standardize, each(normal(B, F)), family="standardize"),
    OpCase("standardize_of_pictures", nn.ops.standardize, each(normal(B, F, C)), {"axis": (1, 2), "epsilon": 1e-2}),
]

LAYERS = [
    LayerCase("prelu", nn.PReLU(), normal(B, F)),
    LayerCase("prelu_shared", nn.PReLU(shared=True), normal(B, 3, F)),
    LayerCase("swish", nn.Swish(), normal(B, 3, F)),
    LayerCase("swish_shared", nn.Swish(shared=True), normal(B, F)),
    LayerCase("identity", as_layer(nn.ops.identity), normal(B, F)),
    LayerCase("leaky_relu", as_layer(nn.ops.leaky_relu.bind(slope=0.2)), normal(B, F)),
    LayerCase("glu", as_layer(nn.ops.glu), normal(B, F)),
]
