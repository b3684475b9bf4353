"""Every property of an op, over every op and loss."""

import dataclasses
import functools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LOSSES, OPS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxnn as nn
from jaxnn.errors import is_array
from jaxnn.ops import Op

# Tests run case by case, for the sake of what is compiled once for all tests of a case: pytest groups those that have
# one value of a parameter whose scope is the module. It goes by the position of the value, so the families are in
# front.
ROWS = sorted([*OPS, *LOSSES], key=lambda case: not case.family)
FAMILIES = [case for case in ROWS if case.family]
every = pytest.mark.parametrize("case", ROWS, ids=repr, scope="module")
of_families = pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.family, scope="module")
once = functools.lru_cache(maxsize=16)  # for the tests of a case; what no test will want again is let go


@once
def arrays_of(case, *, batch=6, dtype=jnp.float64, seed=0):
    """The inputs of a case; the same ones for every test."""
    return case.arrays(np.random.default_rng(seed), batch, dtype)


def is_smooth(a):
    return a is not None and jnp.issubdtype(a.dtype, jnp.floating)


def random_like(tree, seed=1):
    """Random numbers. What is neither traced nor drawn by JAX compiles nothing."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(random.normal(size=a.shape).astype(a.dtype)), tree)


def outline(case, arrays):
    """Shape and dtype of the output."""
    return jax.eval_shape(partial(case.op.plain, **case.settings), *arrays)


def inner(a, b):
    return sum(float(np.vdot(p, q)) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def stacked_arrays(members):
    """Arrays with an axis in front; keys too, which NumPy cannot stack."""
    is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda *leaves: (jnp if is_key(leaves[0]) else np).stack(leaves), *members)


def smooth_function(case, arrays):
    """The plain op as a function of its floating arrays alone, and these arrays."""
    smooth = [i for i, a in enumerate(arrays) if is_smooth(a)]

    def function(*moving):
        whole = list(arrays)
        for i, a in zip(smooth, moving, strict=True):
            whole[i] = a
        return case.op.plain(*whole, **case.settings)

    return function, [arrays[i] for i in smooth], smooth


def forward_and_backward(case):
    def both(arrays, d_out):
        out, residuals = case.op.fwd(*arrays, **case.settings)
        return out, case.op.bwd(residuals, d_out, **case.settings)

    return both


@once
def compiled(case):
    """The pair, and the vjp and jvp by JAX of the plain function, compiled once for every test that calls them."""

    def roads(arrays, d_out, directions):
        function, moving, _ = smooth_function(case, arrays)
        out, d_arrays = forward_and_backward(case)(arrays, d_out)
        d_moving = jax.vjp(function, *moving)[1](d_out)
        return out, d_arrays, d_moving, jax.jvp(function, moving, directions)[1]

    return jax.jit(roads)


def roads(case, arrays, d_out):
    """Output and gradient by hand; by JAX the gradient of the floating arrays and the change along `directions_of`."""
    return compiled(case)(arrays, d_out, directions_of(arrays))


def directions_of(arrays):
    return random_like([a for a in arrays if is_smooth(a)], seed=3)


def smooth_part(arrays, d_arrays):
    """The hand-written gradients of the floating arrays, zeros where it says None."""
    assert len(d_arrays) == len(arrays)
    pairs = zip(arrays, d_arrays, strict=True)
    return [np.zeros(a.shape, a.dtype) if d is None else d for a, d in pairs if is_smooth(a)]


@once
def both_gradients(case, *, batch=6):
    """By hand and by JAX, of the floating arrays."""
    arrays = arrays_of(case, batch=batch)
    _, d_arrays, expected, _ = roads(case, arrays, random_like(outline(case, arrays)))
    return smooth_part(arrays, d_arrays), expected


def backward_error(hand, expected):
    """How far the hand-written backward is from JAX's of the plain function, relative to the largest entry."""
    largest = lambda a: float(np.abs(a).max(initial=0))
    scale = max(map(largest, expected)) or 1.0
    return max(largest(a - b) for a, b in zip(map(np.asarray, hand), map(np.asarray, expected), strict=True)) / scale


@every
def test_backward_equals_vjp_of_plain(case, x64):
    assert backward_error(*both_gradients(case)) < 1e-12


@every
def test_backward_equals_central_differences(case, x64):
    arrays = arrays_of(case)
    _, moving, smooth = smooth_function(case, arrays)
    if case.op is nn.ops.dropout:  # no derivative is defined with respect to the rate
        moving_directions = [random_like(moving[0]), np.zeros_like(moving[1])]
    else:
        moving_directions = random_like(moving, seed=2)
    d_out = random_like(outline(case, arrays))

    def along(h):
        whole = list(arrays)
        for i, a, v in zip(smooth, moving, moving_directions, strict=True):
            whole[i] = jnp.asarray(np.asarray(a) + h * np.asarray(v))
        return inner(d_out, roads(case, tuple(whole), d_out)[0])

    h = 1e-6
    slope = (along(h) - along(-h)) / (2 * h)
    np.testing.assert_allclose(inner(both_gradients(case)[0], moving_directions), slope, rtol=1e-7, atol=1e-8)


