"""Dense layers: every output is a weighted sum of every input."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import jax

from jaxnn.errors import ShapeError
from jaxnn.initializers import Initializer, lecun_normal, zeros
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, linear


@final
@dataclass(frozen=True, repr=False)
class Dense(OpLayer):
    """Fully connected layer, y = x w + b on the last axis.

    Parameters: `w`, `(in, features)`; `b`, `(features,)`. An activation is a layer of its own, after this.

    Attributes:
        features: Number of outputs.
        bias: Whether there is a b. Leave it out before a `BatchNorm`, which subtracts it again.
        w_init: Initialiser of w. flax and Haiku have lecun_normal too, cut at two deviations; Keras has
            glorot_uniform.
        b_init: Initialiser of b.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, state = nn.Dense(64).init(jax.random.key(0), jnp.zeros((32, 784)))
    >>> params["w"].shape, params["b"].shape
    ((784, 64), (64,))
    """

    features: int
    _: KW_ONLY
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = linear
    arrays: ClassVar[tuple[str, ...]] = ("x", "w", "b")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("w", "b") if self.bias else ("w",)

    def init(self, key, x):
        if x.ndim < 2:
            raise ShapeError(
                "x of shape (batch, ..., features)", why="layers take a leading batch axis", got=tuple(x.shape)
            )
        dtype = parameter_dtype(x)
        w_key, b_key = jax.random.split(key)
        params = {"w": self.w_init(w_key, (x.shape[-1], self.features), dtype)}
        if self.bias:
            params["b"] = self.b_init(b_key, (self.features,), dtype)
        return params, {}
