"""Trust ratios, SM3, Adafactor, Muon and GaLore: the numbers, and what differs from other libraries."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_contract_optimizers as contract
from optimizer_rows.layerwise import MATRICES, OTHER_STATE

from jaxnn import optim, schedules

pytestmark = pytest.mark.usefixtures("x64")


def path(optimizer, params, grads, steps=4, **extra):
    """Updates of some steps, stacked, of parameters that follow them; gradients grow by a tenth of themselves."""

    def step(carry, t):
        params, state = carry
        now = jax.tree.map(lambda g: (g * (1 + 0.1 * t)).astype(g.dtype), grads)
        updates, state = optimizer.update(now, state, params, **extra)
        return (optax.apply_updates(params, updates), state), updates

    begin = params, optimizer.init(params)
    return jax.jit(lambda: jax.lax.scan(step, begin, jnp.arange(steps, dtype=float)))()


def tree(dtype=np.float64, **shapes):
    random = np.random.default_rng(0)
    make = lambda: {name: jnp.asarray(random.normal(size=shape).astype(dtype)) for name, shape in shapes.items()}
    return make(), make()


@pytest.mark.parametrize(
    "name",
    [
        "adafactor",
        "fromage",
        "lamb",
        "lars",
        "scale_by_param_block_norm",
        "scale_by_param_block_rms",
        "scale_by_sm3",
        "scale_by_trust_ratio",
        "sm3",
    ],
)
def test_arguments_and_defaults_are_those_of_optax(name):
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


@pytest.mark.parametrize("name", ["galore", "muon", "scale_by_galore", "scale_by_muon"])
def test_arguments_and_defaults_are_those_of_contrib(name):
    assert outline(getattr(optim, name)) == outline(getattr(optax.contrib, name))


@pytest.mark.parametrize("name", ["GaLoreDimensionNumbers", "GaLoreState", "MuonDimensionNumbers", "MuonState"])
def test_fields_are_those_of_contrib(name):
    ours, theirs = getattr(optim, name), getattr(optax.contrib, name)
    assert (ours._fields, ours._field_defaults) == (theirs._fields, theirs._field_defaults)


def outline(function):
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


def test_arguments_of_scale_by_factored_rms_are_those_of_optax_but_for_a_function_of_the_same_values():
    ours, theirs = outline(optim.scale_by_factored_rms), outline(optax.scale_by_factored_rms)
    assert ours[:-1] == theirs[:-1]
    (name, decay, _), (their_name, their_decay, _) = ours[-1], theirs[-1]
    assert name == their_name
    steps = jnp.arange(5)
    np.testing.assert_allclose(decay(steps, 0.8), their_decay(steps, 0.8), rtol=1e-6)


@pytest.mark.parametrize("row", OTHER_STATE, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "check",
    [
        lambda row: contract.test_updates_and_state_equal_optax_step_for_step(row, jnp.float64, 1e-12),
        lambda row: contract.test_updates_and_state_equal_optax_step_for_step(row, jnp.float32, 1e-6),
        lambda row: contract.test_vmap_over_every_hyperparameter_compiles_once_and_equals_a_loop(row, None),
        lambda row: contract.test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too(
            row, None
        ),
        lambda row: contract.test_updates_and_state_keep_their_dtype_through_a_scan(row, jnp.bfloat16),
        contract.test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters,
        contract.test_a_step_in_bfloat16_is_that_of_float32_to_bfloat16_precision,
        contract.test_init_returns_arrays_of_their_own,
        contract.test_masked_and_partitioned_by_optax_it_moves_its_part_only,
    ],
    ids=["float64", "float32", "vmap", "derivative", "scan", "dtype", "bfloat16", "init", "masked"],
)
def test_those_with_another_state_fulfil_the_contract(row, check):
    check(row)


@pytest.mark.parametrize("row", OTHER_STATE + MATRICES, ids=lambda row: row.name)
def test_leaves_that_are_none_take_no_state_of_those_either(row):
    optimizer, (params, grads) = row.ours(**row.hyperparameters), tree(w=(2, 3))

    @jax.jit
    def first(grads, params):
        return optimizer.update(grads, optimizer.init(params), params)

    only, state = first(grads, params)
    updates, with_none = first({**grads, "b": None}, {**params, "b": None})
    contract.assert_close((updates, with_none), (only, state), 0)
    assert updates["b"] is None


# Trust ratios.


def test_a_step_of_lamb_has_the_norm_of_the_parameters_times_the_rate():
    params, grads = tree(w=(3, 4), b=(5,))
    (_, _), updates = path(optim.lamb(0.1), params, grads, 1)
    for name, p in params.items():
        assert float(jnp.linalg.norm(updates[name])) == pytest.approx(0.1 * float(jnp.linalg.norm(p)), rel=1e-9)


def test_fromage_does_not_change_the_norm_by_a_step_at_a_right_angle():
    p, g = jnp.array([3.0, 4.0]), jnp.array([-8.0, 6.0])
    updates, _ = optim.fromage(0.5).update(g, optim.fromage(0.5).init(p), p)
    assert float(jnp.linalg.norm(p + updates)) == pytest.approx(5.0, rel=1e-12)


def test_fromage_under_a_schedule_is_that_of_optax(loose):
    params, grads = tree(w=(2, 3), zero=(3,))
    grads["zero"] = jnp.zeros(3)
    ours = path(optim.fromage(schedules.cosine_decay_schedule(0.1, 40)), params, grads)
    theirs = path(optax.fromage(optax.cosine_decay_schedule(0.1, 40)), params, grads)
    contract.assert_close(ours, theirs, 1e-12)


def test_fromage_in_float32_shrinks_to_all_digits():
    """1 - 1 / sqrt(1 + 1e-6) is 5e-7: as a difference in float32 it would be off by a tenth."""
    p = jnp.ones(3, jnp.float32)
    optimizer = optim.fromage(jnp.float32(1e-3))
    updates, _ = optimizer.update(jnp.zeros(3, jnp.float32), optimizer.init(p), p)
    np.testing.assert_allclose(updates, -(1 - 1 / np.sqrt(1 + np.float64(np.float32(1e-3)) ** 2)), rtol=1e-6)


@pytest.mark.parametrize(("p", "g"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_the_trust_ratio_of_a_norm_of_0_is_1_and_has_a_derivative(p, g):
    p, g = jnp.full(2, p), jnp.full(2, g)
    at = lambda p, g, trust: optim.scale_by_trust_ratio(trust_coefficient=trust).update(g, optax.EmptyState(), p)[0]
    np.testing.assert_array_equal(at(p, g, 0.5), g)
    derivatives = jax.grad(lambda *at_: at(*at_).sum(), (0, 1, 2))(p, g, 0.5)
    assert all(np.isfinite(d).all() for d in derivatives)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_weight_decay_may_be_a_schedule(name, loose):
    params, grads = tree(w=(2, 3))
    ours, theirs = (
        path(getattr(library, name)(0.1, weight_decay=lambda count: 0.1 * 0.5**count), params, grads)
        for library in (optim, optax)
    )
    contract.assert_close(ours[1], theirs[1], 1e-12)


@pytest.mark.parametrize(
    "t",
    [optim.scale_by_trust_ratio(), optim.scale_by_param_block_norm(), optim.scale_by_param_block_rms()],
    ids=["trust_ratio", "norm", "rms"],
)
def test_parameters_are_needed(t):
    with pytest.raises(ValueError, match=r"expected params, because a step is as long as their .* say.*; got None"):
        t.update(jnp.ones(2), t.init(jnp.ones(2)))


# SM3.


def test_sm3_keeps_no_less_than_the_sum_of_squares_in_rows_and_columns():
    random = np.random.default_rng(0)
    t = optim.scale_by_sm3()
    state, total = t.init(jnp.zeros((3, 4))), 0
    for g in random.normal(size=(5, 3, 4)):
        _, state = t.update(jnp.asarray(g), state)
        total = total + g**2
        row, column = state.mu
        bound = np.minimum(np.asarray(row)[:, None], np.asarray(column))
        assert (bound >= total - 1e-12).all()
        assert (np.asarray(row).shape, np.asarray(column).shape) == ((3,), (4,))
    np.testing.assert_array_less(total.max(1) - 1e-12, row)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_sm3_of_a_vector_or_a_scalar_is_adagrad(shape):
    p, g = (leaves["x"] for leaves in tree(x=shape))
    sm3, rss = optim.scale_by_sm3(b1=0.0, eps=1e-7), optim.scale_by_rss(0.0, 1e-7)
    contract.assert_close(path(sm3, p, g)[1], path(rss, p, g)[1], 1e-12)


def test_sm3_takes_a_schedule():
    p, g = (leaves["x"] for leaves in tree(x=(2, 3)))
    halving, constant = (
        path(optim.sm3(lambda count: 0.5 ** count.astype(float)), p, g)[1],
        path(optim.sm3(1.0), p, g)[1],
    )
    np.testing.assert_allclose(halving, constant * 0.5 ** np.arange(4).reshape(4, 1, 1), rtol=1e-12)


# Adafactor.


def test_a_matrix_of_128_by_130_is_factored_by_default_and_equals_that_of_optax(loose):
    params, grads = tree(w=(128, 130), narrow=(127, 130), deep=(2, 130, 3, 128), b=(130,))
    rate = jnp.asarray(0.8, jnp.float64)  # for of a Python float optax takes the power in float32
    ours, theirs = (path(library.adafactor(0.1, decay_rate=rate), params, grads, 2) for library in (optim, optax))
    contract.assert_close(ours, theirs, 1e-12)
    factored = ours[0][1][0]
    assert {name: leaf.shape for name, leaf in factored.v_row.items()} == {
        "w": (128,),
        "narrow": (1,),
        "deep": (2, 3, 128),
        "b": (1,),
    }
    assert factored.v_col["deep"].shape == (2, 130, 3)
    assert factored.v["w"].shape == (1,)


def test_the_factors_of_squares_that_are_a_product_give_them_back():
    a, b = np.random.default_rng(0).uniform(1, 2, size=(2, 5))
    g = jnp.asarray(np.outer(a[:4], b))
    t = optim.scale_by_factored_rms(min_dim_size_to_factor=2)
    updates, _ = t.update(g, t.init(g))
    np.testing.assert_allclose(updates, 1.0, rtol=1e-12)


def test_factored_squares_decay_as_a_power_of_the_step():
    """By the loop of the paper, in one column and in one row."""
    t = optim.scale_by_factored_rms(min_dim_size_to_factor=2, decay_rate=0.6)
    g = np.random.default_rng(0).normal(size=(4, 2, 3))
    R, C, state = np.zeros(2), np.zeros(3), t.init(jnp.zeros((2, 3)))
    for step, gradient in enumerate(g, 1):
        beta = 1 - step**-0.6
        R = beta * R + (1 - beta) * (gradient**2).mean(1)
        C = beta * C + (1 - beta) * (gradient**2).mean(0)
        updates, state = t.update(jnp.asarray(gradient), state)
        np.testing.assert_allclose(updates, gradient / np.sqrt(np.outer(R, C) / R.mean()), rtol=1e-12)


def test_the_momentum_of_adafactor_is_kept_in_its_own_dtype(loose):
    params, grads = tree(np.float32, w=(2, 3))
    ours, theirs = (
        path(library.adafactor(0.1, momentum=0.9, dtype_momentum=jnp.bfloat16), params, grads)
        for library in (optim, optax)
    )
    assert optax.tree.get(ours[0][1], "ema")["w"].dtype == jnp.bfloat16
    assert optax.tree.get(theirs[0][1], "ema")["w"].dtype == jnp.bfloat16
    assert optax.tree.get(optim.adafactor(0.1, momentum=0.9).init(params), "ema")["w"].dtype == jnp.float32
    contract.assert_close(ours[1], theirs[1], 0.02)


def test_adafactor_goes_on_from_an_offset(loose):
    p, g = (leaves["x"] for leaves in tree(x=(2, 3)))
    at = lambda library: library.scale_by_factored_rms(step_offset=7)
    ours, theirs = (at(library) for library in (optim, optax))
    state = ours.init(p)._replace(count=jnp.asarray(9, jnp.int32))
    contract.assert_close(ours.update(g, state, p)[0], theirs.update(g, state, p)[0], 1e-7)
    traced = jax.jit(lambda offset: optim.scale_by_factored_rms(step_offset=offset).update(g, state, p)[0])(7)
    contract.assert_close(traced, ours.update(g, state, p)[0], 1e-12)


def test_adafactor_takes_another_decay(loose):
    p, g = (leaves["x"] for leaves in tree(x=(2, 3)))
    bounded = lambda step, rate: jnp.minimum(1 - (step + 1.0) ** -rate, 0.5)
    at = lambda library: path(library.scale_by_factored_rms(decay_rate_fn=bounded), p, g)
    contract.assert_close(at(optim), at(optax), 1e-12)


def test_weight_decay_of_adafactor_is_not_multiplied_by_the_rate():
    p = jnp.array([1.0, -2.0])
    optimizer = optim.adafactor(0.0, weight_decay_rate=0.1)
    np.testing.assert_allclose(optimizer.update(jnp.ones(2), optimizer.init(p), p)[0], -0.1 * p, rtol=1e-12)


def test_adafactor_of_keras_is_this_one_with_its_rate_and_factored_matrices():
    """Its loop for a vector: rho_t = 1 - t^-0.8, clipped at 1, alpha = max(0.001, rms(p)) min(rate, 1 / sqrt(t))."""
    p, v, seen = np.array([1.0, -2.0, 0.5]), np.zeros(3), []
    for t in range(1, 11):
        g = p + 0.1 * t
        rho = 1 - t**-0.8
        v = rho * v + (1 - rho) * (g**2 + 1e-30)
        u = g / np.sqrt(v)
        alpha = max(1e-3, np.sqrt((p**2).mean())) * min(0.5, 1 / np.sqrt(t))
        p = p - alpha * u / max(1, np.sqrt((u**2).mean()))
        seen.append(p)
    optimizer = optim.adafactor(lambda count: jnp.minimum(0.5, (count + 1).astype(float) ** -0.5))
    ours = jnp.array([1.0, -2.0, 0.5])
    state = optimizer.init(ours)
    for t in range(1, 11):
        updates, state = optimizer.update(ours + 0.1 * t, state, ours)
        ours = ours + updates
        np.testing.assert_allclose(ours, seen[t - 1], rtol=1e-9)


def test_without_a_rate_adafactor_descends_by_the_size_of_the_parameters():
    p = jnp.array([2.0, 2.0])
    optimizer = optim.adafactor()
    np.testing.assert_allclose(optimizer.update(p, optimizer.init(p), p)[0], -p, rtol=1e-12)


def test_an_epsilon_of_0_gives_a_step_of_0_and_a_derivative_in_float32_too():
    g = jnp.zeros((2, 3), jnp.float32)

    def total(epsilon):
        t = optim.scale_by_factored_rms(min_dim_size_to_factor=2, epsilon=epsilon)
        return t.update(g, t.init(g))[0].sum()

    values, derivatives = jax.jit(jax.vmap(jax.value_and_grad(total)))(jnp.array([0.0, 1e-30], jnp.float32))
    np.testing.assert_array_equal((values, derivatives), 0)


# Muon and GaLore.


def long_path(optimizer, dtype, shapes, steps=200):
    """Updates of steps with gradients of noise, exactly zero under the name zero, and the last state."""
    random = np.random.default_rng(0)
    noise = lambda shape: jnp.asarray(random.normal(size=(steps, *shape)).astype(dtype))
    params = {name: noise(shape) for name, shape in shapes.items()}
    grads = {name: noise(shape) * (name != "zero") for name, shape in shapes.items()}

    def step(state, now):
        updates, state = optimizer.update(now[0], state, now[1])
        return state, updates

    state = optimizer.init(jax.tree.map(lambda leaf: leaf[0], params))
    state, updates = jax.jit(lambda state: jax.lax.scan(step, state, (grads, params)))(state)
    return updates, state


def assert_equal_to_optax(ours, theirs, shapes, tolerances, steps=200):
    for dtype, tolerance in tolerances.items():
        ours_, theirs_ = (long_path(optimizer, dtype, shapes, steps) for optimizer in (ours, theirs))
        contract.assert_same_path(ours_, theirs_, tolerance)


FLAT = {"w": (3, 4), "tall": (5, 2), "zero": (2, 3), "b": (4,), "scalar": ()}


@pytest.mark.parametrize("row", [row for row in MATRICES if "muon" in row.name], ids=lambda row: row.name)
def test_muon_is_that_of_optax_step_for_step(row, loose):
    h = row.hyperparameters
    assert_equal_to_optax(row.ours(**h), row.peer(**h), FLAT, {np.float64: 1e-11})


def test_muon_is_that_of_optax_in_float32(loose):
    """Up to rounding, which the iteration makes larger: small singular values grow by 3.4 in each."""
    assert_equal_to_optax(optim.muon(0.1), optax.contrib.muon(0.1), FLAT, {np.float32: 1e-4})


@pytest.mark.parametrize("row", [row for row in MATRICES if "galore" in row.name], ids=lambda row: row.name)
def test_galore_is_that_of_optax_step_for_step(row, loose):
    """In float64 up to the singular vectors, which optax computes in float32."""
    h = row.hyperparameters
    assert_equal_to_optax(row.ours(**h), row.peer(**h), FLAT, {np.float64: 1e-4, np.float32: 3e-5})


@pytest.mark.parametrize("row", MATRICES, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "check",
    [
        lambda row: contract.test_vmap_over_every_hyperparameter_compiles_once_and_equals_a_loop(row, None),
        lambda row: contract.test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too(
            row, None
        ),
        lambda row: contract.test_updates_and_state_keep_their_dtype_through_a_scan(row, jnp.float64),
        contract.test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters,
        contract.test_init_returns_arrays_of_their_own,
        contract.test_masked_and_partitioned_by_optax_it_moves_its_part_only,
    ],
    ids=["vmap", "derivative", "scan", "dtype", "init", "masked"],
)
def test_those_of_matrices_fulfil_the_contract(row, check):
    check(row)


DEEP = {"w": (3, 4), "heads": (4, 2, 3), "kernel": (2, 2, 5, 3), "b": (4,)}


@pytest.mark.parametrize("as_function", [False, True])
def test_muon_takes_tensors_as_matrices_as_optax_does(as_function, loose):
    def numbers(library):
        one = library.MuonDimensionNumbers
        given = {"w": None, "heads": one(0, (1, 2)), "kernel": one(-2, -1), "b": None}
        return (lambda tree: {name: given[name] for name in tree}) if as_function else given

    ours, theirs = (
        library.muon(0.1, muon_weight_dimension_numbers=numbers(library)) for library in (optim, optax.contrib)
    )
    assert_equal_to_optax(ours, theirs, DEEP, {np.float64: 1e-11}, 5)


def test_dimension_numbers_may_be_a_prefix_of_the_parameters_or_one_for_all():
    params = {"layer": {"w": jnp.ones((2, 3)), "v": jnp.ones((3, 2))}, "b": jnp.ones(3)}
    one = optim.MuonDimensionNumbers()

    def first(given):
        optimizer = optim.muon(0.1, muon_weight_dimension_numbers=given)
        return jax.jit(lambda: optimizer.update(params, optimizer.init(params), params)[0])()

    whole = first({"layer": {"w": one, "v": one}, "b": None})
    for given in ({"layer": one, "b": None}, one, None):
        contract.assert_close(first(given), whole, 0)


def test_galore_takes_tensors_as_matrices_as_optax_does(loose):
    def at(library):
        numbers = {"heads": library.GaLoreDimensionNumbers((0, 1), 2), "w": None, "b": None}
        return library.galore(0.1, rank=2, weight_dimension_numbers=numbers)

    shapes = {"heads": (4, 2, 3), "w": (3, 4), "b": (4,)}
    assert_equal_to_optax(at(optim), at(optax.contrib), shapes, {np.float32: 3e-5}, 5)
    at = lambda library: library.galore(0.1, weight_dimension_numbers=library.GaLoreDimensionNumbers(0, 1))
    assert_equal_to_optax(at(optim), at(optax.contrib), {"w": (3, 4), "b": (4,)}, {np.float32: 3e-5}, 5)


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "aol", "schatten"])
def test_muon_brings_singular_values_near_1(preconditioning):
    g = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)))
    t = optim.scale_by_muon(preconditioning=preconditioning)
    values = np.linalg.svd(np.asarray(jax.jit(lambda: t.update(g, t.init(g))[0])()), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "schatten"])
def test_muon_keeps_singular_vectors(preconditioning):
    g = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)))
    t = optim.scale_by_muon(((1.875, -1.25, 0.375),) * 15, 15, preconditioning=preconditioning)
    u, _, vt = np.linalg.svd(np.asarray(g), full_matrices=False)
    np.testing.assert_allclose(jax.jit(lambda: t.update(g, t.init(g))[0])(), u @ vt, atol=1e-6)


def test_the_rows_that_aol_divides_make_other_singular_vectors():
    g = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)))
    t = optim.scale_by_muon(((1.875, -1.25, 0.375),) * 15, 15, preconditioning="aol")
    x = np.asarray(jax.jit(lambda: t.update(g, t.init(g))[0])())
    np.testing.assert_allclose(x.T @ x, np.eye(4), atol=1e-6)
    u, _, vt = np.linalg.svd(np.asarray(g), full_matrices=False)
    assert 0.01 < np.abs(x - u @ vt).max() < 0.1


def test_muon_is_computed_in_float32_for_gradients_in_bfloat16():
    g = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.bfloat16)
    t = optim.scale_by_muon(beta=0.0)
    first = jax.jit(lambda g: t.update(g, t.init(g))[0])
    np.testing.assert_array_equal(first(g), first(g.astype(jnp.float32)).astype(jnp.bfloat16))


def test_the_mean_of_muon_may_be_kept_in_another_dtype():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    state = optim.muon(0.1, mu_dtype=jnp.bfloat16).init(params)
    means = [leaf for part in state.inner_states.values() for leaf in jax.tree.leaves(optax.tree.get(part, "mu"))]
    assert [leaf.dtype for leaf in means] == [jnp.bfloat16] * 2


def test_weight_decay_of_muon_may_be_a_schedule():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    zero = jax.tree.map(jnp.zeros_like, params)
    decay = lambda count: 0.5 ** (count.astype(float) + 1)
    (_, _), updates = path(optim.muon(1.0, weight_decay=decay, adam_weight_decay=decay), params, zero, 3)
    for name, p in params.items():  # (1 - 1/2) (1 - 1/4) (1 - 1/8)
        np.testing.assert_allclose(p + updates[name].sum(0), 21 / 64, rtol=1e-12)


def test_coefficients_of_muon_may_be_traced():
    g = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))

    def total(a):
        t = optim.scale_by_muon((a, -4.775, 2.0315))
        return t.update(g, t.init(g))[0].sum()

    ahead, behind = jax.jit(jax.vmap(total))(jnp.array([3.4 + 1e-6, 3.4 - 1e-6]))
    np.testing.assert_allclose(jax.jit(jax.grad(total))(3.4), (ahead - behind) / 2e-6, rtol=1e-6)


def test_galore_moves_in_a_few_directions_that_change_now_and_then():
    t = optim.scale_by_galore(rank=1, update_proj_gap=2)
    random = np.random.default_rng(0)
    state, update, seen = t.init(jnp.zeros((4, 3))), jax.jit(t.update), []
    for g in random.normal(size=(3, 4, 3)):
        updates, state = update(jnp.asarray(g), state)
        assert np.linalg.matrix_rank(np.asarray(updates), tol=1e-9) == 1
        seen.append(np.asarray(state.projector))
        np.testing.assert_allclose(np.linalg.norm(seen[-1]), 1.0)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert np.abs(seen[1] - seen[2]).max() > 1e-3


def test_galore_of_full_rank_by_a_linear_rule_is_that_rule():
    """P P^T is 1 where there are as many vectors as columns."""
    g = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    t = optim.scale_by_galore(rank=4, base_optimizer=optax.trace(0.9))
    np.testing.assert_allclose(jax.jit(lambda: t.update(g, t.init(g))[0])(), g, atol=1e-12)


def test_the_derivative_through_galore_is_finite_where_a_gradient_of_zero_has_no_singular_vectors():
    def total(rate):
        optimizer = optim.galore(rate, rank=1, update_proj_gap=1)

        def step(carry, _):
            p, state = carry
            updates, state = optimizer.update(p * rate, state, p)
            return (p + updates, state), None

        p = jnp.zeros((2, 3))
        return jax.lax.scan(step, (p, optimizer.init(p)), length=2)[0][0].sum()

    assert float(jax.jit(jax.grad(total))(0.1)) == 0


# What cannot be meant.


def of_galore(numbers, shape):
    return optim.scale_by_galore(weight_dimension_numbers=numbers).init(jnp.ones(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.scale_by_trust_ratio(-1.0), "expected min_norm of 0 or more, because it is a norm; got -1.0"),
        (lambda: optim.lars(0.1, trust_coefficient=-1.0), "expected trust_coefficient of 0 or more, because it is a"),
        (lambda: optim.lars(0.1, eps=jnp.nan), "expected eps of 0 or more, because it keeps a divisor from 0; got nan"),
        (lambda: optim.lars(0.1, momentum=1.0), "expected momentum from 0 to below 1, because a velocity must fade"),
        (lambda: optim.lars(0.1, -1.0), "expected weight_decay of 0 or more, because weights fade and do not grow"),
        (lambda: optim.lamb(0.1, 1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.fromage(-0.1), "expected learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.fromage(0.1, -1.0), "expected min_norm of 0 or more, because it is a norm; got -1.0"),
        (lambda: optim.sm3(-0.1), "expected learning_rate of 0 or more, because it is the length of a step; got -0.1"),
        (lambda: optim.sm3(0.1, 1.0), "expected momentum from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.scale_by_sm3(1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (
            lambda: optim.scale_by_sm3(b2=1.1),
            "expected b2 from 0 to 1, because squares are averaged below 1 .* got 1.1",
        ),
        (lambda: optim.scale_by_sm3(b2=jnp.nan), "expected b2 from 0 to 1, .* got nan"),
        (lambda: optim.scale_by_sm3(eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.adafactor(-0.1), "expected learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.adafactor(decay_rate=-1.0), "expected decay_rate of 0 or more, because a mean must not forget"),
        (lambda: optim.adafactor(clipping_threshold=-1.0), "expected threshold of 0 or more"),
        (lambda: optim.adafactor(momentum=1.0), "expected momentum from 0 to below 1, because a mean must forget"),
        (lambda: optim.adafactor(weight_decay_rate=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.adafactor(eps=-1.0), "expected epsilon of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.scale_by_param_block_rms(-1.0), "expected min_scale of 0 or more, because it is the least size"),
        (lambda: optim.muon(0.1, beta=1.0), "expected beta from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.muon(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.muon(0.1, ns_coeffs="dino"), "expected ns_coeffs among standard, dion, or numbers, .* 'dino'"),
        (lambda: optim.scale_by_muon((1.0, 2.0)), r"expected ns_coeffs of shape \(3,\) or \(n, 3\), .* got \(2,\)"),
        (lambda: optim.muon(0.1, "dion", 4), "expected ns_steps of 5 or more, because .* ns_coeffs; got 4"),
        (lambda: optim.muon(0.1, preconditioning="none"), "expected preconditioning among frobenius, .* got 'none'"),
        (lambda: optim.muon(0.1, consistent_rms=-1.0), "expected consistent_rms of 0 or more, because it is the size"),
        (lambda: optim.muon(0.1, adam_b1=1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (
            lambda: optim.scale_by_muon().update(jnp.ones(3), optim.scale_by_muon().init(jnp.ones(3))),
            r"expected a parameter with axes \(0,\) and \(1,\), because they are the rows and .*; got \(3,\)",
        ),
        (
            lambda: of_galore(optim.GaLoreDimensionNumbers(0, (-1, 0)), (2, 3)),
            r"expected axes of rows and of columns that are not the same, because .* got 0 and \(-1, 0\)",
        ),
        (
            lambda: of_galore(optim.GaLoreDimensionNumbers(), (2, 3, 4)),
            "expected all axes to be named, because a parameter is one matrix; got GaLore",
        ),
        (lambda: optim.galore(0.1, 0), "expected rank of 1 or more, because a matrix of rank 0 moves nothing; got 0"),
        (lambda: optim.galore(0.1, 1.5), "expected rank to be an integer, because it is a shape; got 1.5"),
        (lambda: optim.galore(0.1, 2, 0), "expected update_proj_gap of 1 or more, because it counts steps; got 0"),
        (lambda: optim.galore(0.1, scale=-1.0), "expected scale of 0 or more, because it is the size of a step"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()
