"""`stacking`: a model that learns to combine others, from what these say of examples that they have not seen.

Dimensions: `n` examples; `bases` models of any structure, each with `outputs` numbers an example; `k` folds.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.data._folds import Folds
from jaxnn.ensembles._fitted import Fitted
from jaxnn.ensembles._members import (
    Train,
    block_of,
    mapped,
    model_is_structure,
    trained,
)
from jaxnn.errors import ShapeError, values
from jaxnn.layers import parallel, serial
from jaxnn.layers._layer import Layer, LayerLike, as_layer, outline
from jaxnn.ops import concatenate, softmax
from jaxnn.search._members import check_key, member_key
from jaxnn.training._checks import check_examples
from jaxnn.training._compiled import compiled
from jaxnn.typing import Array, Data, Key, Params, State


@model_is_structure
class Stacked(NamedTuple):
    """What `stacking` makes: a model that takes x, and what its last part was trained on.

    >>> Stacked._fields
    ('model', 'params', 'state', 'features')
    """

    model: Layer  # the base models side by side, and the meta model on what they put out
    params: Params
    state: State
    features: Array  # what base models that have not seen an example put out for it; (n, bases x outputs)

    @property
    def fitted(self) -> Fitted:
        """The model with its parameters and state, as other functions of this package take it."""
        return Fitted(self.model, self.params, self.state)


def stacking(
    models: Mapping[str, LayerLike],
    trains: Mapping[str, Train],
    meta: LayerLike,
    train_meta: Train,
    data: Data,
    folds: Folds,
    key: Key,
    *,
    through: LayerLike = softmax,
    block: SupportsIndex | None = None,
) -> Stacked:
    """Train several models, and one more on their outputs for examples that they have not seen.

    Each base model is trained once for each fold, on the fold's training part, and predicts its validation part. As the
    folds are a partition, each example has one such prediction of each base, by a model that never saw it. These are
    the meta model's inputs. (Predictions of examples that a base was trained on would be better than any it makes
    later, and the meta model would trust most whichever base has memorised most.) Then each base is trained anew on all
    data, and the meta model stands on these.

    The model that comes of it takes x:

        nn.serial(bases=nn.parallel(a=nn.serial(model=a, through=softmax), ...), joined=nn.concatenate, meta=meta)

    All folds of a base are computed at once, and the whole is one compiled program. Base i in fold f is the single run
    `trains[name](nn.search.member_key(key, i, f), folds.of(data, f)[0])`, but for rounding; on all data the key is that
    of f = k, and that of the meta model `nn.search.member_key(key, bases)`. If weights of the data are given they weigh
    in all of these.

    It is a pure function, so `jit` and `vmap` over keys apply to it. Called by itself it compiles, once for the same
    functions and shapes. Within, values of the data cannot be seen: what `fit` would refuse because of them, such as
    labels out of range, is not refused.

    Args:
        models: The base models by name, of any structure.
        trains: For each a pure function `train(key, data) -> train_state`, under the same names.
        meta: The model that combines; often `nn.Dense(classes)`, which is logistic regression.
        train_meta: How it is trained, on `Data(features, y, w)`.
        data: What all train on.
        folds: Each example is in the validation part of one, as `nn.data.k_fold` and `stratified_k_fold` make them.
        key: Decides all that is random.
        through: What outputs go through before the meta model sees them, without parameters: `nn.softmax` makes
            probabilities of logits; `nn.identity` is for regression.
        block: How many folds to compute at a time, to bound memory; by default all at once.

    Returns:
        The model with parameters and state, and the features `(n, bases x outputs)` that the meta model was trained on.

    Raises:
        TypeError: The key is none, the data no `Data`, the folds are no `Folds`, or `train` returns no train state.
        ValueError: There is no base, or names of models and trains differ; the folds are of another number of examples,
            or no partition, or train on what they validate; the data is empty, of different numbers of inputs and
            targets, or not finite, or a weight is negative; `through` has parameters; or a `train` trains another
            model.
        ShapeError: A base puts out no `(n, outputs)`.

    >>> import jax, jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> def by(model):
    ...     trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(1e-2))
    ...     return lambda key, data: nn.fit(trainer, trainer.init(key, data.x), data, epochs=8, batch_size=64)[0]
    >>> models = {"linear": nn.Dense(10), "wide": nn.serial(nn.Dense(32), nn.relu, nn.Dense(10))}
    >>> trains, meta = {name: by(model) for name, model in models.items()}, nn.Dense(10)
    >>> folds = nn.data.k_fold(train.examples, 3)
    >>> fitted = nn.ensembles.stacking(models, trains, meta, by(meta), train, folds, jax.random.key(0))
    >>> fitted.features.shape, fitted.params["bases"]["wide"]["model"]["dense_0"]["w"].shape
    ((1437, 20), (64, 32))
    >>> trainer = nn.trainer(fitted.model, nn.losses.cross_entropy, nn.sgd(0.1))
    >>> ts = trainer.begin(jax.random.key(1), fitted.params, fitted.state)
    >>> bool(nn.evaluate(trainer, ts, test, nn.metrics.accuracy) > 0.85)
    True

    Source: Wolpert, "Stacked generalization" (1992); probabilities rather than labels as inputs, Ting and Witten,
    "Issues in stacked generalization" (1999).
    """
    check_key(key)
    check_examples(data)
    if not models or set(models) != set(trains):
        raise ValueError(
            "expected models and trains of the same names, because each model has a way to be trained, and one at "
            f"least; got models {', '.join(models) or 'none'} and trains {', '.join(trains) or 'none'}"
        )
    _check_folds(folds, data.examples)
    bases = tuple((name, as_layer(model), trains[name]) for name, model in models.items())
    # Where nothing fills up, parts of folds have no weights: that is static, and the rows themselves are arguments.
    even = tuple(name for name in ("train_weights", "validation_weights") if _all_ones(getattr(folds, name)))
    static = bases, as_layer(meta), train_meta, as_layer(through), even, block_of(block)
    return _stacked(static, data, folds, key)


@compiled
def _stacked(static: Any, data: Data, folds: Folds, key: Key) -> Stacked:
    bases, meta, train_meta, through, even, block = static
    folds = replace(folds, **{name: np.ones(getattr(folds, name).shape, np.float32) for name in even})
    data, k = data.on_device(), len(folds)
    features = []
    params, state = {}, {}
    for i, (name, model, train) in enumerate(bases):
        base = serial(model=model, through=through)
        nothing = _of_through(base, key, data.x)

        def train_base(key, data, model=model, train=train, nothing=nothing):
            params, state = trained(model, train, key, data)
            return {"model": params, "through": nothing[0]}, {"model": state, "through": nothing[1]}

        def predict_unseen(fold, i=i, base=base, train_base=train_base):
            seen, unseen = folds.of(data, fold)
            params, state = train_base(member_key(key, i, fold), seen)
            return _features(base, params, state, unseen.x)

        z = mapped(predict_unseen, jnp.arange(k, dtype=jnp.int32), block)
        # A row that fills up is one of the fold's own, so what is written twice is the same.
        rows = jnp.asarray(folds.validation).reshape(-1)
        features.append(jnp.zeros((data.examples, z.shape[-1]), z.dtype).at[rows].set(z.reshape(-1, z.shape[-1])))
        params[name], state[name] = train_base(member_key(key, i, k), data)
    features = concatenate(*features)
    of_meta, meta_state = trained(meta, train_meta, member_key(key, len(bases)), Data(features, data.y, data.w))
    side_by_side = parallel(**{name: serial(model=model, through=through) for name, model, _ in bases})
    return Stacked(
        serial(bases=side_by_side, joined=concatenate, meta=meta),
        {"bases": params, "joined": {}, "meta": of_meta},
        {"bases": state, "joined": {}, "meta": meta_state},
        features,
    )


def _of_through(base: Layer, key: Key, x: Any) -> tuple[Params, State]:
    """Return parameters and state of the layer `through`, which have a structure and no leaves."""
    params, state = jax.eval_shape(lambda key: base.init(key, outline(x)), key)
    nothing = params["through"], state["through"]
    if jax.tree.leaves(nothing):
        raise ValueError(
            f"expected through without parameters, because nothing trains them; got {base.children['through']!r}\n"
            "  hint: what learns is part of the meta model: meta=nn.serial(...)"
        )
    return nothing


def _features(base: Layer, params: Params, state: State, x: Any) -> Array:
    """Return what the meta model is given of a base for x."""
    z, _ = base.apply(params, state, x)
    if z.ndim != 2:
        raise ShapeError(
            "outputs of shape (batch, outputs)",
            why="those of all base models are put side by side along the last axis",
            got=f"{tuple(z.shape)} from {base.children['model']!r}",
            hint="nn.flatten at the end of the base makes one axis of several",
        )
    return z


def _check_folds(folds: Folds, n: int) -> None:
    """Raise an error unless the folds validate each of n examples once, and never one that they train on.

    Raises:
        TypeError: They are no `Folds`.
        ValueError: They do not, where that can be seen.
    """
    if not isinstance(folds, Folds):
        raise TypeError(f"expected folds as nn.data.Folds, because all folds are one program; got {folds!r}\n  hint: "
                        f"nn.data.folds(pairs, {n}) makes them of pairs of rows, such as those of scikit-learn's "
                        "split")  # fmt: skip
    if folds.n != n:
        raise ValueError(f"expected folds of {n} examples, because the data have so many; got folds of {folds.n}")
    if any(values(part) is None for part in jax.tree.leaves(folds)):
        return
    times, seen = np.zeros(n, int), 0
    for train, validation in folds:
        np.add.at(times, validation, 1)
        seen += len(np.intersect1d(train, validation))
    if (times != 1).any():
        raise ValueError(
            "expected folds that validate each example once, because the meta model is trained on one prediction of "
            f"each; got {int((times == 0).sum())} of {n} examples in no validation part, and "
            f"{int((times > 1).sum())} in several\n"
            "  hint: nn.data.k_fold and nn.data.stratified_k_fold make partitions, nn.data.time_ordered none"
        )
    if seen:
        raise ValueError(
            "expected folds that do not train on what they validate, because base models would know the examples that "
            f"the meta model is to learn from; got {seen} such rows"
        )


def _all_ones(weights: Any) -> bool:
    """Whether it can be seen that no row fills up."""
    seen = values(weights)
    return seen is not None and bool((seen == 1).all())
