"""How fast is a recurrent layer, forward and with all its gradients?

The value is the inner product of y with a random dy; what is computed are y and the gradients by x and by every
parameter, compiled, in float32.

=====================  =============================================================================================
ours, by hand          `fwd` and `bwd` of the layer
ours, by JAX           `jax.vjp` of its `apply`, in which the rule is installed
autodiff               `jax.vjp` of the plain function, in which it is not
ours, in chunks        by hand with a checkpoint, where a workload has one
flax.linen             `nn.RNN` of its cell: `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`
PyTorch                `torch.nn.LSTM`, `GRU` or `RNN`, with packed sequences where there are lengths
=====================  =============================================================================================

All compute the same, which is checked, with weights carried over to flax and PyTorch. The limit is the multiplications
and additions of the products, forward and twice as many for the gradients, at the rate of a large matrix product of the
same round, then x, y, dy, dx, the weights and their gradients, each moved once at the rate of main memory.

Last answer, on two cores of an AMD EPYC, jax 0.10.2, flax 0.12.8, torch 2.13.0 (results/recurrence-cpu-2-cores.json);
times over ours by hand: flax takes 1.31 (1.23 .. 1.51) for `lstm`, 1.53 with lengths, 1.73 for 1024 steps, 1.53 for the
GRU and 1.47 for the RNN. PyTorch takes 0.70, 1.97, 0.77, 2.07 and 2.38: its LSTM without lengths is faster than ours.

    python -m benchmarks.recurrence
    python -m benchmarks.recurrence --quick
    python -m benchmarks.recurrence --workload lstm --json benchmarks/results/recurrence-my-machine.json
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from benchmarks import _command, _timing

Result: TypeAlias = tuple[Any, Any, Any]
"""Y, dx, and the gradients by w_x, w_h and b."""

Run: TypeAlias = functools.partial[Result]
"""A compiled function with its arguments."""

OURS, BY_JAX, PLAIN, CHUNKS = "ours, by hand", "ours, by JAX", "autodiff", "ours, in chunks"
FLAX, PYTORCH = "flax.linen", "PyTorch"

PATIENCE = 20.0
"""Seconds after which a contestant is not timed again."""

LEAST = 0.05
"""Seconds that a timing lasts at least: what is shorter is done several times in it."""


@dataclass(frozen=True)
class Workload:
    """A recurrent layer, and what it is run over."""

    kind: str  # "LSTM", "GRU" or "RNN"
    batch: int = 32
    time: int = 64
    features: int = 32
    hidden: int = 128
    lengths: bool = False
    checkpoint: int | None = None  # of a further contestant
    name: str = ""

    @property
    def gates(self) -> int:
        """How many products with w_x and w_h a step has."""
        return {"LSTM": 4, "GRU": 3, "RNN": 1}[self.kind]

    @property
    def layer(self) -> Any:
        """Ours."""
        return getattr(nn, self.kind)(self.hidden)

    @property
    def operations(self) -> int:
        """Floating-point operations of the products: forward, by what is multiplied, and by weights."""
        return 3 * 2 * self.batch * self.time * (self.features + self.hidden) * self.gates * self.hidden

    @property
    def moved(self) -> int:
        """Bytes of x, y, dy, dx, the weights and their gradients."""
        weights = (self.features + self.hidden + 1) * self.gates * self.hidden
        return 4 * 2 * (self.batch * self.time * (self.features + self.hidden) + weights)

    def __str__(self) -> str:
        lengths = ", of lengths from 1 to time" if self.lengths else ""
        chunks = f", chunks of {self.checkpoint}" if self.checkpoint else ""
        shape = f"batch {self.batch}, time {self.time}, in {self.features}, hidden {self.hidden}"
        return f"{self.name}: {self.kind}, {shape}{lengths}{chunks}, float32"


LAYERS = {
    "lstm": Workload("LSTM"),
    "lstm-lengths": Workload("LSTM", lengths=True),
    "lstm-long": Workload("LSTM", batch=8, time=1024, checkpoint=32),
    "gru": Workload("GRU"),
    "rnn": Workload("RNN"),
}


def workload(name: str, quick: bool) -> Workload:
    """Return a workload; a tiny one has few steps of few features."""
    full = replace(LAYERS[name], name=name)
    if not quick:
        return full
    return replace(full, batch=4, time=8, features=3, hidden=8, checkpoint=full.checkpoint and 4)


@dataclass(frozen=True)
class Drawn:
    """The numbers of a workload."""

    x: Any
    dy: Any
    lengths: Any
    params: dict[str, Any]

    @property
    def sequences(self) -> Any:
        """What our layer is given."""
        return self.x if self.lengths is None else nn.Sequences(self.x, self.lengths)


def draw(of: Workload) -> Drawn:
    """Return random numbers, and weights as the layer draws them, with biases that are not 0."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))
    x, dy = normal(of.batch, of.time, of.features), normal(of.batch, of.time, of.hidden)
    lengths = jnp.asarray(rng.integers(1, of.time + 1, of.batch), jnp.int32) if of.lengths else None
    params, _ = of.layer.init(jax.random.key(0), x)
    return Drawn(x, dy, lengths, {**params, "b": 0.1 * normal(of.gates * of.hidden)})


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


