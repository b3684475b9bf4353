"""Loops that stop when they have seen enough, and can be differentiated in reverse."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxnn.typing import Array


def scan_while(
    cond: Callable[[Any], Array], body: Callable[[Any], tuple[Any, Any]], init: Any, *, max_steps: int
) -> tuple[Any, Any, Array]:
    """`lax.scan` of at most `max_steps` steps that ends where a condition does, with a derivative in reverse mode.

    The forward keeps the carry before every step, and the backward runs the steps again one by one, last first, each
    through its own `jax.vjp`: it takes the memory of a checkpointed scan. What a step records is kept beside the carry
    and not in it, or the memory of a gradient would grow as the square of the steps. Forward mode fails, as it does
    for every `jax.custom_vjp`.

    Args:
        cond: Whether to go on, of a carry.
        body: One step, from carry to (carry, row).
        init: The first carry, a tree of arrays.
        max_steps: How many steps there may be; more are not taken.

    Returns:
        The last carry; the rows of all steps, stacked to `(max_steps, ...)`, NaN for steps that were not taken (0 where
        there is no NaN); and how many were taken, int32.

    >>> double = lambda x: (2 * x, x)
    >>> scan_while(lambda x: x < 10, double, 3.0, max_steps=4)
    (Array(12., dtype=float32, ...), Array([ 3.,  6., nan, nan], dtype=float32), Array(2, dtype=int32))
    """
    init = jax.tree.map(jnp.asarray, init)
    step, step_consts = _lifted(body, init)
    goes_on, cond_consts = _lifted(cond, init)
    _, row = jax.eval_shape(step, step_consts, init)

    def forward(init, consts, keep, blank):
        """Take the steps, in chunks of which each has few rows of its own.

        Under `vmap` a loop copies all that it carries at every step, for members that have stopped: all rows of all
        steps would make the time grow as the square of the steps.
        """
        size = math.isqrt(max_steps)

        def going(i, carry):
            return (i < max_steps) & goes_on(consts[1], carry)

        def advance(counted):
            i, carry, j, few = counted
            after, row = step(consts[0], carry)
            put = lambda rows, leaf: lax.dynamic_update_index_in_dim(rows, leaf, j, 0)
            return i + 1, after, j + 1, jax.tree.map(put, few, keep(carry, row))

        def chunk(counted):
            first, carry, kept = counted
            unfinished = lambda counted: (counted[2] < size) & going(*counted[:2])
            i, carry, _, few = lax.while_loop(unfinished, advance, (first, carry, zero, blank(size)))
            put = lambda rows, leaf: lax.dynamic_update_slice_in_dim(rows, leaf, first, 0)
            return i, carry, jax.tree.map(put, kept, few)

        zero = jnp.zeros((), jnp.int32)
        whole = -(-max_steps // size) * size
        steps, carry, kept = lax.while_loop(lambda counted: going(*counted[:2]), chunk, (zero, init, blank(whole)))
        return steps, carry, jax.tree.map(lambda rows: rows[:max_steps], kept)

    def blank(n):
        return jax.tree.map(lambda leaf: missing((n, *leaf.shape), leaf.dtype), row)

    @jax.custom_vjp
    def loop(init, consts):
        steps, carry, rows = forward(init, consts, lambda carry, row: row, blank)
        return carry, rows, steps

    def loop_fwd(init, consts):
        repeated = lambda n: jax.tree.map(lambda c: jnp.broadcast_to(c, (n, *c.shape)), init)
        both = lambda n: (repeated(n), blank(n))
        steps, carry, (before, rows) = forward(init, consts, lambda carry, row: (carry, row), both)
        return (carry, rows, steps), (steps, before, consts)

    def loop_bwd(residuals, cotangents):
        steps, before, (step_consts, cond_consts) = residuals
        d_carry, d_rows, _ = map(_smooth, cotangents)

        def retreat(k, cotangents):
            at = lambda rows: lax.dynamic_index_in_dim(rows, steps - 1 - k, keepdims=False)
            carry = jax.tree.map(at, before)
            d_out, d_consts = cotangents
            smooth_step = lambda moving, consts: _smooth(step(_whole(consts, step_consts), _whole(moving, carry)))
            pullback = jax.vjp(smooth_step, _smooth(carry), _smooth(step_consts))[1]
            d_moving, d_more = pullback([*d_out, *map(at, d_rows)])
            return d_moving, jax.tree.map(jnp.add, d_consts, d_more)

        begun = d_carry, jax.tree.map(jnp.zeros_like, _smooth(step_consts))
        d_init, d_consts = lax.fori_loop(0, steps, retreat, begun)
        return _like(d_init, before), (_like(d_consts, step_consts), [None] * len(cond_consts))

    loop.defvjp(loop_fwd, loop_bwd)
    return loop(init, (step_consts, cond_consts))


def while_loop(cond: Callable[[Any], Array], body: Callable[[Any], Any], init: Any, *, max_steps: int) -> Any:
    """`lax.while_loop` of at most `max_steps` steps, with a derivative in reverse mode.

    It is `scan_while` without rows.

    Args:
        cond: Whether to go on, of a carry.
        body: One step, from carry to carry.
        init: The first carry, a tree of arrays.
        max_steps: How many steps there may be; more are not taken.

    >>> double_until_100 = lambda x: while_loop(lambda x: x < 100, lambda x: 2 * x, x, max_steps=10)
    >>> jax.value_and_grad(double_until_100)(jnp.float32(3.0))
    (Array(192., dtype=float32), Array(64., dtype=float32))
    """
    return scan_while(cond, lambda carry: (body(carry), ()), init, max_steps=max_steps)[0]


def missing(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of what was not: NaN, or 0 in a dtype without it.

    >>> missing((2,), jnp.float32), missing((2,), jnp.int32)
    (Array([nan, nan], dtype=float32), Array([0, 0], dtype=int32))
    """
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


def _lifted(function: Callable[[Any], Any], example: Any) -> tuple[Callable[[list[Any], Any], Any], list[Any]]:
    """Return the function with what it closes over as a first argument, and that argument.

    A rule can differentiate by what is an argument, and only there may `vmap` map a key or a count: what a
    training run closes over are its learning rate, its data and its root key.
    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(example)
    structure = jax.tree.structure(out)

    def with_consts(consts: list[Any], leaves: list[Any]) -> list[Any]:
        return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))(*leaves)

    # Traced once more, from outlines: `closed` holds on to the tracers that it closes over, and must not outlive them.
    outlines = jax.eval_shape(lambda *arrays: arrays, closed.consts, jax.tree.leaves(example))
    pure = jaxpr_as_fun(jax.make_jaxpr(with_consts)(*outlines))

    def lifted(consts: list[Any], x: Any) -> Any:
        return jax.tree.unflatten(structure, pure(*consts, *jax.tree.leaves(x)))

    return lifted, closed.consts


def _is_smooth(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _smooth(tree: Any) -> list[Any]:
    """The leaves that have a derivative."""
    return [leaf for leaf in jax.tree.leaves(tree) if _is_smooth(leaf)]


def _whole(smooth: list[Any], tree: Any) -> Any:
    """The tree with these in place of the leaves that have a derivative."""
    moving = iter(smooth)
    return jax.tree.map(lambda leaf: next(moving) if _is_smooth(leaf) else leaf, tree)


def _like(cotangents: list[Any], tree: Any) -> Any:
    """Cotangents of the whole tree: `None` for the leaves that have no derivative."""
    d = iter(cotangents)
    return jax.tree.map(lambda leaf: next(d) if _is_smooth(leaf) else None, tree)
