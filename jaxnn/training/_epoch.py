"""An epoch in its parts: an order, steps, rows, an end. `fit` loops over them, and `run` may pause between any two."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.optim import after_row, loss_scale_of
from jaxnn.optim._arithmetic import chosen
from jaxnn.optim._loss_scale import all_finite
from jaxnn.training._averages import averaged
from jaxnn.training._evaluate import figures, mean, weights
from jaxnn.training._order import shuffled
from jaxnn.training._plan import Plan
from jaxnn.training._sampled import sampled
from jaxnn.training._stopping import Best, EarlyStopping
from jaxnn.training._trainer import SHUFFLE, Observed, Trainer, TrainState
from jaxnn.tree import named_leaves
from jaxnn.typing import Array, Data

History = dict[str, Array]


class FitState(NamedTuple):
    """All that changes during a run, between any two steps: enough to go on as if it had not paused."""

    train_state: TrainState
    best: Best | None  # None without early stopping
    history: History  # one row an epoch, or more, NaN for those that have not been
    row: Array  # where the row under way will go, shape (), int32
    weight: Array  # of all examples that this row has met, shape ()
    means: dict[str, Array]  # of loss, metrics and what is recorded over these examples, shape ()

    def goes_on(self) -> Array:
        """Whether there are rows left, and early stopping has not fired."""
        left = self.row < len(self.history["loss"])
        return left if self.best is None else left & ~self.best.stopped

    def finished(self) -> tuple[TrainState, History]:
        """What a run returns at its end: with early stopping, the best parameters and layer state."""
        ts = self.train_state
        return ts if self.best is None else self.best.restored(ts), self.history


def begin(
    trainer: Trainer, plan: Plan, train_state: TrainState, data: Data, stopping: EarlyStopping | None, row: Array
) -> FitState:
    """Return the state before the first step of a run, which begins with a row of its first epoch."""
    best = None if stopping is None else stopping.begin(train_state)
    missing = jnp.full(plan.rows(plan.met(data)), jnp.nan, jnp.result_type(float))
    none = jnp.zeros((), missing.dtype)
    seen = [*plan.seen, *record_names(trainer, plan, train_state, data)]
    history = dict.fromkeys([*plan.names, *seen], missing)
    return FitState(train_state, best, history, row, none, dict.fromkeys(seen, none))


def order(plan: Plan, train_state: TrainState, examples: int, sampling: Any = None) -> Array:
    """Return which examples each step of this epoch meets, int32 `(steps, batch_size)`.

    All of it at once, though any part could be had alone: hashing 32 indices takes longer than a small step.
    Of a sample these are its rows, in an order that is shuffled as that of all examples is.
    """
    steps = plan.steps(examples)
    index = jnp.arange(steps * plan.batch_size, dtype=jnp.int32) % examples
    if plan.shuffle:
        ts = train_state
        index = shuffled(jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch), index, examples)
    if sampling is not None:
        index = sampled(sampling, train_state.key, train_state.epoch)[index]
    return index.reshape(steps, plan.batch_size)


def step(trainer: Trainer, plan: Plan, fit_state: FitState, data: Data, rows: Array) -> FitState:
    """Take the epoch's next step, on the batch that its order `rows` has at this position."""
    ts, n, b = fit_state.train_state, plan.met(data), plan.batch_size
    batch = data.take(lax.dynamic_index_in_dim(rows, ts.position, keepdims=False))
    filled = plan.steps(n) * b > n
    real = ts.position * b + jnp.arange(b, dtype=jnp.int32) < n if filled else None
    nonempty = batch.w is None  # a batch that is filled up has an example of its own
    batch = batch._replace(w=weights(batch, real))
    after, observed = trainer.observed_step(ts, batch, nonempty=nonempty)
    met = [observed.loss, *(mean(m, observed.prediction, batch.y, batch.w) for m in plan.metrics)]
    seen = dict(zip(plan.seen, met, strict=True)) | _recorded(plan, ts, observed)
    # A running mean rather than a sum to divide at the end: it rounds less, and a lone step's loss not at all.
    dtype = fit_state.weight.dtype
    weight = jnp.asarray(b, dtype) if batch.w is None else batch.w.sum().astype(dtype)
    if loss_scale_of(ts.opt_state) is not None:  # a step that is left out is part of the row if it can be
        weight = jnp.where(all_finite(observed.grads) | all_finite(seen), weight, 0)
    if batch.w is not None or loss_scale_of(ts.opt_state) is not None:  # whatever was seen of it, infinite perhaps
        seen = {name: jnp.where(weight == 0, 0, value) for name, value in seen.items()}
    total = fit_state.weight + weight
    before, now = (part / jnp.where(total == 0, 1, total) for part in (fit_state.weight, weight))
    so_far = {name: before * fit_state.means[name] + now * value.astype(dtype) for name, value in seen.items()}
    return fit_state._replace(train_state=after._replace(position=ts.position + 1), weight=total, means=so_far)


