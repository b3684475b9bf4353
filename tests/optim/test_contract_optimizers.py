"""Every property that an optimizer must have, over every row of `rows.py`."""

import contextlib
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import OPTIMIZERS, only_w

from jaxnn import optim, schedules

STEPS = 50

each_optimizer = pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.name)
each_precision = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)], ids=["float64", "float32"]
)
each_dtype = pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=lambda dtype: dtype.__name__
)


def those_with(*names):
    """Over the optimizers that have these hyperparameters."""
    rows = [row for row in OPTIMIZERS if set(names) <= set(row.hyperparameters)]
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def hyperparameters_of(rows):
    """Over every hyperparameter of every row."""
    pairs = [pytest.param(row, name, id=f"{row.name}-{name}") for row in rows for name in row.hyperparameters]
    return pytest.mark.parametrize(("row", "name"), pairs)


@contextlib.contextmanager
def loosely():
    """JAX's own promotion, which optax relies on."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def precision(dtype):
    return jax.enable_x64(dtype == jnp.float64)


@functools.cache
def sequence(dtype, steps=STEPS):
    """Gradients (of a noisy quadratic, and exactly zero) and parameters, both of which change at every step."""
    random = np.random.default_rng(0)
    params = {"w": random.normal(size=(steps, 2, 3)).cumsum(0), "zero": random.normal(size=(steps, 2, 3)).cumsum(0)}
    grads = {"w": 0.5 * params["w"] + random.normal(size=(steps, 2, 3)), "zero": np.zeros((steps, 2, 3))}
    at = lambda tree, t: {name: jnp.asarray(leaf[t].astype(dtype)) for name, leaf in tree.items()}
    with precision(dtype), jax.ensure_compile_time_eval():  # for it may be asked for within a trace, and is kept
        return [(at(grads, t), at(params, t)) for t in range(steps)]


def path(optimizer, dtype, steps=STEPS):
    """Updates and states, step for step, stacked."""
    state, seen = optimizer.init(sequence(dtype)[0][1]), []
    for grads, params in sequence(dtype)[:steps]:
        updates, state = optimizer.update(grads, state, params)
        seen.append((updates, state))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *seen)


def run(optimizer, steps=5):
    """A number at the end of a short run, in which the gradients depend on where the updates led."""
    params = sequence(jnp.float64)[0][1]
    state = optimizer.init(params)
    for noise, _ in sequence(jnp.float64)[:steps]:
        grads = {"w": 0.5 * params["w"] + noise["w"], "zero": 0.0 * params["zero"]}
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    return (jnp.arange(6.0).reshape(2, 3) * params["w"]).sum() + params["zero"].sum()


def named(state):
    """Names and values of a state's leaves, whatever tuple of transformations they stand in."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    place = lambda keys: "".join(str(key) for key in keys if not isinstance(key, jax.tree_util.SequenceKey))
    return [(place(keys), leaf) for keys, leaf in leaves]


