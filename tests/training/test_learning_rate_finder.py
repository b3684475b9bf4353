"""The learning-rate finder: each of its runs is the one by itself, and what it suggests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression

import jaxnn as nn
from jaxnn.training._learning_rate_finder import _suggested

float64 = pytest.mark.usefixtures("x64")

RATES = np.array([1e-3, 0.01, 0.1, 1.0])
STEPS = 7


def adam(rate):
    return nn.trainer(nn.serial(nn.Dense(2), nn.Dropout(0.3), nn.tanh, nn.Dense(1)), nn.losses.mse, nn.adam(rate))


def line(rate):
    """Of one weight: the loss is (w - 1)^2 / 2 for x = 1, so that sgd converges for rates below 2."""
    half_square = lambda prediction, target: (prediction - target)[..., 0] ** 2 / 2
    return nn.trainer(nn.Dense(1, bias=False), half_square, nn.sgd(rate))


ONES = nn.Data(np.ones((8, 1), np.float32), np.ones((8, 1), np.float32))


def begun(make_trainer, data):
    return make_trainer(1.0).init(jax.random.key(3), data.x)


@float64
@pytest.mark.parametrize("members", [None, 1, 3, 9])
def test_the_runs_are_those_of_a_loop_over_rates(members):
    """`fit` meets the same batches of an epoch; 10 examples make 2 steps of 4 an epoch, so 7 steps 3 and a half."""
    data = regression(10, weighted=True)
    start = begun(adam, data)
    found = nn.find_learning_rate(adam, start, data, rates=RATES, steps=STEPS, batch_size=4, members=members)
    for i, rate in enumerate(RATES):
        trainer = adam(rate)
        ts = start._replace(opt_state=trainer.optimizer.init(start.params))
        _, history = nn.fit(trainer, ts, data, epochs=3, batch_size=4, drop_remainder=True)
        # An epoch's loss weighs its two batches.
        assert found.losses.shape == (4, STEPS)
        weights = np.array([batch_weights(start, data, epoch) for epoch in range(3)])
        means = (weights * np.asarray(found.losses[i, :6]).reshape(3, 2)).sum(1) / weights.sum(1)
        assert_close(means, np.asarray(history["loss"]), 1e-9)
    assert_close(found.final, found.losses[:, -1], 1e-12)
    assert_close(found.rates, RATES, 0)


def batch_weights(start, data, epoch):
    key = jax.random.fold_in(jax.random.fold_in(start.key, nn.training.SHUFFLE), epoch)
    order = nn.training.shuffled(key, jnp.arange(8, dtype=jnp.int32), 10)
    return np.asarray(data.w)[np.asarray(order)].reshape(2, 4).sum(1)


@float64
def test_a_step_is_that_of_the_trainer():
    """With one batch that is all the data, in numbers of the weight alone: w - 1 <- (1 - rate) (w - 1)."""
    data = jax.tree.map(lambda a: a.astype(np.float64), ONES)
    start = begun(line, data)
    w = float(start.params["w"][0, 0])
    rates = np.array([0.1, 0.5, 1.0, 1.9, 2.0, 2.5])
    found = nn.find_learning_rate(line, start, data, rates=rates, steps=20, batch_size=8)
    k = np.arange(20)
    expected = ((1 - rates[:, None]) ** k * (w - 1)) ** 2 / 2
    assert_close(found.losses, expected, 1e-9)
    assert_close(found.final, expected[:, -4:].mean(1), 1e-9)


def test_of_a_quadratic_it_suggests_the_middle_of_what_converges():
    """After 100 steps of w - 1 <- (1 - rate) (w - 1) nine tenths of the loss are gone from about 0.012 to 1.99."""
    found = nn.find_learning_rate(line, begun(line, ONES), ONES, batch_size=4)
    kept = (1 - np.asarray(found.rates)) ** (2 * np.arange(80, 100)[:, None])
    good = np.flatnonzero(kept.mean(0) <= 0.1)
    assert found.suggestion == found.rates[(good[0] + good[-1]) // 2]
    assert 0.1 < found.suggestion < 0.3
    assert found.rates.shape == found.final.shape == (43,)
    assert_close(found.rates[jnp.array([0, 42])], jnp.array([1e-6, 10.0]), 1e-5)


def test_rates_that_diverge_are_NaN_at_the_end_and_never_suggested():
    rates = np.array([0.1, 1.0, 1e19, 1e20])
    found = nn.find_learning_rate(line, begun(line, ONES), ONES, rates=rates, steps=5, batch_size=4)
    assert np.isnan(found.final).tolist() == [False, False, True, True]
    assert found.suggestion == 1.0


def test_where_all_diverge_it_says_so_or_suggests_NaN(key):
    rates = np.array([1e19, 1e20], np.float32)
    find = lambda ts: nn.find_learning_rate(line, ts, ONES, rates=rates, steps=5, batch_size=4)
    start = begun(line, ONES)
    message = (
        r"^expected a rate that learns, because one is to be suggested; got losses that are infinite or NaN at every "
        r"rate from 1e\+19 to 1e\+20\n  hint: smaller rates, or look for what is wrong at any rate: nn.dry_run"
    )
    with pytest.raises(ValueError, match=message):
        find(start)
    found = jax.jit(find)(start)
    assert np.isnan(found.suggestion)
    assert np.isnan(found.final).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("final", "suggestion"),
    [
        pytest.param([9.9, 5.0, 1.0, 5.0, NAN], 2, id="the best"),
        pytest.param([9.9, 1.5, 1.0, 1.8, NAN], 2, id="the middle one of three as good"),
        pytest.param([9.9, 1.5, 1.8, 1.0, NAN], 2, id="the middle, with the best at the cliff"),
        pytest.param([9.9, 9.0, 1.5, 1.0, NAN], 2, id="the lower of two"),
        pytest.param([1.5, 9.0, 1.0, 1.5, 1.5], 3, id="only those around the best"),
        pytest.param([1.5, NAN, 1.9, 1.9, 1.0], 3, id="no further than a gap"),
        pytest.param([10.5, 10.2, 11.0, 12.0, NAN], 1, id="the best, where none gains"),
        pytest.param([1.0, 1.0, 1.0, 1.0, 1.0], 2, id="all alike"),
        pytest.param([NAN] * 5, None, id="none"),
    ],
)
def test_suggests(final, suggestion):
    rates = jnp.array([0.1, 0.2, 0.3, 0.4, 0.5])
    got = jax.jit(_suggested)(rates, jnp.full(5, 10.0), jnp.array(final))
    assert_close(got, jnp.float32(jnp.nan) if suggestion is None else rates[suggestion], 0)


def test_goes_on_from_parameters_that_are_trained_already_with_some_held():
    model = nn.serial(nn.Dense(2), nn.Dense(1))
    make_trainer = lambda rate: nn.trainer(model, nn.losses.mse, nn.momentum(rate), freeze="dense_0/.*")
    data = regression(8)
    start = begun(make_trainer, data)
    trained, history = nn.fit(make_trainer(0.05), start, data, epochs=20, batch_size=8)
    found = nn.find_learning_rate(make_trainer, trained, data, rates=[1e-3], steps=2, batch_size=8)
    assert found.losses[0, 0] < history["loss"][0]
    free = lambda rate: nn.trainer(model, nn.losses.mse, nn.momentum(rate))
    with pytest.raises(ValueError, match="expected a train state that holds nothing fixed"):
        nn.find_learning_rate(free, trained, data, batch_size=8)


def test_other_rates_and_starts_are_no_other_program():
    nn.find_learning_rate(line, begun(line, ONES), ONES, rates=RATES, steps=3, batch_size=4)
    start = begun(line, ONES)._replace(key=jax.random.key(9))
    with compilations() as seen:
        nn.find_learning_rate(line, start, ONES, rates=2 * RATES, steps=3, batch_size=4)
    assert not seen


def test_may_be_mapped_over_seeds():
    def find(seed):
        return nn.find_learning_rate(
            line, line(1.0).init(jax.random.key(seed), ONES.x), ONES, rates=[0.1, 1.0], steps=3, batch_size=8
        )

    found = jax.jit(jax.vmap(find))(jnp.arange(3))
    assert found.losses.shape == (3, 2, 3)
    assert_close(jax.tree.map(lambda a: a[1], found), find(1), 1e-6)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"rates": [0.1, 0.1]},
            ValueError,
            r"^expected rates above 0 that rise, because .*; got \[0.1 0.1\]\n  hint: ",
        ),
        ({"rates": [0.0, 0.1]}, ValueError, r"^expected rates above 0 that rise, because .*; got \[0.  0.1\]"),
        ({"rates": [0.1, np.inf]}, ValueError, "^expected rates above 0 that rise"),
        ({"rates": 0.1}, nn.ShapeError, r"^expected rates in one row, of shape \(rates,\), because .*; got \(\)"),
        ({"rates": []}, nn.ShapeError, r"^expected rates in one row, .*; got \(0,\)"),
        ({"steps": 0}, ValueError, "^expected steps of at least 1, because each run takes some; got 0$"),
        ({"members": 0}, ValueError, "^expected members of at least 1, because it is how many run at a time; got 0$"),
        ({"members": 1.5}, TypeError, "^expected members to be an int"),
        ({"batch_size": 9}, ValueError, "^expected batch_size of at most 8, because data has that many examples"),
        ({"batch_size": 0}, ValueError, "^expected batch_size of at least 1"),
        ({"data": nn.Data(np.full((8, 1), np.nan), ONES.y)}, ValueError, "expected data.x to be finite"),
        (
            {"make_trainer": nn.sgd},
            TypeError,
            "^expected make_trainer to make a trainer .*\n  hint: lambda rate: nn.tr",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, error, message, unannotated):
    settings = {"make_trainer": line, "train_state": begun(line, ONES), "data": ONES, "batch_size": 4} | settings
    make_trainer, train_state, data = (settings.pop(name) for name in ("make_trainer", "train_state", "data"))
    with pytest.raises(error, match=message):
        nn.find_learning_rate(make_trainer, train_state, data, **settings)
