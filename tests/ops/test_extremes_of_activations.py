"""What has no peer among the functions of each element in jax.nn, at 0, 1e4, the infinities and NaN, on both roads."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import ops

TOLERANCE = {jnp.float64: 1e-12, jnp.float32: 2e-6, jnp.bfloat16: 2e-2, jnp.float16: 2e-3}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


def roads(op, arrays, d):
    """The value, and the gradients on both roads: by hand, and by JAX of the plain function."""

    @jax.jit
    def program(arrays, d):
        y, residuals = op.fwd(*arrays)
        plain, pull = jax.vjp(op.plain, *arrays)
        return y, plain, op.bwd(residuals, d), pull(d)

    out = program(arrays, d)
    assert {a.dtype for a in jax.tree.leaves(out)} == {d.dtype}
    y, plain, hand, auto = jax.tree.map(lambda a: np.asarray(a, float), out)
    np.testing.assert_array_equal(y, plain)
    return y, hand, auto


# What has no peer in jax.nn: the derivative at minus infinity, at infinity, and at NaN, and the number that is learned.
WITHOUT_PEER = {
    "step": (ops.step, (0.0, 0.0, 0.0)),
    "step straight_through": (ops.step.bind(surrogate="straight_through"), (0.0, 0.0, 1.0)),
    "step clipped": (ops.step.bind(surrogate="clipped"), (0.0, 0.0, 0.0)),
    "step sigmoid": (ops.step.bind(surrogate="sigmoid", low=-1.0), (0.0, 0.0, np.nan)),
    "silu -2": (ops.silu.bind(beta=-2.0), (1.0, 0.0, np.nan)),
    "silu 0": (ops.silu.bind(beta=0.0), (0.5, 0.5, np.nan)),
    "prelu": (ops.prelu, (0.25, 1.0, 0.25), 0.25),
    "prelu 1.5": (ops.prelu, (1.5, 1.0, 1.5), 1.5),
    "parametric_swish": (ops.parametric_swish, (0.0, 1.0, np.nan), 1.5),
    "parametric_swish -2": (ops.parametric_swish, (1.0, 0.0, np.nan), -2.0),
}


@pytest.mark.parametrize("name", WITHOUT_PEER)
@dtypes
def test_extremes_of_what_has_no_peer_in_jax(name, dtype, x64):
    """There is no NaN but at NaN, and the two roads are one; also to what is learned, an infinity where it is."""
    op, ends, *learned = WITHOUT_PEER[name]
    x = jnp.array([-np.inf, np.inf, np.nan, 0.0, 1e4, -1e4, 1.5, -0.5], dtype)
    arrays = (x, *(jnp.full_like(x, number) for number in learned))
    y, hand, auto = roads(op, arrays, jnp.ones_like(x))
    for a, b in zip(hand, auto, strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert not np.isnan(np.delete([y, *hand], 2, axis=1)).any()
    assert np.isnan(y[2])
    np.testing.assert_allclose(hand[0][:3], ends, rtol=TOLERANCE[dtype])


# Rows, of which the last four have no limit.
ROWS_OF_ALL = [
    [1e4, -1e4, 0.0, 1.0],
    [1e4, 1e4, 1e4, 1e4],
    [-1e4, -1e4, -1e4, -1e4],
    [0.0, 0.0, 0.0, 0.0],
    [0.0, -np.inf, 1.0, 2.0],
    [np.nan, 0.0, 1.0, 2.0],
    [0.0, np.inf, 1.0, 2.0],
    [np.inf, np.inf, -np.inf, 0.0],
    [-np.inf, -np.inf, -np.inf, -np.inf],
]
OF_ROWS = {
    "softmax": (ops.softmax, jax.nn.softmax),
    "log_softmax": (ops.log_softmax, jax.nn.log_softmax),
    "standardize": (ops.standardize, jax.nn.standardize),
}


@pytest.mark.parametrize("name", OF_ROWS)
@dtypes
def test_extremes_of_what_is_of_a_row_are_those_of_jax(name, dtype, x64, loose):
    op, peer = OF_ROWS[name]
    x = jnp.array(ROWS_OF_ALL, dtype)
    d = jnp.array([[2.0, 1.0, 1.0, -0.5]] * len(x), dtype)
    y, (hand,), (auto,) = roads(op, (x,), d)
    theirs, pull = jax.vjp(peer, x.astype(jnp.float64))
    d_theirs = pull(d.astype(jnp.float64))[0]
    assert np.isnan(theirs[-4:]).all()
    tolerance = {"rtol": 10 * TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(y, theirs, **tolerance)
    np.testing.assert_allclose(hand, d_theirs, **tolerance)
    np.testing.assert_allclose(auto, d_theirs, **tolerance)


MODERATE, FAR = [-2.0, 0.5, 3.0], [1e4, -1e4, 0.0]
HALVES = {
    "glu": [*product([*FAR, np.inf, -np.inf], MODERATE), *product(MODERATE, [*FAR, np.inf, -np.inf])],
    "swiglu": [*product([*FAR, np.inf, -np.inf], MODERATE), *product(MODERATE, FAR)],
}


@pytest.mark.parametrize("name", HALVES)
@dtypes
def test_extremes_of_what_gates_the_other_half(name, dtype, x64):
    """Of one half while the other is moderate: only NaN gives NaN, and both roads agree where."""
    x = jnp.array([*HALVES[name], (np.nan, 1.0), (1.0, np.nan)], dtype)
    y, (hand,), (auto,) = roads(getattr(ops, name), (x,), jnp.ones((len(x), 1), dtype))
    assert np.isnan(y[:, 0]).tolist() == np.isnan(hand).any(-1).tolist() == [False] * len(HALVES[name]) + [True] * 2
    np.testing.assert_allclose(hand, auto, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("pair", [(np.inf, -np.inf), (-np.inf, np.inf)], ids=str)
def test_infinity_times_a_shut_gate_of_the_other_half_is_nan_as_in_jax(pair):
    """There is no limit, unlike where x gates itself."""
    x = jnp.array(pair)
    glu, swiglu = ops.glu(x), ops.swiglu(x[::-1])
    assert jnp.isnan(ops.silu(x)).tolist() == [False, False]
    assert jnp.isnan(glu).all() == jnp.isnan(jax.nn.glu(x)).all() == (pair[1] < 0)
    assert jnp.isnan(swiglu).all() == (pair[1] < 0)


@pytest.mark.parametrize("op", [ops.leaky_relu, ops.prelu], ids=repr)
def test_a_slope_learns_nothing_from_an_infinity_on_the_other_side(op):
    x, slope = jnp.array([jnp.inf, 1e4]), jnp.array([0.25, 0.25])
    total = lambda slope: (op(x, slope) if op is ops.prelu else op(x, slope=slope)).sum()
    np.testing.assert_array_equal(jax.grad(total)(slope), [0.0, 0.0])
