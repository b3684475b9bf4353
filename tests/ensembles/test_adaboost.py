"""AdaBoost by hand, against scikit-learn, and against what it is for: to do better than one weak learner."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, said
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier
from stumps import Stump, blobs, fewest_wrong, stumps

import jaxnn as nn
from jaxnn.ensembles import adaboost
from jaxnn.search import member_key


def predicted(boosted, x):
    return np.asarray(jax.jit(lambda b, x: b.model.apply(b.params, b.state, x)[0])(boosted, x))


def test_ten_numbers_worked_by_hand(x64, key):
    """Right in rounds 1, 2 and 3 are all but 3; and together all. Fractions are of a sum of 1."""
    y = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 0], np.int32)
    data = nn.Data(np.arange(10.0)[:, None], y)
    boosted = adaboost(Stump(2), stumps(2, fewest_wrong), data, key, rounds=3)
    np.testing.assert_array_equal(boosted.params["threshold"], [2.5, 8.5, 5.5])
    np.testing.assert_allclose(boosted.errors, [3 / 10, 3 / 14, 2 / 11], rtol=1e-12)
    np.testing.assert_allclose(boosted.alphas, np.log([7 / 3, 11 / 3, 9 / 2]), rtol=1e-12)
    of_rounds = [np.full(10, 1 / 10), *(np.array([a] * 3 + [b] * 3 + [c] * 3 + [a]) for a, b, c in
                 [(1 / 14, 1 / 14, 1 / 6), (1 / 22, 1 / 6, 7 / 66), (1 / 8, 11 / 108, 7 / 108)])]  # fmt: skip
    np.testing.assert_allclose(boosted.state["members"]["w"], np.stack(of_rounds[:3]) * 10, rtol=1e-12)
    np.testing.assert_allclose(boosted.w, of_rounds[3] * 10, rtol=1e-12)
    log_shares = predicted(boosted, data.x)
    np.testing.assert_array_equal(log_shares.argmax(-1), y)
    votes = np.log(7 / 3), np.log(11 / 3), np.log(9 / 2)
    np.testing.assert_allclose(np.exp(log_shares[0]), [votes[2] / sum(votes), (votes[0] + votes[1]) / sum(votes)])


class Recorded(DecisionTreeClassifier):
    """scikit-learn's stump, which keeps the weights that it is given, and may ignore them."""

    def __init__(self, heeds_weights=True, max_depth=1):
        super().__init__(max_depth=max_depth)
        self.heeds_weights = heeds_weights

    def fit(self, x, y, sample_weight=None):
        self.seen_ = sample_weight
        return super().fit(x, y, sample_weight if self.heeds_weights else None)


@pytest.mark.parametrize(("classes", "learning_rate"), [(2, 1.0), (3, 1.0), (3, 0.4)])
def test_errors_alphas_weights_and_predictions_are_those_of_scikit_learn(classes, learning_rate, x64, key):
    data, test = blobs(120, classes), blobs(500, classes, seed=1)
    peer = AdaBoostClassifier(Recorded(), n_estimators=12, learning_rate=learning_rate)
    peer.fit(data.x, data.y, sample_weight=data.w)
    assert len(peer.estimators_) == 12
    boosted = adaboost(Stump(classes), stumps(classes), data, key, rounds=12, learning_rate=learning_rate)
    np.testing.assert_allclose(boosted.errors, peer.estimator_errors_, rtol=1e-10)
    np.testing.assert_allclose(boosted.alphas, peer.estimator_weights_, rtol=1e-10)
    weights = np.stack([tree.seen_ for tree in peer.estimators_])
    np.testing.assert_allclose(boosted.state["members"]["w"] / 120, weights, rtol=1e-10)
    np.testing.assert_array_equal(predicted(boosted, test.x).argmax(-1), peer.predict(test.x))


def test_it_ends_with_a_learner_that_is_never_wrong(x64, key):
    data = nn.Data(np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1], np.int32))
    peer = AdaBoostClassifier(Recorded(), n_estimators=3).fit(data.x, data.y)
    boosted = adaboost(Stump(2), stumps(2), data, key, rounds=3)
    np.testing.assert_array_equal(boosted.alphas, peer.estimator_weights_)  # 1, 0, 0
    np.testing.assert_array_equal(boosted.errors, [0, np.nan, np.nan])
    np.testing.assert_array_equal(boosted.w, np.ones(6))
    np.testing.assert_array_equal(boosted.params["threshold"], [2.5] * 3)  # the last learner stands again
    np.testing.assert_array_equal(predicted(boosted, data.x).argmax(-1), data.y)


