"""Early stopping: when it fires, what it restores, and the differentiable while loop beneath it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from runs import assert_close, epochs_of, regression, said, smooth

import jaxnn as nn
from jaxnn.training import TrainState
from jaxnn.training._scan_while import while_loop

float64 = pytest.mark.usefixtures("x64")
EPOCHS = 8
NAN = float("nan")


@dataclass(frozen=True)
class Clock(nn.Layer):
    """Predicts the number of epochs so far, for its parameter is moved by 1 in each; so does its state."""

    def init(self, key, x):
        return {"time": jnp.zeros(())}, {"time": jnp.zeros(())}

    def apply(self, params, state, x, *, key=None, train=False):
        return x + params["time"], {"time": state["time"] + 1} if train else state


def scripted(row):
    """A loss that is what row `row` of the target says for the time of the prediction, with gradient -1.

    As NaN is refused in data, a number below 0 stands for it.
    """

    def loss(prediction, target):
        time = lax.stop_gradient(prediction)
        says = target[:, row, time[0].astype(jnp.int32)]
        return jnp.where(says < 0, jnp.nan, says) - (prediction - time)

    loss.__name__ = f"script_{row}"
    return loss


CLOCK = nn.trainer(Clock(), scripted(0), nn.sgd(nn.constant_schedule(1.0)))


def script(*rows):
    """One example whose loss (and metrics) in each epoch is given."""
    return nn.Data(jnp.zeros(1), jnp.array([rows], jnp.float32))


def fit(data, stopping, **settings):
    begin = CLOCK.init(jax.random.key(0), data.x)
    return nn.fit(CLOCK, begin, data, epochs=EPOCHS, batch_size=1, stopping=stopping, shuffle=False, **settings)


@pytest.mark.parametrize(
    ("losses", "stopping", "epochs", "best"),
    [
        pytest.param([3, 2, 2, 1, 0, 0, 0, 0], {"patience": 1}, 3, 1, id="patience 1 allows no bad epoch"),
        pytest.param([3, 2, 4, 1, 5, 1, 0, 0], {"patience": 2}, 6, 3, id="bad epochs count in a row"),
        pytest.param([9, 1, 5, 4, 3, 2, 2, 2], {"patience": 4}, 6, 1, id="better than the last is not better"),
        pytest.param([8, 7, 6, 5, 4, 3, 2, 1], {"patience": 1}, 8, 7, id="always better"),
        pytest.param([1, 2, 3, 4, 5, 6, 7, 8], {"patience": 9}, 8, 0, id="restores even where it never fires"),
        pytest.param([3, 2.6, 2.5, 2.4, 2.3, 2.2, 2.1, 0], {"patience": 3, "min_delta": 0.5}, 7, 3, id="min_delta"),
        pytest.param([4, 3, 2, 1, 0, 0, 0, 0], {"patience": 2, "min_delta": 1.0}, 7, 4, id="min_delta itself"),
        pytest.param([1, 2, 2, 3, 4, 4, 4, 4], {"patience": 2, "mode": "max"}, 7, 4, id="max"),
        pytest.param([4, 3, 2, 1, 0, 0, 0, 0], {"patience": 3, "mode": "max"}, 4, 0, id="max of what falls"),
        pytest.param([3, NAN, NAN, 1, 1, 1, 1, 1], {"patience": 2}, 3, 0, id="NaN is never better"),
        pytest.param([NAN, 3, 2, 2, 2, 2, 2, 2], {"patience": 2}, 5, 2, id="anything is better than NaN"),
        pytest.param([NAN] * 8, {"patience": 3}, 3, -1, id="nothing better than the beginning"),
    ],
)
def test_stops_when_patience_is_over_and_goes_back_to_the_best(losses, stopping, epochs, best):
    ts, history = fit(script([*np.nan_to_num(losses, nan=-1), 0]), nn.EarlyStopping(**stopping))
    expected = np.where(np.arange(EPOCHS) < epochs, losses, np.nan)
    assert_close(history, {"loss": expected}, 1e-6)
    assert (ts.params["time"], ts.state["time"]) == (best + 1, best + 1)
    (steps_of_schedule,) = jax.tree.leaves(ts.opt_state)
    assert (steps_of_schedule, ts.step, ts.epoch) == (epochs, epochs, epochs)


@pytest.mark.parametrize(
    ("settings", "monitor", "epochs"),
    [
        ({}, None, 3),
        ({"validation": True}, None, 5),
        ({"validation": True}, "loss", 3),
        ({"metrics": scripted(1)}, "script_1", 4),
        ({"validation": True, "metrics": scripted(1)}, "validation_script_1", 6),
    ],
    ids=["the loss", "validation before the loss", "the loss by name", "a metric", "a metric of validation"],
)
def test_watches(settings, monitor, epochs):
    falls_until = lambda last: [max(0, last - time) for time in range(EPOCHS + 1)]
    data = script(falls_until(1), falls_until(2))  # which a step sees at times 0, 1, ...
    validation = script(falls_until(4), falls_until(5))  # which is looked at after it, at times 1, 2, ...
    if "validation" in settings:
        settings = {**settings, "validation": validation}
    _, history = fit(data, nn.EarlyStopping(1, monitor=monitor), **settings)
    assert epochs_of(history) == epochs


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"patience": 0}, "patience of 1 or more, because it counts epochs to wait; got 0"),
        ({"patience": 1.9}, "patience to be an integer.*got 1.9"),
        ({"patience": 1, "min_delta": NAN}, "min_delta to be a number, because nothing would be better; got nan"),
        ({"patience": 1, "mode": "minimum"}, "mode.*'minimum'"),
    ],
    ids=["no patience", "a part of an epoch", "no difference", "unknown mode"],
)
def test_settings_that_cannot_be_meant_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        nn.EarlyStopping(**settings)


def stopped_by_hand(values, patience, min_delta, mode):
    """The epoch after which a run stops, and the best one, as a plain loop has them."""
    best, best_epoch, bad = (np.inf if mode == "min" else -np.inf), -1, 0
    for epoch, value in enumerate(values):
        better = best - value > min_delta if mode == "min" else value - best > min_delta
        best, best_epoch, bad = (value, epoch, 0) if better else (best, best_epoch, bad + 1)
        if bad >= patience:
            return epoch, best_epoch
    return len(values) - 1, best_epoch


@float64
@pytest.mark.parametrize("mode", ["min", "max"])
def test_stops_as_a_plain_loop_does_on_100_random_histories(mode):
    random = np.random.default_rng(0)
    values = np.cumsum(random.normal(size=(100, 20)), axis=1)  # below 0 as well
    values[random.random(values.shape) < 0.05] = np.nan
    patiences, min_deltas = random.integers(1, 6, 100), random.choice([0.0, 0.3, 1.0], 100)

    @jax.jit
    @jax.vmap
    def stop(values, patience, min_delta):
        stopping = nn.EarlyStopping(patience, min_delta, mode=mode)

        def row(carry, value):
            best, ts, last = carry
            ts = ts._replace(params={"epoch": ts.params["epoch"] + 1})
            after = stopping.after(best, ts, value)
            going = ~best.stopped
            best = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, best)
            return (best, ts, last + going.astype(jnp.int32)), None

        zero = jnp.zeros((), jnp.int32)
        ts = TrainState({"epoch": zero - 1}, {}, {}, (), zero, zero, zero, jax.random.key(0))
        (best, _, last), _ = lax.scan(row, (stopping.begin(ts), ts, zero - 1), values)
        return last, best.params["epoch"]

    last, best = stop(values, patiences, min_deltas)
    expected = [stopped_by_hand(*each, mode) for each in zip(values, patiences, min_deltas, strict=True)]
    np.testing.assert_array_equal(np.stack([last, best], axis=1), expected)
    assert len(np.unique(last)) > 10  # histories that differ


def test_patience_may_be_swept():
    data = script([3, 2, 2, 1, 1, 1, 0, 0, 0])
    patiences = jnp.array([1, 2, 3, 9])
    ts, history = jax.vmap(lambda patience: fit(data, nn.EarlyStopping(patience)))(patiences)
    assert_close((~jnp.isnan(history["loss"])).sum(1), jnp.array([3, 6, 8, 8]), 0)
    assert_close(ts.params["time"], jnp.array([2.0, 4.0, 7.0, 7.0]), 0)
    assert_close(ts.epoch, jnp.array([3, 6, 8, 8]), 0)


@float64
def test_each_member_of_a_sweep_stops_where_its_own_run_does():
    data, validation = regression(8), regression(6, seed=1)
    begin = smooth().init(jax.random.key(0), data.x)

    def run(learning_rate):
        return nn.fit(
            smooth(learning_rate), begin, data, epochs=EPOCHS, batch_size=4, validation=validation,
            stopping=nn.EarlyStopping(1, min_delta=0.01),
        )  # fmt: skip

    rates = jnp.array([0.003, 0.05, 0.5, 2.0])
    together = jax.jit(jax.vmap(run))(rates)
    single = jax.jit(run)
    epochs = []
    for i, rate in enumerate(rates):
        member = jax.tree.map(lambda a, i=i: a[i], together)
        assert_close(member, single(rate), 1e-8)
        epochs.append(epochs_of(member[1]))
    assert len(set(epochs)) > 2, epochs


MAX_STEPS = 7
W, X = np.array([[0.9, -0.4], [0.5, 0.8]]), np.array([0.6, -0.3])


def looping(loop):
    """A function of a matrix, a start, a limit, a count to begin with, and a key.

    The carry has numbers, an integer and a typed key, and cond and body close over all kinds of arrays.
    """

    def run(w, x, limit, count, key):
        def cond(carry):
            return (carry["x"] ** 2).sum() < carry["limit"]

        def body(carry):
            noise = jax.random.normal(carry["key"], x.shape) + jax.random.normal(key, x.shape)
            return {
                "x": 1.5 * jnp.tanh(w @ carry["x"]) + 0.1 * noise / (carry["count"] + count).astype(w.dtype),
                "limit": carry["limit"],
                "count": carry["count"] + 1,
                "key": jax.random.fold_in(carry["key"], carry["count"]),
            }

        end = loop(cond, body, {"x": x, "limit": limit, "count": count, "key": key})
        return (end["x"] * jnp.array([1.0, 2.0])).sum(), (end["count"], jax.random.key_data(end["key"]))

    return run


def unrolled(cond, body, carry):
    """The same loop in Python, for concrete numbers only."""
    for _ in range(MAX_STEPS):
        if not cond(jax.lax.stop_gradient(carry)):
            break
        carry = body(carry)
    return carry


loop = looping(lambda cond, body, carry: while_loop(cond, body, carry, max_steps=MAX_STEPS))
loop_value_and_grad = jax.jit(jax.value_and_grad(loop, (0, 1), has_aux=True))


def arguments(limit, count=1, seed=0):
    return jnp.array(W), jnp.array(X), jnp.array(limit), jnp.array(count, jnp.int32), jax.random.key(seed)


@float64
@pytest.mark.parametrize(("limit", "steps"), [(0.1, 0), (0.5, 1), (1.5, 3), (1e6, MAX_STEPS)])
def test_a_while_loop_has_the_value_and_gradient_of_the_unrolled_one(limit, steps):
    got = loop_value_and_grad(*arguments(limit))
    expected = jax.value_and_grad(looping(unrolled), (0, 1), has_aux=True)(*arguments(limit))
    assert_close(got, expected, 1e-12)
    assert got[0][1][0] == 1 + steps


LIMITS = [0.1, 0.5, 1.5, 1e6]
AXES = {
    "limits": (None, None, 0, None, None),
    "integers and keys": (None, None, 0, 0, 0),
}
each_axes = pytest.mark.parametrize("axes", AXES.values(), ids=AXES)


def batched(axes):
    """The arguments stacked along these axes, and those of each member."""
    drawn = [arguments(limit, count=i + 1, seed=i) for i, limit in enumerate(LIMITS)]
    members = [
        [own if axis == 0 else shared for own, shared, axis in zip(m, drawn[0], axes, strict=True)] for m in drawn
    ]
    columns = zip(*members, strict=True)
    return [jnp.stack(column) if axis == 0 else column[0] for column, axis in zip(columns, axes, strict=True)], members


@float64
@each_axes
def test_gradients_of_mapped_loops_are_those_of_each(axes):
    stacked, members = batched(axes)
    got = jax.jit(jax.vmap(jax.value_and_grad(loop, (0, 1), has_aux=True), axes))(*stacked)
    each = [loop_value_and_grad(*member) for member in members]
    assert_close(got, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each), 1e-12)


@float64
@each_axes
def test_the_gradient_through_mapped_loops_is_the_sum_of_each(axes):
    stacked, members = batched(axes)
    total = lambda w, x, *rest: jax.vmap(loop, axes)(w, x, *rest)[0].sum()
    got = jax.jit(jax.grad(total, (0, 1)))(*stacked)
    each = [loop_value_and_grad(*member)[1] for member in members]
    assert_close(got, jax.tree.map(lambda *leaves: sum(leaves), *each), 1e-12)


@float64
def test_a_while_loop_may_be_asked_to_stop_by_what_is_differentiated():
    def doubled(factor, limit):
        return while_loop(lambda x: x < limit, lambda x: factor * x, 1.0, max_steps=10)

    value, slopes = jax.value_and_grad(doubled, (0, 1))(2.0, 100.0)
    assert (value, *slopes) == (128.0, 7 * 2.0**6, 0.0)


@pytest.mark.parametrize("transform", [jax.jacfwd, lambda f: lambda x: jax.jvp(f, (x,), (x,))], ids=["jacfwd", "jvp"])
def test_forward_mode_through_early_stopping_says_to_leave_it_out(key, transform):
    data = regression(8)
    begin = smooth().init(key, data.x)

    def last(learning_rate):
        stopping = nn.EarlyStopping(1)
        return nn.fit(smooth(learning_rate), begin, data, epochs=2, batch_size=8, stopping=stopping)[1]["loss"][-1]

    with pytest.raises(TypeError) as error:
        transform(last)(0.1)
    assert "leave out `stopping`" in said(error.value)
