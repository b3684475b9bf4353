"""How fast is a convolution, and each of its gradients, by itself and inside a loop?

For every geometry in `_geometries.py`, which is a workload, three maps are timed apart: `forward`, the gradient `by x`
and the gradient `by w`, each as a user gets it, from `nn.ops.conv` and `jax.vjp`, compiled, in float32.

==================  ================================================================================================
ours                one call
ours, in a scan     one of several in a `lax.scan`, each of other data: a training run is such a loop
XLA                 `lax.conv_general_dilated` and what JAX derives from it
XLA, in a scan      the same in a scan
PyTorch             what autograd calls, on contiguous tensors
PyTorch, ch._last   on tensors in memory format `channels_last`, where there are 2 or 3 spatial axes
==================  ================================================================================================

The arithmetic limit is the map's multiplications and additions, those with padding too, at the rate of a large matrix
product of the same round. Where little is computed of much data (a depthwise convolution) memory sets another limit:
x, w and y read or written once at its own rate. The last row of each geometry is a sweep: members with weights and
images of their own, forward and both gradients, under `jax.vmap` against one after another in a `lax.map`.
PyTorch is given padded images where padding differs between an axis' ends, which it cannot do itself.

    python -m benchmarks.conv_ops
    python -m benchmarks.conv_ops --quick
    python -m benchmarks.conv_ops --workload wide --workload cnn-2 --json benchmarks/results/conv-my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, three rounds;
the input gradient of 3x3 has become faster since, see NOTES.md): forward and gradients of 3x3 with 32 and 64 features
take 0.9 to 1.7 times the arithmetic limit, in a scan 0.9 to 1.1 times what they take outside. Over all geometries
XLA's take 1.9 (forward), 2.2 (by x) and 3.2 (by w) times as long outside of a loop, 2.5, 4.7 and 88 times in one. None
is faster in both; below 0.93 are, outside, `deep` by x (0.78, before it became faster), `1x1-strided` forward (0.87)
and `odd` by x (0.89), and in a scan `depthwise-strided` by x (0.58). PyTorch takes 0.6, 0.8 and 0.5 of our time:
groups, volumes and weight gradients of many taps are where it is ahead.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxnn as nn
from benchmarks import _command, _timing
from benchmarks._geometries import GEOMETRIES, Geometry

Arrays: TypeAlias = Sequence[Any]
"""x, w and dy."""

Convolve: TypeAlias = Callable[[Any, Any], Any]
"""A convolution of x with w."""

Map: TypeAlias = Callable[[Any, Any, Any], Any]
"""A convolution or a gradient of it, of x, w and dy."""

VARIED = {"forward": 0, "by x": 2, "by w": 0}
"""The three maps, and which of x, w and dy is another one in every call."""

OURS, XLA, PYTORCH = "ours", "XLA", "PyTorch"
IN_SCAN, CHANNELS_LAST = ", in a scan", ", ch._last"
VMAPPED, MAPPED = "ours, vmapped", "ours, one after another"

CALLS = 4
"""How many calls, each of other data, are gone through in turn, in a scan as outside."""

CALLS_OF_XLA_IN_SCAN = 2
"""And how many in a scan of XLA's, where the weight gradient can take 100 times as long."""

MEMBERS = 8
"""How many members a sweep has."""

LEAST = 5e-3
"""Seconds that a timing lasts at least: what is shorter is done several times in it."""

PATIENCE = 5.0
"""Seconds after which a contestant is not timed again."""


