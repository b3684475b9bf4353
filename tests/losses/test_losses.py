"""Losses where they could go wrong quietly: small integers, padding, low precision, shapes that would broadcast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import losses


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int16, jnp.int32])
@pytest.mark.parametrize("classes", [100, 256, 300])
def test_labels_of_any_integer_type_choose_the_same_class(dtype, classes):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, classes)), jnp.float32)
    labels = jnp.array([0, 1, 50, 99], dtype)
    expected = losses.cross_entropy(logits, labels.astype(jnp.int32))
    np.testing.assert_array_equal(jax.jit(losses.cross_entropy)(logits, labels), expected)
    np.testing.assert_array_equal(
        jax.grad(lambda z: losses.cross_entropy(z, labels).sum())(logits),
        jax.grad(lambda z: losses.cross_entropy(z, labels.astype(jnp.int32)).sum())(logits),
    )


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused_or_nan(label):
    """JAX alone would clamp the index and return the loss of another class."""
    logits, labels = jnp.zeros((2, 3)), jnp.array([0, label])
    with pytest.raises(ValueError, match=r"expected labels from 0 to 2, because logits are \(2, 3\)"):
        losses.cross_entropy(logits, labels)
    assert jnp.isnan(jax.jit(losses.cross_entropy)(logits, labels)).tolist() == [False, True]


def test_what_weighs_nothing_counts_for_nothing():
    """Padded tokens may have a label of -1 and a loss of NaN."""
    values, w = jnp.array([1.0, jnp.nan, 3.0, jnp.inf]), jnp.array([1.0, 0.0, 1.0, 0.0])
    assert losses.weighted_mean(values, w) == 2.0
    mean, residuals = losses.weighted_mean.fwd(values, w)
    assert mean == 2.0
    np.testing.assert_array_equal(losses.weighted_mean.bwd(residuals, jnp.float32(1.0))[0], [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(jax.grad(losses.weighted_mean)(values, w), [0.5, 0, 0.5, 0])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_mean_of_many_in_low_precision_is_taken_in_float32(dtype):
    values = jnp.full(70_000, 0.5, dtype)
    mean, residuals = losses.weighted_mean.fwd(values, jnp.ones(70_000, dtype))
    assert mean.dtype == dtype
    assert mean == 0.5
    (d, _) = losses.weighted_mean.bwd(residuals, jnp.ones((), dtype))
    np.testing.assert_allclose(d.astype(jnp.float32)[0], 1 / 70_000, rtol=1e-2)


SHAPES = {
    "mse": (losses.mse, jnp.zeros((4, 1)), jnp.zeros(4)),
    "mse, the other way": (losses.mse, jnp.zeros(4), jnp.zeros((4, 1))),
    "binary_cross_entropy": (losses.binary_cross_entropy, jnp.zeros((4, 1)), jnp.zeros(4)),
    "cross_entropy, column of labels": (losses.cross_entropy, jnp.zeros((4, 3)), jnp.zeros((4, 1), jnp.int32)),
    "cross_entropy, column of logits": (losses.cross_entropy, jnp.zeros((4, 1)), jnp.zeros((4, 1), jnp.int32)),
    "cross_entropy, one-hot": (losses.cross_entropy, jnp.zeros((4, 3)), jnp.zeros((4, 1))),
}


@pytest.mark.parametrize(("loss", "prediction", "target"), SHAPES.values(), ids=SHAPES)
def test_shapes_that_would_broadcast_are_refused(loss, prediction, target):
    for road in (loss, loss.plain, loss.fwd, jax.jit(loss)):
        with pytest.raises(nn.ShapeError, match=r"because .*; got .*4"):
            road(prediction, target)


def test_the_hint_for_a_column_is_to_drop_it():
    with pytest.raises(nn.ShapeError, match=r"got prediction \(4, 1\), target \(4,\)\n  hint: drop the last axis"):
        losses.mse(jnp.zeros((4, 1)), jnp.zeros(4))


def test_targets_of_binary_cross_entropy_are_probabilities():
    with pytest.raises(ValueError, match=r"expected targets from 0 to 1, .*; got targets from -1.0 to 1.0"):
        losses.binary_cross_entropy(jnp.zeros(2), jnp.array([-1.0, 1.0]))


@pytest.mark.parametrize("w", [jnp.ones(3), jnp.ones((4, 1)), jnp.ones(())])
def test_weights_are_a_prefix_of_the_losses_shape(w):
    with pytest.raises(nn.ShapeError, match=r"expected weights of shape \(4,\), or any longer prefix of \(4, 2\)"):
        losses.weighted_mean(jnp.ones((4, 2)), w)


def test_a_loss_that_is_a_mean_already_is_refused():
    with pytest.raises(nn.ShapeError, match=r"got a scalar\n  hint: return the loss of each example"):
        losses.weighted_mean(jnp.float32(1.0))


def test_extreme_logits_are_finite():
    z = jnp.array([[1e4, -1e4, 0.0]])
    np.testing.assert_array_equal(losses.cross_entropy(z, jnp.array([1])), [2e4])
    np.testing.assert_array_equal(losses.binary_cross_entropy(z[0, :2], jnp.array([0.0, 1.0])), [1e4, 1e4])
    for road in (lambda z: losses.cross_entropy(z, jnp.array([1])).sum(),):
        assert jnp.isfinite(jax.grad(road)(z)).all()
