"""Cross-entropy of a linear layer, in chunks of the classes, so that the logits of all of them never are in memory.

Dimensions: `n` examples (tokens), all leading axes made into one; `features`; `vocabulary` classes, of which a chunk
has `c`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Integer

from jaxnn.losses._integer_labels import check_integer_labels, softmax_cross_entropy_with_integer_labels
from jaxnn.losses._log_probabilities import missing
from jaxnn.ops import linear
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype

LOGITS = 2**21
"""How many logits, or weights of them if these are more, there are at a time: 8 MiB in float32."""


def _check_linear_cross_entropy(
    x: AnyArray, w: AnyArray, b: AnyArray | None, labels: AnyArray, *, chunk: int | None = None
) -> None:
    linear.check(x, w, b)
    check_integer_labels(jax.ShapeDtypeStruct((*x.shape[:-1], w.shape[1]), x.dtype), labels)
    if chunk is not None and chunk < 1:
        raise ValueError(f"expected a chunk of at least 1, because it counts classes; got {chunk}")


@op(_check_linear_cross_entropy)
def linear_cross_entropy(
    x: Float[Array, "*batch features"],
    w: Float[Array, "features vocabulary"],
    b: Float[Array, " vocabulary"] | None,
    labels: Integer[Array, "*batch"],
    *,
    chunk: int | None = None,
) -> Float[Array, "*batch"]:
    """Negative log-probability of the label, l = log sum_j exp(z_j) - z_label, of the logits z = x w + b.

    Of a vocabulary of 50,000 the logits are the largest arrays of a language model by far. Here they are computed chunk
    by chunk in the forward and once more in the backward: four products instead of three, and never all logits; but in
    forward mode (`jax.jvp`), which differentiates the formula as it stands. In a model, `DeferredDense` as the last
    layer leaves its product to `cross_entropy`, which then is this.

    Args:
        x: Input of the layer, `(..., features)`.
        w: Weights, `(features, vocabulary)`.
        b: Bias, `(vocabulary,)`, or `None`.
        labels: Integers from 0 to vocabulary - 1, `(...)`.
        chunk: How many classes at a time, at most; `None` for as many as have two million logits or weights.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives NaN. In
        bfloat16 logits are float32, as sums are.

    Raises:
        ShapeError: x and w, b or the labels do not fit together.
        ValueError: A concrete label is out of range, or the chunk is below 1.

    >>> x, w = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]])
    >>> linear_cross_entropy(x, w, None, jnp.array([1]), chunk=2).round(4)
    Array([0.5514], dtype=float32)
    >>> softmax_cross_entropy_with_integer_labels(x @ w, jnp.array([1])).round(4)
    Array([0.5514], dtype=float32)

    Source: Wijmans et al., "Cut your losses in large-vocabulary language models" (2024); the sum in chunks: Milakov and
    Gimelshein, "Online normalizer calculation for softmax" (2018).
    """
    del chunk
    return softmax_cross_entropy_with_integer_labels(linear(x, w, b), labels)


def linear_cross_entropy_fwd(x, w, b, labels, *, chunk=None):
    """Remember x, w, b, the labels, and of each example the log of the sum, log sum_j exp(z_j): no logits."""
    rows, y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), labels.reshape(-1).astype(jnp.int32)
    starts, c = _chunks(rows, w, chunk)
    dtype = accumulator_dtype(x.dtype)

    def add(carry, start):
        top, total, z_label = carry
        z = jnp.where(_fresh(start, c)[None], _logits(rows, w, b, start, c), -jnp.inf)
        at = y - start[1]
        here = jnp.take_along_axis(z, jnp.clip(at, 0, c - 1)[:, None], axis=1)[:, 0]
        z_label = jnp.where((y >= start[0]) & (at < c), here, z_label)
        # What is summed so far is relative to the largest z so far; where there is none but minus infinity, to 0.
        higher = jnp.maximum(top, z.max(-1))
        shift = jnp.where(higher == -jnp.inf, 0, higher)
        total = total * jnp.exp(top - shift) + jnp.exp(z - shift[:, None]).sum(-1)
        return (higher, total, z_label), None

    lowest = jnp.full(y.shape, -jnp.inf, dtype)
    (top, total, z_label), _ = lax.scan(add, (lowest, jnp.zeros_like(lowest), lowest), starts)
    log_sum = top + jnp.log(total)
    known = missing(y, w[0])
    l = jnp.where(known == 0, log_sum - z_label, jnp.nan)
    return l.astype(x.dtype).reshape(labels.shape), (x, w, b, labels, log_sum)


def linear_cross_entropy_bwd(residuals, dl, *, chunk=None):
    """With p_j = exp(z_j - log_sum): dz_j = dl (p_j - [j = label]), and then as in `linear`, chunk by chunk:

    dx = sum_j dz_j w_j, dw_j = sum_n x_n dz_nj, db_j = sum_n dz_nj.
    """
    x, w, b, labels, log_sum = residuals
    rows, y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), labels.reshape(-1).astype(jnp.int32)
    starts, c = _chunks(rows, w, chunk)
    dl = dl.reshape(-1).astype(log_sum.dtype)

    def add(carry, start):
        dx, dw, db = carry
        p = jnp.exp(_logits(rows, w, b, start, c) - log_sum[:, None])
        onehot = (y - start[1])[:, None] == lax.broadcasted_iota(jnp.int32, p.shape, 1)
        dz = jnp.where(onehot, p - 1, p) * dl[:, None]
        db_part, dz = dz.sum(0), dz.astype(x.dtype)
        # Classes that the chunk before had get the same dw and db again, but to dx they are added once.
        fresh = jnp.where(_fresh(start, c)[None], _part(w, start, c), 0)
        dx = dx + jnp.matmul(dz, fresh.T, preferred_element_type=dx.dtype)
        dw = lax.dynamic_update_slice_in_dim(dw, (rows.T @ dz).astype(dw.dtype), start[1], 1)
        if b is not None:
            db = lax.dynamic_update_slice_in_dim(db, db_part.astype(db.dtype), start[1], 0)
        return (dx, dw, db), None

    zeros = jnp.zeros(rows.shape, log_sum.dtype), jnp.zeros_like(w), None if b is None else jnp.zeros_like(b)
    (dx, dw, db), _ = lax.scan(add, zeros, starts)
    return dx.astype(x.dtype).reshape(x.shape), dw, db, None


# For its memory: with 2048 tokens and 50,257 classes 16 MiB beside arguments and results, where JAX's own backward
# takes 785, in about the same time (benchmarks/cross_entropy.py).
linear_cross_entropy.defvjp(linear_cross_entropy_fwd, linear_cross_entropy_bwd, install=True)


def _chunks(rows, w, chunk):
    """Of every chunk its first new class, and the class it begins with, `(chunks, 2)`; and how many it has.

    All have equally many, or the scan could not have them. So that w need not be filled up, the last begins earlier,
    with some that the one before it had.
    """
    vocabulary = w.shape[1]
    sizes = [size for size in rows.shape if isinstance(size, int)]  # a number of examples may be a symbol
    widest = max(1, LOGITS // max(1, *sizes)) if chunk is None else chunk
    chunks = -(-vocabulary // widest)
    c = -(-vocabulary // max(1, chunks))
    first = jnp.arange(chunks, dtype=jnp.int32) * c
    return jnp.stack([first, jnp.minimum(first, vocabulary - c)], 1), c


def _fresh(start, c):
    """Which classes of a chunk no chunk before it had."""
    first_new, first = start
    return first + jnp.arange(c, dtype=jnp.int32) >= first_new


def _part(w, start, c):
    return lax.dynamic_slice_in_dim(w, start[1], c, w.ndim - 1)


def _logits(rows, w, b, start, c):
    """The logits z of a chunk, `(n, c)`, in the dtype of sums."""
    z = jnp.matmul(rows, _part(w, start, c), preferred_element_type=accumulator_dtype(rows.dtype))
    return z if b is None else z + _part(b, start, c)[None].astype(z.dtype)
