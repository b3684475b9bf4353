"""What both ways of boosting ask of a model: that a loss can judge it, and what it puts out for all the data.

Dimensions: `n` examples, `...` further axes.
"""

from typing import SupportsIndex

import jax
import numpy as np

from jaxnn.errors import ShapeError, values
from jaxnn.gradients import LossLike, as_loss
from jaxnn.layers._layer import LayerLike, outline
from jaxnn.losses import weighted_mean
from jaxnn.losses._shapes import check_positive
from jaxnn.optim import sgd
from jaxnn.search._members import check_key
from jaxnn.training._checks import check_examples, count
from jaxnn.training._predict import predict
from jaxnn.training._trainer import Trainer, trainer
from jaxnn.typing import Array, Data, Key, Params, Scalar, State

_RESTING = sgd(0.0)  # one object, so that what is compiled for a trainer is found again


def judge(model: LayerLike, loss: LossLike) -> Trainer:
    """Return a trainer that never trains: it runs what others have trained, and its loss judges that."""
    return trainer(model, loss, _RESTING)


def check(of_learners: Trainer, data: Data, key: Key) -> jax.ShapeDtypeStruct:
    """Raise an error unless the loss can judge the model on the data; return the outline of the model's output.

    Raises:
        TypeError: The data is no `Data`, or the key none.
        ValueError: It is empty, of different numbers of inputs and targets, not finite, or has targets out of range;
            a weight is negative, or none above 0.
        ShapeError: The model cannot take the inputs, or the loss the targets; weights do not fit the loss.
    """
    check_key(key)
    check_examples(data)
    x, op = outline(data.x), as_loss(of_learners.loss)
    z = jax.eval_shape(lambda key, x: of_learners.predict(of_learners.init(key, x), x), key, x)
    op.check(z, data.y)
    if data.w is not None:
        weighted_mean.check(jax.eval_shape(op, z, outline(data.y)), data.w)
        seen = values(data.w)
        if seen is not None and not (seen > 0).any():
            raise ValueError(
                f"expected a weight above 0, because what weighs nothing is not there; got {seen.size} of 0"
            )
    return z


def outputs(of_learners: Trainer, params: Params, state: State, data: Data, batch_size: int | None) -> Array:
    """Return what the model puts out for all the data, `(n, ...)`, a batch at a time."""
    ts = of_learners.begin(jax.random.key(0), params, state)  # of the key nothing is drawn
    return predict(of_learners, ts, data.x, batch_size=batch_size)


def check_rate(learning_rate: Scalar, *, why: str) -> None:
    """Raise an error unless the learning rate is one number, above 0 if it can be seen.

    Raises:
        ShapeError: It is an array of several.
        ValueError: It is not above 0.
    """
    if np.shape(learning_rate) != ():
        raise ShapeError("learning_rate of shape ()", why="all rounds have the same", got=np.shape(learning_rate),
                         hint="jax.vmap maps over several learning rates")  # fmt: skip
    check_positive("learning_rate", learning_rate, why=why)


def batch_of(batch_size: SupportsIndex | None) -> int | None:
    """Return the setting `batch_size` as Python's int, or `None` for all examples at once."""
    return None if batch_size is None else count(batch_size, "batch_size", why="it counts examples that are computed "
                                                                               "at a time")  # fmt: skip
