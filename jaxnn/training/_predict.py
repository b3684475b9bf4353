"""Prediction: what a model puts out in inference, for any number of inputs, in batches of one shape."""

from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError, is_array
from jaxnn.training._averages import averaged as at_average
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled
from jaxnn.training._evaluate import batches
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.tree import named_leaves
from jaxnn.typing import Data


def predict(
    trainer: Trainer,
    train_state: TrainState,
    x: Any,
    *,
    batch_size: SupportsIndex | None = None,
    averaged: bool = False,
) -> Any:
    """Return what the model puts out for x, as in inference.

    It is `trainer.predict(train_state, x)`, computed in batches of one shape: the last one is filled up, and what comes
    of that is cut off again.

    Args:
        trainer: Whose model to run.
        train_state: Whose parameters and state to run it with.
        x: Inputs, an array or a tree of arrays with a shared leading axis of examples; none at all will do.
        batch_size: How many to run at a time, to bound memory; all at once by default.
        averaged: Whether to run it with the averaged parameters in the optimizer's state instead, as
            `nn.optim.exponentially_averaged` keeps them.

    Returns:
        An array or a tree of arrays, with the same leading axis.

    Raises:
        TypeError: x is a `Data`, or `batch_size` no int.
        ValueError: `batch_size` is below 1; the optimizer averages no parameters.
        ShapeError: The inputs differ in their number, or are none of an axis of examples; the model cannot take them;
            or what it puts out for some batch has no such axis.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    >>> ts, x = t.init(jax.random.key(0), jnp.zeros((1, 3))), jnp.ones((10, 3))
    >>> predict(t, ts, x, batch_size=4).shape
    (10, 2)
    """
    if isinstance(x, Data):
        raise TypeError("expected inputs alone, because nothing is compared with targets; got Data\n  hint: data.x")
    _check_inputs(x)
    size = None if batch_size is None else count(batch_size, "batch_size", why="it counts examples")
    return _predict((trainer, size), at_average(train_state) if averaged else train_state, x)


@compiled
def _predict(static: Any, train_state: TrainState, x: Any) -> Any:
    trainer, batch_size = static
    x = jax.tree.map(jnp.asarray, x)
    n = len(jax.tree.leaves(x)[0])
    if batch_size is None or n <= batch_size:
        return trainer.predict(train_state, x)
    rows = batches(n, batch_size)

    def run(rows):
        y = trainer.predict(train_state, jax.tree.map(lambda a: a[rows % n], x))
        _check_outputs(y, batch_size)
        return y

    return jax.tree.map(lambda y: y.reshape(rows.size, *y.shape[2:])[:n], lax.map(run, rows))


def _check_inputs(x: Any) -> None:
    """Raise an error unless all leaves have one number of examples."""
    leaves = named_leaves(x)
    alone = [name for name, leaf in leaves.items() if not is_array(leaf) or leaf.ndim == 0]
    if not leaves or alone:
        raise ShapeError(
            "inputs of shape (batch, ...)",
            why="there is an output for each",
            got="no array" if not leaves else ", ".join(f"{_at(name)} without a leading axis" for name in alone),
        )
    counts = {name: len(leaf) for name, leaf in leaves.items()}
    if len(set(counts.values())) != 1:
        raise ShapeError(
            "inputs with one leading axis",
            why="it counts examples",
            got=", ".join(f"{_at(name)} with {count}" for name, count in counts.items()),
        )


def _check_outputs(y: Any, examples: int) -> None:
    """Raise an error unless all leaves have an axis of examples in front: no other can be put together."""
    for name, leaf in named_leaves(y).items():
        if leaf.shape[:1] != (examples,):
            raise ShapeError(
                f"outputs of shape ({examples}, ...)",
                why=f"the model was given {examples} examples, and batches are put one after another",
                got=f"{tuple(leaf.shape)}{f' for {name}' if name else ''}",
                hint="without batch_size the model runs once, and whatever it puts out is returned",
            )


def _at(name: str) -> str:
    return f"x/{name}" if name else "x"
