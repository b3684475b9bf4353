"""Every metric against scikit-learn's, on random and degenerate inputs; where it is undefined, what ours states."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.exceptions import UndefinedMetricWarning

import jaxnn as nn
from jaxnn import metrics as m

pytestmark = [
    pytest.mark.usefixtures("x64"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning"),
    pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true"),
    pytest.mark.filterwarnings("ignore:A single label was found"),
]
N, CLASSES = 40, 4


@functools.cache
def compiled(metric):
    return jax.jit(metric if callable(metric) and not isinstance(metric, m.Metric) else metric.__call__)


def assert_equal(metric, arrays, expected, rtol=1e-10):
    got = compiled(metric)(*(None if a is None else jnp.asarray(a) for a in arrays))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-12)


def draw_labels(kind, weighted):
    """Answers and labels of four classes, and weights, one of which is 0."""
    random = np.random.default_rng(3)
    answer, label = random.integers(0, CLASSES, (2, N)).astype(np.int32)
    answer, label = {
        "random": (answer, label),
        "a class that never occurs": (answer, np.where(label == 2, 1, label)),
        "a class that is never chosen": (np.where(answer == 0, 3, answer), label),
        "a class that is neither": (np.where(answer == 1, 3, answer), np.where(label == 1, 3, label)),
        "one class only": (answer, np.full_like(label, 2)),
        "one answer only": (np.full_like(answer, 2), label),
        "one class, and it is chosen": (np.full_like(answer, 2), np.full_like(label, 2)),
        "all right": (label, label),
        "all wrong": ((label + 1) % CLASSES, label),
    }[kind]
    return answer, label, np.append(random.uniform(0.5, 2, N - 1), 0.0) if weighted else np.ones(N)


LABELS = ["random", "a class that never occurs", "a class that is never chosen", "a class that is neither",
          "one class only", "one answer only", "one class, and it is chosen", "all right", "all wrong"]  # fmt: skip
of_labels = pytest.mark.parametrize(
    ("kind", "weighted"), [*((kind, False) for kind in LABELS), ("random", True), ("one class only", True)]
)


@of_labels
def test_precision_recall_and_f_beta(kind, weighted):
    answer, label, w = draw_labels(kind, weighted)
    for average in ("micro", "macro", "weighted", "none"):
        for zero in (0.0, 1.0, math.nan):
            settings = {"classes": CLASSES, "average": average, "zero_division": zero}
            metrics = (m.Precision(**settings), m.Recall(**settings), m.FBeta(0.5, **settings))
            matrix = sk.confusion_matrix(label, answer, labels=range(CLASSES), sample_weight=w)
            expected = sk.precision_recall_fscore_support(
                label, answer, beta=0.5, labels=range(CLASSES), sample_weight=w, zero_division=zero,
                average=None if average == "none" else average,
            )  # fmt: skip
            # The matrix is the state: that it is gathered right is the test below this one.
            for metric, value in zip(metrics, expected[:3], strict=True):
                got = metric.compute(jnp.asarray(matrix, float))
                np.testing.assert_allclose(got, value, rtol=1e-10, err_msg=f"{metric!r}")


@of_labels
def test_the_confusion_matrix_and_what_is_computed_from_it(kind, weighted):
    answer, label, w = draw_labels(kind, weighted)
    matrix = sk.confusion_matrix(label, answer, labels=range(CLASSES), sample_weight=w)
    assert_equal(m.ConfusionMatrix(classes=CLASSES), (answer, label, w), matrix)
    logits = np.random.default_rng(0).normal(size=(N, CLASSES)) + 100 * np.eye(CLASSES)[answer]
    assert_equal(m.ConfusionMatrix(classes=CLASSES), (logits, label, w), matrix)
    assert_equal(m.ConfusionMatrix(classes=CLASSES), (logits, np.eye(CLASSES)[label], w), matrix)
    state = jnp.asarray(matrix, float)
    for metric, expected in (
        (m.BalancedAccuracy(classes=CLASSES), sk.balanced_accuracy_score(label, answer, sample_weight=w)),
        (m.MatthewsCorrelation(classes=CLASSES), sk.matthews_corrcoef(label, answer, sample_weight=w)),
        (m.CohenKappa(classes=CLASSES), sk.cohen_kappa_score(label, answer, labels=range(CLASSES), sample_weight=w)),
    ):
        np.testing.assert_allclose(metric.compute(state), expected, rtol=1e-9, atol=1e-12, err_msg=f"{metric!r}")
    accuracy = sk.accuracy_score(label, answer, sample_weight=w)
    assert_equal(m.Mean(m.accuracy), (logits, label, w), accuracy)


def draw_scores(kind, weighted):
    """Scores between 0 and 1, answers of yes or no, and weights."""
    random = np.random.default_rng(5)
    score, target = random.uniform(size=N), random.integers(0, 2, N).astype(float)
    score, target = {
        "random": (score, target),
        "ties": (random.integers(0, 6, N) / 5, target),
        "all tied": (np.full(N, 0.5), target),
        "perfect": (0.1 + 0.8 * target, target),
        "upside down": (0.9 - 0.8 * target, target),
        "no positive": (score, np.zeros(N)),
        "no negative": (score, np.ones(N)),
        "one positive": (score, np.eye(N)[3]),
        "zeros of both signs": (np.where(np.arange(N) % 2 == 0, 0.0, -0.0), target),
        "infinite": (np.where(np.arange(N) % 3 == 0, np.inf, np.where(np.arange(N) % 3 == 1, -np.inf, score)), target),
    }[kind]
    return score, target, np.append(random.uniform(0.5, 2, N - 1), 0.0) if weighted else np.ones(N)


SCORES = ["random", "ties", "all tied", "perfect", "upside down", "no positive", "no negative", "one positive"]
of_scores = pytest.mark.parametrize(
    ("kind", "weighted"), [*((kind, False) for kind in SCORES), ("random", True), ("ties", True)]
)


@of_scores
def test_yes_or_no(kind, weighted):
    score, target, w = draw_scores(kind, weighted)
    answer = score > 0.5
    assert_equal(m.ConfusionMatrix(threshold=0.5), (score, target, w),
                 sk.confusion_matrix(target, answer, labels=[0, 1], sample_weight=w))  # fmt: skip
    for metric, function in ((m.Precision, sk.precision_score), (m.Recall, sk.recall_score), (m.FBeta, sk.f1_score)):
        expected = function(target, answer, sample_weight=w, zero_division=0)
        assert_equal(metric(threshold=0.5), (score, target, w), expected)
    logits = np.log(score + 1e-9) - np.log(1 - score + 1e-9)
    right = sk.accuracy_score(target, logits > 0, sample_weight=w)
    assert_equal(m.Mean(m.binary_accuracy), (logits, target, w), right)


@pytest.mark.parametrize(
    ("kind", "weighted"),
    [*((kind, False) for kind in [*SCORES, "zeros of both signs", "infinite"]), ("random", True), ("ties", True)],
)
def test_roc_auc_and_average_precision(kind, weighted):
    score, target, w = draw_scores(kind, weighted)
    ranks = np.unique(score, return_inverse=True)[1].astype(float)  # scikit-learn refuses infinities
    one_class = len(set(target)) == 1
    auc = math.nan if one_class else sk.roc_auc_score(target, ranks, sample_weight=w)
    precision = math.nan if not target.any() else sk.average_precision_score(target, ranks, sample_weight=w)
    assert_equal(m.roc_auc, (score, target, w), auc)
    assert_equal(m.average_precision, (score, target, w), precision)
    assert_equal(m.Collected(m.roc_auc, 50), (score, target, w), auc)
    assert_equal(m.Collected(m.average_precision, 50), (score, target, w), precision)
    if one_class:
        with pytest.warns(UndefinedMetricWarning):
            assert math.isnan(sk.roc_auc_score(target, ranks, sample_weight=w))


@of_scores
def test_binned_they_are_those_of_the_bins(kind, weighted):
    score, target, w = draw_scores(kind, weighted)
    binned = np.searchsorted(np.linspace(0, 1, 10), score)
    auc = math.nan if len(set(target)) == 1 else sk.roc_auc_score(target, binned, sample_weight=w)
    precision = math.nan if not target.any() else sk.average_precision_score(target, binned, sample_weight=w)
    assert_equal(m.RocAuc(10), (score, target, w), auc)
    assert_equal(m.AveragePrecision(10), (score, target, w), precision)


@of_scores
def test_curves(kind, weighted):
    """At thresholds just below each score, so that what is above them is what scikit-learn counts as not below it."""
    score, target, w = draw_scores(kind, weighted)
    if not target.any():
        recall = compiled(m.PrecisionRecallCurve(7))(*map(jnp.asarray, (score, target, w))).recall
        assert np.isnan(recall).all()
        return
    precision, recall, thresholds = sk.precision_recall_curve(target, score, sample_weight=w)
    ours = m.PrecisionRecallCurve(thresholds - 1e-9)(*map(jnp.asarray, (score, target, w)))
    np.testing.assert_allclose(ours.recall, recall[:-1], rtol=1e-10, atol=1e-12)
    above = np.array([w[score >= t].sum() for t in thresholds]) > 0  # where nothing weighs, ours is 1
    np.testing.assert_allclose(ours.precision, np.where(above, precision[:-1], 1), rtol=1e-10)
    fpr, tpr, thresholds = sk.roc_curve(target, score, sample_weight=w, drop_intermediate=False)
    ours = m.RocCurve(thresholds[:0:-1] - 1e-9)(*map(jnp.asarray, (score, target, w)))
    np.testing.assert_allclose(ours.true_positive_rate, tpr[:0:-1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.false_positive_rate, fpr[:0:-1], rtol=1e-10, atol=1e-12)


def draw_probabilities(sure):
    random = np.random.default_rng(7)
    p = random.uniform(0.05, 1, (N, CLASSES))
    p = np.eye(CLASSES)[random.integers(0, CLASSES, N)] if sure else p / p.sum(-1, keepdims=True)
    return p, random.integers(0, CLASSES, N).astype(np.int32), random.uniform(0.5, 2, N)


@pytest.mark.parametrize("sure", [False, True], ids=["", "sure, and wrong"])
def test_probabilities_of_classes(sure):
    p, label, w = draw_probabilities(sure)
    onehot = np.eye(CLASSES)[label]
    loss = sk.log_loss(label, p, labels=range(CLASSES), sample_weight=w)
    brier = sk.brier_score_loss(label, p, labels=range(CLASSES), sample_weight=w)
    for target in (label, onehot):
        assert_equal(m.Mean(m.log_loss), (p, target, w), loss)
        assert_equal(m.Mean(m.brier_score), (p, target, w), brier)
    if not sure:
        assert_equal(m.Perplexity(), (np.log(p), label, w), np.exp(loss))
        assert_equal(m.Through(nn.softmax, m.log_loss), (np.log(p) + 7, label, w), loss)


@pytest.mark.parametrize("kind", ["random", "ties", "perfect", "upside down", "no positive", "no negative"])
def test_probabilities_of_yes(kind):
    p, target, w = draw_scores(kind, weighted=True)
    assert_equal(m.Mean(m.binary_log_loss), (p, target, w), sk.log_loss(target, p, labels=[0, 1], sample_weight=w))
    brier = sk.brier_score_loss(target, p, labels=[0, 1], sample_weight=w)
    assert_equal(m.Mean(m.binary_brier_score), (p, target, w), brier)


@pytest.mark.parametrize("kind", ["random", "ties", "all tied", "perfect", "upside down", "one positive"])
@pytest.mark.parametrize("bins", [1, 5])
def test_calibration_is_that_of_its_curve(kind, bins):
    p, target, _ = draw_scores(kind, weighted=False)
    true, confidence = calibration_curve(target, p, n_bins=bins)
    gap = np.abs(true - confidence)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p))
    share = counts[counts > 0] / N
    assert_equal(m.BinaryCalibrationError(bins), (p, target), share @ gap)
    assert_equal(m.BinaryCalibrationError(bins, norm="l2"), (p, target), np.sqrt(share @ gap**2))
    assert_equal(m.BinaryCalibrationError(bins, norm="max"), (p, target), gap.max())
    # The same examples as those of two classes: the confidence is the larger of p and 1 - p.
    sure, right = np.maximum(p, 1 - p), ((p > 0.5) == target).astype(float)
    true, confidence = calibration_curve(right, sure, n_bins=bins)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure))
    expected = counts[counts > 0] / N @ np.abs(true - confidence)
    assert_equal(m.CalibrationError(bins), (np.stack([1 - p, p], -1), target.astype(np.int32)), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k(k):
    random = np.random.default_rng(0)
    for scores in (random.normal(size=(N, CLASSES)), random.integers(0, 3, (N, CLASSES)).astype(float)):
        label = random.integers(0, CLASSES, N).astype(np.int32)
        # Of equals scikit-learn takes the last first, and ours the first: so it is asked from the other end.
        expected = sk.top_k_accuracy_score(CLASSES - 1 - label, scores[:, ::-1], k=k, labels=range(CLASSES))
        assert_equal(m.Mean(m.top_k_accuracy.bind(k=k)), (scores, label), expected)
    if k == 1:
        np.testing.assert_array_equal(m.top_k_accuracy(jnp.asarray(scores), jnp.asarray(label), k=1),
                                      m.accuracy(jnp.asarray(scores), jnp.asarray(label)))  # fmt: skip


def draw_numbers(kind):
    random = np.random.default_rng(1)
    target = random.normal(size=N)
    return {
        "random": (target + random.normal(size=N), target),
        "far from 0": (1e8 + target + random.normal(size=N) / 9, 1e8 + target),
        "right": (target, target),
        "off by one": (target + 1, target),
        "constant": (random.normal(size=N), np.full(N, 0.1)),
        "constant and right": (np.full(N, 0.1), np.full(N, 0.1)),
        "constant and off": (np.full(N, 0.6), np.full(N, 0.1)),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["random", "far from 0", "right", "off by one", "constant", "constant and right", "constant and off"],
)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_numbers(kind, weighted):
    prediction, target = draw_numbers(kind)
    w = np.random.default_rng(2).uniform(0.5, 2, N) if weighted else np.ones(N)
    arrays = prediction, target, w
    assert_equal(m.MeanSquaredError(), arrays, sk.mean_squared_error(target, prediction, sample_weight=w))
    assert_equal(m.RootMeanSquaredError(), arrays, sk.root_mean_squared_error(target, prediction, sample_weight=w))
    assert_equal(m.MeanAbsoluteError(), arrays, sk.mean_absolute_error(target, prediction, sample_weight=w))
    # Of a constant that it has not to the last bit, scikit-learn's mean is off: 1 and 0 are what is meant.
    flat = kind.startswith("constant")
    r2 = float(kind == "constant and right") if flat else sk.r2_score(target, prediction, sample_weight=w)
    explained = float(kind != "constant") if flat else sk.explained_variance_score(target, prediction, sample_weight=w)
    assert_equal(m.R2(), arrays, r2, 1e-7)
    assert_equal(m.ExplainedVariance(), arrays, explained, 1e-7)


def test_each_of_several_outputs_is_by_vmap():
    random = np.random.default_rng(0)
    target = random.normal(size=(N, 3))
    prediction = target + random.normal(size=(N, 3))
    each = jax.vmap(m.R2(), in_axes=-1)(jnp.asarray(prediction), jnp.asarray(target))
    np.testing.assert_allclose(each, sk.r2_score(target, prediction, multioutput="raw_values"), rtol=1e-10)


def test_merging_far_from_zero_loses_nothing():
    """In float32, where sums of squares would have no digit left of a variance of 1 around 10000."""
    random = np.random.default_rng(0)
    target = (10000 + random.normal(size=4096)).astype(np.float32)
    prediction = (target + random.normal(size=4096) / 2).astype(np.float32)
    with jax.enable_x64(False):
        for metric, function in ((m.R2(), sk.r2_score), (m.ExplainedVariance(), sk.explained_variance_score)):
            update = jax.jit(jax.vmap(metric.update, (None, 0, 0)))
            states = update(metric.init(), prediction.reshape(64, 64), target.reshape(64, 64))
            got = jax.jit(lambda states, metric=metric: metric.compute(metric.merged(states)))(states)
            expected = function(target.astype(float), prediction.astype(float))
            np.testing.assert_allclose(got, expected, rtol=1e-4)
