"""The numbers of the catalogue, by the names of their items."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import metrics as m

ANSWER = jnp.array([1.0] * 8 + [1.0] * 2 + [0.0] * 4 + [0.0] * 6)  # tp = 8, fp = 2, fn = 4, tn = 6
TARGET = jnp.array([1.0] * 8 + [0.0] * 2 + [1.0] * 4 + [0.0] * 6)


def judged(metric):
    """A figure of these four counts: of scores as they stand, and of what a compiled program makes of them."""
    value, again = metric(ANSWER, TARGET), jax.jit(metric.__call__)(ANSWER, TARGET)
    np.testing.assert_allclose(again, value, rtol=1e-6)
    return value


def test_MET_1_accuracy():
    np.testing.assert_allclose(judged(m.Mean(m.binary_accuracy)), 0.7, rtol=1e-6)
    two = jnp.stack([0.5 - ANSWER, ANSWER - 0.5], -1)
    np.testing.assert_allclose(m.Mean(m.accuracy)(two, TARGET.astype(jnp.int32)), 0.7, rtol=1e-6)


def test_MET_2_precision():
    np.testing.assert_allclose(judged(m.Precision(threshold=0.5)), 0.8, rtol=1e-6)


def test_MET_3_recall():
    np.testing.assert_allclose(judged(m.Recall(threshold=0.5)), 0.6667, atol=5e-5)


def test_MET_4_f1():
    f1 = judged(m.FBeta(threshold=0.5))
    np.testing.assert_allclose(f1, 0.7272727, rtol=1e-6)
    np.testing.assert_allclose(f1, 2 * 0.8 * (2 / 3) / (0.8 + 2 / 3), rtol=1e-6)  # 2PR / (P + R)


def test_E_67_f1_is_between_precision_and_recall_and_not_above_them():
    random = np.random.default_rng(0)
    precision, recall, f1 = m.Precision(threshold=0.5), m.Recall(threshold=0.5), m.FBeta(threshold=0.5)
    matrices = [jnp.asarray(counts, jnp.float32) for counts in random.integers(0, 9, (50, 2, 2))]
    for counts in [m.ConfusionMatrix(threshold=0.5)(ANSWER, TARGET), *matrices]:
        p, r, f = (float(metric.compute(counts)) for metric in (precision, recall, f1))
        if p and r:
            assert min(p, r) - 1e-6 <= f <= max(p, r) + 1e-6
    assert judged(f1) < judged(precision)


SCORES, POSITIVE = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "auc", [m.roc_auc, m.Collected(m.roc_auc, 9), m.RocAuc(101)], ids=["exact", "collected", "binned"]
)
def test_MET_5_roc_auc(auc):
    assert auc(SCORES, POSITIVE) == 0.75
    assert auc(jnp.array([0.4, 0.4]), jnp.array([0.0, 1.0])) == 0.5  # ties count half


def test_MET_6_mse_is_a_mean():
    assert m.MeanSquaredError()(jnp.array([1.0, 4.0]), jnp.array([1.0, 2.0])) == 2
    value = m.MeanSquaredError()(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(value, 1.4166666667, rtol=1e-6)  # LOSS-2


def test_MET_7_r_squared():
    assert m.R2()(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0])) == -1.125


def test_MET_8_the_threshold_is_a_parameter():
    """Section 28, row 14: 0.5 is a convention."""
    score, target = jnp.array([0.45, 0.55]), jnp.array([1.0, 1.0])
    assert m.Recall(threshold=0.5)(score, target) == 0.5
    assert m.Recall(threshold=0.4)(score, target) == 1
    assert m.Recall(threshold=0.55)(score, target) == 0  # what equals it is not above it


def test_MET_9_98_percent_in_training_and_54_in_test_are_44_points_apart():
    """Section 28, row 15."""
    target = jnp.ones(50)
    right = lambda percent: jnp.where(jnp.arange(50) < percent // 2, 1.0, -1.0)
    train, test = (m.Mean(m.binary_accuracy)(right(percent), target) for percent in (98, 54))
    np.testing.assert_allclose(100 * (train - test), 44, rtol=1e-5)


@pytest.mark.parametrize("zero", [0.0, 1.0, float("nan")])
def test_GAP_9_division_by_zero_is_stated(zero):
    nothing = jnp.array([0.1, 0.2]), jnp.array([0.0, 0.0])
    for metric in (m.Precision, m.Recall, m.FBeta):
        np.testing.assert_array_equal(metric(threshold=0.5, zero_division=zero)(*nothing), zero)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_scores(dtype):
    """0, 1e4 and infinities are scores and numbers like others; a certain mistake costs a finite log loss."""
    score, target = jnp.array([-jnp.inf, -1e4, 0, 1e4, jnp.inf], dtype), jnp.array([0, 0, 1, 1, 1], dtype)
    assert m.roc_auc(score, target) == 1
    assert m.average_precision(score, target) == 1
    assert m.RocAuc((-5e3, -1.0, 5e3))(score, target) == 1
    assert m.FBeta(threshold=-1.0)(score, target) == 1
    assert m.MeanAbsoluteError()(score[1:4], score[1:4]) == 0
    assert np.isinf(m.MeanSquaredError()(score, target))
    certain = m.Mean(m.binary_log_loss)(jnp.array([0, 1], dtype), jnp.array([1, 0], dtype))
    assert 10 < certain < 40
