"""Optimizers that find their learning rate, beyond the contract: worked numbers, errors, and where optax differs."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

NAMES = [
    "cocob",
    "dadapt_adamw",
    "differentially_private_aggregate",
    "dog",
    "dowg",
    "dpsgd",
    "hutchinson_estimator_diag_hessian",
    "mechanize",
    "momo",
    "momo_adam",
    "normalize",
    "prodigy",
    "sam",
    "scale_by_cocob",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "sophia",
    "split_real_and_imaginary",
]
FROM_PARAMS = [
    optim.dog(),
    optim.dowg(),
    optim.scale_by_distance_over_gradients(),
    optim.prodigy(),
    optim.dadapt_adamw(),
    optim.schedule_free_sgd(),
    optim.mechanize(optim.sgd(1.0)),
    optim.momo(),
    optim.momo_adam(),
    optim.cocob(),
    optim.sam(optim.sgd(0.1), optim.sgd(0.1)),
    optim.sam(optim.sgd(0.1), optim.sgd(0.1), opaque_mode=True),
    optim.sophia(0.1),
    optim.hutchinson_estimator_diag_hessian(),
]


def path(optimizer, steps, curvature=2.0, start=2.0):
    """Parameters after each step, and the state after the last: f(x) = curvature x^2 / 2."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(curvature * x, state, x, value=curvature * x**2 / 2)
        x = x + updates
        return (x, state), x

    x = jnp.asarray(start, float)
    (_, state), xs = jax.jit(lambda: jax.lax.scan(step, (x, optimizer.init(x)), length=steps))()
    return np.asarray(xs), state


@pytest.mark.parametrize("name", [*NAMES, "scale_by_distance_over_gradients"])
def test_arguments_and_defaults_are_those_of_optax(name):
    library = optax if name == "scale_by_distance_over_gradients" else optax.contrib
    made_by_a_call = lambda p: p.name in ("hessian_diagonal_fn",)

    def outline(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, None if made_by_a_call(p) else p.default, p.kind) for p in parameters]

    assert outline(getattr(optim, name)) == outline(getattr(library, name))


@pytest.mark.parametrize(
    "name",
    [name for name in optax.contrib.__dict__ if name.endswith("State") and hasattr(optim, name)],
)
def test_states_have_the_names_and_fields_of_optax(name):
    ours, theirs = getattr(optim, name), getattr(optax.contrib, name)
    assert (ours.__name__, ours._fields) == (theirs.__name__, theirs._fields)


# Worked numbers.


def test_dog_goes_as_far_as_it_has_gone_over_the_root_of_all_squares(x64):
    x, r, G, expected = 2.0, 0.5, 0.0, []
    for _ in range(20):
        g = 2 * x
        r, G = max(r, abs(x - 2.0)), G + g**2
        x -= r / (G + 1e-8) ** 0.5 * g
        expected.append(x)
    np.testing.assert_allclose(path(optim.dog(init_step=("distance", 0.5)), 20)[0], expected, rtol=1e-12)
    assert expected[0] == pytest.approx(1.5)


def test_dog_begins_with_the_rate_that_it_is_given_and_its_derivative_is_right(x64):
    first = lambda rate: optim.dog(init_step=("learning_rate", rate)).update
    step = lambda rate: first(rate)(jnp.array(4.0), optim.dog().init(jnp.array(2.0)), jnp.array(2.0))[0]
    assert float(step(0.3)) == pytest.approx(-1.2)
    assert float(jax.grad(step)(0.3)) == pytest.approx(-4.0)


def test_dowg_weighs_gradients_by_squared_distances(x64):
    x, r2, G, expected = 2.0, 0.25, 0.0, []
    for _ in range(20):
        g = 2 * x
        r2 = max(r2, (x - 2.0) ** 2)
        G += r2 * g**2
        x -= r2 / (G**0.5 + 1e-4) * g
        expected.append(x)
    np.testing.assert_allclose(path(optim.dowg(init_estim_sq_dist=0.25), 20)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("make", [optim.prodigy, optim.dadapt_adamw])
def test_the_estimate_grows_from_far_too_small_to_the_scale_of_the_distance(make, x64):
    xs, state = path(make(), 200)
    assert 0.1 < float(state.estim_lr) < 10 * 2.0
    assert abs(xs[-1]) < 1.0


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16], ids=["z as parameters are", "z in bfloat16"])
def test_a_schedule_free_mean_is_that_of_all_steps_as_they_are_kept(dtype):
    optimizer, x, zs = optim.schedule_free_sgd(0.1, b1=0.7, state_dtype=dtype), jnp.array(2.0), []
    state = optimizer.init(x)
    for _ in range(5):
        updates, state = optimizer.update(2 * x, state, x)
        x = x + updates
        zs.append(float(state.z))
    assert state.z.dtype == (dtype or x.dtype)
    assert float(optim.schedule_free_eval_params(state, x)) == pytest.approx(np.mean(zs), rel=1e-5)


