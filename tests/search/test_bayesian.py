"""Bayesian search: better than chance, the same for the same key, and after a kill what it would have been."""

import functools
import json
import logging
import random
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, said

import jaxnn as nn
from jaxnn.search import Choice, Integer, LogUniform, Random, Uniform, _bayesian, _ledger, bayesian, member_key, sweep
from jaxnn.search._asking import FAILED

optuna = pytest.importorskip("optuna")
quietly = functools.partial(bayesian, progress=False)
SPACE = {"x": Uniform(-2.0, 2.0), "y": LogUniform(1e-3, 10.0)}


def bowl(key, x, y):
    """Smooth, with its minimum 0 at x = 0.7 and y = 0.05."""
    return (x - 0.7) ** 2 + 0.2 * (jnp.log(y) - np.float32(np.log(0.05))) ** 2


def mixed(key, x, width, f, n=3):
    """With noise, members that fail, and all kinds of hyperparameters."""
    x = x + 0.1 * jax.random.uniform(key, (width,), x.dtype).sum()
    return {"loss": f(jnp.log(x)) ** 2 + 0.1 * n.astype(x.dtype), "path": x * jnp.arange(3, dtype=x.dtype)}


MIXED = {"x": Uniform(-1.0, 3.0), "width": Choice([2, 3]), "f": Choice([nn.relu, nn.identity]), "n": Integer(1, 5)}
of_mixed = functools.partial(quietly, mixed, MIXED, static=("width",), objective="loss", trials=22, batch=6, seeds=2)


def columns_of(swept):
    return {name: list(column) for name, column in swept.columns.items()}


def test_the_minimum_is_found_better_than_at_random():
    keys = [jax.random.key(seed) for seed in range(5)]
    found = [quietly(bowl, SPACE, key, trials=64).best_value for key in keys]
    drawn = [sweep(bowl, Random(64, **SPACE), key, progress=False).best_value for key in keys]
    assert np.median(found) < 0.25 * np.median(drawn)
    assert max(found) < 0.05


def test_a_search_of_numbers_is_one_program_whatever_is_asked(key):
    with compilations() as seen:
        swept = quietly(bowl, SPACE, key, trials=20, batch=6, seeds=2)
    assert len(seen) == 1
    assert swept.values.shape == (20, 2)
    for trial in (0, 13, 19):
        alone = bowl(member_key(key, trial, 1), **{name: np.float32(v) for name, v in swept.trial(trial).items()})
        np.testing.assert_allclose(swept.values[trial, 1], alone, rtol=1e-4)


def test_the_same_key_makes_the_same_search_and_another_another(key):
    one, again = (quietly(bowl, SPACE, key, trials=20, batch=6) for _ in range(2))
    assert columns_of(one) == columns_of(again)
    assert_close(one.results, again.results, 0)
    other = quietly(bowl, SPACE, jax.random.key(1), trials=20, batch=6)
    assert not set(one.columns["x"]) & set(other.columns["x"])
    assert len(set(one.columns["x"])) == 20  # no trial, in a batch or not, is another one


def test_a_batch_is_drawn_from_what_the_ones_before_are_worth(key):
    """Of the same first batch with other results the second asks for something else."""
    swept = [quietly(bowl, SPACE, key, trials=20, batch=12, mode=mode) for mode in ("min", "max")]
    first, second = (np.array([each.columns["x"] for each in swept])[:, part] for part in (slice(12), slice(12, 20)))
    np.testing.assert_array_equal(first[0], first[1])
    assert (second[0] != second[1]).all()
    best = quietly(lambda key, x: -jnp.abs(x - 0.7), {"x": SPACE["x"]}, key, trials=40, mode="max").best
    assert abs(best["x"] - 0.7) < 0.05


def test_hyperparameters_are_what_sweep_would_pass(key):
    seen = set()

    def run(key, x, width, f, n, flag):
        assert x.dtype == jnp.float32
        assert n.dtype == jnp.int32
        seen.add((width, f, flag))
        return f(x * width) + n.astype(x.dtype)

    space = {"x": LogUniform(0.1, 1.0), "width": Integer(2, 3), "f": Choice((nn.relu, nn.tanh)), "n": Choice([1, 2])}
    space["flag"] = Choice([True, None])
    swept = quietly(run, space, key, static=("width",), trials=24)
    assert 4 < len(seen) <= 8
    assert all(type(width) is int for width, *_ in seen)
    assert {type(column) for column in swept.columns.values()} == {np.ndarray, list}
    assert set(swept.columns["f"]) == {nn.relu, nn.tanh}
    assert set(swept.columns["flag"]) == {True, None}
    assert set(swept.columns["width"].tolist()) == {2, 3}
    x, width, f, n, _ = swept.best.values()
    np.testing.assert_allclose(f(jnp.float32(x * width)) + n, swept.best_value, rtol=1e-5)


