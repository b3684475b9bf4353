"""`halving` and `hyperband`: the same survivors and values as a loop over single runs, in a program for each rung."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.search import Choice, Grid, Halved, LogUniform, Random, Uniform, halving, hyperband, member_key
from jaxnn.search._hyperband import plan

quietly = functools.partial(halving, progress=False)
quietly_banded = functools.partial(hyperband, progress=False)


def trainer(learning_rate):
    model = nn.serial(nn.Dense(2), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
    return nn.trainer(model, nn.losses.mse, nn.adam(learning_rate))


def begin(key, learning_rate):
    return trainer(learning_rate).init(key, regression(10).x)


def advance(ts, epochs, learning_rate):
    t, data = trainer(learning_rate), regression(10)
    ts, _ = nn.fit(t, ts, data, epochs=epochs, batch_size=4)
    return ts, nn.evaluate(t, ts, data, nn.losses.mse)


def start(key, x):
    """Cheap to compile: what nears x by half of the way with each step, from a place that the key decides."""
    return jax.random.uniform(key, dtype=x.dtype)


def near(at, steps, x):
    at = x + (at - x) * 0.5**steps
    return at, (at - 0.3) ** 2


def looped(begin, advance, columns, key, brackets, budgets, factor, seeds):
    """Halving as it is written in the paper: bracket after bracket, member after member."""
    (trials,) = {len(column) for column in columns.values()}
    values = np.full((trials, seeds, len(budgets)), np.nan)
    states = {}
    for trial_numbers, first in brackets:
        there, n = list(trial_numbers), len(trial_numbers)
        for rung in range(first, len(budgets)):
            for trial in there:
                hyperparameters = {name: column[trial] for name, column in columns.items()}
                for seed in range(seeds):
                    if rung == first:
                        states[trial, seed] = begin(member_key(key, trial, seed), **hyperparameters)
                    more = budgets[rung] - (budgets[rung - 1] if rung > first else 0)
                    states[trial, seed], value = advance(states[trial, seed], more, **hyperparameters)
                    values[trial, seed, rung] = value
            ranked = sorted(there, key=lambda trial: values[trial, :, rung].mean())
            there = sorted(ranked[: n // factor ** (rung + 1 - first)])
    return values, states


@pytest.mark.usefixtures("x64")
def test_trials_are_promoted_as_in_a_loop_over_single_runs(key):
    rates = np.array([0.3, 1e-3, 0.1, 0.01, 0.03])
    budgets, seeds = (1, 3, 4), 2
    found = quietly(begin, advance, Grid(learning_rate=rates), key, budgets=budgets, factor=2, seeds=seeds)
    alone = jax.jit(begin), jax.jit(advance, static_argnums=1)
    columns = {"learning_rate": rates}
    values, states = looped(*alone, columns, key, [(range(5), 0)], budgets, factor=2, seeds=seeds)
    np.testing.assert_allclose(found.values, values, rtol=1e-8)
    assert sorted(found.rungs) == [1, 1, 1, 2, 3]
    best = np.nanargmin(values[:, :, -1].mean(axis=1))
    assert found.ranking[0] == best
    assert found.best == {"learning_rate": rates[best]}
    np.testing.assert_allclose(found.best_value, values[best, :, -1].mean(), rtol=1e-8)
    assert_close(found.state, states[best, np.argmin(values[best, :, -1])], 1e-8)
    assert found.spent == 2 * (3 * 1 + 3 + 4)


@pytest.mark.usefixtures("x64")
def test_hyperband_promotes_as_one_bracket_after_another_does(key):
    space = {"x": Uniform(-1.0, 1.0)}
    found = quietly_banded(start, near, space, key, most=11, least=1, factor=3, seeds=2)
    counts = [9, 5, 3]
    assert found.budgets == (1, 3, 11)
    assert np.bincount(found.brackets).tolist() == counts
    columns = Random(17, **space).columns(key)
    brackets = [(range(9), 0), (range(9, 14), 1), (range(14, 17), 2)]
    values, _ = looped(start, near, columns, key, brackets, found.budgets, factor=3, seeds=2)
    for first, (trials, _) in enumerate(brackets):
        np.testing.assert_allclose(found.values[trials, :, first:], values[trials, :, first:], rtol=1e-8)
        assert np.isfinite(found.values[trials, :, :first]).all()  # on the way there, where nobody is ranked
    assert found.ranking[0] == np.nanargmin(values[:, :, -1].mean(axis=1))
    assert found.table(rows=1).split("\n")[0].split() == ["trial", "bracket", "x", "budget", "value"]


def test_brackets_are_those_of_the_paper(key):
    """With R = 81 and eta = 3, by algorithm 1: n and r of each bracket, and n_i of its rungs."""
    assert plan(1, 81, 3) == ([1, 3, 9, 27, 81], [81, 34, 15, 8, 5])
    assert plan(1, 8, 2) == ([1, 2, 4, 8], [8, 6, 4, 4])
    assert plan(1, 100, 3) == ([1, 3, 11, 33, 100], [81, 34, 15, 8, 5])
    assert plan(10, 81, 3) == ([27, 81], [3, 2])
    assert plan(5, 5, 4) == ([5], [1])
    with compilations() as seen:
        found = quietly_banded(start, near, {"x": Uniform(-1.0, 1.0)}, key, most=81)
    at = [[int((found.rungs[found.brackets == b] > rung).sum()) for rung in range(5)] for b in range(5)]
    assert [sizes[first:] for first, sizes in enumerate(at)] == [[81, 27, 9, 3, 1], [34, 11, 3, 1], [15, 5, 1],
                                                                [8, 2], [5]]  # fmt: skip
    assert found.spent == sum([81 + 27 * 2 + 9 * 6 + 3 * 18 + 54, 34 * 3 + 11 * 6 + 3 * 18 + 54, 15 * 9 + 5 * 18 + 54,
                               8 * 27 + 2 * 54, 5 * 81])  # fmt: skip
    assert len(seen) <= 5 + 2  # one a budget, the best one's state, and what looks at the key
    assert abs(found.best["x"] - 0.3) < 0.1


def test_there_is_one_program_a_rung(key):
    search = functools.partial(quietly, start, near, budgets=(1, 2, 4), factor=2)
    search(Random(4, x=Uniform(-1.0, 1.0)), key)  # what looks at the key, and takes the best state
    with compilations() as seen:
        search(Random(13, x=Uniform(-1.0, 1.0)), key, seeds=3)
    assert len(seen) == 3 + 1  # a state of the best is taken from a block of another size


def failing(at, steps, x):
    """Trials of an x below 0 fail at once, those above 1 later on."""
    at, _ = near(at, steps, x)
    return at, jnp.where((x < 0) | ((x > 1) & (steps > 1)), jnp.where(x < -1, -jnp.inf, jnp.nan), -x)


def test_what_failed_is_never_promoted_and_ranked_last(key):
    xs = [-2.0, 0.1, -0.5, 3.0, 0.2, -1.5, 0.3, -0.1, 2.0]
    found = quietly(start, failing, Grid(x=xs), key, budgets=(1, 3, 9), factor=2)
    # At first 2 are promoted of those above 1, for they are best, and the next two; these two failed are out then.
    assert found.rungs.tolist() == [1, 1, 1, 2, 3, 1, 3, 1, 2]
    assert np.isnan(found.values[[3, 8], 0, 2]).all()
    assert found.best == {"x": 0.3}
    assert found.failed.sum() == 6
    assert found.ranking.tolist() == [6, 4, 3, 8, 1, 0, 2, 5, 7]
    state = start(member_key(key, 6), x=np.float32(0.3))
    for more in (1, 2, 6):
        state, _ = near(state, more, x=np.float32(0.3))
    np.testing.assert_allclose(found.state, state, rtol=1e-5)
    assert repr(found) == ("Halved from 9 trials, budgets 1, 3 and 9: best -0.3 at x=0.3; spent 29 of 81; 6 failed")
    assert found.table(rows=2).splitlines()[2:] == ["    6  0.3       9   -0.3", "    4  0.2       9   -0.2",
                                                    "and 7 more"]  # fmt: skip


def test_where_fewer_are_left_than_a_block_has_room_for_the_others_are_as_ever(key):
    few = quietly(start, failing, Grid(x=[-2.0, -0.5, 0.1, -0.1, 0.2, -3.0]), key, budgets=(1, 2), factor=2)
    assert few.rungs.tolist() == [1, 1, 2, 1, 2, 1]
    assert few.ranking.tolist()[:2] == [4, 2]
    assert few.spent == 8


def test_where_all_failed_there_is_no_best(key):
    none = quietly(start, failing, Grid(x=[-2.0, -3.0]), key, budgets=(1, 3), factor=2)
    assert repr(none) == "Halved from 2 trials, budgets 1 and 3: all failed"
    assert none.state is None
    with pytest.raises(ValueError, match="expected a trial with a finite value, because the best is one; got 2 that"):
        none.best  # noqa: B018


def test_where_all_failed_later_the_best_is_that_of_the_rung_before(key):
    found = quietly(start, failing, Grid(x=[2.0, 3.0, 4.0, 5.0]), key, budgets=(1, 3, 5), factor=2, seeds=2)
    assert found.rungs.tolist() == [1, 1, 2, 2]
    assert (found.best, found.best_value) == ({"x": 5.0}, -5.0)
    assert found.failed.tolist() == [False, False, True, True]
    np.testing.assert_allclose(found.state, near(start(member_key(key, 3, 0), np.float32(5)), 1, np.float32(5))[0])


def test_the_greatest_may_be_the_best(key):
    found = quietly(start, failing, Grid(x=[0.5, 0.1, 0.7]), key, budgets=(1, 2), mode="max")
    assert (found.best, found.rungs.tolist()) == ({"x": 0.1}, [1, 2, 1])
    assert np.isclose(found.best_value, -0.1)


def test_a_trial_is_ranked_by_its_mean_and_failed_with_one_seed():
    nan = np.nan
    values = np.array([[[1.0, nan], [3.0, nan]], [[1.0, 4.0], [1.5, nan]], [[0.0, nan], [nan, nan]]])
    found = Halved({"x": np.arange(3)}, values, np.array([1, 2, 1]), np.zeros(3, int), (1, 2), "min", None)
    np.testing.assert_array_equal(found.mean, [[2.0, nan], [1.25, nan], [nan, nan]])
    assert found.ranking.tolist() == [1, 0, 2]
    assert found.failed.tolist() == [False, True, True]


def test_states_may_be_any_tree(key):
    def begin(key, x, n):
        return {"weak": 1.0, "key": key, "n": n}

    def advance(state, more, x, n):
        assert type(more) is int
        noise = jax.random.normal(jax.random.fold_in(state["key"], more))
        return {"weak": state["weak"] * 2, "key": state["key"], "n": n}, x * noise

    space = Random(4, x=LogUniform(0.1, 1.0), n=Choice([1, 2]))
    found, in_blocks = (quietly(begin, advance, space, key, budgets=[1, np.int64(2)], block=size) for size in (None, 3))
    np.testing.assert_allclose(in_blocks.values, found.values, rtol=1e-6)
    assert found.state["weak"] == 4
    assert found.state["n"] == found.best["n"]
    assert found.state["n"].dtype == np.int32
    best = int(found.ranking[0])
    assert jax.random.key_data(found.state["key"]).tolist() == jax.random.key_data(member_key(key, best)).tolist()


def test_what_is_said_on_the_way(key, capsys):
    halving(start, failing, Grid(x=[0.5, 0.1, -1.0, 0.2, 2.0, 3.0]), key, budgets=(1, 3, 9), factor=2, seeds=2)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "6 trials x 2 seeds: 6 at 1, 3 at 3, 1 at 9"
    assert last.startswith("rung 3/3: 1 trial, best -0.5, 0:0")
    quietly(start, near, Grid(x=[0.1]), key, budgets=(1,))
    assert capsys.readouterr() == ("", "")


GOOD = Grid(x=[0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("advance", "space", "settings", "message"),
    [
        (near, GOOD, {"factor": 1}, "expected factor of at least 2, because of so many trials one is promoted; got 1"),
        (near, GOOD, {"budgets": ()}, "expected budgets that grow from at least 1, because each is what members have "
         "had in all; got ()"),
        (near, GOOD, {"budgets": (3, 3)}, "got (3, 3)"),
        (near, GOOD, {"budgets": (0, 3)}, "got (0, 3)"),
        (near, GOOD, {"budgets": (1, 2, 3)}, "expected at least 9 trials, because of each 3 one is promoted, 2 times, "
         "and one must be left; got 3\n  hint: fewer budgets, or a space of more trials"),
        (near, GOOD, {"seeds": 0}, "expected seeds of at least 1, because each trial has some members; got 0"),
        (near, GOOD, {"block": 0}, "expected block of at least 1, because it counts members; got 0"),
        (near, GOOD, {"mode": "least"}, "expected mode as 'min' or 'max'; got 'least'"),
        (near, Grid(x=[0.1, 0.2, 0.3], f=[nn.relu]), {}, "expected hyperparameters that are numbers, because all "
         "members of a rung are one program; got f=relu\n  hint: functools.partial gives one value to begin and "
         "advance; nn.search.sweep tries several"),
        (lambda at, steps, x: (at, x * jnp.ones(2)), GOOD, {}, "expected advance to return (state, value) with a real "
         "scalar as the value, because trials are ranked by it; got float32[2]\n  hint: nn.evaluate"),
        (lambda at, steps, x: (at, {"loss": x}), GOOD, {}, "expected advance to return (state, value) with a real"),
        (lambda at, steps, x: at, GOOD, {}, "expected advance to return (state, value), because a member goes on from "
         "the state and is ranked by the value; got "),
        (lambda at, steps, x: (at * jnp.ones(steps), x), GOOD, {}, "expected advance to return a state like the one "
         "that it got, because members go on from it; got a state of float32[1] from float32[]"),
        (lambda at, steps, x: ((at,), x), GOOD, {}, "expected advance to return a state like the one that it got"),
        (lambda at, steps, x: (at if steps == 1 else at * jnp.ones(2), x), GOOD, {}, "got a state of float32[2] from"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_halved_is_refused_before_anything_is_computed(advance, space, settings, message, key):
    with compilations() as seen, pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        quietly(lambda key, **_: jax.random.uniform(key), advance, space, key, **{"budgets": (1, 3)} | settings)
    assert message in said(raised.value)
    assert not seen


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        (GOOD, {"key": 0}, "expected a key, because members draw from it; got 0\n  hint: jax.random.key(0)"),
        ({"x": [1.0]}, {}, "expected a space, because trials come from one; got {'x': [1.0]}\n  hint: "),
        (GOOD, {"factor": 2.5}, "expected factor to be an int, because of so many trials one is promoted; got 2.5"),
        (GOOD, {"budgets": (1.5,)}, "expected budgets to be an int, because a member goes on by whole numbers; got"),
        (Grid(z=[1.0]), {"budgets": (1,)}, "unexpected keyword argument 'z'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_argument_is_refused(space, settings, message, key):
    with pytest.raises(TypeError) as raised:
        quietly(start, near, space, **{"key": key, "budgets": (1, 2)} | settings)
    assert message in said(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"least": 10, "most": 9}, "expected least of at most most, because budgets grow from one to the other; got "
         "least=10, most=9"),
        ({"most": 9, "factor": 0}, "expected factor of at least 2, because of so many trials one is promoted; got 0"),
        ({"most": 0}, "expected most of at least 1, because a last budget is something; got 0"),
        ({"most": 9, "least": 0}, "expected least of at least 1, because a first budget is something; got 0"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_brackets_that_cannot_be_are_refused(settings, message, key):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        quietly_banded(start, near, {"x": Uniform(0.0, 1.0)}, key, **settings)
    assert message in said(raised.value)


def test_a_halving_is_not_transformed(key):
    with pytest.raises(TypeError, match="expected to be called outside of jit, vmap, grad"):
        jax.jit(lambda: quietly(start, near, GOOD, key, budgets=(1,)).values)()
