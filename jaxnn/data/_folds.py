"""Folds: which examples are trained on and which are held out, as index arrays, so that all folds are one program.

Dimensions: `k` folds, `n` examples, of which `n_train` and `n_validation` are the parts of a fold.
"""

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex, final

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import describe, is_array, values
from jaxnn.tree import named_leaves
from jaxnn.typing import Data


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["train", "validation", "train_weights", "validation_weights"],
    meta_fields=["n"],
)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Folds:
    """A training part and a validation part of each fold, as rows of the data.

    All folds have parts of one shape, so `of` can be vmapped over them. Where a part is shorter than that of another
    fold, it is filled up by rows of its own, again from its first one, with the weight 0. In losses and metrics, which
    are sum w l / sum w, these do not count. Elsewhere they do: BatchNorm sees them, and so does what is told of no
    weights; an epoch has as many steps as that of the longest fold; and when one row more is shuffled, others share a
    batch. So a fold is the run on its own rows, but for rounding, where batches are whole parts, or are not shuffled
    and come out as many; otherwise it is another run, with as many steps as the longest fold has. A k that divides n
    has no fill-ups.

    Splitters make them: `k_fold`, `stratified_k_fold`, `grouped_k_fold`, `time_ordered` and so on. `folds` takes any
    others, such as those of scikit-learn's splitters. As these do, iterating gives `(train, validation)` of each fold
    as NumPy's, without what fills up.

    Attributes:
        train: Rows that a fold is trained on, int32, `(k, n_train)`.
        validation: Rows that it is judged on, int32, `(k, n_validation)`.
        train_weights: 1, or 0 where a row fills up, `(k, n_train)`.
        validation_weights: The same, `(k, n_validation)`.
        n: How many examples the data have.

    >>> import jaxnn as nn
    >>> folds = nn.data.k_fold(5, 2)
    >>> folds
    2 folds of 5 examples: up to 3 to train on, up to 3 to validate on
    >>> [(train.tolist(), validation.tolist()) for train, validation in folds]
    [([3, 4], [0, 1, 2]), ([0, 1, 2], [3, 4])]
    >>> folds.train.tolist(), folds.train_weights.tolist()
    ([[3, 4, 3], [0, 1, 2]], [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    """

    train: Any
    validation: Any
    train_weights: Any
    validation_weights: Any
    n: int

    def __len__(self) -> int:
        return self.train.shape[0]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        parts = (self.train, self.train_weights), (self.validation, self.validation_weights)
        (train, train_weights), (validation, validation_weights) = (map(np.asarray, part) for part in parts)
        for fold in range(len(self)):
            yield train[fold][train_weights[fold] > 0], validation[fold][validation_weights[fold] > 0]

    def of(self, data: Data, fold: Any) -> tuple[Data, Data]:
        """Return the training and the validation part of a fold.

        Weights of the data are multiplied by those of the fold. If the data have none, parts without fill-ups have
        none either: parts of any fold, for all folds are one program. (Where the folds themselves are arguments of a
        compiled function their weights cannot be seen, and parts always have some.)

        Args:
            data: What the folds are of.
            fold: Its number, which may be traced: so `vmap` makes all folds at once.

        Raises:
            TypeError: The fold is no integer, or several.
            ValueError: Inputs, targets or weights are of another number of examples, or there is no fold of that
                number.

        >>> import jaxnn as nn
        >>> data = nn.Data(jnp.arange(6.0).reshape(6, 1), jnp.arange(6))
        >>> folds = nn.data.k_fold(6, 3)
        >>> train, validation = folds.of(data, 2)
        >>> train.y, validation.y, validation.w
        (Array([0, 1, 2, 3], dtype=int32), Array([4, 5], dtype=int32), None)
        >>> jax.vmap(lambda fold: folds.of(data, fold)[1].y)(jnp.arange(3)).tolist()
        [[0, 1], [2, 3], [4, 5]]
        """
        self.check_examples(data)
        if np.ndim(fold) or not jnp.issubdtype(jnp.result_type(fold), jnp.integer):
            raise TypeError(f"expected a fold as an integer, because it is the number of one; got {describe(fold)}\n"
                            "  hint: jax.vmap(lambda fold: folds.of(data, fold)) takes several")  # fmt: skip
        seen = values(fold)
        if seen is not None and not 0 <= seen < len(self):
            raise ValueError(f"expected a fold from 0 to {len(self) - 1}, because there are {len(self)}; got {seen}")
        return (
            _part(data, self.train, self.train_weights, fold),
            _part(data, self.validation, self.validation_weights, fold),
        )

    def check_examples(self, data: Data) -> None:
        """Raise unless inputs, targets and weights have as many examples as the folds are of.

        JAX takes the last row where there is none of that number, so a row too few would not be noticed.

        Args:
            data: What the folds are to be of.

        Raises:
            ValueError: Something has another number of examples.

        >>> import jaxnn as nn
        >>> nn.data.k_fold(4, 2).check_examples(nn.Data(np.zeros((4, 1)), np.zeros(3)))
        Traceback (most recent call last):
            ...
        ValueError: expected data of 4 examples, because the folds are of so many; got y: float64[3]
        """
        leaves = named_leaves(data).items()
        others = [f"{name}: {describe(leaf)}" for name, leaf in leaves if np.shape(leaf)[:1] != (self.n,)]
        if others:
            raise ValueError(f"expected data of {self.n} examples, because the folds are of so many; got "
                             f"{', '.join(others)}")  # fmt: skip

    def check_classes(self, y: Any) -> None:
        """Raise if a training part is of one class only, where labels and folds can be seen and there are several.

        Folds in order of time, or of groups, may be so; those that are stratified are not.

        Args:
            y: A label for each example, `(n,)`.

        Raises:
            ValueError: There is such a fold, or another number of labels.

        >>> import jaxnn as nn
        >>> nn.data.k_fold(4, 2).check_classes(np.array([0, 0, 1, 1]))
        Traceback (most recent call last):
            ...
        ValueError: expected at least two classes in the training part of every fold, because a model learns nothing \
from one; got fold 0 with 2 of class 1 only, fold 1 with 2 of class 0 only
          hint: nn.data.stratified_k_fold(y, k) has all classes in every fold, if neither time nor groups matter
        """
        labels = values(y) if is_array(y) else np.asarray(y)
        if labels is None or values(self.train) is None:
            return
        if labels.shape != (self.n,):
            raise ValueError(f"expected labels of shape ({self.n},), because the folds are of {self.n} examples; got "
                             f"{labels.shape}")  # fmt: skip
        if (labels == labels[0]).all():
            return
        parts = [labels[train] for train, _ in self]
        alone = [f"fold {fold} with {len(part)} of class {part[0]} only"
                 for fold, part in enumerate(parts) if (part == part[0]).all()]  # fmt: skip
        if alone:
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            raise ValueError("expected at least two classes in the training part of every fold, because a model "
                             f"learns nothing from one; got {', '.join(alone[:3])}{more}\n"
                             "  hint: nn.data.stratified_k_fold(y, k) has all classes in every fold, if neither time "
                             "nor groups matter")  # fmt: skip

    def __repr__(self) -> str:
        up_to = "" if _all_ones(self.train_weights) and _all_ones(self.validation_weights) else "up to "
        train, validation = (f"{up_to}{rows.shape[1]:,}" for rows in (self.train, self.validation))
        return (f"{len(self):,} fold{'s' * (len(self) > 1)} of {self.n:,} examples: {train} to train on, {validation} "
                "to validate on")  # fmt: skip


