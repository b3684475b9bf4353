"""Early stopping inside a compiled run, and a while loop that can be differentiated in reverse."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, final

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxnn.errors import values
from jaxnn.training._trainer import TrainState
from jaxnn.typing import Array, Params, Scalar, State


class Best(NamedTuple):
    """The best epoch so far, and how long ago it was."""

    params: Params  # of the best epoch
    state: State  # of the best epoch
    value: Array  # of what is watched, shape ()
    bad_count: Array  # epochs in a row without improvement, shape (), int32
    stopped: Array  # shape (), bool


@final
@partial(jax.tree_util.register_dataclass, data_fields=["patience", "min_delta"], meta_fields=["monitor", "mode"])
@dataclass(frozen=True)
class EarlyStopping:
    """Stop when what is watched has not improved for `patience` epochs; go back to the best.

    An epoch improves if it is better than the best by more than `min_delta`. Training stops after
    `patience` epochs in a row that did not, as in Keras (flax and PyTorch wait for one more). Parameters
    and layer state are those of the best epoch; the optimizer's state is the last.

    Attributes:
        patience: Epochs in a row; at least 1. May be a tracer.
        min_delta: What is not more than this is no improvement. May be a tracer.
        monitor: A name in the history; `"validation_loss"` where there is validation, else `"loss"`.
        mode: Whether smaller (`"min"`) or larger (`"max"`) is better; an accuracy wants `"max"`.

    Raises:
        ValueError: The patience is a number below 1, or the mode is neither.

    >>> EarlyStopping(patience=3)
    EarlyStopping(patience=3, min_delta=0.0, monitor=None, mode='min')

    Source: Prechelt, "Early stopping - but when?" (1998).
    """

    patience: Scalar
    min_delta: Scalar = 0.0
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"expected mode min or max, because smaller or larger is better; got {self.mode!r}")
        patience = values(self.patience)
        if patience is not None and not (patience >= 1).all():
            raise ValueError(f"expected patience of at least 1, because it counts epochs to wait; got {patience}")

    def begin(self, train_state: TrainState) -> Best:
        """Return the state before the first epoch: anything is better than nothing."""
        worst = jnp.asarray(jnp.inf if self.mode == "min" else -jnp.inf, jnp.result_type(float))
        return Best(train_state.params, train_state.state, worst, jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def after(self, best: Best, train_state: TrainState, value: Array) -> Best:
        """Return the state after an epoch in which `value` was seen."""
        gain = best.value - value if self.mode == "min" else value - best.value
        better = gain > jnp.asarray(self.min_delta, gain.dtype)
        bad_count = jnp.where(better, 0, best.bad_count + 1)
        params, state, value = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (train_state.params, train_state.state, value),
            (best.params, best.state, best.value),
        )
        return Best(params, state, value, bad_count, bad_count >= jnp.asarray(self.patience, jnp.int32))


def while_loop(cond: Callable[[Any], Array], body: Callable[[Any], Any], init: Any, *, max_steps: int) -> Any:
    """`lax.while_loop` of at most `max_steps` steps, with a derivative in reverse mode.

    The forward keeps the carry before every step, and the backward runs the steps again one by one, last
    first, each through its own `jax.vjp`. So it takes the memory of a checkpointed scan. Forward mode
    fails, as it does for every `jax.custom_vjp`.

    Args:
        cond: Whether to go on, of a carry.
        body: One step, from carry to carry.
        init: The first carry, a tree of arrays.
        max_steps: How many steps there may be; more are not taken.

    >>> double_until_100 = lambda x: while_loop(lambda x: x < 100, lambda x: 2 * x, x, max_steps=10)
    >>> jax.value_and_grad(double_until_100)(jnp.float32(3.0))
    (Array(192., dtype=float32), Array(64., dtype=float32))
    """
    init = jax.tree.map(jnp.asarray, init)
    step, step_consts = _lifted(body, init)
    goes_on, cond_consts = _lifted(cond, init)

    @jax.custom_vjp
    def loop(init, consts):
        def advance(counted):
            i, carry = counted
            return i + 1, step(consts[0], carry)

        def going(counted):
            i, carry = counted
            return (i < max_steps) & goes_on(consts[1], carry)

        return lax.while_loop(going, advance, (0, init))[1]

    def loop_fwd(init, consts):
        def advance(counted):
            i, carry, before = counted
            before = jax.tree.map(lambda b, c: lax.dynamic_update_index_in_dim(b, c, i, 0), before, carry)
            return i + 1, step(consts[0], carry), before

        def going(counted):
            i, carry, _ = counted
            return (i < max_steps) & goes_on(consts[1], carry)

        before = jax.tree.map(lambda c: jnp.broadcast_to(c, (max_steps, *c.shape)), init)
        steps, carry, before = lax.while_loop(going, advance, (0, init, before))
        return carry, (steps, before, consts)

    def loop_bwd(residuals, d_carry):
        steps, before, (step_consts, cond_consts) = residuals

        def retreat(k, cotangents):
            carry = jax.tree.map(lambda b: lax.dynamic_index_in_dim(b, steps - 1 - k, keepdims=False), before)
            d_out, d_consts = cotangents
            smooth_step = lambda moving, consts: _smooth(step(_whole(consts, step_consts), _whole(moving, carry)))
            d_moving, d_more = jax.vjp(smooth_step, _smooth(carry), _smooth(step_consts))[1](d_out)
            return d_moving, jax.tree.map(jnp.add, d_consts, d_more)

        begun = _smooth(d_carry), jax.tree.map(jnp.zeros_like, _smooth(step_consts))
        d_init, d_consts = lax.fori_loop(0, steps, retreat, begun)
        return _like(d_init, before), (_like(d_consts, step_consts), [None] * len(cond_consts))

    loop.defvjp(loop_fwd, loop_bwd)
    return loop(init, (step_consts, cond_consts))


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
