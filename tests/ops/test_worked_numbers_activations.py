"""The numbers and the corrected errors of the catalogue's activations, each in a test named after its item."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import ops

# The worked numbers of the catalogue: (op, x, value, slope), None where it has none.
WORKED = {
    "ACT-1": [(ops.step, -1, 0, 0), (ops.step, 0, 0, 0), (ops.step, 1, 1, 0)],
    "ACT-2": [(ops.step.bind(high=10.0), 0.5, 10, 0), (ops.step.bind(high=10.0), -0.5, 0, 0)],
    "ACT-3": [(ops.identity, -2.5, -2.5, 1), (ops.identity.bind(slope=3.0), 2, 6, 3)],
    "ACT-4": [
        (ops.sigmoid, 0, 0.5, 0.25),
        (ops.sigmoid, 1, 0.7310585786, None),
        (ops.sigmoid, 2, 0.8807970780, 0.1049935854),
        (ops.sigmoid, 1000, 1, 0),
        (ops.sigmoid, -1000, 0, 0),
    ],
    "ACT-6": [(ops.tanh, 1, 0.7615941560, 0.4199743416), (ops.tanh, 0, 0, 1)],
    "ACT-7": [(ops.relu, -2, 0, 0), (ops.relu, 0, 0, 0), (ops.relu, 3, 3, 1)],
    "ACT-8": [(ops.leaky_relu, -1, -0.01, 0.01), (ops.leaky_relu, 2, 2, 1)],
    "28-18": [(ops.leaky_relu, -1, -0.01, 0.01)],
    "ACT-10": [(ops.elu, -1, -0.6321205588, 0.3678794412)],
    "ACT-11": [
        (ops.swish, 0, 0, 0.5),
        (ops.swish, 1, 0.7310585786, None),
        (ops.swish, -1, -0.2689414214, None),
        (ops.swish, -1.2784645428, -0.2784645428, 0),
    ],
    "ACT-12": [
        (ops.gelu, 1, 0.8413447461, None),
        (ops.gelu, -1, -0.1586552539, None),
        (ops.gelu_tanh, 1, 0.8411919906, None),
        (ops.gelu, -0.7517915247, -0.1699712074, 0),
    ],
    "E-2": [(ops.step, 0, 0, 0), (ops.step.bind(threshold=2.0), 2, 0, 0)],
    "E-7": [(ops.sigmoid, 2, 1 / (1 + np.exp(-2)), None)],
    "E-8": [(ops.sigmoid, 0, 0.5, 0.25)],  # without the square the slope would be 0.5
    "E-9": [(ops.leaky_relu.bind(slope=1.5), 2, 2, 1), (ops.leaky_relu.bind(slope=1.5), -2, -3, 1.5)],
}
LINES = [(item, *line) for item, lines in WORKED.items() for line in lines]


@pytest.mark.parametrize(("item", "op", "x", "value", "slope"), LINES, ids=[f"{i}-{o}({x})" for i, o, x, *_ in LINES])
def test_worked_number(item, op, x, value, slope, x64):
    x = jnp.asarray(x, jnp.float64)
    y, residuals = op.fwd(x)
    np.testing.assert_allclose(y, value, rtol=2e-10, atol=2e-10)
    if slope is not None:
        np.testing.assert_allclose(op.bwd(residuals, jnp.ones_like(x))[0], slope, rtol=2e-10, atol=2e-10)
        np.testing.assert_allclose(jax.grad(op)(x), slope, rtol=2e-10, atol=2e-10)


GRID = np.linspace(-8, 8, 4001)


def test_ACT_4_sigmoid_is_odd_about_one_half_and_steepest_at_0(x64):
    y, residuals = ops.sigmoid.fwd(jnp.asarray(GRID))
    np.testing.assert_allclose(y, 1 - ops.sigmoid(jnp.asarray(-GRID)), rtol=1e-12)
    (slope,) = ops.sigmoid.bwd(residuals, jnp.ones_like(y))
    assert GRID[slope.argmax()] == 0


def test_28_23_and_E_69_the_slope_of_the_sigmoid_is_above_0_and_at_most_one_quarter(x64):
    (slope,) = ops.sigmoid.bwd(ops.sigmoid(jnp.asarray(GRID)), jnp.ones(GRID.shape))
    assert slope.min() > 0
    assert slope.max() == 0.25


def test_ACT_5_the_chain_of_the_sigmoids_derivative(x64):
    """s = v^-1 of v = 1 + e^-x, so s' = -v^-2 (-e^-x); at 0 it is 1/4."""
    v, dv = 1 + np.exp(-GRID), -np.exp(-GRID)
    (slope,) = ops.sigmoid.bwd(ops.sigmoid(jnp.asarray(GRID)), jnp.ones(GRID.shape))
    np.testing.assert_allclose(slope, -(v**-2) * dv, rtol=1e-10)


