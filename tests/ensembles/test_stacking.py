"""`stacking`: what the meta model learns from are predictions of models that have not seen the example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from memoriser import Nearest, memorise, noise
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.ensembles import Stacked, stacking
from jaxnn.search import member_key


def by(model, loss=nn.losses.mse, *, learning_rate=0.05, epochs=2, batch_size=4):
    """Return a function that trains the model."""

    def train(key, data):
        t = nn.trainer(model, loss, nn.adam(learning_rate))
        return nn.fit(t, t.init(key, data.x), data, epochs=epochs, batch_size=batch_size)[0]

    return train


def stepped(model, loss=nn.losses.mse, *, freeze=()):
    """Return a function that takes two steps, which compiles sooner than a run."""

    def train(key, data):
        t = nn.trainer(model, loss, nn.sgd(0.05), freeze=freeze)
        ts, _ = t.step(t.init(key, data.x), data)
        return t.step(ts, data)[0]

    return train


MODELS = {"linear": nn.Dense(1), "deep": nn.serial(nn.Dense(2), nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(2))}
# The second one puts out a mean and something else, of which its loss knows nothing.
FIRST = lambda prediction, target: (prediction[:, :1] - target) ** 2
TRAINS = {"linear": stepped(MODELS["linear"]), "deep": stepped(MODELS["deep"], FIRST, freeze="dense_0/b")}
META = nn.Dense(1)
TRAIN_META = stepped(META)
stacked_runs = functools.partial(stacking, MODELS, TRAINS, META, TRAIN_META, through=nn.tanh)


@functools.cache
def ran(model, train):
    """The single run: its parameters and state, and what its model makes of x."""

    @jax.jit
    def run(key, data, x):
        ts = train(key, data)
        params = nn.tree.merge(ts.params, ts.frozen)
        return params, ts.state, model.apply(params, ts.state, x)[0]

    return run


@pytest.mark.usefixtures("x64")
def test_it_is_what_single_runs_make(key):
    """Also where the number of folds does not divide that of examples, and rows that fill up have the weight 0."""
    data, folds, k = regression(10, weighted=True), nn.data.k_fold(10, 3, key=key), 3
    made = stacked_runs(data, folds, key)
    features, whole = np.full((10, 3), np.nan), {}
    for i, (name, columns) in enumerate([("linear", slice(0, 1)), ("deep", slice(1, 3))]):
        for f, (_, unseen) in enumerate(folds):
            seen, _ = folds.of(data, f)
            *_, z = ran(MODELS[name], TRAINS[name])(member_key(key, i, f), seen, data.x)
            features[unseen, columns] = np.tanh(z)[unseen]
        whole[name] = ran(MODELS[name], TRAINS[name])(member_key(key, i, k), data, data.x)
    np.testing.assert_allclose(made.features, features, rtol=1e-8)
    expected = {name: {"model": params, "through": {}} for name, (params, _, _) in whole.items()}
    assert_close(made.params["bases"], expected, 1e-8)
    assert_close(made.state["bases"]["deep"]["model"], whole["deep"][1], 1e-8)
    together = np.concatenate([np.tanh(z) for *_, z in whole.values()], axis=-1)
    on_features = data._replace(x=jnp.asarray(features))
    meta, _, y = ran(META, TRAIN_META)(member_key(key, 2), on_features, jnp.asarray(together))
    assert_close(made.params["meta"], meta, 1e-8)

    t = nn.trainer(made.model, nn.losses.mse, nn.sgd(0.1))
    predicted = nn.predict(t, t.begin(key, made.params, made.state), data.x)
    np.testing.assert_allclose(predicted, y, rtol=1e-8)
    assert repr(made.fitted.model) == (
        f"serial(bases=parallel(linear=serial(model=Dense(1), through=tanh), deep=serial(model={MODELS['deep']!r}, "
        "through=tanh)), joined=concatenate, meta=Dense(1))"
    )


one_base = functools.partial(stacking, {"linear": nn.Dense(1)}, {"linear": stepped(nn.Dense(1))}, META, TRAIN_META)
one_base = functools.partial(one_base, through=nn.identity)


@pytest.mark.usefixtures("x64")
def test_it_is_a_pure_function(key):
    data, folds, keys = regression(8), nn.data.k_fold(8, 2), jax.random.split(key, 2)
    both = jax.jit(jax.vmap(lambda key: one_base(data, folds, key)))(keys)
    assert isinstance(both, Stacked)
    for i, each in enumerate(keys):
        assert_close(jax.tree.map(lambda a, i=i: a[i], both), one_base(data, folds, each), 1e-8)
    three = nn.data.k_fold(8, 3)
    assert_close(one_base(data, three, key, block=2), one_base(data, three, key), 1e-8)
    # Folds that are arguments cannot be looked at, and are taken as they are.
    asked = jax.jit(lambda folds: one_base(data, folds, keys[1]))(folds)
    assert_close(asked, one_base(data, folds, keys[1]), 1e-8)


def test_what_it_makes_is_of_the_structure_that_its_model_begins_with(key):
    """So that it can be trained on as a whole; also if outputs go through several layers."""
    data, through = regression(8), nn.serial(nn.tanh, nn.BatchNorm(), nn.identity)
    made = one_base(data, nn.data.k_fold(8, 2), key, through=nn.serial(nn.tanh, nn.identity))
    assert jax.tree.structure((made.params, made.state)) == jax.tree.structure(made.model.init(key, data.x))
    message = "expected through without parameters, because nothing trains them"
    with pytest.raises(ValueError, match=message):
        one_base(data, nn.data.k_fold(8, 2), key, through=through)


def test_all_folds_and_models_are_one_program(key):
    data, folds, other = regression(8), nn.data.k_fold(8, 4, key=key), nn.data.k_fold(8, 4)
    with compilations() as seen:
        one_base(data, folds, key)
    assert len(seen) == 1
    with compilations() as seen:
        one_base(data, other, key)
    assert seen == []


def accuracy(logits, y):
    return float((np.asarray(logits).argmax(-1) == np.asarray(y)).mean())


def test_no_feature_is_of_a_model_that_knows_the_label(key):
    """The features of an example are the same, bit for bit, whatever its label; those the wrong way are not."""
    data, folds = noise(12), nn.data.k_fold(12, 4)
    meta = nn.Dense(2)
    train_meta = stepped(meta, nn.losses.cross_entropy)
    stack = functools.partial(stacking, {"nearest": Nearest()}, {"nearest": memorise}, meta, train_meta)

    @jax.jit
    @jax.vmap
    def with_another_label(i):
        changed = data._replace(y=data.y.at[i].set(1 - data.y[i]))
        made = stack(changed, folds, key)
        known, _ = Nearest().apply(made.params["bases"]["nearest"]["model"], {}, data.x)
        return made.features[i], nn.softmax(known)[i]

    unseen, known = with_another_label(jnp.arange(12))
    made = stack(data, folds, key)
    np.testing.assert_array_equal(unseen, made.features)
    np.testing.assert_array_equal(known.argmax(-1), 1 - data.y)


def signal(n, seed):
    """Labels that the first input tells with a chance of 0.8."""
    data = noise(n, seed)
    known = np.random.default_rng(seed + 1).uniform(size=n) < 0.8
    y = np.where(known, np.asarray(data.x)[:, 0] > 0, np.asarray(data.x)[:, 0] <= 0)
    return data._replace(y=jnp.asarray(y.astype(np.int32)))


def test_a_base_that_memorises_is_not_trusted(key):
    """It is right for whatever it has seen, so a meta model that were trained on this would follow it alone."""
    data, held_out, folds = signal(240, 0), signal(2000, 2), nn.data.k_fold(240, 6)
    linear, meta = nn.Dense(2), nn.Dense(2)
    train_linear = by(linear, nn.losses.cross_entropy, epochs=20, batch_size=24)
    train_meta = by(meta, nn.losses.cross_entropy, epochs=40, batch_size=24)
    models = {"linear": linear, "nearest": Nearest()}
    trains = {"linear": train_linear, "nearest": memorise}

    @jax.jit
    def both_ways(key):
        made = stacking(models, trains, meta, train_meta, data, folds, key)
        right_way, _ = made.model.apply(made.params, made.state, held_out.x)
        bases, _ = made.model.children["bases"].apply(made.params["bases"], made.state["bases"], data.x)
        known = jnp.concatenate(bases, axis=-1)
        wrong = train_meta(key, data._replace(x=known))
        wrong_way, _ = made.model.apply({**made.params, "meta": wrong.params}, made.state, held_out.x)
        return right_way, wrong_way, known, made.features

    right_way, wrong_way, known, features = both_ways(key)
    assert accuracy(known[:, 2:], data.y) == 1
    assert accuracy(features[:, 2:], data.y) < 0.75
    # Of 0.8 that can be known. Seen: 0.77 and 0.68; and of the examples themselves 0.78 and 0.65 by the two bases.
    assert accuracy(right_way, held_out.y) > 0.75
    assert accuracy(wrong_way, held_out.y) < 0.71
    np.testing.assert_allclose(nn.softmax(right_way).sum(-1), 1, atol=1e-5)


def left(x):
    return x.reshape(-1, 8, 8)[:, :, :4].reshape(-1, 32)


def right(x):
    return x.reshape(-1, 8, 8)[:, :, 4:].reshape(-1, 32)


@pytest.mark.usefixtures("optimised")
def test_it_beats_its_bases(key):
    """Five seeds, each of 280 digits of its own, of which one base sees the left half and the other the right one."""
    digits, held_out = (data.on_device() for data in nn.data.digits())
    models = {"left": nn.serial(left, nn.Dense(10)), "right": nn.serial(right, nn.Dense(10))}
    train = functools.partial(by, loss=nn.losses.cross_entropy, epochs=15, batch_size=20)
    trains, meta = {name: train(model, learning_rate=0.03) for name, model in models.items()}, nn.Dense(10)
    folds = nn.data.k_fold(280, 5)

    @jax.jit
    @jax.vmap
    def figures(key, rows):
        made = stacking(models, trains, meta, train(meta), digits.take(rows), folds, key)
        together, _ = made.model.apply(made.params, made.state, held_out.x)
        bases, _ = made.model.children["bases"].apply(made.params["bases"], made.state["bases"], held_out.x)
        is_right = lambda z: nn.metrics.accuracy(z, held_out.y).mean()
        return is_right(together), jnp.stack([is_right(p) for p in bases]), nn.softmax(together)

    together, bases, p = map(np.asarray, figures(jax.random.split(key, 5), np.arange(5 * 280).reshape(5, 280)))
    # Seen: 0.92 .. 0.94 together, 0.72 .. 0.84 of the bases.
    assert (together > bases.max(-1) + 0.05).all()
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)


def refused(error, **given):
    models = {"linear": nn.Dense(1)}
    given = {"models": models, "trains": {"linear": stepped(models["linear"])}, "meta": META, "train_meta": TRAIN_META,
             "data": regression(8), "folds": nn.data.k_fold(8, 2), "key": jax.random.key(0), "through": nn.identity,
             **given}  # fmt: skip
    with pytest.raises(error) as raised:
        stacking(**given)
    return said(raised.value).split("\n-----")[0]  # after which JAX says what it has left out


@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_meant_is_refused():
    assert refused(ValueError, models={}, trains={}) == (
        "expected models and trains of the same names, because each model has a way to be trained, and one at least; "
        "got models none and trains none"
    )
    assert refused(ValueError, models={"linear": nn.Dense(1), "deep": nn.Dense(2)}) == (
        "expected models and trains of the same names, because each model has a way to be trained, and one at least; "
        "got models linear, deep and trains linear"
    )
    assert refused(TypeError, key=None).startswith("expected a key, because members draw from it; got ")
    assert refused(TypeError, data=3).startswith("expected data as nn.Data(x, y), because inputs and")
    assert refused(ValueError, block=0) == (
        "expected block of at least 1, because it counts members that are computed at a time; got 0"
    )
    assert refused(ValueError, through=nn.Bias()) == (
        "expected through without parameters, because nothing trains them; got Bias()\n"
        "  hint: what learns is part of the meta model: meta=nn.serial(...)"
    )
    grid = nn.serial(nn.Dense(4), nn.Reshape((2, 2)))
    train = lambda key, data: nn.trainer(grid, nn.losses.mse, nn.sgd(0.1)).init(key, data.x)
    assert refused(nn.ShapeError, models={"linear": grid}, trains={"linear": train}) == (
        "expected outputs of shape (batch, outputs), because those of all base models are put side by side along the "
        "last axis; got (4, 2, 2) from serial(Dense(4), Reshape((2, 2)))\n"
        "  hint: nn.flatten at the end of the base makes one axis of several"
    )
    assert refused(ValueError, models={"linear": nn.Dense(2)}) == (
        "expected train to return a train state of Dense(2), because that model is given to the ensemble and runs with "
        "its parameters; got b: (1,) for (2,), w: (3, 1) for (3, 2)"
    )


@pytest.mark.usefixtures("unannotated")
def test_folds_that_are_no_partition_are_refused():
    assert refused(ValueError, folds=nn.data.k_fold(9, 3)) == (
        "expected folds of 8 examples, because the data have so many; got folds of 9"
    )
    assert refused(TypeError, folds=[([0, 1, 2, 3], [4, 5, 6, 7]), ([4, 5, 6, 7], [0, 1, 2, 3])]).endswith(
        "\n  hint: nn.data.folds(pairs, 8) makes them of pairs of rows, such as those of scikit-learn's split"
    )
    once = (
        "expected folds that validate each example once, because the meta model is trained on one prediction of each; "
    )
    hint = "\n  hint: nn.data.k_fold and nn.data.stratified_k_fold make partitions, nn.data.time_ordered none"
    assert refused(ValueError, folds=nn.data.time_ordered(8, 3)) == (
        f"{once}got 2 of 8 examples in no validation part, and 0 in several{hint}"
    )
    twice = nn.data.folds([([0, 1], [2, 3, 4, 5]), ([0, 1], [4, 5, 6, 7])], 8)
    assert refused(ValueError, folds=twice) == (
        f"{once}got 2 of 8 examples in no validation part, and 2 in several{hint}"
    )
    good = nn.data.k_fold(8, 2)
    leaking = nn.data.Folds(good.validation, good.validation, good.train_weights, good.validation_weights, 8)
    assert refused(ValueError, folds=leaking) == (
        "expected folds that do not train on what they validate, because base models would know the examples that the "
        "meta model is to learn from; got 8 such rows"
    )
