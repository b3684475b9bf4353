"""AdaBoost: learners one after another, each on examples that weigh the more the more often others were wrong on them.

Dimensions: `n` examples, `rounds` learners, `classes` the model's outputs.
"""

from functools import partial
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ensembles._fitted import Fitted
from jaxnn.ensembles._learners import batch_of, check, check_rate, judge, outputs
from jaxnn.ensembles._members import Train, model_is_structure, trained
from jaxnn.errors import ShapeError, values
from jaxnn.layers import Ensemble, Layer
from jaxnn.layers._layer import LayerLike
from jaxnn.losses import softmax_cross_entropy_with_integer_labels
from jaxnn.ops import hard_vote
from jaxnn.search._members import member_key
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled
from jaxnn.training._trainer import Trainer
from jaxnn.typing import Array, Data, Key, Params, Scalar, State, accumulator_dtype


@model_is_structure
class Boosted(NamedTuple):
    """What `adaboost` makes: a weighted vote, and how it came about.

    >>> Boosted._fields
    ('model', 'params', 'state', 'errors', 'alphas', 'w')
    """

    model: Layer  # the ensemble
    params: Params  # those of the learners, stacked
    state: State
    errors: Array  # of each learner, weighted, on the training data; (rounds,), NaN after the end
    alphas: Array  # how much the vote of each counts; (rounds,), 0 after the end
    w: Array  # what examples would weigh in a further round: much if they are hard, or mislabelled; (n,)

    @property
    def fitted(self) -> Fitted:
        """The ensemble with its parameters and state, as other functions of this package take it."""
        return Fitted(self.model, self.params, self.state)


def adaboost(
    model: LayerLike,
    train: Train,
    data: Data,
    key: Key,
    *,
    rounds: SupportsIndex,
    learning_rate: Scalar = 1.0,
    classes: SupportsIndex | None = None,
    batch_size: SupportsIndex | None = None,
) -> Boosted:
    """Boost a classifier by SAMME: what a learner gets wrong weighs more for the next, and good learners vote more.

    Round m trains a learner on the weighted examples, and then, for K classes and with 1[wrong] where its largest
    output is not that of the label:

        err_m = sum_i w_i 1[wrong_i] / sum_i w_i
        alpha_m = learning_rate (log((1 - err_m) / err_m) + log(K - 1))
        w_i <- w_i exp(alpha_m 1[wrong_i])

    The class with the largest sum of alpha_m over the learners that name it is chosen. For two classes this is
    AdaBoost.M1. Boosting ends with a learner that is never wrong, whose alpha is 1, and before one that is no better
    than chance, err_m >= 1 - 1/K, whose alpha is 0, as in scikit-learn's `AdaBoostClassifier`. Shapes are static, so
    its round and those that are left are there too: their learner is the last good one again, which does not vote once
    more. Nothing is trained for them, but under `vmap`, where it is for nothing.

    Weights begin as those of the data and are scaled to the mean 1, which no weighted mean notices: so what else a
    learner minimises, such as a penalty, is as strong as without weights. To give a rare class more weight from the
    beginning is `nn.data.class_weighted(data)`. Outliers and wrong labels get heavier with every round too.

    All rounds are one `scan`, hence one compiled program. It is a pure function: map it over keys, or over learning
    rates, by `jax.vmap`.

    Args:
        model: A classifier, which puts out `(batch, classes)`.
        train: A pure function `train(key, data)` that trains the model, with regard to `data.w`, and returns its
            `TrainState`; the key of round m is `nn.search.member_key(key, 0, m)`.
        data: Inputs, integer labels `(n,)`, and weights `(n,)` or none.
        key: From `jax.random.key`.
        rounds: How many learners, at most.
        learning_rate: By how much less each counts, and changes the weights; above 0, it may be a tracer.
        classes: K, by default the number of the model's outputs.
        batch_size: How many examples a learner is judged on at a time, to bound memory; all at once by default.

    Returns:
        The vote, with errors, alphas and weights. The softmax of what its model puts out is each class's part of the
        votes.

    Raises:
        TypeError: The data is no `Data`, labels are no integers, a count is no int, or `train` returns no train state.
        ValueError: `rounds` is below 1, the learning rate not above 0; there are fewer than two classes, in the model
            or among the labels; a label is out of range, a weight negative, or none above 0; the first learner is no
            better than chance. (Where values cannot be seen, in a compiled program, its errors tell, and nobody votes.)
        ShapeError: Labels or weights are not one number an example, or there are several learning rates; the model
            cannot take the inputs.

    >>> import jax, jaxnn as nn
    >>> digits, test = (part.on_device() for part in nn.data.digits())
    >>> model = nn.serial(nn.Dense(4), nn.tanh, nn.Dense(10))  # too small for ten digits
    >>> trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(0.02))
    >>> def train(key, data):
    ...     return nn.fit(trainer, trainer.init(key, data.x), data, epochs=3, batch_size=64)[0]
    >>> boosted = nn.ensembles.adaboost(model, train, digits, jax.random.key(0), rounds=10)
    >>> boosted.model
    Ensemble(serial(Dense(4), tanh, Dense(10)), members=10, combine=hard_vote)
    >>> def accuracy(fitted):
    ...     logits, _ = fitted.model.apply(fitted.params, fitted.state, test.x)
    ...     return nn.metrics.accuracy(logits, test.y).mean()
    >>> first = nn.ensembles.member(boosted.fitted, 0)
    >>> bool(accuracy(boosted) > accuracy(first) + 0.04)
    True

    Source: Zhu, Zou, Rosset and Hastie, "Multi-class AdaBoost" (2009), algorithm 2, SAMME; Freund and Schapire, "A
    decision-theoretic generalization of on-line learning and an application to boosting" (1997).
    """
    rounds = count(rounds, "rounds", why="each trains a learner")
    of_learners = judge(model, softmax_cross_entropy_with_integer_labels)
    k = _check(of_learners, data, key, learning_rate, classes)
    boosted = _adaboost((of_learners, train, rounds, k, batch_of(batch_size)), data, key, learning_rate)
    _check_first(boosted.errors, k)
    return boosted


