"""When a network is to learn new digits from a few examples, what is it worth to have learnt others before?

Question   A convolutional network of 5,493 parameters learns 0 to 4 of scikit-learn's digits, shifted by up to a pixel,
           with their quarter turns as further classes. Then it learns 5 to 9, from 10, 30 or 100 labelled examples in
           all: a new head on a frozen body, everything, or layer by layer from the head on. Against one from scratch,
           and one whose convolutions are frozen as they were drawn. All take 240 steps of batches of 10.
Command    python examples/transfer_digits.py
Hardware   any CPU.
Time       about a minute on two cores.
Expected   for 16 seeds, each with examples of its own, these of 180 test digits are right (mean ± standard deviation):

           labelled examples                   10           30          100
           from scratch               80.7 ± 6.0%  90.2 ± 2.6%  95.9 ± 1.7%
           random convolutions        75.7 ± 6.0%  86.8 ± 4.4%  93.8 ± 2.0%
           transferred: frozen        79.7 ± 6.6%  90.3 ± 2.1%  95.5 ± 1.7%
                        fine-tuned    80.2 ± 5.9%  91.4 ± 1.7%  96.4 ± 1.3%
                        gradually     82.0 ± 5.7%  91.3 ± 1.7%  96.7 ± 1.3%

           It is worth little here: one that is unfrozen gradually has 1.4 ± 1.3, 1.1 ± 0.5 and 0.8 ± 0.4 points more
           than one from scratch with the same examples (mean ± its standard error). With a frozen body, a head of 645
           parameters comes as far, within the error, as everything from scratch. What was learnt before decides: with
           `--turns 1`, after the five digits as they stand, the frozen body has 73.6%, 86.4% and 93.6%, less than one
           from scratch and no more than random convolutions. Nor is there less to do: after 12 steps, `--steps 12`,
           none is ahead of the one from scratch by more than its error. The picture is transfer_digits.png.
"""

import argparse
import functools
from pathlib import Path

import jax
import numpy as np
from jax import lax

import jaxnn as nn

SIZES = 10, 30, 100
BATCH = 10
BODY = "first/.*", "second/.*"
FALL = 2.6  # of the rates from part to part, as Howard and Ruder have it


def block(features: int) -> nn.Layer:
    """Look for as many patterns of 3 x 3, and keep where in each 2 x 2 each is strongest."""
    return nn.serial(nn.Conv(features, (3, 3), bias=False), nn.BatchNorm(decay=0.9), nn.relu, nn.MaxPool((2, 2)))


def network(features: int, classes: int) -> nn.Layer:
    """Two blocks, and a head."""
    return nn.serial(first=block(features), second=block(2 * features), flat=nn.flatten, head=nn.Dense(classes))


def trainer_of(model, rate, *, freeze=(), fall=1.0):
    """Return a trainer in which each part of the model counts its steps, and its rate falls from the head down."""
    parts = {f"{part}/.*": nn.adam(rate / fall**depth) for depth, part in enumerate(("head", "second", "first"))}
    return nn.trainer(model, nn.losses.cross_entropy, nn.optim.by_name(parts), freeze=freeze)


