"""A chunk of a run: any number of steps, through the ends of epochs, in one program that serves all numbers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.training._compiled import compiled, hashable
from jaxnn.training._epoch import FitState, History, begin, close, end, order, step
from jaxnn.training._plan import Plan
from jaxnn.training._stopping import EarlyStopping
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Array, Data


class Report(NamedTuple):
    """What is to be seen of a run after a chunk, in memory of its own: the rest is given away to the next chunk."""

    history: History  # shape (rows,) each
    row: Array  # rows finished, shape (), int32
    position: Array  # steps taken of the epoch under way, shape (), int32
    loss: Array  # mean over the steps of the row under way, shape ()
    going: Array  # whether there is more to do, shape (), bool


Chunk = Callable[[FitState, Array, Any], tuple[FitState, Array, Report]]
"""A function of state, order of the epoch, and number of steps: `-> (state, order, report)`."""


@compiled
def start(
    static: tuple[Trainer, Plan],
    state: TrainState | FitState,
    data: Data,
    stopping: EarlyStopping | None,
    sampling: Any,
) -> tuple[FitState, Array]:
    """Return the state to begin with, copied, so that it can be given away; and the order of its epoch.

    The order follows from the key and the epoch: it is computed once an epoch, and never saved.
    """
    trainer, plan = static
    if isinstance(state, FitState):
        fit_state = state
    else:
        row = state.position // plan.row_steps(plan.met(data))  # one within an epoch has some of its rows behind it
        fit_state = begin(trainer, plan, state, data, stopping, row)
    return jax.tree.map(jnp.copy, fit_state), order(plan, fit_state.train_state, plan.met(data), sampling)


def program(
    trainer: Trainer,
    plan: Plan,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
    sampling: Any,
) -> Chunk:
    """Return the compiled function that takes a chunk of steps; it deletes the state and order that it is given."""
    static = trainer, plan
    if hashable(static):
        advance = functools.partial(_advance, static)
    else:
        advance = jax.jit(functools.partial(_steps, static), donate_argnums=(0, 1))
    return lambda fit_state, rows, count: advance(
        fit_state, rows, np.int32(count), data, validation, stopping, sampling
    )


def _steps(
    static: tuple[Trainer, Plan],
    fit_state: FitState,
    rows: Array,
    count: Array,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
    sampling: Any,
) -> tuple[FitState, Array, Report]:
    trainer, plan = static
    n = plan.met(data)
    steps, row_steps, rows_per_epoch = plan.steps(n), plan.row_steps(n), plan.rows_per_epoch(n)

    def within_row(_, carry):
        fit_state, rows, left = carry
        position = fit_state.train_state.position
        row_end = jnp.minimum((position // row_steps + 1) * row_steps, steps)
        here = jnp.where(fit_state.goes_on(), jnp.minimum(left, row_end - position), 0)
        # Always in a loop, as in `fit`: XLA rounds a step differently if it stands alone.
        take = lambda _, fit_state: step(trainer, plan, fit_state, data, rows)
        fit_state = lax.fori_loop(jnp.zeros_like(here), here, take, fit_state)

        def end_row(fit_state):
            fit_state = close(trainer, plan, fit_state, data, validation, stopping)
            if rows_per_epoch == 1:
                return end_epoch(fit_state)
            at_end = (fit_state.train_state.position == steps) | ~fit_state.goes_on()
            return lax.cond(at_end, end_epoch, lambda fit_state: (fit_state, rows), fit_state)

        def end_epoch(fit_state):
            fit_state = end(fit_state)
            return fit_state, order(plan, fit_state.train_state, n, sampling)

        at_row_end = (here > 0) & (position + here == row_end)
        return *lax.cond(at_row_end, end_row, lambda fit_state: (fit_state, rows), fit_state), left - here

    # Counted loops only: on a CPU one that asks a condition of its own takes 7 us more a turn.
    begun = fit_state.train_state.position // row_steps
    epochs, rest = jnp.divmod(fit_state.train_state.position + count, steps)
    turns = epochs * rows_per_epoch + (rest + row_steps - 1) // row_steps - begun
    fit_state, rows, _ = lax.fori_loop(jnp.zeros_like(turns), turns, within_row, (fit_state, rows, count))
    report = Report(
        fit_state.history, fit_state.row, fit_state.train_state.position, fit_state.means["loss"], fit_state.goes_on()
    )
    return fit_state, rows, report


_advance = jax.jit(_steps, static_argnums=0, donate_argnums=(1, 2))
