"""`sweep`: members are single runs whatever the blocks, one program for all numbers, failures stay where they are."""

import functools
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations, regression, said

import jaxnn as nn
from jaxnn.search import Choice, Grid, LogUniform, Random, Sweep, Uniform, member_key, sweep

quietly = functools.partial(sweep, progress=False)


def training(key, learning_rate, width=2, activation=nn.tanh):
    """A whole run: dropout, early stopping and all that draws."""
    data = regression(10)
    model = nn.serial(nn.Dense(width), activation, nn.Dropout(0.2), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.adam(learning_rate))
    ts = trainer.init(key, data.x)
    stopping = nn.EarlyStopping(patience=1)
    ts, history = nn.fit(trainer, ts, data, epochs=4, batch_size=4, validation=data, stopping=stopping)
    return {"history": history, "loss": nn.evaluate(trainer, ts, data, nn.losses.mse)}


def bowl(key, x, y=0.0):
    """Cheap to compile: a minimum at x = 0.3, with noise that only the key decides."""
    return (x - 0.3) ** 2 + y + 0.01 * jax.random.uniform(key, dtype=jnp.result_type(float))


@pytest.mark.usefixtures("x64")
def test_members_are_single_runs_in_blocks_of_any_size(key):
    rates = np.array([1e-3, 0.01, 0.1, 0.3])
    space = Grid(learning_rate=rates)
    swept = [quietly(training, space, key, seeds=2, **how) for how in ({}, {"block": 3}, {"method": "map", "block": 3})]
    alone = jax.jit(training)
    for trial, rate in enumerate(rates):
        for seed in range(2):
            expected = jax.tree.leaves(alone(member_key(key, trial, seed), rate))
            for each in swept:
                got = [leaf[trial, seed] for leaf in jax.tree.leaves(each.results)]
                jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8), got, expected)
    stops = np.isnan(swept[0].results["history"]["loss"]).sum(-1)
    assert len(np.unique(stops)) > 1  # else this would not be about members that stop at their own time
    assert len(np.unique(swept[0].values)) == 8


def test_a_sweep_of_numbers_compiles_once_and_one_of_static_settings_once_for_each(key):
    def counted(space, **settings):
        with compilations() as seen:
            swept = quietly(run, space, key, **settings)
        return len(seen), swept

    def run(key, rate, width=2, activation=nn.tanh):
        x = jax.random.normal(key, (width,), rate.dtype)
        return activation(rate * x).sum()

    counted(Grid(rate=[0.1]))  # what looks at the key
    numbers, _ = counted(Random(5, rate=LogUniform(1e-3, 0.1)), seeds=2, block=3)
    assert numbers == 1
    space = Grid(width=[2, 3], rate=[0.01, 0.1], activation=[nn.tanh, nn.relu])
    programs, swept = counted(space, static=("width",))
    assert programs == 4
    # Each program's members are those of a sweep without static hyperparameters, in their places.
    for trial in (0, 5, 7):
        wanted = swept.trial(trial)
        alone = jax.jit(run, static_argnames=("width", "activation"))
        expected = alone(member_key(key, trial), **wanted | {"rate": np.float32(wanted["rate"])})
        np.testing.assert_allclose(swept.values[trial, 0], expected, rtol=1e-4)


def test_static_values_are_passed_as_they_are(key):
    seen = []

    def run(key, n, name, options, x):
        seen.append((n, name, options))
        assert isinstance(x, jax.core.Tracer)
        return x.sum()

    space = Grid(n=np.array([1, 2]), name=["a"], options=[[1, 2], None, True, 1.5], x=[0.5, 1.0])
    swept = quietly(run, space, key, static=["n"])
    expected = [(n, "a", options) for n in (1, 2) for options in ([1, 2], None, True, 1.5)]
    assert seen == expected
    assert all(type(n) is int for n, *_ in seen)
    np.testing.assert_array_equal(swept.values[:, 0], np.tile([0.5, 1.0], 8).astype(np.float32))


def test_ints_are_traced_as_ints(key):
    swept = quietly(
        lambda key, n, x: {"n": n, "x": x.astype(jnp.float32)}, Grid(n=[1, 2], x=[0, 0.5]), key, objective="x"
    )
    assert swept.results["n"].dtype == np.int32
    np.testing.assert_array_equal(swept.results["n"][:, 0], [1, 1, 2, 2])


