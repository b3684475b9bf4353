"""A learning rate that falls by what is evaluated at the ends of rows, for each member of a sweep by its own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, outline, regression

import jaxnn as nn
from jaxnn.optim import after_row, averaged_params, reduce_on_plateau, reduce_on_validation

pytestmark = pytest.mark.usefixtures("x64")
MODEL = nn.serial(nn.Dense(1, bias=False), nn.tanh)
with jax.enable_x64(True):
    DATA, VALIDATION = regression(8), regression(6, seed=1)
    BEGIN = jax.tree.map(np.asarray, nn.trainer(MODEL, nn.losses.mse, nn.sgd(0.1)).init(jax.random.key(0), outline())
                         .params)  # fmt: skip


def begin(trainer):
    ts = trainer.init(jax.random.key(0), outline())
    params = jax.tree.map(jnp.asarray, BEGIN)
    return ts._replace(params=params, opt_state=trainer.optimizer.init(params))


def scales(values, **settings):
    """The scale after each value, from the transform that waits for rows."""
    rule = reduce_on_validation(**settings)

    def look(state, value):
        state = after_row(state, {"loss": value})
        return state, state.plateau.scale

    return jax.lax.scan(look, rule.init(jnp.zeros(())), values)[1]


def scales_by_hand(values, factor, patience, rtol, atol, cooldown, min_scale, mode):
    sign, scale, best, bad, cooling, out = (1 if mode == "min" else -1), 1.0, np.inf, 0, 0, []
    for value in sign * np.asarray(values):
        tolerance = (rtol * abs(best) if np.isfinite(best) else 0) + atol
        if value < best - tolerance:
            best, bad = value, 0
        else:
            bad = 0 if cooling else bad + 1
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad >= patience:
            scale, bad, cooling = max(scale * factor, min_scale), 0, cooldown
        out.append(scale)
    return out


@pytest.mark.parametrize("mode", ["min", "max"])
def test_falls_as_a_plain_loop_does_for_values_below_0_too(mode):
    random = np.random.default_rng(1)
    values = np.cumsum(random.normal(size=(60, 20)), axis=1) - 1
    numbers = {
        "factor": random.uniform(0.1, 0.9, 60),
        "patience": random.integers(1, 4, 60),
        "rtol": random.choice([0, 0.1], 60),
        "atol": random.choice([0, 0.2], 60),
        "cooldown": random.integers(0, 3, 60),
        "min_scale": random.choice([0, 0.3], 60),
    }
    got = jax.jit(jax.vmap(lambda values, numbers: scales(values, **numbers, mode=mode)))(values, numbers)
    each = (dict(zip(numbers, row, strict=True)) for row in zip(*numbers.values(), strict=True))
    expected = [scales_by_hand(v, **n, mode=mode) for v, n in zip(values, each, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert len(np.unique(np.array(expected)[:, -1])) > 20


def trainer_of(patience, rate=0.1):
    rule = reduce_on_validation(factor=0.5, patience=patience, atol=0.01, rtol=0.0)
    return nn.trainer(MODEL, nn.losses.mse, nn.optim.chain(nn.sgd(rate), rule))


def fit(patience, rate=0.1, **settings):
    trainer = trainer_of(patience, rate)
    settings = {"epochs": 12, "batch_size": 4, "validation": VALIDATION, **settings}
    return nn.fit(trainer, begin(trainer), DATA, **settings)


def looped(patience, steps_per_epoch=2):
    """The same run, an epoch at a time, with a rate that this loop lowers by hand."""
    best, bad, scale, ts = np.inf, 0, 1.0, None
    one = jax.jit(lambda ts, rate: nn.fit(nn.trainer(MODEL, nn.losses.mse, nn.sgd(rate)), ts, DATA, epochs=1,
                                          batch_size=4, validation=VALIDATION))  # fmt: skip
    ts = begin(nn.trainer(MODEL, nn.losses.mse, nn.sgd(0.1)))
    seen = []
    for _ in range(12):
        ts, history = one(ts, 0.1 * scale)
        value = float(history["validation_loss"][0])
        seen.append(value)
        best, bad = (value, 0) if value < best - 0.01 else (best, bad + 1)
        if bad >= patience:
            scale, bad = scale / 2, 0
    return ts.params, np.array(seen), scale


def test_a_run_is_that_of_a_loop_that_lowers_the_rate_and_members_fall_by_their_own():
    patiences = jnp.array([1, 2, 3])
    ts, history = jax.jit(jax.vmap(fit))(patiences)
    for i, patience in enumerate(patiences):
        params, seen, scale = looped(int(patience))
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], ts.params), params, 1e-9)
        np.testing.assert_allclose(history["validation_loss"][i], seen, rtol=1e-9)
        assert ts.opt_state[1].plateau.scale[i] == scale
    assert len(set(ts.opt_state[1].plateau.scale.tolist())) == 3


def test_run_is_fit_and_a_run_that_goes_on_keeps_what_fell():
    trainer = trainer_of(1)
    given = {"epochs": 12, "batch_size": 4, "validation": VALIDATION}
    whole = nn.fit(trainer, begin(trainer), DATA, **given)
    assert_close(nn.run(trainer, begin(trainer), DATA, **given, progress=False), whole, 0)
    half, _ = nn.fit(trainer, begin(trainer), DATA, **{**given, "epochs": 6})
    rest, _ = nn.fit(trainer, half, DATA, **{**given, "epochs": 6})
    assert_close(rest, whole[0], 1e-12)


def test_rows_without_validation_are_not_counted():
    every, seldom = fit(2, validate_every=1)[0], fit(2, validate_every=3)[0]
    assert seldom.opt_state[1].plateau.scale > every.opt_state[1].plateau.scale
    _, history = fit(2, validate_every=3)
    seen = history["validation_loss"][2::3]
    expected = scales(seen, factor=0.5, patience=2, atol=0.01, rtol=0.0)[-1]
    assert seldom.opt_state[1].plateau.scale == expected


def test_what_watches_the_loss_looks_at_every_row():
    rule = reduce_on_validation(factor=0.5, patience=1, atol=1e6, monitor="loss")
    trainer = nn.trainer(MODEL, nn.losses.mse, nn.optim.chain(nn.sgd(0.1), rule))
    settings = {"epochs": 6, "batch_size": 4, "validation": VALIDATION, "validate_every": 3}
    ts, _ = nn.fit(trainer, begin(trainer), DATA, **settings)
    assert ts.opt_state[1].plateau.scale == 0.5**5


def test_an_average_outside_of_it_is_of_parameters_that_were():
    def averaged(optimizer):
        trainer = nn.trainer(MODEL, nn.losses.mse, nn.optim.equally_averaged(optimizer))
        ts, _ = nn.fit(trainer, begin(trainer), DATA, epochs=4, batch_size=8)
        return averaged_params(ts.opt_state)

    falls = reduce_on_validation(factor=0.5, patience=1, atol=1e6)
    halves = nn.sgd(nn.schedules.piecewise_constant_schedule(0.1, {2: 0.5, 3: 0.5}))
    assert_close(averaged(nn.optim.chain(nn.sgd(0.1), falls)), averaged(halves), 1e-12)


def test_says_what_it_may_watch():
    rule = reduce_on_validation(monitor="validation_accuracy")
    trainer = nn.trainer(MODEL, nn.losses.mse, nn.optim.chain(nn.sgd(0.1), rule))
    with pytest.raises(ValueError, match=r"reduce_on_validation to watch one of loss, because.*'validation_accuracy'"):
        nn.fit(trainer, begin(trainer), DATA, epochs=1, batch_size=4)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("wrong", [{"factor": 1.5}, {"patience": 0}, {"rtol": -1.0}, {"mode": "least"}])
def test_refuses_what_reduce_on_plateau_refuses(wrong):
    with pytest.raises(ValueError, match="expected") as theirs:
        reduce_on_plateau(**wrong)
    with pytest.raises(ValueError, match=re.escape(str(theirs.value))):
        reduce_on_validation(**wrong)


def test_values_are_told_apart_in_float32_whatever_the_parameters_are():
    """1.0, 0.999, ... is one number in bfloat16."""
    rule = reduce_on_validation(0.5, 2)
    state = rule.init({"w": jnp.zeros(3, jnp.bfloat16)})
    for i in range(6):
        state = after_row(state, {"loss": jnp.float32(1 - 0.001 * i)})
    assert state.plateau.scale == 1
    updates, _ = rule.update({"w": jnp.ones(3, jnp.bfloat16)}, state)
    assert updates["w"].dtype == jnp.bfloat16


def test_a_trainer_that_goes_on_from_the_state_of_another_has_its_own_numbers():
    ts, _ = fit(1, epochs=3)
    patient = trainer_of(100)
    ts, _ = nn.fit(patient, ts, DATA, epochs=6, batch_size=4, validation=VALIDATION)
    assert ts.opt_state[1].settings["patience"] == 100
    eager, _ = nn.fit(trainer_of(1), ts, DATA, epochs=6, batch_size=4, validation=VALIDATION)
    assert eager.opt_state[1].plateau.scale < ts.opt_state[1].plateau.scale
