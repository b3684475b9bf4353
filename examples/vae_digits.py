"""Can a network draw digits that nobody wrote?

Question   A variational autoencoder, 64-200-6-200-64 with relu, learns on scikit-learn's digits of 8 x 8, in black and
           white, to write each down as 6 numbers that are nearly from N(0, 1), and to draw it from them. Adam from 3e-3
           down a cosine, 150 epochs of batches of 64, by hand-written backpropagation through the draw in its middle.
           How many nats does a test digit take, and what is drawn from numbers that are N(0, 1) themselves?
Command    python examples/vae_digits.py
Hardware   any CPU: a quarter of a minute on two cores.
Expected   a test digit takes at most 19 nats, by the bound on -log p, about 6 of them for its code; pixels that know
           nothing of each other take 25. A network that is sure of 88% of test digits, at a probability above 0.8, is
           sure of more than half of the samples, and of a third of such pixels. Test digits, what comes back of them,
           and samples are in vae_digits.png.

Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014).
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn


def black_and_white(data: nn.Data) -> nn.Data:
    """Digits of which a pixel is 0 or 1, so that p is a probability."""
    return data._replace(x=(np.asarray(data.x) > 0.45).astype(np.float32))


def train_vae(train: nn.Data, *, epochs: int, hidden: int, latent: int, seed: int):
    """Return the trainer and its state; the target of a digit is the digit."""
    model = nn.models.vae(64, hidden=hidden, latent=latent)
    steps = epochs * -(-train.examples // 64)
    optimizer = nn.adam(nn.cosine_decay_schedule(3e-3, steps))
    trainer = nn.trainer(model, nn.losses.negative_elbo, optimizer, gradient=nn.by_hand)
    print(nn.summary(model, jax.ShapeDtypeStruct((64, 64), jnp.float32)), "\n")
    ts, _ = nn.fit(trainer, trainer.init(jax.random.key(seed), train.x), train, epochs=epochs, batch_size=64)
    return trainer, ts


def bound(trainer, train_state, x, *, draws: int, seed: int):
    """Return the mean bound on -log p(x) over examples and draws, and what part of it the code costs, in nats."""
    ts = train_state

    def of_one_draw(key):
        (logits, code), _ = trainer.model.apply(ts.params, ts.state, x, key=key, train=True)
        return nn.losses.negative_elbo((logits, code), x).mean(), nn.losses.gaussian_kl(*code).mean()

    total, code = jax.jit(jax.vmap(of_one_draw))(jax.random.split(jax.random.key(seed), draws))
    return float(total.mean()), float(code.mean())


def sample(trainer, train_state, latent: int, *, n: int, seed: int):
    """Decode draws of N(0, 1): the decoder is a layer within the model, and its parameters lie within the model's."""
    layer, params, state = trainer.model, train_state.params, train_state.state
    for name in ("out", "logits", "decoder"):
        layer, params, state = layer.children[name], params[name], state[name]
    return nn.sigmoid(layer.apply(params, state, jax.random.normal(jax.random.key(seed), (n, latent)))[0])


def sureness(train: nn.Data, pictures: list) -> list[float]:
    """Of each set of pictures the part that a classifier of digits gives one class at a probability above 0.8."""
    trainer = nn.trainer(nn.models.mlp((128, 10)), nn.losses.cross_entropy, nn.adam(1e-3))
    ts, _ = nn.fit(trainer, trainer.init(jax.random.key(0), train.x), train, epochs=30, batch_size=32)
    return [float((nn.softmax(trainer.predict(ts, x)).max(axis=-1) > 0.8).mean()) for x in pictures]


def main(
    *,
    epochs: int = 150,
    hidden: int = 200,
    latent: int = 6,
    seed: int = 0,
    picture: str | None = "vae_digits.png",
) -> dict[str, float]:
    """Train, measure, draw; return the bound, the part of the code, what pixels take, and how many samples convince."""
    digits, test = map(black_and_white, nn.data.digits())
    trainer, ts = train_vae(nn.Data(digits.x, digits.x), epochs=epochs, hidden=hidden, latent=latent, seed=seed)
    x = jnp.asarray(test.x)
    total, code = bound(trainer, ts, x, draws=20, seed=seed)
    p = (digits.x.sum(axis=0) + 1) / (digits.examples + 2)
    by_pixels = float(-np.log(np.where(test.x == 1, p, 1 - p)).sum(axis=1).mean())
    print(
        f"a test digit takes at most {total:.2f} nats, {code:.2f} of them for its code; pixel by pixel {by_pixels:.2f}"
    )

    samples = sample(trainer, ts, latent, n=500, seed=seed)
    alone = np.random.default_rng(seed).permuted(digits.x, axis=0)[:500]  # each pixel from some digit or other
    sure = sureness(digits, [samples, jnp.asarray(alone), x])
    print("sure of {:.3f} of samples, {:.3f} of pixels by themselves, {:.3f} of test digits".format(*sure))
    if picture is not None:
        logits, _ = trainer.predict(ts, x[:12])
        draw(x[:12], nn.sigmoid(logits), samples[:48], latent).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")
    return {"nats": total, "code": code, "pixels": by_pixels, "samples": sure[0], "alone": sure[1]}


def draw(x, back, samples, latent):
    """Return the figure: on top digits, and what comes back of them; below what is decoded of numbers from N(0, 1)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    top, below = np.asarray(figure.subfigures(2, 1, height_ratios=[2, 4]))
    top.suptitle(f"Test digits, and each from the {latent} numbers that it was written down as", fontsize=10)
    below.suptitle("Drawn from random numbers", fontsize=10)
    for part, pictures in ((top, [*x, *back]), (below, samples)):
        for axes, picture in zip(part.subplots(len(pictures) // 12, 12).flat, pictures, strict=True):
            axes.imshow(np.asarray(picture).reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.axis("off")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--hidden", type=int, default=200, help="units of the hidden layer of either half")
    parser.add_argument("--latent", type=int, default=6, help="numbers in a code")
    parser.add_argument("--picture", default="vae_digits.png", help="where to draw")
    main(**vars(parser.parse_args()))
