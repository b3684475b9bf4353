"""The first epoch of a training in a process of its own, as the users of each library write it: a program for each.

    python -m benchmarks._first_epoch flax cnn data.npz 64

The arguments are the library, the model, a file with `x` and `y`, and the size of a batch. A program says `imported`
once its library is there, and at last `loss` with the mean loss of the epoch. It imports within its function, and
nobody else's library: what all import here is NumPy, which all of them import anyway.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import _model_cnn, _model_mlp

LEARNING_RATE = 1e-3
WIDTHS = (64, 32, 10)
MODELS = {"mlp-small": (_model_mlp, (WIDTHS,)), "cnn": (_model_cnn, ())}
"""Where the functions `in_flax` and so on that make a model stand, and what they are given first."""

CACHE = "FIRST_EPOCH_CACHE"
"""The environment variable with the folder that jaxnn's program shall keep compiled programs in."""


@dataclass(frozen=True)
class Task:
    """What is to be trained, for one epoch with Adam."""

    model: str
    x: np.ndarray  # (n, features) or (n, height, width, channels), float32
    y: np.ndarray  # (n,), int32
    batch_size: int

    def make(self, library: str, *args: Any) -> Any:
        """Return the model as a library has it, given what that needs to draw weights."""
        module, settings = MODELS[self.model]
        return getattr(module, f"in_{library}")(*settings, *args)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield batches in a random order; the last is filled up from its beginning, or a step is compiled twice."""
        order = np.random.default_rng(1).permutation(len(self.x))
        for rows in np.resize(order, (-(-len(order) // self.batch_size), self.batch_size)):
            yield self.x[rows], self.y[rows]


def tell(word: str, *values: object) -> None:
    """Tell the parent process how far this one is."""
    print(word, *values, flush=True)


def jaxnn(task: Task, gradient: str = "by_autodiff") -> float:
    """Train with jaxnn's `fit`."""
    import jax

    import jaxnn as nn

    tell("imported")
    if CACHE in os.environ:
        nn.cache_compilations(os.environ[CACHE])
    optimizer = nn.adam(LEARNING_RATE)
    trainer = nn.trainer(task.make("jaxnn"), nn.losses.cross_entropy, optimizer, gradient=getattr(nn, gradient))
    start = trainer.init(jax.random.key(0), task.x)
    _, history = nn.fit(trainer, start, nn.Data(task.x, task.y), epochs=1, batch_size=task.batch_size)
    return float(history["loss"][-1])


def jaxnn_by_hand(task: Task) -> float:
    """Train with jaxnn's `fit` and its hand-written gradients."""
    return jaxnn(task, "by_hand")


def flax(task: Task) -> float:
    """Train with flax.linen and optax, in a loop of a compiled step; the weights are drawn by a compiled function."""
    import flax.linen
    import flax.training.train_state
    import jax
    import optax

    tell("imported")
    model = task.make("flax")

    @jax.jit
    def begin(key):
        params = model.init(key, task.x[:1])["params"]
        optimizer = optax.adam(LEARNING_RATE)
        return flax.training.train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

    @jax.jit
    def step(state, x, y):
        def loss(params):
            logits = state.apply_fn({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    state, losses = begin(jax.random.key(0)), []
    for x, y in task.batches():
        state, value = step(state, x, y)
        losses.append(value)
    return float(np.mean(losses))


def nnx(task: Task) -> float:
    """Train with flax.nnx and optax, likewise."""
    import optax
    from flax import nnx

    tell("imported")

    @nnx.jit
    def begin():
        model = task.make("nnx", nnx.Rngs(0))
        return model, nnx.Optimizer(model, optax.adam(LEARNING_RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    model, optimizer = begin()
    return float(np.mean([step(model, optimizer, x, y) for x, y in task.batches()]))


def equinox(task: Task) -> float:
    """Train with equinox and optax, likewise."""
    import equinox
    import jax
    import optax

    tell("imported")
    optimizer = optax.adam(LEARNING_RATE)

    @equinox.filter_jit
    def begin(key):
        model = task.make("equinox", key)
        return model, optimizer.init(equinox.filter(model, equinox.is_inexact_array))

    @equinox.filter_value_and_grad
    def loss(model, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()

    @equinox.filter_jit
    def step(model, opt_state, x, y):
        value, grads = loss(model, x, y)
        updates, opt_state = optimizer.update(grads, opt_state, equinox.filter(model, equinox.is_inexact_array))
        return equinox.apply_updates(model, updates), opt_state, value

    (model, opt_state), losses = begin(jax.random.key(0)), []
    for x, y in task.batches():
        model, opt_state, value = step(model, opt_state, np.moveaxis(x, -1, 1) if x.ndim == 4 else x, y)
        losses.append(value)
    return float(np.mean(losses))


def keras(task: Task) -> float:
    """Train with the `fit` of Keras on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    tell("imported")
    keras.utils.set_random_seed(0)
    model = task.make("keras")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    history = model.fit(task.x, task.y, batch_size=task.batch_size, epochs=1, verbose=0)
    return history.history["loss"][-1]


def pytorch(task: Task, *, compiled: bool = False) -> float:
    """Train with eager PyTorch, images in the memory format `channels_last`."""
    import torch

    tell("imported")
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layout = torch.channels_last if task.x.ndim == 4 else torch.contiguous_format
    model: Any = task.make("pytorch").to(device, memory_format=layout)
    if compiled:
        model = torch.compile(model)
    x = torch.from_numpy(task.x).movedim(-1, 1).contiguous(memory_format=layout)
    dataset = torch.utils.data.TensorDataset(x.to(device), torch.from_numpy(task.y).long().to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    criterion, losses = torch.nn.CrossEntropyLoss(), []
    order = torch.randperm(len(dataset), device=device)
    places = torch.arange(-(-len(order) // task.batch_size) * task.batch_size, device=device) % len(order)
    for rows in order[places].split(task.batch_size):  # filled up, or what is compiled would be compiled twice
        x, y = dataset[rows]
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()


def pytorch_compiled(task: Task) -> float:
    """Train with PyTorch, the model compiled."""
    return pytorch(task, compiled=True)


def scikit_learn(task: Task) -> float:
    """Train scikit-learn's classifier."""
    from sklearn.neural_network import MLPClassifier

    tell("imported")
    warnings.simplefilter("ignore")  # one epoch is too few for it
    classifier = MLPClassifier(
        WIDTHS[1:-1],
        alpha=0.0,
        batch_size=task.batch_size,  # pyright: ignore[reportArgumentType] - a number or "auto"
        learning_rate_init=LEARNING_RATE,
        max_iter=1,
        random_state=0,
    )
    return float(classifier.fit(task.x, task.y).loss_)


PROGRAMS: dict[str, Callable[[Task], float]] = {
    "jaxnn": jaxnn,
    "jaxnn-by-hand": jaxnn_by_hand,
    "flax": flax,
    "nnx": nnx,
    "equinox": equinox,
    "keras": keras,
    "pytorch": pytorch,
    "pytorch-compiled": pytorch_compiled,
    "scikit-learn": scikit_learn,
}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("data")
    parser.add_argument("batch_size", type=int)
    given = parser.parse_args()
    with np.load(given.data) as data:
        task = Task(given.model, data["x"], data["y"], given.batch_size)
    tell("loss", PROGRAMS[given.program](task))


if __name__ == "__main__":
    main()
