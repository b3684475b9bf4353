"""Four searches with one budget: none exceeds it, and the curves are of what the members reported."""

import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxnn as nn

NAME = "sweep_digits"
TINY = {"values": 2, "epochs": 4, "repeats": 1, "seeds": 2}
METHODS = ["grid", "random", "halving", "bayesian"]


def rows(output):
    """By method: trials, epochs, seconds to the first value, seconds, validation loss, test loss, test accuracy."""
    row = r"^(\w+) +(\d+) +(\d+) +([\d.]+) s +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) ± [\d.]+$"
    return {name: np.array(numbers, float) for name, *numbers in re.findall(row, output, re.M)}


def test_all_searches_spend_one_budget_and_find_what_is_better_than_a_guess(told, tmp_path):
    picture = tmp_path / "sweep_digits.png"
    accuracy, output = told(NAME, picture=str(picture), **TINY)
    table = rows(output)
    assert list(table) == list(accuracy) == METHODS
    assert [table[name][0] for name in METHODS] == [8, 8, 19, 8]
    assert [table[name][1] for name in METHODS] == [32, 32, 31, 32]  # 20 trials of halving would take 35
    for name, (_, _, first, seconds, validation, test, right) in table.items():
        assert first <= seconds
        assert max(validation, test) < np.log(10)
        assert right == round(accuracy[name], 4) > 0.2
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def task(example):
    """Hardly any training, of a problem whose loss is known."""
    x = np.linspace(0, 1, 32 * 64, dtype=np.float32).reshape(32, 64)
    data = nn.Data(x, np.arange(32, dtype=np.int32) % 10)
    return example(NAME).Task(data, data, 4, 8, lambda more, loss: None)


def test_every_member_reports_what_the_search_is_told(example, task):
    module = example(NAME)
    search = module.searched(module.halving, task, jax.random.key(0))
    values = search.found.values[np.isfinite(search.found.values)]
    assert len(search.best) == values.size == 19 + 4
    np.testing.assert_allclose(search.spent, np.cumsum([1] * 19 + [3] * 4))
    assert search.spent[-1] == search.found.spent
    assert search.best[-1] == pytest.approx(values.min())
    assert (np.diff(search.best) <= 0).all()
    assert (np.diff(search.at) >= 0).all()
    assert 0 < search.at[0] <= search.at[-1] <= search.seconds


def test_the_median_is_infinite_until_more_than_half_of_the_searches_have_reported(example):
    first = SimpleNamespace(at=np.array([1.0, 3.0]), best=np.array([4.0, 2.0]))
    second = SimpleNamespace(at=np.array([2.0]), best=np.array([1.0]))
    third = SimpleNamespace(at=np.array([4.0]), best=np.array([0.5]))
    at, best = example(NAME).median([first, second, third], "at")
    np.testing.assert_array_equal(at, [1, 2, 3, 4])
    np.testing.assert_array_equal(best, [np.inf, 4, 2, 1])