@compiled
def _adaboost(static: Any, data: Data, key: Key, learning_rate: Scalar) -> Boosted:
    of_learners, train, rounds, k, batch_size = static
    data = data.on_device()
    own = jnp.ones(data.examples) if data.w is None else data.w
    dtype = accumulator_dtype(own.dtype) if jnp.issubdtype(own.dtype, jnp.floating) else jnp.result_type(float)
    own = own.astype(dtype)
    learning_rate = jnp.asarray(learning_rate, dtype)

    def one_more(w: Array, key: Key) -> Any:
        params, state = trained(of_learners.model, train, key, data._replace(w=w))
        z = outputs(of_learners, params, state, data, batch_size)
        wrong = z.argmax(-1).astype(jnp.int32) != data.y.astype(jnp.int32)
        return params, state, wrong | jnp.isnan(z).any(-1)  # NaN names no class

    def round(carry: Any, m: Array) -> Any:
        w, ended, last = carry
        learner = lax.cond(ended, lambda w, key: last, one_more, w, member_key(key, 0, m))
        *_, wrong = learner
        err = jnp.where(wrong, w, 0).sum() / w.sum()
        perfect, by_chance = err <= 0, err >= 1 - 1 / k
        between = jnp.where(perfect | by_chance, 0.5, err)
        alpha = learning_rate * (jnp.log((1 - between) / between) + jnp.log(jnp.asarray(k - 1, dtype)))
        alpha = jnp.where(ended | by_chance, 0, jnp.where(perfect, 1, alpha))
        # Those that are right are made lighter instead, which a common factor undoes: so nothing overflows. And none
        # gets so light that it could not come back.
        lighter = _mean_1(w * jnp.where(wrong, 1, jnp.exp(-alpha)))
        changed = jnp.where(own > 0, jnp.maximum(lighter, jnp.finfo(dtype).eps), 0)
        ends = ended | perfect | by_chance
        # What does not vote has to run all the same: so where a learner may have diverged, the last one stands again.
        params, state, _ = learner = jax.tree.map(partial(jnp.where, by_chance & (m > 0)), last, learner)
        return (jnp.where(ends, w, changed), ends, learner), (params, state, jnp.where(ended, jnp.nan, err), alpha)

    w = _mean_1(own)
    # Shapes only, for the first round trains.
    last = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(one_more, w, key))
    (w, *_), learned = lax.scan(round, (w, jnp.array(False), last), jnp.arange(rounds, dtype=jnp.int32))
    params, states, errors, alphas = learned
    voters = Ensemble(of_learners.model, rounds, combine=hard_vote)
    return Boosted(voters, params, {"weights": alphas, "members": states}, errors, alphas, w)


def _mean_1(w: Array) -> Array:
    return w / w.mean()


def _check(of_learners: Trainer, data: Data, key: Key, learning_rate: Scalar, classes: SupportsIndex | None) -> int:
    """Raise an error unless the model can be boosted on the data; return the number of classes."""
    check_rate(learning_rate, why="a learner's vote would count against its class")
    z = check(of_learners, data, key)
    if len(z.shape) != 2:
        raise ShapeError("a model that puts out (batch, classes)", why="each example has one label", got=z.shape)
    outputs = z.shape[-1]
    k = outputs if classes is None else count(classes, "classes", why="labels are counted from 0")
    if not 2 <= k <= outputs:
        raise ValueError(
            f"expected at least two classes, and no more than the model's {outputs} outputs, because the largest one "
            f"names the class; got {k}" + ("\n  hint: two classes want two outputs: Dense(2)" if outputs == 1 else "")
        )
    y, w = values(data.y), values(data.w)
    if y is not None and y.max() >= k:
        raise ValueError(f"expected labels from 0 to {k - 1}, because there are {k} classes; got labels from "
                         f"{y.min()} to {y.max()}")  # fmt: skip
    counts = y if y is None or data.w is None else None if w is None else y[w > 0]
    if counts is not None and counts.min() == counts.max():
        raise ValueError("expected examples of at least two classes, because one needs no classifier; got "
                         f"{len(counts)}, all of class {counts.min()}")  # fmt: skip
    return k


def _check_first(errors: Array, k: int) -> None:
    """Raise an error if it can be seen that there is nobody to vote."""
    seen = values(errors)
    if seen is not None and seen[0] >= 1 - 1 / k:
        raise ValueError(
            "expected a learner better than chance, because votes count by how much better it is; got a first one that "
            f"is wrong on {seen[0]:.3g} of the weight, and chance is on {1 - 1 / k:.3g}\n  hint: train it for longer, "
            "or let it have more units"
        )
