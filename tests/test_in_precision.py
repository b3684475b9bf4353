"""`in_precision`: parameters in one dtype, computation in another, and the same gradient on both roads."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LAYERS

import jaxnn as nn
from jaxnn import tree
from jaxnn.layers import Precision, in_precision
from jaxnn.layers._layer import outline
from jaxnn.typing import Deferred

ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
narrow = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
random = np.random.default_rng(0)
X = jnp.asarray(random.normal(size=(8, 3)), jnp.float32)
IMAGES = nn.Data(jnp.asarray(random.normal(size=(12, 6, 6, 2)), jnp.float32), jnp.arange(12) % 3)


def network():
    """All that is normed, and a tower."""
    return nn.serial(
        nn.Conv(4, (3, 3), bias=False),
        nn.BatchNorm(),
        nn.tanh,
        nn.GroupNorm(2),
        nn.global_average_pool,
        nn.repeat(nn.residual(nn.LayerNorm(), nn.Dense(4), nn.gelu), 2),
        nn.RMSNorm(),
        nn.Dense(3),
    )


@functools.cache
def begun(x64=False):
    with jax.enable_x64(x64):
        batch = jax.tree.map(lambda a: a.astype(float) if a.ndim > 1 else a, IMAGES)
        return *network().init(jax.random.key(0), batch.x), batch


def gradient(model, road, params, state, batch):
    return jax.jit(lambda p: road(model, nn.losses.cross_entropy)(p, {}, state, batch))(params)


def scaled_difference(got, expected):
    """The largest difference of any leaf, relative to its largest number, and that to 1% of the model's largest."""
    sizes = [float(abs(leaf).max()) for leaf in jax.tree.leaves(expected)]
    differences = [float(abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True)]
    return max(d / max(s, 0.01 * max(sizes)) for d, s in zip(differences, sizes, strict=True))


# The policy.


def test_a_policy_is_a_value():
    policy = Precision(compute="float16", params=np.float32)
    assert policy == Precision(jnp.float16)
    assert len({policy, Precision(jnp.float16), Precision()}) == 2
    assert repr(policy) == "Precision(compute=float16, params=float32, output=float32)"
    layer = in_precision(nn.Dense(2), nn.relu, policy=policy)
    assert repr(layer) == f"in_precision(serial(Dense(2), relu), policy={policy})"
    assert layer == in_precision(nn.Dense(2), nn.relu, policy=policy)


@pytest.mark.parametrize("name", ["compute", "params", "output"])
@pytest.mark.parametrize(("dtype", "said"), [(jnp.int8, "int8"), (complex, "complex128"), (bool, "bool"), (None,) * 2])
def test_dtypes_must_be_floating(name, dtype, said):
    with pytest.raises(TypeError, match=rf"expected a floating dtype for {name}, because .*; got {said}\n  hint: Prec"):
        Precision(**{name: dtype})


def test_a_policy_must_be_one(unannotated):
    with pytest.raises(TypeError, match="expected policy as a Precision, because it has three dtypes; got 'bfloat16'"):
        in_precision(nn.Dense(2), policy="bfloat16")


# Dtypes.


def of_floats(whole):
    return {leaf.dtype for leaf in jax.tree.leaves(whole) if jnp.issubdtype(leaf.dtype, jnp.floating)}


