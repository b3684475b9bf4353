"""Stochastic depth: in training, examples go round a residual branch, so that the model is shallower for them."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxnn.layers._combinators import Residual, residual
from jaxnn.layers._dropout import check_rate
from jaxnn.layers._layer import LayerLike
from jaxnn.layers._noise import Noise
from jaxnn.ops import Op, dropout
from jaxnn.typing import Scalar


@final
@dataclass(frozen=True, repr=False)
class DropPath(Noise):
    """In training, drop each example with probability `rate`, all of it, and scale the rest by 1 / (1 - rate).

    At the end of a residual branch it leaves the way round it: see `stochastic_depth`. In inference it does nothing
    and needs no key.

    Attributes:
        rate: Probability of dropping, from 0 to 1. May be a tracer.

    Raises:
        ValueError: The rate is not from 0 to 1, or there is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.DropPath(0.5).apply({}, {}, jnp.ones((5, 2)), key=jax.random.key(0), train=True)[0]
    Array([[0., 0.],
           [0., 0.],
           [2., 2.],
           [2., 2.],
           [0., 0.]], dtype=float32)

    Source: Larsson, Maire and Shakhnarovich, "FractalNet" (2017), for the name.
    """

    rate: Scalar

    op: ClassVar[Op] = dropout

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @property
    def amount(self) -> Scalar:
        return self.rate

    def settings(self, x):
        return {"shared": tuple(range(1, x.ndim))}


def stochastic_depth(*layers: LayerLike, rate: Scalar, **named: LayerLike) -> Residual:
    """Add a layer's output to its input, y = x + m f(x) / (1 - rate), where in training examples may go round f.

    m is 0 with probability `rate`, for each example by itself, and otherwise 1; in inference y = x + f(x). So the mean
    of y over m is what it is in inference, as in timm and in torchvision's mode "row". The paper drops f for the whole
    batch and scales it in inference instead. f is computed for all examples, and for those that it is dropped for, in
    vain. The paper lets the rate grow with depth from block to block, linearly from 0 to 0.5.

    Args:
        *layers: f, or several that are put in series.
        rate: Probability of dropping, from 0 to 1. May be a tracer.
        **named: Further layers under names of your own.

    Returns:
        `residual` of these layers and a `DropPath`.

    Raises:
        ShapeError: f changes the shape.
        ValueError: The rate is not from 0 to 1, or there is no key in training.

    >>> import jaxnn as nn
    >>> nn.stochastic_depth(nn.Dense(64), nn.relu, rate=0.1)
    residual(serial(Dense(64), relu, DropPath(0.1)))

    Source: Huang et al., "Deep networks with stochastic depth" (2016).
    """
    return residual(*layers, **named, drop_path_0=DropPath(rate))
