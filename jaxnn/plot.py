"""Pictures of runs. Matplotlib draws them and is imported only here, when a picture is asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxnn.training._learning_rate_finder import LearningRates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "curves",
    "heat_map",
    "learning_rates",
]


def curves(history: Mapping[str, Any], *, title: str = "") -> "Figure":
    """Return a figure with a panel for each quantity of a history, training and validation together.

    Args:
        history: As `fit` returns it: arrays of shape `(epochs,)` by name; `"validation_x"` is drawn with `"x"`.
        title: Above the panels.

    Returns:
        A matplotlib figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: There is no quantity of training.
        ModuleNotFoundError: matplotlib is not installed.

    >>> figure = curves({"loss": np.array([2.0, 1.0]), "validation_loss": np.array([2.1, 1.5])})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss']
    """
    quantities = [name for name in history if not name.startswith("validation_")]
    if not quantities:
        raise ValueError(f"expected a quantity of training, because a panel is one; got {', '.join(history) or 'none'}")
    quantities.sort(key=lambda name: name != "loss")  # which everybody looks at first
    figure = _figure(5.0 * len(quantities), 3.5)
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        for name, label in ((quantity, "training"), (f"validation_{quantity}", "validation")):
            if name in history:
                values = np.asarray(history[name])
                axes.plot(np.arange(1, len(values) + 1), values, label=label)
        if quantity == "loss":
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    return figure


def heat_map(
    values: Any,
    *,
    rows: Sequence[Any],
    columns: Sequence[Any],
    row_label: str = "",
    column_label: str = "",
    label: str = "",
    title: str = "",
    digits: int = 0,
    scale: Literal["linear", "log"] = "linear",
) -> "Figure":
    """Return a figure of a table in which every number has a colour: what came out of a sweep over two settings.

    Args:
        values: The numbers, of shape `(rows, columns)`; NaN is drawn as a gap.
        rows: What to call each row, from top to bottom: numbers or strings.
        columns: What to call each column.
        row_label: What the rows are.
        column_label: What the columns are.
        label: What the numbers are.
        title: Above the table.
        digits: Of each number behind the point.
        scale: Of the colours: `"log"` for numbers above 0 whose ratios matter.

    Returns:
        A matplotlib figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: There are not as many names as rows and columns.
        ModuleNotFoundError: matplotlib is not installed.

    >>> figure = heat_map(np.array([[95.0, 96.0], [10.0, 97.0]]), rows=[0.1, 0.01], columns=["seed 0", "seed 1"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['95', '96', '10', '97']
    """
    values = np.asarray(values)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"expected values of shape {len(rows), len(columns)}, because there are so many names of rows "
                         f"and columns; got {values.shape}")  # fmt: skip
    figure = _figure(1.8 + 0.42 * len(columns), 1.4 + 0.36 * len(rows))
    axes = figure.add_subplot()
    image = axes.imshow(values, aspect="auto", cmap="viridis", norm=scale)
    axes.set_xticks(range(len(columns)), [_name(column) for column in columns])
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes.set_xlabel(column_label)
    axes.set_ylabel(row_label)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if np.less(image.norm(value), 0.6) else "black"
            axes.text(column, row, f"{value:.{digits}f}", color=colour, fontsize=8, ha="center", va="center")
    bar = figure.colorbar(image, label=label)
    if scale == "log":
        from matplotlib.ticker import LogFormatter

        bar.ax.yaxis.set_major_formatter(LogFormatter())  # numbers rather than powers of 10
        bar.ax.yaxis.set_minor_formatter(LogFormatter())
    axes.set_title(title)
    return figure


def learning_rates(found: LearningRates, *, title: str = "") -> "Figure":
    """Return a figure of what `nn.find_learning_rate` found: the loss at the end of each run over its rate.

    A rate at which it is infinite or NaN has a cross at the upper edge, and one at which it is more than ten times the
    loss at the beginning is beyond that edge. Both axes are logarithmic, but for losses that are not above 0.

    Args:
        found: The runs.
        title: Above the axes.

    Returns:
        A matplotlib figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: They are of several searches, one for each member of a `vmap`.
        ModuleNotFoundError: matplotlib is not installed.

    >>> losses = np.array([[2.0, 1.9], [2.0, 0.5], [2.0, np.nan]])
    >>> found = LearningRates(np.array([0.01, 0.1, 1.0]), losses, losses[:, 1], np.array(0.1))
    >>> [line.get_label() for line in learning_rates(found).axes[0].get_lines()]
    ['loss at the beginning', 'loss at the end', 'suggestion: 0.1', 'diverged']
    """
    rates, losses, final = (np.asarray(part, float) for part in (found.rates, found.losses, found.final))
    if rates.ndim != 1:
        raise ValueError(f"expected one row of rates, because a picture is of one search; got shape {rates.shape}\n"
                         "  hint: jax.tree.map(lambda a: a[0], found) is the first of many")  # fmt: skip
    figure = _figure(6.0, 3.8)
    axes = figure.add_subplot()
    diverged = ~np.isfinite(final)
    first, ended = losses[0, 0], final[~diverged]
    scale = "log" if (np.append(ended, first) > 0).all() else "linear"
    axes.axhline(first, color="0.6", linestyle=":", label="loss at the beginning")
    axes.plot(rates, final, marker=".", label="loss at the end")
    if np.isfinite(found.suggestion):
        colour = "tab:green"
        axes.axvline(float(found.suggestion), color=colour, linestyle="--", label=f"suggestion: {found.suggestion:.2g}")
    if diverged.any():
        at_the_edge = axes.get_xaxis_transform()  # x in rates, y in parts of the height
        axes.plot(rates[diverged], np.full(diverged.sum(), 0.97), "x", color="tab:red", transform=at_the_edge,
                  label="diverged")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale(scale)
    if scale == "log" and np.isfinite(first):
        axes.set_ylim(0.7 * min(first, *ended), min(10 * first, 2 * max(first, *ended)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")  # small rates leave the loss above
    axes.set_title(title)
    return figure


def _figure(width: float, height: float) -> "Figure":
    """A figure that belongs to no window."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        error.add_note("  hint: pictures are drawn by matplotlib: pip install 'jaxnn[examples]'")
        raise
    return Figure(figsize=(width, height), layout="constrained")


def _name(of: Any) -> str:
    """A number in few digits, or what it is called."""
    return of if isinstance(of, str) else f"{of:.2g}"