def test_members_that_fail_are_counted_and_last_and_leave_the_others_alone(key):
    def run(key, x):
        return {"loss": jnp.where(x > 1, jnp.nan, bowl(key, x)), "steps": jnp.log(x)}

    xs = [2.0, 0.0, 0.3, 3.0, 0.5]
    swept = quietly(run, Grid(x=xs), key, seeds=2, block=4, objective="loss")
    without = quietly(run, Grid(x=xs[1:3]), key, seeds=2, objective="loss")
    assert swept.failed.tolist() == [2, 0, 0, 2, 0]
    assert swept.ranking.tolist() == [2, 4, 1, 0, 3]
    assert swept.best == {"x": 0.3}
    assert 0 <= swept.best_value <= 0.01
    assert np.isfinite(swept.values[[1, 2, 4]]).all()
    assert np.isfinite(without.values).all()
    assert "of 10 members 4 failed" in repr(swept)
    assert swept.table().splitlines()[0].split() == ["trial", "x", "loss", "std", "failed"]
    assert swept.table().splitlines()[-1].split() == ["3", "3", "nan", "nan", "2"]


def test_where_all_failed_there_is_no_best(key):
    swept = quietly(lambda key, x: x / 0, Grid(x=[1.0, 2.0]), key, mode="max")
    assert repr(swept) == "Sweep of 2 trials: all 2 members failed"
    with pytest.raises(ValueError, match=r"expected a member with a finite objective, .* got 2 that all failed"):
        swept.best  # noqa: B018


def swept_of(values, mode="min"):
    return Sweep({"x": np.arange(len(values))}, {"loss": np.array(values)}, "loss", mode)


def test_ranking_is_by_failures_then_by_the_mean_over_the_other_seeds():
    nan, inf = np.nan, np.inf
    values = [[1.0, nan], [5.0, 7.0], [nan, nan], [4.0, 6.0], [0.5, -inf], [5.0, 5.0]]
    swept = swept_of(values)
    np.testing.assert_array_equal(swept.mean, [1.0, 6.0, nan, 5.0, 0.5, 5.0])
    np.testing.assert_allclose(swept.std, [nan, 2**0.5, nan, 2**0.5, nan, 0])
    assert swept.ranking.tolist() == [3, 5, 1, 4, 0, 2]
    assert swept_of(values, "max").ranking.tolist() == [1, 3, 5, 0, 4, 2]
    assert swept.best_value == 5.0


def test_a_table_shows_what_is_asked_for_best_first(key):
    swept = quietly(lambda key, x, f: f(x), Grid(x=[0.25, 1e-4], f=[nn.relu, jnp.negative]), key)
    assert swept.table() == (
        "trial       x  f         objective\n"
        "-----  ------  --------  ---------\n"
        "    1    0.25  negative      -0.25\n"
        "    3  0.0001  negative    -0.0001\n"
        "    2  0.0001  relu         0.0001\n"
        "    0    0.25  relu           0.25"
    )
    assert swept.table(rows=1).splitlines()[-1] == "and 3 more"
    assert len(swept.table(rows=None).splitlines()) == 6


def test_two_hyperparameters_are_crossed_for_a_heat_map(key):
    def run(key, x, y, f):
        return f(x) + 10.0 * y.astype(x.dtype)

    swept = quietly(run, Grid(x=[2.0, 1.0], y=[1, 2, 3], f=[nn.relu, nn.identity]), key, seeds=2)
    crossed = swept.crossed("y", "x")
    assert (crossed["rows"], crossed["columns"]) == ([1, 2, 3], [1.0, 2.0])
    np.testing.assert_allclose(crossed["values"], [[11, 12], [21, 22], [31, 32]])
    np.testing.assert_allclose(swept.crossed("f", "seed")["values"], np.full((2, 2), 21.5))
    assert swept.crossed("f", "seed")["rows"] == ["relu", "identity"]
    axes, bar = nn.plot.heat_map(**crossed).axes
    assert (axes.get_ylabel(), axes.get_xlabel(), bar.get_ylabel()) == ("y", "x", "objective")
    with pytest.raises(ValueError, match="expected a hyperparameter of this sweep, x, y, f or seed; got 'z'"):
        swept.crossed("x", "z")


def test_a_heat_map_of_random_trials_has_gaps():
    swept = Sweep({"x": np.array([1, 1, 2]), "y": np.array([1, 2, 2])}, np.array([[1.0], [np.nan], [3.0]]), "", "min")
    np.testing.assert_array_equal(swept.crossed("x", "y")["values"], [[1, np.nan], [np.nan, 3]])


