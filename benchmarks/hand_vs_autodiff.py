"""Where is a backward that is written by hand faster than the one that JAX derives?

For every op and loss with a hand-written pair, forward and backward together, compiled, in float32: `op.fwd` and then
`op.bwd`, against `jax.vjp` of `op.plain`, in which no rule is installed. Every workload is a group of ops.

======================  ============================================================================================
in a scan               by JAX / by hand, each one call of several in a `lax.scan`, as a training run is a loop
outside                 by JAX / by hand, each a program of its own
least                   of both in the scan the smallest time, by JAX / by hand: what a busy machine disturbs least
memory                  what each program of one call takes beside arguments and results, in KiB
wins                    yes where by hand is faster in the scan by 5% or more, by the median and by the smallest time
installed               whether `jax.grad` uses the pair today
======================  ============================================================================================

A rule that wins is worth installing where the op matters; one that does not win is taken out. A convolution is measured
whole, and what is installed are the maps that it is made of.

    python -m benchmarks.hand_vs_autodiff
    python -m benchmarks.hand_vs_autodiff --quick
    python -m benchmarks.hand_vs_autodiff --workload softmax --json benchmarks/results/hand-my-machine.json
"""

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxnn as nn
from benchmarks import _command, _timing
from benchmarks._rows_of_ops import GROUPS, Row
from benchmarks.conv_ops import Contestant

Both: TypeAlias = Callable[[Any, Any], Any]
"""Forward and backward: from arrays and the cotangent of the output to the output and the cotangents of the arrays."""

HAND, JAX, IN_SCAN = "by hand", "by JAX", ", in a scan"

CALLS = 4
"""How many calls, each of other data, a scan has."""

MARGIN = 1.05
"""By how much a rule wins that wins."""

PATIENCE = 5.0
"""Seconds after which a contestant is not timed again."""

MAPS = nn.ops.conv, nn.ops.conv_transpose, nn.ops.depthwise_conv
"""What calls the maps of a convolution, which have the rules."""


@dataclass(frozen=True)
class Workload:
    """A group of ops."""

    name: str
    rows: Sequence[Row]


def workload(name: str, quick: bool) -> Workload:
    """Return a group; a tiny one has arrays of a few numbers."""
    return Workload(name, GROUPS[name](quick))


def roads(row: Row) -> dict[str, Both]:
    """Return the two ways to the same gradient."""

    def by_hand(arrays, dy):
        y, residuals = row.op.fwd(*arrays, **row.settings)
        return y, smooth(arrays, row.op.bwd(residuals, dy, **row.settings))

    def by_jax(arrays, dy):
        y, backward = jax.vjp(functools.partial(row.op.plain, **row.settings), *arrays)
        return y, smooth(arrays, backward(dy))

    return {HAND: by_hand, JAX: by_jax}


def smooth(arrays: Any, d_arrays: Any) -> list[Any]:
    """Return the cotangents of floating arrays; dropout's rate has none by hand, and is not asked for by JAX."""
    of = jax.tree.structure(arrays).flatten_up_to(d_arrays[: len(arrays)])  # what is left out has none
    return [
        jnp.zeros_like(a) if d is None else d
        for a, d in zip(jax.tree.leaves(arrays), of, strict=True)
        if jnp.issubdtype(a.dtype, jnp.floating) and a.ndim > 0
    ]


def in_scan(both: Both) -> Callable[[Any, Any], Any]:
    """Return one loop over calls. It carries what was computed last: nothing but the op is in it."""

    def loop(all_arrays, dys):
        first = jax.tree.map(lambda a: a[0], (all_arrays, dys))
        start = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(both, *first))
        return lax.scan(lambda _, call: (both(*call), None), start, (all_arrays, dys))[0]

    return loop


