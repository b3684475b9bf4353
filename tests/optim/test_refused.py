"""What optimizers refuse at once, and what they take in its stead: counts, keys, masks, parts and rates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import optim

pytestmark = pytest.mark.usefixtures("unannotated")
P = {"w": jnp.array([[1.0, 2.0], [3.0, 4.0]])}


def search(**arguments):
    return optim.scale_by_backtracking_linesearch(5, **arguments)


COUNTS = {
    "apply_every": optim.apply_every,
    "equally_averaged": lambda n: optim.equally_averaged(optim.sgd(0.1), every=n),
    "periodic_update": lambda n: optim.periodic_update(P, P, 0, n),
    "lookahead": lambda n: optim.lookahead(optim.sgd(0.1), n, 0.5),
    "MultiSteps": lambda n: optim.MultiSteps(optim.sgd(0.1), n),
    "patience": lambda n: optim.reduce_on_plateau(patience=n),
    "accumulation_size": lambda n: optim.reduce_on_plateau(accumulation_size=n),
    "sophia": lambda n: optim.sophia(0.1, update_interval=n),
    "sam": lambda n: optim.sam(optim.sgd(0.1), optim.sgd(0.1), n),
    "sam_opaque": lambda n: optim.sam(optim.sgd(0.1), optim.sgd(0.1), n, opaque_mode=True),
    "rank": lambda n: optim.galore(0.1, rank=n),
    "update_proj_gap": lambda n: optim.galore(0.1, update_proj_gap=n),
    "memory_size": optim.scale_by_lbfgs,
    "ns_steps": lambda n: optim.muon(0.1, ns_steps=n),
    "max_linesearch_steps": optim.scale_by_zoom_linesearch,
}


@pytest.mark.parametrize("make", COUNTS.values(), ids=COUNTS)
def test_a_count_is_whole_and_at_least_1_in_whatever_form_it_comes(make):
    for count in (1, 2, np.int64(2), np.array(2), jnp.array(2)):
        make(count)
    for count in (0, -1, np.int64(0), jnp.array(0), jnp.array(-1), float("nan")):
        with pytest.raises(ValueError, match=r"^expected \w+ of 1 or more, because .*; got "):
            make(count)
    for count in (1.5, 1.9, jnp.array(1.5), float("inf")):
        with pytest.raises(ValueError, match=r"^expected \w+ to be an integer, because .*; got "):
            make(count)


COUNTS_FROM_0 = {
    "start": lambda n: optim.exponentially_averaged(optim.sgd(0.1), start=n),
    "start_equal": lambda n: optim.equally_averaged(optim.sgd(0.1), start=n),
    "cooldown": lambda n: optim.reduce_on_plateau(cooldown=n),
    "max_backtracking_steps": optim.scale_by_backtracking_linesearch,
}


@pytest.mark.parametrize("make", COUNTS_FROM_0.values(), ids=COUNTS_FROM_0)
def test_a_count_that_may_be_none_is_whole_and_at_least_0(make):
    for count in (0, 2, np.int64(2), jnp.array(2)):
        make(count)
    with pytest.raises(ValueError, match=r"^expected \w+ of 0 or more, because it counts.*; got -1"):
        make(-1)
    with pytest.raises(ValueError, match=r"^expected \w+ to be an integer, because it counts.*; got 1.5"):
        make(1.5)


@pytest.mark.parametrize("name", ["rank", "memory_size", "ns_steps", "sam_opaque"])
def test_a_count_that_is_a_shape_or_a_loop_is_no_tracer(name):
    with pytest.raises(ValueError, match=r"^expected \w+ to be a known integer, because .*; got .*Tracer"):
        jax.jit(lambda n: (COUNTS[name](n), n)[1])(2)


def test_plain_sam_may_be_swept_over_its_period():
    p, g = jnp.array(2.0), jnp.array(1.0)

    def path(period):
        optimizer = optim.sam(optim.sgd(0.5), optim.sgd(1.0), period)
        x, state = p, optimizer.init(p)
        for _ in range(4):
            updates, state = optimizer.update(g, state, x)
            x = optim.apply_updates(x, updates)
        return x

    np.testing.assert_array_equal(jax.vmap(path)(jnp.array([1, 2, 3])), [path(1), path(2), path(3)])


REFUSED = {
    "slope_rtol": (lambda: search(slope_rtol=2.0), "slope_rtol from 0 to 1, because it is a part of .*; got 2.0"),
    "slow_step_size": (lambda: optim.lookahead(optim.sgd(0.1), 2, 2.0), "slow_step_size from 0 to 1, because .* 2.0"),
    "step_size": (lambda: optim.incremental_update(P, P, 2.0), "step_size from 0 to 1, because .*; got 2.0"),
    "init_step": (lambda: optim.dog(init_step=0.1), r"init_step to be a word and a number, such as .*; got 0.1"),
    "init_step_word": (lambda: optim.dog(init_step="heuristic"), r"init_step to be a word and a number, .*'heuristic'"),
    "betas": (lambda: optim.prodigy(betas=0.9), "betas to be two numbers, because there are two means; got 0.9"),
    "betas_3": (lambda: optim.prodigy(betas=(0.9, 0.9, 0.9)), "betas to be two numbers, because .*; got \\(0.9, 0.9"),
    "sgd": (lambda: optim.sgd(None), "learning_rate to be a number or a schedule, because without one .* upwards"),
    "rate": (lambda: optim.scale_by_learning_rate(None), "learning_rate to be a number or a schedule, because .* None"),
    "adamw_mask": (
        lambda: optim.adamw(0.1, weight_decay=0.5, mask={"w": "no"}).init(P),
        "a mask of bools, because it says for each leaf whether it is meant; got 'no'",
    ),
    "lars_mask": (
        lambda: optim.lars(0.1, trust_ratio_mask={"w": "no"}).init(P),
        "a mask of bools, because it says for each leaf whether it is meant; got 'no'",
    ),
    "lars_decay": (lambda: optim.lars(0.1, weight_decay_mask={"v": True}).init(P), "a mask like the parameters"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_with_the_reason(make, message):
    with pytest.raises(ValueError, match="^expected " + message):
        make()


def test_both_ends_of_a_part_are_taken():
    for part in (0.0, 1.0, jnp.array(1.0)):
        search(slope_rtol=part)
        optim.lookahead(optim.sgd(0.1), 2, part)
        optim.incremental_update(P, P, part)


def test_parts_that_are_tracers_pass():
    jax.jit(lambda x: optim.incremental_update(P, P, x))(2.0)


NEEDS_PARAMS = {
    "adaptive_grad_clip": optim.adaptive_grad_clip(0.1),
    "exponentially_averaged": optim.exponentially_averaged(optim.sgd(0.1)),
    "keep_params_nonnegative": optim.keep_params_nonnegative(),
    "scale_by_param_block_rms": optim.scale_by_param_block_rms(),
    "scale_by_lbfgs": optim.scale_by_lbfgs(),
    "madgrad": optim.madgrad(0.1),
    "scale_by_novograd": optim.scale_by_novograd(),
    "scale_by_trust_ratio": optim.scale_by_trust_ratio(),
    "add_decayed_weights": optim.add_decayed_weights(0.1),
}


@pytest.mark.parametrize("optimizer", NEEDS_PARAMS.values(), ids=NEEDS_PARAMS)
def test_parameters_that_are_missing_are_asked_for(optimizer):
    message = r"^expected params, because .*; got None: call update\(updates, state, params\)$"
    with pytest.raises(ValueError, match=message):
        optimizer.update(P, optimizer.init(P))


# Keys.

KEYED = {
    "add_noise": (lambda key: optim.add_noise(1.0, 0.5, key), "rng_key"),
    "noisy_sgd": (lambda key: optim.noisy_sgd(1.0, 1.0, 0.5, key), "rng_key"),
    "differentially_private_aggregate": (lambda key: optim.differentially_private_aggregate(1.0, 1.0, key), "rng_key"),
    "low_memory": (lambda key: optim.low_memory(optim.adam(0.1), key), "key"),
    "hutchinson": (optim.hutchinson_estimator_diag_hessian, "key"),
}
keyed = pytest.mark.parametrize(("make", "name"), KEYED.values(), ids=KEYED)


def key_in(make, name, key):
    leaves = jax.tree_util.tree_leaves_with_path(make(key).init(P))
    return next(leaf for path, leaf in leaves if name in jax.tree_util.keystr(path))


def stepped(make, key):
    optimizer = make(key)
    updates, _ = optimizer.update(P, optimizer.init(P), P, **({"obj_fn": lambda p: (p["w"] ** 3).sum() * p["w"][0, 0]}
                                                              if make is KEYED["hutchinson"][0] else {}))  # fmt: skip
    return updates["w"]


@keyed
def test_a_key_and_the_integer_that_makes_it_are_the_same(make, name):
    expected = stepped(make, jax.random.key(3))
    assert jax.dtypes.issubdtype(key_in(make, name, np.int64(3)).dtype, jax.dtypes.prng_key)
    for key in (3, np.int64(3), np.uint8(3), jnp.array(3), jax.random.PRNGKey(3)):
        np.testing.assert_array_equal(stepped(make, key), expected)


@keyed
def test_the_key_of_the_caller_outlives_a_donated_state(make, name):
    for key in (jax.random.key(3), jax.random.PRNGKey(3)):
        key_in(make, name, key).delete()
        assert not key.is_deleted()


@keyed
def test_what_is_no_key_is_refused_at_once(make, name):
    message = r"^expected a key of jax.random or an integer, because the chance begins with one; got "
    for key in (0.5, "three", jnp.array(0.5), jnp.zeros(3), jax.random.split(jax.random.key(0), 2)):
        with pytest.raises(TypeError, match=message):
            make(key)


@keyed
def test_seeds_may_be_swept(make, name):
    seeds = jnp.array([3, 4])
    mapped = jax.vmap(functools.partial(stepped, make))(seeds)
    np.testing.assert_allclose(mapped, [stepped(make, 3), stepped(make, 4)], rtol=1e-6)


# What is taken.


def test_a_skip_function_may_say_a_bool_of_python():
    p, results = jnp.array(1.0), []
    for skip in (False, True, np.bool_(True)):
        optimizer = optim.MultiSteps(optim.sgd(0.5), 1, should_skip_update_fn=lambda *_, skip=skip: (skip, ()))
        results.append(float(optimizer.update(p, optimizer.init(p), p)[0]))
    assert results == [-0.5, 0.0, 0.0]


def test_adafactor_takes_no_parameters():
    for tree in ({}, {"none": None}):
        optimizer = optim.adafactor(0.1)
        updates, _ = optimizer.update(tree, optimizer.init(tree), tree)
        assert updates == tree


def test_integers_are_promoted_before_they_are_used():
    g = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]]), "b": jnp.array([0.5, 2.0])}
    for uniform in (True, False):
        one, same = (optim.per_example_layer_norm_clip(g, c, uniform)[0] for c in (jnp.int32(1), 1.0))
        jax.tree.map(np.testing.assert_array_equal, one, same)
    for rate, as_float in ((jnp.int32(1), 1.0), (np.int64(1), 1.0), (lambda t: 1 + t, lambda t: 1.0 + t.astype(float))):
        steps = [t.update(P, t.init(P), P)[0] for t in map(optim.fromage, (rate, as_float))]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *steps)


def test_the_docstrings_say_what_eps_of_0_does():
    for optimizer in (optim.adam, optim.scale_by_adam, optim.madgrad, optim.scale_by_madgrad):
        assert "With 0, gradients that were always 0 give NaN" in " ".join(optimizer.__doc__.split())
    for optimizer in (optim.adam(0.1, eps=0.0), optim.madgrad(0.1, eps=0.0)):
        zero = jnp.array(0.0)
        assert np.isnan(optimizer.update(zero, optimizer.init(zero), zero)[0])


@pytest.mark.parametrize(
    "optimizer", [optim.momentum, optim.averaged_momentum, optim.nesterov], ids=lambda f: f.__name__
)
def test_the_docstrings_of_velocities_name_both_arguments_and_what_is_refused_of_them(optimizer):
    _, arguments = optimizer.__doc__.split("Args:")
    arguments, refused = arguments.split("Raises:")
    assert "learning_rate: " in arguments
    assert "decay: " in arguments
    assert "`learning_rate`" in refused
    for wrong in ({"learning_rate": -0.1}, {"learning_rate": 0.1, "decay": 1.0}):
        with pytest.raises(ValueError, match=r"^expected (learning_rate|decay) "):
            optimizer(**wrong)


@pytest.mark.parametrize(
    "scaling", [optim.scale_by_param_block_norm, optim.scale_by_param_block_rms], ids=lambda f: f.__name__
)
def test_the_docstrings_of_scalings_by_size_name_their_argument(scaling):
    assert "Args:\n        min_scale: " in scaling.__doc__
