"""Moments in bfloat16, rounded by chance: no bias, half of the memory, and how far they are from float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

STEPS = 2000


@functools.partial(jax.jit, static_argnums=0)
def second_moment(optimizer, g):
    """The running square after many steps with gradients of g."""
    step = lambda state, _: (optimizer.update(g, state, g)[1], None)
    state, _ = jax.lax.scan(step, optimizer.init(g), length=STEPS)
    return optax.tree.get(state, "nu").astype(jnp.float32)


def test_the_mean_of_what_is_rounded_is_what_was():
    x = jnp.asarray(np.random.default_rng(0).normal(size=64), jnp.float32)
    rounded = jax.jit(jax.vmap(lambda key: optim.stochastic_round(key, x)))(jax.random.split(jax.random.key(1), 4096))
    error = np.asarray(rounded.astype(jnp.float32)).mean(0) - x
    # A neighbour is up to 2^-7 |x| away, with a standard deviation of at most half of it, over sqrt(4096).
    assert (np.abs(error) < 5 * 2.0**-8 / 64 * np.abs(x)).all()
    nearest = np.abs(np.asarray(x.astype(jnp.bfloat16).astype(jnp.float32)) - x)
    assert (nearest > 5 * 2.0**-8 / 64 * np.abs(x)).any(), "to the nearest would pass too"


def test_it_is_one_of_the_two_neighbours():
    x = jnp.array([1.0 + 2**-9, -1.0 - 2**-9, 3.0, 1e-40, -(2.0**-133)])
    rounded = [optim.stochastic_round(jax.random.key(k), x).astype(jnp.float32) for k in range(20)]
    low, high = np.min(rounded, axis=0), np.max(rounded, axis=0)
    np.testing.assert_array_equal(low[:3], [1.0, -1.0 - 2**-7, 3.0])
    np.testing.assert_array_equal(high[:3], [1.0 + 2**-7, -1.0, 3.0])
    assert (np.abs(np.asarray(rounded)[:, 3:]) <= 1e-38).all()


@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, 0.0, -0.0])
def test_what_is_not_finite_and_0_stay(x):
    rounded = optim.stochastic_round(jax.random.key(0), jnp.full(1000, x, jnp.float32)).astype(jnp.float32)
    np.testing.assert_array_equal(rounded, np.full(1000, x, np.float32))
    assert (np.signbit(rounded) == np.signbit(np.float32(x))).all()


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match=r"expected x of float32, because bfloat16 is the upper half .*; got bfloat16"):
        optim.stochastic_round(jax.random.key(0), jnp.ones(2, jnp.bfloat16))


def test_a_running_square_arrives_where_it_should_and_to_the_nearest_stands_still():
    g = jnp.full(256, 0.5)
    exact = 0.25 * (1 - 0.999**STEPS)
    by_chance = second_moment(optim.low_memory(optim.scale_by_adam()), g)
    assert abs(float(by_chance.mean()) / exact - 1) < 0.01
    assert float(by_chance.std()) / exact < 0.06  # of single ones: measured 0.04

    # As optax and we keep those of bfloat16 parameters, unless asked.
    low = g.astype(jnp.bfloat16)
    to_nearest = second_moment(optim.scale_by_adam(), low)
    assert abs(float(to_nearest.mean()) / exact - 1) > 0.2
    assert abs(float(second_moment(optim.low_memory(optim.scale_by_adam()), low).mean()) / exact - 1) < 0.01


def test_what_is_no_mean_keeps_its_dtype_whatever_that_of_the_gradients():
    """Without parameters too, where nothing else tells what the state was made for."""
    p, g = jnp.ones(3), jnp.ones(3, jnp.bfloat16)
    optimizer = optim.low_memory(optim.chain(optim.scale_by_rss(), optim.trace(0.9)))
    state = optimizer.init(p)
    _, after = optimizer.update(g, state)
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    assert optax.tree.get(after, "sum_of_squares").dtype == jnp.float32


@pytest.mark.parametrize(
    "optimizer", [nn.adam(0.01), optax.adam(0.01), nn.momentum(0.01)], ids=["ours", "optax", "momentum"]
)
def test_it_takes_half_of_the_memory_and_trains_as_well(optimizer, loose):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 8)).astype(np.float32)
    y = np.tanh(x @ random.normal(size=(8, 1)).astype(np.float32))
    data, model = nn.Data(jnp.asarray(x), jnp.asarray(y)), nn.serial(nn.Dense(16), nn.tanh, nn.Dense(1))

    def trained(optimizer):
        trainer = nn.trainer(model, nn.losses.mse, optimizer)
        ts = trainer.init(jax.random.key(0), data.x)
        step = lambda ts, _: (lambda new, info: (new, info.loss))(*trainer.step(ts, data))
        return jax.jit(lambda ts: jax.lax.scan(step, ts, length=200))(ts)

    bytes_of = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if leaf.ndim)
    (wide, wide_losses), (low, low_losses) = trained(optimizer), trained(optim.low_memory(optimizer))
    assert bytes_of(low.opt_state.inner) * 2 == bytes_of(wide.opt_state)
    assert wide_losses[-1] < 0.3 * wide_losses[0]
    assert abs(low_losses[-1] / wide_losses[-1] - 1) < 0.2
    assert jax.tree.structure(low.opt_state.inner) == jax.tree.structure(wide.opt_state)


@pytest.mark.parametrize(
    "make", [lambda: optim.madgrad(0.1), lambda: optim.schedule_free_sgd(0.1), lambda: optim.mechanize(nn.sgd(0.1)),
             lambda: optim.sam(nn.sgd(0.1), nn.sgd(0.1)), optim.cocob,
             lambda: optim.exponentially_averaged(nn.sgd(0.1), 0.9)],
    ids=["madgrad", "schedule_free", "mechanize", "sam", "cocob", "averaged"],
)  # fmt: skip
def test_copies_of_parameters_are_not_rounded(make):
    p, zero = jnp.array([1.2345, 0.7071]), jnp.zeros(2)
    optimizer = optim.low_memory(make())
    state = optimizer.init(p)
    for _ in range(2):
        updates, state = optimizer.update(zero, state, p)
        np.testing.assert_array_equal(optim.apply_updates(p, updates), p)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.inner) if leaf.ndim)


def test_two_runs_with_one_key_are_the_same_and_with_another_not():
    g = jnp.full(64, 0.3)
    runs = [second_moment(optim.low_memory(optim.scale_by_adam(), key), g) for key in (0, jax.random.key(0), 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_what_there_is_one_of_stays_in_float32_and_extra_arguments_pass():
    optimizer = optim.low_memory(optax.inject_hyperparams(optax.adam)(learning_rate=0.1))
    state = optimizer.init(jnp.ones(3))
    assert state.inner.hyperparams["learning_rate"].dtype == jnp.float32
    plateau = optim.low_memory(optim.chain(optim.scale_by_adam(), optim.reduce_on_plateau()))
    plateau.update(jnp.ones(3), plateau.init(jnp.ones(3)), jnp.ones(3), value=jnp.array(1.0))


def test_members_of_a_sweep_map():
    def last(rate):
        optimizer, p = optim.low_memory(nn.adam(rate)), jnp.ones(3)
        state = optimizer.init(p)
        for _ in range(2):
            updates, state = optimizer.update(p, state, p)
        return updates, state.inner

    mapped, alone = jax.vmap(last)(jnp.array([0.1, 0.2])), last(jnp.float32(0.2))
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[1].astype(jnp.float32), b.astype(jnp.float32)), mapped, alone
    )
