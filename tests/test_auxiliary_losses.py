"""What layers add to the loss: its value and its gradient, on both roads, wherever the layer stands."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.layers._auxiliary import auxiliary_loss
from jaxnn.losses import gaussian_kl

ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
X = np.array([[1.0, -2.0], [0.0, 1.0]])


def assert_equal(got, expected, tolerance=1e-12):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def taken(road, model, loss, batch, key=None):
    """Value and gradient at parameters that the same model of the same key begins with."""

    @jax.jit
    def both():
        params, state = nn.layers.as_layer(model).init(jax.random.key(0), batch.x)
        value, (new, _), grads = road(model, loss)(params, {}, state, batch, key=key)
        return value, grads, auxiliary_loss(new)

    return both()


def test_an_activity_costs_the_mean_over_examples_of_its_sums(x64):
    layer, x = nn.ActivityPenalty(l1=0.1, l2=0.5), jnp.asarray(X)
    _, state = layer.init(None, x)
    assert state == {"auxiliary_loss": 0.0}
    (y, new), residuals = layer.fwd({}, state, x, train=True)
    assert y is x
    np.testing.assert_allclose(new["auxiliary_loss"], (0.1 * 4 + 0.5 * 6) / 2, rtol=1e-12)
    dx = layer.bwd(residuals, jnp.ones_like(x))[1]
    np.testing.assert_allclose(dx, 1 + (0.1 * np.sign(X) + X) / 2, rtol=1e-12)  # and 0 for the slope of |x| at 0


def test_the_code_of_an_autoencoder_costs_its_divergence(x64):
    layer, pair = nn.GaussianKL(0.5), (jnp.asarray(X), jnp.asarray(X) / 3)
    _, state = layer.init(None, pair)
    y, new = layer.apply({}, state, pair, train=True)
    assert y is pair
    np.testing.assert_allclose(new["auxiliary_loss"], 0.5 * gaussian_kl(*pair).mean(), rtol=1e-12)


@pytest.mark.parametrize("layer", [nn.ActivityPenalty(l2=1.0), nn.GaussianKL()], ids=repr)
def test_in_inference_nothing_is_added(layer):
    x = jnp.ones((2, 3)) if isinstance(layer, nn.ActivityPenalty) else (jnp.ones((2, 3)), jnp.ones((2, 3)))
    state = {"auxiliary_loss": jnp.array(7.0)}
    y, same = layer.apply({}, state, x)
    assert y is x
    assert same is state
    (y, same), residuals = layer.fwd({}, state, x)
    assert same is state
    assert layer.bwd(residuals, x) == ({}, x)


def costly(prediction, target):
    """The mean squared error, and what an ActivityPenalty(0.1, 0.3) adds for each example."""
    return nn.losses.mse(prediction, target).mean(1) + 0.1 * jnp.abs(prediction).sum(1) + 0.3 * (prediction**2).sum(1)


@roads
def test_it_is_the_penalty_that_a_loss_may_have_written_in(road, x64):
    model, batch = nn.serial(nn.Dense(4), nn.tanh, nn.Dense(3)), nn.Data(drawn(6, 2), drawn(6, 3, seed=1))
    value, grads, _ = taken(
        road, nn.serial(**dict(model.layers), cost=nn.ActivityPenalty(0.1, 0.3)), nn.losses.mse, batch
    )
    expected, of_loss, _ = taken(road, nn.serial(**dict(model.layers), cost=nn.serial()), costly, batch)
    assert_equal((value, grads), (expected, of_loss))


@dataclass(frozen=True)
class Balance(nn.Layer):
    """Has no backward of its own, and adds to the loss."""

    def init(self, key, x):
        return {"gain": jnp.ones((), x.dtype)}, {"auxiliary_loss": jnp.zeros((), x.dtype), "calls": jnp.zeros(())}

    def apply(self, params, state, x, *, key=None, train=False):
        y = params["gain"] * x
        return y, {"auxiliary_loss": (y.mean(0) ** 2).sum(), "calls": state["calls"] + 1} if train else state


@roads
def test_the_gradient_of_what_a_layer_without_backward_adds_is_not_lost(road, x64):
    batch = nn.Data(drawn(6, 2), drawn(6, 3, seed=1))
    value, grads, added = taken(road, nn.serial(nn.Dense(3), Balance()), nn.losses.mse, batch)

    @jax.jit
    def expected():
        params, _ = nn.serial(nn.Dense(3), Balance()).init(jax.random.key(0), batch.x)

        def loss(params):
            y = params["balance_0"]["gain"] * (batch.x @ params["dense_0"]["w"] + params["dense_0"]["b"][None])
            return ((y - batch.y) ** 2).mean() + (y.mean(0) ** 2).sum()

        return jax.value_and_grad(loss)(params)

    assert_equal((value, grads), expected())
    assert added > 1e-3


@pytest.mark.parametrize("costs", [nn.ActivityPenalty(0.1, 0.3), Balance()], ids=["hand", "automatic"])
def test_roads_agree_in_every_combinator(costs):
    model = nn.serial(
        nn.repeat(nn.remat(nn.residual(nn.Dense(3), costs)), 2),
        nn.parallel(nn.remat(nn.Dense(3), costs), nn.each_step(costs), nn.serial()),
        nn.add,
        nn.on_weights(nn.Dense(2), nn.ActivityPenalty(l1=0.2)),
    )
    batch = nn.Data(np.float32(drawn(5, 3)), np.float32(drawn(5, 2)))
    ts = nn.trainer(model, nn.losses.mse, nn.sgd(0.1)).init(jax.random.key(0), batch.x)
    comparison = nn.compare(model, nn.losses.mse, ts, batch, rounds=1, directions=1)
    assert comparison.agrees, comparison
    if costs.hand:
        nn.by_hand(model, nn.losses.mse, strict=True)


@roads
def test_what_is_added_is_the_sum_over_layers_and_copies(road, x64):
    """Of which each sees what the one before it puts out."""
    model = nn.serial(nn.repeat(nn.serial(nn.ActivityPenalty(l2=1.0), nn.tanh), 3), nn.ActivityPenalty(l1=2.0))
    x = drawn(5, 3)
    value, _, _ = taken(road, model, nn.losses.mse, nn.Data(x, jnp.zeros((5, 3))))
    layers = [np.asarray(x)]
    for _ in range(3):
        layers.append(np.tanh(layers[-1]))
    added = sum((y**2).sum() for y in layers[:3]) / 5 + 2 * np.abs(layers[3]).sum() / 5
    np.testing.assert_allclose(value, added + (layers[3] ** 2).mean(), rtol=1e-12)


def vae(kl):
    """`nn.models.vae`, small and smooth, with a layer between the encoder and the draw."""
    encoder = nn.serial(nn.Dense(5), nn.tanh, nn.parallel(means=nn.Dense(2), log_variances=nn.Dense(2)))
    draw = nn.serial(nn.GaussianSample(), nn.Dense(5), nn.tanh, nn.Dense(4))
    return nn.serial(encoder=encoder, kl=kl, out=nn.parallel(logits=draw, code=nn.serial()))


@roads
def test_an_autoencoder_learns_as_with_the_divergence_in_its_loss(road, x64):
    x = jax.nn.sigmoid(drawn(8, 4))

    def trained(kl, beta):
        trainer = nn.trainer(vae(kl), nn.losses.negative_elbo.bind(beta=beta), nn.adam(0.05), gradient=road)

        def step(ts, _):
            ts, info = trainer.step(ts, nn.Data(x, x))
            return ts, info.loss

        ts, losses = jax.jit(lambda: jax.lax.scan(step, trainer.init(jax.random.key(0), x), length=5))()
        return ts.params, losses

    params, losses = trained(nn.GaussianKL(0.7), 0.0)
    assert_equal((params, losses), trained(nn.serial(), 0.7), 1e-10)
    assert losses[-1] < losses[0]


def test_strengths_may_be_swept_and_differentiated(x64):
    batch = nn.Data(drawn(4, 2), drawn(4, 2, seed=1))

    def value(strengths, road):
        model = nn.serial(nn.ActivityPenalty(*strengths[:2]), nn.parallel(nn.serial(), nn.serial()))
        model = nn.serial(model, nn.GaussianKL(strengths[2]), nn.add, nn.Dense(2))
        params, state = model.init(jax.random.key(0), batch.x)
        value, _, grads = road(model, nn.losses.mse)(params, {}, state, batch)
        return value, grads

    swept = jnp.array([[0.0, 1.0, 2.0], [0.1, 0.2, 0.3]])
    for road in ROADS.values():
        mapped = jax.jit(jax.vmap(lambda s, road=road: value(s, road)))(swept)
        alone = jax.jit(lambda road=road: value([0.1, 0.2, 0.3], road))()
        assert_equal(jax.tree.map(lambda a: a[1], mapped), alone)
        slope = jax.jit(jax.grad(lambda s, road=road: value(s, road)[0]))(swept[0])
        x = np.asarray(batch.x)
        expected = [np.abs(x).sum() / 4, (x * x).sum() / 4, float(gaussian_kl(batch.x, batch.x).mean())]
        np.testing.assert_allclose(slope, expected, rtol=1e-10)


@roads
def test_beyond_the_lengths_of_sequences_nothing_is_penalised(road, x64):
    lengths = jnp.array([3, 0, 1], jnp.int32)
    x = drawn(3, 4, 2)
    within = np.arange(4)[None] < np.asarray(lengths)[:, None]
    layer = nn.ActivityPenalty(0.5, 2.0)
    inside = np.where(within[..., None], x, 0)
    _, state = layer.apply({}, {}, nn.Sequences(x, lengths), train=True)
    np.testing.assert_allclose(
        state["auxiliary_loss"], (0.5 * np.abs(inside).sum() + 2 * (inside**2).sum()) / 3, rtol=1e-12
    )
    model, batch = nn.serial(nn.each_step(nn.Dense(2)), layer, nn.last), nn.Data(nn.Sequences(x, lengths), drawn(3, 2))
    other = batch._replace(x=nn.Sequences(jnp.where(within[..., None], x, 99.0), lengths))
    assert_equal(taken(road, model, nn.losses.mse, batch)[:2], taken(road, model, nn.losses.mse, other)[:2])


def test_a_run_shows_it_in_its_loss_and_evaluation_is_without(key):
    data = nn.Data(jnp.asarray(drawn(8, 3), jnp.float32), jnp.zeros((8, 2)))
    trainer = nn.trainer(nn.serial(nn.Dense(2), nn.ActivityPenalty(l2=3.0)), nn.losses.mse, nn.sgd(0.0))
    ts = trainer.init(key, data.x)
    ts, history = nn.fit(trainer, ts, data, epochs=1, batch_size=4)
    without = nn.evaluate(trainer, ts, data)
    assert without.dtype == history["loss"].dtype
    np.testing.assert_allclose(history["loss"], [without * (1 + 3 * 2)], rtol=1e-5)  # the error is the mean of two


def test_in_half_precision_what_is_added_is_wide():
    x = jnp.full((64, 64), 100.0, jnp.bfloat16)
    layer = nn.ActivityPenalty(l2=1.0)
    _, state = layer.init(None, x)
    (_, new), residuals = layer.fwd({}, state, x, train=True)
    assert state["auxiliary_loss"].dtype == new["auxiliary_loss"].dtype == jnp.float32
    assert new["auxiliary_loss"] == 640_000
    assert layer.bwd(residuals, x)[1].dtype == jnp.bfloat16


def test_refused():
    with pytest.raises(ValueError, match="expected l2 of at least 0, because a penalty grows with what it is of; got"):
        nn.ActivityPenalty(l1=0.1, l2=-0.1)
    with pytest.raises(ValueError, match="expected strength of at least 0, because codes are to come nearer to the st"):
        nn.GaussianKL(-1.0)
    with pytest.raises(TypeError, match=r"expected a floating or complex dtype, because .*; got int32"):
        nn.ActivityPenalty(l1=0.1).init(None, jnp.arange(3))
    with pytest.raises(nn.ShapeError, match=r"got prediction \(2, 3\), target \(2, 4\)"):
        nn.GaussianKL().init(None, (jnp.ones((2, 3)), jnp.ones((2, 4))))


@pytest.mark.parametrize(
    "model",
    [
        nn.serial(nn.Dense(4), nn.ActivityPenalty(l2=1.0), lambda x: x.argmax(-1), nn.Embed(4, 1)),
        nn.serial(
            nn.parallel(
                nn.serial(nn.Dense(4), nn.ActivityPenalty(l2=1.0), lambda x: x.argmax(-1)),
                nn.Dense(1),
            ),
            lambda both: both[1],
        ),
    ],
    ids=["in series", "side by side"],
)
def test_below_an_integer_what_is_added_has_a_gradient_by_autodiff_and_is_refused_by_hand(model):
    batch = nn.Data(drawn(3, 2), drawn(3, 1, seed=1))
    _, grads, added = taken(nn.by_autodiff, model, nn.losses.mse, batch)
    assert added > 0
    assert any(
        np.abs(leaf).max() > 0 for name, leaf in nn.tree.named_leaves(grads).items() if name.endswith("dense_0/w")
    )
    with pytest.raises(ValueError, match=r"no layer that adds to the loss before .*, because its output is integer"):
        taken(nn.by_hand, model, nn.losses.mse, batch)


def test_what_is_added_in_several_dtypes_is_summed_in_the_widest():
    state = {"a": {"auxiliary_loss": jnp.bfloat16(0.5)}, "b": {"auxiliary_loss": jnp.float32(0.25)}}
    assert (auxiliary_loss(state), auxiliary_loss(state).dtype) == (0.75, jnp.float32)


def test_numpys_float64_is_taken_as_jax_has_it():
    _, state = nn.ActivityPenalty(l2=1.0).apply({}, {}, X, train=True)
    assert state["auxiliary_loss"].dtype == jnp.result_type(float)
