"""An interval of rates that must hold a good one: how it is found, and how it shrinks."""

from typing import NamedTuple

from jaxnn.optim._arithmetic import chosen
from jaxnn.optim._zoom_interpolation import Point
from jaxnn.typing import Array


class Bracket(NamedTuple):
    """An interval in which the function falls from the low end, and is higher, or rises, at the high end."""

    low: Point  # the end where the function is lower, be it the left or the right one
    high: Point
    third: Point  # an end of the interval before, for interpolation


def bracket_going_out(last: Point, new: Point, misses: Array, first: Array) -> tuple[Bracket, Array]:
    """Return the interval between two rates, and whether it must hold a good one (algorithm 3.5 of Nocedal and Wright).

    It must if the new rate, the larger, is too far: there the function has not fallen enough (`misses`), or not since
    the last rate, or it rises.

    >>> import jax.numpy as jnp
    >>> last, new = Point(*jnp.array([1.0, 5.0, -1.0])), Point(*jnp.array([2.0, 4.5, 0.5]))
    >>> bracket, found = bracket_going_out(last, new, jnp.array(False), jnp.array(False))
    >>> bracket.low.rate, bracket.high.rate, found
    (Array(2., dtype=float32), Array(1., dtype=float32), Array(True, dtype=bool))
    """
    too_far = misses | ((new.value >= last.value) & ~first)
    rises = (new.slope >= 0) & ~too_far
    return chosen(rises, Bracket(new, last, new), Bracket(last, new, last)), too_far | rises


def bracket_inside(bracket: Bracket, new: Point, misses: Array) -> Bracket:
    """Return the part of the interval that must hold a good rate, of the two that a new point makes (algorithm 3.6).

    If the function is lower at the new point, that becomes the low end, and the high one is the end to which it falls
    from there; otherwise the new point is the high end.

    >>> import jax.numpy as jnp
    >>> low, high = Point(*jnp.array([0.0, 4.0, -4.0])), Point(*jnp.array([4.0, 4.0, 4.0]))
    >>> shrunk = bracket_inside(Bracket(low, high, low), Point(*jnp.array([3.0, 1.0, 2.0])), jnp.array(False))
    >>> shrunk.low.rate, shrunk.high.rate, shrunk.third.rate
    (Array(3., dtype=float32), Array(0., dtype=float32), Array(4., dtype=float32))
    """
    low, high, _ = bracket
    worse = misses | (new.value >= low.value)
    beyond = (new.slope * (high.rate - low.rate) >= 0) & ~worse
    return Bracket(
        chosen(worse, low, new),
        chosen(worse, new, chosen(beyond, low, high)),
        chosen(worse | beyond, high, low),
    )
