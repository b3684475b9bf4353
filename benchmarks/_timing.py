"""How the benchmarks measure: in rounds, each contestant against the others and against the machine itself.

A time on its own says little, for machines differ and are shared. A ratio of two times that were taken one after
the other, in one process, says more; the median of several such ratios, and how far they spread, is what to trust.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import jaxnn

PACKAGES = ("jax", "jaxlib", "optax", "flax", "torch", "scikit-learn", "numpy")

REST = 0.05
"""Seconds between two contestants, because the threads of one go on spinning for a while after its end."""


@dataclass(frozen=True)
class Times:
    """What one contestant took, in seconds."""

    first: float  # the call that compiles, where something does
    rounds: tuple[float, ...]  # the calls that count


def alternate(contestants: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, Times]:
    """Call every contestant once to warm up, and then all of them in turn: A B C A B C ...

    A contestant waits for its own result, or its time is only that of asking for it.
    """
    first = {name: seconds(run) for name, run in contestants.items()}
    taken = [{name: seconds(run) for name, run in contestants.items()} for _ in range(rounds)]
    return {name: Times(first[name], tuple(each[name] for each in taken)) for name in contestants}


def seconds(run: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    time.sleep(REST)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Probe:
    """A contestant whose work is known, by which a rate of the machine is measured."""

    run: Callable[[], Any]
    work: float  # floating-point operations, or bytes, of one call

    def rates(self, times: Times) -> list[float]:
        """Return the work done per second in every round."""
        return [self.work / taken for taken in times.rounds]


def matrix_product(*, quick: bool = False) -> Probe:
    """Return a large float32 matrix product: floating-point operations."""
    n = 512 if quick else 2048 if jax.default_backend() == "cpu" else 8192
    a, b = jax.random.normal(jax.random.key(0), (2, n, n))
    product = jax.jit(lambda a, b: a @ b)
    return Probe(lambda: product(a, b).block_until_ready(), 2 * n**3)


def streaming(*, quick: bool = False) -> Probe:
    """Return a <- a + b in place, on arrays that no cache holds: bytes read and written."""
    n = 2**20 if quick else 2**25 if jax.default_backend() == "cpu" else 2**28
    a, b = jax.random.normal(jax.random.key(0), (2, n))
    add = jax.jit(lambda a, b: a + b, donate_argnums=0)

    def run() -> None:
        nonlocal a
        a = add(a, b).block_until_ready()

    return Probe(run, 3 * 4 * n)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below, round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median with the smallest and the largest value.

    >>> spread([1.0, 2.0, 4.0])
    '    2.0 (1.0 .. 4.0)'
    """
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:7.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def machine() -> dict[str, Any]:
    """Return what the times depend on and the code does not say."""
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "processor": processor(),
        "cores": cores(),
        "load average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"jaxnn": jaxnn.__version__} | {name: version(name) for name in PACKAGES},
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def processor() -> str:
    """Return the processor's name, or of what kind it is where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str:
    """Return the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def header(of: Mapping[str, Any]) -> str:
    """Return `machine()` for a reader."""
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    rest = {name: value for name, value in of.items() if name != "versions"}
    return "\n".join([*(f"{name:>12}  {value}" for name, value in rest.items()), f"{'versions':>12}  {versions}"])


def save(path: Path, results: Mapping[str, Any]) -> None:
    """Write results as JSON to a file that does not exist yet.

    Raises:
        FileExistsError: It does exist; what was measured once cannot be measured again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x") as file:
        json.dump(results, file, indent=2)
        file.write("\n")
