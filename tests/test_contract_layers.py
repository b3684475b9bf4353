"""Every property of a layer, over every layer and combinator."""

import dataclasses
import functools
import json
import pickle
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LAYERS
from jax.dtypes import float0

import jaxnn as nn
from jaxnn import tree
from jaxnn.layers._layer import outline
from jaxnn.ops._op import pullback
from jaxnn.typing import accumulator_dtype

every = pytest.mark.parametrize("case", LAYERS, ids=repr)
modes = pytest.mark.parametrize("train", [True, False], ids=["train", "inference"])
GOLDEN = Path(__file__).parent / "golden" / "parameters.json"


@functools.cache
def made(case, *, batch=6, dtype=jnp.float64, seed=0):
    """Parameters away from zero, state and an input; the same ones for every test of the case."""
    return drawn(case, batch=batch, dtype=dtype, seed=seed)


def drawn(case, *, batch=6, dtype=jnp.float64, seed=0):
    random = np.random.default_rng(seed)
    x = case.x(random, batch, dtype)
    params, state = case.layer.init(jax.random.key(seed), x)
    params = jax.tree.map(lambda p: p + jnp.asarray(random.uniform(0.1, 0.2, p.shape)).astype(p.dtype), params)
    return params, state, x


def smooth(a):
    return jnp.issubdtype(a.dtype, jnp.floating)


