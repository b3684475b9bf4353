"""Gradient boosting: learners one after another, each on the step that lessens the loss of the sum so far.

Dimensions: `n` examples, `rounds` learners, `features` the model's outputs, `...` further axes.
"""

from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn import losses
from jaxnn.ensembles._fitted import Fitted
from jaxnn.ensembles._learners import batch_of, check, check_rate, judge, outputs
from jaxnn.ensembles._members import Train, model_is_structure, trained
from jaxnn.errors import ShapeError
from jaxnn.gradients import LossLike, as_loss
from jaxnn.layers import Bias, Ensemble, Layer, serial
from jaxnn.layers._layer import LayerLike
from jaxnn.losses import weighted_mean
from jaxnn.ops import sum_of_members
from jaxnn.search._members import member_key
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled
from jaxnn.typing import AnyArray, Array, Data, Key, Params, Scalar, State

_OF_MEAN = (losses.mse, losses.squared_error, losses.half_squared_error, losses.l2_loss, losses.sse)
_OF_LOG_PRIOR = (
    losses.cross_entropy,
    losses.softmax_cross_entropy,
    losses.safe_softmax_cross_entropy,
    losses.softmax_cross_entropy_with_integer_labels,
)
_OF_LOG_ODDS = (losses.binary_cross_entropy, losses.sigmoid_binary_cross_entropy, losses.multilabel_cross_entropy)


@model_is_structure
class GradientBoosted(NamedTuple):
    """What `gradient_boosting` makes: a constant and a sum of learners, and how the loss fell.

    >>> GradientBoosted._fields
    ('model', 'params', 'state', 'losses')
    """

    model: Layer  # serial(boosted=Ensemble(model, rounds, combine=sum_of_members), prior=Bias())
    params: Params  # those of the learners, stacked, under "boosted"; and the constant, "prior/b"
    state: State  # under "boosted" that of the learners, stacked, and the learning rate for their weights
    losses: Array  # on the training data, of the constant and after each round; (rounds + 1,)

    @property
    def fitted(self) -> Fitted:
        """The sum with its parameters and state, as other functions of this package take it."""
        return Fitted(self.model, self.params, self.state)


def gradient_boosting(
    model: LayerLike,
    train: Train,
    data: Data,
    key: Key,
    *,
    rounds: SupportsIndex,
    loss: LossLike,
    learning_rate: Scalar = 0.1,
    subsample: float | None = None,
    prior: AnyArray | None = None,
    batch_size: SupportsIndex | None = None,
) -> GradientBoosted:
    """Descend a loss by steps that learners predict, F_m = F_(m-1) + learning_rate h_m, from the best constant F_0.

    Round m trains h_m on targets t = -dl/dF, the negative gradient of each example's loss at F_(m-1), which is the
    loss's own backward. `train` should minimise a squared error, whatever `loss` is: h_m is then the step, among those
    that the model can make, that is nearest to the gradient's. A model of several outputs, such as one a class, has a
    gradient in each. There is no search along the step, and no correction of single leaves as trees have it.

    `mse` has the slope 2 (F - y), `half_squared_error` F - y: so with `mse` a learning rate of 0.1 goes as far as 0.2
    does with the other, which is what scikit-learn's `GradientBoostingRegressor` calls squared error.

    All rounds are one `scan`, hence one compiled program. It is a pure function: map it over keys, or over learning
    rates, by `jax.vmap`.

    Args:
        model: A layer that puts out `(batch, ..., features)`, of the shape that `loss` wants of predictions.
        train: A pure function `train(key, data)` that trains the model on targets of the shape of its output, with
            regard to `data.w` if there is one, and returns its `TrainState`.
        data: Inputs, targets as `loss` wants them, and weights, `(n,)` or any longer prefix of the loss's shape.
        key: From `jax.random.key`.
        rounds: How many learners.
        loss: An op or a function of prediction and target that returns the loss of each example, `(n, ...)`.
        learning_rate: By how much of a step F moves; above 0, it may be a tracer.
        subsample: Which part of the examples a round trains on, drawn anew without replacement, above 0 and at most 1;
            of floor(subsample n) examples, but one at least. All by default.
        prior: F_0, `(features,)`. By default the constant of least loss, over axes other than the last: the mean for
            squared errors, the median for `mae`, the logarithms of the parts of the classes for cross-entropies, and
            the log-odds for binary ones. (A part of 0 or 1 is taken for the float's epsilon more, or less.) For other
            losses it must be given.
        batch_size: How many examples F is computed for at a time, to bound memory; all at once by default.

    Returns:
        The sum as a model, and the loss after each round.

    Raises:
        TypeError: The data is no `Data`; a count is no int; `subsample` is no number, or a tracer; `train` returns no
            train state.
        ValueError: `rounds` is below 1, the learning rate not above 0, or `subsample` not within (0, 1]; there is no
            `prior`, and none is known for this loss; targets are refused by the loss; a weight is negative, or none
            above 0.
        ShapeError: The targets are not of the shape that the loss wants for the model's output, or weights not of that
            of the loss; the output has no axis of features; `prior` is not one number a feature; there are several
            learning rates.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> model = nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1))
    >>> trainer = nn.trainer(model, nn.losses.mse, nn.adam(0.1))
    >>> def train(key, data):
    ...     return nn.fit(trainer, trainer.init(key, data.x), data, epochs=20, batch_size=64)[0]
    >>> boosted = nn.ensembles.gradient_boosting(
    ...     model, train, nn.Data(x, jnp.sin(6 * x)), jax.random.key(0), rounds=10, loss=nn.losses.mse)
    >>> boosted.losses.shape, bool(boosted.losses[-1] < boosted.losses[0])
    ((11,), True)

    Source: Friedman, "Greedy function approximation: a gradient boosting machine" (2001), algorithm 1, with a constant
    in place of its line search; "Stochastic gradient boosting" (2002) for `subsample`.
    """
    rounds = count(rounds, "rounds", why="each trains a learner")
    check_rate(learning_rate, why="F descends by it")
    subsample = _part(subsample)
    of_learners, op = judge(model, loss), as_loss(loss)
    f = check(of_learners, data, key)
    if len(f.shape) < 2:
        raise ShapeError("a model that puts out (batch, ..., features)", why="the constant is one number a feature",
                         got=f.shape)  # fmt: skip
    if prior is None and _kind(op) is None:
        raise ValueError(f"expected prior, because which constant has the least {op} is not known; got None\n"
                         f"  hint: prior=jnp.zeros({f.shape[-1]}) begins at 0")  # fmt: skip
    if prior is not None and jnp.shape(prior) != f.shape[-1:]:
        raise ShapeError(f"prior of shape {f.shape[-1:]}", why="it is one number a feature", got=jnp.shape(prior))

    static = of_learners, train, rounds, subsample, batch_of(batch_size), f
    return _gradient_boosting(static, data, key, learning_rate, prior)


