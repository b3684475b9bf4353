"""How fast is a whole training epoch, against what else one could use?

Every contestant trains the same multilayer perceptron with Adam, from new parameters, for the same number of
epochs of the same number of steps, in float32, and says what its last epoch's mean loss was: all should have
learned about as much. Times are per step, and hold everything that happens during a run: drawing the parameters,
checking the data, shuffling, batches. The first call compiles too; what two contestants share, the first compiles.

===========  ======================================================  ================================
workload     model and data                                          what it measures
===========  ======================================================  ================================
`mlp-small`  64-32-10 relu, batch 32, the digits                     the overhead of a step
`mlp`        784-512-256-10 relu, batch 128, 4096 random examples    matrix products
===========  ======================================================  ================================

The limit is what the machine could do if nothing were in the way: the step's floating-point operations at the
rate of a large matrix product, then the bytes that Adam moves at the rate of main memory. Both rates are measured
in every round. (`mlp-small` fits into a cache, which is faster than main memory, so its limit is not a strict one.)

    python benchmarks/training.py
    python benchmarks/training.py --quick
    python benchmarks/training.py --workload mlp --rounds 15 --json benchmarks/results/my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2): on `mlp-small` a step of
`fit` is 2.9 times faster than a jitted flax step that takes its own batch, 30 times than flax as its examples loop,
10.6 than PyTorch and 8.3 than scikit-learn, and 7.8 times above the limit; on `mlp` 1.2, 1.9 and 2.4 times, and 1.2.
"""

import argparse
import functools
import math
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn

LEARNING_RATE = 1e-3
OURS = "jaxnn by_autodiff"

Run: TypeAlias = Callable[[], float]
"""A whole training run: it waits for its end, and returns the mean loss of its last epoch."""


@dataclass(frozen=True)
class Workload:
    """What every contestant trains."""

    name: str
    data: nn.Data  # NumPy: x of shape (n, widths[0]), float32; y of shape (n,), int32
    widths: tuple[int, ...]  # inputs, hidden layers, classes
    batch_size: int
    epochs: int  # of one run

    @property
    def steps(self) -> int:
        """Steps of an epoch.

        It is rounded up, and the last batch is short of examples where it does not come out even: PyTorch and
        scikit-learn take a smaller one; flax fills it up from the beginning of the order; jaxnn does so too,
        and weighs what fills it up with 0.
        """
        return math.ceil(self.data.examples / self.batch_size)

    @property
    def operations(self) -> int:
        """Floating-point operations of a step: forward, by w and by x; but the first layer needs none by x."""
        products = [i * o for i, o in zip(self.widths[:-1], self.widths[1:], strict=True)]
        return 6 * self.batch_size * sum(products) - 2 * self.batch_size * products[0]

    @property
    def moved(self) -> int:
        """Bytes that Adam must move in a step: p, g, m, v read, and p, m, v written, 4 bytes each."""
        parameters = sum((i + 1) * o for i, o in zip(self.widths[:-1], self.widths[1:], strict=True))
        return 7 * 4 * parameters

    def __str__(self) -> str:
        layers = "-".join(map(str, self.widths))
        return (
            f"{self.name}: {self.data.examples} examples, {layers} relu, batch {self.batch_size}, Adam {LEARNING_RATE},"
            f" float32; {self.steps} steps an epoch, {self.epochs} epochs a run"
        )


def mlp_small(epochs: int | None, quick: bool) -> Workload:
    """Return the workload that measures the overhead of a step."""
    train, _ = nn.data.digits()
    return Workload("mlp-small", train, (64, 32, 10), 32, epochs or (1 if quick else 20))


def mlp(epochs: int | None, quick: bool) -> Workload:
    """Return the workload that measures matrix products."""
    n, widths = 512 if quick else 4096, (784, 512, 256, 10)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, widths[0]), np.float32)
    y = rng.integers(0, widths[-1], n, np.int32)
    return Workload("mlp", nn.Data(x, y), widths, 128, epochs or (1 if quick else 5))


WORKLOADS = {"mlp-small": mlp_small, "mlp": mlp}


@functools.cache
def jaxnn_trainer(widths: tuple[int, ...]) -> tuple[nn.training.Trainer, Callable[..., Any]]:
    """Return jaxnn's `(trainer, begin)`: `begin` draws a train state, compiled."""
    *hidden, classes = widths[1:]
    model = nn.serial(*(layer for width in hidden for layer in (nn.Dense(width), nn.relu)), nn.Dense(classes))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(LEARNING_RATE))
    return trainer, jax.jit(trainer.init)


