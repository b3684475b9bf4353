"""What a program costs: the multiplications and additions of its products, the memory of what it computes."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import Literal, jaxprs_in_params


def multiply_adds(jaxpr: Any) -> int:
    """Return how many products of two numbers a program adds up, in its matrix products and convolutions.

    A convolution has one for every tap of every window and every pair of features that meet there, taps on padding
    included; a transposed one (in which the input is dilated) for every tap that every input lays down. A loop counts
    as often as it runs, of branches the dearest; a `while`, of which nobody knows, counts once. What goes element by
    element is not counted.

    >>> import jax, jax.numpy as jnp
    >>> multiply_adds(jax.make_jaxpr(jnp.matmul)(jnp.zeros((32, 784)), jnp.zeros((784, 64))).jaxpr) == 32 * 784 * 64
    True
    """
    return sum(map(_of_one, jaxpr.eqns))


def _of_one(eqn: Any) -> int:
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return eqn.outvars[0].aval.size * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        return _of_convolution(eqn)
    within = [multiply_adds(body) for body in jaxprs_in_params(eqn.params)]
    if eqn.primitive.name == "cond":
        return max(within)
    return sum(within) * (eqn.params["length"] if eqn.primitive.name == "scan" else 1)


def _of_convolution(eqn: Any) -> int:
    x, w, y = (v.aval.shape for v in (*eqn.invars, *eqn.outvars))
    (_, _, *x_axes), (_, features, *taps), (batch, out, *y_axes) = eqn.params["dimension_numbers"]
    pairs = [
        (x[p] if dilation > 1 else y[q]) * w[j]
        for p, q, j, dilation in zip(x_axes, y_axes, taps, eqn.params["lhs_dilation"], strict=True)
    ]
    return y[batch] * y[out] * w[features] * math.prod(pairs)


def nbytes_out(jaxpr: Any) -> int:
    """Return the bytes of what a program makes and returns: each array once, and none that it was given.

    >>> import jax, jax.numpy as jnp
    >>> nbytes_out(jax.make_jaxpr(lambda x: (x, y := 2 * x, y, 3 * x))(jnp.zeros(10)).jaxpr) == 2 * 10 * 4
    True
    """
    made = {v for v in jaxpr.outvars if not isinstance(v, Literal)} - {*jaxpr.invars, *jaxpr.constvars}
    return sum(v.aval.size * v.aval.dtype.itemsize for v in made)


def largest_array(jaxpr: Any) -> int:
    """Return the bytes of the largest array that a program computes in its loops, or anywhere if it has none.

    What is computed once, such as a data set in another dtype, is left out where there is a loop, for the loop takes
    the time.

    >>> import jax, jax.numpy as jnp
    >>> loop = lambda x: jax.lax.fori_loop(0, 3, lambda _, s: s + jnp.outer(x, x).sum(), jnp.sum(jnp.tile(x, 1000)))
    >>> largest_array(jax.make_jaxpr(loop)(jnp.zeros(10)).jaxpr) == 10 * 10 * 4
    True
    """
    return max(_arrays(jaxpr, in_loop=False), default=(False, 0))[1]


def _arrays(jaxpr: Any, *, in_loop: bool) -> Iterator[tuple[bool, int]]:
    """Yield whether an array is computed in a loop, which makes it the larger one, and its bytes."""
    for eqn in jaxpr.eqns:
        yield from ((in_loop, v.aval.size * v.aval.dtype.itemsize) for v in eqn.outvars)
        for body in jaxprs_in_params(eqn.params):
            yield from _arrays(body, in_loop=in_loop or eqn.primitive.name in ("scan", "while"))
