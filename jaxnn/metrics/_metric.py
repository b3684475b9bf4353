"""A metric that is gathered batch by batch: a frozen value with settings, and a state of sums."""

import abc
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.losses._shapes import check_same_shape
from jaxnn.metrics._targets import check_arrays
from jaxnn.ops._op import Op
from jaxnn.typing import AnyArray, Array, accumulator_dtype


class Metric(abc.ABC):
    """Pure functions that gather a figure over batches, whatever they are.

    ==============================================  ===================================================
    `init()`                                        the state before the first batch
    `update(state, prediction, target, weight)`     the state after one more
    `compute(state)`                                the figure over all that was seen
    `merge(state, state)`                           the state after both: of two halves, or two devices
    `metric(prediction, target, weight)`            all at once
    ==============================================  ===================================================

    A state is a tree of arrays in JAX's float dtype, float32 unless 64 bits are enabled, and most are sums: then
    `merge` adds, and across devices `jax.lax.psum(state, axis)` does. Those that are not say so, and for all of
    them `metric.merged(jax.lax.all_gather(state, axis))` serves. In float32 the count of a batch is exact up to
    2^24, and that of all batches to rounding.

    Predictions, targets and weights are arrays, of JAX or of NumPy; lists are refused. Weights have the shape of
    what is judged or any prefix of it, such as `(batch,)`; what weighs nothing counts for nothing. Where the figure
    is undefined it is NaN or a value that the metric states, never an error; and NaN where a compiled program meets
    what would be refused outside of one.

    Settings may be arrays or tracers where a metric says so. Two metrics are equal if their settings are, arrays by
    shape, dtype and numbers; one that holds a tracer does not hash.

    A metric of one's own is a subclass with `init`, `update` and `compute`, and `merge` if states do not add.

    >>> import jaxnn as nn
    >>> metric = nn.metrics.Mean(nn.metrics.accuracy)
    >>> state = metric.update(metric.init(), jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
    >>> state = metric.update(state, jnp.array([[0.3, 0.7]]), jnp.array([1]))
    >>> metric.compute(state).round(4)
    Array(0.6667, dtype=float32)
    """

    @abc.abstractmethod
    def init(self) -> Any:
        """Return the state before the first batch."""

    @abc.abstractmethod
    def update(self, state: Any, prediction: Any, target: Any, weight: AnyArray | None = None) -> Any:
        """Return the state after one more batch."""

    @abc.abstractmethod
    def compute(self, state: Any) -> Any:
        """Return the figure over all that was seen."""

    def check(self, prediction: Any, target: Any) -> None:
        """Raise an error if they cannot be meant: shapes always, values where they are concrete."""
        check_arrays(prediction=prediction, target=target)
        check_same_shape(prediction, target)

    def merge(self, state: Any, other: Any) -> Any:
        """Return the state after what both have seen."""
        return jax.tree.map(jnp.add, state, other)

    def merged(self, states: Any) -> Any:
        """Return the state after what all have seen, given states that are stacked along a leading axis.

        >>> import jaxnn as nn
        >>> metric = nn.metrics.MeanSquaredError()
        >>> update = jax.vmap(metric.update, (None, 0, 0))  # two devices would do the same
        >>> states = update(metric.init(), jnp.array([[1.0, 3.0], [2.0, 2.0]]), jnp.ones((2, 2)))
        >>> metric.compute(metric.merged(states))
        Array(1.5, dtype=float32)
        """
        return lax.scan(lambda state, other: (self.merge(state, other), None), self.init(), states)[0]

    def __call__(self, prediction: Any, target: Any, weight: AnyArray | None = None) -> Any:
        """Return the figure of one batch."""
        return self.compute(self.update(self.init(), prediction, target, weight))

    def __repr__(self) -> str:
        """The metric as it would be written: settings that have their default value are left out."""
        shown = []
        settings = sorted(fields(self), key=lambda setting: bool(setting.kw_only)) if is_dataclass(self) else ()
        for setting in settings:
            value = getattr(self, setting.name)
            if is_array(value) or is_array(setting.default) or value != setting.default:
                text = describe(value) if is_array(value) else getattr(value, "__name__", None) or repr(value)
                text = repr(value) if isinstance(value, Op) else text
                shown.append(f"{setting.name}={text}" if setting.kw_only else text)
        return f"{type(self).__name__}({', '.join(shown)})"


def zeros(*shape: int) -> Array:
    """Return a part of a state before the first batch."""
    return jnp.zeros(shape, jnp.result_type(float))


def wide(x: AnyArray) -> Array:
    """Return floating numbers in float32 at least, integers and bools in JAX's float dtype.

    >>> wide(jnp.ones(2, jnp.bfloat16)).dtype, wide(jnp.arange(2)).dtype
    (dtype('float32'), dtype('float32'))
    """
    x = jnp.asarray(x)
    return x.astype(accumulator_dtype(x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)))


def one_number(value: Any, name: str) -> None:
    """Raise an error unless a setting is one number, or a tracer of one."""
    if jnp.ndim(value) != 0:
        raise ShapeError(
            f"{name} of shape ()",
            why="it would be broadcast against examples",
            got=tuple(jnp.shape(value)),
            hint=f"several of them: vmap over a function of {name}",
        )


def whole_number(value: Any, name: str, *, least: int, why: str) -> None:
    """Raise an error unless a setting is an int of at least so much.

    Raises:
        TypeError: It is none, such as a tracer.
        ValueError: It is too small.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be an int, because {why}; got {value!r}")
    if value < least:
        raise ValueError(f"expected {name} of at least {least}, because {why}; got {value}")


def positive_number(value: Any, name: str, *, why: str) -> None:
    """Raise an error unless a setting is one number above 0, as far as that can be seen."""
    one_number(value, name)
    seen = values(value)
    if seen is not None and not seen > 0:
        raise ValueError(f"expected {name} above 0, because {why}; got {value}")
