"""Optimizers for a part of the parameters: optax's, with masks and labels that are looked at before they are used.

A mask by name is `lambda params: jaxnn.tree.mask(params, [".*/w"])`, which refuses a pattern that matches nothing.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from optax import MaskedNode as MaskedNode
from optax import MaskedState as MaskedState
from optax.transforms import PartitionState as PartitionState

from jaxnn.optim._combining import set_to_zero
from jaxnn.optim._optimizer import Optimizer
from jaxnn.tree import named_leaves


def masked(
    inner: Optimizer, mask: Any, *, mask_compatible_extra_args: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Transform the updates of some leaves and hand on those of the others as they are.

    The optimizer holds state for the leaves of the mask alone. What is handed on is a gradient, and would lead upwards:
    to hold the other parameters fixed, take `selective_transform` or a trainer's `freeze`.

    Args:
        inner: The optimizer.
        mask: A tree of bools like the parameters, or with one bool for all of a subtree, or a function from
            parameters (or their updates) to one.
        mask_compatible_extra_args: Whether extra arguments of `update` that are trees like the parameters are masked.

    Raises:
        ValueError: The mask is unlike the parameters or holds something other than bools.

    >>> import jax.numpy as jnp
    >>> from jaxnn.optim import scale
    >>> optimizer, g = masked(scale(-0.5), {"w": True, "b": False}), {"w": jnp.array([4.0]), "b": jnp.array([4.0])}
    >>> optimizer.update(g, optimizer.init(g))[0]
    {'b': Array([4.], dtype=float32), 'w': Array([-2.], dtype=float32)}
    """
    return optax.masked(inner, _mask_of(mask), mask_compatible_extra_args=mask_compatible_extra_args)


def partition(
    transforms: Mapping[Hashable, Optimizer], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Move each leaf with the optimizer that its label names.

    Args:
        transforms: Optimizers by label.
        param_labels: A tree of labels like the parameters, or with one label for all of a subtree, or a function from
            parameters (or their updates) to one.
        mask_compatible_extra_args: Whether extra arguments of `update` that are trees like the parameters are parted.

    Raises:
        ValueError: The labels are unlike the parameters, or there is no optimizer for one of them.

    >>> import jax.numpy as jnp
    >>> from jaxnn.optim import sgd
    >>> optimizer = partition({"fast": sgd(1.0), "slow": sgd(0.1)}, {"body": "slow", "head": "fast"})
    >>> g = {"body": {"w": jnp.array([4.0])}, "head": {"w": jnp.array([4.0])}}
    >>> optimizer.update(g, optimizer.init(g))[0]
    {'body': {'w': Array([-0.4], dtype=float32)}, 'head': {'w': Array([-4.], dtype=float32)}}
    """

    def labels_of(tree):
        labels = param_labels(tree) if callable(param_labels) else param_labels
        _check_like(labels, tree, "labels", "they say for each leaf which optimizer moves it")
        known = ", ".join(map(repr, transforms))
        for name, label in named_leaves(labels).items():
            if label not in transforms:
                raise ValueError(f"expected labels among {known}, because these have an optimizer; got {label!r}"
                                 f"\n  in {name or 'the only label'}")  # fmt: skip
        return labels

    return optax.partition(transforms, labels_of, mask_compatible_extra_args=mask_compatible_extra_args)


def freeze(mask: Any) -> optax.GradientTransformationExtraArgs:
    """Make the updates of the leaves of the mask 0, and hand on the others as they are; last in a chain, it holds them.

    A trainer's `freeze` does more: no gradient is computed and no state is kept of what is fixed.

    Args:
        mask: A tree of bools like the parameters, or with one bool for all of a subtree, or a function from
            parameters (or their updates) to one: what is held.

    Raises:
        ValueError: The mask is unlike the parameters or holds something other than bools.

    >>> import jax.numpy as jnp
    >>> t, g = freeze({"w": True, "b": False}), {"w": jnp.array([4.0]), "b": jnp.array([4.0])}
    >>> t.update(g, t.init(g))[0]
    {'b': Array([4.], dtype=float32), 'w': Array([0.], dtype=float32)}
    """
    return masked(set_to_zero(), mask)


def selective_transform(optimizer: Optimizer, *, freeze_mask: Any) -> optax.GradientTransformationExtraArgs:
    """Move the leaves that the mask leaves free with the optimizer, and make the updates of the others 0.

    Args:
        optimizer: It holds state for the free leaves alone.
        freeze_mask: A tree of bools like the parameters, or with one bool for all of a subtree, or a function from
            parameters (or their updates) to one: what is held.

    Raises:
        ValueError: The mask is unlike the parameters or holds something other than bools.

    >>> import jax.numpy as jnp
    >>> from jaxnn.optim import sgd
    >>> optimizer = selective_transform(sgd(0.5), freeze_mask={"w": True, "b": False})
    >>> g = {"w": jnp.array([4.0]), "b": jnp.array([4.0])}
    >>> optimizer.update(g, optimizer.init(g))[0]
    {'b': Array([-2.], dtype=float32), 'w': Array([0.], dtype=float32)}
    """
    mask_of = _mask_of(freeze_mask)
    labels_of = lambda tree: jax.tree.map(lambda held: "freeze" if held else "train", mask_of(tree))
    return partition({"train": optimizer, "freeze": set_to_zero()}, labels_of)


def _mask_of(mask: Any) -> Callable[[Any], Any]:
    """A function from parameters to their mask, which refuses one that cannot be meant."""

    def mask_of(tree):
        seen = mask(tree) if callable(mask) else mask
        for name, leaf in named_leaves(seen).items():
            if not isinstance(leaf, bool | np.bool_ | jax.Array):
                hint = ""
                if isinstance(leaf, str):
                    hint = f"\n  hint: by name it is lambda params: jaxnn.tree.mask(params, [{leaf!r}])"
                where = f"\n  in {name}" if name else ""
                raise ValueError(f"expected a mask of bools, because it says for each leaf whether it is meant; "
                                 f"got {leaf!r}{where}{hint}")  # fmt: skip
        _check_like(seen, tree, "a mask", "it says for each leaf whether it is meant")
        return seen

    return mask_of


def _check_like(prefix: Any, tree: Any, what: str, because: str) -> None:
    """Raise an error that names the leaves in which the two differ, unless one is like the other as far as it goes."""
    try:
        jax.tree.map(lambda *_: None, prefix, tree)
    except ValueError as error:
        given, needed = named_leaves(prefix), named_leaves(tree)
        covers = lambda short, long: long == short or long.startswith(f"{short}/")
        more = [name for name in given if not any(covers(name, leaf) for leaf in needed)]
        missing = [leaf for leaf in needed if not any(covers(name, leaf) for name in given)]
        differences = [f"none for {', '.join(missing)}"] * bool(missing) + [f"one for {', '.join(more)}"] * bool(more)
        raise ValueError(
            f"expected {what} like the parameters, or like a part of them from the root on, because {because}; "
            f"got {' and '.join(differences) or 'other containers'}\n"
            f"  in a tree of {', '.join(needed)}"
        ) from error
