"""What do ensembles of small networks know that one of them does not, and what do they cost?

Question   64-8-10 with relu, Adam, 30 epochs of batches of 32, on 749 of scikit-learn's digits: one network against 32
           of them from different starts (deep), on bootstrap samples (bagged), boosted after a third of the training,
           taken at the ends of the cycles of one long run (snapshots; SWA is the mean of their parameters), and three
           kinds that are stacked. 149 digits fit a temperature for each, 899 judge: accuracy, cross entropy, and how
           far probabilities are off (ECE), before and after.
Command    python examples/ensemble_digits.py
Hardware   any CPU.
Time       one to two minutes on two cores, nearly all of it compilation.
Expected   a network this narrow is unsteady: 7% of the test digits wrong, from 4% to 10% by seed. 32 of them get 4.5%
           wrong, from different starts or on bootstrap samples, and hardly depend on the seed; three kinds stacked
           4.1%. Boosting brings nothing here, and shares of votes are no probabilities: they are off by 46 percentage
           points. Mean probabilities are too cautious (by 6 to 7 points), which a temperature of 0.8 mends in part (to
           4). Snapshots are near each other, and no better than their run. 32 members are trained in 0.2 s, 1.3 to 2.7
           times as fast as in a call each. The picture is ensemble_digits.png.
"""

import argparse
import functools
import time
from pathlib import Path

import jax
import numpy as np

import jaxnn as nn

MODEL = nn.serial(nn.Dense(8), nn.relu, nn.Dense(10))
KINDS = {"relu": MODEL, "tanh": nn.serial(nn.Dense(8), nn.tanh, nn.Dense(10)), "linear": nn.Dense(10)}
BATCH = 32


def run(key, data, *, model=MODEL, epochs, learning_rate=1e-2):
    """Train one network from a new start."""
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(learning_rate))
    return nn.fit(trainer, trainer.init(key, data.x), data, epochs=epochs, batch_size=BATCH)[0]


def one(key, data, *, epochs, members):
    """The network by itself."""
    ts = run(key, data, epochs=epochs)
    return nn.ensembles.Fitted(MODEL, ts.params, ts.state)


def deep(key, data, *, epochs, members):
    """From different starts."""
    train = functools.partial(run, epochs=epochs)
    return nn.ensembles.deep_ensemble(MODEL, train, data, key, members=members)


def bagged(key, data, *, epochs, members):
    """On samples drawn with replacement."""
    train = functools.partial(run, epochs=epochs)
    return nn.ensembles.bagging(MODEL, train, data, key, members=members).fitted


