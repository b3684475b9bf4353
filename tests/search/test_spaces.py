"""Spaces: grids hold every combination, draws follow their distributions, and evenly spread ones are even."""

import itertools

import jax
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import search


@pytest.mark.parametrize("u", [[0.1, 0.2], [0.1, 0.9]])
def test_a_choice_is_of_one_kind_whatever_is_drawn(u):
    assert isinstance(search.Choice([0.5, None]).quantiles(np.array(u)), list)
    assert isinstance(search.Choice([0.5, 1]).quantiles(np.array(u)), np.ndarray)


def rows(space, key):
    """The trials as tuples."""
    return list(zip(*space.columns(key).values(), strict=True))


def test_a_grid_of_3_by_2_has_6_trials_all_distinct(key):
    space = search.Grid(learning_rate=[0.1, 0.01, 0.001], optimizer=["sgd", "adam"])
    trials = rows(space, key)
    assert len(trials) == space.trials == len(set(trials)) == 6
    assert trials == list(itertools.product([0.1, 0.01, 0.001], ["sgd", "adam"]))


def test_numbers_are_arrays_and_all_else_lists(key):
    axes = {"a": [1, 2], "b": (0.1, 1), "c": np.float32([1, 2]), "d": [True, False], "e": [None, 0.5]}
    axes |= {
        "f": [nn.relu, nn.tanh],
        "g": [np.float64(1), np.float64(2)],
        "h": np.array(["x", "y"]),
        "i": [(1, 2), [3]],
    }
    for name, axis in axes.items():
        column = search.Grid(**{name: axis}).columns(key)[name]
        assert isinstance(column, np.ndarray if name in "abcg" else list), name
        assert list(column) == list(axis)


DRAWN = {
    "rate": search.LogUniform(1e-4, 1e-1),
    "dropout": search.Uniform(0.0, 0.5),
    "width": search.Choice([16, 32, 64]),
    "depth": search.Integer(1, 4),
    "optimizer": search.Choice(["sgd", "adam"]),
}


@pytest.mark.parametrize("kind", [search.Random, search.Sobol, search.Halton])
def test_what_is_drawn_is_within_bounds_and_the_same_for_the_same_key(kind, key):
    n = 240
    space = kind(n, **DRAWN)
    columns = space.columns(key)
    assert list(columns) == list(DRAWN)
    assert all(len(column) == n for column in columns.values())
    assert columns["rate"].min() >= 1e-4
    assert columns["rate"].max() <= 1e-1
    assert columns["dropout"].min() >= 0
    assert columns["dropout"].max() <= 0.5
    assert set(columns["depth"]) == {1, 2, 3, 4}  # both ends
    # Three standard deviations of random draws.
    decades = np.histogram(np.log10(columns["rate"]), [-4, -3, -2, -1])[0]
    assert np.abs(decades - n / 3).max() < 22
    for name, options in (("width", [16, 32, 64]), ("depth", [1, 2, 3, 4]), ("optimizer", ["sgd", "adam"])):
        counts = np.array([list(columns[name]).count(option) for option in options])
        assert counts.sum() == n
        assert np.abs(counts - n / len(options)).max() < 24, name
    assert rows(space, key) == rows(kind(n, **DRAWN), jax.random.key(0))
    assert rows(space, key) != rows(space, jax.random.key(1))
    assert repr(space).startswith(f"{kind.__name__}(240, rate=LogUniform(low=0.0001, high=0.1), ")


def test_more_trials_begin_with_those_of_fewer(key):
    for kind in (search.Random, search.Sobol, search.Halton):
        assert rows(kind(7, **DRAWN), key) == rows(kind(20, **DRAWN), key)[:7], kind


def test_a_further_hyperparameter_leaves_random_ones_as_they_were(key):
    few = search.Random(5, rate=DRAWN["rate"]).columns(key)
    more = search.Random(5, dropout=DRAWN["dropout"], rate=DRAWN["rate"]).columns(key)
    np.testing.assert_array_equal(few["rate"], more["rate"])
    assert np.unique(more["dropout"] * 2).tolist() != np.unique(few["rate"]).tolist()


def cells(kind, key, bins):
    """How many cells of a square, cut into so many rows and columns, hold a point, of as many points as cells."""
    unit = search.Uniform(0.0, 1.0)
    columns = kind(np.prod(bins), x=unit, y=unit).columns(key)
    return len({(int(x * bins[0]), int(y * bins[1])) for x, y in zip(columns["x"], columns["y"], strict=True)})


def test_sobol_and_halton_leave_no_cell_empty_and_random_draws_do(key):
    assert cells(search.Sobol, key, (8, 8)) == 64
    assert cells(search.Halton, key, (8, 9)) == 72  # powers of its bases, 2 and 3
    assert cells(search.Random, key, (8, 8)) < 55


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (search.Grid, "expected a hyperparameter, because a space is of some; got none\n  hint: to repeat"),
        (lambda: search.Grid(x=[]), "expected values of x, because a grid goes over them; got none"),
        (lambda: search.Random(3), "expected a hyperparameter, because a space is of some; got none"),
        (lambda: search.Random(0, x=search.Uniform(0, 1)), "expected trials of at least 1, because a space is of some"),
        (lambda: search.Uniform(1.0, 1.0), "expected low below high, and both finite, .* got low=1.0, high=1.0"),
        (lambda: search.LogUniform(0.0, 1.0), "expected low above 0 and below high, .* got low=0.0, high=1.0"),
        (lambda: search.Integer(3, 2), "expected low of at most high, .* got low=3, high=2"),
        (lambda: search.Choice([]), "expected options, because one of them is drawn; got none"),
    ],
)
def test_spaces_without_a_trial_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.Grid(x=0.1), r"expected x as values in a row, .* got 0.1\n  hint: Grid\(x=\[...\]\)"),
        (lambda: search.Grid(x="adam"), "expected x as values in a row, .* got 'adam'"),
        (lambda: search.Grid(x=np.ones((2, 2))), "expected x as values in a row"),
        (lambda: search.Random(3, x=[1, 2]), r"expected x as Uniform, .* got \[1, 2\]\n  hint: Choice"),
        (lambda: search.Sobol(2.5, x=search.Uniform(0, 1)), "expected trials to be an int, .* got 2.5"),
        (lambda: search.Integer(0.5, 2), "expected low to be an int, .* got 0.5"),
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_space_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
