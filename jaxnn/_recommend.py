"""What the end of a model should be for a task: how many units, what reads them out, which loss trains them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnn import losses
from jaxnn.ops import Op, identity, sigmoid, softmax, step


class Recommendation(NamedTuple):
    """The end of a model for a task.

    Attributes:
        units: Features of the last layer, `Dense(units)`, with no activation after it.
        activation: Makes predictions of its outputs. It is no part of the model that is trained.
        loss: Of its outputs, before the activation, and targets.
    """

    units: int
    activation: Callable[[Any], Any]
    loss: Op


class _Task(NamedTuple):
    """What a task wants; `least` and `units` are of n_classes, and `units` 0 stands for n_classes itself."""

    activation: Callable[[Any], Any]
    loss: str
    default: int | None = None
    least: int = 1
    units: int = 0


_TASKS = {
    "binary": _Task(sigmoid, "binary_cross_entropy", default=2, least=2, units=1),
    "multiclass": _Task(softmax, "cross_entropy", least=2),
    "multilabel": _Task(sigmoid, "binary_cross_entropy"),
    "regression": _Task(identity, "mse", default=1),
    "robust_regression": _Task(identity, "huber_loss", default=1),
    "counts": _Task(jnp.exp, "poisson_nll_from_log_rate", default=1),
    "positive": _Task(jnp.exp, "gamma_nll_from_log_mean", default=1),
    "margin": _Task(step.bind(low=-1.0), "hinge_loss", default=2, least=2, units=1),
    "similarity": _Task(identity, "cosine_proximity", least=2),
}


def recommend(task: str, n_classes: int | None = None) -> Recommendation:
    """Return `(units, activation, loss)` for the end of a model.

    ===================  ======  ==========  ===========================  ===================================
    task                 units   activation  loss                         targets
    ===================  ======  ==========  ===========================  ===================================
    "binary"             1       sigmoid     binary_cross_entropy         0 or 1
    "multiclass"         n       softmax     cross_entropy                integers below n, or one-hot rows
    "multilabel"         n       sigmoid     binary_cross_entropy         n numbers, each 0 or 1
    "regression"         n or 1  identity    mse                          any numbers
    "robust_regression"  n or 1  identity    huber_loss                   any numbers, some of them far out
    "counts"             n or 1  exp         poisson_nll_from_log_rate    0, 1, 2 ...
    "positive"           n or 1  exp         gamma_nll_from_log_mean      positive numbers
    "margin"             1       step        hinge_loss                   -1 or 1
    "similarity"         n       identity    cosine_proximity             n numbers, whose direction counts
    ===================  ======  ==========  ===========================  ===================================

    Here models put out logits and losses take logits: train `serial(..., Dense(units))` with the loss, and apply
    the activation only to read the outputs: to an output of 0 the sigmoid gives a probability of 0.5. An
    activation in the model, before such a loss, would be applied twice. Regression has none at all: `relu` could
    not put out a negative number.

    Args:
        task: What is to be predicted, one of the table.
        n_classes: n: how many classes, labels, or numbers for each example. Only "multiclass", "multilabel" and
            "similarity" need it; with two classes "binary" has 1 unit and "multiclass" 2.

    Raises:
        TypeError: n_classes is no int.
        ValueError: There is no such task, or n_classes does not suit it.

    >>> recommend("multiclass", 10)
    Recommendation(units=10, activation=softmax, loss=cross_entropy)
    >>> units, activation, loss = recommend("regression")
    >>> units, activation, loss
    (1, identity, mse)

    Source: for regression and classification Bishop, "Pattern recognition and machine learning" (2006), section 5.2.
    """
    if task not in _TASKS:
        raise ValueError(
            f"expected task to be one of {', '.join(_TASKS)}, because these are what there is; got {task!r}"
        )
    activation, loss, default, least, units = _TASKS[task]
    if not isinstance(n_classes, int | np.integer | None) or isinstance(n_classes, bool):
        raise TypeError(f"expected n_classes to be an int, because units are counted; got {n_classes!r}")
    n = default if n_classes is None else int(n_classes)
    if n is None or n < least or (units and n > least):
        few = f"{least}" if units else f"{least} or more"
        raise ValueError(
            f"expected n_classes to be {few}, because it is how many classes, labels or numbers there are "
            f"for each example of {task}; got {n_classes}"
        )
    return Recommendation(units or n, activation, getattr(losses, loss))
