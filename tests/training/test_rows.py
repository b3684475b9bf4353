"""The history's rows: several an epoch, some of them validated, and what is recorded beside loss and metrics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, outline, regression

import jaxnn as nn
from jaxnn.training import SHUFFLE, shuffled

pytestmark = pytest.mark.usefixtures("x64")

SCHEDULE = nn.schedules.exponential_decay(0.1, 1, 0.9)
RATE = nn.training.learning_rate(SCHEDULE)
TRAINER = nn.trainer(nn.serial(nn.Dense(1, bias=False), nn.tanh), nn.losses.mse, nn.sgd(SCHEDULE, momentum=0.5))
STEP, PREDICT = jax.jit(TRAINER.observed_step), jax.jit(TRAINER.predict)
with jax.enable_x64(True):
    DATA, VALIDATION = regression(10), regression(6, seed=1)
RECORD = {
    "learning_rate": RATE,
    "gradient_norm": nn.training.gradient_norm,
    "each": nn.training.gradient_norms,
    "update": nn.training.update_norms,
    "relative": nn.training.relative_update_norms,
}


@functools.cache
def beginning():
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return TRAINER.init(jax.random.key(0), outline())


def looped(steps_per_row, validate_every, epochs=3, batch_size=2):
    """What `fit` should do, as a plain loop over steps: whole batches, rows of so many, all validated that are due."""
    ts, n = beginning(), DATA.examples
    steps = n // batch_size
    rows = []
    for _ in range(epochs):
        order = shuffled(jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch), jnp.arange(n), n)
        seen = []
        for i in range(steps):
            ts, observed = STEP(before := ts, DATA.take(order[i * batch_size : (i + 1) * batch_size]))
            grads, updates, w = (
                np.asarray(t["dense_0"]["w"]) for t in (observed.grads, observed.updates, before.params)
            )
            norm = np.linalg.norm
            seen.append(
                [observed.loss, 0.1 * 0.9 ** int(before.step), norm(grads), norm(grads), norm(updates),
                 norm(updates) / norm(w)]
            )  # fmt: skip
            if (i + 1) % steps_per_row == 0 or i + 1 == steps:
                due = (len(rows) + 1) % validate_every == 0
                loss = np.mean((PREDICT(ts, VALIDATION.x) - VALIDATION.y) ** 2) if due else np.nan
                rows.append([*np.mean(seen, axis=0), loss])
                seen = []
        ts = ts._replace(epoch=ts.epoch + 1)
    names = ["loss", "learning_rate", "gradient_norm", "each/dense_0/w", "update/dense_0/w", "relative/dense_0/w"]
    return ts, dict(zip([*names, "validation_loss"], np.array(rows).T, strict=True))


SETTINGS = {"epochs": 3, "batch_size": 2, "validation": VALIDATION, "record": RECORD}


@pytest.mark.parametrize(("steps_per_row", "validate_every"), [(5, 1), (2, 1), (2, 4), (1, 2), (9, 2)])
def test_rows_are_those_of_a_plain_loop(steps_per_row, validate_every):
    given = {"steps_per_row": steps_per_row, "validate_every": validate_every}
    ts, history = nn.fit(TRAINER, beginning(), DATA, **SETTINGS, **given)
    expected_ts, expected = looped(min(steps_per_row, 5), validate_every)
    assert_close(ts, expected_ts, 1e-10)
    assert_close(history, expected, 1e-10)


@pytest.mark.parametrize("chunk", [1, 4, 5, 15])
def test_run_has_the_same_rows(chunk, capsys):
    given = {**SETTINGS, "steps_per_row": 2, "validate_every": 2}
    expected = nn.fit(TRAINER, beginning(), DATA, **given)
    rows = []
    outcome = nn.run(TRAINER, beginning(), DATA, **given, chunk=chunk, on_epoch=lambda *row: rows.append(row))
    assert_close(outcome, expected, 0)
    assert [number for number, _ in rows] == list(range(1, 10))
    named = {name: np.array([row[name] for _, row in rows]) for name in rows[0][1]}
    assert_close(named, dict(expected[1]), 0)
    assert list(rows[0][1])[:2] == ["loss", "validation_loss"]
    assert "epoch 3/3, step 5/5, took" in capsys.readouterr().err


def test_a_run_goes_on_in_the_middle_of_an_epoch_with_the_rows_that_are_left():
    given = {**SETTINGS, "steps_per_row": 2}
    whole_ts, whole = nn.fit(TRAINER, beginning(), DATA, **given)
    ts = beginning()
    order = shuffled(jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch), jnp.arange(10), 10)
    for i in range(3):  # of 5, so one row is over and one has begun
        ts, _ = STEP(ts, DATA.take(order[2 * i : 2 * i + 2]))
    ts, history = nn.run(TRAINER, ts._replace(position=jnp.int32(3)), DATA, **given, progress=False)
    assert_close(ts, whole_ts, 1e-12)
    for name, rows in whole.items():
        assert np.isnan(history[name][0])
        np.testing.assert_allclose(history[name][2:], rows[2:], rtol=1e-9)


@pytest.mark.parametrize("validate_every", [2, 4])
def test_a_run_in_two_parts_is_validated_where_the_whole_is(validate_every):
    rule = nn.optim.reduce_on_validation(0.5, 1, atol=1e6)
    trainer = nn.trainer(TRAINER.model, nn.losses.mse, nn.optim.chain(nn.sgd(0.1), rule))
    given = {"batch_size": 2, "validation": VALIDATION, "steps_per_row": 2, "validate_every": validate_every}
    begin = trainer.init(jax.random.key(0), outline())
    whole_ts, whole = nn.fit(trainer, begin, DATA, epochs=4, **given)
    first_ts, first = nn.fit(trainer, begin, DATA, epochs=1, **given)
    ts, second = nn.fit(trainer, first_ts, DATA, epochs=3, **given)
    assert_close(ts, whole_ts, 1e-12)
    assert_close({name: np.concatenate([first[name], second[name]]) for name in whole}, whole, 1e-12)
    assert whole_ts.opt_state[1].plateau.scale < 1


def test_the_rate_that_is_recorded_is_the_one_that_is_taken():
    """At the optimizer's own count, which a batch without weight does not move, and lowered as the plateau has it."""
    rule = nn.optim.reduce_on_validation(0.5, 1, atol=1e6)
    trainer = nn.trainer(TRAINER.model, nn.losses.mse, nn.optim.chain(nn.sgd(SCHEDULE), rule))
    record = {
        "rate": RATE,
        "taken": lambda _, seen: jnp.abs(seen.updates["dense_0"]["w"] / seen.grads["dense_0"]["w"]).mean(),
    }
    data = DATA._replace(w=jnp.array([1.0] * 4 + [0.0] * 2 + [1.0] * 4))
    given = {"epochs": 2, "batch_size": 2, "shuffle": False, "steps_per_row": 1, "record": record}
    _, history = nn.fit(trainer, trainer.init(jax.random.key(0), outline()), data, validation=VALIDATION, **given)
    met = np.arange(10) % 5 != 2
    np.testing.assert_allclose(history["rate"][met], history["taken"][met], rtol=1e-9)
    assert (np.diff(history["rate"][met]) < 0).all()


