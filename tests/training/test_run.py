"""The host's driver of a run: the same result as `fit`, interruptions, and what it says."""

import copy
import fcntl
import functools
import inspect
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, regression, said, smooth

import jaxnn as nn
from jaxnn.training import SHUFFLE, FitState, Outcome, _run, shuffled
from jaxnn.training._chunk import Report
from jaxnn.training._interrupt import interruptible
from jaxnn.training._plan import Plan
from jaxnn.training._progress import Lines, not_finite

TRAINER = smooth()
DATA, VALIDATION = regression(10), regression(7, seed=1)
THREE = {"epochs": 3, "batch_size": 4}  # of 3 steps each, the last filled up
QUIET = {"progress": False}


@functools.cache
def beginning(trainer=TRAINER):
    return jax.jit(trainer.init)(jax.random.key(0), DATA.x)


@pytest.fixture(autouse=True)
def _in_the_foreground():
    """Where Ctrl-C is heard: a shell lets what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_after(monkeypatch, chunks, times=1):
    """Press Ctrl-C while the driver looks at the report of this chunk; the next one is under way."""
    look, seen = _run.status, []

    def pressed(*arguments):
        seen.append(arguments)
        if len(seen) == chunks:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return look(*arguments)

    monkeypatch.setattr(_run, "status", pressed)


DEEP = nn.serial(nn.Dense(4, bias=False), nn.BatchNorm(), nn.relu, nn.Dropout(0.2), nn.Dense(1))
JUDGED = {"validation": VALIDATION, "metrics": absolute_error}
RUNS = {
    "a partial last batch": {},
    "whole batches": {"data": regression(8)},
    "in order": {"shuffle": False},
    "the remainder dropped": {"drop_remainder": True},
    "one step an epoch": {"batch_size": 10},
    "one epoch": {"epochs": 1},
    "weighed examples": {"data": regression(10, weighted=True), **JUDGED},
    "validation in batches": {**JUDGED, "batch_size": 3},
    "stopping": {"validation": VALIDATION, "stopping": nn.EarlyStopping(1, min_delta=0.3), "epochs": 6},
    "stopping that never fires": {"stopping": nn.EarlyStopping(9), "epochs": 4},
    "batch norm and dropout": {"model": DEEP, **JUDGED},
    "by hand": {"model": DEEP, "gradient": nn.by_hand, "epochs": 4},
    "a part frozen": {"model": DEEP, "freeze": "batch_norm_0/.*"},
    "a schedule": {"optimizer": nn.sgd(nn.cosine_decay_schedule(0.1, 9), momentum=0.9)},
}


@pytest.mark.parametrize("settings", RUNS.values(), ids=RUNS)
def test_equals_fit_bit_for_bit(settings):
    settings = {"model": TRAINER.model, "optimizer": nn.adam(0.05), "data": DATA, **THREE, **settings}
    model, optimizer, data = (settings.pop(name) for name in ("model", "optimizer", "data"))
    road, freeze = settings.pop("gradient", nn.by_autodiff), settings.pop("freeze", ())
    trainer = nn.trainer(model, nn.losses.mse, optimizer, gradient=road, freeze=freeze)
    begin = beginning(trainer)
    expected = nn.fit(trainer, begin, data, **settings)
    steps = -(-data.examples // settings["batch_size"])
    for chunk in {1, 7, steps, steps * settings["epochs"]}:
        assert_close(nn.run(trainer, begin, data, chunk=chunk, **settings, **QUIET), expected, 0)
    assert_close(nn.run(trainer, begin, data, **settings, **QUIET), expected, 0)
    stops = settings.get("stopping") == nn.EarlyStopping(1, min_delta=0.3)
    assert bool(jnp.isnan(expected[1]["loss"]).any()) == stops


def test_equals_fit_in_programs_that_are_optimised(tmp_path):
    """Most tests compile with little optimisation; this one repeats some of those above with all of it."""
    some = "bit_for_bit and (dropout or never or (one and step) or weighed)"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__, "-k", some]
    environment = {**os.environ, "XLA_FLAGS": "", "JAXNN_TESTS_COMPILED": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"\b4 passed", done.stdout), done.stdout


@pytest.mark.usefixtures("x64")
def test_equals_fit_in_float64():
    data = regression(10)
    begin = TRAINER.init(jax.random.key(0), data.x)
    expected = nn.fit(TRAINER, begin, data, **THREE)
    assert expected[1]["loss"].dtype == jnp.float64
    assert_close(nn.run(TRAINER, begin, data, chunk=4, **THREE, **QUIET), expected, 0)


def test_accepts_data_of_numpy_and_trainers_that_cannot_be_hashed():
    model = nn.serial(nn.Dropout(jnp.array(0.5)), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
    with pytest.raises(TypeError):
        hash(trainer)
    begin = trainer.init(jax.random.key(0), DATA.x)
    got = nn.run(trainer, begin, jax.tree.map(np.asarray, DATA), chunk=4, **THREE, **QUIET)
    assert_close(got, nn.fit(trainer, begin, DATA, **THREE), 1e-6)


def test_compiles_once_whatever_the_chunks():
    trainer = smooth()  # of which nothing is compiled

    def run(seed, **settings):
        begin = jax.jit(TRAINER.init)(jax.random.key(seed), DATA.x)
        with compilations() as seen:
            nn.run(trainer, begin, DATA, validation=VALIDATION, **THREE, **settings, **QUIET)
        return len(seen)

    assert run(0) > 0
    assert run(1) == run(2, chunk=2) == run(3, chunk=100) == 0


class Unhashable:
    """A metric that no compilation can be remembered by."""

    __name__, __hash__ = "unhashable", None

    def __call__(self, prediction, target):
        return absolute_error(prediction, target)


@pytest.mark.parametrize("metrics", [(), Unhashable()], ids=["", "that cannot be hashed"])
def test_leaves_the_state_that_it_is_given(metrics):
    arguments = beginning(), DATA, VALIDATION
    before = jax.tree.map(jnp.copy, arguments)
    stopping = nn.EarlyStopping(9)
    ts, _ = nn.run(TRAINER, *arguments[:2], metrics=metrics, stopping=stopping, chunk=2, **THREE, **QUIET)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((arguments, ts)))
    assert_close(arguments, before, 0)


def test_leaves_the_state_that_it_is_given_if_something_fails(monkeypatch):
    def fails(*arguments):
        raise OSError("no space left to write a bar")

    monkeypatch.setattr(_run, "status", fails)
    begin, handler = beginning(), signal.getsignal(signal.SIGINT)
    before = jax.tree.map(jnp.copy, begin)
    with pytest.raises(OSError, match="no space left"):
        nn.run(TRAINER, begin, DATA, chunk=2, **THREE, **QUIET)
    assert_close(begin, before, 0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_gives_its_own_states_away_and_looks_one_chunk_late(monkeypatch):
    """A state is updated in place, and by the time that a report is waited for, there is more work to do."""
    events, prepare, fetch = [], _run.prepare, _run._fetch

    def watched(*arguments, **settings):
        begun = prepare(*arguments, **settings)

        def advance(fit_state, rows, count):
            out = begun.advance(fit_state, rows, count)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves((fit_state, rows)))
            events.append(f"take {count}")
            return out

        return begun._replace(advance=advance)

    def fetched(pace, count, report):
        events.append(f"look at {count}")
        return fetch(pace, count, report)

    monkeypatch.setattr(_run, "prepare", watched)
    monkeypatch.setattr(_run, "_fetch", fetched)
    nn.run(TRAINER, beginning(), DATA, chunk=4, **THREE, **QUIET)
    assert events == ["take 0", "take 4", "take 4", "look at 4", "take 1", "look at 4", "look at 1"]


STOPPING = {"validation": VALIDATION, "stopping": nn.EarlyStopping(2, min_delta=0.2), "epochs": 8, "batch_size": 4}


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
def test_goes_on_from_the_train_state_of_an_interruption(monkeypatch, capsys, chunk):
    """After the chunk seen first and the one under way: in mid-epoch, but for chunks of 3."""
    whole, history = nn.fit(TRAINER, beginning(), DATA, **THREE)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        outcome = nn.run(TRAINER, beginning(), DATA, chunk=chunk, **THREE, **QUIET)
    assert outcome.interrupted
    half, first = outcome
    epoch, position = divmod(2 * chunk, 3)
    assert (half.step, half.epoch, half.position) == (2 * chunk, epoch, position)
    where = f"in epoch {epoch + 1} of 3, after {position} of its 3 steps" if position else f"after epoch {epoch} of 3"
    assert capsys.readouterr().err == (
        f"interrupted {where}; to go on from what this returns: "
        f"nn.run(trainer, train_state, data, epochs={3 - epoch}, ...)\n"
    )
    rest, second = nn.run(TRAINER, half, DATA, **{**THREE, "epochs": 3 - epoch}, **QUIET)
    assert_close(rest, whole, 0)
    # The epoch that was interrupted has its loss in neither history; of the others each has its part.
    begun = int(position > 0)
    assert_close(first["loss"][:epoch], history["loss"][:epoch], 0)
    assert np.isnan(first["loss"][epoch:]).all()
    assert_close(second["loss"][begun:], history["loss"][epoch + begun :], 0)
    assert np.isfinite(second["loss"]).all()


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
@pytest.mark.parametrize("settings", [{**THREE, "metrics": absolute_error, "epochs": 6}, STOPPING])
def test_finishes_an_interrupted_run_from_its_whole_state(monkeypatch, settings, chunk):
    expected = nn.fit(TRAINER, beginning(), DATA, **settings)
    kept = []
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        ts, history = nn.run(TRAINER, beginning(), DATA, chunk=chunk, on_interrupt=kept.append, **settings, **QUIET)
    (fit_state,) = kept
    assert_close((ts, history), (fit_state.train_state, fit_state.history), 0)

    # Nothing but numbers is in it: it might have been in a file.
    key = jax.random.key_data(ts.key)
    saved = jax.device_get(fit_state._replace(train_state=ts._replace(key=key)))
    loaded = saved._replace(train_state=saved.train_state._replace(key=jax.random.wrap_key_data(saved.train_state.key)))
    assert_close(nn.run(TRAINER, loaded, DATA, **settings, **QUIET), expected, 0)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(fit_state))


@pytest.mark.parametrize(("settings", "chunk", "seen"), [(STOPPING, 100, 1), (THREE, 100, 1), (THREE, 3, 3)])
def test_an_interruption_when_nothing_is_left_to_do_is_told_and_the_run_complete(
    monkeypatch, capsys, settings, chunk, seen
):
    interrupt_after(monkeypatch, seen)
    got = nn.run(TRAINER, beginning(), DATA, chunk=chunk, on_interrupt=pytest.fail, **settings, **QUIET)
    assert_close(got, nn.fit(TRAINER, beginning(), DATA, **settings), 0)
    assert got.interrupted
    assert capsys.readouterr().err == "interrupted when nothing was left to do: the run is complete\n"


def test_an_interruption_during_compilation_returns_the_beginning(monkeypatch, capsys):
    compile_ = _run.Begun.compile

    def pressed(begun):
        signal.raise_signal(signal.SIGINT)
        return compile_(begun)

    monkeypatch.setattr(_run.Begun, "compile", pressed)
    outcome = nn.run(TRAINER, beginning(), DATA, **THREE, **QUIET)
    assert outcome.interrupted
    assert_close(outcome.train_state, beginning(), 0)
    assert np.isnan(outcome.history["loss"]).all()
    assert capsys.readouterr().err.startswith("interrupted after epoch 0 of 3; ")


@pytest.mark.parametrize("seen", [2, 3])
def test_a_loop_over_runs_knows_that_one_was_interrupted(monkeypatch, seen):
    """In the middle of the second run of three, and at its end."""
    interrupt_after(monkeypatch, 3 + seen)
    outcomes = []
    for seed in range(3):
        begin = jax.jit(TRAINER.init)(jax.random.key(seed), DATA.x)
        outcomes.append(nn.run(TRAINER, begin, DATA, chunk=3, **THREE, **QUIET))
        if outcomes[-1].interrupted:
            break
    assert [outcome.interrupted for outcome in outcomes] == [False, True]
    assert outcomes[0].train_state.step == outcomes[1].train_state.step == 9


def test_a_second_ctrl_c_leaves_a_run_at_once_and_all_as_it_was(monkeypatch):
    interrupt_after(monkeypatch, 1, times=2)
    begin, handler = beginning(), signal.getsignal(signal.SIGINT)
    before = jax.tree.map(jnp.copy, begin)
    with pytest.raises(KeyboardInterrupt):
        nn.run(TRAINER, begin, DATA, chunk=1, on_interrupt=pytest.fail, **THREE, **QUIET)
    assert_close(begin, before, 0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_is_interrupted_by_a_signal_from_outside(capsys):
    def loss(prediction, target):
        def press(first):
            if first == DATA.y[0, 0]:
                os.kill(os.getpid(), signal.SIGINT)

        jax.debug.callback(press, target[0, 0])
        return nn.losses.mse(prediction, target)

    trainer = nn.trainer(TRAINER.model, loss, nn.sgd(0.1))
    handler = signal.getsignal(signal.SIGINT)
    outcome = nn.run(trainer, beginning(trainer), DATA, epochs=50, batch_size=2, chunk=1, **QUIET)
    assert outcome.interrupted
    ts, history = outcome
    assert 0 < ts.step < 50 * 5
    assert jnp.isnan(history["loss"][-1])
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_raises():
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_leaves_signals_alone_where_ctrl_c_is_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_runs_in_another_thread():
    out = []
    work = lambda: out.append(nn.run(TRAINER, beginning(), DATA, chunk=2, **THREE, **QUIET))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert_close(out[0], nn.fit(TRAINER, beginning(), DATA, **THREE), 0)


def test_an_outcome_is_a_pair_that_remembers_whether_it_was_interrupted():
    outcome = Outcome(beginning(), {"loss": jnp.ones(3)}, interrupted=True)
    train_state, history = outcome
    assert (train_state, history) == (outcome.train_state, outcome.history) == (outcome[0], outcome[1])
    assert copy.copy(outcome).interrupted
    mapped = jax.tree.map(jnp.zeros_like, outcome.history), jax.tree.map(lambda a: a, outcome)
    assert isinstance(mapped[1], Outcome)
    assert not Outcome(train_state, history).interrupted


@pytest.mark.parametrize("settings", [{**THREE, **JUDGED}, STOPPING], ids=["", "stopping early"])
@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 100])
def test_tells_of_every_epoch_what_history_has(settings, chunk):
    told = []
    on_epoch = lambda epoch, row: told.append((epoch, row))
    outcome = nn.run(TRAINER, beginning(), DATA, chunk=chunk, on_epoch=on_epoch, **settings, **QUIET)
    assert_close(outcome, nn.fit(TRAINER, beginning(), DATA, **settings), 0)
    epochs = int(np.isfinite(outcome.history["loss"]).sum())
    assert [epoch for epoch, _ in told] == list(range(1, epochs + 1))
    for epoch, row in told:
        assert row == {name: float(rows[epoch - 1]) for name, rows in outcome.history.items()}
        assert all(type(value) is float for value in row.values())


def test_tells_of_an_epoch_while_the_next_chunk_is_under_way(monkeypatch):
    events, fetch = [], _run._fetch

    def fetched(pace, steps, report):
        events.append(f"look at {steps}")
        return fetch(pace, steps, report)

    monkeypatch.setattr(_run, "_fetch", fetched)
    on_epoch = lambda epoch, row: events.append(f"epoch {epoch}")
    nn.run(TRAINER, beginning(), DATA, chunk=4, on_epoch=on_epoch, **THREE, **QUIET)
    assert events == ["look at 4", "epoch 1", "look at 4", "epoch 2", "look at 1", "epoch 3"]


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
@pytest.mark.parametrize("settings", [THREE, STOPPING])
def test_what_is_raised_after_an_epoch_goes_on_when_the_state_is_kept(settings, chunk):
    kept, told = [], []

    def on_epoch(epoch, row):
        told.append(epoch)
        if epoch == 2:
            raise RuntimeError("seen enough")

    begin, handler = beginning(), signal.getsignal(signal.SIGINT)
    before = jax.tree.map(jnp.copy, begin)
    watched = functools.partial(nn.run, TRAINER, begin, DATA, chunk=chunk, on_epoch=on_epoch, **settings, **QUIET)
    with pytest.raises(RuntimeError, match="seen enough"):
        watched()
    with pytest.raises(RuntimeError, match="seen enough"):
        watched(on_interrupt=kept.append)
    assert told == [1, 2] * 2
    assert_close(begin, before, 0)
    assert signal.getsignal(signal.SIGINT) is handler
    (fit_state,) = kept
    rest, told[:] = [], []
    whole = nn.run(TRAINER, fit_state, DATA, on_epoch=lambda epoch, _: rest.append(epoch), **settings, **QUIET)
    assert_close(whole, nn.fit(TRAINER, begin, DATA, **settings), 0)
    epochs = int(np.isfinite(whole.history["loss"]).sum())
    assert rest == list(range(int(fit_state.row) + 1, epochs + 1))


THREES = [np.int64(3), np.uint8(3), np.array(3), jnp.int32(3)]


@pytest.mark.parametrize("three", THREES, ids=lambda three: f"{type(three).__name__} {three.dtype}")
def test_integers_of_numpy_are_integers(three):
    """And lead to the very same programs."""
    evaluate = lambda size: nn.evaluate(TRAINER, beginning(), DATA, batch_size=size)
    fit = lambda n: nn.fit(TRAINER, beginning(), DATA, epochs=n, batch_size=n)
    run = lambda n: nn.run(TRAINER, beginning(), DATA, epochs=n, batch_size=n, chunk=n, **QUIET)
    overfit = lambda n: nn.overfit(TRAINER, beginning(), DATA, steps=n, batch_size=n, **QUIET)
    dry_run = lambda n: nn.dry_run(TRAINER, beginning(), DATA, epochs=n, batch_size=n)
    for enter in (evaluate, fit, run, overfit, dry_run):
        expected = enter(3)
        with compilations() as seen:
            got = enter(three)
        assert len(seen) == 0
        assert_close(got, expected, 0)


ENTRIES = {
    "fit": (nn.fit, THREE, ("epochs", "batch_size")),
    "run": (functools.partial(nn.run, **QUIET), THREE, ("epochs", "batch_size", "chunk")),
    "dry_run": (nn.dry_run, THREE, ("epochs", "batch_size")),
    "overfit": (functools.partial(nn.overfit, **QUIET), {"batch_size": 4}, ("steps", "batch_size")),
    "evaluate": (nn.evaluate, {}, ("batch_size",)),
}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("value", [0, -3, np.int64(0), True, np.True_, 2.0, np.float32(2), "2"], ids=repr)
@pytest.mark.parametrize(("enter", "settings", "names"), ENTRIES.values(), ids=ENTRIES)
def test_counts_of_nothing_and_what_is_no_integer_are_refused_by_name(enter, settings, names, value):
    is_integer = isinstance(value, int | np.integer) and value is not True
    error, what = (ValueError, "of at least 1") if is_integer else (TypeError, "to be an int")
    got = value if is_integer else repr(value)
    for name in names:
        with pytest.raises(error) as refused:
            enter(TRAINER, beginning(), DATA, **{**settings, name: value})
        assert re.fullmatch(rf"expected {name} {what}, because [^\n;]+; got {re.escape(str(got))}", str(refused.value))


BANNER = re.compile(
    r"3 parameters in float32 on 1 x cpu; 3 epochs of 3 steps: 10 examples, 4 a step\n"
    r"compiled in \d+\.\d\d s\n"
)


def test_says_what_it_trains_and_where_it_ended(capsys):
    _, history = nn.run(TRAINER, beginning(), DATA, validation=VALIDATION, **THREE)
    said = capsys.readouterr().err
    (rest,) = BANNER.split(said)[1:]
    loss, judged = (f"{history[name][-1]:.4g}" for name in ("loss", "validation_loss"))
    assert re.fullmatch(
        rf"epoch 3/3, step 3/3, took 0:\d\d, loss {re.escape(loss)}, validation_loss {re.escape(judged)}, "
        r"[\d,]+ examples/s\n",
        rest,
    )
    nn.run(TRAINER, beginning(), DATA, validation=VALIDATION, **THREE, **QUIET)
    assert capsys.readouterr().err == ""


def test_says_what_is_frozen_and_that_it_stopped_early(capsys):
    trainer = nn.trainer(DEEP, nn.losses.mse, nn.sgd(0.0), freeze="dense_0/.*")
    with pytest.warns(UserWarning, match="no parameter has moved"):
        nn.run(trainer, beginning(trainer), DATA, **{**STOPPING, "validation": None})
    said = capsys.readouterr().err
    assert "25 parameters, 12 of them frozen, in float32 on" in said
    assert re.search(r"\nepoch 5/8, step 3/3, stopped early after 0:\d\d, loss", said)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_a_terminal(monkeypatch):
    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        nn.run(TRAINER, beginning(), DATA, chunk=4, **THREE)
    return shown.getvalue()


def test_draws_a_bar_on_a_terminal(monkeypatch):
    drawn = on_a_terminal(monkeypatch)
    assert "3 parameters in float32" in drawn
    assert re.search(r"44%\|[#\d]+ *\| epoch 2/3, step 1/3, 0:\d\d left, loss [\d.]+, [\d,]+ examples/s", drawn)
    assert re.search(r"100%\|#+\| epoch 3/3, step 3/3, took 0:\d\d, loss [\d.]+, [\d,]+ examples/s *\n$", drawn)


@pytest.mark.parametrize(("rows", "columns"), [(24, 120), (24, 0), (0, 120), (0, 0)])
def test_draws_no_bar_on_a_terminal_without_size(monkeypatch, rows, columns):
    """Such as `script` makes where there is none: a bar cut to its size would be nothing."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(follower, "w") as shown, os.fdopen(leader, "rb", buffering=0) as seen:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", shown)
            nn.run(TRAINER, beginning(), DATA, **THREE)
        written = b""
        while b"took" not in written and select.select([seen], [], [], 5)[0]:  # a terminal hands over in parts
            written += seen.read(65536)
    written = written.decode(errors="replace")
    assert ("100%|" in written) == (rows * columns > 0)
    assert "epoch 3/3, step 3/3, took" in written


