"""Averages in the place of parameters, and running statistics that belong to them: NumPy's numbers, and PyTorch's."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression

import jaxnn as nn
from jaxnn import optim
from jaxnn.training import LAYERS, SHUFFLE, averaged, recalibrated, shuffled

float64 = pytest.mark.usefixtures("x64")
RATE, EPOCHS = 0.1, 3


# Averages.


def linear(optimizer, **settings):
    return nn.trainer(nn.Dense(1, bias=False), nn.losses.mse, optimizer, **settings)


def by_numpy(w, data, average):
    """Gradient descent on the mean of squared errors in batches of 4, in order."""
    x, y, seen = np.asarray(data.x), np.asarray(data.y), []
    for step in range(2 * EPOCHS):
        x_b, y_b = (a[4 * (step % 2) :][:4] for a in (x, y))
        w = w - RATE * 2 * x_b.T @ (x_b @ w - y_b) / len(x_b)
        seen.append(w)
    return average(np.array(seen))


def exponential(seen):
    """All weights of the definition, from the last parameters on."""
    weights = 0.2 * 0.8 ** np.arange(len(seen))[::-1]
    return np.tensordot(weights / weights.sum(), seen, 1)


AVERAGES = {
    "exponentially": (optim.exponentially_averaged(nn.sgd(RATE), 0.8), exponential),
    "equally": (optim.equally_averaged(nn.sgd(RATE), start=2, every=2), lambda seen: seen[3::2].mean(0)),
}


@float64
@pytest.mark.parametrize("name", AVERAGES)
def test_a_model_with_the_average_of_a_run_is_judged_as_by_numpy(key, name):
    optimizer, average = AVERAGES[name]
    t, data = linear(optimizer), regression(8)
    begun = t.init(key, data.x)
    ts, _ = nn.fit(t, begun, data, epochs=EPOCHS, batch_size=4, shuffle=False)
    w = by_numpy(np.asarray(begun.params["w"]), data, average)
    mean = averaged(ts)
    np.testing.assert_allclose(mean.params["w"], w, rtol=1e-12)
    np.testing.assert_allclose(nn.evaluate(t, mean, data), ((data.x @ w - data.y) ** 2).mean(), rtol=1e-12)
    np.testing.assert_allclose(t.predict(mean, data.x), data.x @ w, rtol=1e-12)
    assert (ts.params["w"] != mean.params["w"]).all()
    assert_close(mean._replace(params=ts.params), ts, 0)


def test_it_has_the_dtypes_of_the_parameters_and_what_is_frozen_stays(key):
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optim.equally_averaged(nn.sgd(0.1)), freeze="b")
    ts = t.init(key, jnp.ones((4, 3), jnp.bfloat16))
    mean = averaged(ts)
    assert ts.opt_state.average["w"].dtype == jnp.float32
    assert_close(mean, ts, 0)
    assert mean.params["w"].dtype == jnp.bfloat16
    assert mean.params["b"] is None


@float64
def test_averages_of_many_runs_at_once(key):
    data, t = regression(8), linear(AVERAGES["exponentially"][0])
    run = lambda key: nn.fit(t, t.init(key, data.x), data, epochs=1, batch_size=4)[0]
    loss = lambda key: nn.evaluate(t, averaged(run(key)), data)
    keys = jax.random.split(key, 2)
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(keys), [jax.jit(loss)(key) for key in keys], rtol=1e-10)


def test_without_an_average_or_with_one_of_a_part_there_is_none(key):
    x = jnp.ones((4, 3))
    with pytest.raises(
        ValueError, match=r"expected the state of one optimizer that averages .*; got one with 0 averag"
    ):
        averaged(linear(nn.sgd(0.1)).init(key, x))
    within = optim.by_name({"b": nn.sgd(0.1), "w": optim.equally_averaged(nn.sgd(0.1))})
    ts = nn.trainer(nn.Dense(1), nn.losses.mse, within).init(key, x)
    with pytest.raises(
        ValueError, match=r"expected an average of all parameters that learn, .*; got none of b\n  hint:"
    ):
        averaged(ts)


# Running statistics.


@dataclass(frozen=True)
class Around(nn.Layer):
    """A layer of one's own, with layers among its settings and none among its `children`."""

    settings: dict

    def init(self, key, x):
        return self.settings["inner"][0].init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        return self.settings["inner"][0].apply(params, state, x, key=key, train=train)


