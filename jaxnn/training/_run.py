"""`run`: `fit` in chunks, driven from the host, with what only a host can do."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, SupportsIndex, final

import jax
import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.gradients import LossLike
from jaxnn.optim import loss_scale_of
from jaxnn.training._checks import count
from jaxnn.training._chunk import Chunk, Report, program, start
from jaxnn.training._compiled import transforming
from jaxnn.training._epoch import FitState, History, record_names
from jaxnn.training._interrupt import interruptible
from jaxnn.training._pace import Pace
from jaxnn.training._plan import Plan, Recorder, planned
from jaxnn.training._progress import ENDED, banner, interrupted_at, not_finite, say, sink, status
from jaxnn.training._sampled import Sampling, as_sampling
from jaxnn.training._stopping import EarlyStopping
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Array, Data

UNMOVED = (
    "no parameter has moved: is the learning rate 0 (a schedule may begin there), is every weight 0, or is the "
    "gradient lost on the way?\n  hint: nn.compare shows the gradient of every parameter"
)


class _Pair(NamedTuple):
    train_state: TrainState  # the last one; with early stopping, with the best parameters and layer state
    history: History  # one row an epoch, NaN for epochs that have not been


@final
class Outcome(_Pair):
    """What `run` returns: `train_state, history = run(...)`, as of `fit`; and `interrupted`.

    It is a pair, so what maps over it as a tree leaves `interrupted` behind.

    >>> import jax, jaxnn as nn
    >>> t, x = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1)), jnp.ones((8, 1))
    >>> outcome = nn.run(t, t.init(jax.random.key(0), x), nn.Data(x, 2 * x), epochs=3, batch_size=4, progress=False)
    >>> train_state, history = outcome
    >>> len(history["loss"]), outcome.interrupted
    (3, False)
    """

    interrupted: bool  # whether Ctrl-C was pressed while it ran, even if nothing was left to interrupt

    def __new__(cls, train_state: TrainState, history: History, interrupted: bool = False) -> "Outcome":
        outcome = super().__new__(cls, train_state, history)
        outcome.interrupted = interrupted
        return outcome


def run(
    trainer: Trainer,
    train_state: TrainState | FitState,
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
    chunk: SupportsIndex | None = None,
    progress: bool = True,
    on_epoch: Callable[[int, dict[str, float]], object] | None = None,
    on_interrupt: Callable[[FitState], object] | None = None,
) -> Outcome:
    """Train as `fit` does, in sight: with a progress bar, a warning if something is amiss, and a Ctrl-C that is kind.

    The same steps in the same order, so on a CPU the same train state bit for bit, and the same history to rounding.
    They are taken in chunks of about a quarter of a second, each a call of one compiled program, and what a chunk
    reports is fetched while the next one runs, so the device never waits. The state is copied once and then handed from
    chunk to chunk in place; the one passed in stays as it is, whatever happens.

    Ctrl-C ends the run after the chunk that is under way, and a second one as soon as Python comes to it, with
    `KeyboardInterrupt`. (That is in the main thread; in others Python delivers no signal.) An interrupted run
    says so on stderr, and returns the train state where it was, in the middle of an epoch perhaps, not the
    best one, and the history so far. What it returns has `interrupted` set, for loops over runs:

        for rate in rates:
            outcome = nn.run(trainer(rate), train_state, data, epochs=20, batch_size=32)
            if outcome.interrupted:
                break

    There are two ways to go on from an interruption, with all other arguments as they were:

    - `run(trainer, train_state, data, epochs=...)` with what it returned and the epochs that are left, the one
      under way counted as one. It takes the rest of that epoch, and so the very steps that the interrupted
      run would have taken. That epoch's loss in the new history is of the rest alone, and early stopping
      begins to count anew.
    - with what `on_interrupt` was given in place of the train state, and `epochs` as before: then the
      result is that of the run without interruption, history and early stopping included.

    Args:
        trainer: What to train, and how.
        train_state: Where to begin; from `trainer.init`, or from an earlier `run` or `fit`, which goes on.
            Or a `FitState`, to finish the run that it is of.
        data: Inputs, targets and optional weights.
        epochs: How many passes over the data; of a `FitState`, those of its whole run.
        batch_size: Examples a step.
        validation: Further data to evaluate after every epoch.
        metrics: Losses or metrics of examples to record beside the loss, under their names. (Those with a state are for
            `evaluate`; and where a model gives logits, those of probabilities are NaN.)
        stopping: When to stop early.
        shuffle: Whether every epoch has an order of its own.
        sampling: Which rows of the data an epoch meets, if not all: a function `(key) -> rows`, drawn from anew in
            every epoch, such as `nn.data.oversampling(data.y)`; or an array of rows, such as a bootstrap sample. An
            epoch then has as many examples as there are rows. A function that is made anew compiles anew, as a lambda
            in the call; those of `nn.data` do not.
        drop_remainder: Whether to leave out the batch that would have to be filled up.
        steps_per_row: After how many steps of an epoch, and at its end, the history has a row, validation is evaluated
            and early stopping looks; by default only at the end.
        validate_every: Of so many rows, counted from the first epoch of all, the last is validated; the others are NaN.
        record: What else to keep of every step, under names, as for `fit`.
        averaged: Whether validation, and early stopping's best parameters, are those of the average that the
            optimizer keeps.
        chunk: Steps a chunk, for those who want to know where exactly it may pause.
        progress: Whether to show a banner and a bar on stderr, or lines if that is no terminal and no notebook
            (or tqdm is not installed).
        on_epoch: Called after every epoch, or every row if there are more, with its number, from 1, and its row of the
            history as floats, to print or to log; up to a chunk late, so the device does not wait. What it raises
            ends the run.
        on_interrupt: Called with the whole state of the run if it is interrupted, and before what `on_epoch`
            raises goes on to the caller.

    Returns:
        What `fit` returns, the last train state (with early stopping, with the best parameters and layer state)
        and the history; with `interrupted`, whether Ctrl-C was pressed, be it that the run was just complete.

    Raises:
        TypeError: As `fit` does; `chunk` is no int; or `run` is called within `jit`, `vmap`, `grad` and the like.
        ValueError: As `fit` does; `chunk` is below 1; the train state is further in its epoch than an
            epoch goes; a `FitState` is that of a run with other epochs, rows, metrics, records, validation or stopping.
        ShapeError: As `fit` does.

    Warns:
        UserWarning: No parameter has moved after the first two steps (or chunks).
        RuntimeWarning: The loss is not finite. The run goes on.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.1))
    >>> ts = t.init(jax.random.key(0), x)
    >>> ts, history = nn.run(t, ts, nn.Data(x, 3 * x + 1), epochs=20, batch_size=16, progress=False)
    >>> ts.params["b"].round(1), history["loss"].shape
    (Array([1.], dtype=float32), (20,))
    """
    clicked = time.perf_counter()
    chunk = None if chunk is None else count(chunk, "chunk", why="it counts steps")
    begun = prepare(
        trainer, train_state, data, epochs=epochs, batch_size=batch_size, validation=validation, metrics=metrics,
        stopping=stopping, shuffle=shuffle, drop_remainder=drop_remainder, steps_per_row=steps_per_row,
        validate_every=validate_every, record=record, averaged=averaged, sampling=sampling,
    )  # fmt: skip
    plan, n, fit_state = begun.plan, begun.plan.met(data), begun.fit_state
    steps, pace, warned = plan.steps(n), Pace(chunk), False
    at = int(fit_state.row), int(fit_state.train_state.position)
    done, total = plan.done(*at, n), plan.epochs * steps
    with interruptible() as interrupted, sink(total, done, progress=progress) as shown:
        shown.say(banner(plan, fit_state.train_state, n))
        fit_state, rows, report = begun.compile()
        shown.say(f"compiled in {time.perf_counter() - clicked:.2f} s")
        left = total - done if report.going else 0  # nothing is, if it stopped early before
        chunks = _chunks(begun.advance, fit_state, rows, left, pace, interrupted)
        for i, (fit_state, report) in enumerate(chunks):
            if i == 0 and not moved(begun.moving, moving(fit_state.train_state)):
                with shown.aside():
                    warnings.warn(UNMOVED, UserWarning, stacklevel=2)
            where = not_finite(at, report, plan, n)
            if where is not None and not warned:
                with shown.aside():
                    warnings.warn(_gone_wrong(*where), RuntimeWarning, stacklevel=2)
                warned = True
            before, at = at[0], (int(report.row), int(report.position))
            shown.show(plan.done(*at, n), status(plan, n, report, pace), last=not report.going)
            if on_epoch is not None and at[0] > before:
                with shown.aside(), _kept(fit_state, on_interrupt):
                    for row in range(before, at[0]):
                        on_epoch(row + 1, written(plan, report.history, row))
    if not report.going:
        if interrupted():
            say(ENDED)
        return Outcome(*fit_state.finished(), interrupted=interrupted())
    say(interrupted_at(plan, n, *at))
    if on_interrupt is not None:
        on_interrupt(fit_state)
    return Outcome(fit_state.train_state, fit_state.history, interrupted=True)


def written(plan: Plan, history: Mapping[str, Any], row: int) -> dict[str, float]:
    """Return a row of the history: loss, metrics and validation, and then what is recorded."""
    names = [*plan.names, *(name for name in history if name not in plan.names)]
    return {name: float(history[name][row]) for name in names}


def _gone_wrong(epoch: int, first: int, last: int) -> str:
    where = f"at step {first}" if first == last else f"at one of the steps {first} to {last}"
    finer = "" if first == last else "; with chunk=1 this warning says at which step"
    return (
        f"the loss is not finite, for the first time in epoch {epoch} {where} of the run, and the run goes on\n"
        f"  hint: a smaller learning rate is the usual cure{finer}"
    )


@contextmanager
def _kept(fit_state: FitState, keep: Callable[[FitState], object] | None) -> Iterator[None]:
    """Hand the state over if something is raised within."""
    try:
        yield
    except BaseException:
        if keep is not None:
            keep(fit_state)
        raise


def _chunks(
    advance: Chunk, fit_state: FitState, rows: Array, left: int, pace: Pace, interrupted: Callable[[], bool]
) -> Iterator[tuple[FitState, Report]]:
    """Take chunks to the end, or until interrupted; yield the newest state, and what the chunk before it reported.

    The state is given away at the next turn. At the last one there is no chunk after, and the two belong together.
    """
    late = None
    pace.begin()
    while left > 0 and not interrupted():
        steps = min(pace.size(), left)
        fit_state, rows, report = advance(fit_state, rows, steps)
        left -= steps
        if late is not None:
            seen = _fetch(pace, *late)
            yield fit_state, seen
            if not seen.going:  # it stopped early, and the chunk after found nothing to do
                return
        late = steps, report
    if late is not None:
        yield fit_state, _fetch(pace, *late)


def _fetch(pace: Pace, steps: int, report: Report) -> Report:
    """Wait for what a chunk of so many steps reported."""
    seen = jax.device_get(report)
    pace.finished(steps)
    return seen


@jax.jit
def moved(before: Any, after: Any) -> Array:
    """Whether any number of one tree differs from that of the other, or there is none that could."""
    differs = [(a != b).any() for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]
    return jnp.stack(differs).any() if differs else jnp.ones((), bool)


def moving(train_state: TrainState) -> Any:
    """Return what a step should move: the parameters, or, where it is skipped for its gradient, the loss scale."""
    return train_state.params, loss_scale_of(train_state.opt_state)


class Begun(NamedTuple):
    """A run that is checked and may begin."""

    plan: Plan
    advance: Chunk
    fit_state: FitState  # copied: to be given away
    rows: Array  # the order of its epoch, likewise
    moving: Any  # before the first step: the caller's, which stay

    def compile(self) -> tuple[FitState, Array, Report]:
        """Compile by taking a chunk of no steps; return state and order, which are as they were."""
        return jax.block_until_ready(self.advance(self.fit_state, self.rows, 0))


def prepare(
    trainer: Trainer,
    state: TrainState | FitState,
    data: Data,
    *,
    validation: Data | None,
    stopping: EarlyStopping | None,
    sampling: Sampling | None,
    **settings: Any,
) -> Begun:
    """Check all arguments and copy the state, or raise what `run` raises."""
    if transforming():
        raise TypeError("expected to be called outside of jit, vmap, grad and the like, because the host drives a run; "
                        "got a call within one\n  hint: fit is the same and may be transformed")  # fmt: skip
    ts = state.train_state if isinstance(state, FitState) else state
    sampling = as_sampling(sampling)
    plan = planned(trainer, ts, data, validation=validation, stopping=stopping, sampling=sampling, **settings)
    n, position = plan.met(data), values(ts.position)
    if position is not None and not 0 <= position < plan.steps(n):
        raise ValueError("expected a train state within its epoch, which with these data and batch_size has "
                         f"{plan.steps(n)} steps; got one after {position}\n  hint: go on with the arguments of the "
                         "run that was interrupted, or begin the epoch again: "
                         "train_state._replace(position=jnp.zeros((), jnp.int32))")  # fmt: skip
    if isinstance(state, FitState):
        _check_same(plan, state, [*plan.names, *record_names(trainer, plan, ts, data)], n, stopping)
    data, validation = data.on_device(), None if validation is None else validation.on_device()
    fit_state, rows = start((trainer, plan), state, data, stopping, sampling)
    return Begun(plan, program(trainer, plan, data, validation, stopping, sampling), fit_state, rows, moving(ts))


def _check_same(plan: Plan, state: FitState, names: list[str], examples: int, stopping: EarlyStopping | None) -> None:
    per_epoch = plan.rows_per_epoch(examples)

    def kind(rows, names, stops):
        length = f"{rows} epochs" if per_epoch == 1 else f"{rows} rows of history"
        return f"{length} that records {', '.join(sorted(names))}, {'with' if stops else 'without'} early stopping"

    expected = kind(plan.rows(examples), names, stopping is not None)
    got = kind(len(state.history["loss"]), state.history, state.best is not None)
    if got != expected:
        raise ValueError(f"expected the state of a run of {expected}, because that is asked for; got that of {got}\n"
                         "  hint: a run is finished with the arguments that it was begun with")  # fmt: skip
