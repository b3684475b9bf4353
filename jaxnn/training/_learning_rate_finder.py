"""A learning-rate finder: the same short run at many rates, all of them at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import ShapeError, values
from jaxnn.training._checks import check_between_epochs, check_data, count
from jaxnn.training._compiled import compiled, transforming
from jaxnn.training._order import shuffled
from jaxnn.training._trainer import SHUFFLE, Trainer, TrainState
from jaxnn.typing import Array, Data, Scalar

RATES = np.logspace(-6, 1, 43)  # six a decade
TAIL = 5  # a fifth of the steps is the end of a run
KEPT = 0.9  # of what the best rate gains, for a rate to be as good


class LearningRates(NamedTuple):
    """What became of a run at each learning rate.

    >>> found = LearningRates(jnp.array([0.1, 1.0]), jnp.ones((2, 5)), jnp.array([0.5, jnp.nan]), jnp.array(0.1))
    >>> diverged = found.rates[jnp.isnan(found.final)]
    >>> diverged
    Array([1.], dtype=float32)
    """

    rates: Array  # shape (rates,), rising
    losses: Array  # of every step, shape (rates, steps)
    final: Array  # mean loss of the last fifth of the steps, NaN where it is not finite; shape (rates,)
    suggestion: Array  # one of the rates, NaN where all diverged; shape ()


def find_learning_rate(
    make_trainer: Callable[[Any], Trainer],
    train_state: TrainState,
    data: Data,
    *,
    rates: Any = None,
    steps: SupportsIndex = 100,
    batch_size: SupportsIndex,
    members: SupportsIndex | None = None,
) -> LearningRates:
    """Take the same steps at many learning rates, in one compiled program, and see which rates learn.

    All runs begin from the same parameters and meet the same batches, in the order in which `fit` would with
    `drop_remainder`: only the rate differs. So their losses can be compared even after few steps. For a run with
    `sampling`, give it such rows as the run meets in an epoch: `data.take(sampling(key))`.

    The usual finder is one run whose rate rises at every step, from tiny to where it diverges (Smith, 2017; it is the
    `lr_find` of fastai and Lightning). The loss that it shows for a rate is that of parameters which all the smaller
    rates before it have made: what they have learned is no longer there to be learned, momentum and Adam's averages are
    theirs, and one step hardly tells a rate that learns from one that diverges after ten. What the ramp saves is
    time: here there is a run for each rate. On an accelerator those of a small model take hardly longer than one.

    The suggestion keeps away from both ends. Of the rates around the best one, those are as good that gain at least
    nine tenths of what it gains, from the loss of the first step on; suggested is the middle one of these, of two the
    lower. The best itself may stand at the edge of a cliff, which comes nearer in a longer run, or be the best by
    chance; and few steps favour large rates (Wu et al., 2018), so for a long run half of the suggestion is worth a try.

    Args:
        make_trainer: A function of a learning rate, which is a tracer, to a trainer with it.
        train_state: Where all begin, such as `make_trainer(1.0).init(key, data.x)`, or parameters that are trained
            already. Each optimizer begins anew.
        data: Inputs, targets and optional weights.
        rates: Rising, above 0; by default 43 of them from 1e-6 to 10, of equal ratios.
        steps: How many each run takes. Fewer than about 20 show little but the beginning.
        batch_size: Examples a step.
        members: How many runs there are at a time, where all of them together need too much memory. By default all.

    Returns:
        The rates, the loss of every step, that at the end, and the suggestion; `nn.plot.learning_rates` draws them.

    Raises:
        TypeError: `make_trainer` makes no trainer, the data is no `Data`, or a setting no int.
        ValueError: The rates do not rise, or are not above 0 and finite; `steps` or `members` is below 1; the data or
            the train state is one that `fit` refuses. Or the loss of every run became infinite or NaN: within `jit`
            and `vmap`, where that cannot be seen, the suggestion is NaN.
        ShapeError: The rates are not in one row, the model cannot take the inputs, or the loss the targets.

    >>> import jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> make_trainer = lambda rate: nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(rate))
    >>> ts = make_trainer(1.0).init(jax.random.key(0), x)
    >>> found = nn.find_learning_rate(make_trainer, ts, nn.Data(x, 3 * x + 1), rates=[1e-3, 1e-2, 0.1, 1.0, 10.0],
    ...                           batch_size=16)
    >>> found.suggestion, jnp.isnan(found.final)
    (Array(0.1, dtype=float32), Array([False, False, False, False,  True], dtype=bool))

    Source: Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3, for the ramp; Wu et al.,
    "Understanding short-horizon bias in stochastic meta-optimization" (2018).
    """
    steps = count(steps, "steps", why="each run takes some")
    batch_size = count(batch_size, "batch_size", why="it counts examples")
    members = None if members is None else count(members, "members", why="it is how many run at a time")
    rates = jnp.asarray(RATES if rates is None else rates, jnp.result_type(float))
    _check_rates(rates)
    trainer = make_trainer(rates[0])
    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"expected make_trainer to make a trainer of a learning rate, because it takes the steps; got {trainer!r}\n"
            "  hint: lambda rate: nn.trainer(model, loss, nn.adam(rate))"
        )
    check_between_epochs(train_state, "each run begins with a whole one")
    check_data(trainer, train_state, data, trainer.loss, batch_size=batch_size, name="data")
    jax.eval_shape(partial(_begun, trainer), train_state)
    found = _learning_rates((make_trainer, steps, batch_size, members), train_state._replace(opt_state=()), data, rates)
    if not transforming() and bool(jnp.isnan(found.suggestion)):
        raise ValueError(
            "expected a rate that learns, because one is to be suggested; got losses that are infinite or NaN at every "
            f"rate from {float(rates[0]):.3g} to {float(rates[-1]):.3g}\n"
            "  hint: smaller rates, or look for what is wrong at any rate: nn.dry_run, nn.overfit"
        )
    return found


@compiled
def _learning_rates(
    static: tuple[Callable[[Any], Trainer], int, int, int | None], train_state: TrainState, data: Data, rates: Array
) -> LearningRates:
    make_trainer, steps, batch_size, members = static
    data = data.on_device()

    def run(rate: Scalar) -> Array:
        trainer = make_trainer(rate)
        step = partial(_step, trainer, train_state, data, batch_size)
        return lax.scan(step, _begun(trainer, train_state), jnp.arange(steps, dtype=jnp.int32))[1]

    losses = jax.vmap(run)(rates) if members is None else lax.map(run, rates, batch_size=members)
    final = losses[:, -max(1, steps // TAIL) :].mean(axis=1)
    final = jnp.where(jnp.isfinite(final), final, jnp.nan)
    return LearningRates(rates, losses, final, _suggested(rates, losses[:, 0], final))


def _begun(trainer: Trainer, train_state: TrainState) -> TrainState:
    """The state at which this trainer begins: the optimizer's may hold the rate."""
    begun = train_state._replace(opt_state=trainer.optimizer.init(train_state.params))
    trainer.check(begun)
    return begun


