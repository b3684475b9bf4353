"""The contract of an optimizer, which is optax's: `init(params)` and `update(grads, state, params)`."""

from typing import TypeAlias

import optax

Optimizer: TypeAlias = optax.GradientTransformation
"""A pair of pure functions.

`init(params) -> state` and `update(grads, state, params, **extra) -> (updates, state)`, where the updates are
what `apply_updates` adds to the parameters. Any optimizer of optax is one and any of jaxnn is one of
optax's; leaves that are `None` pass through both untouched.
"""
