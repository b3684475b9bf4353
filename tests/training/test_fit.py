"""A run as a function: what it computes, and that it may be compiled, mapped and differentiated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, epochs_of, outline, regression, smooth

import jaxnn as nn
from jaxnn.training import SHUFFLE, shuffled

pytestmark = pytest.mark.usefixtures("x64")
each_road = pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])

# Tests that run this trainer with the same settings share one compiled program.
TRAINER = smooth()
STEP, PREDICT = jax.jit(TRAINER.step), jax.jit(TRAINER.predict)
THREE = {"epochs": 3, "batch_size": 4, "metrics": absolute_error}


@functools.cache
def beginning(seed=0):
    """A train state, drawn once: compiled functions close over it rather than draw it again."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return TRAINER.init(jax.random.key(seed), outline())


def looped(ts, data, validation, *, epochs, batch_size, metrics, shuffle, drop_remainder):
    """What `fit` should do, as a plain loop over `step`, whose last batch is short rather than filled up."""
    n, history = data.examples, {"loss": [], metrics.__name__: [], "validation_loss": []}
    for _ in range(epochs):
        order = jnp.arange(n)
        if shuffle:
            order = shuffled(jax.random.fold_in(jax.random.fold_in(ts.key, SHUFFLE), ts.epoch), order, n)
        losses, errors, weights = [], [], []
        for start in range(0, n - n % batch_size if drop_remainder else n, batch_size):
            batch = data.take(order[start : start + batch_size])
            ts, info = STEP(ts, batch)
            w = np.ones(len(batch.y)) if batch.w is None else np.asarray(batch.w)
            losses.append(info.loss)
            errors.append(np.average(metrics(info.prediction, batch.y)[:, 0], weights=w))
            weights.append(w.sum())
        ts = ts._replace(epoch=ts.epoch + 1)
        history["loss"].append(np.average(losses, weights=weights))
        history[metrics.__name__].append(np.average(errors, weights=weights))
        history["validation_loss"].append(np.mean((PREDICT(ts, validation.x) - validation.y) ** 2))
    return ts, {name: np.array(rows) for name, rows in history.items()}


@pytest.mark.parametrize(
    ("n", "weighted", "shuffle", "drop_remainder"),
    [
        pytest.param(8, False, True, False, id="whole batches"),
        pytest.param(10, False, True, False, id="a partial last batch"),
        pytest.param(10, True, True, False, id="a partial last batch, weighed examples"),
        pytest.param(10, False, True, True, id="the remainder dropped"),
        pytest.param(10, False, False, False, id="in order"),
    ],
)
def test_equals_a_plain_loop_over_steps(n, weighted, shuffle, drop_remainder):
    data, validation = regression(n, weighted=weighted), regression(6, seed=1)
    settings = {**THREE, "shuffle": shuffle, "drop_remainder": drop_remainder}
    ts, history = nn.fit(TRAINER, beginning(), data, validation=validation, **settings)
    expected_ts, expected = looped(beginning(), data, validation, **settings)
    assert_close(ts, expected_ts, 1e-10)
    assert set(history) == {*expected, "validation_absolute_error"}
    assert_close({name: history[name] for name in expected}, expected, 1e-10)


@pytest.mark.parametrize(("drop_remainder", "steps"), [(False, 32), (True, 31)])
def test_an_epoch_of_1000_examples_is_32_steps_of_32_or_31_whole_ones(key, drop_remainder, steps):
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    data = regression(1000)
    ts, _ = nn.fit(
        trainer, trainer.init(key, data.x), data, epochs=2, batch_size=32, shuffle=False, drop_remainder=drop_remainder
    )
    assert ts.step == 2 * steps
    assert ts.epoch == 2


def test_an_example_of_weight_3_is_three_examples():
    weighed = regression(4)._replace(w=jnp.array([1.0, 3.0, 0.0, 1.0]))
    repeated = regression(4).take(jnp.array([0, 1, 1, 1, 3]))
    (ts, info), (expected_ts, expected) = (STEP(beginning(), data) for data in (weighed, repeated))
    assert_close((ts, info.loss), (expected_ts, expected.loss), 1e-12)


def test_ten_epochs_are_five_and_five_more(key):
    model = nn.serial(nn.BatchNorm(scale=False), nn.Dropout(0.2), nn.Dense(1, bias=False))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(nn.cosine_decay_schedule(0.1, 30), momentum=0.9))
    data = regression(8)
    fit = functools.partial(nn.fit, trainer, data=data, batch_size=4)
    begin = trainer.init(key, data.x)
    whole, history = fit(begin, epochs=10)
    half, first = fit(begin, epochs=5)
    both, second = fit(half, epochs=5)
    assert_close(both, whole, 1e-10)
    assert_close(jnp.concatenate([first["loss"], second["loss"]]), history["loss"], 1e-10)


