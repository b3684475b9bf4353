"""`checkpointed_fit` takes the steps of `fit`, and its gradient the memory of the root of their number."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, regression, said

import jaxnn as nn
from jaxnn.search import checkpointed_fit, hypergradient
from jaxnn.search._checkpointing import checkpointed_scan

SMALL = nn.trainer(nn.serial(nn.Dense(2), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(1)), nn.losses.mse, nn.adam(0.05))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="shuffled, filled up"),
        pytest.param({"weighted": True, "segment": 4}, id="weighted, by four"),
        pytest.param({"drop_remainder": True, "segment": 1}, id="whole batches, by one"),
        pytest.param({"shuffle": False, "segment": 100}, id="in order, all at once"),
    ],
)
def test_it_takes_the_steps_of_fit(settings):
    settings = dict(settings)
    segment, weighted = settings.pop("segment", None), settings.pop("weighted", False)
    data = regression(10, weighted=weighted)
    ts = SMALL.init(jax.random.key(0), data.x)
    settings |= {"batch_size": 4, "epochs": 3}
    expected, history = nn.fit(SMALL, ts, data, **settings)
    got, losses = checkpointed_fit(SMALL, ts, data, **settings, segment=segment)
    assert_close((got, losses), (expected, history), 1e-12)
    # and from there on: of epochs that are not the first
    expected = nn.fit(SMALL, expected, data, **settings)
    assert_close(checkpointed_fit(SMALL, got, data, **settings, segment=segment), expected, 1e-12)


@pytest.mark.parametrize(("length", "segment"), [(1, None), (7, None), (9, None), (10, 3), (5, 8)])
def test_a_scan_in_segments_is_the_scan(length, segment):
    body = lambda carry, i: (jnp.sin(carry) + i.astype(carry.dtype), carry * 2)
    in_segments = lambda x: checkpointed_scan(body, x, length, segment)
    plain = lambda x: jax.lax.scan(body, x, jnp.arange(length, dtype=jnp.int32))
    x = jnp.float32(0.3)
    assert_close(jax.jit(in_segments)(x), jax.jit(plain)(x), 1e-6)
    total = lambda scan: jax.jit(jax.grad(lambda x: sum(leaf.sum() for leaf in scan(x))))
    assert_close(total(in_segments)(x), total(plain)(x), 1e-5)


def memory(fit, epochs, mode="reverse"):
    """Bytes that a gradient through a run needs beside its arguments, as the compiler has it."""
    data = nn.Data(np.zeros((32, 16), np.float32), np.zeros((32, 16), np.float32))

    def run(rate):
        trainer = nn.trainer(nn.serial(nn.Dense(64), nn.tanh, nn.Dense(16)), nn.losses.mse, nn.adam(rate))
        ts = trainer.init(jax.random.key(0), data.x)
        return nn.evaluate(trainer, fit(trainer, ts, data, epochs=epochs, batch_size=8)[0], data)

    program = jax.jit(partial(hypergradient, run, mode=mode)).lower(0.01).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_of_16_times_the_steps_the_memory_is_about_4_times_as_large_and_in_forward_mode_the_same():
    few, many = (memory(checkpointed_fit, epochs) for epochs in (16, 256))  # 64 and 1024 steps
    assert many < 6 * few
    few, many = (memory(nn.fit, epochs) for epochs in (16, 256))
    assert many > 12 * few  # that of all steps: or the check above would not tell
    few, many = (memory(checkpointed_fit, epochs, "forward") for epochs in (16, 256))
    assert many < 1.2 * few


def test_what_fit_refuses_is_refused(key):
    data = regression(10)
    ts = SMALL.init(key, data.x)
    with pytest.raises(ValueError, match="batch_size of at most 10"):
        checkpointed_fit(SMALL, ts, data, epochs=1, batch_size=11)
    with pytest.raises(ValueError, match="expected segment of at least 1, because it counts steps; got 0"):
        checkpointed_fit(SMALL, ts, data, epochs=1, batch_size=5, segment=0)
    with pytest.raises(
        ValueError, match="a train state between epochs, because this makes whole ones; got one after 1 "
    ):
        checkpointed_fit(SMALL, ts._replace(position=jnp.int32(1)), data, epochs=1, batch_size=5)
    waiting = nn.trainer(SMALL.model, SMALL.loss, nn.optim.chain(nn.sgd(0.1), nn.optim.reduce_on_validation()))
    with pytest.raises(ValueError, match="without reduce_on_validation, because it waits for rows") as raised:
        checkpointed_fit(waiting, waiting.init(key, data.x), data, epochs=1, batch_size=5)
    assert "hint: nn.fit(..., checkpoint=True)" in said(raised.value)
