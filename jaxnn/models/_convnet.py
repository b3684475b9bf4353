"""A small convolutional network: look for patterns, keep the strongest, look for patterns of patterns.

Dimensions: `batch` examples, `height`, `width` of a picture, `in` its features (channels), `classes`.
"""

from collections.abc import Sequence

from jaxnn.layers import BatchNorm, Conv, Dense, Dropout, Layer, MaxPool, serial
from jaxnn.ops import flatten, relu
from jaxnn.typing import Scalar


def convnet(classes: int, *, features: Sequence[int] = (32, 64), dropout: Scalar = 0.5) -> Layer:
    """Blocks of convolution, normalisation, relu and pooling, each of which halves the picture, then a dense layer.

    A block is h <- maxpool_2x2(relu(batchnorm(conv_3x3(h)))). There is no bias before the normalisation, which would
    subtract it again. Running averages decay by 0.9, so that they have arrived after a hundred steps.

    Shapes: `(batch, height, width, in)` to logits `(batch, classes)`; height and width are at least two to the power
    of the number of blocks.

    Args:
        classes: Of the logits.
        features: Patterns that each block looks for.
        dropout: The probability with which an input of the dense layer is dropped in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.models.convnet(10, features=(8, 16)), jnp.zeros((32, 28, 28, 1))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> model.apply(params, state, x)[0].shape, nn.tree.count(params)
    ((32, 10), 9122)

    Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998), with the normalisation of
    Ioffe and Szegedy (2015).
    """

    def block(features: int) -> Layer:
        return serial(Conv(features, (3, 3), bias=False), BatchNorm(decay=0.9), relu, MaxPool((2, 2)))

    return serial(*map(block, features), flatten, Dropout(dropout), Dense(classes))
