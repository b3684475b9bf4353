"""Optimizers from optimizers: ours within, equal to optax's within optax's; and what masks and labels are refused."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

STEPS = 7
random = np.random.default_rng(0)
PARAMS = {"body": {"w": random.normal(size=(2, 3)), "b": random.normal(size=3)}, "head": {"w": random.normal(size=3)}}
NOISE = jax.tree.map(lambda p: random.normal(size=(STEPS, *p.shape)), PARAMS)
GAPS = jax.tree.map(lambda n: np.where(np.arange(STEPS).reshape(-1, *[1] * (n.ndim - 1)) == 2, np.nan, n), NOISE)
MASK = {"body": {"w": True, "b": False}, "head": True}
LABELS = {"body": "slow", "head": "fast"}


def path(optimizer, dtype=jnp.float64, noise=NOISE):
    """Updates and states of all steps on a noisy quadratic, in one program."""
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), PARAMS)

    def step(carry, noise):
        params, state = carry
        grads = jax.tree.map(jnp.add, params, noise)
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), (updates, state)

    run = lambda noise: jax.lax.scan(step, (params, optimizer.init(params)), noise)[1]
    return jax.jit(run)(jax.tree.map(lambda n: jnp.asarray(n, dtype), noise))


def named(tree):
    """Leaves by the place they stand in, whatever classes of named tuples are on the way."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(keys): leaf for keys, leaf in leaves}


def assert_same(ours, theirs, tolerance=1e-12):
    ours, theirs = named(ours), named(theirs)
    assert list(ours) == list(theirs)
    for name, leaf in ours.items():
        assert (leaf.shape, leaf.dtype) == (theirs[name].shape, theirs[name].dtype), name
        np.testing.assert_allclose(leaf, theirs[name], rtol=tolerance, atol=tolerance, err_msg=name)


def adams(library):
    """Adam with a rate that optax does not round to float32."""
    return functools.partial(library.adam, b1=jnp.asarray(0.9, float), b2=jnp.asarray(0.999, float))


even = lambda step: step % 2 == 0
large = functools.partial(optax.skip_large_updates, max_squared_norm=9.0)

WRAPPERS = {
    "chain": lambda lib, adam: lib.chain(lib.clip_by_global_norm(1.0), adam),
    "named_chain": lambda lib, adam: lib.named_chain(("clip", lib.clip(0.5)), ("adam", adam)),
    "masked": lambda lib, adam: lib.masked(adam, MASK),
    "masked by a function": lambda lib, adam: lib.masked(adam, lambda params: MASK),
    "partition": lambda lib, adam: lib.partition({"slow": adam, "fast": lib.sgd(0.5)}, LABELS),
    "partition by a function": lambda lib, adam: lib.partition({"slow": adam, "fast": lib.sgd(0.5)}, lambda p: LABELS),
    "freeze": lambda lib, adam: lib.chain(adam, lib.freeze(MASK)),
    "freeze all": lambda lib, adam: lib.chain(adam, lib.freeze(True)),
    "selective_transform": lambda lib, adam: lib.selective_transform(adam, freeze_mask=MASK),
    "MultiSteps": lambda lib, adam: lib.MultiSteps(adam, 3),
    "MultiSteps, sum": lambda lib, adam: lib.MultiSteps(adam, 2, use_grad_mean=False),
    "MultiSteps, schedule": lambda lib, adam: lib.MultiSteps(adam, lambda step: jnp.where(step < 1, 1, 3)),
    "MultiSteps, skipping": lambda lib, adam: lib.MultiSteps(adam, 2, should_skip_update_fn=lib.skip_not_finite),
    "MultiSteps, skipping large": lambda lib, adam: lib.MultiSteps(adam, 2, should_skip_update_fn=large),
    "MultiSteps, float64": lambda lib, adam: lib.MultiSteps(adam, 2, accumulator_dtype=jnp.float64),
    "apply_if_finite": lambda lib, adam: lib.apply_if_finite(adam, 3),
    "flatten": lambda lib, adam: lib.flatten(adam),
    "inject_hyperparams": lambda lib, adam: lib.inject_hyperparams(lib.adam)(jnp.asarray(0.1), *ARRAYS),
    "inject_hyperparams, schedule": lambda lib, adam: lib.inject_hyperparams(lib.adam)(
        optax.linear_schedule(0.1, 0.0, 10), *ARRAYS
    ),
    "conditionally_transform": lambda lib, adam: lib.conditionally_transform(adam, even),
    "conditionally_mask": lambda lib, adam: lib.conditionally_mask(adam, even),
    "snapshot": lambda lib, adam: lib.chain(adam, lib.snapshot("norm", optax.tree.norm), lib.clip(0.05)),
    "set_to_zero": lambda lib, adam: lib.chain(adam, lib.set_to_zero()),
    "stateless": lambda lib, adam: lib.chain(adam, lib.stateless(lambda u, p: jax.tree.map(jnp.add, u, p))),
    "stateless_with_tree_map": lambda lib, adam: lib.chain(adam, lib.stateless_with_tree_map(lambda u, p: u * p)),
    "with_extra_args_support": lambda lib, adam: lib.with_extra_args_support(adam),
}
ARRAYS = (np.float64(0.9), np.float64(0.999))


