"""Gradient boosting by hand, against scikit-learn, and against what it is for: to do better than one weak learner."""

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, said
from sklearn.ensemble import GradientBoostingRegressor
from stumps import Stump, blobs, stumps

import jaxnn as nn
from jaxnn.ensembles import gradient_boosting
from jaxnn.search import member_key


def waves(n, seed=0, weighted=False):
    """A curve in three features, of which scikit-learn's trees see every digit: they look at float32."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (n, 3)).astype(np.float32).astype(np.float64)
    y = np.sin(4 * x[:, :1]) + x[:, 1:2] ** 2 + 0.1 * random.normal(size=(n, 1))
    return nn.Data(x, y, random.uniform(0.5, 2, n) if weighted else None)


def predicted(boosted, x):
    predict = jax.jit(lambda b, x: b.model.apply(b.params, b.state, x)[0])
    return np.asarray(predict(boosted, jax.tree.map(jnp.asarray, x)))


@pytest.mark.parametrize(("learning_rate", "weighted"), [(0.1, False), (0.7, True)])
def test_of_stumps_it_is_that_of_scikit_learn(learning_rate, weighted, x64, key):
    data, test = waves(100, weighted=weighted), waves(200, seed=1)
    peer = GradientBoostingRegressor(n_estimators=15, learning_rate=learning_rate, max_depth=1)
    peer.fit(data.x, data.y[:, 0], sample_weight=data.w)
    boosted = gradient_boosting(Stump(1), stumps(1), data, key, rounds=15, loss=nn.losses.half_squared_error,
                                learning_rate=learning_rate)  # fmt: skip
    np.testing.assert_allclose(predicted(boosted, test.x)[:, 0], peer.predict(test.x), rtol=1e-8, atol=1e-8)
    staged = np.stack([np.full(100, peer.init_.constant_.item()), *peer.staged_predict(data.x)])
    half = np.average((staged - data.y.T) ** 2 / 2, axis=1, weights=data.w)
    np.testing.assert_allclose(boosted.losses, half, rtol=1e-8)
    thresholds = [tree.tree_.threshold[0] for tree in peer.estimators_[:, 0]]
    np.testing.assert_allclose(boosted.params["boosted"]["threshold"], thresholds, rtol=1e-12)


def test_the_slope_of_mse_is_twice_as_large_and_so_is_its_step(x64, key):
    data = waves(40)
    boost = lambda loss, rate: gradient_boosting(Stump(1), stumps(1), data, key, rounds=5, loss=loss,
                                                 learning_rate=rate)  # fmt: skip
    half, whole = boost(nn.losses.half_squared_error, 0.2), boost(nn.losses.mse, 0.1)
    np.testing.assert_allclose(predicted(half, data.x), predicted(whole, data.x), rtol=1e-10)
    np.testing.assert_allclose(2 * half.losses, whole.losses, rtol=1e-10)


@dataclass(frozen=True)
class Rote(nn.Layer):
    """A table of what to say to the examples in their order; its state is what there was to learn from."""

    outputs: int

    def init(self, key, x):
        table = jnp.zeros((x.shape[0], self.outputs), x.dtype)
        return {"table": table}, {"x": jnp.zeros(x.shape, x.dtype)}

    def apply(self, params, state, x, *, key=None, train=False):
        return params["table"], state


def by_rote(outputs):
    """What it trains says the targets themselves."""
    trainer = nn.trainer(Rote(outputs), nn.losses.mse, nn.sgd(0.0))
    return lambda key, data: trainer.begin(key, {"table": data.y}, {"x": data.x})


X = np.arange(10.0).reshape(5, 2)
W = np.array([1.0, 1.0, 1.0, 1.0, 4.0])
CLASSES = np.array([0, 2, 2, 1, 2], np.int32)
ONEHOT = np.eye(3)[CLASSES]
BINARY = np.array([[1.0], [0.0], [1.0], [0.0], [1.0]])
NUMBERS = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 1.0], [7.0, 3.0], [9.0, 4.0]])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


# The loss, targets, weights; the constant to begin from and the negative gradient at F, by hand.
WORKED = {
    "mse": (nn.losses.mse, NUMBERS, None, NUMBERS.mean(0), lambda f: 2 * (NUMBERS - f)),
    "mse, weighted": (nn.losses.mse, NUMBERS, W, [52 / 8, 30 / 8], lambda f: 2 * (NUMBERS - f)),
    "squared_error": (nn.losses.squared_error, NUMBERS, None, [5, 3.6], lambda f: 2 * (NUMBERS - f)),
    "sse": (nn.losses.sse, NUMBERS, None, [5, 3.6], lambda f: 2 * (NUMBERS - f)),
    "mae": (nn.losses.mae, NUMBERS, None, [6, 4], lambda f: np.sign(NUMBERS - f)),
    "mae, weighted": (nn.losses.mae, NUMBERS, W, [7, 4], lambda f: np.sign(NUMBERS - f)),
    "cross_entropy": (nn.losses.cross_entropy, CLASSES, None, np.log([1 / 5, 1 / 5, 3 / 5]),
                      lambda f: ONEHOT - softmax(f)),
    "cross_entropy, weighted": (nn.losses.cross_entropy, CLASSES, W, np.log([1 / 8, 1 / 8, 6 / 8]),
                                lambda f: ONEHOT - softmax(f)),
    "cross_entropy of rows": (nn.losses.cross_entropy, ONEHOT, W, np.log([1 / 8, 1 / 8, 6 / 8]),
                              lambda f: ONEHOT - softmax(f)),
    "binary": (nn.losses.binary_cross_entropy, BINARY, None, [np.log(3 / 2)], lambda f: BINARY - sigmoid(f)),
    "binary, weighted": (nn.losses.binary_cross_entropy, BINARY, W, [np.log(6 / 2)], lambda f: BINARY - sigmoid(f)),
    "multilabel": (nn.losses.multilabel_cross_entropy, np.hstack([BINARY, 1 - BINARY]), None,
                   [np.log(3 / 2), np.log(2 / 3)], lambda f: np.hstack([BINARY, 1 - BINARY]) - sigmoid(f)),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "w", "constant", "step"), WORKED.values(), ids=WORKED)
def test_it_begins_from_the_best_constant_and_learners_get_the_negative_gradient(loss, y, w, constant, step, x64, key):
    outputs = len(constant)
    data = nn.Data(X, y, w)
    boosted = gradient_boosting(Rote(outputs), by_rote(outputs), data, key, rounds=2, loss=loss, learning_rate=0.25)
    np.testing.assert_allclose(boosted.params["prior"]["b"], constant, rtol=1e-12)
    f = np.broadcast_to(np.asarray(constant, float), (5, outputs))
    for m in range(2):
        np.testing.assert_allclose(boosted.params["boosted"]["table"][m], step(f), rtol=1e-12, atol=1e-12)
        f = f + 0.25 * step(f)
    np.testing.assert_allclose(predicted(boosted, X), f, rtol=1e-12)

    @jax.jit
    def mean_loss(f):
        return nn.losses.weighted_mean(loss(f, jnp.asarray(y)), None if w is None else jnp.asarray(w))

    at = lambda c: mean_loss(jnp.broadcast_to(jnp.asarray(c, float)[None], (5, outputs)))
    np.testing.assert_allclose(boosted.losses[0], at(constant), rtol=1e-12)
    np.testing.assert_allclose(boosted.losses[-1], mean_loss(jnp.asarray(f)), rtol=1e-12)
    for beside in (0.01, -0.01):  # no constant close by is better
        assert at(constant + beside * np.eye(outputs)[0]) >= at(constant)


def test_a_class_without_examples_begins_from_the_logarithm_of_epsilon(x64, key):
    data = nn.Data(X, np.array([0, 1, 1, 0, 0], np.int32))
    boosted = gradient_boosting(Rote(3), by_rote(3), data, key, rounds=1, loss=nn.losses.cross_entropy)
    np.testing.assert_allclose(boosted.params["prior"]["b"], np.log([0.6, 0.4, np.finfo(float).eps]))


def test_other_losses_begin_from_a_constant_that_is_given(x64, key):
    huber, y = nn.losses.huber.bind(delta=1.0), NUMBERS[:, :1]
    prior, data = np.array([6.0]), nn.Data(X, y)
    boosted = gradient_boosting(Rote(1), by_rote(1), data, key, rounds=1, loss=huber, prior=prior)
    np.testing.assert_allclose(boosted.params["boosted"]["table"][0, :, 0], [-1, -1, 0, 1, 1])
    np.testing.assert_array_equal(boosted.params["prior"]["b"], prior)
    begun = gradient_boosting(Rote(1), by_rote(1), data, key, rounds=1, loss=nn.losses.mse, prior=np.zeros(1))
    np.testing.assert_allclose(begun.params["boosted"]["table"][0], 2 * y)
    own = lambda prediction, target: jnp.abs(prediction - target)  # a loss whose backward is JAX's
    boosted = gradient_boosting(Rote(1), by_rote(1), data, key, rounds=1, loss=own, prior=prior - 0.5)
    np.testing.assert_allclose(boosted.params["boosted"]["table"][0, :, 0], [-1, -1, 1, 1, 1])


def test_a_round_trains_on_a_part_drawn_anew_without_replacement(x64, key):
    data, trainer = waves(50), nn.trainer(Rote(1), nn.losses.mse, nn.sgd(0.0))

    def train(key, data):
        return trainer.begin(key, {"table": jnp.zeros_like(data.y)}, {"x": data.x})

    @dataclass(frozen=True)
    class Mute(nn.Layer):
        def init(self, key, x):
            return Rote(1).init(key, x)

        def apply(self, params, state, x, *, key=None, train=False):
            return jnp.zeros((len(x), 1), x.dtype), state

    boost = lambda subsample, rounds=4: gradient_boosting(
        Mute(), train, data, key, rounds=rounds, loss=nn.losses.mse, subsample=subsample
    )
    seen = np.asarray(boost(0.3).state["boosted"]["members"]["x"])
    assert seen.shape == (4, 15, 3)
    rows = [{int(np.flatnonzero((data.x == x).all(1)).item()) for x in of_round} for of_round in seen]
    assert all(len(each) == 15 for each in rows)
    assert len(set.union(*rows)) > 30
    assert all(rows[0] != other for other in rows[1:])
    np.testing.assert_array_equal(boost(0.3, rounds=2).state["boosted"]["members"]["x"], seen[:2])
    assert boost(1e-3).state["boosted"]["members"]["x"].shape == (4, 1, 3)
    np.testing.assert_array_equal(boost(np.float64(0.3)).state["boosted"]["members"]["x"], seen)
    np.testing.assert_array_equal(boost(1.0).state["boosted"]["members"]["x"], np.stack([data.x] * 4))


def test_targets_and_weights_are_taken_with_their_examples(x64, key):
    data = waves(60, weighted=True)
    boosted = gradient_boosting(Stump(1), stumps(1), data, key, rounds=1, loss=nn.losses.half_squared_error,
                                subsample=0.5, batch_size=7)  # fmt: skip
    rows = jax.random.permutation(member_key(key, 1, 0), 60)[:30]
    constant = np.average(data.y[:, 0], weights=data.w)
    alone = stumps(1)(key, data._replace(y=jnp.asarray(data.y - constant)).take(rows))
    first = jax.tree.map(lambda a: a[0], (boosted.params["boosted"], boosted.state["boosted"]["members"]))
    assert_close(first, (alone.params, alone.state), 1e-12)


def test_frozen_parameters_running_statistics_and_inputs_of_several_parts_come_along(x64, key):
    """And what a learner adds is what it puts out in inference: by its statistics, without dropout."""
    data = waves(32, weighted=True)
    data = jax.tree.map(jnp.asarray, data._replace(x={"left": data.x[:, :1], "right": data.x[:, 1:]}))
    joined = lambda x: jnp.concatenate([x["left"], x["right"]], axis=-1)
    model = nn.serial(joined, nn.Dense(4), nn.BatchNorm(), nn.tanh, nn.Dropout(0.3), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.adam(0.1), freeze="dense_0/.*")

    def train(key, data):
        return nn.fit(trainer, trainer.init(key, data.x), data, epochs=2, batch_size=8)[0]

    @jax.jit
    def alone(key, data):
        ts = train(key, data)
        params = nn.tree.merge(ts.params, ts.frozen)
        return params, ts.state, model.apply(params, ts.state, data.x)[0]

    boosted = gradient_boosting(model, train, data, key, rounds=2, loss=nn.losses.half_squared_error, learning_rate=0.5)
    y, w = np.asarray(data.y), np.asarray(data.w)
    f = np.broadcast_to(np.average(y[:, 0], weights=w), y.shape)
    for m in range(2):
        params, state, h = alone(member_key(key, 0, m), data._replace(y=jnp.asarray(y - f)))
        of_round = jax.tree.map(lambda a, m=m: a[m], (boosted.params["boosted"], boosted.state["boosted"]["members"]))
        assert_close(of_round, (params, state), 1e-8)
        f = f + 0.5 * np.asarray(h)
        half = np.average(((y - f) ** 2 / 2)[:, 0], weights=w)
        np.testing.assert_allclose(boosted.losses[m + 1], half, rtol=1e-8)
    np.testing.assert_allclose(predicted(boosted, data.x), f, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_training_loss_falls_in_every_round_if_the_rate_is_small(classes, x64, key):
    """Of squared errors, whose learner is a projection, and of cross-entropies too."""
    data = waves(100)
    boosted = gradient_boosting(Stump(1), stumps(1), data, key, rounds=25, loss=nn.losses.mse, learning_rate=0.1)
    assert (np.diff(boosted.losses) < 0).all()
    data = blobs(100, classes)
    boosted = gradient_boosting(Stump(classes), stumps(classes), data, key, rounds=25, loss=nn.losses.cross_entropy,
                                learning_rate=0.1)  # fmt: skip
    assert (np.diff(boosted.losses) < 0).all()
    p = softmax(predicted(boosted, data.x))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.average(-np.log(p[np.arange(100), data.y]), weights=data.w), boosted.losses[-1])


NET = nn.serial(nn.Dense(3), nn.tanh, nn.Dense(1))


def networks(key, data):
    trainer = nn.trainer(NET, nn.losses.mse, nn.adam(0.05))
    return nn.fit(trainer, trainer.init(key, data.x), data, epochs=20, batch_size=32)[0]


@pytest.mark.usefixtures("optimised")
def test_fifteen_small_networks_halve_the_held_out_error_of_one_over_5_seeds():
    """It is 0.08 and 0.21 in the mean, of which the noise is 0.01."""
    data, test = (jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), each) for each in (waves(256), waves(500, 1)))

    @jax.jit
    @jax.vmap
    def errors(key):
        boosted = gradient_boosting(NET, networks, data, key, rounds=15, loss=nn.losses.half_squared_error,
                                    learning_rate=0.5, subsample=0.8)  # fmt: skip
        alone = networks(member_key(key, 0, 0), data)
        fitted = [boosted, nn.ensembles.Fitted(NET, alone.params, alone.state)]
        return [nn.losses.mse(f.model.apply(f.params, f.state, test.x)[0], test.y).mean() for f in fitted]

    boosted, alone = errors(jax.random.split(jax.random.key(0), 5))
    assert boosted.mean() < 0.5 * alone.mean()
    assert (boosted < 0.7 * alone).all()


def test_one_program_for_all_rounds_and_none_on_the_second_call():
    train, data = stumps(1), jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), waves(40))
    keys, rates = [jax.random.key(0), jax.random.key(1)], [0.5, 0.25]
    with compilations() as seen:
        gradient_boosting(Stump(1), train, data, keys[0], rounds=7, loss=nn.losses.mse, learning_rate=rates[0])
    assert len(seen) == 1
    with compilations() as seen:
        gradient_boosting(Stump(1), train, data, keys[1], rounds=7, loss=nn.losses.mse, learning_rate=rates[1])
    assert not seen


def test_learning_rates_are_mapped_over_and_it_is_evaluated_like_any_other_model(x64, key):
    data = waves(50)
    boost = lambda rate: gradient_boosting(Stump(1), stumps(1), data, key, rounds=4, loss=nn.losses.mse,
                                           learning_rate=rate, subsample=0.5)  # fmt: skip
    many, one = jax.jit(jax.vmap(boost))(jnp.array([1.0, 0.3])), boost(0.3)
    assert_close(jax.tree.map(lambda a: a[1], many), one, 1e-10)
    assert many.model == one.model
    members = nn.Ensemble(Stump(1), 4, combine=nn.ops.sum_of_members)
    assert one.model == nn.serial(boosted=members, prior=nn.Bias())
    trainer = nn.trainer(one.model, nn.losses.mse, nn.sgd(0.0))
    loss = nn.evaluate(trainer, trainer.begin(key, *one.fitted[1:]), data)
    np.testing.assert_allclose(loss, one.losses[-1], rtol=1e-12)


REFUSED = [
    ({"rounds": 0}, ValueError, r"expected rounds of at least 1, because each trains a learner; got 0"),
    ({"learning_rate": -0.1}, ValueError, r"expected learning_rate above 0, because F descends by it; got -0\.1"),
    ({"learning_rate": np.ones(2)}, nn.ShapeError,
     r"expected learning_rate of shape \(\), because all rounds have the same; got \(2,\)\n  hint: jax\.vmap"),
    ({"subsample": 0.0}, ValueError,
     r"expected subsample above 0 and at most 1, because it is a part of the examples; got 0\.0"),
    ({"subsample": 1.5}, ValueError, r"expected subsample above 0 and at most 1, because .*; got 1\.5"),
    ({"subsample": True}, TypeError, r"expected subsample as a number, because how many examples .*; got True"),
    ({"subsample": jnp.array(0.5)}, TypeError, r"expected subsample as a number, because how many examples a round"),
    ({"batch_size": 0}, ValueError, r"expected batch_size of at least 1, because it counts examples.*; got 0"),
    ({"y": np.zeros(4)}, nn.ShapeError, r"got prediction \(4, 1\), target \(4,\)"),
    ({"y": np.zeros((4, 2))}, nn.ShapeError, r"got prediction \(4, 1\), target \(4, 2\)"),
    ({"loss": nn.losses.cross_entropy, "y": np.array([0, 1, 2, 3]), "model": nn.Dense(3)}, ValueError,
     r"expected labels from 0 to 2, because .*; got labels from 0 to 3"),
    ({"loss": nn.losses.huber}, ValueError,
     r"expected prior, because which constant has the least huber_loss is not known; got "
     r"None\n  hint: prior=jnp\.zeros\(1\) begins at 0"),
    ({"prior": np.zeros(3)}, nn.ShapeError,
     r"expected prior of shape \(1,\), because it is one number a feature; got \(3,\)"),
    ({"model": lambda x: x[:, 0], "y": np.zeros(4)}, nn.ShapeError,
     r"expected a model that puts out \(batch, \.\.\., features\), because the constant is one number a feature; "
     r"got \(4,\)"),
    ({"w": np.array([1.0, -1.0, 1.0, 1.0])}, ValueError, r"expected data\.w of at least 0, .*; got -1\.0"),
    ({"w": np.ones((4, 3))}, nn.ShapeError, r"expected weights of shape \(4,\), or any longer prefix of \(4, 1\)"),
    ({"w": np.zeros(4)}, ValueError, r"expected a weight above 0, because .*; got 4 of 0"),
    ({"train": lambda key, data: (1, 2)}, TypeError, r"expected train to return a train state, because"),
]  # fmt: skip


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("settings", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(settings, error, message, key):
    settings = {
        "model": nn.Dense(1), "train": networks, "x": np.zeros((4, 3)), "y": np.zeros((4, 1)), "w": None, "rounds": 2,
        "loss": nn.losses.mse,
    } | settings  # fmt: skip
    model, train, *data = (settings.pop(name) for name in ("model", "train", "x", "y", "w"))
    data = [None if a is None else a.astype(np.float32 if a.dtype == float else np.int32) for a in data]
    with pytest.raises(error) as caught:
        gradient_boosting(model, train, nn.Data(*data), key, **settings)
    assert re.search(message, said(caught.value)), said(caught.value)


@pytest.mark.usefixtures("unannotated")
def test_a_part_that_is_traced_is_refused(key):
    data = nn.Data(np.zeros((4, 3), np.float32), np.zeros((4, 1), np.float32))
    boost = lambda part: gradient_boosting(
        nn.Dense(1), networks, data, key, rounds=1, loss=nn.losses.mse, subsample=part
    )
    with pytest.raises(TypeError, match=r"expected subsample as a number, because how many examples a round takes is"):
        jax.jit(boost)(0.5)