def measure(group: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what both roads took, for every op."""
    return {"workload": group.name, "ops": {row.op.name: of_row(row, rounds=rounds) for row in group.rows}}


def of_row(row: Row, *, rounds: int) -> dict[str, Any]:
    """Return what both roads took for one op."""
    calls = [row.arrays(seed) for seed in range(CALLS)]
    y = jax.eval_shape(functools.partial(row.op.plain, **row.settings), *calls[0])
    random = np.random.default_rng(CALLS)
    dys = [jax.tree.map(lambda y: jnp.asarray(random.standard_normal(y.shape), y.dtype), y) for _ in calls]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *calls), jax.tree.map(lambda *d: jnp.stack(d), *dys)
    runs, memory, results = {}, {}, {}
    for name, both in roads(row).items():
        alone = jax.jit(both).lower(calls[0], dys[0]).compile()
        loop = jax.jit(in_scan(both)).lower(*stacked).compile()
        results[name] = alone(calls[0], dys[0])
        runs[name] = Contestant(functools.partial(_waited, alone, calls[0], dys[0]), 1).for_long()
        runs[name + IN_SCAN] = Contestant(functools.partial(_waited, loop, *stacked), CALLS).for_long()
        sizes = alone.memory_analysis()
        memory[name] = None if sizes is None else sizes.temp_size_in_bytes
    check(results[HAND], results[JAX], row.op.name)
    times = _timing.alternate({name: entry.run for name, entry in runs.items()}, rounds=rounds, patience=PATIENCE)
    return {
        "microseconds": {name: [1e6 * t / runs[name].times for t in times[name].rounds] for name in runs},
        "temporary bytes": memory,
        "installed": installed(row.op),
    }


def _waited(run: Callable[..., Any], *arrays: Any) -> None:
    jax.block_until_ready(run(*arrays))


def installed(op: nn.Op) -> bool:
    """Return whether `jax.grad` uses the pair; of a convolution the maps it is made of have it."""
    return op.installed or op in MAPS


def check(hand: Any, expected: Any, name: str) -> None:
    """Raise an error if the two do not compute the same."""
    for one, other in zip(jax.tree.leaves(hand), jax.tree.leaves(expected), strict=True):
        error, largest = np.abs(np.asarray(one) - np.asarray(other)).max(), np.abs(np.asarray(other)).max()
        if not error <= 1e-3 * max(largest, 1e-3):
            raise ValueError(f"expected what JAX derives, up to rounding; got a difference of {error:.1e} in {name}")


def wins(result: Mapping[str, Any]) -> bool:
    """Return whether the pair is faster in a scan by the margin, by the median of ratios and by the least times."""
    hand, auto = (result["microseconds"][name + IN_SCAN] for name in (HAND, JAX))
    return min(statistics.median(_timing.ratios(auto, hand)), min(auto) / min(hand)) >= MARGIN


def table(result: _command.Results) -> str:
    """Return what was measured of a group, for a reader: median (smallest .. largest) over the rounds."""
    rows: list[Sequence[str]] = [
        (result["workload"], "by hand, us", "in a scan", "least", "outside", "memory", "by JAX", "wins", "installed")
    ]
    for name, seen in result["ops"].items():
        of = seen["microseconds"]
        ratio = lambda where: _timing.spread(_timing.ratios(of[JAX + where], of[HAND + where]), 2)  # noqa: B023
        kibibytes = (
            "-" if size is None else f"{size / 2**10:.0f}" for size in map(seen["temporary bytes"].get, (HAND, JAX))
        )
        least = _timing.number(min(of[JAX + IN_SCAN]) / min(of[HAND + IN_SCAN]))
        told = ("yes" if yes else "no" for yes in (wins(seen), seen["installed"]))
        times = _timing.number(statistics.median(of[HAND + IN_SCAN]), 1)
        rows.append((name, times, ratio(IN_SCAN), least, ratio(""), *kibibytes, *told))
    return _timing.aligned(rows)


def summary(results: Mapping[str, _command.Results]) -> str:
    """Return which rules are installed and do not win, and which win and are not installed."""
    ops = {name: seen for result in results.values() for name, seen in result["ops"].items()}
    told = lambda names: ", ".join(names) or "none"
    useless = told(name for name, seen in ops.items() if seen["installed"] and not wins(seen))
    useful = told(name for name, seen in ops.items() if wins(seen) and not seen["installed"])
    return f"installed, but does not win: {useless}\nwins, but is not installed: {useful}"


WORKLOADS = {name: functools.partial(workload, name) for name in GROUPS}

if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=9, summary=summary)
