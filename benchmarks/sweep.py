"""How fast are whole training runs many at a time, against one after another?

===========  ===============================================================================  ========================
workload     runs                                                                             what it measures
===========  ===============================================================================  ========================
`mlp-small`  that of `training.py` for each of 16 learning rates with each of 16 seeds        small members
`mlp`        that of `training.py`, one epoch, for 4 learning rates with 2 seeds              members of large products
`cnn`        that of `cnn.py` for 4 learning rates with 2 seeds                               members that convolve
===========  ===============================================================================  ========================

jaxnn's members run in the blocks that `nn.sweep` makes: on all devices, of which a CPU has one for each core here, or
on one; within a device at once (`vmap`) or one after another (`map`). "A call each" is one compiled program of a
member, called with one learning rate and seed after the other; "nn.sweep, compiling" is the whole call, with what it
traces and compiles.

Those that run members by a call or a loop each do so with `TIMED` of them, whose learning rates reach from one end to
the other. Times are of a run: that of the call for all is divided by their number. The loss is the mean over the
members that all have run. The rest is as in `_race.py`.

    python -m benchmarks.sweep
    python -m benchmarks.sweep --quick
    python -m benchmarks.sweep --workload cnn --rounds 9 --json benchmarks/results/sweep-my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, five rounds):
on `mlp-small` 5.1 ms a run on two devices; one call after another takes 2.4 times (2.0 .. 3.0) as long, scikit-learn 33
times, PyTorch 53 times (52 .. 62), and a whole call of `nn.sweep` with all it compiles 3.2 times. There members at once
are faster than one after another on a device, by 1.24 (1.04 .. 1.30) on two, and blocks of 32 no faster than of 8. On
`mlp` and `cnn`, measured before with blocks of 32, one after another is faster, taking 0.88 (0.81 .. 0.93) and 0.80
(0.79 .. 0.82) of the time, and there two devices bring little, because one run alone has both cores compute its
products. PyTorch takes 1.5 and 1.2 times as long there as one after another.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from benchmarks import _command, _race, _timing, _train_pytorch, cnn, training
from benchmarks._workload import Contestant, Workload
from jaxnn.search._members import Blocks
from jaxnn.search._sweep import AT_MOST

TIMED = 8
"""Members that run one after another."""
MORE = 32
"""Members of larger blocks on each device, for comparison where there are enough."""
KEY = 0
"""The seed of the sweep's key."""


@dataclass(frozen=True)
class Sweep:
    """A training run for every learning rate with every seed."""

    workload: Workload  # but for its learning rate
    learning_rates: np.ndarray
    seeds: int
    on_a_device: int | None = None  # members of a block; as many as `nn.sweep` has by default if None

    @property
    def members(self) -> list[tuple[int, int]]:
        """Which learning rate, which seed."""
        return list(itertools.product(range(self.learning_rates.size), range(self.seeds)))

    @property
    def some(self) -> list[int]:
        """Members to run one after another."""
        return sorted({*np.linspace(0, len(self.members) - 1, TIMED).astype(int).tolist()})

    def __str__(self) -> str:
        n, low, high = self.learning_rates.size, self.learning_rates.min(), self.learning_rates.max()
        return (
            f"{len(self.members)} runs, {n} learning rates from {low:g} to {high:g} with {self.seeds} "
            f"seed{'s' * (self.seeds > 1)} each, of {self.workload}"
        )


def mlp_small(quick: bool) -> Sweep:
    """Return a sweep of the smallest workload."""
    n = 2 if quick else 16
    return Sweep(training.mlp_small(quick), np.logspace(-4, -1, n, dtype=np.float32), n)


def mlp(quick: bool) -> Sweep:
    """Return a sweep of larger matrix products."""
    n = 2 if quick else 4
    return Sweep(replace(training.mlp(quick), epochs=1), np.logspace(-4, -2, n, dtype=np.float32), 2)


def convolutional(quick: bool) -> Sweep:
    """Return a sweep of convolutional networks."""
    n = 2 if quick else 4
    return Sweep(cnn.cnn(quick), np.logspace(-4, -2, n, dtype=np.float32), 1 if quick else 2)


WORKLOADS = {"mlp-small": mlp_small, "mlp": mlp, "cnn": convolutional}


