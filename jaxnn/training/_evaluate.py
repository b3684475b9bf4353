"""Evaluation: the weighted means of metrics over a data set, or what they gather, in batches of one shape."""

from collections.abc import Mapping
from functools import partial
from typing import Any, SupportsIndex, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import ShapeError, is_array
from jaxnn.gradients import LossLike, as_loss
from jaxnn.losses import weighted_mean
from jaxnn.metrics import Metric
from jaxnn.ops import Op
from jaxnn.training._averages import averaged as at_average
from jaxnn.training._checks import check_data, integer
from jaxnn.training._compiled import compiled, transforming
from jaxnn.training._trainer import Trainer, TrainState
from jaxnn.typing import Array, Data

MetricLike: TypeAlias = LossLike | Metric
"""A loss or metric of examples, or a metric with a state."""


def evaluate(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    metric: MetricLike | tuple[MetricLike, ...] | list[MetricLike] | Mapping[str, MetricLike] | None = None,
    *,
    batch_size: SupportsIndex | None = None,
    averaged: bool = False,
) -> Any:
    """Return the mean of a metric over `data`, or what it gathers there, with the model as in inference.

    Of several metrics it returns the figure of each, and the model runs over the data once for all of them.

    A result that is NaN is looked into: if the metric cannot judge such predictions, as `log_loss` cannot judge logits,
    that is an error. Within `jit` and the like, where predictions cannot be seen, it stays NaN.

    Args:
        trainer: Whose model to run.
        train_state: Whose parameters and state to run it with.
        data: Inputs, targets and optional weights.
        metric: Any loss or metric, of examples or with a state; the trainer's loss by default. Or several: a tuple or a
            list of them, or a dict by name.
        batch_size: How many examples to run at a time, to bound memory; all at once by default.
        averaged: Whether to run it with the averaged parameters in the optimizer's state instead, as
            `nn.optim.exponentially_averaged` keeps them.

    Returns:
        A scalar: sum_i w_i m_i / sum_i w_i; of a `Metric` what it computes, whatever the batches. Of several a tuple of
        these, or a dict by the same names.

    Raises:
        TypeError: The data is no `Data`, or `batch_size` no int.
        ValueError: The data is empty, or has different numbers of inputs and targets, NaN, or labels out
            of range; `batch_size` is below 1; the metric is of probabilities, and predictions are none; there is no
            metric; the optimizer averages no parameters.
        ShapeError: The model cannot take the inputs, or the metric the targets; the metric is a function that has no
            figure for each example.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    >>> ts, data = t.init(jax.random.key(0), jnp.zeros((4, 3))), nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 0, 1]))
    >>> nn.evaluate(t, ts, data, nn.metrics.accuracy)
    Array(0.75, dtype=float32)
    >>> figures = nn.evaluate(t, ts, data, {"loss": t.loss, "confusion": nn.metrics.ConfusionMatrix(classes=2)})
    >>> figures["loss"].round(3), figures["confusion"]
    (Array(0.693, dtype=float32), Array([[3., 0.], [1., 0.]], dtype=float32))
    """
    metric = trainer.loss if metric is None else metric
    names, metrics = _listed(metric)
    size = None if batch_size is None else integer(batch_size, "batch_size", why="it is a shape")
    ts = at_average(train_state) if averaged else train_state
    # More than there are is as good as all, so of a batch no more is asked than that it is one.
    check_data(trainer, ts, data, _checked(metrics), batch_size=None if size is None else min(size, 1), name="data")
    results = _evaluate((trainer, metrics, size), ts, data)
    if not transforming():
        undefined = [m for m, result in zip(metrics, results, strict=True) if _has_nan(result)]
        _check_predictions(trainer, ts, data, undefined, size)
    if isinstance(metric, Mapping):
        return dict(zip(names, results, strict=True))
    return results if isinstance(metric, tuple | list) else results[0]


