"""What was measured of all workloads, in one table, and whether it is what `_targets.py` asks for."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import _results, _targets, _timing
from benchmarks._results import Entries, Seen


@dataclass(frozen=True)
class Verdict:
    """What is asked of a workload, and what came of it."""

    workload: str
    asked: str  # in words
    row: str | None = None  # the contestant, or the limit, by which it stands; None: it was not measured
    least: float | None = None  # what it asks for,
    most: float | None = None  # one of the two
    ratios: Sequence[float] = ()  # what was measured
    by_hand: float | None = None  # and its median on the hand's road, where that is another

    @property
    def met(self) -> bool | None:
        """Whether it is met, or `None` if it was not measured."""
        return self.meets(statistics.median(self.ratios)) if self.ratios else None

    def meets(self, value: float) -> bool:
        """Return whether a value is what is asked for."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def answer(self) -> str:
        """Whether it is met, for a reader."""
        if self.met is None:
            return "not measured"
        if self.met or self.by_hand is None:
            return "yes" if self.met else "no"
        return f"no; by hand {digits(self.by_hand)}, {'yes' if self.meets(self.by_hand) else 'no'}"


def verdicts(workload: str, result: Mapping[str, Any]) -> list[Verdict]:
    """Return what is asked of a workload, with what was measured."""
    seen, limit = _results.contestants(result), _results.limit(result)
    ours, *_ = seen.values()
    hand = next((seen[name] for name in _targets.ROADS if name in seen), None)
    found = []
    for target in _targets.TARGETS:
        if target.workload == workload:
            asked = Verdict(workload, f"{target.against} / ours >= {target.factor:g}", least=target.factor)
            peer = fastest(seen, target.against)
            if peer is not None:
                above = seen[peer].microseconds
                by_hand = None if hand is None else statistics.median(_timing.ratios(above, hand.microseconds))
                asked = replace(asked, row=peer, ratios=_timing.ratios(above, ours.microseconds), by_hand=by_hand)
            found.append(asked)
    if workload in _targets.LIMITS:
        most = _targets.LIMITS[workload]
        asked = Verdict(workload, f"ours / limit <= {most:g}", most=most)
        if limit is not None:
            by_hand = None if hand is None else statistics.median(_timing.ratios(hand.microseconds, limit))
            asked = replace(asked, row=LIMIT, ratios=_timing.ratios(ours.microseconds, limit), by_hand=by_hand)
        found.append(asked)
    if workload in _targets.SECONDS:
        most = _targets.SECONDS[workload]
        taken = [each / 1e6 for each in ours.microseconds]
        found.append(Verdict(workload, f"seconds <= {most:g}", next(iter(seen)), most=most, ratios=taken))
    return found + list(of_roads(workload, seen))


def of_roads(workload: str, seen: Mapping[str, Seen]) -> Iterator[Verdict]:
    """Yield what is asked of the hand's road where both were measured: its time, and its memory."""
    for name, other in _targets.ROADS.items():
        if name in seen and other in seen:
            hand, autodiff = seen[name], seen[other]
            time = _timing.ratios(hand.microseconds, autodiff.microseconds)
            asked = f"by hand / by autodiff <= {_targets.BY_HAND:g}"
            yield Verdict(workload, asked, name, most=_targets.BY_HAND, ratios=time)
            if hand.memory and autodiff.memory:
                memory = [hand.memory / autodiff.memory]
                yield Verdict(workload, "in memory <= 1", name, most=1.0, ratios=memory)


LIMIT = "limit"


def fastest(seen: Mapping[str, Seen], against: str) -> str | None:
    """Return the name of the fastest contestant of a peer or of a group of them, or `None` if there is none.

    By the ratios of the rounds that it was in, which may be fewer than others were.
    """
    ours, *_ = seen.values()
    over = lambda name: statistics.median(_timing.ratios(seen[name].microseconds, ours.microseconds))
    return min([name for name in seen if _targets.called(against, name)], key=over, default=None)


