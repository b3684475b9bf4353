"""How each contestant trains the model of a workload: jaxnn, flax with optax in three ways, and PyTorch."""

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


def jaxnn_fit(
    workload: Workload,
    *,
    gradient: Callable[..., Any] = nn.by_autodiff,
    fit: Callable[..., Any] = nn.fit,
    **settings: Any,
) -> Contestant:
    """Return `fit`, which is one compiled program, or what else trains like it."""
    trainer = nn.trainer(workload.jaxnn, nn.losses.cross_entropy, adam(workload, nn), gradient=gradient)
    data, begin = jax.device_put(workload.data), jax.jit(trainer.init)
    fit = functools.partial(fit, trainer, epochs=workload.epochs, batch_size=workload.batch_size, **settings)

    def run() -> float:
        end, history = fit(begin(jax.random.key(0), data.x), data)
        jax.block_until_ready(end)
        return float(history["loss"][-1])

    def program() -> _timing.Program:
        return _timing.program(jax.jit(fit), jax.eval_shape(begin, jax.random.key(0), data.x), data)

    return Contestant(run, workload.run_steps, program)


def adam(workload: Workload, library: Any) -> Any:
    """Return the optimizer of a workload, jaxnn's or optax's."""
    if workload.weight_decay is None:
        return library.adam(workload.learning_rate)
    return library.adamw(workload.learning_rate, weight_decay=workload.weight_decay)


def flax_functions(workload: Workload) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return flax's `(begin, step)`: a `TrainState` drawn from a key, compiled, and one step of it, which is not."""
    import flax.training.train_state
    import optax

    class TrainState(flax.training.train_state.TrainState):
        batch_stats: Any

    module, optimizer = workload.flax(), adam(workload, optax)

    @jax.jit
    def begin(key):
        variables = module.init(key, workload.data.x[:1])
        params, stats = variables["params"], variables.get("batch_stats", {})
        return TrainState.create(apply_fn=module.apply, params=params, tx=optimizer, batch_stats=stats)

    def step(state, x, y):
        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, updates = state.apply_fn(variables, x, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), updates

        (value, updates), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads, batch_stats=updates.get("batch_stats", {})), value

    return begin, step


def flax_batches(workload: Workload) -> Contestant:
    """Return a loop of a compiled step on batches picked from arrays on the device, as flax's examples have it."""
    begin, step = flax_functions(workload)
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

    def program() -> _timing.Program:
        batch = x[: workload.batch_size], y[: workload.batch_size]
        return _timing.program(step, jax.eval_shape(begin, jax.random.key(0)), *batch)

    return Contestant(run, workload.run_steps, program)


def flax_rows(workload: Workload) -> Contestant:
    """Return a loop of a compiled step that picks its batch itself, and gives its state's memory away."""
    begin, step = flax_functions(workload)
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

    def program() -> _timing.Program:
        rows = np.arange(workload.batch_size, dtype=np.int32)
        return _timing.program(picking_step, jax.eval_shape(begin, jax.random.key(0)), x, y, rows)

    return Contestant(run, workload.run_steps, program)


def orders(workload: Workload) -> Iterator[np.ndarray]:
    """Yield the rows of every batch of an epoch, shape (steps, batch_size), for every epoch."""
    rng = np.random.default_rng(1)
    for _ in range(workload.epochs):
        order = rng.permutation(workload.data.examples).astype(np.int32)
        yield np.resize(order, (workload.steps, workload.batch_size))


def flax_scan(workload: Workload) -> Contestant:
    """Return a whole run in one compiled program, as one writes it with flax who wants no loop in Python."""
    begin, step = flax_functions(workload)
    x, y, _ = jax.device_put(workload.data)

    @jax.jit
    def train(state, x, y, key):
        def epoch(state, key):
            order = jax.random.permutation(key, len(x))
            rows = jnp.resize(order, (workload.steps, workload.batch_size))
            state, losses = jax.lax.scan(lambda state, rows: step(state, x[rows], y[rows]), state, rows)
            return state, losses.mean()

        return jax.lax.scan(epoch, state, jax.random.split(key, workload.epochs))

    def run() -> float:
        state, losses = train(begin(jax.random.key(0)), x, y, jax.random.key(1))
        jax.block_until_ready(state)
        return float(losses[-1])

    def program() -> _timing.Program:
        return _timing.program(train, jax.eval_shape(begin, jax.random.key(0)), x, y, jax.random.key(1))

    return Contestant(run, workload.run_steps, program)


def pytorch(
    workload: Workload, *, threads: int | None = None, channels_last: bool = False, compiled: bool = False
) -> Contestant:
    """Return eager PyTorch, or a compiled model, on tensors in memory, with its fused Adam."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or its profiler reports on stderr that it began and ended
    import torch

    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        raise ImportError("this build of PyTorch cannot use the GPU that JAX uses")
    device = torch.device("cuda" if on_gpu else "cpu")
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # as JAX does there by default
    if compiled and not on_gpu and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ImportError("torch.compile wants a C++ compiler")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, y = torch.from_numpy(workload.data.x), torch.from_numpy(workload.data.y).long()
    x = x.movedim(-1, 1).contiguous(memory_format=layout)  # features come second
    dataset = torch.utils.data.TensorDataset(x.to(device), y.to(device))

    def begin() -> Any:
        torch.set_num_threads(threads or _timing.cores())
        torch.manual_seed(0)
        model = workload.pytorch().to(device, memory_format=layout)
        return torch.compile(model) if compiled else model

    def run(epochs: int = workload.epochs, steps: int = workload.steps) -> float:
        model, criterion, losses = begin(), torch.nn.CrossEntropyLoss(), []
        kind = torch.optim.Adam if workload.weight_decay is None else torch.optim.AdamW
        decay = workload.weight_decay or 0.0
        optimizer = kind(model.parameters(), lr=workload.learning_rate, weight_decay=decay, fused=True)
        for _ in range(epochs):
            losses = []
            for rows in torch.randperm(len(dataset), device=device).split(workload.batch_size)[:steps]:
                x, y = dataset[rows]
                optimizer.zero_grad()
                loss = criterion(model(x).flatten(0, -2), y.flatten())
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        return torch.stack(losses).mean().item()  # which waits for the device

    def program() -> _timing.Program:
        taken = _timing.seconds(functools.partial(run, 1, 1)) if compiled else None
        return _timing.Program(compile=taken, memory=None if on_gpu else peak_of_pytorch(lambda: run(1, 2)))

    return Contestant(run, workload.run_steps, program)


def peak_of_pytorch(run: Callable[[], Any]) -> int:
    """Return how many bytes PyTorch has allocated on the CPU at the most during a call, as its profiler saw it."""
    import torch.profiler as profiler

    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    kineto: Any = seen.profiler
    events = [event for event in kineto.kineto_results.events() if event.name() == "[memory]"]
    return int(np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).max())


Makers: TypeAlias = Mapping[str, Callable[[Workload], Contestant]]
"""How to make each contestant of a workload."""

JAX: Makers = {
    "jaxnn by_autodiff": jaxnn_fit,
    "jaxnn by_hand": functools.partial(jaxnn_fit, gradient=nn.by_hand),
    "flax, one scan": flax_scan,
    "flax, rows in jit": flax_rows,
    "flax, as its examples": flax_batches,
}