@every
def test_backward_is_transpose_of_forward_derivative(case, x64):
    arrays = arrays_of(case)
    d_out = random_like(outline(case, arrays))
    _, d_arrays, _, d_along = roads(case, arrays, d_out)
    hand = smooth_part(arrays, d_arrays)
    np.testing.assert_allclose(inner(hand, directions_of(arrays)), inner(d_out, d_along), rtol=1e-11, atol=1e-12)


@every
def test_derivative_is_none_exactly_where_there_is_none(case, x64):
    arrays = arrays_of(case)
    d_arrays = roads(case, arrays, random_like(outline(case, arrays)))[1]
    without = [i for i, d in enumerate(d_arrays) if d is None]
    constants = [1] if case.op is nn.ops.dropout else []
    assert without == [i for i, a in enumerate(arrays) if not is_smooth(a) or i in constants]


@every
def test_forward_output_is_plain(case, x64):
    """Operation by operation: compiled, what is fused otherwise may be rounded otherwise."""
    arrays = arrays_of(case)
    out, plain = case.op.fwd(*arrays, **case.settings)[0], case.op.plain(*arrays, **case.settings)
    if case.exact:
        chex.assert_trees_all_equal(out, plain)
    else:
        chex.assert_trees_all_close(out, plain, rtol=1e-13, atol=1e-13)


@every
def test_residuals_are_arrays(case):
    leaves = []
    fwd = lambda *arrays: leaves.extend(jax.tree.leaves(case.op.fwd(*arrays, **case.settings)[1]))
    jax.eval_shape(fwd, *arrays_of(case, dtype=jnp.float32))
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


@of_families
def test_jit_equals_eager(case, x64):
    arrays = arrays_of(case)
    d_out = random_like(outline(case, arrays))
    eager = forward_and_backward(case)(arrays, d_out)
    chex.assert_trees_all_close(roads(case, arrays, d_out)[:2], eager, rtol=1e-12, atol=1e-13)


@every
def test_vmap_equals_loop(case, x64):
    members = [arrays_of(case, seed=seed) for seed in range(3)]
    d_outs = [random_like(outline(case, members[0]), seed) for seed in range(3)]
    looped = [roads(case, arrays, d)[:2] for arrays, d in zip(members, d_outs, strict=True)]
    mapped = jax.jit(jax.vmap(forward_and_backward(case)))(stacked_arrays(members), stack(d_outs))
    chex.assert_trees_all_close(mapped, stack(looped), rtol=1e-11, atol=1e-12)


@every
def test_scan_carries_residuals(case, x64):
    members = [arrays_of(case, seed=seed) for seed in range(3)]
    d_out = random_like(outline(case, members[0]))

    @jax.jit
    def there_and_back(stacked):
        _, residuals = jax.lax.scan(lambda c, a: (c, case.op.fwd(*a, **case.settings)[1]), None, stacked)
        backward = lambda c, r: (c, case.op.bwd(r, d_out, **case.settings))
        return jax.lax.scan(backward, None, residuals, reverse=True, length=3)[1]

    scanned = there_and_back(stacked_arrays(members))
    looped = [roads(case, arrays, d_out)[1] for arrays in members]
    chex.assert_trees_all_close(scanned, stack(looped), rtol=1e-12, atol=1e-13)


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=["f32", "bf16", "f64"])
def test_dtype_is_kept(case, dtype, x64):
    arrays = arrays_of(case, dtype=dtype)
    out = outline(case, arrays)
    statistics = jnp.float32 if dtype == jnp.bfloat16 else dtype  # a mean or variance is never kept in bfloat16
    first, *others = jax.tree.leaves(out)
    assert first.dtype == dtype
    assert all(leaf.dtype == statistics for leaf in others)
    again, d_arrays = jax.eval_shape(forward_and_backward(case), arrays, out)
    assert again == out
    assert [d.dtype for d in d_arrays if d is not None] == [
        a.dtype for a, d in zip(arrays, d_arrays, strict=True) if d is not None
    ]


@every
def test_batch_of_one(case, x64):
    assert backward_error(*both_gradients(case, batch=1)) < 1e-12


@every
def test_empty_batch(case):
    arrays = arrays_of(case, batch=0, dtype=jnp.float32)
    if not case.empty:
        if case.op is nn.ops.batch_norm:
            with pytest.raises(nn.ShapeError, match="at least one example"):
                case.op(*arrays, **case.settings)
        return
    d_out = random_like(outline(case, arrays))
    assert 0 in jax.tree.leaves(d_out)[0].shape
    d_arrays = jax.jit(forward_and_backward(case))(arrays, d_out)[1]
    assert all(d.shape == a.shape for a, d in zip(arrays, d_arrays, strict=True) if d is not None)


