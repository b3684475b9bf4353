"""Losses of margins, directions, overlaps, rankings and alignments beside optax's and others', and their edges."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import losses

RANDOM = np.random.default_rng(0)
X, Y, Z = (RANDOM.normal(size=(6, 4)) for _ in range(3))
SIGNS = np.where(RANDOM.normal(size=(6, 4)) > 0, 1.0, -1.0)
LABELS, MASK = np.array([0, 3, 1, 2, 2, 0]), RANDOM.uniform(size=(6, 4)) < 0.7
P = np.exp(Y) / np.exp(Y).sum(-1, keepdims=True)
SPOKEN = (
    (np.arange(5) >= np.array([5, 4, 5, 3, 5, 4])[:, None]).astype(float),
    np.array([[1, 1], [2, 3], [3, 1], [2, 0], [1, 2], [3, 3]]),
    np.array([[0, 0], [0, 0], [0, 0], [0, 1], [0, 0], [0, 0]], float),
)

# Name: arrays, of which the first is differentiated by; settings.
PEERS = {
    "hinge_loss": ((X, SIGNS), {}),
    "perceptron_loss": ((X, SIGNS), {}),
    "multiclass_hinge_loss": ((X, LABELS), {}),
    "multiclass_perceptron_loss": ((X, LABELS), {}),
    "sparsemax_loss": ((X, (SIGNS > 0).astype(int)), {}),
    "multiclass_sparsemax_loss": ((X, LABELS), {}),
    "cosine_similarity": ((X, Y), {"epsilon": 1e-3, "where": MASK}),
    "cosine_distance": ((X, Y), {"axis": 0}),
    "triplet_margin_loss": ((X, Y, Z), {"margin": 2.0}),
    "ntxent": ((X, LABELS), {"temperature": 0.5}),
    "dice_loss": ((X[:, None], P[:, None]), {"alpha": 0.3, "class_weights": np.arange(4.0), "reduction": "sum"}),
    "binary_dice_loss": ((X, SIGNS > 0), {"smooth": 0.5}),
    "multiclass_generalized_dice_loss": ((X[:, None], np.eye(4)[LABELS][:, None]), {}),
    "ranking_softmax_loss": ((X, P), {"where": MASK, "weights": np.abs(Z)}),
    "ctc_loss": ((RANDOM.normal(size=(6, 5, 4)), *SPOKEN), {}),
    "ctc_loss_with_forward_probs": ((RANDOM.normal(size=(6, 5, 4)), *SPOKEN), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_value_gradient_and_signature_are_those_of_optax(name, x64, loose):
    ours, peer = getattr(losses, name), getattr(optax.losses, name)
    arrays, settings = PEERS[name]
    arrays = tuple(map(jnp.asarray, arrays))
    settings = {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    out, residuals = ours.fwd(*arrays, **settings)
    expected, pull = jax.vjp(lambda x: peer(x, *arrays[1:], **settings), arrays[0])
    np.testing.assert_allclose(jax.tree.leaves(out)[0], jax.tree.leaves(expected)[0], rtol=1e-9)
    for a, b in zip(jax.tree.leaves(out)[1:], jax.tree.leaves(expected)[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # optax repeats labels in float32
    d_out = jax.tree.map(lambda a: jnp.zeros_like(a) + 1, expected)
    np.testing.assert_allclose(ours.bwd(residuals, d_out, **settings)[0], pull(d_out)[0], rtol=1e-8, atol=1e-8)
    parameters = lambda f: [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
    assert parameters(ours) == parameters(peer)


@pytest.mark.parametrize(("sign", "score", "l"), [(1.0, 0.3, 0.7), (-1.0, 0.3, 1.3), (1.0, 2.0, 0.0)])
def test_LOSS_12_hinge_and_LOSS_13_its_square(sign, score, l, x64):
    np.testing.assert_allclose(losses.hinge_loss(jnp.array([score]), jnp.array([sign])), [l], rtol=1e-12)
    np.testing.assert_allclose(losses.squared_hinge_loss(jnp.array([score]), jnp.array([sign])), [l * l], rtol=1e-12)


@pytest.mark.parametrize("loss", [losses.hinge_loss, losses.squared_hinge_loss, losses.perceptron_loss], ids=repr)
def test_LOSS_12_labels_of_0_and_1_are_refused_or_nan(loss):
    with pytest.raises(ValueError, match=r"expected targets of -1 and 1, .*; got targets from 0 to 1\n.*2 \* y - 1"):
        loss(jnp.ones(2), jnp.array([0, 1]))
    assert jnp.isnan(jax.jit(loss)(jnp.ones(2), jnp.array([0, 1]))).tolist() == [True, False]


def test_LOSS_15_and_28_20_and_E_20_categorical_hinge_takes_the_best_wrong_class_and_a_margin_of_1():
    scores, labels = jnp.array([[2.0, 1.0, 0.5], [2.0, 1.0, 0.5]]), jnp.array([0, 1])
    for loss in (losses.multiclass_hinge_loss, losses.categorical_hinge_loss):
        np.testing.assert_array_equal(loss(scores, labels), [0, 2])
    below = jnp.array([[0.5, -1.0, -2.0]])  # Keras's maximum holds the true class, as 0
    assert losses.categorical_hinge_loss(below, jnp.array([0])).item() == 0.5
    assert losses.multiclass_hinge_loss(below, jnp.array([0])).item() == 0.0


def test_derivatives_at_the_kinks():
    zero, one = jnp.zeros(1), jnp.ones(1)
    for loss, s, slope in ((losses.hinge_loss, one, 0.0), (losses.perceptron_loss, zero, -1.0)):
        assert loss.bwd(loss.fwd(s, one)[1], one)[0].item() == slope
        assert jax.grad(lambda s, loss=loss: loss.plain(s, one).sum())(s).item() == slope


def test_LOSS_16_E_21_cosine_proximity_is_finite_for_zeros(x64):
    np.testing.assert_allclose(losses.cosine_proximity(jnp.array([1.0, 2.0]), jnp.array([2.0, 1.0])), -0.8, rtol=1e-12)
    x, y = jnp.array([[0.0, 0.0], [1e-200, 2e-200], [1e200, 0.0]]), jnp.array([[1.0, 2.0], [2.0, 1.0], [3.0, 0.0]])
    l, residuals = losses.cosine_proximity.fwd(x, y)
    np.testing.assert_allclose(l, [0, -0.8, -1], rtol=1e-12)
    dx, dy = losses.cosine_proximity.bwd(residuals, jnp.ones(3))
    plain = jax.grad(lambda x, y: losses.cosine_proximity.plain(x, y).sum(), (0, 1))(x, y)
    for hand, auto in zip((dx, dy), plain, strict=True):
        assert jnp.isfinite(hand).all()
        np.testing.assert_allclose(hand, auto, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(dx[0], [0, 0])


def test_optax_cosine_is_nan_for_zeros_unless_there_is_an_epsilon():
    zero, y = jnp.zeros((1, 2)), jnp.ones((1, 2))
    for loss in (losses.cosine_similarity, losses.cosine_distance):
        c, residuals = loss.fwd(zero, y)
        assert jnp.isnan(c).all()
        assert jnp.isnan(loss.bwd(residuals, jnp.ones(1))[0]).all()
        c, residuals = loss.fwd(zero, y, epsilon=1e-6)
        assert jnp.isfinite(c).all()
        assert jnp.isfinite(loss.bwd(residuals, jnp.ones(1))[0]).all()


def test_a_batch_without_a_positive_pair_costs_nothing():
    l, residuals = losses.ntxent.fwd(jnp.eye(3), jnp.arange(3))
    assert l == 0
    assert (losses.ntxent.bwd(residuals, jnp.ones(()))[0] == 0).all()


def test_fenchel_young_loss_of_a_hand_written_maximum_is_hand_written(x64):
    largest = nn.Op(jax.nn.logsumexp)
    largest.defvjp(lambda s: (jax.nn.logsumexp(s), s), lambda s, d: (d * jax.nn.softmax(s),))
    hand, auto = (losses.make_fenchel_young_loss(f) for f in (largest, jax.nn.logsumexp))
    assert hand.hand
    assert not auto.hand
    x, p = jnp.asarray(X), jnp.asarray(P)
    out, residuals = hand.fwd(x, p)
    np.testing.assert_allclose(out, optax.losses.make_fenchel_young_loss(jax.nn.logsumexp)(x, p), rtol=1e-12)
    expected = jax.grad(lambda x, p: auto(x, p).sum(), (0, 1))(x, p)
    for a, b in zip(hand.bwd(residuals, jnp.ones(6)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.oracle
def test_ctc_loss_is_that_of_torch(x64):
    torch = pytest.importorskip("torch")
    z = PEERS["ctc_loss"][0][0]
    l, residuals = losses.ctc_loss.fwd(*map(jnp.asarray, (z, *SPOKEN)))
    t = torch.tensor(z, requires_grad=True)
    lengths = [torch.tensor((a == 0).sum(1)) for a in (SPOKEN[0], SPOKEN[2])]
    peer = torch.nn.functional.ctc_loss(
        t.log_softmax(-1).transpose(0, 1), torch.tensor(SPOKEN[1]), *lengths, reduction="none"
    )
    peer.sum().backward()
    np.testing.assert_allclose(l, peer.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(losses.ctc_loss.bwd(residuals, jnp.ones(6))[0], t.grad.numpy(), rtol=1e-8, atol=1e-9)


REFUSED = {
    "margin": (losses.hinge_loss, (jnp.ones((3, 1)), jnp.ones(3)), {}, "prediction and target of one shape"),
    "label": (losses.multiclass_hinge_loss, (jnp.ones((2, 3)), jnp.array([0, 3])), {}, "expected labels from 0 to 2"),
    "direction": (losses.cosine_similarity, (jnp.ones((2, 3)), jnp.ones((2, 3))), {"axis": 2}, "along axis 2"),
    "degree": (losses.triplet_margin_loss, (jnp.ones(2),) * 3, {"norm_degree": 0.5}, "norm_degree of at least 1"),
    "reduction": (losses.dice_loss, (jnp.ones((2, 3)),) * 2, {"reduction": "max"}, "reduction of mean, sum, none"),
    "probabilities": (losses.dice_loss, (jnp.ones((2, 3)),) * 2, {"apply_softmax": False}, "that are probabilities"),
    "ranking": (losses.ranking_softmax_loss, (jnp.ones(3),) * 2, {"reduce_fn": max}, "reduce_fn of jnp.mean"),
    "blank": (losses.ctc_loss, (jnp.ones((1, 3, 2)), jnp.zeros((1, 3)), jnp.array([[0]]), jnp.zeros((1, 1))), {},
              "without the blank"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused(case):
    loss, arrays, settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        loss(*arrays, **settings)


def test_settings_that_optax_takes_by_position_may_be_given_so():
    e, labels = jnp.asarray(X, jnp.float32), jnp.asarray(LABELS)
    l, residuals = losses.ntxent.fwd(e, labels, 0.5)
    assert l == losses.ntxent(e, labels, temperature=0.5) != losses.ntxent(e, labels)
    assert len(losses.ntxent.bwd(residuals, jnp.ones(()), temperature=0.5)) == 2
    with pytest.raises(TypeError, match="expected one value of temperature of ntxent"):
        losses.ntxent(e, labels, 0.5, temperature=0.5)
