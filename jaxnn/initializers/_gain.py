"""Which scale of weights suits an activation: its gain, and the initialiser to put before it."""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import describe, values
from jaxnn.initializers._variance_scaling import VarianceScaling, he_normal, lecun_normal
from jaxnn.ops import Op
from jaxnn.typing import Array, Scalar

Activation: TypeAlias = Op | Callable[[Any], Any]
"""A function of each element: an op of this library, with or without settings, or any other."""


# Gauss-Legendre in panels of 1/8: exact to rounding for whatever is smooth but for kinks at multiples of 1/8. At a kink
# within a panel it is off by up to 6e-4 of the gain, and at a jump by up to 2e-2.
def _rule() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(8)
    middles = (np.arange(-96, 96) + 0.5) / 8
    z = (middles[:, None] + nodes / 16).ravel()
    return z, np.tile(weights / 16, len(middles)) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


_NODES, _WEIGHTS = _rule()

# PyTorch's, and what is exact.
_CONVENTIONAL = {"identity": 1.0, "relu": math.sqrt(2), "tanh": 5 / 3, "sigmoid": 1.0, "selu": 3 / 4}

_RECOMMENDED = {
    "identity": lecun_normal(),
    "relu": he_normal(),
    "selu": lecun_normal(),
    "tanh": VarianceScaling((5 / 3) ** 2, "fan_avg", "normal"),
    "hard_tanh": VarianceScaling((5 / 3) ** 2, "fan_avg", "normal"),
    "sigmoid": VarianceScaling(4.0**2, "fan_avg", "normal"),
    "hard_sigmoid": VarianceScaling(6.0**2, "fan_avg", "normal"),
    "soft_sign": VarianceScaling(3.0**2, "fan_avg", "normal"),
}


def gain(activation: Activation) -> Scalar:
    """Factor on 1 / sqrt(fan_in) for the weights after an activation f, 1 / sqrt(E[f(z)^2]) with z from N(0, 1).

    With weights of deviation gain / sqrt(fan_in), units whose inputs are f of numbers of variance 1 have variance 1
    again. For `relu` that is sqrt(2), for `leaky_relu` sqrt(2 / (1 + slope^2)), for `identity` 1; the others are
    computed by quadrature in panels of 1/8. That is right to float32's rounding, or float64's where that is switched
    on, for what is smooth within each panel, as all activations here are with the settings that they have by default.
    A kink within one may cost the fourth digit, and a jump the second. Three go by another convention, which is
    PyTorch's: `tanh` 5/3 (where 1.5925 keeps 1), `selu` 3/4 (where 1 does; see `recommend_init`) and `sigmoid` 1
    (where 1.8462 does).

    Args:
        activation: An op, with its settings bound, or a function of one array; known by name. Settings that are
            tracers give a gain that is one.

    Returns:
        A number.

    Raises:
        TypeError: It is not a function, or one of several arrays.
        ValueError: It is not a function of each element by itself, or is zero or infinite nearly everywhere.

    >>> import jaxnn as nn
    >>> round(gain(nn.relu), 4), round(gain(nn.tanh), 4), round(gain(jax.nn.gelu), 3)
    (1.4142, 1.6667, 1.534)

    Source: for rectifiers He et al., "Delving deep into rectifiers" (2015); for the second moment of any f, Poole et
    al., "Exponential expressivity in deep neural networks through transient chaos" (2016).
    """
    conventional = _CONVENTIONAL.get(_name(activation))
    if conventional is not None:
        return conventional
    moment = _second_moment(activation)
    return 1 / (jnp.sqrt(moment) if isinstance(moment, jax.Array) else math.sqrt(moment))


def recommend_init(activation: Activation) -> VarianceScaling:
    """Return the initialiser of the weights before (and between) layers with this activation.

    Rectifiers get He's: variance gain^2 / fan_in. What saturates on both sides gets Xavier's, times a gain that keeps
    a deep network from fading: tanh and hard_tanh 5/3, sigmoid 4 and hard_sigmoid 6 (1 over their slopes at 0), and
    soft_sign 3. Linear layers and selu get LeCun's. Any other gets variance gain^2 / fan_in.

    The variance of activations is then within a factor of two of the first layer's through 50 layers, in the mean
    over draws (for sparse_plus it ends near a half). There are four exceptions, which no scale of weights can help:
    for gelu, silu, hard_silu and mish a variance of 1 is kept, but one a little larger grows and one a little smaller
    fades, from layer to layer. Deep networks of these need normalisation, or residuals.

    Args:
        activation: As for `gain`.

    Raises:
        TypeError: As for `gain`.
        ValueError: As for `gain`.

    >>> import jaxnn as nn
    >>> recommend_init(nn.relu), recommend_init(nn.tanh).mode
    (he_normal(), 'fan_avg')

    Source: He et al. (2015); Glorot and Bengio (2010); for selu, Klambauer et al., "Self-normalizing neural networks"
    (2017); that gelu and silu have no stable variance, Roberts, Yaida and Hanin, "The principles of deep learning
    theory" (2022), section 5.3.
    """
    known = _RECOMMENDED.get(_name(activation))
    return known if known is not None else VarianceScaling(1 / _second_moment(activation), "fan_in", "normal")


def _name(activation: Any) -> str:
    if isinstance(activation, type) or not callable(activation):
        raise TypeError(f"expected an activation, such as nn.relu, because the gain is that of a function; "
                        f"got {activation!r}")  # fmt: skip
    arrays = _arrays(activation)
    if len(arrays) > 1:
        raise TypeError(f"expected a function of one array, because the gain is that of f(z); "
                        f"{activation!r} takes {' and '.join(arrays)}\n"
                        f"  hint: for one {arrays[1]}, lambda x: {activation!r}(x, {arrays[1]})")  # fmt: skip
    # An op with settings prints with them, and is then another function.
    return repr(activation) if isinstance(activation, Op) else getattr(activation, "__name__", "the function")


def _arrays(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a function cannot do without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a function that is built in need not say what it takes
        return []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in by_position and p.default is p.empty]


def _second_moment(activation: Activation) -> float | Array:
    """E[f(z)^2]: a number, or a tracer if f holds one."""
    with jax.ensure_compile_time_eval():
        z, part = (jnp.asarray(nodes, jnp.result_type(float)) for nodes in (_NODES, _NODES[:8]))
        y, first = activation(z), activation(part)
        alone = y.shape == z.shape and first.shape == part.shape
        if alone and values(y) is None:
            return (jnp.asarray(_WEIGHTS, y.dtype) * y * y).sum()
        seen, of_part = np.asarray(y, np.float64), np.asarray(first, np.float64)
    if not alone or not np.allclose(seen[:8], of_part, rtol=1e-3, equal_nan=True):
        raise ValueError(
            f"expected a function of each element by itself, because its second moment is asked for; "
            f"{_name(activation)} gives {describe(y)} for {describe(z)}"
            + (", and other values for a part of it" if alone else "")
        )
    moment = float((_WEIGHTS * seen**2).sum())
    if not 0 < moment < math.inf:
        raise ValueError(f"expected a function with a second moment above 0 and finite, because the gain is 1 over "
                         f"its root; {_name(activation)} has {moment}")  # fmt: skip
    return moment
