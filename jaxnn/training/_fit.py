"""`fit`: a whole training run as one pure function."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.gradients import LossLike, as_loss
from jaxnn.losses import weighted_mean
from jaxnn.training._checks import check_data
from jaxnn.training._compiled import compiled
from jaxnn.training._evaluate import means, weights
from jaxnn.training._order import shuffled
from jaxnn.training._stopping import Best, EarlyStopping, while_loop
from jaxnn.training._trainer import SHUFFLE, Trainer, TrainState
from jaxnn.typing import Array, Data

History = dict[str, Array]


class FitState(NamedTuple):
    """All that changes during `fit`: the one carry of its loop."""

    train_state: TrainState
    best: Best | None  # None without early stopping
    history: History  # one row an epoch, NaN for epochs that have not been
    row: Array  # where the next epoch's row goes, shape (), int32


@final
@dataclass(frozen=True)
class _Plan:
    """The static settings of a run."""

    epochs: int
    batch_size: int
    metrics: tuple[LossLike, ...]
    shuffle: bool
    drop_remainder: bool
    checkpoint: bool


def fit(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    validation: Data | None = None,
    metrics: Iterable[LossLike] | LossLike = (),
    stopping: EarlyStopping | None = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
    checkpoint: bool = False,
) -> tuple[TrainState, History]:
    """Train for a number of epochs, in one compiled program.

    A pure function: `jit`, `vmap` over learning rates and keys, and `grad` with respect to a learning rate
    apply to it, early stopping included; under `vmap` a member that stopped rests while others go on.
    Called by itself it compiles, once for the same trainer object and shapes. It never changes its arguments.

    A run that goes on from the train state of an earlier one is the same run, but early stopping begins to
    count anew. With early stopping there is a derivative in reverse mode only, and only a first one: leave
    `stopping` out for forward mode.

    An epoch is ceil(n / batch_size) steps; the last batch is filled up from the epoch's beginning, with
    weight 0 for these repeats (batch normalisation sees them). With `drop_remainder` it is floor(n /
    batch_size).

    Args:
        trainer: What to train, and how.
        train_state: Where to begin; from `trainer.init`, or from an earlier `fit`, which goes on.
        data: Inputs, targets and optional weights.
        epochs: How many passes over the data.
        batch_size: Examples a step.
        validation: Further data to evaluate after every epoch.
        metrics: Losses or metrics to record beside the loss, under their names.
        stopping: When to stop early; its numbers may be tracers.
        shuffle: Whether every epoch has an order of its own.
        drop_remainder: Whether to leave out the batch that would have to be filled up.
        checkpoint: Whether a gradient through the run computes each epoch again rather than keep what
            every step of every epoch remembers. (With early stopping it always does.)

    Returns:
        The last train state (with early stopping, with the best parameters and layer state) and the
        history: for `"loss"`, each metric, and these of validation as `"validation_..."`, an array of
        shape `(epochs,)`, NaN after a stop. The loss is the mean over the epoch's steps, while parameters
        move.

    Raises:
        TypeError: The data is no `Data`, or `batch_size` no int.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has labels out of range; what is watched has no history; the optimizer's state is
            another's.
        ShapeError: The model cannot take the inputs, or the loss the targets.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.1))
    >>> ts = t.init(jax.random.key(0), x)
    >>> ts, history = nn.fit(t, ts, nn.Data(x, 3 * x + 1), epochs=20, batch_size=16)
    >>> ts.params["b"].round(1), history["loss"].shape
    (Array([1.], dtype=float32), (20,))
    """
    metrics = (metrics,) if callable(metrics) else tuple(metrics)
    if not isinstance(batch_size, int):
        raise TypeError(f"expected batch_size to be an int, because it is a shape; got {batch_size!r}")
    check_data(trainer, train_state, data, trainer.loss, batch_size=batch_size, name="data")
    if validation is not None:
        check_data(trainer, train_state, validation, trainer.loss, batch_size=None, name="validation")
    plan = _Plan(epochs, batch_size, metrics, shuffle, drop_remainder, checkpoint)
    _check_plan(plan, validation, stopping)
    trainer.check(train_state)
    return _fit((trainer, plan), train_state, data, validation, stopping)


@compiled
def _fit(
    static: tuple[Trainer, _Plan],
    train_state: TrainState,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
) -> tuple[TrainState, History]:
    trainer, plan = static
    data, validation = data.on_device(), None if validation is None else validation.on_device()
    best = None if stopping is None else stopping.begin(train_state)
    missing = jnp.full(plan.epochs, jnp.nan, jnp.result_type(float))
    history = dict.fromkeys(_names(plan, validation), missing)
    fit_state = FitState(train_state, best, history, jnp.zeros((), jnp.int32))

    def epoch(fit_state: FitState) -> FitState:
        ts, row = train_epoch(trainer, plan, fit_state.train_state, data)
        if validation is not None:
            judged = means(trainer, ts, validation, (trainer.loss, *plan.metrics), plan.batch_size)
            row |= dict(zip((f"validation_{name}" for name in row), judged, strict=True))
        row = {name: value.astype(missing.dtype) for name, value in row.items()}
        history = {name: fit_state.history[name].at[fit_state.row].set(row[name]) for name in row}
        best = fit_state.best
        if stopping is not None and best is not None:
            best = stopping.after(best, ts, row[_monitor(stopping, validation)])
        return FitState(ts, best, history, fit_state.row + 1)

    if stopping is None:
        body = jax.checkpoint(epoch) if plan.checkpoint else epoch
        fit_state, _ = lax.scan(lambda s, _: (body(s), None), fit_state, length=plan.epochs)
        return fit_state.train_state, fit_state.history
    try:
        end = while_loop(lambda s: ~s.best.stopped, epoch, fit_state, max_steps=plan.epochs)
    except TypeError as error:
        if "forward-mode" in str(error):
            error.add_note("  hint: fit with early stopping has reverse mode only; leave out `stopping`")
        raise
    assert end.best is not None
    return end.train_state._replace(params=end.best.params, state=end.best.state), end.history


def train_epoch(trainer: Trainer, plan: _Plan, ts: TrainState, data: Data) -> tuple[TrainState, dict[str, Array]]:
    """Take the steps of one epoch; return the mean loss and metrics of its examples as they were met."""
    n, b = data.examples, plan.batch_size
    steps = n // b if plan.drop_remainder else -(-n // b)
    filled = steps * b > n
    position = jnp.arange(steps * b)
    order = position % n
    if plan.shuffle:
        key = jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch)
        order = shuffled(key, order, n)

    def step(ts, rows):
        index, position = rows
        batch = data.take(index)
        batch = batch._replace(w=weights(batch, position < n if filled else None))
        ts, info = trainer.step(ts, batch)
        seen = [weighted_mean(as_loss(m)(info.prediction, batch.y), batch.w) for m in plan.metrics]
        total = jnp.asarray(b, info.loss.dtype) if batch.w is None else batch.w.sum().astype(info.loss.dtype)
        return ts, ((info.loss, *seen), total)

    ts, (each, total) = lax.scan(step, ts, (order.reshape(steps, b), position.reshape(steps, b)))
    names = ("loss", *map(_name, plan.metrics))
    row = {name: weighted_mean(value, total) for name, value in zip(names, each, strict=True)}
    return ts._replace(epoch=ts.epoch + 1), row


def _name(metric: LossLike) -> str:
    return as_loss(metric).name


def _names(plan: _Plan, validation: Data | None) -> list[str]:
    names = ["loss", *map(_name, plan.metrics)]
    return names if validation is None else [*names, *(f"validation_{name}" for name in names)]


def _monitor(stopping: EarlyStopping, validation: Data | None) -> str:
    return stopping.monitor or ("loss" if validation is None else "validation_loss")


def _check_plan(plan: _Plan, validation: Data | None, stopping: EarlyStopping | None) -> None:
    names = _names(plan, validation)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected metrics of different names, because they name history; got {twice} twice")
    if stopping is not None and _monitor(stopping, validation) not in names:
        raise ValueError(f"expected early stopping to watch one of {', '.join(names)}, because these are recorded; "
                         f"got {_monitor(stopping, validation)!r}")  # fmt: skip
    if not isinstance(plan.epochs, int) or plan.epochs < 1:
        raise ValueError(f"expected epochs of at least 1, because a run makes some; got {plan.epochs}")