def test_what_others_write_finds_the_bar_out_of_the_way(monkeypatch):
    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        on_epoch = lambda epoch, row: print(f"epoch {epoch} told", file=sys.stderr)
        nn.run(TRAINER, beginning(), DATA, chunk=4, on_epoch=on_epoch, **THREE)
    lines = re.split(r"[\r\n]", shown.getvalue())
    assert [line for line in lines if "told" in line] == [f"epoch {epoch} told" for epoch in (1, 2, 3)]


def in_a_notebook(monkeypatch):
    """As if this ran in a kernel of Jupyter, which has no terminal; return what is written."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("ipykernel.zmqshell"))
    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    shown = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        nn.run(TRAINER, beginning(), DATA, chunk=4, **THREE)
    return shown.getvalue()


def test_draws_a_bar_in_a_notebook_without_ipywidgets(monkeypatch):
    """Of which tqdm warns; here warnings are errors."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "tqdm.notebook", raising=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        drawn = in_a_notebook(monkeypatch)
    assert not seen
    assert re.search(r"100%\|[^|]+\| epoch 3/3, step 3/3, took", drawn)


def test_a_notebook_chooses_its_own_bar(monkeypatch):
    import tqdm.std

    made = []

    class Widget(tqdm.std.tqdm):
        def __init__(self, *arguments, **settings):
            made.append(settings["bar_format"])
            super().__init__(*arguments, **settings)

    monkeypatch.setitem(sys.modules, "tqdm.notebook", types.SimpleNamespace(
        WARN_NOIPYW="", IProgress=object, tqdm=Widget, trange=None
    ))  # fmt: skip
    assert "3 parameters" in in_a_notebook(monkeypatch)
    assert made == ["{percentage:3.0f}%|{bar}| {desc}"]


