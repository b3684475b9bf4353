"""Initialisers that draw every element from one distribution, whatever the shape."""

from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.errors import values
from jaxnn.initializers._initializer import check_size
from jaxnn.typing import Array, Key, Scalar

_DEVIATION = "it is a standard deviation, not a variance"


@final
@by_value
@dataclass(frozen=True)
class Normal:
    """Independent numbers from N(0, stddev^2), w_ij = stddev z_ij with z of variance 1: `stddev` is not a variance.

    Attributes:
        stddev: The standard deviation. May be a tracer.

    Raises:
        ValueError: stddev is negative.

    >>> Normal(0.02)(jax.random.key(0), (4, 3), jnp.bfloat16).dtype
    dtype(bfloat16)

    Source: with 0.01 Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks" (2012).
    """

    stddev: Scalar

    def __post_init__(self) -> None:
        check_size(self.stddev, "stddev", _DEVIATION)

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array."""
        return jax.random.normal(key, shape, dtype) * jnp.asarray(self.stddev, dtype)


def normal(stddev: Scalar = 0.01) -> Normal:
    """N(0, stddev^2); the default is JAX's.

    >>> normal(0.02)
    Normal(stddev=0.02)

    Source: Krizhevsky, Sutskever and Hinton (2012).
    """
    return Normal(stddev)


@final
@by_value
@dataclass(frozen=True)
class TruncatedNormal:
    """Normal numbers of mean 0, those beyond `lower` and `upper` deviations drawn again.

    Attributes:
        stddev: The standard deviation of the normal distribution that is cut, as in JAX, Keras and PyTorch. What is
            left has a smaller one: 0.8796 stddev for the default cuts; `variance_scaling` corrects that. May be a
            tracer.
        lower: The lower cut, in deviations as in JAX; PyTorch's `a` is lower * stddev. May be a tracer.
        upper: The upper cut, likewise.

    Raises:
        ValueError: stddev is negative, or nothing is between the cuts.

    >>> w = TruncatedNormal(0.02)(jax.random.key(0), (100, 100), jnp.float32)
    >>> bool(abs(w).max() <= 0.04)
    True

    Source: Robert, "Simulation of truncated normal variables" (1995).
    """

    stddev: Scalar
    lower: Scalar = -2.0
    upper: Scalar = 2.0

    def __post_init__(self) -> None:
        check_size(self.stddev, "stddev", _DEVIATION)
        lower, upper = values(self.lower), values(self.upper)
        if lower is not None and upper is not None and not (lower < upper).all():
            raise ValueError(f"expected lower below upper, because numbers between them are drawn; "
                             f"got {self.lower} and {self.upper}")  # fmt: skip

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array."""
        lower, upper, stddev = (jnp.asarray(value, dtype) for value in (self.lower, self.upper, self.stddev))
        return jax.random.truncated_normal(key, lower, upper, shape, dtype) * stddev


def truncated_normal(stddev: Scalar = 0.01, *, lower: Scalar = -2.0, upper: Scalar = 2.0) -> TruncatedNormal:
    """N(0, stddev^2), cut at so many deviations; stddev is of the uncut distribution; the defaults are JAX's.

    >>> truncated_normal(0.02)
    TruncatedNormal(stddev=0.02, lower=-2.0, upper=2.0)

    Source: Robert (1995).
    """
    return TruncatedNormal(stddev, lower, upper)


@final
@by_value
@dataclass(frozen=True)
class Uniform:
    """Independent numbers from U(-limit, limit), of variance limit^2 / 3.

    Attributes:
        limit: The largest magnitude. May be a tracer.

    Raises:
        ValueError: limit is negative.

    >>> w = Uniform(0.1)(jax.random.key(0), (100, 100), jnp.float32)
    >>> bool(w.min() < -0.099), bool(w.max() > 0.099), bool(abs(w).max() <= 0.1)
    (True, True, True)

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), where small
    random weights break symmetry.
    """

    limit: Scalar

    def __post_init__(self) -> None:
        check_size(self.limit, "limit", "numbers from -limit to limit are drawn")

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array."""
        limit = jnp.asarray(self.limit, dtype)
        return jax.random.uniform(key, shape, dtype, -limit, limit)


def uniform(limit: Scalar = 0.05) -> Uniform:
    """U(-limit, limit), symmetric as in Keras, whose limit is the default; JAX's `uniform(scale)` is U(0, scale).

    >>> uniform(0.1)
    Uniform(limit=0.1)

    Source: Rumelhart, Hinton and Williams (1986).
    """
    return Uniform(limit)