def test_a_record_that_is_infinite_where_nothing_weighs_is_no_part_of_a_row():
    data = DATA._replace(w=jnp.array([1.0] * 6 + [0.0] * 4))
    record = {"log": lambda _, seen: jnp.log(seen.loss)}
    given = {"epochs": 1, "shuffle": False, "batch_size": 2, "record": record}
    _, history = nn.fit(TRAINER, beginning(), data, **given)
    _, seen = nn.fit(TRAINER, beginning(), jax.tree.map(lambda a: a[:6], data), **given)
    assert_close(history, seen, 1e-12)


def test_a_run_with_records_of_any_name_is_finished_from_its_state():
    kept, record = [], {"train/norms": nn.training.gradient_norms, "none": lambda _, seen: {}}
    given = {"epochs": 2, "batch_size": 2, "record": record, "progress": False}

    def stop(number, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nn.run(TRAINER, beginning(), DATA, **given, chunk=5, on_epoch=stop, on_interrupt=kept.append)
    whole = nn.run(TRAINER, beginning(), DATA, **given)
    assert_close(nn.run(TRAINER, kept[0], DATA, **given), whole, 0)


def test_a_dry_run_is_not_stopped_by_what_so_few_steps_say(capsys):
    settings = {**SETTINGS, "batch_size": 1, "steps_per_row": 1, "stopping": nn.EarlyStopping(1, min_delta=1e6)}
    assert np.isfinite(list(nn.dry_run(TRAINER, beginning(), DATA, **settings).values())).all()


def test_the_bar_shows_the_last_validation_there_was(capsys):
    nn.run(TRAINER, beginning(), DATA, **SETTINGS, validate_every=2, chunk=1)
    said = capsys.readouterr().err
    assert "validation_loss 0." in said.splitlines()[-1]
    assert "nan" not in said


def test_in_float32_a_run_is_fit_with_records_to_rounding_and_its_parameters_bit_for_bit():
    with jax.enable_x64(False):
        model = nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1))
        trainer = nn.trainer(model, nn.losses.mse, nn.adam(0.1), freeze="dense_0/.*")
        data = jax.tree.map(lambda a: a.astype(jnp.float32), DATA)
        begin = trainer.init(jax.random.key(0), data.x)
        given = {"epochs": 2, "batch_size": 4, "steps_per_row": 2, "record": {"update": nn.training.update_norms}}
        ts, history = nn.fit(trainer, begin, data, **given)
        run = nn.run(trainer, begin, data, **given, chunk=1, progress=False)
        assert_close(run[0], ts, 0)
        assert_close(run[1], history, 1e-6)


