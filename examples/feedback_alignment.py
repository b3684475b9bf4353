"""Can a network learn from errors that come back through random weights that never change?

Question   Backpropagation sends errors back through the transposes of the very weights that they came by, which no
           brain is known to have. What if they come back through fixed random weights instead? 64-30-30-10 with tanh,
           Adam at 3e-3, 30 epochs of batches of 32 on scikit-learn's digits. Besides: against backpropagation, and
           against layers below the last that do not learn at all.
Command    python examples/feedback_alignment.py
Hardware   any CPU: a quarter of a minute, most of it compilation.
Expected   with random feedback at least 94% of the 360 test digits are right, with backpropagation at least 95%, and
           with the last layer alone at most 90%. The angle between what the layers below are told and their true
           gradient begins near 90 degrees, where feedback says nothing, and falls to about 50: the forward weights come
           to agree with the backward ones. The picture is feedback_alignment.png.

The layer is the first thing below. It has a backward of its own, and `apply` as usual; so of one and the same model
`by_hand` gives what random feedback says, and `by_autodiff` the true gradient.

Source: Lillicrap, Cownden, Tweed and Akerman, "Random synaptic feedback weights support error backpropagation for
deep learning" (2016).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import jaxnn as nn


@dataclass(frozen=True)
class FeedbackDense(nn.Layer):
    """A dense layer, y = x w + b, whose error goes back through a random matrix in the place of w."""

    features: int

    def init(self, key, x):
        """Draw w, and the feedback like it, which does not learn and so is state."""
        params, _ = nn.Dense(self.features).init(key, x)
        w = params["w"]
        return params, {"feedback": nn.initializers.lecun_normal()(jax.random.fold_in(key, 1), w.shape, w.dtype)}

    def fwd(self, params, state, x, *, key=None, train=False):
        """Remember x, and the feedback instead of w."""
        y = nn.ops.linear(x, params["w"], params["b"])
        return (y, state), (x, state["feedback"], params["b"])

    def bwd(self, residuals, dy):
        """What linear's backward says, if it takes the feedback for w."""
        dx, dw, db = nn.ops.linear.bwd(residuals, dy)
        return {"w": dw, "b": db}, dx


def network(layer, hidden: int) -> nn.Layer:
    """Two hidden layers. What reaches the first goes back through both that follow."""
    return nn.serial(first=nn.Dense(hidden), a=nn.tanh, second=layer(hidden), b=nn.tanh, last=layer(10))


def follow(trainer):
    """Return a function of train state and data: degrees between what each layer is told and its gradient.

    0 is the same, 90 nothing in common.
    """
    told, true = (jax.jit(road(trainer.model, trainer.loss)) for road in (nn.by_hand, nn.by_autodiff))

    def angles(ts, data: nn.Data) -> dict[str, float]:
        told_grads, true_grads = (road(ts.params, ts.frozen, ts.state, data)[2] for road in (told, true))

        def angle(name):
            a, b = (np.asarray(grads[name]["w"], float).ravel() for grads in (told_grads, true_grads))
            return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))

        return {name: angle(name) for name in ("first", "second", "last")}

    return angles


def main(
    *,
    epochs: int = 30,
    hidden: int = 30,
    learning_rate: float = 3e-3,
    seed: int = 0,
    picture: str | None = "feedback_alignment.png",
) -> dict[str, float]:
    """Train all three, print and draw; return the accuracy of each on the test set."""
    train, test = nn.data.digits()
    ways = {"random feedback": (FeedbackDense, ()), "backpropagation": (nn.Dense, ()),
            "last layer alone": (nn.Dense, ("first/.*", "second/.*"))}  # fmt: skip
    accuracy: dict[str, list[float]] = {}
    followed: list[dict[str, float]] = []
    for way, (layer, freeze) in ways.items():
        trainer = nn.trainer(
            network(layer, hidden), nn.losses.cross_entropy, nn.adam(learning_rate), gradient=nn.by_hand, freeze=freeze
        )
        ts, accuracy[way], angles = trainer.init(jax.random.key(seed), train.x), [], follow(trainer)
        for _ in range(epochs):
            if layer is FeedbackDense:
                followed.append(angles(ts, train))
            ts, history = nn.fit(
                trainer, ts, train, epochs=1, batch_size=32, validation=test, metrics=nn.metrics.accuracy
            )
            accuracy[way].append(float(history["validation_accuracy"][0]))
        if layer is FeedbackDense:
            followed.append(angles(ts, train))
    print("epochs  angle of first  of second  of last   accuracy with feedback")
    for epoch in sorted({0, 1, 2, 4, 9, 19, epochs} & {*range(epochs + 1)}):
        told = followed[epoch]
        right = f"{accuracy['random feedback'][epoch - 1]:.4f}" if epoch else ""
        print(f"{epoch:6}  {told['first']:14.1f}  {told['second']:9.1f}  {told['last']:7.1f}   {right}")
    print()
    for way, of_epochs in accuracy.items():
        print(f"accuracy on {test.examples} test digits, {way}: {of_epochs[-1]:.4f}")
    if picture is not None:
        draw(followed, accuracy).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")
    return {way: of_epochs[-1] for way, of_epochs in accuracy.items()} | {"angle": followed[-1]["first"]}


def draw(followed, accuracy):
    """Return the figure: angles of the layers below the last on the left, accuracy of all ways on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour, style in (("first", "#0072B2", "-"), ("second", "#E69F00", "--")):
        told = [angle[name] for angle in followed]
        left.plot(told, color=colour, linestyle=style, linewidth=2, label=f"{name} layer")
    left.axhline(90, color="grey", linewidth=1)
    left.text(len(followed) - 1, 88, "no information", color="grey", ha="right", va="top", fontsize=9)
    left.set_ylim(0, 100)
    left.set_ylabel("degrees from the true gradient")
    left.set_title("Random feedback comes to agree with the gradient", fontsize=11)
    styles = zip(accuracy, ("#0072B2", "#000000", "#D55E00"), ("-", "--", ":"), strict=True)
    for way, colour, style in styles:
        epochs = range(1, len(accuracy[way]) + 1)
        right.plot(epochs, 100 * np.asarray(accuracy[way]), color=colour, linestyle=style, linewidth=2, label=way)
    right.set_ylabel("% of test digits right")
    right.set_title("and the layers below the last learn from it", fontsize=11)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right" if axes is right else "lower left")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=30, help="units of either hidden layer")
    parser.add_argument("--picture", default="feedback_alignment.png", help="where to draw")
    main(**vars(parser.parse_args()))
