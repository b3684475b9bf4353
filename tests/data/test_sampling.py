"""Rows that are drawn: how often each, what is drawn anew, what is not there, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnn.data import bootstrap, class_weights, out_of_bag, oversampling, undersampling, weighted_sampling

LABELS = np.array([0] * 6 + [7] * 4 + [-3] * 11, np.int32)[np.random.default_rng(0).permutation(21)]
CLASSES = (-3, 0, 7)


@jax.jit
def drawn(sampling, keys):
    """What each of the keys draws, `(keys, size)`."""
    return jax.vmap(sampling)(keys)


def keys(n):
    return jax.random.split(jax.random.key(0), n)


def times(rows, n):
    """How often each row is drawn, `(keys, n)`."""
    return np.stack([np.bincount(row, minlength=n) for row in np.asarray(rows)])


def test_IMB_1_after_oversampling_all_classes_are_as_frequent_as_the_largest_and_rows_are_repeated_evenly():
    rows = drawn(oversampling(LABELS), keys(50))
    assert rows.shape == (50, 33)
    assert rows.dtype == jnp.int32
    often = times(rows, 21)
    for label, least, most in ((-3, 1, 1), (0, 1, 2), (7, 2, 3)):  # 11 rows of 11, of 6, of 4
        of_class = often[:, label == LABELS]
        np.testing.assert_array_equal(of_class.sum(axis=1), 11)
        np.testing.assert_array_equal([of_class.min(axis=1), of_class.max(axis=1)], [[least] * 50, [most] * 50])
    # Which are met once more is drawn anew: in the mean all are met alike.
    for label in CLASSES:
        of_class = often[:, label == LABELS]
        np.testing.assert_allclose(of_class.mean(axis=0), 11 / of_class.shape[1], atol=0.3)


def test_IMB_2_after_undersampling_all_classes_are_as_frequent_as_the_smallest_and_no_row_is_met_twice():
    rows = drawn(undersampling(LABELS), keys(200))
    assert rows.shape == (200, 12)
    often = times(rows, 21)
    assert often.max() == 1
    for label in CLASSES:
        np.testing.assert_array_equal(often[:, label == LABELS].sum(axis=1), 4)
    assert len({tuple(row) for row in often}) > 150  # others in every draw
    # Each of 11 rows with a probability of 4/11, whose mean over 200 has a standard deviation of 0.034.
    np.testing.assert_allclose(often[:, LABELS == -3].mean(axis=0), 4 / 11, atol=4 * 0.034)


def test_other_sizes_and_orders_of_classes():
    often = times(drawn(oversampling(LABELS, size=8), keys(3)), 21)  # the first two classes have a row more
    np.testing.assert_array_equal(
        [often[:, label == LABELS].sum(axis=1) for label in CLASSES], [[3] * 3, [3] * 3, [2] * 3]
    )
    np.testing.assert_array_equal(times(drawn(oversampling(np.array([5, 5, 5])), keys(2)), 3), np.ones((2, 3)))


def test_what_weighs_nothing_is_not_there():
    labels, w = np.array([0, 1, 1, 0, 0, 1, -1], np.int32), np.array([1.0, 0.5, 2.0, 1.0, 1.0, 0.0, 0.0], np.float32)
    for build, size in ((oversampling, 6), (undersampling, 4)):
        for classes in (None, 2):
            often = times(drawn(build(labels, w, classes=classes), keys(20)), 7)
            np.testing.assert_array_equal(often[:, [5, 6]], 0)
            np.testing.assert_array_equal(often[:, [1, 2]].sum(axis=1), size // 2)
            np.testing.assert_array_equal(often[:, [0, 3, 4]].sum(axis=1), size // 2)


def test_labels_and_weights_may_be_traced_if_sizes_are_told():
    """As in a `vmap` over folds, whose fill-ups weigh nothing."""
    labels = np.array([[0, 0, 0, 2, 2], [1, 2, 2, 2, 2]], np.int32)  # of three classes, one of which each lacks
    w = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], np.float32)
    mapped = jax.jit(jax.vmap(lambda y, w, key: oversampling(y, w, classes=3, size=6)(key)))
    rows = np.sort(mapped(labels, w, keys(2)))
    np.testing.assert_array_equal(rows[0], [0, 1, 2, 3, 3, 3])
    np.testing.assert_array_equal(rows[1, :3], [0, 0, 0])
    assert len({*rows[1, 3:]} & {1, 2, 3, 4}) == 3
    # Where no class is lacking, what is drawn is that of labels that can be seen.
    for build in (oversampling, undersampling):
        traced = jax.jit(lambda y, key, build=build: build(y, classes=3, size=9)(key))
        same = np.array([0, 2, 2, 1, 0, 2, 1, 0, 1, 1], np.uint8)
        np.testing.assert_array_equal(traced(same, keys(1)[0]), build(same, size=9)(keys(1)[0]))
    weighted = jax.jit(jax.vmap(lambda w, key: weighted_sampling(w, 4)(key)))(1 - w, keys(2))
    np.testing.assert_array_equal(weighted[0], [4, 4, 4, 4])


def test_weighted_rows_are_met_in_proportion():
    """Chi-square of 20000 draws, refused at a chance of 1 in 1000; and what is 1% wrong would be refused."""
    w = np.array([1, 0, 2, 5, 0, 1, 11, 0], np.float32)
    count = times(drawn(weighted_sampling(w, 2000), keys(10)), 8).sum(axis=0)
    np.testing.assert_array_equal(count[w == 0], 0)
    expected = w[w > 0] / w.sum() * 20000
    assert stats.chisquare(count[w > 0], expected).pvalue > 1e-3
    wrong = expected * np.array([1.1, 0.9, 1, 1.05, 0.99])
    assert stats.chisquare(count[w > 0], wrong * 20000 / wrong.sum()).pvalue < 1e-3


def test_a_million_rows_of_equal_weight_are_met_alike():
    """A draw from a float32 between 0 and 1 would meet some of these rows a third more often than others."""
    n = 3_000_000
    rows = drawn(weighted_sampling(np.ones(n, np.float32)), keys(1))
    count = np.bincount(np.ravel(rows), minlength=n)
    # In a Poisson distribution the variance is the mean. Unequal chances would add to it: here 2%.
    assert count.var() == pytest.approx(1, abs=0.005)


SCALES = {
    "whose sum overflows": np.array([1e38, 0, 3e38], np.float32),
    "that vanish in sum": np.array([1e-40, 0, 3e-40], np.float32),
    "of float64": np.array([1e-60, 0, 3e-60]),
    "of int64": np.array([2**33, 0, 3 * 2**33]),
    "of float16": np.array([20000, 0, 60000], np.float16),
    "of int8": np.array([40, 0, 120], np.int8),
}


@pytest.mark.parametrize("w", SCALES.values(), ids=SCALES)
def test_only_proportions_of_weights_matter(w):
    count = times(drawn(weighted_sampling(w, 2000), keys(2)), 3).sum(axis=0)
    assert count[1] == 0
    assert stats.chisquare(count[[0, 2]], [1000, 3000]).pvalue > 1e-3
    assert set(np.ravel(drawn(weighted_sampling(w, 2, replacement=False), keys(2)))) == {0, 2}
    if w.dtype.itemsize <= 4 and 1e-30 < float(w.max()) < 1e38:  # also where not seen, if float32 can invert it
        traced = jax.jit(lambda w, key: weighted_sampling(w, 2000)(key))(w, keys(1)[0])
        assert stats.chisquare(times([traced], 3)[0, [0, 2]], [500, 1500]).pvalue > 1e-3


def test_without_replacement_rows_of_equal_weight_come_in_any_order():
    """Of two million, noise of 23 bits gives many of the largest the same: they would come in the order of the rows."""
    rows = np.asarray(drawn(weighted_sampling(np.ones(2_000_000, np.float32), 2000, replacement=False), keys(4)))
    # Of 4 x 1999 neighbours half rise, with a standard deviation of 26; with ties four hundred more would.
    assert (np.diff(rows) > 0).sum() == pytest.approx(4 * 999.5, abs=5 * 26)


def test_without_replacement_no_row_twice_and_the_first_in_proportion():
    w = np.array([1.0, 3.0, 0.0, 4.0], np.float32)
    rows = np.asarray(drawn(weighted_sampling(w, 3, replacement=False), keys(2000)))
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile([0, 1, 3], (2000, 1)))
    first = np.bincount(rows[:, 0], minlength=4)[[0, 1, 3]]
    assert stats.chisquare(first, w[w > 0] / 8 * 2000).pvalue > 1e-3
    second = np.bincount(rows[rows[:, 0] == 3, 1], minlength=4)[[0, 1]]  # of what is left
    assert stats.chisquare(second, np.array([0.25, 0.75]) * second.sum()).pvalue > 1e-3


def test_a_balanced_loss_is_that_of_balanced_weights():
    """The gradient of sum_i w_i l_i / sum_i w_i, with the weight of its class or as often as it is drawn."""
    y = np.array([0] * 12 + [1] * 4 + [2] * 2, np.int32)  # which divide 12
    grads = np.random.default_rng(1).normal(size=(18, 3))
    w = np.asarray(class_weights(y, 3))[y]
    expected = w @ grads / w.sum()
    often = times(drawn(oversampling(y), keys(1)), 18)[0]
    np.testing.assert_allclose(often @ grads / often.sum(), expected, rtol=1e-6)
    # Undersampling and weighted sampling, in the mean over draws: within 5 standard errors of each component.
    for sampling in (undersampling(y), weighted_sampling(w)):
        draws = times(drawn(sampling, keys(1000)), 18) @ grads / sampling.size
        error = draws.std(axis=0) / np.sqrt(1000)
        assert (abs(draws.mean(axis=0) - expected) < 5 * error).all()
        assert not (abs(draws.mean(axis=0) - grads.mean(axis=0)) < 5 * error).all()  # which no balance would be


def test_bootstrap_draws_all_rows_alike_and_about_a_third_is_out_of_the_bag():
    rows = jax.jit(lambda key: bootstrap(key, 200, 50))(jax.random.key(1))
    assert rows.shape == (50, 200)
    assert rows.dtype == jnp.int32
    count = np.bincount(np.ravel(rows), minlength=200)
    assert stats.chisquare(count).pvalue > 1e-3
    lacks = np.asarray(out_of_bag(rows, 200))
    for member in range(50):
        np.testing.assert_array_equal(np.flatnonzero(lacks[member]), np.setdiff1d(np.arange(200), rows[member]))
    # (1 - 1/200)^200 = 0.367; the share of one member has a standard deviation of 0.022, of the mean of 50, 0.003.
    assert lacks.mean() == pytest.approx((1 - 1 / 200) ** 200, abs=0.015)
    np.testing.assert_array_equal(out_of_bag(rows[3], 200), lacks[3])


def test_a_member_s_sample_follows_from_key_and_number():
    key = jax.random.key(2)
    few, many = bootstrap(key, 9, 2, size=5), bootstrap(key, 9, 4, size=5)
    np.testing.assert_array_equal(few, many[:2])
    assert len({tuple(row) for row in many.tolist()}) == 4


Y, W = np.array([0, 0, 1], np.int32), np.array([1.0, 2.0, 0.0], np.float32)
TRACED = {
    "labels": (lambda: jax.jit(lambda y: oversampling(y)(jax.random.key(0)))(Y),
               r"expected classes and size, because shapes follow from them, and labels cannot be seen within jit and "
               r"the like; got None and None\n  hint: oversampling\(y, classes=2, size=1000\)\n"),
    "labels of few": (lambda: jax.jit(lambda y: undersampling(y, size=2)(jax.random.key(0)))(Y), r"; got None and 2\n"),
    "no labels": (lambda: oversampling([0, 1]), r"expected labels as an array, because there is one for each row; got "
                  r".*\n  hint: jnp.asarray\(labels\)$"),
    "floats": (lambda: oversampling(W), r"labels"),
    "half a row": (lambda: oversampling(Y, size=2.5), r"expected size to be an int, because an epoch has so many rows; "
                   r"got 2.5$"),
    "no weights": (lambda: weighted_sampling([1.0]), r"expected w as an array, because there is a weight for each row; "
                   r"got 1.0\n  hint: jnp.asarray\(w\)$"),
    "members": (lambda: bootstrap(jax.random.key(0), 5, 2.0), r"expected members to be an int, because each has a "
                r"sample of its own; got 2.0$"),
    "bag of floats": (lambda: out_of_bag(W, 3), r"expected rows as an array of integers, because they are indices; "
                      r"got float32\[3\]$"),
}  # fmt: skip
WRONG = {
    "rows of labels": (lambda: oversampling(Y[None]),
                       r"expected labels of shape \(batch,\), because each row is of one "
                       r"class; got \(1, 3\)$"),
    "none": (lambda: undersampling(Y[:0]), r"expected at least one label, because there is nothing to draw from none; "
             r"got 0 of them$"),
    "fewer weights": (lambda: oversampling(Y, W[:2]),
                      r"expected w as an array of shape \(3,\), because there is a label "
                      r"for each row; got float32\[2\]$"),
    "negative": (lambda: oversampling(Y, -W), r"expected w of at least 0, because it weighs examples; got w from -2.0 "
                 r"to -0.0$"),
    "an empty class": (lambda: oversampling(Y, W, classes=2),
                       r"expected every class to have rows that weigh something, because each is met as often; got "
                       r"none of 1$"),
    "weightless": (lambda: undersampling(Y, 0 * W), r"expected at least one label that weighs something, because there "
                   r"is nothing to draw from none; got 3 of weight 0$"),
    "one that never occurs": (lambda: undersampling(Y, classes=4), r"every class to have rows .*; got none of 2, 3$"),
    "out of range": (lambda: oversampling(Y, classes=1), r"expected labels from 0 to 0, because there are 1 classes; "
                     r"got labels from 0 to 1$"),
    "too small": (lambda: undersampling(Y, size=1), r"expected size of at least 2, because there are that many classes "
                  r"and each has rows; got 1$"),
    "too large": (lambda: undersampling(Y, size=3),
                  r"expected size of at most 2, because the smallest of 2 classes has 1 "
                  r"rows and none is met twice; got 3\n  hint: oversampling repeats rows$"),
    "size 0": (lambda: oversampling(Y, size=0),
               r"expected size of at least 1, because an epoch has so many rows; got 0$"),
    "weights of two axes": (lambda: weighted_sampling(W[None]), r"expected w of shape \(batch,\), because there is a "
                            r"weight for each row; got \(1, 3\)$"),
    "a negative weight": (lambda: weighted_sampling(-W), r"expected w of at least 0, because probabilities are in "
                          r"proportion to it; got w from -2.0 to -0.0$"),
    "no finite weight": (lambda: weighted_sampling(W / 0 * 0), r"expected w to be finite, because probabilities are in "
                         r"proportion to it; got NaN or infinity in 3 of 3 rows$"),
    "a label's weight is NaN": (lambda: oversampling(Y, np.array([1, np.nan, np.inf], np.float32)), r"expected w to be "
                                r"finite, because it weighs examples; got NaN or infinity in 2 of 3 rows$"),
    "all 0": (lambda: weighted_sampling(0 * W), r"expected some w above 0, because rows that weigh nothing are never "
              r"drawn; got 3 that are 0$"),
    "too many for one each": (lambda: weighted_sampling(W, 4, replacement=False),
                              r"expected size of at most 3, because "
                              r"there are that many rows, none of them drawn twice; got 4$"),
    "too few that weigh": (lambda: weighted_sampling(W, replacement=False), r"expected size of at most 2, because so "
                           r"many rows weigh something and none is drawn twice; got 3$"),
    "of nothing": (lambda: bootstrap(jax.random.key(0), 0, 2),
                   r"expected n of at least 1, because rows are drawn of so "
                   r"many examples; got 0$"),
    "out of the bag": (lambda: out_of_bag(Y, 1),
                       r"expected rows from 0 to 0, because there are 1 examples; got 0 to 1$"),
    "bags": (lambda: out_of_bag(Y[None, None], 2),
             r"expected rows of shape \(members, size\) or \(size,\), because each "
             r"member has a sample; got \(1, 1, 3\)$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), TRACED.values(), ids=TRACED)
def test_what_is_no_array_of_its_kind_is_an_error(call, message, unannotated):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_drawn_is_an_error(call, message, unannotated):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_sampling_that_is_not_made_of_labels_yet_says_what_it_wants():
    """`sampling=oversampling` in the place of `oversampling(y)` is called with a key."""
    with pytest.raises(TypeError, match=r"expected integer labels, because they count classes; got key<fry>"):
        oversampling(jax.random.split(jax.random.key(0), 4))
