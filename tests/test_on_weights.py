"""Layers whose weights go through another layer first: which, with which keys, and as PyTorch norms them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops, tree
from jaxnn.layers import SpectralNorm

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5)), jnp.float32)


def double(x):
    return 2 * x


def test_it_is_each_leaf_named_w_and_no_other():
    inner = nn.serial(nn.Embed(7, 5), nn.Conv(4, 3), nn.BatchNorm(), nn.PReLU(), nn.flatten, nn.Dense(3))
    layer, ids = nn.on_weights(inner, double), jnp.array([[1, 2, 3]])
    params, state = layer.init(KEY, ids)
    by_hand = tree.map_named(lambda name, p: 2 * p if name.endswith("/w") else p, params)
    np.testing.assert_array_equal(layer.apply(params, state, ids)[0], inner.apply(by_hand, state["layer"], ids)[0])
    assert set(state["weights"]) == {"conv_0/w", "dense_0/w"}


def test_weights_of_recurrence_and_attention_are_weights():
    """By their names: w_x, w_h and the like; of a layer of one's own too."""
    layer = nn.on_weights(nn.SelfAttention(1), double)
    params, state = layer.init(KEY, X[None])
    assert set(state["weights"]) == {name for name in params if name.startswith("w_")} != set()


def test_it_keeps_names_and_adds_none():
    plain = nn.serial(nn.Dense(4), nn.relu, nn.Dense(3))
    model = nn.serial(nn.drop_connect(nn.Dense(4), 0.5), nn.relu, nn.spectral_normed(nn.Dense(3)))
    params, _ = model.init(KEY, X)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, plain.init(KEY, X)[0])
    assert repr(model) == "serial(on_weights(Dense(4), Dropout(0.5)), relu, on_weights(Dense(3), SpectralNorm()))"
    table = str(nn.summary(model, X))
    assert "dense_0  on_weights(Dense(4), Dropout(0.5))" in table
    assert "2 + 0" not in table
    assert nn.summary(model, X).parameters == nn.summary(plain, X).parameters


def test_masks_of_weights_are_drawn_apart_from_each_other_and_from_those_within():
    """Weights of one shape, and a Dropout within, get keys of their own."""
    inner = nn.serial(nn.Dense(5), nn.Dropout(0.5), nn.Dense(5))
    params, state = nn.drop_connect(inner, 0.5).init(KEY, X)
    params = jax.tree.map(jnp.ones_like, params)
    seen = {}

    class Seeing(nn.Layer):
        def init(self, key, x):
            return {}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            y = ops.dropout(x, 0.5, key)
            seen[len(seen)] = np.asarray(y)
            return y, state

    layer = nn.on_weights(inner, Seeing())
    layer.apply(params, state, X, key=KEY, train=True)
    first, second = seen.values()
    assert (first != second).any()
    bare = nn.Dropout(0.5).apply({}, {}, jnp.ones((5, 5)), key=jax.random.fold_in(jax.random.fold_in(KEY, 1), 1),
                                 train=True)[0]  # fmt: skip
    assert all((bare != mask).any() for mask in seen.values())


def test_drop_connect_needs_a_key_in_training_alone():
    layer = nn.drop_connect(nn.Dense(3), 0.5)
    params, state = layer.init(KEY, X)
    layer.apply(params, {}, X)
    with pytest.raises(ValueError, match=r"expected a key, .* apply\(params, state, x, key=key, train=True\)"):
        layer.apply(params, state, X, train=True)
    sweep = jax.vmap(lambda rate: nn.drop_connect(nn.Dense(3), rate).apply(params, {}, X, key=KEY, train=True)[0])
    none, all_of_them = sweep(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(none, nn.Dense(3).apply(params, {}, X)[0], rtol=1e-5)
    np.testing.assert_array_equal(all_of_them, jnp.broadcast_to(params["b"], (8, 3)))


def dropped(layer):
    return nn.drop_connect(layer, 0.3)


@pytest.mark.parametrize("wrap", [nn.spectral_normed, nn.weight_standardised, dropped])
def test_the_two_roads_agree_and_training_works(wrap):
    model = nn.serial(wrap(nn.Dense(6)), nn.tanh, wrap(nn.Dense(3)))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(0.03))
    batch = nn.Data(X, jnp.arange(8) % 3)
    ts = trainer.init(KEY, X)
    comparison = nn.compare(model, nn.losses.cross_entropy, ts, batch, rounds=1)
    assert max(row.difference for row in comparison.rows) < 1e-12
    # By central differences, vectors that still move move the singular value too.
    assert comparison.agrees == (wrap is not nn.spectral_normed)
    nn.by_hand(model, nn.losses.cross_entropy, strict=True)
    after, history = nn.fit(trainer, ts, batch, epochs=30, batch_size=8)
    assert history["loss"][-1] < history["loss"][0]
    chex.assert_trees_all_equal_shapes_and_dtypes(after.state, ts.state)


