"""Hypergradients through runs as users have them, against central differences, `fit`, and one mode by the other."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, said

import jaxnn as nn
from jaxnn.search import checkpointed_fit, hypergradient

pytestmark = pytest.mark.usefixtures("x64")
HYPERPARAMETERS = {"rate": 0.01, "b1": 0.85, "decay": 0.02, "penalty": 0.003, "scale": 1.3}


def problem(n, seed=0, *, weighted=False):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    y = np.sin(x.sum(axis=1, keepdims=True)) + 0.1 * random.normal(size=(n, 1))
    return nn.Data(x, y, random.uniform(0.5, 2, size=n) if weighted else None)


TRAIN, VALIDATION = problem(18), problem(8, seed=1)


def run(h, *, road=nn.by_hand, fit=checkpointed_fit, epochs, **settings):
    """Batch norm, dropout, decoupled decay, a penalty, and parameters drawn at a scale: each has its number in h."""
    first = nn.Dense(4, w_init=nn.initializers.VarianceScaling(h["scale"], "fan_in", "normal"), bias=False)
    model = nn.serial(first, nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
    penalised = nn.with_penalty(road, nn.losses.Penalty(l2=h["penalty"]))
    optimizer = nn.adamw(h["rate"], b1=h["b1"], weight_decay=h["decay"])
    trainer = nn.trainer(model, nn.losses.mse, optimizer, gradient=penalised)
    ts = trainer.init(jax.random.key(0), TRAIN.x)
    ts, _ = fit(trainer, ts, TRAIN, epochs=epochs, batch_size=4, **settings)  # 5 steps an epoch, the last one filled up
    return nn.evaluate(trainer, ts, VALIDATION)


def differences(run, h, step=1e-5):
    """Central differences by each number of a tree, all runs in one program."""
    leaves, structure = jax.tree.flatten(h)
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    sides = flat + step * np.maximum(np.abs(flat), 0.1) * np.stack([np.eye(len(flat)), -np.eye(len(flat))])
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]

    def run_at(flat):
        parts = [part.reshape(np.shape(leaf)) for part, leaf in zip(jnp.split(flat, ends), leaves, strict=True)]
        return run(jax.tree.unflatten(structure, parts))

    plus, minus = np.asarray(jax.jit(jax.vmap(jax.vmap(run_at)))(sides))
    slopes = np.split((plus - minus) / (2 * step * np.maximum(np.abs(flat), 0.1)), ends)
    return jax.tree.unflatten(structure, [s.reshape(np.shape(leaf)) for s, leaf in zip(slopes, leaves, strict=True)])


@functools.cache
def slopes_through_200_steps():
    """Of `fit` itself, by the other road than that of half of the tests."""
    return differences(partial(run, road=nn.by_autodiff, fit=nn.fit, epochs=40), HYPERPARAMETERS)


WHOLE = {road: partial(run, road=road, epochs=40) for road in (nn.by_autodiff, nn.by_hand)}


@pytest.mark.slow
@pytest.mark.parametrize("road", WHOLE, ids=lambda road: road.__name__)
def test_through_200_steps_of_adam_they_are_those_of_differences(road):
    _, grads = hypergradient(WHOLE[road], HYPERPARAMETERS)
    assert len(slopes_through_200_steps()) == len(grads)
    for name, slope in slopes_through_200_steps().items():
        np.testing.assert_allclose(grads[name], slope, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_both_modes_are_the_same():
    forward = hypergradient(WHOLE[nn.by_hand], HYPERPARAMETERS, mode="forward")
    assert_close(forward, hypergradient(WHOLE[nn.by_hand], HYPERPARAMETERS), 1e-9)


def little(h, fit=checkpointed_fit):
    """A run that is compiled quickly."""
    trainer = nn.trainer(nn.serial(nn.Dense(1, bias=False), nn.tanh), nn.losses.mse, nn.adam(h["rate"], b1=h["b1"]))
    ts = trainer.init(jax.random.key(0), TRAIN.x)
    return nn.evaluate(trainer, fit(trainer, ts, TRAIN, epochs=2, batch_size=4)[0], VALIDATION)


RATE = {"rate": 0.05, "b1": 0.9}


def test_they_are_the_gradient_through_fit():
    assert_close(hypergradient(little, RATE), jax.jit(jax.value_and_grad(partial(little, fit=nn.fit)))(RATE), 1e-10)


def test_one_compilation_serves_all_values():
    hypergradient(little, RATE)
    others = {"rate": 0.03, "b1": 0.8}
    with compilations() as seen:
        value, _ = jax.block_until_ready(hypergradient(little, others))
    assert not seen
    assert_close(value, jax.jit(little)(others), 1e-12)


def test_under_vmap_and_jit_each_member_has_its_own():
    members = [{"rate": rate, "b1": 0.9} for rate in (0.01, 0.05)]
    mapped = jax.jit(jax.vmap(partial(hypergradient, little)))(jax.tree.map(lambda *h: np.array(h), *members))
    for i, h in enumerate(members):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), hypergradient(little, h), 1e-10)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_each_number_keeps_its_shape_and_dtype(mode):
    h = {"a": jnp.arange(3, dtype=jnp.float32), "b": {"c": np.ones((2, 1))}, "d": 2.0}
    value, grads = hypergradient(lambda h: (h["a"] ** 2).sum().astype(float) * h["d"] + h["b"]["c"].sum(), h, mode=mode)
    assert_close(grads, {"a": jnp.array([0.0, 4.0, 8.0], jnp.float32), "b": {"c": jnp.ones((2, 1))}, "d": 5.0}, 1e-6)
    assert value == 12
    assert jax.tree.map(lambda leaf: leaf.dtype.name, grads) == {"a": "float32", "b": {"c": "float64"}, "d": "float64"}


def test_a_run_that_diverges_says_so():
    value, grads = hypergradient(little, {"rate": np.nan, "b1": 0.9})
    assert not np.isfinite(value)
    assert not np.isfinite(grads["rate"])


def layers_and_points(h):
    """Rates of each layer, points of a schedule, weights of examples: hyperparameters that are arrays."""
    schedule = lambda step: jnp.interp(step.astype(h["points"].dtype), jnp.array([0.0, 4.0, 9.0]), h["points"])
    optimizer = nn.optim.by_name({"dense_0/.*": nn.adam(schedule), "dense_1/.*": nn.sgd(h["rate"], momentum=0.5)})
    trainer = nn.trainer(nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1)), nn.losses.mse, optimizer, gradient=nn.by_hand)
    weights = jnp.tile(jax.nn.softplus(h["weights"]), 9)
    ts = trainer.init(jax.random.key(1), TRAIN.x)
    ts, _ = checkpointed_fit(trainer, ts, TRAIN._replace(w=weights), epochs=2, batch_size=4, segment=5)
    return nn.evaluate(trainer, ts, VALIDATION)


def test_of_arrays_of_hyperparameters_they_are_those_of_differences():
    h = {"points": np.array([0.01, 0.05, 0.02]), "rate": 0.05, "weights": np.array([0.3, -0.4])}
    _, grads = hypergradient(layers_and_points, h)
    for name, slope in differences(layers_and_points, h).items():
        np.testing.assert_allclose(grads[name], slope, rtol=1e-5, err_msg=name)


def test_forward_mode_goes_through_ops_with_rules():
    images = nn.Data(np.random.default_rng(0).normal(size=(4, 3, 3, 1)), np.array([0, 1, 0, 1]))

    def convolved(rate):
        model = nn.serial(nn.Conv(1, (2, 2)), nn.flatten, nn.Dense(2))
        trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(rate))
        ts = trainer.init(jax.random.key(0), images.x)
        ts, _ = checkpointed_fit(trainer, ts, images, epochs=1, batch_size=4)
        return nn.evaluate(trainer, ts, images)

    expected = hypergradient(convolved, 0.1)
    assert_close(hypergradient(convolved, 0.1, mode="forward"), expected, 1e-10)
    assert_close(jax.jit(lambda rate: jax.jvp(convolved, (rate,), (jnp.ones(()),)))(0.1), expected, 1e-10)


NO_DERIVATIVE = "real and floating, because others have no derivative; got "
WRONG = {
    "int": (jnp.sin, 2, TypeError, f"expected hyperparameters that are {NO_DERIVATIVE}2\n  hint: 2.0 for 2"),
    "named": (jnp.sin, {"a": {"width": np.int32(3)}, "rate": 0.1}, TypeError, "got int32[] for a/width"),
    "complex": (jnp.sin, 1j, TypeError, "got 1j"),
    "string": (jnp.sin, "adam", TypeError, "got 'adam'"),
    "none": (jnp.sin, {}, TypeError, "a number or a tree of them, because the gradient is by these; got {}"),
    "no function": (3.0, 2.0, TypeError, "expected run to be a function of hyperparameters, because it is"),
    "two": (lambda h: jnp.stack([h, h]), 2.0, nn.ShapeError, "expected the run to give one number, of shape (), "
            "because it is that which is differentiated; got float64[2]\n  hint: return one figure"),
    "dict": (lambda h: {"loss": h}, 2.0, nn.ShapeError, "got float64[]"),
    "nothing": (lambda h: None, 2.0, nn.ShapeError, "got None"),
    "whole": (lambda h: (h > 1).astype(jnp.int32), 2.0, TypeError, "the run to give a real, floating number, because "
              "others have no derivative; got int32[]"),
}  # fmt: skip


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("what", WRONG)
def test_what_has_no_derivative_is_refused(what, mode):
    run, h, error, message = WRONG[what]
    with pytest.raises(error) as raised:
        hypergradient(run, h, mode=mode)
    assert message in said(raised.value)


@pytest.mark.usefixtures("unannotated")
def test_there_are_two_modes():
    with pytest.raises(ValueError, match=r"expected mode of 'reverse' or 'forward', because .*; got 'backward'"):
        hypergradient(jnp.sin, 1.0, mode="backward")
