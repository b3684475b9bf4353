"""Pictures of runs: which panels there are, what is drawn in them and what it is called."""

import subprocess
import sys

import jax
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


def test_validation_is_a_line_through_the_rows_that_have_it(tmp_path):
    history = {"loss": np.array([2.0, 1.0, 0.5, 0.4]), "validation_loss": np.array([np.nan, 1.5, np.nan, -1.4])}
    (axes,) = nn.plot.curves(history, x_label="20 steps").axes
    assert lines_of(axes)["validation"] == ([2, 4], [1.5, -1.4])
    assert (axes.get_xlabel(), axes.get_yscale()) == ("20 steps", "linear")
    (axes,) = nn.plot.curves({"loss": np.array([2.0, 1.0]), "validation_loss": np.array([np.nan, 1.5])}).axes
    assert axes.get_lines()[1].get_marker() == "."  # a line through one point is none


WRONG = np.array([[30.0, 25.26], [2.5, np.nan]])


def heat_map(**settings):
    return nn.plot.heat_map(WRONG, rows=[1e-4, 1e-3], columns=[0, "mean"], **settings)


def test_a_heat_map_has_each_number_at_its_place_and_a_gap_where_there_is_none():
    axes, _ = heat_map(digits=1).axes
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "30.0",
        (1, 0): "25.3",
        (0, 1): "2.5",
    }
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array().filled(np.nan), WRONG)


def test_a_heat_map_says_what_rows_columns_and_numbers_are():
    axes, bar = heat_map(row_label="learning rate", column_label="seed", label="wrong, %", title="digits").axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.0001", "0.001"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "mean"]
    labels = axes.get_ylabel(), axes.get_xlabel(), bar.get_ylabel(), axes.get_title()
    assert labels == ("learning rate", "seed", "wrong, %", "digits")


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_colours_of_a_heat_map_have_a_scale_and_their_numbers_can_be_read(scale, tmp_path):
    figure = heat_map(scale=scale)
    axes, bar = figure.axes
    (image,) = axes.get_images()
    middle = (2.5 + 30) / 2 if scale == "linear" else np.sqrt(2.5 * 30)
    np.testing.assert_allclose([image.norm(value) for value in (2.5, middle, 30)], [0, 0.5, 1])
    assert [text.get_color() for text in axes.texts] == ["black", "black", "white"]
    figure.savefig(tmp_path / "map.png")
    assert not any("$" in tick.get_text() for tick in bar.get_yticklabels(which="both")), "powers of 10"


def test_a_heat_map_needs_as_many_names_as_rows_and_columns():
    message = r"^expected values of shape \(3, 1\), because there are so many names of rows and columns; got \(2, 2\)$"
    with pytest.raises(ValueError, match=message):
        nn.plot.heat_map(WRONG, rows=[1, 2, 3], columns=["a"])


def found(final, suggestion, first=2.0):
    """What a search over rates of 0.001, 0.01 and so on would have found."""
    losses = np.stack([np.full(len(final), first), final], axis=1)
    rates = 10.0 ** np.arange(-3, len(final) - 3)
    return nn.training.LearningRates(rates, jnp.array(losses), jnp.array(final), jnp.array(suggestion))


def test_learning_rates_are_drawn_with_the_suggestion_and_those_that_diverged(tmp_path):
    figure = nn.plot.learning_rates(found([1.9, 0.5, 0.4, np.nan, np.nan], 0.01), title="digits")
    (axes,) = figure.axes
    drawn = lines_of(axes)
    assert list(drawn) == ["loss at the beginning", "loss at the end", "suggestion: 0.01", "diverged"]
    np.testing.assert_allclose(drawn["loss at the beginning"][1], [2.0, 2.0])
    rates, final = drawn["loss at the end"]
    np.testing.assert_allclose(rates, [1e-3, 0.01, 0.1, 1, 10])
    np.testing.assert_allclose(final, [1.9, 0.5, 0.4, np.nan, np.nan])
    np.testing.assert_allclose(drawn["suggestion: 0.01"][0], 0.01)
    np.testing.assert_allclose(drawn["diverged"][0], [1, 10])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("learning rate", "loss", "digits")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)
    figure.savefig(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000


def test_a_rate_whose_loss_is_huge_does_not_flatten_the_others():
    (axes,) = nn.plot.learning_rates(found([1.9, 0.5, 3e30], 0.01)).axes
    low, high = axes.get_ylim()
    assert (low, high) == pytest.approx((0.35, 20.0))
    assert "diverged" not in lines_of(axes)


@pytest.mark.parametrize("final", [[1.9, -0.5, np.nan], [0.0, np.nan, np.nan]])
def test_losses_that_are_not_above_0_have_no_logarithm(final, tmp_path):
    figure = nn.plot.learning_rates(found(final, 0.01))
    assert figure.axes[0].get_yscale() == "linear"
    figure.savefig(tmp_path / "rates.png")


def test_where_all_rates_diverged_nothing_is_suggested(tmp_path):
    nn.plot.learning_rates(found([np.nan, np.nan], np.nan, first=2.0)).savefig(tmp_path / "first.png")
    figure = nn.plot.learning_rates(found([np.nan, np.nan], np.nan, first=np.nan))
    assert list(lines_of(figure.axes[0])) == ["loss at the beginning", "loss at the end", "diverged"]
    figure.savefig(tmp_path / "rates.png")


def test_of_several_searches_one_is_asked_for():
    both = jax.tree.map(lambda a: jnp.stack([a, a]), found([1.9, 0.5], 0.01))
    with pytest.raises(ValueError, match=r"^expected one row of rates, .*; got shape \(2, 2\)\n  hint: jax.tree.map"):
        nn.plot.learning_rates(both)


def test_no_window_and_no_global_state_of_matplotlib_is_involved():
    """In a process of its own, because other tests may have imported anything."""
    program = (
        "import sys, jax.numpy as jnp, jaxnn as nn; nn.plot.curves({'loss': jnp.ones(3)}); "
        "assert 'matplotlib.figure' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        nn.plot.curves(HISTORY)
    assert caught.value.__notes__ == ["  hint: pictures are drawn by matplotlib: pip install 'jaxnn[examples]'"]