def test_it_ends_before_a_learner_that_is_no_better_than_chance(x64, key):
    """One that ignores weights comes out alike in the second round, where these are all on what it gets wrong."""
    data = blobs(60, 2, weighted=False)
    peer = AdaBoostClassifier(Recorded(heeds_weights=False), n_estimators=4, learning_rate=2.0).fit(data.x, data.y)
    boosted = adaboost(Stump(2), stumps(2, heeds_weights=False), data, key, rounds=4, learning_rate=2.0)
    np.testing.assert_allclose(boosted.alphas, peer.estimator_weights_, rtol=1e-10)
    assert len(peer.estimators_) == 1
    first, second = boosted.errors[:2]
    np.testing.assert_allclose(first, peer.estimator_errors_[0], rtol=1e-10)
    odds = (first / (1 - first)) ** -1  # of what is wrong, after its weight grew by the odds of being right, squared
    np.testing.assert_allclose(second, odds / (1 + odds), rtol=1e-10)
    assert second > 0.5
    np.testing.assert_array_equal(boosted.errors[2:], np.nan)
    alone = adaboost(Stump(2), stumps(2), data, key, rounds=1)
    named = predicted(alone, data.x).argmax(-1)
    np.testing.assert_array_equal(predicted(boosted, data.x).argmax(-1), named)
    np.testing.assert_allclose(
        np.average(named != data.y, weights=boosted.w), second, rtol=1e-10
    )  # w is left as it was


def test_a_learner_that_diverges_ends_it_and_spoils_nothing(x64, key):
    """NaN names no class, though its argmax is 0, which most labels are."""
    data = nn.Data(np.arange(6.0)[:, None], np.array([0, 0, 1, 0, 0, 0], np.int32))

    def diverging(key, data):
        ts = stumps(2)(key, data)
        good = data.w.max() == data.w.min()
        return ts._replace(
            params=ts.params | {name: jnp.where(good, ts.params[name], jnp.nan) for name in ("left", "right")}
        )

    boosted, alone = (adaboost(Stump(2), diverging, data, key, rounds=rounds) for rounds in (3, 1))
    np.testing.assert_allclose(boosted.errors, [1 / 6, 1, np.nan])
    np.testing.assert_allclose(boosted.alphas, [np.log(5), 0, 0])
    assert_close(
        jax.tree.map(lambda a: a[1:], boosted.params), jax.tree.map(lambda a: np.repeat(a, 2, axis=0), alone.params), 0
    )
    np.testing.assert_array_equal(predicted(boosted, data.x), predicted(alone, data.x))


def test_nothing_is_trained_after_the_end(key):
    """Outside of vmap: a callback counts."""
    trained = []

    def counting(key, data):
        jax.debug.callback(lambda: trained.append(1))
        return stumps(2)(key, data)

    data = nn.Data(np.arange(6, dtype=np.float32)[:, None], np.array([0, 0, 0, 1, 1, 1], np.int32))
    jax.block_until_ready(adaboost(Stump(2), counting, data, key, rounds=5).alphas)
    jax.effects_barrier()
    assert len(trained) == 1


def test_a_first_learner_that_is_no_better_than_chance_is_refused_where_it_can_be_seen(key):
    data = nn.Data(np.array([0, 0, 1, 1], np.float32)[:, None], np.array([0, 1, 0, 1], np.int32))
    message = (r"expected a learner better than chance, because .*; got a first one that is wrong on 0\.5 of the "
               r"weight, and chance is on 0\.5\n  hint: ")  # fmt: skip
    with pytest.raises(ValueError, match=message):
        adaboost(Stump(2), stumps(2), data, key, rounds=2)
    boosted = jax.jit(lambda data: adaboost(Stump(2), stumps(2), data, key, rounds=2))(data)
    np.testing.assert_array_equal(boosted.errors, [0.5, np.nan])
    np.testing.assert_array_equal(boosted.alphas, [0, 0])


