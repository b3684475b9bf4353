"""What activations promise beyond what others compute: digits, swept settings, surrogates, masks, refusals, layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases._activations import OPS

import jaxnn as nn
from jaxnn import ops

ORDINARY = [-7.5, -2.5, -1.3, -0.4, -1e-3, 1e-3, 0.7, 1.1, 2.9, 5.5, 6.1, 30.0, -30.0]


def test_gelu_has_two_forms_that_are_named_apart(x64):
    """`jax.nn.gelu` and flax are the approximation by default; PyTorch and Keras are not."""
    x = jnp.linspace(-8, 8, 4001)
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


WITHOUT_PARAMETERS = dict.fromkeys(case.op for case in OPS if case.op not in (ops.prelu, ops.parametric_swish))


@pytest.mark.parametrize("op", WITHOUT_PARAMETERS, ids=repr)
def test_an_activation_is_a_layer_as_it_is(op):
    """And its backward is by hand; those that have parameters are `PReLU` and `Swish`."""
    model, x = nn.serial(nn.Dense(6), op), jnp.ones((2, 3))
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    assert params.keys() == {"dense_0", f"{op.name}_0"}
    y, _ = jax.eval_shape(model.apply, params, state, x)
    gradient = nn.by_hand(model, nn.losses.mse, strict=True)
    grads = jax.eval_shape(gradient, params, jax.tree.map(lambda _: None, params), state, nn.Data(x, y))[2]
    assert grads == params


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
