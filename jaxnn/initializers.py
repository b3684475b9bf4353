"""Initialisers: settings that are called with `(key, shape, dtype)`, as those of `jax.nn.initializers` are.

Each is a frozen value that prints, compares and hashes. The fans of a weight are counted as JAX counts them:
the last two axes are in and out, and any axes before them are the receptive field of a convolution.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError
from jaxnn.typing import Array, Key

__all__ = [
    "Constant",
    "Initializer",
    "Normal",
    "VarianceScaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "zeros",
]

Initializer: TypeAlias = Callable[[Key, tuple[int, ...], Any], Array]
"""A function `(key, shape, dtype) -> array`; any of `jax.nn.initializers` is one."""


@final
@dataclass(frozen=True, repr=False)
class Constant:
    """Every element is `value`, whatever the key.

    Weights that are all alike stay alike, because their gradients are; this is for biases and scales.
    """

    value: float

    def __repr__(self) -> str:
        return {0.0: "zeros", 1.0: "ones"}.get(self.value, f"Constant({self.value})")

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array."""
        del key
        return jnp.full(shape, self.value, dtype)


@final
@dataclass(frozen=True)
class Normal:
    """Independent normal numbers of mean 0 and standard deviation `stddev` (not variance)."""

    stddev: float

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array."""
        return jax.random.normal(key, shape, dtype) * jnp.asarray(self.stddev, dtype)


@final
@dataclass(frozen=True, repr=False)
class VarianceScaling:
    """Independent numbers of mean 0 and variance scale / n, where n is a fan of the weight.

    n is the number of inputs a unit sums over (`fan_in`), of units an input feeds (`fan_out`), or the mean of
    both (`fan_avg`). "normal" is the whole normal distribution; JAX's and Keras's initialisers of these names
    cut it at two standard deviations and rescale it to the same variance.

    >>> VarianceScaling(2.0, "fan_in", "normal"), VarianceScaling(0.5, "fan_out", "uniform")
    (he_normal(), VarianceScaling(scale=0.5, mode='fan_out', distribution='uniform'))
    """

    scale: float
    mode: Literal["fan_in", "fan_out", "fan_avg"]
    distribution: Literal["normal", "uniform"]

    def __post_init__(self) -> None:
        if self.mode not in ("fan_in", "fan_out", "fan_avg") or self.distribution not in ("normal", "uniform"):
            raise ValueError(
                "expected mode fan_in, fan_out or fan_avg and distribution normal or uniform, because these are "
                f"what there is; got {self.mode!r} and {self.distribution!r}"
            )

    def __repr__(self) -> str:
        family = {(1.0, "fan_avg"): "glorot", (2.0, "fan_in"): "he", (1.0, "fan_in"): "lecun"}
        if (self.scale, self.mode) in family:
            return f"{family[self.scale, self.mode]}_{self.distribution}()"
        return f"VarianceScaling(scale={self.scale}, mode={self.mode!r}, distribution={self.distribution!r})"

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array of at least two axes."""
        if len(shape) < 2:
            raise ShapeError("a shape of at least two axes", why="the last two are in and out", got=shape)
        receptive_field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * receptive_field, shape[-1] * receptive_field
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(n, 1)
        if self.distribution == "normal":
            return jax.random.normal(key, shape, dtype) * jnp.asarray(math.sqrt(variance), dtype)
        limit = math.sqrt(3 * variance)
        return jax.random.uniform(key, shape, dtype, -limit, limit)


zeros: Initializer = Constant(0.0)
"""All zeros: right for biases; a layer whose weights are all zero passes no gradient on."""

ones: Initializer = Constant(1.0)
"""All ones: right for scales."""


def normal(stddev: float = 0.01) -> Normal:
    """N(0, stddev^2); the default is JAX's.

    >>> normal(0.02)
    Normal(stddev=0.02)
    """
    return Normal(stddev)


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
