"""Losses against PyTorch, scikit-learn and SciPy, and Keras's formulas written out, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import losses

random = np.random.default_rng(0)
X, P = random.normal(size=(6, 4)), random.uniform(0.05, 0.95, size=(6, 4))
FAR = X.copy()  # with what is far out, on the right side and on the wrong
FAR[0, 0], FAR[1, 1], FAR[2, 2], FAR[4, 0] = 1e4, -1e4, 1e4, 0.0
T = random.uniform(size=(6, 4))
ROWS = P / P.sum(-1, keepdims=True)
TARGETS = T / T.sum(-1, keepdims=True)
LABELS = np.array([0, 3, 1, -100, 2, 2])
CLASSES = np.where(LABELS < 0, 0, LABELS)
WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0])
COUNTS = random.poisson(3.0, size=(6, 4)).astype(float)

TORCH = [
    ("mae", (FAR, T), {}, lambda F, x, t: F.l1_loss(x, t, reduction="none")),
    ("mse", (FAR, T), {}, lambda F, x, t: F.mse_loss(x, t, reduction="none")),
    ("huber_loss", (FAR, T), {"delta": 0.7}, lambda F, x, t: F.huber_loss(x, t, delta=0.7, reduction="none")),
    ("huber_loss", (FAR, T), {"delta": 0.7}, lambda F, x, t: 0.7 * F.smooth_l1_loss(x, t, beta=0.7, reduction="none")),
    ("binary_cross_entropy", (FAR, T), {},
     lambda F, x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none")),
    ("weighted_binary_cross_entropy", (FAR, T), {"positive_weight": WEIGHTS},
     lambda F, x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=x.new_tensor(WEIGHTS), reduction="none")),
    ("binary_cross_entropy_from_probabilities", (P, T), {},
     lambda F, p, t: F.binary_cross_entropy(p, t, reduction="none")),
    ("cross_entropy", (FAR, TARGETS), {}, lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("sparse_cross_entropy", (FAR, LABELS), {"ignore": -100, "smoothing": 0.1, "class_weights": WEIGHTS},
     lambda F, x, t: F.cross_entropy(x, t, x.new_tensor(WEIGHTS), label_smoothing=0.1, reduction="none")),
    ("sparse_cross_entropy", (FAR, LABELS), {"ignore": -100}, lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("kl_divergence", (np.log(ROWS), TARGETS), {}, lambda F, x, t: F.kl_div(x, t, reduction="none").sum(-1)),
    ("kl_divergence_with_log_targets", (np.log(ROWS), np.log(TARGETS)), {},
     lambda F, x, t: F.kl_div(x, t, reduction="none", log_target=True).sum(-1)),
    ("poisson_nll", (P, COUNTS), {},
     lambda F, x, t: F.poisson_nll_loss(x, t, log_input=False, eps=0, reduction="none")),
    ("poisson_nll_from_log_rate", (FAR, COUNTS), {}, lambda F, x, t: F.poisson_nll_loss(x, t, reduction="none")),
    ("poisson_nll_from_log_rate", (FAR, COUNTS), {"full": True},
     lambda F, x, t: F.poisson_nll_loss(x, t, full=True, reduction="none")),
    ("gaussian_nll", (FAR, T, P), {}, lambda F, x, t, v: F.gaussian_nll_loss(x, t, v, reduction="none")),
    ("gaussian_nll", (FAR, T, P), {"full": True},
     lambda F, x, t, v: F.gaussian_nll_loss(x, t, v, full=True, reduction="none")),
    ("half_squared_error", (FAR, T), {}, lambda F, x, t: F.mse_loss(x, t, reduction="none") / 2),
    ("sse", (FAR, T), {}, lambda F, x, t: F.mse_loss(x, t, reduction="none").sum(-1)),
    ("multilabel_cross_entropy", (FAR, T), {},
     lambda F, x, t: 4 * F.multilabel_soft_margin_loss(x, t, reduction="none")),  # a mean over labels
    ("softmax_cross_entropy", (FAR, TARGETS), {}, lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("safe_softmax_cross_entropy", (FAR, TARGETS), {}, lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("softmax_cross_entropy_with_integer_labels", (FAR, CLASSES), {},
     lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("cross_entropy", (FAR, CLASSES), {}, lambda F, x, t: F.cross_entropy(x, t, reduction="none")),
    ("cross_entropy_from_probabilities", (ROWS, CLASSES), {},
     lambda F, p, t: F.nll_loss(p.log(), t, reduction="none")),
    ("gaussian_nll_from_log_variance", (np.stack([X, T], -1), P), {},
     lambda F, x, t: F.gaussian_nll_loss(x[..., 0], t, x[..., 1].exp(), reduction="none")),
    ("cosine_similarity", (FAR, T), {}, lambda F, x, t: F.cosine_similarity(x, t)),
    ("cosine_distance", (FAR, T), {}, lambda F, x, t: 1 - F.cosine_similarity(x, t)),
    ("cosine_proximity", (FAR, T), {}, lambda F, x, t: -F.cosine_similarity(x, t)),
    ("triplet_margin_loss", (FAR, T, P), {"eps": 0.0, "margin": 0.5},
     lambda F, a, p, n: F.triplet_margin_loss(a, p, n, margin=0.5, eps=0, reduction="none")),
    ("triplet_margin_loss", (FAR, T, P), {"eps": 0.0, "norm_degree": 3},
     lambda F, a, p, n: F.triplet_margin_loss(a, p, n, p=3, eps=0, reduction="none")),
    ("soft_threshold", (FAR,), {"threshold": 0.5}, lambda F, x: F.softshrink(x, 0.5)),
    ("l1_penalty", (FAR,), {"strength": 0.1}, lambda F, x: 0.1 * F.l1_loss(x, x.detach() * 0, reduction="sum")),
    ("l2_penalty", (FAR,), {"strength": 0.1}, lambda F, x: 0.1 * F.mse_loss(x, x.detach() * 0, reduction="sum")),
]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "arrays", "settings", "theirs"), TORCH)
def test_value_and_gradient_are_those_of_torch(name, arrays, settings, theirs, x64):
    torch = pytest.importorskip("torch")
    settings = {n: jnp.asarray(s) if isinstance(s, np.ndarray) else s for n, s in settings.items()}
    x, *others = (torch.tensor(a) for a in arrays)
    x.requires_grad_(True)
    expected = theirs(torch.nn.functional, x, *others)
    expected.sum().backward()
    out, residuals = getattr(losses, name).fwd(*map(jnp.asarray, arrays), **settings)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    d = getattr(losses, name).bwd(residuals, jnp.ones_like(out), **settings)[0]
    np.testing.assert_allclose(d, x.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.oracle
def test_the_margins_of_torch_are_summed_over_the_wrong_classes_and_divided_by_all(x64):
    """So that only the best of them counts in ours: Crammer and Singer's is never more than K times PyTorch's."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.multi_margin_loss(torch.tensor(X), torch.tensor(CLASSES), reduction="none").numpy()
    true = np.take_along_axis(X, CLASSES[:, None], 1)
    each = np.maximum(0, 1 + X - true) * (np.arange(4) != CLASSES[:, None])
    np.testing.assert_allclose(theirs, each.sum(1) / 4, rtol=1e-12)
    np.testing.assert_allclose(losses.multiclass_hinge_loss(jnp.asarray(X), jnp.asarray(CLASSES)), each.max(1))


