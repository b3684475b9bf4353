"""The host's driver of a run: the same result as `fit`, interruptions, and what it says."""

import functools
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, regression, said, smooth

import jaxnn as nn
from jaxnn.training import SHUFFLE, FitState, _run, shuffled
from jaxnn.training._chunk import Report
from jaxnn.training._interrupt import interruptible
from jaxnn.training._progress import Lines, not_finite

TRAINER = smooth()
DATA, VALIDATION = regression(10), regression(7, seed=1)
THREE = {"epochs": 3, "batch_size": 4}  # of 3 steps each, the last filled up
QUIET = {"progress": False}


@functools.cache
def beginning(trainer=TRAINER):
    return jax.jit(trainer.init)(jax.random.key(0), DATA.x)


def interrupt_after(monkeypatch, chunks):
    """Press Ctrl-C while the driver looks at the report of this chunk; the next one is under way."""
    look, seen = _run.status, []

    def pressed(*arguments):
        seen.append(arguments)
        if len(seen) == chunks:
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
        half, first = nn.run(TRAINER, beginning(), DATA, chunk=chunk, **THREE, **QUIET)
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


def test_an_interruption_of_a_run_that_stops_anyway_is_none(monkeypatch, capsys):
    interrupt_after(monkeypatch, 1)
    got = nn.run(TRAINER, beginning(), DATA, chunk=100, on_interrupt=pytest.fail, **STOPPING, **QUIET)
    assert_close(got, nn.fit(TRAINER, beginning(), DATA, **STOPPING), 0)
    assert capsys.readouterr().err == ""


def test_is_interrupted_by_a_signal_from_outside(capsys):
    def loss(prediction, target):
        def press(first):
            if first == DATA.y[0, 0]:
                os.kill(os.getpid(), signal.SIGINT)

        jax.debug.callback(press, target[0, 0])
        return nn.losses.mse(prediction, target)

    trainer = nn.trainer(TRAINER.model, loss, nn.sgd(0.1))
    handler = signal.getsignal(signal.SIGINT)
    ts, history = nn.run(trainer, beginning(trainer), DATA, epochs=50, batch_size=2, chunk=1, **QUIET)
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


BANNER = re.compile(
    r"3 parameters in float32 on 1 x cpu; 10 examples in 3 steps of 4, 3 epochs\n"
    r"compiled in \d+\.\d\d s\n"
)


def test_says_what_it_trains_and_where_it_ended(capsys):
    _, history = nn.run(TRAINER, beginning(), DATA, validation=VALIDATION, **THREE)
    said = capsys.readouterr().err
    (rest,) = BANNER.split(said)[1:]
    loss, judged = (f"{history[name][-1]:.4g}" for name in ("loss", "validation_loss"))
    assert re.fullmatch(
        rf"epoch 3/3, step 3/3, loss {re.escape(loss)}, validation_loss {re.escape(judged)}, [\d,]+ examples/s\n", rest
    )
    nn.run(TRAINER, beginning(), DATA, validation=VALIDATION, **THREE, **QUIET)
    assert capsys.readouterr().err == ""


def test_says_what_is_frozen_and_that_it_stopped_early(capsys):
    trainer = nn.trainer(DEEP, nn.losses.mse, nn.sgd(0.0), freeze="dense_0/.*")
    with pytest.warns(UserWarning, match="no parameter has moved"):
        nn.run(trainer, beginning(trainer), DATA, **{**STOPPING, "validation": None})
    said = capsys.readouterr().err
    assert "25 parameters, 12 of them frozen, in float32 on" in said
    assert said.endswith(", stopped early\n")


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
    assert re.search(r"44%\|[#\d]+ *\| epoch 2/3, step 1/3, loss [\d.]+, [\d,]+ examples/s, 0:\d\d left", drawn)
    assert re.search(r"100%\|#+\| epoch 3/3, step 3/3, loss [\d.]+, [\d,]+ examples/s *\n$", drawn)


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
    assert f"for the first time in epoch 2 at one of the steps {first} to {last} of the run" in str(warning.message)
    assert "hint: a smaller learning rate" in str(warning.message)
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
    assert not_finite(before, report, 5) == expected


def test_a_dry_run_goes_through_all_and_changes_nothing(capsys):
    trainer, begin = nn.trainer(DEEP, nn.losses.mse, nn.adam(0.1)), beginning(TRAINER)
    begin = trainer.init(jax.random.key(0), DATA.x)
    before = jax.tree.map(jnp.copy, begin)
    row = nn.dry_run(trainer, begin, DATA, **JUDGED, **THREE)
    assert list(row) == ["loss", "absolute_error", "validation_loss", "validation_absolute_error"]
    assert np.isfinite(list(row.values())).all()
    assert_close(begin, before, 0)
    banner, compiled, times, values = capsys.readouterr().err.splitlines()
    assert banner.startswith("25 parameters in float32 on 1 x cpu; 10 examples in 3 steps of 4, 3 epochs")
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


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("chunk", [0, -3, 2.0])
def test_refuses_chunks_of_nothing(chunk):
    with pytest.raises(ValueError, match=f"chunk of at least 1.*got {chunk}"):
        nn.run(TRAINER, beginning(), DATA, chunk=chunk, **THREE)


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