@compiled
def _gradient_boosting(
    static: Any, data: Data, key: Key, learning_rate: Scalar, prior: AnyArray | None
) -> GradientBoosted:
    of_learners, train, rounds, subsample, batch_size, outline = static
    data, op, n = data.on_device(), as_loss(of_learners.loss), data.examples
    rate = jnp.asarray(learning_rate, outline.dtype)
    b = (_least(op, data, outline) if prior is None else jnp.asarray(prior)).astype(outline.dtype)

    def round(f: Array, m: Array) -> Any:
        l, residuals = op.fwd(f, data.y)
        df, *_ = op.bwd(residuals, jnp.ones_like(l))
        sample = data._replace(y=-df)
        if subsample is not None and subsample < 1:
            # Trials 0 and 1 of this key are two streams: one for what learners draw, one for their samples.
            rows = jax.random.permutation(member_key(key, 1, m), n)[: max(1, int(subsample * n))]
            sample = sample.take(rows)
        params, state = trained(of_learners.model, train, member_key(key, 0, m), sample)
        h = outputs(of_learners, params, state, data, batch_size)
        return f + rate * h, (params, state, weighted_mean(l, data.w))

    f = jnp.broadcast_to(b.reshape((1,) * (len(outline.shape) - 1) + b.shape), outline.shape)
    f, (params, state, before) = lax.scan(round, f, jnp.arange(rounds, dtype=jnp.int32))
    fallen = jnp.append(before, weighted_mean(op(f, data.y), data.w))
    summed = serial(boosted=Ensemble(of_learners.model, rounds, combine=sum_of_members), prior=Bias())
    state = {"boosted": {"weights": jnp.full(rounds, rate), "members": state}, "prior": {}}
    return GradientBoosted(summed, {"boosted": params, "prior": {"b": b}}, state, fallen)


def _kind(op: Any) -> str | None:
    """Of which kind the constant of least loss is, if that is known."""
    kinds = {"mean": _OF_MEAN, "log-prior": _OF_LOG_PRIOR, "log-odds": _OF_LOG_ODDS}
    kinds["median"] = (losses.absolute_error, losses.mae)
    return next((kind for kind, ops in kinds.items() if op in ops), None)


def _least(op: Any, data: Data, outline: jax.ShapeDtypeStruct) -> Array:
    """The constant of least loss, `(features,)`."""
    kind, dtype, features = _kind(op), outline.dtype, outline.shape[-1]
    y = data.y
    if kind == "log-prior" and jnp.issubdtype(y.dtype, jnp.integer) and y.shape == outline.shape[:-1]:
        y = jax.nn.one_hot(y, features, dtype=dtype)
    y = y.astype(dtype)
    w = jnp.ones(data.examples, dtype) if data.w is None else data.w.astype(dtype)
    w = jnp.broadcast_to(w.reshape(w.shape + (1,) * (y.ndim - w.ndim)), y.shape)
    y, w = y.reshape(-1, features), w.reshape(-1, features)
    if kind == "median":
        return _median(y, w)
    mean = (w * y).sum(0) / w.sum(0)
    if kind == "mean":
        return mean
    eps = jnp.finfo(dtype).eps
    mean = mean.clip(eps, 1 - eps)
    return jnp.log(mean) if kind == "log-prior" else jnp.log(mean) - jnp.log1p(-mean)


def _median(y: Array, w: Array) -> Array:
    """The least value at which half of the weight is reached, in each column."""
    order = y.argsort(0)
    y, reached = jnp.take_along_axis(y, order, 0), jnp.take_along_axis(w, order, 0).cumsum(0)
    at = (reached >= reached[-1:] / 2).argmax(0)
    return jnp.take_along_axis(y, at[None], 0)[0]


def _part(subsample: Any) -> float | None:
    """Return the setting `subsample` as Python's float, or `None` for all examples."""
    if subsample is None:
        return None
    if isinstance(subsample, bool) or not isinstance(subsample, int | float | np.integer | np.floating):
        raise TypeError("expected subsample as a number, because how many examples a round takes is a shape; got "
                        f"{subsample!r}")  # fmt: skip
    if not 0 < subsample <= 1:
        raise ValueError(f"expected subsample above 0 and at most 1, because it is a part of the examples; got "
                         f"{subsample}")  # fmt: skip
    return float(subsample)