def _listed(metric: Any) -> tuple[tuple[str, ...], tuple[MetricLike, ...]]:
    """The names of metrics, where they have some, and the metrics."""
    if isinstance(metric, Mapping):
        names, metrics = tuple(metric), tuple(metric.values())
    else:
        names, metrics = (), tuple(metric) if isinstance(metric, tuple | list) else (metric,)
    if not metrics:
        raise ValueError(f"expected a metric or several, because there is nothing else to return; got {metric!r}")
    for each in metrics:
        if not (callable(each) or isinstance(each, Metric)):
            raise TypeError(f"expected losses or metrics, because they are taken of predictions; got {each!r}")
    return names, metrics


def _checked(metrics: tuple[MetricLike, ...]) -> Op:
    """A loss whose check is that of each metric."""

    def check(prediction, target):
        for metric in metrics:
            (metric if isinstance(metric, Metric) else as_loss(metric)).check(prediction, target)

    return Op(check, check)


@compiled
def _evaluate(static: Any, train_state: TrainState, data: Data) -> Any:
    trainer, metrics, batch_size = static
    return figures(trainer, train_state, data.on_device(), metrics, batch_size)


def figures(
    trainer: Trainer, ts: TrainState, data: Data, metrics: tuple[MetricLike, ...], batch_size: int | None
) -> tuple[Any, ...]:
    """Return what each metric has of the model's predictions: its weighted mean, or what it computes after all of them.

    The model runs once for all metrics, in batches of one shape, the last one filled up.
    """
    n = data.examples
    rows = batches(n, batch_size)
    of_examples = tuple(m for m in metrics if not isinstance(m, Metric))
    gathered = tuple(m for m in metrics if isinstance(m, Metric))

    def judge(states, batch, real):
        prediction = trainer.predict(ts, batch.x)
        w = weights(batch, real)
        states = tuple(m.update(s, prediction, batch.y, w) for m, s in zip(gathered, states, strict=True))
        return states, (tuple(mean(m, prediction, batch.y, w) for m in of_examples), w)

    states = tuple(m.init() for m in gathered)
    if len(rows) == 1:
        states, (each, _) = judge(states, data, None)
    else:

        def take(states, rows):
            states, (each, w) = judge(states, data.take(rows % n), rows < n)
            return states, (each, w.sum())

        states, (each, w) = lax.scan(take, states, rows)
        each = tuple(weighted_mean(m, w) for m in each)
    mean_of, state_of = iter(each), iter(states)
    return tuple(m.compute(next(state_of)) if isinstance(m, Metric) else next(mean_of) for m in metrics)


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


def _has_nan(result: Any) -> bool:
    return any(
        is_array(figure) and jnp.issubdtype(figure.dtype, jnp.inexact) and bool(np.isnan(np.asarray(figure)).any())
        for figure in jax.tree.leaves(result)
    )


def _check_predictions(
    trainer: Trainer, ts: TrainState, data: Data, metrics: list[MetricLike], batch_size: int | None
) -> None:
    """Raise the error that one of the metrics has of predictions that it can see, if one has."""
    if not metrics:
        return
    judges = [partial(m.update, m.init()) if isinstance(m, Metric) else as_loss(m) for m in metrics]
    for rows in batches(data.examples, batch_size):
        batch = data.take(rows % data.examples)
        prediction = _predicted(trainer, ts, batch.x)
        for judge in judges:
            judge(prediction, batch.y)


@compiled
def _predicted(trainer: Any, train_state: TrainState, x: Any) -> Any:
    return trainer.predict(train_state, x)


def batches(n: int, batch_size: int | None) -> Array:
    """Return which of n examples each batch has, `(steps, batch)`; those from n on fill up the last."""
    b = n if batch_size is None else min(batch_size, n)
    steps = -(-n // b)
    return jnp.arange(steps * b).reshape(steps, b)


def weights(batch: Data, real: Array | None) -> Any:
    """Return the batch's weights, with 0 for the rows that only fill it up; `None` if all count alike."""
    if real is None:
        return batch.w
    w = jnp.ones(real.shape, jnp.result_type(float)) if batch.w is None else batch.w
    return w * real.astype(w.dtype).reshape(real.shape + (1,) * (w.ndim - 1))
