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
from jaxnn.layers._auxiliary import auxiliary_loss
from jaxnn.layers._layer import outline
from jaxnn.ops._op import pullback
from jaxnn.typing import accumulator_dtype

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "inference"])
GOLDEN = Path(__file__).parent / "golden" / "parameters.json"


def keeps_shape(case):
    params, state, x = jax.eval_shape(lambda: drawn(case, dtype=jnp.float32))
    y = jax.eval_shape(lambda *a: case.layer.apply(*a)[0], params, state, x)
    return y == x


once = functools.lru_cache(maxsize=16)  # for the tests of a case; what no test will want again is let go


@once
def made(case, *, batch=6, dtype=jnp.float64, seed=0):
    """Parameters away from zero, state and an input; the same ones for every test of the case."""
    return drawn(case, batch=batch, dtype=dtype, seed=seed)


def drawn(case, *, batch=6, dtype=jnp.float64, seed=0):
    random = np.random.default_rng(seed)
    x = case.x(random, batch, dtype)
    params, state = case.layer.init(jax.random.key(seed), x)
    params = jax.tree.map(lambda p: p + jnp.asarray(random.uniform(0.1, 0.2, p.shape).astype(p.dtype)), params)
    return params, state, x


# Tests run case by case, for the sake of what is compiled once for all tests of a case: pytest groups those that have
# one value of a parameter whose scope is the module. It goes by the position of the value, so those that can be
# repeated are in front.
TOWERS = [case for case in LAYERS if keeps_shape(case)]
ROWS = [*TOWERS, *(case for case in LAYERS if case not in TOWERS)]
every = pytest.mark.parametrize("case", ROWS, ids=repr, scope="module")


def smooth(a):
    return jnp.issubdtype(a.dtype, jnp.floating)


def random_like(outline, seed=1):
    """Random numbers; None for integers, such as lengths, which have no cotangent."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(random.normal(size=a.shape).astype(a.dtype)) if smooth(a) else None, outline
    )


def stack(trees):
    """Trees as one, with an axis in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


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


def forward_and_vjp(case, train):
    """The same by JAX, of the plain functions."""

    def both(params, state, x):
        def adding(params, x):
            y, new = forward(case, train)(params, state, x)
            return (y, auxiliary_loss(new)), new

        with nn.plain():
            ((y, added), new), backward = pullback(adding, params, x, has_aux=True)
            zero = lambda a, d: np.zeros(a.shape, float0) if d is None else d
            # What a layer adds to the loss has a slope of 1.
            d_params, dx = backward((jax.tree.map(zero, y, random_like(y)), jax.tree.map(jnp.ones_like, added)))
        return (y, new), d_params, jax.tree.map(lambda a, d: d if smooth(a) else None, x, dx)

    return both


@once
def compiled(case, train):
    """The output of `apply`, and both roads, compiled once for every test that calls them."""
    functions = [f(case, train) for f in (forward, forward_and_backward, forward_and_vjp)]
    return jax.jit(lambda *arguments: [f(*arguments) for f in functions])


def by_hand(case, train, arguments):
    return compiled(case, train)(*arguments)[1]


def _filled(d_params, params):
    got = tree.named_leaves(d_params)
    return tree.map_named(lambda name, p: got.get(name, jnp.zeros_like(p)), params)


@every
@modes
def test_backward_equals_vjp_of_plain(case, train, x64):
    _, hand, auto = compiled(case, train)(*made(case))
    chex.assert_trees_all_close(hand, auto, rtol=1e-10, atol=1e-12)


@every
@modes
def test_forward_output_is_apply(case, train, x64):
    applied, (out, *_), _ = compiled(case, train)(*made(case))
    chex.assert_trees_all_close(out, applied, rtol=1e-13, atol=1e-14)


@every
def test_backward_equals_central_differences(case, x64):
    params, state, x = made(case)
    train = not case.held
    apply = lambda params, x: compiled(case, train)(params, state, x)[0]
    _, d_params, dx = by_hand(case, train, made(case))
    d_y = random_like(apply(params, x)[0])
    v_params, v_x = random_like(params, seed=2), random_like(x, seed=3)

    def along(h):
        step = lambda a, v: a if v is None else jnp.asarray(np.asarray(a) + h * np.asarray(v))
        moved = lambda tree, v: jax.tree.map(step, tree, v)
        y, new = apply(moved(params, v_params), moved(x, v_x))
        added = auxiliary_loss(new)
        return _inner(d_y, y) + (0.0 if added is None else float(added))

    h = 1e-6
    slope = (along(h) - along(-h)) / (2 * h)
    np.testing.assert_allclose(_inner(v_params, d_params) + _inner(v_x, dx), slope, rtol=1e-6, atol=1e-7)