def test_a_data_frame_has_a_row_for_every_member(key, monkeypatch):
    swept = quietly(lambda key, x: {"loss": x, "path": x * jnp.ones(2)}, Grid(x=[0.5, 1.0]), key, seeds=2)
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=dict))  # it takes columns by name
    frame = swept.to_pandas()
    assert list(frame) == ["trial", "seed", "x", "loss", "path"]
    assert [list(frame[name]) for name in ("trial", "seed", "x", "loss")] == [
        [0, 0, 1, 1], [0, 1, 0, 1], [0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1],
    ]  # fmt: skip
    assert [list(path) for path in frame["path"]] == [[0.5, 0.5]] * 2 + [[1, 1]] * 2
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        swept.to_pandas()
    assert "pip install pandas" in said(raised.value)


def test_blocks_fit_into_memory(key, capsys):
    def run(key, x):
        return jnp.outer(*(jnp.sin(x + jnp.arange(100.0, dtype=x.dtype)),) * 2)[::7, ::3].sort(axis=0).max()

    space = Grid(x=np.linspace(0, 1, 50))
    whole = quietly(run, space, key)
    sweep(run, space, key, memory=20_000)
    size = int(capsys.readouterr().err.partition("for blocks of ")[2].partition(";")[0])
    assert 1 < size < 25  # of 32 at most
    np.testing.assert_allclose(quietly(run, space, key, memory=1).values, whole.values, rtol=1e-6)


def test_what_is_said_on_the_way(key, capsys):
    sweep(lambda key, x: jnp.log(x), Grid(x=[-1.0, 0.5, 1.0]), key, seeds=2, block=4, mode="max")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("3 trials x 2 seeds: 6 members, 1 program, on 1 x ")
    assert lines[1].startswith("compiled the program for blocks of 3;")  # two equal ones
    assert lines[-1].startswith("member 6/6, took 0:0")
    assert lines[-1].endswith(", best objective 0, 2 failed")
    quietly(bowl, Grid(x=[0.1]), key)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("side", "how", "words"), [
    (511, {}, "blocks of 2;"),
    (513, {}, "blocks of 2, one member after another;"),
    (511, {"method": "map"}, "blocks of 2, one member after another;"),
    (513, {"method": "vmap"}, "blocks of 2;"),
])  # fmt: skip
def test_on_a_cpu_members_with_large_arrays_in_their_loops_are_computed_one_after_another(
    key, capsys, side, how, words
):
    def run(key, x):
        ones = jnp.ones((side, side), jnp.float32)  # a mebibyte where the side is 512
        return jax.lax.fori_loop(0, 2, lambda _, s: s * (ones * s)[0, 0], jnp.float32(x))

    swept = sweep(run, Grid(x=[0.5, 1.0]), key, **how)
    assert words in capsys.readouterr().err
    np.testing.assert_array_equal(swept.values[:, 0], [0.5**4, 1.0])


TWO_DEVICES = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
import jaxnn as nn
assert jax.local_device_count() == 2

def run(key, x, n):  # members stop by themselves, at times of their own
    steps = jax.lax.while_loop(lambda s: s < 100 * x, lambda s: s + 1 + jax.random.uniform(key), 0.0)
    return {"steps": steps, "path": steps * jnp.arange(3.0), "n": n * x}

space = nn.search.Grid(x=np.linspace(0, 1, 5), n=[1, 2])
how = {"static": ("n",), "objective": "steps", "progress": False}
both = nn.search.sweep(run, space, jax.random.key(0), seeds=3, **how)
for block in (1, 7):
    other = nn.search.sweep(run, space, jax.random.key(0), seeds=3, block=block, method="map", **how)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), both.results, other.results)
one = jax.jit(run, static_argnames="n")
for trial in (0, 3, 9):
    alone = one(nn.search.member_key(jax.random.key(0), trial, 1), **both.trial(trial))
    np.testing.assert_allclose(both.values[trial, 1], alone["steps"], rtol=1e-5)