def test_there_is_a_program_for_each_combination_of_static_hyperparameters(key):
    with compilations() as seen:
        swept = of_mixed(key)
    asked = {(width, f) for width, f in zip(swept.columns["width"].tolist(), swept.columns["f"], strict=True)}
    assert len(seen) == len(asked) == 4
    for trial in (0, 20):
        x, width, f, n = swept.trial(trial).values()
        alone = mixed(member_key(key, trial, 1), np.float32(x), width, f, np.int32(n))
        np.testing.assert_allclose(swept.values[trial, 1], alone["loss"], rtol=1e-4)


def test_members_that_fail_are_last_and_told_as_failed(key):
    def run(key, x):
        return jnp.where(x < -1, jnp.where(x < -1.5, jnp.nan, -jnp.inf), (x - 0.5) ** 2)

    study = optuna.create_study()
    swept = quietly(run, {"x": SPACE["x"]}, key, trials=32, study=study)
    failed = swept.failed > 0
    assert 3 < failed.sum() < 24
    np.testing.assert_array_equal(failed, swept.columns["x"] < -1)
    assert failed[swept.ranking[-failed.sum() :]].all()
    assert abs(swept.best["x"] - 0.5) < 0.2
    states = [trial.state.name for trial in study.trials]
    assert states == [FAILED if each else "COMPLETE" for each in failed]
    assert study.best_value == swept.best_value
    assert [trial.params["x"] for trial in study.trials] == swept.columns["x"].tolist()


def test_a_trial_is_told_by_the_mean_of_its_seeds_and_failed_if_one_of_them_has(key):
    def run(key, x):
        noise = jax.random.uniform(key, dtype=x.dtype)
        return jnp.where(noise < 0.3, jnp.nan, x + noise)

    study = optuna.create_study()
    swept = quietly(run, {"x": SPACE["x"]}, key, trials=12, seeds=2, study=study)
    assert set(swept.failed) == {0, 1, 2}
    for trial, failed, mean in zip(study.trials, swept.failed, swept.mean, strict=True):
        assert trial.value == (None if failed else mean)


def test_a_search_killed_20_times_at_random_resumes_to_the_same_table(key, tmp_path, monkeypatch):
    """Killed in the midst of a write, so that any part of a batch, and of a line, is on the disk."""
    complete, path, dice = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl", random.Random(0)
    result = of_mixed(key, ledger=complete)
    assert 0 < result.failed.sum() < 22
    write, budget, torn = _ledger._write, 0, 0

    def killed(file, text):
        nonlocal budget
        if budget < len(text):
            write(file, text[:budget])
            raise KeyboardInterrupt
        budget -= len(text)
        write(file, text)

    monkeypatch.setattr(_ledger, "_write", killed)
    for _ in range(20):
        budget = dice.randrange(complete.stat().st_size // 12)
        with pytest.raises(KeyboardInterrupt):
            of_mixed(key, ledger=path)
        torn += not path.read_text().endswith("\n")
    assert torn > 10
    assert 6 < path.read_text().count("\n") - 1 < 44  # in the second batch or later
    monkeypatch.setattr(_ledger, "_write", write)
    last = of_mixed(key, ledger=path)
    assert path.read_bytes() == complete.read_bytes()
    assert columns_of(last) == columns_of(result) == columns_of(of_mixed(key))
    assert_close(last.results, result.results, 0)
    with compilations() as seen:
        again = of_mixed(key, ledger=path)
    assert not seen
    assert again.table(rows=None) == result.table(rows=None)


def test_after_a_kill_in_a_block_its_members_are_computed_where_they_were(key, tmp_path, monkeypatch):
    """What a member is in its last bits depends on its place, and what is asked next on those."""
    path, places = tmp_path / "ledger.jsonl", []
    computed_by = _bayesian.computed_by

    def noted(block, key, members, *rest):
        places.append(list(members))
        return computed_by(block, key, members, *rest)

    monkeypatch.setattr(_bayesian, "computed_by", noted)
    quietly(bowl, SPACE, key, trials=6, batch=6, ledger=path)
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:3]))  # the header and two members
    quietly(bowl, SPACE, key, trials=6, batch=6, ledger=path)
    assert places == [[(trial, 0) for trial in range(6)]] * 2
    assert path.read_bytes() == b"".join(kept)