def assert_close(ours, theirs, tolerance):
    """Equal leaf by leaf, relative to the largest number of the leaf; so a leaf of zeros must be zero."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=0))


def assert_same_path(ours, theirs, tolerance):
    (our_updates, our_state), (their_updates, their_state) = ours, theirs
    assert_close(our_updates, their_updates, tolerance)
    our_state, their_state = named(our_state), named(their_state)
    assert [name for name, _ in our_state] == [name for name, _ in their_state]
    assert_close([leaf for _, leaf in our_state], [leaf for _, leaf in their_state], tolerance)


# The same numbers as optax.


@each_precision
@each_optimizer
def test_updates_and_state_equal_optax_step_for_step(row, dtype, tolerance):
    with precision(dtype):
        # Arrays, because optax rounds 1 - 0.999 to float32 only after the difference if 0.999 is a Python float.
        hyperparameters = {name: jnp.asarray(value, dtype) for name, value in row.hyperparameters.items()}
        ours = path(row.ours(**hyperparameters), dtype)
        with loosely():
            theirs = path(row.peer(**hyperparameters), dtype)
        assert_same_path(ours, theirs, tolerance)


@each_precision
@those_with("learning_rate")
def test_updates_and_state_equal_optax_under_a_schedule(row, dtype, tolerance):
    with precision(dtype):
        rest = {name: jnp.asarray(value, dtype) for name, value in row.hyperparameters.items()}
        del rest["learning_rate"]
        ours = path(row.ours(learning_rate=schedules.cosine_decay_schedule(0.1, 40, 0.1), **rest), dtype)
        with loosely():
            theirs = path(row.peer(learning_rate=optax.cosine_decay_schedule(0.1, 40, 0.1), **rest), dtype)
        assert_same_path(ours, theirs, tolerance)


@pytest.mark.parametrize("nesterov", [False, True])
def test_adam_in_float32_is_no_further_from_float64_than_optax_is(nesterov):
    with jax.enable_x64(True):
        exact = path(optim.adam(0.1, nesterov=nesterov), jnp.float64)[0]["w"]
    error = lambda updates: np.abs(updates["w"].astype(np.float64) - exact).max() / np.abs(exact).max()
    ours, _ = path(optim.adam(0.1, nesterov=nesterov), jnp.float32)
    with loosely():
        theirs, _ = path(optax.adam(0.1, nesterov=nesterov), jnp.float32)
    assert error(ours) < error(theirs) < 2e-5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16), optax.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16)),
        (
            optim.sgd(0.1, 0.9, nesterov=True, accumulator_dtype=jnp.bfloat16),
            optax.sgd(0.1, 0.9, nesterov=True, accumulator_dtype=jnp.bfloat16),
        ),
        (optim.adam(0.1, mu_dtype=jnp.bfloat16), optax.adam(0.1, mu_dtype=jnp.bfloat16)),
    ],
    ids=["sgd", "sgd_nesterov", "adam"],
)
def test_only_the_kept_state_is_rounded_to_the_accumulator_dtype(ours, theirs):
    with loosely():
        theirs = path(theirs, jnp.float32, 1)
    assert_same_path(path(ours, jnp.float32, 1), theirs, 2e-5)


@each_optimizer
def test_optax_finds_the_state_by_name(row):
    _, ours = path(row.ours(**row.hyperparameters), jnp.float32, 2)
    with loosely():
        _, theirs = path(row.peer(**row.hyperparameters), jnp.float32, 2)
    for name in ("trace", "mu", "nu", "count"):
        found, expected = optax.tree.get(ours, name), optax.tree.get(theirs, name)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert_close(found, expected, 2e-5)


@pytest.mark.parametrize(
    "name",
    [
        "sgd",
        "adagrad",
        "adam",
        "adamw",
        "rmsprop",
        "trace",
        "ema",
        "scale_by_adam",
        "scale_by_rms",
        "scale_by_rss",
        "scale_by_stddev",
        "add_decayed_weights",
        "scale_by_schedule",
    ],
)
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


# Transformations of JAX.


@hyperparameters_of(OPTIMIZERS)
def test_vmap_over_a_hyperparameter_equals_a_loop(row, name, x64):
    def two_steps(value):
        optimizer, state = row.ours(**{**row.hyperparameters, name: value}), None
        for grads, params in sequence(jnp.float64)[:2]:
            updates, state = optimizer.update(grads, optimizer.init(params) if state is None else state, params)
        return updates, state

    values = [row.hyperparameters[name], 0.9 * row.hyperparameters[name] + 1e-3]
    looped = [two_steps(value) for value in values]
    mapped = jax.vmap(two_steps)(jnp.array(values))
    assert_close(mapped, jax.tree.map(lambda *leaves: np.stack(leaves), *looped), 1e-12)
    assert np.abs(looped[0][0]["w"] - looped[1][0]["w"]).max() > 1e-6, "the hyperparameter has no effect"


@each_optimizer
def test_update_compiles_once_for_all_hyperparameters_and_equals_itself_uncompiled(row, x64):
    traces = []

    @jax.jit
    def compiled(hyperparameters, grads, state, params):
        traces.append(1)
        return row.ours(**hyperparameters).update(grads, state, params)

    state = row.ours(**row.hyperparameters).init(sequence(jnp.float64)[0][1])
    for factor, (grads, params) in zip((1.0, 0.9, 0.8), sequence(jnp.float64), strict=False):
        hyperparameters = {name: jnp.asarray(factor * value) for name, value in row.hyperparameters.items()}
        uncompiled = row.ours(**hyperparameters).update(grads, state, params)
        updates, state = compiled(hyperparameters, grads, state, params)
        assert_close((updates, state), uncompiled, 1e-14)
    assert len(traces) == 1


@each_optimizer
def test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too(row, x64):
    at = jax.jit(lambda hyperparameters: run(row.ours(**hyperparameters)))
    derivatives = jax.jit(jax.grad(at))({name: jnp.asarray(value) for name, value in row.hyperparameters.items()})
    for name, value in row.hyperparameters.items():
        ahead, behind = ({**row.hyperparameters, name: value + h} for h in (1e-6, -1e-6))
        np.testing.assert_allclose(derivatives[name], (at(ahead) - at(behind)) / 2e-6, rtol=1e-5, atol=1e-8)


# Trees, dtypes and memory.


@each_optimizer
def test_leaves_that_are_none_pass_through_and_take_no_state(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    whole, _ = optimizer.update(grads, optimizer.init(params), params)

    held = {**params, "zero": None}
    state = optimizer.init(held)
    updates, new = optimizer.update({**grads, "zero": None}, state, held)

    assert updates["zero"] is None
    np.testing.assert_array_equal(updates["w"], whole["w"])
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert all(leaf.shape in ((), (2, 3)) for leaf in jax.tree.leaves(new))
    assert optim.apply_updates(held, updates)["zero"] is None


@each_dtype
@each_optimizer
def test_updates_and_state_keep_their_dtype_through_a_scan(row, dtype):
    with precision(dtype):
        grads, params = sequence(dtype)[0]
        optimizer = row.ours(**row.hyperparameters)
        state = optimizer.init(params)

        def step(state, _):
            updates, state = optimizer.update(grads, state, params)
            return state, updates

        # Tracing is enough: `scan` refuses a carry that changes.
        last, updates = jax.eval_shape(lambda state: jax.lax.scan(step, state, length=3), state)
    assert last == jax.eval_shape(lambda state: state, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype(dtype), jnp.dtype(jnp.int32)}


@each_optimizer
def test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters(row):
    params, grads = sequence(jnp.float32)[0][1], sequence(jnp.bfloat16)[0][0]
    optimizer = row.ours(**row.hyperparameters)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}


@each_optimizer
def test_a_step_in_bfloat16_is_that_of_float32_to_bfloat16_precision(row):
    low, _ = path(row.ours(**row.hyperparameters), jnp.bfloat16, 3)
    high, _ = path(row.ours(**row.hyperparameters), jnp.float32, 3)
    assert_close(jax.tree.map(lambda leaf: leaf.astype(np.float32), low), high, 0.02)


@each_optimizer
def test_init_returns_arrays_of_their_own(row):
    params = sequence(jnp.float32)[0][1]
    leaves = jax.tree.leaves((params, row.ours(**row.hyperparameters).init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


# With optax's combinators.


@each_optimizer
def test_chained_after_clipping_by_optax_it_sees_the_clipped_gradients(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    clip = optax.clip_by_global_norm(0.5)
    with loosely():
        clipped, _ = clip.update(grads, clip.init(params))
        for chain in (optax.chain, optim.chain):
            both = chain(clip, optimizer)
            updates, _ = both.update(grads, both.init(params), params)
            assert_close(updates, optimizer.update(clipped, optimizer.init(params), params)[0], 1e-6)


@each_optimizer
def test_chained_before_a_scaling_by_optax_it_is_scaled(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    both = optim.chain(optimizer, optax.scale(2.0))
    updates, _ = both.update(grads, both.init(params), params)
    alone, _ = optimizer.update(grads, optimizer.init(params), params)
    assert_close(updates, jax.tree.map(lambda u: 2 * u, alone), 1e-6)


@each_optimizer
def test_masked_by_optax_it_leaves_the_other_gradients_alone(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    grads = {**grads, "zero": jnp.ones((2, 3))}
    masked = optax.masked(optimizer, only_w)
    updates, _ = masked.update(grads, masked.init(params), params)
    alone, _ = optimizer.update(grads, optimizer.init(params), params)
    assert_close(updates, {"w": alone["w"], "zero": grads["zero"]}, 0)


@each_optimizer
def test_partitioned_by_optax_it_moves_its_part_only(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    parts = optax.partition({"a": optimizer, "b": optax.set_to_zero()}, {"w": "a", "zero": "b"})
    updates, _ = parts.update({**grads, "zero": jnp.ones((2, 3))}, parts.init(params), params)
    alone, _ = optimizer.update(grads, optimizer.init(params), params)
    assert_close(updates, {"w": alone["w"], "zero": jnp.zeros((2, 3))}, 0)


@each_optimizer
def test_it_ignores_extra_arguments_where_a_chain_passes_them_on(row):
    optimizer, (grads, params) = row.ours(**row.hyperparameters), sequence(jnp.float32)[0]
    chained = optim.chain(optax.with_extra_args_support(optimizer))
    updates, _ = chained.update(grads, chained.init(params), params, value=jnp.array(1.0), grad=grads)
    assert_close(updates, optimizer.update(grads, optimizer.init(params), params)[0], 0)


def test_optax_transformations_work_in_our_chain():
    rmsprop = optim.chain(optax.scale_by_rms(), optim.scale_by_learning_rate(0.1))
    with loosely():
        assert_same_path(path(rmsprop, jnp.float32, 5), path(optax.rmsprop(0.1), jnp.float32, 5), 1e-6)


def test_optax_injects_hyperparameters_into_ours():
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    with loosely():
        injected = path(optax.inject_hyperparams(optim.adam)(learning_rate=schedule), jnp.float32, 5)
        plain = path(optim.adam(schedule), jnp.float32, 5)
    assert_close(injected[0], plain[0], 1e-6)
    np.testing.assert_allclose(injected[1].hyperparams["learning_rate"], [0.1, 0.09, 0.08, 0.07, 0.06], rtol=1e-6)


def test_decay_without_parameters_is_refused():
    decay = optim.add_decayed_weights(0.1)
    with pytest.raises(ValueError, match=r"expected params, because weights decay .*; got None"):
        decay.update(jnp.ones(2), decay.init(jnp.ones(2)))


def test_the_count_of_steps_stops_at_the_largest_integer():
    largest = jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32)
    adam, schedule = optim.scale_by_adam(), optim.scale_by_schedule(lambda count: 1.0)
    _, adam_state = adam.update(jnp.ones(2), adam.init(jnp.ones(2))._replace(count=largest))
    _, schedule_state = schedule.update(jnp.ones(2), optim.ScaleByScheduleState(largest))
    assert int(adam_state.count) == int(schedule_state.count) == int(largest)
