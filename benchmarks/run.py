"""How fast is jaxnn, on every workload, against every peer and against the machine, and how fast ought it to be?

Every workload is measured by its own script, in a process of its own, which prints its table; then all of them stand
in one table, with who is ahead of what, and whether that is what `_targets.py` asks for.

    python -m benchmarks.run                              every workload of every script: hours
    python -m benchmarks.run mlp-small sweep              a workload, and all of a script's
    python -m benchmarks.run cnn --rounds 15
    python -m benchmarks.run mlp-small import --quick     at a tiny size, which is never saved: does it work?

What was measured is put into `results/<device>.json`, where it replaces what was measured before of the same
workloads and nothing else, and the picture beside it is drawn anew. `python -m benchmarks.readme` then tells it in the
README. Names of workloads are their scripts' own, behind what `_results.PREFIXES` says: `optimizer-large` is the
workload `large` of `optimizers.py`.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _chart, _report, _results

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """A workload, and who measures it."""

    script: str
    workload: str  # as the script calls it

    @property
    def name(self) -> str:
        """Which no other has."""
        return _results.PREFIXES[self.script] + self.workload

    def run(self, *, rounds: int | None, quick: bool) -> dict[str, Any] | None:
        """Run the script on it, which prints; return what it saves, or `None` if it fails."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "saved.json"
            settings = ["--workload", self.workload, "--json", str(path), *["--quick"] * quick]
            if rounds is not None:
                settings += ["--rounds", str(rounds)]
            command = [sys.executable, "-m", f"benchmarks.{self.script}", *settings]
            done = subprocess.run(command, cwd=ROOT, check=False)
            return None if done.returncode else json.loads(path.read_text())


def jobs() -> list[Job]:
    """Return all that there is to measure."""
    modules = {script: importlib.import_module(f"benchmarks.{script}") for script in _results.PREFIXES}
    return [Job(script, workload) for script, module in modules.items() for workload in module.WORKLOADS]


def chosen(among: Sequence[Job], names: Sequence[str]) -> list[Job]:
    """Return the jobs of these names: a workload's, its script's or what stands before all names of a script's; or all.

    Raises:
        ValueError: There are none of such a name.
    """
    called = lambda job: {job.name, job.script, _results.PREFIXES[job.script].rstrip("-")}
    exact = {job.name for job in among}  # `cnn` is a workload and a script, and then it is the workload
    found = {
        name: [job for job in among if (job.name == name if name in exact else name in called(job))] for name in names
    }
    unknown = [name for name, of_it in found.items() if not of_it]
    if unknown:
        known = ", ".join(sorted({name for job in among for name in called(job) if name}))
        raise ValueError(f"expected names of workloads or of scripts; got {', '.join(unknown)} (hint: {known})")
    return list(dict.fromkeys(job for of_it in found.values() for job in of_it)) if names else list(among)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line; measure, print and save what it asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="workload", help="or a script; all by default")
    parser.add_argument("--rounds", type=int, help="how often every contestant is timed; each script's own by default")
    parser.add_argument("--quick", action="store_true", help="a tiny size, never saved: does it work?")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--results", type=Path, metavar="PATH", help="instead of benchmarks/results/<device>.json")
    given = parser.parse_args(arguments)
    if given.quick and given.results is not None:
        parser.error("expected no --results with --quick, because a tiny size says nothing about speed")
    try:
        todo = chosen(jobs(), given.workloads)
    except ValueError as error:
        parser.error(str(error))

    seen: _results.Entries = {}
    after: list[str] = []
    for job in todo:
        print(f"\n== {job.name}", flush=True)
        saved = job.run(rounds=given.rounds, quick=given.quick)
        if saved is None:
            after.append(f"failed: {job.name}")
            continue
        after += [f"left out: {job.name}, because {reason}" for reason in saved["left out"].values()]
        measured = _results.entries(job.script, saved)
        seen |= measured
        if measured and not (given.quick or given.no_save):
            path = given.results or _results.FOLDER / f"{_results.device(saved['machine'])}.json"
            _results.write(path, _results.read(path) | measured)  # at once, for who stops it later
            _chart.draw(_results.read(path), path.with_suffix(".png"))
    print("\n" + "\n".join([*([_report.table(_results.ordered(seen))] if seen else []), *after]), flush=True)
    if any(line.startswith("failed") for line in after):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
