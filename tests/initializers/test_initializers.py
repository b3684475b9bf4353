"""Initialisers: their moments and bounds, their agreement with JAX's, and that they are values."""

import dataclasses
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.initializers import (
    Constant,
    Normal,
    VarianceScaling,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    zeros,
)

SHAPE = (300, 100)
CONVOLUTION = (3, 5, 20, 40)  # height, width, in, out

# Name, initialiser, JAX's of the same name, standard deviation for SHAPE, and largest magnitude, if there is one:
# the numbers of INIT-5 to INIT-9.
NORMALS = [
    ("normal", normal(0.02), jax.nn.initializers.normal(0.02), 0.02, math.inf),
    ("glorot_normal", glorot_normal(), jax.nn.initializers.glorot_normal(), 0.0707106781, math.inf),
    ("he_normal", he_normal(), jax.nn.initializers.he_normal(), 0.0816496581, math.inf),
    ("lecun_normal", lecun_normal(), jax.nn.initializers.lecun_normal(), 0.0577350269, math.inf),
]
UNIFORMS = [
    ("glorot_uniform", glorot_uniform(), jax.nn.initializers.glorot_uniform(), 0.0707106781, 0.1224744871),
    ("he_uniform", he_uniform(), jax.nn.initializers.he_uniform(), 0.0816496581, 0.1414213562),
    ("lecun_uniform", lecun_uniform(), jax.nn.initializers.lecun_uniform(), 0.0577350269, 0.1),
]
CONSTANTS = [
    ("zeros", zeros, jax.nn.initializers.zeros, 0.0, 0.0),
    ("ones", ones, jax.nn.initializers.ones, 0.0, 1.0),
]
COLUMNS = ("name", "initializer", "peer", "stddev", "limit")


def over(rows, *columns):
    """Over the rows, with these of their columns."""
    chosen = [[row[COLUMNS.index(column)] for column in columns] for row in rows]
    return pytest.mark.parametrize(columns, chosen, ids=[row[0] for row in rows])


@over(NORMALS + UNIFORMS, "initializer", "stddev")
def test_mean_and_variance_are_those_stated(initializer, stddev, key):
    w = np.asarray(initializer(key, SHAPE, jnp.float32), np.float64)
    n = w.size
    # The mean of n numbers is off by stddev / sqrt(n), their deviation by less than stddev / sqrt(2 n): 4 of these.
    assert abs(w.mean()) < 4 * stddev / math.sqrt(n)
    assert abs(w.std() - stddev) < 4 * stddev / math.sqrt(2 * n)


@over(UNIFORMS, "initializer", "limit")
def test_uniform_numbers_fill_the_stated_interval_and_no_more(initializer, limit, key, x64):
    w = initializer(key, SHAPE, jnp.float64)
    assert -limit * (1 + 1e-9) <= w.min() < -0.999 * limit
    assert 0.999 * limit < w.max() <= limit * (1 + 1e-9)


@over(NORMALS, "initializer", "stddev")
def test_normal_numbers_are_not_cut_off(initializer, stddev, key):
    beyond = np.abs(initializer(key, SHAPE, jnp.float32)) > 2 * stddev
    assert beyond.mean() == pytest.approx(0.0455, abs=0.005)


@over(CONSTANTS, "initializer", "limit")
def test_constants_are_constant(initializer, limit, key):
    np.testing.assert_array_equal(initializer(key, (4, 3), jnp.float32), np.full((4, 3), limit, np.float32))


@over(UNIFORMS + CONSTANTS + NORMALS[:1], "initializer", "peer")
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-15), (jnp.float32, 3e-7), (jnp.bfloat16, 2**-6)])
def test_the_same_key_gives_the_numbers_of_jax_to_rounding(initializer, peer, dtype, tolerance, key):
    with jax.enable_x64(dtype == jnp.float64):
        ours, theirs = (np.asarray(f(key, SHAPE, dtype), np.float64) for f in (initializer, peer))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@over(NORMALS[1:], "initializer", "peer")
