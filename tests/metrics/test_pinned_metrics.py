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
