"""Cosines one after another: warm restarts."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import jax.numpy as jnp

from jaxnn.errors import values
from jaxnn.schedules._arguments import check_positive, number
from jaxnn.schedules._joining import join_schedules
from jaxnn.schedules._warmup import warmup_cosine_decay_schedule
from jaxnn.typing import Scalar, Schedule


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Scalar]]) -> Schedule:
    """A `warmup_cosine_decay_schedule` after another, for each of the given arguments.

    Args:
        cosine_kwargs: For each period the arguments of `warmup_cosine_decay_schedule`, of which `decay_steps` is its
            length.

    Raises:
        ValueError: There is no period, or one whose `decay_steps` is not above its `warmup_steps`.

    >>> period = {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 0, "decay_steps": 10}
    >>> schedule = sgdr_schedule([period, period | {"decay_steps": 20}])
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20, 30)]
    [0.1, 0.05, 0.1, 0.05, 0.0]

    The name and the values are optax's. Source: Loshchilov and Hutter, "SGDR" (2017).
    """
    periods = list(cosine_kwargs)
    if not periods:
        raise ValueError("expected at least one period, because there is no value without; got none")
    begins = list(accumulate(period["decay_steps"] for period in periods))
    return join_schedules([warmup_cosine_decay_schedule(**period) for period in periods], begins[:-1])  # pyright: ignore[reportArgumentType]


def cosine_restarts_schedule(
    init_value: Scalar,
    first_decay_steps: Scalar,
    t_mul: Scalar = 2.0,
    m_mul: Scalar = 1.0,
    alpha: Scalar = 0.0,
) -> Schedule:
    """Cosines without end, s(t) = s_0 (m^i (1 - alpha) (1 + cos(pi r)) / 2 + alpha), r of the way through period i.

    Period i has k^i T steps; with a growing k, restarts become rare.

    Args:
        init_value: s_0.
        first_decay_steps: T, the steps of the first period.
        t_mul: k, by which each period is longer than the one before; not below 1.
        m_mul: m, by which the peak of each differs from the one before.
        alpha: What is left at the end of each period, as a fraction of s_0.

    Raises:
        ValueError: `first_decay_steps` is not positive, or `t_mul` is below 1. Tracers that are give NaN.

    >>> schedule = cosine_restarts_schedule(0.1, 10)
    >>> [round(float(schedule(t)), 6) for t in (0, 5, 10, 20, 30)]
    [0.1, 0.05, 0.1, 0.05, 0.1]

    The arguments and the values are those of Keras's `CosineDecayRestarts`. Source: Loshchilov and Hutter, "SGDR"
    (2017).
    """
    check_positive("the value decays over them", first_decay_steps=first_decay_steps)
    if (seen := values(t_mul)) is not None and not seen >= 1:
        raise ValueError(f"expected t_mul of 1 or more, because periods that shrink come to an end; got {t_mul}")

    def schedule(count: Any) -> Any:
        T, k, m = number(first_decay_steps), number(t_mul), number(m_mul)
        periods = number(count) / T  # since step 0, of the length of the first
        grows = k > 1
        base = jnp.where(grows, k, 2)
        before = lambda i: (base**i - 1) / (base - 1)  # how many of those had passed when period i began
        i = jnp.floor(jnp.log1p(periods * (base - 1)) / jnp.log(base))
        # A logarithm of what is a power may be rounded to either side of the integer that it is.
        i = i + jnp.where(before(i + 1) <= periods, 1, 0) - jnp.where(before(i) > periods, 1, 0)
        i = jnp.where(grows, i, jnp.floor(periods))
        r = jnp.where(grows, (periods - before(i)) / base**i, periods - i)
        return number(init_value) * ((1 - number(alpha)) * m**i * (1 + jnp.cos(jnp.pi * r)) / 2 + number(alpha))

    return schedule
