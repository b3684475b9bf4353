"""Activations against JAX's and PyTorch's, at the extremes, at their kinks, and at the numbers of the catalogue."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops

# Ours, with settings, beside jax.nn's.
PEERS = {
    "identity": (ops.identity, jax.nn.identity),
    "relu": (ops.relu, jax.nn.relu),
    "relu6": (ops.relu6, jax.nn.relu6),
    "leaky_relu": (ops.leaky_relu, jax.nn.leaky_relu),
    "leaky_relu 0.2": (ops.leaky_relu.bind(slope=0.2), functools.partial(jax.nn.leaky_relu, negative_slope=0.2)),
    "elu": (ops.elu, jax.nn.elu),
    "elu 0.3": (ops.elu.bind(alpha=0.3), functools.partial(jax.nn.elu, alpha=0.3)),
    "celu 2": (ops.celu.bind(alpha=2.0), functools.partial(jax.nn.celu, alpha=2.0)),
    "selu": (ops.selu, jax.nn.selu),
    "softplus": (ops.softplus, jax.nn.softplus),
    "squareplus": (ops.squareplus, jax.nn.squareplus),
    "squareplus 0.5": (ops.squareplus.bind(b=0.5), functools.partial(jax.nn.squareplus, b=0.5)),
    "sparse_plus": (ops.sparse_plus, jax.nn.sparse_plus),
    "sigmoid": (ops.sigmoid, jax.nn.sigmoid),
    "log_sigmoid": (ops.log_sigmoid, jax.nn.log_sigmoid),
    "tanh": (ops.tanh, jax.nn.tanh),
    "hard_sigmoid": (ops.hard_sigmoid, jax.nn.hard_sigmoid),
    "hard_tanh": (ops.hard_tanh, jax.nn.hard_tanh),
    "sparse_sigmoid": (ops.sparse_sigmoid, jax.nn.sparse_sigmoid),
    "soft_sign": (ops.soft_sign, jax.nn.soft_sign),
    "silu": (ops.silu, jax.nn.silu),
    "hard_silu": (ops.hard_silu, jax.nn.hard_silu),
    "mish": (ops.mish, jax.nn.mish),
    "gelu": (ops.gelu, functools.partial(jax.nn.gelu, approximate=False)),
    "gelu_tanh": (ops.gelu_tanh, jax.nn.gelu),
}
ORDINARY = [-7.5, -2.5, -1.3, -0.4, -1e-3, 1e-3, 0.7, 1.1, 2.9, 5.5, 6.1, 30.0, -30.0]
EXTREME = [0.0, 1e4, -1e4, np.inf, -np.inf]
KINKS = [-3.0, -1.0, 1.0, 3.0, 6.0]
# What becomes of the gradient at minus and at plus infinity.
RECTIFIERS = (0.0, 1.0)
LEVEL = (0.0, 0.0)
ENDS = {
    **dict.fromkeys(PEERS, RECTIFIERS),
    **dict.fromkeys(["sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "sparse_sigmoid", "soft_sign", "relu6"], LEVEL),
    "identity": (1.0, 1.0),
    "leaky_relu": (0.01, 1.0),
    "leaky_relu 0.2": (0.2, 1.0),
    "log_sigmoid": (1.0, 0.0),
    "selu": (0.0, 1.0507009873554805),
}
# The derivative at a kink.
AT_KINKS = {
    "relu": {0.0: 0.0},
    "relu6": {0.0: 0.0, 6.0: 0.0},
    "leaky_relu": {0.0: 0.01},
    "leaky_relu 0.2": {0.0: 0.2},
    "elu 0.3": {0.0: 0.3},
    "selu": {0.0: 1.7580993408473766},
    "hard_sigmoid": {-3.0: 0.0, 3.0: 0.0},
    "hard_tanh": {-1.0: 0.0, 1.0: 0.0},
    "sparse_sigmoid": {-1.0: 0.0, 1.0: 0.0},
    "hard_silu": {-3.0: 0.0, 3.0: 1.0},
    "elu": {0.0: 1.0},
    "celu 2": {0.0: 1.0},
}
NOT_AS_JAX = ["leaky_relu", "leaky_relu 0.2", "hard_tanh", "sparse_sigmoid"]
TOLERANCE = {jnp.float64: 1e-12, jnp.float32: 2e-6, jnp.bfloat16: 2e-2, jnp.float16: 2e-3}
peers = pytest.mark.parametrize("name", PEERS)


@functools.cache
def everything(name, dtype):
    """Values, and gradients by hand and by JAX of the plain function; then JAX's own, at all the points."""
    op, peer = PEERS[name]
    x = jnp.asarray([*ORDINARY, *EXTREME, *KINKS], jnp.float64).astype(dtype)

    @jax.jit
    def program(x):
        y, residuals = op.fwd(x)
        ones = jnp.ones_like(y)
        auto = jax.vjp(op.plain, x)[1](ones)[0]
        theirs, pull = jax.vjp(peer, x)
        return op.plain(x), y, op.bwd(residuals, ones)[0], auto, theirs, pull(ones)[0]

    out = program(x)
    assert {a.dtype for a in out[:4]} == {x.dtype}
    return np.asarray(x, np.float64), *(np.asarray(a, np.float64) for a in out)


