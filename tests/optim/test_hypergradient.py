"""Learning rates that follow gradients: by the loops of the paper, by the derivative, and by the notes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import optim

pytestmark = pytest.mark.usefixtures("x64")

CURVATURE = np.array([1.0, 5.0, 0.3])
START = np.array([2.0, -1.0, 3.0])
RULES = [optim.hypergradient_descent, optim.multiplicative_hypergradient_descent]


def path(optimizer, steps, start=START, curvature=CURVATURE):
    """Parameters and states, step for step, on a quadratic."""

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(curvature * x, state, x)
        x = optim.apply_updates(x, updates)
        return (x, state), (x, state)

    x = jnp.asarray(start)
    return jax.jit(lambda: jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[1])()


def sgd(g, memory):
    return g, memory


def heavy_ball(g, v):
    v = 0.9 * v + g
    return v, v


def nesterov(g, v):
    v = 0.9 * v + g
    return g + 0.9 * v, v


def adam(g, memory):
    t, m, v = memory if isinstance(memory, tuple) else (0, 0.0, 0.0)
    t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), (t, m, v)


def loop(base, rate, beta, steps):
    """Algorithms 4 to 6 of the paper: h is the derivative of the loss, and u of the update, by the rate."""
    x, memory, u, seen = START, 0.0, np.zeros(3), []
    for _ in range(steps):
        g = CURVATURE * x
        h = g @ u
        rate = rate - beta * h
        d, memory = base(g, memory)
        x, u = x - rate * d, -d
        seen.append((x, rate))
    return tuple(np.array(s) for s in zip(*seen, strict=True))


@pytest.mark.parametrize(
    ("direction", "base", "beta"),
    [
        pytest.param(optim.identity(), sgd, 1e-3, id="gradient descent"),
        pytest.param(optim.trace(0.9), heavy_ball, 1e-5, id="heavy ball"),
        pytest.param(optim.trace(0.9, nesterov=True), nesterov, 1e-5, id="Nesterov"),
        pytest.param(optim.scale_by_adam(), adam, 1e-4, id="Adam"),
    ],
)
def test_it_is_the_loop_of_the_paper(direction, base, beta):
    xs, state = path(optim.hypergradient_descent(direction, 0.01, beta), 50)
    expected_xs, expected_rates = loop(base, 0.01, beta, 50)
    np.testing.assert_allclose(xs, expected_xs, rtol=1e-12)
    np.testing.assert_allclose(state.learning_rate, expected_rates, rtol=1e-12)
    assert np.ptp(expected_rates) > 1e-3, "the rate hardly moved"


@pytest.mark.parametrize("direction", [optim.identity(), optim.trace(0.9), optim.scale_by_adam()])
def test_HP_5_the_rate_moves_against_the_derivative_of_the_loss_by_it(direction):
    beta, loss = 1e-3, lambda x: jnp.sum(jnp.cos(x)) + jnp.sum(CURVATURE * x**2)
    x = jnp.asarray(START)

    def after(rate):
        """The loss after a step with this rate, and with it where that leads."""
        optimizer = optim.hypergradient_descent(direction, rate, beta)
        updates, state = optimizer.update(jax.grad(loss)(x), optimizer.init(x), x)
        return loss(x + updates), (x + updates, state)

    derivative, (x1, state) = jax.jit(jax.grad(after, has_aux=True))(0.05)
    optimizer = optim.hypergradient_descent(direction, 0.05, beta)
    _, state = jax.jit(optimizer.update)(jax.grad(loss)(x1), state, x1)
    np.testing.assert_allclose(state.learning_rate, 0.05 - beta * derivative, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_multiplicative_rule_does_not_depend_on_the_scale_of_the_loss(scale):
    optimizer = optim.multiplicative_hypergradient_descent(optim.identity(), 0.1 / scale, 0.02)
    xs, state = path(optimizer, 30, curvature=scale * CURVATURE)
    ours, rates = path(optim.multiplicative_hypergradient_descent(optim.identity(), 0.1, 0.02), 30)
    np.testing.assert_allclose(xs, ours, rtol=1e-9)
    np.testing.assert_allclose(scale * state.learning_rate, rates.learning_rate, rtol=1e-9)


def test_the_multiplicative_rule_adds_a_percentage_of_the_cosine():
    g, d = np.array([3.0, 4.0]), np.array([8.0, 6.0])
    optimizer = optim.multiplicative_hypergradient_descent(optim.identity(), 0.5, 0.1)
    state = optimizer.init(jnp.zeros(2))._replace(direction=jnp.asarray(d))
    assert float(optimizer.update(jnp.asarray(g), state)[1].learning_rate) == pytest.approx(0.5 * (1 + 0.1 * 24 / 25))


@pytest.mark.parametrize("rule", RULES)
def test_a_rate_that_is_too_small_grows_and_one_that_is_too_large_falls(rule):
    for rate, changes in ((0.01, 1), (0.38, -1)):
        _, state = path(rule(optim.identity(), rate, 1e-3), 4)
        assert np.sign(np.asarray(state.learning_rate)[-1] - rate) == changes


@pytest.mark.parametrize("rule", RULES)
def test_the_first_step_is_taken_with_the_rate_as_given_and_a_hyper_rate_of_0_keeps_it(rule):
    xs, state = path(rule(optim.trace(0.9), 0.01, 0.0), 20)
    np.testing.assert_allclose(xs, path(optim.momentum(0.01, 0.9), 20)[0], rtol=1e-12)
    np.testing.assert_array_equal(state.learning_rate, 0.01)


@pytest.mark.parametrize("rule", RULES)
def test_a_gradient_of_zero_leaves_everything_as_it_is_and_has_finite_derivatives(rule):
    def last(rate, beta):
        optimizer, x = rule(optim.trace(0.9), rate, beta), jnp.zeros(3)
        state = optimizer.init(x)
        for _ in range(3):
            updates, state = optimizer.update(0 * x, state, x)
            x = x + updates
        return state.learning_rate + x.sum()

    assert float(last(0.1, 0.02)) == 0.1
    np.testing.assert_array_equal(jax.jit(jax.grad(last, (0, 1)))(0.1, 0.02), (1.0, 0.0))


@pytest.mark.parametrize("rule", RULES)
def test_the_rate_is_kept_in_float32_where_the_parameters_are_in_bfloat16(rule):
    """One of 0.1 and 1e-4 of it: in bfloat16 their sum is 0.1 again."""
    optimizer, g = rule(optim.identity(), 0.1, 1e-4), jnp.ones(1, jnp.bfloat16)

    def step(state, _):
        updates, state = optimizer.update(g, state)
        return state, updates

    state, updates = jax.lax.scan(step, optimizer.init(g), length=101)
    assert (state.learning_rate.dtype, updates.dtype, state.direction.dtype) == (jnp.float32, jnp.bfloat16, g.dtype)
    expected = 0.1 + 100 * 1e-4 if rule is optim.hypergradient_descent else 0.1 * 1.0001**100
    assert float(state.learning_rate) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_extra_arguments_reach_what_gives_the_direction(rule):
    plateau = optim.reduce_on_plateau(0.5, patience=1)
    optimizer, x = rule(plateau, 0.1, 0.0), jnp.ones(2)
    state = optimizer.init(x)
    for value in (1.0, 1.0):
        updates, state = optimizer.update(x, state, x, value=value)
    np.testing.assert_allclose(updates, -0.05 * np.ones(2), rtol=1e-12)


# The rate of the notes, in proportion to the gradient, on x^2.


@pytest.mark.parametrize(
    ("optimizer", "start", "expected"),
    [
        pytest.param(optim.proportional_rate(0.01), 2.0, [1.84, 1.704576], id="LRS-7"),
        pytest.param(optim.proportional_rate(0.01), 60.0, [-84.0, 198.24], id="E-44 diverges from above 50"),
        pytest.param(optim.proportional_rate(0.01), 50.0, [-50.0, 50.0], id="E-44 oscillates at 50"),
        pytest.param(optim.proportional_rate(0.01, 1.0), 60.0, [58.8, 57.624], id="E-44 limited to plain descent"),
        pytest.param(optim.proportional_rate(0.01, 1.0), 0.25, [0.2475], id="E-44 below the limit it is the same"),
        pytest.param(
            optim.proportional_rate(lambda count: 0.01 / (count.astype(float) + 1)),
            2.0,
            [1.84, 1.772288],
            id="schedule",
        ),
    ],
)
def test_LRS_7_the_original_rate_times_the_gradient(optimizer, start, expected):
    xs, _ = path(optimizer, len(expected), start, 2.0)
    np.testing.assert_allclose(xs, expected, rtol=1e-12)


def test_E_44_near_the_minimum_it_creeps():
    xs, _ = path(optim.proportional_rate(0.01), 2000, 49.0, 2.0)
    assert float(xs[-1]) == pytest.approx(1 / (4 * 0.01 * 2000), rel=0.05)
    assert abs(float(path(optim.sgd(0.01), 2000, 49.0, 2.0)[0][-1])) < 1e-15


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.hypergradient_descent(optim.identity(), -0.1, 1e-4),
            "expected learning_rate of 0 or more, because it is the length of a step; got -0.1",
        ),
        (
            lambda: optim.hypergradient_descent(optim.identity(), 0.1, jnp.nan),
            "expected hyper_learning_rate of 0 or more, because a rate moves against its gradient; got nan",
        ),
        (
            lambda: optim.multiplicative_hypergradient_descent(optim.identity(), -0.1, 0.1),
            "expected learning_rate of 0 or more, because it is the length of a step; got -0.1",
        ),
        (
            lambda: optim.multiplicative_hypergradient_descent(optim.identity(), 0.1, 1.0),
            "expected hyper_learning_rate from 0 to below 1, because a rate must keep its sign; got 1.0",
        ),
        (
            lambda: optim.proportional_rate(0.1, -1.0),
            "expected max_factor of 0 or more, because it limits a magnitude; got -1.0",
        ),
        (
            lambda: optim.proportional_rate(-0.1),
            "expected learning_rate of 0 or more, because it is the length of a step; got -0.1",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
