"""A rule for each primitive: what its output sees of the input, given what an operand sees.

The moves of `ops/_windows.py`, and all others that a program is made of.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any, TypeAlias

from jaxnn._programs._sight import Sight, changed

MOST_STEPS = 64
"""Elements of several axes that are told apart when these become one: what is enlarged 8 times along two axes."""

Rule: TypeAlias = Callable[[Any, int, Sight, Sequence[int]], Sight]
"""`rule(eqn, k, sight, out)`: what the output, of shape `out`, sees through operand k of eqn, which sees `sight`."""


def _shape(eqn: Any, k: int) -> tuple[int, ...]:
    return eqn.invars[k].aval.shape


def anything(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    return sight.folded(_shape(eqn, k), range(len(sight.rates))).placed([None] * len(out))


def _elementwise(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    return sight if len(sight.rates) == len(out) else sight.placed([None] * len(out))  # a scalar goes with all


def _along(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    """Elements along one axis are mixed; the array keeps its axes."""
    (axis,) = (eqn.params[name] for name in ("axis", "dimension") if name in eqn.params)
    return sight.folded(_shape(eqn, k), [axis])


def _reduced(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    axes = eqn.params["axes"]
    return sight.folded(_shape(eqn, k), axes).placed(a for a in range(len(sight.rates)) if a not in axes)


def _squeezed(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    return sight.placed(a for a in range(len(sight.rates)) if a not in eqn.params["dimensions"])


def _broadcast(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    shape = _shape(eqn, k)
    sight = sight.folded(shape, [a for a, n in enumerate(shape) if n == 1])
    before = {new: old for old, new in enumerate(eqn.params["broadcast_dimensions"])}
    return sight.placed(map(before.get, range(len(out))))


def _transposed(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    return sight.placed(eqn.params["permutation"])


def _reversed(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    for axis in eqn.params["dimensions"]:
        sight = sight.windowed(axis, 1, -1, 1, 1 - out[axis])
    return sight


def _sliced(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    strides = eqn.params["strides"] or [1] * len(out)
    for axis, (start, stride) in enumerate(zip(eqn.params["start_indices"], strides, strict=True)):
        sight = sight.windowed(axis, 1, int(stride), 1, -int(start))
    return sight


def _padded(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    if k:  # what is padded with
        return anything(eqn, k, sight, out)
    for axis, (low, _, interior) in enumerate(eqn.params["padding_config"]):
        sight = sight.windowed(axis, 1, 1, 1, int(low), int(interior) + 1)
    return sight


def _reshaped(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    """Axes that become others are one axis in between, from each element to the next in row-major order."""
    shape, rates, stepped = _shape(eqn, k), [Fraction(0)] * len(out), 0
    if 0 in shape:
        return anything(eqn, k, sight, out)
    sight = sight.folded(shape, [axis for axis, n in enumerate(shape) if n == 1])
    for before, after in _same_elements(shape, out):
        sight, rate = _in_a_row(sight, shape, before)
        if sight.axis == before[0] and len(after) > 1 and out[after[-1]] % len(sight.lows):  # steps do not fit into it
            sight = sight.straight(math.prod(shape[a] for a in before), sight.rates[before[0]])
        if sight.axis == before[0]:
            stepped = after[-1]
        for axis in after:
            rates[axis] = rate * math.prod(out[a] for a in after if a > axis)
    return Sight(tuple(rates), sight.lows, sight.highs, stepped if len(sight.lows) > 1 else 0)


def _in_a_row(sight: Sight, shape: Sequence[int], axes: Sequence[int]) -> tuple[Sight, Fraction]:
    """Return a sight along several axes as one along the first of them, and its rate: that with which it sees least."""
    first, *inner = axes
    if not inner:
        return sight, Fraction(sight.rates[first])
    steps = {axis: math.prod(shape[a] for a in axes if a > axis) for axis in axes}
    if len(sight.lows) > 1 and sight.axis in inner:
        sight = sight.straight(shape[sight.axis], sight.rates[sight.axis])
    if len(sight.lows) == 1 or sight.axis == first:
        sight, offsets = sight._replace(axis=first), [0]
        if sight.rates[first] and len(sight.lows) * steps[first] <= MOST_STEPS:
            for axis in inner:
                offsets = [o + sight.rates[axis] * i for o in offsets for i in range(shape[axis])]
            seen = [(low + o, high + o) for low, high in map(sight.at, range(len(sight.lows))) for o in offsets]
            rate = Fraction(sight.rates[first], steps[first])
            lows, highs = zip(*seen, strict=True)
            return Sight(changed(sight.rates, first, rate), lows, highs, first), rate
        sight = sight.straight(shape[first], sight.rates[first])

    def straight(rate: Fraction) -> Sight:
        return reduce(lambda s, axis: s.tilted(shape, axis, rate * steps[axis]), axes, sight)

    rate = min({Fraction(sight.rates[axis], steps[axis]) for axis in axes}, key=lambda rate: straight(rate).width)
    return straight(rate), rate


def _same_elements(shape: Sequence[int], out: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    """Split the axes of two shapes, in order, into the smallest groups with as many elements in both; leave out 1s."""
    left, right = ([a for a, n in enumerate(sizes) if n != 1] for sizes in (shape, out))
    while left or right:
        before, after = [left.pop(0)], [right.pop(0)]
        while (m := math.prod(shape[a] for a in before)) != (n := math.prod(out[a] for a in after)):
            (before if m < n else after).append((left if m < n else right).pop(0))
        yield before, after


def _window(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    p = eqn.params
    settings = (
        p[name] for name in ("window_dimensions", "window_strides", "window_dilation", "padding", "base_dilation")
    )
    for axis, (taps, stride, dilation, (low, _), between) in enumerate(zip(*settings, strict=True)):
        sight = sight.windowed(axis, *map(int, (taps, stride, dilation, low, between)))
    return sight


def _convolved(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    if k:  # the weights
        return anything(eqn, k, sight, out)
    p = eqn.params
    (batch, features, *spatial), weights, to = p["dimension_numbers"]
    taps = [_shape(eqn, 1)[axis] for axis in weights[2:]]
    settings = (taps, p["window_strides"], p["rhs_dilation"], p["padding"], p["lhs_dilation"])
    sight = sight.folded(_shape(eqn, 0), [features] if p["batch_group_count"] == 1 else [features, batch])
    for axis, n, stride, dilation, (low, _), between in zip(spatial, *settings, strict=True):
        sight = sight.windowed(axis, *map(int, (n, stride, dilation, low, between)))
    before = dict(zip(to, (batch, features, *spatial), strict=True)) | {to[1]: None}
    return sight.placed(before[axis] for axis in range(len(out)))


def _multiplied(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    """A product of matrices, whose axes are those of the batch, then the rows of one and the columns of the other."""
    contracted, batch = (both[k] for both in eqn.params["dimension_numbers"])
    own = [axis for axis in range(len(sight.rates)) if axis not in (*contracted, *batch)]
    others = [None] * (len(out) - len(batch) - len(own))
    return sight.folded(_shape(eqn, k), contracted).placed(
        [*batch, *own, *others] if k == 0 else [*batch, *others, *own]
    )


def _looked_up(eqn: Any, k: int, sight: Sight, out: Sequence[int]) -> Sight:
    if k == 0:  # the table
        return anything(eqn, k, sight, out)
    rows, last = itertools.count(), len(sight.rates) - 1
    offsets = eqn.params["dimension_numbers"].offset_dims
    return sight.folded(_shape(eqn, k), [last]).placed(None if a in offsets else next(rows) for a in range(len(out)))


CALLS = frozenset(
    ["jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"]
)
"""Primitives that run a program on their operands."""

_ELEMENT_BY_ELEMENT = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy copy_p cos cosh
    digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt max
    min mul ne neg nextafter not or pow reduce_precision rem round rsqrt select_n sharding_constraint sign sin sinh sqrt
    square stop_gradient sub tan tanh xor
"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENT_BY_ELEMENT.split(), _elementwise),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "sort", "split"], _along),
    **dict.fromkeys([f"reduce_{kind}" for kind in ("sum", "max", "min", "prod", "and", "or")], _reduced),
    **dict.fromkeys(["argmax", "argmin"], _reduced),
    **dict.fromkeys([f"reduce_window_{kind}" for kind in ("sum", "max", "min")], _window),
    "broadcast_in_dim": _broadcast,
    "conv_general_dilated": _convolved,
    "dot_general": _multiplied,
    "gather": _looked_up,
    "pad": _padded,
    "reshape": _reshaped,
    "rev": _reversed,
    "slice": _sliced,
    "squeeze": _squeezed,
    "transpose": _transposed,
}
"""By the name of a primitive; one that is not here is taken to mix everything."""
