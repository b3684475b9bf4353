"""Signs, Rprop, AdaDelta, optimism, noise and Polyak's step: the numbers, and what differs from other libraries."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_contract_optimizers as contract
from optimizer_rows.signs import FLAGGED

from jaxnn import optim, schedules

pytestmark = pytest.mark.usefixtures("x64")

STEEP = [4.0, 3.0, 2.0, -1.0, 2.0, 3.0, -3.0, -2.0, 0.0, -1.0]


def updates_of(optimizer, grads, state=None):
    """What an optimizer makes of gradients of one number, one after another."""
    grads = jnp.asarray(grads)

    def step(state, g):
        updates, state = optimizer.update(g, state, g)
        return state, updates

    state = optimizer.init(grads[0]) if state is None else state
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, state, grads)[1])())


def descent(optimizer, steps, start=2.0, **extra):
    """Parameters after each step on x^2."""

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(2 * x, state, x, **extra)
        x = optim.apply_updates(x, updates)
        return (x, state), x

    x = jnp.asarray(start)
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[1])())


@pytest.fixture
def of_torch():
    """Parameters after each step on x^2 with an optimizer of PyTorch, by its name."""
    torch = pytest.importorskip("torch")

    def of_torch(name, steps, **settings):
        x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        optimizer, seen = getattr(torch.optim, name)([x], **settings), []
        for _ in range(steps):
            optimizer.zero_grad()
            (x**2).backward()
            optimizer.step()
            seen.append(x.item())
        return seen

    return of_torch


@pytest.mark.parametrize(
    "name",
    [
        "adadelta",
        "noisy_sgd",
        "add_noise",
        "optimistic_adam_v2",
        "optimistic_gradient_descent",
        "polyak_sgd",
        "rprop",
        "scale_by_adadelta",
        "scale_by_optimistic_gradient",
        "scale_by_polyak",
        "scale_by_rprop",
        "scale_by_sign",
        "sign_sgd",
        "signum",
    ],
)
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


# AdaDelta.


def test_OPT_7_three_steps_of_adadelta():
    np.testing.assert_allclose(
        descent(optim.adadelta(rho=0.95, eps=1e-6), 3), [1.99552787, 1.99100370, 1.98644775], atol=1e-8
    )


def test_E_35_adadelta_keeps_the_mean_square_of_its_steps_too():
    x, e_g, e_x, seen = 2.0, 0.0, 0.0, []
    for _ in range(20):
        g = 2 * x
        e_g = 0.95 * e_g + 0.05 * g**2
        step = -np.sqrt(e_x + 1e-6) / np.sqrt(e_g + 1e-6) * g
        e_x = 0.95 * e_x + 0.05 * step**2
        x += step
        seen.append(x)
    np.testing.assert_allclose(descent(optim.adadelta(rho=0.95), 20), seen, rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("settings", [{}, {"lr": 0.3, "weight_decay": 0.1}], ids=str)
def test_adadelta_without_a_rate_is_that_of_torch(settings, of_torch):
    ours = {name.replace("lr", "learning_rate"): value for name, value in settings.items()}
    np.testing.assert_allclose(descent(optim.adadelta(**ours), 20), of_torch("Adadelta", 20, **settings), rtol=1e-12)


def test_adadelta_without_a_rate_descends_where_that_of_optax_ascends(loose):
    assert descent(optim.adadelta(), 20)[-1] < 2 < descent(optax.adadelta(), 20)[-1]
    np.testing.assert_allclose(descent(optim.adadelta(), 20), descent(optax.adadelta(1.0), 20), rtol=1e-12)


def test_adadelta_of_keras_is_this_one_with_its_defaults():
    """Its loop, with rho 0.95, eps 1e-7 and a rate of 0.001, which multiplies the step but not the mean of squares."""
    x, e_g, e_x, seen = 2.0, 0.0, 0.0, []
    for _ in range(20):
        g = 2 * x
        e_g = e_g * 0.95 + 0.05 * g * g
        delta = -np.sqrt(e_x + 1e-7) * g / np.sqrt(e_g + 1e-7)
        e_x = e_x * 0.95 + 0.05 * delta * delta
        x = x + 0.001 * delta
        seen.append(x)
    np.testing.assert_allclose(descent(optim.adadelta(0.001, 0.95, 1e-7), 20), seen, rtol=1e-12)


def test_OPT_12_adadelta_keeps_two_numbers_a_parameter():
    assert sum(leaf.shape == (3,) for leaf in jax.tree.leaves(optim.adadelta().init(jnp.ones(3)))) == 2


def test_adadelta_with_an_eps_of_0_stands_still_and_is_not_NaN():
    np.testing.assert_array_equal(updates_of(optim.scale_by_adadelta(eps=0.0), [0.0, 1.0, 0.0]), 0)


def test_adadelta_takes_a_schedule_of_weight_decay(loose):
    decay = lambda library: library.adadelta(0.5, weight_decay=lambda count: 0.1 * 0.5**count)
    np.testing.assert_allclose(descent(decay(optim), 5), descent(decay(optax), 5), rtol=1e-12)


# Signs.


def test_sign_sgd_moves_each_parameter_by_the_rate():
    updates, _ = optim.sign_sgd(0.1).update(g := jnp.array([1e-30, -1e30, 0.0]), optim.sign_sgd(0.1).init(g))
    np.testing.assert_allclose(updates, [-0.1, 0.1, 0.0])


def test_the_sign_of_NaN_is_NaN_and_of_0_is_0():
    updates, _ = optim.scale_by_sign().update(jnp.array([4.0, 0.0, jnp.nan, -1e-300]), optax.EmptyState())
    np.testing.assert_array_equal(updates, [1.0, 0.0, np.nan, -1.0])


def test_signum_goes_on_against_a_small_gradient_the_other_way():
    np.testing.assert_allclose(updates_of(optim.signum(0.1), [4.0, -1.0, -4.0]), [-0.1, -0.1, 0.1])


def test_the_mean_of_signum_may_be_kept_in_another_dtype(loose):
    optimizers = (library.signum(0.1, accumulator_dtype=jnp.bfloat16) for library in (optim, optax))
    ours, theirs = (o.init(jnp.ones(2, jnp.float32)) for o in optimizers)
    assert ours[0].ema.dtype == theirs[0].ema.dtype == jnp.bfloat16


# Rprop.


def test_rprop_grows_on_a_slope_and_starts_anew_after_a_change_of_sign():
    expected = [0.1, 0.12, 0.144, 0.0, 0.072, 0.0864, 0.0, -0.0432, 0.0, -0.0432]
    np.testing.assert_allclose(updates_of(optim.scale_by_rprop(0.1), STEEP), expected, rtol=1e-12)


def test_rprop_of_optax_is_a_step_late(loose):
    """https://github.com/google-deepmind/optax/pull/1725: where the sign does not change, it returns the last step."""
    ours, theirs = (updates_of(library.scale_by_rprop(0.1), [4.0, 3.0, 2.0, 1.0]) for library in (optim, optax))
    np.testing.assert_allclose(theirs, [0.0, *ours[:-1]], rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("bounds", [(1e-6, 50.0), (0.08, 0.3)], ids=str)
def test_rprop_is_that_of_torch(bounds, of_torch):
    ours = descent(optim.rprop(0.1, 0.5, 1.2, *bounds), 40)
    theirs = of_torch("Rprop", 40, lr=0.1, etas=(0.5, 1.2), step_sizes=bounds)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


# Optimism.


@pytest.mark.parametrize("row", FLAGGED, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "check",
    [
        lambda row: contract.test_updates_and_state_equal_optax_step_for_step(row, jnp.float64, 1e-12),
        lambda row: contract.test_updates_and_state_equal_optax_step_for_step(row, jnp.float32, 1e-6),
        lambda row: contract.test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too(
            row, None
        ),
        lambda row: contract.test_updates_and_state_keep_their_dtype_through_a_scan(row, jnp.bfloat16),
        contract.test_leaves_that_are_none_pass_through_and_take_no_state,
        contract.test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters,
        contract.test_a_step_in_bfloat16_is_that_of_float32_to_bfloat16_precision,
        contract.test_init_returns_arrays_of_their_own,
        contract.test_masked_and_partitioned_by_optax_it_moves_its_part_only,
    ],
    ids=["float64", "float32", "derivative", "scan", "none", "dtype", "bfloat16", "init", "masked"],
)
def test_those_with_a_bool_in_their_state_fulfil_the_contract(row, check):
    check(row)


@pytest.mark.parametrize("row", FLAGGED, ids=lambda row: row.name)
def test_a_sweep_of_those_equals_a_loop(row):
    at = jax.jit(lambda hyperparameters: contract.path(row.ours(**hyperparameters), jnp.float64, 5)[0])
    members = [{n: v * factor for n, v in row.hyperparameters.items()} for factor in (1.0, 0.9)]
    looped = jax.tree.map(lambda *leaves: np.stack(leaves), *map(at, members))
    mapped = jax.vmap(at)({name: jnp.array([m[name] for m in members]) for name in row.hyperparameters})
    contract.assert_close(mapped, looped, 1e-12)


def test_the_previous_gradient_is_kept_in_the_dtype_of_the_parameters():
    p, g = jnp.ones(2, jnp.float32), jnp.ones(2, jnp.bfloat16)
    t = optim.scale_by_optimistic_gradient()
    assert t.update(g, t.init(p))[1].previous_gradient.dtype == jnp.float32


def test_optimism_ends_the_circling_of_a_game():
    """min over x, max over y of x y: descent and ascent move away from (0, 0), optimism arrives."""

    def last(optimizer):
        def step(carry, _):
            at, state = carry
            updates, state = optimizer.update(jnp.array([at[1], -at[0]]), state, at)
            return (at + updates, state), None

        at = jnp.array([1.0, 1.0])
        return float(jnp.linalg.norm(jax.lax.scan(step, (at, optimizer.init(at)), length=300)[0][0]))

    assert last(optim.sgd(0.3)) > 1e3
    assert last(optim.optimistic_gradient_descent(0.3)) < 1e-3


# Noise.


def noise(eta=0.5, gamma=0.7, library=optim, steps=4, **key):
    grads = {"w": jnp.ones((2, 3)), "b": [jnp.zeros(()), None, jnp.zeros((0, 3))]}
    t = library.add_noise(eta, gamma, **key)

    def step(state, _):
        updates, state = t.update(grads, state)
        return state, updates

    return jax.lax.scan(step, t.init(grads), length=steps)[1]


@pytest.mark.parametrize("key", [{"key": 3}, {"key": jax.random.key(3)}, {"seed": 3}], ids=["seed", "key", "by name"])
def test_noise_is_that_of_optax(key, loose):
    contract.assert_close(noise(**key), noise(library=optax, key=3), 1e-12)


def test_noise_without_a_key_is_that_of_0():
    contract.assert_close(noise(), noise(key=0), 0)


def test_noisy_sgd_is_that_of_optax(loose):
    ours, theirs = (
        descent(library.noisy_sgd(library_schedule, 0.5, 0.7, 3), 10)
        for library, library_schedule in (
            (optim, schedules.cosine_decay_schedule(0.1, 40)),
            (optax, optax.cosine_decay_schedule(0.1, 40)),
        )
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_variance_of_noise_fades_as_a_power_of_the_step():
    t = optim.add_noise(eta=0.5, gamma=2.0, key=0)
    zeros = jnp.zeros(20000)
    updates, state = t.update(zeros, t.init(zeros))
    assert float(updates.var()) == pytest.approx(0.5, rel=0.03)
    updates, _ = t.update(zeros, state)
    assert float(updates.var()) == pytest.approx(0.5 / 4, rel=0.03)


def test_noise_is_swept_and_differentiated():
    last = jax.jit(lambda eta, gamma: noise(eta, gamma, key=3)["w"][-1, 0, 0])
    at = jnp.array([0.5, 0.3])
    np.testing.assert_allclose(jax.vmap(last)(at, 2 * at), [last(0.5, 1.0), last(0.3, 0.6)], rtol=1e-12)
    for argument, change in ((0, (1e-6, 0.0)), (1, (0.0, 1e-6))):
        ahead, behind = (last(0.5 + sign * change[0], 0.7 + sign * change[1]) for sign in (1, -1))
        np.testing.assert_allclose(jax.grad(last, argument)(0.5, 0.7), (ahead - behind) / 2e-6, rtol=1e-6)
    assert float(jax.grad(last)(0.0, 0.7)) == 0


def test_keys_may_be_swept():
    drawn = jax.vmap(lambda key: noise(key=key)["w"][0, 0, 0])(jax.random.split(jax.random.key(0), 3))
    assert len(set(drawn.tolist())) == 3


def test_a_state_of_noise_does_not_hold_the_key_it_was_made_with(key):
    state = optim.add_noise(0.1, 0.5, key).init(None)
    at = lambda key: jax.random.key_data(key).unsafe_buffer_pointer()
    assert at(state.rng_key) != at(key)


def test_noise_has_the_dtype_of_the_gradient():
    g = jnp.ones(3, jnp.bfloat16)
    t = optim.add_noise(0.1, 0.5, 0)
    assert t.update(g, t.init(g))[0].dtype == jnp.bfloat16


# Polyak's step.


def test_polyak_reaches_the_minimum_of_a_norm_at_once():
    x = jnp.array([3.0, 4.0])
    optimizer = optim.polyak_sgd(max_learning_rate=10.0)
    updates, _ = optimizer.update(x / 5, optimizer.init(x), x, value=jnp.array(5.0))
    np.testing.assert_allclose(x + updates, 0, atol=1e-12)


@pytest.mark.parametrize(("variant", "expected"), [("sps", 1.0), ("sps+", 0.0)])
def test_polyak_below_the_least_value_ascends_or_waits(variant, expected, loose):
    for library in (optim, optax):
        optimizer = library.polyak_sgd(f_min=3.0, variant=variant)
        g = jnp.array(2.0)
        updates, _ = optimizer.update(g, optimizer.init(g), g, value=jnp.array(1.0))
        assert float(updates) == pytest.approx(expected)


def test_polyak_does_not_move_without_a_gradient():
    t = optim.scale_by_polyak()
    at = lambda value: t.update(jnp.zeros(2), t.init(None), value=value)[0].sum()
    assert float(at(1.0)) == float(jax.grad(at)(1.0)) == 0


@pytest.mark.parametrize("optimizer", [optim.polyak_sgd(), optim.scale_by_polyak()], ids=["polyak_sgd", "scale_by"])
def test_polyak_needs_the_value(optimizer):
    with pytest.raises(ValueError, match=r"expected value, because a step is as long as the loss is high; got None"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))


# What cannot be meant.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.adadelta(-0.1), "expected learning_rate of 0 or more, .* got -0.1"),
        (lambda: optim.adadelta(rho=1.0), "expected rho from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.adadelta(eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0; got -1.0"),
        (lambda: optim.sign_sgd(jnp.nan), "expected learning_rate of 0 or more, .* got nan"),
        (lambda: optim.signum(0.1, 1.0), "expected beta from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.rprop(-1.0), "expected learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.rprop(0.1, 1.0), "expected eta_minus from 0 to below 1, because a step that went too far must"),
        (lambda: optim.rprop(0.1, 0.5, 0.9), "expected eta_plus of 1 or more, because steps in one direction must"),
        (lambda: optim.rprop(0.1, 0.5, jnp.nan), "expected eta_plus of 1 or more, .* got nan"),
        (lambda: optim.rprop(0.1, min_step_size=-1.0), "expected min_step_size of 0 or more, because it bounds the"),
        (lambda: optim.rprop(0.1, max_step_size=-1.0), "expected max_step_size of 0 or more, because it bounds the"),
        (
            lambda: optim.rprop(0.1, min_step_size=2.0, max_step_size=1.0),
            "expected min_step_size up to max_step_size, because it bounds from below; got 2.0 and 1.0",
        ),
        (lambda: optim.optimistic_gradient_descent(0.1, -1.0), "expected alpha of 0 or more, because it weighs a"),
        (lambda: optim.optimistic_adam_v2(0.1, beta=-1.0), "expected beta of 0 or more, because it weighs a gradient"),
        (lambda: optim.optimistic_adam_v2(0.1, b1=1.0), "expected b1 from 0 to below 1, because a mean must forget"),
        (lambda: optim.noisy_sgd(0.1, -1.0), "expected eta of 0 or more, because it is a variance; got -1.0"),
        (lambda: optim.noisy_sgd(0.1, gamma=-1.0), "expected gamma of 0 or more, because noise must fade; got -1.0"),
        (lambda: optim.add_noise(0.1, 0.5, 1, seed=2), "expected key or seed, because .*; got key=1 and seed=2"),
        (lambda: optim.polyak_sgd(-1.0), "expected max_learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.polyak_sgd(scaling=-1.0), "expected learning_rate of 0 or more, .* got -1.0"),
        (lambda: optim.polyak_sgd(f_min=jnp.nan), "expected f_min to be a number, because values are compared with it"),
        (lambda: optim.polyak_sgd(eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0; got -1.0"),
        (lambda: optim.polyak_sgd(variant="sps++"), "expected variant 'sps' or 'sps\\+', .* got 'sps\\+\\+'"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()
