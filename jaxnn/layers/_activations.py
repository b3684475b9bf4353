"""Activations that learn their own shape: `PReLU` its slope, `Swish` its sharpness.

Those that learn nothing are ops, and stand in a model as they are, with settings if need be:
`serial(Dense(64), leaky_relu.bind(slope=0.2))`.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

from jaxnn.initializers import Constant, Initializer, ones
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, parametric_swish, prelu


@final
@dataclass(frozen=True, repr=False)
class PReLU(OpLayer):
    """Parametric rectified linear unit, y = x if x > 0 else slope x, with a slope that is learned.

    Parameters: `slope`, `(features,)`, or `()` if it is shared. The paper does not decay it, as that would draw the
    unit towards `relu`.

    Attributes:
        shared: Whether all features have one slope, as by default in flax and PyTorch. The paper has both; Keras has
            one for every element of an example.
        slope_init: Initialiser of the slope: 0.25 as in the paper and PyTorch; flax has 0.01 and Keras 0.

    Raises:
        ShapeError: The features are not those it was initialised for.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.PReLU(), jnp.array([[-2.0, 4.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params, layer.apply(params, state, x)[0]
    ({'slope': Array([0.25, 0.25], dtype=float32)}, Array([[-0.5,  4. ]], dtype=float32))

    Source: He et al., "Delving deep into rectifiers" (2015).
    """

    _: KW_ONLY
    shared: bool = False
    slope_init: Initializer = Constant(0.25)  # noqa: RUF009 - a frozen value

    op: ClassVar[Op] = prelu
    arrays: ClassVar[tuple[str, ...]] = ("x", "slope")

    @property
    def name(self) -> str:
        return "prelu"

    def init(self, key, x):
        return {"slope": self.slope_init(key, _one_or_each(self.shared, x), parameter_dtype(x))}, {}


@final
@dataclass(frozen=True, repr=False)
class Swish(OpLayer):
    """Swish with a learned gate, y = x s(beta x) with s the sigmoid; with beta fixed at 1 it is the op `swish`.

    Parameters: `beta`, `(features,)`, or `()` if it is shared. At 0 the layer halves, and the larger it is, the
    nearer it comes to `relu`.

    Attributes:
        shared: Whether all features have one beta.
        beta_init: Initialiser of beta.

    Raises:
        ShapeError: The features are not those it was initialised for.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, state = nn.Swish(shared=True).init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> params
    {'beta': Array(1., dtype=float32)}

    Source: Ramachandran, Zoph and Le, "Searching for activation functions" (2017).
    """

    _: KW_ONLY
    shared: bool = False
    beta_init: Initializer = ones

    op: ClassVar[Op] = parametric_swish
    arrays: ClassVar[tuple[str, ...]] = ("x", "beta")

    def init(self, key, x):
        return {"beta": self.beta_init(key, _one_or_each(self.shared, x), parameter_dtype(x))}, {}


def _one_or_each(shared, x):
    """The shape of a parameter that all features share, or of which each has its own."""
    return () if shared else tuple(x.shape[-1:])
