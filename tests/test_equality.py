"""Initialisers and metrics whose settings are arrays: equal by value, found again by what is compiled for them."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import metrics as m
from jaxnn.initializers import constant, identity, normal, orthogonal, sparse, uniform, variance_scaling

ROW = {
    "constant": constant,
    "thresholds": m.RocCurve,
    "within": lambda thresholds: m.Through(nn.sigmoid, m.AveragePrecision(thresholds)),
}
NUMBER = {
    "normal": normal,
    "uniform": uniform,
    "identity": identity,
    "orthogonal": orthogonal,
    "sparse": lambda stddev: sparse(nonzeros=2, stddev=stddev),
    "variance_scaling": lambda scale: variance_scaling(scale, "fan_in", "normal"),
    "threshold": lambda threshold: m.Precision(threshold=threshold),
    "beta": lambda beta: m.FBeta(beta, threshold=0.5),
}


@pytest.mark.parametrize("make", [*ROW.values(), *NUMBER.values()], ids=[*ROW, *NUMBER])
def test_two_with_arrays_of_the_same_numbers_are_equal_and_hash_alike(make):
    array = lambda x: jnp.asarray(x if make in NUMBER.values() else [x, 2 * x])
    one, same, other = make(array(0.25)), make(array(0.25)), make(array(0.375))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert {one, same, other} == {one, other}
    assert repr(one) == repr(same)
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert hash(again) == hash(one)


@pytest.mark.parametrize("make", ROW.values(), ids=ROW)
def test_arrays_of_another_dtype_or_shape_are_others(make):
    one = make(jnp.array([0.25, 0.5]))
    assert one != make(jnp.array([0.25, 0.5], jnp.bfloat16))
    assert one != make(jnp.array([0.25, 0.5, 0.75]))


def test_an_array_is_no_number_and_a_number_of_numpy_is_the_one_it_holds():
    assert normal(0.25) != normal(jnp.float32(0.25))
    assert normal(0.25) == normal(np.float32(0.25))
    assert hash(normal(0.25)) == hash(normal(np.float32(0.25)))
    assert normal(0.25) != uniform(0.25)


def test_a_tracer_is_itself_alone_and_does_not_hash():
    @jax.jit
    def compare(a, b):
        one = normal(a)
        assert one == normal(a)
        assert one != normal(b)
        assert one != normal(0.5)
        with pytest.raises(TypeError, match="unhashable"):
            hash(one)
        return a

    compare(0.5, 0.5)


def test_a_layer_with_such_an_initialiser_is_a_value_too():
    layer = lambda: nn.Dense(2, b_init=constant(jnp.array([0.5, 1.0])))
    assert layer() == layer()
    assert hash(layer()) == hash(layer())
    assert layer() != nn.Dense(2)


def test_what_is_compiled_for_one_serves_another_that_is_written_anew(key):
    traced = []

    def score(prediction):
        traced.append(prediction)
        return prediction

    trainer = nn.trainer(nn.serial(score), nn.losses.binary_cross_entropy, nn.sgd(0.1))
    data = nn.Data(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0]))
    ts = trainer.init(key, data.x)
    curves = [nn.evaluate(trainer, ts, data, m.RocCurve(jnp.array([0.2, 0.5]))) for _ in range(2)]
    before = len(traced)
    third = nn.evaluate(trainer, ts, data, m.RocCurve(jnp.array([0.2, 0.5])))
    assert len(traced) == before
    jax.tree.map(np.testing.assert_array_equal, curves, [third, third])


def test_a_constant_of_each_feature_fills_the_last_axis_and_no_other(key):
    np.testing.assert_array_equal(constant(jnp.array([1.0, 2.0]))(key, (3, 2), jnp.float32), [[1, 2]] * 3)
    with pytest.raises(nn.ShapeError, match=r"^expected a constant of shape \(\) or \(3,\), because .*; got \(2,\)$"):
        constant(jnp.array([1.0, 2.0]))(key, (2, 3), jnp.float32)
    assert repr(constant(jnp.array([1.0, 2.0]))) == "Constant([1. 2.])"
