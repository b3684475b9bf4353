"""What once went wrong at extremes, and what was taken silently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import losses as L


def test_what_is_masked_in_log_softmax_has_no_part_in_any_derivative():
    x, where = jnp.array([1.0, 2.0, 3.0]), jnp.array([True, True, False])
    d = jax.grad(lambda x: nn.log_softmax(x, where=where).sum())(x)
    _, residuals = nn.log_softmax.fwd(x, where=where)
    by_hand = nn.log_softmax.bwd(residuals, jnp.ones(3), where=where)[0]
    np.testing.assert_allclose(d, jax.grad(lambda x: jax.nn.log_softmax(x, where=where).sum())(x), atol=1e-6)
    np.testing.assert_allclose(by_hand, d, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "prediction", "target", "value", "slope"),
    [
        (L.gaussian_nll_from_log_variance, [[1.0, -1e4]], [1.0], -5000, [[0, 0.5]]),
        (L.gamma_nll_from_log_mean, [-1e4], [0.0], -1e4, [1]),
    ],
)
def test_zero_times_an_overflow_is_zero(loss, prediction, target, value, slope):
    prediction, target = jnp.array(prediction), jnp.array(target)
    got, residuals = loss.fwd(prediction, target)
    assert got == value
    np.testing.assert_array_equal(loss.bwd(residuals, jnp.ones(1))[0], jnp.array(slope, jnp.float32))
    np.testing.assert_array_equal(jax.grad(lambda p: loss.plain(p, target).sum())(prediction), slope)


def test_small_probabilities_in_float16_have_finite_derivatives():
    p, one = jnp.array([[0.9, 0.1, 1e-5]], jnp.float16), jnp.ones(1, jnp.float16)
    loss = L.cross_entropy_from_probabilities
    assert jnp.isfinite(loss.bwd(loss.fwd(p, jnp.array([0]))[1], one)[0]).all()


def test_l1_has_slope_0_at_0_on_every_road():
    np.testing.assert_array_equal(jax.grad(lambda w: L.l1_penalty(w, strength=0.1))(jnp.zeros(2)), [0, 0])


@pytest.mark.parametrize("loss", [L.softmax_cross_entropy_with_integer_labels, L.multiclass_hinge_loss], ids=repr)
def test_float_labels_are_not_cut_to_integers(loss, unannotated):
    with pytest.raises(TypeError, match=r"expected integer labels, because they count classes; got float32\n  hint"):
        loss(jnp.eye(3)[:2], jnp.array([0.9, 1.7]))


def test_a_penalty_that_is_none_is_refused(unannotated):
    with pytest.raises(TypeError, match=r"expected a Penalty, .*got 0\.1\n  hint: with_penalty"):
        nn.with_penalty(nn.by_hand, 0.1)


def test_arrays_by_name_are_told_to_come_by_position(unannotated):
    with pytest.raises(TypeError, match=r"arrays of softmax_cross_entropy by position, .*got logits, labels"):
        L.softmax_cross_entropy(logits=jnp.ones((1, 2)), labels=jnp.ones((1, 2)))
