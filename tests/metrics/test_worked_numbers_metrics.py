"""The numbers of the catalogue, by the names of their items."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import metrics as m

ANSWER = jnp.array([1.0] * 8 + [1.0] * 2 + [0.0] * 4 + [0.0] * 6)  # tp = 8, fp = 2, fn = 4, tn = 6
TARGET = jnp.array([1.0] * 8 + [0.0] * 2 + [1.0] * 4 + [0.0] * 6)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        pytest.param(m.Mean(m.binary_accuracy), 0.7, id="MET-1"),
        pytest.param(m.Precision(threshold=0.5), 0.8, id="MET-2"),
        pytest.param(m.Recall(threshold=0.5), 2 / 3, id="MET-3"),
        pytest.param(m.FBeta(threshold=0.5), 0.7272727, id="MET-4"),
    ],
)
def test_of_the_four_counts(metric, expected):
    np.testing.assert_allclose(metric(ANSWER, TARGET), expected, rtol=1e-6)


@pytest.mark.parametrize("item", ["E-67"])
def test_f1_is_between_precision_and_recall(item):
    random = np.random.default_rng(0)
    precision, recall, f1 = m.Precision(threshold=0.5), m.Recall(threshold=0.5), m.FBeta(threshold=0.5)
    matrices = [jnp.asarray(counts, jnp.float32) for counts in random.integers(0, 9, (50, 2, 2))]
    for counts in [m.ConfusionMatrix(threshold=0.5)(ANSWER, TARGET), *matrices]:
        p, r, f = (float(metric.compute(counts)) for metric in (precision, recall, f1))
        if p and r:
            assert min(p, r) - 1e-6 <= f <= max(p, r) + 1e-6


SCORES, POSITIVE = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "auc", [m.roc_auc, m.Collected(m.roc_auc, 9), m.RocAuc(101)], ids=["exact", "collected", "binned"]
)
def test_MET_5_roc_auc(auc):
    assert auc(SCORES, POSITIVE) == 0.75
    assert auc(jnp.array([0.4, 0.4]), jnp.array([0.0, 1.0])) == 0.5  # ties count half


def test_MET_6_mse_is_a_mean():
    assert m.MeanSquaredError()(jnp.array([1.0, 4.0]), jnp.array([1.0, 2.0])) == 2


def test_MET_7_r_squared():
    assert m.R2()(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0])) == -1.125


def test_MET_8_the_threshold_is_a_parameter():
    score, target = jnp.array([0.45, 0.55]), jnp.array([1.0, 1.0])
    assert m.Recall(threshold=0.5)(score, target) == 0.5
    assert m.Recall(threshold=0.4)(score, target) == 1
    assert m.Recall(threshold=0.55)(score, target) == 0  # what equals it is not above it


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