def test_writes_lines_on_a_terminal_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    written = on_a_terminal(monkeypatch)
    assert len(BANNER.split(written)) == 2
    assert "|" not in written


@pytest.mark.parametrize(("seconds", "lines"), [(5, 1), (100, 10), (1000, 100), (20_000, 101)])
def test_lines_are_ten_seconds_apart_and_about_a_hundred(monkeypatch, capsys, seconds, lines):
    steps = 20_000
    ticks = iter(np.linspace(0.0, seconds, steps + 1).tolist())
    shown = Lines(steps, clock=lambda: next(ticks))
    for done in range(1, steps + 1):
        shown.show(done, f"{done}", last=done == steps)
    written = capsys.readouterr().err.split()
    assert abs(len(written) - lines) <= 1
    assert written[-1] == f"{steps}"


@pytest.mark.parametrize(
    "trainer",
    [
        nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.0)),
        nn.trainer(nn.serial(nn.Dense(1), jax.lax.stop_gradient), nn.losses.mse, nn.sgd(0.1)),
    ],
    ids=["a rate of 0", "a gradient that is stopped"],
)
@pytest.mark.parametrize("enter", [functools.partial(nn.run, **QUIET), nn.dry_run], ids=["run", "dry_run"])
def test_warns_if_no_parameter_moves(trainer, enter):
    with pytest.warns(UserWarning, match="no parameter has moved.*learning rate 0.*\n  hint: nn.compare"):
        enter(trainer, beginning(trainer), DATA, **THREE)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(nn.Dense(1), nn.sgd(lambda step: jnp.where(step > 0, 0.1, 0.0))), (lambda x: x[:, :1], nn.sgd(0.1))],
    ids=["a schedule that begins at 0", "nothing to learn"],
)
def test_does_not_warn_if_no_parameter_could_have_moved(model, optimizer):
    trainer = nn.trainer(model, nn.losses.mse, optimizer)
    ts, _ = nn.run(trainer, beginning(trainer), DATA, **THREE, **QUIET)
    assert ts.step == 9


