"""`fit`: a whole training run as one pure function."""

from collections.abc import Iterable
from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import values
from jaxnn.gradients import LossLike
from jaxnn.training._compiled import compiled
from jaxnn.training._epoch import FitState, History, begin, close, order, step
from jaxnn.training._plan import Plan, planned
from jaxnn.training._stopping import EarlyStopping, while_loop
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Data


def fit(
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
    drop_remainder: bool = False,
    checkpoint: bool = False,
) -> tuple[TrainState, History]:
    """Train for a number of epochs, in one compiled program.

    A pure function: `jit`, `vmap` over learning rates and keys, and `grad` with respect to a learning rate
    apply to it, early stopping included; under `vmap` a member that stopped rests while others go on.
    Called by itself it compiles, once for the same trainer object and shapes. It never changes its arguments.

    A run that goes on from the train state of an earlier one is the same run, but early stopping begins to
    count anew. (One that `run` left within an epoch is for `run` to go on with; inside a transformation,
    where that cannot be seen, `fit` begins the epoch again.) With early stopping there is a derivative in
    reverse mode only, and only a first one: leave `stopping` out for forward mode.

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
        metrics: Losses or metrics of examples to record beside the loss, under their names. (Those with a state are for
            `evaluate`; and where a model gives logits, those of probabilities are NaN.)
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
        TypeError: The data is no `Data`, or `epochs` or `batch_size` no int (NumPy's are); a metric has a state.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has labels out of range; what is watched has no history; the optimizer's state is
            another's; the train state is one within an epoch.
        ShapeError: The model cannot take the inputs, or the loss the targets.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.1))
    >>> ts = t.init(jax.random.key(0), x)
    >>> ts, history = nn.fit(t, ts, nn.Data(x, 3 * x + 1), epochs=20, batch_size=16)
    >>> ts.params["b"].round(1), history["loss"].shape
    (Array([1.], dtype=float32), (20,))
    """
    plan = planned(
        trainer, train_state, data, epochs=epochs, batch_size=batch_size, validation=validation, metrics=metrics,
        stopping=stopping, shuffle=shuffle, drop_remainder=drop_remainder,
    )  # fmt: skip
    position = values(train_state.position)
    if position:
        raise ValueError(f"expected a train state between epochs, because fit makes whole ones; got one after "
                         f"{position} steps of its epoch\n  hint: nn.run goes on in mid-epoch; to begin the epoch "
                         "again, train_state._replace(position=jnp.zeros((), jnp.int32))")  # fmt: skip
    return _fit((trainer, plan, checkpoint), train_state, data, validation, stopping)


@compiled
def _fit(
    static: tuple[Trainer, Plan, bool],
    train_state: TrainState,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
) -> tuple[TrainState, History]:
    trainer, plan, checkpoint = static
    data, validation = data.on_device(), None if validation is None else validation.on_device()

    def epoch(fit_state: FitState) -> FitState:
        ts = fit_state.train_state
        rows = order(plan, ts, data.examples)
        # A constant, which all members of a sweep share: so a step takes a slice of each order and need not gather.
        fit_state = fit_state._replace(train_state=ts._replace(position=jnp.zeros((), jnp.int32)))
        take = lambda fit_state, _: (step(trainer, plan, fit_state, data, rows), None)
        fit_state, _ = lax.scan(take, fit_state, length=plan.steps(data.examples))
        return close(trainer, plan, fit_state, validation, stopping)

    fit_state = begin(plan, train_state, stopping)
    if stopping is None:
        body = jax.checkpoint(epoch) if checkpoint else epoch
        fit_state, _ = lax.scan(lambda s, _: (body(s), None), fit_state, length=plan.epochs)
        return fit_state.finished()
    try:
        return while_loop(FitState.goes_on, epoch, fit_state, max_steps=plan.epochs).finished()
    except TypeError as error:
        if "forward-mode" in str(error):
            error.add_note("  hint: fit with early stopping has reverse mode only; leave out `stopping`")
        raise
