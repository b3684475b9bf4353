"""Sophia, which takes second derivatives of a loss that it is given."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

SOPHIA = {"learning_rate": 0.05, "b1": 0.9, "b2": 0.8, "eps": 3.0, "weight_decay": 0.02, "gamma": 2.0}
SOPHIA |= {"clip_threshold": 0.5, "update_interval": 3.0}


def loss(params):
    """Whose curvature differs by place and direction, and is negative for the first weight at its start."""
    w = params["w"]
    return (jnp.array([1.0, 0.5, 2.0], w.dtype) * (w**4 - w**2)).sum() / 4 + w[0] * w[1] + 0 * params["zero"].sum()


def start(dtype=None):
    return {"w": jnp.array([0.1, -1.0, 1.5], dtype), "zero": jnp.ones(2, dtype)}


def path(optimizer, steps, dtype=None):
    """Parameters after each step, and the last state."""

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params, obj_fn=loss)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    params = start(dtype)
    (_, state), seen = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return seen, state


@pytest.mark.parametrize(
    "settings",
    [
        {},
        SOPHIA,
        {**SOPHIA, "clip_threshold": None},
        {**SOPHIA, "mu_dtype": jnp.float32},
        {**SOPHIA, "weight_decay_mask": {"w": False, "zero": True}},
        {**SOPHIA, "learning_rate": optax.linear_schedule(0.1, 0.0, 20)},
    ],
    ids=["defaults", "all set", "not clipped", "mean in float32", "masked", "schedule"],
)
def test_it_takes_the_path_of_optax(settings, x64, loose):
    settings = {"learning_rate": 0.05, **settings}
    tolerance = 1e-6 if "mu_dtype" in settings or callable(settings["learning_rate"]) else 1e-11
    paths = []
    for library in (optim, optax.contrib):
        signs = library.hutchinson_estimator_diag_hessian(jax.random.PRNGKey(1))
        optimizer = library.sophia(**settings, hessian_diagonal_fn=signs)
        paths.append(jax.jit(partial(path, optimizer, 60))())
    for ours, theirs in zip(*map(jax.tree.leaves, paths), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_it_takes_the_path_of_optax_in_float32(loose):
    (ours, _), (theirs, _) = (
        jax.jit(partial(path, library.sophia(0.05, eps=0.1), 60))() for library in (optim, optax.contrib)
    )
    np.testing.assert_allclose(ours["w"], theirs["w"], rtol=1e-5)


def test_vmap_over_every_hyperparameter_equals_a_loop_and_derivatives_are_right(x64):
    end = jax.jit(lambda h: path(optim.sophia(**h), 20)[0]["w"][-1] @ jnp.array([1.0, 2.0, 3.0]))
    h = {name: jnp.asarray(value) for name, value in SOPHIA.items()}
    numbers = [name for name in h if name != "update_interval"]
    near = [{**h, name: h[name] + step} for name in numbers for step in (1e-6, -1e-6)] + [{**h, "update_interval": 2.0}]
    values = jax.jit(jax.vmap(end))({name: jnp.array([n[name] for n in near]) for name in h})
    np.testing.assert_allclose(values, [end(jax.tree.map(jnp.asarray, n)) for n in near], rtol=1e-12)
    assert abs(values[-1] - end(h)) > 1e-6
    derivatives = jax.jit(jax.grad(end))(h)
    for i, name in enumerate(numbers):
        numeric = (values[2 * i] - values[2 * i + 1]) / 2e-6
        assert abs(numeric) > 1e-7, f"{name} has no effect"
        np.testing.assert_allclose(derivatives[name], numeric, rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dtypes_stay_through_a_scan(dtype):
    seen, state = jax.eval_shape(lambda: path(optim.sophia(0.1), 2, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(seen)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves((state[0].mu, state[0].nu))} == {jnp.dtype(dtype)}


def test_leaves_that_are_none_pass():
    optimizer, held = optim.sophia(0.1), {"w": jnp.ones(2), "other": None}
    of = lambda params: (params["w"] ** 2).sum()
    updates, state = optimizer.update(jax.grad(of)(held), optimizer.init(held), held, obj_fn=of)
    assert updates["other"] is None
    assert state[0].nu["other"] is None


def test_dtypes_may_differ_from_leaf_to_leaf():
    """Where optax's signs have the narrowest dtype, which `jvp` refuses."""
    params = {"a": jnp.array(1.0, jnp.bfloat16), "b": jnp.array(3.0)}
    t = optim.hutchinson_estimator_diag_hessian()
    of = lambda params: params["a"].astype(float) ** 2 + params["b"] ** 3
    diagonal, _ = t.update(params, t.init(params), params, obj_fn=of)
    assert {name: float(h) for name, h in diagonal.items()} == {"a": 2.0, "b": 18.0}


def test_the_mean_of_many_estimates_is_the_diagonal():
    H = jnp.array([[2.0, 1.0, -0.5], [1.0, 3.0, 0.2], [-0.5, 0.2, 5.0]])
    of = lambda x: 0.5 * x @ H @ x

    def estimate(key):
        t = optim.hutchinson_estimator_diag_hessian(key)
        return t.update(jnp.zeros(3), t.init(None), jnp.zeros(3), obj_fn=of)[0]

    estimates = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(estimates.mean(0), jnp.diag(H), atol=0.1)
    assert estimates.std(0).min() > 0.5


def test_a_curvature_of_ones_own_is_looked_at_at_every_so_many_steps():
    count = optax.stateless(lambda updates, params: jax.tree.map(jnp.ones_like, updates))
    optimizer = optim.sophia(0.1, b2=0.5, update_interval=2, hessian_diagonal_fn=count)
    state, x, seen = optimizer.init(jnp.array(1.0)), jnp.array(1.0), []
    for _ in range(4):
        _, state = optimizer.update(x, state, x)
        seen.append(float(state[0].nu))
    assert seen == [0.5, 0.5, 0.75, 0.75]


def test_it_prints_which_part_is_not_clipped(capsys):
    optimizer = optim.sophia(0.1, eps=1.0, verbose=True, print_win_rate_every_n_steps=2)
    x = jnp.array([0.1, 0.2, 5.0, 0.3])
    state = optimizer.init(x)
    for _ in range(3):
        _, state = optimizer.update(x, state, x, obj_fn=lambda x: (x**2).sum())
    jax.effects_barrier()
    assert capsys.readouterr().out == "Sophia: 0.75 of the steps are not clipped\n"


def test_the_loss_is_asked_for():
    optimizer, x = optim.sophia(0.1), jnp.ones(2)
    with pytest.raises(ValueError, match=r"expected obj_fn, because the Hessian is that of the loss; got None: call"):
        optimizer.update(x, optimizer.init(x), x)
