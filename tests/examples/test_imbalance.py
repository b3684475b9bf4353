"""The remedies at a size that tests can pay for, what they are made of, and at full size what the docstring expects."""

import re

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

import jaxnn as nn

NAME = "imbalance"
TINY = {"seeds": 2, "steps": 8, "n": 2600, "n_test": 800, "picture": None}
REMEDIES = (
    "nothing",
    "class weights",
    "oversampling",
    "undersampling",
    "weighted sampling",
    "focal loss",
    "AdaBoost",
    "the truth",
)


def rows(output):
    """Mean and standard deviation of every figure, `(4, 2)`, by the name of the remedy."""
    number = r"(?:\d\.\d{3}|nan)"  # boosting may end before it begins, where training is as short as here
    found = re.findall(rf"^(\w[\w ]*?) +((?:{number} ± {number} *){{4}})$", output, re.M)
    return {name: np.array(re.findall(number, figures), float).reshape(4, 2) for name, figures in found}


def test_every_remedy_has_a_row_and_the_best_is_returned(told):
    best, output = told(NAME, **TINY)
    table = rows(output)
    assert tuple(table) == REMEDIES
    chosen = {name: figures[1, 0] for name, figures in table.items() if name != "the truth"}
    assert max(chosen.values()) == round(best, 3)
    assert f"chosen threshold: {max(chosen, key=chosen.get)}, {best:.3f}" in output


def test_one_example_in_a_hundred_is_positive_and_the_truth_is_calibrated(example):
    module = example(NAME)
    data = jax.jit(module.examples, static_argnums=1)(jax.random.key(0), 200_000)
    assert int(data.y.sum()) == 2000
    p = np.asarray(jax.jit(lambda x: jax.nn.sigmoid(module.odds(x)))(data.x))
    # The mean of p where it is within bounds is how many there are positive: by a test of counts.
    for low, high in ((0, 0.01), (0.01, 0.1), (0.1, 0.5), (0.5, 1)):
        within = (p > low) & (p <= high)
        expected, seen = p[within].sum(), int(data.y[within].sum())
        assert abs(seen - expected) < 4 * np.sqrt((p[within] * (1 - p[within])).sum())


def test_the_threshold_is_that_of_the_highest_f1(example):
    random = np.random.default_rng(0)
    p = random.uniform(size=60).round(1).astype(np.float32)  # with ties
    y = (random.uniform(size=60) < p).astype(np.float32)
    threshold = float(example(NAME).best_threshold(p, y))
    every = [f1_score(y, p > t) for t in np.linspace(-0.05, 0.95, 11)]
    assert f1_score(y, p > threshold) == pytest.approx(max(every))


def test_figures_are_those_of_scikit_learn(example):
    random = np.random.default_rng(1)
    p = random.uniform(size=(2, 300)).astype(np.float32)
    y = (random.uniform(size=(2, 300)) < p / 3).astype(np.int32)
    validation, test = (nn.Data(np.zeros((300, 1), np.float32), each) for each in y)
    got = example(NAME).judge(p[0], validation, p[1], test)
    threshold = float(example(NAME).best_threshold(p[0], y[0].astype(np.float32)))
    expected = [f1_score(y[1], p[1] > 0.5), f1_score(y[1], p[1] > threshold), average_precision_score(y[1], p[1])]
    np.testing.assert_allclose(got[:3], expected, rtol=1e-5)


def test_the_picture_has_every_remedy_and_both_thresholds(example):
    told = {name: np.random.default_rng(i).uniform(size=(3, 4)) for i, name in enumerate(REMEDIES)}
    figure = example(NAME).draw(told)
    f1, precision, calibration = figure.axes
    assert [label.get_text() for label in f1.get_yticklabels()] == list(REMEDIES)
    assert [axes.get_title() for axes in figure.axes] == ["F1", "average precision", "expected calibration error"]
    np.testing.assert_allclose(precision.containers[0].lines[0].get_xdata(), [f[:, 2].mean() for f in told.values()])
    np.testing.assert_allclose(f1.containers[1].lines[0].get_xdata(), [f[:, 1].mean() for f in told.values()])
    assert len(calibration.containers) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["threshold 0.5", "threshold chosen on validation"]


@pytest.mark.slow
def test_remedies_come_out_as_the_docstring_expects(told, tmp_path):
    picture = tmp_path / "imbalance.png"
    output = told(NAME, picture=str(picture)).output
    table = {name: figures[:, 0] for name, figures in rows(output).items()}
    assert picture.read_bytes().startswith(b"\x89PNG")
    at_half, chosen, precision, calibration = ({name: f[i] for name, f in table.items()} for i in range(4))
    balanced = REMEDIES[1:5]
    assert all(at_half["nothing"] + 0.05 < at_half[name] for name in balanced)
    assert all(abs(chosen["nothing"] - chosen[name]) < 0.04 for name in REMEDIES[1:6])
    assert all(abs(precision["nothing"] - precision[name]) < 0.05 for name in REMEDIES[1:6])
    assert calibration["nothing"] < 0.01
    assert all(0.015 < calibration[name] < 0.06 for name in REMEDIES[1:7])
    assert precision["AdaBoost"] < 0.25
    assert chosen["the truth"] > 0.46
    assert precision["the truth"] > 0.42
