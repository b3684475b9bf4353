"""Bounds on the gradient of each example before they are summed, as differential privacy needs them.

These are functions and no optimizers: they take gradients with an axis for the examples in front, such as
`jax.vmap(jax.grad(loss), (None, 0))` returns, and sum over it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import floating
from jaxnn.optim._checks import check_number
from jaxnn.optim._clipping import shrinking
from jaxnn.optim._norms import global_norm
from jaxnn.typing import Array, Scalar, accumulator_dtype


def per_example_global_norm_clip(grads: Any, l2_norm_clip: Scalar) -> tuple[Any, Array]:
    """Return sum_i g_i min(1, l2_norm_clip / ||g_i||) and how many of the g_i were shortened.

    Args:
        grads: A tree of gradients, each `(examples, ...)`; ||g_i|| is over all its leaves together.
        l2_norm_clip: The bound on each example's norm.

    Raises:
        ValueError: The leaves have no first axis of one length, or the bound is a number below 0 or NaN.

    >>> per_example_global_norm_clip([jnp.array([[0.0, 0.0], [3.0, 4.0], [0.3, 0.4]])], 1.0)
    ([Array([0.90000004, 1.2       ], dtype=float32)], Array(1, dtype=int32))

    Source: Abadi et al., "Deep learning with differential privacy" (2016), algorithm 1.
    """
    check_number("it bounds a norm", l2_norm_clip=l2_norm_clip)
    _check_examples(grads)
    factors = shrinking(jax.vmap(global_norm)(grads), l2_norm_clip)
    return jax.tree.map(lambda g: _weighted_sum(factors, g), grads), (factors < 1).sum()


def per_example_layer_norm_clip(grads: Any, global_l2_norm_clip: Scalar, uniform: bool = True) -> tuple[Any, Any]:
    """Bound each leaf of each example on its own, by C_k, so that the whole is bounded by C.

    Args:
        grads: A tree of gradients, each `(examples, ...)`.
        global_l2_norm_clip: C, the bound on each example's whole norm.
        uniform: Whether all K leaves have the same bound, C_k = C / sqrt(K), or those that have D_k of all D numbers
            C_k = C sqrt(D_k / D).

    Returns:
        The sums over the examples, and, in a tree of the same structure, how many were shortened in each leaf.

    Raises:
        ValueError: The leaves have no first axis of one length, or the bound is a number below 0 or NaN.

    >>> grads = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]]), "b": jnp.array([0.5, 2.0])}
    >>> sums, shortened = per_example_layer_norm_clip(grads, 2**0.5)
    >>> sums["b"], shortened
    (Array(1.5, dtype=float32), {'b': Array(1, dtype=int32), 'w': Array(1, dtype=int32)})

    Source: McMahan, Ramage, Talwar and Zhang, "Learning differentially private recurrent language models" (2018).
    """
    check_number("it bounds a norm", global_l2_norm_clip=global_l2_norm_clip)
    _check_examples(grads)
    leaves, structure = jax.tree.flatten(grads)
    sizes = [1 if uniform else math.prod(g.shape[1:]) for g in leaves]
    bounds = [floating(global_l2_norm_clip) * (size / max(sum(sizes), 1)) ** 0.5 for size in sizes]
    clipped = [per_example_global_norm_clip(g, bound) for g, bound in zip(leaves, bounds, strict=True)]
    sums, counts = ([pair[i] for pair in clipped] for i in (0, 1))
    return jax.tree.unflatten(structure, sums), jax.tree.unflatten(structure, counts)


def _weighted_sum(weights: Array, g: Array) -> Array:
    wide = accumulator_dtype(g.dtype)
    # At the highest precision: on accelerators a product of matrices is otherwise less than float32.
    total = jnp.tensordot(weights.astype(wide), g.astype(wide), axes=1, precision=jax.lax.Precision.HIGHEST)
    return total.astype(g.dtype)


def _check_examples(grads: Any) -> None:
    shapes = [g.shape for g in jax.tree.leaves(grads)]
    if () in shapes or len({shape[0] for shape in shapes}) != 1:
        raise ValueError("expected gradients with an axis for the examples in front, of one length, because each "
                         f"example's is bounded; got shapes {', '.join(map(str, shapes))}")  # fmt: skip
