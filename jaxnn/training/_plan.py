"""The settings of a run, checked together with its data before any work is done."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex, final

from jaxnn.gradients import LossLike, as_loss
from jaxnn.metrics import Metric
from jaxnn.optim import averaged_params
from jaxnn.training._checks import check_data, count, integer
from jaxnn.training._sampled import sample_size
from jaxnn.training._stopping import EarlyStopping
from jaxnn.training._trainer import Observed, Trainer, TrainState
from jaxnn.typing import Data

Recorder = Callable[[TrainState, Observed], Any]
"""A function of the train state before a step and what was seen of the step, that returns a tree of scalars."""


@final
@dataclass(frozen=True)
class Plan:
    """What is static about a run: with a trainer and shapes, it decides the compiled program."""

    epochs: int
    batch_size: int
    metrics: tuple[LossLike, ...]
    validates: bool
    shuffle: bool
    drop_remainder: bool
    steps_per_row: int | None  # None is an epoch
    validate_every: int  # of so many rows the last is validated
    record: tuple[tuple[str, Recorder], ...]
    averaged: bool
    sampled: int | None = None  # of so many rows an epoch is, None is all examples

    def met(self, data: Data) -> int:
        """How many examples an epoch meets, counted as often as it meets them."""
        return data.examples if self.sampled is None else self.sampled

    def steps(self, examples: int) -> int:
        """How many steps an epoch has."""
        return examples // self.batch_size if self.drop_remainder else -(-examples // self.batch_size)

    def row_steps(self, examples: int) -> int:
        """How many steps a row of the history has; the last one of an epoch may have fewer."""
        return min(self.steps_per_row or self.steps(examples), self.steps(examples))

    def rows_per_epoch(self, examples: int) -> int:
        """How many rows of the history an epoch makes."""
        return -(-self.steps(examples) // self.row_steps(examples))

    def rows(self, examples: int) -> int:
        """How many rows the history has."""
        return self.epochs * self.rows_per_epoch(examples)

    def begins(self, row: int, examples: int) -> int:
        """After how many steps of the run a row of the history begins."""
        epochs, rest = divmod(row, self.rows_per_epoch(examples))
        return epochs * self.steps(examples) + rest * self.row_steps(examples)

    def epochs_done(self, row: int, position: int, examples: int) -> int:
        """How many epochs are finished, or stopped within, after so many rows and steps of the next one."""
        per_epoch = self.rows_per_epoch(examples)
        return row // per_epoch if position else -(-row // per_epoch)

    def done(self, row: int, position: int, examples: int) -> int:
        """How many steps of the run are done."""
        return self.epochs_done(row, position, examples) * self.steps(examples) + position

    @property
    def seen(self) -> tuple[str, ...]:
        """The names of what every step records."""
        return ("loss", *(as_loss(metric).name for metric in self.metrics))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the history, but for what is recorded."""
        return (*self.seen, *(f"validation_{name}" for name in self.seen)) if self.validates else self.seen

    def monitor(self, stopping: EarlyStopping) -> str:
        """The name in the history that early stopping watches."""
        return stopping.monitor or ("validation_loss" if self.validates else "loss")

    def unknown(self, stopping: EarlyStopping, names: Iterable[str]) -> ValueError:
        """The error of early stopping that watches what is not in the history."""
        return ValueError(
            f"expected early stopping to watch one of {', '.join(names)}, because these are recorded; "
            f"got {self.monitor(stopping)!r}"
        )


def planned(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    epochs: SupportsIndex,
    batch_size: SupportsIndex,
    validation: Data | None,
    metrics: Iterable[LossLike] | LossLike,
    stopping: EarlyStopping | None,
    shuffle: bool,
    drop_remainder: bool,
    steps_per_row: SupportsIndex | None = None,
    validate_every: SupportsIndex = 1,
    record: Mapping[str, Recorder] | None = None,
    averaged: bool = False,
    sampling: Any = None,
) -> Plan:
    """Return the plan of a run, or raise an error: of its data, its settings, or where it begins.

    Raises:
        TypeError: The data is no `Data`, or a count no int; a metric has a state; what records is no function.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has labels out of range; a count is below 1; what is watched has no history; the optimizer's
            state is another's, or has no average that could be evaluated; sampling gives rows out of range.
        ShapeError: The model cannot take the inputs, or the loss the targets.
    """
    metrics = (metrics,) if callable(metrics) else tuple(metrics)
    if record is not None and not isinstance(record, Mapping):
        raise TypeError(f"expected record as functions by name, because they name history; got {record!r}\n"
                        "  hint: record={'gradient_norm': nn.training.gradient_norm}")  # fmt: skip
    gathered = [repr(metric) for metric in metrics if isinstance(metric, Metric)]
    if gathered:
        raise TypeError(
            f"expected metrics of examples, such as accuracy, because history has their mean; got "
            f"{', '.join(gathered)}, with a state in which all that is seen is gathered\n"
            f"  hint: after the run, evaluate(trainer, train_state, data, {gathered[0]})"
        )
    batch_size = integer(batch_size, "batch_size", why="it is a shape")
    at_most = batch_size if sampling is None else None  # of rows that are sampled there may be more
    check_data(trainer, train_state, data, trainer.loss, batch_size=at_most, name="data")
    if sampling is not None:
        count(batch_size, "batch_size", why="it counts examples")
    if validation is not None:
        check_data(trainer, train_state, validation, trainer.loss, batch_size=None, name="validation")
    plan = Plan(
        count(epochs, "epochs", why="a run makes some"),
        batch_size,
        metrics,
        validation is not None,
        shuffle,
        drop_remainder,
        None if steps_per_row is None else count(steps_per_row, "steps_per_row", why="a row is of some"),
        count(validate_every, "validate_every", why="it counts rows of the history"),
        tuple((record or {}).items()),
        averaged,
        None if sampling is None else sample_size(sampling, train_state, data.examples, batch_size),
    )
    taken = [name for name in [*plan.seen, *dict(plan.record)] if name.startswith("validation_")]
    if taken:
        raise ValueError(f"expected names that do not begin with validation_, because those are of validation; got "
                         f"{', '.join(taken)}")  # fmt: skip
    for name, recorder in plan.record:
        if not callable(recorder):
            raise TypeError(f"expected record to have functions of a train state and what was seen of a step, because "
                            f"each step calls them; got {recorder!r} for {name!r}")  # fmt: skip
    names = [*plan.names, *dict(plan.record)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"expected metrics and records of different names, because they name history; got {twice} twice"
        )
    # Of what is recorded only the first part of a name is known here: the leaves of a tree are when it is traced.
    if stopping is not None and plan.monitor(stopping).split("/")[0] not in names:
        raise plan.unknown(stopping, names)
    if averaged:
        averaged_params(train_state.opt_state)
    trainer.check(train_state)
    return plan
