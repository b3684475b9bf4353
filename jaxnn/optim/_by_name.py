"""An optimizer for each part of a model: parameters are parted by their names."""

import functools
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import optax

from jaxnn import tree
from jaxnn.optim._masking import MaskedNode, partition
from jaxnn.optim._optimizer import Optimizer


def by_name(optimizers: Mapping[str, Optimizer]) -> optax.GradientTransformationExtraArgs:
    """Move each parameter with an optimizer of its own, that of the first pattern which matches its whole name.

    So parts of a model learn at rates of their own, which may be traced, or by rules of their own. Each part counts its
    steps and measures its norms for itself: what is meant for all parameters together, such as `clip_by_global_norm` or
    an average, stands around this or before it in a chain. A part whose parameters are all frozen keeps no state, and
    when they are unfrozen, by `refreeze`, it begins from its first step, its counts and its schedule too.

    Args:
        optimizers: Optimizers by regular expression, in order, as `tree.mask` and a trainer's `freeze` take them.
            Every parameter that learns must be matched. What a pattern matches may be frozen; but if it matches no
            name, frozen ones included, or all that it matches and more is matched by an earlier one, it is an error.

    Raises:
        TypeError: Something is no optimizer.
        ValueError: From `init` and `update`: a parameter is not matched, a pattern is no regular expression, or it
            matches nothing, or stands after a wider one.

    >>> import jax.numpy as jnp
    >>> from jaxnn.optim import sgd
    >>> optimizer = by_name({"head/.*": sgd(1.0), ".*": sgd(0.1)})
    >>> g = {"stem": {"w": jnp.array([4.0])}, "head": {"w": jnp.array([4.0])}}
    >>> optimizer.update(g, optimizer.init(g), g)[0]
    {'head': {'w': Array([-4.], dtype=float32)}, 'stem': {'w': Array([-0.4], dtype=float32)}}

    Rates that fall from the last layer to the first, here by half each, keep what a pre-trained model has learnt in its
    early layers:

    >>> layers = ("head", "block_1", "block_0", "stem")
    >>> optimizer = by_name({f"{layer}/.*": sgd(0.1 * 0.5**i) for i, layer in enumerate(layers)})
    >>> g = {layer: {"w": jnp.ones(())} for layer in layers}
    >>> updates, _ = optimizer.update(g, optimizer.init(g), g)
    >>> [round(float(updates[layer]["w"]), 4) for layer in layers]
    [-0.1, -0.05, -0.025, -0.0125]

    Source: Howard and Ruder, "Universal language model fine-tuning for text classification" (2018), section 3.2, whose
    rates fall by 2.6 each.
    """
    optimizers = dict(optimizers)
    for pattern, optimizer in optimizers.items():
        if not isinstance(optimizer, tuple):  # optax's are named tuples
            raise TypeError(
                f"expected an optimizer for {pattern!r}, because it has init and update; got {optimizer!r}\n"
                "  hint: by_name({'stem/.*': adam(1e-4), '.*': adam(1e-3)})"
            )

    def parts(params):
        """The partition, without the parts that have nothing that learns: an optimizer of those would count steps."""
        labels = _labels(params, list(optimizers))
        used = set(jax.tree.leaves(labels))
        some: dict[Hashable, Optimizer] = {p: optimizer for p, optimizer in optimizers.items() if p in used}
        return partition(some, labels, mask_compatible_extra_args=True)

    def init(params):
        return parts(params).init(params)

    def update(updates, state, params=None, **extra):
        if extra.get("value_fn") is not None:  # a line search of a part, while the others stand
            extra["value_fn"] = _of_a_part(extra["value_fn"], params)
        return parts(updates).update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def _of_a_part(value_fn: Callable[..., Any], params: Any) -> Callable[..., Any]:
    """Return a function of a part, with `MaskedNode` for the other parameters, in which these stay what they are."""
    is_other = lambda leaf: isinstance(leaf, MaskedNode)

    @functools.wraps(value_fn)  # a line search asks which arguments there are
    def value_of(part, *arguments, **keywords):
        whole = jax.tree.map(lambda own, old: old if is_other(own) else own, part, params, is_leaf=is_other)
        return value_fn(whole, *arguments, **keywords)

    return value_of


def _labels(params: Any, patterns: list[str]) -> Any:
    """Return a tree like the parameters of the pattern that decides for each.

    Raises:
        ValueError: A pattern or a parameter is left over.
    """
    held = lambda leaf: leaf is None or isinstance(leaf, MaskedNode)
    whole = jax.tree.map(lambda _: True, params, is_leaf=held)  # what is held has a name too
    names = tree.named_leaves(whole)
    tree.mask(whole, patterns)
    matched = {pattern: {name for name in names if re.fullmatch(pattern, name)} for pattern in patterns}
    for i, pattern in enumerate(patterns):
        for earlier in patterns[:i]:
            if matched[pattern] < matched[earlier]:
                raise ValueError(
                    f"expected patterns with the wider ones last, because the first that matches a name decides; "
                    f"{earlier!r} leaves nothing to {pattern!r}, which comes after it"
                )
    decides = {name: next((p for p in patterns if name in matched[p]), None) for name in names}
    missed = [name for name in tree.named_leaves(params) if decides[name] is None]
    if missed:
        raise ValueError(
            f"expected a pattern for every parameter, because each is moved by the optimizer of the first that matches "
            f"its whole name; none of {', '.join(map(repr, patterns))} matches {', '.join(missed)}\n"
            "  hint: '.*' as the last one matches all the rest"
        )
    return tree.map_named(lambda name, _: decides[name], params)