def test_schedule_free_with_a_rate_of_0_stays():
    np.testing.assert_array_equal(path(optim.schedule_free_sgd(0.0), 2)[0], [2.0, 2.0])


def test_mechanize_begins_from_the_parameters_of_the_first_step_whatever_it_was_initialised_with(x64):
    optimizer = optim.mechanize(optim.sgd(1.0), s_init=0.1, weight_decay=0.0)
    updates, state = optimizer.update(jnp.array(4.0), optimizer.init(jnp.array(7.0)), jnp.array(2.0))
    assert (float(updates), float(state.x0)) == (pytest.approx(-0.4), 2.0)


@pytest.mark.parametrize("rate", [0.1, 100.0])
def test_momo_is_momentum_until_its_step_would_overshoot(rate, x64):
    xs, _ = path(optim.momo(rate, beta=0.0), 1)
    assert xs[0] == pytest.approx(2.0 - min(rate, 4.0 / 16.0) * 4.0)  # f / g^2 = 4 / 16


def test_cocob_takes_the_same_path_whatever_the_scale_of_gradients(x64):
    small, large = (path(optim.cocob(eps=1e-30), 50, scale)[0] for scale in (1e-3, 1e3))
    np.testing.assert_allclose(small, large, rtol=1e-12)


# Where optax differs.


@pytest.mark.parametrize("make", ["prodigy", "dadapt_adamw"])
def test_without_a_gradient_there_is_nothing_to_estimate(make, loose):
    ours, theirs = (
        path(getattr(library, make)(estim_lr0=0.5), 3, 0.0)[1].estim_lr for library in (optim, optax.contrib)
    )
    assert float(ours) == 0.5
    assert np.isnan(theirs)


@pytest.mark.parametrize(
    "make",
    [
        partial(optim.dog, eps=0.0),
        partial(optim.dowg, 1.0, 1.0, 0.0),
        partial(optim.prodigy, eps=0.0),
        partial(optim.dadapt_adamw, eps=0.0),
        partial(optim.cocob, eps=0.0),
        partial(optim.momo_adam, eps=0.0),
        partial(optim.scale_by_distance_over_gradients, eps=0.0),
    ],
)
def test_what_has_had_no_gradient_stays_without_an_eps_too(make):
    np.testing.assert_array_equal(path(make(), 3, 0.0)[0], [2.0] * 3)


@pytest.mark.parametrize("optimizer", [optim.dog(), optim.dowg(), optim.prodigy(), optim.momo(), optim.momo_adam()])
def test_a_gradient_that_is_not_a_number_is_not_hidden(optimizer):
    """Nor by the rate of the leaves that have one."""
    params, grads = {"a": jnp.array(1.0), "b": jnp.array(1.0)}, {"a": jnp.array(jnp.nan), "b": jnp.array(1.0)}
    optimizer, state = optax.with_extra_args_support(optimizer), optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params, value=jnp.array(1.0))
    assert np.isnan(updates["a"])
    assert np.isnan(updates["b"])


def test_a_leaf_of_no_axes_keeps_its_shape():
    updates = {}
    for name, library in (("ours", optim), ("theirs", optax)):
        t = library.scale_by_distance_over_gradients()
        with jax.numpy_rank_promotion("allow"):
            updates[name], _ = t.update(jnp.array(1.0), t.init(jnp.array(2.0)), jnp.array(2.0))
    assert (updates["ours"].shape, updates["theirs"].shape) == ((), (1,))
    np.testing.assert_allclose(updates["ours"], updates["theirs"][0], rtol=1e-6)


