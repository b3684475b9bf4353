"""How well does a small transformer predict the next character of Python's own documentation?

Question   The topics that `help()` knows, which ship with Python: 370,000 characters of about 100 kinds, each paragraph
           once. GPT-2 in small, two blocks of width 64 with 4 heads that turn their queries and keys by position, reads
           1000 batches of 8 random pieces of 128 characters from the first nine tenths, by backpropagation
           written by hand, and is asked about the last tenth.
Command    python examples/gpt_characters.py
Hardware   any CPU.
Time       under a minute on one core.
Expected   at most 2.4 bits a character. Counts of single characters need 4.7, and counts of pairs 3.5. The picture is
           gpt_characters.png. What it then writes, with a cache of keys and values, begins to look like the text.
"""

import argparse
import functools
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn


class Text(NamedTuple):
    """Characters as numbers: the place of each in the alphabet."""

    alphabet: str
    train: np.ndarray
    test: np.ndarray

    def numbers(self, characters: str) -> np.ndarray:
        """Return the numbers of some characters."""
        return np.array([self.alphabet.index(c) for c in characters], np.int32)


def python_topics(characters: int | None = None) -> Text:
    """Return what `help()` says of all topics, but every paragraph once, for many topics share some."""
    from pydoc_data.topics import topics

    paragraphs = (paragraph.strip("\n") for name in sorted(topics) for paragraph in topics[name].split("\n\n"))
    text = "\n\n".join(dict.fromkeys(paragraphs))[:characters]
    alphabet = "".join(sorted(set(text)))
    numbers = Text(alphabet, *[np.empty(0)] * 2).numbers(text)
    return Text(alphabet, *np.split(numbers, [9 * len(numbers) // 10]))


def bits_of_counts(text: Text) -> dict[str, float]:
    """Return the bits a character by the frequencies of characters, and of pairs, with all counted once before."""
    kinds = len(text.alphabet)
    single, pairs = np.ones(kinds), np.full((kinds, kinds), 1 / kinds)
    np.add.at(single, text.train, 1)
    np.add.at(pairs, (text.train[:-1], text.train[1:]), 1)
    of_single = single[text.test] / single.sum()
    of_pairs = pairs[text.test[:-1], text.test[1:]] / pairs[text.test[:-1]].sum(1)
    return {"single characters": -np.log2(of_single).mean(), "pairs": -np.log2(of_pairs).mean()}


def pieces(numbers: np.ndarray, context: int) -> nn.Data:
    """Cut the whole into pieces: the characters of each, and those that follow them."""
    n = (len(numbers) - 1) // context
    x, y = (part[: n * context].reshape(n, context) for part in (numbers, numbers[1:]))
    return nn.Data(x, y)


def warmed_up(schedule, steps: int):
    """Return a schedule that rises to another one in the first steps, without which a transformer learns less."""
    return lambda step: schedule(step) * jnp.minimum(1, (step + 1) / steps)


@functools.partial(jax.jit, static_argnames=("trainer", "batch_size", "context", "steps"))
def train(trainer, train_state, numbers, key, *, batch_size: int, context: int, steps: int):
    """Take some steps, each on pieces that begin anywhere; return the loss of each as well."""

    def step(train_state, key):
        begins = jax.random.randint(key, (batch_size, 1), 0, len(numbers) - context)
        piece = numbers[begins + jnp.arange(context + 1)[None]]
        train_state, info = trainer.step(train_state, nn.Data(piece[:, :-1], piece[:, 1:]))
        return train_state, info.loss

    return jax.lax.scan(step, train_state, jax.random.split(key, steps))


@functools.partial(jax.jit, static_argnames=("decoder", "length"))
def write(decoder, params, prompt, key, *, length: int, temperature: float = 0.7):
    """Return the prompt, `(samples, time)`, and so many more characters, each drawn by what the model says is next.

    The prompt is read at once; then every step reads one character, and finds the keys and values of all before it in
    the cache. The draws are one compiled loop.
    """

    def step(carry, key):
        logits, state = carry
        drawn = jax.random.categorical(key, logits[:, -1] / temperature)[:, None]
        return decoder.apply(params, state, drawn), drawn[:, 0]

    _, state = decoder.init(key, prompt)  # an empty cache; the parameters are the trained ones
    logits, state = decoder.apply(params, state, prompt)
    _, drawn = jax.lax.scan(step, (logits[:, -1:], state), jax.random.split(key, length))
    return jnp.concatenate([prompt, drawn.T.astype(prompt.dtype)], axis=1)


def main(
    *,
    steps: int = 1000,
    every: int = 100,
    batch_size: int = 8,
    context: int = 128,
    width: int = 64,
    heads: int = 4,
    blocks: int = 2,
    learning_rate: float = 5e-3,
    seed: int = 0,
    characters: int | None = None,
    picture: str | None = "gpt_characters.png",
) -> float:
    """Train, draw the curve and write; return the bits a character on the last tenth of the text."""
    text = python_topics(characters)
    size = {"width": width, "heads": heads, "blocks": blocks, "context": context, "rotary": True}
    model = nn.models.gpt(len(text.alphabet), **size)
    optimizer = nn.adamw(warmed_up(nn.cosine_decay_schedule(learning_rate, steps), 50), weight_decay=0.01)
    trainer = nn.trainer(model, nn.losses.cross_entropy, optimizer, gradient=nn.by_hand)
    print(nn.summary(model, jax.ShapeDtypeStruct((batch_size, context), jnp.int32)), "\n")

    numbers, test = jnp.asarray(text.train), pieces(text.test, context)
    train_state = jax.jit(trainer.init)(jax.random.key(seed), test.x)
    bits, test_bits = [], []
    print("step   bits a character: of training  of the last tenth")
    for key in jax.random.split(jax.random.key(seed + 1), steps // every):
        train_state, losses = train(
            trainer, train_state, numbers, key, batch_size=batch_size, context=context, steps=every
        )
        bits.append(np.asarray(losses) / math.log(2))
        test_bits.append(float(nn.evaluate(trainer, train_state, test, batch_size=64)) / math.log(2))
        print(f"{train_state.step:4}  {bits[-1].mean():29.3f}  {test_bits[-1]:17.3f}")

    counts = bits_of_counts(text)
    for name, needed in (counts | {"the transformer": test_bits[-1]}).items():
        print(f"{name:>17} need {needed:.3f} bits".replace("transformer need", "transformer needs"))
    if picture is not None:
        draw(np.concatenate(bits), test_bits, counts).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")

    decoder = nn.models.gpt(len(text.alphabet), **size, cache=context)
    prompt = jnp.asarray(np.tile(text.numbers("The "), (3, 1)))
    written = write(decoder, train_state.params, prompt, jax.random.key(seed + 2), length=context - prompt.shape[1])
    for i, sample in enumerate(np.asarray(written)):
        print(f"\n-- sample {i + 1} --\n{''.join(text.alphabet[c] for c in sample)}")
    return test_bits[-1]


def draw(bits: np.ndarray, test_bits: list[float], counts: dict[str, float]):
    """Return the figure: bits a character over the steps, and what counting needs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(1, len(bits) + 1), bits, color="#0072B2", alpha=0.35, linewidth=0.8, label="each batch")
    ends = np.linspace(0, len(bits), len(test_bits) + 1)[1:]
    axes.plot(ends, test_bits, color="#D55E00", marker="o", markersize=4, label="the last tenth of the text")
    for (name, needed), style in zip(counts.items(), ("--", ":"), strict=True):
        axes.axhline(needed, color="black", linestyle=style, linewidth=1, label=f"counts of {name}")
    axes.set_ylim(0, math.ceil(max(bits.max(), *counts.values())))
    axes.set_xlabel("step")
    axes.set_ylabel("bits a character")
    axes.set_title("A small transformer learns Python's documentation by character", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64, help="features of a character on its way")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--picture", default="gpt_characters.png", help="where to draw")
    main(**vars(parser.parse_args()))
