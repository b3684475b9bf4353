"""`deep_ensemble`: one model trained several times, from different starts, as one program.

Dimensions: `members` models of one kind, `n` examples.
"""

from collections.abc import Mapping
from typing import Any, SupportsIndex

import jax.numpy as jnp

from jaxnn.ensembles._fitted import Fitted, ensemble_of
from jaxnn.ensembles._members import Combine, Train, block_of, columns_of, mapped, trained
from jaxnn.layers._layer import LayerLike, as_layer
from jaxnn.ops import soft_vote
from jaxnn.search._members import check_key, member_key
from jaxnn.training._checks import check_examples, count
from jaxnn.training._compiled import compiled
from jaxnn.typing import Data, Key


def deep_ensemble(
    model: LayerLike,
    train: Train,
    data: Data,
    key: Key,
    *,
    members: SupportsIndex | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    combine: Combine = soft_vote,
    block: SupportsIndex | None = None,
) -> Fitted:
    """Train a model several times on all data, each time from another start, and let the results vote.

    Members differ by their keys, which decide parameters, the order of examples, dropout and all else that is random;
    and by hyperparameters, if there are some. All are one compiled program. Member m is the single run
    `train(nn.search.member_key(key, 0, m), data)`, but for rounding, so it does not depend on how many others there
    are: an ensemble of ten is that of five and five further members.

    It is a pure function, so `jit` and `vmap` over keys apply to it. Called by itself it compiles, once for the same
    `train` and shapes. Within, values of the data cannot be seen: what `fit` would refuse because of them, such as
    labels out of range, is not refused.

    Where the members' outputs are to be judged apart (how much do they disagree?), `predictions` of the model has them
    all, and `nn.ensembles.uncertainty` takes these. The paper also trains on adversarial examples, which is not done
    here.

    Args:
        model: What is trained.
        train: A pure function `train(key, data, **hyperparameters) -> train_state`, such as one that makes a trainer,
            and returns the train state of `nn.fit` from `trainer.init(key, data.x)` on.
        data: What all members train on.
        key: Decides all that is random.
        members: How many; may be left out with hyperparameters.
        hyperparameters: By name, numbers of which each member has its own: arrays `(members, ...)`. They are traced.
        combine: How outputs become one, as in `nn.Ensemble`: `nn.ops.soft_vote` for logits of classes,
            `nn.ops.mean_of_members` for numbers, another op, or a function of outputs and weights `(members,)`.
        block: How many members to compute at a time, to bound memory; by default all at once.

    Returns:
        The ensemble as a model, its parameters (those of `model`, stacked) and its state.

    Raises:
        TypeError: A count is no int, the key none, the data no `Data`, a hyperparameter not made of numbers, or `train`
            returns no train state.
        ValueError: A count is below 1; hyperparameters are of different lengths, or there is nothing that says how many
            members; the data is empty, of different numbers of inputs and targets, or not finite, or a weight is
            negative; or `train` trains another model.

    >>> import jax, jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> model = nn.serial(nn.Dense(16), nn.relu, nn.Dense(10))
    >>> def run(key, data, learning_rate):
    ...     trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(learning_rate))
    ...     return nn.fit(trainer, trainer.init(key, data.x), data, epochs=2, batch_size=64)[0]
    >>> rates = {"learning_rate": [1e-2, 3e-3, 1e-3]}
    >>> deep = nn.ensembles.deep_ensemble(model, run, train, jax.random.key(0), hyperparameters=rates)
    >>> deep.model, deep.params["dense_0"]["w"].shape
    (Ensemble(serial(Dense(16), relu, Dense(10)), members=3), (3, 64, 16))
    >>> trainer = nn.trainer(deep.model, nn.losses.cross_entropy, nn.adam(1e-3))
    >>> ts = trainer.begin(jax.random.key(1), deep.params, deep.state)
    >>> bool(nn.evaluate(trainer, ts, test, nn.metrics.accuracy) > 0.85)
    True

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles" (2017).
    """
    check_key(key)
    check_examples(data)
    columns = columns_of(hyperparameters)
    static = as_layer(model), train, _members(members, columns), combine, block_of(block)
    return _deep(static, data, key, columns)


def _members(members: SupportsIndex | None, columns: Mapping[str, Any]) -> int:
    """Return how many members there are."""
    lengths = {name: len(column) for name, column in columns.items()}
    if members is None and not lengths:
        raise ValueError("expected members or hyperparameters, because they say how many there are; got neither")
    if members is not None:
        lengths = {"members": count(members, "members", why="an ensemble has some"), **lengths}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            "expected one number for each member, because hyperparameters are those of members; got "
            f"{', '.join(f'{name} of {length}' for name, length in lengths.items())}"
        )
    return next(iter(lengths.values()))


@compiled
def _deep(static: Any, data: Data, key: Key, columns: Mapping[str, Any]) -> Fitted:
    model, train, members, combine, block = static
    data = data.on_device()

    def member(each):
        m, hyperparameters = each
        return trained(model, train, member_key(key, 0, m), data, **hyperparameters)

    params, state = mapped(member, (jnp.arange(members, dtype=jnp.int32), columns), block)
    return ensemble_of(model, params, state, combine=combine)
