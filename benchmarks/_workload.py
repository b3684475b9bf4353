"""A training workload, and what a contestant is that trains it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np

import jaxnn as nn
from benchmarks import _timing


@dataclass(frozen=True)
class Workload:
    """What every contestant trains: each has the model written as its own users would write it."""

    name: str
    model: str  # in words
    data: nn.Data  # NumPy: x float32, of images `(n, height, width, channels)`, or tokens, int32; y `(n, ...)`, int32
    batch_size: int
    epochs: int  # of one run
    products: tuple[int, ...]  # multiplications in each layer, forward, of one example
    jaxnn: nn.Layer
    flax: Callable[[], Any]  # makes flax.linen's module
    nnx: Callable[[Any], Any]  # that of flax.nnx, given `nnx.Rngs`
    equinox: Callable[[jax.Array], Any]  # likewise, given a key; of one example, and it returns its state too
    keras: Callable[[], Any]  # the model of Keras
    pytorch: Callable[[], Any]  # and PyTorch's module
    learning_rate: float = 1e-3
    weight_decay: float | None = None  # of AdamW; None is Adam

    @property
    def steps(self) -> int:
        """Steps of an epoch.

        It is rounded up, and the last batch is short of examples where it does not come out even: PyTorch, Keras
        and scikit-learn take a smaller one; flax and equinox fill it up from the beginning of the order; jaxnn does so
        too, and weighs what fills it up with 0.
        """
        return math.ceil(self.data.examples / self.batch_size)

    @property
    def run_steps(self) -> int:
        """Steps of a run."""
        return self.epochs * self.steps

    @property
    def operations(self) -> int:
        """Floating-point operations of a step: forward, by w and by x; but the first layer needs none by x."""
        return 2 * self.batch_size * (3 * sum(self.products) - self.products[0])

    @property
    def moved(self) -> int:
        """Bytes that Adam must move in a step: p, g, m, v read, and p, m, v written, 4 bytes each."""
        params, _ = jax.eval_shape(self.jaxnn.init, jax.random.key(0), self.data.x[:1])
        return 7 * 4 * nn.tree.count(params)

    def optimizer(self, library: Any) -> Any:
        """Return the optimizer of a library that names and calls it as optax does."""
        if self.weight_decay is None:
            return library.adam(self.learning_rate)
        return library.adamw(self.learning_rate, weight_decay=self.weight_decay)

    def orders(self) -> Iterator[np.ndarray]:
        """Yield the rows of every batch of an epoch, shape (steps, batch_size), for every epoch."""
        rng = np.random.default_rng(1)
        for _ in range(self.epochs):
            order = rng.permutation(self.data.examples).astype(np.int32)
            yield np.resize(order, (self.steps, self.batch_size))

    def __str__(self) -> str:
        optimizer = "Adam" if self.weight_decay is None else "AdamW"
        return (
            f"{self.name}: {self.data.examples} examples, {self.model}, batch {self.batch_size}, {optimizer},"
            f" float32; {self.steps} steps an epoch, {self.epochs} epochs a run"
        )


Run: TypeAlias = Callable[[], float]
"""A whole training run: it waits for its end, and returns the mean loss of its last epoch."""


@dataclass(frozen=True)
class Contestant:
    """One way to train the model of a workload."""

    run: Run
    parts: int  # by which the time of a run is divided: steps, or members
    program: Callable[[], _timing.Program] = _timing.Program  # measures what takes its steps
