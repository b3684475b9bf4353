"""The two roads to a gradient: they agree, in values and in what they do not compute."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import tree
from jaxnn.ops import Op
from jaxnn.training import LAYERS

ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)


def block(features):
    return nn.serial(nn.Dense(features, bias=False), nn.BatchNorm(), nn.relu, nn.Dropout(0.3))


# Every contract at once: integer input, running statistics, random masks, a way round, and stacked copies.
MODEL = nn.serial(
    embed=nn.Embed(11, 6),
    stem=nn.serial(nn.flatten, nn.Dense(8)),
    norm=nn.BatchNorm(),
    drop=nn.Dropout(0.2),
    skip=nn.residual(nn.Dense(8), nn.tanh),
    tower=nn.repeat(nn.residual(block(8)), 3),
    head=nn.serial(nn.parallel(nn.Dense(4), nn.serial(nn.Dense(3), nn.sigmoid)), nn.concatenate, nn.Dense(5)),
)


def batch_of_ids(seed=0, n=16):
    random = np.random.default_rng(seed)
    return nn.Data(
        jnp.asarray(random.integers(0, 11, (n, 3)), jnp.int32), jnp.asarray(random.integers(0, 5, n), jnp.int32)
    )


@pytest.fixture(scope="module")
def begun():
    trainer = nn.trainer(MODEL, nn.losses.cross_entropy, nn.adam(1e-2))
    return trainer, trainer.init(jax.random.key(0), batch_of_ids().x)


def test_two_roads_agree_on_every_kind_of_layer(begun):
    """What DESIGN states: 1e-10 of the leaf's largest gradient, in float64, in training, with one key."""
    trainer, ts = begun
    comparison = nn.compare(MODEL, trainer.loss, ts, batch_of_ids(), rounds=1)
    assert comparison.agrees, comparison
    assert {row.name for row in comparison.rows} == set(tree.named_leaves(ts.params))
    live = [row for row in comparison.rows if not row.zero]
    assert len(live) == 15
    assert max(row.difference for row in live) < 1e-12
    # The bias of stem comes before a BatchNorm, which subtracts it again.
    assert [row.name for row in comparison.rows if row.zero] == ["stem/dense_0/b"]


def test_roads_return_the_same_value_state_and_prediction(begun):
    trainer, ts = begun
    arguments = ts.params, ts.frozen, ts.state, batch_of_ids()
    a, b = (jax.jit(road(MODEL, trainer.loss))(*arguments, key=jax.random.key(1)) for road in ROADS.values())
    chex.assert_trees_all_close(a, b, rtol=1e-4, atol=1e-5)


def test_ten_steps_leave_the_same_trace(begun):
    """Ten losses to 1e-6 in float32, and the parameters to 1e-8 in float64."""

    def losses(road, dtype):
        trainer = nn.trainer(MODEL, nn.losses.cross_entropy, nn.adam(1e-2), gradient=road)
        cast = lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a
        ts = jax.tree.map(cast, trainer.init(jax.random.key(0), batch_of_ids().x))
        step = jax.jit(trainer.step)
        trace = []
        for i in range(10):
            ts, info = step(ts, batch_of_ids(i))
            trace.append(float(info.loss))
        return trace, ts.params

    by_autodiff, by_hand = (losses(road, jnp.float32)[0] for road in ROADS.values())
    np.testing.assert_allclose(by_hand, by_autodiff, atol=1e-6)
    with jax.enable_x64(True):
        p, q = (losses(road, jnp.float64)[1] for road in ROADS.values())
    for name, leaf in tree.named_leaves(p).items():
        if name != "stem/dense_0/b":  # its gradient is rounding noise, which Adam amplifies
            np.testing.assert_allclose(leaf, tree.named_leaves(q)[name], atol=1e-8, err_msg=name)


@roads
def test_frozen_leaves_have_no_gradient(road, begun):
    trainer, ts = begun
    whole = ts.params
    frozen, params = tree.split(whole, tree.mask(whole, ["(?!head).*"]))
    _, _, grads = jax.jit(road(MODEL, trainer.loss))(params, frozen, ts.state, batch_of_ids(), key=jax.random.key(1))
    assert set(tree.named_leaves(grads)) == {name for name in tree.named_leaves(whole) if name.startswith("head")}
    assert jax.tree.structure(grads) == jax.tree.structure(params)


