"""Pictures of runs. Matplotlib draws them and is imported only here, when a picture is asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "curves",
    "heat_map",
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
