"""The command line that every benchmark has, and what becomes of the answers: printed, and kept as JSON.

python -m benchmarks.x                        every workload
python -m benchmarks.x --quick                at a tiny size: does it work, not how fast is it
python -m benchmarks.x --workload a --workload b --rounds 15 --json benchmarks/results/my-machine.json
"""

import argparse
import datetime
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import _timing

Results: TypeAlias = dict[str, Any]
"""What was measured of one workload, as JSON has it."""


def main(
    question: str | None,
    workloads: Mapping[str, Callable[[bool], Any]],
    measure: Callable[..., Results],
    table: Callable[[Results], str],
    *,
    rounds: int,
    tiny: Iterable[str] | None = None,
    summary: Callable[[Mapping[str, Results]], str] | None = None,
) -> None:
    """Read the command line; measure, print and perhaps save what it asks for.

    Args:
        question: The benchmark's docstring, of which the first line is shown as help.
        workloads: How to make each workload, given whether it shall be a tiny one.
        measure: Called with a workload and the keywords `rounds` and `quick`.
        table: What was measured of a workload, for a reader.
        rounds: How often every contestant is timed, unless the command line says otherwise.
        tiny: Which workloads a quick run takes, unless the command line says otherwise; all by default.
        summary: What was measured of all of them, for a reader in a hurry.
    """
    parser = argparse.ArgumentParser(description=(question or "").partition("\n")[0])
    parser.add_argument("--workload", action="append", choices=workloads, help="all by default; may be given twice")
    parser.add_argument("--rounds", type=int, help="how often every contestant is timed")
    parser.add_argument("--json", type=Path, metavar="PATH", help="a new file for all that was measured")
    parser.add_argument("--quick", action="store_true", help="a tiny size: does it work, not how fast is it")
    given = parser.parse_args()
    if given.json is not None and given.json.exists():
        parser.error(f"expected a new file, because results are never overwritten; got {given.json}")

    rounds = given.rounds or (2 if given.quick else rounds)
    told: list[str] = []
    left_out: dict[str, str] = {}
    begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def tell(text: str) -> None:
        print(text, flush=True)
        told.extend(text.splitlines())

    machine, seen = _timing.machine(), {}
    print(_timing.header(machine), flush=True)
    for name in given.workload or (tiny if given.quick and tiny is not None else workloads):
        print()
        try:
            workload = workloads[name](given.quick)
        except ImportError as error:
            left_out[name] = str(error)
            tell("\n".join(_timing.absent({name: str(error)})))
            continue
        seen[name] = measure(workload, rounds=rounds, quick=given.quick)
        tell(table(seen[name]))
    if summary is not None and seen:
        print()
        tell(summary(seen))
    if given.json is not None:
        results = {"machine": machine, "date": begun, "rounds": rounds, "quick": given.quick}
        _timing.save(given.json, results | {"workloads": seen, "left out": left_out, "tables": told})
