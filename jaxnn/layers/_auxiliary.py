"""Auxiliary losses: what a layer adds to the loss of a model, through its state."""

import functools

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn import tree
from jaxnn.typing import Array, State

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
    return functools.reduce(jnp.add, added) if added else None