def test_leaves_its_arguments_as_they_are():
    arguments = beginning(), regression(8), regression(6, seed=1)
    before = jax.tree.map(jnp.copy, arguments)
    ts, _ = nn.fit(TRAINER, *arguments[:2], validation=arguments[2], **THREE)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(arguments))
    assert_close(arguments, before, 0)
    assert (ts.params["dense_0"]["w"] != before[0].params["dense_0"]["w"]).all()


def test_compiles_once_for_the_same_trainer_and_shapes():
    def fit(seed, patience):
        begin, data, validation = beginning(seed), regression(8, seed=seed), regression(6, seed=seed)
        stopping = nn.EarlyStopping(patience, min_delta=patience / 10)
        with compilations() as seen:
            jax.block_until_ready(nn.fit(TRAINER, begin, data, validation=validation, stopping=stopping, **THREE))
        return len(seen)

    assert fit(seed=0, patience=1) > 0
    assert fit(seed=1, patience=2) == 0


def test_the_order_of_examples_is_nothing_to_a_full_batch():
    fit = functools.partial(nn.fit, TRAINER, beginning(), regression(8), epochs=3, batch_size=8)
    assert_close(fit(shuffle=True), fit(shuffle=False), 1e-10)


def test_a_batch_without_weight_moves_nothing(key):
    model = nn.serial(nn.BatchNorm(), nn.Dense(1, bias=False))
    trainer = nn.trainer(model, nn.losses.mse, nn.adamw(0.1, weight_decay=0.1))
    data = regression(8)

    def fit(ts, w):
        return nn.fit(trainer, ts, data._replace(w=jnp.array(w)), epochs=1, batch_size=4, shuffle=False)

    begin, _ = fit(jax.jit(trainer.init)(key, data.x), [1.0] * 8)
    idle, history = fit(begin, [0.0] * 8)
    assert_close(idle, begin._replace(step=begin.step + 2, epoch=begin.epoch + 1), 0)
    assert history["loss"] == 0

    half, _ = fit(begin, [1.0] * 4 + [0.0] * 4)  # of two batches the first counts
    expected, _ = jax.jit(trainer.step)(begin, data.take(jnp.arange(4)))
    assert_close(
        (half.params, half.state, half.opt_state), (expected.params, expected.state, expected.opt_state), 1e-12
    )


@pytest.mark.parametrize("stopping", [None, nn.EarlyStopping(2)], ids=["all epochs", "stopping"])
def test_may_be_compiled_by_the_caller(stopping):
    arguments = beginning(), regression(8), regression(6, seed=1)
    fit = lambda ts, data, validation: nn.fit(TRAINER, ts, data, validation=validation, stopping=stopping, **THREE)
    assert_close(jax.jit(fit)(*arguments), fit(*arguments), 1e-10)


def test_a_sweep_of_rates_and_seeds_is_its_runs_one_by_one():
    data = regression(10)

    def run(learning_rate, seed):
        trainer = smooth(learning_rate)
        return nn.fit(trainer, trainer.init(jax.random.key(seed), data.x), data, epochs=2, batch_size=4)

    rates, seeds = jnp.array([0.01, 0.1]), jnp.arange(3)
    sweep = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(rates, seeds)
    single = jax.jit(run)
    for i, rate in enumerate(rates):
        for j, seed in enumerate(seeds):
            member = jax.tree.map(lambda a, here=(i, j): a[here], sweep)
            assert_close(member, single(rate, seed), 1e-8)


def last_loss(learning_rate, patience, min_delta, *, stops, checkpoint):
    """The mean loss after a run, as a function of the learning rate; and the history.

    The last feature is always 0, so the gradient by its weight is exactly 0, where a square root has no slope.
    """
    data = regression(8)
    data = data._replace(x=data.x.at[:, 2].set(0))
    trainer = smooth(learning_rate)
    params = {"dense_0": {"w": jnp.array([[0.5], [-0.5], [0.1]])}, "tanh_0": {}}
    begin = beginning()._replace(params=params)
    ts, history = nn.fit(
        trainer, begin, data, epochs=5, batch_size=4, shuffle=False, checkpoint=checkpoint,
        stopping=nn.EarlyStopping(patience, min_delta) if stops else None,
    )  # fmt: skip
    return ((trainer.predict(ts, data.x) - data.y) ** 2).mean(), history


