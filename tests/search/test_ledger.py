"""The ledger: a killed sweep goes on where it was, and a file of something else stays as it is."""

import json
import os
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations

import jaxnn as nn
from jaxnn.search import Grid, _ledger, sweep

SPACE = Grid(x=np.linspace(-1, 1, 7), f=[nn.relu, nn.identity])  # where x is -1 the logarithm is not finite


def run(key, x, f):
    x = x + 0.1 * jax.random.uniform(key, dtype=x.dtype)
    return {"loss": f(jnp.log(x)), "path": {"a": x * jnp.arange(3, dtype=x.dtype), "n": jnp.arange(2), "b": x > 0}}


def swept(key, ledger=None, space=SPACE, run=run, **settings):
    return sweep(run, space, key, ledger=ledger, objective="loss", block=4, progress=False, **{"seeds": 2} | settings)


@pytest.fixture
def whole(key, tmp_path):
    """A finished sweep, and its ledger."""
    path = tmp_path / "whole.jsonl"
    return swept(key, path), path


def members(path):
    """How many members a ledger has, each once."""
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert len({(line["trial"], line["seed"]) for line in lines}) == len(lines)
    return len(lines)


def test_a_finished_sweep_is_read_without_computing_anything(whole, key):
    result, path = whole
    before = path.read_bytes()
    with compilations() as seen:
        again = swept(key, path)
    assert not seen
    assert path.read_bytes() == before
    assert members(path) == 28
    assert_close(again.results, result.results, 0)
    assert_close(swept(key).results, result.results, 0)  # without a ledger
    assert jax.tree.map(lambda a: a.dtype, again.results) == jax.tree.map(lambda a: a.dtype, result.results)
    assert again.table(rows=None) == result.table(rows=None)
    assert 0 < result.failed.sum() < 28


def test_a_sweep_killed_20_times_at_random_resumes_to_the_same_table(whole, key, tmp_path, monkeypatch):
    """Killed in the midst of a write, so that any part of it, of one line or several, is on the disk."""
    result, complete = whole
    path, dice = tmp_path / "killed.jsonl", random.Random(0)
    write, budget, lost = _ledger._write, 0, 0

    def killed(file, text):
        nonlocal budget
        if budget < len(text):
            write(file, text[:budget])
            raise KeyboardInterrupt
        budget -= len(text)
        write(file, text)

    monkeypatch.setattr(_ledger, "_write", killed)
    for _ in range(20):
        budget = dice.randrange(complete.stat().st_size // 15)
        with pytest.raises(KeyboardInterrupt):
            swept(key, path)
        finished = path.read_text()
        lost += not finished.endswith("\n")
    assert lost > 10  # torn lines
    assert 0 < finished.count("\n") - 1 < 28  # not at its end yet
    monkeypatch.setattr(_ledger, "_write", write)
    last = swept(key, path)
    assert members(path) == 28
    assert_close(last.results, result.results, 1e-6)  # other members are neighbours in a block
    assert last.table(rows=None) == result.table(rows=None)


def test_a_ledger_cut_anywhere_goes_on(whole, key, tmp_path):
    result, complete = whole
    text, dice = complete.read_bytes(), random.Random(1)
    header = text.index(b"\n")
    path = tmp_path / "cut.jsonl"
    for cut in (0, 1, header, header + 1, len(text) - 1, *(dice.randrange(len(text)) for _ in range(5))):
        path.write_bytes(text[:cut])
        again = swept(key, path)
        assert members(path) == 28
        assert_close(again.results, result.results, 1e-6)
        assert path.read_bytes().startswith(text[: text[:cut].rfind(b"\n") + 1])


def test_finished_members_are_not_computed_again(whole, key):
    result, path = whole
    lines = path.read_text().splitlines(keepends=True)
    member = json.loads(lines[1])
    member["results"]["loss"] = 123.0
    path.write_text("".join([lines[0], json.dumps(member) + "\n", *lines[2:20]]))
    again = swept(key, path)
    assert again.values[member["trial"], member["seed"]] == 123.0
    same = np.isclose(again.values, result.values, rtol=1e-5, equal_nan=True)
    assert (~same).sum() == 1


def test_every_block_is_on_the_disk_before_the_next_begins(key, tmp_path, monkeypatch):
    order = []
    fsync, path = os.fsync, tmp_path / "ledger.jsonl"
    monkeypatch.setattr(_ledger.os, "fsync", lambda file: order.append(path.read_text().count("\n")) or fsync(file))
    swept(key, path)
    # The header, the directory, then two programs with 14 members in blocks of 4.
    assert order == [1, 1, 5, 9, 13, 15, 19, 23, 27, 29]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": 1}, "its key is [0, 0], and not [0, 1]"),
        ({"seeds": 3}, "its seeds is 2, and not 3"),
        ({"space": Grid(x=np.linspace(-1, 2, 7), f=[nn.relu, nn.identity])}, "its trials have other values of x\n"),
        ({"space": Grid(x=np.linspace(-1, 1, 7), f=[nn.relu, nn.tanh])}, "its trials have other values of f\n"),
        ({"space": Grid(x=[0.5], f=[nn.relu])}, "trials is 14, and not 1\n  its trials have other values of x, f\n"),
        ({"space": Grid(x=[0.5]), "run": lambda key, x: {"loss": x}}, "its hyperparameters are x, f, and not x"),
        ({"run": lambda key, x, f: {"loss": x}}, "its results is {'loss': 'float32[]', 'path/a': 'float32[3]', "
         "'path/b': 'bool[]', 'path/n': 'int32[2]'}, and not {'loss': 'float32[]'}"),
    ],
)  # fmt: skip
def test_the_ledger_of_another_sweep_is_refused_with_what_differs(whole, settings, message):
    _, path = whole
    before = path.read_bytes()
    key = jax.random.key(settings.get("key", 0))
    with pytest.raises(ValueError, match="expected the ledger of this sweep, because its members are not") as raised:
        swept(key, path, **{name: value for name, value in settings.items() if name != "key"})
    assert message in str(raised.value)
    assert "hint: give each sweep a file of its own" in str(raised.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my notes\nand more", "expected a ledger, because finished members are added to it; .* with 'my notes'"),
        ("my notes", "expected a ledger, because finished members are added to it; .* which is none"),
        ("[1]\n", "expected a ledger"),
    ],
)
def test_a_file_of_something_else_stays_as_it_is(text, message, key, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        swept(key, path)
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["\0" * 8, "{}", '{"trial": 0, "seed": 0, "results": {"loss": 1}}'])
def test_a_damaged_line_is_refused_by_its_number(line, whole, key):
    _, path = whole
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], line, *lines[5:]]) + "\n")
    with pytest.raises(ValueError, match="expected a finished member in every line") as raised:
        swept(key, path)
    assert "got in line 5 " in str(raised.value)
    assert "hint: what is before that line is good" in str(raised.value)


def test_what_is_written_is_the_same_in_another_process():
    of = lambda *values: [_ledger._described(value) for value in values]
    assert of(nn.relu, "a", None, (1, 2.5)) == ["relu", "'a'", "None", "(1, 2.5)"]
    assert of(regressing, np.tanh) == ["test_ledger.regressing", "<ufunc 'tanh'>"]
    assert "0x" not in of(object())[0]
    assert of(nn.Dense, nn.Dense(3)) == ["jaxnn.layers._dense.Dense", "Dense(3)"]
    assert of(nn.elu.bind(alpha=0.5)) != of(nn.elu)


def regressing():
    pass