def in_blocks(sweep: Sweep, method: Literal["vmap", "map"], devices: Sequence[Any]) -> Contestant:
    """Return the blocks of `nn.sweep`, compiled before."""
    dtypes = {"learning_rate": jnp.float32}
    blocks = Blocks(functools.partial(last_loss, sweep), {}, jax.random.key(KEY), dtypes, method, devices)
    on_a_device = sweep.on_a_device or AT_MOST.get(devices[0].platform, AT_MOST["elsewhere"])
    size = min(on_a_device * len(devices), len(sweep.members))
    trials, seeds = np.array(sweep.members, np.int32).T.reshape(2, -1, size)
    rates = sweep.learning_rates[trials]
    compiled: list[Any] = []

    def run() -> float:
        if not compiled:
            compiled.append(blocks.trace(size).lower().compile())
        asked = [
            compiled[0](jax.random.key(KEY), *numbers, {"learning_rate": rate})
            for *numbers, rate in zip(trials, seeds, rates, strict=True)
        ]
        return float(np.concatenate(jax.device_get(asked))[sweep.some].mean())

    def program() -> _timing.Program:
        args = jax.random.key(KEY), trials[0], seeds[0], {"learning_rate": rates[0]}
        return _timing.program(blocks.function, *args)

    return Contestant(run, len(sweep.members), program)


def whole_call(sweep: Sweep) -> Contestant:
    """Return `nn.sweep`, with what it traces and compiles."""
    space = nn.search.Grid(learning_rate=sweep.learning_rates)

    def run() -> float:
        made = functools.partial(last_loss, sweep)  # a new function, or it would be traced no more
        swept = nn.sweep(made, space, jax.random.key(KEY), seeds=sweep.seeds, progress=False)
        return float(np.ravel(swept.values)[sweep.some].mean())

    return Contestant(run, len(sweep.members))


def a_call_each(sweep: Sweep) -> Contestant:
    """Return a call for each member, of one compiled program."""

    @jax.jit
    def run_one(trial, seed, learning_rate):
        return last_loss(sweep, nn.search.member_key(jax.random.key(KEY), trial, seed), learning_rate)

    members = [sweep.members[member] for member in sweep.some]
    calls = [(np.int32(trial), np.int32(seed), sweep.learning_rates[trial]) for trial, seed in members]

    def run() -> float:
        return float(np.mean([float(run_one(*call)) for call in calls]))

    return Contestant(run, len(calls), lambda: _timing.program(run_one, *calls[0]))


def last_loss(sweep: Sweep, key: jax.Array, learning_rate: jax.Array) -> jax.Array:
    """Return the last loss of a whole run, which is a function like any other."""
    workload = sweep.workload
    trainer = nn.trainer(workload.jaxnn, nn.losses.cross_entropy, nn.adam(learning_rate))
    start = trainer.init(key, workload.data.x)
    _, history = nn.fit(trainer, start, workload.data, epochs=workload.epochs, batch_size=workload.batch_size)
    return history["loss"][-1]


def a_loop_each(sweep: Sweep, make: Any) -> Contestant:
    """Return a peer's run of each member."""
    rates = [float(sweep.learning_rates[sweep.members[member][0]]) for member in sweep.some]
    members = [make(replace(sweep.workload, learning_rate=rate)) for rate in rates]
    return Contestant(lambda: float(np.mean([member.run() for member in members])), len(members), members[0].program)


def measure(sweep: Sweep, *, rounds: int, quick: bool) -> _command.Results:
    """Return what a run of every contestant took, and what the machine could have done."""
    workload, devices = sweep.workload, jax.devices()
    entered = {}
    for some in [devices, devices[:1]] if len(devices) > 1 else [devices]:
        for method in "vmap", "map":
            name = f"jaxnn, {method}, {len(some)} device{'s' * (len(some) > 1)}"
            entered[name] = in_blocks(sweep, method, some)
    if len(sweep.members) >= MORE * len(devices):
        name = f"jaxnn, vmap, {MORE} on each"
        entered[name] = in_blocks(replace(sweep, on_a_device=MORE), "vmap", devices)
    entered |= {"jaxnn, a call each": a_call_each(sweep), "nn.sweep, compiling": whole_call(sweep)}
    peers = {}
    for threads in sorted({1, _timing.cores()}):
        name = f"PyTorch, {threads} thread{'s' * (threads > 1)}"
        convolves = len(workload.data.x.shape) > 2
        peers[name] = functools.partial(_train_pytorch.pytorch, threads=threads, channels_last=convolves)
    if workload.name == "mlp-small":
        peers["scikit-learn"] = training.scikit_learn
    made, left_out = _timing.enter({name: functools.partial(a_loop_each, sweep, make) for name, make in peers.items()})
    work = workload.run_steps * workload.operations, workload.run_steps * workload.moved
    entered |= made
    return _race.race(str(sweep), entered, *work, part="run", left_out=left_out, rounds=rounds, quick=quick)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", _timing.cores())  # or only one core would have members
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=5)
