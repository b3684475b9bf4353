"""One optimizer after another, which is what most of them are made of; and gradients that do not fit are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._lookahead import LookaheadParams
from jaxnn.optim._optimizer import Optimizer
from jaxnn.tree import named_leaves


def chain(*args: Optimizer) -> optax.GradientTransformationExtraArgs:
    """Return the optimizers one after another: each gets the updates of the one before, the state is a tuple of all.

    Args:
        *args: Ours or optax's.

    Raises:
        TypeError: `update` is given gradients of integers.
        ValueError: `update` is given parameters, and gradients of other leaves than these.

    >>> from jaxnn.optim import scale
    >>> optimizer = chain(scale(2.0), scale(-0.5))
    >>> optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(1.0)))
    (Array(-3., dtype=float32), (EmptyState(), EmptyState()))
    """
    links = optax.chain(*args)

    def update(updates, state, params=None, **extra):
        _check_dtypes(updates)
        if params is not None:  # where slow parameters stand beside them, gradients are of the fast ones
            _check_leaves(
                updates, params.fast if isinstance(params, LookaheadParams | optax.LookaheadParams) else params
            )
        return links.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(links.init, update)


def _check_dtypes(updates: Any) -> None:
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(updates)):
        others = [
            f"{leaf.dtype} for {name or 'the one leaf'}"
            for name, leaf in named_leaves(updates).items()
            if not jnp.issubdtype(leaf.dtype, jnp.inexact)
        ]
        raise TypeError(
            "expected gradients of floating or complex dtypes, because they are averaged and scaled; got "
            f"{', '.join(others)}\n  hint: what is counted does not learn: freeze it, or keep it out of the parameters"
        )


def _check_leaves(updates: Any, params: Any) -> None:
    if jax.tree.structure(updates) == jax.tree.structure(params):
        return
    got, expected = named_leaves(updates), named_leaves(params)
    missing, more = [name for name in expected if name not in got], [name for name in got if name not in expected]
    parts = [f"none for {', '.join(missing)}"] * bool(missing) + [f"some for {', '.join(more)}"] * bool(more)
    raise ValueError(
        "expected gradients like the parameters, because each parameter is moved by its own; got "
        f"{' and '.join(parts) or 'them in other containers'}\n  the parameters are {', '.join(expected)}"
    )
