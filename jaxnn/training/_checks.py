"""What is refused before a run begins: data that cannot be meant, where its values can be seen."""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import describe, is_array, values
from jaxnn.gradients import LossLike, as_loss
from jaxnn.layers._layer import outline
from jaxnn.metrics import Metric
from jaxnn.training._compiled import hashable, transforming
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.tree import named_leaves
from jaxnn.typing import Data


def integer(value: Any, name: str, *, why: str) -> int:
    """Return a setting as Python's int: also one of NumPy, or an array of one number; but no bool.

    Raises:
        TypeError: It is none, or one that cannot be seen inside `jit`.

    >>> integer(np.int64(3), "epochs", why="a run makes some")
    3
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"expected {name} to be an int, because {why}; got {value!r}")


def count(value: Any, name: str, *, why: str) -> int:
    """Return a setting as Python's int, of at least 1.

    Raises:
        TypeError: It is no int.
        ValueError: It is below 1.
    """
    number = integer(value, name, why=why)
    if number < 1:
        raise ValueError(f"expected {name} of at least 1, because {why}; got {number}")
    return number


def check_data(
    trainer: Trainer, train_state: TrainState, data: Data, loss: LossLike | Metric, *, batch_size: int | None, name: str
) -> None:
    """Raise one error that names everything that is wrong with `data`; inside `jit` values cannot be seen.

    Raises:
        TypeError: The data is no `Data`.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, not
            finite, or has targets that the loss refuses.
        ShapeError: The model cannot take the inputs, or the loss the targets.
    """
    check_examples(data, batch_size=batch_size, name=name)
    # Not what is remembered where the trainer may hold tracers: no cache may keep these.
    remembered = not transforming() and hashable(trainer)
    predict = partial(_predict.eval_shape, trainer) if remembered else partial(jax.eval_shape, trainer.predict)
    prediction = predict(train_state, outline(data.x))
    (loss if isinstance(loss, Metric) else as_loss(loss)).check(prediction, data.y)


def check_examples(data: Data, *, batch_size: int | None = None, name: str = "data") -> None:
    """Raise one error that names everything that is wrong with `data` whatever it is for.

    Raises:
        TypeError: The data is no `Data`.
        ValueError: The data is empty, smaller than a batch, of different numbers of inputs and targets, or not
            finite; or a weight is negative.
    """
    if not isinstance(data, Data):
        raise TypeError(
            f"expected {name} as nn.Data(x, y), because inputs and targets go together; got {describe(data)}"
        )
    wrong = [*_counts(data, batch_size, name)] or [*_values(data, name)]
    if wrong:
        raise ValueError("\n".join(wrong))


@partial(jax.jit, static_argnums=0)
def _predict(trainer: Trainer, train_state: TrainState, x: Any) -> Any:
    """A jitted function remembers what it has traced: the second call of `fit` need not wait for that again."""
    return trainer.predict(train_state, x)


def _counts(data: Data, batch_size: int | None, name: str) -> Iterator[str]:
    leaves = named_leaves(data)
    alone = [field for field, leaf in leaves.items() if not is_array(leaf) or leaf.ndim == 0]
    if alone:
        yield f"expected arrays with a leading axis of examples; got {', '.join(f'{name}.{field}' for field in alone)}"
        return
    counts = {f"{name}.{field.replace('/', '.')}": len(leaf) for field, leaf in leaves.items()}
    listed = ", ".join(f"{field} has {count}" for field, count in counts.items())
    if len(set(counts.values())) != 1:
        yield f"expected one target (and weight) an input, because they are examples; {listed}"
    elif 0 in counts.values():
        yield f"expected at least one example, because there is nothing to learn from none; {listed}"
    if batch_size is not None and batch_size < 1:
        yield f"expected batch_size of at least 1, because it counts examples; got {batch_size}"
    elif batch_size is not None and 0 < next(iter(counts.values())) < batch_size:
        yield (f"expected batch_size of at most {next(iter(counts.values()))}, because {name} has that many examples; "
               f"got {batch_size}")  # fmt: skip


def _values(data: Data, name: str) -> Iterator[str]:
    for field, leaves in zip(data._fields, data, strict=True):
        for leaf in jax.tree.leaves(leaves):
            seen = values(leaf)
            if seen is not None and jnp.issubdtype(seen.dtype, jnp.floating):
                bad = ~np.isfinite(seen.reshape(len(seen), -1)).all(axis=1)
                if bad.any():
                    yield (f"expected {name}.{field} to be finite, because one NaN spreads to every parameter; got "
                           f"NaN or infinity in {int(bad.sum())} of {len(seen)} examples, "
                           f"first in example {int(bad.argmax())}")  # fmt: skip
    w = values(data.w)
    if w is not None and (w < 0).any():
        yield f"expected {name}.w of at least 0, because it weighs examples; got {w.min()}"


def check_between_epochs(train_state: TrainState, because: str) -> None:
    """Raise an error for a train state that can be seen to be within an epoch.

    Raises:
        ValueError: It is.
    """
    position = values(train_state.position)
    if position:
        raise ValueError(f"expected a train state between epochs, because {because}; got one after {position} steps of "
                         "its epoch\n  hint: nn.run goes on in mid-epoch; to begin the epoch again, "
                         "train_state._replace(position=jnp.zeros((), jnp.int32))")  # fmt: skip