def workload(name: str, quick: bool) -> Geometry:
    """Return a geometry; a tiny one has two images of a quarter of the size."""
    geometry = replace(GEOMETRIES[name], name=name)
    if not quick:
        return geometry
    sizes = [max(size // 4, reach) for size, reach in zip(geometry.sizes, geometry.reach, strict=True)]
    return replace(geometry, batch=2, sizes=tuple(sizes))


WORKLOADS = {name: functools.partial(workload, name) for name in GEOMETRIES}


def ours(geometry: Geometry) -> Convolve:
    """Return jaxnn's convolution."""
    return functools.partial(
        nn.ops.conv,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
    )


def xla(geometry: Geometry) -> Convolve:
    """Return XLA's."""
    spatial = "DHW"[-len(geometry.sizes) :]
    return functools.partial(
        lax.conv_general_dilated,
        window_strides=geometry.strides,
        padding=geometry.ends,
        rhs_dilation=(geometry.dilation,) * len(geometry.sizes),
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=geometry.groups,
    )


def maps(convolve: Convolve) -> dict[str, Map]:
    """Return a convolution and its two gradients."""
    return {
        "forward": lambda x, w, dy: convolve(x, w),
        "by x": lambda x, w, dy: jax.vjp(lambda x: convolve(x, w), x)[1](dy)[0],
        "by w": lambda x, w, dy: jax.vjp(lambda w: convolve(x, w), w)[1](dy)[0],
    }


def pytorch(geometry: Geometry, *, channels_last: bool) -> tuple[dict[str, Map], Callable[..., Arrays]]:
    """Return PyTorch's three maps, and what makes its tensors of x, w and dy."""
    import torch

    if jax.default_backend() != "cpu":
        raise ImportError("it is asked for convolutions on a CPU")
    torch.set_num_threads(_timing.cores())
    rank = len(geometry.sizes)
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[rank] if channels_last else torch.contiguous_format
    even = all(low == high for low, high in geometry.ends)
    padding = [low if even else 0 for low, _ in geometry.ends]
    settings = geometry.strides, padding, (geometry.dilation,) * rank, False, (0,) * rank, geometry.groups

    def tensors(x: Any, w: Any, dy: Any) -> Arrays:
        x, w, dy = (torch.from_numpy(np.array(array)) for array in (x, w, dy))
        x, w, dy = x.movedim(-1, 1), w.movedim((-1, -2), (0, 1)), dy.movedim(-1, 1)
        if not even:
            x = torch.nn.functional.pad(x, tuple(itertools.chain.from_iterable(reversed(geometry.ends))))
        return [array.contiguous(memory_format=layout) for array in (x, w, dy)]

    def backward(*wanted: bool) -> Map:
        return lambda x, w, dy: torch.ops.aten.convolution_backward(dy, x, w, None, *settings, wanted)

    return {
        "forward": lambda x, w, dy: torch.ops.aten.convolution(x, w, None, *settings),
        "by x": backward(True, False, False),
        "by w": backward(False, True, False),
    }, tensors


@dataclass(frozen=True)
class Contestant:
    """What is called, and how often it computes a map in a call."""

    run: Callable[[], Any]
    times: int

    def for_long(self) -> "Contestant":
        """Return the same so many times over that it lasts `LEAST` seconds; it is called twice to find out."""
        self.run()
        more = min(math.ceil(LEAST / _timing.seconds(self.run)), 100)
        return Contestant(lambda: [self.run() for _ in range(more)], more * self.times)


def one_by_one(compute: Map, calls: Sequence[Arrays]) -> Contestant:
    """Return call after call."""
    return Contestant(lambda: [jax.block_until_ready(compute(*call)) for call in calls], len(calls))


def in_scan(compute: Map, calls: Sequence[Arrays], varied: int) -> Contestant:
    """Return one compiled loop over the calls. It carries what was computed last: nothing but the map is in it."""

    @jax.jit
    def loop(given, others):
        with_other = lambda other: [other if i == varied else array for i, array in enumerate(given)]
        result = jax.eval_shape(compute, *given)
        start = jnp.zeros(result.shape, result.dtype)
        return lax.scan(lambda _, other: (compute(*with_other(other)), None), start, others)[0]

    given, others = calls[0], jnp.stack([call[varied] for call in calls])
    return Contestant(lambda: loop(given, others).block_until_ready(), len(calls))


def contestants(geometry: Geometry, which: str) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Return whoever computes one of the three maps, and of those who are missing why."""
    given, varied = draw(geometry.shapes), VARIED[which]
    others = draw([geometry.shapes[varied]] * CALLS)
    calls = [[other if i == varied else array for i, array in enumerate(given)] for other in others]
    our, xlas = maps(ours(geometry))[which], maps(xla(geometry))[which]
    check(jax.jit(our)(*given), jax.jit(xlas)(*given), f"{geometry}, {which}")
    entered = {
        OURS: one_by_one(jax.jit(our), calls),
        OURS + IN_SCAN: in_scan(our, calls, varied),
        XLA: one_by_one(jax.jit(xlas), calls),
        XLA + IN_SCAN: in_scan(xlas, calls[:CALLS_OF_XLA_IN_SCAN], varied),
    }

    def peer(channels_last: bool) -> Contestant:
        computed, tensors = pytorch(geometry, channels_last=channels_last)
        return one_by_one(computed[which], [tensors(*call) for call in calls])

    layouts = (("", False), (CHANNELS_LAST, True))[: len(geometry.sizes)]
    peers = {PYTORCH + layout: functools.partial(peer, channels_last) for layout, channels_last in layouts}
    made, left_out = _timing.enter(peers)
    return entered | made, left_out


def draw(shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """Return random arrays of these shapes."""
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]


def check(result: Any, expected: Any, name: str) -> None:
    """Raise an error if what is timed is not what it is called."""
    error = float(jnp.abs(result - expected).max() / jnp.abs(expected).max())
    if not error < 1e-4:
        raise ValueError(f"expected what XLA computes, up to rounding; got a difference of {error:.1e} in {name}")


def sweep(geometry: Geometry) -> dict[str, Contestant]:
    """Return forward and both gradients of members with arrays of their own, at once and one after another."""
    members = draw([(MEMBERS, *shape) for shape in geometry.shapes])

    def member(x, w, dy):
        y, gradients = jax.vjp(ours(geometry), x, w)
        return y, gradients(dy)

    at_once, in_turn = jax.jit(jax.vmap(member)), jax.jit(lambda *arrays: lax.map(lambda each: member(*each), arrays))
    for one, other in zip(jax.tree.leaves(at_once(*members)), jax.tree.leaves(in_turn(*members)), strict=True):
        check(one, other, f"{geometry}, under vmap")
    return {
        VMAPPED: Contestant(lambda: jax.block_until_ready(at_once(*members)), MEMBERS),
        MAPPED: Contestant(lambda: jax.block_until_ready(in_turn(*members)), MEMBERS),
    }


def measure(geometry: Geometry, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    given = draw(geometry.shapes)
    programs = {
        which: {
            who: asdict(_timing.program(jax.jit(maps(convolve(geometry))[which]), *given))
            for who, convolve in ((OURS, ours), (XLA, xla))
        }
        for which in VARIED
    }
    found = {which: contestants(geometry, which) for which in VARIED}
    entered = {which: of_map for which, (of_map, _) in found.items()} | {"sweep": sweep(geometry)}
    each = {(which, who): found.for_long() for which, all_ in entered.items() for who, found in all_.items()}
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)
    probes = {("machine", "product"): product, ("machine", "stream"): stream}
    runs = {name: entry.run for name, entry in (each | probes).items()}
    times = _timing.alternate(runs, rounds=rounds, patience=PATIENCE)
    rates = product.rates(times["machine", "product"]), stream.rates(times["machine", "stream"])
    return {
        "workload": str(geometry),
        "microseconds": {
            which: {
                who: [1e6 * taken / each[which, who].times for taken in times[which, who].rounds]
                for who in entered[which]
            }
            for which in entered
        },
        "programs": programs,
        "limit": _timing.limit(geometry.operations, geometry.moved, *rates),
        "left out": found["forward"][1],
    }


def compared(result: _command.Results, which: str) -> dict[str, list[float]]:
    """Return the ratios of interest, one for each round, of one of the three maps."""
    seen, bound = result["microseconds"][which], result["limit"]
    layouts = [times for who, times in seen.items() if who.startswith(PYTORCH)]
    found = {
        "ours / arithmetic": (seen[OURS], bound["microseconds of arithmetic"]),
        "ours / with memory": (seen[OURS], bound["microseconds"]),
        "scan / outside": (seen[OURS + IN_SCAN], seen[OURS]),
        "XLA / ours": (seen[XLA], seen[OURS]),
        "both in a scan": (seen[XLA + IN_SCAN], seen[OURS + IN_SCAN]),
    }
    if layouts:
        found["PyTorch / ours"] = (min(layouts, key=statistics.median), seen[OURS])  # in its better layout
    return {name: _timing.ratios(*pair) for name, pair in found.items()}


def table(result: _command.Results) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds."""
    seen = result["microseconds"]
    rows: list[Sequence[str]] = [("", "ours, us", *compared(result, "forward"))]
    for which in VARIED:
        ratios = (_timing.spread(values, 2) for values in compared(result, which).values())
        rows.append((which, _timing.spread(seen[which][OURS]), *ratios))
    together = _timing.spread(_timing.ratios(seen["sweep"][VMAPPED], seen["sweep"][MAPPED]), 2)
    last = f"{MEMBERS} members under vmap take {together} of the time that they take one after another"
    lines = [f"{last}; {_timing.rates(result['limit'])}", *_timing.absent(result["left out"])]
    return "\n".join([result["workload"], _timing.aligned(rows), *lines])


def summary(results: Mapping[str, _command.Results]) -> str:
    """Return of every ratio the geometric mean over the geometries, and the worst for us with its name."""
    rows = [("over all geometries: mean, worst", *compared(next(iter(results.values())), "forward"))]
    for which in VARIED:
        medians = {
            name: {ratio: statistics.median(values) for ratio, values in compared(result, which).items()}
            for name, result in results.items()
        }
        cells = []
        for ratio in rows[0][1:]:
            values = {name: found[ratio] for name, found in medians.items()}
            worst = (min if ratio in SLOWER else max)(values, key=values.__getitem__)
            cells.append(f"{statistics.geometric_mean(values.values()):.2f}, {values[worst]:.2f} {worst}")
        rows.append((which, *cells))
    return _timing.aligned(rows)


SLOWER = ("XLA / ours", "both in a scan", "PyTorch / ours")
"""Ratios of which the smallest is the worst."""


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=7, tiny=("cnn-2", "32-groups", "causal"), summary=summary)