def test_examples_may_begin_with_weights_and_as_many_copies_are_the_same(x64, key):
    """Which is what class weights are; and what weighs 0 is not there, and never comes."""
    data = blobs(80, 3, weighted=False)
    times = np.random.default_rng(1).integers(0, 4, 80)
    train = stumps(3)
    boost = lambda data: adaboost(Stump(3), train, data, key, rounds=6)
    weighed, copied = boost(data._replace(w=times.astype(float))), boost(data.take(np.repeat(np.arange(80), times)))
    for got, expected in ((weighed.errors, copied.errors), (weighed.alphas, copied.alphas)):
        np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert not np.allclose(weighed.errors, boost(data).errors, rtol=1e-2)
    per_copy = np.asarray(weighed.w / weighed.w.sum())[times > 0] / times[times > 0]
    first = np.cumsum(times) - times
    np.testing.assert_allclose(per_copy, (copied.w / copied.w.sum())[first[times > 0]], rtol=1e-10)
    np.testing.assert_array_equal(weighed.w[times == 0], 0)

    rare = nn.data.class_weighted(data, {2: 10.0}, 3)
    as_rare = boost(rare)
    np.testing.assert_allclose(as_rare.alphas, boost(rare._replace(w=7 * rare.w)).alphas, rtol=1e-10)
    recall = lambda boosted: (predicted(boosted, data.x).argmax(-1) == 2)[data.y == 2].mean()
    assert recall(as_rare) > recall(boost(data)) + 0.1


def test_a_float32_run_of_many_rounds_stays_finite_and_of_mean_1(key):
    data = board(100, 0)
    boosted = adaboost(Stump(2), stumps(2), data, key, rounds=150, learning_rate=3.0)
    assert all(np.isfinite(a).all() for a in (boosted.alphas, boosted.w))
    assert (boosted.w > 0).all()
    ended = np.isnan(boosted.errors)
    np.testing.assert_array_equal(ended, np.arange(150) >= (~ended).sum())  # NaN after the end, and nowhere else
    np.testing.assert_allclose(boosted.w.mean(), 1, rtol=1e-5)


NET = nn.serial(nn.Dense(6), nn.tanh, nn.Dense(2))


