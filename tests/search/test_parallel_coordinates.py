"""Parallel coordinates: which lines there are, how they run, and what is written beside the axes."""

import numpy as np
import pytest

import jaxnn as nn
from jaxnn.search import Sweep

RATES = np.array([1e-4, 1e-2, 1e-1, 1.0])
LOSSES = np.array([[4.0, 4.0], [1.0, 3.0], [np.nan, np.nan], [3.0, np.nan]])


def drawn(losses=LOSSES, mode="min", **columns):
    columns = columns or {"rate": RATES, "depth": np.array([1, 3, 1, 2]), "f": [nn.relu, nn.tanh, nn.relu, nn.relu]}
    figure = nn.plot.parallel_coordinates(Sweep(columns, {"loss": losses}, "loss", mode), title="trials")
    (axes,) = figure.axes
    return axes, axes.get_lines()


def heights(line):
    return np.round(np.asarray(line.get_ydata(), float), 3).tolist()


def test_a_line_is_a_trial_and_the_best_is_last_and_red():
    axes, lines = drawn()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["rate", "depth", "f", "loss"]
    trials, upright = lines[:4], lines[4:]
    assert len(upright) == 4
    # Worst first: that of which all failed, the one of which one did, then by the mean.
    np.testing.assert_array_equal(heights(trials[0]), [0.75, 0, 0, np.nan])
    assert [heights(line) for line in trials[1:]] == [[1, 0.5, 0, 0.5], [0, 0, 0, 1], [0.5, 1, 1, 0]]
    assert [line.get_linestyle() for line in trials] == [":", ":", "-", "-"]
    assert [line.get_color() for line in trials] == ["0.75", "0.60", "0.45", "tab:red"]
    assert axes.get_title() == "trials"


def test_where_more_is_better_another_line_is_red():
    _, lines = drawn(mode="max")
    (red,) = [line for line in lines if line.get_color() == "tab:red"]
    assert heights(red) == [0, 0, 0, 1]


def test_values_stand_beside_the_axes_where_they_belong():
    axes, _ = drawn()
    texts = {(round(text.get_position()[0]), text.get_text()): round(text.get_position()[1], 3) for text in axes.texts}
    assert {name: height for (axis, name), height in texts.items() if axis == 0} == {
        "0.0001": 0, "0.01": 0.5, "0.1": 0.75, "1": 1,
    }  # fmt: skip
    assert {name: height for (axis, name), height in texts.items() if axis == 1} == {"1": 0, "2": 0.5, "3": 1}
    assert {name: height for (axis, name), height in texts.items() if axis == 2} == {"relu": 0, "tanh": 1}
    assert {name: height for (axis, name), height in texts.items() if axis == 3} == {"2": 0, "3": 0.5, "4": 1}


def test_of_many_values_round_ones_are_written():
    axes, _ = drawn(np.arange(40.0)[:, None], rate=np.geomspace(3e-5, 0.5, 40), dropout=np.linspace(0.01, 0.49, 40))
    names = [[text.get_text() for text in axes.texts if round(text.get_position()[0]) == i] for i in (0, 1)]
    assert names == [["0.0001", "0.001", "0.01", "0.1"], ["0.1", "0.2", "0.3", "0.4"]]


@pytest.mark.parametrize("losses", [[[np.nan], [np.nan]], [[1.0], [1.0]]])
def test_one_setting_and_no_best_are_drawn_too(losses, tmp_path):
    axes, lines = drawn(np.array(losses), x=np.array([0.1, 0.1]), f=["relu", "relu"])
    assert heights(lines[0])[:2] == [0.5, 0.5]
    assert sum(line.get_color() == "tab:red" for line in lines) == int(np.isfinite(losses).all())
    axes.figure.savefig(tmp_path / "trials.png")
