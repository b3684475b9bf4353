"""Several metrics in one pass over the data: each has the figure that it has alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, regression, smooth

import jaxnn as nn
from jaxnn import metrics as m
from jaxnn import optim

TRAINER = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
METRICS = {"loss": nn.losses.mse, "r2": m.R2(), "error": absolute_error, "mean": m.Mean(nn.losses.mse)}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_each_metric_has_the_figure_that_it_has_alone(batch_size, weighted, key, x64):
    data = regression(10, weighted=weighted)
    ts = TRAINER.init(key, data.x)
    got = nn.evaluate(TRAINER, ts, data, METRICS, batch_size=batch_size)
    assert list(got) == list(METRICS)
    for name, metric in METRICS.items():
        assert_close(got[name], nn.evaluate(TRAINER, ts, data, metric, batch_size=batch_size), 1e-13)
    for several in (tuple, list):
        listed = nn.evaluate(TRAINER, ts, data, several(METRICS.values()), batch_size=batch_size)
        assert isinstance(listed, tuple)
        assert_close(listed, tuple(got.values()), 0)


def dots(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_model_runs_once_for_all_metrics(batch_size, key):
    data = regression(10)
    ts = TRAINER.init(key, data.x)
    together = lambda ts: nn.evaluate(TRAINER, ts, data, METRICS, batch_size=batch_size)
    one_by_one = lambda ts: [nn.evaluate(TRAINER, ts, data, each, batch_size=batch_size) for each in METRICS.values()]
    assert dots(together, ts) == dots(TRAINER.predict, ts, data.x) == 1
    assert dots(one_by_one, ts) == len(METRICS)  # so the count would tell


def test_halves_merged_are_the_whole(key, x64):
    data = regression(10, weighted=True)
    ts, metric = TRAINER.init(key, data.x), m.R2()
    halves = [data.take(np.arange(6)), data.take(np.arange(6, 10))]

    @jax.jit
    def merged(ts):
        states = [metric.update(metric.init(), TRAINER.predict(ts, half.x), half.y, half.w) for half in halves]
        return metric.compute(metric.merge(*states))

    assert_close((merged(ts),), nn.evaluate(TRAINER, ts, data, (metric,), batch_size=3), 1e-12)


def test_it_may_be_mapped_over_train_states(key, x64):
    data = regression(7)
    states = [TRAINER.init(jax.random.fold_in(key, i), data.x) for i in range(3)]
    evaluate = lambda ts: nn.evaluate(TRAINER, ts, data, {"r2": m.R2(), "loss": nn.losses.mse}, batch_size=3)
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(evaluate, states))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    assert_close(jax.jit(jax.vmap(evaluate))(stacked), looped, 1e-12)


def test_the_second_time_nothing_compiles(key):
    data = regression(10)
    ts = TRAINER.init(key, data.x)
    for again in (False, True):
        with compilations() as seen:
            nn.evaluate(TRAINER, ts, data, dict(METRICS), batch_size=4)
        assert bool(seen) != again


AVERAGING = nn.trainer(smooth().model, nn.losses.mse, optim.exponentially_averaged(nn.adam(0.05), 0.9))


@pytest.fixture(scope="module")
def trained():
    data = regression(12)
    ts = AVERAGING.init(jax.random.key(0), data.x)
    for _ in range(3):
        ts, _ = jax.jit(AVERAGING.step)(ts, data)
    return ts, data


def test_it_may_be_with_averaged_parameters(trained):
    ts, data = trained
    at_average = ts._replace(params=optim.averaged_params(ts.opt_state))
    got = nn.evaluate(AVERAGING, ts, data, (nn.losses.mse, m.R2()), averaged=True)
    assert_close(got, nn.evaluate(AVERAGING, at_average, data, (nn.losses.mse, m.R2())), 0)
    assert abs(got[0] - nn.evaluate(AVERAGING, ts, data)) > 1e-6
    assert_close(nn.predict(AVERAGING, ts, data.x, averaged=True), AVERAGING.predict(at_average, data.x), 1e-6)


def test_averaged_parameters_get_the_dtype_of_the_model(trained):
    ts, data = trained
    narrow = ts._replace(params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), ts.params))
    assert nn.predict(AVERAGING, narrow, data.x.astype(jnp.bfloat16), averaged=True).dtype == jnp.bfloat16


def test_without_an_average_that_is_an_error(key):
    data = regression(4)
    ts = TRAINER.init(key, data.x)
    for enter in (nn.evaluate, lambda t, ts, data, averaged: nn.predict(t, ts, data.x, averaged=averaged)):
        with pytest.raises(ValueError, match="expected the state of one optimizer that averages parameters, because"):
            enter(TRAINER, ts, data, averaged=True)


def test_the_metric_that_cannot_judge_is_the_one_that_says_so(key):
    trainer = nn.trainer(nn.serial(), nn.losses.cross_entropy, nn.sgd(0.1))
    data = nn.Data(jnp.array([[0.5, 0.5], [0.25, 0.75], [3.0, 1.0]]), jnp.array([0, 1, 1]))
    ts = trainer.init(key, data.x)
    metrics = {"loss": trainer.loss, "log": m.log_loss, "calibration": m.CalibrationError(5)}
    with pytest.raises(ValueError, match="expected predictions from 0 to 1, because they are probabilities"):
        nn.evaluate(trainer, ts, data, metrics, batch_size=2)
    good = metrics | {"log": m.Through(nn.softmax, m.log_loss), "calibration": m.accuracy}
    assert np.isfinite(list(nn.evaluate(trainer, ts, data, good).values())).all()


def test_every_metric_is_checked_before_anything_runs(key):
    trainer = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    data = nn.Data(jnp.zeros((4, 3)), jnp.array([0, 0, 1, 2], jnp.int32))
    ts = trainer.init(key, data.x)
    for metrics in ((m.accuracy, m.ConfusionMatrix(classes=2)), [m.ConfusionMatrix(classes=2), m.accuracy]):
        with pytest.raises(ValueError, match="expected labels from 0 to 1"):
            nn.evaluate(trainer, ts, data, metrics)
    with pytest.raises(nn.ShapeError, match=r"expected figures of roc_auc of shape \(batch, ...\)"):
        nn.evaluate(smooth(), smooth().init(key, data.x), regression(4), (absolute_error, m.roc_auc))


@pytest.mark.usefixtures("unannotated")
def test_no_metric_and_none_are_refused(key):
    data = regression(4)
    ts = TRAINER.init(key, data.x)
    for empty in ((), [], {}):
        with pytest.raises(ValueError, match="expected a metric or several, because there is nothing else to return"):
            nn.evaluate(TRAINER, ts, data, empty)
    for wrong in ("accuracy", ["accuracy"], {"loss": None}, [(nn.losses.mse,)]):
        with pytest.raises(TypeError, match="expected losses or metrics, because they are taken of predictions; got"):
            nn.evaluate(TRAINER, ts, data, wrong)