def test_hinges_of_scikit_learn(x64):
    metrics = pytest.importorskip("sklearn.metrics")
    signs = np.where(X[:, 0] > 0.3, 1, -1)
    ours = losses.hinge_loss(jnp.asarray(FAR[:, 1]), jnp.asarray(signs))
    np.testing.assert_allclose(ours.mean(), metrics.hinge_loss(signs, FAR[:, 1]), rtol=1e-12)
    ours = losses.multiclass_hinge_loss(jnp.asarray(FAR), jnp.asarray(CLASSES))
    np.testing.assert_allclose(ours.mean(), metrics.hinge_loss(CLASSES, FAR, labels=range(4)), rtol=1e-12)


@pytest.mark.oracle
def test_the_mean_of_torch_divides_by_the_weights_of_the_labels_that_are_not_ignored(x64):
    torch = pytest.importorskip("torch")
    x, labels, w = torch.tensor(X), torch.tensor(LABELS), torch.tensor(WEIGHTS)
    expected = torch.nn.functional.cross_entropy(x, labels, w)
    ours = losses.sparse_cross_entropy(jnp.asarray(X), jnp.asarray(LABELS), ignore=-100)
    weights = losses.label_weights(jnp.asarray(LABELS), class_weights=jnp.asarray(WEIGHTS), ignore=-100)
    np.testing.assert_allclose(losses.weighted_mean(ours, weights), expected.item(), rtol=1e-12)
    inside = losses.sparse_cross_entropy(
        jnp.asarray(X), jnp.asarray(LABELS), class_weights=jnp.asarray(WEIGHTS), ignore=-100
    )
    assert abs(losses.weighted_mean(inside) - expected.item()) > 0.1  # divided by the number of examples