def first_task(key, *, data, model):
    """Learn what there is plenty of; return parameters and layer state."""
    rate = nn.cosine_decay_schedule(1e-2, -(-data.examples // 32))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(rate))
    ts, _ = nn.fit(trainer, trainer.init(key, data.x), data, epochs=1, batch_size=32)
    return ts.params, ts.state


# Ways to learn the second task. Each goes through `data` once, as it stands, and returns a trainer and a train state;
# `old` are the parameters and the layer state after the first task.


def fitted(trainer, ts, data):
    """Take a step for each batch, in the order in which they are given."""
    return nn.fit(trainer, ts, data, epochs=1, batch_size=BATCH, shuffle=False)[0]


def from_scratch(key, data, old, rate, *, model, freeze=()):
    """Begin with nothing."""
    del old
    trainer = trainer_of(model, rate, freeze=freeze)
    return trainer, fitted(trainer, trainer.init(key, data.x), data)


def transferred(key, data, old, rate, *, model, stages):
    """Begin with what was learnt, and take as many steps in each stage; a stage is what is frozen in it."""
    trainer = trainer_of(model, rate, freeze=stages[0], fall=FALL)
    ts = nn.transfer(trainer, key, data.x, *old, fresh="head/.*")
    part = data.examples // len(stages)
    for i, frozen in enumerate(stages):
        trainer, ts = nn.refreeze(trainer, ts, frozen)
        ts = fitted(trainer, ts, jax.tree.map(lambda a, i=i: a[i * part : (i + 1) * part], data))
    return trainer, ts


# Each with its learning rate, the best of 1e-3, 3e-3, 1e-2 and 3e-2 on the training digits that are not among the
# labelled ones, in the mean over the sizes.
WAYS = {
    "from scratch": (from_scratch, 1e-2),
    "random convolutions": (functools.partial(from_scratch, freeze=".*/conv_0/w"), 3e-2),
    "transferred, frozen": (functools.partial(transferred, stages=[BODY]), 1e-2),
    "transferred, fine-tuned": (functools.partial(transferred, stages=[()]), 1e-2),
    "transferred, unfrozen gradually": (functools.partial(transferred, stages=[BODY, BODY[:1], ()]), 1e-2),
}


def tasks(turns):
    """Return digits 0 to 4 to train on, and 5 to 9 to train on and to test, as images with classes from 0."""
    train, test = nn.data.digits()
    take = lambda data, rows, first: nn.Data(data.x[rows].reshape(-1, 8, 8, 1), data.y[rows] - first)
    return varied(take(train, train.y < 5, 0), turns), take(train, train.y >= 5, 5), take(test, test.y >= 5, 5)


def varied(data, turns):
    """Return all images shifted by up to a pixel in each direction, and so turned by 90 degrees as further classes."""
    padded = np.pad(data.x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    x = [np.rot90(x, turn, axes=(1, 2)) for turn in range(turns) for x in shifted]
    y = [data.y + 5 * turn for turn in range(turns) for _ in shifted]
    return nn.Data(np.concatenate(x), np.concatenate(y))


def met(y, size, seed, steps):
    """Return the rows of as many steps: `size` examples, as many of each class, in an order of its own each time."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(np.flatnonzero(y == label))[: size // 5] for label in range(5)]
    times = -(-steps * BATCH // size)
    return np.concatenate([random.permutation(np.concatenate(rows)) for _ in range(times)])[: steps * BATCH]


def main(
    *,
    seeds: int = 16,
    features: int = 16,
    turns: int = 4,
    sizes: tuple[int, ...] = SIZES,
    steps: int = 240,
    picture: str | None = "transfer_digits.png",
) -> dict[str, list[float]]:
    """Learn the first task, then the second in every way, and draw; return the mean accuracy of each way by size."""
    first, second, test = tasks(turns)
    old_model = network(features, classes=5 * turns)
    model = nn.replace_layer(old_model, "head", nn.Dense(5))
    keys = jax.random.split(jax.random.key(0), seeds)
    rows = np.array([[met(second.y, size, seed, steps) for seed in range(seeds)] for size in sizes])
    learn = functools.partial(first_task, data=first, model=old_model)
    olds = jax.jit(lambda keys: lax.map(learn, keys))(keys)  # one after another: convolutions fill a CPU's cache alone

    def accuracies(way, rate):
        """Return the accuracies of all sizes with all seeds, (sizes, seeds), computed by one program."""

        def one(key, old, rows):
            data = second.take(rows)
            trainer, ts = way(jax.random.fold_in(key, 1), data, old, rate, model=model)
            # After few steps a running average is still in part what it began with: no fair start for one from scratch.
            ts = nn.training.recalibrated(trainer, ts, data, batch_size=BATCH)
            return nn.evaluate(trainer, ts, test, nn.metrics.accuracy)

        each_seed = lambda rows: lax.map(lambda member: one(*member), (keys, olds, rows))
        return np.asarray(jax.jit(lambda rows: lax.map(each_seed, rows))(rows))

    results = {name: accuracies(*way) for name, way in WAYS.items()}
    print(f"accuracy on {test.examples} test digits from 5 to 9: mean ± deviation of {seeds} seeds\n")
    tell(results, sizes, lambda row: f"{row.mean():.3f} ± {row.std():.3f}")
    print("\nmore than from scratch with the same examples: mean ± its standard error\n")
    tell(above_scratch(results), sizes, lambda row: f"{row.mean():+.3f} ± {standard_error(row):.3f}")
    if picture is not None:
        draw(results, sizes).savefig(Path(picture), dpi=120)
        print(f"\npicture: {picture}")
    return {name: result.mean(axis=1).tolist() for name, result in results.items()}


def above_scratch(results):
    """Return what each way has more than that from scratch, of each size and seed."""
    return {name: result - results["from scratch"] for name, result in results.items() if name != "from scratch"}


def standard_error(row):
    """Return the standard error of the mean over seeds."""
    return row.std(ddof=1) / row.size**0.5


def tell(results, sizes, written):
    """Print a table with a row for each way and a column for each size."""
    print(f"{'labelled examples':33}" + "".join(f"{size:>17}" for size in sizes))
    for name, result in results.items():
        print(f"{name:33}" + "".join(f"{written(row):>17}" for row in result))


def draw(results, sizes):
    """Return the picture, over the number of labelled examples: accuracy, and what it is above that from scratch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    accuracy, gain = figure.subplots(1, 2)

    def line(axes, i, name, rows, bar):
        aside = 1.04 ** (i - (len(WAYS) - 1) / 2)  # so that no bar hides another
        bars = np.array([bar(row) for row in rows])
        axes.errorbar(np.array(sizes) * aside, rows.mean(axis=1), bars, label=name, color=f"C{i}", marker="o",
                      markersize=4, capsize=3, elinewidth=1,
                      linestyle="-" if name.startswith("transferred") else "--")  # fmt: skip

    gains = above_scratch(results)
    for i, (name, result) in enumerate(results.items()):
        line(accuracy, i, name, 100 * result, np.std)
        if name in gains:
            line(gain, i, name, 100 * gains[name], standard_error)
    for axes in (accuracy, gain):
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("labelled examples of the digits 5 to 9, in all")
        axes.grid(alpha=0.3)
    accuracy.set_ylabel("test digits right, %")
    accuracy.set_title("mean and standard deviation of the seeds")
    accuracy.legend(loc="lower right", fontsize=9)
    gain.axhline(0, color="C0", linestyle="--")
    gain.set_ylabel("more than from scratch, percent points")
    gain.set_title("with the same examples: mean and standard error")
    figure.suptitle("What having learnt 0 to 4 is worth when 5 to 9 are to be learnt")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, default=16, help="networks of each kind, with labelled examples of their own"
    )
    parser.add_argument("--features", type=int, default=16, help="of the first block; the second has twice as many")
    parser.add_argument("--turns", type=int, default=4, help="quarter turns that are classes of the first task, 1 to 4")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="labelled examples, multiples of 5")
    parser.add_argument("--steps", type=int, default=240, help="of the second task, a multiple of 3")
    parser.add_argument("--picture", default="transfer_digits.png", help="where to draw")
    main(**vars(parser.parse_args()))
