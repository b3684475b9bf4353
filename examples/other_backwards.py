"""What is a backward good for that is not the derivative?

Question   First: units that put out -1 or 1 have the derivative 0, so nothing below them learns. If their backward
           hands the error through as though they were not there, do 64-20-20-10 of them learn to read digits? Second:
           half of all digits bear a faint watermark. If a layer between the features and a reader of the watermark
           turns the error round, are features learned in which no later reader finds it?
Command    python examples/other_backwards.py
Hardware   any CPU: half a minute on two cores, most of it compilation.
Expected   with the error handed through at least 90% of 360 test digits are right, with the true derivative at most
           60%: then the last layer alone has learned. With the error turned round, a reader of the watermark that is
           trained afterwards on the 8 features is right on at most 65%, where guessing is on half; without, on at least
           97%. Of the digits 93% or more are right either way.

Both layers are below, each a few lines, and both are tried against themselves: `by_hand` trains with their own
backward, `by_autodiff` with the derivative of what they compute. (For the first there is `nn.step`, too, as
`nn.step.bind(low=-1.0, surrogate="clipped")`.)

Source: Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic neurons" (2013), and
Hubara et al., "Binarized neural networks" (2016), for the first; Ganin et al., "Domain-adversarial training of neural
networks" (2016), for the second.
"""

import argparse
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn


@dataclass(frozen=True)
class Binary(nn.Layer):
    """The sign of x, y = 1 if x > 0 else -1, whose error goes straight through where |x| < 1."""

    def init(self, key, x):
        """There is nothing to learn."""
        return {}, {}

    def fwd(self, params, state, x, *, key=None, train=False):
        """Remember where x is not so far out that it cannot matter."""
        return (jnp.where(x > 0, 1, -1).astype(x.dtype), state), jnp.abs(x) < 1

    def bwd(self, residuals, dy):
        """As though y were x there."""
        return {}, jnp.where(residuals, dy, 0)


@dataclass(frozen=True)
class GradientReversal(nn.Layer):
    """y = x, whose error is turned round: what is below learns to make worse what is above learns to do well."""

    strength: float = 1.0

    def init(self, key, x):
        """There is nothing to learn."""
        return {}, {}

    def fwd(self, params, state, x, *, key=None, train=False):
        """There is nothing to remember."""
        return (x, state), ()

    def bwd(self, residuals, dy):
        """The opposite of the error."""
        return {}, -self.strength * dy


ROADS = {"its own backward": nn.by_hand, "the derivative": nn.by_autodiff}


def fitted(model, loss, data: nn.Data, *, epochs: int, learning_rate: float, seed: int, road=nn.by_autodiff):
    """Train, and return the trainer and its state."""
    steps = epochs * -(-data.examples // 32)
    optimizer = nn.adam(nn.cosine_decay_schedule(learning_rate, steps), b1=0.5)
    trainer = nn.trainer(model, loss, optimizer, gradient=road)
    ts, _ = nn.fit(trainer, trainer.init(jax.random.key(seed), data.x), data, epochs=epochs, batch_size=32)
    return trainer, ts


def binary_units(*, epochs: int, hidden: int, seed: int) -> dict[str, float]:
    """Return the accuracy of two hidden layers of binary units on either road."""
    train, test = nn.data.digits()
    model = nn.serial(nn.Dense(hidden), Binary(), nn.Dense(hidden), Binary(), nn.Dense(10))
    accuracy = {}
    for name, road in ROADS.items():
        trainer, ts = fitted(
            model, nn.losses.cross_entropy, train, epochs=epochs, learning_rate=3e-3, seed=seed, road=road
        )
        accuracy[name] = float(nn.evaluate(trainer, ts, test, nn.metrics.accuracy))
        print(f"binary units with {name}: {accuracy[name]:.4f} of test digits are right")
    return accuracy


def watermarked(data: nn.Data, seed: int) -> nn.Data:
    """Half of the digits with one and the same faint pattern on them; the second target says which."""
    pattern = 0.3 * np.random.default_rng(7).uniform(size=64)
    marked = np.random.default_rng(seed).integers(0, 2, data.examples)
    x = (data.x + marked[:, None] * pattern).astype(np.float32)
    return nn.Data(x, np.stack([data.y, marked], axis=1).astype(np.int32))


def of_both(prediction, target):
    """The loss of digit and watermark."""
    (digit, mark), y = prediction, target
    return nn.losses.cross_entropy(digit, y[:, 0]) + nn.losses.binary_cross_entropy(mark[:, 0], y[:, 1])


def hidden_watermark(*, epochs: int, features: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return, on either road, the accuracy on digits, and that of a reader of the watermark that comes afterwards."""
    train, test = (watermarked(data, seed + i) for i, data in enumerate(nn.data.digits()))
    reader = nn.models.mlp((64, 1))
    model = nn.serial(
        features=nn.serial(nn.models.mlp((64, features)), nn.tanh),
        heads=nn.parallel(digit=nn.Dense(10), mark=nn.serial(GradientReversal(), reader)),
    )
    accuracy = {}
    for name, road in ROADS.items():
        trainer, ts = fitted(model, of_both, train, epochs=epochs, learning_rate=1e-3, seed=seed, road=road)
        digit, _ = trainer.predict(ts, jnp.asarray(test.x))

        def featured(data, ts=ts):
            """Features, and whether there is a watermark."""
            x, _ = model.children["features"].apply(ts.params["features"], ts.state["features"], jnp.asarray(data.x))
            return nn.Data(x, data.y[:, 1:].astype(np.float32))

        afterwards, tts = fitted(
            reader, nn.losses.binary_cross_entropy, featured(train), epochs=epochs, learning_rate=3e-3, seed=seed + 1
        )
        mark = afterwards.predict(tts, featured(test).x)[:, 0] > 0
        right = (digit.argmax(axis=-1) == test.y[:, 0], mark == (test.y[:, 1] == 1))
        accuracy[name] = tuple(float(part.mean()) for part in right)
        print("reversal with {}: {:.4f} of test digits are right, {:.4f} of watermarks".format(name, *accuracy[name]))
    return accuracy


def main(*, epochs: int = 50, hidden: int = 20, features: int = 8, seed: int = 0) -> dict[str, dict]:
    """Do both; return the accuracies."""
    return {
        "binary": binary_units(epochs=epochs, hidden=hidden, seed=seed),
        "reversal": hidden_watermark(epochs=epochs, features=features, seed=seed),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=20, help="binary units in either hidden layer")
    parser.add_argument("--features", type=int, default=8, help="features that are to hide the watermark")
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
