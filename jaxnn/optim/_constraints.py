"""What keeps updates free of NaN, and parameters from going below 0."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import widest
from jaxnn.optim._checks import check_params
from jaxnn.optim._optimizer import Optimizer

NonNegativeParamsState = optax.EmptyState
"""State of `keep_params_nonnegative`: none."""


def keep_params_nonnegative() -> Optimizer:
    """Shorten each update that would lead below 0 so that it leads to 0, u <- -p where p + u < 0.

    It must be the last in a chain, for what changes updates after it may lead below 0 again. A parameter that is
    negative already moves to 0, unless its update leads above. Where updates have a narrower dtype than the parameters
    -p is rounded to it, and p - p is 0 only to that precision.

    Raises:
        ValueError: `update` is called without parameters.

    >>> t, p = keep_params_nonnegative(), jnp.array([1.0, 1.0])
    >>> t.update(jnp.array([-3.0, -0.5]), t.init(p), p)[0]
    Array([-1. , -0.5], dtype=float32)
    """

    def init(params):
        del params
        return NonNegativeParamsState()

    def update(updates, state, params=None):
        check_params(params, "it is they that are kept from going below 0")

        def kept(u, p):
            wide = widest(u, p)
            return jnp.where(p.astype(wide) + u.astype(wide) < 0, -p.astype(u.dtype), u)

        return jax.tree.map(kept, updates, params), state

    return optax.GradientTransformation(init, update)


class ZeroNansState(NamedTuple):
    """State of `zero_nans`."""

    found_nan: Any  # whether there was one in the last updates, for each leaf; of shape (), bool


def zero_nans() -> Optimizer:
    """Put 0 in the place of every NaN, g <- 0 where g is NaN, and say in the state which leaves had one.

    Infinite numbers stay; `apply_if_finite` leaves out the whole step for either.

    >>> t, g = zero_nans(), {"w": jnp.array([1.0, jnp.nan]), "b": jnp.array([2.0])}
    >>> updates, state = t.update(g, t.init(g))
    >>> updates["w"], state.found_nan
    (Array([1., 0.], dtype=float32), {'b': Array(False, dtype=bool), 'w': Array(True, dtype=bool)})
    """

    def init(params):
        return ZeroNansState(jax.tree.map(lambda _: jnp.array(False), params))

    def update(updates, state, params=None):
        del state, params
        found = jax.tree.map(lambda g: jnp.isnan(g).any(), updates)
        return jax.tree.map(lambda g: jnp.where(jnp.isnan(g), 0, g), updates), ZeroNansState(found)

    return optax.GradientTransformation(init, update)
