"""In which dtype a loss meets arrays of several, and which dtype each cotangent has."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.typing import Array


def common_dtype(*arrays: Array | None) -> Any:
    """Return the dtype to which JAX promotes the arrays, whatever promotion is set: that of their loss.

    >>> common_dtype(jnp.zeros(2, jnp.bfloat16), jnp.zeros(2)), common_dtype(jnp.zeros(2), jnp.zeros(2, int))
    (dtype('float32'), dtype('float32'))
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(a for a in arrays if a is not None))


def together(*arrays: Array | None) -> tuple[Any, ...]:
    """Return the arrays in their common dtype; `None` stays.

    >>> [a.dtype for a in together(jnp.zeros(2, jnp.bfloat16), jnp.zeros(2, int))]
    [dtype(bfloat16), dtype(bfloat16)]
    """
    dtype = common_dtype(*arrays)
    return tuple(a if a is None or a.dtype == dtype else a.astype(dtype) for a in arrays)


def cotangent(d: Array, array: Array | None) -> Array | None:
    """Return d as the cotangent of an array: in its dtype, and `None` where that is no floating one.

    >>> cotangent(jnp.ones(2), jnp.zeros(2, jnp.bfloat16)).dtype, cotangent(jnp.ones(2), jnp.zeros(2, int))
    (dtype(bfloat16), None)
    """
    return None if array is None or not jnp.issubdtype(array.dtype, jnp.floating) else d.astype(array.dtype)


def cotangents(d_arrays: Iterable[Array], arrays: Iterable[Array | None]) -> tuple[Array | None, ...]:
    """Return each of them as the cotangent of its array.

    >>> cotangents((jnp.ones(2), jnp.ones(2)), (jnp.zeros(2), None))
    (Array([1., 1.], dtype=float32), None)
    """
    return tuple(cotangent(d, array) for d, array in zip(d_arrays, arrays, strict=True))
