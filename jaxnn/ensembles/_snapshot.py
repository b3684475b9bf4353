"""`snapshots`: an ensemble from a single run, whose learning rate falls and rises again.

Dimensions: `cycles` of the learning rate, each of which gives one member.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, SupportsIndex

import jax
import numpy as np
from jax import lax

from jaxnn import tree
from jaxnn.ensembles._fitted import Fitted, ensemble_of
from jaxnn.ensembles._members import Combine, model_is_structure
from jaxnn.layers._layer import Layer
from jaxnn.ops import soft_vote
from jaxnn.training._checks import check_between_epochs, check_data, count
from jaxnn.training._compiled import compiled
from jaxnn.training._epoch import History
from jaxnn.training._fit import fit
from jaxnn.training._sampled import as_sampling, sample_size
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Data, Params, State


@model_is_structure
class Snapshots(NamedTuple):
    """What `snapshots` makes: the ensemble, and the run that it was taken from.

    >>> Snapshots._fields
    ('model', 'params', 'state', 'train_state', 'history')
    """

    model: Layer  # the ensemble
    params: Params  # those of the model after each cycle, stacked
    state: State
    train_state: TrainState  # after the last cycle
    history: History  # of the whole run, as `fit` has it

    @property
    def fitted(self) -> Fitted:
        """The ensemble with its parameters and state, as other functions of this package take it."""
        return Fitted(self.model, self.params, self.state)


def snapshots(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    cycles: SupportsIndex,
    epochs: SupportsIndex,
    batch_size: SupportsIndex,
    combine: Combine = soft_vote,
    **settings: Any,
) -> Snapshots:
    """Train once, for `cycles` times `epochs`, and let the models after each cycle vote.

    With a learning rate that falls to 0 in each cycle and begins the next one high, every cycle ends near a minimum of
    the loss and the next one leaves it again. So the members differ, though all together cost one run. The schedule is
    the optimizer's: one whose period is a cycle, such as `cosine_restarts_schedule` below, which is the paper's. The
    run is that of `fit` for cycles x epochs epochs, and its last parameters are the last member.

    The paper's ensemble is of the last few members where the first ones are poor:
    `jax.tree.map(lambda a: a[-k:], (params, state))` are those of `nn.Ensemble(model, k)`.

    **Stochastic weight averaging** is the mean of the members' parameters rather than of their predictions, and costs
    one model's time in inference. With `nn.optim.equally_averaged(optimizer, every=steps of a cycle)` for an optimizer
    the mean is in the train state: `nn.training.averaged(snapshots.train_state)` is a model with it, and
    `nn.training.recalibrated` computes the running statistics that belong to it.

    It is a pure function, so `jit`, and `vmap` over train states, apply to it. Called by itself it compiles, once for
    the same trainer, settings and shapes.

    Args:
        trainer: What to train, and how.
        train_state: Where to begin, from `trainer.init`; its count of steps is what the schedule begins at.
        data: Inputs, targets and optional weights.
        cycles: How many, and so many members.
        epochs: Of each cycle.
        batch_size: Examples a step.
        combine: How outputs become one, as in `nn.Ensemble`: `nn.ops.soft_vote` for logits of classes,
            `nn.ops.mean_of_members` for numbers, another op, or a function of outputs and weights `(members,)`.
        **settings: Further ones of `nn.fit`; but a cycle goes to its end, so no `stopping`.

    Returns:
        The ensemble as a model with parameters and state; the last train state; and the history of the run.

    Raises:
        TypeError: A count is no int, there is `stopping`, or a setting that `fit` does not have.
        ValueError: A count is below 1, or as `fit` raises it.
        ShapeError: The model cannot take the inputs, or the loss the targets.

    >>> import jax, jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> cycle_steps = 2 * 23  # epochs x ceil(1437 / 64)
    >>> rate = nn.schedules.cosine_restarts_schedule(0.5, cycle_steps, t_mul=1.0)
    >>> optimizer = nn.optim.equally_averaged(nn.sgd(rate), every=cycle_steps)
    >>> trainer = nn.trainer(nn.Dense(10), nn.losses.cross_entropy, optimizer)
    >>> ts = trainer.init(jax.random.key(0), train.x)
    >>> taken = nn.ensembles.snapshots(trainer, ts, train, cycles=3, epochs=2, batch_size=64)
    >>> taken.params["w"].shape, taken.history["loss"].shape
    ((3, 64, 10), (6,))
    >>> mean = nn.training.averaged(taken.train_state)
    >>> bool(abs(mean.params["w"] - taken.params["w"].mean(axis=0)).max() < 1e-5)
    True

    Source: Huang et al., "Snapshot ensembles: train 1, get M for free" (2017); for the mean, Izmailov et al.,
    "Averaging weights leads to wider optima and better generalization" (2018).
    """
    cycles = count(cycles, "cycles", why="each gives a member")
    epochs = count(epochs, "epochs", why="a cycle has some")
    batch_size = count(batch_size, "batch_size", why="it counts examples")
    if settings.get("stopping") is not None:
        raise TypeError("expected no stopping, because each cycle goes to its end, where the learning rate is lowest; "
                        f"got {settings['stopping']!r}")  # fmt: skip
    # What `fit` looks at before it begins; in the loop over cycles there are no values to be seen.
    sampling = as_sampling(settings.get("sampling"))
    at_most = batch_size if sampling is None else None  # of rows that are sampled there may be more
    check_data(trainer, train_state, data, trainer.loss, batch_size=at_most, name="data")
    if sampling is not None:
        sample_size(sampling, train_state, data.examples, batch_size)
    if settings.get("validation") is not None:
        check_data(trainer, train_state, settings["validation"], trainer.loss, batch_size=None, name="validation")
    check_between_epochs(train_state, "cycles are of whole ones")
    arrays = {name: value for name, value in settings.items() if _traced(value)}
    static = {name: _hashable(value) for name, value in settings.items() if name not in arrays}
    static |= {"epochs": epochs, "batch_size": batch_size}
    return _snapshots((trainer, cycles, combine, tuple(static.items())), train_state, data, arrays)


@compiled
def _snapshots(static: Any, train_state: TrainState, data: Data, arrays: Mapping[str, Any]) -> Snapshots:
    trainer, cycles, combine, settings = static
    settings = {name: dict(value) if name == "record" and value else value for name, value in settings}
    data = data.on_device()

    def cycle(ts: TrainState, _: None) -> tuple[TrainState, Any]:
        ts, history = fit(trainer, ts, data, **settings, **arrays)
        return ts, (tree.merge(ts.params, ts.frozen), ts.state, history)

    ts, (params, state, history) = lax.scan(cycle, train_state, length=cycles)
    history = {name: rows.reshape(-1, *rows.shape[2:]) for name, rows in history.items()}
    return Snapshots(*ensemble_of(trainer.model, params, state, combine=combine), ts, history)


def _traced(value: Any) -> bool:
    """Whether a setting of `fit` is made of arrays, as data is, and so no part of what a program is known by."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) and leaf.ndim > 0 for leaf in leaves)


def _hashable(value: Any) -> Any:
    """Return a setting as something that can be a key: a dict as its items, a list as a tuple."""
    return tuple(value.items()) if isinstance(value, Mapping) else tuple(value) if isinstance(value, list) else value
