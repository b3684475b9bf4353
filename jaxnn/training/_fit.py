"""`fit`: a whole training run as one pure function."""

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.gradients import LossLike
from jaxnn.training._checks import check_between_epochs
from jaxnn.training._compiled import compiled
from jaxnn.training._epoch import FitState, History, begin, close, end, order, step
from jaxnn.training._plan import Plan, Recorder, planned
from jaxnn.training._sampled import Sampling, as_sampling
from jaxnn.training._scan_while import while_loop
from jaxnn.training._stopping import EarlyStopping
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
    sampling: Sampling | None = None,
    drop_remainder: bool = False,
    steps_per_row: SupportsIndex | None = None,
    validate_every: SupportsIndex = 1,
    record: Mapping[str, Recorder] | None = None,
    averaged: bool = False,
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
        sampling: Which rows of the data an epoch meets, if not all: a function `(key) -> rows`, drawn from anew in
            every epoch, such as `nn.data.oversampling(data.y)`; or an array of rows, such as a bootstrap sample. An
            epoch then has as many examples as there are rows. A function that is made anew compiles anew, as a lambda
            in the call; those of `nn.data` do not.
        drop_remainder: Whether to leave out the batch that would have to be filled up.
        steps_per_row: After how many steps of an epoch, and at its end, the history has a row, validation is evaluated
            and early stopping looks; by default only at the end.
        validate_every: Of so many rows, counted from the first epoch of all, the last is validated; the others are NaN.
        record: What else to keep of every step, under names: functions of the train state before it and of what there
            was to see (`nn.training.Observed`: loss, prediction, gradients, updates) that return a scalar or a tree of
            scalars, such as `nn.training.gradient_norms` and `nn.training.learning_rate(schedule)`. Of the steps of a
            row the mean is kept, weighed as the loss is.
        averaged: Whether validation, and early stopping's best parameters, are those of the average that the
            optimizer keeps (`nn.optim.exponentially_averaged` or `equally_averaged`).
        checkpoint: Whether a gradient through the run computes each epoch again rather than keep what
            every step of every epoch remembers. (With early stopping it always does.)

    Returns:
        The last train state (with early stopping, with the best parameters and layer state) and the
        history: for `"loss"`, each metric, these of validation as `"validation_..."`, and what is recorded, an
        array of shape `(epochs,)`, NaN after a stop; with `steps_per_row` so many rows more an epoch. The loss is the
        mean over the row's steps, while parameters move. What is recorded as a tree has a name for each leaf, such as
        `"gradient_norm/dense_0/w"`.

    Raises:
        TypeError: The data is no `Data`, or a count, such as `epochs`, no int (NumPy's are); a metric has a state;
            what records is no function; sampling gives no integers.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has labels out of range; a count is below 1; what is watched has no history; what is recorded is
            no scalar; the optimizer's state is another's, or has no average that could be evaluated; the train state
            is one within an epoch; sampling gives rows out of range, as far as they can be seen: those of the first
            epoch; or fewer than a batch.
        ShapeError: The model cannot take the inputs, or the loss the targets; sampling gives no single axis of rows.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.1))
    >>> ts = t.init(jax.random.key(0), x)
    >>> ts, history = nn.fit(t, ts, nn.Data(x, 3 * x + 1), epochs=20, batch_size=16)
    >>> ts.params["b"].round(1), history["loss"].shape
    (Array([1.], dtype=float32), (20,))
    """
    sampling = as_sampling(sampling)
    plan = planned(
        trainer, train_state, data, epochs=epochs, batch_size=batch_size, validation=validation, metrics=metrics,
        stopping=stopping, shuffle=shuffle, drop_remainder=drop_remainder, steps_per_row=steps_per_row,
        validate_every=validate_every, record=record, averaged=averaged, sampling=sampling,
    )  # fmt: skip
    check_between_epochs(train_state, "fit makes whole ones")
    return _fit((trainer, plan, checkpoint), train_state, data, validation, stopping, sampling)


@compiled
def _fit(
    static: tuple[Trainer, Plan, bool],
    train_state: TrainState,
    data: Data,
    validation: Data | None,
    stopping: EarlyStopping | None,
    sampling: Any,
) -> tuple[TrainState, History]:
    trainer, plan, checkpoint = static
    data, validation = data.on_device(), None if validation is None else validation.on_device()
    n = plan.met(data)
    steps, row_steps = plan.steps(n), plan.row_steps(n)

    def epoch(fit_state: FitState) -> FitState:
        ts = fit_state.train_state
        rows = order(plan, ts, n, sampling)
        # A constant, which all members of a sweep share: so a step takes a slice of each order and need not gather.
        fit_state = fit_state._replace(train_state=ts._replace(position=jnp.zeros((), jnp.int32)))
        take = lambda fit_state, _: (step(trainer, plan, fit_state, data, rows), None)

        def row(fit_state: FitState, length: int) -> FitState:
            fit_state, _ = lax.scan(take, fit_state, length=length)
            return close(trainer, plan, fit_state, data, validation, stopping)

        def row_unless_stopped(fit_state: FitState, length: int) -> FitState:
            return lax.cond(fit_state.goes_on(), lambda s: row(s, length), lambda s: s, fit_state)

        whole, rest = divmod(steps, row_steps)
        if (whole, rest) == (1, 0):
            return end(row(fit_state, row_steps))
        next_row = row if stopping is None else row_unless_stopped
        fit_state, _ = lax.scan(lambda s, _: (next_row(s, row_steps), None), fit_state, length=whole)
        return end(next_row(fit_state, rest) if rest else fit_state)

    fit_state = begin(trainer, plan, train_state, data, stopping, row=jnp.zeros((), jnp.int32))
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
