"""Splitters: what makes folds of examples that may be taken one by one.

They look at numbers and labels on the host, and choose the rows that scikit-learn's splitters choose.

Dimensions: `n` examples, `k` folds.
"""

import operator
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.data._folds import Folds, folds
from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.typing import Key


def k_fold(n: SupportsIndex, k: SupportsIndex, *, key: Key | None = None) -> Folds:
    """Return k folds: each example is held out once, by folds of n / k that follow each other.

    Where k does not divide n, the first n mod k folds hold out one example more than the others.

    Args:
        n: How many examples there are.
        k: How many folds, at least 2.
        key: To shuffle the examples before; without one they are taken as they come, as scikit-learn's `KFold` does.
            Data that are sorted by class must be shuffled, or `stratified_k_fold` is for them.

    Returns:
        The `Folds`.

    Raises:
        TypeError: The key is none.
        ValueError: k is below 2 or above n.

    >>> [validation.tolist() for _, validation in k_fold(7, 3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    >>> [validation.tolist() for _, validation in k_fold(7, 3, key=jax.random.key(1))]
    [[1, 3, 6], [0, 4], [2, 5]]
    """
    n, k = operator.index(n), checked_k(k)
    if k > n:
        raise ValueError(f"expected k of at most {n}, because each fold holds out one of {n} examples at least; got "
                         f"{k}")  # fmt: skip
    place = np.arange(n) if key is None else np.argsort(_drawing(key).permutation(n))
    sizes = n // k + (np.arange(k) < n % k)
    return held_out_once(np.repeat(np.arange(k), sizes)[place], k)


def stratified_k_fold(y: Any, k: SupportsIndex, *, key: Key | None = None) -> Folds:
    """Return k folds, each of which has its share of every class: as many as any other, or one more or less.

    Examples sorted by class are dealt out in turn, which says how many of a class each fold holds out; which ones, that
    is in the order in which they come, or at random.

    Args:
        y: The class of each example, `(n,)`: integers, strings, whatever NumPy can sort.
        k: How many folds, at least 2.
        key: To shuffle the examples of each class; without one they are those of scikit-learn's `StratifiedKFold`.

    Returns:
        The `Folds`.

    Raises:
        TypeError: The key is none, or labels cannot be seen.
        ShapeError: There is not one label an example.
        ValueError: k is below 2, or above the number of examples of a class.

    >>> y = np.array([0, 0, 0, 0, 1, 1])
    >>> [validation.tolist() for _, validation in stratified_k_fold(y, 2)]
    [[0, 1, 4], [2, 3, 5]]

    Source: Kohavi, "A study of cross-validation and bootstrap for accuracy estimation and model selection" (1995).
    """
    k = checked_k(k)
    classes, of = numbered(y, "labels")
    counts = np.bincount(of)
    check_smallest(classes, counts, k)
    drawing = None if key is None else _drawing(key)
    # Classes are sorted by where they are first met.
    first = np.argsort(np.unique(of, return_index=True)[1])
    fold, dealt = np.empty(len(of), int), 0
    for c in first:
        turns = np.sort((dealt + np.arange(int(counts[c]))) % k)
        fold[of == c] = turns if drawing is None else drawing.permutation(turns)
        dealt += counts[c]
    return held_out_once(fold, k)


def repeated_k_fold(n: SupportsIndex, k: SupportsIndex, repeats: SupportsIndex, key: Key) -> Folds:
    """Return the folds of several `k_fold`, shuffled each by a key of its own: k times `repeats` folds.

    The mean over all of them depends less on which examples were together. That of a repeat r is
    `k_fold(n, k, key=jax.random.fold_in(key, r))`.

    Args:
        n: How many examples there are.
        k: How many folds a repeat, at least 2.
        repeats: How many times.
        key: From `jax.random.key`.

    Returns:
        The `Folds`, those of the first repeat before those of the second.

    Raises:
        TypeError: The key is none.
        ValueError: k is below 2 or above n, or `repeats` below 1.

    >>> len(repeated_k_fold(10, 5, 3, jax.random.key(0)))
    15
    """
    return _joined([k_fold(n, k, key=each) for each in _keys(key, repeats)])


def repeated_stratified_k_fold(y: Any, k: SupportsIndex, repeats: SupportsIndex, key: Key) -> Folds:
    """Return the folds of several `stratified_k_fold`, shuffled each by a key of its own: k times `repeats` folds.

    That of a repeat r is `stratified_k_fold(y, k, key=jax.random.fold_in(key, r))`.

    Args:
        y: The class of each example, `(n,)`.
        k: How many folds a repeat, at least 2.
        repeats: How many times.
        key: From `jax.random.key`.

    Returns:
        The `Folds`, those of the first repeat before those of the second.

    Raises:
        TypeError: The key is none, or labels cannot be seen.
        ShapeError: There is not one label an example.
        ValueError: k is below 2, or above the number of examples of a class, or `repeats` is below 1.

    >>> len(repeated_stratified_k_fold(np.array([0, 0, 1, 1]), 2, 3, jax.random.key(0)))
    6
    """
    return _joined([stratified_k_fold(y, k, key=each) for each in _keys(key, repeats)])


