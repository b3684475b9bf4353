"""Folds: rows as scikit-learn's splitters choose them, parts that share nothing, and fill-ups that weigh nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection as sk

import jaxnn as nn
from jaxnn.data import (
    folds,
    grouped_k_fold,
    hold_out,
    k_fold,
    leave_one_group_out,
    leave_one_out,
    repeated_k_fold,
    repeated_stratified_k_fold,
    stratified_grouped_k_fold,
    stratified_k_fold,
    time_ordered,
)

RANDOM = np.random.default_rng(0)
Y = RANDOM.choice(3, 50, p=[0.6, 0.25, 0.15])
GROUPS = RANDOM.choice(9, 50)
WORDS = np.array(["c", "a", "b"])[Y]
X = np.zeros((50, 1))
THEIRS = {
    "k_fold, even": (lambda: k_fold(50, 5), sk.KFold(5)),
    "k_fold": (lambda: k_fold(50, 7), sk.KFold(7)),
    "k_fold, k is n": (lambda: k_fold(50, 50), sk.KFold(50)),
    "stratified": (lambda: stratified_k_fold(Y, 4), sk.StratifiedKFold(4)),
    "stratified by words": (lambda: stratified_k_fold(WORDS, 3), sk.StratifiedKFold(3)),
    "stratified, of JAX": (lambda: stratified_k_fold(jnp.asarray(Y), 4), sk.StratifiedKFold(4)),
    "grouped": (lambda: grouped_k_fold(GROUPS, 4), sk.GroupKFold(4)),
    "grouped, k groups": (lambda: grouped_k_fold(GROUPS, 9), sk.GroupKFold(9)),
    "stratified and grouped": (lambda: stratified_grouped_k_fold(Y, GROUPS, 3), sk.StratifiedGroupKFold(3)),
    "one": (lambda: leave_one_out(50), sk.LeaveOneOut()),
    "one group": (lambda: leave_one_group_out(GROUPS), sk.LeaveOneGroupOut()),
    "time": (lambda: time_ordered(50, 5), sk.TimeSeriesSplit(5)),
    "time, gap": (lambda: time_ordered(50, 4, gap=3), sk.TimeSeriesSplit(4, gap=3)),
    "time, sizes": (
        lambda: time_ordered(50, 4, gap=2, validation_size=5, train_size=11),
        sk.TimeSeriesSplit(4, gap=2, test_size=5, max_train_size=11),
    ),
    "time, longer sizes than there are": (
        lambda: time_ordered(50, 3, train_size=30),
        sk.TimeSeriesSplit(3, max_train_size=30),
    ),
}


def assert_same(ours, theirs):
    pairs, expected = list(ours), list(theirs)
    assert len(pairs) == len(ours) == len(expected)
    for got, wanted in zip(pairs, expected, strict=True):
        for rows, theirs_rows in zip(got, wanted, strict=True):
            assert rows.dtype == np.int32
            np.testing.assert_array_equal(rows, theirs_rows)


@pytest.mark.parametrize(("ours", "theirs"), THEIRS.values(), ids=THEIRS)
def test_rows_are_those_of_scikit_learn(ours, theirs):
    words = WORDS if ours is THEIRS["stratified by words"][0] else Y
    groups = GROUPS if "roup" in type(theirs).__name__ else None
    assert_same(ours(), theirs.split(X, words, groups))


@settings(deadline=None, max_examples=60)
@given(st.integers(12, 60), st.integers(2, 4), st.integers(1, 4), st.integers(4, 12), st.integers(0, 2**31))
def test_labels_and_groups_of_any_kind_are_split_as_scikit_learn_does(n, k, classes, groups, seed):
    random = np.random.default_rng(seed)
    y, of = random.choice(classes, n), random.choice(groups, n)
    rare, scattered = np.unique(y, return_counts=True)[1].min() < k, len(np.unique(of)) < k
    splits = (
        (lambda: stratified_k_fold(y, k), sk.StratifiedKFold(k), None, rare),
        (lambda: grouped_k_fold(of, k), sk.GroupKFold(k), of, scattered),
        (lambda: stratified_grouped_k_fold(y, of, k), sk.StratifiedGroupKFold(k), of, rare or scattered),
    )
    for ours, theirs, own, refused in splits:
        if refused:
            with pytest.raises(ValueError, match="because each fold holds out"):
                ours()
        else:
            assert_same(ours(), theirs.split(np.zeros((n, 1)), y, own))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 80), st.data())
def test_parts_share_nothing_and_every_example_is_held_out_once(n, draw):
    k = draw.draw(st.integers(2, n))
    random = np.random.default_rng(draw.draw(st.integers(0, 2**31)))
    key = jax.random.wrap_key_data(random.integers(0, 2**32, 2, dtype=np.uint32))
    of = random.choice(np.arange(n), n)
    made = [k_fold(n, k), k_fold(n, k, key=key), leave_one_out(n)]
    if len(np.unique(of)) >= k:
        made.append(grouped_k_fold(of, k))
        for train, validation in made[-1]:
            assert not set(of[train]) & set(of[validation])
    for each in made:
        pairs = list(each)
        np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in pairs])), np.arange(n))
        for train, validation in pairs:
            np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    sizes = [len(held) for _, held in made[1]]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(2, 15), min_size=2, max_size=5), st.integers(0, 2**31))
def test_stratified_folds_differ_by_one_of_a_class_at_most(counts, seed):
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat(np.arange(len(counts)), counts))
    k = random.integers(2, min(counts) + 1)
    key = jax.random.wrap_key_data(random.integers(0, 2**32, 2, dtype=np.uint32))
    for each in (stratified_k_fold(y, k), stratified_k_fold(y, k, key=key)):
        held = np.array([np.bincount(y[validation], minlength=len(counts)) for _, validation in each])
        assert (np.ptp(held, axis=0) <= 1).all()
        assert np.ptp(held.sum(axis=1)) <= 1
        np.testing.assert_array_equal(held.sum(axis=0), counts)


def test_a_key_shuffles_and_the_same_one_alike(key):
    shuffled, again = k_fold(50, 5, key=key), k_fold(50, 5, key=key)
    np.testing.assert_array_equal(shuffled.validation, again.validation)
    assert (k_fold(50, 5, key=jax.random.key(1)).validation != shuffled.validation).any()
    assert (shuffled.validation != k_fold(50, 5).validation).any()
    stratified = stratified_k_fold(Y, 4, key=key)
    assert (stratified.validation != stratified_k_fold(Y, 4).validation).any()
    (train, validation), *more = hold_out(50, 8, key=key)
    assert not more
    assert len(train) == 42
    assert len(np.unique(np.concatenate([train, validation]))) == 50
    assert (validation != np.arange(42, 50)).any()


def test_repeats_are_single_ones_with_keys_of_their_own(key):
    repeated, stratified = repeated_k_fold(10, 3, 2, key), repeated_stratified_k_fold(Y, 3, 2, key)
    assert len(repeated) == len(stratified) == 6
    for repeat in range(2):
        own = jax.random.fold_in(key, repeat)
        assert_same(k_fold(10, 3, key=own), list(repeated)[3 * repeat : 3 * repeat + 3])
        assert_same(stratified_k_fold(Y, 3, key=own), list(stratified)[3 * repeat : 3 * repeat + 3])


def test_nobody_knows_the_future():
    for train, validation in time_ordered(40, 4, gap=2, validation_size=6):
        assert train.max() + 2 < validation.min()
    # What fills up is of the fold's own past too.
    made = time_ordered(40, 4)
    assert (made.train.max(axis=1) < made.validation.min(axis=1)).all()
    assert (made.train_weights.sum(axis=1) == [8, 16, 24, 32]).all()


def test_fill_ups_are_rows_of_the_same_part_and_weigh_nothing():
    made = leave_one_group_out(GROUPS)
    assert made.train.shape == made.train_weights.shape == (9, max(len(train) for train, _ in made))
    assert made.validation.dtype == made.train.dtype == np.int32
    assert made.train_weights.dtype == made.validation_weights.dtype == np.float32
    for fold, (train, validation) in enumerate(made):
        assert set(made.train[fold]) == set(train)
        assert set(made.validation[fold]) == set(validation)
        assert made.train_weights[fold].sum() == len(train)
        assert made.validation_weights[fold].sum() == len(validation)
    even = k_fold(6, 3)
    assert (even.train_weights == 1).all()
    assert (even.validation_weights == 1).all()


def examples(n, w=None):
    return nn.Data(np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.int32), w)


def test_parts_of_all_folds_are_made_by_one_program_and_keep_the_weights_of_the_data():
    made = k_fold(7, 3)
    own = np.arange(1, 8, dtype=np.float32)
    tokens = np.stack([own, 10 * own], axis=1)
    ints = np.arange(1, 8, dtype=np.int32)

    @jax.jit
    @jax.vmap
    def parts(fold):
        return [made.of(examples(7, w), fold) for w in (None, own, tokens, ints)]

    plain, weighed, by_token, counted = parts(np.arange(3))
    for i, name in enumerate(("train", "validation")):
        rows, fill = getattr(made, name), getattr(made, f"{name}_weights")
        np.testing.assert_array_equal(plain[i].y, rows)
        np.testing.assert_array_equal(plain[i].x[..., 0], rows)
        np.testing.assert_array_equal(plain[i].w, fill)
        np.testing.assert_array_equal(weighed[i].w, own[rows] * fill)
        np.testing.assert_array_equal(by_token[i].w, tokens[rows] * fill[..., None])
        np.testing.assert_array_equal(counted[i].w, ints[rows] * fill)
    assert counted[0].w.dtype == np.float32


def test_inputs_may_be_any_tree():
    made = k_fold(7, 3)
    x = {"image": np.arange(14, dtype=np.float32).reshape(7, 2), "more": (np.arange(7, dtype=np.uint8),)}
    of = jax.jit(jax.vmap(lambda fold: made.of(nn.Data(x, {"class": np.arange(7, dtype=np.int32)}), fold)))
    for part, rows in zip(of(np.arange(3)), (made.train, made.validation), strict=True):
        np.testing.assert_array_equal(part.x["image"], x["image"][rows])
        np.testing.assert_array_equal(part.x["more"][0], rows)
        assert part.x["more"][0].dtype == np.uint8
        np.testing.assert_array_equal(part.y["class"], rows)


def test_data_without_weights_get_none_where_nothing_is_filled_up():
    train, validation = jax.jit(lambda fold: k_fold(6, 3).of(examples(6), fold))(1)
    assert train.w is None
    assert validation.w is None
    # Blocks are of 3 examples each, and before them are 3 and 6: the training parts alone are uneven.
    train, validation = jax.jit(lambda: time_ordered(9, 2).of(examples(9), 0))()
    assert train.w.tolist() == [1, 1, 1, 0, 0, 0]
    assert validation.w is None


def test_folds_may_be_an_argument_of_a_compiled_function():
    made = k_fold(7, 3)
    train, _ = jax.jit(lambda folds, fold: folds.of(examples(7), fold))(made, 1)
    np.testing.assert_array_equal(train.y, made.train[1])
    np.testing.assert_array_equal(train.w, made.train_weights[1])
    assert "up to 5 to train on" in repr(jax.tree.map(jnp.asarray, made))


def test_weights_have_the_dtype_of_what_is_computed_with(x64):
    train, _ = jax.jit(lambda: k_fold(7, 3).of(jax.tree.map(jnp.asarray, examples(7)), 0))()
    assert train.w.dtype == np.float64


def test_any_pairs_are_folds():
    split = sk.ShuffleSplit(4, test_size=7, train_size=20, random_state=0)
    made = folds(split.split(X), 50)
    assert_same(made, split.split(X))
    assert repr(made) == "4 folds of 50 examples: 20 to train on, 7 to validate on"
    assert repr(hold_out(5, 2)) == "1 fold of 5 examples: 3 to train on, 2 to validate on"


def test_a_training_part_of_one_class_is_found():
    y = np.repeat(np.array([0, 1, 2]), [20, 15, 15])
    time_ordered(50, 2).check_classes(RANDOM.permutation(y))
    with pytest.raises(ValueError, match=r"got fold 0 with 10 of class 0 only, fold 1 with 20 of class 0 only\n  hint"):
        time_ordered(50, 4).check_classes(y)
    with pytest.raises(ValueError, match=r"fold 2 with 14 of class 5 only and 5 more\n"):
        time_ordered(80, 24, validation_size=3).check_classes(np.repeat([5, 3], [30, 50]))
    time_ordered(50, 4).check_classes(np.zeros(50, int))  # there is nothing to tell apart at all
    jax.jit(lambda y: time_ordered(50, 4).check_classes(y))(y)  # nor anything to see
    jax.jit(lambda folds: folds.check_classes(y))(time_ordered(50, 4))
    with pytest.raises(ValueError, match="got fold 0 with 2 of class b only, fold 1 with 2 of class a only"):
        k_fold(4, 2).check_classes(["a", "a", "b", "b"])
    with pytest.raises(ValueError, match=r"expected labels of shape \(50,\), because the folds are of 50 .*got \(49,"):
        k_fold(50, 5).check_classes(y[1:])


REFUSED = {
    "more folds than examples": (
        lambda: k_fold(5, 6),
        ValueError,
        "expected k of at most 5, because each fold holds out one of 5 examples at least; got 6",
    ),
    "one fold": (
        lambda: k_fold(5, 1),
        ValueError,
        r"expected k of at least 2, because each fold is trained on the others; got 1\n  hint: nn.data.hold_out",
    ),
    "half a fold": (lambda: k_fold(5, 2.5), TypeError, "cannot be interpreted as an integer"),
    "a small class": (
        lambda: stratified_k_fold(np.repeat(np.array([3, 5, 7]), [9, 2, 4]), 4),
        ValueError,
        "expected k of at most 2, because each fold holds out an example of every class at least, and class 5 has 2; "
        "got 4",
    ),
    "a small class in groups": (
        lambda: stratified_grouped_k_fold(["a"] * 9 + ["b"] * 2, np.arange(11), 3),
        ValueError,
        "and class b has 2; got 3",
    ),
    "one-hot rows": (
        lambda: stratified_k_fold(np.eye(4), 2),
        nn.ShapeError,
        r"expected labels of shape \(n,\), because there is one for each example; got \(4, 4\)\n  hint: rows.argmax",
    ),
    "a column": (
        lambda: stratified_k_fold(np.zeros((4, 1)), 2),
        nn.ShapeError,
        r"got \(4, 1\)\n  hint: labels\[:, 0\] is that of a single column",
    ),
    "no labels": (lambda: stratified_k_fold([], 2), nn.ShapeError, r"got \(0,\)"),
    "unseen labels": (
        lambda: jax.jit(lambda y: stratified_k_fold(y, 2).train)(Y),
        TypeError,
        r"expected labels whose values can be seen, because folds are made on the host; got int32\[50\] within jit",
    ),
    "few groups": (
        lambda: grouped_k_fold(["a", "b", "a"], 3),
        ValueError,
        "expected at least 3 groups, because each fold holds out a whole one at least; got 2: a, b",
    ),
    "one group": (lambda: leave_one_group_out([4, 4]), ValueError, "expected at least 2 groups, because .*; got 1: 4"),
    "groups of others": (
        lambda: stratified_grouped_k_fold(Y, GROUPS[1:], 3),
        nn.ShapeError,
        r"expected groups of shape \(50,\), because there is one for each label; got \(49,\)",
    ),
    "one left": (
        lambda: leave_one_out(1),
        ValueError,
        "expected n of at least 2, because what is left is trained on; got 1",
    ),
    "all held out": (
        lambda: hold_out(5, 5),
        ValueError,
        "expected validation_size from 1 to 4, because there are 5 examples, of which some are held out .*; got 5",
    ),
    "no repeats": (
        lambda: repeated_k_fold(5, 2, 0, jax.random.key(0)),
        ValueError,
        "expected repeats of at least 1, because each is some folds; got 0",
    ),
    "an old key": (
        lambda: k_fold(5, 2, key=np.zeros(2, np.uint32)),
        TypeError,
        r"expected a key, because examples are shuffled by it; got uint32\[2\]\n  hint: jax.random.key\(0\)",
    ),
    "an unseen key": (
        lambda: jax.jit(lambda key: k_fold(5, 2, key=key).train)(jax.random.key(0)),
        TypeError,
        "expected a key whose value can be seen, because folds are made on the host; got one within jit",
    ),
    "a negative gap": (
        lambda: time_ordered(9, 2, gap=-1),
        ValueError,
        "expected gap of at least 0, because it counts examples; got -1",
    ),
    "no block": (lambda: time_ordered(9, 2, validation_size=0), ValueError, "validation_size of at least 1, .*; got 0"),
    "no window": (lambda: time_ordered(9, 2, train_size=0), ValueError, "expected train_size of at least 1, .*; got 0"),
    "more blocks than examples": (
        lambda: time_ordered(3, 3),
        ValueError,
        "expected k of at most 2, because each fold holds out one of 3 examples at least, and something must be before "
        "them; got 3",
    ),
    "no past for blocks by default": (
        lambda: time_ordered(9, 2, gap=4),
        ValueError,
        r"expected at least 11 examples, because 2 folds hold out 3 each, .*; got 9\n  hint: validation_size=2$",
    ),
    "no past": (
        lambda: time_ordered(9, 2, gap=2, validation_size=4),
        ValueError,
        "expected at least 11 examples, because 2 folds hold out 4 each, after a gap of 2, and something must be "
        "before them; got 9$",
    ),
    "a leak": (
        lambda: folds([([0, 1], [2]), ([1, 2, 3], [0, 2, 3])], 4),
        ValueError,
        "expected parts of a fold that share no row, because what was trained on says nothing about what was not; got "
        "fold 1 with 2 of its 3 validation rows in both, first 2",
    ),
    "nothing": (lambda: folds([], 4), ValueError, "expected at least one fold, because each is trained .*; got none"),
    "an empty part": (
        lambda: folds([([0, 1], [])], 4),
        ValueError,
        r"expected the validation part of a fold as some rows, because .*; got fold 0 with rows of shape \(0,\)",
    ),
    "a mask": (
        lambda: folds([([True, False], [1])], 2),
        TypeError,
        r"expected the training part of a fold as integer rows, .*; got fold 0 with bool\n  hint: np.flatnonzero",
    ),
    "rows of others": (
        lambda: folds([([0, 1], [2]), ([0, 4], [1])], 4),
        ValueError,
        "expected rows from 0 to 3, because the data have 4 examples; got fold 1 with training rows from 0 to 4",
    ),
    "rows from the end": (lambda: folds([([0, 1], [-1])], 4), ValueError, "with validation rows from -1 to -1"),
    "data of others": (
        lambda: k_fold(5, 2).of(examples(6), 0),
        ValueError,
        r"expected data of 5 examples, because the folds are of so many; got x: float32\[6,1\], y: int32\[6\]",
    ),
    "targets of others": (
        lambda: k_fold(6, 2).of(examples(6)._replace(y=np.zeros(5, np.int32)), 0),
        ValueError,
        r"expected data of 6 examples, because the folds are of so many; got y: int32\[5\]$",
    ),
    "weights of others, within jit": (
        lambda: jax.jit(lambda fold: k_fold(6, 2).of(examples(6, np.ones(7, np.float32)), fold))(0),
        ValueError,
        r"because the folds are of so many; got w: float32\[7\]",
    ),
    "an input of others": (
        lambda: k_fold(6, 2).of(examples(6)._replace(x={"a": np.zeros(6), "b": (np.zeros((4, 6)),)}), 0),
        ValueError,
        r"because the folds are of so many; got x/b/0: float64\[4,6\]$",
    ),
    "targets in a list": (
        lambda: k_fold(2, 2).of(examples(2)._replace(y=[0, 1]), 0),
        ValueError,
        "because the folds are of so many; got y/0: 0, y/1: 1$",
    ),
    "several folds": (
        lambda: k_fold(6, 2).of(examples(6), np.array([1])),
        TypeError,
        r"expected a fold as an integer, because it is the number of one; got int64\[1\]\n  hint: jax.vmap",
    ),
    "several unseen folds": (
        lambda: jax.jit(lambda folds: k_fold(6, 2).of(examples(6), folds))(np.arange(2)),
        TypeError,
        r"expected a fold as an integer, because it is the number of one; got int32\[2\]",
    ),
    "a truth": (lambda: k_fold(6, 2).of(examples(6), True), TypeError, "expected a fold as an integer, .*; got True"),
    "no such fold": (
        lambda: k_fold(5, 2).of(examples(5), 2),
        ValueError,
        "expected a fold from 0 to 1, because there are 2; got 2",
    ),
}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("enter", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(enter, kind, message):
    with pytest.raises(kind, match=message):
        enter()
