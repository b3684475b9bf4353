"""What was wrong once in update rules, and must not come back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_contract_optimizers as contract
from optimizer_rows.layerwise import MATRICES, OTHER_STATE
from optimizer_rows.parameter_free import PECULIAR

from jaxnn import optim
from jaxnn.optim._arithmetic import chosen, ratio
from jaxnn.optim._norms import inner_product, number_dtype

NAN_FIRST = [jnp.array([jnp.nan, 1.0]), jnp.array([1.0, 1.0])]


def path(optimizer, grads, **extra):
    """The updates, one row a step, and the last state; parameters stay at 1."""
    params = jnp.ones_like(grads[0])
    state, seen = optimizer.init(params), []
    for g in grads:
        updates, state = optimizer.update(g, state, params, **extra)
        seen.append(updates)
    return np.stack(seen), state


@pytest.mark.parametrize("row", [*PECULIAR, *OTHER_STATE, *MATRICES], ids=lambda row: row.name)
def test_a_nan_in_a_gradient_is_not_hidden_by_those_with_another_state(row):
    contract.test_a_nan_in_a_gradient_is_not_hidden(row)


@pytest.mark.parametrize("name", ["adadelta", "sm3", "adagrad"])
def test_a_nan_in_a_running_square_stays(name):
    """As `v > 0` is false of it, the update was 0, once and for all, with nobody told, as it is of optax's adagrad."""
    updates, _ = path(getattr(optim, name)(0.1), NAN_FIRST)
    assert np.isnan(updates).tolist() == [[True, False], [True, False]]


def test_a_nan_in_adadelta_is_where_it_is_in_optax(loose):
    ours, theirs = (path(library.adadelta(0.1), NAN_FIRST)[0] for library in (optim, optax))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("make", [optim.hypergradient_descent, optim.multiplicative_hypergradient_descent])
def test_a_learning_rate_that_follows_a_nan_is_nan(make):
    _, state = path(make(optim.identity(), 0.1, 0.01), NAN_FIRST)
    assert np.isnan(state.learning_rate)


@pytest.mark.parametrize("make", [optim.scale_by_polyak, optim.polyak_sgd])
def test_the_step_of_polyak_along_a_nan_is_nan(make):
    updates, _ = path(make(), NAN_FIRST, value=jnp.array(2.0))
    assert np.isnan(updates).tolist() == [[True, True], [False, False]]


def test_polyak_divides_by_a_square_and_not_by_the_square_of_a_root():
    """Whose second derivative at 0 is lost: direction = 2 g / (g^2 + 1), with a third one of -12."""
    t = optim.scale_by_polyak(eps=1.0, max_learning_rate=10.0)
    direction = lambda g: t.update(g, t.init(g), value=jnp.array(2.0))[0]
    assert float(jax.jit(jax.grad(jax.grad(jax.grad(direction))))(0.0 * jnp.ones(()))) == -12.0


def test_a_ratio_keeps_nan_and_has_a_derivative_where_the_divisor_is_0():
    a, b = jnp.array([1.0, jnp.nan, 1.0, 3.0]), jnp.array([0.0, 1.0, jnp.nan, 2.0])
    np.testing.assert_array_equal(ratio(a, b), [0.0, np.nan, np.nan, 1.5])
    np.testing.assert_array_equal(ratio(a, b, 7), [7.0, np.nan, np.nan, 1.5])
    by_a, by_b = jax.grad(lambda a, b: ratio(a, b).sum(), (0, 1))(jnp.array([1.0, 3.0]), jnp.array([0.0, 2.0]))
    np.testing.assert_array_equal((by_a, by_b), [[0.0, 0.5], [0.0, -0.75]])


def test_bounds_on_norms_have_a_second_derivative_at_0():
    """0 and not NaN: the norm is a root that is guarded."""
    for t in (optim.clip_by_global_norm(1.0), optim.clip_by_block_rms(1.0)):
        total = lambda x, t=t: t.update(x, optax.EmptyState())[0].sum()
        np.testing.assert_array_equal(jax.jit(jax.hessian(total))(jnp.zeros(2)), np.zeros((2, 2)))


def test_a_number_about_complex_leaves_is_real():
    z = {"z": jnp.array([1.0 + 2.0j]), "w": jnp.ones(1, jnp.bfloat16), "none": None}
    assert number_dtype(z) == jnp.float32
    assert number_dtype({}) == jnp.float32
    assert float(inner_product({"z": jnp.array([1.0j])}, {"z": jnp.array([2.0 + 3.0j])})) == 3.0
    assert float(inner_product({"z": jnp.array([1.0j])}, {"z": jnp.array([2.0])})) == 0.0
    for make in (optim.exponentially_averaged, optim.equally_averaged):
        averaged = make(optim.sgd(0.1))
        state = averaged.init(z)
        assert state.weight.dtype == jnp.float32
        _, state = averaged.update(z, state, z)
        np.testing.assert_allclose(state.average["z"], 0.9 * z["z"], rtol=1e-6)


def test_one_of_two_trees_is_chosen_in_the_dtype_of_the_second():
    a, b = (jnp.ones(2, jnp.bfloat16), jax.random.key(0)), (jnp.zeros(2), jax.random.key(1))
    (x, key) = chosen(jnp.array(True), a, b)
    assert (x.dtype, x.tolist()) == (jnp.float32, [1.0, 1.0])
    np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(a[1]))
