"""Leaves of nested dicts by name: `"stem/conv_0/w"` in tables, errors, freezing and files alike."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

__all__ = [
    "count",
    "map_named",
    "mask",
    "merge",
    "named_leaves",
    "nbytes",
    "split",
]

_Entry = DictKey | FlattenedIndexKey | GetAttrKey | SequenceKey


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves of `tree` by name: the keys on the way to each, joined by `/`.

    >>> named_leaves({"dense_0": {"w": 1, "b": 2}, "dense_1": {"w": 3}})
    {'dense_0/b': 2, 'dense_0/w': 1, 'dense_1/w': 3}
    """
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Return a tree of `function(name, leaf)`.

    >>> map_named(lambda name, leaf: f"{name}={leaf}", {"head": {"w": 1}})
    {'head': {'w': 'head/w=1'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(_name(path), leaf), tree)


def mask(tree: Any, patterns: Iterable[str]) -> Any:
    """Return a tree of bools: whether a leaf's whole name matches one of the regular expressions.

    Args:
        tree: Any tree.
        patterns: Regular expressions, matched against the whole of each leaf's name.

    Returns:
        A tree of the same structure.

    Raises:
        ValueError: A pattern is no regular expression, or matches no leaf, which is always a slip; the message
            lists the names.

    >>> mask({"stem": {"w": 1.0}, "head": {"w": 2.0, "b": 3.0}}, ["stem/.*", ".*/b"])
    {'head': {'b': True, 'w': False}, 'stem': {'w': True}}
    """
    names = list(named_leaves(tree))
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for p in patterns:
        try:
            re.compile(p)
        except re.error as error:
            raise ValueError(f"expected a regular expression, such as 'stem/.*'; got {p!r}: {error}") from None
    idle = [p for p in patterns if not any(re.fullmatch(p, name) for name in names)]
    if idle:
        raise ValueError(
            f"expected every pattern to match the whole name of some leaf; {', '.join(map(repr, idle))} "
            f"matches none of: {', '.join(names)}" + _hint(idle, names)
        )
    matches = [any(re.fullmatch(p, name) for p in patterns) for name in names]
    return jax.tree.unflatten(jax.tree.structure(tree), matches)


def split(tree: Any, selected: Any) -> tuple[Any, Any]:
    """Split `tree` in two of the same outline: the selected leaves, and the others; `None` elsewhere.

    >>> split({"w": 1.0, "b": 2.0}, {"w": True, "b": False})
    ({'b': None, 'w': 1.0}, {'b': 2.0, 'w': None})
    """
    return (
        jax.tree.map(lambda leaf, chosen: leaf if chosen else None, tree, selected),
        jax.tree.map(lambda leaf, chosen: None if chosen else leaf, tree, selected),
    )


def merge(first: Any, second: Any) -> Any:
    """Undo `split`: wherever one tree has `None`, take the other's leaf. A second tree of `{}` adds none.

    >>> merge({"b": None, "w": 1.0}, {"b": 2.0, "w": None})
    {'b': 2.0, 'w': 1.0}
    """
    if not second:
        return first
    return jax.tree.map(lambda a, b: b if a is None else a, first, second, is_leaf=lambda a: a is None)


def count(tree: Any) -> int:
    """Return the number of elements in all leaves together.

    >>> import jax.numpy as jnp
    >>> count({"w": jnp.zeros((784, 64)), "b": jnp.zeros(64)})
    50240
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def nbytes(tree: Any) -> int:
    """Return the bytes that all leaves take together.

    >>> import jax.numpy as jnp
    >>> nbytes({"w": jnp.zeros((784, 64)), "b": jnp.zeros(64)})
    200960
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _hint(idle: list[str], names: list[str]) -> str:
    layers = [p for p in idle if any(name.startswith(f"{p}/") for name in names)]
    return f"\n  hint: all of a layer is {layers[0] + '/.*'!r}" if layers else ""


def _name(path: Sequence[Any]) -> str:
    return "/".join(_key(entry) for entry in path)


def _key(entry: _Entry) -> str:
    match entry:
        case DictKey(key=key) | FlattenedIndexKey(key=key):
            return str(key)
        case SequenceKey(idx=index):
            return str(index)
        case GetAttrKey(name=name):
            return name
    raise TypeError(f"expected a key of a dict, sequence or named tuple; got {entry!r}")