def counting(bad_from):
    """A trainer whose one parameter counts the steps, and its beginning; the loss is infinite from a count on."""

    def loss(prediction, target):
        count = jax.lax.stop_gradient(prediction)
        return jnp.where(count >= bad_from, jnp.inf, 1.0) - (prediction - count)

    trainer = nn.trainer(nn.Dense(1, bias=False), loss, nn.sgd(1.0))
    begin = trainer.init(jax.random.key(0), jnp.ones((1, 1)))
    return trainer, begin._replace(params={"w": jnp.zeros((1, 1))})


ONES = nn.Data(jnp.ones((10, 1)), jnp.ones((10, 1)))


@pytest.mark.parametrize(("chunk", "first", "last"), [(1, 6, 6), (2, 5, 6), (4, 5, 6), (9, 4, 6), (100, 4, 6)])
def test_warns_once_if_the_loss_is_not_finite(chunk, first, last):
    trainer, begin = counting(bad_from=5)  # which is the sixth step, the last of the second epoch
    with pytest.warns(RuntimeWarning) as warned:
        ts, history = inspect.unwrap(nn.run)(trainer, begin, ONES, chunk=chunk, **THREE, **QUIET)
    (warning,) = warned
    where = f"at one of the steps {first} to {last}" if first < last else f"at step {first}"
    assert f"for the first time in epoch 2 {where} of the run, and the run goes on" in str(warning.message)
    assert "hint: a smaller learning rate" in str(warning.message)
    assert ("chunk=1" in str(warning.message)) == (first < last)
    assert warning.filename == __file__
    assert ts.step == 9
    assert (jnp.isfinite(history["loss"]) == jnp.array([True, False, False])).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "row", "position", "loss", "before", "expected"),
    [
        ([1.0, NAN, NAN], 1, 2, 1.0, (0, 1), None),
        ([1.0, NAN, NAN], 1, 2, NAN, (0, 1), (2, 6, 7)),
        ([1.0, NAN, NAN], 1, 2, NAN, (1, 1), (2, 7, 7)),
        ([NAN, NAN, NAN], 1, 2, 1.0, (0, 1), (1, 2, 5)),
        ([NAN, NAN, NAN], 1, 2, 1.0, (1, 1), None),  # told before
        ([1.0, float("inf"), NAN], 2, 0, 0.0, (0, 0), (2, 6, 10)),
    ],
)
def test_finds_where_the_loss_is_not_finite(rows, row, position, loss, before, expected):
    report = Report({"loss": np.array(rows)}, np.int32(row), np.int32(position), np.float32(loss), np.bool_(True))
    plan = Plan(3, 2, (), False, True, False, None, 1, (), False)  # 3 epochs of 5 steps
    assert not_finite(before, report, plan, 10) == expected


