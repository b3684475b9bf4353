"""Cross-entropy in chunks of the classes: equal to that of all logits, in less memory, and in a trainer by its head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.layers import DeferredDense
from jaxnn.losses import cross_entropy, linear_cross_entropy, softmax_cross_entropy_with_integer_labels
from jaxnn.typing import Deferred


def drawn(n, features, vocabulary, *, dtype=np.float64, bias=True):
    random = np.random.default_rng(0)
    x, w = random.normal(size=(n, features)), random.normal(size=(features, vocabulary))
    b = random.normal(size=vocabulary).astype(dtype) if bias else None
    return x.astype(dtype), w.astype(dtype), b, random.integers(0, vocabulary, n).astype(np.int32)


def by_hand(x, w, b, labels, dl, *, chunk=None):
    l, residuals = linear_cross_entropy.fwd(x, w, b, labels, chunk=chunk)
    return l, linear_cross_entropy.bwd(residuals, dl, chunk=chunk)[:3]


def by_jax(x, w, b, labels, dl):
    l, backward = jax.vjp(lambda *moving: linear_cross_entropy.plain(*moving, labels), x, w, b)
    return l, backward(dl)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 5, 7, 10, 11, 100, None])
def test_chunks_of_any_size_give_what_all_logits_give(chunk, bias, x64):
    arrays = drawn(4, 3, 11, bias=bias)
    dl = np.cos(np.arange(4.0))
    got, expected = jax.jit(functools.partial(by_hand, chunk=chunk))(*arrays, dl), jax.jit(by_jax)(*arrays, dl)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), got, expected)


@pytest.mark.parametrize("chunk", [2, None])
def test_large_logits_and_classes_that_cannot_be(chunk, x64):
    x, w, b, labels = drawn(4, 3, 7)
    b[:3] = -np.inf  # all of the first chunk, and half of the second
    labels = np.maximum(labels, 3)
    dl = np.ones(4)
    got = jax.jit(functools.partial(by_hand, chunk=chunk))(1e4 * x, w, b, labels, dl)
    expected = jax.jit(by_jax)(1e4 * x, w, b, labels, dl)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), got, expected)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(got))


def test_a_label_out_of_range_is_refused_and_is_nan_where_it_cannot_be_seen():
    x, w, _, _ = drawn(3, 2, 5, dtype=np.float32)
    labels = np.array([-1, 2, 5])
    with pytest.raises(ValueError, match=r"expected labels from 0 to 4, because logits are \(3, 5\), with the classes"):
        linear_cross_entropy(x, w, None, labels)
    l = jax.jit(functools.partial(linear_cross_entropy, chunk=2))(x, w, None, labels)
    np.testing.assert_array_equal(np.isnan(l), [True, False, True])


def test_what_does_not_fit_is_refused():
    x, w, b, labels = drawn(3, 2, 5, dtype=np.float32)
    with pytest.raises(nn.ShapeError, match=r"expected x of shape \(..., 2\), because w is \(2, 5\); got \(3, 1\)"):
        linear_cross_entropy(x[:, :1], w, b, labels)
    with pytest.raises(nn.ShapeError, match=r"expected integer labels of shape \(3,\), because logits are \(3, 5\)"):
        linear_cross_entropy(x, w, b, labels[:2])
    with pytest.raises(ValueError, match="expected a chunk of at least 1, because it counts classes; got 0"):
        linear_cross_entropy(x, w, b, labels, chunk=0)
    with pytest.raises(TypeError, match="expected integer labels, because they count classes; got float32"):
        cross_entropy(Deferred(x, w, b), np.zeros(3, np.float32))


def test_deferred_logits_say_what_they_are_where_an_array_is_expected(unannotated):
    x, w, b, labels = drawn(3, 2, 5, dtype=np.float32)
    deferred = Deferred(x, w, b)
    np.testing.assert_allclose(deferred.logits, x @ w + b, rtol=1e-6)
    with pytest.raises(AttributeError, match="expected logits, because of their shape; got Deferred") as error:
        softmax_cross_entropy_with_integer_labels(deferred, labels)
    assert "hint: prediction.logits computes them" in str(error.value)
    with pytest.raises(AttributeError, match="Deferred has x, w, b and logits, and no mean"):
        deferred.mean()


def test_sums_of_bfloat16_are_in_float32():
    x, w, _, labels = drawn(64, 16, 1000, dtype=np.float32)
    half = lambda a: jnp.asarray(a).astype(jnp.bfloat16)
    wide = lambda a: np.asarray(half(a).astype(np.float32))
    dl = np.full(64, 1 / 64, np.float32)
    l, (dx, dw, _) = jax.jit(functools.partial(by_hand, chunk=100))(half(x), half(w), None, labels, half(dl))
    expected, (dx_expected, dw_expected, _) = jax.jit(by_jax)(wide(x), wide(w), None, labels, wide(dl))
    assert (l.dtype, dx.dtype, dw.dtype) == (jnp.bfloat16,) * 3
    for one, other in ((l, expected), (dx, dx_expected), (dw, dw_expected)):
        np.testing.assert_allclose(wide(one), other, rtol=0.02, atol=0.01 * float(abs(other).max()))


# Memory


def temporaries(function, *arrays):
    return jax.jit(function).lower(*arrays).compile().memory_analysis().temp_size_in_bytes


def test_no_array_of_all_logits_is_ever_there():
    n, vocabulary = 128, 5000
    *arrays, labels = drawn(n, 8, vocabulary, dtype=np.float32)
    dl, logits = np.ones(n, np.float32), 4 * n * vocabulary
    assert temporaries(by_jax, *arrays, labels, dl) >= logits
    chunked = temporaries(functools.partial(by_hand, chunk=500), *arrays, labels, dl)
    assert chunked < logits / 2

    def by_its_rule(x, w, b, labels):
        return jax.value_and_grad(lambda *a: linear_cross_entropy(*a, labels, chunk=500).sum(), (0, 1, 2))(x, w, b)

    assert temporaries(by_its_rule, *arrays, labels) < logits / 2


def test_of_logits_the_backward_holds_no_more_than_probabilities_and_dz():
    """No one-hot rows beside them."""
    n, vocabulary = 128, 5000
    z = np.random.default_rng(0).normal(size=(n, vocabulary)).astype(np.float32)
    labels, dl = np.arange(n, dtype=np.int32), np.ones(n, np.float32)

    def both(z, labels, dl):
        l, residuals = softmax_cross_entropy_with_integer_labels.fwd(z, labels)
        return l, softmax_cross_entropy_with_integer_labels.bwd(residuals, dl)[0]  # dz is an output

    assert temporaries(both, z, labels, dl) < 1.1 * z.nbytes


# In a trainer


VOCABULARY, IDS = 23, np.random.default_rng(0).integers(0, 23, (6, 5))
DATA = nn.Data(IDS[:, :-1], IDS[:, 1:], np.array([1, 2, 0, 1, 1, 1.0], np.float32))


def language_model(head):
    return nn.serial(embed=nn.Embed(VOCABULARY, 8), body=nn.serial(nn.Dense(8), nn.tanh), head=head)


def begun(head, road=nn.by_autodiff, **keywords):
    trainer = nn.trainer(language_model(head), cross_entropy, nn.sgd(0.5), gradient=road, **keywords)
    return trainer, trainer.init(jax.random.key(0), DATA.x)


@pytest.fixture
def small_chunks(monkeypatch):
    """Such that the last of several chunks is filled up."""
    monkeypatch.setattr("jaxnn.losses._linear_cross_entropy.LOGITS", 200)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize(
    ("road", "bias"), [(nn.by_autodiff, True), (functools.partial(nn.by_hand, strict=True), False)], ids=["jax", "hand"]
)
def test_a_run_with_a_deferred_head_is_that_with_a_dense_one(road, bias, small_chunks):
    ends = []
    for head in (nn.Dense(VOCABULARY, bias=bias), DeferredDense(VOCABULARY, bias=bias)):
        trainer, ts = begun(head, road)
        ts, history = nn.fit(trainer, ts, DATA, epochs=3, batch_size=4, validation=DATA)
        figures = nn.evaluate(trainer, ts, DATA, (cross_entropy, nn.metrics.accuracy))
        ends.append((ts.params, history, figures))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *ends)


def test_compare_agrees_on_a_deferred_head():
    trainer, ts = begun(DeferredDense(VOCABULARY))
    assert nn.compare(trainer.model, cross_entropy, ts, nn.Data(DATA.x, DATA.y), rounds=1).agrees


def test_a_frozen_deferred_head_keeps_its_weights():
    trainer, ts = begun(DeferredDense(VOCABULARY), nn.by_hand, freeze="head/.*")
    new, _ = nn.fit(trainer, ts, DATA, epochs=1, batch_size=6)
    jax.tree.map(np.testing.assert_array_equal, new.frozen, ts.frozen)
    assert not np.array_equal(new.params["embed"]["table"], ts.params["embed"]["table"])


def test_the_prediction_of_a_step_has_its_logits_in_micro_batches_too():
    predictions = []
    for head, road in (
        (nn.Dense(VOCABULARY), nn.by_hand),
        (DeferredDense(VOCABULARY), nn.by_hand),
        (DeferredDense(VOCABULARY), nn.micro_batched(nn.by_hand, 4)),
    ):
        trainer, ts = begun(head, road)
        prediction = jax.jit(trainer.step)(ts, DATA)[1].prediction
        predictions.append(prediction.logits if isinstance(prediction, Deferred) else prediction)
    for prediction in predictions[1:]:
        np.testing.assert_allclose(prediction, predictions[0], rtol=1e-5, atol=1e-6)


def test_micro_batches_hold_the_weights_of_a_deferred_head_once():
    """Not for each part, though each part's prediction has them."""
    classes, parts = 5000, 8
    ids = jnp.zeros((parts, 5), jnp.int32)
    data = nn.Data(ids[:, :-1], ids[:, 1:])
    model = nn.serial(nn.Embed(8, 16), DeferredDense(classes, bias=False))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), gradient=nn.micro_batched(nn.by_autodiff, 1))
    ts = jax.eval_shape(lambda key: trainer.init(key, data.x), jax.random.key(0))
    held = trainer.compile(ts, data).memory_analysis().temp_size_in_bytes
    assert held < 4 * (16 * classes * 4)
