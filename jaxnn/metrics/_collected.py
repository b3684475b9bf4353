"""Any figure of whole arrays as a metric: what is seen is kept, in a buffer of fixed size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jaxnn.metrics._metric import Metric, whole_number, zeros
from jaxnn.metrics._targets import spread
from jaxnn.typing import Array


class Kept(NamedTuple):
    """State of `Collected`; what lies behind the count has weight 0."""

    prediction: Array  # (capacity,)
    target: Array  # (capacity,)
    weight: Array  # (capacity,)
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - shape (), int32


@final
@dataclass(frozen=True, repr=False)
class Collected(Metric):
    """A function of everything that was seen, such as `roc_auc`, which no sum of parts will give exactly.

    States do not add: merging lines up what both have kept.

    Attributes:
        function: `(prediction, target, weight) -> figure`, of arrays of shape `(capacity,)`, on which what weighs
            nothing has no influence.
        capacity: How many elements there is room for; those of weight 0 take none. If there are more, the figure
            is NaN.

    Raises:
        ValueError: The capacity is below 1.

    >>> import jaxnn as nn
    >>> metric = Collected(nn.metrics.roc_auc, capacity=100)
    >>> state = metric.update(metric.init(), jnp.array([0.1, 0.4]), jnp.array([0.0, 0.0]))
    >>> state = metric.update(state, jnp.array([0.35, 0.8]), jnp.array([1.0, 1.0]))
    >>> metric, metric.compute(state)
    (Collected(roc_auc, 100), Array(0.75, dtype=float32))
    """

    function: Callable[..., Any]
    capacity: int

    def __post_init__(self) -> None:
        whole_number(self.capacity, "capacity", least=1, why="it is the size of a buffer")

    def init(self) -> Kept:
        none = zeros(self.capacity)
        return Kept(none, none, none, jnp.zeros((), jnp.int32))

    def update(self, state, prediction, target, weight=None) -> Kept:
        self.check(prediction, target)
        w = spread(weight, target.shape)
        new = [jnp.asarray(x).astype(w.dtype).reshape(-1) for x in (prediction, target, w)]
        return _append(state, new, new[2] != 0)

    def merge(self, state, other) -> Kept:
        new = _append(state, other[:3], jnp.arange(self.capacity, dtype=jnp.int32) < other.count)
        return new._replace(count=state.count + other.count)

    def compute(self, state) -> Any:
        figure = self.function(*state[:3])
        overflown = state.count > self.capacity
        return jax.tree.map(lambda x: jnp.where(overflown, jnp.nan, x), figure)


def _append(state, new, kept):
    places = state.count + jnp.cumsum(kept, dtype=jnp.int32) - 1
    # Where there is no more room, or nothing to keep, nothing is written; but it is counted.
    places = jnp.where(kept, places, state.weight.size)
    prediction, target, weight = (old.at[places].set(x, mode="drop") for old, x in zip(state[:3], new, strict=True))
    return Kept(prediction, target, weight, state.count + kept.sum(dtype=jnp.int32))
