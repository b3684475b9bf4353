"""What cross-validation returns: the results of all trials on all folds, and what one asks of them first."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import jax
import numpy as np

from jaxnn.search._result import Mode, Sweep, ranked_table, settings, written
from jaxnn.search._space import Column
from jaxnn.tree import named_leaves


@final
@dataclass(frozen=True, eq=False, repr=False)
class CrossValidation:
    """All trials on all folds: their hyperparameters, results, and ranking by the mean over folds.

    A fold of a trial has failed where the objective is NaN or infinite for one of its seeds. Means and deviations are
    over the folds that have not, and a trial is ranked behind all that failed on fewer folds.

    Attributes:
        columns: Hyperparameters by name, each with its values in all trials: an array of numbers, or a list. Without a
            space there are none, and a single trial.
        results: What `run` returned, as NumPy arrays of shape `(trials, folds, seeds, ...)`; a lone scalar by the name
            `"objective"`.
        objective: The name of what trials are ranked by.
        mode: Whether the least of it is best, or the greatest.

    >>> import jaxnn as nn
    >>> def run(key, train, validation, power):
    ...     return ((validation.y - train.y.mean()) ** 2 * power).mean()
    >>> data = nn.Data(np.zeros((6, 1), np.float32), np.arange(6, dtype=np.float32))
    >>> space, key = nn.search.Grid(power=[2.0, 1.0, np.nan]), jax.random.key(0)
    >>> crossed = nn.cross_validate(run, data, nn.data.k_fold(6, 3), key, space=space, progress=False)
    >>> crossed
    Cross-validation of 3 trials over 3 folds: objective 6.25 to 12.5, best at power=1; of 9 runs 3 failed
    >>> crossed.best, crossed.ranking, crossed.values.shape
    ({'power': 1.0}, array([1, 0, 2]), (3, 3, 1))
    >>> print(crossed.table())
    trial  power  objective    std  error  failed
    -----  -----  ---------  -----  -----  ------
        1      1       6.25  5.196      3       0
        0      2       12.5  10.39      6       0
        2    nan        nan    nan    nan       3
    """

    columns: Mapping[str, Column]
    results: Any
    objective: str
    mode: Mode

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return self.values.shape[0]

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return self.values.shape[1]

    @property
    def seeds(self) -> int:
        """How many members a trial has on each fold."""
        return self.values.shape[2]

    @property
    def values(self) -> np.ndarray:
        """The objective of every member, shape `(trials, folds, seeds)`."""
        return np.asarray(named_leaves(self.results)[self.objective], float)

    @cached_property
    def by_fold(self) -> np.ndarray:
        """Its mean over seeds, shape `(trials, folds)`; not finite where one of them is not."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.values.mean(axis=2)

    @property
    def failed(self) -> np.ndarray:
        """On how many folds each trial failed, shape `(trials,)`."""
        return self._over_folds.failed

    @property
    def mean(self) -> np.ndarray:
        """The mean over folds, all of them weighing alike, NaN where all failed; shape `(trials,)`."""
        return self._over_folds.mean

    @property
    def std(self) -> np.ndarray:
        """The standard deviation over folds, that of a sample: how much a single fold may be off."""
        return self._over_folds.std

    @property
    def standard_error(self) -> np.ndarray:
        """The standard deviation over the root of the number of folds: about how much the mean may be off.

        It is too small in general, since folds share most of what they are trained on. There is no unbiased estimate
        of it from one cross-validation (Bengio and Grandvalet 2004).
        """
        return self.std / np.sqrt(np.maximum(self.folds - self.failed, 1))

    @property
    def ranking(self) -> np.ndarray:
        """The numbers of all trials, the best one first; those alike in the order of the space."""
        return self._over_folds.ranking

    @property
    def best(self) -> dict[str, Any]:
        """The hyperparameters of the best trial, to train on all data with.

        Raises:
            ValueError: All trials failed on all folds.
        """
        return self._over_folds.best

    @property
    def best_value(self) -> float:
        """The best trial's mean over folds. As it was chosen for that it is too good: see `nested_cross_validate`.

        Raises:
            ValueError: All trials failed on all folds.
        """
        return self._over_folds.best_value

    @cached_property
    def _over_folds(self) -> Sweep:
        """Folds in the place of the seeds of a sweep, which ranks them."""
        return Sweep(self.columns, {self.objective: self.by_fold}, self.objective, self.mode)

    def trial(self, trial: int) -> dict[str, Any]:
        """Return the hyperparameters of a trial.

        Args:
            trial: Its number, from 0, in the order of the space.
        """
        return self._over_folds.trial(trial)

    def table(self, rows: int | None = 10) -> str:
        """Return the best trials in a text table: mean, standard deviation over folds, and standard error.

        Args:
            rows: How many of them; `None` for all.
        """
        failures = [("failed", self.failed)] * bool(self.failed.any())
        figures = [(self.objective, self.mean), ("std", self.std), ("error", self.standard_error), *failures]
        return ranked_table(self, figures, rows)

    def to_pandas(self) -> Any:
        """Return a pandas data frame with a row for every member: trial, seed, fold, hyperparameters and results.

        Results that are no scalars, such as a history, are arrays in a column of objects.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        trials = np.repeat(np.arange(self.trials), self.folds)
        columns = {"fold": np.tile(np.arange(self.folds), self.trials), **taken(self.columns, trials)}
        together = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), self.results)
        frame = Sweep(columns, together, self.objective, self.mode).to_pandas()
        frame["trial"] //= self.folds
        return frame

    def __repr__(self) -> str:
        of = f"{self.trials:,} trials over " if self.trials > 1 else ""
        each = f" x {self.seeds} seeds" if self.seeds > 1 else ""
        text = f"Cross-validation {f'of {of}' if of else 'over '}{self.folds:,} fold{'s' * (self.folds > 1)}{each}"
        failed = int((~np.isfinite(self.by_fold)).sum())
        if failed == self.by_fold.size:
            return f"{text}: all runs failed"
        failures = f"; of {self.by_fold.size:,} runs {failed:,} failed" if failed else ""
        if self.trials == 1:
            at = f" at {settings(self.best)}" if self.columns else ""
            return (
                f"{text}: {self.objective} {written(self.best_value)}, std {written(self.std[0].item())}{at}{failures}"
            )
        ends = (np.nanmin, np.nanmax) if self.mode == "min" else (np.nanmax, np.nanmin)
        best, worst = (written(float(end(self.mean))) for end in ends)
        return f"{text}: {self.objective} {best} to {worst}, best at {settings(self.best)}{failures}"


def taken(columns: Mapping[str, Column], trials: np.ndarray) -> dict[str, Column]:
    """Return the hyperparameters of these trials.

    >>> taken({"rate": np.array([0.1, 0.2]), "loss": ["a", "b"]}, np.array([1, 1, 0]))
    {'rate': array([0.2, 0.2, 0.1]), 'loss': ['b', 'b', 'a']}
    """
    return {name: [column[i] for i in trials] if isinstance(column, list) else np.asarray(column)[trials]
            for name, column in columns.items()}  # fmt: skip
