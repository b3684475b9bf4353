"""What is refused at once: numbers that can be seen and cannot be meant, and parameters that were not given.

A tracer passes, and so does what is no number, such as `None` or a schedule. NaN is in no range.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import values
from jaxnn.typing import Scalar, Schedule

Number = Scalar | Schedule | None


def check_range(expected: str, inside: Callable[[np.ndarray], Any], because: str, **numbers: Number) -> None:
    """Raise an error for numbers that can be seen and are not inside of a range.

    >>> check_range("of 4 or more", lambda x: x >= 4, "fewer say nothing", threshold=3.0)
    Traceback (most recent call last):
        ...
    ValueError: expected threshold of 4 or more, because fewer say nothing; got 3.0
    """
    for name, number in numbers.items():
        seen = values(number)
        if seen is not None and not np.all(inside(seen)):
            raise ValueError(f"expected {name} {expected}, because {because}; got {number}")


def check_decay(because: str, **decays: Number) -> None:
    """Raise an error for decays that can be seen and are not from 0 to below 1.

    >>> check_decay("a velocity must fade", decay=1.5)
    Traceback (most recent call last):
        ...
    ValueError: expected decay from 0 to below 1, because a velocity must fade; got 1.5
    """
    check_range("from 0 to below 1", lambda x: (x >= 0) & (x < 1), because, **decays)


def check_part(because: str, **parts: Number) -> None:
    """Raise an error for parts of a whole that can be seen and are not from 0 to 1.

    >>> check_part("it is the part of a way that is gone", step_size=2.0)
    Traceback (most recent call last):
        ...
    ValueError: expected step_size from 0 to 1, because it is the part of a way that is gone; got 2.0
    """
    check_range("from 0 to 1", lambda x: (x >= 0) & (x <= 1), because, **parts)


def check_number(because: str, **numbers: Number) -> None:
    """Raise an error for numbers that can be seen and are negative.

    >>> check_number("it is a length of steps", learning_rate=-0.1)
    Traceback (most recent call last):
        ...
    ValueError: expected learning_rate of 0 or more, because it is a length of steps; got -0.1
    """
    check_range("of 0 or more", lambda x: x >= 0, because, **numbers)


def check_positive(because: str, **numbers: Number) -> None:
    """Raise an error for numbers that can be seen and are not above 0.

    >>> check_positive("estimates only grow from it", estim_lr0=0.0)
    Traceback (most recent call last):
        ...
    ValueError: expected estim_lr0 above 0, because estimates only grow from it; got 0.0
    """
    check_range("above 0", lambda x: x > 0, because, **numbers)


def check_at_least_1(because: str, **numbers: Number) -> None:
    """Raise an error for numbers that can be seen and are below 1.

    >>> check_at_least_1("steps must grow", increase_factor=0.5)
    Traceback (most recent call last):
        ...
    ValueError: expected increase_factor of 1 or more, because steps must grow; got 0.5
    """
    check_range("of 1 or more", lambda x: x >= 1, because, **numbers)


def check_count(because: str, least: int = 1, **counts: Number) -> None:
    """Raise an error for counts that can be seen and are below 1, or not whole: as integers they would be cut short.

    What may be none at all has 0 for its least.

    >>> check_count("it counts steps", every=1.9)
    Traceback (most recent call last):
        ...
    ValueError: expected every to be an integer, because it counts steps; got 1.9
    """
    check_range(f"of {least} or more", lambda x: x >= least, because, **counts)
    check_range("to be an integer", lambda x: np.isfinite(x) & (x == np.floor(x)), because, **counts)


def known_count(because: str, **count: Number) -> int:
    """Return a count that must be seen, for shapes and loops in Python follow from it.

    >>> known_count("it is a shape", rank=np.int64(2))
    2
    >>> known_count("it is a shape", rank=None)
    Traceback (most recent call last):
        ...
    ValueError: expected rank to be a known integer, because it is a shape; got None
    """
    check_count(because, 1, **count)
    ((name, number),) = count.items()
    seen = values(number)
    if seen is None or seen.ndim:
        raise ValueError(f"expected {name} to be a known integer, because {because}; got {number}")
    return int(seen)


def check_not_nan(because: str, **numbers: Number) -> None:
    """Raise an error for numbers that can be seen and are NaN.

    >>> check_not_nan("updates are multiplied by it", step_size=float("nan"))
    Traceback (most recent call last):
        ...
    ValueError: expected step_size to be a number, because updates are multiplied by it; got nan
    """
    check_range("to be a number", lambda x: ~np.isnan(x), because, **numbers)


def check_params(params: Any, because: str) -> None:
    """Raise an error for parameters that were not given.

    >>> check_params(None, "weights fade")
    Traceback (most recent call last):
        ...
    ValueError: expected params, because weights fade; got None: call update(updates, state, params)
    """
    if params is None:
        raise ValueError(f"expected params, because {because}; got None: call update(updates, state, params)")


def check_real(updates: Any, params: Any = None) -> None:
    """Raise an error for complex leaves, of which not every update rule makes sense.

    >>> check_real({"w": jnp.ones(2), "z": jnp.ones(2, complex)})
    Traceback (most recent call last):
        ...
    TypeError: expected real gradients and parameters, because this rule is one of real numbers; got complex64
      hint: split_real_and_imaginary(optimizer) takes complex ones as pairs of real ones
    """
    for leaf in jax.tree.leaves((updates, params)):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"expected real gradients and parameters, because this rule is one of real numbers; got {leaf.dtype}\n"
                "  hint: split_real_and_imaginary(optimizer) takes complex ones as pairs of real ones"
            )
