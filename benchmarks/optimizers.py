"""How fast is Adam alone, against the time in which memory could be read and written once?

========  ==========================================================
workload  parameters, float32
========  ==========================================================
`many`    300 arrays of 32 x 32
`large`   4 arrays of 2048 x 2048
========  ==========================================================

======================  ==========================================================================================
ours                    `update` and `apply_updates` in one program, to which parameters and state are given away
ours, low memory        `low_memory(nn.adam)`: moments in bfloat16, rounded by chance
optax                   as ours
PyTorch, fused          `torch.optim.Adam(fused=True)`
PyTorch, foreach        `torch.optim.Adam(foreach=True)`
======================  ==========================================================================================

All start from the same parameters with the same gradients and must end at the same place, in bfloat16 near it, which
is checked. The limit is g, m, v and p read and m, v and p written once, at the rate of main memory in the same round.

Last answer, on two cores of an AMD EPYC, jax 0.10.2, optax 0.2.8, torch 2.13.0 (results/cpu-2-cores.json). `large`,
five rounds: ours takes 1.57 (1.54 .. 1.70) of the limit, optax 1.61, PyTorch fused 0.97; `many`, fifteen rounds, which
is about calls: optax 0.92 (0.77 .. 1.47) of our time, PyTorch fused 0.79. NOTES.md tells why.

    python -m benchmarks.optimizers
    python -m benchmarks.optimizers --quick
    python -m benchmarks.optimizers --workload large --json benchmarks/results/optimizers-my-machine.json
"""

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn
from benchmarks import _command, _timing

LEARNING_RATE = 1e-3

OURS, LOW, OPTAX = "ours", "ours, low memory", "optax"
FUSED, FOREACH = "PyTorch, fused", "PyTorch, foreach"

LEAST = 0.05
"""Seconds that a timing lasts at least: what is shorter is done several times in it."""


@dataclass(frozen=True)
class Arrays:
    """So many arrays of one shape."""

    name: str
    count: int
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Of all of them together."""
        return self.count * math.prod(self.shape)

    def draw(self, seed: int) -> list[np.ndarray]:
        """Return such arrays."""
        random = np.random.default_rng(seed)
        return [random.standard_normal(self.shape, np.float32) for _ in range(self.count)]

    def __str__(self) -> str:
        return f"{self.name}: Adam on {self.count} arrays of {' x '.join(map(str, self.shape))}, float32"


WORKLOADS = {
    "many": lambda quick: Arrays("many", 3 if quick else 300, (32, 32)),
    "large": lambda quick: Arrays("large", 2 if quick else 4, (1024, 1025) if quick else (2048, 2048)),
}


@dataclass
class Contestant:
    """Something that takes steps; it holds what they change."""

    advance: Callable[[], Any]
    params: Callable[[], list[np.ndarray]]
    program: _timing.Program
    calls: int = 1

    def run(self) -> None:
        """Take so many steps that they can be timed."""
        for _ in range(self.calls):
            self.advance()


def compiled(optimizer: Any, arrays: Arrays) -> Contestant:
    """Return a contestant of one compiled program."""
    fresh = lambda seed: [jnp.asarray(a) for a in arrays.draw(seed)]
    params, grads = fresh(0), fresh(1)
    state = jax.tree.map(jnp.copy, optimizer.init(params))

    # JAX hands what is given away to the results in their order: in another one all is copied, and takes ten times
    # as long.
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def take(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    cost = _timing.program(take, params, state, grads)

    def advance():
        nonlocal params, state
        params, state = take(params, state, grads)
        jax.block_until_ready(params)

    return Contestant(advance, lambda: [np.asarray(p) for p in params], cost)


def torch_adam(arrays: Arrays, **form: Any) -> Contestant:
    """Return PyTorch's Adam in one of its forms.

    Raises:
        ImportError: PyTorch is not installed, or is not asked.
    """
    import torch

    if jax.default_backend() != "cpu":
        raise ImportError("it is asked for its optimizer on a CPU")
    params = [torch.tensor(a, requires_grad=True) for a in arrays.draw(0)]
    for p, g in zip(params, arrays.draw(1), strict=True):
        p.grad = torch.tensor(g)
    optimizer = torch.optim.Adam(params, lr=LEARNING_RATE, **form)
    return Contestant(optimizer.step, lambda: [p.detach().numpy() for p in params], _timing.Program())


def makers() -> dict[str, Callable[[Arrays], Contestant]]:
    """Return how to make each."""
    return {
        OURS: functools.partial(compiled, nn.adam(LEARNING_RATE)),
        LOW: functools.partial(compiled, nn.optim.low_memory(nn.adam(LEARNING_RATE))),
        OPTAX: functools.partial(compiled, optax.adam(LEARNING_RATE)),
        FUSED: functools.partial(torch_adam, fused=True),
        FOREACH: functools.partial(torch_adam, foreach=True),
    }


def check(found: dict[str, Contestant]) -> None:
    """Raise an error unless all end where optax does after three steps; in bfloat16, where it is about there."""
    for contestant in found.values():
        for _ in range(3):
            contestant.advance()
    expected = found[OPTAX].params()
    for name, contestant in found.items():
        atol = 0.2 * LEARNING_RATE if name == LOW else 1e-6
        for a, b in zip(contestant.params(), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol, err_msg=name)


def measure(arrays: Arrays, *, rounds: int, quick: bool = False) -> dict[str, Any]:
    """Time all in turn; return microseconds of a step, and the limit of every round."""
    found, left_out = _timing.enter(makers(), arrays)
    check(found)
    for contestant in found.values():
        once = _timing.seconds(contestant.run)
        contestant.calls = 1 if quick else max(1, math.ceil(LEAST / once))
    stream = _timing.streaming(quick=quick)
    times = _timing.alternate({name: c.run for name, c in found.items()} | {"stream": stream.run}, rounds=rounds)
    moved = 7 * 4 * arrays.elements
    of_stream = stream.rates(times["stream"])
    return {
        "workload": str(arrays),
        "microseconds": {name: [1e6 * t / c.calls for t in times[name].rounds] for name, c in found.items()},
        "programs": {name: asdict(c.program) for name, c in found.items()},
        "limit": {
            "bytes": moved,
            "bytes per second": of_stream,
            "microseconds": [1e6 * moved / rate for rate in of_stream],
        },
        "left out": left_out,
    }


def table(results: dict[str, Any]) -> str:
    """Return what was measured of a workload, for a reader."""
    ours, limit = results["microseconds"][OURS], results["limit"]["microseconds"]
    rows = [("", "ms", "over ours", "over the limit", "memory, MiB")]
    for name, taken in (results["microseconds"] | {"limit": limit}).items():
        memory = results["programs"].get(name, {}).get("memory")
        rows.append(
            (
                name,
                _timing.spread([t / 1e3 for t in taken], 2),
                _timing.spread(_timing.ratios(taken, ours), 2),
                _timing.spread(_timing.ratios(taken, limit), 2),
                _timing.number(memory and memory / 2**20),
            )
        )
    return "\n".join([results["workload"], _timing.aligned(rows), *_timing.absent(results["left out"])])


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=11)
