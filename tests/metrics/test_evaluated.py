"""A metric with a state in `evaluate`: what it gathers does not depend on the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import metrics as m

pytestmark = pytest.mark.usefixtures("x64")
YES_OR_NO = nn.trainer(nn.serial(), nn.losses.binary_cross_entropy, nn.sgd(0.1))
CHOICE = nn.trainer(nn.serial(), nn.losses.cross_entropy, nn.sgd(0.1))


@pytest.fixture
def scores():
    random = np.random.default_rng(0)
    score = jnp.asarray(random.normal(size=11))
    return nn.Data(score, jnp.asarray(random.integers(0, 2, 11).astype(float)), jnp.asarray(random.uniform(size=11)))


@pytest.mark.parametrize("batch_size", [None, 1, 4, 11, 64])
@pytest.mark.parametrize(
    "metric",
    [m.Precision(threshold=0.0), m.R2(), m.Collected(m.roc_auc, 11), m.Through(nn.sigmoid, m.RocCurve(5))],
    ids=repr,
)
def test_it_is_that_of_all_at_once(metric, batch_size, scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    got = nn.evaluate(YES_OR_NO, ts, scores, metric, batch_size=batch_size)
    expected = metric(scores.x, scores.y, scores.w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, expected)


def test_the_mean_of_a_metric_of_examples_is_the_same_either_way(key):
    random = np.random.default_rng(0)
    data = nn.Data(jnp.asarray(random.normal(size=(10, 3))), jnp.asarray(random.integers(0, 3, 10)))
    ts = CHOICE.init(key, data.x)
    for batch_size in (None, 4):
        plain, gathered = (
            nn.evaluate(CHOICE, ts, data, metric, batch_size=batch_size) for metric in (m.accuracy, m.Mean(m.accuracy))
        )
        np.testing.assert_allclose(gathered, plain, rtol=1e-12)


def test_thresholds_may_be_swept_through_it(scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    recall = lambda t: nn.evaluate(YES_OR_NO, ts, scores, m.Recall(threshold=t), batch_size=4)
    swept = jax.jit(jax.vmap(recall))(jnp.array([-1.0, 0.0, 1.0]))
    for t, value in zip((-1.0, 0.0, 1.0), swept, strict=True):
        np.testing.assert_allclose(value, m.Recall(threshold=t)(scores.x, scores.y, scores.w), rtol=1e-12)


def test_what_the_metric_cannot_judge_is_refused_before_anything_runs(scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    with pytest.raises(ValueError, match="expected targets from 0 to 1"):
        nn.evaluate(YES_OR_NO, ts, scores._replace(y=scores.y * 2), m.RocAuc(9))
    with pytest.raises(nn.ShapeError, match="expected prediction and target of one shape"):
        nn.evaluate(YES_OR_NO, ts, scores._replace(y=scores.y[:, None]), m.R2())


def doubled(z):
    return 2 * z


OF_PROBABILITIES = [
    m.log_loss,
    m.brier_score,
    m.Mean(m.log_loss),
    m.CalibrationError(5),
    m.Through(doubled, m.log_loss),
]


@pytest.mark.parametrize("metric", OF_PROBABILITIES, ids=repr)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_logits_for_a_metric_of_probabilities_are_refused_and_in_a_compiled_program_nan(metric, batch_size, key):
    data = nn.Data(jnp.array([[0.5, 0.5], [0.25, 0.75], [3.0, 1.0]]), jnp.array([0, 1, 1]))
    ts = CHOICE.init(key, data.x)
    evaluate = lambda data: nn.evaluate(CHOICE, ts, data, metric, batch_size=batch_size)
    message = r"^expected predictions from 0 to 1, because they are probabilities; got predictions from .*\n"
    with pytest.raises(ValueError, match=message + r"  hint: logits: Through\(jaxnn.softmax, metric\)"):
        evaluate(data)
    assert np.isnan(jax.jit(evaluate)(data))


def test_through_softmax_logits_are_judged(key):
    data = nn.Data(jnp.array([[0.5, 0.5], [0.25, 0.75], [3.0, 1.0]]), jnp.array([0, 1, 1]))
    ts = CHOICE.init(key, data.x)
    for metric in (m.log_loss, m.CalibrationError(5)):
        assert np.isfinite(nn.evaluate(CHOICE, ts, data, m.Through(nn.softmax, metric)))


def test_logits_of_yes_or_no_are_refused_too(scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    for metric in (m.binary_log_loss, m.BinaryCalibrationError(5)):
        with pytest.raises(ValueError, match=r"expected predictions from 0 to 1, .*\n  hint: .*Through\(jaxnn.sigmoid"):
            nn.evaluate(YES_OR_NO, ts, scores, metric, batch_size=4)


def test_a_figure_that_is_undefined_stays_nan_and_is_no_error(scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    negative = scores._replace(y=jnp.zeros_like(scores.y))
    assert np.isnan(nn.evaluate(YES_OR_NO, ts, negative, m.Collected(m.roc_auc, 11), batch_size=4))
    assert np.isnan(nn.evaluate(YES_OR_NO, ts, negative, m.RocCurve(5)).true_positive_rate).all()


def test_predictions_that_are_nan_are_no_error_either(key):
    trainer = nn.trainer(nn.serial(lambda x: x * jnp.nan), nn.losses.cross_entropy, nn.sgd(0.1))
    data = nn.Data(jnp.array([[3.0, 1.0], [0.5, 2.0]]), jnp.array([0, 1]))
    ts = trainer.init(key, data.x)
    for metric in (None, m.log_loss, m.ConfusionMatrix(classes=2)):
        assert np.isnan(nn.evaluate(trainer, ts, data, metric)).all()


def test_fit_wants_figures_of_examples(key):
    data = nn.Data(jnp.array([[3.0, 1.0], [0.5, 2.0]]), jnp.array([0, 1]))
    trainer = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    ts = trainer.init(key, data.x)
    for metrics in (m.R2(), [m.accuracy, m.R2()]):
        with pytest.raises(TypeError) as caught:
            nn.fit(trainer, ts, data, epochs=1, batch_size=2, metrics=metrics)
        assert str(caught.value) == (
            "expected metrics of examples, such as accuracy, because history has their mean; got R2(), with a state "
            "in which all that is seen is gathered\n  hint: after the run, evaluate(trainer, train_state, data, R2())"
        )
    with pytest.raises(TypeError, match=r"got R2\(\), Recall\(classes=2\), with a state in which"):
        nn.fit(trainer, ts, data, epochs=1, batch_size=2, metrics=[m.R2(), m.Recall(classes=2)])


def test_a_figure_of_a_whole_array_is_refused_as_a_metric_and_not_as_a_loss(scores, key):
    ts = YES_OR_NO.init(key, scores.x)
    message = r"^expected figures of roc_auc of shape \(batch, ...\), because .*; got a scalar\n.* or evaluate with C"
    for enter in (
        lambda: nn.evaluate(YES_OR_NO, ts, scores, m.roc_auc),
        lambda: nn.fit(YES_OR_NO, ts, scores, epochs=1, batch_size=2, metrics=m.roc_auc),
    ):
        with pytest.raises(nn.ShapeError, match=message):
            enter()
