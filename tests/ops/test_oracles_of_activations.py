"""Activations are those of jax.nn and PyTorch: values, and gradients on both roads, also at extremes and kinks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
# The derivative at NaN, where it is not NaN itself: that of one of the straight pieces.
AT_NAN = {
    **dict.fromkeys(["relu", "relu6", "hard_sigmoid", "sparse_sigmoid"], 0.0),
    **dict.fromkeys(["identity", "hard_tanh"], 1.0),
    "leaky_relu": 0.01,
    "leaky_relu 0.2": 0.2,
}
peers = pytest.mark.parametrize("name", PEERS)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


@functools.cache
def everywhere(name, dtype):
    """Values, and gradients by hand and by JAX of the plain function; then JAX's own in float64, at all the points."""
    op, peer = PEERS[name]
    x = jnp.asarray([*ORDINARY, *EXTREME, *KINKS, np.nan], jnp.float64).astype(dtype)

    @jax.jit
    def program(x):
        y, residuals = op.fwd(x)
        ones = jnp.ones_like(y)
        auto = jax.vjp(op.plain, x)[1](ones)[0]
        theirs, pull = jax.vjp(peer, x.astype(jnp.float64))
        return op.plain(x), y, op.bwd(residuals, ones)[0], auto, theirs, pull(jnp.ones_like(theirs))[0]

    out = program(x)
    assert {a.dtype for a in out[:4]} == {x.dtype}
    return np.asarray(x, np.float64), *(np.asarray(a, np.float64) for a in out)


def everything(name, dtype):
    """The same at all numbers, which come before NaN."""
    return (a[:-1] for a in everywhere(name, dtype))


