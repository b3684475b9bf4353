"""The race of optimizers: everyone runs, what the docstring expects is what is printed, and the pictures show it."""

import inspect
import re

import numpy as np
import pytest

from jaxnn import optim

NAME = "optimizers_race"
LANDSCAPES = ["Rosenbrock", "Beale", "saddle", "quadratic"]


def rows(output):
    """Best rates and ends, of shape (5, 2): of the four landscapes and of the digits, by name."""
    found = re.findall(r"^([a-z]\w*) +((?:  [\d.]+e[+-]\d+ +(?:[\d.]+e[+-]\d+|inf)){5})$", output, re.M)
    return {name: np.array(numbers.split(), float).reshape(5, 2) for name, numbers in found}


def test_every_optimizer_has_a_row(told):
    names = ("sgd", "lookahead", "schedule_free_sgd", "exponentially_averaged")
    everywhere, output = told(
        NAME, optimizers=names, rates=3, steps=10, digits_rates=2, digits_steps=3, picture=None
    )  # with rates of 1e-6, 1e-2, 1e2 and of 1e-4, 1e2
    table = rows(output)
    assert tuple(table) == names
    assert np.isin(table["sgd"][:4, 0], [1e-6, 1e-2, 1e2]).all()
    np.testing.assert_allclose(table["sgd"][4], [1e-4, 2.4], rtol=0.2)  # 2.3 is the loss of guesses
    arrived = {name: row[:4, 1] < 1e-4 for name, row in table.items()}
    assert everywhere == sum(all(row) for row in arrived.values())
    counts = [sum(row[i] for row in arrived.values()) for i in range(4)]
    told_counts = ", ".join(f"{count} {name}" for count, name in zip(counts, LANDSCAPES, strict=True))
    assert f"of 4 arrive, f - min < 1e-04: {told_counts}\n" in output


@pytest.mark.slow
def test_each_at_its_best_does_what_the_docstring_expects(told, tmp_path):
    names = ("sgd", "momentum", "adam", "lbfgs")
    everywhere, output = told(
        NAME, optimizers=names, rates=33, digits_rates=4, digits_steps=20, picture=str(tmp_path / "race.png")
    )
    end = {name: dict(zip([*LANDSCAPES, "digits"], row[:, 1], strict=True)) for name, row in rows(output).items()}
    assert end["lbfgs"]["Rosenbrock"] < 1e-8
    assert end["sgd"]["Rosenbrock"] > 1e-2
    assert end["momentum"]["quadratic"] < 1e-8 < 1e-3 < end["sgd"]["quadratic"]
    assert max(end[name]["saddle"] for name in names) < 1e-8  # at the saddle it is 0.25
    assert max(end[name]["Beale"] for name in names) < 1e-4
    assert everywhere == 3  # all but sgd
    assert max(end[name]["digits"] for name in names) < 1.5  # 2.3 is the loss of guesses
    for file in ("race.png", "race_digits.png"):
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")


def test_what_takes_a_learning_rate_runs_or_is_left_out_for_a_reason(example):
    race = example(NAME)
    racing = [name for family in race.OPTIMIZERS.values() for name in family]
    assert len(racing) == len(set(racing))
    takes = {
        name
        for name in optim.__all__
        if inspect.isfunction(function := getattr(optim, name))
        and {"learning_rate", "max_learning_rate"} & set(inspect.signature(function).parameters)
    }
    links = {name for name in takes if name.startswith("scale_by_")}
    assert takes - links - set(racing) == set(race.LEFT_OUT)
    assert all(reason for reason in race.LEFT_OUT.values())
    assert max(map(len, race.OPTIMIZERS.values())) <= len(race.COLOURS)


def test_landscapes_are_least_where_they_are_said_to_be(example):
    landscapes = example(NAME).LANDSCAPES
    assert list(landscapes) == LANDSCAPES
    for f, start, minima, (left, right, low, high) in landscapes.values():
        assert f(*start) > 0.2
        for x, y in minima:
            assert abs(f(x, y)) < 1e-12
            near = [f(x + dx, y + dy) for dx, dy in ((1e-2, 0), (-1e-2, 0), (0, 1e-2), (0, -1e-2))]
            assert min(near) > 1e-6
        for x, y in (start, *minima):
            assert left < x < right
            assert low < y < high
    assert landscapes["saddle"].f(0.0, 0.0) == 0.25


def test_best_is_what_ends_lowest_and_among_equals_what_is_there_first(example):
    race = example(NAME)
    values = np.ones((5, 40))
    values[0] = np.nan
    values[1, 5:] = 1e-12
    values[2, 2:] = 1e-10  # as good as 0, and sooner
    values[3, 20:] = 1e-3
    values[4, -1] = np.inf
    paths = np.arange(5)[:, None, None] * np.ones((5, 40, 2))
    run = race.best(np.arange(5.0), values, paths)
    assert (run.rate, run.end) == (2, pytest.approx(1e-10))
    assert (run.path == 2).all()
    assert race.best(np.arange(2.0), values[[4, 3]]).end == pytest.approx(1e-3)
    assert race.best(np.arange(2.0), values[[0, 4]]).end == np.inf
    assert race.best(np.arange(1.0), values[[3]]).path is None


def some_races(race):
    """Two optimizers of one family and one of another; only `momentum` arrives, and not at the saddle's minima."""
    far, at = np.full(5, 0.5), np.zeros(5)
    path = np.linspace((0.0, 0.0), (1.0, 1.0), 5)
    digits = race.Best(0.1, 0.5, far)
    lost = [race.Best(1e-3, 0.5, far, path)] * 4
    arrived = [race.Best(1e-3, 0.5 if name == "saddle" else 0.0, at, path) for name in LANDSCAPES]
    return {"sgd": [*lost, digits], "momentum": [*arrived, digits], "adam": [*lost, digits._replace(end=0.25)]}


def test_the_figure_has_a_row_for_each_landscape_and_a_legend_for_each_family(example):
    race = example(NAME)
    panels = np.reshape(race.draw(some_races(race)).axes, (4, 2))
    assert [axes.get_ylabel() for axes in panels[:, 0]] == LANDSCAPES
    assert [axes.get_title().strip() for axes in panels[0]] == ["gradient descent", "Adam and its kin"]
    assert [axes.get_title(loc="right") for axes in panels[:, 0]] == [f"{n} of 2 arrive" for n in (1, 1, 0, 1)]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels[-1]]
    assert legends == [["○○○○ sgd", "●●○● momentum"], ["○○○○ adam"]]
    for row, crosses in zip(panels, (1, 1, 2, 1), strict=True):
        assert sum(line.get_marker() == "X" for line in row[0].get_lines()) == crosses
        assert [len(line.get_xdata()) for line in row[0].get_lines()].count(5) == 2


def test_the_figure_of_digits_has_the_same_axes_in_all_panels(example):
    race = example(NAME)
    left, right = race.draw_digits(some_races(race)).axes
    assert (left.get_title(), right.get_title()) == ("gradient descent", "Adam and its kin")
    assert left.get_yscale() == right.get_yscale() == "log"
    assert left.get_ylim() == right.get_ylim()
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["0.250 adam, 0.1"]
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), [0.5])
