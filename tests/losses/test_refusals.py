"""What the losses of numbers, classes and distributions refuse, and what they say of it."""

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn
from jaxnn import losses

SAME_SHAPE = ["mse", "half_squared_error", "sse", "mae", "huber_loss", "log_cosh", "binary_cross_entropy",
              "weighted_binary_cross_entropy", "multilabel_cross_entropy", "sigmoid_focal_loss",
              "binary_cross_entropy_from_probabilities", "softmax_cross_entropy", "safe_softmax_cross_entropy",
              "poly_loss_cross_entropy", "kl_divergence", "kl_divergence_with_log_targets",
              "generalized_kl_divergence", "kl_divergence_from_probabilities", "jensen_shannon_divergence",
              "poisson_nll", "poisson_nll_from_log_rate", "gamma_nll", "gamma_nll_from_log_mean",
              "distillation"]  # fmt: skip


@pytest.mark.parametrize("name", SAME_SHAPE)
def test_a_column_against_a_row_is_refused(name):
    loss = getattr(losses, name)
    for road in (loss, loss.plain, loss.fwd, jax.jit(loss)):
        with pytest.raises(nn.ShapeError, match=r"one shape, \(4,\), because broadcasting .*; got prediction \(4, 1\)"):
            road(jnp.ones((4, 1)), jnp.ones(4))


@pytest.mark.parametrize("name", ["sparse_cross_entropy", "softmax_focal_loss", "cross_entropy_from_probabilities"])
def test_a_column_of_labels_is_refused(name):
    with pytest.raises(nn.ShapeError, match=r"expected integer labels of shape \(4,\), because logits are \(4, 3\)"):
        getattr(losses, name)(jnp.ones((4, 3)), jnp.zeros((4, 1), jnp.int32))


COLUMN, ROW, VECTORS = jnp.ones((4, 1)), jnp.ones(4), jnp.ones((4, 3))
BROADCAST = {
    "hinge_loss": (COLUMN, ROW),
    "squared_hinge_loss": (COLUMN, ROW),
    "perceptron_loss": (COLUMN, ROW),
    "sparsemax_loss": (COLUMN, ROW),
    "multiclass_hinge_loss": (VECTORS, jnp.zeros((4, 1), int)),
    "multiclass_perceptron_loss": (VECTORS, jnp.zeros((4, 1), int)),
    "multiclass_sparsemax_loss": (VECTORS, jnp.zeros((4, 1), int)),
    "categorical_hinge_loss": (VECTORS, jnp.ones((4, 1))),
    "cosine_similarity": (VECTORS, jnp.ones((1, 3))),
    "cosine_distance": (VECTORS, jnp.ones((1, 3))),
    "cosine_proximity": (VECTORS, jnp.ones((1, 3))),
    "triplet_margin_loss": (VECTORS, VECTORS, jnp.ones((1, 3))),
    "contrastive_loss": (VECTORS, VECTORS, jnp.ones((4, 1))),
    "ntxent": (VECTORS, jnp.ones((4, 1))),
    "dice_loss": (jnp.ones((4, 5, 3)), jnp.ones((4, 1, 3))),
    "binary_dice_loss": (jnp.ones((4, 5)), jnp.ones((4, 1))),
    "multiclass_generalized_dice_loss": (jnp.ones((4, 5, 3)), jnp.ones((4, 1, 3))),
    "ranking_softmax_loss": (VECTORS, jnp.ones((4, 1))),
    "ctc_loss": (jnp.ones((4, 5, 3)), jnp.zeros((4, 1)), jnp.ones((4, 2), int), jnp.zeros((4, 2))),
    "ctc_loss_with_forward_probs": (jnp.ones((4, 5, 3)), jnp.zeros((4, 5)), jnp.ones((4, 2), int), jnp.zeros((4, 1))),
    "gaussian_nll": (COLUMN, COLUMN, ROW),
    "gaussian_nll_from_log_variance": (jnp.ones((4, 2)), COLUMN),
    "cross_entropy": (VECTORS, jnp.ones((4, 1))),
    "softmax_cross_entropy_with_integer_labels": (VECTORS, jnp.zeros((4, 1), int)),
    "weighted_mean": (VECTORS, COLUMN),
}


@pytest.mark.parametrize("name", BROADCAST)
def test_arrays_that_would_broadcast_are_refused_on_every_road(name):
    loss = getattr(losses, name)
    for road in (loss, loss.plain, loss.fwd, jax.jit(loss)):
        with pytest.raises(nn.ShapeError, match=r"expected .*, because .*; got .*\("):
            road(*BROADCAST[name])


def test_every_loss_of_two_arrays_is_here():
    elsewhere = ("jaxnn.losses._detection", "jaxnn.losses._variational")  # tests of models
    named = {op.name for op in vars(losses).values() if isinstance(op, nn.Op) and op.__module__ not in elsewhere}
    labelled = {"sparse_cross_entropy", "softmax_focal_loss", "cross_entropy_from_probabilities"}
    of_weights = {"linear_cross_entropy"}  # test_linear_cross_entropy.py
    alone = {"l1_penalty", "l2_penalty", "elastic_net_penalty", "soft_threshold", "smooth_labels"}
    assert named <= {*SAME_SHAPE, *BROADCAST} | labelled | of_weights | alone