def test_a_finished_search_goes_on_with_more_trials(key, tmp_path):
    path = tmp_path / "ledger.jsonl"
    quietly(bowl, SPACE, key, trials=9, ledger=path)
    study = optuna.create_study()
    more = quietly(bowl, SPACE, key, trials=20, ledger=path, study=study)
    assert columns_of(more) == columns_of(quietly(bowl, SPACE, key, trials=20))
    assert [trial.value for trial in study.trials] == more.values[:, 0].tolist()
    assert columns_of(quietly(bowl, SPACE, key, trials=5, ledger=path))["x"] == list(more.columns["x"][:5])


@pytest.mark.parametrize("lost", [False, True])
def test_the_ledger_is_the_truth_whatever_is_left_of_the_study(lost, key, tmp_path, monkeypatch):
    path, storage = tmp_path / "ledger.jsonl", tmp_path / "journal.log"

    def searched(journal):
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(study_name="a", storage=storage, load_if_exists=True)
        return study, quietly(bowl, SPACE, key, trials=16, batch=6, ledger=path, study=study)

    append, blocks = _ledger.Ledger.append, 0

    def killed(self, members, results):
        nonlocal blocks
        blocks += 1
        if blocks == 2:
            append(self, members[:4], {name: a[:4] for name, a in results.items()})
            raise KeyboardInterrupt
        append(self, members, results)

    with monkeypatch.context() as patched:
        patched.setattr(_ledger.Ledger, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(storage)
    assert path.read_text().count("\n") == 11
    study, last = searched(tmp_path / "new.log" if lost else storage)
    assert columns_of(last) == columns_of(quietly(bowl, SPACE, key, trials=16, batch=6))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 16
    np.testing.assert_allclose([trial.value for trial in study.trials], last.values[:, 0], rtol=0)
    assert [trial.params["x"] for trial in study.trials] == last.columns["x"].tolist()


def test_processes_share_a_study_and_learn_from_each_other(key, tmp_path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))
    searches = []
    for process in range(2):
        study = optuna.create_study(study_name="a", storage=storage, load_if_exists=True)
        own = jax.random.fold_in(key, process)
        ledger = tmp_path / f"{process}.jsonl"
        searches.append(quietly(bowl, SPACE, own, trials=12, study=study, ledger=ledger))
    assert [search.trials for search in searches] == [12, 12]
    together = [x for search in searches for x in search.columns["x"]]
    assert [trial.params["x"] for trial in study.trials] == together
    assert len(set(together)) == 24
    by_itself = quietly(bowl, SPACE, jax.random.fold_in(key, 1), trials=12)
    assert columns_of(searches[1]) != columns_of(by_itself)
    again = quietly(bowl, SPACE, key=jax.random.fold_in(key, 0), trials=12, study=study, ledger=tmp_path / "0.jsonl")
    assert columns_of(again) == columns_of(searches[0])
    assert len(study.trials) == 24


def test_any_sampler_draws_and_the_study_and_the_log_are_as_before(key, capsys):
    study = optuna.create_study()
    own, level = study.sampler, optuna.logging.get_verbosity()
    capsys.readouterr()
    seeds = []

    def sampler(seed):
        seeds.append(seed)
        return optuna.samplers.RandomSampler(seed=seed)

    drawn = quietly(bowl, SPACE, key, trials=16, study=study, sampler=sampler)
    assert len(set(seeds)) == 16
    assert study.sampler is own
    assert optuna.logging.get_verbosity() == level == logging.INFO
    assert capsys.readouterr() == ("", "")
    for kind in (optuna.samplers.RandomSampler, optuna.samplers.QMCSampler):  # an experimental one
        assert quietly(bowl, SPACE, key, trials=4, sampler=kind).columns["x"].shape == (4,)
    assert columns_of(quietly(bowl, SPACE, key, trials=16, sampler=optuna.samplers.RandomSampler)) == columns_of(drawn)


