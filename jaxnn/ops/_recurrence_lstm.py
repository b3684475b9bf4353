"""The long short-term memory.

Dimensions: `batch`, `time`, `in` and `hidden` features; `gates` is 4 hidden, in the order i, f, g, o.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.ops._op import op
from jaxnn.ops._recurrence import (
    Cell,
    Weights,
    affine,
    backward,
    check_recurrence,
    forward,
    over_time,
    product,
    sigmoid,
)
from jaxnn.typing import AnyArray, Array


def _check_lstm(
    x: AnyArray,
    h: AnyArray,
    c: AnyArray,
    w_x: AnyArray,
    w_h: AnyArray,
    b: AnyArray,
    lengths: AnyArray | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> None:
    del reverse
    check_recurrence(x, {"h": h, "c": c}, w_x, w_h, b, lengths, gates=4, checkpoint=checkpoint)


@op(_check_lstm)
def lstm(
    x: Float[Array, "batch time in"],
    h: Float[Array, "batch hidden"],
    c: Float[Array, "batch hidden"],
    w_x: Float[Array, "in gates"],
    w_h: Float[Array, "hidden gates"],
    b: Float[Array, " gates"],
    lengths: Integer[Array, " batch"] | None = None,
    *,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Float[Array, "batch time hidden"], tuple[Float[Array, "batch hidden"], Float[Array, "batch hidden"]]]:
    """Long short-term memory, c_t = f c_(t-1) + i g and y_t = h_t = o tanh(c_t), with s the sigmoid and

    i, f, o = s(z_i), s(z_f), s(z_o) and g = tanh(z_g), of z = x_t w_x + h_(t-1) w_h + b in the order i, f, g, o.

    The order is PyTorch's, flax's and Keras's. Weights from elsewhere: of PyTorch w_x = `weight_ih_l0.T`,
    w_h = `weight_hh_l0.T` and b = `bias_ih_l0 + bias_hh_l0`; of Keras `kernel`, `recurrent_kernel` and `bias`; of flax
    the kernels `ii, if, ig, io` side by side, `hi, hf, hg, ho` side by side, and the biases of the latter.

    Args:
        x: Input, `(batch, time, in)`.
        h: The h before the first step, `(batch, hidden)`.
        c: The c before the first step, `(batch, hidden)`.
        w_x: Weights of the input, `(in, 4 hidden)`.
        w_h: Weights of h, `(hidden, 4 hidden)`.
        b: Bias, `(4 hidden,)`.
        lengths: Steps of each sequence, `(batch,)`; `None` if all have `time` of them. Beyond, h and c are held and y
            is 0.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only h and c before each chunk are remembered, and the rest is computed
            again.

    Returns:
        y, `(batch, time, hidden)`, and the last h and c, of each sequence after its own last step, in float32 at least.

    Raises:
        ShapeError: The arrays do not fit each other.
        ValueError: A concrete length is not from 0 to time, or the checkpoint is not positive.
        TypeError: x is not floating, a weight is of another dtype, or the lengths are not integers.

    >>> x, zeros = jax.random.normal(jax.random.key(0), (2, 5, 3)), jnp.zeros((2, 4))
    >>> w_x, w_h = 0.1 * jnp.ones((3, 16)), 0.1 * jnp.ones((4, 16))
    >>> y, (h, c) = lstm(x, zeros, zeros, w_x, w_h, jnp.zeros(16), jnp.array([5, 2]))
    >>> y.shape, bool((h[0] == y[0, 4]).all()), bool((h[1] == y[1, 1]).all()), float(abs(y[1, 2:]).max())
    ((2, 5, 4), True, True, 0.0)

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997); the gate f, Gers, Schmidhuber and Cummins,
    "Learning to forget" (2000).
    """
    del checkpoint  # which is the backward's

    def cell(carry, x):
        h, c = carry
        i, f, g, o = jnp.split(affine(x, w_x, b) + product(h, w_h), 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    y, (h, c) = over_time(cell, (h, c), x, lengths, reverse=reverse)
    return y, (h, c)


def lstm_fwd(x, h, c, w_x, w_h, b, lengths=None, *, reverse=False, checkpoint=None):
    """Remember x, h_t, c_t and the four gates: six numbers for each that y has."""
    return forward(CELL, x, (h, c), Weights(w_x, w_h, b), lengths, reverse=reverse, checkpoint=checkpoint)


def _step(carry, z_x, z_h):
    _, c = carry
    i, f, g, o = jnp.split(z_x + z_h, 4, axis=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o)
    c = f * c + i * g
    return (o * jnp.tanh(c), c), (i, f, g, o)


def _slopes(before, after, gates):
    """By c: dc_t/dz = (g i (1 - i), c_(t-1) f (1 - f), i (1 - g^2)) and dc_t/dc_(t-1) = f.

    By h, with t = tanh(c_t): dh_t/dz_o = t o (1 - o) and dh_t/dc_t = o (1 - t^2).
    """
    (_, c_before), (_, c), (i, f, g, o) = before, after, gates
    t = jnp.tanh(c)
    by_z = jnp.concatenate([g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g), t * o * (1 - o)], axis=-1)
    return by_z, o * (1 - t * t), f


def _back(d_after, slopes):
    """What c_t does, it does to c_(t+1) and to h_t: dc += dh o (1 - t^2). Then dz and dc_(t-1) by its slopes."""
    (dh, dc), (by_z, by_c, f) = d_after, slopes
    dc = dc + dh * by_c
    return (None, dc * f), jnp.concatenate([dc, dc, dc, dh], axis=-1) * by_z


CELL = Cell(_step, _slopes, _back, within=lambda dz, slopes: dz)


def lstm_bwd(residuals, d_out, *, reverse=False, checkpoint=None):
    """Through time dh_t = dy_t + dz_(t+1) w_h^T, dc_t and dz_t as in `_back`; all else of all steps at once.

    dx_t = dz_t w_x^T, dw_x = sum_t x_t^T dz_t, dw_h = sum_t h_(t-1)^T dz_t, db = sum_t dz_t.
    """
    dy, d_end = d_out
    d_end = (None, None) if d_end is None else d_end
    dx, (dh, dc), d = backward(CELL, residuals, (dy, d_end), reverse=reverse, checkpoint=checkpoint)
    return dx, dh, dc, d.w_x, d.w_h, d.b, None


lstm.defvjp(lstm_fwd, lstm_bwd, install=True)
