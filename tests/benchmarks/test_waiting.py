"""What one waits for: processes seen from outside, cold and warm, and the programs that they run."""

import os
import sys

import jax
import numpy as np
import pytest

from benchmarks import _first_epoch, training, waiting


def python(line, **settings):
    """Return a program of one line."""
    return waiting.Program(("-c", line), **settings)


def keep(folder):
    """Return an environment variable with the folder."""
    return {"KEPT": folder}


def counting():
    """Return a program that counts in its folder how often it ran, and says so as its loss."""
    line = (
        "import os, pathlib; print('imported', flush=True); ran = pathlib.Path(os.environ['KEPT'], 'ran'); "
        "ran.open('a').write('x'); print('loss', len(ran.read_text()))"
    )
    return python(line, warm=keep, cold=keep)


def test_a_process_is_seen_when_it_says_a_word_and_when_it_ends():
    seen = waiting.watch(["-c", "sum(range(10**7)); print('imported'); print('loss', 2.5); print('more')"], os.environ)
    assert seen.loss == 2.5
    assert list(seen.seconds) == ["imported", "loss", "more", "exit"]
    assert seen.processor > 0
    assert 0 < seen.seconds["imported"] <= seen.seconds["loss"] <= seen.seconds["exit"]


def test_a_process_that_fails_is_an_error_with_its_last_line():
    with pytest.raises(RuntimeError, match=r"^ValueError: no$"):
        waiting.watch(["-c", "raise ValueError('no')"], os.environ)
    with pytest.raises(RuntimeError, match=r"^it ended with 3$"):
        waiting.watch(["-c", "raise SystemExit(3)"], os.environ)


def test_warm_is_with_what_the_same_program_left_and_cold_with_nothing():
    of = waiting.Waiting("two", {"a": counting(), "b": counting()}, "loss", ("cold", "warm"))
    with waiting.starter(of) as start:
        runs = [("a", "warm"), ("a", "cold"), ("a", "warm"), ("b", "warm"), ("b", "cold"), ("a", "warm")]
        assert [start(*run).loss for run in runs] == [1, 1, 2, 1, 1, 3]


def test_nothing_compiled_before_reaches_a_process(monkeypatch):
    for name in waiting.by_jax("x") | waiting.by_jaxnn("x") | {"PYTHONDONTWRITEBYTECODE": "1"}:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("OF_THE_USER", "stays")
    cold, warm = waiting.environment("p", {}), waiting.environment("p", waiting.by_jax("f"))
    assert not {*waiting.by_jax(""), *waiting.by_jaxnn(""), "PYTHONDONTWRITEBYTECODE"} & set(cold)
    assert (cold["PYTHONPYCACHEPREFIX"], cold["OF_THE_USER"]) == ("p", "stays")
    assert warm["JAX_COMPILATION_CACHE_DIR"] == "f"


@pytest.mark.parametrize("variable", waiting.by_jax(""))
def test_jax_knows_the_variables_by_which_it_keeps_programs(variable):
    assert hasattr(jax.config, variable.lower())


def measured(**programs):
    """Return what two rounds of programs see."""
    return waiting.measure(waiting.Waiting("some", programs, "loss", ("cold", "warm")), rounds=2, quick=True)


def test_who_is_missing_or_fails_is_left_out_with_the_reason():
    result = measured(
        ours=python("print('imported'); print('loss', 1)"),
        missing=python("", needs=("no_such_package",)),
        uncompiled=python("", commands=("no-such-command", "nor-this")),
        broken=python("raise ValueError('no')"),
    )
    assert result["left out"] == {
        "missing": "No module named 'no_such_package'",
        "uncompiled": "it wants one of no-such-command, nor-this",
        "broken": "ValueError: no",
    }
    assert list(result["contestants"]) == ["ours"]
    seconds = result["contestants"]["ours"]["seconds"]
    assert {state: len(times) for state, times in seconds.items()} == {"cold": 2, "warm": 2}
    assert "left out: broken, because ValueError: no" in waiting.table(result)


