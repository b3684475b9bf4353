"""Activations that are one half of x times a gate of the other: glu, swiglu.

The halves know nothing of each other, so infinity times 0 has no limit and is NaN, as in JAX.

Dimensions: `...` any shape, of which one axis is halved.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._gates import silu, silu_bwd
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


def _check_halves(x: AnyArray, *, axis: int = -1) -> None:
    if x.ndim == 0 or x.shape[axis] % 2:
        raise ShapeError(
            f"x with an even number along axis {axis}",
            why="one half of it gates the other",
            got=tuple(x.shape),
            hint="the layer before has twice the features: serial(Dense(2 * features), glu)",
        )


@op(_check_halves)
def glu(x: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Gated linear unit, y = a s(b) with s the sigmoid, a the first and b the second half of x.

    Args:
        x: Any shape whose length along the axis is even.
        axis: The axis that is halved.

    Returns:
        The shape of x with half the length along the axis.

    Raises:
        ShapeError: The length is odd.

    >>> glu(jnp.array([1.0, 2.0, 0.0, 1000.0]))
    Array([0.5, 2. ], dtype=float32)

    Source: Dauphin et al., "Language modeling with gated convolutional networks" (2017).
    """
    a, b = jnp.split(x, 2, axis)
    return a * lax.logistic(b)


def glu_fwd(x, *, axis=-1):
    """Remember x."""
    return glu.plain(x, axis=axis), x


def glu_bwd(x, dy, *, axis=-1):
    """da = dy s(b) and db = dy a s(b) (1 - s(b))."""
    a, b = jnp.split(x, 2, axis)
    s = lax.logistic(b)
    return (jnp.concatenate([dy * s, dy * a * s * (1 - s)], axis),)


glu.defvjp(glu_fwd, glu_bwd)


@op(_check_halves)
def swiglu(x: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Gated linear unit whose gate is a silu, y = silu(a) b with a the first and b the second half of x.

    The first half is the gate, as in the paper; in `glu` it is the second.

    Args:
        x: Any shape whose length along the axis is even.
        axis: The axis that is halved.

    Returns:
        The shape of x with half the length along the axis.

    Raises:
        ShapeError: The length is odd.

    >>> swiglu(jnp.array([1.0, 0.0, 2.0, 3.0]))
    Array([1.4621172, 0.       ], dtype=float32)

    Source: Shazeer, "GLU variants improve Transformer" (2020).
    """
    a, b = jnp.split(x, 2, axis)
    return silu.plain(a) * b


def swiglu_fwd(x, *, axis=-1):
    """Remember x."""
    return swiglu.plain(x, axis=axis), x


def swiglu_bwd(x, dy, *, axis=-1):
    """da = dy b silu'(a) and db = dy silu(a)."""
    a, b = jnp.split(x, 2, axis)
    return (jnp.concatenate([*silu_bwd(a, dy * b), dy * silu.plain(a)], axis),)


swiglu.defvjp(swiglu_fwd, swiglu_bwd, install=True)