@pytest.mark.parametrize("name", WRAPPERS)
def test_ours_within_is_optax_within_optax(name, x64):
    noise = GAPS if "finite" in name or name == "MultiSteps, skipping" else NOISE
    wrap = WRAPPERS[name]
    ours = path(wrap(optim, adams(optim)(0.1)), noise=noise)
    with jax.numpy_dtype_promotion("standard"):
        theirs = path(wrap(optax, adams(optax)(0.1)), noise=noise)
    tolerance = 1e-6 if name in ("MultiSteps", "MultiSteps, sum", "MultiSteps, schedule") or "skip" in name else 1e-12
    assert_same(ours, theirs, tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", [name for name in WRAPPERS if "float64" not in name])
def test_dtypes_stay_through_a_scan(name, dtype):
    params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, dtype), PARAMS)

    def run(params):
        optimizer = WRAPPERS[name](optim, optim.adam(0.1))
        step = lambda state, _: optimizer.update(params, state, params)[::-1]
        return jax.lax.scan(step, optimizer.init(params), length=2)[1]

    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(run, params))} == {jnp.dtype(dtype)}


SAME = [
    "masked", "partition", "freeze", "selective_transform", "MultiSteps", "monitor", "measure_with_ema",
]  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


def test_states_are_those_of_optax():
    for name in ("MultiStepsState", "MonitorState"):
        assert getattr(optim, name)._fields == getattr(optax.transforms, name)._fields


# Masks and labels.


def test_a_mask_may_lie_over_what_is_held_elsewhere():
    params = {"w": jnp.ones(2), "b": None}
    for mask in ({"w": True, "b": False}, True, lambda tree: jax.tree.map(lambda _: True, tree)):
        optimizer = optim.masked(optim.adam(0.1), mask)
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        np.testing.assert_allclose(updates["w"], [-0.1, -0.1], rtol=1e-6)
        assert updates["b"] is None


def test_a_mask_by_name_and_a_pattern_that_matches_nothing():
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), PARAMS)
    optimizer = optim.masked(optim.scale(0.0), lambda tree: nn.tree.mask(tree, ["body/.*"]))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert [name for name, u in nn.tree.named_leaves(updates).items() if (u == 0).all()] == ["body/b", "body/w"]
    with pytest.raises(ValueError, match=r"expected every pattern to match .*; 'bodi/.*' matches none of: body/b, bo"):
        optim.masked(optim.scale(0.0), lambda tree: nn.tree.mask(tree, ["bodi/.*"])).init(params)


BAD_MASKS = [
    ({"body": True}, "none for head/w"),
    ({"body": {"w": True, "b": True}, "head": {"v": True}}, "none for head/w and one for head/v"),
    ({"body": True, "head": True, "tail": False}, "one for tail"),
    ([True, True], "none for body/b, body/w, head/w and one for 0, 1"),
]