def test_a_loss_of_a_maximum_refuses_targets_that_would_broadcast():
    loss = losses.make_fenchel_young_loss(jax.nn.logsumexp)
    with pytest.raises(nn.ShapeError, match=r"one shape, \(4, 1\), because broadcasting"):
        loss(VECTORS, COLUMN)


Z, LABELS, HALF = jnp.ones((4, 3)), jnp.zeros(4, jnp.int32), jnp.full(4, 0.5)
REFUSED = [
    (lambda: losses.huber_loss(HALF, HALF, delta=0.0), "expected delta above 0, because .*; got 0.0"),
    (lambda: losses.binary_cross_entropy(HALF, 3 * HALF), "expected targets from 0 to 1, .*; got targets from 1.5"),
    (lambda: losses.binary_cross_entropy_from_probabilities(3 * HALF, HALF), "expected probabilities from 0 to 1"),
    (lambda: losses.binary_cross_entropy_from_probabilities(HALF, HALF, epsilon=0.0), "expected epsilon above 0"),
    (lambda: losses.cross_entropy_from_probabilities(-Z, LABELS), "expected probabilities from 0 to 1"),
    (lambda: losses.weighted_binary_cross_entropy(Z, Z, positive_weight=jnp.ones(2)),
     r"expected positive_weight to be one number or of shape \(3,\)"),
    (lambda: losses.sigmoid_focal_loss(HALF, HALF, gamma=-1.0), "expected gamma of at least 0, .*; got gamma from -1"),
    (lambda: losses.softmax_focal_loss(Z, LABELS, gamma=-1.0), "expected gamma of at least 0"),
    (lambda: losses.softmax_focal_loss(Z, LABELS, class_weights=jnp.ones(4)), r"class weights of shape \(3,\)"),
    (lambda: losses.sparse_cross_entropy(Z, LABELS, class_weights=jnp.ones(4)), r"class weights of shape \(3,\)"),
    (lambda: losses.sparse_cross_entropy(Z, LABELS, smoothing=1.5), "expected smoothing from 0 to 1"),
    (lambda: losses.sparse_cross_entropy(Z, LABELS - 100), "expected labels from 0 to 2, .*; got labels from -100"),
    (lambda: losses.sparse_cross_entropy(Z, LABELS - 1, ignore=-100), "expected labels from 0 to 2, .*; got labels"),
    (lambda: losses.smooth_labels(HALF, 1.5), "expected alpha from 0 to 1"),
    (lambda: losses.softmax_cross_entropy(Z, Z, axis=2), r"expected axes from -2 to 1, .*; got 2"),
    (lambda: losses.softmax_cross_entropy(Z, Z, where=jnp.ones(3, bool)), r"where of shape \(4, 3\) or \(4,\)"),
    (lambda: losses.kl_divergence_from_probabilities(-Z, Z), "expected predictions of at least 0"),
    (lambda: losses.poisson_nll(-HALF, HALF), "expected rates of at least 0"),
    (lambda: losses.poisson_nll_from_log_rate(HALF, -HALF), "expected targets of at least 0"),
    (lambda: losses.gamma_nll(0 * HALF, HALF), "expected means above 0"),
    (lambda: losses.gamma_nll_from_log_mean(HALF, -HALF), "expected targets of at least 0"),
    (lambda: losses.gaussian_nll(HALF, HALF, -HALF), "expected variances of at least 0"),
    (lambda: losses.gaussian_nll(HALF, HALF, HALF, floor=0.0), "expected floor above 0"),
    (lambda: losses.gaussian_nll(HALF, HALF, HALF[:1]), r"one shape, \(4,\)"),
    (lambda: losses.gaussian_nll_from_log_variance(HALF, HALF), r"predictions of shape \(4, 2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_values_and_shapes_that_cannot_be_meant_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integer_labels_are_not_smoothed_as_rows(unannotated):
    with pytest.raises(TypeError, match=r"expected one-hot rows of floats, .*; got int32\n.*sparse_cross_entropy"):
        losses.smooth_labels(LABELS, 0.1)


def test_a_label_counts_along_an_axis(unannotated):
    with pytest.raises(TypeError, match=r"expected axis to be an integer or a tuple, .*; got None"):
        losses.softmax_cross_entropy_with_integer_labels(Z, LABELS, axis=None)


def test_what_is_out_of_range_in_a_compiled_program_is_nan():
    labels = jnp.array([0, 3, -1, 2])
    for loss in (losses.sparse_cross_entropy, losses.softmax_focal_loss):
        assert jnp.isnan(jax.jit(loss)(Z, labels)).tolist() == [False, True, True, False]
    rows = jax.jit(losses.cross_entropy_from_probabilities)(Z / 3, labels)
    assert jnp.isnan(rows).tolist() == [False, True, True, False]
    assert jnp.isnan(losses.label_weights(labels, class_weights=jnp.ones(3))).tolist() == [False, True, True, False]


def test_an_example_that_does_not_count_may_have_any_label():
    labels, counts = jnp.array([0, -1, 7, 2]), jnp.array([True, False, False, True])
    l = losses.softmax_cross_entropy_with_integer_labels(Z, labels, where=counts)
    assert (l == 0).tolist() == [False, True, True, False]
    l = losses.sparse_cross_entropy(Z, jnp.array([0, -1, -1, 2]), ignore=-1)
    assert (l == 0).tolist() == [False, True, True, False]
