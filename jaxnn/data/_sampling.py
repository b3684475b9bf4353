"""Sampling: which rows of imbalanced data an epoch meets, drawn anew in each; for `fit(..., sampling=...)`.

Dimensions: `batch` examples, `size` rows that are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.losses._shapes import check_integer, check_range
from jaxnn.training._checks import count
from jaxnn.training._order import shuffled
from jaxnn.typing import AnyArray, Array, Key

UNITS = 2.0**31
"""In so many parts the weights of all rows are cut, so that what is drawn is exact for a million rows and more."""


@final
@partial(jax.tree_util.register_dataclass, data_fields=["rows", "first", "counts"], meta_fields=["size", "turns"])
@dataclass(frozen=True)
class BalancedSampling:
    """Draw `size` rows, of every class as many, and of a class every row as often, to within one.

    Position s of K classes' rows is of class s mod K, whose n_k rows it takes in a random order: that at floor(s / K)
    mod n_k. Made by `oversampling` and `undersampling`, which say how many rows there are.

    Attributes:
        rows: All rows, those of a class together, `(batch,)`; those that are never drawn come last.
        first: Where in them those of a class begin, `(classes,)`.
        counts: How many rows a class has, `(classes,)`; classes without any come last.
        size: How many rows it draws.
        turns: Of a class at most.
    """

    rows: AnyArray
    first: AnyArray
    counts: AnyArray
    size: int
    turns: int

    def __call__(self, key: Key) -> Array:
        """Return the rows, int32 `(size,)`, those of one class K apart."""
        counts = jnp.asarray(self.counts, jnp.int32)
        # A permutation of which only so many places are asked for: a sort would be of all rows.
        in_order = lambda key, n: shuffled(key, jnp.arange(self.turns, dtype=jnp.int32) % n, n)
        order = jax.vmap(in_order)(jax.random.split(key, len(counts)), jnp.maximum(counts, 1))
        turn, k = jnp.divmod(jnp.arange(self.size, dtype=jnp.int32), jnp.maximum((counts > 0).sum(dtype=jnp.int32), 1))
        return jnp.asarray(self.rows, jnp.int32)[jnp.asarray(self.first, jnp.int32)[k] + order[k, turn]]


def oversampling(
    y: AnyArray, w: AnyArray | None = None, *, classes: SupportsIndex | None = None, size: SupportsIndex | None = None
) -> BalancedSampling:
    """Return a sampling that meets every class as often as the largest, whose rows it meets once each.

    The rows of smaller classes are repeated, as evenly as it goes: each floor(q / n_k) or ceil(q / n_k) times for the
    q rows of an epoch that are of its class and the n_k that there are. Which are met once more is drawn anew in every
    epoch.

    Over an epoch the mean of the loss is that with `class_weights(y)`, up to which rows are met once more. So a model
    tells the classes apart as if each were as frequent, and its probabilities are not those of the data.

    Args:
        y: Integer labels, `(batch,)`. May be a tracer, as in a `vmap` over folds, if `classes` and `size` are there.
        w: Weights of the examples, `(batch,)`; what weighs nothing, such as what fills up a fold, is not there.
        classes: How many there are, with labels from 0 on; by default those that occur, whatever integers they are.
            Where labels cannot be seen, a class without rows is left out, and so is a label that is out of range.
        size: How many rows an epoch has; by default as many as the largest class for each. If it is no multiple of the
            number of classes, the first ones have a row more.

    Returns:
        A function `(key) -> rows`, int32 `(size,)`, for `fit(..., sampling=...)`; a tree of arrays.

    Raises:
        TypeError: Labels are no integers, `classes` or `size` is no int, or left out where labels cannot be seen.
        ShapeError: Labels or weights are not `(batch,)`.
        ValueError: There is no label, or one out of range; one of `classes` has no rows that weigh something; a weight
            is negative or not finite; `size` is smaller than the number of classes.

    >>> sampling = oversampling(jnp.array([0, 0, 0, 0, 1, 1]))
    >>> jnp.bincount(sampling(jax.random.key(0)))
    Array([1, 1, 1, 1, 2, 2], dtype=int32)

    Source: Japkowicz and Stephen, "The class imbalance problem: a systematic study" (2002).
    """
    return _balanced(y, w, classes, size, max)


def undersampling(
    y: AnyArray, w: AnyArray | None = None, *, classes: SupportsIndex | None = None, size: SupportsIndex | None = None
) -> BalancedSampling:
    """Return a sampling that meets every class as often as the smallest, and no row twice.

    Of larger classes so many rows are drawn without replacement, others in every epoch. An epoch is short, so a run
    of as many steps needs more of them.

    Args:
        y: Integer labels, `(batch,)`. May be a tracer, as in a `vmap` over folds, if `classes` and `size` are there.
        w: Weights of the examples, `(batch,)`; what weighs nothing, such as what fills up a fold, is not there.
        classes: How many there are, with labels from 0 on; by default those that occur, whatever integers they are.
            Where labels cannot be seen, a class without rows is left out, and so is a label that is out of range.
        size: How many rows an epoch has; by default as many as the smallest class for each. Where labels cannot be
            seen, a class with too few for it repeats them.

    Returns:
        A function `(key) -> rows`, int32 `(size,)`, for `fit(..., sampling=...)`; a tree of arrays.

    Raises:
        TypeError: Labels are no integers, `classes` or `size` is no int, or left out where labels cannot be seen.
        ShapeError: Labels or weights are not `(batch,)`.
        ValueError: There is no label, or one out of range; one of `classes` has no rows that weigh something; a weight
            is negative or not finite; `size` is smaller than the number of classes, or more than the smallest one has
            for each.

    >>> sampling = undersampling(jnp.array([0, 0, 0, 0, 1, 1]))
    >>> jnp.bincount(sampling(jax.random.key(0)))[4:], sampling.size
    (Array([1, 1], dtype=int32), 4)

    Source: Kubat and Matwin, "Addressing the curse of imbalanced training sets: one-sided selection" (1997).
    """
    sampling = _balanced(y, w, classes, size, min)
    counts = values(sampling.counts)
    if counts is not None and sampling.turns > counts.min():
        raise ValueError(f"expected size of at most {counts.size * counts.min()}, because the smallest of "
                         f"{counts.size} classes has {counts.min()} rows and none is met twice; got {sampling.size}\n"
                         "  hint: oversampling repeats rows")  # fmt: skip
    return sampling


@final
@partial(jax.tree_util.register_dataclass, data_fields=["w"], meta_fields=["size", "replacement"])
@dataclass(frozen=True)
class WeightedSampling:
    """Draw `size` rows with probabilities in proportion to their weights. Made by `weighted_sampling`.

    Attributes:
        w: Weights, `(batch,)`; where they could be seen, as parts of the largest.
        size: How many rows it draws.
        replacement: Whether a row may be drawn twice.
    """

    w: AnyArray
    size: int
    replacement: bool

    def __call__(self, key: Key) -> Array:
        """Return the rows, int32 `(size,)`."""
        w = jnp.maximum(jnp.asarray(self.w).astype(jnp.result_type(float)), 0)
        w = w / jnp.where(w.max() > 0, w.max(), 1)  # whose sum neither overflows nor vanishes
        if not self.replacement:
            # The largest of log w_i + Gumbel noise is i with probability w_i / sum w; the next, of the others; and on.
            log_w = jnp.where(w > 0, jnp.log(jnp.where(w > 0, w, 1)), -jnp.inf)
            # From 46 bits: that of 23 is cut off at 16, which of a million rows some would be beyond.
            noise = jax.random.gumbel(key, w.shape, w.dtype, mode="high")
            return lax.top_k(log_w + noise, self.size)[1].astype(jnp.int32)
        # In whole units: a float32 between 0 and 1 has 2^24 values, too few to tell a million rows apart evenly.
        total = w.sum()
        units = (w / jnp.where(total > 0, total, 1) * UNITS).astype(jnp.uint32)
        below = jnp.cumsum(units, dtype=jnp.uint32)
        unit = jax.random.randint(key, (self.size,), jnp.zeros((), jnp.uint32), below[-1], jnp.uint32)
        rows = jnp.searchsorted(below, unit, side="right")
        return jnp.minimum(rows, len(w) - 1).astype(jnp.int32)


def weighted_sampling(w: AnyArray, size: SupportsIndex | None = None, *, replacement: bool = True) -> WeightedSampling:
    """Return a sampling that draws each row i with probability w_i / sum_j w_j, as PyTorch's `WeightedRandomSampler`.

    With weights of 1 / n_k for a row of class k classes are met alike in the mean. `oversampling` does that to within a
    row; this one varies, as draws do, and takes any weights, such as of how hard an example is.

    Args:
        w: A number for each row, at least 0, `(batch,)`; they need not sum to 1, and what is less than a part in 2^31
            of the sum is 0. May be a tracer.
        size: How many rows an epoch has; by default as many as there are weights.
        replacement: Whether a row may be drawn twice; without, it is drawn from those that are left.

    Returns:
        A function `(key) -> rows`, int32 `(size,)`, for `fit(..., sampling=...)`; a tree of arrays.

    Raises:
        TypeError: Weights are no array, or `size` is no int.
        ShapeError: Weights are not `(batch,)`.
        ValueError: A weight is negative or not finite; all are 0; or fewer rows weigh something than are to be drawn
            without replacement. Where weights cannot be seen, negative ones are 0.

    >>> sampling = weighted_sampling(jnp.array([0.0, 1.0, 3.0]), 1000)
    >>> (jnp.bincount(sampling(jax.random.key(0)), length=3) / 1000).round(1)
    Array([0. , 0.3, 0.7], dtype=float32)

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006), without replacement; that
    Gumbel noise does the same is in Vieira, "Gumbel-max trick and weighted reservoir sampling" (2014).
    """
    if not is_array(w):
        raise TypeError(f"expected w as an array, because there is a weight for each row; got {describe(w)}\n"
                        "  hint: jnp.asarray(w)")  # fmt: skip
    if w.ndim != 1:
        raise ShapeError("w of shape (batch,)", why="there is a weight for each row", got=tuple(w.shape))
    size = count(len(w) if size is None else size, "size", why="an epoch has so many rows")
    check_range("w", w, 0, why="probabilities are in proportion to it")
    _check_finite(w, why="probabilities are in proportion to it")
    if not replacement and size > len(w):
        raise ValueError(f"expected size of at most {len(w)}, because there are that many rows, none of them drawn "
                         f"twice; got {size}")  # fmt: skip
    seen = values(w)
    if seen is not None:
        # As parts of the largest while they are float64, or int64: the program's float32 holds less.
        parts = seen.astype(np.float64)
        w = parts = (parts / (parts.max() or 1)).astype(jnp.result_type(float))
        positive = int((parts >= np.finfo(parts.dtype).tiny).sum())  # what is less is 0 in a compiled program
        if not positive:
            raise ValueError(f"expected some w above 0, because rows that weigh nothing are never drawn; got {len(w)} "
                             "that are 0")  # fmt: skip
        if not replacement and size > positive:
            raise ValueError(f"expected size of at most {positive}, because so many rows weigh something and none is "
                             f"drawn twice; got {size}")  # fmt: skip
    return WeightedSampling(w, size, replacement)


def _balanced(
    y: AnyArray,
    w: AnyArray | None,
    classes: SupportsIndex | None,
    size: SupportsIndex | None,
    of_each: Callable[[np.ndarray], Any],
) -> BalancedSampling:
    """Check labels and weights; sort the rows by class, once for all draws: on the host, if they can be seen."""
    _check_labels(y, w)
    k = None if classes is None else count(classes, "classes", why="each is met as often")
    size = None if size is None else count(size, "size", why="an epoch has so many rows")
    labels, weights = values(y), values(w)
    if labels is None or (w is not None and weights is None):
        if k is None or size is None:
            raise TypeError("expected classes and size, because shapes follow from them, and labels cannot be seen "
                            f"within jit and the like; got {k} and {size}\n"
                            "  hint: oversampling(y, classes=2, size=1000)")  # fmt: skip
        label, there = jnp.asarray(y), True if w is None else jnp.asarray(w) > 0
        return BalancedSampling(*_by_class(jnp, label, there, k), size=size, turns=size)
    there = np.ones(len(labels), bool) if weights is None else weights > 0
    seen = np.unique(labels[there])  # what weighs nothing may have any label
    if not len(seen):
        raise ValueError("expected at least one label that weighs something, because there is nothing to draw from "
                         f"none; got {len(labels)} of weight 0")  # fmt: skip
    if k is None:
        k, labels = len(seen), np.searchsorted(seen, labels)
    elif seen[0] < 0 or seen[-1] >= k:
        raise ValueError(f"expected labels from 0 to {k - 1}, because there are {k} classes; got labels from {seen[0]} "
                         f"to {seen[-1]}")  # fmt: skip
    elif len(seen) < k:
        raise ValueError("expected every class to have rows that weigh something, because each is met as often; got "
                         f"none of {', '.join(map(str, np.setdiff1d(np.arange(k), seen)))}")  # fmt: skip
    rows, first, counts = _by_class(np, labels, there, k)
    size = k * int(of_each(counts)) if size is None else size
    if size < k:
        raise ValueError(f"expected size of at least {k}, because there are that many classes and each has rows; got "
                         f"{size}")  # fmt: skip
    return BalancedSampling(rows, first, counts, size=size, turns=-(-size // k))


def _by_class(np: Any, label: Any, there: Any, classes: int) -> tuple[Any, Any, Any]:
    """Rows by class, where each class begins and how many it has, those of none last; `np` is NumPy or JAX's."""
    label = label.astype(np.int32)
    number = np.where(there & (label >= 0) & (label < classes), label, classes)
    rows = np.argsort(number, stable=True)
    first = np.searchsorted(number[rows], np.arange(classes + 1, dtype=number.dtype))
    counts = first[1:] - first[:-1]
    some_first = np.argsort(counts == 0, stable=True)
    return tuple(a.astype(np.int32) for a in (rows, first[:-1][some_first], counts[some_first]))


def _check_labels(y: AnyArray, w: AnyArray | None) -> None:
    if not is_array(y):
        raise TypeError(f"expected labels as an array, because there is one for each row; got {describe(y)}\n"
                        "  hint: jnp.asarray(labels)")  # fmt: skip
    check_integer(y)
    if y.ndim != 1:
        raise ShapeError("labels of shape (batch,)", why="each row is of one class", got=tuple(y.shape))
    if not len(y):
        raise ValueError("expected at least one label, because there is nothing to draw from none; got 0 of them")
    if w is not None:
        if not is_array(w) or w.shape != y.shape:
            raise ShapeError(f"w as an array of shape {tuple(y.shape)}", why="there is a label for each row",
                             got=describe(w))  # fmt: skip
        check_range("w", w, 0, why="it weighs examples")
        _check_finite(w, why="it weighs examples")


def _check_finite(w: AnyArray, *, why: str) -> None:
    seen = values(w)
    if seen is not None and not np.isfinite(seen.astype(np.float64)).all():
        bad = ~np.isfinite(seen.astype(np.float64))
        raise ValueError(f"expected w to be finite, because {why}; got NaN or infinity in {bad.sum()} of {len(seen)} "
                         "rows")  # fmt: skip
