"""How equinox with optax trains the model of a workload: in a loop of compiled steps, plain or with less overhead."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


def begin_and_step(workload: Workload) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `(begin, step)`: what draws a model and its states, compiled; and a step of them, which is not."""
    import equinox
    import optax

    optimizer = workload.optimizer(optax)

    @equinox.filter_jit
    def begin(key):
        model, state = equinox.nn.make_with_state(workload.equinox)(key)
        return model, state, optimizer.init(equinox.filter(model, equinox.is_inexact_array))

    @equinox.filter_value_and_grad(has_aux=True)
    def loss(model, state, x, y):
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        logits, state = batched(x, state)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), state

    def step(data, model, state, opt_state, rows):
        x, y = data
        (value, state), grads = loss(model, state, x[rows], y[rows])
        updates, opt_state = optimizer.update(grads, opt_state, equinox.filter(model, equinox.is_inexact_array))
        return equinox.apply_updates(model, updates), state, opt_state, value

    return begin, step


def on_device(workload: Workload) -> tuple[jax.Array, jax.Array]:
    """Return x, with the features of images first, and y."""
    x, y, _ = jax.device_put(workload.data)
    return (jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x), y


def as_examples(workload: Workload) -> Contestant:
    """Return a loop of a step with `filter_jit`, which picks its batch itself and gives its states' memory away."""
    import equinox

    begin, step = begin_and_step(workload)
    jitted, data = equinox.filter_jit(step, donate="all-except-first"), on_device(workload)

    def run() -> float:
        (model, state, opt_state), losses = begin(jax.random.key(0)), []
        for order in workload.orders():
            losses = []
            for rows in order:
                model, state, opt_state, loss = jitted(data, model, state, opt_state, rows)
                losses.append(loss)
        jax.block_until_ready(equinox.filter((model, opt_state), equinox.is_array))
        return float(np.mean(losses))

    def program() -> _timing.Program:
        rows = np.arange(workload.batch_size, dtype=np.int32)
        args = data, *begin(jax.random.key(0)), rows
        arrays, rest = equinox.partition(args, equinox.is_array)

        @jax.jit  # `filter_jit` cannot be traced apart
        def of_arrays(arrays):
            return equinox.filter(step(*equinox.combine(arrays, rest)), equinox.is_array)

        return _timing.program(of_arrays, arrays)

    return Contestant(run, workload.run_steps, program)


def flattened(workload: Workload) -> Contestant:
    """Return the same with leaves in a list between steps, which equinox advises where its overhead shows."""
    import equinox

    begin, step = begin_and_step(workload)
    data = on_device(workload)

    def run() -> float:
        (leaves, tree), losses = jax.tree.flatten(begin(jax.random.key(0))), []
        for order in workload.orders():
            losses = []
            for rows in order:
                leaves, loss = inner(data, leaves, rows, tree)
                losses.append(loss)
        jax.block_until_ready(equinox.filter(leaves, equinox.is_array))
        return float(np.mean(losses))

    @equinox.filter_jit(donate="all-except-first")
    def inner(data, leaves, rows, tree):
        *states, value = step(data, *jax.tree.unflatten(tree, leaves), rows)
        return jax.tree.leaves(states), value

    return Contestant(run, workload.run_steps)
