"""Accuracy: against NumPy, with ties, and for integer and one-hot targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.metrics import accuracy, binary_accuracy, top_k_accuracy


@pytest.fixture(params=[(4, 7), ()], ids=["batch and time", "one example"])
def example(request):
    """Logits, labels, and which of them are right by NumPy's account."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(*request.param, 5)).astype(np.float32)
    labels = random.integers(0, 5, request.param).astype(np.int32)
    return jnp.asarray(logits), jnp.asarray(labels), (np.argmax(logits, -1) == labels).astype(np.float32)


def test_integer_targets_are_judged_as_by_numpy(example):
    logits, labels, right = example
    np.testing.assert_array_equal(accuracy(logits, labels), right)


def test_one_hot_targets_are_judged_as_integer_ones(example):
    logits, labels, right = example
    np.testing.assert_array_equal(accuracy(logits, jax.nn.one_hot(labels, 5)), right)


def test_probabilities_are_judged_as_their_logits(example):
    logits, labels, right = example
    np.testing.assert_array_equal(accuracy(jax.nn.softmax(logits), labels), right)


def test_compiled_it_is_the_same(example):
    logits, labels, right = example
    np.testing.assert_array_equal(jax.jit(accuracy)(logits, labels), right)


def test_the_first_of_equals_counts():
    tied = jnp.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    np.testing.assert_array_equal(accuracy(tied, jnp.array([0, 1])), [1, 1])
    np.testing.assert_array_equal(accuracy(tied, jnp.array([1, 2])), [0, 0])


@pytest.mark.parametrize(
    ("prediction", "target"), [(jnp.float32, jnp.uint8), (jnp.bfloat16, jnp.int32), (jnp.float64, jnp.int64)]
)
def test_it_is_float32_at_least_whatever_integers_label(prediction, target, x64):
    right = accuracy(jnp.eye(3, dtype=prediction), jnp.array([0, 1, 0], target))
    assert right.dtype == (jnp.float64 if prediction == jnp.float64 else jnp.float32)
    np.testing.assert_array_equal(right.astype(jnp.float32), [1, 1, 0])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (jnp.zeros((3, 1), jnp.int32), r"expected integer labels of shape \(3,\), .*; got \(3, 1\)"),
        (jnp.zeros(2, jnp.int32), r"expected integer labels of shape \(3,\), .*; got \(2,\)"),
        (jnp.zeros((3, 4)), r"expected prediction and target of one shape, \(3, 4\), .*; got prediction \(3, 5\)"),
        (jnp.zeros(3), r"or integer labels of shape \(3,\), .*; got float32 of shape \(3,\)\n.*y.astype\(int\)"),
        (
            jnp.zeros((3, 5), jnp.int32),
            r"expected integer labels of .*; got \(3, 5\)\n  hint: one-hot rows are floating",
        ),
    ],
    ids=["column of labels", "too few labels", "too few classes", "float labels", "integer rows"],
)
def test_a_target_of_another_shape_is_refused(target, message):
    with pytest.raises(nn.ShapeError, match=message):
        accuracy(jnp.zeros((3, 5)), target)


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_out_of_range_is_refused(label):
    with pytest.raises(ValueError, match="expected labels from 0 to 4"):
        accuracy(jnp.zeros((2, 5)), jnp.array([0, label]))


def test_evaluate_takes_its_weighted_mean(key):
    trainer = nn.trainer(nn.serial(), nn.losses.cross_entropy, nn.sgd(0.1))
    data = nn.Data(jnp.eye(3), jnp.array([0, 1, 0]), jnp.array([1.0, 2.0, 5.0]))
    assert float(nn.evaluate(trainer, trainer.init(key, data.x), data, accuracy)) == pytest.approx(3 / 8)


def test_an_answer_that_is_nan_is_never_right():
    right = accuracy(jnp.array([[jnp.nan, 0.0], [1.0, 0.0]]), jnp.array([0, 0]))
    np.testing.assert_array_equal(right, [0, 1])
    np.testing.assert_array_equal(binary_accuracy(jnp.array([jnp.nan, 1.0]), jnp.array([0.0, 1.0])), [0, 1])


def test_one_class_is_no_choice():
    with pytest.raises(nn.ShapeError, match=r"two classes or more.*\n  hint: .* binary_accuracy"):
        accuracy(jnp.zeros((4, 1)), jnp.zeros((4, 1)))


def test_binary_accuracy_counts_signs():
    logits, target = jnp.array([[2.0], [-1.0], [0.5], [-0.5]]), jnp.array([[1.0], [1.0], [0.0], [0.0]])
    np.testing.assert_array_equal(binary_accuracy(logits, target), [[1], [0], [0], [1]])
    with pytest.raises(nn.ShapeError, match="prediction and target of one shape"):
        binary_accuracy(logits, target[:, 0])


def test_top_k_of_a_label_that_is_out_of_range_or_of_nan_is_never_right():
    logits = jnp.array([[0.1, 0.7, 0.2], [0.1, jnp.nan, 0.2], [0.1, 0.7, 0.2]])
    right = jax.jit(lambda p, t: top_k_accuracy(p, t, k=3))(logits, jnp.array([2, 2, 3]))
    np.testing.assert_array_equal(right, [1, 0, 0])
    np.testing.assert_array_equal(top_k_accuracy(logits[:1], jnp.array([0]), k=2), [0])
    np.testing.assert_array_equal(top_k_accuracy(logits[:1], jnp.array([0])), [1])  # of five answers there are three


@pytest.mark.parametrize("extreme", [1e4, jnp.inf])
def test_top_k_of_extreme_logits_is_their_order(extreme):
    logits = jnp.array([[extreme, -extreme, 0.0]])
    for label, least in ((0, 1), (2, 2), (1, 3)):
        right = [top_k_accuracy(logits, jnp.array([label]), k=k)[0] for k in (1, 2, 3)]
        np.testing.assert_array_equal(right, [k >= least for k in (1, 2, 3)])


def test_top_of_none_is_refused():
    with pytest.raises(ValueError, match="expected k of at least 1, because it counts answers; got 0"):
        top_k_accuracy(jnp.zeros((2, 3)), jnp.array([0, 1]), k=0)
