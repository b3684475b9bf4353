"""What schedules do with their arguments: numbers where there may be tracers, and errors where there are mistakes."""

from typing import Any

import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.typing import Array, Scalar


def number(value: Any) -> Array:
    """Return a number, a count or a tracer of one as an array of the default floating dtype.

    A count is exact in float32 up to 2^24, sixteen million steps, and is rounded from there on.
    """
    return jnp.asarray(value, jnp.result_type(float))


def check_positive(because: str, **arguments: Scalar) -> None:
    """Raise an error for arguments that can be seen and are not positive; NaN is not.

    >>> check_positive("the value decays over them", decay_steps=0)
    Traceback (most recent call last):
        ...
    ValueError: expected decay_steps above 0, because the value decays over them; got 0
    """
    for name, value in arguments.items():
        seen = values(value)
        if seen is not None and not (seen > 0).all():
            raise ValueError(f"expected {name} above 0, because {because}; got {value}")


def power(base: Array, exponent: Array) -> Array:
    """base^exponent for a base of 0 or more, whose derivative at a base of 0 is 0 rather than infinite or NaN."""
    positive = base > 0
    return jnp.where(positive, jnp.where(positive, base, 1) ** exponent, jnp.zeros_like(base) ** exponent)