def boosted(key, data, *, epochs, members):
    """Trained for a third of the time, one after another, each more on what those before got wrong."""
    train = functools.partial(run, epochs=max(epochs // 3, 1))
    made = nn.ensembles.adaboost(MODEL, train, data, key, rounds=members)
    return nn.ensembles.Fitted(made.model, made.params, made.state)


def stacked(key, data, *, epochs, members):
    """Three kinds of networks, and a linear model of what they say of examples that they have not seen."""
    trains = {kind: functools.partial(run, model=model, epochs=epochs) for kind, model in KINDS.items()}
    meta = functools.partial(run, model=KINDS["linear"], epochs=epochs)
    folds = nn.data.k_fold(data.examples, 5)
    return nn.ensembles.stacking(KINDS, trains, KINDS["linear"], meta, data, folds, key).fitted


def cycles(key, data, *, epochs, members):
    """One long run, in which the learning rate falls to 0 in each cycle and rises again."""
    length = max(epochs // 3, 1)
    steps = length * -(-data.examples // BATCH)
    rate = nn.schedules.cosine_restarts_schedule(1e-2, steps, t_mul=1.0)
    trainer = nn.trainer(MODEL, nn.losses.cross_entropy, nn.adam(rate))
    ts = trainer.init(key, data.x)
    return nn.ensembles.snapshots(trainer, ts, data, cycles=9, epochs=length, batch_size=BATCH)


def snapshots(key, data, *, epochs, members):
    """A member after each of the last six of nine cycles, which together cost three runs."""
    taken = cycles(key, data, epochs=epochs, members=members)
    last = jax.tree.map(lambda leaf: leaf[-6:], (taken.params, taken.state))
    return nn.ensembles.Fitted(nn.Ensemble(MODEL, 6), *last)


def swa(key, data, *, epochs, members):
    """The mean of the same six networks' parameters: one network again."""
    _, params, state = snapshots(key, data, epochs=epochs, members=members)
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), params)
    return nn.ensembles.Fitted(MODEL, mean, state["members"])


calibration_error = nn.metrics.CalibrationError(15)
WAYS = [one, deep, bagged, boosted, stacked, snapshots, swa]


def judged(way, key, train, held_out, test, **settings):
    """Return accuracy and, before and after a temperature is set by `held_out`, cross entropy and calibration error."""
    model, params, state = way(key, train, **settings)
    logits = lambda x: model.apply(params, state, x)[0]
    z = logits(test.x)
    temperature = nn.ensembles.temperature(logits(held_out.x), held_out.y)
    accuracy = nn.metrics.accuracy(z, test.y).mean()
    entropy = lambda z: nn.losses.cross_entropy(z, test.y).mean()
    off = lambda z: calibration_error(jax.nn.softmax(z), test.y)
    return accuracy, entropy(z), off(z), entropy(z / temperature), off(z / temperature), temperature


def main(
    *, members: int = 32, epochs: int = 30, seeds: int = 5, picture: str | None = "ensemble_digits.png"
) -> dict[str, float]:
    """Train in every way with several seeds, judge, compare, draw; return each way's mean accuracy."""
    digits, test = nn.data.digits(0.5)
    train, held_out = digits.take(np.arange(749)), digits.take(np.arange(749, digits.examples))
    keys = jax.random.split(jax.random.key(0), seeds)
    settings = {"epochs": epochs, "members": members}

    print(f"means of {seeds} seeds; ECE and cross entropy as they are, then with a temperature\n")
    print("            test accuracy    ECE           cross entropy   temperature  training and judging")
    figures, seconds = {}, {}
    for way in WAYS:
        each = jax.vmap(functools.partial(judged, way, **settings), (0, None, None, None))
        program = jax.jit(each).lower(keys, train, held_out, test).compile()
        begun = time.perf_counter()
        seen = np.array(program(keys, train, held_out, test))
        took = (time.perf_counter() - begun) / seeds
        accuracy, entropy, off, entropy_after, off_after, temperature = seen.mean(axis=1)
        print(f"{way.__name__:10}  {accuracy:.4f} ± {seen[0].std():.4f}  {off:.3f} {off_after:.3f}   "
              f"{entropy:.3f} {entropy_after:.3f}     {temperature:11.2f}  {took:14.2f} s")  # fmt: skip
        figures[way.__name__], seconds[way.__name__] = seen, took

    together, alone = timed(train, members, epochs)
    print(f"\n{members} members in one program take {together:.2f} s, one call after another {alone:.2f} s, "
          f"{alone / together:.1f} times as long")  # fmt: skip
    if picture is not None:
        draw(figures, seconds).savefig(Path(picture), dpi=120)
        print(f"\npicture: {picture}")
    return {name: float(each[0].mean()) for name, each in figures.items()}


def timed(train, members, epochs, rounds=3):
    """Return the least seconds that all members take in one compiled program, and in a call each of a compiled run."""
    key = jax.random.key(0)
    together = jax.jit(functools.partial(deep, epochs=epochs, members=members)).lower(key, train).compile()
    alone = jax.jit(functools.partial(run, epochs=epochs)).lower(key, train).compile()
    all_alone = lambda: [alone(nn.search.member_key(key, 0, member), train) for member in range(members)]
    return [min(clocked(way) for _ in range(rounds)) for way in (lambda: together(key, train), all_alone)]


def clocked(run):
    """Return how many seconds a call takes to its end."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def draw(figures, seconds):
    """Return three panels by way: what is wrong, how far probabilities are off, and what it took."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    wrong, off, took = figure.subplots(1, 3, sharey=True)
    rows, names = np.arange(len(figures)), list(figures)
    errors = np.array([100 * (1 - each[0]) for each in figures.values()])
    wrong.errorbar(errors.mean(axis=1), rows, xerr=errors.std(axis=1), fmt="o", color="#0072B2", capsize=3)
    wrong.axvline(errors[0].mean(), color="#999999", linewidth=0.8)
    wrong.set(yticks=rows, xlabel="test digits wrong, % (± deviation)")
    wrong.set_yticklabels(names)
    wrong.invert_yaxis()
    for i, (label, color) in ((2, ("as it is", "#D55E00")), (4, ("with a temperature", "#009E73"))):
        off.plot([100 * each[i].mean() for each in figures.values()], rows, "o", color=color, label=label)
    off.set(xlabel="calibration error, percentage points")
    off.set_xlim(left=0)
    off.legend(loc="lower right")
    took.barh(rows, [seconds[name] for name in names], color="#56B4E9")
    took.set(xlabel="seconds to train and judge, compiled")
    for axes in (wrong, off, took):
        axes.grid(alpha=0.3)
    best = min(names, key=lambda name: 1 - figures[name][0].mean())
    figure.suptitle(f"749 digits: one network gets {errors[0].mean():.1f}% of the others wrong, "
                    f"{best} {errors[names.index(best)].mean():.1f}%")  # fmt: skip
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=32, help="of the ensembles but for stacked and snapshots")
    parser.add_argument("--epochs", type=int, default=30, help="of one network")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", default="ensemble_digits.png", help="where to draw the figures")
    main(**vars(parser.parse_args()))