NORM = nn.BatchNorm(decay=0.5)
AT_THE_INPUT = {
    "serial": nn.serial(NORM),
    "parallel": nn.serial(nn.parallel(NORM, nn.serial()), nn.concatenate),
    "residual": nn.residual(NORM),
    "remat": nn.remat(NORM),
    "repeat": nn.repeat(NORM, 2),
    "a layer of one's own": Around({"inner": [NORM]}),
}


def batches(ts, data, size):
    """The rows of each batch, in the order of the epoch that would be next."""
    n, steps = data.examples, -(-data.examples // size)
    order = jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch)
    rows = shuffled(order, jnp.arange(steps * size, dtype=jnp.int32) % n, n)
    return [np.asarray(data.x)[row] for row in np.asarray(rows).reshape(steps, size)]


@float64
@pytest.mark.parametrize("name", AT_THE_INPUT)
def test_statistics_are_the_mean_of_those_of_all_batches_wherever_the_layer_stands(key, name):
    data = regression(10)
    t = nn.trainer(AT_THE_INPUT[name], lambda prediction, y: prediction[..., 0], nn.sgd(0.1))
    ts = t.init(key, data.x)._replace(epoch=jnp.array(3, jnp.int32))
    ts = ts._replace(state=jax.tree.map(lambda leaf: leaf + 100.0, ts.state))
    new = recalibrated(t, ts, data, batch_size=4)
    seen = batches(ts, data, 4)
    assert sum(map(len, seen)) == 12  # the last one is filled up
    leaves = {leaf.split("/")[-1]: value for leaf, value in nn.tree.named_leaves(new.state).items()}
    first = {leaf: value[0] if name == "repeat" else value for leaf, value in leaves.items()}
    np.testing.assert_allclose(first["mean"], np.mean([x.mean(0) for x in seen], 0), rtol=1e-12)
    np.testing.assert_allclose(first["var"], np.mean([x.var(0) for x in seen], 0), rtol=1e-12)
    assert_close(new._replace(state=ts.state), ts, 0)


