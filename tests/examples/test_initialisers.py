"""Signals in fifty layers: what the docstring expects is what is printed and drawn."""

import re

import numpy as np
import pytest

NAME = "initialisers"


def rows(output):
    """Variance after the first and after the last layer, by name."""
    found = re.findall(r"^(\S.*?) {2,}(\d\.\d\de[+-]\d+)  +(\d\.\d\de[+-]\d+)$", output, re.M)
    return {name: (float(first), float(last)) for name, first, last in found}


@pytest.mark.slow
def test_the_right_pairings_keep_the_variance_and_the_wrong_ones_do_not(told, tmp_path):
    worst, output = told(NAME, picture=str(tmp_path / "initialisers.png"))
    assert worst < 2
    assert f"worst factor with recommend_init: {worst:.2f}" in output
    change = {name: last / first for name, (first, last) in rows(output).items()}
    assert all(0.5 < change[name] < 2 for name in ("relu", "leaky_relu", "elu", "selu", "tanh", "sigmoid"))
    assert change["relu, LeCun or Glorot"] < 1e-14
    assert change["tanh, Glorot without gain"] < 1 / 35
    assert 0.5 < change["tanh, He"] < 0.7
    assert 500 < change["selu, He"] < 5000
    assert change["relu, $N(0, 0.01^2)$"] < 1e-90
    assert change["relu, all ones"] > 1e230
    assert (tmp_path / "initialisers.png").read_bytes().startswith(b"\x89PNG")


def test_at_a_tiny_size_every_pairing_has_a_row(told):
    worst, output = told(NAME, layers=3, width=16, draws=2, picture=None)
    assert len(rows(output)) == 12
    assert worst >= 1


def test_the_figure_has_every_line_on_the_panel_it_belongs_to(example):
    names = ["a", "b", "c", "d", "e", "f"]
    right, wrong = ({name: np.full(4, value) for name in names} for value in (0.5, 1e-9))
    left, other = example(NAME).draw(right, wrong).axes
    for axes, value in ((left, 0.5), (other, 1e-9)):
        assert [text.get_text() for text in axes.get_legend().get_texts()] == names
        assert [set(line.get_ydata()) for line in axes.get_lines()] == [{value}] * 6
        assert list(axes.get_lines()[0].get_xdata()) == [1, 2, 3, 4]
        assert axes.get_yscale() == "log"
