"""The sweep at a size that tests can pay for, and at full size: what its docstring expects is what comes out."""

import re

import numpy as np
import pytest

NAME = "sweep_256"
TINY = {"rates": 3, "seeds": 2, "epochs": 2, "picture": None}


def rows(output):
    """Learning rate, mean, worst and best accuracy of every row of the table."""
    found = re.findall(r"^ +(\d\.\de-\d\d) +(\d\.\d{4}) +(\d\.\d{4}) +(\d\.\d{4})$", output, re.M)
    return np.array(found, float)


def test_every_learning_rate_has_a_row_and_the_best_mean_is_returned(told):
    mean, output = told(NAME, **TINY)
    assert output.startswith("6 runs in ")
    rates, means, worst, best = rows(output).T
    np.testing.assert_allclose(rates, [1e-4, 3.2e-3, 1e-1])
    assert (worst <= means).all()
    assert (means <= best).all()
    assert round(mean, 4) == means.max()
    assert f"best learning rate: {rates[means.argmax()]:.1e}, with a mean accuracy of {mean:.4f}" in output


def test_members_are_their_single_runs(told):
    output = told(NAME, **TINY).output
    assert re.search(r"^[012] differ at rates up to 1e-2, ", output, re.M)
    (difference,) = re.findall(r"in float64: losses differ by (\S+)$", output, re.M)
    assert float(difference) < 1e-8


def test_the_heat_map_has_every_run_and_every_mean(example):
    wrong = np.array([[30.0, 20.0], [2.0, 4.0], [5.0, 8.0]])
    axes, bar = example(NAME).draw(np.array([1e-4, 1e-3, 1e-2]), wrong).axes
    texts = {text.get_position(): float(text.get_text()) for text in axes.texts}
    assert texts == {
        (0, 0): 30,
        (1, 0): 20,
        (3, 0): 25,
        (0, 1): 2,
        (1, 1): 4,
        (3, 1): 3,
        (0, 2): 5,
        (1, 2): 8,
        (3, 2): 6.5,
    }
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1.0e-04", "1.0e-03", "1.0e-02"]
    assert "6 whole runs" in axes.get_title()
    assert bar.get_ylabel() == "test digits wrong, %"


@pytest.mark.slow
def test_256_runs_give_what_the_docstring_expects(told, tmp_path):
    mean, output = told(NAME, picture=str(tmp_path / "sweep.png"))
    rates, means, _, _ = rows(output).T
    assert len(rates) == 16
    assert (means[(rates > 2.4e-3) & (rates < 2.6e-2)] > 0.96).all()
    assert means[0] < 0.8
    assert mean > 0.965
    assert re.search(r"^[012] differ at rates up to 1e-2, ", output, re.M)
    (difference,) = re.findall(r"after 5 in float64: losses differ by (\S+)$", output, re.M)
    assert float(difference) < 1e-8
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
