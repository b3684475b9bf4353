"""Layers that draw in training: what falls together, what is drawn apart, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

KEY = jax.random.key(0)
NOISE = [nn.Dropout(0.5), nn.SpatialDropout(0.5), nn.DropPath(0.5), nn.GaussianNoise(0.5)]
noise = pytest.mark.parametrize("layer", NOISE, ids=repr)


def drawn(layer, x, key=KEY):
    return layer.apply({}, {}, x, key=key, train=True)[0]


@pytest.mark.parametrize("shape", [(40, 7, 9, 30), (40, 63, 30)], ids=["images", "sequences"])
def test_spatial_dropout_drops_whole_feature_maps(shape):
    y = drawn(nn.SpatialDropout(0.4), jnp.ones(shape)).reshape(40, 63, 30)
    np.testing.assert_array_equal(y, jnp.broadcast_to(y[:, :1], y.shape))
    of_maps = np.asarray(y[:, 0])
    np.testing.assert_allclose(np.unique(of_maps), [0, 1 / 0.6], rtol=1e-6)
    np.testing.assert_allclose((of_maps == 0).mean(), 0.4, atol=0.07)  # five deviations
    assert (of_maps.min(0) < of_maps.max(0)).all()  # each example has a mask of its own
    assert (of_maps.min(1) < of_maps.max(1)).all()  # and each feature


def test_spatial_dropout_without_positions_is_dropout():
    x = jnp.ones((8, 16))
    np.testing.assert_array_equal(drawn(nn.SpatialDropout(0.5), x), drawn(nn.Dropout(0.5), x))


def test_drop_path_drops_whole_examples():
    y = np.asarray(drawn(nn.DropPath(0.25), jnp.ones((2000, 3, 2))))
    np.testing.assert_array_equal(y.min((1, 2)), y.max((1, 2)))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_allclose((y == 0).mean(), 0.25, atol=0.05)


def test_stochastic_depth_goes_round_a_branch_example_by_example():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 4)), jnp.float32)
    block = nn.stochastic_depth(nn.Dense(4), nn.tanh, rate=0.3)
    params, state = block.init(KEY, x)
    branch, _ = nn.serial(nn.Dense(4), nn.tanh).apply(params, state, x)
    np.testing.assert_array_equal(block.apply(params, state, x)[0], x + branch)
    y, _ = block.apply(params, state, x, key=KEY, train=True)
    round_it = np.asarray((y == x).all(1))
    assert 10 < round_it.sum() < 30
    kept = np.asarray(x + branch / 0.7)
    np.testing.assert_allclose(np.asarray(y)[~round_it], kept[~round_it], rtol=1e-5)
    always = nn.stochastic_depth(nn.Dense(4), nn.tanh, rate=1.0)
    np.testing.assert_array_equal(always.apply(params, state, x, key=KEY, train=True)[0], x)


def test_stochastic_depth_takes_names_sequences_and_a_rate_that_is_swept():
    block = nn.stochastic_depth(nn.each_step(nn.Dense(4)), rate=0.5, act=nn.each_step(nn.tanh))
    words = nn.Sequences(jnp.ones((3, 5, 4)), jnp.array([5, 2, 0]))
    params, state = block.init(KEY, words)
    y, _ = block.apply(params, state, words, key=KEY, train=True)
    np.testing.assert_array_equal(y.lengths, words.lengths)
    assert set(params) == {"each_step_0", "act", "drop_path_0"}

    x = jnp.ones((500, 2))
    params, state = nn.stochastic_depth(nn.Dense(2), rate=0.5).init(KEY, x)

    def gone_round(rate):
        y, _ = nn.stochastic_depth(nn.Dense(2), rate=rate).apply(params, state, x, key=KEY, train=True)
        return (y == x).all(1).mean()

    np.testing.assert_allclose(jax.jit(jax.vmap(gone_round))(jnp.array([0.0, 0.5, 1.0])), [0, 0.5, 1], atol=0.1)


def test_gaussian_noise_has_mean_0_and_its_deviation():
    y = drawn(nn.GaussianNoise(0.3), jnp.full((200, 200), 2.0))
    np.testing.assert_allclose([y.mean(), y.std()], [2, 0.3], atol=0.01)
    sweep = jax.jit(jax.vmap(lambda d: drawn(nn.GaussianNoise(d), jnp.zeros(1000)).std()))(jnp.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(sweep, [0, 1, 2], atol=0.2)


def test_a_deviation_has_a_gradient_on_both_roads(x64):
    """So that noise can be learned: dy/d deviation is the noise."""
    x, dy = jnp.ones((3, 4)), jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    op = nn.ops.gaussian_noise
    y, residuals = op.fwd(x, jnp.array(0.5), KEY)
    dx, d_deviation, d_key = op.bwd(residuals, dy)
    np.testing.assert_array_equal(dx, dy)
    np.testing.assert_allclose(d_deviation, (dy * (y - x) / 0.5).sum(), rtol=1e-12)
    assert d_key is None


@noise
def test_noise_is_none_in_inference_and_needs_a_key_in_training(layer):
    x = jnp.ones((2, 3, 4))
    for method in (layer.apply, layer.fwd):
        np.testing.assert_array_equal(jax.tree.leaves(method({}, {}, x))[0], x)
        with pytest.raises(ValueError, match=f"expected a key, because {type(layer).__name__} draws at random .* None"):
            method({}, {}, x, train=True)


@noise
def test_two_of_a_kind_draw_apart_and_each_call_as_its_key_says(layer):
    model = nn.serial(nn.parallel(layer, layer))
    (a, b), _ = model.apply({}, {}, jnp.ones((64, 3, 4)), key=KEY, train=True)
    assert (a != b).any()
    x = jnp.ones((64, 3, 4))
    np.testing.assert_array_equal(drawn(layer, x), drawn(layer, x))
    assert (drawn(layer, x) != drawn(layer, x, jax.random.key(1))).any()


@noise
def test_integers_get_no_noise(layer, unannotated):
    with pytest.raises(TypeError, match=r"expected floating x, .*; got int32: cast it first"):
        drawn(layer, jnp.ones((2, 3), jnp.int32))


@pytest.mark.parametrize("kind", [nn.SpatialDropout, nn.DropPath, lambda r: nn.stochastic_depth(nn.relu, rate=r)])
@pytest.mark.parametrize("rate", [-0.1, 1.5, np.float32(2), np.nan])
def test_a_rate_is_a_probability(kind, rate):
    with pytest.raises(ValueError, match="expected a rate from 0 to 1, because it is the probability of dropping"):
        kind(rate)


@pytest.mark.parametrize("deviation", [-1.0, np.nan])
def test_a_deviation_is_not_negative(deviation):
    for call in (nn.GaussianNoise, lambda d: nn.ops.gaussian_noise(jnp.ones(2), d, KEY)):
        with pytest.raises(ValueError, match="expected a deviation of at least 0, because it is the root of a vari"):
            call(deviation)


@pytest.mark.parametrize("shared", [2, -3, (0, 5)])
def test_a_mask_is_shared_along_axes_that_there_are(shared):
    with pytest.raises(ValueError, match="expected shared axes of x, because the mask is the same along them; x has 2"):
        nn.ops.dropout(jnp.ones((2, 3)), 0.5, KEY, shared=shared)


def test_a_shared_mask_is_remembered_once():
    """One byte a feature map, and not one an element."""
    _, (mask, _) = nn.ops.dropout.fwd(jnp.ones((8, 28, 28, 16)), 0.5, KEY, shared=(1, 2))
    assert mask.nbytes == 8 * 16