@peers
@dtypes
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
@dtypes
def test_gradient_is_that_of_jax(name, dtype, x64, loose):
    """On both roads; away from kinks and infinities, which are pinned below."""
    x, _, _, hand, auto, _, theirs = everything(name, dtype)
    smooth = np.isfinite(x) & ~np.isin(x, list(AT_KINKS.get(name, {})))
    # What is remembered is y, and 1 - y has the error of y.
    tolerance = {"rtol": 10 * TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(hand[smooth], theirs[smooth], **tolerance)
    np.testing.assert_allclose(auto[smooth], theirs[smooth], **tolerance)


@peers
@dtypes
def test_nan_is_seen_in_the_value_and_on_both_roads_in_the_gradient_as_in_that_of_jax(name, dtype, x64, loose):
    _, plain, forward, hand, auto, theirs, d_theirs = (a[-1] for a in everywhere(name, dtype))
    assert np.isnan([plain, forward, theirs]).all()
    slope = AT_NAN.get(name, np.nan)
    np.testing.assert_allclose([hand, auto, d_theirs], [slope] * 3, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", AT_KINKS)
def test_derivative_at_a_kink_is_that_of_the_flatter_piece(name, x64, loose):
    x, _, _, hand, auto, _, theirs = everything(name, jnp.float64)
    for kink, slope in AT_KINKS[name].items():
        np.testing.assert_allclose(hand[x == kink], slope, rtol=1e-15)
        np.testing.assert_allclose(auto[x == kink], slope, rtol=1e-15)
    others = any(theirs[x == kink] != slope for kink, slope in AT_KINKS[name].items())
    assert others == (name in NOT_AS_JAX)


@peers
@dtypes
def test_gradient_at_an_infinity_is_the_limit_on_both_roads(name, dtype, x64, loose):
    x, _, _, hand, auto, _, _ = everything(name, dtype)
    for end, slope in zip((-np.inf, np.inf), ENDS[name], strict=True):
        np.testing.assert_allclose(hand[x == end], slope, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-3)
        np.testing.assert_allclose(auto[x == end], slope, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-3)
    assert np.isfinite(hand).all()
    assert np.isfinite(auto).all()
    np.testing.assert_allclose(hand, auto, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


# Ours, with settings, and PyTorch's in torch.nn.functional.
TORCH = {
    "identity": (ops.identity.bind(slope=-0.5), lambda f, x: f.linear(x[:, None], x.new_full((1, 1), -0.5))[:, 0]),
    "relu": (ops.relu, lambda f, x: f.relu(x)),
    "relu6": (ops.relu6, lambda f, x: f.relu6(x)),
    "leaky_relu": (ops.leaky_relu, lambda f, x: f.leaky_relu(x)),
    "elu": (ops.elu.bind(alpha=0.3), lambda f, x: f.elu(x, alpha=0.3)),
    "celu": (ops.celu.bind(alpha=0.5), lambda f, x: f.celu(x, alpha=0.5)),
    "selu": (ops.selu, lambda f, x: f.selu(x)),
    "softplus": (ops.softplus, lambda f, x: f.softplus(x, threshold=1e3)),
    "sigmoid": (ops.sigmoid, lambda f, x: f.sigmoid(x)),
    "log_sigmoid": (ops.log_sigmoid, lambda f, x: f.logsigmoid(x)),
    "tanh": (ops.tanh, lambda f, x: f.tanh(x)),
    "hard_sigmoid": (ops.hard_sigmoid, lambda f, x: f.hardsigmoid(x)),
    "hard_tanh": (ops.hard_tanh, lambda f, x: f.hardtanh(x)),
    "soft_sign": (ops.soft_sign, lambda f, x: f.softsign(x)),
    "silu": (ops.silu, lambda f, x: f.silu(x)),
    "silu -2": (ops.silu.bind(beta=-2.0), lambda f, x: f.silu(-2 * x) / -2),
    "hard_silu": (ops.hard_silu, lambda f, x: f.hardswish(x)),
    "mish": (ops.mish, lambda f, x: f.mish(x)),
    "gelu": (ops.gelu, lambda f, x: f.gelu(x)),
    "gelu_tanh": (ops.gelu_tanh, lambda f, x: f.gelu(x, approximate="tanh")),
    "glu": (ops.glu, lambda f, x: f.glu(x)),
    "swiglu": (ops.swiglu, lambda f, x: f.silu(x[: len(x) // 2]) * x[len(x) // 2 :]),
    "softmax": (ops.softmax, lambda f, x: f.softmax(x, -1)),
    "log_softmax": (ops.log_softmax, lambda f, x: f.log_softmax(x, -1)),
    "standardize": (ops.standardize, lambda f, x: f.layer_norm(x, x.shape)),
}
# Those that have no value, or no derivative, at an infinity in PyTorch; ours have the limit.
NAN_IN_TORCH = ["soft_sign", "silu", "silu -2", "hard_silu", "mish", "gelu", "gelu_tanh"]
OF_ALL = ["glu", "swiglu", "softmax", "log_softmax", "standardize"]


@pytest.mark.oracle
@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_are_those_of_torch(name, x64):
    """At 1e4 and the infinities too, and at the kinks but for hard_silu's, where PyTorch's version decides."""
    torch = pytest.importorskip("torch")
    op, peer = TORCH[name]
    points = [
        *ORDINARY,
        0.0,
        1e4,
        -1e4,
        *([] if name == "hard_silu" else KINKS),
        *([] if name in OF_ALL else [np.inf, -np.inf]),
    ]
    x = np.array(points[: len(points) // 2 * 2])
    d_out = np.random.default_rng(0).normal(size=jax.eval_shape(op, jnp.asarray(x)).shape)
    theirs = torch.tensor(x, requires_grad=True)
    out = peer(torch.nn.functional, theirs)
    out.backward(torch.tensor(d_out))
    y, residuals = op.fwd(jnp.asarray(x))
    (dx,) = op.bwd(residuals, jnp.asarray(d_out))
    out, d_theirs = out.detach().numpy(), theirs.grad.numpy()
    assert (np.isnan(out).any() or np.isnan(d_theirs).any()) == (name in NAN_IN_TORCH)
    assert not np.isnan(np.concatenate([y, dx])).any()
    y, dx = np.where(np.isnan(out), np.nan, y), np.where(np.isnan(d_theirs), np.nan, dx)
    np.testing.assert_allclose(y, out, rtol=1e-12, atol=1e-14)
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-10  # PyTorch's 1/6 is a float32
    np.testing.assert_allclose(dx, d_theirs, rtol=rtol, atol=1e-12)


@pytest.mark.oracle
def test_a_step_is_the_heaviside_function_of_torch():
    """Which has no derivative there."""
    torch = pytest.importorskip("torch")
    x = np.array([*ORDINARY, *EXTREME, *KINKS], np.float32)
    theirs = torch.heaviside(torch.tensor(x), torch.tensor(0.0))
    np.testing.assert_array_equal(ops.step(jnp.asarray(x)), theirs.numpy())


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
