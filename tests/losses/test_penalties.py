"""Penalties: their numbers, what they choose, exact zeros, and both roads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.losses import Penalty, l1_penalty, l2_penalty, soft_threshold

W = jnp.array([1.0, -2.0, 3.0])


def test_REG_1_E_56_l2_is_the_sum_of_squares_with_slope_2_w():
    value, residuals = l2_penalty.fwd(W, strength=0.1)
    np.testing.assert_allclose(value, 1.4, rtol=1e-6)
    np.testing.assert_allclose(l2_penalty.bwd(residuals, jnp.ones(()), strength=0.1)[0], [0.2, -0.4, 0.6], rtol=1e-6)


def test_REG_2_E_57_l1_and_its_proximal_step():
    value, residuals = l1_penalty.fwd(W, strength=0.1)
    np.testing.assert_allclose(value, 0.6, rtol=1e-6)
    np.testing.assert_allclose(l1_penalty.bwd(residuals, jnp.ones(()), strength=0.1)[0], [0.1, -0.1, 0.1], rtol=1e-6)
    assert l1_penalty.bwd(jnp.zeros(1), jnp.ones(()), strength=0.1)[0].item() == 0
    assert soft_threshold(jnp.array(0.05), threshold=0.1) == 0


MODEL = nn.serial(nn.Dense(3), nn.BatchNorm(), nn.tanh, nn.Dense(1))
PENALTY = Penalty(l1=0.1, l2=0.2)


@pytest.mark.parametrize("freeze", [(), ("dense_0/.*",)], ids=["all", "head"])
def test_both_roads_add_value_and_gradient_of_weights_alone(freeze, x64):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    batch = nn.Data(x, x[:, :1])
    whole, state = MODEL.init(jax.random.key(0), x)
    whole, state = jax.tree.map(lambda a: a.astype(jnp.float64) + 0.3, (whole, state))
    frozen, params = nn.tree.split(whole, nn.tree.mask(whole, freeze))
    bare = nn.by_hand(MODEL, nn.losses.mse)(params, frozen, state, batch)
    learnt = {name: np.asarray(w) for name, w in nn.tree.named_leaves(params).items() if name.endswith("/w")}
    assert set(learnt) == {"dense_0/w", "dense_1/w"} - {f"{p.split('/')[0]}/w" for p in freeze}
    for road in (nn.by_hand, nn.by_autodiff):
        value, _, grads = nn.with_penalty(road, PENALTY)(MODEL, nn.losses.mse)(params, frozen, state, batch)
        cost = sum(0.1 * np.abs(w).sum() + 0.2 * (w * w).sum() for w in learnt.values())
        np.testing.assert_allclose(value - bare[0], cost, rtol=1e-10)
        added = jax.tree.map(lambda a, b: a - b, grads, bare[2])
        for name, d in nn.tree.named_leaves(added).items():
            w = learnt.get(name)
            expected = np.zeros(d.shape) if w is None else 0.1 * np.sign(w) + 0.4 * w
            np.testing.assert_allclose(d, expected, rtol=1e-9, atol=1e-10, err_msg=name)


def test_training_with_a_proximal_step_reaches_exact_zeros():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 4)), jnp.float32)
    batch = nn.Data(x, x[:, :1])  # the other three features do not matter
    optimizer = nn.optim.chain(nn.sgd(0.1), Penalty(l1=0.5).proximal(lambda count: 0.1))
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optimizer)
    ts, step = t.init(jax.random.key(0), x), jax.jit(t.step)
    for _ in range(60):
        ts, _ = step(ts, batch)
    w = ts.params["w"][:, 0]
    assert w[0] > 0.5
    np.testing.assert_array_equal(w[1:], 0)


def test_a_pattern_that_matches_nothing_and_a_negative_strength_are_refused():
    with pytest.raises(ValueError, match="matches none of: b, w"):
        Penalty(l1=1.0, leaves="head/w")({"w": W, "b": W})
    with pytest.raises(ValueError, match="expected l1 of at least 0"):
        Penalty(l1=-1.0)
    with pytest.raises(ValueError, match="expected the parameters"):
        Penalty(l1=1.0).proximal(0.1).update({"w": W}, jnp.zeros((), jnp.int32))


def test_equal_penalties_are_equal():
    assert Penalty(l2=0.1) == Penalty(l2=0.1, leaves="(.*/)?w")
    assert hash(nn.with_penalty(nn.by_hand, Penalty(l2=0.1))) == hash(nn.with_penalty(nn.by_hand, Penalty(l2=0.1)))
    assert Penalty(l2=0.1) != Penalty(l1=0.1)


def trained(penalty, w, x, y):
    """The weights of a linear model after training with a penalty."""
    t = nn.trainer(nn.Dense(1, bias=False), nn.losses.mse, nn.sgd(0.1), gradient=nn.with_penalty(nn.by_hand, penalty))
    ts = t.init(jax.random.key(0), x)
    ts = ts._replace(params={"w": w})
    return nn.fit(t, ts, nn.Data(x, y), epochs=200, batch_size=len(x))[0].params["w"][:, 0]


BATCH = nn.Data(jnp.array([[1.0, 2.0], [3.0, -1.0]]), jnp.array([[1.0], [2.0]]))
PARAMS = {"w": jnp.array([[0.5], [-1.0]]), "b": jnp.array([0.25])}


@pytest.mark.parametrize("road", [nn.by_hand, nn.by_autodiff], ids=["by_hand", "by_autodiff"])
def test_LOSS_17_the_regularised_loss_is_the_loss_and_lambda_times_the_sum_of_squares(road):
    loss, _, grads = road(nn.Dense(1), nn.losses.mse)(PARAMS, {}, {}, BATCH)
    regularised, _, more = nn.with_penalty(road, Penalty(l2=0.1))(nn.Dense(1), nn.losses.mse)(PARAMS, {}, {}, BATCH)
    np.testing.assert_allclose(regularised - loss, 0.1 * (0.25 + 1), rtol=1e-5)  # the bias is left alone
    np.testing.assert_allclose(more["w"] - grads["w"], [[0.1], [-0.2]], rtol=1e-5)  # 2 lambda w
    np.testing.assert_array_equal(more["b"], grads["b"])


def step(optimizer, penalty=None):
    """The weights after one step of training from PARAMS."""
    road = nn.by_hand if penalty is None else nn.with_penalty(nn.by_hand, penalty)
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optimizer, gradient=road)
    ts = t.init(jax.random.key(0), BATCH.x)._replace(params=PARAMS)
    return t.step(ts, BATCH)[0].params


def test_REG_1_with_plain_descent_l2_is_a_decay_of_weights_and_not_of_biases():
    rate, strength = 0.1, 0.05
    g = nn.by_hand(nn.Dense(1), nn.losses.mse)(PARAMS, {}, {}, BATCH)[2]
    after = step(nn.sgd(rate), Penalty(l2=strength))
    np.testing.assert_allclose(after["w"], (1 - 2 * rate * strength) * PARAMS["w"] - rate * g["w"], rtol=1e-6)
    np.testing.assert_allclose(after["b"], PARAMS["b"] - rate * g["b"], rtol=1e-6)


def test_E_55_with_adam_l2_is_not_the_decay_of_adamw():
    """Adam divides the penalty's slope by the size of gradients; adamw's decay is 2 lambda w times the rate."""
    rate, strength = 0.1, 0.05
    by_penalty = step(nn.adam(rate), Penalty(l2=strength))["w"]
    decayed = step(nn.adamw(rate, weight_decay=2 * strength, mask={"w": True, "b": False}))["w"]
    bare = step(nn.adam(rate))["w"]
    np.testing.assert_allclose(decayed, bare - rate * 2 * strength * PARAMS["w"], rtol=1e-5)
    assert jnp.abs(by_penalty - decayed).max() > 1e-3


def test_E_57_a_step_down_the_slope_of_l1_passes_0_and_a_proximal_one_stays_there():
    w = jnp.array(0.05)
    down = w - l1_penalty.bwd(w, jnp.ones(()), strength=0.1)[0]
    assert down < 0
    assert soft_threshold(w, threshold=0.1) == 0


def test_REG_7_and_E_59_a_penalty_fits_less_and_helps_most_where_data_are_few():
    """It never sees the test set, raises the loss in training, and so makes underfitting worse."""
    random = np.random.default_rng(0)
    draw = lambda n: jnp.asarray(random.normal(size=(n, 6)), jnp.float32)
    true, unseen = draw(1).T, draw(200)
    errors = {}
    for n in (8, 200):
        x = draw(n)
        y = x @ true + 2 * draw(n)[:, :1]
        for l2 in (0.0, 0.3):
            w = trained(Penalty(l2=l2), jnp.zeros((6, 1)), x, y)[:, None]
            errors[n, l2] = float(((x @ w - y) ** 2).mean()), float(((unseen @ (w - true)) ** 2).mean())
    for n in (8, 200):
        assert errors[n, 0.3][0] > errors[n, 0.0][0]
    few, many = (errors[n, 0.0][1] - errors[n, 0.3][1] for n in (8, 200))
    assert few > 0
    assert few > many


def test_REG_8_a_stronger_penalty_leaves_smaller_weights_and_may_be_swept():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2)), jnp.float32)
    y = x @ jnp.array([[1.0], [-2.0]])
    w = jax.vmap(lambda l2: trained(Penalty(l2=l2), jnp.zeros((2, 1)), x, y))(jnp.array([0.0, 0.1, 1.0]))
    norms = jnp.linalg.norm(w, axis=1)
    np.testing.assert_allclose(w[0], [1, -2], atol=1e-3)
    assert norms[0] > norms[1] > norms[2] > 0


def test_REG_3_of_equal_features_l2_takes_each_alike_and_l1_any_split():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)), jnp.float32)
    twice, w = jnp.concatenate([x, x], 1), jnp.array([[0.9], [0.1]])
    by_l2, by_l1 = trained(Penalty(l2=0.2), w, twice, x), trained(Penalty(l1=0.05), w, twice, x)
    np.testing.assert_allclose(by_l2[0], by_l2[1], rtol=1e-3)
    np.testing.assert_allclose(by_l1[0] - by_l1[1], 0.8, rtol=1e-5)  # as it was
    assert 0.8 < by_l1.sum() < 1
