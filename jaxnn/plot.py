"""Pictures of a run. Matplotlib draws them and is imported only here, when a picture is asked for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "curves",
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
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        error.add_note("  hint: pictures are drawn by matplotlib: pip install 'jaxnn[examples]'")
        raise
    quantities = [name for name in history if not name.startswith("validation_")]
    if not quantities:
        raise ValueError(f"expected a quantity of training, because a panel is one; got {', '.join(history) or 'none'}")
    quantities.sort(key=lambda name: name != "loss")  # which everybody looks at first
    figure = Figure(figsize=(5 * len(quantities), 3.5), layout="constrained")
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
