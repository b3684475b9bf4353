"""`bagging`: members that train on bootstrap samples, and a judgement by the examples that each has not seen.

Dimensions: `members` models of one kind, `n` examples, `size` rows of a bootstrap sample.
"""

from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp

from jaxnn.data._bootstrap import bootstrap, out_of_bag
from jaxnn.ensembles._fitted import Fitted, ensemble_of
from jaxnn.ensembles._members import (
    Combine,
    Train,
    block_of,
    mapped,
    model_is_structure,
    trained,
)
from jaxnn.layers._layer import Layer, LayerLike, as_layer
from jaxnn.ops import soft_vote
from jaxnn.search._members import check_key, member_key
from jaxnn.training._checks import check_examples, count
from jaxnn.training._compiled import compiled
from jaxnn.typing import Array, Data, Key, Params, State, accumulator_dtype


@model_is_structure
class Bagged(NamedTuple):
    """What `bagging` makes: the ensemble, and what its members say of examples that they have not seen.

    >>> Bagged._fields
    ('model', 'params', 'state', 'rows', 'out_of_bag', 'covered')
    """

    model: Layer  # the ensemble
    params: Params  # those of the members, stacked
    state: State
    rows: Array  # of the data, what each member trained on; (members, size), int32
    out_of_bag: Array  # for each example, what those say together that have not seen it; (n, ...), 0 where nobody can
    covered: Array  # whether there are any of these; (n,), bool

    @property
    def fitted(self) -> Fitted:
        """The ensemble with its parameters and state, as other functions of this package take it."""
        return Fitted(self.model, self.params, self.state)


def bagging(
    model: LayerLike,
    train: Train,
    data: Data,
    key: Key,
    *,
    members: SupportsIndex,
    size: SupportsIndex | None = None,
    combine: Combine = soft_vote,
    block: SupportsIndex | None = None,
) -> Bagged:
    """Train a model on bootstrap samples of the data, once on each, and let the results vote.

    Each member draws `size` of the n examples with replacement, and trains on these as if they were all, with a key of
    its own. Averaging lessens the variance of what it averages: so this is for models that come out differently from
    slightly different data, such as large networks trained for long on few examples. It does not lessen a bias that all
    share.

    A sample of n rows lacks about 0.368 of the examples. So each example is unseen by about that part of the members,
    and what these say of it together, `out_of_bag`, judges the ensemble without any data held out. (That is a smaller
    ensemble than the whole, so its figures tend to be slightly worse.) Give `covered` as weights, for an example that
    all members have seen has no such prediction:

        nn.metrics.accuracy(bagged.out_of_bag, data.y)[bagged.covered].mean()

    All members are one compiled program. Member m is the single run
    `train(nn.search.member_key(key, 0, m), data.take(bagged.rows[m]))`, but for rounding, whatever the number of
    members. Samples are rows and not weights, so layers that look at whole batches, as `BatchNorm` does, see what is in
    the sample and nothing else.

    It is a pure function, so `jit` and `vmap` over keys apply to it. Called by itself it compiles, once for the same
    `train` and shapes. Within, values of the data cannot be seen: what `fit` would refuse because of them, such as
    labels out of range, is not refused.

    Args:
        model: What is trained.
        train: A pure function `train(key, data) -> train_state`, such as one that makes a trainer, and returns the
            train state of `nn.fit` from `trainer.init(key, data.x)` on.
        data: What samples are drawn from; weights go along with their examples.
        key: Decides samples and all else that is random.
        members: How many.
        size: How many rows a sample has; by default as many as there are examples.
        combine: How outputs become one, as in `nn.Ensemble`: `nn.ops.soft_vote` for logits of classes,
            `nn.ops.mean_of_members` for numbers, another op, or a function of outputs and weights `(members,)`.
        block: How many members to compute at a time, to bound memory (each has its sample as a copy, and what it
            predicts of all examples); by default all at once.

    Returns:
        The ensemble as a model with parameters and state, the rows of each member, out-of-bag predictions, and which
        examples have one.

    Raises:
        TypeError: A count is no int, the key none, the data no `Data`, or `train` returns no train state.
        ValueError: A count is below 1; the data is empty, of different numbers of inputs and targets, or not finite, or
            a weight is negative; or `train` trains another model.

    >>> import jax, jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> trainer = nn.trainer(nn.Dense(10), nn.losses.cross_entropy, nn.adam(1e-2))
    >>> run = lambda key, data: nn.fit(trainer, trainer.init(key, data.x), data, epochs=2, batch_size=64)[0]
    >>> bagged = nn.ensembles.bagging(nn.Dense(10), run, train, jax.random.key(0), members=8)
    >>> bagged.params["w"].shape, bagged.out_of_bag.shape, bool(bagged.covered.mean() > 0.95)
    ((8, 64, 10), (1437, 10), True)
    >>> of_all = nn.trainer(bagged.model, nn.losses.cross_entropy, nn.sgd(0.1))
    >>> ts = of_all.begin(jax.random.key(1), bagged.params, bagged.state)
    >>> held_out = nn.evaluate(of_all, ts, test, nn.metrics.accuracy)
    >>> estimated = nn.metrics.accuracy(bagged.out_of_bag, jnp.asarray(train.y))[bagged.covered].mean()
    >>> bool(abs(held_out - estimated) < 0.05)
    True

    Source: Breiman, "Bagging predictors" (1996) and "Out-of-bag estimation" (1996).
    """
    check_key(key)
    check_examples(data)
    members = count(members, "members", why="an ensemble has some")
    size = data.examples if size is None else count(size, "size", why="a sample has so many rows")
    return _bagged((as_layer(model), train, members, size, combine, block_of(block)), data, key)


@compiled
def _bagged(static: Any, data: Data, key: Key) -> Bagged:
    model, train, members, size, combine, block = static
    data, n = data.on_device(), data.examples
    # Trials 0 and 1 of this key are two streams: one for what members draw as they train, one for their samples.
    rows = bootstrap(jax.random.fold_in(key, 1), n, members, size=size)

    def member(each):
        m, rows = each
        params, state = trained(model, train, member_key(key, 0, m), data.take(rows))
        z, _ = model.apply(params, state, data.x)
        return params, state, z

    params, state, z = mapped(member, (jnp.arange(members, dtype=jnp.int32), rows), block)
    combined, covered = _by_others(combine, z, out_of_bag(rows, n))
    fitted = ensemble_of(model, params, state, combine=combine)
    return Bagged(*fitted, rows, combined, covered)


def _by_others(combine: Combine, z: Array, unseen: Array) -> tuple[Array, Array]:
    """Return for each example what members say together that have not seen it, and whether there are any."""

    def of_example(z: Array, unseen: Array) -> Array:
        # The outputs of those that have seen it are replaced by others' in turn, beside their weight of 0: so no
        # `combine` can use them, not even one that takes no notice of weights.
        votes = jnp.maximum(unseen.sum(dtype=jnp.int32), 1)
        place = jnp.arange(len(unseen), dtype=jnp.int32)
        z = z[jnp.argsort(~unseen, stable=True)[place % votes]]
        return combine(z[:, None], (place < votes).astype(accumulator_dtype(z.dtype)))[0]

    covered = unseen.any(axis=0)
    combined = jax.vmap(of_example, in_axes=1)(z, unseen)
    return jnp.where(covered.reshape(covered.shape + (1,) * (combined.ndim - 1)), combined, 0), covered