def test_a_dry_run_goes_through_all_and_changes_nothing(capsys):
    trainer, begin = nn.trainer(DEEP, nn.losses.mse, nn.adam(0.1)), beginning(TRAINER)
    begin = trainer.init(jax.random.key(0), DATA.x)
    before = jax.tree.map(jnp.copy, begin)
    row = nn.dry_run(trainer, begin, DATA, **JUDGED, **THREE)
    assert list(row) == ["loss", "absolute_error", "validation_loss", "validation_absolute_error"]
    assert np.isfinite(list(row.values())).all()
    assert_close(begin, before, 0)
    banner, compiled, times, values = capsys.readouterr().err.splitlines()
    assert banner.startswith("25 parameters in float32 on 1 x cpu; 3 epochs of 3 steps: 10 examples, 4 a step")
    assert re.fullmatch(r"compiled in [\d.]+ s", compiled)
    assert re.fullmatch(
        r"a step took [\d.e-]+ ms, the last of an epoch and its end [\d.e-]+ ms, so the run will take about 0:\d\d",
        times,
    )
    assert values == ", ".join(f"{name} {value:.4g}" for name, value in row.items())

    with compilations() as seen:
        nn.run(trainer, begin, DATA, **JUDGED, **THREE, **QUIET)
    assert len(seen) == 0


