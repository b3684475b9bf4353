"""Training against each other: what the benchmarks of training measure, and how they tell it.

Every contestant trains the same model with Adam, from new parameters, for the same number of epochs of the same
number of steps, in float32, and says what its last epoch's mean loss was: all should have learned about as much.
Times hold everything that happens during a run: drawing the parameters, checking the data, shuffling, batches. The
first call compiles too. Beside them stand what it takes to trace and to compile the program that takes the steps, and
the memory it needs beside its arguments: its results and what it keeps on the way. That of a `fit` is a whole run,
that of a loop in Python a single step; PyTorch's memory is what it allocates at the most.

The limit is what the machine could do if nothing were in the way: the operations of the products in a step, at the
rate of a large matrix product, then the bytes that Adam moves, at the rate of main memory. Both rates are measured in
every round.
"""

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import jax

from benchmarks import _timing
from benchmarks._command import Results
from benchmarks._training import Makers
from benchmarks._workload import Contestant, Workload

PATIENCE = 60.0
"""Seconds after which a contestant is not timed again."""


def measure(workload: Workload, *, makers: Makers, rounds: int, quick: bool) -> Results:
    """Return what a step of every contestant took, and what the machine could have done."""
    entered, left_out = _timing.enter(makers, workload)
    work = workload.operations, workload.moved
    return race(str(workload), entered, *work, part="step", left_out=left_out, rounds=rounds, quick=quick)


def race(
    title: str,
    entered: Mapping[str, Contestant],
    operations: float,
    moved: float,
    *,
    part: str,
    left_out: Mapping[str, str] | None = None,
    rounds: int,
    quick: bool,
) -> Results:
    """Return what a part of every contestant's run took, and what the machine could have done.

    Args:
        title: What they do.
        entered: The contestants, that by name with which the others are compared first.
        operations: Floating-point operations of a part.
        moved: Bytes that a part moves.
        part: What it is called.
        left_out: Who is not among the contestants, and why.
        rounds: How often all of them are timed.
        quick: Whether to measure the machine at a tiny size.
    """
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)
    programs = {name: contestant.program() for name, contestant in entered.items()}
    jax.clear_caches()  # or what the programs have in common with the runs would not be in the first calls
    losses = {}

    def noted(name: str) -> None:
        losses[name] = entered[name].run()

    runs = {name: functools.partial(noted, name) for name in entered} | {"product": product.run, "stream": stream.run}
    times = _timing.alternate(runs, rounds=rounds, patience=PATIENCE)
    rates = product.rates(times["product"]), stream.rates(times["stream"])
    return {
        "workload": title,
        "part": part,
        "contestants": {
            name: {
                "microseconds": [1e6 * taken / entered[name].parts for taken in times[name].rounds],
                "first call in seconds": times[name].first,
                "program": asdict(programs[name]),
                "last loss": losses[name],
            }
            for name in entered
        },
        "limit": _timing.limit(operations, moved, *rates),
        "left out": dict(left_out or {}),
    }


def table(result: Results) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds."""
    (first, ours), *_ = ((name, seen["microseconds"]) for name, seen in result["contestants"].items())
    unit, scale = ("us", 1.0) if statistics.median(ours) < 1000 else ("ms", 1e-3)
    time = lambda microseconds: _timing.spread([scale * each for each in microseconds], 1 if unit == "us" else 2)
    against = lambda microseconds: _timing.spread(_timing.ratios(microseconds, ours), 2)
    heads = "over the first", "trace, s", "compile, s", "first call, s", "memory, MiB", "last loss"
    rows: list[Sequence[str]] = [("", f"{unit} a {result['part']}", *heads)]
    for name, seen in result["contestants"].items():
        program = seen["program"]
        mebibytes = None if program["memory"] is None else program["memory"] / 2**20
        numbers = program["trace"], program["compile"], seen["first call in seconds"], mebibytes
        cells = (time(seen["microseconds"]), against(seen["microseconds"]), *map(_timing.number, numbers))
        rows.append((name, *cells, _timing.number(seen["last loss"], 4)))
    limit = result["limit"]
    rows.append(("limit", time(limit["microseconds"]), against(limit["microseconds"])))
    above = _timing.spread(_timing.ratios(ours, limit["microseconds"]), 2)
    last = [f"{first} / limit {above}, {_timing.rates(limit)}", *_timing.absent(result["left out"])]
    return "\n".join([result["workload"], _timing.aligned(rows), *last])
