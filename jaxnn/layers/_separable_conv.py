"""Separable convolution: first over positions, in each feature by itself, then over features, at each position."""

from jaxnn.initializers import Initializer, lecun_normal
from jaxnn.layers._combinators import Serial, serial
from jaxnn.layers._convolution import Conv, DepthwiseConv
from jaxnn.ops._windows import Each, Padding


def separable_conv(
    features: int,
    window: Each,
    *,
    multiplier: int = 1,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
    bias: bool = True,
    w_init: Initializer = lecun_normal(),  # noqa: B008 - a frozen value
) -> Serial:
    """Put a `DepthwiseConv` and a `Conv` of window 1 in series, which together are a convolution with fewer weights.

    It has prod(window) * in * multiplier + in * multiplier * features weights instead of prod(window) * in * features.
    There is one bias, at the end, and nothing in between, as in Keras's `SeparableConv2D`; MobileNet has a `BatchNorm`
    and a `relu` after each of the two.

    Args:
        features: Number of outputs at each position.
        window: Size of the depthwise w along each spatial axis; a number for the same along all of x's.
        multiplier: Features between the two for each feature of x.
        stride: Positions from one window to the next.
        padding: As for `Conv`.
        dilation: Positions from one tap of the window to the next.
        bias: Whether there is a b.
        w_init: Initialiser of both w.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.separable_conv(64, (3, 3), stride=2)
    >>> model
    serial(DepthwiseConv((3, 3), stride=2, bias=False), Conv(64, window=1))
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((8, 28, 28, 32)))
    >>> nn.tree.count(params)
    2400

    Source: Sifre, "Rigid-motion scattering for image classification" (2014); Chollet, "Xception" (2017).
    """
    return serial(
        DepthwiseConv(
            window, multiplier=multiplier, stride=stride, padding=padding, dilation=dilation, bias=False, w_init=w_init
        ),
        Conv(features, 1, bias=bias, w_init=w_init),
    )
