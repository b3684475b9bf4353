"""What rules of Adam's kind share: the mean of gradients that they follow, that of squares, and the root of it."""

import jax.numpy as jnp

from jaxnn.optim._arithmetic import average, corrected, root, squared, widest
from jaxnn.typing import Array, Scalar


def mean_ahead(m: Array, g: Array, decay: Scalar, t: Array, nesterov: bool) -> Array:
    """m / (1 - decay^t), or with nesterov decay m / (1 - decay^(t+1)) + (1 - decay) g / (1 - decay^t).

    m is the mean after t steps, in the dtype to compute in. The Nesterov form is about what the mean would be after one
    more step with the same gradient.
    """
    if not nesterov:
        return corrected(m, decay, t)
    beta = jnp.asarray(decay, m.dtype)
    return beta * corrected(m, decay, t + 1) + (1 - beta) * corrected(g.astype(m.dtype), decay, t)


def average_square(mean: Array, g: Array, decay: Scalar) -> Array:
    """Move a running mean towards g^2, taken in float32 at least: that of a small number in float16 would be 0."""
    return average(mean, squared(g.astype(widest(mean, g))), decay)


def over_root(m: Array, v: Array, eps: Scalar, eps_root: Scalar = 0.0) -> Array:
    """m / (sqrt(v + eps_root) + eps); the derivative of the root at 0 is taken as 0."""
    return m / (root(v + jnp.asarray(eps_root, v.dtype)) + jnp.asarray(eps, v.dtype))
