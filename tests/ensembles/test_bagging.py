"""`bagging`: members are single runs on their samples, and no example is judged by a member that has seen it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from memoriser import Nearest, memorise, noise
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.ensembles import Bagged, bagging, member
from jaxnn.search import member_key

MODEL = nn.serial(nn.Dense(2), nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
MEAN = nn.ops.mean_of_members


def train(key, data):
    t = nn.trainer(MODEL, nn.losses.mse, nn.adam(0.05), freeze="dense_0/b")
    return nn.fit(t, t.init(key, data.x), data, epochs=2, batch_size=4)[0]


def looped(key, data, rows):
    """Each member by itself, and for each example the mean over those that lack it."""
    run = jax.jit(train)
    alone = [run(member_key(key, 0, m), data.take(rows[m])) for m in range(len(rows))]
    alone = [(nn.tree.merge(ts.params, ts.frozen), ts.state) for ts in alone]
    predict = jax.jit(lambda params, state: MODEL.apply(params, state, data.x)[0])
    predictions = np.array([predict(*each) for each in alone])
    lacks = np.array([~np.isin(np.arange(data.examples), sample) for sample in np.asarray(rows)])
    expected = [predictions[lacks[:, i], i].mean(0) if lacks[:, i].any() else np.zeros(1) for i in range(len(lacks.T))]
    return alone, np.array(expected), lacks.any(0), predictions


@pytest.mark.usefixtures("x64")
def test_members_are_single_runs_and_those_that_lack_an_example_judge_it(key):
    data = regression(12, weighted=True)
    bagged = bagging(MODEL, train, data, key, members=3, size=9, combine=MEAN)
    alone, out_of_bag, covered, predictions = looped(key, data, bagged.rows)
    assert_close((bagged.params, bagged.state["members"]), nn.ensembles.stacked(alone), 1e-8)
    np.testing.assert_allclose(bagged.out_of_bag, out_of_bag, rtol=1e-8)
    np.testing.assert_array_equal(bagged.covered, covered)
    assert 0 < covered.sum() < 12  # so there is one that all members have seen
    together = jax.jit(bagged.model.apply)(bagged.params, bagged.state, data.x)[0]
    np.testing.assert_allclose(together, predictions.mean(0), rtol=1e-8)
    assert_close(member(bagged.fitted, 1)[1:], alone[1], 1e-8)
    np.testing.assert_array_equal(bagged.rows, nn.data.bootstrap(jax.random.fold_in(key, 1), 12, 3, size=9))

    more = bagging(MODEL, train, data, key, members=5, size=9, combine=MEAN, block=2)
    assert_close(jax.tree.map(lambda a: a[:3], more.params), bagged.params, 1e-8)
    np.testing.assert_allclose(more.out_of_bag, looped(key, data, more.rows)[1], rtol=1e-8)


@pytest.mark.usefixtures("x64")
def test_it_is_a_pure_function(key):
    data, keys = regression(12), jax.random.split(key, 2)
    bag = functools.partial(bagging, MODEL, train, members=2, combine=MEAN)
    both = jax.jit(jax.vmap(bag, (None, 0)))(data, keys)
    assert isinstance(both, Bagged)
    assert both.model == nn.Ensemble(MODEL, 2, combine=MEAN)
    for i, each in enumerate(keys):
        assert_close(jax.tree.map(lambda a, i=i: a[i], both), bag(data, each), 1e-8)


def test_all_members_are_one_program(key):
    other = jax.random.key(1)
    bag = functools.partial(bagging, Nearest(), memorise, noise(10), members=4)
    with compilations() as seen:
        bag(key)
    assert len(seen) == 1
    with compilations() as seen:
        bag(other)
    assert seen == []
    with compilations() as seen:
        bag(key, block=3)
    assert len(seen) == 1


def accuracy(logits, y):
    return float((np.asarray(logits).argmax(-1) == np.asarray(y)).mean())


def test_what_has_been_memorised_does_not_count(key):
    data = noise(300)
    bagged = bagging(Nearest(), memorise, data, key, members=12)
    y = np.asarray(data.y)
    with_all = jax.jit(bagged.model.apply)(bagged.params, bagged.state, data.x)[0]
    assert accuracy(with_all, y) > 0.95  # the wrong way: most members know the answer
    assert bagged.covered.mean() > 0.98
    assert abs(accuracy(bagged.out_of_bag[bagged.covered], y[bagged.covered]) - 0.5) < 0.1  # 3.5 standard deviations


def test_no_example_is_judged_by_who_knows_its_label(key):
    data = noise(10)

    @jax.jit
    @jax.vmap
    def with_another_label(i):
        changed = data._replace(y=data.y.at[i].set(1 - data.y[i]))
        bagged = bagging(Nearest(), memorise, changed, key, members=6)
        return bagged.out_of_bag[i], bagged.model.apply(bagged.params, bagged.state, data.x)[0][i]

    unseen, by_all = with_another_label(jnp.arange(10))
    bagged = bagging(Nearest(), memorise, data, key, members=6)
    np.testing.assert_array_equal(unseen, bagged.out_of_bag)
    before = jax.jit(bagged.model.apply)(bagged.params, bagged.state, data.x)[0]
    assert (np.abs(by_all - before).max(-1) > 0.1).all()  # each is seen by some, so the wrong way would be found


def test_a_combine_of_ones_own_gets_a_weight_a_member_and_one_without_weights_betrays_nothing(key):
    data = noise(200)
    bag = functools.partial(bagging, Nearest(), memorise, data, key, members=9)
    by_members = lambda z, w: (w[:, None, None] * z).sum(0) / w.sum()
    own, given = bag(combine=by_members), bag(combine=MEAN)
    np.testing.assert_allclose(own.out_of_bag, given.out_of_bag, rtol=1e-5, atol=1e-5)
    median = bag(combine=lambda z, w: jnp.median(z, axis=0))
    y, covered = np.asarray(data.y), np.asarray(median.covered)
    with_all = jax.jit(median.model.apply)(median.params, median.state, data.x)[0]
    assert accuracy(with_all, y) > 0.85  # so it would be found
    assert abs(accuracy(median.out_of_bag[covered], y[covered]) - 0.5) < 0.12


def test_where_all_have_seen_an_example_there_is_nothing(key):
    bagged = bagging(Nearest(), memorise, noise(10), key, members=1)
    seen = np.isin(np.arange(10), bagged.rows[0])
    np.testing.assert_array_equal(bagged.covered, ~seen)
    assert (np.asarray(bagged.out_of_bag)[seen] == 0).all()
    assert np.isfinite(bagged.out_of_bag).all()


UNSTABLE = nn.serial(nn.Dense(4), nn.tanh, nn.Dense(10))


def train_unstable(key, data):
    t = nn.trainer(UNSTABLE, nn.losses.cross_entropy, nn.adam(0.03))
    return nn.fit(t, t.init(key, data.x), data, epochs=20, batch_size=32)[0]


@pytest.mark.usefixtures("optimised")
def test_it_beats_its_member_and_the_estimate_is_that_of_held_out_data(key):
    """Five seeds, each of 280 digits of its own: so few, and so narrow a network, that members differ much."""
    digits, held_out = (data.on_device() for data in nn.data.digits())

    @jax.jit
    @jax.vmap
    def figures(key, rows):
        right = lambda z: nn.metrics.accuracy(z, held_out.y).mean()
        data = digits.take(rows)
        bagged = bagging(UNSTABLE, train_unstable, data, key, members=16)
        z, _ = bagged.model.predictions(bagged.params, bagged.state, held_out.x)
        together, _ = bagged.model.apply(bagged.params, bagged.state, held_out.x)
        whole = train_unstable(key, data)
        estimate, covered = nn.metrics.accuracy(bagged.out_of_bag, data.y), bagged.covered.astype(jnp.float32)
        return {
            "together": right(together),
            "member": jax.vmap(right)(z).mean(),
            "of all data": right(UNSTABLE.apply(whole.params, whole.state, held_out.x)[0]),
            "out of bag": (estimate * covered).sum() / covered.sum(),
            "sums": jnp.abs(nn.softmax(together).sum(-1) - 1).max(),
        }

    seen = figures(jax.random.split(key, 5), np.arange(5 * 280).reshape(5, 280))
    seen = {name: np.asarray(each) for name, each in seen.items()}
    # Seen: 0.91 together, 0.78 a member, 0.81 one network of all 280, and 0.91 out of the bag.
    assert (seen["together"] > seen["member"] + 0.08).all()
    assert seen["together"].mean() > seen["of all data"].mean() + 0.05
    # The standard deviation of their difference is 0.024 by the numbers of digits alone.
    assert (np.abs(seen["out of bag"] - seen["together"]) < 0.07).all()
    assert abs(seen["out of bag"].mean() - seen["together"].mean()) < 0.04
    assert (seen["sums"] < 1e-5).all()


def refused(error, **given):
    given = {
        "model": nn.Dense(1),
        "train": train,
        "data": regression(8),
        "key": jax.random.key(0),
        "members": 2,
        **given,
    }
    with pytest.raises(error) as raised:
        bagging(given.pop("model"), given.pop("train"), given.pop("data"), given.pop("key"), **given)
    return said(raised.value).split("\n-----")[0]  # after which JAX says what it has left out


@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_meant_is_refused():
    assert refused(ValueError, members=0) == "expected members of at least 1, because an ensemble has some; got 0"
    assert refused(TypeError, members=2.5) == "expected members to be an int, because an ensemble has some; got 2.5"
    assert refused(ValueError, size=0) == "expected size of at least 1, because a sample has so many rows; got 0"
    assert refused(ValueError, block=0) == (
        "expected block of at least 1, because it counts members that are computed at a time; got 0"
    )
    assert refused(TypeError, key=jnp.zeros(2, jnp.uint32)) == (
        "expected a key, because members draw from it; got uint32[2]\n  hint: jax.random.key(0)"
    )
    assert refused(TypeError, data=jnp.zeros((3, 2))) == (
        "expected data as nn.Data(x, y), because inputs and targets go together; got float32[3,2]"
    )
    assert refused(ValueError, data=nn.Data(jnp.zeros((3, 2)), jnp.zeros((4, 1)))) == (
        "expected one target (and weight) an input, because they are examples; data.x has 3, data.y has 4"
    )
    assert refused(ValueError, data=nn.Data(jnp.zeros((0, 2)), jnp.zeros((0, 1)))) == (
        "expected at least one example, because there is nothing to learn from none; data.x has 0, data.y has 0"
    )
    good, bad = np.ones((4, 2), np.float32), np.ones((4, 2), np.float32)
    bad[2, 1] = np.nan
    for name, data in (("x", nn.Data(bad, good)), ("y", nn.Data(good, bad)), ("w", nn.Data(good, good, bad))):
        assert refused(ValueError, data=data) == (
            f"expected data.{name} to be finite, because one NaN spreads to every parameter; got NaN or infinity in 1 "
            "of 4 examples, first in example 2"
        )
    assert refused(ValueError, data=nn.Data(good, good, -good[:, 0])) == (
        "expected data.w of at least 0, because it weighs examples; got -1.0"
    )


@pytest.mark.usefixtures("unannotated")
def test_a_train_that_makes_something_else_is_refused():
    t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    pair = lambda key, data: nn.fit(t, t.init(key, data.x), data, epochs=1, batch_size=4)
    assert refused(TypeError, train=pair) == (
        "expected train to return a train state, because its parameters make a member; got a tuple of 2\n"
        "  hint: return nn.fit(...)[0], without the history"
    )
    assert refused(TypeError, train=lambda key, data: 3) == (
        "expected train to return a train state, because its parameters make a member; got 3\n"
        "  hint: return nn.fit(...)[0], without the history"
    )
    one = lambda key, data: t.init(key, data.x)
    assert refused(ValueError, train=one, model=nn.Dense(2, bias=False)) == (
        "expected train to return a train state of Dense(2, bias=False), because that model is given to the ensemble "
        "and runs with its parameters; got w: (3, 1) for (3, 2), b: (1,) for none"
    )