def early(validate_every=1, **stopping):
    given = {**SETTINGS, "epochs": 4, "steps_per_row": 2, "validate_every": validate_every}
    return {**given, "stopping": nn.EarlyStopping(**stopping)}


@pytest.mark.parametrize(("validate_every", "patience", "rows"), [(1, 1, 2), (1, 2, 3), (2, 1, 4), (2, 2, 6)])
def test_a_run_may_stop_within_an_epoch(validate_every, patience, rows):
    # Nothing is better by so much: the first validated row is the best, and then patience runs out.
    settings = early(validate_every, patience=patience, min_delta=1e6)
    ts, history = nn.fit(TRAINER, beginning(), DATA, **settings)
    steps = {2: 4, 3: 5, 4: 7, 6: 10}[rows]
    assert (ts.step, ts.position, ts.epoch) == (steps, 0, -(-steps // 5))
    assert (np.isfinite(history["loss"]) == (np.arange(12) < rows)).all()
    assert_close(nn.run(TRAINER, beginning(), DATA, **settings, progress=False), (ts, history), 0)
    _, whole = nn.fit(TRAINER, beginning(), DATA, **{**settings, "stopping": None})
    np.testing.assert_allclose(history["loss"][:rows], whole["loss"][:rows], rtol=1e-12)
    best = nn.evaluate(TRAINER, ts, VALIDATION)
    np.testing.assert_allclose(best, whole["validation_loss"][validate_every - 1], rtol=1e-12)


def test_the_last_parameters_stay_where_the_best_are_not_wanted():
    ts, history = nn.fit(TRAINER, beginning(), DATA, **early(patience=2, min_delta=1e6, restore_best=False))
    np.testing.assert_allclose(nn.evaluate(TRAINER, ts, VALIDATION), history["validation_loss"][2], rtol=1e-12)


def test_early_stopping_may_watch_what_is_recorded():
    settings = {**SETTINGS, "epochs": 6, "stopping": nn.EarlyStopping(2, monitor="each/dense_0/w", mode="max")}
    _, history = nn.fit(TRAINER, beginning(), DATA, **settings)
    norms = np.asarray(history["each/dense_0/w"])
    (stopped,) = {int(np.isfinite(norms).sum())}
    assert stopped < 6
    assert norms[: stopped - 2].max() > norms[stopped - 2 : stopped].max()
    with pytest.raises(ValueError, match=r"to watch one of .*each/dense_0/w.*, because these are recorded; got 'each'"):
        nn.fit(TRAINER, beginning(), DATA, **{**settings, "stopping": nn.EarlyStopping(2, monitor="each")})


def test_members_of_a_sweep_stop_in_rows_of_their_own():
    def fit(patience):
        return nn.fit(TRAINER, beginning(), DATA, **early(patience=patience, min_delta=1e6))

    patiences = jnp.array([1, 2, 5])
    mapped = jax.jit(jax.vmap(fit))(patiences)
    for i, patience in enumerate(patiences):
        member, alone = jax.tree.map(lambda leaf, i=i: leaf[i], mapped), jax.jit(fit)(patience)
        assert_close(member, alone, 1e-9)


def test_the_gradient_goes_through_rows_and_a_stop():
    def loss(rate, stopping):
        trainer = nn.trainer(TRAINER.model, nn.losses.mse, nn.adam(rate))
        ts = beginning()._replace(opt_state=trainer.optimizer.init(beginning().params))
        settings = {"epochs": 2, "batch_size": 2, "steps_per_row": 2, "validation": VALIDATION, "stopping": stopping}
        ts, _ = nn.fit(trainer, ts, DATA, **settings)
        return nn.evaluate(trainer, ts, VALIDATION)

    for stopping in (None, nn.EarlyStopping(2, min_delta=1e6, restore_best=False)):
        f = jax.jit(functools.partial(loss, stopping=stopping))
        slope = (f(0.05 + 1e-6) - f(0.05 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.jit(jax.grad(f))(0.05), slope, rtol=1e-6)


def test_what_is_not_looked_at_costs_nothing():
    def flops(record):
        fit = functools.partial(nn.fit, TRAINER, epochs=1, batch_size=2, record=record, shuffle=False)
        return jax.jit(fit).lower(beginning(), DATA).compile().cost_analysis()["flops"]

    seen_anyway = {"loss_again": lambda _, observed: observed.loss}

    def scanned(ts, data):
        def step(ts, rows):
            return TRAINER.step(ts, data.take(rows))

        return jax.lax.scan(step, ts, jnp.arange(10).reshape(5, 2))[0]

    alone = jax.jit(scanned).lower(beginning(), DATA).compile().cost_analysis()["flops"]
    assert alone <= flops(None) <= flops(seen_anyway) < flops(RECORD)
    assert flops(None) - alone < 0.5 * (flops(RECORD) - alone)  # a running mean of the loss


def test_compiles_once_for_the_same_settings():
    given = {**SETTINGS, "steps_per_row": 2, "validate_every": 2}
    jax.block_until_ready(nn.fit(TRAINER, beginning(), DATA, **given))
    with compilations() as seen:
        jax.block_until_ready(nn.fit(TRAINER, beginning(), regression(10, seed=3), **given))
    assert not seen


def test_a_dry_run_goes_through_a_validated_row(capsys):
    row = nn.dry_run(TRAINER, beginning(), DATA, **SETTINGS, steps_per_row=2, validate_every=4)
    assert np.isfinite(list(row.values())).all()
    assert {"loss", "validation_loss", "learning_rate", "each/dense_0/w"} <= set(row)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"steps_per_row": 0}, ValueError, "steps_per_row of at least 1, because a row is of some; got 0"),
        ({"validate_every": 0}, ValueError, "validate_every of at least 1, because it counts rows.*got 0"),
        ({"record": {"norm": 3}}, TypeError, "record to have functions.*got 3 for 'norm'"),
        ({"record": {"loss": RATE}}, ValueError, r"different names.*got \['loss'\] twice"),
        ({"record": {"x": lambda ts, seen: seen.prediction}}, ValueError, r"record to give scalars.*\(2, 1\) for 'x'"),
        ({"averaged": True}, ValueError, "one optimizer that averages"),
        ({"record": [RATE]}, TypeError, r"record as functions by name, .*\n  hint: record={'gradient_norm'"),
        ({"record": {"validation_x": RATE}}, ValueError, "names that do not begin with validation_.*got validation_x"),
        (
            {"record": {"u": nn.training.update_norms, "u/dense_0/w": RATE}},
            ValueError,
            "names of its own, .*'u/dense_0/w' twice",
        ),
    ],
    ids=[
        "no step",
        "no row",
        "no function",
        "a name twice",
        "no scalar",
        "no average",
        "no names",
        "validation's",
        "a leaf twice",
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, error, why):
    with pytest.raises(error, match=why):
        nn.fit(TRAINER, beginning(), DATA, epochs=1, batch_size=2, **settings)


def test_a_half_finished_run_of_other_rows_is_refused():
    kept = []

    def stop(number, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nn.run(TRAINER, beginning(), DATA, **SETTINGS, steps_per_row=2, on_epoch=stop, on_interrupt=kept.append,
               progress=False)  # fmt: skip
    with pytest.raises(ValueError, match=r"the state of a run of 3 epochs that records .*; got that of 9 epochs"):
        nn.run(TRAINER, kept[0], DATA, **SETTINGS, progress=False)
    finished = nn.run(TRAINER, kept[0], DATA, **SETTINGS, steps_per_row=2, progress=False)
    assert_close(finished, nn.fit(TRAINER, beginning(), DATA, **SETTINGS, steps_per_row=2), 0)