def folds(pairs: Iterable[tuple[Any, Any]], n: SupportsIndex) -> Folds:
    """Return folds of any rows: `(train, validation)` for each, as scikit-learn's `split` gives them.

    Args:
        pairs: Integer rows of the two parts of each fold; lengths may differ.
        n: How many examples the data have. Not all of them need to be in a fold.

    Returns:
        The `Folds`, filled up to one shape.

    Raises:
        TypeError: Rows are no integers.
        ValueError: There is no fold; a part is empty, is no sequence, or has a row that the data have not; or the two
            parts of a fold share a row.

    >>> folds([([0, 1, 2], [4]), ([0, 1, 2, 3], [4, 5])], 6)
    2 folds of 6 examples: up to 4 to train on, up to 2 to validate on
    """
    n = operator.index(n)
    parts = [(_rows(train, n, fold, "training"), _rows(validation, n, fold, "validation"))
             for fold, (train, validation) in enumerate(pairs)]  # fmt: skip
    if not parts:
        raise ValueError("expected at least one fold, because each is trained and judged; got none")
    for fold, (train, validation) in enumerate(parts):
        shared = np.intersect1d(train, validation)
        if len(shared):
            raise ValueError("expected parts of a fold that share no row, because what was trained on says nothing "
                             f"about what was not; got fold {fold} with {len(shared)} of its {len(validation)} "
                             f"validation rows in both, first {shared[0]}")  # fmt: skip
    train, validation = (_filled_up(rows) for rows in zip(*parts, strict=True))
    return Folds(train[0], validation[0], train[1], validation[1], n)


def _rows(rows: Any, n: int, fold: int, part: str) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"expected the {part} part of a fold as some rows, because it has examples; got fold {fold} "
                         f"with rows of shape {rows.shape}")  # fmt: skip
    if not np.issubdtype(rows.dtype, np.integer):
        raise TypeError(f"expected the {part} part of a fold as integer rows, because they are indices; got fold "
                        f"{fold} with {rows.dtype}\n  hint: np.flatnonzero(mask)")  # fmt: skip
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"expected rows from 0 to {n - 1}, because the data have {n} examples; got fold {fold} with "
                         f"{part} rows from {rows.min()} to {rows.max()}")  # fmt: skip
    return rows.astype(np.int32)


def _filled_up(parts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of all folds in one array, and their weights."""
    places = np.arange(max(map(len, parts)))
    rows = np.stack([part[places % len(part)] for part in parts])
    weights = np.stack([places < len(part) for part in parts]).astype(np.float32)
    return rows, weights


def _part(data: Data, rows: Any, weights: Any, fold: Any) -> Data:
    taken = data.take(jnp.asarray(rows)[fold])
    if _all_ones(weights):
        return taken
    if taken.w is None:
        return taken._replace(w=jnp.asarray(weights, jnp.result_type(float))[fold])
    dtype = taken.w.dtype if jnp.issubdtype(taken.w.dtype, jnp.floating) else jnp.result_type(float)
    own = jnp.asarray(weights, dtype)[fold].reshape(-1, *(1,) * (taken.w.ndim - 1))
    return taken._replace(w=taken.w.astype(dtype) * own)


def _all_ones(weights: Any) -> bool:
    """Whether it can be seen that nothing is filled up."""
    seen = values(weights)
    return seen is not None and bool((seen == 1).all())
