"""Where libraries differ, each convention by a number: optax's is ours, Keras's and PyTorch's stand beside it.

More of them stand where the loss is compared: the arguments of KL and its means, clipped probabilities, the mean that
divides by weights, and what PyTorch adds, in test_oracles_of_losses.py and test_equal_to_optax.py.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import losses as L

X = jnp.array([[2.0, 1.0, 0.5], [-1.0, 0.5, 3.0]])
T = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
LABELS = jnp.array([0, 2])


@pytest.mark.parametrize(
    "loss", [L.squared_error, L.l2_loss, L.huber_loss, L.log_cosh, L.binary_cross_entropy], ids=repr
)
def test_losses_of_numbers_are_of_each_element(loss):
    """Keras takes the mean over the last axis, PyTorch over all; ours is left to the trainer."""
    assert loss(X, T).shape == (2, 3)


@pytest.mark.parametrize("loss", [L.softmax_cross_entropy, L.kl_divergence, L.cosine_distance], ids=repr)
def test_losses_of_classes_distributions_and_directions_sum_over_the_last_axis(loss):
    assert loss(X, T).shape == (2,)


def test_squared_error_has_no_half_and_l2_loss_has():
    np.testing.assert_allclose(L.squared_error(jnp.array([3.0])), [9.0])
    np.testing.assert_allclose(L.l2_loss(jnp.array([3.0])), [4.5])


def test_delta_of_huber_is_1_and_by_keyword_only():
    delta = inspect.signature(L.huber_loss).parameters["delta"]
    assert (delta.kind, delta.default) == (delta.KEYWORD_ONLY, 1.0)
    assert L.huber_loss(jnp.array(2.0)) == 1.5
    with pytest.raises(TypeError):
        L.huber_loss(X, T, 2.0)


def test_smooth_l1_of_pytorch_is_huber_divided_by_its_beta():
    beta, e = 0.5, jnp.array([0.25, 2.0])
    smooth_l1 = jnp.where(jnp.abs(e) < beta, 0.5 * e**2 / beta, jnp.abs(e) - 0.5 * beta)
    np.testing.assert_allclose(L.huber_loss(e, delta=beta) / beta, smooth_l1)


def test_kl_divergence_takes_the_prediction_first_as_a_logarithm():
    p, t = jnp.array([0.9, 0.1]), jnp.array([0.5, 0.5])
    np.testing.assert_allclose(L.kl_divergence(jnp.log(p), t), (t * jnp.log(t / p)).sum(), rtol=1e-6)
    np.testing.assert_allclose(L.kl_divergence_from_probabilities(p, t), 0.5108256, rtol=1e-6)  # Keras: (t, p)
    more = L.generalized_kl_divergence(jnp.log(2 * p), t) - L.kl_divergence(jnp.log(2 * p), t)
    np.testing.assert_allclose(more, (2 * p - t).sum(), rtol=1e-5)


def test_cross_entropy_starts_from_logits_and_from_probabilities_by_another_name():
    p = jnp.array([0.9])
    from_logits = L.binary_cross_entropy(jnp.log(p / (1 - p)), jnp.ones(1))
    np.testing.assert_allclose(from_logits, L.binary_cross_entropy_from_probabilities(p, jnp.ones(1)), rtol=1e-6)
    assert L.binary_cross_entropy(p, jnp.ones(1)) > 3 * from_logits  # a probability taken for a logit


def test_no_label_is_ignored_unless_it_is_said():
    """PyTorch ignores -100, optax none."""
    with pytest.raises(ValueError, match=r"expected labels from 0 to 2, .*from -100"):
        L.sparse_cross_entropy(X, jnp.array([0, -100]))
    assert L.sparse_cross_entropy(X, jnp.array([0, -100]), ignore=-100)[1] == 0


def test_targets_of_hinge_are_signs_and_keras_maps_0_to_minus_1():
    s, yes = jnp.array([0.3, 0.3]), jnp.array([0, 1])
    keras = jnp.maximum(0, 1 - (2 * yes - 1).astype(s.dtype) * s)
    np.testing.assert_allclose(L.hinge_loss(s, 2 * yes - 1), keras)
    with pytest.raises(ValueError, match="expected targets of -1 and 1"):
        L.hinge_loss(s, yes)


def test_the_three_hinges_of_many_classes():
    """Crammer and Singer's, Keras's, in whose maximum the true class is 0, and PyTorch's, a sum over K."""
    below, label = jnp.array([[0.5, -1.0, -2.0]]), jnp.array([0])
    assert L.multiclass_hinge_loss(below, label).item() == 0.0
    assert L.categorical_hinge_loss(below, label).item() == 0.5
    near, one = jnp.array([[2.0, 1.5, 1.8]]), jnp.array([0])
    multi_margin = (0.5 + 0.8) / 3
    np.testing.assert_allclose(L.multiclass_hinge_loss(near, one), [0.8], rtol=1e-6)
    assert abs(multi_margin - 0.8) > 0.3


