"""LSUV: unit variance after every layer of every kind of model, orthogonal weights, and a pure function."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.layers import Layer
from jaxnn.layers._layer import observe

LINEAR = (nn.Dense, nn.Conv, nn.DepthwiseConv, nn.ConvTranspose)
MLP = nn.serial(nn.Dense(32), nn.tanh, nn.Dense(48), nn.relu, nn.Dense(5))
CNN = nn.serial(
    stem=nn.serial(nn.Conv(8, 3, bias=False), nn.BatchNorm(), nn.relu),
    body=nn.residual(nn.Conv(8, 3, groups=2), nn.relu, nn.DepthwiseConv(3)),
    up=nn.ConvTranspose(4, 4, stride=2),
    both=nn.serial(nn.parallel(nn.Conv(3, 1), nn.serial(nn.relu, nn.Conv(2, 3))), nn.concatenate),
    head=nn.serial(nn.Dropout(0.5), nn.flatten, nn.Dense(10)),
)
GROUPS = {"body/conv_0/w": 2, "body/depthwise_conv_0/w": 8}
MODELS = {"mlp": (MLP, (64, 20)), "cnn": (CNN, (16, 6, 6, 3)), "layer": (nn.Dense(7), (64, 20))}


def drawn(model, shape, seed=0):
    """Parameters, state, and inputs that are neither centred nor of variance 1."""
    x = 3 * jax.random.normal(jax.random.key(seed), shape) + 1
    params, state = model.init(jax.random.key(seed + 1), x)
    return params, state, x


def outputs(model, params, state, x, **settings):
    """What each dense layer and convolution puts out, by name."""
    with observe() as calls:
        model = model if model.children else nn.serial(only=model)
        if "only" in model.children:
            params, state = {"only": params}, {"only": state}
        model.apply(params, state, x, **settings)
    return {call.path: np.asarray(call.y, np.float64) for call in calls if isinstance(call.layer, LINEAR)}


@pytest.mark.parametrize(("model", "shape"), MODELS.values(), ids=MODELS)
def test_INIT_14_every_layer_puts_out_variance_1(model, shape):
    params, state, x = drawn(model, shape)
    before = outputs(model, params, state, x)
    after = outputs(model, nn.lsuv(model, params, state, nn.Data(x, None)), state, x)
    assert set(after) == set(before)
    assert len(after) == {"mlp": 3, "cnn": 7, "layer": 1}[next(k for k in MODELS if MODELS[k][0] is model)]
    for name, y in after.items():
        assert y.var() == pytest.approx(1, abs=1e-5), name
        assert before[name].var() != pytest.approx(1, abs=0.01), name


@pytest.mark.parametrize(("model", "shape"), MODELS.values(), ids=MODELS)
def test_weights_are_orthogonal_up_to_one_factor_and_all_else_stays(model, shape):
    params, state, x = drawn(model, shape)
    new = nn.lsuv(model, params, state, x)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new) == jax.tree.map(lambda a: (a.shape, a.dtype), params)
    old = nn.tree.named_leaves(params)
    for name, leaf in nn.tree.named_leaves(new).items():
        if not (name == "w" or name.endswith("/w")):
            np.testing.assert_array_equal(leaf, old[name], err_msg=name)
            continue
        w = np.asarray(leaf, np.float64)
        w = np.swapaxes(w, -1, -2) if name == "up/w" else w
        # Groups do not see each other: each by itself.
        for own in np.split(w, GROUPS.get(name, 1), axis=-1):
            own = own.reshape(-1, own.shape[-1])
            product = own.T @ own if own.shape[0] >= own.shape[1] else own @ own.T
            np.testing.assert_allclose(
                product, product[0, 0] * np.eye(len(product)), atol=1e-5 * product[0, 0], err_msg=name
            )


def test_of_orthogonal_weights_only_the_scale_changes(x64):
    model = nn.serial(nn.Dense(6, w_init=nn.initializers.orthogonal()), nn.tanh, nn.Dense(6))
    params, state, x = drawn(model, (64, 20))
    new = nn.lsuv(model, params, state, x)
    ratio = new["dense_0"]["w"] / params["dense_0"]["w"]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    y, _ = nn.Dense(6).apply(params["dense_0"], {}, x)
    np.testing.assert_allclose(ratio[0, 0], 1 / y.std(), rtol=1e-12)


def test_remat_is_gone_through_as_what_it_holds():
    params, state, x = drawn(MLP, (64, 20))
    rematted, bare = (jax.tree.leaves(nn.lsuv(model, params, state, x)) for model in (nn.remat(MLP), MLP))
    for ours, expected in zip(rematted, bare, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_repeat_is_gone_through_copy_by_copy():
    tower = nn.repeat(nn.serial(nn.Dense(20), nn.tanh), 5)
    params, state, x = drawn(tower, (64, 20))
    new = nn.lsuv(tower, params, state, x)
    for i in range(5):
        copy = jax.tree.map(lambda a, i=i: a[i], new["dense_0"])
        z, _ = nn.Dense(20).apply(copy, {}, x)
        assert float(z.var()) == pytest.approx(1, abs=1e-5)
        x = jnp.tanh(z)


def test_biases_are_scaled_with_weights_so_that_once_is_enough(x64):
    model = nn.Dense(7, b_init=nn.initializers.normal(2.0))
    params, state, x = drawn(model, (64, 20))
    new = nn.lsuv(model, params, state, x)
    assert float(model.apply(new, state, x)[0].var()) == pytest.approx(1, abs=1e-12)
    ratio = params["b"] / new["b"]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_in_training_mode_it_sees_what_training_sees(key):
    model = nn.serial(nn.Dense(32), nn.BatchNorm(), nn.relu, nn.Dropout(0.5), nn.Dense(8))
    params, state, x = drawn(model, (64, 20))
    state = {**state, "batch_norm_0": {"mean": jnp.full(32, 9.0), "var": jnp.full(32, 0.1)}}
    new = nn.lsuv(model, params, state, x, key=key, train=True)
    for name, y in outputs(model, new, state, x, key=key, train=True).items():
        assert y.var() == pytest.approx(1, abs=1e-5), name
    other = outputs(model, new, state, x)["dense_1"].var()
    assert other != pytest.approx(1, abs=0.1), "the two modes were meant to differ"


def test_compiled_and_mapped_over_draws_it_is_the_same():
    params, state, x = drawn(MLP, (64, 20))
    one = nn.lsuv(MLP, params, state, x)
    draws = jax.vmap(lambda key: MLP.init(key, x)[0])(jnp.stack([jax.random.key(1), jax.random.key(7)]))
    many = jax.jit(jax.vmap(nn.lsuv, (None, 0, None, None)), static_argnums=0)(MLP, draws, state, x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b[0], rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_bfloat16():
    params, state, x = drawn(MLP, (64, 20))
    half = lambda tree: jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)
    new = nn.lsuv(MLP, half(params), state, half(x))
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(jnp.bfloat16)}
    y = MLP.apply(new, state, half(x))[0].astype(jnp.float32)
    assert float(y.var()) == pytest.approx(1, abs=0.05)


def test_an_output_that_does_not_vary_is_refused_and_left_alone_in_a_compiled_function():
    model = nn.serial(first=nn.Dense(4), second=nn.Dense(3))
    params, state, x = drawn(model, (8, 5))
    with pytest.raises(ValueError, match=r"^expected an output that varies and is finite, .* deviation 0\.0") as caught:
        nn.lsuv(model, params, state, 0 * x)
    assert caught.value.__notes__ == ["  in first: Dense(4), input float32[8,5]"]
    with pytest.raises(ValueError, match="deviation nan"):
        nn.lsuv(model, params, state, x.at[0, 0].set(jnp.inf))
    new = jax.jit(nn.lsuv, static_argnums=0)(model, params, state, 0 * x)
    w = np.asarray(new["first"]["w"])
    np.testing.assert_allclose(w.T @ w, np.eye(4), atol=1e-6)


ALIKE = {
    "zeros": (nn.Dense(3, w_init=nn.initializers.zeros), (8, 5), "0.0"),
    "ones": (nn.Dense(3, w_init=nn.initializers.ones), (8, 5), "1.0"),
    "zeros of one unit": (nn.Dense(1, w_init=nn.initializers.zeros), (8, 5), "0.0"),
    "zeros of a convolution": (nn.Conv(4, 3, w_init=nn.initializers.zeros), (2, 5, 5, 3), "0.0"),
    "zeros at depth": (nn.DepthwiseConv(3, w_init=nn.initializers.zeros), (2, 5, 5, 3), "0.0"),
}


@pytest.mark.parametrize(("layer", "shape", "value"), ALIKE.values(), ids=ALIKE)
def test_weights_that_are_all_alike_have_no_orthonormal_factor_and_are_refused(layer, shape, value):
    """QR would make an identity of zeros, and noise of ones."""
    model = nn.serial(first=layer)
    params, state, x = drawn(model, shape)
    with pytest.raises(ValueError, match=r"^expected weights that were drawn at random, because .*; got") as caught:
        nn.lsuv(model, params, state, x)
    assert str(caught.value).endswith(f"; got weights that are all {value}")
    where, hint = caught.value.__notes__
    assert where.startswith(f"  in first: {layer!r}, input float32[")
    assert hint == "  hint: begin with w_init=jaxnn.initializers.orthogonal()"


def test_one_group_that_is_all_zeros_is_refused_too():
    model = nn.Conv(4, 3, groups=2)
    params, state, x = drawn(model, (2, 5, 5, 6))
    with pytest.raises(ValueError, match=r"; got weights that are all 0\.0"):
        nn.lsuv(model, {**params, "w": params["w"].at[..., 2:].set(0)}, state, x)


def test_zeros_that_cannot_be_seen_stay_zeros():
    """In a compiled function, and within a `repeat`."""
    model = nn.serial(nn.Dense(5), nn.Dense(3, w_init=nn.initializers.zeros))
    params, state, x = drawn(model, (8, 5))
    new = jax.jit(nn.lsuv, static_argnums=0)(model, params, state, x)
    assert (new["dense_1"]["w"] == 0).all()
    tower = nn.repeat(nn.Dense(5, w_init=nn.initializers.zeros), 2)
    params, state, x = drawn(tower, (8, 5))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(nn.lsuv(tower, params, state, x)))


def test_equal_weights_of_one_unit_are_a_direction_like_any_other():
    model = nn.Dense(1, w_init=nn.initializers.ones)
    params, state, x = drawn(model, (64, 5))
    new = nn.lsuv(model, params, state, x)
    np.testing.assert_allclose(new["w"], new["w"][0, 0] * np.ones((5, 1)), rtol=1e-6)
    assert float(model.apply(new, state, x)[0].var()) == pytest.approx(1, abs=1e-5)


@dataclass(frozen=True, repr=False)
class Twice(Layer):
    layer: Layer

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        return self.layer.apply(params, state, 2 * x, key=key, train=train)

    @property
    def children(self):
        return {"": self.layer}


def test_a_combinator_that_it_does_not_know_is_refused_if_there_is_something_to_scale_in_it():
    model = nn.serial(Twice(nn.Dense(3)))
    params, state, x = drawn(model, (8, 5))
    with pytest.raises(TypeError, match=r"^expected serial, parallel, residual or repeat, .*; got Twice\(Dense\(3\)\)"):
        nn.lsuv(model, params, state, x)
    model = nn.serial(Twice(nn.BatchNorm()), nn.Dense(3), lambda x: x - 1)
    params, state, x = drawn(model, (8, 5))
    assert float(model.apply(nn.lsuv(model, params, state, x), state, x)[0].var()) == pytest.approx(1, abs=1e-5)


def test_a_frozen_value_is_what_the_models_are(key):
    """The models above hash, so that a compiled `lsuv` may take one as a static argument."""
    assert hash(MLP) == hash(dataclasses.replace(MLP))


def test_INIT_14_activations_of_a_deep_network_that_no_fixed_scale_keeps(key):
    """gelu: twenty-five layers by recommend_init drift, by LSUV they do not."""
    model = nn.repeat(nn.serial(nn.Dense(64), jax.nn.gelu), 25)
    params, state, x = drawn(model, (64, 64))
    y, _ = model.apply(nn.lsuv(model, params, state, x), state, x)
    z = jax.random.normal(key, (10000,))
    assert float((y * y).mean()) == pytest.approx(float((jax.nn.gelu(z) ** 2).mean()), rel=0.35)
