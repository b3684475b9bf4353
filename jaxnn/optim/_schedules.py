"""Schedules: a hyperparameter as a function of the step count, every argument of which may be a tracer."""

from typing import Any

import jax.numpy as jnp

from jaxnn.typing import Scalar, Schedule


def constant_schedule(value: Scalar) -> Schedule:
    """The same at every step, s(t) = value.

    >>> constant_schedule(0.1)(1000)
    0.1

    The name and the value are optax's.
    """

    def schedule(count: Any) -> Any:
        del count
        return value

    return schedule


def cosine_decay_schedule(
    init_value: Scalar,
    decay_steps: Scalar,
    alpha: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Half a period of a cosine, s(t) = s_0 ((1 - alpha) c^exponent + alpha), c = (1 + cos(pi t / T)) / 2.

    Args:
        init_value: s_0, the value at step 0.
        decay_steps: T, the step from which on s(t) = alpha s_0. optax refuses a T that is not positive;
            here it may be a tracer, so nothing is refused.
        alpha: What is left at the end, as a fraction of s_0.
        exponent: Makes the fall steeper.

    >>> schedule = cosine_decay_schedule(0.1, 100)
    >>> [round(float(schedule(t)), 6) for t in (0, 50, 100, 1000)]
    [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter, "SGDR" (2017). The name and the values are optax's.
    """

    def schedule(count: Any) -> Any:
        dtype = jnp.result_type(float)
        s0, T, a, e = (jnp.asarray(h, dtype) for h in (init_value, decay_steps, alpha, exponent))
        t = jnp.minimum(jnp.asarray(count).astype(dtype), T)
        c = (1 + jnp.cos(jnp.pi * t / T)) / 2
        return s0 * ((1 - a) * c**e + a)

    return schedule