def test_the_epsilon_of_cosine_floors_the_squared_norm_and_keras_turns_the_sign():
    p, t = jnp.array([[0.1, 0.0]]), jnp.array([[1.0, 0.0]])
    np.testing.assert_allclose(L.cosine_similarity(p, t), [1.0], rtol=1e-6)
    np.testing.assert_allclose(L.cosine_similarity(p, t, epsilon=0.04), [0.5], rtol=1e-6)  # 0.1 / sqrt(0.04)
    np.testing.assert_allclose(L.cosine_distance(p, t, epsilon=0.04), [0.5], rtol=1e-6)
    np.testing.assert_allclose(L.cosine_proximity(p, t), [-1.0], rtol=1e-6)
    assert inspect.signature(L.cosine_similarity).parameters["epsilon"].default == 0
    assert jnp.isnan(L.cosine_similarity(jnp.zeros((1, 2)), t)).all()


def test_poisson_has_no_epsilon_and_a_name_for_each_kind_of_input():
    """Keras adds 1e-7 to the rate in the logarithm; PyTorch takes a logarithm unless it is told otherwise."""
    r, y = jnp.array([0.5]), jnp.array([2.0])
    np.testing.assert_allclose(L.poisson_nll(r, y), r - y * jnp.log(r), rtol=1e-6)
    np.testing.assert_allclose(L.poisson_nll_from_log_rate(jnp.log(r), y), L.poisson_nll(r, y), rtol=1e-6)
    assert jnp.isinf(L.poisson_nll(jnp.zeros(1), y)).all()
    # Half of scikit-learn's deviance, less what the best rate would give.
    deviance = 2 * (y * jnp.log(y / r) - y + r)
    np.testing.assert_allclose(L.poisson_nll(r, y) - L.poisson_nll(y, y), deviance / 2, rtol=1e-5)


def test_smoothing_shares_among_all_classes_and_of_two_labels_keras_gives_half_to_each():
    np.testing.assert_allclose(L.smooth_labels(T, 0.3)[0], [0.8, 0.1, 0.1], rtol=1e-6)  # (1 - a) t + a / K
    np.testing.assert_allclose(L.sparse_cross_entropy(X, LABELS, smoothing=0.3),
                               L.softmax_cross_entropy(X, L.smooth_labels(T, 0.3)), rtol=1e-6)  # fmt: skip
    keras = lambda y: y * (1 - 0.3) + 0.3 / 2  # of yes and no; ours for two classes is the same
    two = L.smooth_labels(jnp.array([1.0, 0.0]), 0.3)
    np.testing.assert_allclose(two, [keras(1), keras(0)], rtol=1e-6)
    with pytest.raises(TypeError):
        L.smooth_labels(T)  # alpha is required
    assert inspect.signature(L.sparse_cross_entropy).parameters["smoothing"].default == 0


def test_focal_loss_has_gamma_2_and_weighs_no_class_unless_it_is_said():
    """Keras's alpha is 0.25."""
    z, t = jnp.array([0.5]), jnp.ones(1)
    defaults = inspect.signature(L.sigmoid_focal_loss).parameters
    assert (defaults["gamma"].default, defaults["alpha"].default) == (2.0, None)
    np.testing.assert_allclose(L.sigmoid_focal_loss(z, t, alpha=0.25), L.sigmoid_focal_loss(z, t) / 4, rtol=1e-6)
    p = jax.nn.sigmoid(z)
    np.testing.assert_allclose(L.sigmoid_focal_loss(z, t), -((1 - p) ** 2) * jnp.log(p), rtol=1e-6)


def test_a_logit_of_minus_infinity_is_safe_by_name():
    z, t = jnp.array([[0.0, -jnp.inf]]), jnp.array([[1.0, 0.0]])
    assert jnp.isnan(L.softmax_cross_entropy(z, t)).all()
    assert L.safe_softmax_cross_entropy(z, t) == 0


def test_dice_of_probabilities_is_compiled_where_optax_s_is_not():
    p, t = jnp.full((1, 4, 2), 0.5), jnp.array([[[1.0, 0.0]] * 4])
    ours = jax.jit(lambda p: L.dice_loss(p, t, apply_softmax=False))(p)
    np.testing.assert_allclose(ours, optax.losses.dice_loss(p, t, apply_softmax=False), rtol=1e-6)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(lambda p: optax.losses.dice_loss(p, t, apply_softmax=False))(p)