def test_every_layer_goes_through_in_narrow_dtypes():
    """Under strict promotion: what is computed is bfloat16, and all that is held, comes out or goes back float32."""
    seen, policy = [], Precision()
    for case in LAYERS:
        if not case.keeps:
            continue
        layer = in_precision(case.layer, policy=policy)
        x = case.x(np.random.default_rng(0), 6, jnp.float32)

        def both(x, layer=layer):
            params, state = layer.init(jax.random.key(0), x)
            key = jax.random.key(5)
            (y, new), residuals = layer.fwd(params, state, x, key=key, train=True)
            assert of_floats((params, state, y)) <= {jnp.dtype(jnp.float32)}
            assert outline(new) == outline(state)
            d_params, dx = layer.bwd(residuals, jax.tree.map(lambda a: a if is_floating(a) else None, y))
            inside, _ = layer._computed(params, state, x)[::2], seen.append(y)
            assert of_floats(inside) <= {jnp.dtype(jnp.bfloat16)}
            names = tree.named_leaves(params)
            assert all(d.dtype == names[name].dtype for name, d in tree.named_leaves(d_params).items())
            assert of_floats(dx) <= {jnp.dtype(jnp.float32)}
            applied = jax.eval_shape(lambda *a: layer.apply(*a, key=key, train=True), params, state, x)
            assert applied == outline((y, new))
            inferred = jax.eval_shape(layer.apply, params, state, x)
            assert inferred == outline((y.logits if isinstance(y, Deferred) else y, state))
            return y

        with nn.errors.located(lambda case=case: case.name):
            jax.eval_shape(both, x)
    assert len(seen) > 100


def is_floating(a):
    return jnp.issubdtype(a.dtype, jnp.floating)


@pytest.mark.parametrize("held", [jnp.bfloat16, jnp.float32], ids=["bfloat16", "float32"])
def test_parameters_are_drawn_in_the_dtype_that_holds_them(held, x64):
    """Of ids too, for which layers draw in JAX's default, here float64."""
    model = in_precision(nn.Embed(5, 4), nn.BatchNorm(), nn.Dense(2), policy=Precision(params=held))
    params, state = model.init(jax.random.key(0), jnp.zeros((3, 2), jnp.int32))
    assert of_floats(params) == {jnp.dtype(held)}
    assert of_floats(state) == {jnp.dtype(jnp.float32)}


def test_float32_draws_are_those_without_it():
    params, state, batch = begun()
    wrapped = in_precision(network(), policy=Precision()).init(jax.random.key(0), batch.x)
    chex.assert_trees_all_equal(wrapped, (params, state))


# Numbers.


@roads
def test_all_in_float64_changes_nothing_bit_for_bit(road, x64):
    params, state, batch = begun(True)
    wide = in_precision(network(), policy=Precision(*[jnp.float64] * 3))
    chex.assert_trees_all_equal(wide.init(jax.random.key(0), batch.x), (params, state))
    bare, wrapped = (gradient(model, road, params, state, batch) for model in (network(), wide))
    chex.assert_trees_all_equal(wrapped, bare)


@narrow
def test_both_roads_are_right_to_the_precision_of_what_is_computed(dtype):
    params, state, batch = begun()
    model = in_precision(network(), policy=Precision(dtype))
    expected = gradient(network(), nn.by_hand, params, state, batch)
    by_autodiff, by_hand = (gradient(model, road, params, state, batch) for road in ROADS.values())
    epsilon = float(jnp.finfo(dtype).eps)
    for got in (by_autodiff, by_hand):
        value, (new, prediction), grads = got
        assert of_floats(got) == {jnp.dtype(jnp.float32)}
        np.testing.assert_allclose(value, expected[0], rtol=2 * epsilon)
        assert scaled_difference(prediction, expected[1][1]) < 5 * epsilon
        assert scaled_difference(new, expected[1][0]) < epsilon
        assert scaled_difference(grads, expected[2]) < 40 * epsilon
    assert scaled_difference(by_hand[2], by_autodiff[2]) < 40 * epsilon
    assert scaled_difference(by_hand[2], expected[2]) > epsilon  # or nothing was narrow


