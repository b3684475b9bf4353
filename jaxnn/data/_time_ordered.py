"""`time_ordered`: folds that are trained on the past and judged on the future.

Dimensions: `n` examples, `k` folds.
"""

import operator
from typing import SupportsIndex

import numpy as np

from jaxnn.data._folds import Folds, folds
from jaxnn.data._splitters import checked_k


def time_ordered(
    n: SupportsIndex,
    k: SupportsIndex,
    *,
    gap: SupportsIndex = 0,
    validation_size: SupportsIndex | None = None,
    train_size: SupportsIndex | None = None,
) -> Folds:
    """Return k folds that are trained on what was before and judged on what comes after: none knows the future.

    The last k blocks of examples are held out one after another, and all that is before a block is trained on. These
    training parts grow, so the first ones are filled up much (see `Folds`); with `train_size` all are of one length,
    as far as there are as many examples before the first block. They are those of scikit-learn's `TimeSeriesSplit`.

    Args:
        n: How many examples there are, in order of time.
        k: How many folds, at least 2.
        gap: How many examples before each block are left out, since they share something with those within it.
        validation_size: Examples of a block; by default n // (k + 1).
        train_size: How many examples are trained on at most, the last ones before the gap; by default all.

    Returns:
        The `Folds`.

    Raises:
        ValueError: k is below 2 or above n - 1, a size below 1 or the gap below 0; or nothing is left to train on.

    >>> [(train.tolist(), validation.tolist()) for train, validation in time_ordered(6, 2)]
    [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5])]
    >>> [(train.tolist(), validation.tolist()) for train, validation in time_ordered(6, 2, gap=1, train_size=1)]
    [([0], [2, 3]), ([2], [4, 5])]
    """
    n, k, gap = operator.index(n), checked_k(k), operator.index(gap)
    if validation_size is None and k >= n:
        raise ValueError(f"expected k of at most {n - 1}, because each fold holds out one of {n} examples at least, "
                         f"and something must be before them; got {k}")  # fmt: skip
    size = n // (k + 1) if validation_size is None else operator.index(validation_size)
    most = n if train_size is None else operator.index(train_size)
    for name, value, least in (("gap", gap, 0), ("validation_size", size, 1), ("train_size", most, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least}, because it counts examples; got {value}")
    begin = n - k * size
    if begin - gap < 1:
        fits = (n - gap - 1) // k
        hint = f"\n  hint: validation_size={fits}" if validation_size is None and fits > 0 else ""
        raise ValueError(f"expected at least {k * size + gap + 1} examples, because {k} folds hold out {size} each, "
                         f"after a gap of {gap}, and something must be before them; got {n}{hint}")  # fmt: skip
    starts = range(begin, n, size)
    rows = np.arange(n)
    return folds([(rows[max(at - gap - most, 0) : at - gap], rows[at : at + size]) for at in starts], n)
