"""How flax.linen with optax trains the model of a workload: in three ways."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


def functions(workload: Workload) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return flax's `(begin, step)`: a `TrainState` drawn from a key, compiled, and one step of it, which is not."""
    import flax.training.train_state
    import optax

    class TrainState(flax.training.train_state.TrainState):
        batch_stats: Any

    module, optimizer = workload.flax(), workload.optimizer(optax)

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


def as_examples(workload: Workload) -> Contestant:
    """Return a loop of a compiled step on batches picked from arrays on the device, as flax's examples have it."""
    begin, step = functions(workload)
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


def picking(workload: Workload) -> Contestant:
    """Return a loop of a compiled step that picks its batch itself, and gives its state's memory away."""
    begin, step = functions(workload)
    x, y, _ = jax.device_put(workload.data)

    @functools.partial(jax.jit, donate_argnums=0)
    def picking_step(state, x, y, rows):
        return step(state, x[rows], y[rows])

    def run() -> float:
        state, losses = begin(jax.random.key(0)), []
        for order in workload.orders():
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


def one_scan(workload: Workload) -> Contestant:
    """Return a whole run in one compiled program, as one writes it with flax who wants no loop in Python."""
    begin, step = functions(workload)
    x, y, _ = jax.device_put(workload.data)

    @functools.partial(jax.jit, donate_argnums=0)
    def train(state, x, y, rows):
        def epoch(state, rows):
            state, losses = jax.lax.scan(lambda state, rows: step(state, x[rows], y[rows]), state, rows)
            return state, losses.mean()

        return jax.lax.scan(epoch, state, rows)

    def run() -> float:
        state, losses = train(begin(jax.random.key(0)), x, y, np.stack(list(workload.orders())))
        jax.block_until_ready(state)
        return float(losses[-1])

    def program() -> _timing.Program:
        rows = np.stack(list(workload.orders()))
        return _timing.program(train, jax.eval_shape(begin, jax.random.key(0)), x, y, rows)

    return Contestant(run, workload.run_steps, program)
