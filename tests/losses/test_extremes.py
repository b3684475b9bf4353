"""Losses at 0, +-1e4, infinity and NaN, in low precision: value, hand-written gradient, and JAX's of the plain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import losses

INF, NAN = np.inf, np.nan
ONE = [[0.0, 1.0, 0.0]]

# prediction, target, settings, value, gradient with respect to the prediction
CASES = [
    ("mse", [1e4, INF], [0.0, 0.0], {}, [1e8, INF], [2e4, INF]),
    ("half_squared_error", [-1e4, 0.0], [0.0, 0.0], {}, [5e7, 0], [-1e4, 0]),
    ("mae", [1e4, -INF, 0.0], [0.0, 0.0, 0.0], {}, [1e4, INF, 0], [1, -1, 0]),
    ("huber_loss", [1e4, -INF, 0.0], [0.0, 0.0, 0.0], {"delta": 2.0}, [19998, INF, 0], [2, -2, 0]),
    ("log_cosh", [1e4, -INF, 0.0], [0.0, 0.0, 0.0], {}, [1e4 - np.log(2), INF, 0], [1, -1, 0]),
    ("binary_cross_entropy", [1e4, -1e4, 0.0], [0.0, 1.0, 1.0], {}, [1e4, 1e4, np.log(2)], [1, -1, -0.5]),
    ("binary_cross_entropy", [INF, -INF, 1e4], [1.0, 0.0, 1.0], {}, [0, 0, 0], [0, 0, 0]),
    ("binary_cross_entropy", [INF, -INF], [0.0, 1.0], {}, [INF, INF], [1, -1]),
    ("weighted_binary_cross_entropy", [1e4, -1e4, 0.0], [0.0, 1.0, 1.0], {"positive_weight": 2.0},
     [1e4, 2e4, 2 * np.log(2)], [1, -2, -1]),
    ("weighted_binary_cross_entropy", [INF, -INF], [1.0, 0.0], {"positive_weight": 2.0}, [0, 0], [0, 0]),
    ("multilabel_cross_entropy", [[1e4, -1e4]], [[0.0, 1.0]], {}, [2e4], [[1, -1]]),
    ("sigmoid_focal_loss", [1e4, -1e4, 1e4, -1e4], [0.0, 1.0, 1.0, 0.0], {}, [1e4, 1e4, 0, 0], [1, -1, 0, 0]),
    ("sigmoid_focal_loss", [1e4, -1e4, 0.0], [1.0, 0.0, 1.0], {"gamma": 0.5}, [0, 0, np.log(2) / np.sqrt(2)],
     [0, 0, -(0.5 + np.log(2) * 0.25) / np.sqrt(2)]),
    ("sigmoid_focal_loss", [INF, -INF], [1.0, 0.0], {}, [0, 0], [0, 0]),
    ("binary_cross_entropy_from_probabilities", [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], {},
     [-np.log(1e-7), -np.log(1e-7), 0, 0], [0, 0, 1, -1]),
    ("softmax_cross_entropy", [[1e4, -1e4, 0.0]], ONE, {}, [2e4], [[1, -1, 0]]),
    ("safe_softmax_cross_entropy", [[0.0, 0.0, -INF]], ONE, {}, [np.log(2)], [[0.5, -0.5, 0]]),
    ("safe_softmax_cross_entropy", [[1e4, -1e4, 0.0]], ONE, {}, [2e4], [[1, -1, 0]]),
    ("cross_entropy", [[0.0, 0.0, -INF]], ONE, {}, [np.log(2)], [[0.5, -0.5, 0]]),
    ("cross_entropy", [[0.0, 0.0, -INF]], [1], {}, [np.log(2)], [[0.5, -0.5, 0]]),
    ("cross_entropy", [[1e4, -1e4, 0.0]], [1], {}, [2e4], [[1, -1, 0]]),
    ("softmax_cross_entropy_with_integer_labels", [[INF, 0.0]], [1], {"where": [[False, False]]}, [0], [[0, 0]]),
    ("sparse_cross_entropy", [[1e4, -1e4, 0.0]], [1], {}, [2e4], [[1, -1, 0]]),
    ("sparse_cross_entropy", [[0.0, 0.0, -INF]], [1], {}, [np.log(2)], [[0.5, -0.5, 0]]),
    ("sparse_cross_entropy", [[1e4, -1e4, 0.0]], [-100], {"ignore": -100}, [0], [[0, 0, 0]]),
    ("sparse_cross_entropy", [[1e4, -1e4]], [0], {"smoothing": 0.5}, [0.25 * 2e4], [[0.25, -0.25]]),
    ("softmax_focal_loss", [[1e4, -1e4, 0.0]], [1], {}, [2e4], [[1, -1, 0]]),
    ("softmax_focal_loss", [[1e4, -1e4, 0.0]], [0], {"gamma": 0.5}, [0], [[0, 0, 0]]),
    ("poly_loss_cross_entropy", [[1e4, -1e4, 0.0]], ONE, {}, [2e4 + 2], [[1, -1, 0]]),
    ("cross_entropy_from_probabilities", [[1.0, 0.0]], [1], {}, [-np.log(1e-7)], [[0, 0]]),
    ("cross_entropy_from_probabilities", [[1.0, 0.0]], [[1.0, 0.0]], {}, [0], [[-1, 0]]),
    ("kl_divergence", [0.0, -INF], [1.0, 0.0], {}, 0, [-1, 0]),
    ("kl_divergence", [-1e4, 0.0], [1.0, 0.0], {}, 1e4, [-1, 0]),
    ("kl_divergence_with_log_targets", [0.0, -INF], [0.0, -INF], {}, 0, [-1, 0]),
    ("generalized_kl_divergence", [0.0, -INF], [1.0, 0.0], {}, 0, [0, 0]),
    ("kl_divergence_from_probabilities", [1.0, 0.0], [0.0, 1.0], {}, (1 - 1e-7) * -np.log(1e-7), [0, 0]),
    ("jensen_shannon_divergence", [0.0, -INF], [0.0, 1.0], {}, np.log(2), [np.log(2) / 2, 0]),
    ("jensen_shannon_divergence", [0.0, -1e4], [1.0, 0.0], {}, 0, [0, 0]),
    ("poisson_nll", [0.0, 1e4], [0.0, 0.0], {}, [0, 1e4], [1, 1]),
    ("poisson_nll", [0.0], [2.0], {}, [INF], [-INF]),
    ("poisson_nll_from_log_rate", [-1e4, -INF], [2.0, 0.0], {}, [2e4, 0], [-2, 0]),
    ("poisson_nll_from_log_rate", [0.0], [0.0], {"full": True}, [1], [1]),
    ("gamma_nll_from_log_mean", [1e4], [2.0], {}, [1e4], [1]),
    ("gaussian_nll_from_log_variance", [[1e4, 1e4]], [0.0], {}, [5e3], [[0, 0.5]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "x", "target", "settings", "value", "slope"), CASES)
def test_extreme_inputs_have_the_value_and_gradient_of_the_limit(name, x, target, settings, value, slope, x64):
    loss, x, target = getattr(losses, name), jnp.asarray(x), jnp.asarray(target)
    settings = {n: jnp.asarray(s) if n == "where" else s for n, s in settings.items()}

    @jax.jit
    def both(x, target):
        out, residuals = loss.fwd(x, target, **settings)
        derived = jax.grad(lambda x: loss.plain(x, target, **settings).sum())(x)
        return out, loss(x, target, **settings), loss.bwd(residuals, jnp.ones_like(out), **settings)[0], derived

    out, called, *gradients = both(x, target)
    np.testing.assert_allclose(out, value, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(called, out)
    for d in gradients:
        np.testing.assert_allclose(d, slope, rtol=1e-6, atol=1e-6)


SMOOTH = [("mse", 1), ("half_squared_error", 1), ("sse", 2), ("mae", 1), ("huber_loss", 1), ("log_cosh", 1),
          ("binary_cross_entropy", 1), ("weighted_binary_cross_entropy", 1), ("multilabel_cross_entropy", 2),
          ("sigmoid_focal_loss", 1), ("softmax_cross_entropy", 2), ("safe_softmax_cross_entropy", 2),
          ("cross_entropy", 2), ("poly_loss_cross_entropy", 2), ("kl_divergence", 2),
          ("kl_divergence_with_log_targets", 2), ("generalized_kl_divergence", 2), ("jensen_shannon_divergence", 2),
          ("binary_cross_entropy_from_probabilities", 1), ("cross_entropy_from_probabilities", 2),
          ("kl_divergence_from_probabilities", 2), ("poisson_nll", 1), ("poisson_nll_from_log_rate", 1),
          ("gamma_nll", 1), ("gamma_nll_from_log_mean", 1)]  # fmt: skip


@pytest.mark.parametrize(("name", "rank"), SMOOTH)
def test_nan_stays_nan_so_that_it_can_be_seen(name, rank):
    x = jnp.array([[NAN, 0.5], [0.5, 0.5]]) if rank == 2 else jnp.array([NAN, 0.5])
    out, residuals = getattr(losses, name).fwd(x, jnp.full(x.shape, 0.5))
    assert jnp.isnan(out).tolist() == [True, False]
    d = getattr(losses, name).bwd(residuals, jnp.ones_like(out))[0].reshape(2, -1)[0]
    linear = name in ("kl_divergence", "kl_divergence_with_log_targets")  # so that no derivative depends on it
    assert linear or jnp.isnan(d).any()


@pytest.mark.parametrize(("name", "rank"), SMOOTH)
def test_bfloat16_is_float32_to_its_digits(name, rank):
    loss, random = getattr(losses, name), np.random.default_rng(0)
    x, t = (jnp.asarray(random.uniform(0.2, 0.8, size=(4, 3) if rank == 2 else 4), jnp.bfloat16) for _ in range(2))
    expected, residuals = loss.fwd(x.astype(jnp.float32), t.astype(jnp.float32))
    slope = loss.bwd(residuals, jnp.ones_like(expected))[0]
    out, residuals = loss.fwd(x, t)
    np.testing.assert_allclose(out.astype(jnp.float32), expected, rtol=0.02, atol=0.02)
    d = loss.bwd(residuals, jnp.ones_like(out))[0]
    np.testing.assert_allclose(d.astype(jnp.float32), slope, rtol=0.03, atol=0.03)


def test_many_small_errors_in_bfloat16_are_summed_in_float32():
    x = jnp.full((1, 4096), 0.5, jnp.bfloat16)
    assert losses.sse(x, jnp.zeros_like(x)) == 1024
    np.testing.assert_allclose(losses.multilabel_cross_entropy(0 * x, x).astype(jnp.float32), 4096 * 0.6931, rtol=0.01)


SETTINGS = [
    ("huber_loss", [0.3, 2.0], [0.0, 0.0], "delta", [0.5, 1.0]),
    ("sigmoid_focal_loss", [0.3, -2.0], [1.0, 0.0], "gamma", [0.0, 2.0]),
    ("sigmoid_focal_loss", [0.3, -2.0], [1.0, 0.0], "alpha", [0.25, 0.5]),
    ("weighted_binary_cross_entropy", [0.3, -2.0], [1.0, 0.0], "positive_weight", [0.5, 2.0]),
    ("sparse_cross_entropy", [[0.3, -2.0]], [1], "smoothing", [0.0, 0.1]),
    ("sparse_cross_entropy", [[0.3, -2.0]], [1], "class_weights", [[1.0, 2.0], [0.5, 1.0]]),
    ("softmax_focal_loss", [[0.3, -2.0]], [1], "gamma", [0.0, 2.0]),
    ("poly_loss_cross_entropy", [[0.3, -2.0]], [[0.0, 1.0]], "epsilon", [2.0, -1.0]),
]


@pytest.mark.parametrize(("name", "x", "target", "setting", "sweep"), SETTINGS)
def test_a_setting_is_swept_and_differentiated(name, x, target, setting, sweep):
    loss, x, target, sweep = getattr(losses, name), jnp.asarray(x), jnp.asarray(target), jnp.asarray(sweep)

    def both(s):
        out, residuals = loss.fwd(x, target, **{setting: s})
        return out, loss.bwd(residuals, jnp.ones_like(out), **{setting: s})[0]

    mapped = jax.vmap(both)(sweep)
    for i, s in enumerate(sweep):
        for a, b in zip(both(s), (m[i] for m in mapped), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    slope = jax.grad(lambda s: loss(x, target, **{setting: s}).sum())(sweep[1])
    h = 1e-2 * jnp.ones_like(sweep[1])
    ahead, behind = (loss(x, target, **{setting: sweep[1] + k * h}).sum() for k in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2e-2, slope.sum(), rtol=1e-2, atol=1e-3)
