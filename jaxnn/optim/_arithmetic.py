"""What update rules compute with.

Every hyperparameter may be a tracer; none is branched on in Python but those whose `None` is documented. Averages are
taken in float32 at least, for in bfloat16 a decay of 0.999 would round to 1, and kept in the dtype of their parameter,
as optax keeps them. (Kept in bfloat16, a second moment that hardly changes stands still: keep parameters in float32
for long runs.)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.typing import Array, Scalar, accumulator_dtype


def widest(*arrays: Array) -> Any:
    """Return float32, or the widest dtype of the arrays if it is wider."""
    return max((accumulator_dtype(a.dtype) for a in arrays), key=lambda dtype: dtype.itemsize)


def floating(x: Scalar) -> Any:
    """Return a number that is an array of integers as one of floats, which may be multiplied by others."""
    return x.astype(float) if isinstance(x, np.generic | jax.Array) and jnp.issubdtype(x.dtype, jnp.integer) else x


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


def ratio(a: Array, b: Array, otherwise: int = 0) -> Array:
    """a / b, and `otherwise` with derivative 0 where b is 0: guarded on both sides, as `root` is. NaN stays.

    >>> ratio(jnp.array([1.0, 1.0, jnp.nan]), jnp.array([2.0, 0.0, 1.0]))
    Array([0.5, 0. , nan], dtype=float32)
    """
    some = b != 0
    return jnp.where(some, a / jnp.where(some, b, 1), otherwise)


def chosen(condition: Array | bool, x: Any, y: Any) -> Any:
    """Return one of two trees, x where the condition holds, in the dtypes of y.

    >>> chosen(jnp.array(False), (jnp.array(1), jnp.array(2)), (jnp.array(3), jnp.array(4)))
    (Array(3, dtype=int32, weak_type=True), Array(4, dtype=int32, weak_type=True))
    """
    like = lambda a, b: a if a.dtype == b.dtype else a.astype(b.dtype)  # keys have no `astype`
    return jax.tree.map(lambda a, b: jnp.where(condition, like(a, b), b), x, y)


def next_count(count: Array) -> Array:
    """count + 1, without wrapping around at the largest integer."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)
