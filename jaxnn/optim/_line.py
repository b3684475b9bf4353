"""A function along a line from the parameters, which line searches look for a step on."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.optim._arithmetic import scaled
from jaxnn.optim._norms import inner_product
from jaxnn.typing import Array


def along(params: Any, rate: Array, direction: Any) -> Any:
    """Return params + rate direction, in the dtypes of the parameters, as `apply_updates` adds them.

    >>> along(jnp.array(1.0), jnp.array(0.5), jnp.array(4.0))
    Array(3., dtype=float32)
    """
    return jax.tree.map(lambda p, d: p + scaled(rate, d).astype(p.dtype), params, direction)


def slope(grad: Any, direction: Any) -> Array:
    """Return the derivative of the function by the rate; JAX's gradient by complex numbers is conjugate.

    >>> slope(jnp.array([1.0, 2.0]), jnp.array([3.0, -4.0])), slope(jnp.array(2.0j), jnp.array(3.0j))
    (Array(-5., dtype=float32), Array(-6., dtype=float32))
    """
    return inner_product(jax.tree.map(jnp.conj, grad), direction)


def violation(error: Array) -> Array:
    """By how much a condition `error <= 0` is violated: not at all by less than 0, without bound by NaN.

    >>> violation(jnp.array([-1.0, 2.0, jnp.nan]))
    Array([ 0.,  2., inf], dtype=float32)
    """
    return jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0))


def function_of_params(value_fn: Callable[..., Any], extra: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Bind the extra arguments that `update` was called with, such as the batch, to the function to minimise.

    Raises:
        TypeError: There is an argument that the function does not take. It would be lost, with nobody told.

    >>> function_of_params(lambda params, x: params * x, {"x": 3.0})(2.0)
    6.0
    """
    arguments = inspect.signature(value_fn).parameters
    any_name = any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments.values())
    lost = sorted(name for name in extra if name not in arguments and not any_name)
    if lost:
        raise TypeError(f"expected extra arguments that value_fn takes, because it is what they are for; got "
                        f"{', '.join(lost)}, and it takes {', '.join(arguments)}")  # fmt: skip
    return functools.partial(value_fn, **extra)


def check_given(**arguments: Any) -> None:
    """Raise an error for what `update` of a line search needs and was not given.

    >>> check_given(value=None)
    Traceback (most recent call last):
        ...
    ValueError: expected value, because a line search looks at a function; got None: call update(updates, state, params,
    value=value, grad=grad, value_fn=value_fn)
    """
    for name, argument in arguments.items():
        if argument is None:
            raise ValueError(f"expected {name}, because a line search looks at a function; got None: call "
                             "update(updates, state, params, value=value, grad=grad, value_fn=value_fn)")  # fmt: skip