@pytest.mark.parametrize("settings", [{"batch_size": 10}, {"batch_size": 5}, {"epochs": 1}, {"batch_size": 2}])
def test_a_dry_run_ends_an_epoch_of_any_number_of_steps(settings):
    row = nn.dry_run(TRAINER, beginning()._replace(position=jnp.int32(1)), DATA, **{**THREE, **settings})
    assert list(row) == ["loss"]
    assert 0 < row["loss"] < 10


def test_a_dry_run_meets_what_the_run_would_meet_late():
    trainer, begin = counting(bad_from=0)
    with pytest.warns(RuntimeWarning, match="the loss of the first steps is not finite"):
        assert nn.dry_run(trainer, begin, ONES, **THREE) == {"loss": float("inf")}

    def metric(prediction, target):
        if prediction.shape[0] != 4:
            raise ValueError("this metric has never seen a batch of validation")
        return absolute_error(prediction, target)

    with pytest.raises(ValueError, match="never seen a batch of validation"):
        nn.dry_run(TRAINER, beginning(), DATA, validation=regression(3), metrics=metric, **THREE)


@pytest.mark.parametrize("shuffle", [True, False])
def test_overfits_the_batch_that_a_run_would_begin_with(shuffle):
    model = nn.serial(nn.Dense(16), nn.tanh, nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.adam(0.03))
    begin = beginning(trainer)
    ts, history = nn.overfit(trainer, begin, DATA, batch_size=4, steps=200, shuffle=shuffle, **QUIET)
    assert history["loss"].shape == (200,)
    assert history["loss"][0] > 0.1
    assert history["loss"][-1] < 1e-4
    assert ts.step == 200

    index = jnp.arange(4)
    if shuffle:
        index = shuffled(jax.random.fold_in(jax.random.fold_in(begin.key, SHUFFLE), 0), index, 10)
    _, info = jax.jit(trainer.step)(begin, DATA.take(index))
    np.testing.assert_allclose(history["loss"][0], info.loss, rtol=1e-6)


