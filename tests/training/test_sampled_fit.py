"""Runs whose epochs meet a sample: which rows, drawn when, in `fit`, in `run` that pauses, and mapped over."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import absolute_error, assert_close, compilations, outline, regression, said, smooth

import jaxnn as nn
from jaxnn.training import SAMPLE, SHUFFLE, shuffled

TRAINER = smooth()
STEP = jax.jit(TRAINER.step)
DATA, VALIDATION = regression(10), regression(7, seed=1)
LABELS = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0], np.int32)
OVER, UNDER = nn.data.oversampling(LABELS), nn.data.undersampling(LABELS)
WEIGHTED = nn.data.weighted_sampling(np.arange(10, dtype=np.float32), 6)
ROWS = np.array([3, 3, 9, 0, 1, 3, 5, 5, 8, 2, 2, 7, 6], np.int64)
QUIET = {"progress": False}


def first_half(key):
    """A plain function of a key: the first five rows, with an offset that it draws."""
    return jnp.arange(5, dtype=jnp.int32) + jax.random.randint(key, (), 0, 6, jnp.int32)


SAMPLINGS = {"over": OVER, "function": first_half, "rows": ROWS}


@functools.cache
def beginning(seed=0):
    return jax.jit(TRAINER.init)(jax.random.key(seed), outline())


def fit(sampling, data=DATA, seed=0, **settings):
    return nn.fit(TRAINER, beginning(seed), data, **{"epochs": 3, "batch_size": 4, "sampling": sampling, **settings})


SETTINGS = {
    "a partial last batch": {},
    "the remainder dropped": {"drop_remainder": True},
    "in order": {"shuffle": False},
    "rows of the history, and validation": {
        "steps_per_row": 2,
        "validate_every": 2,
        "validation": VALIDATION,
        "metrics": absolute_error,
        "stopping": nn.EarlyStopping(3),
    },
    "weighed, and a batch that the data has not": {"data": regression(10, weighted=True), "batch_size": 12},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_rows_are_fitted_as_a_copy_of_them_is_bit_for_bit(settings):
    settings = {"data": DATA, **settings}
    copy = settings["data"].take(ROWS)
    assert_close(fit(ROWS, **settings), fit(None, **{**settings, "data": copy}), 0)


def looped(sampling, epochs, batch_size, again=False):
    """What `fit` should do, as a plain loop over steps of whole batches; or one that draws the same rows again."""
    ts, losses = beginning(), []
    for _ in range(epochs):
        of_epoch = lambda stream, ts=ts: jax.random.fold_in(
            jax.random.fold_in(ts.key, stream), ts.epoch * int(not again)
        )
        rows = np.asarray(sampling(of_epoch(SAMPLE)))
        order = np.asarray(shuffled(of_epoch(SHUFFLE), jnp.arange(len(rows)), len(rows)))
        seen = []
        for batch in rows[order].reshape(-1, batch_size):
            ts, info = STEP(ts, DATA.take(batch))
            seen.append(info.loss)
        ts = ts._replace(epoch=ts.epoch + 1)
        losses.append(np.mean(seen))
    return ts, {"loss": np.array(losses)}


@pytest.mark.parametrize("sampling", [OVER, WEIGHTED], ids=["over", "weighted"])
def test_each_epoch_draws_anew_and_shuffles_as_a_plain_loop_does(sampling):
    got = fit(sampling, batch_size=2)
    assert_close(got, looped(sampling, 3, 2), 1e-5)
    assert got[0].step == 3 * sampling.size // 2
    once = looped(sampling, 3, 2, again=True)
    assert abs(got[1]["loss"] - once[1]["loss"]).max() > 1e-3  # which such a loop would be seen by


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_run_equals_fit_bit_for_bit_in_any_chunks(sampling):
    expected = fit(sampling, validation=VALIDATION)
    for chunk in (3, None):
        got = nn.run(
            TRAINER, beginning(), DATA, epochs=3, batch_size=4, sampling=sampling, validation=VALIDATION, chunk=chunk,
            **QUIET,
        )  # fmt: skip
        assert_close(got, expected, 0)


class Paused(Exception):
    """What ends a run where a test wants it."""


def pause(epoch, row):
    raise Paused


def test_a_run_that_paused_within_an_epoch_goes_on_with_the_rows_that_this_one_had():
    whole, kept = fit(OVER), []
    settings = {"epochs": 3, "batch_size": 4, "sampling": OVER, **QUIET}
    with pytest.raises(Paused):
        # Of 4 steps an epoch, 5 a chunk: it ends in the second or third epoch.
        nn.run(TRAINER, beginning(), DATA, chunk=5, on_epoch=pause, on_interrupt=kept.append, **settings)
    (paused,) = kept
    assert int(paused.train_state.position) in (1, 2)
    copy = jax.tree.map(jnp.copy, paused)
    assert_close(nn.run(TRAINER, copy, DATA, **settings), whole, 0)
    rest = nn.run(TRAINER, paused.train_state, DATA, **{**settings, "epochs": 3 - int(paused.train_state.epoch)})
    assert_close(rest.train_state, whole[0], 0)
    # With other rows it would be another run.
    other = nn.data.oversampling(LABELS[::-1])
    assert not np.array_equal(
        nn.run(TRAINER, copy, DATA, **{**settings, "sampling": other})[1]["loss"], whole[1]["loss"]
    )


def test_a_run_that_goes_on_is_the_same_run():
    ts, _ = fit(UNDER, epochs=1)
    ts, history = nn.fit(TRAINER, ts, DATA, epochs=2, batch_size=4, sampling=UNDER)
    whole = fit(UNDER)
    assert_close(ts, whole[0], 0)
    assert_close(history["loss"], whole[1]["loss"][1:], 0)


def test_mapped_over_labels_weights_rows_and_seeds(x64):
    data, begin = regression(10), jax.jit(TRAINER.init)(jax.random.key(0), outline())
    labels, weights = np.stack([LABELS, LABELS[::-1]]), np.random.default_rng(0).uniform(size=(2, 10))
    rows = np.stack([ROWS, ROWS[::-1]])

    def runs(y, w, rows, begin=begin):
        samplings = (
            nn.data.oversampling(y, classes=2, size=12),
            nn.data.weighted_sampling(w, 8),
            rows,
        )
        return [
            nn.fit(TRAINER, begin, data, epochs=2, batch_size=4, sampling=sampling)[1]["loss"] for sampling in samplings
        ]

    each = [jax.jit(runs)(*member) for member in zip(labels, weights, rows, strict=True)]
    mapped = jax.jit(jax.vmap(runs))(labels, weights, rows)
    for got, *expected in zip(mapped, *each, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10)
        assert not np.allclose(*expected)


def test_the_gradient_by_a_learning_rate_goes_through_it(x64):
    data, begin = regression(10), jax.jit(TRAINER.init)(jax.random.key(0), outline())

    @jax.jit
    def loss(rate):
        return nn.fit(smooth(rate), begin, data, epochs=2, batch_size=4, sampling=OVER)[1]["loss"][-1]

    difference = (loss(0.05 + 1e-6) - loss(0.05 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.05), difference, rtol=1e-5)


def test_nothing_compiles_for_other_labels_weights_or_rows():
    trainer = smooth()  # of which nothing is compiled
    begin = beginning()
    y, w = LABELS[::-1].copy(), np.ones(10, np.float32)
    first = OVER, WEIGHTED, first_half
    second = nn.data.oversampling(y), nn.data.weighted_sampling(w, 6), first_half

    def compiled(samplings):
        with compilations() as seen:
            for sampling in samplings:
                nn.fit(trainer, begin, DATA, epochs=1, batch_size=4, sampling=sampling)
                nn.run(trainer, begin, DATA, epochs=1, batch_size=4, sampling=sampling, **QUIET)
        return len(seen)

    assert compiled(first) > 0
    assert compiled(second) == 0


def test_a_dry_run_counts_the_steps_of_a_sample_and_overfitting_takes_its_first_batch(capfd):
    nn.dry_run(TRAINER, beginning(), DATA, epochs=3, batch_size=4, sampling=OVER)
    assert "3 epochs of 4 steps: 16 examples, 4 a step" in capfd.readouterr().err
    _, history = nn.overfit(
        TRAINER, beginning(), DATA, batch_size=4, steps=2, sampling=np.full(9, 6, np.int32), **QUIET
    )
    _, expected = nn.overfit(TRAINER, beginning(), DATA.take(np.full(4, 6)), batch_size=4, steps=2, **QUIET)
    assert_close(history, expected, 0)


class Unhashable:
    """What samples, and no compilation can be remembered by."""

    __hash__ = None

    def __call__(self, key):
        return first_half(key)


WRONG = {
    "a list": ([0, 1, 2, 3], TypeError, "expected sampling as a function of a key or an array of rows, because it says "
               "which examples an epoch meets; got (0, 1, 2, 3)\n"
               "  hint: nn.data.oversampling(data.y), or jnp.asarray(rows)"),
    "unhashable": (Unhashable(), TypeError, "expected sampling that is a pytree of arrays or can be hashed, because a "
                   "compiled program is found again by it; got a Unhashable"),
    "floats": (np.ones(5, np.float32), TypeError, "expected sampling to give an array of integers, because rows are "
               "indices of examples; got float32[5]"),
    "a function of floats": (lambda key: jax.random.uniform(key, (5,)), TypeError, "array of integers, because rows "
                             "are indices of examples; got float32[5]"),
    "a mask": (np.ones(10, bool), TypeError, "because rows are indices of examples; got bool[10]"),
    "no array": (lambda key: (first_half(key), 1), TypeError, "expected sampling to give an array of integers, "
                 "because rows are indices of examples; got (int32[5], int32[])"),
    "two axes": (ROWS[None], ValueError, "expected sampling to give rows of shape (size,), because rows are indices of "
                 "examples; got (1, 13)"),
    "fewer than a batch": (ROWS[:3], ValueError, "expected batch_size of at most 3, because sampling gives that many "
                           "rows an epoch; got 4"),
    "out of range": (ROWS + 1, ValueError, "expected sampling to give rows from 0 to 9, because the data has 10 "
                     "examples; got rows from 1 to 10"),
    "below": (ROWS - 1, ValueError, "because the data has 10 examples; got rows from -1 to 8"),
    "of other labels": (nn.data.oversampling(np.zeros(12, np.int32)), ValueError, "expected sampling to give rows from "
                        "0 to 9, because the data has 10 examples; got rows from 0 to 11"),
}  # fmt: skip


@pytest.mark.parametrize(("sampling", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_gives_no_rows_of_the_data_is_an_error(sampling, kind, message, unannotated):
    for train in (nn.fit, functools.partial(nn.run, **QUIET)):
        with pytest.raises(kind) as error:
            train(TRAINER, beginning(), DATA, epochs=1, batch_size=4, sampling=sampling)
        assert message in said(error.value)


def test_a_batch_of_none_is_an_error_and_rows_out_of_range_that_are_constants_of_a_program_too():
    with pytest.raises(ValueError, match=r"expected batch_size of at least 1, because it counts examples; got 0"):
        fit(ROWS, batch_size=0)
    with pytest.raises(ValueError, match=r"because the data has 10 examples; got rows from 1 to 10"):
        jax.jit(lambda begin: nn.fit(TRAINER, begin, DATA, epochs=1, batch_size=4, sampling=ROWS + 1))(beginning())