@peers
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_value_is_that_of_jax(name, dtype, x64, loose):
    """Also at 0, 1e4 and the infinities; where JAX's is NaN, ours is the limit."""
    x, plain, forward, _, _, theirs, _ = everything(name, dtype)
    np.testing.assert_array_equal(plain, forward)
    assert not np.isnan(plain).any()
    seen = ~np.isnan(theirs)
    assert not (~seen & np.isfinite(x)).any()
    # squareplus of JAX cancels at -1e4: its error is that of 1e4.
    atol = TOLERANCE[dtype] * (1e4 if name.startswith("squareplus") else 1)
    np.testing.assert_allclose(plain[seen], theirs[seen], rtol=TOLERANCE[dtype], atol=atol)
    limits = np.where(x > 0, 1, -1) if name == "soft_sign" else np.where(x > 0, np.inf, 0)
    np.testing.assert_array_equal(plain[~seen], limits[~seen])


@peers
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_gradient_is_that_of_jax(name, dtype, x64, loose):
    """On both roads; away from kinks and infinities, which are pinned below."""
    x, _, _, hand, auto, _, theirs = everything(name, dtype)
    smooth = np.isfinite(x) & ~np.isin(x, list(AT_KINKS.get(name, {})))
    # What is remembered is y, and 1 - y has the error of y.
    tolerance = {"rtol": 10 * TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(hand[smooth], theirs[smooth], **tolerance)
    np.testing.assert_allclose(auto[smooth], theirs[smooth], **tolerance)


@pytest.mark.parametrize("name", AT_KINKS)
def test_derivative_at_a_kink_is_that_of_the_flatter_piece(name, x64, loose):
    x, _, _, hand, auto, _, theirs = everything(name, jnp.float64)
    for kink, slope in AT_KINKS[name].items():
        np.testing.assert_allclose(hand[x == kink], slope, rtol=1e-15)
        np.testing.assert_allclose(auto[x == kink], slope, rtol=1e-15)
    others = any(theirs[x == kink] != slope for kink, slope in AT_KINKS[name].items())
    assert others == (name in NOT_AS_JAX)


@peers
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16])
def test_gradient_at_an_infinity_is_the_limit_on_both_roads(name, dtype, x64, loose):
    x, _, _, hand, auto, _, _ = everything(name, dtype)
    for end, slope in zip((-np.inf, np.inf), ENDS[name], strict=True):
        np.testing.assert_allclose(hand[x == end], slope, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-3)
        np.testing.assert_allclose(auto[x == end], slope, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-3)
    assert np.isfinite(hand).all()
    assert np.isfinite(auto).all()
    np.testing.assert_allclose(hand, auto, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


UNARY = [*(op for op, _ in PEERS.values()), ops.step, ops.step.bind(surrogate="sigmoid"), ops.silu.bind(beta=-2.0)]


@pytest.mark.parametrize("op", UNARY, ids=repr)
def test_nan_stays_nan(op):
    x = jnp.array([jnp.nan, 1.0])
    assert jnp.isnan(op(x)).tolist() == [True, False]
    assert jnp.isnan(op.fwd(x)[0]).tolist() == [True, False]


TORCH = {
    "relu": (ops.relu, "relu"),
    "relu6": (ops.relu6, "relu6"),
    "leaky_relu": (ops.leaky_relu, "leaky_relu"),
    "elu": (ops.elu.bind(alpha=0.3), "elu", {"alpha": 0.3}),
    "celu": (ops.celu.bind(alpha=0.5), "celu", {"alpha": 0.5}),
    "selu": (ops.selu, "selu"),
    "softplus": (ops.softplus, "softplus", {"threshold": 1e3}),
    "sigmoid": (ops.sigmoid, "sigmoid"),
    "log_sigmoid": (ops.log_sigmoid, "logsigmoid"),
    "tanh": (ops.tanh, "tanh"),
    "hard_sigmoid": (ops.hard_sigmoid, "hardsigmoid"),
    "hard_tanh": (ops.hard_tanh, "hardtanh"),
    "soft_sign": (ops.soft_sign, "softsign"),
    "silu": (ops.silu, "silu"),
    "hard_silu": (ops.hard_silu, "hardswish"),
    "mish": (ops.mish, "mish"),
    "gelu": (ops.gelu, "gelu"),
    "gelu_tanh": (ops.gelu_tanh, "gelu", {"approximate": "tanh"}),
    "glu": (ops.glu, "glu"),
    "softmax": (ops.softmax, "softmax", {"dim": -1}),
    "log_softmax": (ops.log_softmax, "log_softmax", {"dim": -1}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_are_those_of_torch(name, x64):
    """At the kinks too, but for hard_silu's, where PyTorch's version decides."""
    torch = pytest.importorskip("torch")
    op, function, *settings = TORCH[name]
    points = [*ORDINARY, 0.0, *([] if name == "hard_silu" else KINKS)]
    x = np.array(points[: len(points) // 2 * 2])
    d_out = np.random.default_rng(0).normal(size=op(jnp.asarray(x)).shape)
    theirs = torch.tensor(x, requires_grad=True)
    out = getattr(torch.nn.functional, function)(theirs, **(settings[0] if settings else {}))
    out.backward(torch.tensor(d_out))
    y, residuals = op.fwd(jnp.asarray(x))
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-12, atol=1e-14)
    (dx,) = op.bwd(residuals, jnp.asarray(d_out))
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-10  # PyTorch's 1/6 is a float32
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=rtol, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("shared", [True, False])
def test_prelu_is_that_of_torch(shared, x64):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x, d_out, slope = random.normal(size=(5, 3)), random.normal(size=(5, 3)), random.normal(size=1 if shared else 3)
    their_x, their_slope = (torch.tensor(a, requires_grad=True) for a in (x, slope))
    out = torch.nn.functional.prelu(their_x, their_slope)
    out.backward(torch.tensor(d_out))
    y, residuals = ops.prelu.fwd(jnp.asarray(x), jnp.asarray(slope.reshape(() if shared else 3)))
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-13)
    dx, d_slope = ops.prelu.bwd(residuals, jnp.asarray(d_out))
    np.testing.assert_allclose(dx, their_x.grad.numpy(), rtol=1e-13)
    np.testing.assert_allclose(d_slope.reshape(-1), their_slope.grad.numpy(), rtol=1e-12)


# The worked numbers of the catalogue: (op, x, value, slope), None where it has none.
WORKED = {
    "ACT-1": [(ops.step, -1, 0, 0), (ops.step, 0, 0, 0), (ops.step, 1, 1, 0)],
    "ACT-2": [(ops.step.bind(high=10.0), 0.5, 10, 0), (ops.step.bind(high=10.0), -0.5, 0, 0)],
    "ACT-3": [(ops.identity, -2.5, -2.5, 1), (ops.identity.bind(slope=3.0), 2, 6, 3)],
    "ACT-4": [
        (ops.sigmoid, 0, 0.5, 0.25),
        (ops.sigmoid, 1, 0.7310585786, None),
        (ops.sigmoid, 2, 0.8807970780, 0.1049935854),
        (ops.sigmoid, 1000, 1, 0),
        (ops.sigmoid, -1000, 0, 0),
    ],
    "ACT-6": [(ops.tanh, 1, 0.7615941560, 0.4199743416), (ops.tanh, 0, 0, 1)],
    "ACT-7": [(ops.relu, -2, 0, 0), (ops.relu, 0, 0, 0), (ops.relu, 3, 3, 1)],
    "ACT-8": [(ops.leaky_relu, -1, -0.01, 0.01), (ops.leaky_relu, 2, 2, 1)],
    "28-18": [(ops.leaky_relu, -1, -0.01, 0.01)],
    "ACT-10": [(ops.elu, -1, -0.6321205588, 0.3678794412)],
    "ACT-11": [
        (ops.swish, 0, 0, 0.5),
        (ops.swish, 1, 0.7310585786, None),
        (ops.swish, -1, -0.2689414214, None),
        (ops.swish, -1.2784645428, -0.2784645428, 0),
    ],
    "ACT-12": [
        (ops.gelu, 1, 0.8413447461, None),
        (ops.gelu, -1, -0.1586552539, None),
        (ops.gelu_tanh, 1, 0.8411919906, None),
        (ops.gelu, -0.7517915247, -0.1699712074, 0),
    ],
    "E-2": [(ops.step, 0, 0, 0), (ops.step.bind(threshold=2.0), 2, 0, 0)],
    "E-7": [(ops.sigmoid, 2, 1 / (1 + np.exp(-2)), None)],
    "E-8": [(ops.sigmoid, 0, 0.5, 0.25)],  # without the square the slope would be 0.5
    "E-9": [(ops.leaky_relu.bind(slope=1.5), 2, 2, 1), (ops.leaky_relu.bind(slope=1.5), -2, -3, 1.5)],
}
LINES = [(item, *line) for item, lines in WORKED.items() for line in lines]


@pytest.mark.parametrize(("item", "op", "x", "value", "slope"), LINES, ids=[f"{i}-{o}({x})" for i, o, x, *_ in LINES])
def test_worked_number(item, op, x, value, slope, x64):
    x = jnp.asarray(x, jnp.float64)
    y, residuals = op.fwd(x)
    np.testing.assert_allclose(y, value, rtol=2e-10, atol=2e-10)
    if slope is not None:
        np.testing.assert_allclose(op.bwd(residuals, jnp.ones_like(x))[0], slope, rtol=2e-10, atol=2e-10)
        np.testing.assert_allclose(jax.grad(op)(x), slope, rtol=2e-10, atol=2e-10)


GRID = np.linspace(-8, 8, 4001)


def test_ACT_4_sigmoid_is_odd_about_one_half_and_steepest_at_0(x64):
    y, residuals = ops.sigmoid.fwd(jnp.asarray(GRID))
    np.testing.assert_allclose(y, 1 - ops.sigmoid(jnp.asarray(-GRID)), rtol=1e-12)
    (slope,) = ops.sigmoid.bwd(residuals, jnp.ones_like(y))
    assert GRID[slope.argmax()] == 0


def test_28_23_and_E_69_the_slope_of_the_sigmoid_is_above_0_and_at_most_one_quarter(x64):
    (slope,) = ops.sigmoid.bwd(ops.sigmoid(jnp.asarray(GRID)), jnp.ones(GRID.shape))
    assert slope.min() > 0
    assert slope.max() == 0.25


def test_ACT_5_the_chain_of_the_sigmoids_derivative(x64):
    """s = v^-1 of v = 1 + e^-x, so s' = -v^-2 (-e^-x); at 0 it is 1/4."""
    v, dv = 1 + np.exp(-GRID), -np.exp(-GRID)
    (slope,) = ops.sigmoid.bwd(ops.sigmoid(jnp.asarray(GRID)), jnp.ones(GRID.shape))
    np.testing.assert_allclose(slope, -(v**-2) * dv, rtol=1e-10)


def test_ACT_6_tanh_is_a_stretched_sigmoid(x64):
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(ops.tanh(x), 2 * ops.sigmoid(2 * x) - 1, rtol=1e-12, atol=1e-15)


def test_E_13_tanh_is_centred_on_0(x64):
    assert abs(ops.tanh(jnp.asarray(GRID)).mean()) < 1e-12
    np.testing.assert_allclose(ops.sigmoid(jnp.asarray(GRID)).mean(), 0.5, rtol=1e-12)


def test_ACT_9_and_E_9_prelu_is_in_two_pieces_and_learns_its_slope(x64):
    x, slope = jnp.array([2.0, -2.0]), jnp.array(1.5)
    y, residuals = ops.prelu.fwd(x, slope)
    np.testing.assert_array_equal(y, [2.0, -3.0])  # max(a x, x) would be 3 and -2
    dx, d_slope = ops.prelu.bwd(residuals, jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(dx, [0.0, 1.5])
    assert d_slope == -2.0


def test_ACT_13_softmax(x64):
    x = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ops.softmax(x), [0.0900305732, 0.2447284711, 0.6652409558], rtol=1e-9)
    np.testing.assert_array_equal(ops.softmax(jnp.array([1000.0, 1000.0])), [0.5, 0.5])
    np.testing.assert_allclose(ops.softmax(x + 12.5), ops.softmax(x), rtol=1e-14)
    np.testing.assert_allclose(ops.softmax(x).sum(), 1.0, rtol=1e-15)
    np.testing.assert_allclose(ops.log_softmax(x), np.log(ops.softmax(x)), rtol=1e-14)


ROWS = {
    "probabilities": ([0.2, 0.7, 0.1], True),
    "one-hot": ([0.0, 1.0, 0.0], True),
    "rounded": ([0.3333, 0.3333, 0.3333], True),
    "sum above 1": ([0.6, 0.5, 0.1], False),
    "sum below 1": ([0.2, 0.2, 0.2], False),
    "negative": ([-0.1, 0.6, 0.5], False),
    "above 1": ([1.2, -0.1, -0.1], False),
    "nan": ([np.nan, 0.5, 0.5], False),
    "infinite": ([np.inf, 0.0, 0.0], False),
}


@pytest.mark.parametrize(("row", "expected"), ROWS.values(), ids=ROWS)
def test_ACT_14_a_row_of_probabilities_is_told(row, expected):
    assert bool(jax.jit(ops.is_probability_vector)(jnp.array(row))) == expected


def test_ACT_14_what_softmax_puts_out_is_one_in_every_precision():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 300)) * 10)
    assert ops.is_probability_vector(ops.softmax(x)).all()
    assert ops.is_probability_vector(ops.softmax(x, axis=0), axis=0).all()
    assert ops.is_probability_vector(ops.softmax(x.astype(jnp.bfloat16)), tolerance=0.02).all()


