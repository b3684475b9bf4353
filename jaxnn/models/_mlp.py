"""Dense layers one after another: the multilayer perceptron, and the autoencoder made of two.

Dimensions: `batch` examples, `in` features.
"""

from collections.abc import Sequence

from jaxnn.initializers import recommend_init
from jaxnn.layers import Dense, Layer, LayerLike, serial
from jaxnn.ops import Op, relu


def mlp(sizes: Sequence[int], *, activation: Op = relu) -> Layer:
    """A multilayer perceptron, h_l = f(h_{l-1} w_l + b_l) from h_0 = x, without f at the end.

    Its last layer puts out any numbers: logits for a loss of classes, or what a regression is to find. Without f it
    would be one linear layer, whatever its depth.

    Shapes: `(batch, in)` to `(batch, sizes[-1])`.

    Args:
        sizes: Units of each layer after the input, whose size is that of x: of 4 features, `(5, 3)` makes a 4-5-3.
        activation: f, for which the weights before it are scaled.

    Raises:
        ValueError: There are no sizes.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.models.mlp((5, 3))
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    >>> model, nn.tree.count(params)  # 4 * 5 + 5 and 5 * 3 + 3
    (serial(Dense(5, w_init=he_normal()), relu, Dense(3)), 43)

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    if not sizes:
        raise ValueError(f"expected at least one size, because the last is that of the output; got {sizes}")
    *hidden, out = sizes
    layers: list[LayerLike] = []
    for units in hidden:
        layers += [Dense(units, w_init=recommend_init(activation)), activation]
    return serial(*layers, Dense(out))


def autoencoder(features: int, hidden: int, code: int) -> Layer:
    """What it is given, through a bottleneck, y = decoder(encoder(x)), to be trained with x as its own target.

    The code, the encoder's output, has room for less than x, so what the loss leaves in it is what examples differ in.
    The outputs are logits of brightness, for `nn.losses.binary_cross_entropy`; for numbers that are not within 0 and
    1, take `nn.losses.mse`.

    Shapes: `(batch, features)` to the same.

    Args:
        features: Of x.
        hidden: Units of the layer between x and the code, and of that on the way back.
        code: Numbers in the code.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.models.autoencoder(64, 32, 8), jnp.zeros((10, 64))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> code, _ = model.children["encoder"].apply(params["encoder"], state["encoder"], x)
    >>> code.shape, model.apply(params, state, x)[0].shape
    ((10, 8), (10, 64))

    Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006).
    """
    return serial(encoder=mlp((hidden, code)), decoder=mlp((hidden, features)))
