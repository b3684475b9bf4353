"""The settings of a run, checked together with its data before any work is done."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsIndex, final

from jaxnn.gradients import LossLike, as_loss
from jaxnn.metrics import Metric
from jaxnn.training._checks import check_data, count, integer
from jaxnn.training._stopping import EarlyStopping
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Data


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

    def steps(self, examples: int) -> int:
        """How many steps an epoch has."""
        return examples // self.batch_size if self.drop_remainder else -(-examples // self.batch_size)

    @property
    def seen(self) -> tuple[str, ...]:
        """The names of what every step records."""
        return ("loss", *(as_loss(metric).name for metric in self.metrics))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the history: one row each epoch."""
        return (*self.seen, *(f"validation_{name}" for name in self.seen)) if self.validates else self.seen

    def monitor(self, stopping: EarlyStopping) -> str:
        """The name in the history that early stopping watches."""
        return stopping.monitor or ("validation_loss" if self.validates else "loss")


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
) -> Plan:
    """Return the plan of a run, or raise an error: of its data, its settings, or where it begins.

    Raises:
        TypeError: The data is no `Data`, or `epochs` or `batch_size` no int; a metric has a state.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has labels out of range; what is watched has no history; the optimizer's state is
            another's.
        ShapeError: The model cannot take the inputs, or the loss the targets.
    """
    metrics = (metrics,) if callable(metrics) else tuple(metrics)
    gathered = [repr(metric) for metric in metrics if isinstance(metric, Metric)]
    if gathered:
        raise TypeError(
            f"expected metrics of examples, such as accuracy, because history has their mean; got "
            f"{', '.join(gathered)}, with a state in which all that is seen is gathered\n"
            f"  hint: after the run, evaluate(trainer, train_state, data, {gathered[0]})"
        )
    batch_size = integer(batch_size, "batch_size", why="it is a shape")
    check_data(trainer, train_state, data, trainer.loss, batch_size=batch_size, name="data")
    if validation is not None:
        check_data(trainer, train_state, validation, trainer.loss, batch_size=None, name="validation")
    plan = Plan(
        count(epochs, "epochs", why="a run makes some"),
        batch_size,
        metrics,
        validation is not None,
        shuffle,
        drop_remainder,
    )
    twice = sorted({name for name in plan.names if plan.names.count(name) > 1})
    if twice:
        raise ValueError(f"expected metrics of different names, because they name history; got {twice} twice")
    if stopping is not None and plan.monitor(stopping) not in plan.names:
        raise ValueError(f"expected early stopping to watch one of {', '.join(plan.names)}, because these are "
                         f"recorded; got {plan.monitor(stopping)!r}")  # fmt: skip
    trainer.check(train_state)
    return plan
