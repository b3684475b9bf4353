"""What can one layer of weights not learn, and what does a second one change?

Question   Of two bits, AND, OR and XOR (one of the two, but not both), by Rosenblatt's perceptron with its own rule,
           one example at a time; and XOR by a network with a hidden layer of 4 tanh units, by hand-written
           backpropagation and Adam, 200 epochs.
Command    python examples/xor.py
Hardware   any CPU: under ten seconds, nearly all of them compilation.
Expected   the perceptron separates AND and OR within a few mistakes, and reports that XOR is not separable: its weights
           come back to what they were, and no line gets more than 3 of the 4 right. The network gets all 4. The
           regions in which each answers 1 are in xor.png.

Source: Rosenblatt, "The perceptron" (1958); Minsky and Papert, "Perceptrons" (1969); Rumelhart, Hinton and Williams,
"Learning representations by back-propagating errors" (1986).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn

POINTS = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.float32)
GATES = {"AND": [0, 1, 0, 0], "OR": [0, 1, 1, 1], "XOR": [0, 0, 1, 1]}


def gate(name: str) -> nn.Data:
    """The four points and what the gate says of each."""
    return nn.Data(POINTS, np.array(GATES[name], np.float32)[:, None])


def main(*, epochs: int = 200, hidden: int = 4, seed: int = 0, picture: str | None = "xor.png") -> float:
    """Learn all gates, print what came of each, and draw; return the network's accuracy on XOR."""
    answers: dict[str, Callable[[Any], Any]] = {}
    rosenblatt = nn.models.perceptron_trainer()
    begin = rosenblatt.init(jax.random.key(seed), POINTS)
    for name in GATES:
        ts, report = nn.models.separate(rosenblatt, begin, gate(name), epochs=20)
        print(f"perceptron, {name}: {report}")
        answers[f"perceptron, {name}"] = lambda x, ts=ts: rosenblatt.predict(ts, x)

    model, data = nn.models.mlp((hidden, 1), activation=nn.tanh), gate("XOR")
    trainer = nn.trainer(model, nn.losses.binary_cross_entropy, nn.adam(0.05), gradient=nn.by_hand)
    ts = trainer.init(jax.random.key(seed), POINTS)
    ts, history = nn.fit(trainer, ts, data, epochs=epochs, batch_size=4)
    answers["hidden layer, XOR"] = lambda x: nn.sigmoid(trainer.predict(ts, x))
    right = (answers["hidden layer, XOR"](jnp.asarray(POINTS)) > 0.5) == (data.y > 0.5)
    accuracy = float(right.mean())
    print(f"hidden layer, XOR: {100 * accuracy:.1f}% right, loss {float(history['loss'][-1]):.4f}")
    if picture is not None:
        draw(answers).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")
    return accuracy


def draw(answers):
    """Return the figure: a panel for each, purple where the answer is 1 and orange where it is 0, and the points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(answers), 3.2), layout="constrained")
    side = np.linspace(-0.5, 1.5, 201, dtype=np.float32)
    plane = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    panels = figure.subplots(1, len(answers), squeeze=False)
    for axes, (name, answer) in zip(panels[0], answers.items(), strict=True):
        region = np.asarray(answer(plane)).reshape(201, 201)
        axes.imshow(region, extent=(-0.5, 1.5, -0.5, 1.5), origin="lower", cmap="PuOr", vmin=-0.3, vmax=1.3)
        labels = GATES[name.split(", ")[1]]
        right = (np.asarray(answer(jnp.asarray(POINTS)))[:, 0] > 0.5) == labels
        for point, label, correct in zip(POINTS, labels, right, strict=True):
            axes.plot(*point, "o", markersize=18, color="white", markeredgecolor="black" if correct else "red")
            axes.annotate(str(label), point, ha="center", va="center")
        axes.set_title(name if right.all() else f"{name}: red is wrong", fontsize=10)
        axes.set_xticks([0, 1])
        axes.set_yticks([0, 1])
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200, help="of the network with a hidden layer")
    parser.add_argument("--hidden", type=int, default=4, help="its hidden units")
    parser.add_argument("--picture", default="xor.png", help="where to draw")
    main(**vars(parser.parse_args()))
