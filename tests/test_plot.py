"""Pictures of a run: which panels there are, what is drawn in them and what it is called."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

HISTORY = {
    "loss": jnp.array([2.0, 1.0, 0.5]),
    "accuracy": np.array([0.2, 0.6, 0.9]),
    "validation_loss": np.array([2.1, 1.5, 1.4]),
    "validation_accuracy": np.array([0.1, 0.4, 0.5]),
}


def lines_of(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


def test_there_is_a_panel_for_each_quantity_in_order():
    assert [axes.get_ylabel() for axes in nn.plot.curves(HISTORY).axes] == ["loss", "accuracy"]


def test_training_and_validation_share_a_panel_over_epochs_from_1():
    loss, accuracy = map(lines_of, nn.plot.curves(HISTORY).axes)
    np.testing.assert_allclose(loss["training"], ([1, 2, 3], [2.0, 1.0, 0.5]))
    np.testing.assert_allclose(loss["validation"], ([1, 2, 3], [2.1, 1.5, 1.4]))
    np.testing.assert_allclose(accuracy["training"], ([1, 2, 3], [0.2, 0.6, 0.9]))
    np.testing.assert_allclose(accuracy["validation"], ([1, 2, 3], [0.1, 0.4, 0.5]))


def test_without_validation_there_is_one_line_a_panel():
    (axes,) = nn.plot.curves({"loss": np.ones(2)}).axes
    assert list(lines_of(axes)) == ["training"]


def test_axes_and_lines_are_labelled_and_the_loss_is_logarithmic():
    figure = nn.plot.curves(HISTORY, title="digits")
    assert figure.get_suptitle() == "digits"
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]


def test_epochs_after_an_early_stop_are_gaps(tmp_path):
    figure = nn.plot.curves({"loss": np.array([2.0, 1.0, np.nan])})
    _, values = lines_of(figure.axes[0])["training"]
    assert np.isnan(values).tolist() == [False, False, True]
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_no_window_and_no_global_state_of_matplotlib_is_involved():
    nn.plot.curves(HISTORY)
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        nn.plot.curves(HISTORY)
    assert caught.value.__notes__ == ["  hint: pictures are drawn by matplotlib: pip install 'jaxnn[examples]'"]
