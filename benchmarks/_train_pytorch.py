"""How PyTorch trains the model of a workload: eager or compiled, in one memory format or the other."""

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


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
