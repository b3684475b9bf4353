"""cuDNN's kernel of attention, where a program is lowered for a GPU of NVIDIA and the kernel takes what is given.

It keeps the scores on the chip. Which of the two is meant is decided when a program is lowered, as for convolution; but
JAX asks for cuDNN as soon as it traces the kernel, so that this is offered only where JAX has found a GPU.

Source: `jax.nn.dot_product_attention`, whose limits are the ones below.
"""

import jax
import jax.numpy as jnp

from jaxnn.errors import is_array
from jaxnn.ops._op import Op
from jaxnn.typing import AnyArray, Array, Scalar

WIDEST = 128
"""Features of a head that every generation of GPUs takes."""


@Op
def kernel(q: Array, k: Array, v: Array, *, causal: bool, scale: Scalar | None) -> Array:
    """Attention without a mask, with the shapes of `attention`; the backward is cuDNN's too, by way of JAX."""
    number = None if scale is None else float(scale)
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal, scale=number, implementation="cudnn")


def takes(q: AnyArray, k: AnyArray, v: AnyArray, mask: AnyArray | None, *, causal: bool, scale: Scalar | None) -> bool:
    """Whether the kernel computes this: half precision, no mask, heads of few features, a scale that is a number.

    Its causal queries are counted from the start of the memory and ours from the end, so that both must be as long.
    """
    time, features = q.shape[1], q.shape[-1]
    return (
        jax.default_backend() == "gpu"
        and q.dtype in (jnp.bfloat16, jnp.float16)
        and mask is None
        and features == v.shape[-1]
        and features % 8 == 0
        and features <= WIDEST
        and 0 not in (*q.shape, *k.shape)
        and (not causal or time == k.shape[1])
        and not is_array(scale)
    )


def forward(q: Array, k: Array, v: Array, *, causal: bool, scale: Scalar | None) -> tuple[Array, Array]:
    """Return y, and zeros for the logarithms of sums, which the kernel's backward does not need.

    (JAX gives them in half precision: with a sum that is wrong by 0.4 %, every weight would be.)
    """
    batch, time, heads, _ = q.shape
    kv_heads = k.shape[2]
    log_sum = jnp.zeros((batch, kv_heads, heads // kv_heads, time, 1), jnp.float32)
    return kernel.plain(q, k, v, causal=causal, scale=scale), log_sum


def backward(
    q: Array, k: Array, v: Array, y: Array, log_sum: Array, dy: Array, *, causal: bool, scale: Scalar | None
) -> tuple[Array, ...]:
    """Return dq, dk, dv: what the kernel's backward needs is not to be had of JAX but by its forward, once more."""
    del y, log_sum
    _, kept = kernel.fwd(q, k, v, causal=causal, scale=scale)
    return kernel.bwd(kept, dy)
