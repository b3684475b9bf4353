"""`minimize`: the least value of a plain function, by an optimizer, as one pure function."""

import operator
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp

from jaxnn import tree
from jaxnn.errors import ShapeError, describe, is_array
from jaxnn.optim import Optimizer, apply_updates, global_norm, with_extra_args_support
from jaxnn.optim._checks import check_not_nan, check_number
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled
from jaxnn.training._scan_while import missing, scan_while
from jaxnn.typing import Array, Scalar


class Reason(IntEnum):
    """Why `minimize` stopped. Where several hold at once, it is the first of them in this order.

    A code rather than a string, so that it comes out of `jit` and `vmap`: `Reason(found.reason)`, and of many
    `[Reason(code) for code in found.reason]`.

    >>> Reason(jnp.int32(1)), str(Reason.TOLERANCE)
    (<Reason.TOLERANCE: 1>, 'the gradient is within the tolerance')
    """

    DIVERGED = 0
    TOLERANCE = 1
    TARGET = 2
    MAX_STEPS = 3

    @classmethod
    def _missing_(cls, value: Any) -> "Reason | None":
        return cls(operator.index(value)) if is_array(value) else None  # an array of one code, which does not hash

    def __str__(self) -> str:
        return _SAID[self]


_SAID = {
    Reason.DIVERGED: "something is not finite",
    Reason.TOLERANCE: "the gradient is within the tolerance",
    Reason.TARGET: "the value is within the target",
    Reason.MAX_STEPS: "all steps are taken",
}


class Minimum(NamedTuple):
    """Where a descent led, and the way there: row k is of x after k steps, NaN after the stop.

    >>> import jaxnn as nn
    >>> found = nn.minimize(jnp.square, 3.0, nn.sgd(0.5), max_steps=3)
    >>> found.x, found.trajectory, found.values
    (Array(0., dtype=float32), Array([ 3.,  0., nan, nan], dtype=float32), Array([ 9.,  0., nan, nan], dtype=float32))
    >>> found.trajectory[jnp.nanargmin(found.values)]  # the best on the way
    Array(0., dtype=float32)
    """

    x: Any  # where it stopped, like x0
    value: Array  # of f there, shape ()
    gradient_norm: Array  # of f there, shape ()
    steps: Array  # how many were taken, shape (), int32
    reason: Array  # a code of `Reason`, shape (), int32
    trajectory: Any  # like x0, each leaf (max_steps + 1, ...)
    values: Array  # shape (max_steps + 1,)
    gradient_norms: Array  # shape (max_steps + 1,)


class _Point(NamedTuple):
    x: Any
    opt_state: Any
    value: Array
    gradient: Any
    norm: Array


def minimize(
    f: Callable[[Any], Any],
    x0: Any,
    optimizer: Optimizer,
    *,
    max_steps: SupportsIndex,
    tolerance: Scalar = 1e-5,
    target: Scalar = -jnp.inf,
) -> Minimum:
    """Follow an optimizer down a function until its gradient is small enough, in one compiled program.

    It stops at the first x, x0 among them, where the norm of the gradient is at most `tolerance`; where the value is at
    most `target`; where something is not finite; or after `max_steps` steps. `Reason` says which it was.

    A small gradient is what holds at a minimum, of whatever height, but also at a saddle and at the foot of a well that
    is not the lowest: begin at many x0, by `vmap`. A small change of the value or of x is not looked at: a small
    learning rate makes one anywhere, and momentum where it turns round. So there is nothing here of `ftol` and `xtol`
    in `scipy.optimize.minimize`, and `tolerance` is the `gtol` of its BFGS, of the same 1e-5, but of the Euclidean norm
    over all leaves, where SciPy takes the largest entry. A rate that is too large makes `values` rise, and is
    `DIVERGED` only when they overflow.

    A pure function: `jit`, `vmap` over starts, learning rates and tolerances, and `grad` in reverse mode apply to it.
    The derivative is that of the steps that were taken, as if their number were fixed, of first order; an optimizer
    with a line search has none. Under `vmap` a member that stopped rests while others go on. Called by itself it
    compiles, once for the same f and optimizer and shapes, and as with `jit` f must not depend on what may change.

    Args:
        f: A function of x to a number.
        x0: Where to begin: an array or any tree of them, real and floating.
        optimizer: One of `jaxnn.optim` or of optax. Each update is given `value`, `grad` and `value_fn`, so that
            `lbfgs` and `polyak_sgd` are among them.
        max_steps: How many steps it may take at most.
        tolerance: For the norm of the gradient; may be a tracer. With 0 only a gradient of 0 is small enough.
        target: For the value, where it is known which is low enough; may be a tracer.

    Returns:
        The last x, which with momentum need not be the best of `trajectory`, and all that was seen on the way.

    Raises:
        TypeError: x0 is not real and floating, or f gives integers; the optimizer is none, or `max_steps` no int.
        ValueError: `max_steps` is below 1, `tolerance` a number below 0 or NaN, `target` NaN.
        ShapeError: f gives no single number.

    >>> import jaxnn as nn
    >>> found = nn.minimize(lambda x: (x - 3) ** 2, 0.0, nn.sgd(0.25), max_steps=100)
    >>> print(f"{found.x:.5f} after {found.steps} steps: {nn.training.Reason(found.reason)}")
    3.00000 after 20 steps: the gradient is within the tolerance
    >>> found.trajectory[:4]
    Array([0.   , 1.5  , 2.25 , 2.625], dtype=float32)
    """
    max_steps = count(max_steps, "max_steps", why="there is nothing to follow without one")
    for name, number in (("tolerance", tolerance), ("target", target)):
        if jnp.ndim(number):
            raise ShapeError(f"{name} of shape ()", why="one number is compared with it", got=tuple(jnp.shape(number)),
                             hint=f"several of them: vmap over a function of {name}")  # fmt: skip
    check_number("the norm of a gradient is compared with it", tolerance=tolerance)
    check_not_nan("values are compared with it", target=target)
    if not isinstance(optimizer, tuple):  # optax's are named tuples
        raise TypeError(
            f"expected an optimizer, such as nn.sgd(0.1), because it has init and update; got {optimizer!r}"
        )
    x0 = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), x0)  # no Python number, of weak type
    _check(f, x0)
    return _minimize((f, optimizer, max_steps), x0, tolerance, target)


