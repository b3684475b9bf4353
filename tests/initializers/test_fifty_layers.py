"""What becomes of the variance of activations in fifty layers, with the recommended weights and with others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.initializers import glorot_normal, he_normal, normal, ones, recommend_init
from jaxnn.ops import (
    elu,
    gelu,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    identity,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softplus,
    squareplus,
    tanh,
)

pytestmark = pytest.mark.usefixtures("optimised")

LAYERS, WIDTH, EXAMPLES, SEEDS = 50, 128, 32, 24


def forward(init, activation, key, *, depth=LAYERS, width=WIDTH, start=1.0):
    """Mean square and variance of the activations after each layer, over examples and units, for one draw."""
    x_key, w_key = jax.random.split(key)
    x = start * jax.random.normal(x_key, (EXAMPLES, width))

    def layer(x, key):
        x = activation(x @ init(key, (width, width), x.dtype))
        return x, ((x * x).mean(), x.var())

    return jax.lax.scan(layer, x, jax.random.split(w_key, depth))[1]


@functools.partial(jax.jit, static_argnames=("init", "activation", "depth", "width", "seeds"))
def averages(init, activation, depth=LAYERS, width=WIDTH, start=1.0, seeds=SEEDS):
    """The same, averaged over draws: one draw of relu wanders by a factor of e^sqrt(5 depth / width)."""
    one = functools.partial(forward, init, activation, depth=depth, width=width, start=start)
    return jax.tree.map(lambda a: a.mean(axis=0), jax.lax.map(one, jax.random.split(jax.random.key(0), seeds)))


RECTIFIERS = [identity, relu, leaky_relu.bind(slope=0.2), relu6, elu, selu, softplus, squareplus, log_sigmoid]
SATURATING = [tanh, hard_tanh, sigmoid, hard_sigmoid, soft_sign]


@pytest.mark.parametrize("activation", [*RECTIFIERS, *SATURATING], ids=repr)
def test_INIT_15_recommended_weights_keep_the_variance_within_a_factor_of_2_for_50_layers(activation):
    square, variance = averages(recommend_init(activation), activation)
    for moment in (square, variance):
        assert 0.5 < (moment / moment[0]).min() <= (moment / moment[0]).max() < 2, moment


def test_INIT_15_he_keeps_the_second_moment_of_20_relu_layers_of_512_and_small_weights_do_not():
    settings = {"activation": relu, "depth": 20, "width": 512, "seeds": 4}
    kept, _ = averages(he_normal(), **settings)
    assert 0.5 < kept.min() <= kept.max() < 2
    lost, _ = averages(normal(0.01), **settings)
    # Each layer takes a factor of 512 0.01^2 / 2 = 0.0256.
    np.testing.assert_allclose(lost[1:8] / lost[:7], 512 * 1e-4 / 2, rtol=0.1)
    assert lost[19] < 1e-30


WRONG = {
    # Per layer in the limit of great width; of these the weights halve, multiply by 64, and so on.
    "glorot_for_relu": (glorot_normal(), relu, 0.5),
    "small_for_relu": (normal(0.01), relu, WIDTH * 1e-4 / 2),
    "small_for_tanh": (normal(0.01), tanh, WIDTH * 1e-4),
    "ones_for_relu": (ones, relu, WIDTH**2),
}


@pytest.mark.parametrize(("init", "activation", "factor"), WRONG.values(), ids=WRONG)
def test_INIT_16_other_weights_let_activations_vanish_or_explode(init, activation, factor):
    square, _ = averages(init, activation, depth=8, start=1e-2)
    np.testing.assert_allclose((square[-1] / square[1]) ** (1 / 6), factor, rtol=0.15)


@pytest.mark.parametrize("init", [he_normal(), glorot_normal()])
def test_INIT_16_tanh_without_its_gain_fades(init):
    """Of glorot_normal by the 50th layer to under a twentieth; he_normal, by chance near 5/3, holds it lower."""
    _, variance = averages(init, tanh)
    _, recommended = averages(recommend_init(tanh), tanh)
    assert variance[-1] < (0.8 if init == he_normal() else 0.05) * recommended[-1]


@pytest.mark.parametrize("activation", [gelu, silu, hard_silu, mish], ids=repr)
def test_no_scale_of_weights_keeps_what_is_linear_far_out_and_weak_near_0(activation):
    """As `recommend_init` says: a little more than the variance that is kept grows, and a little less fades."""
    initializer = recommend_init(activation)
    kept = 1 / initializer.scale
    more, _ = averages(initializer, activation, start=2 * kept**0.5, seeds=8)
    less, _ = averages(initializer, activation, start=0.5 * kept**0.5, seeds=8)
    assert more[-1] > 4 * kept
    assert less[-1] < kept / 4


def test_INIT_1_and_E_47_with_zero_weights_hidden_layers_learn_nothing(key):
    x, y = jax.random.normal(key, (16, 4)), jnp.ones((16, 1))
    for activation in (tanh, relu):
        dense = functools.partial(nn.Dense, w_init=nn.initializers.zeros)
        model = nn.serial(dense(8), activation, dense(8), activation, dense(1))
        params, state = model.init(key, x)
        (prediction, _), residuals = model.fwd(params, state, x)
        grads = model.bwd(residuals, prediction - y)[0]
        assert all((d == 0).all() for name in ("dense_0", "dense_1") for d in grads[name].values())
        assert (grads["dense_2"]["b"] != 0).all()
        assert (grads["dense_2"]["w"] == 0).all()


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_INIT_2_units_that_start_alike_stay_alike(value, key):
    x, y = jax.random.normal(key, (16, 4)), jax.random.normal(jax.random.key(1), (16, 1))
    dense = functools.partial(nn.Dense, w_init=nn.initializers.constant(value))
    trainer = nn.trainer(nn.serial(dense(8), tanh, dense(1)), nn.losses.mse, nn.sgd(0.1))
    ts, _ = nn.fit(trainer, trainer.init(key, x), nn.Data(x, y), epochs=5, batch_size=8)
    w = np.asarray(ts.params["dense_0"]["w"])
    assert np.abs(w - value).max() > 1e-3, "nothing was learned"
    np.testing.assert_allclose(w, np.broadcast_to(w[:, :1], w.shape), rtol=1e-5, atol=1e-6)


CONVOLUTIONS = {
    "conv": nn.Conv(48, 3),
    "conv_1d": nn.Conv(64, 5, dilation=2),
    "grouped": nn.Conv(48, 3, groups=4),
    "strided": nn.Conv(48, 3, stride=2),
    "depthwise": nn.DepthwiseConv(3, multiplier=2),
    "transposed": nn.ConvTranspose(48, 3),
    "transposed_grouped": nn.ConvTranspose(48, 3, groups=4),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_INIT_17_variance_passes_through_every_kind_of_convolution(name):
    """With lecun_normal, the default; in circles, so that no edge takes any away, where that can be asked for."""
    layer = CONVOLUTIONS[name]
    x = jax.random.normal(jax.random.key(1), (8, 64, 24) if name == "conv_1d" else (4, 16, 16, 24))
    layer = type(layer)(**{**vars(layer), "padding": "VALID"})

    @jax.jit
    @jax.vmap
    def variance(key):
        y, _ = layer.apply(*layer.init(key, x), x)
        inner = y[:, 2:-2, 2:-2] if "transposed" in name else y  # whose edges are reached by fewer taps
        return inner.var()

    assert float(variance(jax.random.split(jax.random.key(0), 16)).mean()) == pytest.approx(1, rel=0.05)


def test_INIT_17_a_transposed_stride_leaves_the_variance_of_so_many_taps_fewer():
    layer, x = nn.ConvTranspose(48, 4, stride=2), jax.random.normal(jax.random.key(1), (4, 8, 8, 24))
    variance = jax.jit(jax.vmap(lambda key: layer.apply(*layer.init(key, x), x)[0][:, 2:-2, 2:-2].var()))
    assert float(variance(jax.random.split(jax.random.key(0), 16)).mean()) == pytest.approx(1 / 4, rel=0.05)


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (nn.Conv(48, 3), 9 * 24, 9 * 48),
        (nn.Conv(48, 3, groups=4), 9 * 6, 9 * 12),
        (nn.DepthwiseConv(3, multiplier=2), 9, 9 * 2),
        (nn.ConvTranspose(48, 3, groups=4), 9 * 6, 9 * 12),
    ],
    ids=["conv", "grouped", "depthwise", "transposed"],
)
def test_INIT_17_the_fans_of_groups_are_their_own(layer, fan_in, fan_out):
    x = jax.ShapeDtypeStruct((1, 8, 8, 24), jnp.float32)
    for mode, n in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
        init = nn.initializers.variance_scaling(1.0, mode, "normal")
        drawn = type(layer)(**{**vars(layer), "w_init": init})
        w = jax.vmap(lambda key, drawn=drawn: drawn.init(key, x)[0]["w"])(jax.random.split(jax.random.key(0), 20))
        assert float(w.var()) == pytest.approx(1 / n, rel=0.06)
