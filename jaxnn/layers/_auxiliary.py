"""Auxiliary losses: what a layer adds to the loss of a model, through its state.

By hand its gradient goes the way of all gradients, so a layer must add it in its own backward.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxnn import tree
from jaxnn.typing import Array, State, accumulator_dtype

AUXILIARY = "auxiliary_loss"
"""The name, in a layer's state, of what its last forward in training adds to the loss; shape `()`, or stacked."""


def auxiliary_loss(state: State) -> Float[Array, ""] | None:
    """Return what the layers of a model add to its loss, as its state has it; `None` if no layer does.

    >>> float(auxiliary_loss({"dense_0": {}, "penalty_0": {"auxiliary_loss": jnp.float32(0.5)}}))
    0.5
    >>> auxiliary_loss({"dense_0": {}}) is None
    True
    """
    added = [leaf.sum() for name, leaf in tree.named_leaves(state).items() if name.split("/")[-1] == AUXILIARY]
    if not added:
        return None
    widest = max((accumulator_dtype(one.dtype) for one in added), key=lambda dtype: dtype.itemsize)
    return functools.reduce(jnp.add, (one.astype(widest) for one in added))


def check_way_back(name: str, y: Any, state: State) -> None:
    """Raise an error if what layers add to the loss would have no gradient by hand: the way back begins at y.

    Args:
        name: Of the layer that puts out y.
        y: An output in training.
        state: Of that layer and all before it, after them.

    Raises:
        ValueError: y is integer, and one of the layers adds to the loss.
    """
    floating = any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(y))
    if not floating and auxiliary_loss(state) is not None:
        raise ValueError(
            f"expected no layer that adds to the loss before {name}, because its output is integer, and by hand no "
            "gradient comes back through it; got one\n  hint: by_autodiff takes the gradient of what is added as well"
        )