def test_overfitting_shows_that_targets_cannot_be_learned():
    """One input with two targets: the loss stays at their variance."""
    data = nn.Data(jnp.ones((4, 3)), jnp.array([[0.0], [1.0], [0.0], [1.0]]))
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(0.03))
    _, history = nn.overfit(trainer, beginning(trainer), data, batch_size=4, **QUIET)
    assert_close(history["loss"][-1], jnp.array(0.25), 1e-3)


@pytest.mark.parametrize("enter", [functools.partial(nn.run, **QUIET), nn.dry_run], ids=["run", "dry_run"])
def test_refuses_what_fit_refuses_in_the_same_words(enter):
    for changed in (
        {"epochs": 0},
        {"batch_size": 11},
        {"metrics": (absolute_error,) * 2},
        {"data": DATA._replace(x=DATA.x[:5])},
    ):
        settings = {"data": DATA, **THREE, **changed}
        messages = []
        for call in (nn.fit, enter):
            with pytest.raises(ValueError, match="expected") as error:
                call(TRAINER, beginning(), **settings)
            messages.append(said(error.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: jax.grad(lambda x: f(x)[1]["loss"].sum())])
@pytest.mark.parametrize("enter", [functools.partial(nn.run, **QUIET), nn.dry_run], ids=["run", "dry_run"])
def test_refuses_to_be_transformed(transform, enter):
    def inside(x):
        return enter(TRAINER, beginning(), nn.Data(DATA.x * x.sum(), DATA.y), **THREE)

    with pytest.raises(TypeError, match="outside of jit, vmap, grad") as error:
        transform(inside)(jnp.ones(1))
    assert "hint: fit is the same and may be transformed" in said(error.value)


