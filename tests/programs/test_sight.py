"""What is said of an array after a move covers what was said before it, element by element, in random cases."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from jaxnn._programs._sight import Sight, hull, side_by_side

SHAPE = (2, 7, 5)


def drawn(random, rates=None):
    """A sight of an array of that shape: steps or none, along any axis, with any rates."""
    axis, steps = int(random.integers(3)), int(random.choice([1, 1, 2, 3]))
    ratio = lambda: Fraction(int(random.integers(-4, 5)), int(random.integers(1, 4)))
    rates = rates or tuple(ratio() if random.random() < 0.7 else 0 for _ in SHAPE)
    lows = tuple(ratio() for _ in range(steps))
    return Sight(rates, lows, tuple(low + abs(ratio()) for low in lows), axis if steps > 1 else 0)


def ends(sight, index):
    """low(i) and high(i), as the documentation of a sight has them."""
    r = index[sight.axis] % len(sight.lows)
    moved = sum(rate * i for rate, i in zip(sight.rates, index, strict=True)) - sight.rates[sight.axis] * r
    return sight.lows[r] + moved, sight.highs[r] + moved


def elements(shape=SHAPE):
    return itertools.product(*map(range, shape))


def covers(sight, index, of, other):
    low, high = ends(sight, index)
    first, last = ends(of, other)
    return low <= first and last <= high


@pytest.fixture(params=range(20))
def random(request):
    return np.random.default_rng(request.param)


def test_at_is_what_the_documentation_says(random):
    sight = drawn(random)
    for i in range(-9, 9):
        assert sight.at(i) == ends(sight, tuple(i if a == sight.axis else 0 for a in range(3)))


def test_another_rate_covers_all(random):
    sight, axis, rate = drawn(random), int(random.integers(3)), Fraction(int(random.integers(-3, 4)), 2)
    tilted, folded = sight.tilted(SHAPE, axis, rate), sight.folded(SHAPE, [axis])
    straight = sight.straight(SHAPE[sight.axis], rate)
    assert (tilted.rates[axis], folded.rates[axis], straight.rates[sight.axis]) == (rate, 0, rate)
    assert len(straight.lows) == 1
    for i in elements():
        assert all(covers(new, i, sight, i) for new in (tilted, folded, straight))


def test_what_is_folded_is_not_too_much_where_steps_are_along_that_axis(random):
    sight = drawn(random)
    folded = sight.folded(SHAPE, [sight.axis])
    zero = (0, 0, 0)
    seen = [sight.at(i) for i in range(SHAPE[sight.axis])]
    assert ends(folded, zero) == (min(low for low, _ in seen), max(high for _, high in seen))


@pytest.mark.parametrize("same", [True, False], ids=["the same rates", "any rates"])
def test_a_hull_covers_all(random, same):
    rates = drawn(random).rates if same else None
    sights = [drawn(random, rates) for _ in range(3)]
    for i in elements():
        assert all(covers(hull(sights, SHAPE), i, sight, i) for sight in sights)


def test_a_hull_of_like_stairs_is_not_too_much(random):
    first = drawn(random)
    second = first.wider(Fraction(int(random.integers(-3, 4))), Fraction(int(random.integers(4, 6))))
    together = hull([first, second], SHAPE)
    for i in elements():
        lows, highs = zip(ends(first, i), ends(second, i), strict=True)
        assert ends(together, i) == (min(lows), max(highs))


def test_arrays_side_by_side_are_covered(random):
    axis, starts = int(random.integers(3)), (0, 3, 4)
    sights = [drawn(random) for _ in starts]
    shapes = [tuple(int(random.integers(1, 4)) if a == axis else n for a, n in enumerate(SHAPE)) for _ in starts]
    moved = side_by_side(sights, shapes, axis, starts)
    assert len({sight.rates[axis] for sight in moved}) == 1
    for sight, new, shape, start in zip(sights, moved, shapes, starts, strict=True):
        for i in elements(shape):
            assert covers(new, tuple(p + start * (a == axis) for a, p in enumerate(i)), sight, i)


def test_windows_cover_just_what_is_in_them(random):
    sight, axis = drawn(random), int(random.integers(3))
    taps, stride, dilation, between = (int(n) for n in random.integers(1, 4, size=4))
    low = int(random.integers(-2, 3))
    windows = sight.windowed(axis, taps, int(random.choice([stride, -stride])), dilation, low, between)
    stride = stride if windows == sight.windowed(axis, taps, stride, dilation, low, between) else -stride
    exact = sight.axis == axis or len(sight.lows) == 1
    for i in elements():
        places = [stride * i[axis] + dilation * j - low for j in range(taps)]
        inside = [tuple(p // between if a == axis else n for a, n in enumerate(i)) for p in places if p % between == 0]
        assert all(covers(windows, i, sight, before) for before in inside)
        if exact and inside:
            lows, highs = zip(*(ends(sight, before) for before in inside), strict=True)
            assert ends(windows, i) == (min(lows), max(highs))


def test_axes_are_moved_with_what_is_seen_along_them(random):
    sight, order = drawn(random), [int(a) for a in random.permutation(3)]
    placed = sight.placed([*order[:2], None, order[2]])
    for i in elements((2, 2, 2)):
        before = tuple(i[order.index(a)] for a in range(3))
        assert ends(placed, (*i[:2], 1, i[2])) == ends(sight, before)
    left = sight.placed(order[1:])  # only the first along order[0] is left
    for i in elements((3, 3)):
        before = tuple(0 if a == order[0] else i[order[1:].index(a)] for a in range(3))
        assert ends(left, i) == ends(sight, before)
