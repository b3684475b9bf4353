"""Sharpness-aware minimization, which moves parameters up before it moves them down."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

CURVATURE = jnp.array([1.0, 0.1, 3.0])


def gradient(params, i=0):
    del i
    return {"w": 2 * CURVATURE.astype(params["w"].dtype) * params["w"] ** 3, "zero": 0 * params["zero"]}


def start(dtype=None):
    return {"w": jnp.array([2.0, -1.0, 0.5], dtype), "zero": jnp.ones(2, dtype)}


def built(library, rho=0.3, rate=0.02, momentum=0.9, **settings):
    """SAM of Adam, which climbs with a velocity."""
    normalize, sam = (
        (library.normalize, library.sam) if library is optim else (optax.contrib.normalize, optax.contrib.sam)
    )
    return sam(library.adam(rate), library.chain(normalize(), library.sgd(rho, momentum)), **settings)


def path(optimizer, steps, params=None):
    """Parameters after each step, and the last state."""
    params = start() if params is None else params

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(gradient(params), state, params, grad_fn=gradient)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    (_, state), seen = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return seen, state


def assert_equal(ours, theirs, rtol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14), ours, theirs)


@pytest.mark.parametrize("reset_state", [True, False])
@pytest.mark.parametrize("sync_period", [2, 3])
@pytest.mark.parametrize("opaque_mode", [True, False])
def test_it_takes_the_path_of_optax(opaque_mode, sync_period, reset_state, x64, loose):
    settings = {"opaque_mode": opaque_mode, "sync_period": sync_period, "reset_state": reset_state}
    ours, theirs = (jax.jit(path, static_argnums=(0, 1))(built(library, **settings), 30) for library in (optim, optax))
    assert_equal(ours[0]["w"], theirs[0]["w"])
    assert [leaf.shape for leaf in jax.tree.leaves(ours[1])] == [leaf.shape for leaf in jax.tree.leaves(theirs[1])]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
                 jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]))  # fmt: skip


@pytest.mark.parametrize("sync_period", [2, 3])
def test_step_by_step_it_is_the_same_as_all_at_once(sync_period, x64):
    plain, _ = path(built(optim, sync_period=sync_period), 5 * sync_period)
    opaque, _ = path(built(optim, sync_period=sync_period, opaque_mode=True), 5)
    assert_equal(plain["w"][sync_period - 1 :: sync_period], opaque["w"])


@pytest.mark.parametrize("opaque_mode", [True, False])
def test_without_a_climb_it_is_the_optimizer(opaque_mode, x64):
    """Optax's takes each step back at the next one."""
    alone = optax.with_extra_args_support(optim.adam(0.02))
    assert_equal(path(built(optim, sync_period=1, opaque_mode=opaque_mode), 10)[0], path(alone, 10)[0])


def test_it_climbs_by_rho_and_descends_from_where_it_began(x64):
    optimizer = built(optim, rho=0.25, rate=0.1)
    seen, _ = path(optimizer, 2)
    w, g = start()["w"], gradient(start())["w"]
    np.testing.assert_allclose(seen["w"][0], w + 0.25 * g / jnp.linalg.norm(g), rtol=1e-12)
    np.testing.assert_allclose(seen["w"][1], w - 0.1 * jnp.sign(w), rtol=1e-6)


@pytest.mark.parametrize("opaque_mode", [True, False])
def test_vmap_over_rho_equals_a_loop_and_its_derivative_is_right(opaque_mode, x64):
    end = jax.jit(lambda rho: path(built(optim, rho=rho, opaque_mode=opaque_mode), 6)[0]["w"][-1].sum())
    rhos = jnp.array([0.1, 0.3])
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(rhos), [end(rho) for rho in rhos], rtol=1e-12)
    numeric = (end(0.3 + 1e-6) - end(0.3 - 1e-6)) / 2e-6
    assert abs(float(numeric)) > 1e-6
    np.testing.assert_allclose(jax.jit(jax.grad(end))(jnp.array(0.3)), numeric, rtol=1e-5)


@pytest.mark.parametrize("opaque_mode", [True, False])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dtypes_stay_through_a_scan_and_leaves_that_are_none_pass(dtype, opaque_mode):
    optimizer = built(optim, opaque_mode=opaque_mode)
    params = start(dtype)
    seen, state = jax.eval_shape(lambda: path(optimizer, 2, params))
    assert {leaf.dtype for leaf in jax.tree.leaves(seen)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(dtype), jnp.dtype(jnp.int32)}
    held = {**params, "other": None}
    grads = {**gradient(params), "other": None}
    grad_fn = lambda params, i: {**gradient(params, i), "other": None}
    updates, _ = jax.eval_shape(lambda: optimizer.update(grads, optimizer.init(held), held, grad_fn=grad_fn))
    assert updates["other"] is None


def test_the_step_up_is_told_its_number_and_gradients_are_averaged_over_an_axis():
    batches = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # one row for each step
    optimizer = optim.sam(optim.sgd(1.0), optim.sgd(0.0), 3, opaque_mode=True, batch_axis_name="batch")

    def step(column):
        grad_fn = lambda params, i: column[i + 1] + 0 * params
        return optimizer.update(column[0], optimizer.init(jnp.array(0.0)), jnp.array(0.0), grad_fn=grad_fn)[0]

    np.testing.assert_allclose(jax.vmap(step, 1, axis_name="batch")(batches), [-5.5, -5.5])


def test_other_arguments_go_to_both_optimizers():
    momo = optim.sam(optim.momo(), optim.momo())
    updates, _ = momo.update(jnp.array(4.0), momo.init(jnp.array(2.0)), jnp.array(2.0), value=jnp.array(4.0))
    assert float(updates) == 1.0


def test_an_optimizer_with_a_key_descends_too():
    seen, state = path(optim.sam(optim.noisy_sgd(0.01, key=1), optim.sgd(0.1)), 4)
    alone = optim.noisy_sgd(0.01, key=1).init(start())
    assert np.isfinite(seen["w"]).all()
    assert state.opt_state[0].count == alone[0].count + 2


@pytest.mark.parametrize("opaque_mode", [True, False])
def test_init_returns_arrays_of_their_own(opaque_mode):
    params = start()
    leaves = jax.tree.leaves((params, built(optim, opaque_mode=opaque_mode).init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_the_function_of_gradients_is_asked_for():
    optimizer, x = optim.sam(optim.sgd(0.1), optim.sgd(0.1), opaque_mode=True), jnp.ones(2)
    with pytest.raises(ValueError, match=r"expected grad_fn, because in opaque mode .*; got None: call update"):
        optimizer.update(x, optimizer.init(x), x)


def test_normalize_is_that_of_optax_but_for_0():
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(-4.0)}
    ours, theirs = (t.update(grads, t.init(grads))[0] for t in (optim.normalize(), optax.contrib.normalize()))
    assert_equal(ours, theirs, 1e-6)
    np.testing.assert_array_equal(optim.normalize().update(jnp.zeros(2), optax.EmptyState())[0], [0.0, 0.0])
    assert np.isnan(optim.normalize().update(jnp.array([jnp.nan, 1.0]), optax.EmptyState())[0]).all()
