"""Dropout as a layer."""

from dataclasses import dataclass
from typing import final

from jaxnn.errors import values
from jaxnn.layers._layer import Layer
from jaxnn.ops import dropout
from jaxnn.typing import Scalar


@final
@dataclass(frozen=True, repr=False)
class Dropout(Layer):
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

    def __post_init__(self) -> None:
        rate = values(self.rate)
        if rate is not None and not 0 <= rate <= 1:
            raise ValueError(f"expected a rate from 0 to 1, because it is the probability of dropping; got {self.rate}")

    def init(self, key, x):
        del key, x
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params
        return dropout(x, self.rate, _required(key)) if train else x, state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params
        if not train:
            return (x, state), {}
        y, residuals = dropout.fwd(x, self.rate, _required(key))
        return (y, state), {"dropped": residuals}

    def bwd(self, residuals, dy):
        return {}, dropout.bwd(residuals["dropped"], dy)[0] if residuals else dy


def _required(key):
    if key is None:
        raise ValueError(
            "expected a key, because Dropout draws a mask in training; got None: the required call is "
            "apply(params, state, x, key=key, train=True)"
        )
    return key
