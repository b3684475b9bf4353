"""Positions: what turning and waves are, in numbers worked out apart, and what they are for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops import rotary, sinusoidal


def rows(time=6, features=8, *, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, time, 3, features)))


def by_complex_numbers(x, positions, base=10000.0):
    """Pair i of the halves is a complex number, which exp(j t base^(-2 i / features)) multiplies."""
    half = x.shape[-1] // 2
    z = np.asarray(x)[..., :half] + 1j * np.asarray(x)[..., half:]
    angles = np.multiply.outer(np.asarray(positions), base ** (-np.arange(half) / half))
    z = z * np.exp(1j * angles)[..., None, :]
    return np.concatenate([z.real, z.imag], -1)


@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_turning_is_multiplication_by_a_complex_number(base, x64):
    x = rows()
    for positions in (jnp.arange(6), jnp.array([[0, 1, 2, 3, 4, 5], [7, 1, 9, 1000, 3, 3]])):
        expected = by_complex_numbers(x, positions, base)
        np.testing.assert_allclose(rotary(x, positions, base=base), expected, rtol=1e-12, atol=1e-13)


def test_products_depend_on_the_distance_alone(x64):
    q, k = rows(1), rows(1, seed=1)
    at = lambda x, t: rotary(x, jnp.array([t]))
    product = lambda s, t: jnp.einsum("bthd,bthd->bth", at(q, s), at(k, t))
    np.testing.assert_allclose(product(3, 7), product(103, 107), rtol=1e-10)
    assert (jnp.abs(product(3, 7) - product(3, 8)) > 1e-3).any()


def test_turning_keeps_lengths_and_position_0_keeps_all(x64):
    x = rows()
    turned = rotary(x, jnp.arange(6))
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-13)
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])


def test_the_backward_turns_back(x64):
    x, positions = rows(), jnp.arange(6)
    y, residuals = rotary.fwd(x, positions)
    np.testing.assert_allclose(rotary.bwd(residuals, y)[0], x, rtol=1e-13)


def test_pairs_that_alternate_are_a_permutation_away(x64):
    """RoFormer's own pairs are features 2 i and 2 i + 1; for its weights the features of a head change places."""
    x, positions = np.asarray(rows()), np.arange(6)
    z = x[..., ::2] + 1j * x[..., 1::2]
    z = z * np.exp(1j * np.multiply.outer(positions, 10000.0 ** (-np.arange(4) / 4)))[:, None, :]
    theirs = np.stack([z.real, z.imag], -1).reshape(x.shape)
    halves = np.r_[0:8:2, 1:8:2]
    ours = rotary(jnp.asarray(x[..., halves]), jnp.asarray(positions))
    np.testing.assert_allclose(ours, theirs[..., halves], rtol=1e-12, atol=1e-13)


def test_angles_of_bfloat16_are_in_float32():
    x = jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    y = rotary(x, jnp.array([1001])).astype(jnp.float32).ravel()  # in bfloat16 1001 would be 1000
    c, s = math.cos(1001), math.sin(1001)
    np.testing.assert_allclose(y, [c - s, s + c], atol=1e-2)


def test_a_base_may_be_a_tracer(x64):
    x, positions = rows(), jnp.arange(6)
    turned = jax.vmap(lambda base: rotary(x, positions, base=base))(jnp.array([10.0, 100.0]))
    np.testing.assert_allclose(turned[1], rotary(x, positions, base=100.0), rtol=1e-12)


def test_the_waves_are_those_of_the_paper():
    """PE(t, 2 i) = sin(t / 10000^(2 i / d)) and PE(t, 2 i + 1) = cos of the same."""
    expected = [[(math.sin, math.cos)[j % 2](t / 10000 ** (2 * (j // 2) / 6)) for j in range(6)] for t in (0, 1, 2, 50)]
    np.testing.assert_allclose(sinusoidal(jnp.array([0, 1, 2, 50]), 6), expected, atol=1e-6)


def test_a_step_along_the_waves_is_a_turn(x64):
    """For any fixed k, p_{t+k} is a linear function of p_t: why the paper chose them."""
    p = sinusoidal(jnp.arange(20), 8, dtype=jnp.float64)
    turn, *_ = jnp.linalg.lstsq(p[:10], p[3:13])
    np.testing.assert_allclose(p[10:17] @ turn, p[13:], atol=1e-8)


def test_what_does_not_fit_is_refused(unannotated):
    x = jnp.zeros((2, 6, 3, 8))
    with pytest.raises(nn.ShapeError, match=r"with an even number of features, .*; got \(2, 6, 3, 7\)"):
        rotary(x[..., :7], jnp.arange(6))
    with pytest.raises(nn.ShapeError, match=r"positions of shape \(6,\) or \(2, 6\), .*; got \(5,\)"):
        rotary(x, jnp.arange(5))
    with pytest.raises(TypeError, match=r"expected integer positions, .*; got float32"):
        rotary(x, jnp.zeros(6))
    with pytest.raises(TypeError, match=r"expected floating x, .*; got int32: cast it first"):
        rotary(x.astype(int), jnp.arange(6))
    with pytest.raises(ValueError, match=r"expected an even number of features, .*; got 5"):
        sinusoidal(jnp.arange(6), 5)
    with pytest.raises(TypeError, match=r"expected integer positions, .*; got float32"):
        sinusoidal(jnp.zeros(6), 4)
