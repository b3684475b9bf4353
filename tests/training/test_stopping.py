"""Early stopping: when it fires, what it restores, and the differentiable while loop beneath it."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from runs import assert_close, epochs_of, outline, regression, said, smooth

import jaxnn as nn
from jaxnn.training import FitState
from jaxnn.training._stopping import while_loop

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
    """A loss that is what row `row` of the target says for the time of the prediction, with gradient -1."""

    def loss(prediction, target):
        moving = prediction - lax.stop_gradient(prediction)
        return target[:, row, lax.stop_gradient(prediction[0]).astype(jnp.int32)] - moving

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
        pytest.param([4, 3, 2, 1, 0, 0, 0, 0], {"patience": 2, "min_delta": 1.0}, 3, 0, id="min_delta itself"),
        pytest.param([1, 2, 2, 3, 4, 4, 4, 4], {"patience": 2, "mode": "max"}, 7, 4, id="max"),
        pytest.param([4, 3, 2, 1, 0, 0, 0, 0], {"patience": 3, "mode": "max"}, 4, 0, id="max of what falls"),
        pytest.param([3, NAN, NAN, 1, 1, 1, 1, 1], {"patience": 2}, 3, 0, id="NaN is never better"),
        pytest.param([NAN, 3, 2, 2, 2, 2, 2, 2], {"patience": 2}, 5, 2, id="anything is better than NaN"),
        pytest.param([NAN] * 8, {"patience": 3}, 3, -1, id="nothing better than the beginning"),
    ],
)
def test_stops_when_patience_is_over_and_goes_back_to_the_best(losses, stopping, epochs, best):
    ts, history = fit(script([*losses, 0]), nn.EarlyStopping(**stopping))
    expected = np.where(np.arange(EPOCHS) < epochs, losses, np.nan)
    assert_close(history, {"loss": expected}, 1e-6)
    assert (ts.params["time"], ts.state["time"]) == (best + 1, best + 1)
    assert (ts.opt_state.count, ts.step, ts.epoch) == (epochs, epochs, epochs)


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


def test_a_fit_state_has_one_carry(key):
    assert FitState._fields == ("train_state", "best", "history", "row")
