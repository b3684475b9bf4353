"""Variational autoencoders: the divergence of codes, the draw, and the bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxnn as nn
from jaxnn.models import vae

float64 = pytest.mark.usefixtures("x64")


@float64
@pytest.mark.parametrize(("m", "s"), [(0.0, 0.0), (1.5, 0.0), (-0.3, 1.2), (2.0, -3.0)])
def test_ETC_4_the_divergence_of_a_gaussian_from_the_standard_one(m, s):
    """-1/2 (1 + s - m^2 - exp(s)), and the integral that it is."""
    kl = float(nn.losses.gaussian_kl(jnp.array([m]), jnp.array([s])))
    assert kl == pytest.approx(-0.5 * (1 + s - m * m - np.exp(s)), rel=1e-12, abs=1e-15)
    p, q = stats.norm(m, np.exp(s / 2)), stats.norm()
    integrand = lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z))
    spread = 12 * np.exp(s / 2)
    assert kl == pytest.approx(integrate.quad(integrand, m - spread, m + spread)[0], rel=1e-7, abs=1e-9)


@float64
def test_the_divergence_is_the_sum_over_a_code_and_never_negative():
    random = np.random.default_rng(0)
    m, s = jnp.asarray(random.normal(size=(5, 3))), jnp.asarray(random.normal(size=(5, 3)))
    each = nn.losses.gaussian_kl(m[..., None], s[..., None])
    np.testing.assert_allclose(nn.losses.gaussian_kl(m, s), each.sum(axis=1), rtol=1e-12)
    assert (each > 0).all()


def test_the_divergence_of_codes_that_are_nearly_standard_keeps_its_digits():
    """1 + s - exp(s) is -s^2 / 2, of which float32 would lose all but rounding."""
    s = jnp.full((1, 4), 1e-3)
    np.testing.assert_allclose(nn.losses.gaussian_kl(jnp.zeros((1, 4)), s), [4 * 1e-6 / 4], rtol=2e-3)


def test_a_draw_has_the_mean_and_the_variance_that_it_is_given(key):
    m, s = jnp.full((20_000,), 1.5), jnp.full((20_000,), np.float32(np.log(4)))
    z = nn.ops.gaussian_sample(m, s, key)
    assert z.mean() == pytest.approx(1.5, abs=0.06)
    assert z.var() == pytest.approx(4, abs=0.15)
    np.testing.assert_allclose((z - 1.5) / 2, jax.random.normal(key, (20_000,)), rtol=1e-5, atol=1e-6)


def test_in_inference_a_code_is_its_mean_and_needs_no_key():
    pair = jnp.ones((2, 3)), jnp.zeros((2, 3))
    assert nn.GaussianSample().apply({}, {}, pair)[0] is pair[0]
    with pytest.raises(ValueError, match="expected a key, because a code is drawn in training; got None"):
        nn.GaussianSample().apply({}, {}, pair, train=True)
    with pytest.raises(nn.ShapeError, match=r"expected log_variances of shape \(2, 3\), because there is one for each"):
        nn.GaussianSample().init(None, (jnp.ones((2, 3)), jnp.ones((2, 4))))


@float64
def test_the_bound_is_the_cross_entropy_of_pixels_and_the_divergence():
    random = np.random.default_rng(0)
    z, m, s, t = (jnp.asarray(random.normal(size=shape)) for shape in ((4, 2, 3), (4, 5), (4, 5), (4, 2, 3)))
    t = jax.nn.sigmoid(t)
    p = jax.nn.sigmoid(z)
    pixels = -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p)).sum((1, 2))
    for beta in (1.0, 0.3):
        bound = nn.losses.negative_elbo((z, (m, s)), t, beta=beta)
        np.testing.assert_allclose(bound, pixels + beta * nn.losses.gaussian_kl(m, s), rtol=1e-12)


@float64
def test_the_mean_bound_is_no_less_than_the_negative_log_likelihood(key):
    """Of a decoder that can be integrated over: one number of code, one pixel."""
    w, b, m, s = 1.3, -0.4, 0.5, -0.7
    logits = lambda z: w * z + b
    likelihood, _ = integrate.quad(lambda z: stats.norm.pdf(z) / (1 + np.exp(-logits(z))), -12, 12)
    draws = nn.ops.gaussian_sample(jnp.full((50_000, 1), m), jnp.full((50_000, 1), s), key)
    code = jnp.full((50_000, 1), m), jnp.full((50_000, 1), s)
    bound = nn.losses.negative_elbo((logits(draws), code), jnp.ones((50_000, 1))).mean()
    assert bound > -np.log(likelihood)
    assert bound < -np.log(likelihood) + 0.2


@pytest.mark.usefixtures("unannotated")
def test_a_prediction_without_a_code_is_refused():
    with pytest.raises(TypeError, match=r"expected a prediction \(logits, \(means, log_variances\)\), because"):
        nn.losses.negative_elbo(jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    with pytest.raises(nn.ShapeError, match=r"got prediction \(2, 3\), target \(2, 4\)"):
        nn.losses.negative_elbo((jnp.zeros((2, 3)), (jnp.zeros((2, 1)), jnp.zeros((2, 1)))), jnp.zeros((2, 4)))


def test_draws_differ_by_step_and_not_in_inference(key):
    model, x = vae(6, hidden=5, latent=2), jnp.ones((3, 6))
    params, state = jax.jit(model.init)(key, x)
    logits = lambda **how: model.apply(params, state, x, **how)[0][0]
    first, second = (logits(key=jax.random.key(seed), train=True) for seed in (1, 2))
    assert (first != second).any()
    np.testing.assert_array_equal(logits(), logits())
    assert "serial_0" not in params  # every part has a name to be frozen and found by
    assert nn.summary(model, x).rows[-1].path == "out/code"
