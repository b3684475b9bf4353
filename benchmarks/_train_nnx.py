"""How flax.nnx with optax trains the model of a workload: in a loop of compiled steps, plain or with less overhead."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


def begin_and_step(workload: Workload) -> tuple[Callable[[], Any], Callable[..., Any]]:
    """Return `(begin, step)`: what makes a model and its optimizer, compiled; and a step of them, which is not."""
    import optax
    from flax import nnx

    @nnx.jit
    def begin():
        model = workload.nnx(nnx.Rngs(0))
        return model, nnx.Optimizer(model, workload.optimizer(optax), wrt=nnx.Param)

    def step(model, optimizer, x, y, rows):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x[rows]), y[rows]).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    return begin, step


def as_examples(workload: Workload) -> Contestant:
    """Return a loop of a step with `nnx.jit`, which updates the model in place and picks its batch itself."""
    from flax import nnx

    begin, step = begin_and_step(workload)
    step: Any = nnx.jit(step)
    x, y, _ = jax.device_put(workload.data)

    def run() -> float:
        (model, optimizer), losses = begin(), []
        for order in workload.orders():
            losses = [step(model, optimizer, x, y, rows) for rows in order]
        jax.block_until_ready(nnx.state((model, optimizer)))
        return float(np.mean(losses))

    def program() -> _timing.Program:
        return _timing.program(step, *begin(), x, y, np.arange(workload.batch_size, dtype=np.int32))

    return Contestant(run, workload.run_steps, program)


def functional(workload: Workload) -> Contestant:
    """Return the same with `jax.jit`, between `nnx.split` and `nnx.merge`: what flax advises for small models.

    The state's memory is given away.
    """
    from flax import nnx

    begin, step = begin_and_step(workload)
    x, y, _ = jax.device_put(workload.data)

    def pure(graph, state, x, y, rows):
        model, optimizer = nnx.merge(graph, state)
        value = step(model, optimizer, x, y, rows)
        return nnx.state((model, optimizer)), value

    pure = jax.jit(pure, static_argnums=0, donate_argnums=1)

    def run() -> float:
        (graph, state), losses = nnx.split(begin()), []
        for order in workload.orders():
            losses = []
            for rows in order:
                state, loss = pure(graph, state, x, y, rows)
                losses.append(loss)
        jax.block_until_ready(state)
        return float(np.mean(losses))

    def program() -> _timing.Program:
        return _timing.program(pure, *nnx.split(begin()), x, y, np.arange(workload.batch_size, dtype=np.int32))

    return Contestant(run, workload.run_steps, program)
