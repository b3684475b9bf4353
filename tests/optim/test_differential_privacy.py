"""Gradients of which no example's share can be told."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

PRIVATE = {"l2_norm_clip": 1.5, "noise_multiplier": 0.7}


def gradients(steps, dtype=None):
    """Of five examples, one of which has none, at each step."""
    random = np.random.default_rng(0)
    grads = {"w": random.normal(size=(steps, 5, 2, 3)), "b": random.normal(size=(steps, 5))}
    for leaf in grads.values():
        leaf[:, 3] = 0
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), grads)


def path(optimizer, grads):
    """Updates of all steps, and the last state."""

    def step(state, g):
        updates, state = optimizer.update(g, state)
        return state, updates

    state, updates = jax.lax.scan(step, optimizer.init({"w": jnp.zeros((2, 3)), "b": jnp.zeros(())}), grads)
    return updates, state


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])
@pytest.mark.parametrize("key", ["key", "integer"])
def test_the_numbers_are_those_of_optax(key, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64), jax.numpy_dtype_promotion("standard"):
        key = jax.random.key(3) if key == "key" else 3
        libraries = optim, optax.contrib
        ours, theirs = (
            jax.jit(partial(path, lib.differentially_private_aggregate(**PRIVATE, key=key)))(gradients(20, dtype))
            for lib in libraries
        )
    for a, b in zip(jax.tree.leaves(ours[0]), jax.tree.leaves(theirs[0]), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert jnp.array_equal(jax.random.key_data(ours[1].rng_key), jax.random.key_data(theirs[1].rng_key))


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_descent_is_that_of_optax(settings, loose):
    ours = optim.dpsgd(0.1, **PRIVATE, seed=3, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optax, about its own seed
        theirs = optax.contrib.dpsgd(0.1, **PRIVATE, seed=3, **settings)
    for a, b in zip(
        *(jax.tree.leaves(jax.jit(partial(path, o))(gradients(20))[0]) for o in (ours, theirs)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_vmap_over_every_hyperparameter_equals_a_loop_and_derivatives_are_right(x64):
    settings = {"learning_rate": 0.1, **PRIVATE, "momentum": 0.8}
    end = jax.jit(lambda h: path(optim.dpsgd(**h, seed=3), gradients(5))[0]["w"][-1].sum())
    h = {name: jnp.asarray(value) for name, value in settings.items()}
    near = [{**h, name: h[name] + step} for name in h for step in (1e-6, -1e-6)]
    values = jax.jit(jax.vmap(end))({name: jnp.array([n[name] for n in near]) for name in h})
    np.testing.assert_allclose(values, [end(n) for n in near], rtol=1e-12)
    derivatives = jax.jit(jax.grad(end))(h)
    for i, name in enumerate(h):
        numeric = (values[2 * i] - values[2 * i + 1]) / 2e-6
        assert abs(numeric) > 1e-4, f"{name} has no effect"
        np.testing.assert_allclose(derivatives[name], numeric, rtol=1e-5, err_msg=name)


def test_one_example_changes_the_sum_by_no_more_than_the_bound():
    t = optim.differentially_private_aggregate(1.5, 0.0, key=0)
    grads = jax.tree.map(lambda leaf: leaf[0], gradients(1))
    huge = jax.tree.map(lambda leaf: leaf.at[0].mul(1e3), grads)
    without = jax.tree.map(lambda leaf: leaf.at[0].set(0), grads)
    sums = [jax.tree.map(lambda u: 5 * u, t.update(g, t.init(None))[0]) for g in (huge, without)]
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, *sums))) == pytest.approx(1.5, rel=1e-5)


def test_the_noise_has_the_deviation_that_is_asked_for():
    t = optim.differentially_private_aggregate(2.0, 3.0, key=0)
    updates, _ = t.update(jnp.zeros((4, 100, 100)), t.init(None))
    assert float(updates.std()) == pytest.approx(2.0 * 3.0 / 4, rel=0.02)


def test_dtypes_stay_and_leaves_that_are_none_pass():
    t = optim.differentially_private_aggregate(**PRIVATE, key=0)
    grads = {"w": jnp.ones((4, 2), jnp.bfloat16), "other": None}
    updates, _ = t.update(grads, t.init(None))
    assert (updates["w"].shape, updates["w"].dtype, updates["other"]) == ((2,), jnp.bfloat16, None)


def test_the_key_outlives_a_state_that_is_donated():
    key = jax.random.key(0)
    state = optim.differentially_private_aggregate(**PRIVATE, key=key).init(None)
    jax.jit(lambda state: jax.random.split(state.rng_key)[0], donate_argnums=0)(state)
    assert jax.random.key_data(key).shape == (2,)


def test_gradients_without_an_axis_for_examples_are_refused():
    t = optim.dpsgd(0.1, **PRIVATE, seed=0)
    with pytest.raises(ValueError, match="expected gradients with an axis for the examples in front"):
        t.update(jnp.array(1.0), t.init(jnp.array(1.0)))