def close(
    trainer: Trainer,
    plan: Plan,
    fit_state: FitState,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
) -> FitState:
    """End a row: evaluate on validation data, write the history, see whether to stop or to lower learning rates."""
    ts, row, best = fit_state.train_state, fit_state.means, fit_state.best
    if loss_scale_of(ts.opt_state) is not None:  # of which all steps may have been left out
        row = {name: jnp.where(fit_state.weight > 0, value, jnp.nan) for name, value in row.items()}
    judged_ts = averaged(ts) if plan.averaged else ts
    validated = True  # a Python bool where it always is: then there is no branch
    if validation is not None:
        names = [f"validation_{name}" for name in plan.seen]

        def validate(judged_ts):
            judged = figures(trainer, judged_ts, validation, (trainer.loss, *plan.metrics), plan.batch_size)
            return {name: value.astype(fit_state.weight.dtype) for name, value in zip(names, judged, strict=True)}

        if plan.validate_every == 1:
            row = row | validate(judged_ts)
        else:
            # Counted from the first epoch of all, so that a run which goes on is validated where the whole one is.
            n = plan.met(data)
            rows = -(-ts.position // plan.row_steps(n)) + ts.epoch * plan.rows_per_epoch(n)
            validated = rows % plan.validate_every == 0
            missing = lambda _: dict.fromkeys(names, jnp.full((), jnp.nan, fit_state.weight.dtype))
            row = row | lax.cond(validated, validate, missing, judged_ts)
    history = {
        name: rows.at[fit_state.row].set(row[name].astype(rows.dtype)) for name, rows in fit_state.history.items()
    }
    if stopping is not None and best is not None:
        name = plan.monitor(stopping)
        if name not in row:
            raise plan.unknown(stopping, row)
        after = stopping.after(best, judged_ts, row[name].astype(best.value.dtype))
        best = chosen(validated, after, best) if name.startswith("validation_") else after
    ts = ts._replace(opt_state=after_row(ts.opt_state, row, validated=validated))
    weight, none = jax.tree.map(jnp.zeros_like, (fit_state.weight, fit_state.means))
    return FitState(ts, best, history, fit_state.row + 1, weight, none)


def end(fit_state: FitState) -> FitState:
    """End an epoch: after its last row, or the one in which the run stopped."""
    ts = fit_state.train_state
    return fit_state._replace(train_state=ts._replace(epoch=ts.epoch + 1, position=jnp.zeros_like(ts.position)))


def _recorded(plan: Plan, train_state: TrainState, observed: Observed) -> dict[str, Array]:
    """What is recorded of a step, by name: of a tree of several figures each with the name of its leaf."""
    seen = {}
    for name, recorder in plan.record:
        for leaf, figure in named_leaves(recorder(train_state, observed)).items():
            if jnp.ndim(figure) != 0:
                raise ValueError(f"expected record to give scalars, because a row of the history has one; got one of "
                                 f"shape {jnp.shape(figure)} for {name!r}")  # fmt: skip
            full = f"{name}/{leaf}" if leaf else name
            if full in seen or full in plan.names:
                raise ValueError(f"expected what is recorded to have names of its own, because they name history; got "
                                 f"{full!r} twice")  # fmt: skip
            seen[full] = jnp.asarray(figure)
    return seen


def record_names(trainer: Trainer, plan: Plan, train_state: TrainState, data: Data) -> list[str]:
    """Return the names that what is recorded has in the history."""
    if not plan.record:
        return []

    def recorded(train_state, data):
        batch = data.take(jnp.zeros(plan.batch_size, jnp.int32))
        return _recorded(plan, train_state, trainer.observed_step(train_state, batch)[1])

    return list(jax.eval_shape(recorded, train_state, data))
