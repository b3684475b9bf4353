"""A gate for each feature, the same at all positions of an example.

Dimensions: `batch`; `...` positions; `features` the last axis, also called channels.
"""

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_feature_gate(x: AnyArray, gate: AnyArray) -> None:
    if x.ndim < 2 or gate.shape != (x.shape[0], x.shape[-1]):
        raise ShapeError(
            "x of shape (batch, ..., features) and a gate of shape (batch, features)",
            why="each feature of an example has one gate",
            got=f"{tuple(x.shape)} and {tuple(gate.shape)}",
        )


@op(_check_feature_gate)
def feature_gate(
    x: Float[Array, "batch ... features"], gate: Float[Array, "batch features"]
) -> Float[Array, "batch ... features"]:
    """Scale each feature of each example at all its positions, y_nqf = x_nqf g_nf.

    Args:
        x: Input, `(batch, ..., features)`.
        gate: `(batch, features)`.

    Returns:
        The shape of x.

    Raises:
        ShapeError: There is not one gate for each feature of each example.

    >>> feature_gate(jnp.ones((1, 2, 2)), jnp.array([[0.0, 0.5]]))
    Array([[[0. , 0.5],
            [0. , 0.5]]], dtype=float32)

    Source: Hu, Shen and Sun, "Squeeze-and-excitation networks" (2018).
    """
    return x * _everywhere(gate, x)


def feature_gate_fwd(x, gate):
    """Remember x and the gate, for each is the other's derivative."""
    return feature_gate.plain(x, gate), (x, gate)


def feature_gate_bwd(residuals, dy):
    """dx_nqf = dy_nqf g_nf, and dg_nf = sum_q dy_nqf x_nqf, summed in float32 at least."""
    x, gate = residuals
    d_gate = (dy * x).sum(range(1, x.ndim - 1), dtype=accumulator_dtype(x.dtype))
    return dy * _everywhere(gate, dy), d_gate.astype(gate.dtype)


feature_gate.defvjp(feature_gate_fwd, feature_gate_bwd)


def _everywhere(gate, x):
    return jnp.broadcast_to(jnp.expand_dims(gate, range(1, x.ndim - 1)), x.shape)