def test_central_differences_agree_with_spectral_norm_once_its_vectors_rest():
    model = nn.spectral_normed(nn.Dense(3))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1))
    ts, batch = trainer.init(KEY, X), nn.Data(X, jnp.arange(8) % 3)
    state = jax.lax.fori_loop(0, 300, lambda _, state: model.apply(ts.params, state, X, train=True)[1], ts.state)
    assert nn.compare(model, nn.losses.cross_entropy, ts._replace(state=state), batch, rounds=1).agrees


def standardised(w, epsilon):
    """As the paper's equation, output by output, in a loop."""
    out = np.empty_like(w)
    for o in range(w.shape[-1]):
        part = w[..., o]
        out[..., o] = (part - part.mean()) / np.sqrt(((part - part.mean()) ** 2).mean() + epsilon)
    return out


def test_weights_are_standardised_over_the_fan_in_of_each_output(x64):
    random = np.random.default_rng(0)
    x, w = random.normal(size=(2, 5, 4, 3)), random.normal(size=(3, 3, 3, 6)) * 5 + 2
    layer = nn.weight_standardised(nn.Conv(6, (3, 3), bias=False), epsilon=1e-3)
    _, state = layer.init(KEY, x)
    y, _ = layer.apply({"w": jnp.asarray(w)}, state, jnp.asarray(x))
    expected = ops.conv(jnp.asarray(x), jnp.asarray(standardised(w, 1e-3)), None)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.oracle
