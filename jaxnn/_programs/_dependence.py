"""What every array of a program sees of its input: `_rules.py` from operand to output, through branches and loops."""

import itertools
from collections.abc import Sequence
from typing import Any

from jax.extend.core import Literal, jaxprs_in_params

from jaxnn._programs._rules import CALLS, RULES, Rule, anything
from jaxnn._programs._sight import Seen, hull, side_by_side, union


def follow(jaxpr: Any, seen: Sequence[Seen], named: dict[str, Seen]) -> list[Seen]:
    """Return what the outputs of a program see, given what its inputs see.

    Args:
        jaxpr: The program.
        seen: What each of its inputs sees.
        named: Is given what each array sees that `checkpoint_name` has named in it.
    """
    known: dict[Any, Seen] = dict(zip(jaxpr.invars, seen, strict=True))
    for eqn in jaxpr.eqns:
        ins = [None if isinstance(v, Literal) else known.get(v) for v in eqn.invars]
        known.update(zip(eqn.outvars, _step(eqn, ins, named), strict=True))
    return [None if isinstance(v, Literal) else known.get(v) for v in jaxpr.outvars]


def _step(eqn: Any, ins: list[Seen], named: dict[str, Seen]) -> list[Seen]:
    if all(each is None for each in ins):
        return [None] * len(eqn.outvars)
    name, bodies = eqn.primitive.name, list(jaxprs_in_params(eqn.params))
    if name in CALLS:
        return follow(bodies[0], ins, named)
    if name == "scan":
        return _scan(eqn, bodies[0], ins, named)
    if name == "cond":
        # Which branch is taken depends on all that the index, the first operand, sees.
        shapes = [out.aval.shape for out in eqn.outvars]
        index = [_through(anything, eqn, 0, ins[0], shape) for shape in shapes]
        branches = zip(*(follow(body, ins[1:], named) for body in bodies), strict=True)
        return [union([*each, i], shape) for each, i, shape in zip(branches, index, shapes, strict=True)]
    if name == "concatenate":
        return [_joined(eqn, ins)]
    if name == "name":
        named[eqn.params["name"]] = ins[0]
        return ins
    rule = RULES.get(name, anything)
    return [
        union([_through(rule, eqn, k, each, out.aval.shape) for k, each in enumerate(ins)], out.aval.shape)
        for out in eqn.outvars
    ]


def _through(rule: Rule, eqn: Any, k: int, seen: Seen, out: Sequence[int]) -> Seen:
    return None if seen is None else tuple(rule(eqn, k, sight, out) for sight in seen)


def _scan(eqn: Any, body: Any, ins: list[Seen], named: dict[str, Seen]) -> list[Seen]:
    """Run the body as often as the loop does, or until nothing changes.

    Of what is scanned over, a step is taken to see what any of them sees.
    """
    inner, outer = [v.aval.shape for v in body.invars], [v.aval.shape for v in eqn.invars]
    scanned = sum(len(o) > len(i) for i, o in zip(inner, outer, strict=True))
    stacked = sum(len(o.aval.shape) > len(i.aval.shape) for i, o in zip(body.outvars, eqn.outvars, strict=True))
    carried, given = len(body.outvars) - stacked, len(ins) - scanned
    consts, carry, xs = ins[: given - carried], ins[given - carried : given], ins[given:]
    each = lambda s, shape: s.folded(shape, [0]).placed(range(1, len(shape)))
    xs = [s and tuple(each(a, shape) for a in s) for s, shape in zip(xs, outer[given:], strict=True)]
    shapes, ys = [v.aval.shape for v in body.outvars[carried:]], [None] * stacked
    for _ in range(eqn.params["length"]):
        new = follow(body, [*consts, *carry, *xs], named)
        ys = [union(pair, shape) for *pair, shape in zip(ys, new[carried:], shapes, strict=True)]
        if new[:carried] == carry:
            break
        carry = new[:carried]
    return [*carry, *(y and tuple(a.placed([None, *range(len(a.rates))]) for a in y) for y in ys)]


def _joined(eqn: Any, ins: Sequence[Seen]) -> Seen:
    axis, out = int(eqn.params["dimension"]), eqn.outvars[0].aval.shape
    shapes = [v.aval.shape for v in eqn.invars]
    starts = [0, *itertools.accumulate(shape[axis] for shape in shapes)]
    parts = [(each, shape, start) for each, shape, start in zip(ins, shapes, starts, strict=False) if each is not None]
    dependent, shapes, starts = zip(*parts, strict=True)
    return tuple(hull(side_by_side(s, shapes, axis, starts), out) for s in zip(*dependent, strict=True))