def test_what_is_said_on_the_way(key, capsys):
    bayesian(bowl, SPACE, key, trials=5, batch=2, seeds=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("5 trials x 2 seeds: 10 members, 2 trials at a time, on 1 x ")
    assert lines[1].startswith("compiled the program for blocks of 4;")
    assert lines[-1].startswith("member 10/10, took 0:0")
    assert len([line for line in lines if line.startswith("compiled")]) == 1


def test_without_optuna_it_is_said_what_to_install(key, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        quietly(bowl, SPACE, key, trials=2)
    assert "hint: trials are asked of Optuna: pip install 'jaxnn[search]'" in said(raised.value)


@pytest.mark.parametrize(
    ("run", "space", "settings", "message"),
    [
        (bowl, SPACE | {"z": Uniform(0, 1)}, {}, "expected hyperparameters that run takes after the key, (x, y)"),
        (bowl, {"x": SPACE["x"]}, {}, "expected a space with all hyperparameters that run wants; got none for y\n"),
        (bowl, SPACE | {"y": [0.1]}, {}, "expected y as Uniform, LogUniform, Integer or Choice, because its values are "
         "drawn; got [0.1]\n  hint: Choice([...])"),
        (bowl, Random(3, **SPACE), {}, "expected distributions by name of the hyperparameter; got Random(3, x="),
        (bowl, SPACE, {"trials": 1.5}, "expected trials to be an int, because a search is of some; got 1.5"),
        (bowl, SPACE, {"key": 0}, "expected a key, because members draw from it; got 0\n  hint: jax.random.key(0)"),
        (bowl, SPACE, {"study": "sqlite://"}, "expected study as one of Optuna, because trials are asked of it; got "
         "'sqlite://'\n  hint: optuna.create_study("),
        (bowl, SPACE, {"sampler": optuna.samplers.RandomSampler()}, "expected sampler as a function that makes one, "
         "because each trial has one seeded by the key; got "),
        (bowl, SPACE, {"sampler": lambda seed: seed}, "expected sampler as a function that makes a sampler of Optuna; "
         "got one that makes "),
        (lambda key, n: jnp.ones(n).sum(), {"n": Integer(1, 2)}, {}, "  hint: run is given tracers for n; "
         "bayesian(..., static=(...)) passes those that shapes depend on as numbers"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_argument_is_refused(run, space, settings, message, key):
    with pytest.raises(TypeError) as raised:
        quietly(run, space, **{"key": key, "trials": 2} | settings)
    assert message in said(raised.value)


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        (bowl, {"trials": 0}, "expected trials of at least 1, because a search is of some; got 0"),
        (bowl, {"batch": 0}, "expected batch of at least 1, because so many trials are asked for at once; got 0"),
        (bowl, {"seeds": 0}, "expected seeds of at least 1, because each trial has some members; got 0"),
        (bowl, {"mode": "least"}, "expected mode as 'min' or 'max'; got 'least'"),
        (bowl, {"static": ["z"]}, "expected static as hyperparameters of the space, which has x, y; got 'z'"),
        (bowl, {"distributions": {}}, "expected a hyperparameter, because a search is of some; got none"),
        (bowl, {"mode": "max", "study": optuna.create_study()}, "expected a study to maximize, because mode is 'max'; "
         "got one to minimize\n  hint: optuna.create_study(direction='maximize')"),
        (lambda key, x, y: {"a": x, "b": y}, {}, "expected objective as the name of a scalar, because trials are "
         "ranked by one; got none"),
        (lambda key, x, y: x * jnp.ones(3), {}, "expected a run that returns a scalar"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_searched_is_refused_before_anything_is_computed(run, settings, message, key):
    settings = {"distributions": SPACE, "trials": 2} | settings
    with compilations() as seen, pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        quietly(run, key=key, **settings)
    assert message in said(raised.value)
    assert not seen


def test_results_of_other_shapes_are_refused_when_they_come(key):
    def run(key, n):
        return {"loss": jnp.float32(n), "path": jnp.ones(n)}

    with pytest.raises(ValueError, match="expected a run that returns one shape for all static hyperparameters"):
        quietly(run, {"n": Integer(1, 2)}, key, static=["n"], trials=8, objective="loss")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 4}, "its batch is 8, and not 4"),
        ({"mode": "max"}, "its mode is min, and not max"),
        ({"distributions": SPACE | {"x": Uniform(0, 1)}}, "its trials have other values of x\n"),
    ],
)
def test_the_ledger_of_another_search_is_refused(settings, message, key, tmp_path):
    path = tmp_path / "ledger.jsonl"
    search = functools.partial(quietly, bowl, key=key, trials=2, ledger=path)
    search(distributions=SPACE)
    line = json.loads(path.read_text().splitlines()[-1])
    assert list(line["results"]) == ["asked/x", "asked/y", "results/objective"]
    with pytest.raises(ValueError, match="expected the ledger of this sweep") as raised:
        search(**{"distributions": SPACE} | settings)
    assert message in str(raised.value)
