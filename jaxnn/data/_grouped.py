"""Splitters of groups: examples that belong together (of a patient, a day, a speaker) are never on both sides.

Dimensions: `n` examples, `k` folds, `classes`.
"""

from typing import Any, SupportsIndex

import numpy as np

from jaxnn.data._folds import Folds
from jaxnn.data._splitters import check_smallest, checked_k, held_out_once, numbered
from jaxnn.errors import ShapeError


def grouped_k_fold(groups: Any, k: SupportsIndex) -> Folds:
    """Return k folds of whole groups, about as many examples in each: scikit-learn's `GroupKFold`.

    The largest group comes first, and each one to the fold that has the fewest examples so far.

    Args:
        groups: The group of each example, `(n,)`: integers, strings, whatever NumPy can sort.
        k: How many folds, at least 2.

    Returns:
        The `Folds`.

    Raises:
        TypeError: Groups cannot be seen.
        ShapeError: There is not one an example.
        ValueError: k is below 2, or above the number of groups.

    >>> groups = np.array(["a", "b", "b", "c", "c", "c"])
    >>> [groups[validation].tolist() for _, validation in grouped_k_fold(groups, 2)]
    [['c', 'c', 'c'], ['a', 'b', 'b']]
    """
    k = checked_k(k)
    names, of = numbered(groups, "groups")
    _check_groups(names, k)
    counts = np.bincount(of)
    examples, fold_of = np.zeros(k, int), np.empty(len(names), int)
    for group in np.argsort(counts, kind="stable")[::-1]:
        fold_of[group] = lightest = examples.argmin()
        examples[lightest] += counts[group]
    return held_out_once(fold_of[of], k)


def stratified_grouped_k_fold(y: Any, groups: Any, k: SupportsIndex) -> Folds:
    """Return k folds of whole groups, in which classes are as evenly spread as a greedy choice makes them.

    Groups whose classes are most uneven come first. Each comes to the fold where it makes the least of the standard
    deviation over folds of the share that they have of a class, averaged over classes; to the one with the fewest
    examples, if there are several. It is scikit-learn's `StratifiedGroupKFold`.

    Args:
        y: The class of each example, `(n,)`.
        groups: The group of each example, `(n,)`.
        k: How many folds, at least 2.

    Returns:
        The `Folds`.

    Raises:
        TypeError: Classes or groups cannot be seen.
        ShapeError: There is not one an example.
        ValueError: k is below 2, above the number of groups, or above the number of examples of a class.

    >>> y, groups = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array([1, 1, 2, 2, 3, 3, 4, 4])
    >>> [validation.tolist() for _, validation in stratified_grouped_k_fold(y, groups, 2)]
    [[0, 1, 6, 7], [2, 3, 4, 5]]
    """
    k = checked_k(k)
    (classes, of_class), (names, of_group) = numbered(y, "labels"), numbered(groups, "groups")
    if len(of_class) != len(of_group):
        raise ShapeError(f"groups of shape ({len(of_class)},)", why="there is one for each label", got=of_group.shape)
    check_smallest(classes, np.bincount(of_class), k)
    _check_groups(names, k)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (of_group, of_class), 1)
    total, held, fold_of = counts.sum(axis=0), np.zeros((k, len(classes))), np.empty(len(names), int)
    for group in np.argsort(-counts.std(axis=1), kind="stable"):
        # What the folds would hold of each class if the group came to the first one, the second one, and so on.
        would = held + np.eye(k)[:, :, None] * counts[group]
        uneven = (would / total).std(axis=1).mean(axis=1)
        best = 0
        for fold in range(1, k):
            fewer = held[fold].sum() < held[best].sum()
            if uneven[fold] < uneven[best] or (np.isclose(uneven[fold], uneven[best]) and fewer):
                best = fold
        fold_of[group] = best
        held[best] += counts[group]
    return held_out_once(fold_of[of_group], k)


def leave_one_group_out(groups: Any) -> Folds:
    """Return a fold for each group, which holds it out: scikit-learn's `LeaveOneGroupOut`.

    Groups differ in size, so folds are filled up (see `Folds`).

    Args:
        groups: The group of each example, `(n,)`.

    Returns:
        The `Folds`, in the order of the groups when sorted.

    Raises:
        TypeError: Groups cannot be seen.
        ShapeError: There is not one an example.
        ValueError: There is one group only.

    >>> [validation.tolist() for _, validation in leave_one_group_out(["b", "a", "b"])]
    [[1], [0, 2]]
    """
    names, of = numbered(groups, "groups")
    _check_groups(names, 2)
    return held_out_once(of, len(names))


def _check_groups(names: np.ndarray, k: int) -> None:
    if len(names) < k:
        listed = ", ".join(map(str, names[:5]))
        raise ValueError(f"expected at least {k} groups, because each fold holds out a whole one at least; got "
                         f"{len(names)}: {listed}")  # fmt: skip