def test_E_4_a_step_has_two_values_and_none_between():
    x = jnp.asarray(GRID, jnp.float32)
    assert set(ops.step(x).tolist()) == {0.0, 1.0}
    assert set(ops.step(x, low=-1.0).tolist()) == {-1.0, 1.0}


def test_E_5_and_28_21_a_step_of_0_and_10_teaches_nothing_below_it_and_relu_has_a_kink_too():
    x = jnp.asarray(GRID, jnp.float32)
    for road in (jax.grad(lambda x: ops.step(x, high=10.0).sum()), lambda x: ops.step.bwd(None, x, high=10.0)[0]):
        np.testing.assert_array_equal(road(x), np.zeros(x.shape))
    h = 2.0**-10
    assert (ops.relu(jnp.float32(h)) - ops.relu(jnp.float32(0.0))) / h == 1.0
    assert (ops.relu(jnp.float32(0.0)) - ops.relu(jnp.float32(-h))) / h == 0.0


def test_E_6_a_linear_activation_returns_its_input_only_with_slope_1():
    x = jnp.array([-2.0, 3.0])
    np.testing.assert_array_equal(ops.identity(x), x)
    np.testing.assert_array_equal(ops.identity(x, slope=0.5), x / 2)


def test_E_10_ranges(x64):
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(ops.swish(x).min(), -0.2784645, atol=1e-6)
    np.testing.assert_allclose(ops.gelu(x).min(), -0.1699712, atol=1e-6)
    assert ops.leaky_relu(x).min() < 0
    assert ops.leaky_relu(x, slope=0.0).min() == 0
    assert ops.leaky_relu(x, slope=-0.1).min() == 0


