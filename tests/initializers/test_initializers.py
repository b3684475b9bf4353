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
    DeltaOrthogonal,
    Identity,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    constant,
    delta_orthogonal,
    fans,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    sparse,
    truncated_normal,
    uniform,
    variance_scaling,
    zeros,
)

SHAPE = (300, 100)
CONVOLUTION = (3, 5, 20, 40)  # height, width, in, out

CUT = 0.87962566103423978  # the standard deviation of a standard normal distribution that is cut at -2 and 2


def symmetric(limit):
    """JAX's uniform initialiser is U(0, scale)."""
    return lambda key, shape, dtype: jax.nn.initializers.uniform(2 * limit)(key, shape, dtype) - limit


# Name, initialiser, JAX's of the same name, standard deviation for SHAPE, and largest magnitude, if there is one:
# the numbers of INIT-3 to INIT-9. Those of 300 inputs and 100 outputs are
# sqrt(2 / 400), sqrt(6 / 400); sqrt(2 / 300), sqrt(6 / 300); sqrt(1 / 300), sqrt(3 / 300).
NORMALS = [
    ("normal", normal(0.02), jax.nn.initializers.normal(0.02), 0.02, math.inf),
    ("glorot_normal", glorot_normal(), jax.nn.initializers.glorot_normal(), 0.0707106781, math.inf),
    ("he_normal", he_normal(), jax.nn.initializers.he_normal(), 0.0816496581, math.inf),
    ("lecun_normal", lecun_normal(), jax.nn.initializers.lecun_normal(), 0.0577350269, math.inf),
]
CUTS = [
    ("truncated_normal", truncated_normal(0.02), jax.nn.initializers.truncated_normal(0.02), 0.02 * CUT, 0.04),
    (
        "he_truncated",
        variance_scaling(2.0, "fan_in", "truncated_normal"),
        jax.nn.initializers.he_normal(),
        0.0816496581,
        0.0816496581 * 2 / CUT,
    ),
]
UNIFORMS = [
    ("uniform", uniform(0.3), symmetric(0.3), 0.3 / math.sqrt(3), 0.3),
    ("glorot_uniform", glorot_uniform(), jax.nn.initializers.glorot_uniform(), 0.0707106781, 0.1224744871),
    ("he_uniform", he_uniform(), jax.nn.initializers.he_uniform(), 0.0816496581, 0.1414213562),
    ("lecun_uniform", lecun_uniform(), jax.nn.initializers.lecun_uniform(), 0.0577350269, 0.1),
]
CONSTANTS = [
    ("zeros", zeros, jax.nn.initializers.zeros, 0.0, 0.0),
    ("ones", ones, jax.nn.initializers.ones, 0.0, 1.0),
    ("constant", constant(0.25), jax.nn.initializers.constant(0.25), 0.0, 0.25),
]
STRUCTURED = [
    ("identity", identity(2.0)),
    ("orthogonal", orthogonal(2.0)),
    ("orthogonal_rows", orthogonal(2.0, column_axis=0)),
    ("sparse", sparse(nonzeros=2)),
    ("sparse_fraction", sparse(sparsity=0.5, stddev=0.1)),
]
RANDOM = NORMALS + CUTS + UNIFORMS
COLUMNS = ("name", "initializer", "peer", "stddev", "limit")


def over(rows, *columns):
    """Over the rows, with these of their columns."""
    chosen = [[row[COLUMNS.index(column)] for column in columns] for row in rows]
    return pytest.mark.parametrize(columns, chosen, ids=[row[0] for row in rows])


@over(RANDOM, "initializer", "stddev")
def test_INIT_3_to_9_and_E_46_mean_and_variance_are_those_stated(initializer, stddev, key):
    w = np.asarray(initializer(key, SHAPE, jnp.float32), np.float64)
    n = w.size
    # The mean of n numbers is off by stddev / sqrt(n), their deviation by less than stddev / sqrt(2 n): 4 of these.
    assert abs(w.mean()) < 4 * stddev / math.sqrt(n)
    assert abs(w.std() - stddev) < 4 * stddev / math.sqrt(2 * n)


@over(UNIFORMS + CUTS, "initializer", "limit")
def test_INIT_3_5_8_bounded_numbers_fill_the_stated_interval_and_no_more(initializer, limit, key, x64):
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