def _inner(v, d):
    """The inner product of two trees, of the leaves that v has."""
    products = jax.tree.map(lambda v, d: 0.0 if v is None else float(np.vdot(v, d)), v, d, is_leaf=lambda a: a is None)
    return sum(jax.tree.leaves(products))


@every
def test_jit_equals_eager(case, x64):
    chex.assert_trees_all_close(
        by_hand(case, True, made(case)), forward_and_backward(case, True)(*made(case)), rtol=1e-11, atol=1e-13
    )


@every
def test_vmap_over_members_equals_loop(case, x64):
    """An ensemble: parameters, state and inputs with an axis in front."""
    members = [made(case, seed=seed) for seed in range(3)]
    looped = [by_hand(case, True, member) for member in members]
    mapped = jax.jit(jax.vmap(forward_and_backward(case, True)))(*stack(members))
    chex.assert_trees_all_close(mapped, stack(looped), rtol=1e-10, atol=1e-12)


@every
def test_scan_over_members_equals_loop(case, x64):
    members = [made(case, seed=seed) for seed in range(2)]
    both = forward_and_backward(case, True)
    looped = [by_hand(case, True, member) for member in members]
    _, scanned = jax.jit(lambda a: jax.lax.scan(lambda c, a: (c, both(*a)), None, a))(stack(members))
    chex.assert_trees_all_close(scanned, stack(looped), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", TOWERS, ids=repr, scope="module")
@modes
def test_repeat_equals_copies_in_a_row(case, train, x64):
    """`repeat` runs one compiled block over stacked parameters; a Python loop over the copies is the same."""
    x = made(case)[2]
    tower = nn.repeat(case.layer, 3)
    key = jax.random.key(5) if train else None

    @jax.jit
    def by_repeat(first, x):
        params, state = tower.init(first, x)
        (y, new), residuals = tower.fwd(params, state, x, key=key, train=train)
        return (params, state), (y, new, *tower.bwd(residuals, random_like(y)))

    @jax.jit
    def forward(params, state, y, i):
        copy_key = None if key is None else jax.random.fold_in(key, i)
        return case.layer.fwd(params, state, y, key=copy_key, train=train)

    backward = jax.jit(case.layer.bwd)

    def one_by_one(params, state, y):
        news, remembered, d_copies = [], [], []
        for i in range(3):
            copy, copy_state = jax.tree.map(lambda a, i=i: np.asarray(a)[i], (params, state))
            (y, new), residuals = forward(copy, copy_state, y, i)
            news.append(new)
            remembered.append(residuals)
        dy = random_like(y)
        for residuals in reversed(remembered):
            d_copy, dy = backward(residuals, dy)
            d_copies.insert(0, d_copy)
        return y, stack(news), stack(d_copies), dy

    begin, repeated = by_repeat(jax.random.key(1), x)
    chex.assert_trees_all_close(repeated, one_by_one(*begin, x), rtol=1e-10, atol=1e-12)


@every
@modes
def test_residuals_are_arrays(case, train):
    params, state, x = made(case, dtype=jnp.float32)
    fwd = lambda params, state, x: case.layer.fwd(params, state, x, key=jax.random.key(5), train=train)[1]
    leaves = []
    jax.eval_shape(lambda *a: leaves.extend(jax.tree.leaves(fwd(*a))), params, state, x)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


@pytest.mark.parametrize("case", [case for case in ROWS if case.keeps], ids=repr, scope="module")
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
    _, hand, auto = compiled(case, True)(*made(case, batch=1))
    chex.assert_trees_all_close(hand, auto, rtol=1e-9, atol=1e-10)


@every
def test_empty_batch_in_inference(case):
    params, state, x = made(case, batch=0, dtype=jnp.float32)
    y, _ = case.layer.apply(params, state, x)  # not traced, so that checks of values meet an empty array
    assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(y))


def test_empty_batch_in_training_is_refused_by_batch_norm():
    model = nn.serial(nn.Dense(3), nn.BatchNorm())
    params, state = model.init(jax.random.key(0), jnp.zeros((2, 3)))
    with pytest.raises(nn.ShapeError, match=r"expected at least one example.*got \(0, 3\)\n  in batch_norm_0: "):
        model.apply(params, state, jnp.zeros((0, 3)), train=True)


@every
def test_second_call_compiles_nothing(case, x64):
    programs = []
    for seed in (0, 1):
        by_hand(case, True, made(case, seed=seed))
        programs.append(compiled(case, True)._cache_size())
    assert 0 < programs[0] == programs[1]


@every
def test_no_tracer_leaks(case, checking_leaks):
    arguments = jax.eval_shape(lambda: drawn(case, dtype=jnp.float32))
    with checking_leaks():
        jax.jit(forward_and_backward(case, True)).trace(*arguments)


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
