"""How fast is a recurrent layer, forward and with all its gradients?

The value is the inner product of y with a random dy; what is computed are y and the gradients by x and by every
parameter, compiled, in float32.

=====================  =============================================================================================
ours, by hand          `fwd` and `bwd` of the layer
ours, by JAX           `jax.vjp` of its `apply`, in which the rule is installed
autodiff               `jax.vjp` of the plain function, in which it is not
ours, in chunks        by hand with a checkpoint, where a workload has one
flax.linen, flax.nnx   `nn.RNN` of its cell: `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`
equinox                a scan of its cell, `LSTMCell` or `GRUCell`, and a `vmap`
Keras                  `stateless_call` of its `LSTM`, `GRU` or `SimpleRNN` on JAX, with a mask where there are lengths
PyTorch                `torch.nn.LSTM`, `GRU` or `RNN`, with packed sequences where there are lengths
=====================  =============================================================================================

All compute the same, which is checked, with weights carried over to the peers. The limit is the multiplications
and additions of the products, forward and twice as many for the gradients, at the rate of a large matrix product of the
same round, then x, y, dy, dx, the weights and their gradients, each moved once at the rate of main memory.

Last answer, on two cores of an AMD EPYC, jax 0.10.2, flax 0.12.8, torch 2.13.0 (results/cpu-2-cores.json). `lstm`, five
rounds, times over ours by JAX: by hand 0.92 (0.86 .. 1.01), autodiff 1.34, flax.linen 1.18 (1.09 .. 1.65), Keras 1.40,
flax.nnx 1.44, equinox 1.65, PyTorch 0.66. The others, fifteen rounds before some peers were there, over ours by hand:
flax.linen takes 1.53 with lengths, 1.73 for 1024 steps, 1.53 for the GRU and 1.47 for the RNN, PyTorch 1.97, 0.77, 2.07
and 2.38: its LSTM without lengths is faster than ours.

    python -m benchmarks.recurrence
    python -m benchmarks.recurrence --quick
    python -m benchmarks.recurrence --workload lstm --json benchmarks/results/recurrence-my-machine.json
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np

import jaxnn as nn
from benchmarks import _command, _recurrent_peers, _timing
from benchmarks._recurrent import LAYERS, Drawn, Result, Run, Workload, draw, workload

OURS, BY_JAX, PLAIN, CHUNKS = "ours, by hand", "ours, by JAX", "autodiff", "ours, in chunks"

PEERS = {
    "flax.linen": _recurrent_peers.flax,
    "flax.nnx": _recurrent_peers.nnx,
    "equinox": _recurrent_peers.equinox,
    "Keras": _recurrent_peers.keras,
    "PyTorch": _recurrent_peers.pytorch,
}

PATIENCE = 20.0
"""Seconds after which a contestant is not timed again."""

LEAST = 0.05
"""Seconds that a timing lasts at least: what is shorter is done several times in it."""


def ours(of: Workload, given: Drawn, checkpoint: int | None = None) -> Run:
    """Return the layer by hand."""
    layer, x = replace(of.layer, checkpoint=checkpoint), given.sequences

    @jax.jit
    def run(params, x, dy):
        (y, _), residuals = layer.fwd(params, {}, x)
        d_params, dx = layer.bwd(residuals, nn.Sequences(dy) if of.lengths else dy)
        return values(y), values(dx), d_params

    return functools.partial(run, given.params, x, given.dy)


def by_jax(of: Workload, given: Drawn, context: Callable[[], Any] = contextlib.nullcontext) -> Run:
    """Return JAX's derivative of the layer, in a context."""
    layer, sequences = of.layer, given.sequences

    @jax.jit
    def run(params, x, dy):
        of_x = lambda params, x: values(layer.apply(params, {}, sequences._replace(x=x) if of.lengths else x)[0])
        with context():
            y, backward = jax.vjp(of_x, params, x)
            d_params, dx = backward(dy)
        return y, dx, d_params

    return functools.partial(run, given.params, given.x, given.dy)


def values(y: Any) -> Any:
    """The values of sequences."""
    return y.x if isinstance(y, nn.Sequences) else y


def contestants(of: Workload, given: Drawn) -> tuple[dict[str, Callable[[], Result]], dict[str, str]]:
    """Return whoever computes it, and of the others why not."""
    entered: dict[str, Callable[[], Result]] = {
        BY_JAX: by_jax(of, given),
        OURS: ours(of, given),
        PLAIN: by_jax(of, given, nn.plain),
    }
    if of.checkpoint is not None:
        entered[CHUNKS] = ours(of, given, of.checkpoint)
    peers, left_out = _timing.enter(PEERS, of, given)
    entered |= peers
    expected = entered[PLAIN]()
    for name, run in entered.items():
        check(run(), expected, f"{of}, {name}")
    return entered, left_out


def check(result: Any, expected: Any, name: str) -> None:
    """Raise an error if what is timed is not what it is called."""
    for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        error = float(abs(np.asarray(one) - np.asarray(other)).max() / abs(np.asarray(other)).max())
        if not error < 1e-4:
            raise ValueError(f"expected what JAX derives, up to rounding; got a difference of {error:.1e} in {name}")


def often(run: Callable[[], Any]) -> tuple[Callable[[], Any], int]:
    """Return a call so many times over that it lasts `LEAST` seconds, and how many; it is called to find out."""
    times = max(1, min(math.ceil(LEAST / _timing.seconds(run)), 100))
    return lambda: [run() for _ in range(times)], times


def measure(of: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    given = draw(of)
    entered, left_out = contestants(of, given)
    programs = {
        name: asdict(_timing.program(run.func, *run.args))
        for name, run in entered.items()
        if isinstance(run, functools.partial)
    }
    waiting = {name: lambda run=run: jax.block_until_ready(run()) for name, run in entered.items()}
    each = {name: often(run) for name, run in waiting.items()}
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)
    runs = {name: run for name, (run, _) in each.items()} | {"product": product.run, "stream": stream.run}
    times = _timing.alternate(runs, rounds=rounds, patience=PATIENCE)
    rates = product.rates(times["product"]), stream.rates(times["stream"])
    return {
        "workload": str(of),
        "microseconds": {name: [1e6 * taken / n for taken in times[name].rounds] for name, (_, n) in each.items()},
        "programs": programs,
        "left out": left_out,
        "limit": _timing.limit(of.operations, of.moved, *rates),
    }


def table(result: _command.Results) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds."""
    seen, bound = result["microseconds"], result["limit"]["microseconds"]
    milliseconds = lambda times: _timing.spread([t / 1000 for t in times], 2)
    rows: list[Sequence[str]] = [("", "ms", "over ours", "compile, s", "memory, MiB")]
    for name, times in seen.items():
        program = result["programs"].get(name, asdict(_timing.Program()))
        memory = None if program["memory"] is None else program["memory"] / 2**20
        numbers = (_timing.number(program["compile"]), _timing.number(memory))
        rows.append((name, milliseconds(times), _timing.spread(_timing.ratios(times, seen[BY_JAX]), 2), *numbers))
    rows.append(("limit", milliseconds(bound), _timing.spread(_timing.ratios(bound, seen[BY_JAX]), 2)))
    above = _timing.spread(_timing.ratios(seen[BY_JAX], bound), 2)
    last = [f"{BY_JAX} / limit {above}, {_timing.rates(result['limit'])}", *_timing.absent(result["left out"])]
    return "\n".join([result["workload"], _timing.aligned(rows), *last])


WORKLOADS = {name: functools.partial(workload, name) for name in LAYERS}

if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=9)
