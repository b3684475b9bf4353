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


def test_a_penalty_and_a_road_that_changed_places_are_refused(unannotated):
    with pytest.raises(
        TypeError, match=r"expected a road such as by_hand first, .*got Penalty\(.*\n  hint: with_penalty"
    ):
        nn.with_penalty(L.Penalty(l2=0.1), nn.by_hand)
    with pytest.raises(TypeError, match=r"expected a road such as by_hand first, .*got 0\.1\n  hint: with_penalty"):
        nn.with_penalty(0.1, L.Penalty(l2=0.1))


def test_a_penalty_that_is_none_is_refused(unannotated):
    with pytest.raises(TypeError, match=r"expected a Penalty, .*got 0\.1\n  hint: with_penalty"):
        nn.with_penalty(nn.by_hand, 0.1)


def test_arrays_by_name_are_told_to_come_by_position(unannotated):
    with pytest.raises(TypeError, match=r"arrays of softmax_cross_entropy by position, .*got logits, labels"):
        L.softmax_cross_entropy(logits=jnp.ones((1, 2)), labels=jnp.ones((1, 2)))


Z, LABELS = jnp.array([[0.3, -2.0], [1.0, 0.5]]), jnp.array([0, 1])
LISTS = [
    (L.sparse_cross_entropy, (Z, LABELS), {"class_weights": [1.0, 2.0]}),
    (L.softmax_focal_loss, (Z, LABELS), {"class_weights": [1, 2]}),
    (L.weighted_binary_cross_entropy, (Z, jnp.eye(2)), {"positive_weight": [1.0, 2.0], "negative_weight": [3.0, 4.0]}),
    (L.dice_loss, (Z[None], jnp.eye(2)[None]), {"class_weights": [1.0, 2.0]}),
    (L.softmax_cross_entropy, (Z, jnp.eye(2)), {"where": [[True, False], [True, True]]}),
    (L.ranking_softmax_loss, (Z, jnp.eye(2)), {"weights": [[1.0, 2.0], [3.0, 4.0]]}),
]


@pytest.mark.parametrize(("loss", "arrays", "lists"), LISTS, ids=[loss.name for loss, *_ in LISTS])
@pytest.mark.parametrize("kind", [list, np.asarray], ids=["list", "numpy"])
def test_a_list_or_numpy_array_for_a_setting_is_an_array_on_every_road(loss, arrays, lists, kind):
    settings = {name: kind(numbers) for name, numbers in lists.items()}
    as_arrays = {name: jnp.asarray(numbers) for name, numbers in lists.items()}
    expected, residuals = loss.fwd(*arrays, **as_arrays)
    d = loss.bwd(residuals, jnp.ones_like(expected), **as_arrays)[0]
    bound = loss.bind(**settings)
    for l in (loss(*arrays, **settings), loss.plain(*arrays, **settings), bound(*arrays), jax.jit(bound)(*arrays)):
        np.testing.assert_allclose(l, expected, rtol=1e-6)
    for of, keywords in ((loss, settings), (bound, {})):
        l, residuals = of.fwd(*arrays, **keywords)
        np.testing.assert_allclose(l, expected, rtol=1e-6)
        np.testing.assert_allclose(of.bwd(residuals, jnp.ones_like(l), **keywords)[0], d, rtol=1e-6)


def test_lists_that_do_not_fit_are_refused():
    weighed = L.sparse_cross_entropy
    with pytest.raises(nn.ShapeError, match=r"expected class weights of shape \(2,\), .*; got \(3,\)"):
        weighed(Z, LABELS, class_weights=[1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="expected class_weights as numbers"):
        weighed(Z, LABELS, class_weights=[1.0, "much"])


def test_weights_of_labels_are_a_row(unannotated):
    for row in ([1, 3], (1.0, 3.0), np.array([1, 3])):
        np.testing.assert_array_equal(L.label_weights(LABELS, class_weights=row), [1.0, 3.0])
    with pytest.raises(nn.ShapeError, match=r"expected class weights of shape \(classes,\), .*; got \(1, 2\)"):
        L.label_weights(LABELS, class_weights=jnp.ones((1, 2)))


def test_a_number_for_an_array_is_told_the_shape(unannotated):
    with pytest.raises(nn.ShapeError, match=r"expected class weights of shape \(2,\), .*; got \(\)"):
        L.sparse_cross_entropy(Z, LABELS, class_weights=2.0)
    with pytest.raises(nn.ShapeError, match=r"expected where of shape \(2, 2\) or \(2,\), .*; got \(\)"):
        L.kl_divergence(Z, Z, where=True)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32], ids=["f16", "f32"])
