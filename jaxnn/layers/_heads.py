"""What attention layers share: the parameters of their heads, and the forms in which sequences come."""

import math
from typing import Any

import jax

from jaxnn.errors import ShapeError
from jaxnn.initializers import Initializer
from jaxnn.ops import linear
from jaxnn.ops._lengths import check_lengths, steps_within
from jaxnn.typing import Sequences


def check_heads(heads: int, kv_heads: int | None) -> None:
    """Raise an error unless there are heads, and each of k and v serves as many of q."""
    for name, n in (("heads", heads), ("kv_heads", kv_heads or 1)):
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"expected {name} of at least 1, because it counts heads; got {n}")
    if kv_heads is not None and heads % kv_heads:
        raise ValueError(f"expected kv_heads that divide the {heads} heads, because each serves as many of them; "
                         f"got {kv_heads}")  # fmt: skip


def features_of_heads(heads: int, features: int | None, x: Any) -> int:
    """The features of each head: those that were asked for, or an equal part of the features of x."""
    check_sequence("x", x)
    if features is not None:
        return features
    width = x.shape[-1]
    if width % heads:
        raise ShapeError(f"x of shape (batch, time, width) with a width that {heads} heads divide",
                         why="each has an equal part of it", got=tuple(x.shape),
                         hint="features=... says how many each head has")  # fmt: skip
    return width // heads


def check_sequence(name: str, x: Any) -> None:
    """Raise an error unless x has the shape of sequences of vectors."""
    if x.ndim != 3:
        raise ShapeError(f"{name} of shape (batch, time, width)", why="attention is between steps of a sequence",
                         got=tuple(x.shape))  # fmt: skip


def drawn(
    key: Any, shapes: dict[str, tuple[int, int]], inits: dict[str, Initializer], b_init: Initializer | None, dtype: Any
) -> dict[str, Any]:
    """Parameters `w_part`, and `b_part` where there is an initialiser of it, for each part and its shape."""
    params = {}
    for (part, shape), part_key in zip(shapes.items(), jax.random.split(key, len(shapes)), strict=True):
        w_key, b_key = jax.random.split(part_key)
        params[f"w_{part}"] = inits[part](w_key, shape, dtype)
        if b_init is not None:
            params[f"b_{part}"] = b_init(b_key, shape[1:], dtype)
    return params


def names_of(parts: tuple[str, ...], bias: bool) -> list[str]:
    """The names of the parameters of these parts."""
    return [f"{kind}_{part}" for part in parts for kind in ("wb" if bias else "w")]


def projected(x, w, b):
    """The last axis of x by `linear`, as one product of matrices: JAX's own backward takes less time of that."""
    linear.check(x, w, b)
    return linear(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), w, b).reshape(*x.shape[:-1], w.shape[1])


def into_heads(x, heads):
    """(batch, time, heads x features) as (batch, time, heads, features)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)


def in_a_row(y):
    """(batch, time, heads, features) as (batch, time, heads x features)."""
    return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3])


def within(x):
    """Which steps are in `Sequences`, `(batch, time)`; `None` if all are."""
    if not isinstance(x, Sequences) or x.lengths is None:
        return None
    check_lengths(x.x, x.lengths)
    return steps_within(x.lengths, x.x.shape[1])


def present(d_params):
    """The cotangents of those parameters that there are."""
    return {name: d for name, d in d_params.items() if d is not None}
