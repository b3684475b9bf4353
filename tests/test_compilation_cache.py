"""A cache of compiled programs: a second process compiles nothing, and computes the same."""

import subprocess
import sys

import pytest

import jaxnn as nn

PROGRAM = """
import sys, jax, jaxnn as nn
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
jax.jit(lambda x: x - 1)(2.0)  # compiled before
path = nn.cache_compilations(sys.argv[1])
model = nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1))
trainer = nn.trainer(model, nn.losses.mse, nn.adam(1e-2))
x = jax.random.normal(jax.random.key(1), (6, 3))
ts = jax.jit(trainer.init)(jax.random.key(0), x)
ts, info = jax.jit(trainer.step)(ts, nn.Data(x, x[:, :1]))
print(path, events.count("cache_hits"), events.count("cache_misses"), float(info.loss).hex())
print(*sorted(file.name for file in path.glob("*-cache")))
"""


def process(path, home):
    lines = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], env={"HOME": str(home)}, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    kept, hits, misses, loss = lines[0].split()
    return kept, int(hits), int(misses), loss, lines[1].split()


def test_a_second_process_compiles_nothing_and_computes_the_same(tmp_path):
    path, hits, misses, loss, programs = process("~/made/for-it", tmp_path)
    assert path == str(tmp_path / "made" / "for-it")
    assert hits == 0
    assert misses == len(programs) > 2  # however little time each took
    assert process(path, tmp_path) == (path, misses, 0, loss, programs)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"expected a directory to write to, because .* got .*/file/programs: .*\n  hint"):
        nn.cache_compilations(tmp_path / "file" / "programs")


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(OSError, match=r"got .*: it cannot be written to"):
        nn.cache_compilations(tmp_path)


@pytest.mark.parametrize(("path", "reason"), [("gs://bucket/x", "an address"), ("~nobodyhere/x", "home")])
def test_what_is_no_local_directory_is_refused(path, reason):
    with pytest.raises(OSError, match=f"expected a directory to write to, because .*; got .*{reason}"):
        nn.cache_compilations(path)
