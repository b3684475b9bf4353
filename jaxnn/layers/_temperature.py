"""A temperature for the logits of a model, as a layer after it."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxnn.initializers import ones
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, tempered


@final
@dataclass(frozen=True, repr=False)
class Temperature(OpLayer):
    """Divide logits by one number, y = x / T, which changes how sure a classifier is and not what it chooses.

    T begins at 1. It is not meant to be trained with the rest, but set on examples that the model has not learnt
    from: `nn.ensembles.temperature` finds it, and `nn.ensembles.calibrated` puts it after a model that is fitted.

    Parameters: `temperature`, `()`.

    Raises:
        ValueError: A concrete temperature is not above 0.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.layers.Temperature(), jnp.array([[4.0, -2.0]])
    >>> layer.init(jax.random.key(0), x)[0]
    {'temperature': Array(1., dtype=float32)}
    >>> layer.apply({"temperature": jnp.array(2.0)}, {}, x)[0]
    Array([[ 2., -1.]], dtype=float32)

    Source: Guo et al., "On calibration of modern neural networks" (2017).
    """

    op: ClassVar[Op] = tempered
    arrays: ClassVar[tuple[str, ...]] = ("x", "temperature")

    def init(self, key, x):
        return {"temperature": ones(key, (), parameter_dtype(x))}, {}
