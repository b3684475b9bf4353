"""Evaluation: a weighted mean over a data set, whatever the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, regression

import jaxnn as nn

pytestmark = pytest.mark.usefixtures("x64")
TRAINER = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))


def error(ts, data):
    """What the model misses its targets by, in NumPy."""
    x, y, w, b = map(np.asarray, (data.x, data.y, ts.params["w"], ts.params["b"]))
    return x @ w + b - y


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("batch_size", [None, 4, 5, 64])
def test_is_the_mean_that_numpy_takes(key, batch_size, weighted):
    data = regression(10, weighted=weighted)
    ts = TRAINER.init(key, data.x)
    got = nn.evaluate(TRAINER, ts, data, batch_size=batch_size)
    np.testing.assert_allclose(got, np.average(error(ts, data)[:, 0] ** 2, weights=data.w), rtol=1e-12)
    assert got.shape == ()


def test_takes_any_metric_instead_of_the_loss(key):
    data = regression(10)
    ts = TRAINER.init(key, data.x)
    got = nn.evaluate(TRAINER, ts, data, absolute_error, batch_size=4)
    np.testing.assert_allclose(got, np.abs(error(ts, data)).mean(), rtol=1e-12)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_weighs_tokens_one_by_one(key, batch_size):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 4, 3)), random.normal(size=(5, 4, 1))
    w = random.integers(0, 2, size=(5, 4)).astype(float)
    ts = TRAINER.init(key, x)
    got = nn.evaluate(TRAINER, ts, nn.Data(x, y, w), batch_size=batch_size)
    each = error(ts, nn.Data(x, y))[..., 0] ** 2
    np.testing.assert_allclose(got, np.average(each, weights=w), rtol=1e-12)


def test_a_metric_is_checked_and_the_loss_that_is_not_asked_for_is_not(key):
    trainer = nn.trainer(nn.Dense(2), nn.losses.mse, nn.sgd(0.1))  # whose targets would be (4, 2)
    data = nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 1, 2], jnp.int32))
    ts = trainer.init(key, data.x)
    good = data._replace(y=data.y % 2)
    assert nn.evaluate(trainer, ts, good, nn.metrics.accuracy) == 0.75
    with pytest.raises(ValueError, match="expected labels from 0 to 1"):
        nn.evaluate(trainer, ts, data, nn.losses.cross_entropy)


def test_counts_labels(key):
    trainer = nn.trainer(lambda x: x, nn.losses.cross_entropy, nn.sgd(0.1))
    logits = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    data = nn.Data(logits, jnp.array([0, 1, 0, 1, 0], jnp.int32))
    ts = trainer.init(key, logits)
    assert nn.evaluate(trainer, ts, data, nn.metrics.accuracy, batch_size=2) == 0.8


def test_runs_the_model_as_in_inference(key):
    model = nn.serial(nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
    data = regression(10)
    ts, _ = jax.jit(trainer.step)(jax.jit(trainer.init)(key, data.x), data)
    expected = ((jax.jit(trainer.predict)(ts, data.x) - data.y) ** 2).mean()
    for batch_size in (None, 3):
        assert_close(nn.evaluate(trainer, ts, data, batch_size=batch_size), expected, 1e-12)


def test_weights_of_nothing_have_a_mean_of_0(key):
    data = regression(4)._replace(w=jnp.zeros(4))
    assert nn.evaluate(TRAINER, TRAINER.init(key, data.x), data, batch_size=3) == 0


def test_may_be_mapped_over_parameters_and_differentiated(key):
    data = regression(5)
    ts = TRAINER.init(key, data.x)

    def loss(w):
        return nn.evaluate(TRAINER, ts._replace(params={**ts.params, "w": w}), data, batch_size=2)

    ws = jnp.stack([ts.params["w"], 2 * ts.params["w"]])
    slopes = jax.jit(jax.vmap(jax.grad(loss)))(ws)
    for w, slope in zip(ws, slopes, strict=True):
        at_w = ts._replace(params={**ts.params, "w": w})
        assert_close(slope, 2 * np.asarray(data.x).T @ error(at_w, data) / 5, 1e-12)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_nothing_are_refused(key, batch_size):
    data = regression(4)
    with pytest.raises(ValueError, match="expected batch_size of at least 1"):
        nn.evaluate(TRAINER, TRAINER.init(key, data.x), data, batch_size=batch_size)
