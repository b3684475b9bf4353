"""The comparison of the two roads: what it says of right backwards, of wrong ones, and of rules that are installed."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops import Op

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
X[0] = 0  # as a blank image: a relu after a bias of 0 is at its kink
BATCH = nn.Data(jnp.asarray(X), jnp.array([0, 1, 2, 0, 1, 2]))


def draw(key, shape, dtype):
    """As an initialiser, but with nothing to compile."""
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape), dtype)


Dense = partial(nn.Dense, w_init=draw)


def comparison_of(model, **settings):
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), **settings)
    ts = trainer.init(jax.random.key(0), BATCH.x)
    return nn.compare(trainer.model, trainer.loss, ts, BATCH, rounds=1)


def wrong_square(*, install):
    """x^2 with a derivative that is a tenth too large."""
    op = Op(lambda x: x * x)
    op.defvjp(lambda x: (x * x, x), lambda x, dy: (2.2 * x * dy,), install=install)
    return op


@pytest.fixture(scope="module")
def right():
    """Of a model in float32 whose gradients are right, with a bias before a normalisation and a frozen leaf."""
    model = nn.serial(Dense(5), nn.relu, Dense(5), nn.BatchNorm(), nn.relu, nn.Dropout(0.3), Dense(3))
    return comparison_of(model, freeze="dense_2/w")


@pytest.fixture(scope="module", params=[False, True], ids=["not installed", "installed"])
def wrong(request):
    """Of a model with a wrong backward in its middle, which JAX uses too if it is installed."""
    square, derivative = wrong_square(install=request.param), 2.2 if request.param else 2.0
    assert float(jax.grad(square)(1.0)) == pytest.approx(derivative)
    comparison = comparison_of(nn.serial(Dense(5), square, Dense(3)))
    assert float(jax.grad(square)(1.0)) == pytest.approx(derivative), "the rule is in force again afterwards"
    return comparison


@pytest.fixture(scope="module")
def of_a_wrong_loss():
    """Of a right model without a leaf that is zero, under a loss whose backward lacks a factor of 2."""
    loss = Op(lambda prediction, target: (prediction - target) ** 2)
    fwd = lambda prediction, target: ((prediction - target) ** 2, prediction - target)
    loss.defvjp(fwd, lambda e, dl: (e * dl, -e * dl))
    trainer = nn.trainer(Dense(4, bias=False), loss, nn.sgd(0.1))
    ts = trainer.init(jax.random.key(0), BATCH.x)
    return nn.compare(trainer.model, loss, ts, nn.Data(BATCH.x, 2 * BATCH.x), rounds=1)


def test_right_backwards_agree_to_the_precision_of_float64(right):
    assert right.agrees
    assert max(row.difference for row in right.rows) < 1e-10
    assert all(0 < row.central < 1e-5 for row in right.rows if not row.zero)


def test_frozen_leaves_are_left_out(right):
    learning = {"dense_0/w", "dense_0/b", "dense_1/w", "dense_1/b", "dense_2/b"}
    assert {row.name for row in right.rows} == learning | {"batch_norm_0/scale", "batch_norm_0/offset"}


def test_a_bias_before_a_normalisation_has_no_gradient_and_comes_last(right):
    assert [row.name for row in right.rows if row.zero] == ["dense_1/b"]
    assert right.rows[-1].name == "dense_1/b"
    line = next(line for line in str(right).splitlines() if line.startswith("dense_1/b"))
    assert line.split("(5,)")[1].split() == ["~0", "~0", "~0"]


def test_rows_tell_shape_and_size_of_the_gradient(right):
    row = next(row for row in right.rows if row.name == "dense_0/w")
    assert row.shape == (4, 5)
    assert 1e-3 < row.largest < 10


def test_leaves_that_were_zero_were_moved_and_it_says_by_how_much(right):
    moved = ("batch_norm_0/offset", "dense_0/b", "dense_1/b", "dense_2/b")
    assert (right.jittered, right.jitter) == (moved, 0.01)
    assert f"moved off zero by up to 0.01 for this: {', '.join(moved)}" in str(right)


def test_the_cost_of_each_road_is_told(right):
    for road, cost in (("by_hand", right.hand), ("by_autodiff", right.autodiff)):
        assert 0 < cost.seconds < 10
        assert cost.flops > 6 * 4 * 5
        assert any(line.startswith(road) and line.endswith("operations") for line in str(right).splitlines())


def test_it_says_that_the_roads_agree(right):
    assert str(right).splitlines()[-1] == "the two roads agree"
    assert "DISAGREES" not in str(right)


def test_float64_is_gone_when_it_is_done(right):
    assert jnp.zeros(()).dtype == jnp.float32
    assert not jax.config.jax_enable_x64


def test_a_wrong_backward_is_caught_in_every_layer_before_it_even_if_jax_uses_it_too(wrong):
    assert not wrong.agrees
    assert {row.name for row in wrong.rows if not row.agrees} == {"dense_0/w", "dense_0/b"}
    assert all(row.difference == pytest.approx(0.1, rel=1e-6) for row in wrong.rows if not row.agrees)


def test_what_disagrees_comes_first_and_is_marked(wrong):
    assert [row.agrees for row in wrong.rows] == [False, False, True, True]
    assert wrong.rows[0].difference >= wrong.rows[1].difference
    lines = str(wrong).splitlines()
    assert [line.endswith("DISAGREES") for line in lines[2:6]] == [True, True, False, False]
    assert lines[-1] == "THE TWO ROADS DISAGREE"


def test_central_differences_side_with_jax_not_with_the_wrong_backward(wrong):
    assert all(row.central < 1e-5 for row in wrong.rows)


def test_a_wrong_loss_is_caught(of_a_wrong_loss):
    (row,) = of_a_wrong_loss.rows
    assert not row.agrees
    assert row.difference == pytest.approx(0.5, rel=1e-6)


def test_nothing_is_said_to_have_moved_if_nothing_did(of_a_wrong_loss):
    assert of_a_wrong_loss.jittered == ()
    assert "moved" not in str(of_a_wrong_loss)


def test_a_wrong_forward_is_caught_where_the_gradients_agree():
    """A layer whose `fwd` adds a constant has the right derivative and the wrong value."""

    @dataclass(frozen=True)
    class Shifted(nn.Layer):
        def init(self, key, x):
            return {}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            return x, state

        def fwd(self, params, state, x, *, key=None, train=False):
            return (x + 1, state), ()

        def bwd(self, residuals, dy):
            return {}, dy

    first = lambda prediction, target: prediction[:, 0]
    trainer = nn.trainer(nn.serial(nn.Dense(2), Shifted()), first, nn.sgd(0.1))
    x = jnp.ones((4, 3))
    comparison = nn.compare(trainer.model, first, trainer.init(jax.random.key(0), x), nn.Data(x, x), rounds=1)
    assert all(row.agrees for row in comparison.rows)
    assert not comparison.agrees
    assert "loss, prediction or state DISAGREES" in str(comparison)


def test_numpy_batches_may_be_compared(right):
    trainer = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    x = np.ones((4, 3), np.float32)
    batch = nn.Data(x, np.array([0, 1, 1, 0]))
    assert nn.compare(trainer.model, trainer.loss, trainer.init(jax.random.key(0), x), batch, rounds=1).agrees
