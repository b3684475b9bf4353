"""Logits divided by a temperature, which says how sure they are and changes no order.

Dimensions: `batch`; `...` any further axes.
"""

from jaxtyping import Float

from jaxnn.errors import ShapeError, values
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_tempered(x: AnyArray, temperature: AnyArray) -> None:
    accumulator_dtype(x.dtype)  # which refuses integers, to which a temperature would be cut
    if temperature.ndim:
        raise ShapeError("a temperature of shape ()", why="all logits have one", got=tuple(temperature.shape))
    seen = values(temperature)
    if seen is not None and seen <= 0:
        raise ValueError(f"expected a temperature above 0, because logits are divided by it; got {seen}")


@op(_check_tempered)
def tempered(x: Float[Array, "..."], temperature: Float[Array, ""]) -> Float[Array, "..."]:
    """Logits at a temperature, y = x / T: above 1 their softmax is less sure than theirs, below 1 surer.

    Args:
        x: Logits, any shape.
        temperature: T, above 0, `()`.

    Returns:
        The shape of x.

    Raises:
        ShapeError: The temperature is not one number.
        ValueError: A concrete temperature is not above 0.
        TypeError: x is integer.

    >>> import jax.numpy as jnp
    >>> tempered(jnp.array([[4.0, -2.0]]), jnp.array(2.0))
    Array([[ 2., -1.]], dtype=float32)

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015); Guo et al., "On
    calibration of modern neural networks" (2017).
    """
    return x / temperature.astype(x.dtype)


def tempered_fwd(x, temperature):
    """Remember y and T, of which both derivatives are functions."""
    y = tempered.plain(x, temperature)
    return y, (y, temperature)


def tempered_bwd(residuals, dy):
    """dx = dy / T, and dT = -sum dy x / T^2 = -sum dy y / T, summed in float32 at least."""
    y, temperature = residuals
    wide = accumulator_dtype(y.dtype)
    d_temperature = -(dy * y).sum(dtype=wide) / temperature.astype(wide)
    return dy / temperature.astype(y.dtype), d_temperature.astype(temperature.dtype)


tempered.defvjp(tempered_fwd, tempered_bwd)
