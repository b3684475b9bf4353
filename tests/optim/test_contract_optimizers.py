"""Every property that an optimizer must have, over every row of `optimizer_rows`."""

import contextlib
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_rows import OPTIMIZERS, only_w
from optimizer_rows._row import no_extra

from jaxnn import optim, schedules

STEPS = 200

# Tests run row by row, for the sake of what is compiled once for all tests of a row: pytest groups those that have one
# value of a parameter whose scope is the module. It goes by the position of the value, so those in more tests are in
# front.
ROWS = sorted(OPTIMIZERS, key=lambda row: ("learning_rate" not in row.hyperparameters, not row.hyperparameters))
over = lambda rows: pytest.mark.parametrize("row", rows, ids=lambda row: row.name, scope="module")
each_optimizer = over(ROWS)
each_swept = over([row for row in ROWS if row.hyperparameters])
each_scheduled = over([row for row in ROWS if "learning_rate" in row.hyperparameters])
each_precision = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)], ids=["float64", "float32"]
)
each_dtype = pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=lambda dtype: dtype.__name__
)
once = functools.lru_cache(maxsize=64)  # for the tests of a row; what no test will want again is let go

# They move nothing in the first step, or not yet by its gradient.
LATE = {"adopt", "adopt_nesterov", "adopt_unclipped", "scale_by_adopt", "apply_every"}


