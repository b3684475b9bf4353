"""Evaluation: the weighted mean of a metric over a data set, or what it gathers, in batches of one shape."""

from functools import partial
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import ShapeError, is_array
from jaxnn.gradients import LossLike, as_loss
from jaxnn.losses import weighted_mean
from jaxnn.metrics import Metric
from jaxnn.training._checks import check_data, integer
from jaxnn.training._compiled import compiled, transforming
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Array, Data


def evaluate(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    metric: LossLike | Metric | None = None,
    *,
    batch_size: SupportsIndex | None = None,
) -> Any:
    """Return the mean of a metric over `data`, or what it gathers there, with the model as in inference.

    A result that is NaN is looked into: if the metric cannot judge such predictions, as `log_loss` cannot judge logits,
    that is an error. Within `jit` and the like, where predictions cannot be seen, it stays NaN.

    Args:
        trainer: Whose model to run.
        train_state: Whose parameters and state to run it with.
        data: Inputs, targets and optional weights.
        metric: Any loss or metric, of examples or with a state; the trainer's loss by default.
        batch_size: How many examples to run at a time, to bound memory; all at once by default.

    Returns:
        A scalar: sum_i w_i m_i / sum_i w_i; of a `Metric` what it computes, whatever the batches.

    Raises:
        TypeError: The data is no `Data`, or `batch_size` no int.
        ValueError: The data is empty, or has different numbers of inputs and targets, NaN, or labels out
            of range; `batch_size` is below 1; the metric is of probabilities, and predictions are none.
        ShapeError: The model cannot take the inputs, or the metric the targets; the metric is a function that has no
            figure for each example.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    >>> ts = t.init(jax.random.key(0), jnp.zeros((4, 3)))
    >>> nn.evaluate(t, ts, nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 0, 1])), nn.metrics.accuracy)
    Array(0.75, dtype=float32)
    >>> nn.evaluate(t, ts, nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 0, 1])), nn.metrics.ConfusionMatrix(classes=2))
    Array([[3., 0.],
           [1., 0.]], dtype=float32)
    """
    metric = trainer.loss if metric is None else metric
    size = None if batch_size is None else integer(batch_size, "batch_size", why="it is a shape")
    # More than there are is as good as all, so of a batch no more is asked than that it is one.
    check_data(trainer, train_state, data, metric, batch_size=None if size is None else min(size, 1), name="data")
    result = _evaluate((trainer, metric, size), train_state, data)
    if not transforming() and any(map(_has_nan, jax.tree.leaves(result))):
        _check_predictions(trainer, train_state, data, metric, size)
    return result


@compiled
def _evaluate(static: Any, train_state: TrainState, data: Data) -> Any:
    trainer, metric, batch_size = static
    if isinstance(metric, Metric):
        return _gathered(trainer, train_state, data.on_device(), metric, batch_size)
    return means(trainer, train_state, data.on_device(), (metric,), batch_size)[0]


def means(
    trainer: Trainer, ts: TrainState, data: Data, metrics: tuple[LossLike, ...], batch_size: int | None
) -> tuple[Array, ...]:
    """Return the weighted mean of each metric, computed in batches of one shape, the last one filled up."""
    n, rows = data.examples, _rows(data, batch_size)

    def batch_means(batch, real):
        prediction = trainer.predict(ts, batch.x)
        w = weights(batch, real)
        return tuple(mean(m, prediction, batch.y, w) for m in metrics), w

    if len(rows) == 1:
        return batch_means(data, None)[0]

    def take(rows):
        each, w = batch_means(data.take(rows % n), rows < n)
        return each, w.sum()

    each, w = lax.map(take, rows)
    return tuple(weighted_mean(m, w) for m in each)


def mean(metric: LossLike, prediction: Any, target: Any, w: Array | None) -> Array:
    """Return the weighted mean of a metric of examples over one batch.

    Raises:
        ShapeError: It has one figure for all of them.
    """
    metric = as_loss(metric)
    each = metric(prediction, target)
    if jnp.ndim(each) == 0:
        raise ShapeError(
            f"figures of {metric} of shape (batch, ...)",
            why="those of examples are averaged",
            got="a scalar",
            hint="return the figure of each example, or evaluate with Collected(function, capacity)",
        )
    return weighted_mean(each, w)


def _gathered(trainer: Trainer, ts: TrainState, data: Data, metric: Metric, batch_size: int | None) -> Any:
    """Return what a metric computes after these batches."""
    n, rows = data.examples, _rows(data, batch_size)

    def update(state, batch, real):
        return metric.update(state, trainer.predict(ts, batch.x), batch.y, weights(batch, real))

    if len(rows) == 1:
        return metric.compute(update(metric.init(), data, None))
    take = lambda state, rows: (update(state, data.take(rows % n), rows < n), None)
    return metric.compute(lax.scan(take, metric.init(), rows)[0])


def _has_nan(figure: Any) -> bool:
    return is_array(figure) and jnp.issubdtype(figure.dtype, jnp.inexact) and bool(np.isnan(np.asarray(figure)).any())


def _check_predictions(
    trainer: Trainer, ts: TrainState, data: Data, metric: LossLike | Metric, batch_size: int | None
) -> None:
    """Raise the error that the metric has of predictions that it can see, if it has one."""
    judge = partial(metric.update, metric.init()) if isinstance(metric, Metric) else as_loss(metric)
    for rows in _rows(data, batch_size):
        batch = data.take(rows % data.examples)
        judge(_predicted(trainer, ts, batch.x), batch.y)


@compiled
def _predicted(trainer: Any, train_state: TrainState, x: Any) -> Any:
    return trainer.predict(train_state, x)


def _rows(data: Data, batch_size: int | None) -> Array:
    """Return which examples each batch has, `(steps, batch)`; those from the number of examples on fill up."""
    n = data.examples
    b = n if batch_size is None else min(batch_size, n)
    steps = -(-n // b)
    return jnp.arange(steps * b).reshape(steps, b)


def weights(batch: Data, real: Array | None) -> Any:
    """Return the batch's weights, with 0 for the rows that only fill it up; `None` if all count alike."""
    if real is None:
        return batch.w
    w = jnp.ones(real.shape, jnp.result_type(float)) if batch.w is None else batch.w
    return w * real.astype(w.dtype).reshape(real.shape + (1,) * (w.ndim - 1))
