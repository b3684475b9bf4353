"""What halving returns: what all trials gave at the rungs that they reached, and the best of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from jaxnn._table import table
from jaxnn.search._members import plain
from jaxnn.search._result import Mode, settings, written
from jaxnn.search._space import Column


@final
@dataclass(frozen=True, eq=False, repr=False)
class Halved:
    """All trials of a halving or of Hyperband: hyperparameters, values at each rung, and ranking.

    A trial has failed where the value of one of its seeds is NaN or infinite; it goes no further.

    Attributes:
        columns: Hyperparameters by name, each an array of its values in all trials.
        values: What `advance` gave, shape `(trials, seeds, rungs)`; NaN at rungs that a trial did not reach.
        rungs: How many rungs each trial was computed for, shape `(trials,)`.
        brackets: The number of each trial's bracket, from 0, shape `(trials,)`; with `halving` there is one.
        budgets: What a member has had in all at each rung.
        mode: Whether the least value is best, or the greatest.
        state: What `begin` and `advance` made of the best trial, of its best seed: a state like the single run's, to
            go on from. `None` where all failed at the first rung.

    >>> import jax, jaxnn as nn
    >>> begin = lambda key, rate: jax.numpy.ones(())
    >>> advance = lambda x, steps, rate: (x * rate**steps, x * rate**steps)
    >>> space = nn.search.Grid(rate=[0.9, 0.5, np.nan, 0.8])
    >>> halved = nn.search.halving(begin, advance, space, jax.random.key(0), budgets=(1, 3), factor=2, progress=False)
    >>> halved
    Halved from 4 trials, budgets 1 and 3: best 0.125 at rate=0.5; spent 8 of 12; 1 failed
    >>> halved.best, halved.ranking, halved.rungs
    ({'rate': 0.5}, array([1, 3, 0, 2]), array([1, 2, 1, 2]))
    >>> halved.mean.round(3)
    array([[0.9  ,   nan],
           [0.5  , 0.125],
           [  nan,   nan],
           [0.8  , 0.512]])
    >>> print(halved.table())
    trial  rate  budget  value
    -----  ----  ------  -----
        1   0.5       3  0.125
        3   0.8       3  0.512
        0   0.9       1    0.9
        2   nan       1    nan
    """

    columns: Mapping[str, Column]
    values: np.ndarray
    rungs: np.ndarray
    brackets: np.ndarray
    budgets: tuple[int, ...]
    mode: Mode
    state: Any

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return self.values.shape[0]

    @property
    def seeds(self) -> int:
        """How many members each trial has."""
        return self.values.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """The mean over the seeds, shape `(trials, rungs)`; not finite where one of them is not."""
        return over_seeds(self.values)

    @property
    def last(self) -> np.ndarray:
        """The mean at the last rung that each trial reached, shape `(trials,)`; not finite where it failed there."""
        return self.mean[np.arange(self.trials), self.rungs - 1]

    @property
    def failed(self) -> np.ndarray:
        """Which trials failed, shape `(trials,)`."""
        return ~np.isfinite(self.last)

    @property
    def spent(self) -> int:
        """The budget of all members together. As they go on from rung to rung, nothing is counted twice."""
        return int(np.array(self.budgets)[self.rungs - 1].sum()) * self.seeds

    @property
    def ranking(self) -> np.ndarray:
        """The numbers of all trials, the best one first.

        Those that came further are before the others, and at the same rung the better ones; what failed counts as if
        it had ended at the rung before.
        """
        finite = np.isfinite(self.mean)
        passed = finite.sum(axis=1)
        value = np.where(passed > 0, self.mean[np.arange(self.trials), passed - 1], np.nan)
        return np.lexsort((value if self.mode == "min" else -value, -passed))  # NaN is sorted last

    @property
    def best(self) -> dict[str, Any]:
        """The hyperparameters of the best trial.

        Raises:
            ValueError: All failed at the first rung.
        """
        return self.trial(self._best)

    @property
    def best_value(self) -> float:
        """The best trial's mean at the last rung that it passed.

        Raises:
            ValueError: All failed at the first rung.
        """
        mean = self.mean[self._best]
        return float(mean[np.isfinite(mean)][-1])

    @property
    def _best(self) -> int:
        if not np.isfinite(self.mean[:, 0]).any():
            raise ValueError(f"expected a trial with a finite value, because the best is one; got {self.trials:,} that "
                             "all failed\n  hint: a smaller learning rate is the usual cure")  # fmt: skip
        return int(self.ranking[0])

    def trial(self, trial: int) -> dict[str, Any]:
        """Return the hyperparameters of a trial.

        Args:
            trial: Its number, from 0, in the order of the space.
        """
        return {name: plain(column[trial]) for name, column in self.columns.items()}

    def table(self, rows: int | None = 10) -> str:
        """Return the best trials in a text table, with the budget that each of their members had.

        Args:
            rows: How many of them; `None` for all.
        """
        ranking = self.ranking if rows is None else self.ranking[:rows]
        bracket = ["bracket"] * bool(self.brackets.any())
        header = ["trial", *bracket, *self.columns, "budget", "value"]
        cells = [[str(i), *[str(self.brackets[i])] * len(bracket), *map(written, self.trial(i).values()),
                  str(self.budgets[self.rungs[i] - 1]), written(float(self.last[i]))]
                 for i in ranking.tolist()]  # fmt: skip
        text = table(header, cells, align=">" * len(header))
        more = self.trials - len(ranking)
        return f"{text}\nand {more:,} more" if more else text

    def __repr__(self) -> str:
        each = f" x {self.seeds} seeds" if self.seeds > 1 else ""
        *before, most = map(str, self.budgets)
        budgets = f"budgets {', '.join(before)} and {most}" if before else f"budget {most}"
        halved = f"Halved from {self.trials:,} trial{'s' * (self.trials > 1)}{each}, {budgets}"
        if not np.isfinite(self.mean[:, 0]).any():
            return f"{halved}: all failed"
        failed = f"; {int(self.failed.sum()):,} failed" if self.failed.any() else ""
        whole = self.trials * self.seeds * self.budgets[-1]
        return (f"{halved}: best {written(self.best_value)} at {settings(self.best)}; "
                f"spent {self.spent:,} of {whole:,}{failed}")  # fmt: skip


def over_seeds(values: np.ndarray) -> np.ndarray:
    """The mean over the axis of seeds, after that of trials; not finite where one of them is not."""
    with np.errstate(invalid="ignore", over="ignore"):
        return values.mean(axis=1)
