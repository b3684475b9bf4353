"""What once went wrong, silently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import metrics as m


def test_counts_go_on_beyond_2_to_the_24():
    """One by one, ones that are added to 2^24 in float32 would be lost."""
    precision = m.Precision(threshold=0.5)
    full = precision.init().at[1, 1].set(2.0**24)
    state = precision.update(full, jnp.ones(1024), jnp.ones(1024))
    assert state[1, 1] == 2.0**24 + 1024


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [([[1e7, 1], [1, 1]], 0.4999999), ([[1e7, 5], [5, 5]], 0.4999995), ([[5.0, 0.0], [3.0, 0.0]], 0)],
)
def test_matthews_correlation_of_a_rare_class_does_not_cancel(matrix, expected):
    np.testing.assert_allclose(m.MatthewsCorrelation(classes=2).compute(jnp.array(matrix)), expected, atol=1e-5)


def test_figures_of_whole_arrays_are_not_averaged():
    with pytest.raises(nn.ShapeError, match=r"figure of shape \(batch, ...\).*got a scalar\n  hint: .*Collected"):
        m.Mean(m.roc_auc)(jnp.array([0.1, 0.9]), jnp.array([0.0, 1.0]))


@pytest.mark.parametrize("op", [m.binary_log_loss, m.binary_brier_score], ids=repr)
def test_a_target_that_is_no_probability_gives_nan_where_it_cannot_be_refused(op):
    assert jnp.isnan(jax.jit(op)(jnp.array([0.9]), jnp.array([7.0]))).all()


def test_nan_is_never_right():
    assert m.binary_accuracy(jnp.array([-1.0]), jnp.array([jnp.nan])) == 0
    assert m.accuracy(jnp.array([[1.0, 0.0]]), jnp.array([[jnp.nan, 0.0]])) == 0


def test_numpy_integers_count(unannotated):
    assert m.ConfusionMatrix(classes=np.int64(3)).init().shape == (3, 3)


@pytest.mark.parametrize(("name", "answers", "labels"), [("answers", [0, 3], [0, 1]), ("labels", [0, 1], [0, -1])])
def test_integers_that_are_no_classes_are_refused_and_in_a_compiled_program_nan(name, answers, labels):
    metric, arrays = m.ConfusionMatrix(classes=3), (jnp.array(answers), jnp.array(labels))
    with pytest.raises(ValueError, match=rf"^expected {name} from 0 to 2, because classes=3; got {name} from "):
        metric(*arrays)
    with pytest.raises(ValueError, match=f"^expected {name} from 0 to 2"):
        metric.update(metric.init(), *arrays)
    assert np.isnan(jax.jit(metric.__call__)(*arrays)).all()
    assert np.isnan(jax.jit(m.BalancedAccuracy(classes=3).__call__)(*arrays))


FIGURES = {
    "accuracy": m.accuracy,
    "binary_accuracy": m.binary_accuracy,
    "log_loss": m.log_loss,
    "roc_auc": m.roc_auc,
    "mean": m.Mean(m.accuracy),
    "mean of a function": m.Mean(lambda prediction, target: prediction - target),
    "through": m.Through(nn.sigmoid, m.binary_brier_score),
    "through a metric": m.Through(nn.sigmoid, m.RocAuc(5)),
    "precision": m.Precision(threshold=0.5),
    "matrix": m.ConfusionMatrix(classes=2),
    "r2": m.R2(),
    "rmse": m.RootMeanSquaredError(),
    "collected": m.Collected(m.roc_auc, 4),
    "calibration": m.CalibrationError(),
    "perplexity": m.Perplexity(),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize(("prediction", "kind"), [([0.1, 0.9], "list"), (0.5, "float")])
def test_lists_and_numbers_of_python_are_refused_in_plain_words(figure, prediction, kind, unannotated):
    target = jnp.ones(np.shape(prediction))
    with pytest.raises(TypeError) as caught:
        figure(prediction, target)
    assert str(caught.value) == (
        f"expected prediction as an array, because its shape and dtype say what it is; got {kind}\n"
        "  hint: jnp.asarray(prediction)"
    )


def test_so_are_lists_of_targets_and_of_weights(unannotated):
    ones = jnp.ones(2)
    with pytest.raises(TypeError, match=r"^expected target as an array, .*; got list\n  hint: jnp.asarray\(target\)$"):
        m.R2()(ones, [1.0, 2.0])
    with pytest.raises(TypeError, match=r"^expected weight as an array, .*; got list"):
        m.R2()(ones, ones, [1.0, 2.0])


def test_arrays_of_numpy_count(unannotated):
    for figure in (m.R2(), m.Mean(m.binary_accuracy), m.Through(nn.sigmoid, m.RocAuc(5)), m.Precision(threshold=0.5)):
        prediction, target = np.array([0.25, 0.75], np.float32), np.array([0.0, 1.0], np.float32)
        assert figure(prediction, target) == figure(jnp.asarray(prediction), jnp.asarray(target))


def test_one_target_alone_is_explained_or_not():
    """As `R2` says; scikit-learn has NaN, with a warning."""
    assert m.R2()(jnp.array([3.0]), jnp.array([3.0])) == 1
    assert m.R2()(jnp.array([2.0]), jnp.array([3.0])) == 0