@pytest.mark.oracle
def test_the_mean_of_torch_kl_divides_by_the_number_of_elements(x64):
    torch = pytest.importorskip("torch")
    arrays = torch.tensor(np.log(ROWS)), torch.tensor(TARGETS)
    ours = losses.kl_divergence(jnp.log(ROWS), jnp.asarray(TARGETS)).mean()
    kl_div = torch.nn.functional.kl_div
    np.testing.assert_allclose(ours, kl_div(*arrays, reduction="batchmean").item(), rtol=1e-12)
    with pytest.warns(UserWarning, match="batchmean"):
        np.testing.assert_allclose(ours / 4, kl_div(*arrays, reduction="mean").item(), rtol=1e-12)


def test_log_loss_of_scikit_learn(x64):
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.array([0, 3, 1, 2, 2, 1])
    expected = metrics.log_loss(labels, ROWS, labels=range(4))
    ours = losses.cross_entropy_from_probabilities(jnp.asarray(ROWS), jnp.asarray(labels))
    np.testing.assert_allclose(ours.mean(), expected, rtol=1e-12)


def test_deviances_of_scikit_learn_are_twice_ours_less_the_least(x64):
    metrics = pytest.importorskip("sklearn.metrics")
    y, m = COUNTS.reshape(-1) + 1, P.reshape(-1)
    for ours, theirs in (
        (losses.poisson_nll, metrics.mean_poisson_deviance),
        (losses.gamma_nll, metrics.mean_gamma_deviance),
    ):
        least = ours(jnp.asarray(y), jnp.asarray(y))
        np.testing.assert_allclose(2 * (ours(jnp.asarray(m), jnp.asarray(y)) - least).mean(), theirs(y, m), rtol=1e-10)
    z = jnp.log(m)
    np.testing.assert_allclose(losses.gamma_nll_from_log_mean(z, jnp.asarray(y)),
                               losses.gamma_nll(jnp.asarray(m), jnp.asarray(y)), rtol=1e-12)  # fmt: skip


def test_gaussian_likelihoods_of_scipy(x64):
    stats = pytest.importorskip("scipy.stats")
    expected = -stats.norm.logpdf(T, X, np.sqrt(P))
    means, targets, variances = jnp.asarray(X), jnp.asarray(T), jnp.asarray(P)
    np.testing.assert_allclose(losses.gaussian_nll(means, targets, variances, full=True), expected, rtol=1e-10)
    pairs = jnp.stack([means, jnp.log(variances)], -1)
    np.testing.assert_allclose(losses.gaussian_nll_from_log_variance(pairs, targets, full=True), expected, rtol=1e-10)