@pytest.mark.oracle
@float64
def test_it_is_update_bn_of_pytorch_but_for_the_variance_being_biased(key):
    torch = pytest.importorskip("torch")
    data, n = regression(12), 4
    model = nn.serial(nn.Dense(3), nn.BatchNorm(), nn.tanh, nn.Dense(2), nn.BatchNorm(), nn.Dense(1))
    t = nn.trainer(model, nn.losses.mse, optim.equally_averaged(nn.sgd(0.1)))
    ts, _ = nn.fit(t, t.init(key, data.x), data, epochs=2, batch_size=n)
    ts = averaged(ts)

    layers = []
    for name in model.children:
        p = ts.params[name]
        if name.startswith("dense"):
            layers.append(torch.nn.Linear(*p["w"].shape, dtype=torch.float64))
            state = {"weight": p["w"].T, "bias": p["b"]}
        elif name.startswith("batch_norm"):
            layers.append(torch.nn.BatchNorm1d(*p["scale"].shape, dtype=torch.float64))
            state = {"weight": p["scale"], "bias": p["offset"]}
        else:
            layers.append(torch.nn.Tanh())
            continue
        layers[-1].load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in state.items()}, strict=False)
    theirs = torch.nn.Sequential(*layers)
    torch.optim.swa_utils.update_bn([torch.tensor(x) for x in batches(ts, data, n)], theirs)

    state = recalibrated(t, ts, data, batch_size=n).state
    norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm1d)]
    for ours, norm in zip((state["batch_norm_0"], state["batch_norm_1"]), norms, strict=True):
        np.testing.assert_allclose(ours["mean"], norm.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(ours["var"] * n / (n - 1), norm.running_var.numpy(), rtol=1e-12)


@float64
def test_dropout_draws_for_each_batch_as_in_training_and_the_same_again(key):
    model = nn.serial(nn.Dropout(0.5), nn.BatchNorm(), nn.Dense(1))
    t, data = nn.trainer(model, nn.losses.mse, nn.sgd(0.1)), regression(8)
    ts = t.init(key, data.x)._replace(step=jnp.array(7, jnp.int32))
    one, again = (recalibrated(t, ts, data, batch_size=4) for _ in range(2))
    assert_close(one, again, 0)
    key_of = lambda step: jax.random.fold_in(jax.random.fold_in(ts.key, LAYERS), step)
    drop = jax.jit(lambda x, step: model.children["dropout_0"].apply(
        {}, {}, x, key=jax.random.fold_in(key_of(step), 0), train=True)[0])  # fmt: skip
    means = [drop(x, 7 + i).mean(0) for i, x in enumerate(batches(ts, data, 4))]
    np.testing.assert_allclose(one.state["batch_norm_0"]["mean"], np.mean(means, 0), rtol=1e-12)


@float64
def test_what_is_frozen_rests_and_other_state_goes_on(key):
    model = nn.serial(nn.spectral_normed(nn.Dense(2)), nn.BatchNorm(), nn.Dense(2), nn.BatchNorm(), nn.Dense(1))
    t, data = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), freeze="batch_norm_1/.*"), regression(8)
    ts = jax.jit(t.init)(key, data.x)
    ts = ts._replace(params=jax.tree.map(lambda p: p + 0.5, ts.params))
    new = recalibrated(t, ts, data, batch_size=8)
    assert_close(new.state["batch_norm_1"], ts.state["batch_norm_1"], 0)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), new.state, ts.state)
    assert moved["batch_norm_0"] == {"mean": True, "var": True}
    stepped, _ = jax.jit(t.step)(ts, data)  # in training the vectors move by one iteration, and so they do here
    assert_close(new.state["dense_0"], stepped.state["dense_0"], 1e-12)


@float64
def test_many_at_once_equal_a_loop_and_the_second_call_compiles_nothing(key):
    data = regression(8)
    t = nn.trainer(nn.serial(nn.BatchNorm(), nn.Dense(1)), nn.losses.mse, nn.sgd(0.1))
    begun = jax.jit(jax.vmap(lambda key: t.init(key, data.x)))(jax.random.split(key, 2))
    states = jax.jit(jax.vmap(lambda ts: recalibrated(t, ts, data, batch_size=4).state))(begun)
    for i in range(2):
        ts = jax.tree.map(lambda leaf, i=i: leaf[i], begun)
        with compilations() as seen:
            one = recalibrated(t, ts, data, batch_size=4).state
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], states), one, 1e-12)
    assert not seen


@pytest.mark.usefixtures("unannotated")
def test_what_cannot_be_run_is_refused(key):
    data = regression(8)
    t = nn.trainer(nn.serial(nn.BatchNorm(), nn.Dense(1)), nn.losses.mse, nn.sgd(0.1))
    ts = t.init(key, data.x)
    for changed, size, kind, message in (
        (data, 0, ValueError, "expected batch_size of at least 1, because it is a shape; got 0"),
        (data, 9, ValueError, "expected batch_size of at most 8, because data has that many examples; got 9"),
        (data, 2.5, TypeError, "expected batch_size to be an int, because it is a shape; got 2.5"),
        (data.x, 4, TypeError, r"expected data as nn.Data\(x, y\), because inputs and targets go together"),
    ):
        with pytest.raises(kind, match=message):
            recalibrated(t, ts, changed, batch_size=size)
