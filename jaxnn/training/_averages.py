"""Averaged parameters in a model: a train state that has them, and running statistics that belong to them."""

from dataclasses import replace
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn import tree
from jaxnn.layers import BatchNorm, Layer
from jaxnn.layers._rewriting import rewritten
from jaxnn.optim import averaged_params
from jaxnn.optim._arithmetic import cast_like
from jaxnn.training._checks import check_data, count
from jaxnn.training._compiled import compiled
from jaxnn.training._order import shuffled
from jaxnn.training._trainer import LAYERS, SHUFFLE, Trainer, TrainState
from jaxnn.typing import Array, Data, Scalar, State


def averaged(train_state: TrainState) -> TrainState:
    """Return the train state with the average that its optimizer keeps in the place of its parameters.

    It is for `predict`, `evaluate` and the like, and to be saved: a step from it would go on from the average. Running
    statistics remain those of the last parameters; where the model has some, `recalibrated` makes them the average's.

    Args:
        train_state: With the state of `exponentially_averaged` or `equally_averaged`.

    Returns:
        The same with other `params`, in their dtypes. What is frozen is as it was.

    Raises:
        ValueError: The optimizer's state has no average, or several, or one of a part of the parameters.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.optim.equally_averaged(nn.sgd(0.1)))
    >>> data = nn.Data(jnp.ones((4, 1)), jnp.ones((4, 1)))
    >>> ts, _ = nn.fit(t, t.init(jax.random.key(0), data.x), data, epochs=9, batch_size=2)
    >>> float(nn.evaluate(t, ts, data)) < float(nn.evaluate(t, averaged(ts), data))  # the average is behind here
    True
    """
    average = averaged_params(train_state.opt_state)
    if jax.tree.structure(average) != jax.tree.structure(train_state.params):
        missing = [name for name in tree.named_leaves(train_state.params) if name not in tree.named_leaves(average)]
        raise ValueError(
            f"expected an average of all parameters that learn, because they are replaced by it; got none of "
            f"{', '.join(missing)}\n  hint: what averages stands around all else, exponentially_averaged(by_name(...))"
        )
    return train_state._replace(params=cast_like(average, train_state.params))


def recalibrated(trainer: Trainer, train_state: TrainState, data: Data, *, batch_size: SupportsIndex) -> TrainState:
    """Return the train state with running statistics that are those of its parameters, by one pass over `data`.

    For parameters that no step has led to, such as an average, of which batch normalization has seen nothing. The model
    runs as in training, on batches in the order of an epoch, the last one filled up, and nothing learns. What each
    `BatchNorm` has kept is forgotten, and it gets the mean over all batches of the batch's mean and variance, as if its
    `decay` were 1 - 1 / i at the i-th. The state of other layers, such as the vectors of spectral normalization, goes
    on from where it was. What is frozen rests, as it does in training. Statistics that are NaN stay NaN.
    A `BatchNorm` is found in the settings of layers, wherever it stands in them; one that a layer of your own makes
    within its `apply`, or keeps in something other than a dataclass, runs as in training.

    PyTorch's `update_bn` is the same but for the variance, which is the unbiased one there, n / (n - 1) times as large,
    and does not forget frozen ones.

    Args:
        trainer: Whose model to run.
        train_state: Whose parameters to run it with.
        data: Inputs; targets and weights are not used. Of a run with `sampling`, such rows as it met in an epoch:
            `data.take(sampling(key))`; other shares of the classes have other statistics.
        batch_size: Of how many examples, as in training: of few, the variance is smaller.

    Returns:
        The same with another `state`.

    Raises:
        TypeError: The data is no `Data`, or `batch_size` no int.
        ValueError: The data is empty, smaller than a batch, or not finite, or `batch_size` is below 1.
        ShapeError: The model cannot take the inputs.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.serial(nn.BatchNorm(), nn.Dense(1)), nn.losses.mse, nn.sgd(0.1))
    >>> data = nn.Data(jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.ones((4, 1)))
    >>> ts = t.init(jax.random.key(0), data.x)
    >>> recalibrated(t, ts, data, batch_size=4).state["batch_norm_0"]
    {'mean': Array([2.5], dtype=float32), 'var': Array([1.25], dtype=float32)}

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018), section 3.2.
    """
    size = count(batch_size, "batch_size", why="it is a shape")
    check_data(trainer, train_state, data, trainer.loss, batch_size=size, name="data")
    return train_state._replace(state=_recalibrated((trainer, size), train_state, data))


@compiled
def _recalibrated(static: Any, train_state: TrainState, data: Data) -> State:
    trainer, batch_size = static
    ts, n = train_state, data.examples
    x = jax.tree.map(jnp.asarray, data.x)
    batches = -(-n // batch_size)
    order = jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch)
    rows = shuffled(order, jnp.arange(batches * batch_size, dtype=jnp.int32) % n, n).reshape(batches, batch_size)
    layers = jax.random.fold_in(ts.key, LAYERS)
    params = tree.merge(ts.params, ts.frozen)

    def see(state: State, batch: tuple[Array, Array]) -> tuple[State, None]:
        i, rows = batch
        before = i.astype(jnp.result_type(float))
        model = _with_decay(trainer.model, before / (before + 1)).freeze(ts.frozen)
        key = jax.random.fold_in(layers, ts.step + i)
        _, new = model.apply(params, state, jax.tree.map(lambda a: a[rows], x), key=key, train=True)
        return new, None

    return lax.scan(see, ts.state, (jnp.arange(batches, dtype=jnp.int32), rows))[0]


def _with_decay(model: Layer, decay: Scalar) -> Layer:
    """Return the model with this decay for every `BatchNorm` in it."""
    return rewritten(model, lambda layer: replace(layer, decay=decay) if isinstance(layer, BatchNorm) else layer)
