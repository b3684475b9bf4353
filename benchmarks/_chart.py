"""The picture of what was measured: how many times ours every peer takes, on every workload."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import _report, _results, _targets, _timing
from benchmarks._results import Entries

STYLES = {
    "by_hand": ("D", "#000000"),
    "a call each": ("d", "#777777"),
    "flax": ("o", "#0072b2"),
    "flax, one scan": ("v", "#56b4e9"),
    "flax.nnx": ("s", "#009e73"),
    "equinox": ("^", "#b8a800"),
    "Keras": ("P", "#8c564b"),
    "optax": ("p", "#5e3c99"),
    "PyTorch": ("o", "#d55e00"),
    "torch.compile": ("X", "#e69f00"),
    "scikit-learn": ("h", "#cc79a7"),
}
"""By peer, the marker and its colour."""


LIMIT = "#444444"
"""The colour of what the machine could do."""


def draw(found: Entries, path: Path) -> None:
    """Draw results into a file: left of 1 is faster than ours, a line reaches from the smallest ratio to the largest.

    What is to be reached is hollow, and a dotted line leads there from what was reached, if that is less.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    shown = {name: entry["result"] for name, entry in _report.headline(found).items()}
    if not shown:
        return
    figure = Figure(figsize=(10, 2.2 + 0.42 * len(shown)), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_xscale("log")
    axes.axvline(1, color=LIMIT, linewidth=1, zorder=1)
    for row, (name, result) in enumerate(shown.items()):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", zorder=0)
        seen = peers(result)
        lines = {peer: row + 0.6 * ((place + 1) / (len(seen) + 1) - 0.5) for place, peer in enumerate(seen)}
        for peer, ratios in seen.items():
            (marker, color), y = STYLES[peer], lines[peer]  # none on the line of another
            axes.plot([min(ratios), max(ratios)], [y, y], color=color, linewidth=1.2, alpha=0.6, zorder=3)
            axes.plot(statistics.median(ratios), y, marker, color=color, markersize=7, zorder=4, label=peer)
        bound = _results.limit(result)
        if bound is not None:
            ours, *_ = _results.contestants(result).values()
            ratios = _timing.ratios(bound, ours.microseconds)
            axes.plot(statistics.median(ratios), row, "|", color=LIMIT, markersize=15, zorder=3, label="limit")
        for verdict in _report.verdicts(name, result):
            if verdict.row == _report.LIMIT:
                target(axes, row, "|", LIMIT, 1 / statistics.median(verdict.ratios), 1 / (verdict.most or 1))
            elif verdict.row is not None and verdict.least is not None:
                for peer in [peer for peer in lines if _targets.called(peer, verdict.row)]:
                    target(axes, lines[peer], *STYLES[peer], statistics.median(verdict.ratios), verdict.least)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), list(shown))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("left of 1 is faster than jaxnn, right of it slower: median and range of the ratios of all rounds")
    legend(figure, axes)
    axes.set_title(f"time over jaxnn's, {path.stem}", loc="left", fontsize=11)
    figure.savefig(path, dpi=110)


def peers(result: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the ratios of every peer's time to ours, of one with several forms those of the fastest.

    What is a difference of two times, as that of an import is, may seem to take less than nothing, which is no ratio.
    """
    seen = _results.contestants(result)
    ours, *_ = seen.values()
    fastest = {peer: _report.fastest(seen, peer) for peer in STYLES}
    ratios = {
        peer: [each for each in _timing.ratios(seen[name].microseconds, ours.microseconds) if each > 0]
        for peer, name in fastest.items()
        if name is not None
    }
    return {peer: some for peer, some in ratios.items() if some}


def target(axes: Any, y: float, marker: str, color: str, reached: float, asked: float) -> None:
    """Draw how many times ours is to be reached."""
    wide = 2.5 if marker == "|" else 1.2
    axes.plot(asked, y, marker, color=color, markersize=9, fillstyle="none", markeredgewidth=wide, alpha=0.7, zorder=4)
    if reached < asked:
        axes.plot([reached, asked], [y, y], ":", color=color, linewidth=1.2, zorder=2)


def legend(figure: Any, axes: Any) -> None:
    """Add a legend of each peer that is drawn, once, above the picture."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(reversed(labels), reversed(handles), strict=True))
    order = [label for label in (*STYLES, "limit") if label in once]
    hollow = Line2D([], [], marker="o", color=LIMIT, fillstyle="none", linestyle=":", markersize=8)
    figure.legend(
        [*(once[label] for label in order), hollow],
        [*order, "to reach"],
        loc="outside upper center",
        ncols=6,
        frameon=False,
        handlelength=1.6,
    )
