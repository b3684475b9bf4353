"""`nested_cross_validate`: hyperparameters chosen within each fold, and the choice judged on what it never saw.

Dimensions: `n` examples, `outer` folds, `inner` folds of all outer ones together.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex, final

import jax
import numpy as np

from jaxnn._table import table
from jaxnn.data import Folds, folds
from jaxnn.errors import located
from jaxnn.search._cross_validated import CrossValidation, taken
from jaxnn.search._cross_validation import Listed, checked, cross_validate, labels, swept_on
from jaxnn.search._members import Method
from jaxnn.search._result import Mode, Sweep, written
from jaxnn.search._space import Space
from jaxnn.search._sweep import check_call
from jaxnn.tree import named_leaves
from jaxnn.typing import Data, Key


@final
@dataclass(frozen=True, eq=False, repr=False)
class NestedCrossValidation:
    """What was chosen within each outer fold, and how good it was on the part that is held out.

    Attributes:
        inner: All trials on all inner folds, those of the first outer fold before those of the second.
        inner_of: The outer fold of each inner one, shape `(inner,)`.
        chosen: The number of the trial that was chosen within each outer fold, shape `(outer,)`.
        results: What `run` returned for the chosen trials on the outer folds, as NumPy arrays of shape
            `(outer, seeds, ...)`; a lone scalar by the name `"objective"`.
        objective: The name of what trials are ranked by.
        mode: Whether the least of it is best, or the greatest.

    >>> import jaxnn as nn
    >>> run = lambda key, train, validation, shift: abs(validation.y - train.y.mean() - shift).mean()
    >>> data = nn.Data(np.zeros((8, 1), np.float32), np.array([0, 1, 0, 1, 0, 1, 0, 9], np.float32))
    >>> nested = nn.search.nested_cross_validate(run, data, nn.data.k_fold(8, 2), lambda rows: nn.data.k_fold(4, 2),
    ...     nn.search.Grid(shift=[0.0, 2.5, -1.0]), jax.random.key(0), progress=False)
    >>> nested
    Nested cross-validation over 2 folds: objective 1.75, std 1.061; 2.25 within
    >>> print(nested.table())
    fold  shift  objective  within
    ----  -----  ---------  ------
       0     -1          1       4
       1      0        2.5     0.5
    """

    inner: CrossValidation
    inner_of: np.ndarray
    chosen: np.ndarray
    results: Any
    objective: str
    mode: Mode

    @property
    def folds(self) -> int:
        """How many outer folds there are."""
        return len(self.chosen)

    @property
    def values(self) -> np.ndarray:
        """The objective of every member on the outer folds, shape `(outer, seeds)`."""
        return np.asarray(named_leaves(self.results)[self.objective], float)

    @property
    def by_fold(self) -> np.ndarray:
        """Its mean over seeds, shape `(outer,)`; not finite where one of them is not."""
        return self._judged.by_fold[0]

    @property
    def failed(self) -> int:
        """On how many outer folds the objective is not finite."""
        return int(self._judged.failed[0])

    @property
    def mean(self) -> float:
        """The mean over the outer folds that have not failed: how good the whole search is, choice included."""
        return float(self._judged.mean[0])

    @property
    def std(self) -> float:
        """The standard deviation over the outer folds, that of a sample."""
        return float(self._judged.std[0])

    @property
    def standard_error(self) -> float:
        """The standard deviation over the root of the number of folds; see `CrossValidation.standard_error`."""
        return float(self._judged.standard_error[0])

    @property
    def within(self) -> np.ndarray:
        """The inner mean of what was chosen, shape `(outer,)`: the best of several, and for that too good."""
        best = [inner_ranked(self.inner, self.inner_of, fold).mean[trial] for fold, trial in enumerate(self.chosen)]
        return np.array(best)

    @property
    def hyperparameters(self) -> list[dict[str, Any]]:
        """Those that were chosen within each outer fold."""
        return [self.inner.trial(int(trial)) for trial in self.chosen]

    @cached_property
    def _judged(self) -> CrossValidation:
        """The choice in the place of a single trial."""
        return CrossValidation({}, {self.objective: self.values[None]}, self.objective, self.mode)

    def table(self) -> str:
        """Return a text table of the outer folds: what was chosen, how good it is, and how good it seemed within."""
        columns = self.inner.columns
        cells = [[str(fold), *map(written, chosen.values()), written(value.item()), written(within.item())]
                 for fold, (chosen, value, within) in enumerate(
                     zip(self.hyperparameters, self.by_fold, self.within, strict=True))]  # fmt: skip
        sides = "".join("<" if isinstance(column, list) else ">" for column in columns.values())
        return table(["fold", *columns, self.objective, "within"], cells, align=f">{sides}>>")

    def to_pandas(self) -> Any:
        """Return a pandas data frame with a row for every member on an outer fold; those within: `inner.to_pandas()`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        columns = {"fold": np.arange(self.folds), **taken(self.inner.columns, self.chosen)}
        frame = Sweep(columns, self.results, self.objective, self.mode).to_pandas()
        frame["trial"] = self.chosen[np.asarray(frame["fold"])]
        return frame

    def __repr__(self) -> str:
        each = f" x {self.values.shape[1]} seeds" if self.values.shape[1] > 1 else ""
        text = f"Nested cross-validation over {self.folds} fold{'s' * (self.folds > 1)}{each}"
        if self.failed == self.folds:
            return f"{text}: all failed"
        failures = f"; {self.failed} failed" if self.failed else ""
        return (f"{text}: {self.objective} {written(self.mean)}, std {written(self.std)}; "
                f"{written(float(self.within.mean()))} within{failures}")  # fmt: skip


