"""What update rules compute with.

Every hyperparameter may be a tracer; none is branched on in Python but those whose `None` is documented. Averages are
taken in float32 at least, for in bfloat16 a decay of 0.999 would round to 1, and kept in the dtype of their parameter,
as optax keeps them. (Kept in bfloat16, a second moment that hardly changes stands still: keep parameters in float32
for long runs.)
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


def widest(*arrays: Array) -> Any:
    """Return float32, or the widest dtype of the arrays if it is wider."""
    return max((accumulator_dtype(a.dtype) for a in arrays), key=lambda dtype: dtype.itemsize)


def cast_like(tree: Any, like: Any) -> Any:
    """Cast each leaf to the dtype of the same leaf of another tree."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, like)


def scaled(factor: Scalar, x: Array) -> Array:
    """Factor x, computed in float32 at least, in the dtype of x."""
    wide = accumulator_dtype(x.dtype)
    return (jnp.asarray(factor, wide) * x.astype(wide)).astype(x.dtype)


def average(mean: Array, value: Array, decay: Scalar) -> Array:
    """Move a running mean towards a value, decay mean + (1 - decay) value, in float32 at least."""
    wide = widest(mean, value)
    decay = jnp.asarray(decay, wide)
    return decay * mean.astype(wide) + (1 - decay) * value.astype(wide)


def corrected(mean: Array, decay: Scalar, t: Array) -> Array:
    """Undo the start of a running mean from 0: after t steps, that of constants c is c (1 - decay^t)."""
    return mean / (1 - jnp.asarray(decay, mean.dtype) ** t.astype(mean.dtype))


def squared(x: Array) -> Array:
    """x^2, and of complex numbers |x|^2, in their dtype."""
    return (x.real**2 + x.imag**2).astype(x.dtype) if jnp.iscomplexobj(x) else x * x


def root(x: Array) -> Array:
    """sqrt(x), with derivative 0 at 0: guarded on both sides, for 0 times an infinite derivative is NaN. NaN stays.

    Of complex numbers, which are squares of `squared`, it is that of the real part.
    """
    if jnp.iscomplexobj(x):
        return root(x.real).astype(x.dtype)
    none = x <= 0
    return jnp.where(none, 0, jnp.sqrt(jnp.where(none, 1, x)))


def next_count(count: Array) -> Array:
    """count + 1, without wrapping around at the largest integer."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)


def check_decay(because: str, **decays: Scalar | Schedule | None) -> None:
    """Raise an error for decays that can be seen and are not from 0 to below 1; NaN is not.

    >>> check_decay("a velocity must fade", decay=1.5)
    Traceback (most recent call last):
        ...
    ValueError: expected decay from 0 to below 1, because a velocity must fade; got 1.5
    """
    for name, decay in decays.items():
        seen = values(decay)
        if seen is not None and not ((seen >= 0) & (seen < 1)).all():
            raise ValueError(f"expected {name} from 0 to below 1, because {because}; got {decay}")


def check_number(because: str, **numbers: Scalar | Schedule | None) -> None:
    """Raise an error for numbers that can be seen and are negative or NaN; `None` and schedules pass.

    >>> check_number("it is a length of steps", learning_rate=-0.1)
    Traceback (most recent call last):
        ...
    ValueError: expected learning_rate of 0 or more, because it is a length of steps; got -0.1
    """
    for name, number in numbers.items():
        seen = values(number)
        if seen is not None and not (seen >= 0).all():
            raise ValueError(f"expected {name} of 0 or more, because {because}; got {number}")
