"""What a run shows of itself on stderr: a bar on a terminal or in a notebook, a line now and then anywhere else."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, final

import jax
import numpy as np

from jaxnn import tree
from jaxnn.training._chunk import Report
from jaxnn.training._pace import Pace
from jaxnn.training._plan import Plan
from jaxnn.training._trainer import TrainState


class Sink(Protocol):
    """Where progress goes."""

    def say(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def show(self, done: int, text: str, *, last: bool) -> None:
        """Show how far the run is, in steps and in words that the next ones may replace."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Make room for what others write within."""
        ...


@contextmanager
def sink(total: int, done: int, *, progress: bool) -> Iterator[Sink]:
    """Yield what shows a run of `total` steps of which some are done: a bar, lines, or nothing."""
    if not progress:
        yield _Silence()
        return
    notebook = "ipykernel.zmqshell" in sys.modules  # which is how tqdm knows one
    bar = _tqdm(notebook=notebook) if notebook or _is_terminal() else None
    if bar is None:
        yield Lines(total - done, done)
        return
    # A notebook's bar has a width of its own, and is drawn only if no other is asked for.
    layout = "{percentage:3.0f}%|" + ("{bar}" if notebook else "{bar:20}") + "| {desc}"
    with bar(total=total, initial=done, file=sys.stderr, dynamic_ncols=True, bar_format=layout) as shown:
        yield _Bar(shown)


def _is_terminal() -> bool:
    """Whether there is a terminal to draw on; one without lines or columns only records (`script`, some containers)."""
    if not sys.stderr.isatty():
        return False
    try:
        return min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except OSError:  # what stands in for stderr says that it is one
        return True


def _tqdm(*, notebook: bool) -> Callable | None:
    try:
        if not notebook:
            from tqdm import tqdm
        else:
            with warnings.catch_warnings():  # without ipywidgets it draws with characters, and says so
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
    except ImportError:  # lines do as well
        return None
    return tqdm


@final
class _Silence:
    def say(self, text: str) -> None:
        pass

    def show(self, done: int, text: str, *, last: bool) -> None:
        pass

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()


@final
class _Bar:
    def __init__(self, bar) -> None:
        self._bar = bar

    def say(self, text: str) -> None:
        self._bar.write(text, file=self._bar.fp)

    def show(self, done: int, text: str, *, last: bool) -> None:
        self._bar.n = done
        self._bar.set_description_str(text)  # which draws

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._bar.clear()
        yield
        self._bar.refresh()


@final
class Lines:
    """Lines for a log: ten seconds or more apart, about a hundred in the longest run, and always the last.

    >>> import contextlib, sys
    >>> ticks = iter([0, 5, 10, 12, 3000, 3001])
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     lines = Lines(100, clock=lambda: next(ticks))
    ...     for done in (1, 2, 3, 99):
    ...         lines.show(done, f"step {done}", last=False)
    ...     lines.show(100, "step 100", last=True)
    step 2
    step 99
    step 100
    """

    def __init__(self, steps: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._done, self._clock = steps, done, clock
        self._begun = self._shown = clock()

    def say(self, text: str) -> None:
        say(text)

    def show(self, done: int, text: str, *, last: bool) -> None:
        now = self._clock()
        expected = (now - self._begun) * self._steps / max(done - self._done, 1)
        if last or now - self._shown >= max(10, expected / 100):
            self._shown = now
            self.say(text)

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()


def say(text: str) -> None:
    """Write a line to stderr, now."""
    print(text, file=sys.stderr, flush=True)


def banner(plan: Plan, train_state: TrainState, examples: int) -> str:
    """Say what is trained, in which precision, on which device, and how many steps it will take."""
    ts = train_state
    devices = sorted(ts.step.devices(), key=lambda device: device.id)
    dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves((ts.params, ts.frozen))})
    held = tree.count(ts.frozen)
    return (
        f"{tree.count(ts.params) + held:,} parameters{f', {held:,} of them frozen,' if held else ''} "
        f"in {' and '.join(dtypes) or 'no dtype'} on {len(devices)} x {devices[0].device_kind}; "
        f"{plan.epochs:,} epochs of {plan.steps(examples):,} steps: {examples:,} examples, {plan.batch_size:,} a step"
    )


def status(plan: Plan, examples: int, report: Report, pace: Pace) -> str:
    """Say where a run is: epoch, step and time left, mean loss of this row, validation of the last, and speed.

    What a narrow terminal has no room for is at the end.
    """
    steps, row, position = plan.steps(examples), int(report.row), int(report.position)
    epochs = plan.epochs_done(row, position, examples)
    epoch, step = (epochs, steps) if epochs and not position else (epochs + 1, position)
    just_ended = row > 0 and position % plan.row_steps(examples) == 0
    loss = report.history["loss"][row - 1] if just_ended else report.loss
    words = [f"epoch {epoch}/{plan.epochs}", f"step {step}/{steps}"]
    if report.going:
        words.append(f"{clock(pace.seconds((plan.epochs - epochs) * steps - position))} left")
    else:
        whole = row == plan.rows(examples)
        words.append(f"{'took' if whole else 'stopped early after'} {clock(pace.elapsed)}")
    words.append(f"loss {loss:.4g}")
    for name in plan.names:
        if name not in plan.seen:
            seen = report.history[name][:row]
            seen = seen if plan.validate_every == 1 else seen[~np.isnan(seen)]  # not every row has one
            words += [f"{name} {seen[-1]:.4g}"] if len(seen) else []
    if seconds := pace.seconds(steps):
        words.append(f"{min(examples, steps * plan.batch_size) / seconds:,.0f} examples/s")
    return ", ".join(words)


def not_finite(before: tuple[int, int], report: Report, plan: Plan, examples: int) -> tuple[int, int, int] | None:
    """Find a loss that is NaN or infinite: return its epoch, and the first and last step it may be of, from 1.

    Args:
        before: Rows of the history, and steps of the epoch under way, that were done before the chunk.
        report: What was seen after the chunk.
        plan: Of the run.
        examples: How many there are.
    """
    end, done = int(report.row), plan.done(int(report.row), int(report.position), examples)
    under_way = done > plan.begins(end, examples)
    losses = np.append(report.history["loss"][before[0] : end], report.loss if under_way else 0.0)
    bad = ~np.isfinite(losses)
    if not bad.any():
        return None
    row = before[0] + int(bad.argmax())
    first = max(plan.begins(row, examples), plan.done(*before, examples))
    last = min(plan.begins(row + 1, examples), done)
    return row // plan.rows_per_epoch(examples) + 1, first + 1, last


ENDED = "interrupted when nothing was left to do: the run is complete"


def interrupted_at(plan: Plan, examples: int, row: int, position: int) -> str:
    """Say where a run was interrupted, and how one goes on."""
    epochs, done = plan.epochs, plan.epochs_done(row, position, examples)
    where = f"in epoch {done + 1} of {epochs}, after {position} of its {plan.steps(examples)} steps"
    if not position:
        where = f"after epoch {done} of {epochs}"
    return (
        f"interrupted {where}; to go on from what this returns: "
        f"nn.run(trainer, train_state, data, epochs={epochs - done}, ...)"
    )


def clock(seconds: float) -> str:
    """Write a duration as a clock does.

    >>> clock(7.4), clock(754.0), clock(90_000.0)
    ('0:07', '12:34', '25:00:00')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