def leave_one_out(n: SupportsIndex) -> Folds:
    """Return n folds, each of which holds out one example: scikit-learn's `LeaveOneOut`.

    A metric is then of one example. What is no mean over examples, such as R2 or F1, needs more of them in a fold.

    Args:
        n: How many examples there are, at least 2.

    Returns:
        The `Folds`, whose rows are n (n - 1) numbers.

    Raises:
        ValueError: n is below 2.

    >>> [(train.tolist(), validation.tolist()) for train, validation in leave_one_out(3)]
    [([1, 2], [0]), ([0, 2], [1]), ([0, 1], [2])]
    """
    n = operator.index(n)
    if n < 2:
        raise ValueError(f"expected n of at least 2, because what is left is trained on; got {n}")
    return held_out_once(np.arange(n), n)


def hold_out(n: SupportsIndex, validation_size: SupportsIndex, *, key: Key | None = None) -> Folds:
    """Return a single fold, which holds out so many examples.

    Args:
        n: How many examples there are.
        validation_size: How many are held out: the last ones, or with a key any ones.
        key: To draw them.

    Returns:
        The `Folds`, one of them.

    Raises:
        TypeError: The key is none.
        ValueError: Nothing is held out, or nothing is left.

    >>> train, validation = next(iter(hold_out(5, 2)))
    >>> train, validation
    (array([0, 1, 2], dtype=int32), array([3, 4], dtype=int32))
    """
    n, size = operator.index(n), operator.index(validation_size)
    if not 0 < size < n:
        raise ValueError(f"expected validation_size from 1 to {n - 1}, because there are {n} examples, of which some "
                         f"are held out and some trained on; got {size}")  # fmt: skip
    rows = np.arange(n) if key is None else _drawing(key).permutation(n)
    return folds([(np.sort(rows[: n - size]), np.sort(rows[n - size :]))], n)


def held_out_once(fold: np.ndarray, k: int) -> Folds:
    """Return k folds by the number of the one that holds an example out, `(n,)`; rows of both parts rise."""
    return folds([(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)], len(fold))


def checked_k(k: SupportsIndex) -> int:
    k = operator.index(k)
    if k < 2:
        raise ValueError(f"expected k of at least 2, because each fold is trained on the others; got {k}\n"
                         "  hint: nn.data.hold_out(n, size) is a single one")  # fmt: skip
    return k


def numbered(labels: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what labels there are, sorted, and for each example the number of its label among them.

    Raises:
        TypeError: They cannot be seen.
        ShapeError: They are not one an example.
    """
    seen = values(labels) if is_array(labels) else np.asarray(labels)
    if seen is None:
        raise TypeError(f"expected {name} whose values can be seen, because folds are made on the host; got "
                        f"{describe(labels)} within jit or the like")  # fmt: skip
    if seen.ndim != 1 or not seen.size:
        hints = {1: f"{name}[:, 0] is that of a single column"}
        hint = hints.get(seen.shape[1], "rows.argmax(-1) are the labels of one-hot rows") if seen.ndim == 2 else None
        raise ShapeError(f"{name} of shape (n,)", why="there is one for each example", got=seen.shape, hint=hint)
    return np.unique(seen, return_inverse=True)


def check_smallest(classes: np.ndarray, counts: np.ndarray, k: int) -> None:
    """Raise an error if a class has fewer examples than there are folds."""
    smallest = int(counts.argmin())
    if counts[smallest] < k:
        raise ValueError(f"expected k of at most {counts[smallest]}, because each fold holds out an example of every "
                         f"class at least, and class {classes[smallest]} has {counts[smallest]}; got {k}")  # fmt: skip


def _joined(parts: list[Folds]) -> Folds:
    return folds([pair for part in parts for pair in part], parts[0].n)


def _keys(key: Key, repeats: SupportsIndex) -> list[Key]:
    repeats = operator.index(repeats)
    if repeats < 1:
        raise ValueError(f"expected repeats of at least 1, because each is some folds; got {repeats}")
    _drawing(key)
    return [jax.random.fold_in(key, repeat) for repeat in range(repeats)]


def _drawing(key: Key) -> np.random.Generator:
    """NumPy's generator for a key: rows are drawn on the host."""
    if not (is_array(key) and key.ndim == 0 and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"expected a key, because examples are shuffled by it; got {describe(key)}\n"
                        "  hint: jax.random.key(0)")  # fmt: skip
    seed = values(jax.random.key_data(key))
    if seed is None:
        raise TypeError("expected a key whose value can be seen, because folds are made on the host; got one within "
                        "jit or the like")  # fmt: skip
    return np.random.default_rng(seed.ravel().tolist())