@contextlib.contextmanager
def loosely():
    """JAX's own promotion, which optax relies on."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def precision(dtype):
    return jax.enable_x64(dtype == jnp.float64)


@functools.cache
def stacked(dtype, steps=STEPS):
    """Gradients (of a noisy quadratic, and exactly zero) and parameters, both of which change at every step."""
    random = np.random.default_rng(0)
    shapes = {"w": (2, 3), "zero": (2, 3), "scalar": (), "empty": (0, 3)}
    params = {name: random.normal(size=(steps, *shape)).cumsum(0) for name, shape in shapes.items()}
    grads = {name: 0.5 * p + random.normal(size=p.shape) for name, p in params.items()}
    grads["zero"] = np.zeros_like(grads["zero"])
    with precision(dtype), jax.ensure_compile_time_eval():  # for it may be asked for within a trace, and is kept
        return jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), (grads, params))


@functools.cache
def sequence(dtype, steps=5):
    """The first of them one by one, of two leaves."""
    grads, params = jax.tree.map(np.asarray, stacked(dtype))
    at = lambda tree, t: {name: jnp.asarray(tree[name][t]) for name in ("w", "zero")}
    with precision(dtype), jax.ensure_compile_time_eval():
        return [(at(grads, t), at(params, t)) for t in range(steps)]


def given(dtype, steps=STEPS):
    """Gradients and parameters of some steps, with a scalar, an empty leaf and one that is None."""
    return [{**jax.tree.map(lambda leaf: leaf[:steps], tree), "none": None} for tree in stacked(dtype)]


def along(optimizer, grads, params, extra=no_extra):
    """Updates of all steps, and the last state."""

    def step(state, now):
        updates, state = optimizer.update(now[0], state, now[1], **extra(*now))
        return state, updates

    state, updates = jax.lax.scan(step, optimizer.init(jax.tree.map(lambda leaf: leaf[0], params)), (grads, params))
    return updates, state


def path(optimizer, dtype, steps=STEPS, extra=no_extra):
    """The same along the given steps, compiled."""
    return jax.jit(functools.partial(along, optimizer, extra=extra))(*given(dtype, steps))


@once
def compiled(row, dtype):
    """The path of a row by its hyperparameters, compiled once for every test that calls it."""
    del dtype  # for each is another program
    return jax.jit(lambda hyperparameters, *given: along(row.ours(**hyperparameters), *given, row.extra))


@once
def ours_and_theirs(row, dtype):
    """The paths of all steps, for every test that looks at them."""
    with precision(dtype):
        # Arrays, because optax rounds 1 - 0.999 to float32 only after the difference if 0.999 is a Python float.
        hyperparameters = {name: jnp.asarray(value, dtype) for name, value in row.hyperparameters.items()}
        ours = compiled(row, dtype)(hyperparameters, *given(dtype))
        with loosely():
            return ours, path(row.peer(**hyperparameters), dtype, extra=row.extra)


def run(row, noise, params, hyperparameters):
    """A number at the end of a run, in which the gradients depend on where the updates led."""
    optimizer = row.ours(**hyperparameters)

    def step(carry, noise):
        params, state = carry
        grads = {"w": 0.5 * params["w"] + noise["w"], "zero": 0.0 * params["zero"]}
        updates, state = optimizer.update(grads, state, params, **row.extra(grads, params))
        return (optim.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), noise)
    return (jnp.arange(6.0).reshape(2, 3) * params["w"]).sum() + params["zero"].sum()


def one_step(row, dtype=jnp.float32):
    """Its optimizer, with gradients, parameters, and the extra arguments that it needs."""
    grads, params = sequence(dtype)[0]
    return row.ours(**row.hyperparameters), grads, params, row.extra(grads, params)


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
    ours, theirs = ours_and_theirs(row, dtype)
    assert_same_path(ours, theirs, tolerance * (row.rounding if dtype == jnp.float32 else 1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12)], ids=["float64"])
@each_scheduled
def test_updates_and_state_equal_optax_under_a_schedule(row, dtype, tolerance):
    with precision(dtype):
        rest = {name: jnp.asarray(value, dtype) for name, value in row.hyperparameters.items()}
        del rest["learning_rate"]
        ours = path(row.ours(learning_rate=schedules.cosine_decay_schedule(0.1, 40, 0.1), **rest), dtype, 50, row.extra)
        with loosely():
            theirs = path(
                row.peer(learning_rate=optax.cosine_decay_schedule(0.1, 40, 0.1), **rest), dtype, 50, row.extra
            )
        assert_same_path(ours, theirs, tolerance)


@pytest.mark.parametrize("nesterov", [False, True])
def test_adam_in_float32_is_no_further_from_float64_than_optax_is(nesterov):
    with jax.enable_x64(True):
        exact = np.asarray(path(optim.adam(0.1, nesterov=nesterov), jnp.float64)[0]["w"])
    error = lambda updates: np.abs(np.asarray(updates["w"], np.float64) - exact).max() / np.abs(exact).max()
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
    (_, ours), (_, theirs) = ours_and_theirs(row, jnp.float32)
    for name in ("trace", "mu", "nu", "count"):
        found, expected = optax.tree.get(ours, name), optax.tree.get(theirs, name)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert_close(found, expected, 2e-5)


# Transformations of JAX.


@each_swept
def test_vmap_over_every_hyperparameter_compiles_once_and_equals_a_loop(row, x64):
    # The first member has the hyperparameters of the row, each other one differs by one of them.
    members = [row.hyperparameters] + [
        {**row.hyperparameters, name: 0.9 * value + 1.7e-3} for name, value in row.hyperparameters.items()
    ]
    members = [{name: jnp.asarray(value, jnp.float64) for name, value in member.items()} for member in members]
    one, at = compiled(row, jnp.float64), given(jnp.float64)
    first, *others = looped = [one(member, *at) for member in members]
    assert one._cache_size() == 1
    mapped = jax.jit(jax.vmap(one, (0, None, None)))(jax.tree.map(lambda *values: np.stack(values), *members), *at)
    assert_close(mapped, jax.tree.map(lambda *leaves: np.stack(leaves), *looped), 1e-12)
    early = lambda path: (jax.tree.map(lambda leaf: np.asarray(leaf)[:12], path[0]), path[1])
    for name, other in zip(row.hyperparameters, others, strict=True):
        pairs = zip(*map(jax.tree.leaves, (early(first), early(other))), strict=True)
        changes = [np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0) for a, b in pairs]
        assert max(changes) > 1e-6, f"{name} has no effect"


@each_optimizer
def test_update_equals_itself_uncompiled(row, x64):
    optimizer, grads, params, extra = one_step(row, jnp.float64)
    state = optimizer.init(params)
    update = lambda grads, state, params, extra: optimizer.update(grads, state, params, **extra)
    for grads, params in sequence(jnp.float64)[:2]:
        extra = row.extra(grads, params)
        updates, new = update(grads, state, params, extra)
        assert_close((updates, new), jax.jit(update)(grads, state, params, extra), 1e-14)
        state = new


@each_swept
def test_the_derivative_of_a_run_by_every_hyperparameter_is_right_with_a_gradient_of_zero_too(row, x64):
    """Through 100 steps."""
    some = lambda tree, at: {name: tree[name][at] for name in ("w", "zero")}
    grads, params = jax.tree.map(np.asarray, stacked(jnp.float64))
    noise, begin = some(grads, slice(100)), some(params, 0)
    h = 1e-6
    near = [
        {**row.hyperparameters, name: value + k * h}
        for name, value in row.hyperparameters.items()
        for k in (-2, -1, 1, 2)
    ]

    @jax.jit
    def both(hyperparameters, around, noise, begin):
        at = functools.partial(run, row, noise, begin)
        return jax.grad(at)(hyperparameters), jax.vmap(at)(around)

    at = {name: jnp.asarray(value) for name, value in row.hyperparameters.items()}
    around = {name: np.array([n[name] for n in near]) for name in row.hyperparameters}
    derivatives, values = both(at, around, noise, begin)
    differences = np.asarray(values).reshape(-1, 4) @ np.array([1.0, -8.0, 8.0, -1.0]) / (12 * h)
    for name, difference in zip(row.hyperparameters, differences, strict=True):
        np.testing.assert_allclose(derivatives[name], difference, rtol=1e-5, atol=1e-7, err_msg=name)


# Trees, dtypes and memory.


@each_optimizer
def test_leaves_that_are_none_pass_through_and_take_no_state(row):
    optimizer, grads, params, extra = one_step(row)
    only, _ = optimizer.update({"w": grads["w"]}, optimizer.init({"w": params["w"]}), {"w": params["w"]}, **extra)

    held = {**params, "zero": None}
    state = optimizer.init(held)
    updates, new = optimizer.update({**grads, "zero": None}, state, held, **extra)

    assert updates["zero"] is None
    np.testing.assert_array_equal(updates["w"], only["w"])
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert all(leaf.shape in ((), (2, 3)) for leaf in jax.tree.leaves(new))
    assert optim.apply_updates(held, updates)["zero"] is None


@each_dtype
@each_optimizer
def test_updates_and_state_keep_their_dtype_through_a_scan(row, dtype):
    with precision(dtype):
        optimizer, grads, params, extra = one_step(row, dtype)
        state = optimizer.init(params)

        def step(state, _):
            updates, state = optimizer.update(grads, state, params, **extra)
            return state, updates

        # Tracing is enough: `scan` refuses a carry that changes.
        last, updates = jax.eval_shape(lambda state: jax.lax.scan(step, state, length=3), state)
    assert last == jax.eval_shape(lambda state: state, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    # What there is one of for each parameter is kept in its dtype; a learning rate that is found may be wider.
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.shape} <= {jnp.dtype(dtype)}


@each_optimizer
def test_updates_have_the_dtype_of_the_gradients_whatever_that_of_the_parameters(row):
    optimizer, _, params, extra = one_step(row)
    grads = sequence(jnp.bfloat16)[0][0]
    updates, _ = optimizer.update(grads, optimizer.init(params), params, **extra)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}


@each_optimizer
def test_a_step_in_bfloat16_is_that_of_float32_to_bfloat16_precision(row):
    low, _ = path(row.ours(**row.hyperparameters), jnp.bfloat16, 3, row.extra)
    (high, _), _ = ours_and_theirs(row, jnp.float32)
    as_float32 = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float32), low)
    assert_close(as_float32, jax.tree.map(lambda leaf: np.asarray(leaf)[:3], high), 0.02)


@each_optimizer
def test_a_nan_in_a_gradient_is_not_hidden(row):
    optimizer, grads, params, _ = one_step(row)
    grads = {**grads, "w": grads["w"].at[1, 2].set(jnp.nan)}
    updates, _ = optimizer.update(grads, optimizer.init(params), params, **row.extra(grads, params))
    assert np.isnan(updates["w"][1, 2]) == (row.name not in LATE)


@each_optimizer
def test_init_returns_arrays_of_their_own(row):
    params = sequence(jnp.float32)[0][1]
    leaves = jax.tree.leaves((params, row.ours(**row.hyperparameters).init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@each_optimizer
def test_a_state_goes_on_from_a_checkpoint(row):
    """Its leaves by number are all that a file must hold: `init` knows the rest, as `optax.tree` and checkpoints do."""
    optimizer, grads, params, extra = one_step(row)
    _, state = optimizer.update(grads, optimizer.init(params), params, **extra)
    outline = jax.tree.structure(jax.eval_shape(optimizer.init, params))
    assert jax.tree.structure(state) == outline
    file = io.BytesIO()
    np.savez(file, *map(raw, jax.tree.leaves(state)))
    with np.load(io.BytesIO(file.getvalue())) as saved:
        leaves = [like_raw(saved[name], leaf) for name, leaf in zip(saved, jax.tree.leaves(state), strict=True)]
    again = jax.tree.unflatten(outline, leaves)
    expected, _ = optimizer.update(grads, state, params, **extra)
    assert_close(optimizer.update(grads, again, params, **extra)[0], expected, 0)


def raw(leaf):
    """Keys are kept by their data."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def like_raw(saved, leaf):
    return jax.random.wrap_key_data(saved) if is_key(leaf) else jnp.asarray(saved)


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


