"""`snapshots`: the members are one run, seen after each cycle of its learning rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.ensembles import Snapshots, snapshots, stacked

MODEL = nn.serial(nn.Dense(2), nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
MEAN = nn.ops.mean_of_members
CYCLES, EPOCHS, BATCH = 3, 2, 4


def steps(n):
    """Of a cycle."""
    return EPOCHS * -(-n // BATCH)


def trainer(n, *, model=MODEL, freeze=()):
    rate = nn.schedules.cosine_restarts_schedule(0.3, steps(n), t_mul=1.0)
    optimizer = nn.optim.equally_averaged(nn.momentum(rate, 0.5), every=steps(n))
    return nn.trainer(model, nn.losses.mse, optimizer, freeze=freeze)


taken = functools.partial(snapshots, cycles=CYCLES, epochs=EPOCHS, batch_size=BATCH, combine=MEAN)


@pytest.mark.usefixtures("x64")
def test_members_are_one_run_after_each_cycle(key):
    data = regression(10, weighted=True)
    t = trainer(10, freeze="dense_0/b")
    begun = t.init(key, data.x)
    seen = taken(t, begun, data, validation=data)
    ts, members, rows = begun, [], []
    for _ in range(CYCLES):
        ts, history = nn.fit(t, ts, data, epochs=EPOCHS, batch_size=BATCH, validation=data)
        members.append((nn.tree.merge(ts.params, ts.frozen), ts.state))
        rows.append(history)
    assert_close((seen.params, seen.state["members"]), stacked(members), 1e-8)
    assert_close(seen.history, {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}, 1e-8)
    assert_close(seen.train_state, ts, 1e-8)
    whole, history = nn.fit(t, begun, data, epochs=CYCLES * EPOCHS, batch_size=BATCH, validation=data)
    assert_close((seen.train_state, seen.history), (whole, history), 1e-8)
    assert seen.fitted.model == nn.Ensemble(MODEL, CYCLES, combine=MEAN)
    np.testing.assert_array_equal(seen.state["weights"], np.ones(CYCLES))
    last_two, begun = jax.tree.map(lambda a: a[-2:], (seen.params, seen.state)), nn.Ensemble(MODEL, 2, combine=MEAN)
    expected = jax.eval_shape(lambda: begun.init(key, data.x))
    assert jax.tree.map(jnp.shape, last_two) == jax.tree.map(jnp.shape, expected)


@pytest.mark.usefixtures("x64")
def test_the_average_of_the_run_is_the_mean_of_its_members(key):
    """This is stochastic weight averaging: `equally_averaged` with the length of a cycle, and statistics of its own."""
    data = regression(8)
    t = trainer(8)
    seen = taken(t, t.init(key, data.x), data)
    mean = nn.training.averaged(seen.train_state)
    assert_close(mean.params, jax.tree.map(lambda a: np.asarray(a).mean(0), seen.params), 1e-12)
    assert_close(mean.state, seen.train_state.state, 0)
    recalibrated = nn.training.recalibrated(t, mean, data, batch_size=8)
    z = np.asarray(data.x) @ np.asarray(mean.params["dense_0"]["w"]) + np.asarray(mean.params["dense_0"]["b"])
    np.testing.assert_allclose(recalibrated.state["batch_norm_0"]["mean"], z.mean(0), rtol=1e-10)
    assert (np.asarray(mean.state["batch_norm_0"]["mean"]) != recalibrated.state["batch_norm_0"]["mean"]).all()


def linear(n):
    return trainer(n, model=nn.Dense(1))


@pytest.mark.usefixtures("x64")
def test_it_is_a_pure_function(key):
    data, keys = regression(8), jax.random.split(key, 2)
    run = lambda key: taken(linear(8), linear(8).init(key, data.x), data)
    both = jax.jit(jax.vmap(run))(keys)
    assert isinstance(both, Snapshots)
    for i, each in enumerate(keys):
        assert_close(jax.tree.map(lambda a, i=i: a[i], both), run(each), 1e-8)


def gradient_size(train_state, seen):
    return jnp.abs(seen.grads["w"]).max()


def test_all_cycles_are_one_program(key):
    data, t = regression(8), linear(8)
    begun, other = t.init(key, data.x), t.init(jax.random.key(1), data.x)
    settings = lambda: {"metrics": [absolute_error], "record": {"size": gradient_size}, "validation": regression(4)}
    first, second = settings(), settings()
    with compilations() as seen:
        made = taken(t, begun, data, **first)
    assert len(seen) == 1
    with compilations() as seen:
        taken(t, other, data, **second)
    assert seen == []
    assert {name: rows.shape for name, rows in made.history.items()} == dict.fromkeys(
        ["loss", "absolute_error", "validation_loss", "validation_absolute_error", "size"], (CYCLES * EPOCHS,)
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sampling", [np.array([1, 5, 2, 2, 7]), nn.data.undersampling(np.arange(8) // 5)])
def test_examples_are_sampled_as_in_one_run(key, sampling):
    data, t = regression(8), linear(8)
    begun = t.init(key, data.x)
    seen = taken(t, begun, data, sampling=sampling)
    whole, _ = nn.fit(t, begun, data, epochs=CYCLES * EPOCHS, batch_size=BATCH, sampling=sampling)
    assert_close(seen.train_state, whole, 1e-8)


def test_the_learning_rate_of_a_cycle_falls_from_its_peak(key):
    """With the schedule of the example: member by member the run stands where the rate is lowest."""
    data = regression(8)
    rate = nn.schedules.cosine_restarts_schedule(0.3, steps(8), t_mul=1.0)
    record = {"rate": nn.training.learning_rate(rate)}
    t = linear(8)
    seen = taken(t, t.init(key, data.x), data, record=record, steps_per_row=1)
    rates = np.asarray(seen.history["rate"]).reshape(CYCLES, steps(8))
    expected = 0.15 * (1 + np.cos(np.pi * np.arange(steps(8)) / steps(8)))
    np.testing.assert_allclose(rates, np.tile(expected, (CYCLES, 1)), rtol=1e-5)


def refused(error, **given):
    t, data = linear(8), regression(8)
    begun = given.pop("train_state", None) or t.init(jax.random.key(0), data.x)
    with pytest.raises(error) as raised:
        taken(t, begun, given.pop("data", data), **given)
    return said(raised.value)


@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_meant_is_refused(key):
    assert refused(ValueError, cycles=0) == "expected cycles of at least 1, because each gives a member; got 0"
    assert refused(TypeError, cycles=1.5) == "expected cycles to be an int, because each gives a member; got 1.5"
    assert refused(ValueError, epochs=0) == "expected epochs of at least 1, because a cycle has some; got 0"
    assert refused(ValueError, batch_size=0) == ("expected batch_size of at least 1, because it counts examples; got 0")
    assert refused(ValueError, batch_size=9) == (
        "expected batch_size of at most 8, because data has that many examples; got 9"
    )
    assert refused(TypeError, stopping=nn.EarlyStopping(patience=3)).startswith(
        "expected no stopping, because each cycle goes to its end, where the learning rate is lowest; got EarlyStopping"
    )
    assert "got an unexpected keyword argument 'epoch'" in refused(TypeError, epoch=3)
    nans = regression(8)._replace(x=np.full((8, 3), np.nan, np.float32))
    assert refused(ValueError, data=nans).startswith("expected data.x to be finite, because one NaN spreads")
    assert refused(ValueError, validation=nans).startswith("expected validation.x to be finite")
    assert refused(ValueError, sampling=np.array([1, 2, 3, 9])).startswith("expected sampling to give rows from 0 to 7")
    within = linear(8).init(key, regression(8).x)._replace(position=jnp.array(1))
    assert refused(ValueError, train_state=within).startswith(
        "expected a train state between epochs, because cycles are of whole ones; got one after 1 steps of its epoch"
    )
