"""Layers that draw in training and do nothing in inference; and the noise that is added."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

from jaxnn.errors import values
from jaxnn.layers._each_step import values_of, with_values
from jaxnn.layers._layer import Layer
from jaxnn.ops import Op, gaussian_noise
from jaxnn.typing import Key, Scalar


class Noise(Layer):
    """A layer that draws in training, and in inference does nothing and needs no key.

    A subclass states `op`, an op of `(x, amount, key)`, and the amount. It takes `Sequences` too, whose lengths are
    handed on.

    Raises:
        ValueError: There is no key in training.
    """

    op: ClassVar[Op]

    @property
    @abstractmethod
    def amount(self) -> Scalar:
        """The rate or the deviation."""

    def settings(self, x: Any) -> dict[str, Any]:
        """Return the op's settings for x."""
        del x
        return {}

    def init(self, key, x):
        del key, x
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params
        if not train:
            return x, state
        v = values_of(x)
        return with_values(x, self.op(v, self.amount, self._required(key), **self.settings(v))), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params
        if not train:
            return (x, state), {}
        v = values_of(x)
        y, residuals = self.op.fwd(v, self.amount, self._required(key), **self.settings(v))
        return (with_values(x, y), state), {"drawn": residuals}

    def bwd(self, residuals, dy):
        if not residuals:
            return {}, dy
        d = values_of(dy)
        return {}, with_values(dy, self.op.bwd(residuals["drawn"], d, **self.settings(d))[0])

    def _required(self, key: Key | None) -> Key:
        if key is None:
            raise ValueError(
                f"expected a key, because {type(self).__name__} draws at random in training; got None: the required "
                "call is apply(params, state, x, key=key, train=True)"
            )
        return key


@final
@dataclass(frozen=True, repr=False)
class GaussianNoise(Noise):
    """In training, add to each element a normal number, y = x + deviation n, n ~ N(0, 1).

    In inference it does nothing and needs no key.

    Attributes:
        deviation: Of the noise, at least 0. May be a tracer. Keras calls it `stddev`.

    Raises:
        ValueError: The deviation is negative, or there is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.GaussianNoise(0.5).apply({}, {}, jnp.zeros(3), key=jax.random.key(0), train=True)[0].round(2)
    Array([ 0.81,  1.01, -0.22], dtype=float32)

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization" (1995).
    """

    deviation: Scalar

    op: ClassVar[Op] = gaussian_noise

    def __post_init__(self) -> None:
        seen = values(self.deviation)
        if seen is not None and not seen >= 0:
            raise ValueError(
                f"expected a deviation of at least 0, because it is the root of a variance; got {self.deviation}"
            )

    @property
    def amount(self) -> Scalar:
        return self.deviation
