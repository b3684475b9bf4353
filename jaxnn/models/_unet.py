"""A U-net: a picture in, a picture of answers out, from what is near and from what is far.

Dimensions: `batch` examples, `height`, `width` of a picture, `in` its features (channels), `classes`.
"""

from jaxnn.initializers import he_normal
from jaxnn.layers import BatchNorm, Conv, ConvTranspose, Layer, MaxPool, parallel, serial
from jaxnn.ops import concatenate, relu


def unet_small(classes: int, *, features: int = 16, levels: int = 2) -> Layer:
    """Down by pooling, up by transposed convolution, and at each level a way across.

    A level is h = block(x), y = block([h, up(below(pool(h)))]), where [,] joins features, and what is below is the next
    level with twice the features, or a block at the bottom. A block is relu(batchnorm(conv_3x3(.))) twice. What comes
    from below knows what a place is part of, and what comes across knows where exactly.

    Running averages decay by 0.9, so that they have arrived after a hundred steps. The paper has no normalisation, four
    levels from 64 features, and no padding, which costs it the borders.

    Shapes: `(batch, height, width, in)` to logits `(batch, height, width, classes)`; 2^levels divides height and width.

    Args:
        classes: Of the logits at each place.
        features: Of the topmost level.
        levels: How often the picture is halved.

    Raises:
        ShapeError: 2^levels does not divide height and width.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.models.unet_small(1, features=4), jnp.zeros((8, 32, 32, 3))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> model.apply(params, state, x)[0].shape
    (8, 32, 32, 1)

    Source: Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation" (2015).
    """

    def block(features: int) -> Layer:
        conv = serial(Conv(features, (3, 3), bias=False, w_init=he_normal()), BatchNorm(decay=0.9), relu)
        return serial(conv, conv)

    u = block(features * 2**levels)
    for level in reversed(range(levels)):
        wide = features * 2**level
        below = serial(down=MaxPool((2, 2)), level=u, up=ConvTranspose(wide, (2, 2), stride=2))
        u = serial(block(wide), parallel(across=serial(), below=below), concatenate, block(wide))
    return serial(u=u, head=Conv(classes, (1, 1)))
