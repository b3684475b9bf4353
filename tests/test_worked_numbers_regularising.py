"""Numbers of normalising and regularising worked by hand, named after the items of the scope that they belong to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

COLUMN = jnp.array([[1.0], [2.0], [3.0], [4.0]])
KEY = jax.random.key(0)


def trained(layer, x, params=None, key=None):
    """The output in training, and the new state."""
    drawn, state = layer.init(KEY, x)
    return layer.apply(params or drawn, state, x, key=key, train=True)


def test_NEU_3_a_bias_is_the_weight_of_a_constant_input_of_1(x64):
    random = np.random.default_rng(0)
    x, w, b = (jnp.asarray(random.normal(size=shape)) for shape in ((5, 3), (3, 4), 4))
    y, _ = nn.Dense(4).apply({"w": w, "b": b}, {}, x)
    with_ones = jnp.concatenate([x, jnp.ones((5, 1))], axis=1)
    rows = jnp.concatenate([w, b[None]])
    np.testing.assert_allclose(y, nn.Dense(4, bias=False).apply({"w": rows}, {}, with_ones)[0], rtol=1e-14)
    np.testing.assert_allclose(y, nn.Bias().apply({"b": b}, {}, x @ w)[0], rtol=1e-14)


def test_NORM_3_batch_norm_of_1_2_3_4():
    y, state = trained(nn.BatchNorm(epsilon=0.0, decay=0.0), COLUMN)
    np.testing.assert_allclose(y[:, 0], [-1.34164, -0.44721, 0.44721, 1.34164], atol=1e-5)
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=1e-6)
    np.testing.assert_allclose([state["mean"][0], state["var"][0]], [2.5, 1.1180339887**2], rtol=1e-6)


def test_NORM_3_batch_norm_has_two_parameters_and_two_statistics_a_feature():
    params, state = nn.BatchNorm().init(KEY, jnp.zeros((2, 5, 5, 7)))
    assert nn.tree.count(params) == nn.tree.count(state) == 2 * 7
    assert {leaf.shape for leaf in jax.tree.leaves((params, state))} == {(7,)}


def test_NORM_3_batch_norm_in_inference_takes_each_example_by_itself():
    params, _ = nn.BatchNorm().init(KEY, COLUMN)
    state = {"mean": jnp.array([2.0]), "var": jnp.array([4.0])}
    whole, same = nn.BatchNorm(epsilon=0.0).apply(params, state, COLUMN)
    assert same is state
    np.testing.assert_allclose(whole[:, 0], [-0.5, 0, 0.5, 1], rtol=1e-6)
    np.testing.assert_array_equal(nn.BatchNorm(epsilon=0.0).apply(params, state, COLUMN[2:3])[0], whole[2:3])


@pytest.mark.parametrize("layer", [nn.BatchNorm(epsilon=1e-4), nn.LayerNorm(epsilon=1e-4)], ids=repr)
def test_E_52_the_divisor_is_the_root_of_variance_and_epsilon(layer):
    """Not the variance, and not the deviation alone, which is 0 where all are equal."""
    x = 0.02 * COLUMN if isinstance(layer, nn.BatchNorm) else 0.02 * COLUMN.T
    y, _ = trained(layer, x)
    np.testing.assert_allclose(y.reshape(-1)[3], 0.03 / np.sqrt(1.25 * 0.02**2 + 1e-4), rtol=1e-5)
    y, _ = trained(layer, 0 * x + 5)
    np.testing.assert_array_equal(y, 0)


def test_NORM_4_scale_and_offset_can_undo_batch_norm():
    """With gamma = sqrt(var + epsilon) and beta = mean it is the identity."""
    layer = nn.BatchNorm(epsilon=1e-3)
    params = {"scale": jnp.sqrt(jnp.array([1.25 + 1e-3])), "offset": jnp.array([2.5])}
    np.testing.assert_allclose(trained(layer, COLUMN, params)[0], COLUMN, rtol=1e-6)


def test_NORM_5_batch_norm_adds_noise_that_small_batches_make_large():
    """What becomes of one example depends on those that it is with, the more the fewer they are."""
    random = np.random.default_rng(0)

    def deviation(n):
        companions = jnp.asarray(random.normal(size=(200, n - 1, 1)), jnp.float32)
        batches = jnp.concatenate([jnp.ones((200, 1, 1)), companions], axis=1)
        return float(jax.vmap(lambda x: trained(nn.BatchNorm(), x)[0][0, 0])(batches).std())

    small, middle, large = map(deviation, (8, 32, 128))
    assert small > 1.5 * middle > 1.5**2 * large > 0


def test_NORM_6_layer_norm_needs_no_other_rows():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8)), jnp.float32)
    y, _ = trained(nn.LayerNorm(), x)
    np.testing.assert_array_equal(trained(nn.LayerNorm(), x.at[1:].multiply(100))[0][0], y[0])
    alone, _ = trained(nn.LayerNorm(), x[:1])
    np.testing.assert_allclose(alone, y[:1], rtol=1e-6)
    np.testing.assert_allclose([alone.mean(), alone.var()], [0, 1], atol=1e-4)


def test_NORM_7_instance_norm_centres_each_feature_of_each_example():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3, 4)) * [1, 2, 3, 4] + [1, 10, 100, 1000], jnp.float32)
    y, _ = trained(nn.InstanceNorm(), x)
    np.testing.assert_allclose(y.mean((1, 2)), np.zeros((2, 4)), atol=1e-5)
    np.testing.assert_allclose(y.var((1, 2)), np.ones((2, 4)), atol=1e-4)


def test_E_54_instance_norm_does_not_pool_features():
    """Pooled over features it would be group norm with one group, in which a feature keeps a mean of its own."""
    x = jnp.asarray(np.random.default_rng(0).normal([1, 10, 100, 1000], size=(2, 5, 3, 4)), jnp.float32)
    pooled, _ = trained(nn.GroupNorm(1), x)
    assert abs(pooled.mean((1, 2))).min() > 0.1
    y, _ = trained(nn.InstanceNorm(), x)
    scaled, _ = trained(nn.InstanceNorm(), x.at[..., 3].multiply(7))
    np.testing.assert_array_equal(scaled[..., :3], y[..., :3])


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_REG_4_dropout(p):
    x = jnp.ones((200, 200))
    y, _ = trained(nn.Dropout(p), x, key=KEY)
    np.testing.assert_allclose((y == 0).mean(), p, atol=0.01)  # five deviations
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)
    np.testing.assert_allclose(y.max(), 1 / (1 - p), rtol=1e-6)
    np.testing.assert_array_equal(nn.Dropout(p).apply({}, {}, x)[0], x)
    np.testing.assert_array_equal(trained(nn.Dropout(0.0), x, key=KEY)[0], x)
    with pytest.raises(ValueError, match="expected a key"):
        trained(nn.Dropout(p), x)


def test_REG_5_drop_connect_drops_weights_and_not_activations():
    x = jnp.ones((3, 50))
    layer = nn.drop_connect(nn.Dense(40), 0.5)
    params, state = layer.init(KEY, x)
    params = {"w": 1 + jnp.arange(2000.0).reshape(50, 40), "b": jnp.full(40, 0.25)}
    rows, _ = layer.apply(params, state, jnp.eye(50), key=KEY, train=True)
    m = (rows - params["b"][None]) / params["w"]  # what each weight was multiplied by
    np.testing.assert_allclose(np.unique(m.round(4)), [0, 2])
    np.testing.assert_allclose((m == 0).mean(), 0.5, atol=0.05)
    # No unit is left out whole, neither before nor after, as one of an activation would be.
    assert 0 < (m == 0).mean(0).min() < (m == 0).mean(0).max() < 1
    assert 0 < (m == 0).mean(1).min() < (m == 0).mean(1).max() < 1
    y, _ = layer.apply(params, state, x, key=KEY, train=True)
    np.testing.assert_array_equal(y[0], y[2])
    np.testing.assert_array_equal(layer.apply(params, state, x)[0], nn.Dense(40).apply(params, {}, x)[0])


def test_E_58_one_network_is_trained_and_its_outputs_need_no_rescaling():
    """The mean over masks of a linear model is its output in inference, with the same parameters."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    model = nn.serial(nn.Dense(64), nn.Dropout(0.5), nn.drop_connect(nn.Dense(1), 0.2))
    params, state = model.init(KEY, x)
    thinned = jax.vmap(lambda key: model.apply(params, state, x, key=key, train=True)[0])(jax.random.split(KEY, 4000))
    whole, _ = model.apply(params, state, x)
    error = thinned.std(0) / np.sqrt(4000)
    assert (abs(thinned.mean(0) - whole) < 5 * error).all()
    assert (thinned.std(0) > 0.1).all()