def nested_cross_validate(
    run: Callable[..., Any],
    data: Data,
    outer: Folds,
    inner: Callable[[np.ndarray], Folds],
    space: Space,
    key: Key,
    *,
    seeds: SupportsIndex = 1,
    static: Sequence[str] = (),
    objective: str | None = None,
    mode: Mode = "min",
    method: Method | None = None,
    block: SupportsIndex | None = None,
    memory: SupportsIndex = 2**30,
    ledger: str | os.PathLike | None = None,
    progress: bool = True,
) -> NestedCrossValidation:
    """Cross-validate a search: within each outer fold choose by inner folds, train anew, and judge what was chosen.

    The best of many trials has been lucky too, so its own cross-validation says too much of it. Here a trial is chosen
    by the mean over the inner folds, which are made of the outer training part alone. With it `run` is made on the
    whole outer training part and judged on the outer validation part, which had no say in the choice. The mean over
    outer folds is an estimate for the procedure; with which hyperparameters to train in the end, that is what
    `cross_validate` on all data tells.

    There are two sweeps: all trials on the inner folds of all outer ones, and the chosen trials on the outer folds.
    Each is one compiled program, or one for each combination of what is static. Their keys are
    `inner_key, outer_key = jax.random.split(key)`; members have
    `member_key(inner_key, trial * inner_folds + inner_fold, seed)`, where inner folds are counted over all outer ones,
    and `member_key(outer_key, outer_fold, seed)`.

    Args:
        run: A pure function `run(key, train, validation, **hyperparameters)`; see `cross_validate`.
        data: All examples.
        outer: The folds on which choices are judged.
        inner: A function of the rows that an outer fold is trained on, a NumPy array, which returns folds of as many
            examples: `lambda rows: nn.data.k_fold(len(rows), 3)`, or
            `lambda rows: nn.data.stratified_k_fold(y[rows], 3)`.
        space: What to try: `Grid`, `Random`, `Sobol` or `Halton`.
        key: From `jax.random.key`.
        seeds: Members of each trial on each fold, with keys of their own.
        static: Numbers to pass as Python's, because shapes or branches depend on them.
        objective: The name of the scalar that ranks trials; may be left out if there is only one.
        mode: `"min"` if less of it is better, `"max"` if more.
        method: How a device computes the members of its block; see `sweep`.
        block: Members at a time, at most; see `sweep`.
        memory: Bytes of each device that a block may need, if `block` is not given.
        ledger: A file to write finished members of the inner folds to. Those of the outer ones have another, whose name
            is that with `.outer` added.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `NestedCrossValidation`. Where all trials failed within a fold, the first of them is what was chosen.

    Raises:
        TypeError: `inner` returns no `Folds`; or what `cross_validate` raises.
        ValueError: The inner folds are of another number of examples, or one of them is trained on one class only; or
            what `cross_validate` raises.

    >>> import jaxnn as nn
    >>> train, _ = nn.data.digits()
    >>> data = train.take(np.arange(240))
    >>> def run(key, train, validation, learning_rate):
    ...     trainer = nn.trainer(nn.Dense(10), nn.losses.cross_entropy, nn.adam(learning_rate))
    ...     ts, _ = nn.fit(trainer, trainer.init(key, train.x), train, epochs=3, batch_size=20)
    ...     return nn.evaluate(trainer, ts, validation, nn.metrics.accuracy)
    >>> nested = nn.search.nested_cross_validate(run, data, nn.data.k_fold(240, 3),
    ...     lambda rows: nn.data.stratified_k_fold(data.y[rows], 2), nn.search.Grid(learning_rate=[1e-4, 1e-2]),
    ...     jax.random.key(0), mode="max", progress=False)
    >>> nested.chosen, nested.inner.values.shape
    (array([1, 1, 1]), (2, 6, 1))

    Source: Varma and Simon, "Bias in error estimation when using cross-validation for model selection" (2006); Cawley
    and Talbot, "On over-fitting in model selection and subsequent selection bias in performance evaluation" (2010).
    """
    check_call(key, mode, method)
    if space is None:
        raise TypeError("expected a space, because hyperparameters are chosen within each fold; got None\n"
                        "  hint: nn.cross_validate needs none")  # fmt: skip
    columns = checked(run, data, outer, key, space, static)
    parts = [train for train, _ in outer]
    within = [_inner(inner, rows, fold, data) for fold, rows in enumerate(parts)]
    pairs = [(rows[train], rows[validation])
             for rows, of in zip(parts, within, strict=True) for train, validation in of]  # fmt: skip
    inner_of = np.repeat(np.arange(len(outer)), [len(each) for each in within])
    inner_key, outer_key = jax.random.split(key)
    how = {"seeds": seeds, "static": static, "objective": objective, "mode": mode, "method": method, "block": block,
           "memory": memory, "progress": progress}  # fmt: skip
    crossed = cross_validate(run, data, folds(pairs, outer.n), inner_key, space=Listed(columns), ledger=ledger, **how)
    chosen = np.array([inner_ranked(crossed, inner_of, fold).ranking[0] for fold in range(len(outer))])
    judged = swept_on(run, data, outer, taken(columns, chosen), np.arange(len(outer)), outer_key,
                      ledger=None if ledger is None else f"{os.fspath(ledger)}.outer", **how)  # fmt: skip
    return NestedCrossValidation(crossed, inner_of, chosen, judged.results, judged.objective, mode)


def inner_ranked(crossed: CrossValidation, inner_of: np.ndarray, fold: int) -> Sweep:
    """Return all trials as they are on the inner folds of an outer one, which are in the place of seeds."""
    values = crossed.by_fold[:, inner_of == fold]
    return Sweep(crossed.columns, {crossed.objective: values}, crossed.objective, crossed.mode)


def _inner(inner: Callable[[np.ndarray], Folds], rows: np.ndarray, fold: int, data: Data) -> Folds:
    where = lambda: f"inner folds of outer fold {fold}"
    with located(where):
        given = inner(rows)
    if not isinstance(given, Folds):
        raise TypeError(f"expected inner to return nn.data.Folds, because trials are compared on them; got {given!r} "
                        f"for outer fold {fold}")  # fmt: skip
    if given.n != len(rows):
        raise ValueError(f"expected inner folds of {len(rows)} examples, because outer fold {fold} is trained on so "
                         f"many; got folds of {given.n}\n"
                         "  hint: inner=lambda rows: nn.data.k_fold(len(rows), 3)")  # fmt: skip
    y = labels(data)
    if y is not None:
        with located(where):  # by their numbers within this outer fold; `cross_validate` counts all of them
            given.check_classes(y[rows])
    return given
