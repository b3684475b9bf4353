"""The last thing that a step does."""

from typing import Any

import jax

from jaxnn.optim._arithmetic import widest


def apply_updates(params: Any, updates: Any) -> Any:
    """Return params + updates, in the dtypes of the parameters; leaves that are `None` stay.

    Where the two have different dtypes they are added in the wider one.

    >>> import jax.numpy as jnp
    >>> apply_updates({"w": jnp.array(1.0, jnp.bfloat16), "b": None}, {"w": jnp.array(0.5), "b": None})
    {'b': None, 'w': Array(1.5, dtype=bfloat16)}
    """

    def moved(p, u):
        wide = widest(p, u)
        return (p.astype(wide) + u.astype(wide)).astype(p.dtype)

    return jax.tree.map(moved, params, updates)
