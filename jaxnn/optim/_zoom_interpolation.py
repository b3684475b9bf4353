"""Where a function on a line may have its minimum, from what is known of it at two or three points."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxnn.typing import Array


class Point(NamedTuple):
    """A point on the line: a rate, the function there, and its derivative by the rate; all of shape ()."""

    rate: Array
    value: Array
    slope: Array


def cubic_minimum(a: Point, b: Point, c: Point) -> Array:
    """Return the minimum of the cubic with a's value and slope and the values of b and c.

    With x = rate - a.rate it is p(x) = A x^3 + B x^2 + C x + D. For the other two points q = (p - D - C x) / x^2 is
    A x + B, which gives A and B; then p' = 0 at x = -C / (B + sqrt(B^2 - 3 A C)). There need be none: it is NaN, or
    infinite, if two of the points are one.

    >>> points = [Point(x, x**3 - 3 * x, 3 * x**2 - 3) for x in jnp.array([0.0, 2.0, 3.0])]
    >>> cubic_minimum(*points)
    Array(1., dtype=float32)
    """
    xb, xc = b.rate - a.rate, c.rate - a.rate
    qb, qc = ((p.value - a.value - a.slope * x) / x**2 for p, x in ((b, xb), (c, xc)))
    A = (qb - qc) / (xb - xc)
    B = qb - A * xb
    root = jnp.sqrt(B**2 - 3 * A * a.slope)
    # Of the two forms of the quadratic formula the one that does not subtract what is nearly equal.
    return a.rate + jnp.where(B > 0, -a.slope / (B + root), (root - B) / (3 * A))


def quadratic_minimum(a: Point, b: Point) -> Array:
    """Return the minimum of the parabola with a's value and slope and the value of b; see `cubic_minimum`.

    >>> low, high = Point(*jnp.array([0.0, 4.0, -4.0])), Point(*jnp.array([1.0, 1.0, -2.0]))
    >>> quadratic_minimum(low, high)
    Array(2., dtype=float32)
    """
    x = b.rate - a.rate
    return a.rate - a.slope / (2 * (b.value - a.value - a.slope * x) / x**2)


def point_between(low: Point, high: Point, third: Point) -> Array:
    """Return a rate well within the interval: where the cubic is least, else the parabola, else in the middle.

    A minimum that is closer to an end than a fifth of the interval (cubic) or a tenth (parabola) is not trusted: the
    interval would hardly shrink.

    >>> low, high = Point(*jnp.array([0.0, 4.0, -4.0])), Point(*jnp.array([3.0, 1.0, 2.0]))
    >>> point_between(low, high, low), point_between(low, high._replace(value=jnp.nan), low)
    (Array(2., dtype=float32), Array(1.5, dtype=float32))
    """
    left, right = jnp.minimum(low.rate, high.rate), jnp.maximum(low.rate, high.rate)
    within = lambda rate, margin: (rate > left + margin * (right - left)) & (rate < right - margin * (right - left))
    cubic, quadratic = cubic_minimum(low, high, third), quadratic_minimum(low, high)
    middle = (low.rate + high.rate) / 2
    return jnp.where(within(cubic, 0.2), cubic, jnp.where(within(quadratic, 0.1), quadratic, middle))
