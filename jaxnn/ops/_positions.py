"""Positions in a sequence, as numbers that attention can use: turned into its features, or a table to add to them.

Dimensions: `batch`, `time`, `heads`; `features` of each head, or of the model.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_rotary(x: AnyArray, positions: AnyArray, *, base: Scalar = 10000.0) -> None:
    del base
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because its features are turned; got {x.dtype}: cast it first")
    if x.ndim != 4 or x.shape[-1] % 2:
        raise ShapeError("x of shape (batch, time, heads, features), with an even number of features",
                         why="each pair of features is turned by an angle", got=tuple(x.shape))  # fmt: skip
    _check_positions(positions)
    if positions.shape not in (x.shape[1:2], x.shape[:2]):
        raise ShapeError(f"positions of shape {x.shape[1:2]} or {x.shape[:2]}", why=f"x is {tuple(x.shape)}",
                         got=tuple(positions.shape))  # fmt: skip


def _check_positions(positions: AnyArray) -> None:
    if not jnp.issubdtype(positions.dtype, jnp.integer):
        raise TypeError(f"expected integer positions, because they count steps; got {positions.dtype}")


@op(_check_rotary)
def rotary(
    x: Float[Array, "batch time heads features"], positions: Integer[Array, "..."], *, base: Scalar = 10000.0
) -> Float[Array, "batch time heads features"]:
    """Rotary position embedding: turn pair i of the features at position t by the angle t base^(-2 i / features).

    With c and s the cosine and the sine of the angle, (a, b) becomes (a c - b s, a s + b c). So the product of a query
    and a key that are both turned depends on how far apart they are, and on their positions in no other way.

    Args:
        x: Queries or keys.
        positions: Integers, `(time,)`, or `(batch, time)` where sequences differ.
        base: Of the angles: the last pair turns once in nearly 2 pi base steps. May be a tracer.

    Returns:
        The shape of x. A pair is feature i of the first half and feature i of the second, as in GPT-NeoX and LLaMA as
        Hugging Face has it; in the paper, and LLaMA as Meta has it, it is features 2 i and 2 i + 1. The angles are
        computed in float32 at least.

    Raises:
        ShapeError: The features are odd, or the positions do not fit x.

    >>> x = jnp.tile(jnp.array([1.0, 0.0]), (1, 3, 1, 1))
    >>> (100 * rotary(x, jnp.arange(3))[0, :, 0]).round()
    Array([[100.,   0.],
           [ 54.,  84.],
           [-42.,  91.]], dtype=float32)

    Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
    """
    return _turned(x, positions, base)


def rotary_fwd(x, positions, *, base=10000.0):
    """Remember the positions."""
    return rotary.plain(x, positions, base=base), positions


def rotary_bwd(positions, dy, *, base=10000.0):
    """Turning is orthogonal: its transpose turns back, by minus the angle."""
    return _turned(dy, -positions, base), None


rotary.defvjp(rotary_fwd, rotary_bwd)


def sinusoidal(
    positions: Integer[Array, "..."], features: int, *, base: Scalar = 10000.0, dtype: Any = jnp.float32
) -> Float[Array, "... features"]:
    """Sines and cosines of positions: p_2i = sin(t base^(-2 i / features)), and p_2i+1 the cosine of the same.

    Sines and cosines alternate, as in the paper; in its authors' tensor2tensor the sines come first.

    Args:
        positions: t, integers of any shape.
        features: The length of each vector, an even number.
        base: Of the angles. May be a tracer.
        dtype: Of the result.

    Raises:
        ValueError: The number of features is odd.

    >>> (100 * sinusoidal(jnp.arange(3), 4)).round()
    Array([[  0., 100.,   0., 100.],
           [ 84.,  54.,   1., 100.],
           [ 91., -42.,   2., 100.]], dtype=float32)

    Source: Vaswani et al., "Attention is all you need" (2017), section 3.5.
    """
    if features < 2 or features % 2:
        raise ValueError(f"expected an even number of features, because each sine has a cosine; got {features}")
    _check_positions(positions)
    angles = _angles(positions, features, base, accumulator_dtype(dtype))
    waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
    return waves.reshape(*positions.shape, features).astype(dtype)


def _turned(x, positions, base):
    angles = _angles(positions, x.shape[-1], base, accumulator_dtype(x.dtype))[..., None, :]
    c, s = (jnp.broadcast_to(f(angles), (*x.shape[:-1], x.shape[-1] // 2)) for f in (jnp.cos, jnp.sin))
    a, b = jnp.split(x.astype(c.dtype), 2, -1)
    return jnp.concatenate([a * c - b * s, a * s + b * c], -1).astype(x.dtype)


def _angles(positions, features, base, dtype):
    """t base^(-2 i / features), `(..., features / 2)`."""
    i = jnp.arange(features // 2, dtype=dtype)
    frequencies = jnp.asarray(base, dtype) ** (-2 * i / features)
    return positions[..., None].astype(dtype) * jnp.broadcast_to(frequencies, (*positions.shape, features // 2))
