"""Each number of a run may be swept: mapped over, compiled once, and differentiated where the run is smooth in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression

import jaxnn as nn
from jaxnn import optim

pytestmark = pytest.mark.usefixtures("x64")
MODEL = nn.serial(nn.Dense(1), nn.tanh)
LOGITS = nn.serial(nn.Dense(2), nn.tanh)
with jax.enable_x64(True):
    DATA, VALIDATION = regression(10), regression(6, seed=1)
    LABELS = DATA._replace(y=(np.asarray(DATA.y[:, 0]) > 0).astype(np.int32))
    BEGIN = {model: jax.tree.map(np.asarray, model.init(jax.random.key(0), DATA.x)[0]) for model in (MODEL, LOGITS)}


def fit(optimizer, *, model=MODEL, loss=nn.losses.mse, data=DATA, gradient=nn.by_hand, averaged=False, **settings):
    """The loss of validation after two epochs: a number that depends on all that is swept."""
    trainer = nn.trainer(model, loss, optimizer, gradient=gradient)
    params = jax.tree.map(jnp.asarray, BEGIN[model])
    ts = trainer.init(jax.random.key(0), DATA.x)
    ts = ts._replace(params=params, opt_state=trainer.optimizer.init(params))
    ts, _ = nn.fit(trainer, ts, data, **{"epochs": 2, "batch_size": 4, "averaged": averaged} | settings)
    judged = LABELS if model is LOGITS else VALIDATION
    return nn.evaluate(trainer, ts, judged, averaged=averaged)


def l1(strength, road=nn.by_hand):
    return fit(nn.sgd(0.1), gradient=nn.with_penalty(road, nn.losses.Penalty(l1=strength)))


def l2(strength, road=nn.by_hand):
    return fit(nn.sgd(0.1), gradient=nn.with_penalty(road, nn.losses.Penalty(l2=strength)))


def proximal(strength):
    return fit(optim.chain(nn.sgd(0.1), nn.losses.Penalty(l1=strength).proximal(0.1)))


def clipped(threshold):
    return fit(optim.chain(optim.clip_by_global_norm(threshold), nn.sgd(0.1)))


def noisy(variance):
    return fit(optim.chain(optim.add_noise(variance, 0.55, 0), nn.sgd(0.1)))


def smoothed(smoothing, road=nn.by_hand):
    loss = nn.losses.sparse_cross_entropy.bind(smoothing=smoothing)
    return fit(nn.sgd(0.5), model=LOGITS, loss=loss, data=LABELS, gradient=road)


def weighed(weight, road=nn.by_hand):
    w = jnp.ones(10).at[3].set(jnp.asarray(weight, jnp.float64))
    return fit(nn.sgd(0.1), data=DATA._replace(w=w), gradient=road)


def class_weighed(weight):
    data = nn.data.class_weighted(LABELS, jnp.stack([jnp.ones(()), jnp.asarray(weight, jnp.float64)]), classes=2)
    return fit(nn.sgd(0.5), model=LOGITS, loss=nn.losses.cross_entropy, data=data)


def ema(decay):
    return fit(optim.exponentially_averaged(nn.sgd(0.1), decay), averaged=True)


def lookahead(step_size):
    return fit(optim.with_lookahead(nn.sgd(0.1), 4, step_size))


def by_name(rate):
    return fit(optim.by_name({".*/b": nn.sgd(rate), ".*": nn.sgd(0.1)}))


def activity(strength, road=nn.by_hand):
    model = nn.serial(nn.Dense(1), nn.ActivityPenalty(l2=strength), nn.tanh)
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), gradient=road)
    ts = trainer.init(jax.random.key(0), DATA.x)
    params = {**ts.params, "dense_0": jax.tree.map(jnp.asarray, BEGIN[MODEL]["dense_0"])}
    ts, _ = nn.fit(trainer, ts._replace(params=params), DATA, epochs=2, batch_size=4)
    return nn.evaluate(trainer, ts, VALIDATION)


def scaled(scale):
    return fit(optim.dynamic_loss_scale(nn.sgd(0.1), initial=scale))


def patience(patience):
    return fit(
        nn.sgd(0.5), epochs=6, stopping=nn.EarlyStopping(patience, 1e3, restore_best=False), validation=VALIDATION
    )


def min_delta(min_delta):
    return fit(nn.sgd(0.5), epochs=6, stopping=nn.EarlyStopping(2, min_delta=min_delta), validation=VALIDATION)


def plateau(factor):
    rule = optim.reduce_on_validation(factor, 1, atol=1e3)
    return fit(optim.chain(nn.sgd(0.5), rule), epochs=4, validation=VALIDATION)


SMOOTH = {
    l1: [0.01, 0.02],
    l2: [0.01, 0.02],
    proximal: [0.01, 0.02],
    clipped: [0.1, 0.2],
    noisy: [0.01, 0.02],
    smoothed: [0.05, 0.1],
    weighed: [0.5, 2.0],
    class_weighed: [0.5, 2.0],
    ema: [0.5, 0.8],
    lookahead: [0.5, 0.8],
    by_name: [0.05, 0.3],
    activity: [0.05, 0.1],
    plateau: [0.3, 0.6],
}
CHOOSING = {patience: [1, 3], min_delta: [0.0, 1e3]}
NEUTRAL = {scaled: [8.0, 64.0]}  # whatever it is, in float64 the run is the same
name_of = lambda run: run.__name__


@pytest.mark.parametrize("run", [*SMOOTH, *CHOOSING, *NEUTRAL], ids=name_of)
def test_a_mapped_run_is_that_of_each_value_and_compiles_once(run):
    values = jnp.array((SMOOTH | CHOOSING | NEUTRAL)[run])
    one, mapped = jax.jit(run), jax.jit(jax.vmap(run))
    alone = [one(values[0])]
    with compilations() as seen:
        alone.append(jax.block_until_ready(one(values[1])))
    assert not seen
    assert_close(mapped(values), jnp.stack(alone), 1e-9)
    assert (alone[0] != alone[1]) == (run not in NEUTRAL)  # or the value did nothing


@pytest.mark.parametrize("run", SMOOTH, ids=name_of)
def test_the_slope_by_a_value_is_that_of_differences(run):
    value, h = SMOOTH[run][0], 1e-6
    slope, one = jax.jit(jax.grad(run))(value), jax.jit(run)
    np.testing.assert_allclose(slope, (one(value + h) - one(value - h)) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("run", [l1, l2, smoothed, weighed, activity], ids=name_of)
def test_the_other_road_is_as_smooth(run):
    value = SMOOTH[run][0]
    each = [
        jax.jit(jax.value_and_grad(lambda v, road=road: run(v, road)))(value) for road in (nn.by_autodiff, nn.by_hand)
    ]
    assert_close(*each, 1e-9)
