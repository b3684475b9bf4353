"""Scaling against scikit-learn's, with features that are constant, weights, and folds that are mapped over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import jaxnn as nn
from jaxnn.data import Scaling, max_abs_scaling, min_max_scaling, robust_scaling, standard_scaling

RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.normal(size=(23, 5)) * [1.0, 100.0, 0.01, 1.0, 1.0] + [0.0, 2000.0, -3.0, 0.0, 0.0]
TRAIN[:, 3] = 0.1  # constant, and no sum of 23 of it is exact
TRAIN[:, 4] = 0.0
TEST = RANDOM.normal(size=(7, 5))
TIMES = RANDOM.integers(0, 4, size=23)
PEERS = {
    "standard": (standard_scaling, {}, StandardScaler()),
    "min and max": (min_max_scaling, {}, MinMaxScaler()),
    "to a range": (min_max_scaling, {"low": -2.0, "high": 5.0}, MinMaxScaler((-2, 5))),
    "max of absolute": (max_abs_scaling, {}, MaxAbsScaler()),
    "robust": (robust_scaling, {}, RobustScaler()),
    "deciles": (robust_scaling, {"quantiles": (0.1, 0.9)}, RobustScaler(quantile_range=(10, 90))),
}
BUILDERS = {name: row[0] for name, row in PEERS.items() if not row[1]}


@pytest.mark.parametrize(("build", "settings", "peer"), PEERS.values(), ids=PEERS)
def test_equals_scikit_learn_also_where_examples_count_several_times_or_not_at_all(build, settings, peer, x64):
    build = jax.jit(lambda x, w, build=build: build(x, w, **settings))
    for scaling, rows in ((build(TRAIN, None), TRAIN), (build(TRAIN, TIMES), np.repeat(TRAIN, TIMES, axis=0))):
        peer.fit(rows)
        np.testing.assert_allclose(scaling(TEST), peer.transform(TEST), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(scaling.inverse(TEST), peer.inverse_transform(TEST), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(scaling.inverse(scaling(TEST)), TEST, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_what_weighs_nothing_may_be_anything_and_changes_nothing(build):
    x, w = TRAIN.astype(np.float32), np.ones(25, np.float32)
    w[[0, 24]] = 0
    more = np.concatenate([np.full((1, 5), np.nan, np.float32), x, np.full((1, 5), 1e30, np.float32)])
    got, expected = jax.jit(build)(more, w), jax.jit(build)(x)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    for a, b in zip(build(nn.Data(more, w, w)), got, strict=True):  # and where it can be seen, it is no error
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_of_training_data_mean_0_and_variance_1_in_float32_also_far_from_0():
    year = np.random.default_rng(1).normal(2000, 0.1, size=(5000, 1)).astype(np.float32)
    scaled = np.asarray(jax.jit(lambda x: standard_scaling(x)(x))(year))
    assert abs(float(np.mean(scaled, dtype=np.float64))) < 2e-3
    assert float(np.std(scaled, dtype=np.float64)) == pytest.approx(1, abs=1e-3)
    constant = jax.jit(standard_scaling)(np.full((1000, 1), 0.1, np.float32))
    assert constant.scale.item() == 1
    assert constant.offset.item() == np.float32(0.1)


@pytest.mark.parametrize("unit", [1e-30, 1e-20, 1e20, 1e30])
def test_in_any_unit_the_same_comes_of_it_though_squares_would_vanish_or_overflow(unit):
    x = (np.arange(12, dtype=np.float32) * np.float32(unit))[:, None]
    for build, expected in ((standard_scaling, np.arange(12) - 5.5), (robust_scaling, np.arange(12) - 5.5)):
        scaled = np.ravel(jax.jit(lambda x, build=build: build(x)(x))(x))
        np.testing.assert_allclose(scaled / scaled[-1], expected / expected[-1], rtol=1e-5)
    np.testing.assert_allclose(jax.jit(standard_scaling)(x).scale.item() / unit, np.std(np.arange(12)), rtol=1e-5)


@pytest.mark.parametrize("n", [3, 11, 1001])
def test_quantiles_of_weights_that_sum_to_1_are_those_without(n):
    x = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    expected = jax.jit(robust_scaling)(x)
    for mean in (1 / n, 0.1, 0.7):
        for got, of in zip(jax.jit(robust_scaling)(x, np.full(n, mean, np.float32)), expected, strict=True):
            np.testing.assert_allclose(got, of, rtol=1e-3, atol=1e-4)
    # Also beside such as are not there; and of a value with most of the weight little else is seen.
    w = np.append(np.full(n, 1 / n, np.float32), np.float32(0))
    got = jax.jit(robust_scaling)(np.append(x, [[np.nan, 1e9]], axis=0).astype(np.float32), w)
    np.testing.assert_allclose(got.offset, expected.offset, rtol=1e-3, atol=1e-4)
    w = np.where(np.arange(n) == 1, 0.9, 0.1 / n).astype(np.float32)
    np.testing.assert_allclose(jax.jit(robust_scaling)(x, w).offset[0], x[1], atol=1e-6)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_of_integers_booleans_and_small_floats_it_is_that_of_float32(build):
    x = np.array([[1, 0], [0, 0], [1, 1]])
    expected = build(x.astype(np.float32))
    for dtype in (bool, np.int8, np.uint8, np.int64, np.float16, jnp.bfloat16):
        for got, of in zip(build(x.astype(dtype)), expected, strict=True):
            assert got.dtype == jnp.float32
            np.testing.assert_array_equal(got, of)


def test_an_axis_may_be_an_integer_of_numpy(unannotated):
    np.testing.assert_array_equal(max_abs_scaling(X, axis=np.int64(0)).scale, [[1, 1]])


def test_a_number_for_each_channel_for_each_pixel_or_for_everything():
    images = np.random.default_rng(2).uniform(0, 255, size=(6, 4, 3, 2)).astype(np.uint8)
    for axis in (0, (0, 1, 2), (-4, -3, -2), (0, 1, 2, 3)):
        for build, middle in ((standard_scaling, np.mean), (robust_scaling, np.median)):
            scaling = build(images, axis=axis)
            np.testing.assert_allclose(scaling.offset, middle(images, axis=axis, keepdims=True), rtol=1e-5)
            assert scaling(images).shape == images.shape
            assert scaling(images).dtype == jnp.float32


def test_data_has_its_inputs_scaled_and_keeps_its_dtype():
    data = nn.Data(jnp.asarray(TRAIN, jnp.bfloat16), np.arange(23), np.ones(23, np.float32))
    scaling = standard_scaling(data)
    scaled = scaling(data)
    assert scaled.x.dtype == jnp.bfloat16
    assert scaling.scale.dtype == jnp.float32
    assert scaled.y is data.y
    assert scaled.w is data.w
    assert scaling.inverse(scaled).x.dtype == jnp.bfloat16


def test_found_for_each_fold_by_vmap_on_its_training_part_alone():
    x, rows = TRAIN.astype(np.float32), np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    both = jax.jit(jax.vmap(lambda rows: standard_scaling(nn.Data(x, None).take(rows))))(rows)
    assert isinstance(both, Scaling)
    assert both.offset.shape == (2, 1, 5)
    for fold, training in enumerate(rows):
        np.testing.assert_allclose(both.offset[fold, 0], x[training].mean(axis=0), rtol=1e-5, atol=1e-5)


def test_a_swept_range_and_swept_quantiles():
    x = TRAIN[:, :1].astype(np.float32)
    ends = np.array([1.0, 2.0], np.float32)
    scaled = jax.jit(jax.vmap(lambda high: min_max_scaling(x, high=high)(x)))(ends)
    np.testing.assert_allclose(scaled.max(axis=(1, 2)), ends, rtol=1e-6)
    upper = np.array([0.6, 0.9], np.float32)
    scale = jax.jit(jax.vmap(lambda q: robust_scaling(x, quantiles=(0.5, q)).scale))(upper)
    np.testing.assert_allclose(scale[:, 0, 0], np.quantile(x, upper) - np.median(x), rtol=1e-4)


X, W = np.ones((3, 2), np.float32), np.ones(3, np.float32)
WRONG = {
    "no array": (lambda: standard_scaling([1.0]), TypeError, r"expected x as an array or nn.Data of one, because its "
                 r"values are scaled; got 1.0\n  hint: jnp.asarray\(x\)$"),
    "a number": (lambda: standard_scaling(X[0, 0]), ValueError,
                 r"expected x of shape \(batch, ...\), because its first axis is that of examples; got \(\)$"),
    "without examples' axis": (lambda: max_abs_scaling(X, axis=1), ValueError,
                               r"expected axis 0, of examples, and perhaps more of the 2 that x has, because one "
                               r"number is for all examples; got axis=1$"),
    "beyond": (lambda: max_abs_scaling(X, axis=(0, 2)), ValueError, r"of the 2 that x has, .*; got axis=\(0, 2\)$"),
    "weights": (lambda: robust_scaling(X, W[:2]), ValueError,
                r"expected w as an array of shape \(3,\), because it weighs examples; got float32\[2\]$"),
    "negative": (lambda: robust_scaling(X, -W), ValueError, r"expected w of at least 0, because it weighs examples; "
                 r"got w from -1.0 to -1.0$"),
    "weightless": (lambda: min_max_scaling(X, 0 * W), ValueError, r"expected at least one example that weighs "
                   r"something, because a scaling is found from them; got 3, all of weight 0$"),
    "empty": (lambda: min_max_scaling(X[:0]), ValueError, r"at least one example .*; got 0$"),
    "NaN": (lambda: standard_scaling(np.array([[0.0], [np.nan], [np.inf]])), ValueError, r"expected x to be finite, "
            r"because one NaN is in every mean; got NaN or infinity in 2 of 3 examples, first in example 1$"),
    "range": (lambda: min_max_scaling(X, low=1.0), ValueError, r"expected low below high, because the values go from "
              r"one to the other; got 1.0 and 1.0$"),
    "quantiles": (lambda: robust_scaling(X, quantiles=(0.75, 0.25)), ValueError, r"expected quantiles from 0 to 1, the "
                  r"smaller one first, because the distance between them is the scale; got 0.75 and 0.25$"),
    "percents": (lambda: robust_scaling(X, quantiles=(25, 75)), ValueError, r"quantiles from 0 to 1, .* 25 and 75$"),
    "other inputs": (lambda: standard_scaling(X)(np.ones((3, 4))), ValueError,
                     r"expected x of shape \(batch, 2\), because offset and scale are \(1, 2\); got \(3, 4\)$"),
    "other channels": (lambda: standard_scaling(np.ones((2, 4, 4, 3), np.float32), axis=(0, 1, 2))(np.ones((2, 4, 4))),
                       ValueError, r"expected x of shape \(batch, any, any, 3\), because offset and scale are "
                       r"\(1, 1, 1, 3\); got \(2, 4, 4\)$"),
    "not of targets": (lambda: standard_scaling(X[:, 0])(X), ValueError, r"expected x of shape \(batch,\), because "),
    "several inputs": (lambda: standard_scaling(nn.Data({"a": X, "b": X}, W)), TypeError, r"expected x as an array or "
                       r"nn.Data of one, .*\n  hint: each of several inputs has a scaling of its own$"),
    "complex": (lambda: standard_scaling(X.astype(np.complex64)), TypeError, r"expected x of real numbers, because the "
                r"smallest and the largest are looked for; got complex64$"),
    "no axis": (lambda: standard_scaling(X, axis=None), TypeError, r"expected axis to be an int, because one number is "
                r"for all examples; got None$"),
    "a weight of NaN": (lambda: standard_scaling(X, np.array([1, np.nan, np.inf], np.float32)), ValueError,
                        r"expected w to be finite, because it weighs examples; got NaN or infinity in 2 of 3 "
                        r"examples$"),
    "scaling a list": (lambda: standard_scaling(X)([1.0]), TypeError,
                       r"expected x as an array or nn.Data, because it is scaled; got 1.0$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_an_error(call, kind, message, unannotated):
    with pytest.raises(kind, match=message):
        call()
