"""A residual network for small pictures: every block learns what to add to what it is given.

Dimensions: `batch` examples, `height`, `width` of a picture, `in` its features (channels), `classes`.
"""

from jaxnn.initializers import he_normal
from jaxnn.layers import BatchNorm, Conv, Dense, Layer, parallel, repeat, residual, serial
from jaxnn.ops import add, global_average_pool, relu


def resnet(classes: int, *, blocks: int = 3, features: int = 16) -> Layer:
    """Three stages of residual blocks, h <- relu(h + F(h)), F = bn . conv_3x3 . relu . bn . conv_3x3.

    The second and third stage begin with a block that halves the picture and doubles the features; its way round is a
    convolution of 1x1 with the same stride. All others go round as they are, and those of a stage are one `repeat`,
    compiled once. With n blocks a stage it has 6 n + 2 layers with weights: 20 by default, 56 with 9.

    The paper fills up new features with zeros where the shape changes; the projection here is its option B. It leaves
    no bias before a `BatchNorm` (bn), which would subtract it again. Running averages decay by 0.9, so that they have
    arrived after a hundred steps.

    Shapes: `(batch, height, width, in)` to logits `(batch, classes)`.

    Args:
        classes: Of the logits.
        blocks: n, in each stage, at least 2.
        features: Of the first stage.

    Raises:
        ValueError: There are fewer than 2 blocks a stage.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.models.resnet(10), jax.ShapeDtypeStruct((128, 32, 32, 3), jnp.float32)
    >>> nn.summary(model, x).parameters
    272474

    Source: He et al., "Deep residual learning for image recognition" (2016), section 4.2.
    """
    if blocks < 2:
        raise ValueError(f"expected at least 2 blocks a stage, because all but the first are repeated; got {blocks}")

    def conv(features: int, window: int, stride: int = 1) -> Layer:
        convolution = Conv(features, (window, window), stride=stride, bias=False, w_init=he_normal())
        return serial(convolution, BatchNorm(decay=0.9))

    def f(features: int, stride: int = 1) -> Layer:
        return serial(conv(features, 3, stride), relu, conv(features, 3))

    def tower(features: int, n: int) -> Layer:
        return repeat(serial(residual(f(features)), relu), n)

    def stage(features: int) -> Layer:
        down = parallel(learned=f(features, stride=2), round=conv(features, 1, stride=2))
        return serial(down, add, relu, tower(features, blocks - 1))

    return serial(
        stem=serial(conv(features, 3), relu),
        stage_1=tower(features, blocks),
        stage_2=stage(2 * features),
        stage_3=stage(4 * features),
        head=serial(global_average_pool, Dense(classes)),
    )
