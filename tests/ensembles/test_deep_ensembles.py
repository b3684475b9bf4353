"""`deep_ensemble`: members are single runs from other starts, with hyperparameters of their own if there are some."""

import functools

import jax
import numpy as np
import pytest
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.ensembles import Fitted, deep_ensemble, stacked
from jaxnn.search import member_key

MODEL = nn.serial(nn.Dense(2), nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
MEAN = nn.ops.mean_of_members
RATES = np.array([0.3, 0.03, 0.003])


def trainer(learning_rate):
    return nn.trainer(MODEL, nn.losses.mse, nn.adam(learning_rate))


def train(key, data, learning_rate=0.05):
    t = trainer(learning_rate)
    return nn.fit(t, t.init(key, data.x), data, epochs=2, batch_size=4)[0]


@pytest.mark.usefixtures("x64")
def test_members_are_single_runs(key):
    data = regression(10, weighted=True)
    deep = functools.partial(deep_ensemble, MODEL, train, data, key, combine=MEAN)
    run = jax.jit(train)
    alone = [run(member_key(key, 0, m), data, rate) for m, rate in enumerate(RATES)]
    expected = stacked([(ts.params, ts.state) for ts in alone])
    fitted = deep(hyperparameters={"learning_rate": RATES})
    assert_close((fitted.params, fitted.state["members"]), expected, 1e-8)
    assert_close(deep(hyperparameters={"learning_rate": RATES}, block=2), fitted, 1e-8)
    assert fitted.model == nn.Ensemble(MODEL, 3, combine=MEAN)
    np.testing.assert_array_equal(fitted.state["weights"], np.ones(3))

    t = nn.trainer(fitted.model, nn.losses.mse, nn.sgd(0.1))
    predicted = nn.predict(t, t.begin(key, fitted.params, fitted.state), data.x)
    of_members = [jax.jit(trainer(0.1).predict)(trainer(0.1).begin(key, ts.params, ts.state), data.x) for ts in alone]
    np.testing.assert_allclose(predicted, np.mean(of_members, axis=0), rtol=1e-8)


@pytest.mark.usefixtures("x64")
def test_it_is_a_pure_function_and_members_do_not_depend_on_their_number(key):
    data = regression(10)
    deep = functools.partial(deep_ensemble, nn.Dense(1), train_dense, data, combine=MEAN)
    keys = jax.random.split(key, 2)
    both = jax.jit(jax.vmap(functools.partial(deep, members=5)))(keys)
    assert isinstance(both, Fitted)
    for i, each in enumerate(keys):
        three = deep(each, members=3)
        assert_close(three.params, jax.tree.map(lambda a, i=i: a[i, :3], both.params), 1e-8)
        assert not np.allclose(three.params["w"][0], three.params["w"][1])


def train_dense(key, data, learning_rate=0.05, strength=0.0):
    penalised = lambda prediction, target: (prediction - target) ** 2 + strength * prediction**2
    t = nn.trainer(nn.Dense(1), penalised, nn.adam(learning_rate))
    return nn.fit(t, t.init(key, data.x), data, epochs=1, batch_size=5)[0]


def test_all_members_are_one_program(key):
    deep = functools.partial(deep_ensemble, nn.Dense(1), train_dense, regression(10), key, combine=MEAN)
    columns = {"learning_rate": [0.1, 0.2, 0.3, 0.4], "strength": [0.0, 1.0, 2.0, 3.0]}
    with compilations() as seen:
        first = deep(hyperparameters=columns)
    assert len(seen) == 1
    with compilations() as seen:
        second = deep(members=4, hyperparameters=columns | {"strength": np.array([0.0, 1.0, 9.0, 3.0])})
    assert seen == []
    changed = (np.asarray(first.params["w"]) != np.asarray(second.params["w"])).any((1, 2))
    np.testing.assert_array_equal(changed, [False, False, True, False])


@pytest.mark.usefixtures("optimised")
def test_the_vote_has_a_smaller_loss_than_its_members(key):
    """By Jensen's inequality it is never greater than their mean; and probabilities sum to one."""
    digits, held_out = (data.on_device() for data in nn.data.digits())
    data = digits.take(np.arange(200))
    model = nn.serial(nn.Dense(6), nn.relu, nn.Dense(10))

    def run(key, data):
        t = nn.trainer(model, nn.losses.cross_entropy, nn.adam(0.02))
        return nn.fit(t, t.init(key, data.x), data, epochs=20, batch_size=25)[0]

    @jax.jit
    @jax.vmap
    def figures(key):
        fitted = deep_ensemble(model, run, data, key, members=6)
        together, _ = fitted.model.apply(fitted.params, fitted.state, held_out.x)
        z, _ = fitted.model.predictions(fitted.params, fitted.state, held_out.x)
        loss = lambda z: nn.losses.cross_entropy(z, held_out.y).mean()
        return loss(together), jax.vmap(loss)(z).mean(), nn.softmax(together)

    together, member, p = map(np.asarray, figures(jax.random.split(key, 5)))
    assert (together < 0.85 * member).all()  # seen: 0.74 .. 0.79 of it
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)


def refused(error, **given):
    given = {"train": train_dense, "data": regression(8), "key": jax.random.key(0), "combine": MEAN, **given}
    train, data, key = (given.pop(name) for name in ("train", "data", "key"))
    with pytest.raises(error) as raised:
        deep_ensemble(nn.Dense(1), train, data, key, **given)
    return said(raised.value).split("\n-----")[0]  # after which JAX says what it has left out


@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_meant_is_refused():
    assert refused(ValueError) == (
        "expected members or hyperparameters, because they say how many there are; got neither"
    )
    assert refused(ValueError, members=0) == "expected members of at least 1, because an ensemble has some; got 0"
    assert refused(TypeError, members="3") == "expected members to be an int, because an ensemble has some; got '3'"
    assert refused(ValueError, members=3, hyperparameters={"strength": [1.0, 2.0], "learning_rate": RATES}) == (
        "expected one number for each member, because hyperparameters are those of members; got members of 3, strength "
        "of 2, learning_rate of 3"
    )
    assert refused(ValueError, hyperparameters={"strength": []}) == (
        "expected one number for each member, because hyperparameters are those of members; got strength of 0"
    )
    assert refused(TypeError, members=1, key=3) == (
        "expected a key, because members draw from it; got 3\n  hint: jax.random.key(0)"
    )
    assert refused(TypeError, members=1, data=(1, 2)) == (
        "expected data as nn.Data(x, y), because inputs and targets go together; got (1, 2)"
    )
    hint = "\n  hint: members of several structures are joined by nn.vote"
    assert refused(TypeError, hyperparameters={"activation": ["relu", "tanh"]}) == (
        "expected hyperparameter activation as an array of numbers, one for each member, because members are one "
        f"program; got ['relu', 'tanh']{hint}"
    )
    assert refused(TypeError, hyperparameters={"strength": 1.0}) == (
        "expected hyperparameter strength as an array of numbers, one for each member, because members are one "
        f"program; got 1.0{hint}"
    )


@pytest.mark.usefixtures("unannotated")
def test_members_of_several_structures_are_not_one_program():
    def wide(key, data, width):
        t = nn.trainer(nn.serial(nn.Dense(width), nn.Dense(1)), nn.losses.mse, nn.adam(0.1))
        return t.init(key, data.x)

    assert refused(TypeError, train=wide, hyperparameters={"width": [2, 3]}).endswith(
        "\n  hint: train is given tracers for width, because members are one program; members of several structures "
        "are joined by nn.vote"
    )
