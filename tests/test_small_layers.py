"""Reshaping, squeeze and excitation, separable convolution, a bias by itself, and one table used twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops

KEY = jax.random.key(0)


def drawn(layer, x, seed=0):
    """Parameters away from 0."""
    random = np.random.default_rng(seed)
    params, state = layer.init(KEY, x)
    return jax.tree.map(lambda p: p + jnp.asarray(random.normal(size=p.shape), p.dtype), params), state


def test_reshape_keeps_the_batch_and_the_order():
    x = jnp.arange(24).reshape(2, 12)
    np.testing.assert_array_equal(nn.Reshape((3, 4)).apply({}, {}, x)[0], x.reshape(2, 3, 4))
    np.testing.assert_array_equal(nn.Reshape([3, -1]).apply({}, {}, x)[0], x.reshape(2, 3, 4))
    np.testing.assert_array_equal(nn.Reshape(-1).apply({}, {}, x.reshape(2, 3, 4))[0], x)
    assert nn.Reshape([3, np.int64(4)]) == nn.Reshape((3, 4))
    assert ops.reshape(jnp.zeros((0, 12)), shape=(-1, 4)).shape == (0, 3, 4)
    model = nn.serial(nn.Dense(16), nn.Reshape((4, 4, 1)), nn.Conv(2, 3))
    assert "Reshape((4, 4, 1))" in str(nn.summary(model, jnp.ones((2, 3))))


NOT_RESHAPED = {
    "another size": (
        (4, 4, 1),
        nn.ShapeError,
        r"expected x of 16 elements an example, .*; got 12 in \(2, 3, 4\)",
    ),
    "no multiple": ((-1, 5), nn.ShapeError, "expected x of a multiple of 5 elements an example"),
    "two unknown": ((-1, -1), ValueError, "expected a shape with at most one -1"),
    "negative": ((3, -4), ValueError, r"nothing else below 0, because it counts elements; got \(3, -4\)"),
    "of nothing": ((0, -1), nn.ShapeError, "expected x of a multiple of 0 elements an example"),
}


@pytest.mark.parametrize(("shape", "error", "message"), NOT_RESHAPED.values(), ids=NOT_RESHAPED)
def test_a_shape_that_does_not_fit_is_refused(shape, error, message):
    with pytest.raises(error, match=message):
        nn.Reshape(shape).apply({}, {}, jnp.zeros((2, 3, 4)))


def test_a_bias_fits_its_features():
    params, _ = nn.Bias().init(KEY, jnp.ones((2, 4)))
    with pytest.raises(nn.ShapeError, match=r"expected x of shape \(..., 4\), because b is \(4,\); got \(2, 3\)"):
        nn.Bias().apply(params, {}, jnp.ones((2, 3)))


def test_squeeze_and_excite_is_its_equation(x64):
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 8))
    params, _ = drawn(nn.SqueezeExcite(3), jnp.asarray(x))
    assert jax.tree.map(jnp.shape, params) == {
        "reduce": {"w": (8, 2), "b": (2,)},
        "expand": {"w": (2, 8), "b": (8,)},
    }
    reduce, expand = (jax.tree.map(np.asarray, params[name]) for name in ("reduce", "expand"))
    hidden = np.maximum(x.mean((1, 2)) @ reduce["w"] + reduce["b"], 0)
    gate = 1 / (1 + np.exp(-(hidden @ expand["w"] + expand["b"])))
    y, _ = nn.SqueezeExcite(3).apply(params, {}, jnp.asarray(x))
    np.testing.assert_allclose(y, x * gate[:, None, None, :], rtol=1e-12)


@pytest.mark.oracle
def test_squeeze_and_excite_has_the_gradient_of_torch(x64):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x, dy = random.normal(size=(2, 3, 4, 6)), random.normal(size=(2, 3, 4, 6))
    params, _ = drawn(nn.SqueezeExcite(2), jnp.asarray(x))
    theirs = jax.tree.map(lambda p: torch.tensor(np.asarray(p), requires_grad=True), params)
    their_x = torch.tensor(x, requires_grad=True)
    hidden = torch.relu(their_x.mean((1, 2)) @ theirs["reduce"]["w"] + theirs["reduce"]["b"])
    gate = torch.sigmoid(hidden @ theirs["expand"]["w"] + theirs["expand"]["b"])
    (their_x * gate[:, None, None, :]).backward(torch.tensor(dy))
    _, residuals = nn.SqueezeExcite(2).fwd(params, {}, jnp.asarray(x))
    d_params, dx = nn.SqueezeExcite(2).bwd(residuals, jnp.asarray(dy))
    np.testing.assert_allclose(dx, their_x.grad.numpy(), rtol=1e-10, atol=1e-12)
    for ours, expected in zip(jax.tree.leaves(d_params), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(ours, expected.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ratio", [0, -2, 9])
def test_a_ratio_leaves_a_feature(ratio):
    with pytest.raises(ValueError, match=f"expected a ratio from 1 to 8, because of 8 features .*; got {ratio}"):
        nn.SqueezeExcite(ratio).init(KEY, jnp.ones((2, 3, 8)))


def test_squeeze_and_excite_wants_positions_and_its_own_features():
    layer = nn.SqueezeExcite(2)
    with pytest.raises(nn.ShapeError, match=r"x of shape \(batch, \*n, features\), .*; got \(2, 8\)"):
        layer.init(KEY, jnp.ones((2, 8)))
    params, _ = layer.init(KEY, jnp.ones((2, 3, 8)))
    with pytest.raises(nn.ShapeError, match=r"expected x of shape \(..., 8\)"):
        layer.apply(params, {}, jnp.ones((2, 3, 6)))
    with pytest.raises(nn.ShapeError, match=r"one gate; got \(2, 3, 8\) and \(2, 4\)"):
        ops.feature_gate(jnp.ones((2, 3, 8)), jnp.ones((2, 4)))


def test_a_separable_convolution_is_a_convolution_of_fewer_weights(x64):
    """w_jio = depthwise_ji pointwise_io, with several features between for each one of x."""
    model = nn.separable_conv(5, (3, 2), multiplier=2, stride=2, padding="VALID", dilation=(1, 2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 8, 3)))
    params, state = drawn(model, x)
    y, _ = model.apply(params, state, x)
    depthwise = params["depthwise_conv_0"]["w"].reshape(3, 2, 3, 2)
    pointwise = params["conv_0"]["w"].reshape(3, 2, 5)
    w = jnp.einsum("hwim,imo->hwio", depthwise, pointwise)
    whole = ops.conv(x, w, params["conv_0"]["b"], stride=2, padding="VALID", dilation=(1, 2))
    np.testing.assert_allclose(y, whole, rtol=1e-11, atol=1e-12)
    assert set(params["depthwise_conv_0"]) == {"w"}
    bare, _ = nn.separable_conv(5, 3, bias=False).init(KEY, x)
    assert nn.tree.count(bare) == 3 * 3 * 3 + 3 * 5
