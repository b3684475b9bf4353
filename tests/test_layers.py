"""Layers as people hold them wrong: what is refused, where, and with what to do instead; and freezing."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.layers import Layer
from jaxnn.ops import Op

X = jnp.ones((2, 4))


def test_wrong_width_names_the_layer_expected_got_and_why():
    model = nn.serial(encoder=nn.serial(nn.Dense(64), nn.relu), head=nn.Dense(10))
    params, state = model.init(jax.random.key(0), jnp.zeros((32, 784)))
    with pytest.raises(nn.ShapeError) as caught:
        model.apply(params, state, jnp.zeros((32, 28, 28)))
    assert [str(caught.value), *(note for note in caught.value.__notes__ if note.startswith("  "))] == [
        "expected x of shape (..., 784), because w is (784, 64); got (32, 28, 28)",
        "  in dense_0: Dense(64), input float32[32,28,28]",
        "  in encoder: serial(Dense(64), relu), input float32[32,28,28]",
        "  hint: flatten first: serial(flatten, Dense(64), ...)",
    ]


def test_dropout_in_training_states_the_required_call():
    model = nn.serial(nn.Dense(4), nn.Dropout(0.5))
    params, state = model.init(jax.random.key(0), X)
    for method in (model.apply, model.fwd):
        with pytest.raises(ValueError, match=r"apply\(params, state, x, key=key, train=True\)") as caught:
            method(params, state, X, train=True)
        assert any("in dropout_0: Dropout(0.5)" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.float32(2)])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match="expected a rate from 0 to 1"):
        nn.Dropout(rate)
    with pytest.raises(ValueError, match="expected a rate from 0 to 1"):
        nn.ops.dropout(X, rate, jax.random.key(0))


def test_a_rate_may_be_a_tracer():
    drop = lambda rate: nn.Dropout(rate).apply({}, {}, jnp.ones(1000), key=jax.random.key(0), train=True)[0]
    kept = (jax.jit(jax.vmap(drop))(jnp.array([0.0, 0.5, 1.0])) > 0).mean(1)
    np.testing.assert_allclose(kept, [1, 0.5, 0], atol=0.05)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm()], ids=repr)
def test_integers_are_not_dropped_or_normalised(layer, unannotated):
    x = jnp.ones((4, 3), jnp.uint8)
    params, state = layer.init(jax.random.key(0), jnp.ones((4, 3)))
    with pytest.raises(TypeError, match=r"expected floating x, .*; got uint8: cast it first"):
        layer.apply(params, state, x, key=jax.random.key(0), train=True)


PARAMS = {
    "no bias wanted": (nn.Dense(3, bias=False), {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}, "w, .* got w, b"),
    "bias missing": (nn.Dense(3), {"w": jnp.ones((4, 3))}, "w, b, .* got w"),
    "misspelt": (nn.Dense(3), {"w": jnp.ones((4, 3)), "bias": jnp.ones(3)}, "w, b, .* got w, bias"),
    "scale misspelt": (nn.BatchNorm(), {"gamma": jnp.ones(4), "offset": jnp.ones(4)}, "scale, offset, .* got gamma"),
}


@pytest.mark.parametrize(("layer", "params", "message"), PARAMS.values(), ids=PARAMS)
def test_parameters_of_other_names_are_refused(layer, params, message):
    state = {"mean": jnp.zeros(4), "var": jnp.ones(4)} if isinstance(layer, nn.BatchNorm) else {}
    with pytest.raises(ValueError, match=f"expected parameters {message}"):
        layer.apply(params, state, X)


def test_settings_are_keywords():
    """An activation as second argument, as in Keras, must not be taken for a bias."""
    with pytest.raises(TypeError, match="positional argument"):
        nn.Dense(8, nn.relu)


def test_a_class_is_no_layer(unannotated):
    with pytest.raises(TypeError, match=r"got the class BatchNorm: write BatchNorm\(\.\.\.\)"):
        nn.serial(nn.Dense(3), nn.BatchNorm)
    with pytest.raises(TypeError, match="expected a layer, an op or a function of one array; got 3"):
        nn.serial(3)


def test_one_name_for_two_layers_is_refused():
    with pytest.raises(ValueError, match="expected one layer a name; relu_0 would name two"):
        nn.serial(nn.relu, relu_0=nn.tanh)


@pytest.mark.parametrize("combinator", [nn.residual, lambda layer: nn.repeat(layer, 2)], ids=["residual", "repeat"])
def test_a_block_that_changes_the_shape_is_refused_at_init(combinator):
    with pytest.raises(nn.ShapeError, match=r"2,? ?4|float32\[2,4\]"):
        combinator(nn.Dense(3)).init(jax.random.key(0), X)


@pytest.mark.parametrize("n", [0, -1])
def test_a_tower_has_a_block(n):
    with pytest.raises(ValueError, match=f"expected n of at least 1, .* got {n}"):
        nn.repeat(nn.relu, n)


@pytest.mark.parametrize("methods", [("fwd",), ("bwd",), ("apply", "fwd"), ("apply", "bwd"), ()])
def test_a_layer_defines_apply_or_both_of_the_pair(methods):
    with pytest.raises(TypeError, match="expected Half to define apply, or fwd and bwd, or all three"):
        type("Half", (Layer,), {name: lambda self: None for name in methods})


def test_a_layer_returns_its_state_too():
    @dataclass(frozen=True)
    class Forgetful(Layer):
        def init(self, key, x):
            return {}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            return x

    with pytest.raises(TypeError, match="expected apply to return a pair") as caught:
        nn.serial(Forgetful()).apply({}, {}, X)
    assert any("in forgetful_0" in note for note in caught.value.__notes__)


def test_arrays_of_an_op_are_positional():
    with pytest.raises(TypeError, match=r"expected the arrays of linear by position, .*; got b as an array"):
        nn.ops.linear(X, jnp.ones((4, 3)), b=jnp.ones(3))


def test_a_backward_returns_a_tuple():
    broken = Op(lambda x: x)
    broken.defvjp(lambda x: (x, ()), lambda residuals, dy: dy)
    with pytest.raises(TypeError, match="to return a tuple, because it has one cotangent for each array"):
        broken.bwd((), X)


def test_plain_of_an_op_of_ops_is_plain_throughout():
    inner = Op(lambda x: x * x)
    inner.defvjp(lambda x: (x * x, x), lambda x, dy: (14 * x * dy,), install=True)
    outer = Op(lambda x: inner(x) + 1)
    assert jax.grad(outer)(3.0) == 42.0
    assert jax.grad(outer.plain)(3.0) == 6.0


IDS = jnp.array([[0, 1, 2], [2, 1, 0]])


def half(v):
    return v * 0.5


def as_ids(v):
    return v.sum(-1).astype(jnp.int32)


OF_IDS = {
    "parallel": (nn.parallel(nn.Embed(3, 2), nn.serial(nn.Embed(3, 2), nn.tanh)), nn.add),
    "residual": (nn.residual(nn.Embed(3, 3), as_ids), nn.Embed(60, 2)),
}


@pytest.mark.parametrize("model", [nn.serial(*start, nn.flatten, nn.Dense(2)) for start in OF_IDS.values()], ids=OF_IDS)
def test_integers_pass_through_combinators_on_both_roads(model):
    params, state = model.init(jax.random.key(0), IDS)
    batch = nn.Data(IDS, jnp.array([0, 1]))
    a, b = (road(model, nn.losses.cross_entropy)(params, {}, state, batch) for road in (nn.by_hand, nn.by_autodiff))
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_by_hand_have_the_dtype_of_the_parameters(loose):
    """bfloat16 parameters, float32 data: what mixed precision stands on."""
    params = {"w": jnp.ones((4, 2), jnp.bfloat16), "b": jnp.zeros(2, jnp.bfloat16)}
    batch = nn.Data(X, jnp.array([0, 1]))
    for road in (nn.by_hand, nn.by_autodiff):
        grads = road(nn.Dense(2), nn.losses.cross_entropy)(params, {}, {}, batch)[2]
        assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(
    "inner", [nn.BatchNorm(scale=False, offset=False), nn.serial(nn.BatchNorm(scale=False, offset=False))]
)
def test_a_bare_batch_norm_in_a_frozen_block_rests(inner):
    model = nn.serial(block=nn.serial(nn.Dense(4), norm=inner), head=nn.Dense(2))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), freeze="block/.*")
    x = jax.random.normal(jax.random.key(1), (8, 3))
    ts = trainer.init(jax.random.key(0), x)
    after, _ = trainer.step(ts, nn.Data(x, jnp.zeros(8, jnp.int32)))
    chex.assert_trees_all_equal(after.state, ts.state)
    free = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1))
    moved, _ = free.step(free.init(jax.random.key(0), x), nn.Data(x, jnp.zeros(8, jnp.int32)))
    assert jax.tree.leaves(moved.state)[0].any()


def test_batch_norm_in_bfloat16_centres_its_gradient():
    """Sums over the batch are taken in float32; in bfloat16 the mean of dx would be 1e-2 rather than 0."""
    random = np.random.default_rng(0)
    x, dy = (jnp.asarray(random.normal(size=(256, 4)) + 1, jnp.bfloat16) for _ in range(2))
    _, residuals = nn.ops.batch_norm.fwd(x, None, None)
    dx, _, _ = nn.ops.batch_norm.bwd(residuals, (dy, None, None))
    assert abs(dx.astype(jnp.float32).mean(0)).max() < 1e-3


def test_relu_shows_nan():
    assert jnp.isnan(nn.relu(jnp.array([jnp.nan])))[0]
    assert jnp.isnan(nn.relu.fwd(jnp.array([jnp.nan]))[0])[0]


def test_relu_has_slope_zero_at_zero():
    x = jnp.zeros(3)
    np.testing.assert_array_equal(jax.grad(lambda x: nn.relu(x).sum())(x), x)
    np.testing.assert_array_equal(nn.relu.bwd(nn.relu.fwd(x)[1], jnp.ones(3))[0], x)


@pytest.mark.parametrize("ids", [[-1], [3]])
def test_ids_out_of_range_are_refused_or_nan(ids):
    table = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"expected ids from 0 to 2, because the table is \(3, 2\)"):
        nn.ops.embed(jnp.array(ids), table)
    assert jnp.isnan(jax.jit(nn.ops.embed)(jnp.array(ids), table)).all()
    d_table = jax.jit(lambda ids: nn.ops.embed.bwd(nn.ops.embed.fwd(ids, table)[1], jnp.ones((1, 2)))[1])(
        jnp.array(ids)
    )
    assert not d_table.any()


def test_running_statistics_move_towards_the_batch():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (512, 1))
    layer = nn.BatchNorm(decay=0.5)
    params, state = layer.init(jax.random.key(0), x)
    for _ in range(30):
        y, state = layer.apply(params, state, x, train=True)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-3)
    np.testing.assert_allclose(state["mean"], x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state["var"], x.var(0), rtol=1e-5)
    np.testing.assert_allclose(layer.apply(params, state, x)[0], y, atol=1e-4)


def test_an_op_layer_takes_its_settings_from_fields_and_needs_init_only_for_parameters(key):
    @dataclass(frozen=True, repr=False)
    class Softmax(nn.layers.OpLayer):
        axis: int = -1
        unused: int = 3
        op: ClassVar = nn.softmax

    x = jnp.arange(6.0).reshape(2, 3)
    assert Softmax(0).settings == {"axis": 0}
    assert Softmax().init(key, x) == ({}, {})
    np.testing.assert_array_equal(Softmax(0).apply({}, {}, x)[0], nn.softmax(x, axis=0))

    @dataclass(frozen=True, repr=False)
    class Linear(nn.layers.OpLayer):
        op: ClassVar = nn.ops.linear
        arrays: ClassVar = ("x", "w", "b")

    with pytest.raises(TypeError, match="expected Linear to define init, because it has the parameters w, b; got none"):
        Linear().init(key, x)


@pytest.mark.parametrize("layer", [nn.Dense(4), nn.BatchNorm(), nn.flatten, nn.MaxPool(2)], ids=repr)
def test_what_knows_arrays_only_is_told_how_to_take_sequences(layer, unannotated):
    model, words = nn.serial(layer), nn.Sequences(jnp.ones((2, 5, 4)), jnp.array([5, 2]))
    params, state = model.init(jax.random.key(0), words.x)
    methods = [lambda: model.apply(params, state, words), lambda: model.fwd(params, state, words)]
    if params[f"{nn.layers.as_layer(layer).name}_0"]:
        methods.append(lambda: model.init(jax.random.key(0), words))
    for method in methods:
        with pytest.raises(
            AttributeError, match=r"(?s)expected an array, .*got Sequences.*\n  hint: each_step"
        ) as caught:
            method()
        assert any("_0: " in note for note in caught.value.__notes__)


def test_each_step_hands_the_lengths_on():
    model, words = nn.serial(nn.Dense(3), nn.relu), nn.Sequences(jnp.ones((2, 5, 4)), jnp.array([5, 2]))
    params, state = model.init(jax.random.key(0), words.x)
    y, _ = nn.each_step(model).apply(params, state, words)
    np.testing.assert_array_equal(y.lengths, words.lengths)
    np.testing.assert_array_equal(y.x, model.apply(params, state, words.x)[0])