@pytest.mark.parametrize(
    "make",
    [
        lambda mask: optim.masked(optim.adam(0.1), mask),
        optim.freeze,
        lambda mask: optim.selective_transform(optim.adam(0.1), freeze_mask=mask),
        lambda mask: optim.masked(optim.adam(0.1), lambda params: mask),
    ],
    ids=["masked", "freeze", "selective_transform", "function"],
)
def test_a_mask_unlike_the_parameters_is_refused(make):
    for mask, differences in BAD_MASKS:
        with pytest.raises(ValueError, match="expected a mask like the parameters, or like a part of them from the "
                                             "root on, because it says for each leaf whether it is meant; "
                                             f"got {differences}\n  in a tree of body/b, body/w, head/w"):  # fmt: skip
            make(mask).init(PARAMS)
    with pytest.raises(ValueError, match=r"expected a mask of bools, because .*; got 1.0\n  in head"):
        make({"body": True, "head": 1.0}).init(PARAMS)
    with pytest.raises(ValueError, match=r"got 'head/.\*'\n  hint: by name it is lambda params: jaxnn.tree.mask\(par"):
        make("head/.*").init(PARAMS)


def test_labels_that_nothing_moves_are_refused():
    parts = {"slow": optim.sgd(0.1), "fast": optim.sgd(1.0)}
    for labels, got in (({"body": "slow", "head": "fats"}, "'fats'\n  in head"), ("none", "'none'\n  in the only lab")):
        with pytest.raises(ValueError, match=f"expected labels among 'slow', 'fast', because .* optimizer; got {got}"):
            optim.partition(parts, labels).init(PARAMS)
    with pytest.raises(
        ValueError, match=r"expected labels like the parameters, .* because they say .*; got none for he"
    ):
        optim.partition(parts, {"body": "slow"}).init(PARAMS)


def test_gradients_that_lack_a_leaf_of_the_mask_are_refused():
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), PARAMS)
    for optimizer in (optim.masked(optim.adam(0.1), MASK), optim.freeze(MASK)):
        with pytest.raises(ValueError, match=r"expected a mask like the parameters, .*; got one for head"):
            optimizer.update({"body": params["body"]}, optimizer.init(params), params)


# Gathering.


def test_the_step_of_gathered_gradients_is_that_of_their_mean(x64):
    optimizer, params = optim.MultiSteps(optim.adam(0.1), STEPS, accumulator_dtype=jnp.float64), PARAMS["head"]["w"]
    params, state = jnp.asarray(params), optimizer.init(jnp.asarray(params))
    for noise in NOISE["head"]["w"]:
        updates, state = optimizer.update(jnp.asarray(noise), state, params)
    plain = optim.adam(0.1)
    expected, _ = plain.update(jnp.asarray(NOISE["head"]["w"].mean(0)), plain.init(params), params)
    np.testing.assert_allclose(updates, expected, rtol=1e-12)
    assert optimizer.has_updated(state)
    assert not optimizer.has_updated(optimizer.update(params, state, params)[1])


@pytest.mark.oracle
def test_pytorch_gathers_the_sum(x64):
    torch = pytest.importorskip("torch")
    start = PARAMS["head"]["w"]
    p = torch.nn.Parameter(torch.tensor(start))
    adam, optimizer = torch.optim.Adam([p], 0.1), optim.MultiSteps(optim.adam(0.1), STEPS, use_grad_mean=False)
    params, state, mean = jnp.asarray(start), optimizer.init(jnp.asarray(start)), 0.0
    for noise in NOISE["head"]["w"]:
        (p * torch.tensor(noise)).sum().backward()
        updates, state = optimizer.update(jnp.asarray(noise), state, params)
        mean = mean + noise / STEPS
    np.testing.assert_allclose(p.grad, STEPS * mean, rtol=1e-12)
    adam.step()
    np.testing.assert_allclose(params + updates, p.detach(), rtol=1e-6)


def test_how_many_are_gathered_may_be_a_tracer(x64):
    last = lambda k: path(optim.MultiSteps(optim.adam(0.1), k))[0]["head"]["w"]
    np.testing.assert_allclose(jax.vmap(last)(jnp.array([2, 3])), [last(2), last(3)], rtol=1e-12)


def test_derivatives_go_through_gathered_steps(x64):
    def last(rate):
        updates, _ = path(optim.MultiSteps(optim.adam(rate), 2, accumulator_dtype=jnp.float64))
        return updates["body"]["w"].sum()

    at, h = jax.jit(last), 1e-6
    np.testing.assert_allclose(jax.grad(last)(0.1), (at(0.1 + h) - at(0.1 - h)) / (2 * h), rtol=1e-6)


