"""Uncertainty is what NumPy makes of probabilities, and 0 where there is nothing to disagree about."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special, stats

import jaxnn as nn
from jaxnn.ensembles import spread, uncertainty


def drawn(seed=0, members=5, batch=4, classes=3):
    random = np.random.default_rng(seed)
    return 3 * random.normal(size=(members, batch, classes)), random.uniform(0.1, 2, size=members)


def test_equals_its_definition(x64):
    z, w = drawn()
    p = special.softmax(z, -1)
    mean = np.average(p, 0, w)
    got = uncertainty(jnp.asarray(z), jnp.asarray(w))
    np.testing.assert_allclose(got.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(got.variance, np.average((p - mean) ** 2, 0, w), rtol=1e-11)
    np.testing.assert_allclose(got.entropy, stats.entropy(mean, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(got.expected_entropy, np.average(stats.entropy(p, axis=-1), 0, w), rtol=1e-12)
    np.testing.assert_allclose(got.mutual_information, got.entropy - got.expected_entropy, rtol=1e-10)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_information_is_within_its_bounds(seed, scale, x64):
    z, w = drawn(seed)
    got = uncertainty(jnp.asarray(scale * z), jnp.asarray(w))
    assert all(np.isfinite(part).all() for part in got)
    assert (got.mutual_information >= 0).all()
    share = w / w.sum()
    assert (got.mutual_information <= stats.entropy(share) + 1e-12).all()
    np.testing.assert_allclose(got.mutual_information, got.entropy - got.expected_entropy, rtol=1e-6, atol=1e-12)


def test_members_that_agree_have_no_information():
    """To the last bit, where a difference of entropies has rounding."""
    z = jnp.asarray(np.broadcast_to(drawn()[0][:1], (5, 4, 3)), jnp.float32)
    got = uncertainty(z)
    np.testing.assert_array_equal(got.mutual_information, np.zeros(4))
    np.testing.assert_allclose(got.variance, np.zeros((4, 3)), atol=1e-13)


def test_sure_members_that_differ_have_all_of_it():
    """Each is certain of a class of its own, with logits that no exponential could hold."""
    z = jnp.asarray(1e5 * np.eye(4)[:, None], jnp.float32)
    got = uncertainty(z)
    np.testing.assert_allclose(got.mutual_information, [np.log(4)], rtol=1e-6)
    np.testing.assert_array_equal(got.expected_entropy, [0])
    np.testing.assert_allclose(got.mean, np.full((1, 4), 0.25), rtol=1e-6)


def test_little_information_keeps_its_digits():
    """Members differ by 1e-4: in float32 the difference of their entropies is nothing but rounding."""
    z = np.random.default_rng(0).normal(size=(1, 200, 10)) + 1e-4 * np.random.default_rng(1).normal(size=(8, 200, 10))
    p = special.softmax(z, -1)
    exact = stats.entropy(p.mean(0), axis=-1) - stats.entropy(p, axis=-1).mean(0)
    got = uncertainty(jnp.asarray(z, jnp.float32))
    error = lambda information: np.abs(np.asarray(information) - exact).mean() / exact.mean()
    assert error(got.entropy - got.expected_entropy) > 5
    assert error(got.mutual_information) < error(got.entropy - got.expected_entropy) / 2


def test_it_is_compiled_mapped_and_of_tokens(x64):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, 3, 4)))
    tokens = jax.jit(uncertainty)(z)
    each = jax.vmap(uncertainty, 2, 1)(z)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), tokens, each)
    assert tokens.mutual_information.shape == (2, 3)


def test_spread_is_the_variance_of_the_mixture(x64):
    """Against a sample of it, and exactly against the second moment of the paper."""
    random = np.random.default_rng(0)
    means, variances, w = random.normal(size=(3, 2)), random.uniform(0.1, 2, size=(3, 2)), np.array([1.0, 2.0, 1.0])
    got = spread(jnp.asarray(means), jnp.asarray(variances), jnp.asarray(w))
    mean = np.average(means, 0, w)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(got.variance, np.average(variances + means**2, 0, w) - mean**2, rtol=1e-12)
    np.testing.assert_allclose(got.within + got.between, got.variance, rtol=1e-12)
    which = random.choice(3, p=w / w.sum(), size=200_000)
    sample = means[which] + np.sqrt(variances[which]) * random.normal(size=(200_000, 2))
    np.testing.assert_allclose(got.variance, sample.var(0), rtol=0.02)
    far = spread(jnp.asarray(1e6 + means, jnp.float32))  # where means of squares would cancel
    np.testing.assert_allclose(far.variance, (1e6 + means).astype(np.float32).astype(float).var(0), rtol=3e-2)
    np.testing.assert_array_equal(far.within, np.zeros(2))


def test_what_does_not_fit_is_refused():
    with pytest.raises(nn.ShapeError, match=r"expected variances of shape \(2, 3\), because each prediction has one; "
                       r"got \(3,\)"):  # fmt: skip
        spread(jnp.ones((2, 3)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"expected variances of at least 0, because they are squares; exp\(...\) "
                       r"makes variances of their logarithms; got variances from -1.0 to -1.0"):  # fmt: skip
        spread(jnp.ones((2, 3)), -jnp.ones((2, 3)))
    with pytest.raises(nn.ShapeError, match="with 2 classes at least, because members vote for classes"):
        uncertainty(jnp.ones((2, 3, 1)))
    with pytest.raises(ValueError, match="expected weights of at least 0"):
        uncertainty(jnp.ones((2, 3, 2)), -np.ones(2, np.float32))
