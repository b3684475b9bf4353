"""How jaxnn trains the model of a workload, and who else does: each peer's way stands in a file `_train_peer.py`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax

import jaxnn as nn
from benchmarks import _timing, _train_equinox, _train_flax, _train_keras, _train_nnx
from benchmarks._workload import Contestant, Workload


def jaxnn_fit(
    workload: Workload,
    *,
    gradient: Callable[..., Any] = nn.by_autodiff,
    fit: Callable[..., Any] = nn.fit,
    **settings: Any,
) -> Contestant:
    """Return `fit`, which is one compiled program, or what else trains like it."""
    trainer = nn.trainer(workload.jaxnn, nn.losses.cross_entropy, workload.optimizer(nn), gradient=gradient)
    data, begin = jax.device_put(workload.data), jax.jit(trainer.init)
    fit = functools.partial(fit, trainer, epochs=workload.epochs, batch_size=workload.batch_size, **settings)

    def run() -> float:
        end, history = fit(begin(jax.random.key(0), data.x), data)
        jax.block_until_ready(end)
        return float(history["loss"][-1])

    def program() -> _timing.Program:
        return _timing.program(jax.jit(fit), jax.eval_shape(begin, jax.random.key(0), data.x), data)

    return Contestant(run, workload.run_steps, program)


Makers: TypeAlias = Mapping[str, Callable[[Workload], Contestant]]
"""How to make each contestant of a workload."""

JAX: Makers = {
    "jaxnn by_autodiff": jaxnn_fit,
    "jaxnn by_hand": functools.partial(jaxnn_fit, gradient=nn.by_hand),
    "flax, one scan": _train_flax.one_scan,
    "flax, rows in jit": _train_flax.picking,
    "flax, as its examples": _train_flax.as_examples,
    "flax.nnx": _train_nnx.as_examples,
    "equinox": _train_equinox.as_examples,
    "Keras": _train_keras.fit,
}
"""Those that compute with JAX."""

LIGHTER: Makers = {
    "flax.nnx, split and merged": _train_nnx.functional,
    "equinox, flattened": _train_equinox.flattened,
}
"""Further forms of such, for workloads of which the overhead of a step is a part."""