def headline(found: Entries) -> Entries:
    """Return what one trains or waits for, as `views`; details are for those who want to know why."""
    return {name: entry for name, entry in _results.views(found).items() if not name.startswith(DETAILS)}


DETAILS = ("driver-", "conv-", "hand-")
"""How the names of such workloads begin."""


def table(found: Entries) -> str:
    """Return one table of all that was measured: medians over the rounds, smallest .. largest, for a reader.

    By each workload stand its contestants, ours first, with time and memory and what these are over ours, and the
    limit. Where something is asked for stands what, and whether it is so. Who was left out follows.
    """
    rows: list[Sequence[str]] = [("", "time", "over ours", "memory, MiB", "over ours", "to reach", "reached")]
    after = [
        f"{name}: in its script's own table"
        for name, entry in found.items()
        if not _results.comparable(entry["result"])
    ]
    for workload, entry in _results.views(found).items():
        result = entry["result"]
        seen, limit, asked = _results.contestants(result), _results.limit(result), verdicts(workload, result)
        ours, *_ = seen.values()
        rows.append((workload + ", quick" * bool(entry["quick"]),))
        for name, each in seen.items():
            over = ratio(_timing.ratios(each.microseconds, ours.microseconds)) if each is not ours else ""
            more = each.memory / ours.memory if each.memory and ours.memory and each is not ours else None
            memory = mebibytes(each.memory), "" if more is None else digits(more)
            of_row = [verdict for verdict in asked if verdict.row == name]
            rows.append(ended(f"  {name}", time(each.microseconds), over, *memory, *judged(of_row)))
        if limit is not None:
            over = f"1 / {ratio(_timing.ratios(ours.microseconds, limit))}"
            of_row = [verdict for verdict in asked if verdict.row == LIMIT]
            rows.append(ended(f"  {LIMIT}", time(limit), over, "", "", *judged(of_row)))
        after += [f"{workload}: {line}" for line in _timing.absent(result.get("left out", {}))]
        after += [f"{workload}: not measured, to reach {each.asked}" for each in asked if each.row is None]
    return "\n".join([_timing.aligned(rows), *after])


def ended(*cells: str) -> Sequence[str]:
    """Return a row that ends with its last cell that has something in it.

    >>> ended("a", "", "b", "")
    ('a', '', 'b')
    """
    last = max((place for place, cell in enumerate(cells) if cell), default=-1)
    return cells[: last + 1]


def judged(of: Sequence[Verdict]) -> tuple[str, str]:
    """Return the cells for what is asked in a row, and whether it is so."""
    return ", ".join(verdict.asked for verdict in of), ", ".join(verdict.answer for verdict in of)


def digits(value: float) -> str:
    """Return a ratio to three digits, or the digits before the point.

    >>> digits(0.123), digits(1.234), digits(12.34), digits(1234.5)
    ('0.12', '1.23', '12.3', '1234')
    """
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def ratio(values: Sequence[float]) -> str:
    """Return the median of ratios, and in brackets the smallest and the largest.

    >>> ratio([0.5, 1.0, 20.0]), ratio([2.0])
    ('1.00 (0.50 .. 20.0)', '2.00')
    """
    middle, ends = digits(statistics.median(values)), f"({digits(min(values))} .. {digits(max(values))})"
    return f"{middle} {ends}" if len(values) > 1 else middle


def time(microseconds: Sequence[float]) -> str:
    """Return the median with its unit.

    >>> time([1.0, 30.0, 50.0]), time([2345.0]), time([4.2e6])
    ('30.0 us', '2.35 ms', '4.20 s')
    """
    middle = statistics.median(microseconds)
    unit, scale = ("us", 1.0) if middle < 1e3 else ("ms", 1e-3) if middle < 1e6 else ("s", 1e-6)
    return f"{digits(scale * middle)} {unit}"


def mebibytes(memory: float | None) -> str:
    """Return bytes as mebibytes.

    >>> mebibytes(3 * 2**20), mebibytes(None)
    ('3.00', '-')
    """
    return "-" if memory is None else digits(memory / 2**20)
