"""How the benchmarks measure: in rounds, each contestant against the others and against the machine itself.

A time on its own says little, for machines differ and are shared. A ratio of two times that were taken one after
the other, in one process, says more; the median of several such ratios, and how far they spread, is what to trust.
What a compiled program costs before it runs, to trace and to compile, is measured apart, and so is the memory it
takes.
"""

import importlib.metadata
import itertools
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax

import jaxnn

Name = TypeVar("Name")

Made = TypeVar("Made")

PACKAGES = ("jax", "jaxlib", "optax", "flax", "equinox", "keras", "torch", "scikit-learn", "numpy")

REST = 0.05
"""Seconds between two contestants, because the threads of one go on spinning for a while after its end."""

BRIEF, WARM = 1.0, 0.05
"""Seconds below which a call is preceded by others for so long: after a rest it takes some ten milliseconds until all
cores work again, which can double the time of a call of ten."""


def enter(makers: Mapping[str, Callable[..., Made]], *args: Any) -> tuple[dict[str, Made], dict[str, str]]:
    """Make each contestant that can be made here; return these, and of the others why not.

    Ours can be made everywhere: another would else take its place, as the first.

    >>> def missing():
    ...     raise ImportError("No module named 'x'")
    >>> enter({"ours": lambda: 1, "a peer": missing})
    ({'ours': 1}, {'a peer': "No module named 'x'"})
    """
    entered: dict[str, Made] = {}
    left_out: dict[str, str] = {}
    for name, make in makers.items():
        try:
            entered[name] = make(*args)
        except ImportError as error:
            if name.startswith(("jaxnn", "ours")):
                raise
            left_out[name] = str(error)
    return entered, left_out


def absent(left_out: Mapping[str, str]) -> list[str]:
    """Return a line for each contestant that could not be made, for a reader.

    >>> absent({"a peer": "No module named 'x'"})
    ["left out: a peer, because No module named 'x'"]
    """
    return [f"left out: {name}, because {reason}" for name, reason in left_out.items()]


@dataclass(frozen=True)
class Times:
    """What one contestant took, in seconds."""

    first: float  # the call that compiles, where something does
    rounds: tuple[float, ...]  # the calls that count


def alternate(
    contestants: Mapping[Name, Callable[[], Any]], *, rounds: int, patience: float = math.inf
) -> dict[Name, Times]:
    """Call every contestant once to warm up, and then all of them in turn: A B C A B C ...

    A contestant waits for its own result, or its time is only that of asking for it. One whose calls have taken
    more than `patience` seconds rests after its first round, so that the slowest does not decide how often the
    others are timed.
    """
    first = {name: seconds(run) for name, run in contestants.items()}
    taken: dict[Name, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if not taken[name] or first[name] + sum(taken[name]) <= patience:
                taken[name].append(seconds(run, warm=WARM if min([first[name], *taken[name]]) < BRIEF else 0))
    return {name: Times(first[name], tuple(taken[name])) for name in contestants}


def seconds(run: Callable[[], Any], *, warm: float = 0) -> float:
    """Return how long a call takes, after others have taken so long."""
    time.sleep(REST)
    start = time.perf_counter()
    while time.perf_counter() - start < warm:
        run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Program:
    """What a program costs before it runs, and what it takes while it does; `None` is not known."""

    trace: float | None = None  # seconds from Python to JAX's own form of it
    compile: float | None = None  # seconds from there to machine code
    memory: int | None = None  # bytes beside its arguments: its results, and what it needs on the way


def program(function: Any, *args: Any) -> Program:
    """Trace and compile a jitted function as if nothing had been before. Whatever was compiled so far is forgotten."""
    jax.clear_caches()
    start = time.perf_counter()
    traced = function.trace(*args)
    between = time.perf_counter()
    compiled = traced.lower().compile()
    end = time.perf_counter()
    sizes = compiled.memory_analysis()
    memory = None if sizes is None else sizes.temp_size_in_bytes + sizes.output_size_in_bytes
    return Program(between - start, end - between, memory)


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


def limit(operations: float, moved: float, product: Sequence[float], stream: Sequence[float]) -> dict[str, Any]:
    """Return what so many operations and bytes take at least, in every round at the rates of that round, as JSON."""
    arithmetic = [1e6 * operations / rate for rate in product]
    memory = [1e6 * moved / rate for rate in stream]
    return {
        "operations": operations,
        "operations per second": list(product),
        "bytes": moved,
        "bytes per second": list(stream),
        "microseconds of arithmetic": arithmetic,
        "microseconds": [a + m for a, m in zip(arithmetic, memory, strict=False)],
    }


def rates(of: Mapping[str, Any]) -> str:
    """Return at what rates a `limit` is reached, for a reader."""
    gflops, gbytes = (statistics.median(of[f"{what} per second"]) / 1e9 for what in ("operations", "bytes"))
    return f"at {gflops:.1f} GFLOP/s and {gbytes:.1f} GB/s"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below, round by round, of the rounds that both were in.

    >>> ratios([2.0, 3.0, 4.0], [1.0, 2.0])
    [2.0, 1.5]
    """
    return [a / b for a, b in zip(above, below, strict=False)]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median with the smallest and the largest value.

    >>> spread([1.0, 2.0, 4.0])
    '2.0 (1.0 .. 4.0)'
    """
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number, or a dash where there is none.

    >>> number(1.005, 1), number(None)
    ('1.0', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of columns: the first column begins at the left, the others end at the right.

    >>> print(aligned([("", "us"), ("ours", "12.0"), ("a peer", "7.0")]))
              us
    ours    12.0
    a peer   7.0
    """
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    cells = lambda row: (cell.rjust(width) for cell, width in zip(row, widths[1:], strict=False))
    return "\n".join("  ".join([first.ljust(widths[0]), *cells(rest)]) for first, *rest in rows)


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
