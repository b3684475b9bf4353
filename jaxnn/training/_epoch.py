"""An epoch in its parts: an order, steps, an end. `fit` loops over them, and `run` may pause between any two."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.training._evaluate import mean, means, weights
from jaxnn.training._order import shuffled
from jaxnn.training._plan import Plan
from jaxnn.training._stopping import Best, EarlyStopping
from jaxnn.training._trainer import SHUFFLE, Trainer, TrainState
from jaxnn.typing import Array, Data

History = dict[str, Array]


class FitState(NamedTuple):
    """All that changes during a run, between any two steps: enough to go on as if it had not paused."""

    train_state: TrainState
    best: Best | None  # None without early stopping
    history: History  # one row an epoch, NaN for epochs that have not been
    row: Array  # where this epoch's row will go, shape (), int32
    weight: Array  # of all examples that this epoch has met, shape ()
    means: dict[str, Array]  # of loss and metrics over these examples, shape ()

    def goes_on(self) -> Array:
        """Whether there are epochs left, and early stopping has not fired."""
        left = self.row < len(self.history["loss"])
        return left if self.best is None else left & ~self.best.stopped

    def finished(self) -> tuple[TrainState, History]:
        """What a run returns at its end: with early stopping, the best parameters and layer state."""
        if self.best is None:
            return self.train_state, self.history
        return self.train_state._replace(params=self.best.params, state=self.best.state), self.history


def begin(plan: Plan, train_state: TrainState, stopping: EarlyStopping | None) -> FitState:
    """Return the state before the first step of a run."""
    best = None if stopping is None else stopping.begin(train_state)
    missing = jnp.full(plan.epochs, jnp.nan, jnp.result_type(float))
    none = jnp.zeros((), missing.dtype)
    history, so_far = dict.fromkeys(plan.names, missing), dict.fromkeys(plan.seen, none)
    return FitState(train_state, best, history, jnp.zeros((), jnp.int32), none, so_far)


def order(plan: Plan, train_state: TrainState, examples: int) -> Array:
    """Return which examples each step of this epoch meets, int32 `(steps, batch_size)`.

    All of it at once, though any part could be had alone: hashing 32 indices takes longer than a small step.
    """
    steps = plan.steps(examples)
    index = jnp.arange(steps * plan.batch_size, dtype=jnp.int32) % examples
    if plan.shuffle:
        ts = train_state
        index = shuffled(jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch), index, examples)
    return index.reshape(steps, plan.batch_size)


def step(trainer: Trainer, plan: Plan, fit_state: FitState, data: Data, rows: Array) -> FitState:
    """Take the epoch's next step, on the batch that its order `rows` has at this position."""
    ts, n, b = fit_state.train_state, data.examples, plan.batch_size
    batch = data.take(lax.dynamic_index_in_dim(rows, ts.position, keepdims=False))
    filled = plan.steps(n) * b > n
    real = ts.position * b + jnp.arange(b, dtype=jnp.int32) < n if filled else None
    batch = batch._replace(w=weights(batch, real))
    ts, info = trainer.step(ts, batch)
    seen = [info.loss, *(mean(m, info.prediction, batch.y, batch.w) for m in plan.metrics)]
    # A running mean rather than a sum to divide at the end: it rounds less, and a lone step's loss not at all.
    dtype = fit_state.weight.dtype
    weight = jnp.asarray(b, dtype) if batch.w is None else batch.w.sum().astype(dtype)
    total = fit_state.weight + weight
    before, now = (part / jnp.where(total == 0, 1, total) for part in (fit_state.weight, weight))
    so_far = {
        name: before * fit_state.means[name] + now * value.astype(dtype)
        for name, value in zip(plan.seen, seen, strict=True)
    }
    return fit_state._replace(train_state=ts._replace(position=ts.position + 1), weight=total, means=so_far)


def close(
    trainer: Trainer, plan: Plan, fit_state: FitState, validation: Data | None, stopping: EarlyStopping | None
) -> FitState:
    """End an epoch: evaluate on validation data, write the history's row, decide whether to stop."""
    ts, row, best = fit_state.train_state, fit_state.means, fit_state.best
    if validation is not None:
        judged = means(trainer, ts, validation, (trainer.loss, *plan.metrics), plan.batch_size)
        row = row | {f"validation_{name}": value for name, value in zip(plan.seen, judged, strict=True)}
    history = {
        name: rows.at[fit_state.row].set(row[name].astype(rows.dtype)) for name, rows in fit_state.history.items()
    }
    if stopping is not None and best is not None:
        value = row[plan.monitor(stopping)]
        best = stopping.after(best, ts, value.astype(best.value.dtype))
    ts = ts._replace(epoch=ts.epoch + 1, position=jnp.zeros_like(ts.position))
    weight, none = jax.tree.map(jnp.zeros_like, (fit_state.weight, fit_state.means))
    return FitState(ts, best, history, fit_state.row + 1, weight, none)