def test_ACT_6_tanh_is_a_stretched_sigmoid(x64):
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(ops.tanh(x), 2 * ops.sigmoid(2 * x) - 1, rtol=1e-12, atol=1e-15)


def test_E_13_tanh_is_centred_on_0(x64):
    assert abs(ops.tanh(jnp.asarray(GRID)).mean()) < 1e-12
    np.testing.assert_allclose(ops.sigmoid(jnp.asarray(GRID)).mean(), 0.5, rtol=1e-12)


def test_ACT_9_and_E_9_prelu_is_in_two_pieces_and_learns_its_slope(x64):
    x, slope = jnp.array([2.0, -2.0]), jnp.array(1.5)
    y, residuals = ops.prelu.fwd(x, slope)
    np.testing.assert_array_equal(y, [2.0, -3.0])  # max(a x, x) would be 3 and -2
    dx, d_slope = ops.prelu.bwd(residuals, jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(dx, [0.0, 1.5])
    assert d_slope == -2.0


def test_ACT_13_softmax(x64):
    x = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ops.softmax(x), [0.0900305732, 0.2447284711, 0.6652409558], rtol=1e-9)
    np.testing.assert_array_equal(ops.softmax(jnp.array([1000.0, 1000.0])), [0.5, 0.5])
    np.testing.assert_allclose(ops.softmax(x + 12.5), ops.softmax(x), rtol=1e-14)
    np.testing.assert_allclose(ops.softmax(x).sum(), 1.0, rtol=1e-15)
    np.testing.assert_allclose(ops.log_softmax(x), np.log(ops.softmax(x)), rtol=1e-14)


ROWS = {
    "probabilities": ([0.2, 0.7, 0.1], True),
    "one-hot": ([0.0, 1.0, 0.0], True),
    "rounded": ([0.3333, 0.3333, 0.3333], True),
    "sum above 1": ([0.6, 0.5, 0.1], False),
    "sum below 1": ([0.2, 0.2, 0.2], False),
    "negative": ([-0.1, 0.6, 0.5], False),
    "above 1": ([1.2, -0.1, -0.1], False),
    "nan": ([np.nan, 0.5, 0.5], False),
    "infinite": ([np.inf, 0.0, 0.0], False),
}


@pytest.mark.parametrize(("row", "expected"), ROWS.values(), ids=ROWS)
def test_ACT_14_a_row_of_probabilities_is_told(row, expected):
    assert bool(jax.jit(ops.is_probability_vector)(jnp.array(row))) == expected


def test_ACT_14_what_softmax_puts_out_is_one_in_every_precision():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 300)) * 10)
    assert ops.is_probability_vector(ops.softmax(x)).all()
    assert ops.is_probability_vector(ops.softmax(x, axis=0), axis=0).all()
    assert ops.is_probability_vector(ops.softmax(x.astype(jnp.bfloat16)), tolerance=0.02).all()


def test_E_4_a_step_has_two_values_and_none_between():
    x = jnp.asarray(GRID, jnp.float32)
    assert set(ops.step(x).tolist()) == {0.0, 1.0}
    assert set(ops.step(x, low=-1.0).tolist()) == {-1.0, 1.0}


def test_E_5_and_28_21_a_step_of_0_and_10_teaches_nothing_below_it_and_relu_has_a_kink_too():
    x = jnp.asarray(GRID, jnp.float32)
    for road in (jax.grad(lambda x: ops.step(x, high=10.0).sum()), lambda x: ops.step.bwd(None, x, high=10.0)[0]):
        np.testing.assert_array_equal(road(x), np.zeros(x.shape))
    h = 2.0**-10
    assert (ops.relu(jnp.float32(h)) - ops.relu(jnp.float32(0.0))) / h == 1.0
    assert (ops.relu(jnp.float32(0.0)) - ops.relu(jnp.float32(-h))) / h == 0.0


def test_E_6_a_linear_activation_returns_its_input_only_with_slope_1():
    x = jnp.array([-2.0, 3.0])
    np.testing.assert_array_equal(ops.identity(x), x)
    np.testing.assert_array_equal(ops.identity(x, slope=0.5), x / 2)


def test_E_10_ranges(x64):
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(ops.swish(x).min(), -0.2784645, atol=1e-6)
    np.testing.assert_allclose(ops.gelu(x).min(), -0.1699712, atol=1e-6)
    assert ops.leaky_relu(x).min() < 0
    assert ops.leaky_relu(x, slope=0.0).min() == 0
    assert ops.leaky_relu(x, slope=-0.1).min() == 0


def test_E_11_gelu_is_x_times_the_probability_of_a_standard_normal(x64):
    x = np.array([-1.5, 0.3, 2.0])
    z = np.random.default_rng(0).normal(size=10**6)
    np.testing.assert_allclose(ops.gelu(jnp.asarray(x)), [a * (z <= a).mean() for a in x], atol=5e-3)
