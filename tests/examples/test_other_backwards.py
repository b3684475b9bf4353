"""Straight-through units and gradient reversal: what the docstring expects is what is printed."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

NAME = "other_backwards"


@pytest.mark.slow
def test_binary_units_learn_and_a_watermark_is_hidden_by_their_own_backward_alone(told):
    got, output = told(NAME)
    own, derivative = "its own backward", "the derivative"
    assert got["binary"][own] >= 0.9
    assert got["binary"][derivative] <= 0.6
    assert got["reversal"][own][0] >= 0.93
    assert got["reversal"][own][1] <= 0.65
    assert got["reversal"][derivative][0] >= 0.93
    assert got["reversal"][derivative][1] >= 0.97
    assert f"binary units with its own backward: {got['binary'][own]:.4f} of test digits are right" in output


def test_at_a_tiny_size_both_run(told):
    got, output = told(NAME, epochs=1, hidden=4, features=2)
    assert set(got) == {"binary", "reversal"}
    assert output.count(" with its own backward: ") == output.count(" with the derivative: ") == 2


def test_a_binary_unit_is_the_op_with_a_surrogate(example):
    x, dy = jnp.array([[-2.0, -0.5, 0.0, 0.5, 2.0]]), jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    (y, _), residuals = example(NAME).Binary().fwd({}, {}, x)
    assert y.tolist() == [[-1, -1, -1, 1, 1]]
    _, dx = example(NAME).Binary().bwd(residuals, dy)
    op = nn.step.bind(low=-1.0, surrogate="clipped")
    expected, residuals = op.fwd(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, op.bwd(residuals, dy)[0])


def test_a_watermark_is_on_half_of_the_digits_and_the_same_on_all(example):
    data, _ = nn.data.digits()
    marked = example(NAME).watermarked(data, 0)
    pattern = (marked.x - data.x)[marked.y[:, 1] == 1]
    np.testing.assert_allclose(pattern, np.broadcast_to(pattern[0], pattern.shape), atol=1e-6)
    assert 0.4 < marked.y[:, 1].mean() < 0.6
    np.testing.assert_array_equal(marked.x[marked.y[:, 1] == 0], data.x[marked.y[:, 1] == 0])
