"""Where the chance of an optimizer begins."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import describe, is_array
from jaxnn.typing import Array

KeyOrSeed: TypeAlias = Array | int | np.integer


def key_of(key_or_seed: Any) -> Array:
    """Return the key that an integer seeds, or a copy of a key: the caller's must outlive a state that is donated.

    Args:
        key_or_seed: A key of `jax.random`, typed or old, or an integer of Python, NumPy or JAX, or a tracer of one.

    Raises:
        TypeError: It is something else.

    >>> key_of(3) == key_of(jax.random.key(3))
    Array(True, dtype=bool)
    """
    check_key(key_or_seed)
    return jnp.copy(key_or_seed) if _is_key(key_or_seed) else jax.random.key(key_or_seed)


def check_key(key_or_seed: Any) -> None:
    """Raise an error for what `key_of` makes no key of.

    >>> check_key(0.5)
    Traceback (most recent call last):
        ...
    TypeError: expected a key of jax.random or an integer, because the chance begins with one; got 0.5
    """
    if not (_is_key(key_or_seed) or _is_seed(key_or_seed)):
        raise TypeError("expected a key of jax.random or an integer, because the chance begins with one; got "
                        f"{describe(key_or_seed)}")  # fmt: skip


def _is_key(x: Any) -> bool:
    if not isinstance(x, jax.Array):
        return False
    typed = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return x.shape == () if typed else x.dtype == jnp.uint32 and x.shape == (2,)


def _is_seed(x: Any) -> bool:
    return isinstance(x, int) or (is_array(x) and jnp.issubdtype(x.dtype, jnp.integer) and x.shape == ())
