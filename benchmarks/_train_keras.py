"""How Keras on JAX trains the model of a workload: with its `fit`."""

import os
from typing import Any

import jax
import numpy as np

from benchmarks import _timing
from benchmarks._workload import Contestant, Workload


def keras_on_jax() -> Any:
    """Return Keras, which is told its backend before it is imported."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.backend.backend() != "jax":
        raise ImportError(f"Keras was imported with the backend {keras.backend.backend()}")
    return keras


def fit(workload: Workload) -> Contestant:
    """Return `model.fit` on arrays in memory, which shuffles and makes batches itself.

    The model is compiled once, and a run begins with its first weights anew: another model would compile anew.
    """
    keras = keras_on_jax()
    keras.utils.set_random_seed(0)
    model = workload.keras()
    rate, decay = workload.learning_rate, workload.weight_decay
    optimizer = (
        keras.optimizers.Adam(rate, epsilon=1e-8)
        if decay is None
        else keras.optimizers.AdamW(rate, weight_decay=decay, epsilon=1e-8)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=True)
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    first = [np.array(variable) for variable in variables]
    x, y, _ = workload.data

    def run() -> float:
        for variable, value in zip(variables, first, strict=True):
            variable.assign(value)
        history = model.fit(x, y, batch_size=workload.batch_size, epochs=workload.epochs, verbose=0)
        jax.block_until_ready([variable.value for variable in variables])
        return history.history["loss"][-1]

    def program() -> _timing.Program:
        of = model.trainable_variables, model.non_trainable_variables, optimizer.variables, model.metrics_variables
        state = jax.tree.map(lambda variable: variable.value, of)
        batch = x[: workload.batch_size], y[: workload.batch_size]
        return _timing.program(jax.jit(model.train_step), state, batch)

    return Contestant(run, workload.run_steps, program)
