"""Can a recurrent network remember its first input for a hundred steps, and does its gradient get back there?

Question   the first of 100 steps shows one of four symbols on four inputs, which are 0 from then on; four others show
           noise at every step. After the last step the network has to say which symbol it was. Three networks of 32
           units learn it from 1024 sequences, with Adam and gradients clipped to a norm of 1: a plain RNN, an LSTM
           whose gate f begins with the usual bias of 1, and one with a bias of 4.
Command    python examples/lstm_memory.py
Hardware   any CPU.
Time       half a minute on two cores.
Expected   the LSTM with bias 4 is right in at least 95 of 100 new sequences, the plain RNN no more often than by
           chance, 25. Why is in lstm_memory.png: before training the gradient of the loss at the first step is 1e-11
           for the RNN, 1e-5 for the LSTM with bias 1, which may or may not learn from so little, and about 1 for that
           with bias 4. A gate f of s(1) = 0.73 keeps 0.73^100 = 2e-14 of what is in c, one of s(4) = 0.98 keeps 0.16.

Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997); Bengio, Simard and Frasconi, "Learning long-term
dependencies with gradient descent is difficult" (1994); for the bias, Tallec and Ollivier, "Can recurrent neural
networks warp time?" (2018), by whom it should be about the logarithm of the steps, here 4.6.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn

SYMBOLS, BATCH = 4, 32
LOSS = nn.losses.cross_entropy


class Memory(NamedTuple):
    """What became of one network."""

    accuracy: np.ndarray  # on new sequences, (epochs,)
    first: np.ndarray  # norm of the gradient at the first step, before training and after each epoch, (1 + epochs,)
    steps: np.ndarray  # norm of the gradient at each step, before training, (steps,)


def sequences(n: int, steps: int, seed: int) -> nn.Data:
    """Return n sequences, of which the first step shows a symbol, and what it was."""
    random = np.random.default_rng(seed)
    symbol = random.integers(0, SYMBOLS, n)
    shown, noise = np.zeros((n, steps, SYMBOLS)), random.normal(size=(n, steps, SYMBOLS))
    shown[:, 0] = np.eye(SYMBOLS)[symbol]
    return nn.Data(jnp.asarray(np.concatenate([shown, noise], axis=-1), jnp.float32), jnp.asarray(symbol, jnp.int32))


def gradient_norms(model: nn.Layer, ts: Any, batch: nn.Data) -> Any:
    """Return how much the loss changes with each step of x, in the mean over examples: backpropagation through time.

    Forward, the model and the loss remember what they need. Backward, the loss says how it changes with the prediction,
    and of that the model makes how it changes with x: a vector for each step of each example.
    """
    (prediction, _), of_model = model.fwd(ts.params, ts.state, batch.x, train=True)
    losses, of_loss = LOSS.fwd(prediction, batch.y)
    d_prediction, _ = LOSS.bwd(of_loss, jnp.ones_like(losses))
    _, dx = model.bwd(of_model, d_prediction)
    return jnp.linalg.norm(dx, axis=-1).mean(axis=0)


def remember(layer: nn.Layer, train: nn.Data, test: nn.Data, *, epochs: int, seed: int) -> Memory:
    """Train a network, and measure its gradient on the way."""
    model = nn.serial(layer, nn.last, nn.Dense(SYMBOLS))
    decay = nn.cosine_decay_schedule(3e-3, epochs * train.examples // BATCH)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), nn.adam(decay))
    trainer = nn.trainer(model, LOSS, optimizer, gradient=nn.by_hand)
    ts = trainer.init(jax.random.key(seed), train.x)
    norms = jax.jit(lambda ts: gradient_norms(model, ts, test))
    steps = np.asarray(norms(ts))
    accuracy, first = [], [steps[0]]
    for _ in range(epochs):
        ts, _ = nn.fit(trainer, ts, train, epochs=1, batch_size=BATCH)
        accuracy.append(float(nn.evaluate(trainer, ts, test, nn.metrics.accuracy)))
        first.append(float(norms(ts)[0]))
    return Memory(np.array(accuracy), np.array(first), steps)


def main(
    *,
    steps: int = 100,
    epochs: int = 12,
    examples: int = 1024,
    hidden: int = 32,
    seed: int = 0,
    picture: str | None = "lstm_memory.png",
) -> float:
    """Train, print and draw; return the accuracy of the LSTM that begins by remembering."""
    train, test = sequences(examples, steps, seed=0), sequences(512, steps, seed=1)
    layers = {
        "RNN": nn.RNN(hidden),
        "LSTM, bias of f 1": nn.LSTM(hidden),
        "LSTM, bias of f 4": nn.LSTM(hidden, forget_bias=4.0),
    }
    seen = {name: remember(layer, train, test, epochs=epochs, seed=seed) for name, layer in layers.items()}

    print(f"{'':17}  gradient before training        first step    accuracy")
    print(f"{'':17}  first step     last step    after training")
    for name, (accuracy, first, norms) in seen.items():
        print(f"{name:17}  {norms[0]:10.1e}  {norms[-1]:12.1e}  {first[-1]:14.1e}  {accuracy[-1]:10.3f}")
    if picture is not None:
        draw(seen).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")
    return float(seen["LSTM, bias of f 4"].accuracy[-1])


def draw(seen: dict[str, Memory]):
    """Return the figure: the gradient on its way back, what training makes of it, and what is learned."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    through_time, first, accuracy = figure.subplots(1, 3)
    figure.suptitle("What the first step of a long sequence was is learned where the gradient gets back to it")
    # Okabe and Ito's colours, which all readers can tell apart, and a style of line besides.
    styles = zip(("#D55E00", "#E69F00", "#0072B2"), (":", "--", "-"), strict=True)
    for (name, memory), (colour, style) in zip(seen.items(), styles, strict=True):
        style = {"color": colour, "linestyle": style, "linewidth": 2, "label": name}
        through_time.plot(np.arange(1, len(memory.steps) + 1), memory.steps, **style)
        first.plot(np.arange(len(memory.first)), np.maximum(memory.first, 1e-20), **style)
        accuracy.plot(np.arange(1, len(memory.accuracy) + 1), 100 * memory.accuracy, **style)
    accuracy.axhline(100 / SYMBOLS, color="grey", linewidth=1)
    accuracy.text(1, 100 / SYMBOLS - 5, "chance", color="grey", fontsize=9)
    labels = [
        (through_time, "the gradient on its way back, before training", "step", "gradient of the loss at the step"),
        (first, "where it has to get to", "epoch", "gradient of the loss at the first step"),
        (accuracy, "what is learned of it", "epoch", "percent right, of 512 new sequences"),
    ]
    for axes, title, x, y in labels:
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.3)
    through_time.set_yscale("log")
    first.set_yscale("log")
    accuracy.set_ylim(0, 102)
    through_time.legend(loc="lower right", fontsize=9)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--picture", default="lstm_memory.png", help="where to draw")
    arguments = parser.parse_args()
    main(steps=arguments.steps, epochs=arguments.epochs, picture=arguments.picture)