@functools.cache
def value_and_grad(**settings):
    return jax.jit(jax.value_and_grad(functools.partial(last_loss, **settings), has_aux=True))


ALL = {"stops": False, "checkpoint": False}
CHECKPOINTED = {"stops": False, "checkpoint": True}
STOPS = {"stops": True, "checkpoint": False}
NEVER, EARLY = (9, 0.0), (1, 0.06)
each_gradient = pytest.mark.parametrize(
    ("settings", "stopping", "epochs"),
    [
        pytest.param(ALL, NEVER, 5, id="all epochs"),
        pytest.param(CHECKPOINTED, NEVER, 5, id="checkpointed"),
        pytest.param(STOPS, NEVER, 5, id="stopping that never fires"),
        pytest.param(STOPS, EARLY, 4, id="stopping early"),
    ],
)


@each_gradient
def test_the_gradient_by_a_learning_rate_is_the_slope_of_the_loss(settings, stopping, epochs):
    f, rate, h = value_and_grad(**settings), 0.05, 1e-6
    (_, history), slope = f(rate, *stopping)
    assert epochs_of(history) == epochs
    by_difference = (f(rate + h, *stopping)[0][0] - f(rate - h, *stopping)[0][0]) / (2 * h)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, by_difference, rtol=1e-6)


def test_checkpointing_and_stopping_that_never_fires_change_no_gradient():
    slopes = [value_and_grad(**settings)(0.05, *NEVER)[1] for settings in (ALL, CHECKPOINTED, STOPS)]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-10)


def test_checkpointing_keeps_less_for_the_gradient():
    def kept(**settings):
        backward = lambda rate: jax.vjp(lambda rate: last_loss(rate, *NEVER, **settings)[0], rate)[1]
        return nn.tree.nbytes(jax.eval_shape(backward, 0.05))

    assert kept(**CHECKPOINTED) < 0.7 * kept(**ALL)


RATES, PATIENCES, MIN_DELTA = [0.02, 0.05, 0.3], [3, 1, 2], 0.06
each_sweep = pytest.mark.parametrize("settings", [ALL, STOPS], ids=["all epochs", "stopping"])


def one_by_one(settings):
    f = value_and_grad(**settings)
    runs = zip(RATES, PATIENCES, strict=True)
    return jnp.stack([f(rate, patience, MIN_DELTA)[1] for rate, patience in runs])


@each_sweep
def test_gradients_of_a_sweep_are_those_of_its_runs(settings):
    f = lambda rate, patience: last_loss(rate, patience, MIN_DELTA, **settings)[0]
    swept = jax.jit(jax.vmap(jax.grad(f)))(jnp.array(RATES), jnp.array(PATIENCES))
    assert_close(swept, one_by_one(settings), 1e-8)


@each_sweep
def test_the_gradient_of_a_whole_sweep_is_that_of_its_runs(settings):
    f = lambda rate, patience: last_loss(rate, patience, MIN_DELTA, **settings)[0]
    total = lambda rates: jax.vmap(f)(rates, jnp.array(PATIENCES)).sum()
    assert_close(jax.jit(jax.grad(total))(jnp.array(RATES)), one_by_one(settings), 1e-8)


def test_forward_mode_agrees_with_reverse_mode():
    f = lambda rate: last_loss(rate, *NEVER, **ALL)[0]
    _, slope = jax.jit(lambda rate: jax.jvp(f, (rate,), (jnp.ones_like(rate),)))(jnp.asarray(0.05))
    np.testing.assert_allclose(slope, value_and_grad(**ALL)(0.05, *NEVER)[1], rtol=1e-8)


def ten_steps(road, dtype):
    """Ten steps of a model of every combinator and every kind of state and randomness."""
    block = nn.residual(nn.Dense(3, bias=False), nn.BatchNorm(), nn.relu, nn.Dropout(0.2))
    model = nn.serial(nn.repeat(block, 2), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.05), gradient=road)
    data = regression(16, dtype=dtype)
    begin = jax.jit(trainer.init)(jax.random.key(0), data.x)
    return nn.fit(trainer, begin, data, epochs=10, batch_size=16, shuffle=False)


def test_both_roads_meet_the_same_losses_in_ten_steps_of_float32():
    (_, hand), (_, automatic) = (ten_steps(road, jnp.float32) for road in (nn.by_hand, nn.by_autodiff))
    assert_close(hand, automatic, 1e-6)