@over(UNIFORMS[1:] + CONSTANTS + NORMALS[:1] + CUTS, "initializer", "peer")
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


def test_uniform_is_jax_s_moved_to_be_symmetric(key):
    ours, theirs = (f(key, SHAPE, jnp.float32) for f in (uniform(0.3), symmetric(0.3)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)
    assert jax.nn.initializers.uniform(0.3)(key, SHAPE, jnp.float32).min() >= 0


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
def test_INIT_12_17_fans_of_a_convolution_count_its_window_as_jax_does(mode, distribution, key):
    ours = VarianceScaling(2.0, mode, distribution)(key, CONVOLUTION, jnp.float32)
    theirs = jax.nn.initializers.variance_scaling(2.0, mode, distribution)(key, CONVOLUTION, jnp.float32)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-7 * np.abs(theirs).max())
    n = {"fan_in": 3 * 5 * 20, "fan_out": 3 * 5 * 40, "fan_avg": 3 * 5 * 30, "fan_geo_avg": 15 * math.sqrt(800)}[mode]
    assert float(np.var(ours)) == pytest.approx(2 / n, rel=0.05)


@pytest.mark.parametrize(
    ("scale", "mode", "name"), [(1.0, "fan_in", "lecun"), (2.0, "fan_in", "he"), (1.0, "fan_avg", "glorot")]
)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_INIT_12_the_famous_ones_are_members_of_one_family(scale, mode, name, distribution):
    member = getattr(nn.initializers, f"{name}_{distribution}")()
    assert variance_scaling(scale, mode, distribution) == member


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((300, 100), (300, 100)), ((3, 3, 64, 128), (576, 1152)), ((5, 2, 3), (10, 15)), ((2, 3, 4, 5, 6), (120, 144))],
)
def test_INIT_17_fans_are_the_window_times_in_and_out(shape, expected):
    assert fans(shape) == expected


@over(RANDOM + CONSTANTS + STRUCTURED, "initializer")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=lambda dtype: dtype.__name__)
def test_shape_and_dtype_are_those_asked_for(initializer, dtype, key):
    with jax.enable_x64(dtype == jnp.float64):
        w = jax.eval_shape(lambda: initializer(key, (6, 4), dtype))
    assert (w.shape, w.dtype) == ((6, 4), dtype)


@over(RANDOM + STRUCTURED[1:], "initializer")
def test_the_key_decides_and_the_same_key_decides_alike(initializer, key):
    w, same, other = (initializer(k, SHAPE, jnp.float32) for k in (key, key, jax.random.key(1)))
    np.testing.assert_array_equal(w, same)
    assert (w != other).any()


SMALL = (3, 4, 6)  # of a convolution over one axis, which every initialiser takes
EVERY = [*RANDOM, *CONSTANTS, *STRUCTURED, ("delta_orthogonal", delta_orthogonal(2.0))]


@over(EVERY, "initializer")
def test_compiled_and_mapped_over_keys_it_draws_the_same(initializer):
    keys = jax.random.split(jax.random.key(5), 3)
    draw = lambda key: initializer(key, SMALL, jnp.float32)
    many = jax.jit(jax.vmap(draw))(keys)
    np.testing.assert_allclose(many, np.stack([draw(key) for key in keys]), rtol=1e-5, atol=1e-6)


SWEPT = {
    "constant": constant,
    "identity": identity,
    "uniform": uniform,
    "normal": normal,
    "truncated_normal": truncated_normal,
    "truncated_at": lambda value: truncated_normal(1.0, lower=-value, upper=value),
    "scaled_normal": lambda value: variance_scaling(value, "fan_in", "normal"),
    "scaled_uniform": lambda value: variance_scaling(value, "fan_avg", "uniform"),
    "scaled_cut": lambda value: variance_scaling(value, "fan_out", "truncated_normal"),
    "orthogonal": orthogonal,
    "delta_orthogonal": delta_orthogonal,
    "sparse": lambda value: sparse(nonzeros=2, stddev=value),
}