NORMS = {
    "BatchNorm": nn.BatchNorm(),
    "LayerNorm": nn.LayerNorm(),
    "GroupNorm": nn.GroupNorm(2),
    "InstanceNorm": nn.InstanceNorm(),
    "RMSNorm": nn.RMSNorm(),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_norms_compute_in_float32(norm):
    """Squares of these have no float16, nor has their sum; and in bfloat16 1000 and 1001 are one number."""
    x = np.asarray(random.normal(size=(4, 8, 4)) * 2e4, np.float16)
    for dtype, given in ((jnp.float16, x), (jnp.bfloat16, x)):
        model = in_precision(norm, policy=Precision(dtype))
        given = jnp.asarray(given).astype(dtype).astype(jnp.float32)
        params, state = model.init(jax.random.key(0), given)
        dy = jnp.asarray(random.normal(size=x.shape), jnp.float32)
        (y, new), residuals = model.fwd(params, state, given, train=True)
        d_params, dx = model.bwd(residuals, dy)
        (wide, wide_new), residuals = norm.fwd(params, state, given, train=True)
        d_wide_params, d_wide = norm.bwd(residuals, dy.astype(dtype).astype(jnp.float32))
        epsilon = float(jnp.finfo(dtype).eps)
        assert scaled_difference(y, wide) < epsilon
        assert scaled_difference(1e4 * dx, 1e4 * d_wide) < 4 * epsilon
        assert scaled_difference(d_params, d_wide_params) < 2 * epsilon
        chex.assert_trees_all_close(new, wide_new, rtol=1e-5)


@narrow
@roads
def test_running_statistics_stay_float32(road, dtype):
    """Moved by a hundredth, a bfloat16 mean would stand still."""
    model = in_precision(nn.BatchNorm(decay=0.999), nn.flatten, nn.Dense(3), policy=Precision(dtype))
    params, state = model.init(jax.random.key(0), IMAGES.x)
    x = 3 + IMAGES.x
    step = jax.jit(lambda state: road(model, nn.losses.cross_entropy)(params, {}, state, IMAGES._replace(x=x))[1][0])
    rounded = np.asarray(x.astype(dtype).astype(jnp.float32), np.float64)
    mean, decay = rounded.mean((0, 1, 2)), 0.999**20
    for _ in range(20):
        state = step(state)
    np.testing.assert_allclose(state["batch_norm_0"]["mean"], (1 - decay) * mean, rtol=1e-4)
    y, kept = model.apply(params, state, x)  # in inference, with bfloat16 x and float32 statistics
    chex.assert_trees_all_equal(kept, state)
    assert y.dtype == jnp.float32
    assert jnp.isfinite(y).all()


# Whatever it is put round, and around.


def test_trees_are_cast_and_integers_are_not():
    model = in_precision(nn.LSTM(4), nn.LSTM(3), policy=Precision(output=jnp.float16))
    lengths = jnp.array([3, 2])
    begin = (jnp.ones((2, 4)), jnp.ones((2, 4)))
    x = nn.Sequences(jnp.asarray(random.normal(size=(2, 3, 5)), jnp.float32), lengths, begin=begin)
    params, state = model.init(jax.random.key(0), x)

    @jax.jit
    def both(params, begin):
        given = x._replace(begin=begin)
        (y, _), residuals = model.fwd(params, state, given)
        d_params, dx = model.bwd(residuals, nn.Sequences(jnp.ones_like(y.x)))
        of_jax = jax.grad(lambda params, begin: model.apply(params, state, x._replace(begin=begin))[0].x.sum(), (0, 1))
        return y, (d_params, dx.begin), of_jax(params, begin)

    y, got, expected = both(params, begin)
    assert (y.x.dtype, y.lengths.dtype) == (jnp.float16, jnp.int32)
    np.testing.assert_array_equal(y.lengths, lengths)
    assert of_floats(got) == {jnp.dtype(jnp.float32)}
    assert scaled_difference(got, expected) < 0.05


def test_one_within_another_computes_as_it_says():
    seen = []

    def look(x):
        seen.append(x.dtype)
        return x

    inner = in_precision(look, nn.LayerNorm(), look, policy=Precision(jnp.float32, output=jnp.bfloat16))
    model = in_precision(look, nn.Dense(4), inner, nn.Dense(2), look, policy=Precision())
    params, state = model.init(jax.random.key(0), jnp.ones((3, 4)))
    seen.clear()
    value = lambda params: model.apply(params, state, jnp.ones((3, 4)))[0].sum()
    assert of_floats(jax.eval_shape(jax.grad(value), params)) == {jnp.dtype(jnp.float32)}
    assert seen == [jnp.bfloat16, jnp.float32, jnp.float32, jnp.bfloat16]


@roads
def test_frozen_leaves_and_a_frozen_batch_norm_rest_within(road):
    model = nn.serial(block=in_precision(nn.Dense(4), nn.BatchNorm(), policy=Precision()), head=nn.Dense(3))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), gradient=road, freeze="block/.*")
    batch = nn.Data(IMAGES.x.reshape(12, -1), IMAGES.y)
    ts = trainer.init(jax.random.key(0), batch.x)
    after, _ = jax.jit(trainer.step)(ts, batch)
    chex.assert_trees_all_equal((after.frozen, after.state), (ts.frozen, ts.state))
    assert set(tree.named_leaves(after.params)) == {"head/w", "head/b"}