def test_standardised_weights_have_the_gradient_of_torch(x64):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x, w, dy = (
        random.normal(size=(2, 3, 5, 4)),
        random.normal(size=(6, 3, 3, 3)) * 5 + 2,
        random.normal(size=(2, 6, 5, 4)),
    )
    their_w = torch.tensor(w, requires_grad=True)
    variance, mean = torch.var_mean(their_w, dim=(1, 2, 3), keepdim=True, unbiased=False)
    out = torch.nn.functional.conv2d(torch.tensor(x), (their_w - mean) / torch.sqrt(variance + 1e-5), padding=1)
    out.backward(torch.tensor(dy))
    layer = nn.weight_standardised(nn.Conv(6, (3, 3), bias=False))
    params = {"w": jnp.asarray(w.transpose(2, 3, 1, 0))}
    (y, _), residuals = layer.fwd(params, {}, jnp.asarray(x.transpose(0, 2, 3, 1)))
    d_params, _ = layer.bwd(residuals, jnp.asarray(dy.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(y, out.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(d_params["w"], their_w.grad.numpy().transpose(2, 3, 1, 0), rtol=1e-9, atol=1e-11)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_norm_is_that_of_torch_step_by_step(kind, x64):
    """Values, gradients and vectors, over three steps of training and in inference."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    if kind == "dense":
        ours, theirs = nn.Dense(4, bias=False), torch.nn.Linear(6, 4, bias=False, dtype=torch.float64)
        shape, order, to_ours = (8, 6), (0, 1), lambda w: w.T
    else:
        ours = nn.Conv(4, (2, 3), padding="VALID", bias=False)
        theirs = torch.nn.Conv2d(3, 4, (2, 3), bias=False, dtype=torch.float64)
        shape, order, to_ours = (2, 5, 6, 3), (0, 3, 1, 2), lambda w: w.transpose(2, 3, 1, 0)
    theirs = torch.nn.utils.parametrizations.spectral_norm(theirs)
    normed, weight = theirs.parametrizations.weight[0], theirs.parametrizations.weight.original
    size = weight[0].numel()

    def vectors():
        """Theirs as ours: v is of the weights of an output, whose axes come in another order."""
        v = normed._v.numpy().reshape(1, *weight.shape[1:])
        return {"u": jnp.asarray(normed._u.numpy()), "v": jnp.asarray(to_ours(v).reshape(size))}

    layer = nn.spectral_normed(ours)
    params = {"w": jnp.asarray(to_ours(weight.detach().numpy()))}
    state = {"layer": {}, "weights": {"w": vectors()}}
    for train in (True, True, True, False):
        theirs.train(train)
        x = random.normal(size=shape)
        out = theirs(torch.tensor(x.transpose(order)))
        dy = random.normal(size=out.shape)
        weight.grad = None
        out.backward(torch.tensor(dy))
        (y, state), residuals = layer.fwd(params, state, jnp.asarray(x), train=train)
        back = (0, *range(2, dy.ndim), 1) if dy.ndim > 2 else (0, 1)
        d_params, _ = layer.bwd(residuals, jnp.asarray(dy.transpose(back)))
        np.testing.assert_allclose(y, out.detach().numpy().transpose(back), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(d_params["w"], to_ours(weight.grad.numpy()), rtol=1e-9, atol=1e-11)
        chex.assert_trees_all_close(state["weights"]["w"], vectors(), rtol=1e-10, atol=1e-12)


def test_the_largest_singular_value_becomes_1_and_the_others_keep_their_ratios(x64):
    layer = nn.spectral_normed(nn.Dense(4, bias=False))
    params, state = layer.init(KEY, jnp.ones((1, 6)))
    for _ in range(200):
        w, state = layer.apply(params, state, jnp.eye(6), train=True)
    before, after = (np.linalg.svd(np.asarray(a))[1] for a in (params["w"], w))
    np.testing.assert_allclose(after, before / before[0], rtol=1e-6)


def test_weights_that_begin_at_zero_stay_finite_and_are_normed_later():
    layer = nn.spectral_normed(nn.Dense(3, bias=False, w_init=nn.initializers.zeros))
    params, state = layer.init(KEY, X)
    (y, state), residuals = layer.fwd(params, state, X, train=True)
    d_params, _ = layer.bwd(residuals, jnp.ones_like(y))
    np.testing.assert_array_equal(y, 0)
    assert jnp.isfinite(d_params["w"]).all()
    params = {"w": 100 * jnp.ones((5, 3))}
    for _ in range(3):
        y, state = layer.apply(params, state, jnp.eye(5), train=True)
    np.testing.assert_allclose(jnp.linalg.norm(y, ord=2), 1, rtol=1e-5)


def test_frozen_it_rests():
    model = nn.serial(block=nn.spectral_normed(nn.Dense(4)), head=nn.spectral_normed(nn.Dense(3)))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), freeze="block/.*")
    ts = trainer.init(KEY, X)
    after, _ = trainer.step(ts, nn.Data(X, jnp.arange(8) % 3))
    chex.assert_trees_all_equal(after.state["block"], ts.state["block"])
    assert (after.state["head"]["weights"]["w"]["u"] != ts.state["head"]["weights"]["w"]["u"]).any()


@pytest.mark.parametrize("norm", [nn.spectral_normed, nn.weight_standardised])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            nn.repeat(nn.Dense(5), 2),
            r"got repeat\(Dense\(5\), 2\), whose weights are stacked\n  hint: norm the block",
        ),
        (
            nn.Ensemble(nn.Dense(5), 2),
            r"got Ensemble\(Dense\(5\), members=2\), whose weights are stacked\n  hint: norm the model",
        ),
        (
            nn.serial(nn.ConvTranspose(4, 3)),
            r"got ConvTranspose\(4, window=3\), whose weights have their outputs last",
        ),
    ],
    ids=["repeat", "ensemble", "transposed"],
)
def test_weights_with_other_axes_are_not_normed(norm, layer, message):
    with pytest.raises(TypeError, match=f"expected weights with their outputs along the last axis (.|\n)*{message}"):
        norm(layer)


def test_copies_in_repeat_are_normed_each_by_itself():
    tower = nn.repeat(nn.spectral_normed(nn.Dense(5)), 3)
    _, state = tower.init(KEY, X)
    assert state["weights"]["w"]["u"].shape == (3, 5)


def test_what_cannot_be_transformed_is_refused():
    with pytest.raises(TypeError, match=r"expected a layer with weights, because they go .* Dropout\(0.5\); got relu"):
        nn.drop_connect(nn.relu, 0.5).init(KEY, X)
    with pytest.raises(TypeError, match=r"expected a transform without parameters, because .*; got Dense\(3\)"):
        nn.on_weights(nn.Dense(3), nn.Dense(3)).init(KEY, X)
    with pytest.raises(ValueError, match="expected a rate from 0 to 1"):
        nn.drop_connect(nn.Dense(3), 1.5)
    with pytest.raises(ValueError, match="JAX derives that of model/weights: double"):
        nn.by_hand(nn.on_weights(nn.Dense(3), double), nn.losses.mse, strict=True)
    with pytest.raises(nn.ShapeError, match=r"expected w of shape \(..., out\), .*; got \(3,\)"):
        nn.layers.WeightStandardisation().init(KEY, jnp.ones(3))
    with pytest.raises(nn.ShapeError, match=r"expected w of shape \(..., out\), .*; got \(3,\)"):
        SpectralNorm().apply({}, {"u": jnp.ones(3), "v": jnp.ones(1)}, jnp.ones(3))
    with pytest.raises(nn.ShapeError, match=r"expected v of shape \(6,\), because w is \(2, 3, 4\); got \(4,\)"):
        ops.spectral_norm(jnp.ones((2, 3, 4)), jnp.ones(4), jnp.ones(4))