@pytest.mark.parametrize("make", SWEPT.values(), ids=SWEPT)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
def test_its_size_may_be_swept(make, dtype, key):
    swept = jax.jit(jax.vmap(lambda value: make(value)(key, SMALL, dtype)))(jnp.array([0.5, 1.5]))
    assert swept.dtype == dtype
    for w, value in zip(swept, (0.5, 1.5), strict=True):
        alone = make(value)(key, SMALL, dtype)
        tolerance = 1e-6 if dtype == jnp.float32 else 2**-6
        np.testing.assert_allclose(w.astype(float), alone.astype(float), rtol=tolerance, atol=tolerance)


@over(EVERY, "initializer")
def test_in_bfloat16_it_draws_numbers_of_the_same_size(initializer, key):
    exact, rounded = (np.asarray(initializer(key, (3, 60, 70), d), np.float64) for d in (jnp.float32, jnp.bfloat16))
    noise = 4 / math.sqrt(np.count_nonzero(exact) + 1)  # the two are different draws
    assert rounded.std() == pytest.approx(exact.std(), rel=noise)
    assert abs(rounded.mean() - exact.mean()) <= noise * exact.std()


@over(EVERY, "initializer")
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
        (identity(), "Identity(scale=1.0)"),
        (uniform(), "Uniform(limit=0.05)"),
        (truncated_normal(0.1), "TruncatedNormal(stddev=0.1, lower=-2.0, upper=2.0)"),
        (orthogonal(2.0), "Orthogonal(scale=2.0, column_axis=-1)"),
        (delta_orthogonal(), "DeltaOrthogonal(scale=1.0)"),
        (sparse(nonzeros=15), "Sparse(nonzeros=15, sparsity=None, stddev=1.0)"),
        (
            variance_scaling(1.0, "fan_in", "truncated_normal"),
            "VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal')",
        ),
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


NAMES = r"fan_in, fan_out, fan_avg, fan_geo_avg and a distribution of normal, uniform, truncated_normal"
REFUSED = {
    "mode": (VarianceScaling, (1.0, "fan", "normal"), {}, rf"^expected a mode of {NAMES}, .*; got 'fan' and 'normal'$"),
    "distribution": (VarianceScaling, (1.0, "fan_in", "cut"), {}, r"; got 'fan_in' and 'cut'$"),
    "scale": (VarianceScaling, (-1.0, "fan_in", "normal"), {}, r"^expected scale of at least 0, .*; got -1\.0$"),
    "stddev": (Normal, (-0.1,), {}, "^expected stddev of at least 0, because it is a standard deviation, not a"),
    "nan": (Normal, (math.nan,), {}, "; got nan$"),
    "array": (Normal, (jnp.array(-1.0),), {}, r"; got -1\.0$"),
    "cut": (TruncatedNormal, (-0.1,), {}, "^expected stddev of at least 0"),
    "cuts": (TruncatedNormal, (1.0, 2.0, 2.0), {}, r"^expected lower below upper, .*; got 2\.0 and 2\.0$"),
    "limit": (Uniform, (-0.1,), {}, r"^expected limit of at least 0, because numbers from -limit to limit are drawn"),
    "neither": (Sparse, (), {}, "^expected nonzeros or sparsity, because .*; got neither$"),
    "both": (Sparse, (), {"nonzeros": 1, "sparsity": 0.5}, "; got both$"),
    "none": (Sparse, (), {"nonzeros": 0}, "^expected nonzeros as a whole number of at least 1, .*; got 0$"),
    "half": (Sparse, (), {"nonzeros": 1.5}, r"^expected nonzeros as a whole number .*; got 1\.5$"),
    "fraction": (Sparse, (), {"sparsity": 1.5}, r"^expected sparsity from 0 to 1, .*; got 1\.5$"),
    "sparse": (Sparse, (), {"nonzeros": 1, "stddev": -1.0}, "^expected stddev of at least 0"),
}


@pytest.mark.parametrize(("kind", "settings", "keywords", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_be_meant_are_refused(kind, settings, keywords, message, unannotated):
    with pytest.raises(ValueError, match=message):
        kind(*settings, **keywords)


@pytest.mark.parametrize("initializer", [Identity(), Orthogonal(), Sparse(nonzeros=1), DeltaOrthogonal()])
def test_vectors_are_refused_where_there_must_be_in_and_out(initializer, key):
    with pytest.raises(nn.ShapeError, match=r"^expected a shape of .* axes, because .*; got \(5,\)$"):
        initializer(key, (5,), jnp.float32)