def test_members_of_an_ensemble_are_what_they_are_alone():
    model, batch = (
        in_precision(nn.Dense(1, bias=False), nn.tanh, policy=Precision()),
        nn.Data(X, np.tanh(X.sum(1, keepdims=True))),
    )

    def losses(seed):
        trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.2), gradient=nn.by_hand)
        ts = trainer.init(jax.random.key(seed), batch.x)
        return nn.fit(trainer, ts, batch, epochs=4, batch_size=4)[1]["loss"]

    mapped = jax.jit(jax.vmap(losses))(jnp.arange(2))
    np.testing.assert_allclose(mapped[1], jax.jit(losses)(1), rtol=0.02)
    assert (mapped[:, -1] < 0.8 * mapped[:, 0]).all()


def test_a_float32_weight_takes_steps_that_bfloat16_would_lose():
    """1 + 1e-3 is 1 in bfloat16."""

    def moved(held):
        model = in_precision(nn.Dense(1, bias=False), policy=Precision(params=held))
        trainer = nn.trainer(model, nn.losses.mse, nn.sgd(5e-4))
        ts = trainer.init(jax.random.key(0), jnp.ones((1, 1)))
        ts = ts._replace(params={"w": jnp.ones((1, 1), held)})
        one = nn.Data(jnp.ones((1, 1)), jnp.zeros((1, 1)))
        ts = jax.jit(lambda ts: jax.lax.fori_loop(0, 4, lambda _, ts: trainer.step(ts, one)[0], ts))(ts)
        return float(ts.params["w"][0, 0])

    assert moved(jnp.bfloat16) == 1
    np.testing.assert_allclose(moved(jnp.float32), 1 - 4e-3, rtol=1e-3)


def test_summary_and_errors_look_within():
    x = jnp.zeros((2, 8))
    rows = nn.summary(nn.serial(block=in_precision(nn.Dense(4), nn.relu, policy=Precision())), x).rows
    assert [row.path for row in rows] == ["block/dense_0", "block/relu_0"]
    model = in_precision(nn.Dense(4), nn.Dense(3), policy=Precision())
    params, state = model.init(jax.random.key(0), x)
    with pytest.raises(nn.ShapeError, match=r"expected x of shape \(..., 8\)\, because .*\n  in dense_0: Dense\(4\)"):
        model.apply(params, state, jnp.zeros((2, 7)))


def test_remembered_is_half_as_much():
    """What a model remembers for its backward, in bytes."""
    x, wide = jnp.zeros((64, 32)), nn.serial(*[nn.Dense(32), nn.gelu] * 4)
    narrow = in_precision(wide, policy=Precision(output=jnp.bfloat16))
    params, state = wide.init(jax.random.key(0), x)
    remembered = lambda model: tree.nbytes(jax.eval_shape(model.fwd, params, state, x)[1])
    assert remembered(narrow) <= 0.51 * remembered(wide)


def test_compare_takes_it_in_float64():
    model = in_precision(
        nn.Dense(4),
        nn.tanh,
        in_precision(nn.Dense(4), policy=Precision(jnp.float16)),
        policy=Precision(),
    )
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    ts = trainer.init(jax.random.key(0), x)
    assert nn.compare(trainer.model, trainer.loss, ts, nn.Data(x, x[:, :1] * jnp.ones((6, 4))), rounds=1).agrees