def test_jax_cuts_its_normals_at_two_deviations_and_we_do_not(initializer, peer, key):
    ours, theirs = np.asarray(initializer(key, SHAPE, jnp.float32)), np.asarray(peer(key, SHAPE, jnp.float32))
    assert np.std(theirs) == pytest.approx(np.std(ours), rel=0.02)
    assert np.abs(theirs).max() < 0.7 * np.abs(ours).max()


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_fans_of_a_convolution_count_its_window_as_jax_does(mode, distribution, key):
    ours = VarianceScaling(2.0, mode, distribution)(key, CONVOLUTION, jnp.float32)
    theirs = jax.nn.initializers.variance_scaling(2.0, mode, distribution)(key, CONVOLUTION, jnp.float32)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-7 * np.abs(theirs).max())
    n = {"fan_in": 3 * 5 * 20, "fan_out": 3 * 5 * 40, "fan_avg": 3 * 5 * 30}[mode]
    assert float(np.var(ours)) == pytest.approx(2 / n, rel=0.05)


@over(NORMALS + UNIFORMS + CONSTANTS, "initializer")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=lambda dtype: dtype.__name__)
def test_shape_and_dtype_are_those_asked_for(initializer, dtype, key):
    with jax.enable_x64(dtype == jnp.float64):
        w = jax.eval_shape(lambda: initializer(key, (6, 4), dtype))
    assert (w.shape, w.dtype) == ((6, 4), dtype)


@over(NORMALS + UNIFORMS, "initializer")
def test_the_key_decides_and_the_same_key_decides_alike(initializer, key):
    w, same, other = (initializer(k, SHAPE, jnp.float32) for k in (key, key, jax.random.key(1)))
    np.testing.assert_array_equal(w, same)
    assert (w != other).any()


@over([NORMALS[0], UNIFORMS[0], CONSTANTS[0]], "initializer")
def test_compiled_it_draws_the_same(initializer, key):
    compiled = jax.jit(lambda key: initializer(key, SHAPE, jnp.float32))(key)
    np.testing.assert_allclose(compiled, initializer(key, SHAPE, jnp.float32), rtol=1e-6)


@over(NORMALS + UNIFORMS + CONSTANTS, "initializer")
def test_it_is_a_frozen_value(initializer):
    copy = pickle.loads(pickle.dumps(initializer))
    assert copy == initializer
    assert hash(copy) == hash(initializer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(initializer, dataclasses.fields(initializer)[0].name, 7.0)


@pytest.mark.parametrize(
    ("initializer", "printed"),
    [
        (zeros, "zeros"),
        (Constant(0.5), "Constant(0.5)"),
        (normal(), "Normal(stddev=0.01)"),
        (glorot_uniform(), "glorot_uniform()"),
        (
            VarianceScaling(2.0, "fan_out", "normal"),
            "VarianceScaling(scale=2.0, mode='fan_out', distribution='normal')",
        ),
    ],
)
def test_it_prints_as_it_is_written(initializer, printed):
    assert repr(initializer) == printed
    assert eval(printed) == initializer


def test_initializers_of_different_settings_differ():
    assert len({Constant(0.0), Constant(1.0), Normal(1.0), he_normal(), he_uniform(), lecun_normal()}) == 6


@pytest.mark.parametrize("shape", [(5,), ()])
def test_a_shape_without_in_and_out_is_refused(shape, key):
    with pytest.raises(nn.ShapeError) as caught:
        he_normal()(key, shape, jnp.float32)
    assert (
        str(caught.value) == f"expected a shape of at least two axes, because the last two are in and out; got {shape}"
    )


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_weight_is_drawn_without_complaint(shape, key):
    assert glorot_uniform()(key, shape, jnp.float32).shape == shape


@pytest.mark.parametrize("initializer", [jax.nn.initializers.ones, lambda key, shape, dtype: jnp.ones(shape, dtype)])
def test_a_layer_takes_any_function_of_key_shape_and_dtype(initializer, key):
    params, _ = nn.Dense(3, w_init=initializer).init(key, jnp.zeros((1, 4)))
    np.testing.assert_array_equal(params["w"], initializer(jax.random.split(key)[0], (4, 3), jnp.float32))


@pytest.mark.parametrize("settings", [("fan", "normal"), ("fan_in", "truncated")])
def test_unknown_settings_are_refused(settings, unannotated):
    with pytest.raises(ValueError, match="expected mode fan_in, fan_out or fan_avg and dist"):
        nn.initializers.VarianceScaling(1.0, *settings)
