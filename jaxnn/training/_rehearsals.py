"""Two rehearsals of a run: `dry_run` goes through all its parts once, `overfit` shows that it can learn at all."""

import math
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp

from jaxnn.gradients import LossLike
from jaxnn.training._checks import count
from jaxnn.training._chunk import Report
from jaxnn.training._compiled import compiled
from jaxnn.training._epoch import FitState, order
from jaxnn.training._pace import Pace
from jaxnn.training._plan import Plan, Recorder, planned
from jaxnn.training._progress import banner, clock, say
from jaxnn.training._run import UNMOVED, Outcome, moved, moving, prepare, run, written
from jaxnn.training._sampled import Sampling, as_sampling
from jaxnn.training._stopping import EarlyStopping
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Array, Data


def dry_run(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    epochs: SupportsIndex,
    batch_size: SupportsIndex,
    validation: Data | None = None,
    metrics: Iterable[LossLike] | LossLike = (),
    stopping: EarlyStopping | None = None,
    shuffle: bool = True,
    sampling: Sampling | None = None,
    drop_remainder: bool = False,
    steps_per_row: SupportsIndex | None = None,
    validate_every: SupportsIndex = 1,
    record: Mapping[str, Recorder] | None = None,
    averaged: bool = False,
) -> dict[str, float]:
    """Rehearse a run: check all arguments, compile, take some steps and the last one of an epoch, and end it.

    It goes through all that a long run would stumble over only later, validation for one, says on stderr how
    long it takes, and leaves the train state as it is. The program that it compiles is that of `run` with the
    same arguments, which then begins at once.

    Args:
        trainer: What to train, and how.
        train_state: Where to begin.
        data: Inputs, targets and optional weights.
        epochs: How many passes the run would make.
        batch_size: Examples a step.
        validation: Further data, evaluated once.
        metrics: Losses or metrics of examples to record beside the loss.
        stopping: When the run would stop early.
        shuffle: Whether every epoch has an order of its own.
        sampling: Which rows of the data an epoch meets, if not all, as for `fit`.
        drop_remainder: Whether to leave out the batch that would have to be filled up.
        steps_per_row: After how many steps of an epoch, and at its end, the history would have a row.
        validate_every: Of so many rows one would be validated.
        record: What else to keep of every step, under names, as for `fit`.
        averaged: Whether validation is with the averages that the optimizer keeps.

    Returns:
        The last row of the history of an epoch of only these steps.

    Raises:
        TypeError: As `run` does.
        ValueError: As `run` does.
        ShapeError: As `run` does.

    Warns:
        UserWarning: No parameter has moved.
        RuntimeWarning: The loss is not finite.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.1))
    >>> train, ts = nn.Data(x, 3 * x + 1), t.init(jax.random.key(0), x)
    >>> sorted(nn.dry_run(t, ts, train, epochs=20, batch_size=16, validation=train))
    ['loss', 'validation_loss']
    """
    clicked = time.perf_counter()
    begun = prepare(
        trainer, _between_epochs(train_state), data, epochs=epochs, batch_size=batch_size, validation=validation,
        metrics=metrics, stopping=stopping, shuffle=shuffle, drop_remainder=drop_remainder,
        steps_per_row=steps_per_row, validate_every=validate_every, record=record, averaged=averaged, sampling=sampling,
    )  # fmt: skip
    plan, n = begun.plan, begun.plan.met(data)
    steps = plan.steps(n)
    say(banner(plan, begun.fit_state.train_state, n))
    fit_state, rows, _ = begun.compile()
    say(f"compiled in {time.perf_counter() - clicked:.2f} s")

    def timed(fit_state: FitState, rows: Array, steps: int) -> tuple[FitState, Array, Report, float]:
        since = time.perf_counter()
        after = jax.block_until_ready(begun.advance(fit_state, rows, steps))
        return *after, time.perf_counter() - since

    pace, taken, took = Pace(), 0, 0.0
    for _ in range(2):  # the first step is cold: the next ones tell how long one takes
        if more := min(pace.size(), steps - 1 - taken):
            fit_state, rows, _, seconds = timed(fit_state, rows, more)
            pace.finished(more)
            taken, took = taken + more, seconds / more
    # On to the last step, whose chunk also ends the epoch.
    last = jnp.full_like(fit_state.train_state.position, steps - 1)
    due = jnp.full_like(fit_state.train_state.epoch, plan.validate_every - 1)  # an epoch that ends with validation
    best = fit_state.best and fit_state.best._replace(stopped=jnp.zeros((), bool))  # so few steps decide nothing
    fit_state = fit_state._replace(
        train_state=fit_state.train_state._replace(position=last, epoch=due),
        row=jnp.zeros_like(fit_state.row),
        best=best,
    )
    fit_state, rows, report, took_last = timed(fit_state, rows, 1)
    say(f"a step took {1e3 * took:.3g} ms, the last of an epoch and its end {1e3 * took_last:.3g} ms, so the run will "
        f"take about {clock(plan.epochs * ((steps - 1) * took + took_last))}")  # fmt: skip
    row = written(plan, jax.device_get(report.history), 0)
    if not moved(begun.moving, moving(fit_state.train_state)):
        warnings.warn(UNMOVED, UserWarning, stacklevel=2)
    if not math.isfinite(row["loss"]):
        warnings.warn("the loss of the first steps is not finite", RuntimeWarning, stacklevel=2)
    say(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
    return row


def overfit(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    batch_size: SupportsIndex,
    steps: SupportsIndex = 500,
    metrics: Iterable[LossLike] | LossLike = (),
    shuffle: bool = True,
    sampling: Sampling | None = None,
    progress: bool = True,
) -> Outcome:
    """Train on one batch again and again: the loss of a sound model and optimizer goes to nearly zero.

    If it does not, the cause is to be found here, in seconds: a wrong loss, targets that do not belong to
    their inputs, a gradient that is lost, a learning rate far off. (With dropout, or with targets that differ for
    equal inputs, the loss has a floor above zero.)

    Args:
        trainer: What to train, and how.
        train_state: Where to begin.
        data: Inputs, targets and optional weights; of these, the batch that a run would begin with.
        batch_size: Examples of this batch.
        steps: How often to take it.
        metrics: Losses or metrics of examples to record beside the loss.
        shuffle: Whether the run would; without, the batch is the first examples.
        sampling: Which rows of the data an epoch of the run would meet, if not all, as for `fit`.
        progress: Whether to show progress, as `run` does.

    Returns:
        As `run`: the last train state, and a history with one row a step.

    Raises:
        TypeError: As `run` does.
        ValueError: As `run` does; `steps` is below 1.
        ShapeError: As `run` does.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.serial(nn.Dense(16), nn.tanh, nn.Dense(1)), nn.losses.mse, nn.adam(0.03))
    >>> ts = t.init(jax.random.key(0), x)
    >>> _, history = nn.overfit(t, ts, nn.Data(x, jnp.sin(3 * x)), batch_size=8, progress=False)
    >>> bool(history["loss"][-1] < 1e-3 < history["loss"][0])
    True
    """
    ts, metrics = _between_epochs(train_state), (metrics,) if callable(metrics) else tuple(metrics)
    steps, sampling = count(steps, "steps", why="each takes the batch once"), as_sampling(sampling)
    plan = planned(
        trainer, ts, data, epochs=1, batch_size=batch_size, validation=None, metrics=metrics, stopping=None,
        shuffle=shuffle, drop_remainder=True, sampling=sampling,
    )  # fmt: skip
    batch = data.take(_first((plan, plan.met(data)), ts, sampling))
    return run(
        trainer, ts, batch, epochs=steps, batch_size=plan.batch_size, metrics=metrics, shuffle=False, progress=progress
    )


@compiled
def _first(static: tuple[Plan, int], train_state: TrainState, sampling: Any) -> Array:
    """Which examples the first step of an epoch meets."""
    plan, examples = static
    return order(plan, train_state, examples, sampling)[0]


def _between_epochs(train_state: TrainState) -> TrainState:
    return train_state._replace(position=jnp.zeros((), jnp.int32))
