"""The lengths of sequences that lie in one array, `(batch, time, ...)`: what may be one, and which steps are within."""

import jax.numpy as jnp

from jaxnn.errors import ShapeError, values
from jaxnn.typing import AnyArray, Array


def check_lengths(x: AnyArray, lengths: AnyArray | None) -> None:
    """Raise an error if these cannot be the lengths of the sequences x."""
    if lengths is None:
        return
    batch, time = x.shape[:2]
    if lengths.shape != (batch,):
        raise ShapeError(f"lengths of shape ({batch},)", why=f"x is {tuple(x.shape)}", got=tuple(lengths.shape))
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"expected integer lengths, because they count steps; got {lengths.dtype}")
    seen = values(lengths)
    if seen is not None and seen.size and not (seen.min() >= 0 and seen.max() <= time):
        raise ValueError(
            f"expected lengths from 0 to {time}, because x is {tuple(x.shape)}; "
            f"got lengths from {seen.min()} to {seen.max()}"
        )


def steps_within(lengths: Array, time: int) -> Array:
    """Return which steps are within their sequence, `(batch, time)`.

    >>> steps_within(jnp.array([3, 1, 0]), 3)
    Array([[ True,  True,  True],
           [ True, False, False],
           [False, False, False]], dtype=bool)
    """
    return jnp.arange(time, dtype=lengths.dtype)[None, :] < lengths[:, None]
