"""The last link of most optimizers: a learning rate, which may be a number, a tracer or a schedule."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, scaled
from jaxnn.optim._checks import check_number
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule

LearningRate: TypeAlias = Scalar | Schedule


def at(f: Scalar | Schedule, count: Any) -> Any:
    """Return a hyperparameter at a count of steps: what its schedule says, or what it always is.

    >>> at(lambda count: 0.5**count, 2), at(0.1, 2)
    (0.25, 0.1)
    """
    return f(count) if callable(f) else f


class ScaleByScheduleState(NamedTuple):
    """State of `scale_by_schedule`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name


def scale_by_schedule(step_size_fn: Schedule) -> Optimizer:
    """Multiply by a function of the count of steps before this one: the first step has the value at 0.

    >>> t = scale_by_schedule(lambda count: 0.5**count)
    >>> _, state = t.update(jnp.array(4.0), t.init(None))
    >>> t.update(jnp.array(4.0), state)[0]
    Array(2., dtype=float32)
    """

    def init(params):
        del params
        return ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        s = step_size_fn(state.count)
        return jax.tree.map(lambda g: scaled(s, g), updates), ScaleByScheduleState(next_count(state.count))

    return optax.GradientTransformation(init, update)


def scale_by_learning_rate(learning_rate: Scalar | Schedule, *, flip_sign: bool = True) -> Optimizer:
    """Multiply by the learning rate and, unless told otherwise, turn ascent into descent.

    Args:
        learning_rate: A number, a tracer, or a schedule.
        flip_sign: Whether to multiply by -1 too; to ascend, do not.

    Raises:
        ValueError: `learning_rate` is `None`, or a number below 0 or NaN. A tracer below 0 goes the other way, and one
            that is NaN makes all NaN.

    >>> t = scale_by_learning_rate(0.5)
    >>> t.update(jnp.array(4.0), t.init(None))[0]
    Array(-2., dtype=float32)
    """
    if learning_rate is None:
        raise ValueError("expected learning_rate to be a number or a schedule, because without one updates would lead "
                         "upwards; got None")  # fmt: skip
    check_number("it is the length of a step", learning_rate=learning_rate)
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        return scale_by_schedule(lambda count: sign * learning_rate(count))

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: sign * scaled(learning_rate, g), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
