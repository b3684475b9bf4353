"""The workloads of `recurrence.py`: a recurrent layer, and the numbers that it is run over."""

import functools
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn

Result: TypeAlias = tuple[Any, Any, Any]
"""Y, dx, and the gradients by w_x, w_h and b."""

Run: TypeAlias = functools.partial[Result]
"""A compiled function with its arguments."""


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
