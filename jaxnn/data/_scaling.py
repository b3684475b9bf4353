"""Scaling of inputs, or of targets: found on the training data, applied to all, and undone.

Dimensions: `batch` examples, `...` further axes, such as `features`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.losses._shapes import check_range
from jaxnn.training._checks import integer
from jaxnn.typing import AnyArray, Array, Data, Scalar, accumulator_dtype


class Scaling(NamedTuple):
    """Subtract an offset and divide by a scale: `(x - offset) / scale`. A tree of two arrays, to be kept with a model.

    `scaling(x)` takes an array, or `Data` whose `x` it scales; `scaling.inverse` goes back. What scales targets is
    given the targets: `data._replace(y=scaling(data.y))`, and its inverse the predictions.

    Attributes:
        offset: `(1, ...)`, of as many axes as x; 1 where it is the same for all.
        scale: The same shape, never 0: 1 where the training data have the same value everywhere.

    >>> train, test = jnp.array([[1.0, 5.0], [3.0, 5.0]]), jnp.array([[4.0, 6.0]])
    >>> scaling = standard_scaling(train)
    >>> scaling(test), scaling.inverse(scaling(test))
    (Array([[2., 1.]], dtype=float32), Array([[4., 6.]], dtype=float32))
    """

    offset: Array
    scale: Array

    @overload
    def __call__(self, x: Data) -> Data: ...
    @overload
    def __call__(self, x: AnyArray) -> Array: ...
    def __call__(self, x: Any) -> Any:
        """Return `(x - offset) / scale`, in the dtype of x where it is a floating one."""
        return self._applied(lambda x: (x - self.offset) / self.scale, x)

    @overload
    def inverse(self, x: Data) -> Data: ...
    @overload
    def inverse(self, x: AnyArray) -> Array: ...
    def inverse(self, x: Any) -> Any:
        """Return `x * scale + offset`."""
        return self._applied(lambda x: x * self.scale + self.offset, x)

    def _applied(self, function: Callable[[Array], Array], x: Any) -> Any:
        if isinstance(x, Data):
            return x._replace(x=self._applied(function, x.x))
        if not is_array(x):
            raise TypeError(f"expected x as an array or nn.Data, because it is scaled; got {describe(x)}")
        ours, theirs = self.offset.shape, tuple(x.shape)
        if len(ours) != len(theirs) or any(a not in (1, b) for a, b in zip(ours, theirs, strict=True)):
            rest = ", ".join("any" if a == 1 else str(a) for a in ours[1:])
            raise ShapeError(f"x of shape (batch, {rest})" if rest else "x of shape (batch,)",
                             why=f"offset and scale are {ours}", got=theirs)  # fmt: skip
        out = function(jnp.asarray(x).astype(self.scale.dtype))
        return out.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else out


def standard_scaling(x: AnyArray | Data, w: AnyArray | None = None, *, axis: int | tuple[int, ...] = 0) -> Scaling:
    """Return the scaling to mean 0 and variance 1: the offset is the mean and the scale the standard deviation.

    mu = sum_i w_i x_i / sum_i w_i, and sigma^2 = sum_i w_i (x_i - mu)^2 / sum_i w_i; as scikit-learn's
    `StandardScaler`. A feature of one value only has the scale 1.

    Args:
        x: Training data, `(batch, ...)`, or `Data`, whose weights count.
        w: Weights of the examples, `(batch,)`, at least 0. What weighs nothing is not there, whatever it is.
        axis: Over which axes there is one number; by default each feature, or pixel, has its own. For images
            `(batch, height, width, channels)`, one a channel: `axis=(0, 1, 2)`.

    Returns:
        The `Scaling`, in float32 at least.

    Raises:
        TypeError: `x` is no array of real numbers, or `axis` no int.
        ShapeError: `x` has no axis of examples, an axis is none of its, or `w` is not `(batch,)`.
        ValueError: There are no examples; one that counts is not finite; a weight is negative or not finite, or all
            are 0. Where values cannot be seen, in a compiled program, what comes of these is no error.

    >>> standard_scaling(jnp.array([[1.0], [3.0], [8.0]]), w=jnp.array([1.0, 1.0, 0.0]))
    Scaling(offset=Array([[2.]], dtype=float32), scale=Array([[1.]], dtype=float32))

    Source: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998), section 4.3.
    """
    x, w, axis = _weighed(x, w, axis)
    low, high = _extremes(x, w, axis)
    # From the smallest on, so that a large mean costs no digits, and one of equal values is exact; as parts of the
    # distance to the largest, so that squares neither vanish nor overflow.
    distance = jnp.where(high > low, high - low, 1)
    away, total = (x - low) / distance, _sum(jnp.ones_like(x), w, axis)
    total = jnp.where(total > 0, total, 1)
    mean = _sum(away, w, axis) / total
    variance = _sum((away - mean) ** 2, w, axis) / total
    return Scaling(low + distance * mean, distance * jnp.sqrt(jnp.where(high > low, variance, 1)))


def min_max_scaling(
    x: AnyArray | Data,
    w: AnyArray | None = None,
    *,
    low: Scalar = 0.0,
    high: Scalar = 1.0,
    axis: int | tuple[int, ...] = 0,
) -> Scaling:
    """Return the scaling of the smallest value to `low` and the largest to `high`, as scikit-learn's `MinMaxScaler`.

    Args:
        x: Training data, `(batch, ...)`, or `Data`, whose weights count.
        w: Weights of the examples, `(batch,)`: what weighs nothing is not there; how much the others weigh is all one.
        low: Where the smallest goes. May be a tracer.
        high: Where the largest goes. May be a tracer.
        axis: Over which axes there is one number, as for `standard_scaling`.

    Returns:
        The `Scaling`; a feature of one value only goes to `low`.

    Raises:
        TypeError, ShapeError: As `standard_scaling` does.
        ValueError: As `standard_scaling` does; `low` is not below `high`.

    >>> scaling = min_max_scaling(jnp.array([[1.0], [5.0]]), low=-1.0)
    >>> scaling(jnp.array([[1.0], [2.0], [5.0]])).tolist()
    [[-1.0], [-0.5], [1.0]]

    Source: Han, Kamber and Pei, "Data mining: concepts and techniques" (2011), section 3.5.2.
    """
    bottom, top = values(low), values(high)
    if bottom is not None and top is not None and not (bottom < top).all():
        raise ValueError(f"expected low below high, because the values go from one to the other; got {low} and {high}")
    x, w, axis = _weighed(x, w, axis)
    smallest, largest = _extremes(x, w, axis)
    low, high = jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype)
    scale = jnp.where(largest > smallest, largest - smallest, 1) / (high - low)
    return Scaling(smallest - low * scale, scale)


def max_abs_scaling(x: AnyArray | Data, w: AnyArray | None = None, *, axis: int | tuple[int, ...] = 0) -> Scaling:
    """Return the scaling by the largest absolute value, to within -1 and 1, as scikit-learn's `MaxAbsScaler`.

    The offset is 0: what is 0 stays so, as in counts most of which are.

    Args:
        x: Training data, `(batch, ...)`, or `Data`, whose weights count.
        w: Weights of the examples, `(batch,)`: what weighs nothing is not there; how much the others weigh is all one.
        axis: Over which axes there is one number, as for `standard_scaling`.

    Returns:
        The `Scaling`; a feature that is 0 everywhere has the scale 1.

    Raises:
        TypeError, ShapeError, ValueError: As `standard_scaling` does.

    >>> max_abs_scaling(jnp.array([[1.0, 0.0], [-4.0, 0.0]])).scale
    Array([[4., 1.]], dtype=float32)

    Source: Pedregosa et al., "Scikit-learn: machine learning in Python" (2011), whose convention it is.
    """
    x, w, axis = _weighed(x, w, axis)
    _, largest = _extremes(abs(x), w, axis)
    return Scaling(jnp.zeros_like(largest), jnp.where(largest > 0, largest, 1))


def robust_scaling(
    x: AnyArray | Data,
    w: AnyArray | None = None,
    *,
    quantiles: tuple[Scalar, Scalar] = (0.25, 0.75),
    axis: int | tuple[int, ...] = 0,
) -> Scaling:
    """Return the scaling to median 0 and a distance of 1 between quartiles, as scikit-learn's `RobustScaler`.

    A few values far out move neither. The quantile q of n values in their order is that at q (n - 1), counted from 0,
    and on a line between neighbours where that is no whole number. A weight of 2 counts a value twice, and n is the sum
    of the weights. Weights that sum to less than there are values, such as those that sum to 1, are taken as parts of
    their mean; of larger ones the scaling depends on the mean, a little.

    Args:
        x: Training data, `(batch, ...)`, or `Data`, whose weights count.
        w: Weights of the examples, `(batch,)`, at least 0. What weighs nothing is not there, whatever it is.
        quantiles: Between which two the distance becomes 1. They may be tracers.
        axis: Over which axes there is one number, as for `standard_scaling`.

    Returns:
        The `Scaling`; a feature of which the two quantiles are the same has the scale 1.

    Raises:
        TypeError, ShapeError: As `standard_scaling` does.
        ValueError: As `standard_scaling` does; quantiles are not from 0 to 1, or the first is not below the second.

    >>> robust_scaling(jnp.array([[0.0], [1.0], [2.0], [3.0], [1000.0]]))
    Scaling(offset=Array([[2.]], dtype=float32), scale=Array([[2.]], dtype=float32))

    Source: Huber and Ronchetti, "Robust statistics" (2009); Hyndman and Fan, "Sample quantiles in statistical
    packages" (1996), whose seventh definition this quantile is.
    """
    q_1, q_2 = map(values, quantiles)
    if q_1 is not None and q_2 is not None and not (q_1 >= 0 and q_1 < q_2 and q_2 <= 1):
        raise ValueError("expected quantiles from 0 to 1, the smaller one first, because the distance between them is "
                         f"the scale; got {quantiles[0]} and {quantiles[1]}")  # fmt: skip
    x, w, axis = _weighed(x, w, axis)
    median, below, above = _quantiles(x, w, (0.5, *quantiles), axis)
    return Scaling(median, jnp.where(above > below, above - below, 1))


def _weighed(x: Any, w: AnyArray | None, axis: int | tuple[int, ...]) -> tuple[Array, Array | None, tuple[int, ...]]:
    """Check all three; return x as floats, weights of as many axes as it has, and the axes as a tuple."""
    if isinstance(x, Data):
        x, w = x.x, x.w if w is None else w
    if not is_array(x):
        several = any(map(is_array, jax.tree.leaves(x)))
        raise TypeError(
            f"expected x as an array or nn.Data of one, because its values are scaled; got {describe(x)}\n"
            f"  hint: {'each of several inputs has a scaling of its own' if several else 'jnp.asarray(x)'}"
        )
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(
            f"expected x of real numbers, because the smallest and the largest are looked for; got {x.dtype}"
        )
    if x.ndim == 0:
        raise ShapeError("x of shape (batch, ...)", why="its first axis is that of examples", got=())
    why = "one number is for all examples"
    axes = tuple(integer(a, "axis", why=why) for a in (axis if isinstance(axis, tuple | list) else (axis,)))
    axes = tuple(sorted(a + x.ndim if a < 0 else a for a in axes))
    if axes[:1] != (0,) or axes[-1] >= x.ndim or len(set(axes)) < len(axes):
        raise ShapeError(f"axis 0, of examples, and perhaps more of the {x.ndim} that x has",
                         why=why, got=f"axis={axis}")  # fmt: skip
    if w is not None and (not is_array(w) or w.shape != x.shape[:1]):
        raise ShapeError(f"w as an array of shape {tuple(x.shape[:1])}", why="it weighs examples", got=describe(w))
    check_range("w", w, 0, why="it weighs examples")
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    seen, weights = values(x) if floating else None, values(w)
    if weights is not None and not np.isfinite(weights.astype(float)).all():
        bad = ~np.isfinite(weights.astype(float))
        raise ValueError(f"expected w to be finite, because it weighs examples; got NaN or infinity in {bad.sum()} of "
                         f"{len(bad)} examples")  # fmt: skip
    if not len(x) or (weights is not None and not weights.any()):
        raise ValueError("expected at least one example that weighs something, because a scaling is found from them; "
                         f"got {len(x)}{', all of weight 0' if len(x) else ''}")  # fmt: skip
    if seen is not None and (w is None or weights is not None):
        bad = ~np.isfinite(seen.astype(float).reshape(len(seen), -1)).all(axis=1)
        bad &= True if weights is None else weights != 0
        if bad.any():
            raise ValueError(f"expected x to be finite, because one NaN is in every mean; got NaN or infinity in "
                             f"{bad.sum()} of {len(seen)} examples, first in example {bad.argmax()}")  # fmt: skip
    x = jnp.asarray(x).astype(accumulator_dtype(x.dtype) if floating else jnp.result_type(float))
    w = None if w is None else jnp.asarray(w).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
    return x, w, axes


def _sum(x: Array, w: Array | None, axis: tuple[int, ...]) -> Array:
    """Sum of w x, to which what weighs nothing adds nothing, even if it is NaN."""
    return (x if w is None else jnp.where(w == 0, 0, w * x)).sum(axis, keepdims=True)


def _extremes(x: Array, w: Array | None, axis: tuple[int, ...]) -> tuple[Array, Array]:
    """The smallest and the largest value of what weighs something."""
    there = None if w is None else jnp.broadcast_to(w > 0, x.shape)
    low = jnp.min(x, axis, keepdims=True, initial=jnp.inf, where=there)
    return low, jnp.max(x, axis, keepdims=True, initial=-jnp.inf, where=there)


def _quantiles(x: Array, w: Array | None, quantiles: tuple[Any, ...], axis: tuple[int, ...]) -> list[Array]:
    """Quantiles of values that are each there as often as it weighs."""
    kept = tuple(1 if i in axis else length for i, length in enumerate(x.shape))
    rest = [length for i, length in enumerate(x.shape) if i not in axis]
    in_rows = lambda a: jnp.moveaxis(a, axis, tuple(range(len(axis)))).reshape(-1, *rest)
    times = in_rows(jnp.ones_like(x) if w is None else jnp.broadcast_to(w, x.shape))
    x = jnp.where(times > 0, in_rows(x), jnp.inf)  # what weighs nothing last
    if w is not None:  # at least as much as there are values: else nothing would be between the first and the last
        sum_ = times.sum(0, keepdims=True)
        there = (times > 0).sum(0, keepdims=True, dtype=sum_.dtype)
        times = times * jnp.maximum(there / jnp.where(sum_ > 0, sum_, 1), 1)
    ranks = jnp.argsort(x, axis=0)
    x, up_to = jnp.take_along_axis(x, ranks, 0), jnp.cumsum(jnp.take_along_axis(times, ranks, 0), axis=0)
    total = up_to[-1:]
    rounding = jnp.minimum(4 * jnp.finfo(x.dtype).eps * total, 0.5)  # less than what tells whole numbers apart
    last = (times > 0).sum(0, keepdims=True) - 1
    at = lambda place: jnp.take_along_axis(x, jnp.minimum((up_to <= place + rounding).sum(0, keepdims=True), last), 0)

    def quantile(q):
        place = jnp.maximum(jnp.asarray(q, x.dtype) * (total - 1), 0)
        before = jnp.floor(place)
        low, high = at(before), at(before + 1)
        return (low + (place - before) * (high - low)).reshape(kept)

    return [quantile(q) for q in quantiles]
