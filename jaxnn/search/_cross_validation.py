"""`cross_validate`: a run on every fold, with every trial of a space: all members of one sweep.

Dimensions: `n` examples, `k` folds.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex, final

import jax
import numpy as np

from jaxnn.data import Folds
from jaxnn.errors import describe, is_array
from jaxnn.search._cross_validated import CrossValidation, taken
from jaxnn.search._members import Method
from jaxnn.search._result import Mode, Sweep
from jaxnn.search._space import Column, Space
from jaxnn.search._sweep import check_call, check_names, sweep
from jaxnn.typing import Data, Key

FOLD = "fold"
"""The name of the hyperparameter that says which fold a member of the sweep is of."""
WHICH = "folds and data"
"""That of the one by which a ledger knows the folds and the data; it is no name that a function could take."""


def cross_validate(
    run: Callable[..., Any],
    data: Data,
    folds: Folds,
    key: Key,
    *,
    space: Space | None = None,
    seeds: SupportsIndex = 1,
    static: Sequence[str] = (),
    objective: str | None = None,
    mode: Mode = "min",
    method: Method | None = None,
    block: SupportsIndex | None = None,
    memory: SupportsIndex = 2**30,
    ledger: str | os.PathLike | None = None,
    progress: bool = True,
) -> CrossValidation:
    """Train on each fold's training part and judge on its validation part, many folds and trials at once.

    It is a `sweep` over the trials of the space times the folds, so the number of a fold is traced like any other: all
    folds are one compiled program, and blocks, devices and the ledger are as they are there. Member keys are
    `member_key(key, trial * k + fold, seed)`.

    What is learned from data belongs within `run`, from `train`: scaling, the selection of features, class weights. If
    it is done before the split it has seen what the fold is judged on, and the result is too good.

    Where folds differ in size they are filled up by rows with the weight 0; see `Folds` for what that does. The data
    are part of the compiled program, as is all that a swept function closes over. They are not sent again with each
    block, but it takes longer to compile the larger they are. A member has its own copy of its parts, which `memory`
    counts.

    Args:
        run: A pure function `run(key, train, validation, **hyperparameters)` of two `Data`, which returns a scalar, or
            a dict (or other tree) of real arrays, a scalar among them.
        data: All examples.
        folds: Which of them each fold has: `nn.data.k_fold(n, k)`, `nn.data.stratified_k_fold(y, k)` and others.
        key: From `jax.random.key`.
        space: What to try: `Grid`, `Random`, `Sobol` or `Halton`. By default nothing but `run` as it is.
        seeds: Members of each trial on each fold, with keys of their own.
        static: Numbers to pass as Python's, because shapes or branches depend on them.
        objective: The name of the scalar that ranks trials; may be left out if there is only one.
        mode: `"min"` if less of it is better, `"max"` if more.
        method: How a device computes the members of its block; see `sweep`.
        block: Members at a time, at most; see `sweep`.
        memory: Bytes of each device that a block may need, if `block` is not given.
        ledger: A file to write finished members to, from which a search that was killed goes on. It knows other folds
            and other data.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `CrossValidation`: values for each trial, fold and seed; means and deviations over folds; ranking, a table.
        Folds whose objective is NaN or infinite are counted in it, and their trials ranked last.

    Raises:
        TypeError: The data are no `Data`, the folds no `Folds`; or what `sweep` raises.
        ValueError: Inputs, targets or weights are of another number of examples than the folds; labels are integers,
            and a fold is trained on one class only; a hyperparameter is called `fold`; or what `sweep` raises.

    >>> import jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> def run(key, train, validation, learning_rate):
    ...     trainer = nn.trainer(nn.Dense(10), nn.losses.cross_entropy, nn.adam(learning_rate))
    ...     ts = trainer.init(key, train.x)
    ...     ts, history = nn.fit(trainer, ts, train, epochs=2, batch_size=64)
    ...     return nn.evaluate(trainer, ts, validation, nn.metrics.accuracy)
    >>> folds = nn.data.stratified_k_fold(train.y, 3, key=jax.random.key(0))
    >>> space = nn.search.Grid(learning_rate=[1e-4, 1e-2])
    >>> crossed = nn.cross_validate(run, train, folds, jax.random.key(1), space=space, mode="max", progress=False)
    >>> crossed.best, crossed.by_fold.shape, bool(crossed.best_value > 0.85)
    ({'learning_rate': 0.01}, (2, 3), True)

    Source: Stone, "Cross-validatory choice and assessment of statistical predictions" (1974).
    """
    check_call(key, mode, method)
    columns = checked(run, data, folds, key, space, static)
    trials = len(next(iter(columns.values()))) if columns else 1
    of = np.repeat(np.arange(trials), len(folds)), np.tile(np.arange(len(folds)), trials)
    swept = swept_on(run, data, folds, taken(columns, of[0]), of[1], key, seeds=seeds, static=static,
                     objective=objective, mode=mode, method=method, block=block, memory=memory, ledger=ledger,
                     progress=progress)  # fmt: skip
    results = jax.tree.map(lambda a: a.reshape(trials, len(folds), *a.shape[1:]), swept.results)
    return CrossValidation(columns, results, swept.objective, mode)


def checked(
    run: Callable[..., Any], data: Data, folds: Folds, key: Key, space: Space | None, static: Sequence[str]
) -> dict[str, Column]:
    """Return the hyperparameters of all trials.

    Raises:
        TypeError: Data, folds or space are none, or `run` does not take the hyperparameters.
        ValueError: They do not go together.
    """
    if not isinstance(data, Data):
        raise TypeError(f"expected data as nn.Data(x, y), because folds are rows of it; got {describe(data)}")
    if not isinstance(folds, Folds):
        raise TypeError(f"expected nn.data.Folds, because they say what is held out; got {folds!r}\n"
                        "  hint: nn.data.k_fold(n, k), or nn.data.folds(pairs, n) for any others")  # fmt: skip
    folds.check_examples(data)
    if space is not None and (not isinstance(space, Space) or isinstance(space, type)):
        raise TypeError(f"expected a space or None, because trials come from one; got {space!r}\n"
                        "  hint: nn.search.Grid(learning_rate=[...])")  # fmt: skip
    columns = {} if space is None else space.columns(key)
    if FOLD in columns:
        raise ValueError(f"expected hyperparameters of other names than {FOLD!r}, because it is that of a fold's "
                         f"number; got {', '.join(columns)}")  # fmt: skip
    _check_parts(run)
    check_names(partial(run, key, data), columns, static)
    y = labels(data)
    if y is not None:
        folds.check_classes(y)
    return columns


def labels(data: Data) -> np.ndarray | None:
    """Return the targets if they are an integer for each example, which are taken for classes; else `None`."""
    y = data.y
    return np.asarray(y) if is_array(y) and y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else None


def _check_parts(run: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(run)
    except ValueError:  # written in C
        return
    try:
        signature.bind_partial("key", "train", "validation")
    except TypeError:
        raise TypeError("expected run(key, train, validation, **hyperparameters), because it is trained on one part "
                        f"and judged on the other; got run{signature}") from None  # fmt: skip


def swept_on(
    run: Callable[..., Any],
    data: Data,
    folds: Folds,
    columns: Mapping[str, Column],
    numbers: np.ndarray,
    key: Key,
    *,
    ledger: str | os.PathLike | None,
    **settings: Any,
) -> Sweep:
    """Sweep over pairs of hyperparameters and the number of the fold that they are tried on."""
    data = data.on_device()

    def member(key, fold, **hyperparameters):
        hyperparameters.pop(WHICH, None)
        return run(key, *folds.of(data, fold), **hyperparameters)

    columns = {FOLD: numbers, **columns}
    if ledger is not None:
        columns[WHICH] = [_digest(folds, data)] * len(numbers)
    return sweep(member, Listed(columns), key, ledger=ledger, **settings)


@final
@dataclass(frozen=True)
class Listed:
    """A space of the trials that it is told."""

    listed: Mapping[str, Column]

    @property
    def trials(self) -> int:
        return len(next(iter(self.listed.values())))

    def columns(self, key: Key) -> dict[str, Column]:
        del key  # nothing is drawn
        return dict(self.listed)


def _digest(folds: Folds, data: Data) -> str:
    digest = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves((folds, data))):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]