def _step(
    trainer: Trainer, begun: TrainState, data: Data, batch_size: int, train_state: TrainState, i: Array
) -> tuple[TrainState, Array]:
    """Take step i on the batch that an epoch of `fit` has there, of whole batches only."""
    steps_an_epoch = data.examples // batch_size
    epoch, position = begun.epoch + i // steps_an_epoch, i % steps_an_epoch
    key = jax.random.fold_in(jax.random.fold_in(begun.key, SHUFFLE), epoch)
    rows = shuffled(key, position * batch_size + jnp.arange(batch_size, dtype=jnp.int32), data.examples)
    train_state, info = trainer.step(train_state._replace(epoch=epoch, position=position), data.take(rows))
    return train_state, info.loss


def _suggested(rates: Array, first: Array, final: Array) -> Array:
    """The middle one of the rates around the best that keep nine tenths of its gain."""
    i = jnp.arange(len(rates))
    best = jnp.where(jnp.isnan(final), jnp.inf, final).argmin()
    gain = jnp.maximum(first[best] - final[best], 0)
    good = final <= final[best] + (1 - KEPT) * gain  # never where it is NaN
    low = jnp.where(~good & (i < best), i + 1, 0).max()
    high = jnp.where(~good & (i > best), i - 1, len(rates) - 1).min()
    return jnp.where(jnp.isnan(final).all(), jnp.nan, rates[(low + high) // 2])


def _check_rates(rates: Array) -> None:
    if rates.ndim != 1 or not len(rates):
        raise ShapeError("rates in one row, of shape (rates,)", why="there is a run for each", got=tuple(rates.shape))
    seen = values(rates)
    if seen is not None and not (np.isfinite(seen).all() and seen[0] > 0 and (np.diff(seen) > 0).all()):
        raise ValueError(
            f"expected rates above 0 that rise, because one amid those that learn is suggested; got {seen}\n"
            "  hint: jnp.logspace(-4, 0, 25)"
        )