def board(n, seed):
    """Three by three fields of a chess board, float32."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 2)).astype(np.float32)
    return nn.Data(x, (np.floor(1.5 * (x + 1)).sum(-1) % 2).astype(np.int32))


def networks(key, data, *, learning_rate=0.1, epochs=30):
    trainer = nn.trainer(NET, nn.losses.cross_entropy, nn.adam(learning_rate))
    return nn.fit(trainer, trainer.init(key, data.x), data, epochs=epochs, batch_size=32)[0]


@pytest.mark.usefixtures("optimised")
def test_ten_small_networks_beat_one_by_0_12_of_held_out_accuracy_over_5_seeds():
    data, test = board(512, 0), board(1000, 1)
    keys = jax.random.split(jax.random.key(0), 5)

    @jax.jit
    @jax.vmap
    def accuracies(key):
        boosted = adaboost(NET, networks, data, key, rounds=10)
        first = nn.ensembles.member(boosted.fitted, 0)
        logits = [each.model.apply(each.params, each.state, jnp.asarray(test.x))[0] for each in (boosted, first)]
        sums = jnp.abs(nn.softmax(logits[0]).sum(-1) - 1).max()
        return [nn.metrics.accuracy(z, jnp.asarray(test.y)).mean() for z in logits], sums

    (boosted, alone), sums = accuracies(keys)
    assert (boosted - alone).mean() > 0.12
    assert (boosted > alone).all()
    assert sums.max() < 1e-5


def test_a_learner_is_the_single_run_on_its_weights(x64, key):
    data = board(48, 0)
    data = nn.Data(jnp.asarray(data.x, float), jnp.asarray(data.y))
    boosted = adaboost(NET, networks, data, key, rounds=2)
    first = networks(member_key(key, 0, 0), data._replace(w=jnp.ones(48)))
    z, _ = NET.apply(first.params, first.state, data.x)
    right = np.asarray(z).argmax(-1) == np.asarray(data.y)
    err = 1 - right.mean()
    np.testing.assert_allclose(boosted.errors[0], err, rtol=1e-12)
    w = np.where(right, 1, (1 - err) / err)
    second = networks(member_key(key, 0, 1), data._replace(w=jnp.asarray(w / w.mean())))
    for m, ts in enumerate([first, second]):
        assert_close(jax.tree.map(lambda a, m=m: a[m], boosted.params), ts.params, 1e-8)


def test_frozen_parameters_running_statistics_and_inputs_of_several_parts_come_along(x64, key):
    """And a learner is judged as in inference: by its statistics, without dropout."""
    data = blobs(32, 2)
    data = jax.tree.map(jnp.asarray, data._replace(x={"left": data.x[:, :1], "right": data.x[:, 1:]}))
    joined = lambda x: jnp.concatenate([x["left"], x["right"]], axis=-1)
    model = nn.serial(joined, nn.Dense(4), nn.BatchNorm(), nn.tanh, nn.Dropout(0.3), nn.Dense(2))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(0.1), freeze="dense_0/.*")

    def train(key, data):
        return nn.fit(trainer, trainer.init(key, data.x), data, epochs=8, batch_size=8)[0]

    @jax.jit
    def alone(key, data):
        ts = train(key, data)
        params = nn.tree.merge(ts.params, ts.frozen)
        return params, ts.state, model.apply(params, ts.state, data.x)[0]

    boosted = adaboost(model, train, data, key, rounds=2)
    assert (boosted.errors < 0.5).all()  # so both are there
    w = np.asarray(data.w / data.w.mean())
    for m in range(2):
        params, state, z = alone(member_key(key, 0, m), data._replace(w=jnp.asarray(w)))
        got = nn.ensembles.member(boosted.fitted, m)
        assert_close((got.params, got.state), (params, state), 1e-8)
        wrong = np.asarray(z).argmax(-1) != np.asarray(data.y)
        np.testing.assert_allclose(boosted.errors[m], np.average(wrong, weights=w), rtol=1e-8)
        w = np.where(wrong, w * np.exp(boosted.alphas[m]), w)
        w /= w.mean()
    np.testing.assert_allclose(boosted.w, w, rtol=1e-8)


def test_one_program_for_all_rounds_and_none_on_the_second_call():
    train, data = stumps(2), jax.tree.map(jnp.asarray, board(40, 0))
    keys = [jax.random.key(0), jax.random.key(1)]
    with compilations() as seen:
        adaboost(Stump(2), train, data, keys[0], rounds=7, learning_rate=0.5)
    assert len(seen) == 1
    with compilations() as seen:
        adaboost(Stump(2), train, data, keys[1], rounds=7, learning_rate=0.25)
    assert not seen


def test_learning_rates_and_keys_are_mapped_over(x64):
    data, keys = blobs(60, 3), jax.random.split(jax.random.key(0), 2)
    train = stumps(3)
    boost = lambda key, rate: adaboost(Stump(3), train, data, key, rounds=4, learning_rate=rate)
    many = jax.jit(jax.vmap(boost, (None, 0)))(keys[0], jnp.array([1.0, 0.3]))
    for i, rate in enumerate([1.0, 0.3]):
        assert_close(jax.tree.map(lambda a, i=i: a[i], many), boost(keys[0], rate), 1e-10)
    assert many.model == nn.Ensemble(Stump(3), 4, combine=nn.ops.hard_vote)


def test_judging_a_batch_at_a_time_changes_nothing(key):
    data = board(50, 0)
    whole, parts = (adaboost(Stump(2), stumps(2), data, key, rounds=4, batch_size=size) for size in (None, 16))
    assert_close(parts, whole, 1e-6)


def test_it_is_evaluated_like_any_other_model(key):
    data = board(50, 0)
    boosted = adaboost(Stump(2), stumps(2), data, key, rounds=4)
    trainer = nn.trainer(boosted.model, nn.losses.cross_entropy, nn.sgd(0.0))
    accuracy = nn.evaluate(trainer, trainer.begin(key, *boosted.fitted[1:]), data, nn.metrics.accuracy)
    np.testing.assert_allclose(accuracy, (predicted(boosted, data.x).argmax(-1) == data.y).mean(), rtol=1e-6)


X, Y = np.zeros((4, 3), np.float32), np.array([0, 1, 1, 0], np.int32)
REFUSED = [
    ({"rounds": 0}, ValueError, r"expected rounds of at least 1, because each trains a learner; got 0"),
    ({"rounds": 2.5}, TypeError, r"expected rounds to be an int, because each trains a learner; got 2\.5"),
    ({"learning_rate": 0.0}, ValueError, r"expected learning_rate above 0, because a learner's vote .*; got 0\.0"),
    ({"learning_rate": np.ones(2)}, nn.ShapeError,
     r"expected learning_rate of shape \(\), because all rounds have the same; got \(2,\)\n  hint: jax\.vmap"),
    ({"batch_size": 0}, ValueError, r"expected batch_size of at least 1, because it counts examples.*; got 0"),
    ({"classes": 1}, ValueError, r"expected at least two classes, and no more than the model's 2 outputs, because "
                                  r"the largest one names the class; got 1$"),
    ({"classes": 3}, ValueError, r"no more than the model's 2 outputs, because .*; got 3"),
    ({"model": nn.Dense(1), "y": np.zeros(4, np.int32)}, ValueError,
     r"no more than the model's 1 outputs, because .*; got 1\n  hint: two classes want two outputs: Dense\(2\)"),
    ({"y": np.array([0, 1, 2, 0], np.int32)}, ValueError,
     r"expected labels from 0 to 1, because logits are \(4, 2\), .*; got labels from 0 to 2"),
    ({"model": nn.Dense(3), "classes": 2, "y": np.array([0, 1, 2, 0], np.int32)}, ValueError,
     r"expected labels from 0 to 1, because there are 2 classes; got labels from 0 to 2"),
    ({"y": np.ones(4, np.int32)}, ValueError,
     r"expected examples of at least two classes, because one needs no classifier; got 4, all of class 1"),
    ({"w": np.array([0, 1, 1, 0], np.float32)}, ValueError, r"of at least two classes, .*; got 2, all of class 1"),
    ({"w": np.zeros(4, np.float32)}, ValueError,
     r"expected a weight above 0, because what weighs nothing is not there; got 4 of 0"),
    ({"w": np.array([1, -1, 1, 1], np.float32)}, ValueError, r"expected data\.w of at least 0, .*; got -1\.0"),
    ({"w": np.ones((4, 2), np.float32)}, nn.ShapeError,
     r"expected weights of shape \(4,\), or any longer prefix of \(4,\), because the loss is \(4,\); got \(4, 2\)"),
    ({"y": np.zeros((4, 2), np.float32)}, nn.ShapeError, r"expected integer labels of shape \(4,\)"),
    ({"x": np.zeros((4, 5, 3), np.float32), "y": np.zeros((4, 5), np.int32)}, nn.ShapeError,
     r"expected a model that puts out \(batch, classes\), because each example has one label; got \(4, 5, 2\)"),
    ({"y": Y[:3]}, ValueError, r"expected one target \(and weight\) an input, .*; data\.x has 4, data\.y has 3"),
    ({"train": lambda key, data: (1, 2)}, TypeError, r"expected train to return a train state, because"),
]  # fmt: skip


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("settings", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(settings, error, message, key):
    settings = {"model": nn.Dense(2), "train": networks, "x": X, "y": Y, "w": None, "rounds": 2} | settings
    model, train, *data = (settings.pop(name) for name in ("model", "train", "x", "y", "w"))
    with pytest.raises(error) as caught:
        adaboost(model, train, nn.Data(*data), key, **settings)

    assert re.search(message, said(caught.value)), said(caught.value)


@pytest.mark.usefixtures("unannotated")
def test_no_data_and_no_key_are_refused(key):
    with pytest.raises(TypeError, match=r"expected data as nn\.Data\(x, y\), because"):
        adaboost(nn.Dense(2), networks, (X, Y), key, rounds=2)
    with pytest.raises(ValueError, match=r"expected arrays with a leading axis of examples; got data\.x/0, data\.x/1$"):
        adaboost(nn.Dense(2), networks, nn.Data([0.0, 1.0], Y[:2]), key, rounds=2)
    with pytest.raises(TypeError, match=r"expected a key, because"):
        adaboost(nn.Dense(2), networks, nn.Data(X, Y), 0, rounds=2)
