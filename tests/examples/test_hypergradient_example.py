"""The tuned schedule at a size that tests can pay for, and at full size: it gives what its docstring expects."""

import re

import jax
import numpy as np
import pytest

import jaxnn as nn

NAME = "hypergradient"
TINY = {"runs": 2, "points": 3, "seeds": 1, "epochs": 1, "picture": None}


def rows(output):
    """Validation loss, unseen loss, accuracy and decays of each row of the table, by its name."""
    found = re.findall(
        r"^(at the|best|tuned)( \S+ ?\S*)? +(\d\.\d+) +(\d\.\d+) +(\d\.\d+) +(\S+) +(\S+)$", output, re.M
    )
    return {(first + rest).strip(): np.array(numbers, float) for first, rest, *numbers in found}


def test_all_that_was_tried_is_judged_and_the_tuned_loss_is_returned(told):
    loss, output = told(NAME, **TINY)
    assert re.match(r"2 runs with gradients, of 1 seeds each: .*\n2 x 12 runs at random: ", output)
    table = rows(output)
    assert set(table) == {"at the beginning", "best constant", "best at random", "tuned"}
    assert table["tuned"][0] <= table["at the beginning"][0]
    assert table["tuned"][1] == round(loss, 3)
    assert len(re.findall(r"\d\.\d{3}", output.splitlines()[-1])) == 3  # rates


def test_random_draws_are_spread_about_the_beginning(example):
    module = example(NAME)
    begin = {name: np.full(4 if name == "rate" else (), value) for name, value in module.BEGIN.items()}
    drawn = module.draws(begin, 200)
    assert drawn["rate"].shape == (200, 4)
    for name, (low, high) in module.SPREAD.items():
        ratio = drawn[name] / module.BEGIN[name]
        assert low < ratio.min() < 1.5 * low
        assert high / 1.5 < ratio.max() < high


def test_the_best_is_the_lowest_that_did_not_diverge(example):
    h, loss = example(NAME).best({"rate": np.array([1.0, 2.0, 3.0])}, np.array([np.nan, 0.5, 0.7]))
    assert (h["rate"], loss) == (2, 0.5)


def test_the_picture_has_what_was_found(example):
    trajectory = {"rate": np.full((3, 2), 0.1), "decay/dense_0": np.full(3, 0.2), "decay/dense_1": np.full(3, 0.3)}
    values = np.array([1.0, 0.4, 0.6])
    last = jax.tree.map(lambda leaf: leaf[-1], trajectory)
    found = nn.search.Tuned(last, 0.4, trajectory, values, trajectory, np.zeros(3, bool))
    figure = example(NAME).draw(found, {"a": np.array([np.nan, 0.9, 1.2]), "b": np.ones(3)})
    loss, schedule, decay = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_data(), [[6, 12, 18], [1.0, 0.4, 0.4]])
    np.testing.assert_array_equal(loss.lines[2].get_ydata(), [np.nan, 0.9, 0.9])
    assert len(schedule.lines) == 3
    np.testing.assert_array_equal(decay.lines[1].get_ydata(), [0.3, 0.3, 0.3])


@pytest.mark.slow
def test_it_gives_what_the_docstring_expects(told, tmp_path):
    loss, output = told(NAME, picture=str(tmp_path / "hypergradient.png"))
    table = rows(output)
    assert 1.0 < table["at the beginning"][0] < 1.1
    assert 0.11 < table["tuned"][0] < 0.15
    assert table["tuned"][0] < table["best at random"][0] < table["best constant"][0]
    assert loss < table["best constant"][1]
    assert loss < 0.19
    rates = np.array(re.findall(r"\d\.\d{3}", output.splitlines()[-2]), float)
    assert rates[-1] < 0.3 * rates[:-2].min()
    assert (tmp_path / "hypergradient.png").read_bytes().startswith(b"\x89PNG")