def operations(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


@roads
@pytest.mark.parametrize("deep", ["serial", "repeat"])
def test_frozen_leaves_cost_no_operations(road, deep):
    """With all but a small head frozen, a step costs what the forward does, as the compiler counts it."""
    layers = [nn.Dense(64), nn.tanh] * 3
    stem = nn.repeat(nn.serial(nn.Dense(64), nn.tanh), 3) if deep == "repeat" else nn.serial(*layers)
    model = nn.serial(stem=stem, head=nn.Dense(2))
    x, y = jnp.ones((128, 64)), jnp.zeros(128, jnp.int32)
    whole, state = model.init(jax.random.key(0), x)
    gradient = road(model, nn.losses.cross_entropy)

    def step(params, frozen):
        value, _, grads = gradient(params, frozen, state, nn.Data(x, y))
        return value, grads

    frozen, params = tree.split(whole, tree.mask(whole, ["stem/.*"]))
    nothing, everything = tree.split(whole, tree.mask(whole, []))
    forward = operations(lambda p: model.apply(p, state, x)[0], whole)
    with_head, with_all = operations(step, params, frozen), operations(step, everything, nothing)
    assert with_head < 1.2 * forward
    assert with_all > 2 * forward


@roads
def test_frozen_batch_norm_runs_as_in_inference(road):
    model = nn.serial(nn.Dense(4), nn.BatchNorm(), nn.Dense(2))
    x = 5 + jax.random.normal(jax.random.key(1), (8, 3))
    whole, state = model.init(jax.random.key(0), x)
    frozen, params = tree.split(whole, tree.mask(whole, ["batch_norm_0/.*"]))
    batch = nn.Data(x, jnp.zeros(8, jnp.int32))
    _, (new, prediction), _ = road(model, nn.losses.cross_entropy)(params, frozen, state, batch)
    chex.assert_trees_all_equal(new, state)
    chex.assert_trees_all_close(prediction, model.apply(whole, state, x)[0], rtol=1e-6)
    _, (moved, _), _ = road(model, nn.losses.cross_entropy)(whole, {}, state, batch)
    assert abs(moved["batch_norm_0"]["mean"] - state["batch_norm_0"]["mean"]).max() > 1e-3


@roads
@pytest.mark.parametrize("w", [None, [1.0, 0.0, 2.0, 1.0]], ids=["unweighted", "weighted"])
def test_value_is_the_weighted_mean(road, w):
    x, y = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.array([[2.0], [2.0], [2.0], [2.0]])
    params = {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}
    batch = nn.Data(x, y, None if w is None else jnp.array(w))
    value, _, grads = road(nn.Dense(1), nn.losses.mse)(params, {}, {}, batch)
    weights, error = np.ones(4) if w is None else np.array(w), np.array([-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(value, (weights * error**2).sum() / weights.sum(), rtol=1e-6)
    np.testing.assert_allclose(grads["b"][0], (weights * 2 * error).sum() / weights.sum(), rtol=1e-6)


@roads
def test_weights_that_are_all_zero_give_zero(road):
    params = {"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}
    batch = nn.Data(jnp.ones((2, 1)), jnp.zeros((2, 1)), jnp.zeros(2))
    value, _, grads = road(nn.Dense(1), nn.losses.mse)(params, {}, {}, batch)
    assert float(value) == 0
    chex.assert_trees_all_equal(grads, jax.tree.map(jnp.zeros_like, params))


def test_by_hand_uses_no_differentiation_of_jax(begun, monkeypatch):
    """With every entrance to JAX's reverse mode shut, the hand road still goes all the way."""
    trainer, ts = begun

    def shut(*args, **keywords):
        raise AssertionError("JAX was asked to differentiate")

    for entrance in ("vjp", "grad", "value_and_grad", "linearize", "jvp"):
        monkeypatch.setattr(jax, entrance, shut)
    arguments = ts.params, ts.frozen, ts.state, batch_of_ids()
    nn.by_hand(MODEL, trainer.loss, strict=True)(*arguments, key=jax.random.key(1))
    with pytest.raises(AssertionError, match="asked to differentiate"):
        nn.by_autodiff(MODEL, trainer.loss)(*arguments, key=jax.random.key(1))


def halve(x):
    return x / 2


def absolute(prediction, target):
    return abs(prediction - target)


def test_strict_names_what_is_not_written_by_hand():
    model = nn.serial(nn.Dense(2), stem=nn.residual(nn.serial(halve)))
    with pytest.raises(
        ValueError, match=r"because strict=True; JAX derives that of model/stem/halve_0: halve, loss: absolute"
    ):
        nn.by_hand(model, absolute, strict=True)
    nn.by_hand(MODEL, nn.losses.cross_entropy, strict=True)
    trainer = nn.trainer(model, absolute, nn.sgd(0.1), gradient=functools.partial(nn.by_hand, strict=True))
    ts = trainer.init(jax.random.key(0), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="halve_0"):
        trainer.step(ts, nn.Data(jnp.ones((1, 2)), jnp.ones((1, 2))))


@roads
def test_a_function_may_stand_for_layer_and_loss(road):
    model = nn.serial(nn.Dense(2), halve)
    x = jnp.ones((3, 2))
    params, state = model.init(jax.random.key(0), x)
    value, _, grads = road(model, absolute)(params, {}, state, nn.Data(x, 10 * jnp.ones((3, 2))))
    assert value > 5
    np.testing.assert_allclose(grads["dense_0"]["b"], [-0.25, -0.25], rtol=1e-6)


def test_a_backward_of_unknown_names_or_shapes_is_refused():
    def with_gradients(d_params):
        class Wrong(nn.Layer):
            def init(self, key, x):
                return {"w": jnp.ones(2)}, {}

            def fwd(self, params, state, x, *, key=None, train=False):
                return (x * jnp.broadcast_to(params["w"], x.shape), state), ()

            def bwd(self, residuals, dy):
                return d_params, dy

        return nn.by_hand(Wrong(), nn.losses.mse)

    arguments = {"w": jnp.ones(2)}, {}, {}, nn.Data(jnp.ones((3, 2)), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"expected gradients of parameters only; got one of v, .* those of: w"):
        with_gradients({"v": jnp.ones(2)})(*arguments)
    with pytest.raises(nn.ShapeError, match=r"expected a gradient of shape \(2,\), because w has it; got \(3, 2\)"):
        with_gradients({"w": jnp.ones((3, 2))})(*arguments)
    _, _, grads = with_gradients({"w": None})(*arguments)  # None says that it is zero
    chex.assert_trees_all_equal(grads, {"w": jnp.zeros(2)})


def test_gradient_of_the_layers_before_integers_is_zero():
    """argmax has no derivative: a combinator stops there, and the layers below learn nothing."""

    class Argmax(nn.Layer):
        def init(self, key, x):
            return {}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            return x.argmax(-1), state

    model = nn.serial(nn.Dense(5), Argmax(), nn.Embed(5, 2))
    x = jax.random.normal(jax.random.key(1), (4, 3))
    params, state = model.init(jax.random.key(0), x)
    arguments = params, {}, state, nn.Data(x, jnp.ones((4, 2)))
    by_hand, by_autodiff = (road(model, nn.losses.mse)(*arguments)[2] for road in (nn.by_hand, nn.by_autodiff))
    chex.assert_trees_all_close(by_hand, by_autodiff, rtol=1e-6)
    assert not by_hand["dense_0"]["w"].any()
    assert by_hand["embed_0"]["table"].any()


def wrong_square():
    """An op with an installed rule that is seven times too large."""
    square = Op(lambda x: x * x)
    square.defvjp(lambda x: (x * x, x), lambda x, dy: (14 * x * dy,), install=True)
    return square


TRANSFORMATIONS = {
    "grad": jax.grad,
    "jit": lambda f: jax.jit(jax.grad(f)),
    "grad of jit": lambda f: jax.grad(jax.jit(f)),
    "scan": lambda f: jax.grad(lambda x: jax.lax.scan(lambda c, _: (c, f(x)), 0.0, length=1)[1][0]),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
    "vmap": lambda f: lambda x: jax.vmap(jax.grad(f))(x[None])[0],
    "grad of vmap": lambda f: jax.grad(lambda x: jax.vmap(f)(x[None])[0]),
}


@pytest.mark.parametrize("transformation", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
def test_plain_is_seen_through_transformations(transformation):
    """In either order, with the same functions: no cache may remember the other answer."""
    square = wrong_square()
    slope = transformation(square)
    x = jnp.float32(3.0)
    for _ in range(2):
        assert slope(x) == 42.0
        with nn.plain():
            assert slope(x) == 6.0


def test_compiled_function_called_inside_and_outside_plain():
    square = wrong_square()
    slope = jax.jit(jax.grad(square))
    assert slope(3.0) == 42.0
    with nn.plain():
        assert slope(3.0) == 6.0
    assert slope(3.0) == 42.0


def test_keys_of_layers_differ_by_position_and_step(begun):
    """Two dropouts of one model, and one dropout at two steps, draw different masks."""
    drop = nn.serial(nn.parallel(nn.Dropout(0.5), nn.Dropout(0.5)), nn.concatenate)
    trainer = nn.trainer(drop, nn.losses.mse, nn.sgd(0.0))
    x = jnp.ones((1, 64))
    ts = trainer.init(jax.random.key(0), x)
    first, info = trainer.step(ts, nn.Data(x, jnp.ones((1, 128))))
    _, later = trainer.step(first, nn.Data(x, jnp.ones((1, 128))))
    assert (info.prediction[0, :64] != info.prediction[0, 64:]).any()
    assert (info.prediction != later.prediction).any()
    again = drop.apply({}, {}, x, key=jax.random.fold_in(jax.random.fold_in(ts.key, LAYERS), 0), train=True)[0]
    chex.assert_trees_all_equal(again, info.prediction)
