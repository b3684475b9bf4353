"""Which rows of the data an epoch meets where these are not all of them: drawn anew in each, or always the same."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast, final

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError, describe, is_array, values
from jaxnn.training._compiled import hashable, transforming
from jaxnn.training._trainer import SAMPLE, TrainState
from jaxnn.typing import AnyArray, Array, Key

Sampling: TypeAlias = Callable[[Key], Array] | AnyArray
"""What draws the rows of an epoch from a key, integers of shape `(size,)`; or an array of rows, for every epoch."""


@final
@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["draw"])
@dataclass(frozen=True)
class _Function:
    """A function as a tree without leaves, so that a compiled program may be given it as it is given arrays."""

    draw: Callable[[Key], Array]

    def __call__(self, key: Key) -> Array:
        return self.draw(key)


def as_sampling(sampling: Any) -> Any:
    """Return what samples as a tree of arrays, `None` included.

    Raises:
        TypeError: It is neither a function nor an array; or a function that compilation cannot be remembered by.
    """
    if sampling is None or is_array(sampling):
        return sampling
    if not callable(sampling):
        raise TypeError(f"expected sampling as a function of a key or an array of rows, because it says which examples "
                        f"an epoch meets; got {describe(sampling)}\n"
                        "  hint: nn.data.oversampling(data.y), or jnp.asarray(rows)")  # fmt: skip
    if all(map(is_array, jax.tree.leaves(sampling))):
        return sampling
    if not hashable(sampling) and not transforming():
        raise TypeError("expected sampling that is a pytree of arrays or can be hashed, because a compiled program is "
                        f"found again by it; got a {type(sampling).__name__}")  # fmt: skip
    return _Function(cast(Callable[[Key], Array], sampling))


def sampled(sampling: Any, key: Key, epoch: Array) -> Array:
    """Return the rows of an epoch, int32 `(size,)`: they follow from root key and epoch, and are never saved."""
    return jnp.asarray(_drawn(sampling, key, epoch)).astype(jnp.int32)


def _drawn(sampling: Any, key: Key, epoch: Array) -> Any:
    if is_array(sampling):
        return sampling
    return sampling(jax.random.fold_in(jax.random.fold_in(key, SAMPLE), epoch))


def sample_size(sampling: Any, train_state: TrainState, examples: int, batch_size: int) -> int:
    """Return how many rows an epoch meets; check them as far as they can be seen: those of the first epoch.

    Raises:
        TypeError: Rows are no array of integers.
        ShapeError: They have more than one axis, or none.
        ValueError: They are fewer than a batch, or out of range.
    """
    ts = train_state
    rows = jax.eval_shape(_drawn, sampling, ts.key, ts.epoch)
    why = "rows are indices of examples"
    if not is_array(rows) or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise TypeError(f"expected sampling to give an array of integers, because {why}; got {describe(rows)}")
    if rows.ndim != 1:
        raise ShapeError("sampling to give rows of shape (size,)", why=why, got=tuple(rows.shape))
    (size,) = rows.shape
    if size < batch_size:
        raise ValueError(f"expected batch_size of at most {size}, because sampling gives that many rows an epoch; got "
                         f"{batch_size}")  # fmt: skip
    # What is drawn within a transformation cannot be seen, but an array of rows may be a constant there.
    if is_array(sampling):
        seen = values(sampling)
    else:
        seen = None if transforming() else values(_sampled(sampling, ts.key, ts.epoch))
    if seen is not None and not (seen.min() >= 0 and seen.max() < examples):
        raise ValueError(f"expected sampling to give rows from 0 to {examples - 1}, because the data has {examples} "
                         f"examples; got rows from {seen.min()} to {seen.max()}")  # fmt: skip
    return size


_sampled = jax.jit(sampled)
