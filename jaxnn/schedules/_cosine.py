"""Half a period of a cosine, from one value down to another."""

from typing import Any

import jax.numpy as jnp

from jaxnn.schedules._arguments import check_positive, number, power
from jaxnn.typing import Scalar, Schedule


def cosine_decay_schedule(
    init_value: Scalar,
    decay_steps: Scalar,
    alpha: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Half a period of a cosine, s(t) = s_0 ((1 - alpha) c^exponent + alpha), c = (1 + cos(pi t / T)) / 2.

    Args:
        init_value: s_0, the value at step 0.
        decay_steps: T, the step from which on s(t) = alpha s_0.
        alpha: What is left at the end, as a fraction of s_0.
        exponent: Makes the fall steeper.

    Raises:
        ValueError: `decay_steps` is not positive, as in optax. A tracer that is not gives NaN or alpha s_0.

    >>> schedule = cosine_decay_schedule(0.1, 100)
    >>> [round(float(schedule(t)), 6) for t in (0, 50, 100, 1000)]
    [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter, "SGDR" (2017). The name and the values are optax's.
    """
    check_positive("the value decays over them", decay_steps=decay_steps)

    def schedule(count: Any) -> Any:
        s0, T, a, e = map(number, (init_value, decay_steps, alpha, exponent))
        t = jnp.minimum(number(count), T)
        c = (1 + jnp.cos(jnp.pi * t / T)) / 2
        return s0 * ((1 - a) * power(c, e) + a)

    return schedule
