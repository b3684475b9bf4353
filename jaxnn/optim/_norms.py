"""The sizes of trees and of leaves. They are real: of complex numbers |x|^2 = conj(x) x counts."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import root
from jaxnn.typing import Array, Scalar, accumulator_dtype


def number_dtype(tree: Any) -> Any:
    """Return the dtype of a number about all leaves: the widest of theirs, real, and float32 at least.

    >>> number_dtype({"w": jnp.zeros(2, jnp.bfloat16), "z": jnp.zeros(2, jnp.complex64)})
    dtype('float32')
    """
    dtypes = [jnp.dtype(jnp.finfo(accumulator_dtype(leaf.dtype)).dtype) for leaf in jax.tree.leaves(tree)]
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=jnp.dtype(jnp.float32))


def inner_product(x: Any, y: Any) -> Array:
    """Return the real part of the sum over all leaves of conj(x) y, in float32 at least.

    Leaves that are `None` in both count nothing.

    >>> inner_product({"w": jnp.array([1.0, 2.0]), "b": None}, {"w": jnp.array([3.0, 4.0]), "b": None})
    Array(11., dtype=float32)
    """
    dtype = number_dtype((x, y))

    def product(a, b):
        of_parts = lambda a, b: jnp.sum(a.astype(dtype) * b.astype(dtype))
        if jnp.iscomplexobj(a) and jnp.iscomplexobj(b):
            return of_parts(a.real, b.real) + of_parts(a.imag, b.imag)
        return of_parts(a.real, b.real)

    return functools.reduce(operator.add, jax.tree.leaves(jax.tree.map(product, x, y)), jnp.zeros((), dtype))


def global_norm(updates: Any) -> Array:
    """Return sqrt(sum of the squares |x|^2 of all leaves), in float32 at least; its derivative at 0 is 0.

    Squares of numbers beyond 1.8e19 are infinite in float32, and so is the norm of them. That of NaN is NaN.

    Args:
        updates: A tree of arrays; a tree without any has norm 0.

    >>> global_norm({"w": jnp.array([[3.0]]), "b": jnp.array([4.0])}), global_norm(jnp.array(3.0 - 4.0j))
    (Array(5., dtype=float32), Array(5., dtype=float32))
    """
    return root(inner_product(updates, updates))


def total(tree: Any) -> Array:
    """Return the sum of |x| over all leaves, in float32 at least; its derivative at 0 is 0.

    >>> total({"w": jnp.array([3.0, -4.0])})
    Array(7., dtype=float32)
    """
    dtype = number_dtype(tree)
    sums = (jnp.sum(jnp.abs(x.astype(accumulator_dtype(x.dtype)))).astype(dtype) for x in jax.tree.leaves(tree))
    return functools.reduce(operator.add, sums, jnp.zeros((), dtype))


def leaf_norm(x: Array, least: Scalar) -> Array:
    """Return max(sqrt(sum |x|^2), least), in float32 at least; where it is `least`, it does not change with x.

    >>> leaf_norm(jnp.array([3.0, 4.0]), 1.0), leaf_norm(jnp.array([0.3, 0.4]), 1.0)
    (Array(5., dtype=float32), Array(1., dtype=float32))
    """
    return _from(least, global_norm(x))


def leaf_rms(x: Array, least: Scalar) -> Array:
    """Return max(sqrt(mean |x|^2), least), in float32 at least; that of a leaf without numbers is `least`.

    >>> leaf_rms(jnp.array([1.0, 7.0]), 1.0), leaf_rms(jnp.zeros((0, 3)), 1.0)
    (Array(5., dtype=float32), Array(1., dtype=float32))
    """
    return _from(least, root(inner_product(x, x) / max(x.size, 1)))


def _from(least: Scalar, size: Array) -> Array:
    least = jnp.asarray(least, size.dtype)
    return jnp.where(size <= least, least, size)  # a size that is NaN stays