def test_a_trainer_takes_it_and_so_does_fit(x64):
    x = jnp.asarray(random.normal(size=(8, 3)))
    data = nn.Data(x, x.sum(1, keepdims=True))
    gathering = nn.trainer(nn.Dense(1), nn.losses.mse, optim.MultiSteps(nn.sgd(0.1), 2, accumulator_dtype=x.dtype))
    whole = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    fit = lambda t, size: (
        nn.fit(t, t.init(jax.random.key(0), x), data, epochs=2, batch_size=size, shuffle=False)[0].params
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), fit(gathering, 4), fit(whole, 8))


def test_optax_takes_it_for_an_optimizer():
    optimizer = optim.MultiSteps(optim.sgd(0.1), 2)
    assert isinstance(optimizer, optax.GradientTransformationExtraArgs)
    assert optimizer.gradient_transformation() is optimizer
    optimizer.inner_opt.init(jnp.ones(2))
    chained = optax.chain(optimizer, optim.scale(2.0))
    state = chained.init(jnp.ones(2))
    for expected in (0.0, -0.2):
        updates, state = chained.update(jnp.ones(2), state, None)
        np.testing.assert_allclose(updates, [expected] * 2, rtol=1e-6)


def test_gathering_that_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"expected every_k_schedule of 1 or more, because it counts steps; got 0"):
        optim.MultiSteps(optim.sgd(0.1), 0)
    optimizer = optim.MultiSteps(optim.sgd(0.1), 2, should_skip_update_fn=lambda g, step, p: (jnp.zeros(2), ()))
    with pytest.raises(ValueError, match=r"expected should_skip_update_fn to return a bool of shape \(\), because .*; "
                                         r"got float32 of shape \(2,\)"):  # fmt: skip
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


# Monitoring.


def test_measurements_are_those_of_optax_and_go_through_a_scan(x64):
    def measures(library):
        loud = lambda updates: optax.tree.norm(updates) > 2.0
        return {
            "norm": optax.tree.norm,
            "largest": lambda updates: jax.tree.map(lambda u: abs(u).max(), updates),
            "often": library.measure_with_ema(loud, np.float64(0.9)),
            "mean": library.measure_with_ema(optax.tree.norm, np.float64(0.8), debias=False),
        }

    updates, (_, state) = path(optim.chain(optim.adam(0.1), optim.monitor(measures(optim))))
    plain, _ = path(optim.adam(0.1))
    assert_same(updates, plain)
    reference, params = optax.monitor(measures(optax)), jax.tree.map(jnp.asarray, PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        their_state, update = reference.init(params), reference.update
        for t in range(STEPS):
            _, their_state = update(jax.tree.map(lambda u, t=t: u[t], updates), their_state)
            for name in ("norm", "largest", "often", "mean"):
                ours = jax.tree.map(lambda m, t=t: m[t], optax.tree.get(state, name))
                assert_same(ours, optax.tree.get(their_state, name), 1e-7)
    assert optax.tree.get(optim.monitor({"norm": optim.global_norm}).init(params), "norm") == 0


def test_a_trainer_carries_measurements(x64):
    x = jnp.asarray(random.normal(size=(4, 3)))
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optim.chain(optim.monitor({"norm": optim.global_norm}), nn.sgd(0.1)))
    ts = t.init(jax.random.key(0), x)
    fitted, _ = nn.fit(t, ts, nn.Data(x, x[:, :1]), epochs=1, batch_size=4)
    moved = jax.tree.map(lambda a, b: (a - b) / 0.1, ts.params, fitted.params)
    np.testing.assert_allclose(optax.tree.get(fitted.opt_state, "norm"), optax.tree.norm(moved), rtol=1e-12)


def test_a_measure_must_forget():
    with pytest.raises(ValueError, match=r"expected decay from 0 to below 1, because .*; got 1.0"):
        optim.measure_with_ema(optim.global_norm, 1.0)


def test_hyperparameters_are_seen_and_set_in_the_state(loose):
    optimizer, p = optim.inject_hyperparams(optim.sgd)(learning_rate=0.5), jnp.ones(2)
    state = optimizer.init(p)
    assert isinstance(state, optim.InjectStatefulHyperparamsState)
    state.hyperparams["learning_rate"] = jnp.float32(0.25)
    np.testing.assert_array_equal(optimizer.update(p, state, p)[0], [-0.25, -0.25])