def test_gaussian_nll_of_a_tiny_variance_is_no_nan_on_either_road(dtype):
    """At the floor v^2, which JAX's derivative of e^2 / v divides by, is 0 in float16: 0 / 0 for an error of 0."""
    m, y, v = (jnp.array(a, dtype) for a in ([0.0, 0.01, 1.0], [0.0, 0.0, 1.0], [1e-6, 2e-6, 0.0]))
    floor = 1e-6 if dtype == jnp.float16 else 1e-30
    l, residuals = L.gaussian_nll.fwd(m, y, v, floor=floor)
    assert jnp.isfinite(l).all()
    hand = L.gaussian_nll.bwd(residuals, jnp.ones_like(l), floor=floor)
    derived = jax.grad(lambda m, v: L.gaussian_nll.plain(m, y, v, floor=floor).sum(), (0, 1))(m, v)
    for a, b in zip((hand[0], hand[2]), derived, strict=True):
        assert not jnp.isnan(a).any()
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=2e-3)
    np.testing.assert_allclose(hand[0].astype(jnp.float32), [0, 0.01 / 2e-6, 0], rtol=0.06)  # 2e-6 in float16


def test_a_triplet_s_norm_is_of_a_finite_degree_and_of_a_large_one_no_nan():
    a, p, n = jnp.array([[1e4, -1e4]]), jnp.array([[-1e4, 1e4]]), jnp.zeros((1, 2))
    with pytest.raises(ValueError, match=r"expected a finite norm_degree, because .*; got inf"):
        L.triplet_margin_loss(a, p, n, norm_degree=np.inf)
    l, residuals = L.triplet_margin_loss.fwd(a, p, n, norm_degree=20.0)  # whose sum of powers no float32 holds
    np.testing.assert_allclose(l, 1e4 * 2 ** (1 / 20) + 1, rtol=1e-6)
    hand = L.triplet_margin_loss.bwd(residuals, jnp.ones(1), norm_degree=20.0)[1]
    derived = jax.grad(lambda p: L.triplet_margin_loss.plain(a, p, n, norm_degree=20.0).sum())(p)
    np.testing.assert_allclose(hand, [[-(2 ** (1 / 20 - 1)), 2 ** (1 / 20 - 1)]], rtol=1e-5)
    np.testing.assert_allclose(derived, hand, rtol=1e-5)


@pytest.mark.parametrize("log_p", [-200.0, -np.inf], ids=["underflown", "zero"])
def test_the_slope_of_jensen_shannon_at_a_target_of_0_is_that_without_its_logarithm(log_p):
    """dl/dt = (log t - log m) / 2; where p is 0 it is log(2) / 2 for every t, and at t = 0 too."""
    log_p, t = jnp.array([log_p, 0.0]), jnp.array([0.0, 1.0])
    l, residuals = L.jensen_shannon_divergence.fwd(log_p, t)
    assert l == 0
    expected = [np.log(2) / 2 if jnp.isinf(log_p[0]) else (200 + np.log(2)) / 2, 0]
    hand = L.jensen_shannon_divergence.bwd(residuals, jnp.ones(()))
    derived = jax.grad(L.jensen_shannon_divergence.plain, (0, 1))(log_p, t)
    for d_log_p, dt in (hand, derived):
        np.testing.assert_allclose(dt, expected, rtol=1e-6)
        np.testing.assert_array_equal(d_log_p, [0, 0])


def test_jensen_shannon_of_an_impossible_class_moves_with_its_target(x64):
    """So that the slope at 0 is the limit of those near it."""
    slopes = [jax.grad(lambda t: L.jensen_shannon_divergence(jnp.array([-jnp.inf]), t))(jnp.array([t]))[0]
              for t in (1e-3, 1e-300, 0.0)]  # fmt: skip
    np.testing.assert_allclose(slopes, np.log(2) / 2, rtol=1e-12)


def test_a_count_of_0_moves_with_the_logarithm_of_its_rate():
    """dl/dy = -log r at y = 0 too; it was 0."""
    loss, r, y = L.poisson_nll, jnp.array([3.0]), jnp.zeros(1)
    hand = loss.bwd(loss.fwd(r, y)[1], jnp.ones(1))[1]
    np.testing.assert_allclose(hand, -jnp.log(r), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda y: loss.plain(r, y).sum())(y), hand, rtol=1e-6)
