"""The gated recurrent unit.

Dimensions: `batch`, `time`, `in` and `hidden` features; `gates` is 3 hidden, in the order r, z, n.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op
from jaxnn.ops._recurrence import (
    Cell,
    Weights,
    affine,
    backward,
    check_recurrence,
    forward,
    over_time,
    sigmoid,
)
from jaxnn.typing import AnyArray, Array


def _check_gru(
    x: AnyArray,
    h: AnyArray,
    w_x: AnyArray,
    w_h: AnyArray,
    b: AnyArray,
    b_hn: AnyArray | None = None,
    lengths: AnyArray | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> None:
    del reverse
    check_recurrence(x, {"h": h}, w_x, w_h, b, lengths, gates=3, checkpoint=checkpoint)
    if b_hn is not None and b_hn.shape != w_h.shape[:1]:
        raise ShapeError(f"b_hn of shape ({w_h.shape[0]},)", why=f"w_h is {tuple(w_h.shape)}", got=tuple(b_hn.shape))
    if b_hn is not None and b_hn.dtype != x.dtype:
        raise TypeError(f"expected x and b_hn of one dtype, because they are added up; got {x.dtype} and {b_hn.dtype}: "
                        "cast one of them")  # fmt: skip


@op(_check_gru)
def gru(
    x: Float[Array, "batch time in"],
    h: Float[Array, "batch hidden"],
    w_x: Float[Array, "in gates"],
    w_h: Float[Array, "hidden gates"],
    b: Float[Array, " gates"],
    b_hn: Float[Array, " hidden"] | None = None,
    lengths: Integer[Array, " batch"] | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Float[Array, "batch time hidden"], Float[Array, "batch hidden"]]:
    """Gated recurrent unit, y_t = h_t = (1 - z) n + z h_(t-1), with s the sigmoid and

    r = s(x_t w_xr + h_(t-1) w_hr + b_r), z likewise, and n = tanh(x_t w_xn + b_n + r (h_(t-1) w_hn + b_hn)).

    The gates stand in the order r, z, n in w_x, w_h and b, as in PyTorch; Keras has z, r, n. As in all of these and in
    flax, r multiplies after the product with w_hn; in the paper it multiplies h before that.
    Weights from elsewhere: of PyTorch w_x = `weight_ih_l0.T`, w_h = `weight_hh_l0.T`, b_hn = the last third of
    `bias_hh_l0` and b = `bias_ih_l0` plus the rest of that; of flax the kernels `ir, iz, in` side by side,
    `hr, hz, hn` side by side, the biases of `ir, iz, in`, and b_hn that of `hn`.

    Args:
        x: Input, `(batch, time, in)`.
        h: The h before the first step, `(batch, hidden)`.
        w_x: Weights of the input, `(in, 3 hidden)`.
        w_h: Weights of h, `(hidden, 3 hidden)`.
        b: Bias, `(3 hidden,)`.
        b_hn: A bias that r multiplies, `(hidden,)`, or `None`.
        lengths: Steps of each sequence, `(batch,)`; `None` if all have `time` of them. Beyond, h is held and y is 0.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only the h before each chunk is remembered, and the rest is computed again.

    Returns:
        y, `(batch, time, hidden)`, and the last h, of each sequence after its own last step, in float32 at least.

    Raises:
        ShapeError: The arrays do not fit each other.
        ValueError: A concrete length is not from 0 to time, or the checkpoint is not positive.
        TypeError: x is not floating, a weight is of another dtype, or the lengths are not integers.

    >>> x, w_x, w_h = jnp.ones((1, 3, 2)), jnp.zeros((2, 3)), jnp.zeros((1, 3))
    >>> y, h = gru(x, jnp.ones((1, 1)), w_x, w_h, jnp.zeros(3))
    >>> y[0, :, 0]  # z = s(0) = 1/2 and n = 0
    Array([0.5  , 0.25 , 0.125], dtype=float32)

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014).
    """
    del checkpoint  # which is the backward's
    b_h = _b_h(b, b_hn)

    def cell(carry, x):
        (h,) = carry
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (jnp.split(z, 3, axis=-1) for z in (affine(x, w_x, b), affine(h, w_h, b_h)))
        z = jax.nn.sigmoid(z_x + z_h)
        n = jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * h,)

    y, (h,) = over_time(cell, (h,), x, lengths, reverse=reverse)
    return y, h


def gru_fwd(x, h, w_x, w_h, b, b_hn=None, lengths=None, *, reverse=False, checkpoint=None):
    """Remember x, h_t, r, z, n and m = h_(t-1) w_hn + b_hn: five numbers for each that y has."""
    weights = Weights(w_x, w_h, b, _b_h(b, b_hn))
    (y, (h,)), residuals = forward(CELL, x, (h,), weights, lengths, reverse=reverse, checkpoint=checkpoint)
    return (y, h), residuals


def _step(carry, z_x, z_h):
    (h,) = carry
    (r, z, n), (r_h, z_h, m) = (jnp.split(a, 3, axis=-1) for a in (z_x, z_h))
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    n = jnp.tanh(n + r * m)
    return ((1 - z) * n + z * h,), (r, z, n, m)


def _slopes(before, after, gates):
    """With n = tanh(z_n): dh_t/dz_n = (1 - z) (1 - n^2), dh_t/dz_r = that times m r (1 - r),

    dh_t/dz_z = (h_(t-1) - n) z (1 - z), and apart from z_h dh_t/dh_(t-1) = z.
    """
    del after
    (h_before,), (r, z, n, m) = before, gates
    by_n = (1 - z) * (1 - n * n)
    return jnp.concatenate([by_n * m * r * (1 - r), (h_before - n) * z * (1 - z), by_n], axis=-1), z, r


def _back(d_after, slopes):
    (dh,), (by_z_x, z, _) = d_after, slopes
    return (dh * z,), jnp.concatenate([dh, dh, dh], axis=-1) * by_z_x


def _within(dz_x, slopes):
    """The sums z_r and z_z have z_x and z_h alike, and z_n = x w_xn + b_n + r m, so dm = dz_n r."""
    _, _, r = slopes
    dr, dz, dn = jnp.split(dz_x, 3, axis=-1)
    return jnp.concatenate([dr, dz, dn * r], axis=-1)


CELL = Cell(_step, _slopes, _back, _within)


def gru_bwd(residuals, d_out, *, reverse=False, checkpoint=None):
    """Through time dh_t = dy_t + z dh_(t+1) + dz_h w_h^T, with dz_x as in `_slopes` and dz_h as in `_within`.

    All else is of all steps at once: dx_t = dz_x w_x^T, dw_x = sum_t x_t^T dz_x, dw_h = sum_t h_(t-1)^T dz_h,
    db = sum_t dz_x, and db_hn = sum_t dm.
    """
    dy, dh = d_out
    dx, (dh,), d = backward(CELL, residuals, (dy, (dh,)), reverse=reverse, checkpoint=checkpoint)
    _, _, db_hn = jnp.split(d.b_h, 3)
    return dx, dh, d.w_x, d.w_h, d.b, None if residuals.weights.b_h is None else db_hn, None


gru.defvjp(gru_fwd, gru_bwd, install=True)


def _b_h(b, b_hn):
    """The bias of h w_h, of which the gates r and z need none beside b."""
    return None if b_hn is None else jnp.concatenate([jnp.zeros_like(b[: 2 * b_hn.shape[0]]), b_hn])
