"""The plain recurrent cell.

Dimensions: `batch`, `time`, `in` and `hidden` features.
"""

import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.ops._op import op
from jaxnn.ops._recurrence import Cell, Weights, affine, backward, check_recurrence, forward, over_time, product
from jaxnn.typing import AnyArray, Array


def _check_rnn(
    x: AnyArray,
    h: AnyArray,
    w_x: AnyArray,
    w_h: AnyArray,
    b: AnyArray,
    lengths: AnyArray | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> None:
    del reverse
    check_recurrence(x, {"h": h}, w_x, w_h, b, lengths, gates=1, checkpoint=checkpoint)


@op(_check_rnn)
def rnn(
    x: Float[Array, "batch time in"],
    h: Float[Array, "batch hidden"],
    w_x: Float[Array, "in hidden"],
    w_h: Float[Array, "hidden hidden"],
    b: Float[Array, " hidden"],
    lengths: Integer[Array, " batch"] | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Float[Array, "batch time hidden"], Float[Array, "batch hidden"]]:
    """Elman's network, h_t = tanh(x_t w_x + h_(t-1) w_h + b) and y_t = h_t.

    Args:
        x: Input, `(batch, time, in)`.
        h: The h before the first step, `(batch, hidden)`.
        w_x: Weights of the input, `(in, hidden)`.
        w_h: Weights of h, `(hidden, hidden)`.
        b: Bias, `(hidden,)`; the sum of PyTorch's two.
        lengths: Steps of each sequence, `(batch,)`; `None` if all have `time` of them. Beyond, h is held and y is 0.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only the h before each chunk is remembered, and the rest is computed again.

    Returns:
        y, `(batch, time, hidden)`, and the last h, of each sequence after its own last step, in float32 at least.

    Raises:
        ShapeError: The arrays do not fit each other.
        ValueError: A concrete length is not from 0 to time, or the checkpoint is not positive.
        TypeError: x is not floating, a weight is of another dtype, or the lengths are not integers.

    >>> x, one = jnp.array([[[0.5], [0.0]]]), jnp.ones((1, 1))
    >>> y, h = rnn(x, jnp.zeros((1, 1)), one, one, jnp.zeros(1))
    >>> y[0, :, 0], h[0]  # tanh(0.5) and tanh(tanh(0.5))
    (Array([0.46211717, 0.43180817], dtype=float32), Array([0.43180817], dtype=float32))

    Source: Elman, "Finding structure in time" (1990), with tanh.
    """
    del checkpoint  # which is the backward's
    y, (h,) = over_time(
        lambda carry, x: (jnp.tanh(affine(x, w_x, b) + product(carry[0], w_h)),), (h,), x, lengths, reverse=reverse
    )
    return y, h


def rnn_fwd(x, h, w_x, w_h, b, lengths=None, *, reverse=False, checkpoint=None):
    """Remember x and h_t, which is y with time first: one number for each that y has."""
    weights = Weights(w_x, w_h, b)
    (y, (h,)), residuals = forward(CELL, x, (h,), weights, lengths, reverse=reverse, checkpoint=checkpoint)
    return (y, h), residuals


def _step(carry, z_x, z_h):
    del carry
    return (jnp.tanh(z_x + z_h),), ()


def _slopes(before, after, gates):
    """With z = z_x + z_h and h = tanh(z): dh/dz = 1 - h^2."""
    del before, gates
    (h,) = after
    return 1 - h * h


def _back(d_after, slopes):
    """The cotangent dz = dh (1 - h^2), and all of dh_(t-1) passes through z_h."""
    (dh,) = d_after
    return (None,), dh * slopes


CELL = Cell(_step, _slopes, _back, within=lambda dz, slopes: dz)


def rnn_bwd(residuals, d_out, *, reverse=False, checkpoint=None):
    """Through time, dz_t = (dy_t + dz_(t+1) w_h^T) (1 - h_t^2); all else of all steps at once.

    dx_t = dz_t w_x^T, dw_x = sum_t x_t^T dz_t, dw_h = sum_t h_(t-1)^T dz_t, db = sum_t dz_t.
    """
    dy, dh = d_out
    dx, (dh,), d = backward(CELL, residuals, (dy, (dh,)), reverse=reverse, checkpoint=checkpoint)
    return dx, dh, d.w_x, d.w_h, d.b, None


rnn.defvjp(rnn_fwd, rnn_bwd, install=True)