# Errors.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.dog(init_step=("length", 1.0)), "expected init_step to begin with .* got 'length'"),
        (lambda: optim.dog(init_step=("distance", -1.0)), "expected init_step of 0 or more, .* first step; got -1.0"),
        (lambda: optim.dog(eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0; got -1.0"),
        (lambda: optim.dog(-1.0), "expected learning_rate of 0 or more"),
        (lambda: optim.dog(weight_decay=-1.0), "expected weight_decay of 0 or more"),
        (lambda: optim.dowg(init_estim_sq_dist=-1.0), "expected init_estim_sq_dist of 0 or more, .* squared distance"),
        (lambda: optim.dowg(eps=jnp.nan), "expected eps of 0 or more, because it keeps a divisor from 0; got nan"),
        (lambda: optim.scale_by_distance_over_gradients(-1.0), "expected reps_rel of 0 or more"),
        (lambda: optim.scale_by_distance_over_gradients(eps=-1.0), "expected eps of 0 or more"),
        (lambda: optim.prodigy(betas=(1.0, 0.9)), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.prodigy(betas=(0.9, 1.0)), "expected b2 from 0 to below 1"),
        (lambda: optim.prodigy(beta3=1.0), "expected beta3 from 0 to below 1"),
        (lambda: optim.prodigy(estim_lr0=0.0), "expected estim_lr0 above 0, because estimates grow from it; got 0.0"),
        (lambda: optim.prodigy(estim_lr_coef=-1.0), "expected estim_lr_coef of 0 or more"),
        (lambda: optim.prodigy(-1.0), "expected learning_rate of 0 or more, because it is a factor of the length"),
        (lambda: optim.prodigy(eps=-1.0), "expected eps of 0 or more"),
        (lambda: optim.prodigy(weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.dadapt_adamw(betas=(1.0, 0.9)), "expected b1 from 0 to below 1"),
        (lambda: optim.dadapt_adamw(estim_lr0=0.0), "expected estim_lr0 above 0"),
        (lambda: optim.dadapt_adamw(-1.0), "expected learning_rate of 0 or more"),
        (lambda: optim.schedule_free_sgd(b1=0.0), "expected b1 above 0 and at most 1, .* dividing by it; got 0.0"),
        (lambda: optim.schedule_free_sgd(b1=1.5), "expected b1 above 0 and at most 1, .*; got 1.5"),
        (lambda: optim.schedule_free_sgd(-1.0), "expected learning_rate of 0 or more, .* length of a step; got -1.0"),
        (lambda: optim.schedule_free_sgd(-1.0, 5), "expected learning_rate of 0 or more, .* length of a step; got -1"),
        (lambda: optim.schedule_free_sgd(weight_lr_power=-1.0), "expected weight_lr_power of 0 or more, .* count more"),
        (lambda: optim.schedule_free_adamw(lambda t: 0.1, 5), "expected learning_rate to be a number, .* rises to"),
        (lambda: optim.mechanize(optim.sgd(1.0), eps=0.0), "expected eps above 0, because a scale of nothing stays"),
        (lambda: optim.mechanize(optim.sgd(1.0), s_init=0.0), "expected s_init above 0"),
        (lambda: optim.mechanize(optim.sgd(1.0), weight_decay=-1.0), "expected weight_decay of 0 or more"),
        (lambda: optim.mechanize(optim.sgd(1.0), num_betas=0), "expected num_betas of 1 or more, .* a horizon; got 0"),
        (lambda: optim.momo(beta=1.0), "expected beta from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.momo(-1.0), "expected learning_rate of 0 or more, because it is the length of a step; got -1.0"),
        (lambda: optim.momo_adam(weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.momo_adam(b2=1.0), "expected b2 from 0 to below 1"),
        (lambda: optim.momo_adam(eps=-1.0), "expected eps of 0 or more"),
        (lambda: optim.momo(lower_bound=jnp.nan), "expected lower_bound to be a number, .* aim at it; got nan"),
        (lambda: optim.cocob(alpha=-1.0), "expected alpha of 0 or more, because it counts gradients; got -1.0"),
        (lambda: optim.cocob(eps=-1.0), "expected eps of 0 or more"),
        (lambda: optim.sam(optim.sgd(1.0), optim.sgd(1.0), 0), "expected sync_period of 1 or more, .* descends; got 0"),
        (lambda: optim.sophia(0.1, 1.0), "expected b1 from 0 to below 1"),
        (lambda: optim.sophia(0.1, eps=-1.0), "expected eps of 0 or more"),
        (lambda: optim.sophia(0.1, gamma=-1.0), "expected gamma of 0 or more, because it is a scale; got -1.0"),
        (lambda: optim.sophia(0.1, clip_threshold=-1.0), "expected clip_threshold of 0 or more"),
        (lambda: optim.sophia(0.1, update_interval=0), "expected update_interval of 1 or more, .* counts steps; got 0"),
        (lambda: optim.dpsgd(0.1, -1.0, 1.0, 0), "expected l2_norm_clip of 0 or more, .* bounds a norm; got -1.0"),
        (lambda: optim.dpsgd(0.1, 1.0, -1.0, 0), "expected noise_multiplier of 0 or more, .* deviation; got -1.0"),
        (lambda: optim.dpsgd(0.1, 1.0, 1.0, 0, 1.0), "expected momentum from 0 to below 1, .* fade"),
        (lambda: optim.differentially_private_aggregate(1.0, 1.0), "expected key or seed, .*; got key=None and"),
        (lambda: optim.differentially_private_aggregate(1.0, 1.0, 1, seed=2), "expected key or seed, one of them"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("optimizer", FROM_PARAMS)
def test_parameters_are_asked_for(optimizer):
    with pytest.raises(
        ValueError, match=r"expected params, because .*; got None: call update\(updates, state, params\)"
    ):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize("optimizer", [optim.momo(), optim.momo_adam()])
def test_the_value_of_the_loss_is_asked_for(optimizer):
    with pytest.raises(ValueError, match="expected value, because the step is found from the loss; got None: call"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))


def test_the_mean_is_found_in_a_state_of_schedule_free_only():
    with pytest.raises(ValueError, match=r"expected the state of schedule_free, .*; got tuple\n  hint: in a chain"):
        optim.schedule_free_eval_params(optim.chain(optim.schedule_free_sgd()).init(jnp.ones(2)), jnp.ones(2))