def test_E_11_gelu_is_x_times_the_probability_of_a_standard_normal(x64):
    x = np.array([-1.5, 0.3, 2.0])
    z = np.random.default_rng(0).normal(size=10**6)
    np.testing.assert_allclose(ops.gelu(jnp.asarray(x)), [a * (z <= a).mean() for a in x], atol=5e-3)


def test_gelu_has_two_forms_that_are_named_apart(x64):
    """`jax.nn.gelu` and flax are the approximation by default; PyTorch and Keras are not."""
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(ops.gelu_tanh(x), jax.nn.gelu(x), rtol=1e-12, atol=1e-15)
    gap = jnp.abs(ops.gelu(x) - ops.gelu_tanh(x)).max()
    assert 4e-4 < gap < 5e-4


def test_gelu_keeps_its_digits_far_below_0():
    """In float32 the probability at -8 is 6e-16, which 1 + erf would round to 0."""
    np.testing.assert_allclose(ops.gelu(jnp.float32(-8.0)), -8 * 6.220960574271785e-16, rtol=1e-4)


def test_squareplus_keeps_its_digits_far_below_0_and_does_not_overflow():
    x = jnp.array([-1e4, -1e30, 1e30])
    np.testing.assert_allclose(ops.squareplus(x), [1e-4, 1e-30, 1e30], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: ops.squareplus(x).sum())(x), [1e-8, 0, 1], rtol=1e-5, atol=1e-30)