def flax(of: Workload, given: Drawn) -> Run:
    """Return flax's, with our weights."""
    from flax import linen

    cell = {"LSTM": linen.OptimizedLSTMCell, "GRU": linen.GRUCell, "RNN": linen.SimpleCell}[of.kind]
    module = linen.RNN(cell(of.hidden))
    names = {"LSTM": "ifgo", "GRU": "rzn", "RNN": ("",)}[of.kind]
    w_x, w_h, b = (jnp.split(given.params[name], of.gates, axis=-1) for name in ("w_x", "w_h", "b"))
    bias_of_h = of.kind == "LSTM"
    params = {}
    for n, k_x, k_h, b_n in zip(names, w_x, w_h, b, strict=True):
        params[f"i{n}"] = {"kernel": k_x} if bias_of_h else {"kernel": k_x, "bias": b_n}
        params[f"h{n}"] = {"kernel": k_h, "bias": b_n} if bias_of_h else {"kernel": k_h}
    if of.kind == "GRU":
        params["hn"]["bias"] = jnp.zeros(of.hidden)

    @jax.jit
    def run(params, x, dy):
        def of_x(params, x):
            y: Any = module.apply({"params": {"cell": params}}, x, seq_lengths=given.lengths)
            if given.lengths is None:
                return y
            return jnp.where(jnp.arange(of.time)[None, :, None] < given.lengths[:, None, None], y, 0)

        y, backward = jax.vjp(of_x, params, x)
        d_params, dx = backward(dy)
        side_by_side = lambda part, leaf: jnp.concatenate([d_params[f"{part}{n}"][leaf] for n in names], axis=-1)
        d_biases = side_by_side("h" if bias_of_h else "i", "bias")
        return y, dx, {"w_x": side_by_side("i", "kernel"), "w_h": side_by_side("h", "kernel"), "b": d_biases}

    return functools.partial(run, params, given.x, given.dy)


def pytorch(of: Workload, given: Drawn) -> Callable[[], Result]:
    """Return PyTorch's, with our weights; it has two biases, of which the second is 0."""
    import torch

    if jax.default_backend() != "cpu":
        raise ImportError("it is asked for recurrence on a CPU")
    torch.set_num_threads(_timing.cores())
    network = getattr(torch.nn, of.kind)(of.features, of.hidden, batch_first=True)
    tensor = lambda a: torch.from_numpy(np.array(a))
    with torch.no_grad():
        network.weight_ih_l0.copy_(tensor(given.params["w_x"]).T)
        network.weight_hh_l0.copy_(tensor(given.params["w_h"]).T)
        network.bias_ih_l0.copy_(tensor(given.params["b"]))
        network.bias_hh_l0.zero_()
    x, dy = tensor(given.x).requires_grad_(), tensor(given.dy)
    lengths = None if given.lengths is None else tensor(given.lengths)
    rnn = torch.nn.utils.rnn

    def run() -> Result:
        if lengths is None:
            y, _ = network(x)
        else:
            y, _ = network(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            y, _ = rnn.pad_packed_sequence(y, batch_first=True, total_length=of.time)
        dx, d_w_x, d_w_h, db, _ = torch.autograd.grad(y, [x, *network.parameters()], dy)
        return y.detach(), dx, {"w_x": d_w_x.T, "w_h": d_w_h.T, "b": db}

    return run


def values(y: Any) -> Any:
    """The values of sequences."""
    return y.x if isinstance(y, nn.Sequences) else y


def contestants(of: Workload, given: Drawn) -> dict[str, Callable[[], Result]]:
    """Return whoever computes it."""
    entered: dict[str, Callable[[], Result]] = {
        OURS: ours(of, given),
        BY_JAX: by_jax(of, given),
        PLAIN: by_jax(of, given, nn.plain),
    }
    if of.checkpoint is not None:
        entered[CHUNKS] = ours(of, given, of.checkpoint)
    for name, make in ((FLAX, flax), (PYTORCH, pytorch)):
        try:
            entered[name] = make(of, given)
        except ImportError as error:
            print(f"left out: {name}, because {error}")
    expected = entered[PLAIN]()
    for name, run in entered.items():
        check(run(), expected, f"{of}, {name}")
    return entered


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
    programs = {
        name: asdict(_timing.program(run.func, *run.args))
        for name, run in contestants(of, given).items()
        if isinstance(run, functools.partial)
    }
    waiting = {name: lambda run=run: jax.block_until_ready(run()) for name, run in contestants(of, given).items()}
    each = {name: often(run) for name, run in waiting.items()}
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)
    runs = {name: run for name, (run, _) in each.items()} | {"product": product.run, "stream": stream.run}
    times = _timing.alternate(runs, rounds=rounds, patience=PATIENCE)
    rates = product.rates(times["product"]), stream.rates(times["stream"])
    return {
        "workload": str(of),
        "microseconds": {name: [1e6 * taken / n for taken in times[name].rounds] for name, (_, n) in each.items()},
        "programs": programs,
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
        rows.append((name, milliseconds(times), _timing.spread(_timing.ratios(times, seen[OURS]), 2), *numbers))
    rows.append(("limit", milliseconds(bound), _timing.spread(_timing.ratios(bound, seen[OURS]), 2)))
    above = _timing.spread(_timing.ratios(seen[OURS], bound), 2)
    return "\n".join([
        result["workload"], _timing.aligned(rows), f"{OURS} / limit {above}, {_timing.rates(result['limit'])}"
    ])  # fmt: skip


WORKLOADS = {name: functools.partial(workload, name) for name in LAYERS}

if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=9)
