"""Pictures of runs. Matplotlib draws them and is imported only here, when a picture is asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxnn.search._result import Sweep, written
from jaxnn.training._learning_rate_finder import LearningRates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "curves",
    "heat_map",
    "learning_rates",
    "parallel_coordinates",
]


def curves(history: Mapping[str, Any], *, title: str = "", x_label: str = "epoch") -> "Figure":
    """Return a figure with a panel for each quantity of a history, training and validation together.

    Args:
        history: As `fit` returns it: arrays of shape `(epochs,)` by name; `"validation_x"` is drawn with `"x"`, in a
            line through the rows that were validated. The loss has a logarithmic axis if it is above 0.
        title: Above the panels.
        x_label: What a row of the history is; `"20 steps"`, if that is what `fit` was asked for.

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
        axes, positive = figure.add_subplot(1, len(quantities), i + 1), True
        for name, label in ((quantity, "training"), (f"validation_{quantity}", "validation")):
            if name in history:
                values = np.asarray(history[name])
                finite = np.isfinite(values)
                positive &= bool((values[finite] > 0).all())
                drawn = finite if label == "validation" else slice(None)  # not every row is validated
                marker = "." if finite.sum() == 1 else None
                axes.plot(np.arange(1, len(values) + 1)[drawn], values[drawn], label=label, marker=marker)
        if quantity == "loss" and positive:
            axes.set_yscale("log")
        axes.set_xlabel(x_label)
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

    Of what `nn.sweep` returns it is `heat_map(**swept.crossed("learning_rate", "width"))`.

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
        axes.set_ylim(0.7 * min([first, *ended]), min(10 * first, 2 * max([first, *ended])))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")  # small rates leave the loss above
    axes.set_title(title)
    return figure


def parallel_coordinates(sweep: Sweep, *, title: str = "") -> "Figure":
    """Return a figure of a sweep with an axis for every hyperparameter and one for the objective: a line is a trial.

    The better a trial is ranked the darker its line, and the best is red and above all: so what matters is where dark
    lines run together. A trial of which a member failed is dotted, and ends before the objective if all did. Numbers
    above 0 that span two powers of 10 or more have a logarithmic axis; what is no number has its values one above the
    other.

    Args:
        sweep: What `nn.sweep` returned.
        title: Above the axes.

    Returns:
        A matplotlib figure; `figure.savefig(path)` writes it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.

    >>> import jax, jaxnn as nn
    >>> space = nn.search.Random(8, x=nn.search.Uniform(-1, 1), y=nn.search.LogUniform(1e-3, 1.0))
    >>> swept = nn.sweep(lambda key, x, y: x**2 + y, space, jax.random.key(0), progress=False)
    >>> figure = parallel_coordinates(swept, title="a bowl")
    >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    ['x', 'y', 'objective']
    """
    names = [*sweep.columns, sweep.objective]
    coordinates = [_coordinate(column) for column in (*sweep.columns.values(), sweep.mean)]
    heights = np.array([heights for heights, _ in coordinates])
    figure = _figure(1.5 + 1.8 * len(names), 4.0)
    axes = figure.add_subplot()
    last_to_first = sweep.ranking[::-1]
    for place, trial in enumerate(last_to_first, start=1):
        best = place == sweep.trials and np.isfinite(sweep.mean[trial])
        colour = "tab:red" if best else f"{0.9 - 0.6 * place / sweep.trials:.2f}"  # a grey
        style, width = ":" if sweep.failed[trial] else "-", 2.5 if best else 1.0
        axes.plot(heights[:, trial], color=colour, linestyle=style, linewidth=width)
    behind = {"color": "white", "alpha": 0.7, "pad": 0.5}
    for i, (_, ticks) in enumerate(coordinates):
        axes.axvline(i, color="black", linewidth=0.8)
        for name, height in ticks:
            axes.text(i + 0.03, height, name, fontsize=8, va="center", bbox=behind)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.set_xlim(-0.05, len(names) - 0.6)
    axes.spines[:].set_visible(False)
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


def _coordinate(column: Any) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """Where values are on an axis from 0 to 1, and what is written beside it, where."""
    if isinstance(column, list):
        once = [value for i, value in enumerate(column) if value not in column[:i]]
        heights = np.linspace(0, 1, len(once)) if len(once) > 1 else np.array([0.5])
        return np.array([heights[once.index(value)] for value in column]), list(
            zip(map(written, once), heights, strict=True)
        )
    from matplotlib.ticker import LogLocator, MaxNLocator

    values = np.asarray(column, float)
    finite = np.unique(values[np.isfinite(values)])
    if len(finite) < 2:  # all alike
        return np.where(np.isfinite(values), 0.5, np.nan), [(f"{value:.3g}", 0.5) for value in finite]
    logarithmic = finite[0] > 0 and finite[-1] / finite[0] >= 100
    scale = np.log if logarithmic else np.asarray
    low, high = scale(finite[0]), scale(finite[-1])
    height = lambda value: (scale(value) - low) / (high - low)
    shown = finite
    if len(finite) > 6:
        shown = (LogLocator(numticks=8) if logarithmic else MaxNLocator(6, steps=[1, 2, 5, 10])).tick_values(
            finite[0], finite[-1]
        )
        shown = shown[(finite[0] <= shown) & (shown <= finite[-1])]
    with np.errstate(invalid="ignore"):
        return height(values), [(f"{value:.3g}", float(height(value))) for value in shown]
