"""The mean of a loss over examples: the one reduction, on both roads to the gradient."""

import math

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_weights(losses: AnyArray, w: AnyArray | None = None) -> None:
    if losses.ndim == 0:
        raise ShapeError(
            "a loss of shape (batch, ...)", why="examples are weighed one by one", got="a scalar",
            hint="return the loss of each example and leave the mean to the trainer",
        )  # fmt: skip
    if w is not None and (w.ndim == 0 or w.shape != losses.shape[: w.ndim]):
        raise ShapeError(
            f"weights of shape {tuple(losses.shape[:1])}, or any longer prefix of {tuple(losses.shape)}",
            why=f"the loss is {tuple(losses.shape)}",
            got=tuple(w.shape),
        )


@op(_check_weights)
def weighted_mean(losses: Float[Array, "batch ..."], w: Num[Array, "..."] | None = None) -> Float[Array, ""]:
    """Mean over trailing axes, then over weighed examples, L = sum_i w_i l_i / sum_i w_i.

    l_i is the mean of the losses over the axes that w does not have; with no w, all count alike. If all
    weights are 0, so is L.

    Args:
        losses: Any loss, `(batch, ...)`.
        w: Weights, `(batch,)` or any longer prefix of the losses' shape, such as one weight a token.

    Raises:
        ShapeError: The losses are a scalar, or w is not such a prefix.

    >>> weighted_mean(jnp.array([1.0, 2.0, 6.0]), jnp.array([1.0, 1.0, 0.0]))
    Array(1.5, dtype=float32)
    """
    return weighted_mean_fwd(losses, w)[0]


def weighted_mean_fwd(losses, w=None):
    """Remember l, the weights, the mean L, and the losses' shape."""
    l, weights, total = _examples(losses, w)
    # What weighs nothing counts for nothing, even if it is infinite.
    mean = jnp.where(weights == 0, 0, weights * l).sum() / total
    return mean.astype(losses.dtype), (shape_only(losses), l, w, mean)


def weighted_mean_bwd(residuals, d_mean):
    """dL/dl_i = w_i / sum w, spread over the k elements whose mean l_i is; dL/dw_i = (l_i - L) / sum w."""
    losses, l, w, mean = residuals
    shape = losses.shape[1:]
    weights, total = _weights(l, w)
    d_mean = d_mean.astype(l.dtype)
    k = math.prod(shape[l.ndim :])
    dl = d_mean * weights / total / k
    d_losses = jnp.broadcast_to(dl.reshape(dl.shape + (1,) * (len(shape) - dl.ndim)), shape).astype(losses.dtype)
    if w is None or not jnp.issubdtype(w.dtype, jnp.floating):
        return d_losses, None
    return d_losses, (d_mean * (l - mean) / total).astype(w.dtype)


weighted_mean.defvjp(weighted_mean_fwd, weighted_mean_bwd)


def _examples(losses, w):
    """The loss and the weight of each example, and the sum of weights, in float32 at least."""
    rank = 1 if w is None else w.ndim
    l = losses.astype(accumulator_dtype(losses.dtype)).mean(tuple(range(rank, losses.ndim)))
    return l, *_weights(l, w)


def _weights(l, w):
    """The weight of each example, and the sum of weights: 1 where it is 0, to divide by."""
    w = jnp.ones_like(l) if w is None else w.astype(l.dtype)
    total = w.sum()
    return w, jnp.where(total == 0, 1, total)
