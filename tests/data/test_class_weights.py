"""Weights of classes: what they are, and what a loss over them is, against scikit-learn and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import jaxnn as nn
from jaxnn.data import class_weighted, class_weights

LABELS = np.array([0] * 6 + [1] * 3 + [3], np.int32)  # none of class 2


def data(y, w=None):
    return nn.Data(np.zeros((len(y), 1), np.float32), y, w)


def onehot(y, classes):
    return np.eye(classes, dtype=np.float32)[y]


def test_IMB_3_balanced_weights_of_90_and_10():
    y = np.repeat(np.array([0, 1], np.int32), [90, 10])
    np.testing.assert_allclose(class_weights(y, 2), [0.5556, 5.0], atol=5e-5)
    assert class_weighted(data(y)).w.mean() == pytest.approx(1, rel=1e-6)


def test_balanced_weights_are_those_of_scikit_learn_and_a_class_without_examples_has_0(x64):
    seen = np.unique(LABELS)
    expected = np.zeros(4)
    expected[seen] = compute_class_weight("balanced", classes=seen, y=LABELS)
    np.testing.assert_allclose(class_weights(LABELS, 4), expected, rtol=1e-12)
    np.testing.assert_allclose(class_weights(onehot(LABELS, 4), 4), expected, rtol=1e-12)
    assert class_weighted(data(LABELS)).w.mean() == pytest.approx(1, rel=1e-12)
    np.testing.assert_array_equal(class_weights(LABELS[:0], 2), [0, 0])


def test_balanced_weights_of_weighed_examples_are_those_of_as_many_examples(x64):
    times = np.array([2, 1, 1, 3, 0, 1, 1, 4, 1, 2])
    np.testing.assert_allclose(
        class_weights(LABELS, 4, w=times), class_weights(np.repeat(LABELS, times), 4), rtol=1e-12
    )
    np.testing.assert_allclose(
        class_weights(onehot(LABELS, 4), 4, w=times), class_weights(np.repeat(LABELS, times), 4), rtol=1e-12
    )


def test_what_weighs_nothing_is_not_counted_and_may_have_any_label():
    y, w = np.array([[0, 1, -1], [0, 0, -1]], np.int32), np.array([[1, 1, 0], [1, 1, 0]], np.float32)
    got = class_weighted(data(y, w), classes=2).w
    np.testing.assert_allclose(got, [[2 / 3, 2, 0], [2 / 3, 2 / 3, 0]], rtol=1e-6)
    compiled = jax.jit(lambda y, w: class_weighted(data(y, w), classes=2).w)
    np.testing.assert_array_equal(compiled(y, w), got)
    # In a compiled program, labels that weigh something and are none cannot be refused.
    np.testing.assert_array_equal(np.isnan(compiled(y, np.ones_like(w))), [[0, 0, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"expected labels from 0 to 1, because .*; got labels from -1 to 1\n  hint: "):
        class_weighted(data(y), classes=2)


FOUR = np.array([0.5, 2.0, 7.0, 3.0])
WEIGHTS = {"array": FOUR, "list": [0.5, 2.0, 7.0, 3.0], "dict": {0: 0.5, np.int64(1): 2.0, 2: 7.0, 3: 3}}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_each_example_gets_the_weight_of_its_class_times_its_own(weights):
    own = np.arange(10, dtype=np.float32)
    for y in (LABELS, onehot(LABELS, 4), LABELS.astype(np.uint8)):
        np.testing.assert_allclose(class_weighted(data(y), weights).w, FOUR[LABELS], rtol=1e-6)
        weighed = class_weighted(data(y, own), weights)
        np.testing.assert_allclose(weighed.w, own * FOUR[LABELS], rtol=1e-6)
        assert weighed.w.dtype == np.float32
    assert class_weighted(data(LABELS, own.astype(int)), weights).w.dtype == np.float32
    tokens = np.stack([LABELS, LABELS[::-1]])
    np.testing.assert_allclose(class_weighted(data(tokens), weights).w, FOUR[tokens], rtol=1e-6)
    own = np.array([0.0, 2.0], np.float32)
    np.testing.assert_allclose(class_weighted(data(tokens, own), weights).w, own[:, None] * FOUR[tokens], rtol=1e-6)


def test_a_dict_leaves_1_to_the_others():
    np.testing.assert_array_equal(class_weighted(data(LABELS), {1: 5.0}).w, [1] * 6 + [5] * 3 + [1])
    np.testing.assert_array_equal(class_weights(LABELS, 6, {5: 2.0}), [1, 1, 1, 1, 1, 2])
    assert class_weighted(data(LABELS), {5: 2.0}).w.sum() == 10  # a class that these data have no example of


def test_rows_of_probabilities_count_for_several_classes_in_part(x64):
    mixed = np.array([[0.75, 0.25], [1.0, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(class_weights(mixed, 2), [3 / (2 * 2), 3 / (2 * 1)])
    np.testing.assert_allclose(class_weighted(data(mixed), [1.0, 5.0]).w, [2, 1, 4])


def test_weights_of_1_give_the_loss_without_weights(key):
    weighed = class_weighted(data(LABELS), [1.0] * 4)
    np.testing.assert_array_equal(weighed.w, np.ones(10))


def test_in_a_compiled_program_it_is_the_same_and_weights_may_be_swept(x64):
    compiled = jax.jit(lambda y: class_weighted(data(y), classes=4).w)
    np.testing.assert_allclose(compiled(LABELS), class_weighted(data(LABELS)).w, rtol=1e-12)
    swept = jax.jit(jax.vmap(lambda weight: class_weighted(data(LABELS), {3: weight}, 4).w))(jnp.array([1.0, 4.0]))
    np.testing.assert_allclose(swept, [[1] * 10, [1] * 9 + [4]])
    slope = jax.jit(jax.grad(lambda each: (class_weighted(data(LABELS), each).w * np.arange(10.0)).sum()))(jnp.ones(4))
    np.testing.assert_allclose(slope, [15, 21, 0, 9])  # sums of the indices of each class


LOGITS = np.random.default_rng(0).normal(size=(10, 4))


@pytest.mark.oracle
@pytest.mark.parametrize("road", [nn.by_hand, nn.by_autodiff])
@pytest.mark.parametrize("tokens", [False, True], ids=["examples", "tokens"])
def test_the_loss_and_its_gradient_are_those_of_pytorch(road, tokens, x64):
    torch = pytest.importorskip("torch")
    z, y = (LOGITS.reshape(5, 2, 4), LABELS.reshape(5, 2)) if tokens else (LOGITS, LABELS)
    weights = torch.from_numpy(FOUR).requires_grad_(False)
    theirs = torch.from_numpy(z).requires_grad_(True)
    by_class = theirs.movedim(-1, 1)  # where PyTorch has the classes
    loss = torch.nn.CrossEntropyLoss(weight=weights)(by_class, torch.from_numpy(y).long())
    loss.backward()

    params = {"b": jnp.asarray(z)}
    batch = class_weighted(nn.Data(jnp.zeros(z.shape), jnp.asarray(y)), FOUR)
    value, _, grads = jax.jit(road(Shift(), nn.losses.cross_entropy))(params, {}, {}, batch)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(grads["b"], theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
    # What Keras would have: a mean over examples, whatever their weights.
    plain = jax.jit(road(Shift(), nn.losses.cross_entropy))(params, {}, {}, batch._replace(w=None))[0]
    assert abs(plain - loss.item()) > 1e-3


class Shift(nn.Layer):
    """Puts out x and a parameter of its shape: so the gradient of the parameter is that of the prediction."""

    def init(self, key, x):
        return {"b": jnp.zeros(x.shape, x.dtype)}, {}

    def fwd(self, params, state, x, *, key=None, train=False):
        return (x + params["b"], state), ()

    def bwd(self, residuals, dy):
        return {"b": dy}, dy


def test_weights_change_gradients_in_proportion(x64):
    """Of a batch of one class each, where the sum of weights stays: the gradient of an example goes with its weight."""
    y, z = np.array([0, 1], np.int32), jnp.asarray(LOGITS[:2, :2])

    def gradient(weights):
        batch = class_weighted(nn.Data(jnp.zeros((2, 2)), jnp.asarray(y)), weights)
        return jax.jit(nn.by_hand(Shift(), nn.losses.cross_entropy))({"b": z}, {}, {}, batch)[2]["b"]

    np.testing.assert_allclose(gradient([1.5, 0.5]), gradient([1.0, 1.0]) * np.array([[1.5], [0.5]]), rtol=1e-12)


REFUSED = {
    "too large": (lambda: class_weights(LABELS, 3), ValueError, "expected labels from 0 to 2, because there are 3 cla"),
    "floats": (
        lambda: class_weights(LABELS.astype(float), 4),
        TypeError,
        r"expected integer labels, or one-hot rows of",
    ),
    "numbers": (
        lambda: class_weighted(data(LOGITS)),
        ValueError,
        "expected one-hot rows, because floats are no labels",
    ),
    "bools": (
        lambda: class_weights(LABELS > 0, 2),
        TypeError,
        "expected integer labels, because they count classes; g",
    ),
    "a list": (lambda: class_weights([0, 1], 2), TypeError, "expected labels as an array, because its dtype says what"),
    "no classes": (
        lambda: class_weights(LABELS, 0),
        ValueError,
        "expected classes of at least 1, because each has a w",
    ),
    "long": (
        lambda: class_weighted(data(LABELS), [1.0] * 5, 4),
        nn.ShapeError,
        r"expected weights of shape \(4,\), because there is one for each class; got \(5,\)",
    ),
    "negative": (
        lambda: class_weighted(data(LABELS), [1.0, 1.0, 1.0, -2.0]),
        ValueError,
        "expected weights of at least 0, because they weigh examples; got weights from -2.0 to 1.0",
    ),
    "negative in a dict": (
        lambda: class_weighted(data(LABELS), {1: -2.0}),
        ValueError,
        "expected the weight of class 1 of at least 0, because it weighs examples",
    ),
    "of no class": (
        lambda: class_weighted(data(LABELS), {7: 2.0}, 4),
        ValueError,
        "expected weights of labels from 0 to 3, because there are 4 classes; got one of 7",
    ),
    "a word": (lambda: class_weighted(data(LABELS), "equal"), TypeError, "expected weights to be 'balanced', a number"),
    "rows": (
        lambda: class_weights(onehot(LABELS, 4), 5),
        nn.ShapeError,
        r"expected one-hot rows of shape \(..., 5\), because there is a number for each class; got \(10, 4\)",
    ),
    "weights of others": (
        lambda: class_weighted(data(LABELS, np.ones(9))),
        nn.ShapeError,
        r"expected weights of shape \(10,\)",
    ),
    "arrays": (
        lambda: class_weighted((LABELS, LABELS)),
        TypeError,
        r"expected nn.Data\(x, y\), because its targets are",
    ),
    "unseen": (
        lambda: jax.jit(lambda y: class_weighted(data(y)).w)(LABELS),
        TypeError,
        "expected classes, because labels cannot be seen within jit and the like; got None\n  hint: ",
    ),
}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("enter", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(enter, kind, message):
    with pytest.raises(kind, match=message):
        enter()


def test_numpys_weights_of_64_bits_and_rows_that_weigh_nothing_pass():
    w = np.array([1.0, 2.0, 0.0])
    rows = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    labels = class_weighted(data(np.array([0, 1, 7], np.int32), w), classes=2)
    np.testing.assert_allclose(class_weighted(data(rows, w)).w, labels.w)
    assert labels.w.dtype == jnp.result_type(float)
    with pytest.raises(ValueError, match="expected one-hot rows"):
        class_weighted(data(rows, w + 1))
