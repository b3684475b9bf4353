"""What was measured: where it is kept, and how to read it.

`results/<device>.json` has an entry for every workload: who measured it, when and on what machine, in how many rounds,
and its result as the script has it. So what is measured again replaces its own entry, and no other.

A result names its contestants, ours first, with the microseconds of every round and the bytes of memory that its
program takes; the limit of every round; and who was left out, and why.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]
"""What was measured of one workload, as JSON: `script`, `date`, `machine`, `rounds`, `quick` and `result`."""

Entries: TypeAlias = dict[str, Entry]
"""By the name that `benchmarks.run` gives a workload."""

FOLDER = Path(__file__).parent / "results"

PREFIXES = {
    "training": "",
    "cnn": "",
    "recurrence": "",
    "gpt": "",
    "optimizers": "optimizer-",
    "cross_entropy": "cross-entropy-",
    "sweep": "sweep-",
    "ensemble": "ensemble-",
    "waiting": "",
    "driver": "driver-",
    "conv_ops": "conv-",
    "hand_vs_autodiff": "hand-",
}
"""What stands before a script's own names of its workloads, so that no two are alike; in the order of every table."""


def device(machine: Mapping[str, Any]) -> str:
    """Return what a machine's results are called: the CPU by its cores, another device by its name.

    >>> device({"device": "cpu: cpu", "cores": 2}), device({"device": "gpu: NVIDIA H200", "cores": 16})
    ('cpu-2-cores', 'nvidia-h200')
    """
    kind, _, name = machine["device"].partition(": ")
    return f"cpu-{machine['cores']}-cores" if kind == "cpu" else re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def entries(script: str, saved: Mapping[str, Any]) -> Entries:
    """Return an entry for each workload of what a script saves by itself (`--json`)."""
    about = {"script": f"benchmarks.{script}", **{name: saved.get(name) for name in ("date", "rounds", "quick")}}
    of_each = saved["workloads"].items()
    return {
        PREFIXES[script] + name: {**about, "machine": saved["machine"], "result": result} for name, result in of_each
    }


def read(path: Path) -> Entries:
    """Return what a results file holds; nothing if there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def everything(folder: Path = FOLDER) -> dict[str, Entries]:
    """Return the results of every device, without those of a tiny size.

    What a script saved beside them by itself is not among them.
    """
    found = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    of_devices = {device: entries for device, entries in found.items() if "workloads" not in entries}
    real = lambda entries: {name: entry for name, entry in entries.items() if not entry["quick"]}
    return {device: ordered(real(entries)) for device, entries in of_devices.items()}


def ordered(found: Entries) -> Entries:
    """Return entries in the order of the scripts."""
    order = [f"benchmarks.{script}" for script in PREFIXES]
    return dict(sorted(found.items(), key=lambda entry: order.index(entry[1]["script"])))


def write(path: Path, found: Entries) -> None:
    """Write a results file whole or not at all, its entries in the order of the scripts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    half.write_text(json.dumps(ordered(found), indent=1) + "\n")
    os.replace(half, path)


def comparable(result: Mapping[str, Any]) -> bool:
    """Return whether a result has contestants; what has not stands in its script's own table alone."""
    return bool(result.get("contestants") or result.get("microseconds"))


def views(found: Entries) -> Entries:
    """Return entries of which each has one time a round; of such as are measured in several states, one for each.

    Without those that have no contestants.

    >>> process = {"result": {"contestants": {"ours": {"seconds": {"cold": [2.0], "warm": [1.0]}}}}}
    >>> [(name, each["result"]["contestants"]) for name, each in views({"first": process}).items()]
    [('first, cold', {'ours': {'microseconds': [2000000.0]}}), ('first, warm', {'ours': {'microseconds': [1000000.0]}})]
    """
    seen: Entries = {}
    for name, entry in found.items():
        result = entry["result"]
        each = result.get("contestants", {})
        states = list(next((of["seconds"] for of in each.values() if "seconds" in of), {}))
        for state in states:
            times = {who: [1e6 * seconds for seconds in of["seconds"][state]] for who, of in each.items()}
            # That beyond which the others are measured takes nothing beyond itself.
            some = {who: {"microseconds": taken} for who, taken in times.items() if any(taken)}
            view = name if len(states) == 1 else f"{name}, {state}"
            seen[view] = {**entry, "result": {**result, "contestants": some}}
        if not states and comparable(result):
            seen[name] = entry
    return seen


@dataclass(frozen=True)
class Seen:
    """What was seen of a contestant."""

    microseconds: Sequence[float]  # of every round
    memory: float | None = None  # bytes; None is not known


def contestants(result: Mapping[str, Any]) -> dict[str, Seen]:
    """Return what was seen of each contestant, ours first. Of a convolution it is its three maps together."""
    if "contestants" in result:
        return {
            name: Seen(seen["microseconds"], (seen.get("program") or {}).get("memory"))
            for name, seen in result["contestants"].items()
        }
    times, programs = result["microseconds"], result.get("programs", {})
    if isinstance(next(iter(times.values())), Mapping):
        maps = [which for which in times if which in programs]
        memory = lambda name: max((programs[which].get(name) or {}).get("memory") or math.nan for which in maps)
        each_round = lambda name: [sum(parts) for parts in zip(*(times[which][name] for which in maps), strict=False)]
        return {name: Seen(each_round(name), known(memory(name))) for name in times[maps[0]]}
    return {name: Seen(taken, programs.get(name, {}).get("memory")) for name, taken in times.items()}


def known(value: float) -> float | None:
    """Return a number, or `None` for one that is none."""
    return None if math.isnan(value) else value


def limit(result: Mapping[str, Any]) -> Sequence[float] | None:
    """Return the microseconds that the machine takes at least, in every round, or `None` where no limit is known."""
    of = result.get("limit")
    if of is None:
        return None
    # Of a convolution it is that of one map, of which there are three.
    maps = len(result["programs"]) if "forward" in result.get("microseconds", {}) else 1
    return [maps * each for each in of["microseconds"]]