def random_like(outline, seed=1):
    """Random numbers; None for integers, such as lengths, which have no cotangent."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(random.normal(size=a.shape)).astype(a.dtype) if smooth(a) else None, outline
    )


def forward(case, train):
    key = jax.random.key(5) if train else None
    return lambda params, state, x: case.layer.apply(params, state, x, key=key, train=train)


def forward_and_backward(case, train):
    """The layer by hand: output, state, and the gradients for a fixed random cotangent."""
    key = jax.random.key(5) if train else None

    def both(params, state, x):
        (y, new), residuals = case.layer.fwd(params, state, x, key=key, train=train)
        d_params, dx = case.layer.bwd(residuals, random_like(y))
        return (y, new), _filled(d_params, params), dx

    return both


@functools.cache
def compiled(function, case, train):
    """`function(case, train)`, compiled once for every test that calls it."""
    return jax.jit(function(case, train))


def forward_and_vjp(case, train):
    """The same by JAX, of the plain functions."""

    def both(params, state, x):
        with nn.plain():
            (y, new), backward = pullback(
                lambda params, x: forward(case, train)(params, state, x), params, x, has_aux=True
            )
            zero = lambda a, d: np.zeros(a.shape, float0) if d is None else d
            d_params, dx = backward(jax.tree.map(zero, y, random_like(y)))
        return (y, new), d_params, jax.tree.map(lambda a, d: d if smooth(a) else None, x, dx)

    return both


def _filled(d_params, params):
    got = tree.named_leaves(d_params)
    return tree.map_named(lambda name, p: got.get(name, jnp.zeros_like(p)), params)


@every
@modes
def test_backward_equals_vjp_of_plain(case, train, x64):
    arguments = made(case)
    hand, auto = (compiled(function, case, train)(*arguments) for function in (forward_and_backward, forward_and_vjp))
    chex.assert_trees_all_close(hand, auto, rtol=1e-10, atol=1e-12)


@every
@modes
def test_forward_output_is_apply(case, train, x64):
    out, *_ = compiled(forward_and_backward, case, train)(*made(case))
    chex.assert_trees_all_close(out, compiled(forward, case, train)(*made(case)), rtol=1e-13, atol=1e-14)


@every
def test_backward_equals_central_differences(case, x64):
    params, state, x = made(case)
    train = not case.held
    apply = lambda params, x: compiled(forward, case, train)(params, state, x)[0]
    _, d_params, dx = compiled(forward_and_backward, case, train)(params, state, x)
    d_y = random_like(apply(params, x))
    v_params, v_x = random_like(params, seed=2), random_like(x, seed=3)

    def along(h):
        moved = lambda tree, v: jax.tree.map(lambda a, v: a if v is None else a + h * v, tree, v)
        return _inner(d_y, apply(moved(params, v_params), moved(x, v_x)))

    h = 1e-6
    slope = (along(h) - along(-h)) / (2 * h)
    np.testing.assert_allclose(_inner(v_params, d_params) + _inner(v_x, dx), slope, rtol=1e-6, atol=1e-7)


def _inner(v, d):
    """The inner product of two trees, of the leaves that v has."""
    products = jax.tree.map(lambda v, d: 0.0 if v is None else float(jnp.vdot(v, d)), v, d, is_leaf=lambda a: a is None)
    return sum(jax.tree.leaves(products))


@every
def test_jit_equals_eager(case, x64):
    arguments = made(case)
    chex.assert_trees_all_close(
        compiled(forward_and_backward, case, True)(*arguments),
        forward_and_backward(case, True)(*arguments),
        rtol=1e-11,
        atol=1e-13,
    )


@every
def test_vmap_over_members_equals_loop(case, x64):
    """An ensemble: parameters, state and inputs with an axis in front."""
    members = [made(case, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    looped = [compiled(forward_and_backward, case, True)(*member) for member in members]
    chex.assert_trees_all_close(
        jax.jit(jax.vmap(forward_and_backward(case, True)))(*stacked),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped),
        rtol=1e-10,
        atol=1e-12,
    )


@every
def test_scan_over_members_equals_loop(case, x64):
    members = [made(case, seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    both = forward_and_backward(case, True)
    looped = [compiled(forward_and_backward, case, True)(*member) for member in members]
    _, scanned = jax.jit(lambda a: jax.lax.scan(lambda c, a: (c, both(*a)), None, a))(stacked)
    chex.assert_trees_all_close(
        scanned, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped), rtol=1e-10, atol=1e-12
    )


def keeps_shape(case):
    params, state, x = jax.eval_shape(lambda: drawn(case, dtype=jnp.float32))
    y = jax.eval_shape(lambda *a: case.layer.apply(*a)[0], params, state, x)
    return y == x


@pytest.mark.parametrize("case", [case for case in LAYERS if keeps_shape(case)], ids=repr)
@modes
def test_repeat_equals_copies_in_a_row(case, train, x64):
    """`repeat` runs one compiled block over stacked parameters; a Python loop over the copies is the same."""
    x = made(case)[2]
    tower = nn.repeat(case.layer, 3)
    key = jax.random.key(5) if train else None
    stack = lambda *leaves: jnp.stack(leaves)

    def by_repeat(params, state, x):
        (y, new), residuals = tower.fwd(params, state, x, key=key, train=train)
        return y, new, *tower.bwd(residuals, random_like(y))

    def one_by_one(params, state, y):
        news, remembered, d_copies = [], [], []
        for i in range(3):
            copy, copy_state = jax.tree.map(lambda a, i=i: a[i], (params, state))
            copy_key = None if key is None else jax.random.fold_in(key, i)
            (y, new), residuals = case.layer.fwd(copy, copy_state, y, key=copy_key, train=train)
            news.append(new)
            remembered.append(residuals)
        dy = random_like(y)
        for residuals in reversed(remembered):
            d_copy, dy = case.layer.bwd(residuals, dy)
            d_copies.insert(0, d_copy)
        return y, jax.tree.map(stack, *news), jax.tree.map(stack, *d_copies), dy

    arguments = *jax.jit(lambda key: tower.init(key, x))(jax.random.key(1)), x
    chex.assert_trees_all_close(jax.jit(by_repeat)(*arguments), jax.jit(one_by_one)(*arguments), rtol=1e-10, atol=1e-12)


@every
@modes
def test_residuals_are_arrays(case, train):
    params, state, x = made(case, dtype=jnp.float32)
    fwd = lambda params, state, x: case.layer.fwd(params, state, x, key=jax.random.key(5), train=train)[1]
    leaves = []
    jax.eval_shape(lambda *a: leaves.extend(jax.tree.leaves(fwd(*a))), params, state, x)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


@every
@modes
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=["f32", "bf16", "f64"])
def test_dtype_is_kept(case, dtype, train):
    with jax.enable_x64(dtype == jnp.float64):
        params, state, x = jax.eval_shape(lambda: drawn(case, dtype=dtype))
        if not any(map(smooth, jax.tree.leaves(x))):
            dtype = jnp.result_type(float)
        (y, new), d_params, dx = jax.eval_shape(forward_and_backward(case, train), params, state, x)
    if isinstance(y, nn.Sequences):  # what recurrent layers end with is a sum, and is kept as sums are
        assert all(leaf.dtype == accumulator_dtype(dtype) for leaf in jax.tree.leaves(y.end))
        y = y._replace(end=None)
    of_values = filter(smooth, jax.tree.leaves((params, y, d_params, dx)))
    assert {leaf.dtype for leaf in of_values} == {jnp.dtype(dtype)}
    assert jax.tree.map(lambda a: a.dtype, new) == jax.tree.map(lambda a: a.dtype, state)
    assert jax.tree.map(lambda a: a.shape, d_params) == jax.tree.map(lambda a: a.shape, params)


@every
def test_batch_of_one(case, x64):
    arguments = made(case, batch=1)
    hand, auto = (jax.jit(f(case, True))(*arguments) for f in (forward_and_backward, forward_and_vjp))
    chex.assert_trees_all_close(hand, auto, rtol=1e-9, atol=1e-10)


@every
def test_empty_batch_in_inference(case):
    params, state, x = made(case, batch=0, dtype=jnp.float32)
    y, _ = case.layer.apply(params, state, x)
    assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(y))


def test_empty_batch_in_training_is_refused_by_batch_norm():
    model = nn.serial(nn.Dense(3), nn.BatchNorm())
    params, state = model.init(jax.random.key(0), jnp.zeros((2, 3)))
    with pytest.raises(nn.ShapeError, match=r"expected at least one example.*got \(0, 3\)\n  in batch_norm_0: "):
        model.apply(params, state, jnp.zeros((0, 3)), train=True)


@every
def test_second_call_compiles_nothing(case):
    chex.clear_trace_counter()
    function = jax.jit(chex.assert_max_traces(forward_and_backward(case, True), n=1))
    for seed in (0, 1):
        function(*made(case, dtype=jnp.float32, seed=seed))


@every
def test_no_tracer_leaks(case):
    arguments = made(case, dtype=jnp.float32)
    with jax.checking_leaks():
        jax.jit(forward_and_backward(case, True))(*arguments)


@every
def test_init_aliases_no_arrays(case):
    params, state, _ = made(case, dtype=jnp.float32)
    key, x = jax.random.key(0), jax.eval_shape(lambda: drawn(case, dtype=jnp.float32)[2])
    jitted = jax.jit(lambda key: case.layer.init(key, x))(key)
    for made_arrays in (jax.tree.leaves((params, state)), jax.tree.leaves(jitted)):
        pointers = [leaf.unsafe_buffer_pointer() for leaf in made_arrays]
        assert len(set(pointers)) == len(pointers)


@every
def test_init_needs_only_the_outline_of_x(case):
    _, _, x = made(case, dtype=jnp.float32)
    key = jax.random.key(0)
    chex.assert_trees_all_equal(case.layer.init(key, x), case.layer.init(key, outline(x)))


@every
def test_hand_says_whether_the_backward_is_written(case):
    assert case.layer.hand == case.hand


@every
def test_settings_print_compare_hash_and_pickle(case):
    layer = case.layer
    assert dataclasses.is_dataclass(layer)
    assert repr(layer)
    assert "object at 0x" not in repr(layer)
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    assert hash(again) == hash(layer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.settings_are_frozen = True


def test_names_and_shapes_are_golden():
    """Renaming a parameter breaks every stored checkpoint, so it must be a decision.

    After one, write the file anew: PYTHONPATH=tests python -m test_contract_layers
    """
    assert _names_and_shapes() == json.loads(GOLDEN.read_text())


def _names_and_shapes():
    def outlines(case):
        return jax.eval_shape(lambda: drawn(case, dtype=jnp.float32)[:2])

    def shapes(part):
        return {name: list(leaf.shape) for name, leaf in tree.named_leaves(part).items()}

    return {case.name: dict(zip(("params", "state"), map(shapes, outlines(case)), strict=True)) for case in LAYERS}


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(_names_and_shapes(), indent=1) + "\n")
