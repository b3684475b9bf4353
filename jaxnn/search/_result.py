"""What a sweep returns: all results as arrays, and what one asks of them first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from jaxnn._table import table
from jaxnn.search._members import plain
from jaxnn.search._space import Column
from jaxnn.tree import named_leaves

Mode = Literal["min", "max"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """All members of a sweep: their hyperparameters, results, and ranking.

    A member whose objective is NaN or infinite has failed. Means and deviations are over the seeds that have not, and
    a trial is ranked behind all that failed with fewer of its seeds.

    Attributes:
        columns: Hyperparameters by name, each with its values in all trials: an array of numbers, or a list.
        results: What `run` returned, as NumPy arrays of shape `(trials, seeds, ...)`; a lone scalar by the name
            `"objective"`.
        objective: The name of what trials are ranked by.
        mode: Whether the least of it is best, or the greatest.

    >>> import jax, jaxnn as nn
    >>> run = lambda key, x, f: {"loss": f((x - 0.3) ** 2), "path": x * np.arange(3, dtype=np.float32)}
    >>> space = nn.search.Grid(x=[0.1, 0.4, np.nan], f=[nn.relu, nn.softplus])
    >>> swept = nn.search.sweep(run, space, jax.random.key(0), progress=False)
    >>> swept
    Sweep of 6 trials: loss 0.01 to 0.7133, best at x=0.4, f=relu; of 6 members 2 failed
    >>> swept.best, swept.ranking, swept.results["path"].shape
    ({'x': 0.4, 'f': relu}, array([2, 0, 3, 1, 4, 5]), (6, 1, 3))
    >>> print(swept.table(rows=3))
    trial    x  f           loss  failed
    -----  ---  --------  ------  ------
        2  0.4  relu        0.01       0
        0  0.1  relu        0.04       0
        3  0.4  softplus  0.6982       0
    and 3 more
    """

    columns: Mapping[str, Column]
    results: Any
    objective: str
    mode: Mode

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return len(next(iter(self.columns.values())))

    @property
    def seeds(self) -> int:
        """How many members each trial has."""
        return self.values.shape[1]

    @property
    def values(self) -> np.ndarray:
        """The objective of every member, shape `(trials, seeds)`."""
        return np.asarray(named_leaves(self.results)[self.objective], float)

    @property
    def failed(self) -> np.ndarray:
        """How many seeds of each trial have an objective that is not finite, shape `(trials,)`."""
        return (~np.isfinite(self.values)).sum(axis=1)

    @property
    def mean(self) -> np.ndarray:
        """The objective's mean over the seeds that have not failed, NaN where all have; shape `(trials,)`."""
        return _mean(self.values)

    @property
    def std(self) -> np.ndarray:
        """Its standard deviation, that of a sample: NaN where fewer than two seeds have not failed."""
        deviations = self.values - self.mean[:, None]
        with np.errstate(invalid="ignore"):
            degrees = np.isfinite(self.values).sum(axis=1) - 1
            sums = np.where(np.isfinite(deviations), deviations, 0) ** 2
            return np.sqrt(sums.sum(axis=1) / np.where(degrees > 0, degrees, np.nan))

    @property
    def ranking(self) -> np.ndarray:
        """The numbers of all trials, the best one first; those alike in the order of the space."""
        signed = self.mean if self.mode == "min" else -self.mean
        return np.lexsort((signed, self.failed))  # NaN is sorted last

    @property
    def best(self) -> dict[str, Any]:
        """The hyperparameters of the best trial: `run(key, **swept.best)`.

        Raises:
            ValueError: All members failed.
        """
        return self.trial(self._best)

    @property
    def best_value(self) -> float:
        """The best trial's mean objective.

        Raises:
            ValueError: All members failed.
        """
        return float(self.mean[self._best])

    @property
    def _best(self) -> int:
        first = self.ranking[0]
        if np.isnan(self.mean[first]):
            raise ValueError(f"expected a member with a finite {self.objective}, because the best is one; got "
                             f"{self.values.size:,} that all failed\n"
                             "  hint: a smaller learning rate is the usual cure")  # fmt: skip
        return int(first)

    def trial(self, trial: int) -> dict[str, Any]:
        """Return the hyperparameters of a trial.

        Args:
            trial: Its number, from 0, in the order of the space.
        """
        return {name: plain(column[trial]) for name, column in self.columns.items()}

    def table(self, rows: int | None = 10) -> str:
        """Return the best trials in a text table.

        Args:
            rows: How many of them; `None` for all.
        """
        deviations = [("std", self.std)] * (self.seeds > 1)
        failures = [("failed", self.failed)] * bool(self.failed.any())
        return ranked_table(self, [(self.objective, self.mean), *deviations, *failures], rows)

    def crossed(self, rows: str, columns: str) -> dict[str, Any]:
        """Return the mean objective for each value of one hyperparameter with each of another.

        The mean is over all other hyperparameters and over the seeds, but for members that failed; it is NaN where
        there is no other member. What is returned are the arguments of a picture:
        `nn.plot.heat_map(**swept.crossed("learning_rate", "width"))`.

        Args:
            rows: The name of a hyperparameter.
            columns: That of another, or `"seed"` for each seed by itself.

        Raises:
            ValueError: There is no hyperparameter of that name.

        >>> import jax, jaxnn as nn
        >>> run = lambda key, x, y: x + y
        >>> swept = nn.search.sweep(run, nn.search.Grid(x=[0.5, 0.25], y=[1.0, 2.0]), jax.random.key(0), progress=False)
        >>> crossed = swept.crossed("y", "x")
        >>> crossed["rows"], crossed["columns"], crossed["values"].tolist()
        ([1.0, 2.0], [0.25, 0.5], [[1.25, 1.5], [2.25, 2.5]])
        """
        members = {name: [plain(v) for v in column for _ in range(self.seeds)] for name, column in self.columns.items()}
        members = {"seed": list(range(self.seeds)) * self.trials} | members
        for name in (rows, columns):
            if name not in members:
                raise ValueError(f"expected a hyperparameter of this sweep, {', '.join(self.columns)} or seed; "
                                 f"got {name!r}")  # fmt: skip
        names = {name: _in_order(members[name]) for name in (rows, columns)}
        cells = [[[] for _ in names[columns]] for _ in names[rows]]
        for row, column, value in zip(members[rows], members[columns], self.values.ravel(), strict=True):
            cells[names[rows].index(row)][names[columns].index(column)].append(value)
        return {
            "values": np.array([[_mean(np.array([cell]))[0] for cell in row] for row in cells]),
            "rows": [v if isinstance(v, int | float) else written(v) for v in names[rows]],
            "columns": [v if isinstance(v, int | float) else written(v) for v in names[columns]],
            "row_label": rows,
            "column_label": columns,
            "label": self.objective,
        }

    def to_pandas(self) -> Any:
        """Return a pandas data frame with a row for every member: its trial and seed, hyperparameters and results.

        Results that are no scalars, such as a history, are arrays in a column of objects.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            error.add_note("  hint: a data frame is one of pandas: pip install pandas; swept.table() needs none")
            raise
        trial, seed = (index.ravel() for index in np.indices(self.values.shape))
        frame = {"trial": trial, "seed": seed}
        frame |= {name: [plain(column[i]) for i in trial] for name, column in self.columns.items()}
        frame |= {name: list(a.reshape(-1, *a.shape[2:])) for name, a in named_leaves(self.results).items()}
        return pandas.DataFrame(frame)

    def __repr__(self) -> str:
        each = f" x {self.seeds} seeds" if self.seeds > 1 else ""
        trials = f"Sweep of {self.trials:,} trial{'s' * (self.trials > 1)}{each}"
        failed = int(self.failed.sum())
        if failed == self.values.size:
            return f"{trials}: all {failed:,} members failed"
        ends = (np.nanmin, np.nanmax) if self.mode == "min" else (np.nanmax, np.nanmin)
        best, worst = (written(float(end(self.mean))) for end in ends)
        failures = f"; of {self.values.size:,} members {failed:,} failed" if failed else ""
        return f"{trials}: {self.objective} {best} to {worst}, best at {settings(self.best)}{failures}"


def ranked_table(swept: Any, figures: Sequence[tuple[str, np.ndarray]], rows: int | None) -> str:
    """Return the best trials in a text table.

    Args:
        swept: What has `columns`, `ranking` and `trial`.
        figures: What is told of each trial beside its hyperparameters: a heading, which may come twice, and a number
            for each.
        rows: How many trials; `None` for all.
    """
    ranking = swept.ranking if rows is None else swept.ranking[:rows]
    cells = [[str(i), *map(written, swept.trial(i).values()), *(written(plain(values[i])) for _, values in figures)]
             for i in ranking.tolist()]  # fmt: skip
    sides = ["<" if isinstance(column, list) else ">" for column in swept.columns.values()]
    header = ["trial", *swept.columns, *(heading for heading, _ in figures)]
    text = table(header, cells, align="".join([">", *sides, *">" * len(figures)]))
    more = len(swept.ranking) - len(ranking)
    return f"{text}\nand {more:,} more" if more else text


def settings(hyperparameters: Mapping[str, Any]) -> str:
    """Write hyperparameters as one passes them.

    >>> settings({"learning_rate": 0.001, "activation": np.tanh, "name": "a"})
    'learning_rate=0.001, activation=tanh, name=a'
    """
    return ", ".join(f"{name}={written(value)}" for name, value in hyperparameters.items())


def written(value: Any) -> str:
    """Write a value in a table: a number in few digits, and what has a name by that."""
    if isinstance(value, float):
        return f"{value:.4g}"
    name = value if isinstance(value, str) else str(getattr(value, "__name__", value))
    return name if len(name) <= 40 else name[:37] + "..."


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of what is finite in each row, NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    return np.where(finite, values, 0).sum(axis=1) / np.where(count > 0, count, np.nan)


def _in_order(values: list[Any]) -> list[Any]:
    """Each value once: numbers as they rise, others as they come."""
    once = []
    for value in values:
        if value not in once:
            once.append(value)
    return sorted(once) if all(isinstance(value, int | float) for value in once) else once