def test_a_variance_below_the_floor_counts_as_the_floor_and_has_no_derivative(x64):
    e, zero, v = jnp.array(2.0), jnp.array(0.0), jnp.array(0.0)
    out, residuals = losses.gaussian_nll.fwd(e, zero, v, floor=0.5)
    np.testing.assert_allclose(out, (np.log(0.5) + 4 / 0.5) / 2)
    np.testing.assert_allclose(losses.gaussian_nll.bwd(residuals, jnp.array(1.0), floor=0.5), [4, -4, 0])


def test_jensen_shannon_of_scipy_is_the_root(x64):
    distance = pytest.importorskip("scipy.spatial.distance")
    ours = losses.jensen_shannon_divergence(jnp.log(ROWS), jnp.asarray(TARGETS))
    np.testing.assert_allclose(jnp.sqrt(ours), distance.jensenshannon(ROWS, TARGETS, axis=-1), rtol=1e-10)
    np.testing.assert_allclose(ours, losses.jensen_shannon_divergence(jnp.log(TARGETS), jnp.asarray(ROWS)), rtol=1e-10)


def test_kl_divergence_of_keras_clips_and_takes_the_target_first(x64):
    true, predicted = np.array([[0.0, 1.0]]), np.array([[0.3, 0.7]])
    keras = lambda true, predicted: (
        np.clip(true, 1e-7, 1) * np.log(np.clip(true, 1e-7, 1) / np.clip(predicted, 1e-7, 1))
    ).sum(-1)
    ours = losses.kl_divergence_from_probabilities
    np.testing.assert_allclose(ours(jnp.asarray(predicted), jnp.asarray(true)), keras(true, predicted), rtol=1e-12)
    assert abs(ours(jnp.asarray(true), jnp.asarray(predicted))[0] - keras(true, predicted)[0]) > 1


def test_binary_cross_entropy_of_keras_is_clipped_at_both_ends(x64):
    p, t = np.array([0.3, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    keras = -(t * np.log(clipped) + (1 - t) * np.log(1 - clipped))
    ours = losses.binary_cross_entropy_from_probabilities(jnp.asarray(p), jnp.asarray(t))
    np.testing.assert_allclose(ours, keras, atol=1.1e-7)
    assert ours[1] == 0 < keras[1]


def test_poisson_of_keras_adds_an_epsilon_in_the_logarithm(x64):
    keras = P - COUNTS * np.log(P + 1e-7)
    np.testing.assert_allclose(losses.poisson_nll(jnp.asarray(P), jnp.asarray(COUNTS)), keras, rtol=1e-5)


def test_smoothing_of_integer_labels_is_smooth_labels_of_their_rows(x64):
    labels = jnp.array([0, 3, 1, 2, 2, 1])
    rows = losses.smooth_labels(jnp.eye(4)[labels], 0.2)
    x = jnp.asarray(X)
    expected = losses.softmax_cross_entropy(x, rows)
    np.testing.assert_allclose(losses.sparse_cross_entropy(x, labels, smoothing=0.2), expected, rtol=1e-12)


def test_focal_loss_with_gamma_0_is_cross_entropy_and_of_two_classes_the_binary_one(x64):
    labels, x = jnp.array([0, 3, 1, 2, 2, 1]), jnp.asarray(X)
    np.testing.assert_allclose(
        losses.softmax_focal_loss(x, labels, gamma=0.0), losses.cross_entropy(x, labels), rtol=1e-10
    )
    p = jnp.take_along_axis(jax.nn.softmax(x), labels[:, None], -1)[:, 0]
    np.testing.assert_allclose(losses.softmax_focal_loss(x, labels), -((1 - p) ** 2) * jnp.log(p), rtol=1e-10)
    z = x[:, 0]
    two = jnp.stack([jnp.zeros(6), z], -1)
    binary = losses.sigmoid_focal_loss(z, jnp.ones(6), gamma=1.5)
    np.testing.assert_allclose(losses.softmax_focal_loss(two, jnp.ones(6, int), gamma=1.5), binary, rtol=1e-10)