def test_names_of_one_function():
    assert ops.swish is ops.silu is nn.swish
    assert ops.hard_swish is ops.hard_silu


SWEPT = {
    "identity slope": (ops.identity, "slope"),
    "leaky_relu slope": (ops.leaky_relu, "slope"),
    "elu alpha": (ops.elu, "alpha"),
    "celu alpha": (ops.celu, "alpha"),
    "squareplus b": (ops.squareplus, "b"),
    "silu beta": (ops.silu, "beta"),
    "step low": (ops.step, "low"),
    "step high": (ops.step, "high"),
    "step threshold": (ops.step, "threshold"),
}


@pytest.mark.parametrize(("op", "setting"), SWEPT.values(), ids=SWEPT)
def test_settings_that_are_numbers_are_swept_and_differentiated(op, setting, x64):
    """Of another precision than x too, as a learning rate may be; and by NumPy's numbers."""
    x, sweep = jnp.asarray(ORDINARY, jnp.float32), np.array([0.3, 0.8, 1.7])
    mapped = jax.jit(jax.vmap(lambda value: op(x, **{setting: value})))(jnp.asarray(sweep))
    backward = jax.jit(jax.vmap(lambda value: op.bwd(op.fwd(x, **{setting: value})[1], x, **{setting: value})[0]))
    for i, (y, dx) in enumerate(zip(mapped, backward(jnp.asarray(sweep)), strict=True)):
        assert y.dtype == dx.dtype == jnp.float32
        np.testing.assert_allclose(y, op(x, **{setting: sweep[i]}), rtol=1e-6)
        np.testing.assert_allclose(dx, op.bwd(op.fwd(x, **{setting: sweep[i]})[1], x, **{setting: sweep[i]})[0],
                                   rtol=1e-5, atol=1e-6)  # fmt: skip
    wide, h = jnp.asarray(ORDINARY), 1e-6
    total = lambda value: op(wide, **{setting: value}).sum()
    slope = (total(0.8 + h) - total(0.8 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(total)(0.8), slope, rtol=1e-6, atol=1e-8)


SURROGATES = {
    "straight_through": np.ones_like,
    "clipped": lambda t: np.where(np.abs(t) < 1, 0.5, 0.0),
    "sigmoid": lambda t: np.exp(-t) / (1 + np.exp(-t)) ** 2,
}


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("levels", [{}, {"low": -1.0}, {"low": 2.0, "high": 5.0, "threshold": 0.5}], ids=str)
def test_a_surrogate_changes_the_gradient_and_not_the_value(surrogate, levels, x64):
    x = np.array([-30.0, -1.0, -0.3, 0.0, 0.4, 0.5, 0.9, 1.0, 2.0, 1e4])
    op = ops.step.bind(surrogate=surrogate, **levels)
    np.testing.assert_array_equal(op(jnp.asarray(x)), ops.step(jnp.asarray(x), **levels))
    span = levels.get("high", 1.0) - levels.get("low", 0.0)
    t = np.clip(x - levels.get("threshold", 0.0), -500, 500)
    expected = span * SURROGATES[surrogate](t)
    y, residuals = op.fwd(jnp.asarray(x))
    np.testing.assert_array_equal(y, op.plain(jnp.asarray(x)))
    np.testing.assert_allclose(op.bwd(residuals, jnp.ones_like(y))[0], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jax.grad(lambda x: op(x).sum())(jnp.asarray(x)), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_surrogate_is_finite_at_the_extremes(surrogate):
    x, op = jnp.array([jnp.inf, -jnp.inf, 1e38, -1e38]), ops.step.bind(surrogate=surrogate)
    y, residuals = op.fwd(x)
    np.testing.assert_array_equal(y, [1, 0, 1, 0])
    dx = op.bwd(residuals, jnp.ones(4))[0]
    np.testing.assert_array_equal(dx, [0, 0, 1, 1] if surrogate == "straight_through" else np.zeros(4))
    np.testing.assert_array_equal(dx, jax.grad(lambda x: op(x).sum())(x))


def test_a_network_of_steps_learns_xor_by_a_surrogate_and_not_without():
    x, y = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([0, 1, 1, 0])

    def loss_after(surrogate):
        model = nn.serial(nn.Dense(16), ops.step.bind(surrogate=surrogate), nn.Dense(2))
        params, state = model.init(jax.random.key(0), x)
        loss = lambda params: nn.losses.cross_entropy(model.apply(params, state, x)[0], y).mean()
        body = lambda _, params: jax.tree.map(lambda p, d: p - 0.5 * d, params, jax.grad(loss)(params))
        trained = jax.jit(lambda params: jax.lax.fori_loop(0, 300, body, params))(params)
        return loss(trained), jnp.abs(trained["dense_0"]["w"] - params["dense_0"]["w"]).max()

    assert loss_after("sigmoid")[0] < 0.05
    assert loss_after(None)[1] == 0


MASKS = [np.array([True, False, True, True]), np.array([[True], [False]]), np.zeros((2, 4), bool)]


@pytest.mark.parametrize("op", [ops.softmax, ops.log_softmax], ids=repr)
@pytest.mark.parametrize("mask", MASKS, ids=["features", "rows", "none"])
def test_softmax_of_some_is_that_of_jax(op, mask, x64, loose):
    """And on both roads to the gradient, also where what is left out is infinite or a NaN."""
    random = np.random.default_rng(0)
    x, dy = jnp.asarray(random.normal(size=(2, 4))), jnp.asarray(random.normal(size=(2, 4)))
    where = jnp.asarray(mask)
    x = jnp.where(where, x, jnp.array([1.0, jnp.nan, jnp.inf, 1e4]))
    y, residuals = op.fwd(x, where=where)
    np.testing.assert_allclose(y, getattr(jax.nn, op.name)(jnp.where(where, x, 0), where=where), rtol=1e-14)
    kept = np.broadcast_to(mask, (2, 4))
    dx = op.bwd(residuals, dy, where=where)[0]
    assert (np.asarray(dx)[~kept] == 0).all()
    auto = jax.grad(lambda x: jnp.where(where, op(x, where=where) * dy, 0).sum())(x)
    np.testing.assert_allclose(dx, auto, rtol=1e-12, atol=1e-15)
    if op is ops.softmax:
        np.testing.assert_array_equal(y.sum(-1) > 0, kept.any(-1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("op", [ops.softmax, ops.log_softmax], ids=repr)
def test_softmax_at_the_extremes_is_that_of_jax(op, dtype, x64, loose):
    x = jnp.array([[0.0, 1e4, -1e4], [1e4, 1e4, 1e4], [0.0, -jnp.inf, 1.0], [jnp.nan, 0.0, 1.0]], dtype)
    y, residuals = op.fwd(x)
    peer = getattr(jax.nn, op.name)
    np.testing.assert_allclose(np.asarray(y, float), np.asarray(peer(x), float), rtol=TOLERANCE[dtype])
    assert jnp.isnan(y[3]).all()
    d = jnp.ones_like(x).at[:, 0].set(2)
    for dx in (op.bwd(residuals, d)[0], jax.vjp(op.plain, x)[1](d)[0]):
        theirs = jax.vjp(peer, x)[1](d)[0]
        np.testing.assert_allclose(np.asarray(dx[:3], float), np.asarray(theirs[:3], float), rtol=TOLERANCE[dtype],
                                   atol=TOLERANCE[dtype])  # fmt: skip


@pytest.mark.parametrize("axis", [-1, 0, (0, 2)])
def test_standardize_is_that_of_jax(axis, x64, loose):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 5)))
    y, residuals = ops.standardize.fwd(x, axis=axis)
    theirs, pull = jax.vjp(lambda x: jax.nn.standardize(x, axis=axis), x)
    np.testing.assert_allclose(y, theirs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ops.standardize.bwd(residuals, x * x, axis=axis)[0], pull(x * x)[0], atol=1e-11)


def test_standardize_keeps_its_digits_about_a_large_mean_and_in_low_precision():
    x = jnp.array([0.0, 1.0, 2.0, 3.0])
    expected = (np.arange(4) - 1.5) / np.sqrt(1.25 + 1e-5)
    np.testing.assert_allclose(ops.standardize(x + 3e4), expected, rtol=1e-5)  # JAX's is off by 100%
    np.testing.assert_allclose(np.asarray(ops.standardize(x.astype(jnp.bfloat16)), float), expected, rtol=1e-2)
    equal = jnp.full(5, 7.0)
    np.testing.assert_array_equal(ops.standardize(equal), np.zeros(5))
    assert jnp.isfinite(jax.grad(lambda x: (ops.standardize(x) * x).sum())(equal)).all()


@pytest.mark.parametrize("op", [ops.glu, ops.swiglu], ids=repr)
def test_gates_of_the_other_half(op, x64):
    a, b = np.array([-1.0, 0.5, 1e4, 3.0]), np.array([2.0, -1e4, 1e4, -0.5])
    sigmoid = lambda z: np.asarray(jax.nn.sigmoid(jnp.asarray(z)))
    expected = a * sigmoid(b) if op is ops.glu else a * sigmoid(a) * b
    x = jnp.asarray(np.concatenate([a, b]))
    np.testing.assert_allclose(op(x), expected, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(op(x[None, :, None], axis=1)[0, :, 0], expected, rtol=1e-13, atol=1e-300)
    if op is ops.glu:
        np.testing.assert_allclose(op(x), jax.nn.glu(x), rtol=1e-13, atol=1e-300)
    for d in (op.bwd(op.fwd(x)[1], jnp.ones(4))[0], jax.grad(lambda x: op(x).sum())(x)):
        assert jnp.isfinite(d).all()


REMEMBERED = {
    1: [ops.relu, ops.relu6, ops.leaky_relu, ops.hard_sigmoid, ops.hard_tanh, ops.sparse_sigmoid],
    0: [ops.identity, ops.step],
}


@pytest.mark.parametrize(("size", "op"), [(n, op) for n, row in REMEMBERED.items() for op in row], ids=str)
def test_what_is_straight_remembers_a_byte_an_element_or_nothing(size, op):
    residuals = jax.tree.leaves(jax.eval_shape(op.fwd, jnp.zeros((3, 5)))[1])
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in residuals) == 15 * size


def test_what_is_no_input_is_refused():
    with pytest.raises(nn.ShapeError, match=r"expected x with an even number along axis -1, because .*; got \(2, 3\)"):
        ops.glu(jnp.zeros((2, 3)))
    with pytest.raises(nn.ShapeError, match=r"expected x with an even number along axis 0, .*; got \(5, 4\)"):
        ops.swiglu(jnp.zeros((5, 4)), axis=0)
    with pytest.raises(nn.ShapeError, match=r"expected a slope of shape \(\), .* x is \(2, 3\); got \(2,\)"):
        ops.prelu(jnp.zeros((2, 3)), jnp.zeros(2))
    with pytest.raises(nn.ShapeError, match=r"expected a beta of shape .*; got \(1, 2, 3\)"):
        ops.parametric_swish(jnp.zeros((2, 3)), jnp.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"expected b > 0, because at 0 it is relu, .*; got b=0"):
        ops.squareplus(jnp.zeros(2), b=0.0)


def test_an_unknown_surrogate_is_refused(unannotated):
    message = r"expected surrogate to be None or one of straight_through, clipped, sigmoid, .*; got 'relu'"
    with pytest.raises(ValueError, match=message):
        ops.step(jnp.zeros(2), surrogate="relu")


@pytest.mark.parametrize(("layer", "name", "start"), [(nn.PReLU, "slope", 0.25), (nn.Swish, "beta", 1.0)])
def test_layers_that_learn_their_shape(layer, name, start):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 3)), jnp.bfloat16)
    for shared, shape in ((False, (3,)), (True, ())):
        params, _ = layer(shared=shared).init(jax.random.key(0), x)
        assert params[name].dtype == jnp.bfloat16
        np.testing.assert_array_equal(params[name], jnp.full(shape, start, jnp.bfloat16))
    model = nn.serial(nn.Dense(3), layer())
    params, state = model.init(jax.random.key(0), x)
    with pytest.raises(nn.ShapeError, match=rf"expected a {name} of shape .*\n  in .*: {layer.__name__}\(\)"):
        model.apply({**params, list(params)[1]: {name: jnp.zeros(4, jnp.bfloat16)}}, state, x)


def test_a_prelu_finds_the_slope_of_the_data():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2)), jnp.float32)
    target, layer = jnp.where(x > 0, x, jnp.array([[0.5, -2.0]] * 64) * x), nn.PReLU()
    params, state = layer.init(jax.random.key(0), x)
    assert list(nn.serial(layer).init(jax.random.key(0), x)[0]) == ["prelu_0"]
    loss = lambda params: nn.losses.mse(layer.apply(params, state, x)[0], target).mean()
    for _ in range(50):
        params = jax.tree.map(lambda p, d: p - 1.0 * d, params, jax.grad(loss)(params))
    np.testing.assert_allclose(params["slope"], [0.5, -2.0], atol=1e-3)