print("the same")
"""


def test_several_devices_each_have_a_part_of_every_block():
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("the same\n", 0), done.stderr


GOOD = Grid(x=[0.1, 0.2])


@pytest.mark.parametrize(
    ("run", "space", "settings", "message"),
    [
        (bowl, Grid(z=[1.0], x=[0.1]), {}, "expected hyperparameters that run takes after the key, (x, y), because "
         "each is passed by name; got z"),
        (training, Grid(learning_rat=[1.0]), {}, "got learning_rat\n  hint: did you mean learning_rate?"),
        (bowl, Grid(y=[0.1]), {}, "expected a space with all hyperparameters that run wants; got none for x\n"
         "  hint: functools.partial"),
        (bowl, GOOD, {"static": "x"}, "expected static as a sequence of names; got the string 'x'\n  hint: ('x',)"),
        (bowl, {"x": [1.0]}, {}, "expected a space, because trials come from one; got {'x': [1.0]}\n  hint: "
         "nn.search.Grid("),
        (bowl, GOOD, {"block": 1.5}, "expected block to be an int, because it counts members; got 1.5"),
        (bowl, GOOD, {"key": 0}, "expected a key, because members draw from it; got 0\n  hint: jax.random.key(0)"),
        (lambda key, x: jnp.ones(x).sum(), Grid(x=[1, 2]), {}, "  hint: run is given tracers for x; "
         "sweep(..., static=(...)) passes those that shapes depend on as numbers"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_argument_is_refused(run, space, settings, message, key):
    with pytest.raises(TypeError) as raised:
        quietly(run, space, **{"key": key} | settings)
    assert message in said(raised.value)


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        (bowl, {"block": 0}, "expected block of at least 1, because it counts members; got 0"),
        (bowl, {"seeds": 0}, "expected seeds of at least 1, because each trial has some members; got 0"),
        (bowl, {"memory": 0}, "expected memory of at least 1, because it counts bytes; got 0"),
        (bowl, {"mode": "least"}, "expected mode as 'min' or 'max'; got 'least'"),
        (bowl, {"method": "pmap"}, "expected method as 'vmap' or 'map'; got 'pmap'"),
        (bowl, {"static": ["y"]}, "expected static as hyperparameters of the space, which has x; got 'y'"),
        (lambda key, x: x * jnp.ones(3), {}, "expected a run that returns a scalar, because trials are ranked by one; "
         "got objective: float32[3]\n  hint: history["),
        (lambda key, x: None, {}, "expected a run that returns a scalar, because trials are ranked by "
         "one; got nothing"),
        (lambda key, x: {"a": x, "b": x}, {}, "expected objective as the name of a scalar, because trials are ranked "
         "by one; got none, and a run that returns a: float32[], b: float32[]"),
        (lambda key, x: {"a": x, "b": x * jnp.ones(2)}, {"objective": "b"}, "expected objective as the name of a "
         "scalar that run returns, a; got 'b', and a run that returns a: float32[], b: float32[2]"),
        (lambda key, x: {"a": x, "key": key}, {}, "expected a run that returns arrays of real numbers or bools; got "
         "key of key<fry>[]"),
        (lambda key, x: {"a": x, "path": jnp.ones(int(10 * x))}, {"static": ["x"]}, "expected a run that returns one "
         "shape for all static hyperparameters, because results are one array of all members; got path of float32[2] "
         "with x=0.2, and of float32[1] with x=0.1"),
        (lambda key, x: {"a": x} if x < 0.15 else {"b": x}, {"static": ["x"]}, "expected a run that returns the same "
         "results for all static hyperparameters, because each is one array of all members; got b with x=0.2, and a "
         "with x=0.1"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_swept_is_refused_before_anything_is_computed(run, settings, message, key):
    with compilations() as seen, pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        quietly(run, GOOD, key, **settings)
    assert message in said(raised.value)
    assert not seen


def test_a_sweep_is_not_transformed(key):
    with pytest.raises(TypeError, match="expected to be called outside of jit, vmap, grad"):
        jax.jit(lambda: quietly(bowl, GOOD, key).values)()


def test_any_callable_is_swept(key):
    partial = functools.partial(bowl, y=1.0)
    keywords = lambda key, **settings: bowl(key, settings["x"])
    for run in (partial, keywords, jax.jit(bowl)):
        assert quietly(run, GOOD, key).best == {"x": 0.2}


def test_a_random_search_finds_the_minimum(key):
    swept = quietly(bowl, Random(64, x=Uniform(-1.0, 1.0), y=Choice([0.0, 1.0])), key, seeds=2)
    assert abs(swept.best["x"] - 0.3) < 0.12
    assert swept.best["y"] == 0
