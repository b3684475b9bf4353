"""Attention: every query looks at a memory, and takes the mean of its values, weighted by how well their keys fit.

Dimensions: `batch`; `time` queries; `memory` keys and values; `heads` of queries and `kv_heads` of the memory, which
are as many or, in grouped-query attention, a divisor of them; `features` of a query and a key, `values` of a value.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float

from jaxnn.errors import ShapeError
from jaxnn.ops import _attention_cudnn as cudnn
from jaxnn.ops._attention_blocks import Grid, backward, forward
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_attention(
    q: AnyArray,
    k: AnyArray,
    v: AnyArray,
    mask: AnyArray | None = None,
    *,
    causal: bool = False,
    scale: Scalar | None = None,
    block: int = 256,
) -> None:
    del causal, scale
    for name, a, axes in (("q", q, "time, heads"), ("k", k, "memory, kv_heads"), ("v", v, "memory, kv_heads")):
        if a.ndim != 4:
            raise ShapeError(f"{name} of shape (batch, {axes}, features)", why="each head attends for itself",
                             got=tuple(a.shape))  # fmt: skip
        if not jnp.issubdtype(a.dtype, jnp.floating) or a.dtype != q.dtype:
            raise TypeError(f"expected q, k and v of one floating dtype, because they are multiplied; got {q.dtype}, "
                            f"{k.dtype}, {v.dtype}")  # fmt: skip
    (batch, time, heads, features), (_, memory, kv_heads, _) = q.shape, k.shape
    if k.shape[::3] != (batch, features):
        raise ShapeError(f"k of shape ({batch}, memory, kv_heads, {features})", why=f"q is {tuple(q.shape)}",
                         got=tuple(k.shape))  # fmt: skip
    if v.shape[:3] != k.shape[:3]:
        raise ShapeError(f"v of shape ({batch}, {memory}, {kv_heads}, values)", why=f"k is {tuple(k.shape)}",
                         got=tuple(v.shape))  # fmt: skip
    if kv_heads == 0 or heads % kv_heads:
        raise ShapeError(f"q with a multiple of {kv_heads} heads", why="each head of k and v serves as many of q",
                         got=f"{heads} heads")  # fmt: skip
    if block < 1:
        raise ValueError(f"expected block of at least 1, because it counts queries and keys; got {block}")
    if mask is not None:
        _check_mask(mask, (batch, heads, time, memory))


def _check_mask(mask: AnyArray, full: tuple[int, int, int, int]) -> None:
    if mask.dtype != bool:
        raise TypeError(f"expected a mask of bool, because it says what is seen; got {mask.dtype}\n"
                        "  hint: scores to be added have no place here; mask != 0 makes bools of numbers")  # fmt: skip
    batch, _, time, memory = full
    accepted = {2: (batch, memory), 3: (batch, time, memory), 4: full}
    axes = accepted.get(mask.ndim, ())
    if len(axes) != mask.ndim or any(n not in (1, axis) for n, axis in zip(mask.shape, axes, strict=True)):
        raise ShapeError(
            "a mask of shape " + ", ".join(map(str, accepted.values())) + ", or with 1 for any of these",
            why="it says for each query, or for all, what is seen of the memory",
            got=tuple(mask.shape),
        )


@op(_check_attention)
def attention(
    q: Float[Array, "batch time heads features"],
    k: Float[Array, "batch memory kv_heads features"],
    v: Float[Array, "batch memory kv_heads values"],
    mask: Bool[Array, "..."] | None = None,
    *,
    causal: bool = False,
    scale: Scalar | None = None,
    block: int = 256,
) -> Float[Array, "batch time heads values"]:
    """Scaled dot-product attention, y = softmax(scale q k^T) v for each head, over what the mask lets a query see.

    The softmax is computed in float32 at least. A query that sees nothing has y = 0, and gradients of 0, as in
    `torch.nn.functional`; in `torch.nn.MultiheadAttention` it has NaN, and in JAX the mean of all values.

    Forward and backward keep no array of `time` by `memory`: with more than `block`^2 scores a head, they go
    through them by blocks of at most `block` queries and keys, and leave out those that causality excludes. Up to 1024
    causal queries go in strips of 64, each with all that it may see, if that is within `block`^2 scores. `plain` forms
    all of them. On a GPU of NVIDIA it is cuDNN's kernel for what that takes: half precision, no mask, heads of up to
    128 features in eights, and as many queries as keys if it is causal; all else is XLA's products. Weights are not
    dropped at random: drop what comes out instead.

    Args:
        q: Queries.
        k: Keys of the memory; with fewer heads than q, each serves as many successive ones of q.
        v: Values of the memory.
        mask: True for what is seen, `(batch, memory)`, `(batch, time, memory)` or `(batch, heads, time, memory)`, or
            with 1 for any of these, as in JAX, flax and `torch.nn.functional`; in `torch.nn.MultiheadAttention`
            True is what is not seen. Two axes are not PyTorch's (time, memory), which is `mask[None]`.
        causal: Whether query t sees no more than the memory up to its own place, which is counted from the end: query
            `time - 1` sees all, and query t up to t + memory - time, as when the last queries of a sequence are
            decoded. In JAX and PyTorch query t sees up to t; it is the same where `time` is `memory`.
        scale: Of the scores; `None` for 1 / sqrt(features). May be a tracer.
        block: The square root of how many scores of a head there are at a time. May change rounding.

    Returns:
        y, `(batch, time, heads, values)`.

    Raises:
        ShapeError: k, v or the mask does not fit q, or the heads of q are no multiple of those of k.
        TypeError: The dtypes differ, or the mask is not of bool.

    >>> q, k = jnp.zeros((1, 2, 1, 1)), jnp.zeros((1, 2, 1, 1))
    >>> v = jnp.array([2.0, 4.0]).reshape(1, 2, 1, 1)
    >>> attention(q, k, v).ravel(), attention(q, k, v, causal=True).ravel()
    (Array([3., 3.], dtype=float32), Array([2., 3.], dtype=float32))

    Source: Vaswani et al., "Attention is all you need" (2017); groups: Ainslie et al., "GQA" (2023).
    """
    del block
    q, k, v, mask = _by_head(q * _scale(q, scale), k, v, mask)
    s = jnp.einsum("bkgtd,bkmd->bkgtm", q, k, preferred_element_type=accumulator_dtype(q.dtype))
    seen = Grid.of(q, k, causal=causal).seen(mask)
    s = s if seen is None else jnp.where(seen, s, -jnp.inf)
    # The softmax, but of a row in which all is -inf, where it is 0.
    top = lax.stop_gradient(s.max(-1, keepdims=True, initial=jnp.finfo(s.dtype).min))
    e = jnp.exp(s - top)
    total = e.sum(-1, keepdims=True)
    p = e / jnp.where(total > 0, total, 1)
    y = jnp.einsum("bkgtm,bkmd->bkgtd", p.astype(v.dtype), v, preferred_element_type=s.dtype)
    return _by_time(y).astype(v.dtype)


class Remembered(NamedTuple):
    """What attention remembers; the layer finds y there, which is what its last product remembers too."""

    q: Array
    k: Array
    v: Array
    mask: Array | None
    y: Array
    log_sum: Array


def attention_fwd(q, k, v, mask=None, *, causal=False, scale=None, block=256):
    """Remember q, k, v, the mask, y, and of each query L = log sum_m exp(s_m), with which p = exp(s - L).

    So it is a few rows for each query and each key, where p would be a number for each pair of them.
    """

    def by_blocks(q, k, v):
        y, log_sum = forward(*_by_head(q * _scale(q, scale), k, v, mask), causal=causal, block=block)
        return _by_time(y).astype(v.dtype), log_sum

    if cudnn.takes(q, k, v, mask, causal=causal, scale=scale):
        by_kernel = partial(cudnn.forward, causal=causal, scale=scale)
        y, log_sum = lax.platform_dependent(q, k, v, cuda=by_kernel, default=by_blocks)
    else:
        y, log_sum = by_blocks(q, k, v)
    return y, Remembered(q, k, v, mask, y, log_sum)


def attention_bwd(residuals, dy, *, causal=False, scale=None, block=256):
    """With s = scale q k^T, p = softmax(s) and y = p v, for each head:

    dv = p^T dy and dp = dy v^T. The softmax gives ds = p (dp - sum_m p dp), and that sum over the memory is
    sum_m p_m (dy . v_m) = dy . y. Then dq = scale ds k, and dk = ds^T (scale q).
    """
    q, k, v, mask, y, log_sum = residuals

    def by_blocks(q, k, v, y, log_sum, dy):
        factor, kv_heads = _scale(q, scale), k.shape[2]
        dy_y = (dy.astype(log_sum.dtype) * y.astype(log_sum.dtype)).sum(-1, keepdims=True)
        dq, dk, dv = backward(
            *_by_head(q * factor, k, v, mask),
            _grouped(dy, kv_heads),
            log_sum,
            _grouped(dy_y, kv_heads),
            causal=causal,
            block=block,
        )
        dq = _by_time(dq * factor.astype(dq.dtype))
        return dq.astype(q.dtype), dk.swapaxes(1, 2).astype(k.dtype), dv.swapaxes(1, 2).astype(v.dtype)

    given = q, k, v, y, log_sum, dy
    if cudnn.takes(q, k, v, mask, causal=causal, scale=scale):
        by_kernel = partial(cudnn.backward, causal=causal, scale=scale)
        return *lax.platform_dependent(*given, cuda=by_kernel, default=by_blocks), None
    return *by_blocks(*given), None


# On a CPU it takes half of the time of JAX's own at 128 steps, and a sixth at 2048.
attention.defvjp(attention_fwd, attention_bwd, install=True)


def _scale(q, scale):
    return jnp.asarray(q.shape[-1] ** -0.5 if scale is None else scale, q.dtype)


def _by_head(q, k, v, mask):
    """q as (batch, kv_heads, group, time, features), k, v as (batch, kv_heads, memory, ...), the mask like q k^T."""
    if mask is not None:
        of_heads = (1,) if mask.ndim < 4 else mask.shape[1:2]
        of_time = (1,) if mask.ndim == 2 else mask.shape[-2:-1]
        split = (1, 1) if of_heads == (1,) else (k.shape[2], of_heads[0] // k.shape[2])
        mask = mask.reshape(mask.shape[0], *split, *of_time, mask.shape[-1])
    return _grouped(q, k.shape[2]), k.swapaxes(1, 2), v.swapaxes(1, 2), mask


def _grouped(q, kv_heads):
    """(batch, time, heads, ...) as (batch, kv_heads, group, time, ...)."""
    batch, time, heads, features = q.shape
    return q.reshape(batch, time, kv_heads, heads // kv_heads, features).transpose(0, 2, 3, 1, 4)


def _by_time(y):
    """(batch, kv_heads, group, time, ...) as (batch, time, heads, ...)."""
    batch, kv_heads, group, time, values = y.shape
    return y.transpose(0, 3, 1, 2, 4).reshape(batch, time, kv_heads * group, values)
