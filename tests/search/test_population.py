"""`population_based_training`: members are single runs that copy by the rule, in one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.search import Grid, LogUniform, Population, Random, Uniform, member_key, population_based_training


def trainer(learning_rate, momentum):
    model = nn.serial(nn.Dense(2), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
    return nn.trainer(model, nn.losses.mse, nn.sgd(learning_rate, momentum=momentum))


def begin(key, learning_rate, momentum):
    return trainer(learning_rate, momentum).init(key, regression(10).x)


def advance(ts, epochs, learning_rate, momentum):
    t, data = trainer(learning_rate, momentum), regression(10)
    ts, _ = nn.fit(t, ts, data, epochs=epochs, batch_size=4)
    return ts, nn.evaluate(t, ts, data, nn.losses.mse)


def start(key, x):
    return x


def near(at, steps, x):
    return at + steps * (0.3 - x) * 0.1, (x - 0.3) ** 2


def ruled(population, sign=1.0, within=None):
    """Assert that who copied, whom, and by which factors, is as the paper has it; return the factors."""
    rounds, members = population.values.shape
    quarter, factors = members // 4, []
    for k in range(1, rounds):
        before = np.where(np.isfinite(population.values[k - 1]), sign * population.values[k - 1], np.inf)
        order = np.argsort(before, kind="stable")
        best = [m for m in order[:quarter] if np.isfinite(before[m])]
        copies = set(order[-quarter:]) | set(np.flatnonzero(np.isinf(before)))
        for member, parent in enumerate(population.parents[k]):
            assert (parent in best) if member in copies else (parent == member)
            for name, rows in population.hyperparameters.items():
                ratio = rows[k, member] / rows[k - 1, parent]
                if parent == member:
                    assert ratio == 1
                elif rows[k, member] not in (within or {}).get(name, ()):
                    assert min(abs(ratio - 0.8), abs(ratio - 1.2)) < 1e-5
                    factors.append(round(float(ratio), 1))
    return factors


@pytest.mark.usefixtures("x64")
def test_members_are_single_runs_that_copy(key):
    space = Random(8, learning_rate=LogUniform(1e-3, 0.3), momentum=Uniform(0.0, 0.9))
    within = {"momentum": (0.0, 0.9)}
    found = population_based_training(begin, advance, space, key, rounds=4, more=2, within=within)
    factors = ruled(found, within=within)
    assert {0.8, 1.2} <= set(factors)
    assert (found.hyperparameters["momentum"] <= 0.9).all()
    for name, column in space.columns(key).items():
        np.testing.assert_allclose(found.hyperparameters[name][0], column, rtol=1e-15)
    starts, on = jax.jit(begin), jax.jit(advance, static_argnums=1)
    of = lambda k, m: {name: rows[k, m] for name, rows in found.hyperparameters.items()}
    states = [starts(member_key(key, m), **of(0, m)) for m in range(8)]
    for k in range(4):
        went = [on(states[found.parents[k, m]], 2, **of(k, m)) for m in range(8)]
        states = [state for state, _ in went]
        np.testing.assert_allclose(found.values[k], [value for _, value in went], rtol=1e-8)
    assert found.best == np.argmin(found.values[-1])
    assert_close(found.state, states[found.best], 1e-8)
    # Its schedule, in a run from where its first ancestor began, is the same run.
    first = int(found.lineage(found.best)[0])
    state = starts(member_key(key, first), **of(0, first))
    schedule, values = found.schedule(found.best), []
    for k in range(4):
        state, value = on(state, 2, **{name: row[k] for name, row in schedule.items()})
        values.append(value)
    np.testing.assert_allclose(values[-1], found.best_value, rtol=1e-8)


def test_it_is_one_program_and_finds_the_optimum(key):
    run = functools.partial(population_based_training, start, near, Random(16, x=Uniform(1.0, 9.0)), key)
    run(rounds=1)
    with compilations() as seen:
        found = run(rounds=30)
    assert len(seen) == 1
    ruled(found)
    assert abs(found.hyperparameters["x"][-1, found.best] - 0.3) < 0.05 < abs(found.hyperparameters["x"][0] - 0.3).min()
    assert found.values[-1].max() < found.values[0].min()


def test_the_greatest_may_be_the_best(key):
    turned = lambda at, steps, x: (at, -near(at, steps, x)[1])
    found = population_based_training(start, turned, Random(9, x=Uniform(1.0, 2.0)), key, rounds=6, mode="max")
    ruled(found, -1.0)
    assert found.best == np.argmax(found.values[-1])
    assert found.values[-1].max() > found.values[0].max()


def test_what_failed_copies_and_is_not_copied(key):
    failing = lambda at, steps, x: (at * x, jnp.where(x > 5, jnp.nan, jnp.where(x > 4, -jnp.inf, x)))
    space = Grid(x=[1.0, 6.0, 7.0, 8.0, 9.0, 4.5, 10.0, 11.0])
    found = population_based_training(start, failing, space, key, rounds=3)
    assert found.parents[1].tolist() == [0] * 8  # the only one of a quarter of two that has not failed
    ruled(found)
    assert np.isfinite(found.values[1:]).all()
    none = population_based_training(start, failing, Grid(x=[6.0, 7.0, 8.0, 9.0]), key, rounds=3)
    assert none.parents.tolist() == [[0, 1, 2, 3]] * 3
    assert repr(none) == "Population of 4 members, 3 rounds: all failed"
    with pytest.raises(ValueError, match="expected a member with a finite value, because the best is one; got 4 that"):
        none.best  # noqa: B018


def test_a_lineage_goes_back_from_copy_to_copy():
    parents = np.array([[0, 1, 2], [0, 0, 2], [1, 1, 2]])
    x = np.arange(9.0).reshape(3, 3)
    population = Population({"x": x}, np.zeros((3, 3)), parents, "min", None)
    assert population.lineage(0).tolist() == [0, 1, 0]
    assert population.lineage(2).tolist() == [2, 2, 2]
    assert population.schedule(0)["x"].tolist() == [0, 4, 6]


GOOD = Grid(x=[0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("advance", "space", "settings", "message"),
    [
        (near, Grid(x=[0.1, 0.2, 0.3]), {}, "expected at least 4 members, because a quarter of them copies; got 3"),
        (near, Grid(x=[1, 2, 3, 4]), {}, "expected hyperparameters that are floats, because they are multiplied by "
         "0.8 or 1.2; got ints for x"),
        (near, Grid(x=["a"]), {}, "expected hyperparameters that are numbers"),
        (near, GOOD, {"rounds": 0}, "expected rounds of at least 1, because members are compared after each; got 0"),
        (near, GOOD, {"more": 0}, "expected more of at least 1, because a round goes on by it; got 0"),
        (near, GOOD, {"mode": "least"}, "expected mode as 'min' or 'max'; got 'least'"),
        (near, GOOD, {"within": {"y": (0, 1)}}, "expected within for hyperparameters of the space, x; got 'y'"),
        (near, GOOD, {"within": {"x": (0.2, 1.0)}}, "expected within of x as (low, high) with all members between, "
         "because they begin there; got 0.2 and 1.0, and members from 0.1 to 0.4"),
        (lambda at, steps, x: (at, x * jnp.ones(2)), GOOD, {}, "with a real scalar as the value, because trials"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_population_is_refused(advance, space, settings, message, key):
    with compilations() as seen, pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        population_based_training(start, advance, space, key, **{"rounds": 2} | settings)
    assert message in said(raised.value)
    assert not seen
