"""The contract of optimizers, for those whose state has shapes and dtypes of its own; and descents in which rates grow.

Along the given steps of the contract, on which parameters do not follow, the estimates of many of these never grow.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_contract_optimizers as contract
from optimizer_rows._row import no_extra
from optimizer_rows.parameter_free import PECULIAR, ROWS

from jaxnn import optim, schedules

name_of = lambda row: row.name
each_of_the_family = pytest.mark.parametrize("row", [*ROWS, *PECULIAR], ids=name_of)
each_row = pytest.mark.parametrize("row", PECULIAR, ids=name_of)


def descent(optimizer, extra, steps):
    """Parameters after each step, and the last state, on a square that is steep here and flat there."""
    curvature, goal = jnp.array([[1.0, 0.1, 0.01], [0.3, 0.7, 0.5]]), jnp.array([[3.0, -2.0, 1.0], [0.5, -4.0, 2.0]])
    optimizer = optax.with_extra_args_support(optimizer)
    params = {"w": jnp.full((2, 3), 0.125, float), "zero": jnp.ones((2, 3))}

    def step(carry, _):
        params, state = carry
        grads = {"w": curvature * (params["w"] - goal), "zero": jnp.zeros((2, 3))}
        updates, state = optimizer.update(grads, state, params, **extra(grads, params))
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    (_, state), path = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return path, state


@each_of_the_family
def test_a_descent_of_200_steps_is_that_of_optax(row, x64):
    h = {name: jnp.asarray(value) for name, value in row.hyperparameters.items()}
    ours = jax.jit(lambda h: descent(row.ours(**h), row.extra, 200))(h)
    with contract.loosely():
        theirs = jax.jit(lambda h: descent(row.peer(**h), row.extra, 200))(h)
    contract.assert_same_path(ours, theirs, 1e-9)  # for what is rounded at the start grows
    np.testing.assert_allclose(ours[0]["w"][:2], theirs[0]["w"][:2], rtol=1e-12)


@each_of_the_family
def test_derivatives_are_finite_where_no_leaf_has_a_gradient(row, x64):
    params = {"w": jnp.ones(3), "b": jnp.zeros(())}
    zeros = jax.tree.map(jnp.zeros_like, params)

    def end(h):
        optimizer = optax.with_extra_args_support(row.ours(**h))

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(zeros, state, params, **row.extra(zeros, params))
            return (jax.tree.map(jnp.add, params, updates), state), None

        (last, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=3)
        return last["w"].sum() + last["b"]

    derivatives = jax.jit(jax.grad(end))({name: jnp.asarray(value) for name, value in row.hyperparameters.items()})
    assert all(np.isfinite(d) for d in derivatives.values())


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_a_schedule_free_descent_with_a_schedule_is_that_of_optax(name, x64):
    ours, theirs = (
        getattr(library, name)(rates.cosine_decay_schedule(0.1, 30, 0.5))
        for library, rates in ((optim, schedules), (optax.contrib, optax))
    )
    with contract.loosely():
        theirs = jax.jit(lambda: descent(theirs, no_extra, 50))()
    contract.assert_same_path(jax.jit(lambda: descent(ours, no_extra, 50))(), theirs, 1e-10)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_a_schedule_free_descent_with_a_warm_up_is_that_of_optax(name, loose):
    """In float32, in which optax computes schedules."""
    ours, theirs = (getattr(library, name)(0.1, warmup_steps=5) for library in (optim, optax.contrib))
    theirs = jax.jit(lambda: descent(theirs, no_extra, 50))()
    contract.assert_same_path(jax.jit(lambda: descent(ours, no_extra, 50))(), theirs, 1e-4)


@contract.each_precision
@each_row
def test_updates_and_state_equal_optax_step_for_step(row, dtype, tolerance):
    contract.test_updates_and_state_equal_optax_step_for_step(row, dtype, tolerance)


@contract.each_precision
@pytest.mark.parametrize("row", [row for row in PECULIAR if "learning_rate" in row.hyperparameters], ids=name_of)
def test_updates_and_state_equal_optax_under_a_schedule(row, dtype, tolerance):
    contract.test_updates_and_state_equal_optax_under_a_schedule(row, dtype, tolerance)


@pytest.mark.parametrize(
    "says",
    [
        contract.test_optax_finds_the_state_by_name,
        contract.test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters,
        contract.test_a_step_in_bfloat16_is_that_of_float32_to_bfloat16_precision,
        contract.test_init_returns_arrays_of_their_own,
        contract.test_chained_after_clipping_by_optax_it_sees_the_clipped_gradients,
        contract.test_chained_before_a_scaling_by_optax_it_is_scaled,
        contract.test_masked_and_partitioned_by_optax_it_moves_its_part_only,
        contract.test_it_ignores_extra_arguments_where_a_chain_passes_them_on,
    ],
    ids=lambda says: says.__name__,
)
@each_row
def test_as_any_optimizer(row, says):
    says(row)


@pytest.mark.parametrize(
    "says",
    [
        contract.test_update_equals_itself_uncompiled,
        contract.test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too,
    ],
    ids=lambda says: says.__name__,
)
@each_row
def test_as_any_optimizer_in_float64(row, says, x64):
    says(row, x64)


@each_row
def test_vmap_over_every_hyperparameter_equals_a_loop_and_has_an_effect(row, x64):
    last = lambda h: descent(row.ours(**h), row.extra, 12)
    members = [{**row.hyperparameters, name: 0.9 * h + 1e-3} for name, h in row.hyperparameters.items()]
    members = [{name: jnp.asarray(h) for name, h in m.items()} for m in [row.hyperparameters, *members]]
    compiled = jax.jit(last)
    looped = jax.tree.map(lambda *leaves: np.stack(leaves), *map(compiled, members))
    mapped = jax.jit(jax.vmap(last))(jax.tree.map(lambda *h: jnp.stack(h), *members))
    contract.assert_close(mapped, looped, 1e-12)
    for name, w in zip(row.hyperparameters, looped[0]["w"][1:], strict=True):
        assert np.abs(w - looped[0]["w"][0]).max() > 1e-7, f"{name} has no effect"


@each_row
def test_leaves_that_are_none_are_as_if_they_were_not_there(row):
    optimizer, grads, params, extra = contract.one_step(row)
    held, grads_held = {**params, "zero": None}, {**grads, "zero": None}
    updates, state = optimizer.update(grads_held, optimizer.init(held), held, **extra)
    alone, expected = optimizer.update(
        {"w": grads["w"]}, optimizer.init({"w": params["w"]}), {"w": params["w"]}, **extra
    )
    assert updates["zero"] is None
    contract.assert_close((updates, state), (alone, expected), 0)
    assert jax.tree.structure(state) == jax.tree.structure(optimizer.init(held))


@contract.each_dtype
@each_row
def test_updates_and_state_keep_their_dtype_through_a_scan(row, dtype):
    with contract.precision(dtype):
        optimizer, grads, params, extra = contract.one_step(row, dtype)
        state = optimizer.init(params)

        def step(state, _):
            updates, state = optimizer.update(grads, state, params, **extra)
            return state, updates

        # Tracing is enough: `scan` refuses a carry that changes.
        last, updates = jax.eval_shape(lambda state: jax.lax.scan(step, state, length=3), state)
    assert last == jax.eval_shape(lambda state: state, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    assert {leaf.shape for leaf in jax.tree.leaves(updates)} == {(3, 2, 3)}
