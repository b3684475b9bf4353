"""Of every sequence one vector: its last step, or the mean of its steps.

Dimensions: `batch`, `time`; `...` what a step is made of.
"""

import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError
from jaxnn.ops._lengths import check_lengths, steps_within
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_over_time(x: AnyArray, lengths: AnyArray | None = None) -> None:
    if x.ndim < 2 or x.shape[1] == 0:
        raise ShapeError(
            "x of shape (batch, time, ...) and at least one step", why="one of them stands for all", got=tuple(x.shape)
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because it is what a layer has put out; got {x.dtype}: cast it first")
    check_lengths(x, lengths)


@op(_check_over_time)
def last(
    x: Float[Array, "batch time ..."], lengths: Integer[Array, " batch"] | None = None
) -> Float[Array, "batch ..."]:
    """The last step of each sequence, y = x_(length - 1), and 0 where the length is 0.

    As a layer, `serial(LSTM(64), last, Dense(10))`, it takes an array or `Sequences`.

    Args:
        x: Sequences, `(batch, time, ...)`.
        lengths: Steps of each, `(batch,)`; `None` if all have `time` of them.

    Raises:
        ShapeError: There is no step, or there are not as many lengths as sequences.
        ValueError: A concrete length is not from 0 to time.
        TypeError: x is not floating, or the lengths are not integers.

    >>> last(jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([2, 3]))
    Array([2., 6.], dtype=float32)

    Source: as what stands for a sequence, Sutskever, Vinyals and Le, "Sequence to sequence learning with neural
    networks" (2014).
    """
    if lengths is None:
        return x[:, -1]
    ends = jnp.clip(lengths - 1, 0, x.shape[1] - 1)
    y = jnp.take_along_axis(x, _spread(ends[:, None], x), axis=1)[:, 0]
    return jnp.where(_spread(lengths > 0, y), y, 0)


def last_fwd(x, lengths=None):
    """Remember the shape, and the lengths."""
    return last.plain(x, lengths), (shape_only(x), lengths)


def last_bwd(residuals, dy):
    """The last step alone is in y, so it gets dy, and the others get 0."""
    x, lengths = residuals
    time = x.shape[2]
    ends = jnp.full(x.shape[1], time, jnp.int32) if lengths is None else jnp.minimum(lengths, time)
    is_last = jnp.arange(time, dtype=ends.dtype)[None, :] == ends[:, None] - 1
    return _at_steps(is_last, dy), None


last.defvjp(last_fwd, last_bwd)


@op(_check_over_time)
def mean_over_time(
    x: Float[Array, "batch time ..."], lengths: Integer[Array, " batch"] | None = None
) -> Float[Array, "batch ..."]:
    """The mean of the steps of each sequence, y = 1/length sum_(t < length) x_t, and 0 where the length is 0.

    As a layer, `serial(Embed(26, 8), mean_over_time, Dense(10))`, it takes an array or `Sequences`.

    Args:
        x: Sequences, `(batch, time, ...)`.
        lengths: Steps of each, `(batch,)`; `None` if all have `time` of them.

    Returns:
        y, `(batch, ...)`, summed in float32 at least.

    Raises:
        ShapeError: There is no step, or there are not as many lengths as sequences.
        ValueError: A concrete length is not from 0 to time.
        TypeError: x is not floating, or the lengths are not integers.

    >>> mean_over_time(jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([2, 3]))
    Array([1.5, 5. ], dtype=float32)

    Source: as what stands for a sequence, Iyyer et al., "Deep unordered composition rivals syntactic methods for text
    classification" (2015).
    """
    wide = accumulator_dtype(x.dtype)
    if lengths is None:
        return x.mean(1, dtype=wide).astype(x.dtype)
    within = steps_within(lengths, x.shape[1])
    total = jnp.where(_spread(within, x), x, 0).sum(1, dtype=wide)
    return (total / _spread(_counts(lengths, x.shape[1], wide), total)).astype(x.dtype)


def mean_over_time_fwd(x, lengths=None):
    """Remember the shape, and the lengths: a mean is linear in x."""
    return mean_over_time.plain(x, lengths), (shape_only(x), lengths)


def mean_over_time_bwd(residuals, dy):
    """dy/dx_t = 1/length for each step of the sequence, and 0 beyond."""
    x, lengths = residuals
    batch, time = x.shape[1:3]
    wide = accumulator_dtype(x.dtype)
    lengths = jnp.full(batch, time, jnp.int32) if lengths is None else lengths
    share = dy.astype(wide) / _spread(_counts(lengths, time, wide), dy)
    return _at_steps(steps_within(lengths, time), share.astype(x.dtype)), None


mean_over_time.defvjp(mean_over_time_fwd, mean_over_time_bwd)


def _counts(lengths, time, dtype):
    """By what the sum of the steps is divided; of none it is 0 anyhow."""
    return jnp.clip(lengths, 1, time).astype(dtype)


def _at_steps(chosen, dy):
    """The cotangent of y at the chosen steps, and 0 at the others."""
    dy = dy[:, None]
    return jnp.where(_spread(chosen, dy), dy, 0)


def _spread(a, x):
    """The array a, which has the first axes of x, with an axis for each of the others."""
    return a.reshape(*a.shape, *(1,) * (x.ndim - a.ndim))