def seen(*imported):
    """Return processes that were seen to import for so many seconds."""
    return {"import": [waiting.Seen({"imported": each, "exit": each + 1}, 2.5) for each in imported]}


def test_an_import_is_what_it_takes_beyond_that_of_jax_in_the_same_round():
    of = waiting.imports(True)
    result = waiting.results(of, {"jaxnn": seen(3.0, 5.0), waiting.JAX: seen(2.0, 4.5)}, {})
    assert result["contestants"]["jaxnn"]["seconds"] == {"import": [1.0, 0.5]}
    assert result["contestants"][waiting.JAX]["seconds"] == {"import": [0.0, 0.0]}
    title, heads, ours, peer = waiting.table(result).splitlines()
    assert title == "import, beyond that of jax, jax.numpy"
    assert heads.split("  ")[-1].strip() == "last loss"
    assert " ".join(ours.split()) == "jaxnn 0.75 (0.50 .. 1.00) 1.00 (1.00 .. 1.00) 4.00 5.00 2.50 -"
    assert "0.00 (0.00 .. 0.00)" in peer


def test_contestants_train_the_workload_that_they_are_named_after():
    small, large = waiting.first_epoch(training.mlp_small, True), waiting.first_epoch(training.mlp_small, False)
    assert set(large.programs) - set(small.programs) == {"PyTorch compiled"}
    assert "scikit-learn" in small.programs
    assert "1 epochs a run" in large.title
    for name, program in waiting.FIRST_EPOCH.items():
        assert program.arguments[-1] in _first_epoch.PROGRAMS, name


def test_batches_hold_every_example_and_are_filled_up():
    x = np.arange(10, dtype=np.float32)[:, None]
    batches = list(_first_epoch.Task("mlp-small", x, x[:, 0].astype(np.int32), 4).batches())
    assert [bx.shape for bx, _ in batches] == [(4, 1)] * 3
    assert {int(each) for _, by in batches for each in by} == set(range(10))
    for bx, by in batches:
        np.testing.assert_array_equal(bx[:, 0], by)


def test_what_a_program_imports_before_its_own_library_is_nobody_elses():
    others = {"jax", "jaxnn", "flax", "torch", "keras", "equinox", "sklearn", "optax"}
    line = f"import sys, benchmarks._first_epoch; print(*({others} & set(sys.modules))); print('imported')"
    assert list(waiting.watch(["-c", line], os.environ).seconds) == ["", "imported", "exit"]
    assert others & set(sys.modules)  # as here, where they are


def test_jaxnn_tells_the_loss_that_it_has_in_this_process(monkeypatch, capsys):
    monkeypatch.delenv(_first_epoch.CACHE, raising=False)
    workload = training.mlp_small(True)
    x, y, _ = workload.data
    task = _first_epoch.Task("mlp-small", x[:64], y[:64], 32)
    loss = _first_epoch.jaxnn(task)
    assert capsys.readouterr().out == "imported\n"
    np.testing.assert_allclose(_first_epoch.jaxnn_by_hand(task), loss, rtol=1e-4)
    assert 1.5 < loss < 3.5


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "packages"),
    {
        "flax": ["flax", "optax"],
        "nnx": ["flax", "optax"],
        "equinox": ["equinox", "optax"],
        "keras": ["keras"],
        "pytorch": ["torch"],
        "scikit-learn": ["sklearn"],
    }.items(),
)
def test_a_peers_program_learns(name, packages, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    for package in packages:
        pytest.importorskip(package)
    x, y, _ = training.mlp_small(True).data
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # which peers rely on
        loss = _first_epoch.PROGRAMS[name](_first_epoch.Task("mlp-small", x[:64], y[:64], 32))
    assert 1.5 < loss < 3.5