@compiled
def _minimize(
    static: tuple[Callable[[Any], Any], Optimizer, int], x0: Any, tolerance: Scalar, target: Scalar
) -> Minimum:
    f, optimizer, max_steps = static
    optimizer = with_extra_args_support(optimizer)

    def look(x: Any, opt_state: Any) -> _Point:
        value, gradient = jax.value_and_grad(f)(x)
        return _Point(x, opt_state, value, gradient, global_norm(gradient))

    def step(at: _Point) -> tuple[_Point, tuple[Any, Array, Array]]:
        updates, opt_state = optimizer.update(
            at.gradient, at.opt_state, at.x, value=at.value, grad=at.gradient, value_fn=f
        )
        return look(apply_updates(at.x, updates), opt_state), (at.x, at.value, at.norm)

    def reason(at: _Point) -> Array:
        finite = jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((at.x, at.value, at.norm))]).all()
        code = jnp.where(at.value <= jnp.asarray(target, at.value.dtype), Reason.TARGET, Reason.MAX_STEPS)
        code = jnp.where(at.norm <= jnp.asarray(tolerance, at.norm.dtype), Reason.TOLERANCE, code)
        return jnp.where(finite, code, Reason.DIVERGED).astype(jnp.int32)

    goes_on = lambda at: reason(at) == Reason.MAX_STEPS
    at, rows, steps = scan_while(goes_on, step, look(x0, optimizer.init(x0)), max_steps=max_steps)

    def with_last(rows: Array, last: Array) -> Array:
        rows = jnp.concatenate([rows, missing((1, *last.shape), last.dtype)])
        return rows.at[steps].set(last)

    trajectory, values, norms = jax.tree.map(with_last, rows, (at.x, at.value, at.norm))
    return Minimum(at.x, at.value, at.norm, steps, reason(at), trajectory, values, norms)


def _check(f: Callable[[Any], Any], x0: Any) -> None:
    other = {name: leaf for name, leaf in tree.named_leaves(x0).items() if not jnp.issubdtype(leaf.dtype, jnp.floating)}
    if other:
        listed = ", ".join(f"{describe(leaf)} for {name}" if name else describe(leaf) for name, leaf in other.items())
        raise TypeError(
            f"expected x0 to be real and floating, because steps move it by parts of 1; got {listed}\n"
            "  hint: 2.0 for 2, and two real numbers for a complex one"
        )
    value = jax.eval_shape(f, x0)
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0].shape != ():
        raise ShapeError("f to give one number, of shape ()", why="it is that which is made small",
                         got=describe(value) if leaves else value, hint="jnp.sum or jnp.mean of many")  # fmt: skip
    if not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        raise TypeError(
            f"expected f to give a real, floating number, because others have no slope; got {leaves[0].dtype}"
        )