@every
def test_second_call_compiles_nothing(case, x64):
    programs = []
    for seed in (0, 1):
        arrays = arrays_of(case, seed=seed)
        roads(case, arrays, random_like(outline(case, arrays)))
        programs.append(compiled(case)._cache_size())
    assert 0 < programs[0] == programs[1]


@every
def test_no_tracer_leaks(case, checking_leaks):
    arrays = arrays_of(case, dtype=jnp.float32)
    d_out = random_like(outline(case, arrays))
    with checking_leaks():
        jax.jit(forward_and_backward(case)).trace(arrays, d_out)


@every
def test_installed_rule_is_what_grad_uses_and_plain_sees_through_it(case, x64):
    """The same pair, installed in an op of its own, gives `jax.vjp` the hand-written gradient."""
    ruled = Op(case.op._plain, case.op._check)
    calls = []

    def counted(*args, **keywords):
        calls.append(1)
        return case.op.bwd(*args, **keywords)

    ruled.defvjp(case.op.fwd, counted, install=True)
    arrays = arrays_of(case)
    d_out, hand = random_like(outline(case, arrays)), both_gradients(case)[0]
    _, moving, smooth = smooth_function(case, arrays)

    def by_rule(*moving):
        whole = list(arrays)
        for i, a in zip(smooth, moving, strict=True):
            whole[i] = a
        return ruled(*whole, **case.settings)

    vjp = lambda d_out, *moving: jax.vjp(by_rule, *moving)[1](d_out)
    chex.assert_trees_all_close(list(jax.jit(vjp)(d_out, *moving)), hand, rtol=1e-12, atol=1e-13)
    # A rule knows no derivative with respect to a setting, so with one that is an array JAX's own is used.
    assert bool(calls) != any(map(is_array, case.settings.values()))
    calls.clear()
    with nn.plain():
        jax.eval_shape(vjp, d_out, *moving)
    assert not calls


@of_families
@pytest.mark.parametrize("wrong", ["scaled", "shifted", "forgotten", "misplaced"])
def test_a_wrong_backward_is_caught(case, wrong, x64):
    """The check of this file can fail: it does for four ways to be wrong, in every family of ops."""
    breaks = {
        "scaled": lambda d: d * 1.001,
        "shifted": lambda d: d + 1e-6,
        "forgotten": np.zeros_like,
        "misplaced": lambda d: np.roll(d.reshape(-1), 1).reshape(d.shape),
    }
    hand, expected = both_gradients(case)
    assert backward_error([breaks[wrong](np.asarray(d)) for d in hand], expected) > 1e-8


def test_a_wrong_rule_is_caught_where_it_is_written(x64):
    """The gradients that are compared are those of the op's own rule: with another one they differ."""
    (case,) = (case for case in ROWS if case.name == "linear")
    broken = Op(case.op._plain, case.op._check)
    broken.defvjp(case.op.fwd, lambda residuals, dy: jax.tree.map(lambda d: 1.001 * d, case.op.bwd(residuals, dy)))
    assert 1e-4 < backward_error(*both_gradients(dataclasses.replace(case, op=broken))) < 1e-2


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(leading=st.lists(st.integers(1, 4), min_size=1, max_size=3), wide=st.integers(1, 5), out=st.integers(1, 5))
def test_linear_of_any_shape(leading, wide, out, x64):
    random = np.random.default_rng(0)
    x, w, b = (jnp.asarray(random.normal(size=shape)) for shape in ((*leading, wide), (wide, out), (out,)))
    y, residuals = nn.ops.linear.fwd(x, w, b)
    np.testing.assert_allclose(y, np.asarray(x) @ np.asarray(w) + np.asarray(b), rtol=1e-12)
    dy = random_like(y)
    dx, dw, db = nn.ops.linear.bwd(residuals, dy)
    np.testing.assert_allclose(dx, np.einsum("...o,io->...i", dy, w), rtol=1e-11, atol=1e-12)
    rows = np.asarray(x).reshape(-1, wide).T @ np.asarray(dy).reshape(-1, out)
    np.testing.assert_allclose(dw, rows, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(db, np.asarray(dy).reshape(-1, out).sum(0), rtol=1e-11, atol=1e-12)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), axis=st.integers(-3, 2))
def test_softmax_of_any_shape_and_axis(shape, axis, x64):
    if not -len(shape) <= axis < len(shape):
        return
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    y, residuals = nn.softmax.fwd(x, axis=axis)
    np.testing.assert_allclose(y.sum(axis), np.ones(y.sum(axis).shape), rtol=1e-12)
    (dx,) = nn.softmax.bwd(residuals, jnp.ones_like(y), axis=axis)
    np.testing.assert_allclose(dx, np.zeros(shape), atol=1e-12)  # the sum is 1 whatever x is