# With optax's combinators.


@each_optimizer
def test_chained_after_clipping_by_optax_it_sees_the_clipped_gradients(row):
    optimizer, grads, params, extra = one_step(row)
    clip = optax.clip_by_global_norm(0.5)
    with loosely():
        clipped, _ = clip.update(grads, clip.init(params))
        alone, _ = optimizer.update(clipped, optimizer.init(params), params, **extra)
        for chain in (optax.chain, optim.chain):
            both = chain(clip, optimizer)
            updates, _ = both.update(grads, both.init(params), params, **extra)
            assert_close(updates, alone, 1e-6)


@each_optimizer
def test_chained_before_a_scaling_by_optax_it_is_scaled(row):
    optimizer, grads, params, extra = one_step(row)
    both = optim.chain(optimizer, optax.scale(2.0))
    updates, _ = both.update(grads, both.init(params), params, **extra)
    alone, _ = optimizer.update(grads, optimizer.init(params), params, **extra)
    assert_close(updates, jax.tree.map(lambda u: 2 * u, alone), 1e-6)


@each_optimizer
def test_masked_and_partitioned_by_optax_it_moves_its_part_only(row):
    optimizer, grads, params, extra = one_step(row)
    grads, part = {**grads, "zero": jnp.ones((2, 3))}, {**params, "zero": None}
    alone, _ = optimizer.update({**grads, "zero": None}, optimizer.init(part), part, **extra)
    masked = optax.masked(optimizer, only_w)
    updates, _ = masked.update(grads, masked.init(params), params, **extra)
    assert_close(updates, {"w": alone["w"], "zero": grads["zero"]}, 0)
    parts = optax.partition({"a": optimizer, "b": optax.set_to_zero()}, {"w": "a", "zero": "b"})
    updates, _ = parts.update(grads, parts.init(params), params, **extra)
    assert_close(updates, {"w": alone["w"], "zero": jnp.zeros((2, 3))}, 0)


@each_optimizer
def test_it_ignores_extra_arguments_where_a_chain_passes_them_on(row):
    optimizer, grads, params, extra = one_step(row)
    chained = optim.chain(optax.with_extra_args_support(optimizer))
    more = {"value": jnp.array(1.0), "grad": grads, "unknown": 0} | extra
    updates, _ = chained.update(grads, chained.init(params), params, **more)
    assert_close(updates, optimizer.update(grads, optimizer.init(params), params, **extra)[0], 0)


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
    np.testing.assert_allclose(injected[1].hyperparams["learning_rate"], 0.06, rtol=1e-6)


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