def test_both_roads_reach_the_same_state_in_float64():
    hand, automatic = (ten_steps(road, jnp.float64) for road in (nn.by_hand, nn.by_autodiff))
    assert_close(hand, automatic, 1e-8)


@each_road
@pytest.mark.parametrize(
    ("freeze", "learn", "rests"),
    [
        ((r"dense_0/.*", r"batch_norm_0/.*"), {"dense_1/w", "dense_1/b"}, True),
        ((r"dense_0/.*", r"batch_norm_0/scale"), {"batch_norm_0/offset", "dense_1/w", "dense_1/b"}, False),
    ],
    ids=["a whole batch norm", "a part of one"],
)
def test_what_is_frozen_rests_and_has_no_optimizer_state(key, road, freeze, learn, rests):
    model = nn.serial(nn.Dense(2, bias=False), nn.BatchNorm(), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.momentum(0.1), gradient=road, freeze=freeze)
    data = regression(8)
    begin = jax.jit(trainer.init)(key, data.x)
    ts, _ = nn.fit(trainer, begin, data, epochs=2, batch_size=8, shuffle=False)

    assert_close(ts.frozen, begin.frozen, 0)
    before, after = nn.tree.named_leaves(begin.params), nn.tree.named_leaves(ts.params)
    assert set(before) == set(after) == learn
    assert all((before[name] != after[name]).any() for name in learn)
    assert set(nn.tree.named_leaves(ts.opt_state[0].trace)) == learn
    assert len(jax.tree.leaves(ts.opt_state)) == len(learn)
    unmoved = jax.tree.map(lambda a, b: bool((a == b).all()), ts.state, begin.state)["batch_norm_0"]
    assert unmoved == {"mean": rests, "var": rests}


@each_road
def test_what_learns_beside_a_frozen_part_learns_as_if_nothing_were_frozen(key, road):
    data = regression(8)
    model = nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1))
    free = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), gradient=road)
    part = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), gradient=road, freeze="dense_0/.*")
    (after, _), (after_part, _) = (jax.jit(lambda t=t: t.step(t.init(key, outline()), data))() for t in (free, part))
    assert_close(after_part.params["dense_1"], after.params["dense_1"], 1e-12)


@pytest.mark.parametrize("metrics", [absolute_error, (absolute_error,), [absolute_error]], ids=["one", "tuple", "list"])
def test_metrics_may_be_one_or_several(metrics):
    _, history = nn.fit(TRAINER, beginning(), regression(8), **{**THREE, "metrics": metrics})
    assert set(history) == {"loss", "absolute_error"}


@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
def test_inputs_and_targets_may_be_trees_and_losses_and_metrics_functions(road):
    def trained(model, loss, metric, data):
        trainer = nn.trainer(model, loss, nn.sgd(0.1), gradient=road)
        ts = trainer.init(jax.random.key(0), data.x)
        ts = ts._replace(params={**ts.params, "dense_0": beginning().params["dense_0"]})
        ts, history = nn.fit(trainer, ts, data, epochs=2, batch_size=4, metrics=metric, validation=data)
        return ts.params["dense_0"], [history["loss"], history["validation_loss"]]

    flat = regression(10, weighted=True)
    split = nn.Data({"a": flat.x[:, :1], "rest": (flat.x[:, 1:],)}, [flat.y, 2 * flat.y], flat.w)
    joined = nn.serial(lambda x: jnp.concatenate([x["a"], *x["rest"]], axis=1), *TRAINER.model.children.values())
    expected = trained(TRAINER.model, nn.losses.mse, absolute_error, flat)
    loss = lambda prediction, target: ((prediction - target[1] / 2) ** 2).mean(axis=1)
    halved = lambda prediction, target: jnp.abs(prediction - target[0])
    assert_close(trained(joined, loss, halved, split), expected, 1e-12)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"epochs": 0}, "expected epochs of at least 1"),
        ({"metrics": (absolute_error, absolute_error)}, "metrics and records of different names.*absolute_error"),
        ({"stopping": nn.EarlyStopping(1, monitor="accuracy")}, "to watch one of loss, because.*'accuracy'"),
        ({"stopping": nn.EarlyStopping(1, monitor="validation_loss")}, "to watch one of loss"),
    ],
    ids=["no epoch", "one name twice", "unknown monitor", "monitor without validation"],
)
def test_settings_that_cannot_be_meant_are_refused(changed, why):
    with pytest.raises(ValueError, match=why):
        nn.fit(TRAINER, beginning(), regression(8), **{"epochs": 1, "batch_size": 4, **changed})
