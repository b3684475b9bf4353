"""Dropout: in training, elements or whole features are left out, so that no unit relies on another alone."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxnn.errors import values
from jaxnn.layers._noise import Noise
from jaxnn.ops import Op, dropout
from jaxnn.typing import Scalar


@final
@dataclass(frozen=True, repr=False)
class Dropout(Noise):
    """In training, drop each element with probability `rate` and scale the rest by 1 / (1 - rate).

    In inference it does nothing and needs no key.

    Attributes:
        rate: Probability of dropping, from 0 to 1. May be a tracer inside a transformed function, such as
            a sweep; such a layer cannot be hashed.

    Raises:
        ValueError: The rate is not from 0 to 1, or there is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.Dropout(0.5).apply({}, {}, jnp.ones(5), key=jax.random.key(0), train=True)[0]
    Array([0., 0., 2., 2., 0.], dtype=float32)

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """

    rate: Scalar

    op: ClassVar[Op] = dropout

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @property
    def amount(self) -> Scalar:
        return self.rate


@final
@dataclass(frozen=True, repr=False)
class SpatialDropout(Noise):
    """In training, drop each feature of each example with probability `rate`, at all its positions together.

    Neighbouring positions of a feature map, or steps of a sequence, say much the same, so that to drop single ones
    hides little. What is kept is scaled by 1 / (1 - rate). In inference it does nothing and needs no key. x is
    `(batch, ..., features)`; without positions it is `Dropout`.

    Attributes:
        rate: Probability of dropping, from 0 to 1. May be a tracer.

    Raises:
        ValueError: The rate is not from 0 to 1, or there is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.SpatialDropout(0.5).apply({}, {}, jnp.ones((1, 2, 5)), key=jax.random.key(0), train=True)[0]
    Array([[[0., 0., 2., 2., 0.],
            [0., 0., 2., 2., 0.]]], dtype=float32)

    Source: Tompson et al., "Efficient object localization using convolutional networks" (2015).
    """

    rate: Scalar

    op: ClassVar[Op] = dropout

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @property
    def amount(self) -> Scalar:
        return self.rate

    def settings(self, x):
        return {"shared": tuple(range(1, x.ndim - 1))}


def check_rate(rate: Scalar) -> None:
    """Raise an error if a rate that can be seen is no probability."""
    seen = values(rate)
    if seen is not None and not 0 <= seen <= 1:
        raise ValueError(f"expected a rate from 0 to 1, because it is the probability of dropping; got {rate}")
