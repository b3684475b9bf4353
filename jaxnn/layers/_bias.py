"""A bias by itself, for where what comes before has none."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

from jaxnn.initializers import Initializer, zeros
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, bias


@final
@dataclass(frozen=True, repr=False)
class Bias(OpLayer):
    """Shift each feature, y = x + b.

    `serial(Dense(64, bias=False), Bias())` is `Dense(64)`. It may also be shared by what is added up before it.

    Parameters: `b`, `(features,)`.

    Attributes:
        b_init: Initialiser of b.

    Raises:
        ShapeError: The features are not those it was initialised for.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.Bias().apply({"b": jnp.array([0.5, -1.0])}, {}, jnp.array([[3.0, 4.0]]))[0]
    Array([[3.5, 3. ]], dtype=float32)

    Source: Widrow and Hoff, "Adaptive switching circuits" (1960).
    """

    _: KW_ONLY
    b_init: Initializer = zeros

    op: ClassVar[Op] = bias
    arrays: ClassVar[tuple[str, ...]] = ("x", "b")

    def init(self, key, x):
        return {"b": self.b_init(key, x.shape[-1:], parameter_dtype(x))}, {}
