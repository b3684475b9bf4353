"""Early stopping inside a compiled run."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, final

import jax
import jax.numpy as jnp

from jaxnn.optim._checks import check_count, check_not_nan
from jaxnn.training._trainer import TrainState
from jaxnn.typing import Array, Params, Scalar, State


class Best(NamedTuple):
    """The best epoch so far, and how long ago it was."""

    params: Params | None  # of the best epoch; None if nobody goes back to it
    state: State | None  # of the best epoch
    value: Array  # of what is watched, shape ()
    bad_count: Array  # epochs in a row without improvement, shape (), int32
    stopped: Array  # shape (), bool

    def restored(self, train_state: TrainState) -> TrainState:
        """Return the train state with the parameters and the layer state of the best epoch."""
        if self.params is None or self.state is None:
            return train_state
        return train_state._replace(params=self.params, state=self.state)


@final
@partial(
    jax.tree_util.register_dataclass,
    data_fields=["patience", "min_delta"],
    meta_fields=["monitor", "mode", "restore_best"],
)
@dataclass(frozen=True)
class EarlyStopping:
    """Stop when what is watched has not improved for `patience` epochs; go back to the best.

    An epoch improves if it is better than the best by more than `min_delta`. Training stops after
    `patience` epochs in a row that did not, as in Keras (flax and PyTorch wait for one more). Parameters
    and layer state are those of the best epoch; the optimizer's state is the last. Where history has rows for parts of
    an epoch, or not every row is validated, for "epoch" read a row in which what is watched was evaluated.

    Attributes:
        patience: Epochs in a row; at least 1. May be a tracer.
        min_delta: What is not more than this is no improvement. May be a tracer.
        monitor: A name in the history; `"validation_loss"` where there is validation, else `"loss"`.
        mode: Whether smaller (`"min"`) or larger (`"max"`) is better; an accuracy wants `"max"`.
        restore_best: Whether a run returns the best parameters and layer state (also where it never stopped early), or
            the last ones, and keeps no copy.

    Raises:
        ValueError: The patience is a number below 1 or not whole, `min_delta` is NaN, or the mode is neither.

    >>> EarlyStopping(patience=3)
    EarlyStopping(patience=3, min_delta=0.0, monitor=None, mode='min', restore_best=True)

    Source: Prechelt, "Early stopping - but when?" (1998).
    """

    patience: Scalar
    min_delta: Scalar = 0.0
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"expected mode min or max, because smaller or larger is better; got {self.mode!r}")
        check_count("it counts epochs to wait", patience=self.patience)
        check_not_nan("nothing would be better", min_delta=self.min_delta)

    def begin(self, train_state: TrainState) -> Best:
        """Return the state before the first epoch: anything is better than nothing."""
        worst = jnp.asarray(jnp.inf if self.mode == "min" else -jnp.inf, jnp.result_type(float))
        return Best(*self._kept(train_state), worst, jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def after(self, best: Best, train_state: TrainState, value: Array) -> Best:
        """Return the state after an epoch in which `value` was seen."""
        gain = best.value - value if self.mode == "min" else value - best.value
        better = gain > jnp.asarray(self.min_delta, gain.dtype)
        bad_count = jnp.where(better, 0, best.bad_count + 1)
        params, state, value = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (*self._kept(train_state), value),
            (best.params, best.state, best.value),
        )
        return Best(params, state, value, bad_count, bad_count >= jnp.asarray(self.patience, jnp.int32))

    def _kept(self, train_state: TrainState) -> tuple[Params | None, State | None]:
        return (train_state.params, train_state.state) if self.restore_best else (None, None)
