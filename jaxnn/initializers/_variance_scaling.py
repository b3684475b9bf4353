"""Initialisers whose variance suits the shape: variance_scaling, and the famous members of the family."""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final, get_args

import jax
import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.errors import is_array
from jaxnn.initializers._initializer import check_size, fans
from jaxnn.typing import Array, Key, Scalar

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution: TypeAlias = Literal["normal", "uniform", "truncated_normal"]

# The standard deviation of a standard normal distribution that is cut at -2 and 2.
_CUT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


@final
@by_value
@dataclass(frozen=True, repr=False)
class VarianceScaling:
    """Independent numbers of mean 0 and variance scale / n, where n is a fan of the weight.

    n is the number of inputs a unit sums over (`fan_in`), of units an input feeds (`fan_out`), or the mean of
    both, the arithmetic one (`fan_avg`) or the geometric one (`fan_geo_avg`). "normal" is the whole normal
    distribution; "truncated_normal", which JAX's and Keras's initialisers with normal in their names are, cuts it
    at two standard deviations and rescales it to the same variance.

    Attributes:
        scale: The variance times n: the square of what PyTorch calls gain. May be a tracer.
        mode: Which n.
        distribution: Of the numbers.

    Raises:
        ValueError: Another mode or distribution, or a negative scale.
        ShapeError: The shape has fewer than two axes.

    >>> VarianceScaling(2.0, "fan_in", "normal"), VarianceScaling(0.5, "fan_out", "uniform")
    (he_normal(), VarianceScaling(scale=0.5, mode='fan_out', distribution='uniform'))

    Source: for either fan He et al., "Delving deep into rectifiers" (2015); for their mean Glorot and Bengio,
    "Understanding the difficulty of training deep feedforward networks" (2010).
    """

    scale: Scalar
    mode: Mode
    distribution: Distribution

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode) or self.distribution not in get_args(Distribution):
            raise ValueError(
                f"expected a mode of {', '.join(get_args(Mode))} and a distribution of "
                f"{', '.join(get_args(Distribution))}, because these are what there is; "
                f"got {self.mode!r} and {self.distribution!r}"
            )
        check_size(self.scale, "scale", "it is a variance times a fan")

    def __repr__(self) -> str:
        family = {(1.0, "fan_avg"): "glorot", (2.0, "fan_in"): "he", (1.0, "fan_in"): "lecun"}
        known = self.distribution != "truncated_normal" and not is_array(self.scale)
        if known and (self.scale, self.mode) in family:
            return f"{family[self.scale, self.mode]}_{self.distribution}()"  # pyright: ignore[reportArgumentType]
        return f"VarianceScaling(scale={self.scale}, mode={self.mode!r}, distribution={self.distribution!r})"

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array of at least two axes."""
        fan_in, fan_out = fans(shape)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[self.mode]
        stddev = _root(self.scale, max(n, 1))
        if self.distribution == "normal":
            return jax.random.normal(key, shape, dtype) * jnp.asarray(stddev, dtype)
        if self.distribution == "truncated_normal":
            return jax.random.truncated_normal(key, -2, 2, shape, dtype) * jnp.asarray(stddev / _CUT, dtype)
        limit = jnp.asarray(math.sqrt(3) * stddev, dtype)
        return jax.random.uniform(key, shape, dtype, -limit, limit)


def variance_scaling(scale: Scalar, mode: Mode, distribution: Distribution) -> VarianceScaling:
    """Variance scale / n, n a fan of the weight: the family of all that follow, with JAX's names.

    >>> variance_scaling(1.0, "fan_avg", "uniform"), variance_scaling(1.0, "fan_in", "truncated_normal")
    (glorot_uniform(), VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal'))

    Source: He et al. (2015); Glorot and Bengio (2010).
    """
    return VarianceScaling(scale, mode, distribution)


def glorot_normal() -> VarianceScaling:
    """N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid; also called Xavier.

    >>> glorot_normal()
    glorot_normal()

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks" (2010).
    """
    return VarianceScaling(1.0, "fan_avg", "normal")


def glorot_uniform() -> VarianceScaling:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), for tanh and sigmoid; also called Xavier.

    >>> w = glorot_uniform()(jax.random.key(0), (300, 100), jnp.float32)
    >>> bool(abs(w).max() <= 0.1224744871)
    True

    Source: Glorot and Bengio (2010), equation 16.
    """
    return VarianceScaling(1.0, "fan_avg", "uniform")


def he_normal() -> VarianceScaling:
    """N(0, 2 / fan_in), for relu, which halves the second moment; also called Kaiming.

    >>> he_normal()
    he_normal()

    Source: He et al., "Delving deep into rectifiers" (2015).
    """
    return VarianceScaling(2.0, "fan_in", "normal")


def he_uniform() -> VarianceScaling:
    """U(-a, a) with a = sqrt(6 / fan_in), for relu; also called Kaiming.

    >>> he_uniform()
    he_uniform()

    Source: He et al. (2015).
    """
    return VarianceScaling(2.0, "fan_in", "uniform")


def lecun_normal() -> VarianceScaling:
    """N(0, 1 / fan_in), for linear layers, tanh and selu; the default of `Dense`.

    >>> lecun_normal()
    lecun_normal()

    Source: LeCun et al., "Efficient BackProp" (1998).
    """
    return VarianceScaling(1.0, "fan_in", "normal")


def lecun_uniform() -> VarianceScaling:
    """U(-a, a) with a = sqrt(3 / fan_in), for linear layers, tanh and selu.

    >>> lecun_uniform()
    lecun_uniform()

    Source: LeCun et al. (1998).
    """
    return VarianceScaling(1.0, "fan_in", "uniform")


def _root(scale: Any, n: int | float) -> Any:
    """sqrt(scale / n); of a number in float64."""
    return jnp.sqrt(scale / n) if is_array(scale) else math.sqrt(scale / n)
