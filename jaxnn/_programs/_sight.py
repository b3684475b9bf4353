"""What the elements of an array see of an input: from where to where, as a function of their index.

Element i of an array, where i has a number for each of its axes, is said to see of one axis of the input the positions

    low(i) ... high(i),    low(i) = lows[r] + rates . i - rates[a] r,    r = i[a] mod the number of lows,

and high(i) likewise: two straight lines in i, or staircases along one axis a. Where a transposed convolution puts
several elements between two of its input, they see the same, so what they see comes in steps.

What is said may be too much, never too little. Where what is seen is no such function of i, the lines are so far apart
that it lies between them (`tilted`), and the last resort is that every element sees what any of them sees (`folded`).
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

Rate: TypeAlias = int | Fraction


class Sight(NamedTuple):
    """What the elements of an array see along one axis of the input; positions outside of it are padding."""

    rates: tuple[Rate, ...]  # positions from one element to the next, along each axis of the array
    lows: tuple[Rate, ...] = (0,)
    highs: tuple[Rate, ...] = (0,)
    axis: int = 0  # of the steps; 0 if there is but one

    @property
    def width(self) -> Rate:
        """How far at most from the first to the last that an element sees."""
        return max(high - low for low, high in zip(self.lows, self.highs, strict=True))

    def at(self, i: int) -> tuple[Rate, Rate]:
        """Return what element i along `axis`, and 0 along the others, sees first and last."""
        r = i % len(self.lows)
        return self.lows[r] + self.rates[self.axis] * (i - r), self.highs[r] + self.rates[self.axis] * (i - r)

    def straight(self, n: int, rate: Rate) -> "Sight":
        """Put one line with this rate below, and one above, what the first n elements along `axis` see."""
        steps = len(self.lows)
        ends = {0, *range(min(n, steps)), *range(max(n - steps, 0), n)}  # in between nothing lies further out
        lows, highs = zip(*((low - rate * i, high - rate * i) for i in ends for low, high in [self.at(i)]), strict=True)
        return Sight(changed(self.rates, self.axis, rate), (min(lows),), (max(highs),))

    def tilted(self, shape: Sequence[int], axis: int, rate: Rate) -> "Sight":
        """Change the rate along an axis, and let every element see as much more as that leaves out for any."""
        if rate == self.rates[axis]:
            return self
        if axis == self.axis or len(self.lows) == 1:
            return self._replace(axis=axis).straight(shape[axis], rate)
        far = (self.rates[axis] - rate) * max(shape[axis] - 1, 0)
        return self._replace(rates=changed(self.rates, axis, rate)).wider(min(far, 0), max(far, 0))

    def folded(self, shape: Sequence[int], axes: Iterable[int]) -> "Sight":
        """Let every element see what any along these axes sees."""
        sight = self
        for axis in axes:
            stepped = axis == sight.axis and len(sight.lows) > 1
            sight = sight.straight(shape[axis], 0) if stepped else sight.tilted(shape, axis, 0)
        return sight

    def placed(self, axes: Iterable[int | None]) -> "Sight":
        """Return it for an array whose axes were these before; `None` for a new one, along which all are alike.

        Of those that are left out only the first element is there.
        """
        axes = list(axes)
        rates = tuple(0 if axis is None else self.rates[axis] for axis in axes)
        if len(self.lows) > 1 and self.axis in axes:
            return Sight(rates, self.lows, self.highs, axes.index(self.axis))
        return Sight(rates, self.lows[:1], self.highs[:1])

    def windowed(self, axis: int, taps: int, stride: int, dilation: int, low: int, between: int = 1) -> "Sight":
        """Let element q see what the elements at (stride q + dilation j - low) / between see, for all taps j.

        Where that is a fraction there is no element, but only zeros.
        """
        rate = Fraction(self.rates[axis], between)
        rates = changed(self.rates, axis, rate * stride)
        if axis != self.axis and len(self.lows) > 1:
            reach = rate * dilation * (taps - 1)
            return self._replace(rates=rates).wider(min(reach, 0) - rate * low, max(reach, 0) - rate * low)
        before, steps, seen = self._replace(axis=axis), len(self.lows) * between, []
        for q in range(steps // math.gcd(stride, steps)):
            places = [stride * q + dilation * j - low for j in range(taps)]
            elements = [place // between for place in places if place % between == 0] or [places[0] // between]
            seen.append([before.at(p) for p in (elements if len(self.lows) > 1 else (elements[0], elements[-1]))])
        return _covering(rates, seen, axis)

    def wider(self, low: Rate, high: Rate) -> "Sight":
        """Move the lows and the highs."""
        return self._replace(lows=tuple(e + low for e in self.lows), highs=tuple(e + high for e in self.highs))


def _covering(rates: tuple[Rate, ...], seen: Sequence[Sequence[tuple[Rate, Rate]]], axis: int) -> Sight:
    """Return what covers all that is seen at each step; a single one, if they lie on one line."""
    ends = [(min(low for low, _ in each), max(high for _, high in each)) for each in seen]
    lines = {(low - rates[axis] * r, high - rates[axis] * r) for r, (low, high) in enumerate(ends)}
    lows, highs = zip(*(ends if len(lines) > 1 else ends[:1]), strict=True)
    return Sight(rates, lows, highs, axis if len(lines) > 1 else 0)


def changed(rates: tuple[Rate, ...], axis: int, rate: Rate) -> tuple[Rate, ...]:
    """Return the rates with another one along an axis."""
    return (*rates[:axis], rate, *rates[axis + 1 :])


Seen: TypeAlias = tuple[Sight, ...] | None
"""What an array sees of each axis of the input; `None` if it does not depend on the input."""


def union(seen: Sequence[Seen], shape: Sequence[int]) -> Seen:
    """Return what arrays of one shape see together."""
    dependent = [each for each in seen if each is not None]
    return tuple(hull(sights, shape) for sights in zip(*dependent, strict=True)) if dependent else None


def hull(sights: Sequence[Sight], shape: Sequence[int]) -> Sight:
    """Return the least that covers what arrays of one shape see."""
    for axis in range(len(shape)):
        if len({sight.rates[axis] for sight in sights}) > 1:
            sights = side_by_side(sights, [shape] * len(sights), axis, [0] * len(sights))
    stepped = {sight.axis for sight in sights if len(sight.lows) > 1}
    if not stepped:
        return Sight(sights[0].rates, (min(s.lows[0] for s in sights),), (max(s.highs[0] for s in sights),))
    if len(stepped) > 1:  # staircases along several axes
        sights = [sight.straight(shape[sight.axis], sight.rates[sight.axis]) for sight in sights]
        stepped = {0}
    (axis,) = stepped
    steps = range(math.lcm(*(len(sight.lows) for sight in sights)))
    return _covering(sights[0].rates, [[s._replace(axis=axis).at(r) for s in sights] for r in steps], axis)


def side_by_side(
    sights: Sequence[Sight], shapes: Sequence[Sequence[int]], axis: int, starts: Sequence[int]
) -> list[Sight]:
    """Let arrays, each of which begins somewhere on an axis, have one rate along it: that with which they see least."""
    rates = {0, *(sight.rates[axis] for sight in sights)}
    if starts[-1] > starts[0]:
        rates.add(Fraction(sights[-1].lows[0] - sights[0].lows[0], starts[-1] - starts[0]))
    moved = [
        [
            s.tilted(shape, axis, rate).windowed(axis, 1, 1, 1, at)
            for s, shape, at in zip(sights, shapes, starts, strict=True)
        ]
        for rate in sorted(rates, key=abs)
    ]
    return min(moved, key=lambda sights: max(max(s.highs) for s in sights) - min(min(s.lows) for s in sights))
