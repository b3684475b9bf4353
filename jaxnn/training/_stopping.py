"""Early stopping inside a compiled run, and a while loop that can be differentiated in reverse."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, final

import jax
import jax.numpy as jnp
from jax import lax

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
        mode: Whether smaller (`"min"`) or larger (`"max"`) is better.

    >>> EarlyStopping(patience=3)
    EarlyStopping(patience=3, min_delta=0.0, monitor=None, mode='min')

    Source: Prechelt, "Early stopping - but when?" (1998).
    """

    patience: Scalar
    min_delta: Scalar = 0.0
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"

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
    # What body closes over, a learning rate for one, must be an argument for a rule to differentiate by it.
    step, consts = jax.closure_convert(body, init)

    @jax.custom_vjp
    def loop(init, consts):
        def advance(counted):
            i, carry = counted
            return i + 1, step(carry, *consts)

        def going(counted):
            i, carry = counted
            return (i < max_steps) & cond(carry)

        return lax.while_loop(going, advance, (0, init))[1]

    def loop_fwd(init, consts):
        def advance(counted):
            i, carry, before = counted
            before = jax.tree.map(lambda b, c: lax.dynamic_update_index_in_dim(b, c, i, 0), before, carry)
            return i + 1, step(carry, *consts), before

        def going(counted):
            i, carry, _ = counted
            return (i < max_steps) & cond(carry)

        before = jax.tree.map(lambda c: jnp.broadcast_to(c, (max_steps, *jnp.shape(c))), init)
        steps, carry, before = lax.while_loop(going, advance, (0, init, before))
        return carry, (steps, before, consts)

    def loop_bwd(residuals, d_carry):
        steps, before, consts = residuals
        structure = jax.tree.structure(before)
        smooth = [jnp.issubdtype(b.dtype, jnp.inexact) for b in jax.tree.leaves(before)]

        def retreat(k, cotangents):
            leaves = [lax.dynamic_index_in_dim(b, steps - 1 - k, keepdims=False) for b in jax.tree.leaves(before)]

            def smooth_step(moving, consts):
                moving = iter(moving)
                carry = [next(moving) if s else leaf for s, leaf in zip(smooth, leaves, strict=True)]
                out = step(jax.tree.unflatten(structure, carry), *consts)
                return [leaf for s, leaf in zip(smooth, jax.tree.leaves(out), strict=True) if s]

            moving = [leaf for s, leaf in zip(smooth, leaves, strict=True) if s]
            d_out, d_consts = cotangents
            d_moving, d_more = jax.vjp(smooth_step, moving, consts)[1](d_out)
            return d_moving, jax.tree.map(jnp.add, d_consts, d_more)

        d_moving = [d for s, d in zip(smooth, jax.tree.leaves(d_carry), strict=True) if s]
        d_consts = jax.tree.map(jnp.zeros_like, consts)
        d_moving, d_consts = lax.fori_loop(0, steps, retreat, (d_moving, d_consts))
        d_moving = iter(d_moving)
        return jax.tree.unflatten(structure, [next(d_moving) if s else None for s in smooth]), d_consts

    loop.defvjp(loop_fwd, loop_bwd)
    return loop(init, consts)
