"""How fast are 256 whole training runs in one compiled call, against one after another?

===========  ===================================================================================
workload     runs
===========  ===================================================================================
`mlp-small`  that of `training.py`, for each of 16 learning rates with each of 16 seeds
===========  ===================================================================================

Those that run members one after another do so with `TIMED` of them, whose learning rates reach from one end to the
other: jaxnn with one compiled program that takes learning rate and seed, PyTorch with a loop for each. Times are of a
run: that of the call for all is divided by their number. The loss is the mean over the members that all have run. The
rest is as in `_race.py`.

    python benchmarks/sweep.py
    python benchmarks/sweep.py --quick
    python benchmarks/sweep.py --rounds 9 --json benchmarks/results/sweep-my-machine.json

Last measured answer (results/sweep-cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, five rounds):
4.9 ms a run if all 256 are in one call; one jaxnn run after another takes 1.96 times (1.53 .. 2.09) as long, PyTorch 28
times (23 .. 29).
"""

import functools
from dataclasses import dataclass, replace

import _command
import _race
import _timing
import _training
import jax
import jax.numpy as jnp
import numpy as np
import training
from _workload import Contestant, Workload

import jaxnn as nn

TIMED = 8
"""Members that run one after another."""


@dataclass(frozen=True)
class Sweep:
    """A training run for every learning rate with every seed."""

    workload: Workload  # but for its learning rate
    learning_rates: np.ndarray
    seeds: np.ndarray

    @property
    def some(self) -> list[tuple[int, int]]:
        """Members to run one after another: which learning rate, which seed."""
        members = np.linspace(0, self.learning_rates.size * self.seeds.size - 1, TIMED).astype(int)
        return [divmod(int(member), self.seeds.size) for member in members]

    def __str__(self) -> str:
        n, m = self.learning_rates.size, self.seeds.size
        low, high = self.learning_rates.min(), self.learning_rates.max()
        return f"{n * m} runs, {n} learning rates from {low:g} to {high:g} with {m} seeds each, of {self.workload}"


def mlp_small(quick: bool) -> Sweep:
    """Return a sweep of the smallest workload."""
    n = 4 if quick else 16
    return Sweep(training.mlp_small(quick), np.logspace(-4, -1, n, dtype=np.float32), np.arange(n))


WORKLOADS = {"mlp-small": mlp_small}


def jaxnn_vmapped(sweep: Sweep) -> Contestant:
    """Return one compiled call for all members."""
    runs = jax.jit(jax.vmap(jax.vmap(functools.partial(last_loss, sweep), (None, 0)), (0, None)))
    rates, seeds = jnp.asarray(sweep.learning_rates), jnp.asarray(sweep.seeds)

    def run() -> float:
        losses = np.asarray(runs(rates, seeds))
        return float(np.mean([losses[member] for member in sweep.some]))

    return Contestant(run, rates.size * seeds.size, lambda: _timing.program(runs, rates, seeds))


def jaxnn_in_turn(sweep: Sweep) -> Contestant:
    """Return a call for each member, of one compiled program."""
    run_one = jax.jit(functools.partial(last_loss, sweep))
    members = [(sweep.learning_rates[i], sweep.seeds[j]) for i, j in sweep.some]

    def run() -> float:
        return float(np.mean([float(run_one(*member)) for member in members]))

    return Contestant(run, len(members), lambda: _timing.program(run_one, *members[0]))


def last_loss(sweep: Sweep, learning_rate: jax.Array, seed: jax.Array) -> jax.Array:
    """Return the last loss of a whole run, which is a function like any other."""
    workload = sweep.workload
    trainer = nn.trainer(workload.jaxnn, nn.losses.cross_entropy, nn.adam(learning_rate))
    start = trainer.init(jax.random.key(seed), workload.data.x)
    _, history = nn.fit(trainer, start, workload.data, epochs=workload.epochs, batch_size=workload.batch_size)
    return history["loss"][-1]


def pytorch_in_turn(sweep: Sweep, *, threads: int) -> Contestant:
    """Return a loop for each member."""
    rates = [float(sweep.learning_rates[i]) for i, _ in sweep.some]
    members = [_training.pytorch(replace(sweep.workload, learning_rate=rate), threads=threads) for rate in rates]
    return Contestant(lambda: float(np.mean([member.run() for member in members])), len(members), members[0].program)


def measure(sweep: Sweep, *, rounds: int, quick: bool) -> _command.Results:
    """Return what a run of every contestant took, and what the machine could have done."""
    workload = sweep.workload
    entered = {"jaxnn, vmapped": jaxnn_vmapped(sweep), "jaxnn, one after another": jaxnn_in_turn(sweep)}
    try:
        for threads in sorted({1, _timing.cores()}):
            entered[f"PyTorch, {threads} thread{'s' * (threads > 1)}"] = pytorch_in_turn(sweep, threads=threads)
    except ImportError as error:
        print(f"left out: PyTorch, because {error}")
    work = workload.run_steps * workload.operations, workload.run_steps * workload.moved
    return _race.race(str(sweep), entered, *work, part="run", rounds=rounds, quick=quick)


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=5)
