"""`tune` descends as the optimizer descends a plain function, and gets over runs that diverge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression, said

import jaxnn as nn
from jaxnn.search import tune


def bowl(h):
    """Least where rate is 0.1, momentum 0.5 and shift -2."""
    logit = jnp.log(h["momentum"] / (1 - h["momentum"]))
    return (jnp.log10(h["rate"]) + 1) ** 2 + logit**2 + (h["shift"] + 2) ** 2


BEGIN = {"rate": 0.01, "momentum": 0.9, "shift": 1.0}
SCALES = {"rate": "log", "mom.*": "logit"}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_it_takes_the_steps_of_the_optimizer_on_the_scales(mode):
    found = tune(bowl, BEGIN, nn.sgd(0.1), runs=4, scales=SCALES, mode=mode)
    z = np.array([np.log(0.01), np.log(9), 1.0])  # worked by hand: the slopes of the three squares
    for k in range(4):
        rate, momentum, shift = np.exp(z[0]), 1 / (1 + np.exp(-z[1])), z[2]
        slope = np.array([2 * (z[0] / np.log(10) + 1) / np.log(10), 2 * z[1], 2 * (z[2] + 2)])
        value = (z[0] / np.log(10) + 1) ** 2 + z[1] ** 2 + (z[2] + 2) ** 2
        row = jax.tree.map(lambda leaf, k=k: leaf[k], (found.trajectory, found.values, found.grads))
        expected = [
            dict(zip(("rate", "momentum", "shift"), part, strict=True)) for part in ([rate, momentum, shift], slope)
        ]
        assert_close(row, (expected[0], value, expected[1]), 1e-10)
        z = z - 0.1 * slope
    assert_close(found.hyperparameters, jax.tree.map(lambda leaf: leaf[3], found.trajectory), 1e-12)
    assert found.value == found.values.min() == found.values[3]
    assert not found.diverged.any()


@pytest.mark.parametrize("wall", ["nan", "gradient", "high"])
def test_a_run_that_diverges_is_gone_back_from(wall):
    """From 3 a step of 4 goes to -1, beyond the wall at 0; half of it is good, and then the whole step is again."""

    def walled(h):
        beyond = {"nan": lambda h: h * jnp.nan, "gradient": lambda h: jnp.sqrt(h - h), "high": lambda h: -1e6 * h}
        return jax.lax.cond(h < 0, beyond[wall], lambda h: 0.5 * h, h)

    limit = {"diverged_above": 1e3} if wall == "high" else {}
    found = tune(walled, 3.0, nn.sgd(8.0), runs=4, **limit)
    np.testing.assert_array_equal(found.trajectory, [3.0, -1.0, 1.0, -3.0])
    np.testing.assert_array_equal(found.diverged, [False, True, False, True])
    assert (found.hyperparameters, found.value) == (1.0, 0.5)


def test_it_halves_again_until_a_run_is_good_and_the_optimizer_sees_nothing_of_it():
    walled = lambda h: jnp.where(h < 2.4, jnp.nan, 0.5 * h)
    found = tune(walled, 3.0, nn.sgd(8.0), runs=6)
    np.testing.assert_array_equal(found.trajectory, [3.0, -1.0, 1.0, 2.0, 2.5, 1.5])  # the last: a quarter of a step
    with_momentum = tune(walled, 3.0, nn.sgd(8.0, momentum=0.5), runs=6)
    np.testing.assert_array_equal(with_momentum.trajectory, [3.0, -1.0, 1.0, 2.0, 2.5, 1.0])


@pytest.mark.usefixtures("x64")
def test_a_learning_rate_and_a_penalty_are_tuned_and_compile_once():
    train, validation = regression(12), regression(12, seed=1)

    def run(h):
        road = nn.with_penalty(nn.by_hand, nn.losses.Penalty(l2=h["l2"]))
        trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(h["rate"]), gradient=road)
        ts = trainer.init(jax.random.key(0), train.x)
        ts, _ = nn.search.checkpointed_fit(trainer, ts, train, epochs=3, batch_size=4)
        return nn.evaluate(trainer, ts, validation)

    optimizer, scales = nn.adam(0.5), {".*": "log"}
    found = tune(run, {"rate": 0.01, "l2": 0.1}, optimizer, runs=8, scales=scales)
    assert found.value < 0.7 * found.values[0]
    with compilations() as seen:
        found = jax.block_until_ready(tune(run, {"rate": 0.5, "l2": 0.2}, optimizer, runs=8, scales=scales))
        judged = float(found.value)
    assert not seen
    assert_close(jax.jit(run)(found.hyperparameters), judged, 1e-10)
    begins = [0.01, 0.5]
    many = jax.jit(jax.vmap(lambda rate: tune(run, {"rate": rate, "l2": 0.2}, optimizer, runs=8, scales=scales)))
    assert_close(jax.tree.map(lambda leaf: leaf[1], many(np.array(begins))), found, 1e-8)


def test_a_first_run_that_diverges_is_an_error_outside_of_transformations():
    with pytest.raises(
        ValueError, match="a first run that does not diverge, because its gradient says where"
    ) as raised:
        tune(jnp.log, -1.0, nn.sgd(1.0), runs=2)
    assert "hint: begin with a smaller learning rate" in said(raised.value)
    found = jax.jit(lambda h: tune(jnp.log, h, nn.sgd(1.0), runs=3))(-1.0)
    assert found.diverged.all()
    assert jnp.isinf(found.value)
    assert found.hyperparameters == -1


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"scales": {"rate": "cubic"}}, ValueError, "expected scales of 'linear', 'log', 'logit', .* got 'cubic'"),
        ({"scales": {"lr": "log"}}, ValueError, "'lr' matches none of: momentum, rate, shift"),
        ({"scales": {"shift": "log"}}, ValueError, "expected shift above 0, because it is on a log scale; got -1.0"),
        ({"scales": {"rate": "logit"}}, ValueError, "expected rate between 0 and 1, because .* logit scale; got 2.0"),
        ({"runs": 0}, ValueError, "expected runs of at least 1, because each is a step"),
        ({"runs": 2.0}, TypeError, "expected runs to be an int"),
        ({"optimizer": 0.1}, TypeError, "expected an optimizer, such as nn.adam.0.1., because it moves"),
        ({"diverged_above": np.nan}, ValueError, "diverged_above"),
        ({"hyperparameters": 2}, TypeError, "expected hyperparameters that are real and floating"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused(settings, error, message):
    wrong = {"hyperparameters": {"rate": 2.0, "momentum": 0.5, "shift": -1.0}, "optimizer": nn.sgd(1.0), "runs": 2}
    with pytest.raises(error, match=message):
        tune(bowl, **(wrong | settings))