def jaxnn_fit(workload: Workload, gradient: Callable[..., Any] = nn.by_autodiff) -> Run:
    """Return a run of `fit`: one compiled program."""
    trainer, begin = jaxnn_trainer(workload.widths)
    trainer = replace(trainer, gradient=gradient)
    data = jax.device_put(workload.data)

    def run() -> float:
        start = begin(jax.random.key(0), data.x)
        end, history = nn.fit(trainer, start, data, epochs=workload.epochs, batch_size=workload.batch_size)
        jax.block_until_ready(end)
        return float(history["loss"][-1])

    return run


@functools.cache
def flax_model(widths: tuple[int, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return flax's `(begin, step)`: a `TrainState` drawn from a key, compiled, and one step of it, which is not."""
    import flax.linen
    import flax.training.train_state
    import optax

    inputs, *hidden, classes = widths

    class MLP(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            for width in hidden:
                x = flax.linen.relu(flax.linen.Dense(width)(x))
            return flax.linen.Dense(classes)(x)

    model, optimizer = MLP(), optax.adam(LEARNING_RATE)

    @jax.jit
    def begin(key):
        params = model.init(key, jnp.zeros((1, inputs)))["params"]
        return flax.training.train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

    def step(state, x, y):
        def loss(params):
            logits = state.apply_fn({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    return begin, step


def flax_batches(workload: Workload) -> Run:
    """Return a run of a compiled step on batches picked from arrays on the device, as flax's examples have it."""
    begin, step = flax_model(workload.widths)
    step = jax.jit(step)
    x, y, _ = jax.device_put(workload.data)

    def run() -> float:
        state, losses = begin(jax.random.key(0)), []
        for key in jax.random.split(jax.random.key(1), workload.epochs):
            order = jax.random.permutation(key, len(x))
            losses = []
            for rows in jnp.resize(order, (workload.steps, workload.batch_size)):
                state, loss = step(state, x[rows], y[rows])
                losses.append(loss)
        jax.block_until_ready(state)
        return float(np.mean(losses))

    return run


def flax_rows(workload: Workload) -> Run:
    """Return a run of a compiled step that picks its batch itself, and gives its state's memory away."""
    begin, step = flax_model(workload.widths)
    x, y, _ = jax.device_put(workload.data)

    @functools.partial(jax.jit, donate_argnums=0)
    def picking_step(state, x, y, rows):
        return step(state, x[rows], y[rows])

    def run() -> float:
        state, losses = begin(jax.random.key(0)), []
        for order in orders(workload):
            losses = []
            for rows in order:
                state, loss = picking_step(state, x, y, rows)
                losses.append(loss)
        jax.block_until_ready(state)
        return float(np.mean(losses))

    return run


def orders(workload: Workload) -> Iterator[np.ndarray]:
    """Yield the rows of every batch of an epoch, shape (steps, batch_size), for every epoch."""
    rng = np.random.default_rng(1)
    for _ in range(workload.epochs):
        order = rng.permutation(workload.data.examples).astype(np.int32)
        yield np.resize(order, (workload.steps, workload.batch_size))


def pytorch(workload: Workload, threads: int) -> Run:
    """Return a run of eager PyTorch on tensors in memory, with its fused Adam."""
    import torch

    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        raise ImportError("this build of PyTorch cannot use the GPU that JAX uses")
    device = torch.device("cuda" if on_gpu else "cpu")
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # as JAX does there by default
    x, y = torch.from_numpy(workload.data.x), torch.from_numpy(workload.data.y).long()
    dataset = torch.utils.data.TensorDataset(x.to(device), y.to(device))

    def build() -> torch.nn.Sequential:
        pairs = zip(workload.widths[:-1], workload.widths[1:], strict=True)
        layers = [layer for i, o in pairs for layer in (torch.nn.Linear(i, o), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers[:-1]).to(device)

    def run() -> float:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        model, criterion, losses = build(), torch.nn.CrossEntropyLoss(), []
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(workload.epochs):
            losses = []
            for rows in torch.randperm(len(dataset), device=device).split(workload.batch_size):
                x, y = dataset[rows]
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        return torch.stack(losses).mean().item()  # which waits for the device

    return run


def scikit_learn(workload: Workload) -> Run:
    """Return a run of scikit-learn's classifier, always on the CPU."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    def run() -> float:
        classifier = MLPClassifier(
            hidden_layer_sizes=workload.widths[1:-1],
            alpha=0.0,
            batch_size=workload.batch_size,  # pyright: ignore[reportArgumentType] - a number or "auto"
            learning_rate_init=LEARNING_RATE,
            max_iter=workload.epochs,
            n_iter_no_change=workload.epochs + 1,  # never stop early
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(workload.data.x, workload.data.y)
        return float(classifier.loss_)

    return run


def contestants(workload: Workload) -> dict[str, Run]:
    """Return a run of each contestant that is installed; say which are not."""
    makers: dict[str, Callable[[Workload], Run]] = {
        OURS: jaxnn_fit,
        "jaxnn by_hand": functools.partial(jaxnn_fit, gradient=nn.by_hand),
        "flax, rows in jit": flax_rows,
        "flax, as its examples": flax_batches,
    }
    for threads in sorted({1, _timing.cores()}):  # one is faster where there is little to do
        makers[f"PyTorch, {threads} thread{'s' * (threads > 1)}"] = functools.partial(pytorch, threads=threads)
    if workload.name == "mlp-small":
        makers["scikit-learn"] = scikit_learn
    runs = {}
    for name, make in makers.items():
        try:
            runs[name] = make(workload)
        except ImportError as error:
            print(f"left out: {name}, because {error}")
    return runs


def measure(workload: Workload, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Return what every contestant took, and what the machine could have done, as JSON has it."""
    runs, losses = contestants(workload), {}
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)

    def noted(name: str) -> None:
        losses[name] = runs[name]()

    entries = {name: functools.partial(noted, name) for name in runs}
    times = _timing.alternate({**entries, "product": product.run, "stream": stream.run}, rounds=rounds)
    scale = 1e6 / (workload.epochs * workload.steps)
    return {
        "workload": str(workload),
        "contestants": {
            name: {
                "microseconds per step": [scale * taken for taken in times[name].rounds],
                "first call in seconds": times[name].first,
                "last loss": losses[name],
            }
            for name in runs
        },
        "limit": limit(workload, product.rates(times["product"]), stream.rates(times["stream"])),
    }


def limit(workload: Workload, operation_rates: list[float], byte_rates: list[float]) -> dict[str, Any]:
    """Return how long a step takes at least, in every round, at the rates of that round."""
    arithmetic = [1e6 * workload.operations / rate for rate in operation_rates]
    memory = [1e6 * workload.moved / rate for rate in byte_rates]
    return {
        "operations per step": workload.operations,
        "operations per second": operation_rates,
        "bytes per step": workload.moved,
        "bytes per second": byte_rates,
        "microseconds per step": [a + m for a, m in zip(arithmetic, memory, strict=True)],
    }


def table(result: dict[str, Any]) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds."""
    ours, bound = result["contestants"][OURS]["microseconds per step"], result["limit"]
    lines = [result["workload"], f"{'':24}{'us a step':30}{'peer / ours':27}{'first call, s':>14}{'last loss':>11}"]
    for name, seen in result["contestants"].items():
        steps = seen["microseconds per step"]
        against = _timing.spread(_timing.ratios(steps, ours), 2)
        lines.append(
            f"{name:24}{_timing.spread(steps):30}{against:27}{seen['first call in seconds']:14.2f}"
            f"{seen['last loss']:11.4f}"
        )
    steps = bound["microseconds per step"]
    gflops, gbytes = (statistics.median(bound[rate]) / 1e9 for rate in ("operations per second", "bytes per second"))
    lines += [
        f"{'limit':24}{_timing.spread(steps):30}at {gflops:.1f} GFLOP/s and {gbytes:.1f} GB/s",
        f"{'ours / limit':24}{_timing.spread(_timing.ratios(ours, steps), 2)}",
    ]
    return "\n".join(lines)


def main(
    workloads: Iterable[str] = tuple(WORKLOADS),
    rounds: int | None = None,
    epochs: int | None = None,
    save_to: Path | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure, print and perhaps save; see the command line's help for what the arguments mean."""
    if save_to is not None and save_to.exists():
        raise FileExistsError(f"expected a new file, because results are never overwritten; got {save_to}")
    rounds = rounds or (2 if quick else 9)
    results = {"machine": _timing.machine(), "rounds": rounds, "quick": quick, "workloads": {}, "tables": []}
    print(_timing.header(results["machine"]))
    for name in workloads:
        print()
        try:
            workload = WORKLOADS[name](epochs, quick)
        except ImportError as error:
            print(f"left out: {name}, because {error}")
            continue
        results["workloads"][name] = measure(workload, rounds=rounds, quick=quick)
        results["tables"] += table(results["workloads"][name]).splitlines()
        print(table(results["workloads"][name]))
    if save_to is not None:
        _timing.save(save_to, results)
    return results


def arguments() -> dict[str, Any]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="all by default; may be given twice")
    parser.add_argument("--rounds", type=int, help="how often every contestant is timed")
    parser.add_argument("--epochs", type=int, help="epochs of a run")
    parser.add_argument("--json", type=Path, metavar="PATH", help="a new file for all that was measured")
    parser.add_argument("--quick", action="store_true", help="a tiny size: does it work, not how fast is it")
    given = parser.parse_args()
    return {
        "workloads": given.workload or tuple(WORKLOADS),
        "rounds": given.rounds,
        "epochs": given.epochs,
        "save_to": given.json,
        "quick": given.quick,
    }


if __name__ == "__main__":
    main(**arguments())