def test_a_train_state_within_an_epoch_is_for_run_and_only_as_far_as_an_epoch_goes():
    within = beginning()._replace(position=jnp.int32(3))
    with pytest.raises(
        ValueError, match=r"within its epoch, which with these data and batch_size has 3 steps; got one after 3"
    ) as error:
        nn.run(TRAINER, within, DATA, **THREE)
    assert "hint: go on with the arguments of the run that was interrupted" in said(error.value)
    with pytest.raises(
        ValueError, match="between epochs, because fit makes whole ones; got one after 3 steps"
    ) as error:
        nn.fit(TRAINER, within, DATA, **THREE)
    assert "hint: nn.run goes on in mid-epoch" in said(error.value)

    # Within a transformation it cannot be seen, and fit begins the epoch again.
    again, _ = jax.jit(lambda ts: nn.fit(TRAINER, ts, DATA, **THREE))(within)
    assert_close(again, nn.fit(TRAINER, beginning(), DATA, **THREE)[0], 1e-6)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"epochs": 4}, "a run of 4 epochs that records loss, without early stopping"),
        ({"metrics": absolute_error}, "a run of 3 epochs that records absolute_error, loss, without"),
        ({"validation": VALIDATION}, "a run of 3 epochs that records loss, validation_loss, without"),
        ({"stopping": nn.EarlyStopping(1)}, "a run of 3 epochs that records loss, with early stopping"),
    ],
    ids=["epochs", "metrics", "validation", "stopping"],
)
def test_refuses_the_state_of_another_run(monkeypatch, changed, part):
    kept: list[FitState] = []
    interrupt_after(monkeypatch, 1)
    nn.run(TRAINER, beginning(), DATA, chunk=1, on_interrupt=kept.append, **THREE, **QUIET)
    with pytest.raises(
        ValueError, match="because that is asked for; got that of 3 epochs that records loss, with"
    ) as e:
        nn.run(TRAINER, kept[0], DATA, **{**THREE, **changed}, **QUIET)
    assert part in said(e.value)
    assert "hint: a run is finished with the arguments that it was begun with" in said(e.value)
