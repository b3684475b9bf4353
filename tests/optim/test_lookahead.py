"""Lookahead: equal to optax's step for step, to the two loops of the paper, and sweepable."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

STEPS = 12
random = np.random.default_rng(0)
START = {"w": random.normal(size=(2, 3)), "b": random.normal(size=3), "held": None}
NOISE = {"w": random.normal(size=(STEPS, 2, 3)), "b": random.normal(size=(STEPS, 3)), "held": None}


def run(optimizer, pair, dtype=jnp.float64, wrap=jax.jit):
    """Parameters and states after each step on a noisy quadratic, in one program."""
    params = pair.init_synced(jax.tree.map(lambda p: jnp.asarray(p, dtype), START))
    noise = jax.tree.map(lambda n: jnp.asarray(n, dtype), NOISE)

    def step(carry, noise):
        params, state = carry
        grads = jax.tree.map(lambda p, n: p + n, params.fast, noise)
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), (params, state)

    return wrap(lambda: jax.lax.scan(step, (params, optimizer.init(params)), noise)[1])()


def assert_close(ours, theirs, tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reset_state", [False, True])
@pytest.mark.parametrize(("period", "alpha"), [(1, 0.5), (3, 0.8), (5, 0.0)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-5)], ids=["f64", "f32"])
def test_it_equals_optax_step_for_step(period, alpha, reset_state, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        ours = optim.lookahead(optim.adam(0.1), period, alpha, reset_state)
        with jax.numpy_dtype_promotion("standard"):
            theirs = optax.lookahead(optax.adam(jnp.asarray(0.1, dtype)), period, alpha, reset_state)
            assert_close(run(ours, optim.LookaheadParams, dtype), run(theirs, optax.LookaheadParams, dtype), tolerance)
        assert_close(run(ours, optax.LookaheadParams, dtype), run(ours, optim.LookaheadParams, dtype), 0)


def test_it_is_the_two_loops_of_the_paper(x64):
    slow, seen = START["w"], []
    for t in range(0, STEPS, 3):
        fast = slow
        for noise in NOISE["w"][t : t + 3]:
            fast = fast - 0.1 * (fast + noise)
        slow = slow + 0.8 * (fast - slow)
        seen.append(slow)
    params, state = run(optim.lookahead(optim.sgd(0.1), 3, 0.8), optim.LookaheadParams)
    np.testing.assert_allclose(params.slow["w"][2::3], seen, rtol=1e-12)
    np.testing.assert_allclose(params.fast["w"][2::3], seen, rtol=1e-12)
    np.testing.assert_array_equal(state.steps_since_sync, [1, 2, 0] * 4)


def test_vmap_over_the_period_and_the_step_size_equals_a_loop(x64):
    last = lambda period, alpha: run(
        optim.lookahead(optim.adam(0.1), period, alpha), optim.LookaheadParams, wrap=jax.jit
    )
    mapped = jax.vmap(last)(jnp.array([2, 5]), jnp.array([0.5, 0.9]))
    looped = [last(2, 0.5), last(5, 0.9)]
    assert_close(mapped, jax.tree.map(lambda *leaves: np.stack(leaves), *looped), 1e-12)


@pytest.mark.parametrize("reset_state", [False, True])
def test_its_derivatives_are_right(reset_state, x64):
    def last(rate, alpha):
        params, _ = run(optim.lookahead(optim.adam(rate), 3, alpha, reset_state), optim.LookaheadParams)
        return (params.slow["w"][-1] * np.arange(6.0).reshape(2, 3)).sum()

    derivatives, at, h = jax.grad(last, (0, 1))(0.1, 0.8), jax.jit(last), 1e-6
    differences = [(at(0.1 + h, 0.8) - at(0.1 - h, 0.8)) / (2 * h), (at(0.1, 0.8 + h) - at(0.1, 0.8 - h)) / (2 * h)]
    np.testing.assert_allclose(derivatives, differences, rtol=1e-6)


def test_the_dtype_stays_in_bfloat16_and_extra_arguments_go_to_the_fast_optimizer():
    fast = optim.chain(optim.sgd(0.1), optim.reduce_on_plateau(0.5, 1))
    optimizer, params = optim.lookahead(fast, 2, 0.5), optim.LookaheadParams.init_synced(jnp.ones(2, jnp.bfloat16))
    state = optimizer.init(params)
    updates, new = optimizer.update(params.fast, state, params, value=jnp.float32(1))
    assert jax.tree.map(lambda leaf: leaf.dtype, new) == jax.tree.map(lambda leaf: leaf.dtype, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}


def test_its_state_and_arguments_are_those_of_optax():
    assert optim.LookaheadState._fields == optax.LookaheadState._fields
    assert optim.LookaheadParams._fields == optax.LookaheadParams._fields
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(optim.lookahead) == outline(optax.lookahead)
    fast_only = optim.lookahead(optim.adam(0.1), 2, 0.5).init(jnp.ones(2))
    assert isinstance(fast_only, optim.LookaheadState)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"expected sync_period of 1 or more, because it counts steps; got 0"):
        optim.lookahead(optim.sgd(0.1), 0, 0.5)
    with pytest.raises(ValueError, match=r"expected slow_step_size from 0 to 1, because it is the part .*; got -0.5"):
        optim.lookahead(optim.sgd(0.1), 2, -0.5)
    optimizer = optim.lookahead(optim.sgd(0.1), 2, 0.5)
    with pytest.raises(ValueError, match=r"expected params to be LookaheadParams, because .*; got dict\n  hint: begin"):
        optimizer.update({}, optimizer.init({}), {})


# With the slow parameters in the state.


def run_with(optimizer, dtype=jnp.float64):
    """The same as `run`, of an optimizer whose parameters are the fast ones."""
    params, noise = (jax.tree.map(lambda p: jnp.asarray(p, dtype), tree) for tree in (START, NOISE))

    def step(carry, noise):
        params, state = carry
        updates, state = optimizer.update(jax.tree.map(jnp.add, params, noise), state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), (params, state)

    return jax.jit(lambda: jax.lax.scan(step, (params, optimizer.init(params)), noise)[1])()


@pytest.mark.parametrize("reset_state", [False, True])
@pytest.mark.parametrize(("period", "alpha"), [(1, 0.5), (3, 0.8), (5, 0.0)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.bfloat16, 0)], ids=["f64", "bf16"])
def test_with_slow_ones_in_the_state_it_takes_the_same_steps(period, alpha, reset_state, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        arguments = optim.adam(0.1), period, alpha, reset_state
        fast, state = run_with(optim.with_lookahead(*arguments), dtype)
        pair, of_pair = run(optim.lookahead(*arguments), optim.LookaheadParams, dtype)
        assert_close((fast, state.slow), (pair.fast, pair.slow), tolerance)
        assert_close((state.fast_state, state.steps_since_sync), of_pair, tolerance)
        assert state.slow["held"] is None
        if (period, alpha, dtype) == (3, 0.8, jnp.float64):
            assert (fast["w"][1] != state.slow["w"][1]).all()
            np.testing.assert_allclose(fast["w"][2::3], state.slow["w"][2::3], rtol=1e-12)


def test_with_slow_ones_in_the_state_its_numbers_can_be_swept(x64):
    last = lambda period, alpha: run_with(optim.with_lookahead(optim.adam(0.1), period, alpha))
    mapped = jax.vmap(last)(jnp.array([2, 5]), jnp.array([0.5, 0.9]))
    looped = [last(2, 0.5), last(5, 0.9)]
    assert_close(mapped, jax.tree.map(lambda *leaves: np.stack(leaves), *looped), 1e-12)


def test_a_trainer_takes_it_with_slow_ones_in_the_state(x64):
    data = nn.Data(jnp.ones((6, 1)), jnp.zeros((6, 1)))
    t = nn.trainer(nn.Dense(1, bias=False), nn.losses.mse, optim.with_lookahead(nn.sgd(0.1), 2))
    begun = t.init(jax.random.key(0), data.x)
    ts, _ = nn.fit(t, begun, data, epochs=1, batch_size=2)
    w = slow = float(begun.params["w"][0, 0])  # the loss is w^2
    for step in range(3):
        w -= 0.1 * 2 * w
        if step == 1:
            w = slow = slow + 0.5 * (w - slow)
    np.testing.assert_allclose(ts.params["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(optax.tree.get(ts.opt_state, "slow")["w"], [[slow]], rtol=1e-12)
    assert len({leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((begun.params, begun.opt_state))}) == 3


def test_with_slow_ones_in_the_state_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"expected sync_period of 1 or more, because it counts steps; got 0"):
        optim.with_lookahead(optim.sgd(0.1), 0)
    optimizer = optim.with_lookahead(optim.sgd(0.1))
    with pytest.raises(ValueError, match=r"expected params, because the slow ones follow them; got None"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
