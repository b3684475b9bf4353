"""Which search finds good hyperparameters soonest?

Question   64-32-10 with relu and dropout, AdamW, up to 16 epochs of batches of 32 on 1152 of scikit-learn's digits. The
           learning rate (1e-5 .. 1), the weight decay (1e-4 .. 10) and the dropout (0 .. 0.9) are searched by the loss
           on 285 other digits: on a grid of 4 x 4 x 4, at random, by successive halving, and by Bayesian search (it
           needs Optuna). Each may train 1,024 epochs, all members together: 64 trials of 16; or, halving, 415 of 1, the
           best 103 of them up to 4, and the best 25 of these up to 16, which comes to as many.
Command    python examples/sweep_digits.py
Hardware   any CPU.
Time       one to two minutes on two cores for three searches of each kind; nearly all of it is compilation.
Expected   Bayesian search finds a validation loss of 0.076 in the median (0.069 .. 0.091 over six keys), halving 0.09
           (0.07 .. 0.10), the grid 0.09 (0.08 .. 0.10) and random search 0.107 (0.096 .. 0.113). The grid is lucky: one
           of its four learning rates, 1.3e-2, is about the best. By the clock all but halving are done in 4 to 7 s,
           within 2 of each other, and compilation takes all of that but 0.3 to 1.1; that Optuna asks, in eight
           rounds, costs about half a second. Halving takes two or three times as long, with three programs to compile.
           Networks trained anew do not tell them apart: 95.5% to 96.5% of the test digits are right in the mean after
           each, with a deviation of 0.4% to 0.8%. A loss that was the least of many is too low, and on the test digits
           it is 0.12 to 0.15. So on a problem this small any of them will do. The picture is sweep_digits.png.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn

SPACE = {
    "learning_rate": nn.search.LogUniform(1e-5, 1.0),
    "weight_decay": nn.search.LogUniform(1e-4, 10.0),
    "dropout": nn.search.Uniform(0.0, 0.9),
}
FACTOR = 4
"""Of so many trials halving promotes one."""
COLOURS = {"grid": "#000000", "random": "#E69F00", "halving": "#009E73", "bayesian": "#0072B2"}


def trainer_of(learning_rate, weight_decay, dropout):
    """Return what trains one network: the hyperparameters may be tracers."""
    model = nn.serial(nn.Dense(32), nn.relu, nn.Dropout(dropout), nn.Dense(10))
    return nn.trainer(model, nn.losses.cross_entropy, nn.adamw(learning_rate, weight_decay=weight_decay))


class Task(NamedTuple):
    """What all searches are given: digits to learn and to be judged by, a budget, and where to report."""

    train: nn.Data
    validation: nn.Data
    epochs: int
    trials: int
    report: Callable[[int, Any], None]

    def begin(self, key, **h):
        """Return the state of a network that has learnt nothing."""
        return trainer_of(**h).init(key, self.train.x)

    def advance(self, ts, more, **h):
        """Train for some more epochs; return the state and the validation loss, and report that this one is known.

        A callback is called for each member of a mapped program by itself, while the search goes on.
        """
        trainer = trainer_of(**h)
        ts, _ = nn.fit(trainer, ts, self.train, epochs=more, batch_size=32)
        loss = nn.evaluate(trainer, ts, self.validation)
        jax.debug.callback(lambda loss: self.report(more, loss), loss)
        return ts, loss

    def run(self, key, **h):
        """Return the validation loss of a whole run."""
        return self.advance(self.begin(key, **h), self.epochs, **h)[1]


def grid(task: Task, key):
    """Each axis in equal parts, the middle of each part with each of the others."""
    values = round(task.trials ** (1 / len(SPACE)))
    middles = (np.arange(values) + 0.5) / values
    space = nn.search.Grid(**{name: axis.quantiles(middles) for name, axis in SPACE.items()})
    return nn.search.sweep(task.run, space, key, progress=False)


def random(task: Task, key):
    """As many trials as the grid has, but no two share a learning rate."""
    return nn.search.sweep(task.run, nn.search.Random(task.trials, **SPACE), key, progress=False)


def halving(task: Task, key):
    """As many trials as the epochs allow if a quarter of them goes on after a sixteenth of a run, and so on."""
    budgets = [task.epochs // part for part in (FACTOR**2, FACTOR, 1) if task.epochs >= part]
    gains = np.diff(budgets, prepend=0)
    spent = lambda trials: sum(trials // FACTOR**rung * more for rung, more in enumerate(gains))
    total = task.trials * task.epochs
    most = max(trials for trials in range(total + 1) if spent(trials) <= total)
    space = nn.search.Random(most, **SPACE)
    return nn.search.halving(task.begin, task.advance, space, key, budgets=budgets, factor=FACTOR, progress=False)


def bayesian(task: Task, key):
    """As many trials as the grid has, eight at a time where the earlier ones were good."""
    return nn.search.bayesian(task.run, SPACE, key, trials=task.trials, batch=8, progress=False)


class Searched(NamedTuple):
    """What a search found and how long it took; and, at each report of a member, what had come of it until then."""

    found: Any
    seconds: float
    at: np.ndarray
    """Seconds since the beginning."""
    spent: np.ndarray
    """Epochs, of all members together. Those of one block are done at once and report in any order."""
    best: np.ndarray
    """The least validation loss."""


def searched(method, task: Task, key) -> Searched:
    """Search, with a clock that starts before anything is traced or compiled."""
    reports = []
    report = lambda more, loss: reports.append((time.perf_counter() - start, more, float(loss)))
    start = time.perf_counter()
    found = method(task._replace(report=report), key)
    jax.effects_barrier()  # the last reports may still be on their way
    seconds = time.perf_counter() - start
    at, more, losses = np.transpose(reports)
    return Searched(found, seconds, at, np.cumsum(more), np.fmin.accumulate(losses))  # a NaN is never the least


def main(
    *, values: int = 4, epochs: int = 16, repeats: int = 3, seeds: int = 8, picture: str | None = "sweep_digits.png"
) -> dict[str, float]:
    """Search in each way, with several keys; train with what was found; return each way's mean test accuracy."""
    digits, test = nn.data.digits()
    held_out = 1152  # no search sees the test digits
    train, validation = digits.take(np.arange(held_out)), digits.take(np.arange(held_out, digits.examples))
    trials = values ** len(SPACE)
    task = Task(train, validation, epochs, trials, lambda more, loss: None)

    searches = {method: [] for method in (grid, random, halving, bayesian)}
    for repeat in range(repeats):  # in turn, so that what else the machine does slows all of them
        for method, each in searches.items():
            each.append(searched(method, task, jax.random.key(repeat)))
    searches = {method.__name__: each for method, each in searches.items()}

    def judge(h, seed):
        trainer = trainer_of(**h)
        ts = trainer.init(jax.random.key(1000 + seed), train.x)  # another network than the one that was chosen
        ts, _ = nn.fit(trainer, ts, train, epochs=epochs, batch_size=32)
        return nn.evaluate(trainer, ts, test, (nn.losses.cross_entropy, nn.metrics.accuracy))

    chosen = {name: np.array([[s.found.best[name] for s in each] for each in searches.values()]) for name in SPACE}
    every = jax.vmap(jax.vmap(jax.vmap(judge, (None, 0)), (0, None)), (0, None))  # method, repeat, seed
    losses, accuracies = map(np.asarray, jax.jit(every)(chosen, jnp.arange(seeds)))

    print(f"a budget of {trials * epochs:,} epochs; medians of {repeats} searches, means of {seeds} seeds after each\n")
    print("method    trials  epochs  first value  seconds  validation loss  test loss  test accuracy")
    for (name, each), loss, accuracy in zip(searches.items(), losses, accuracies, strict=True):
        first, seconds, best = np.median([(s.at[0], s.seconds, s.found.best_value) for s in each], axis=0)
        print(f"{name:8}  {each[0].found.trials:6}  {each[0].spent[-1]:6.0f}  {first:9.1f} s  {seconds:7.1f}  "
              f"{best:15.4f}  {loss.mean():9.4f}  {accuracy.mean():.4f} ± {accuracy.std():.4f}")  # fmt: skip
    print("\nfound     learning rate  weight decay  dropout  validation loss")
    for name, each in searches.items():
        for s in each:
            rate, decay, dropout = (s.found.best[name] for name in SPACE)
            print(f"{name:8}  {rate:13.1e}  {decay:12.1e}  {dropout:7.2f}  {s.found.best_value:15.4f}")
    if picture is not None:
        draw(searches).savefig(Path(picture), dpi=120)
        print(f"\npicture: {picture}")
    return dict(zip(searches, accuracies.mean(axis=(1, 2)).tolist(), strict=True))


def median(searches, along):
    """Return where any of these searches reported, and the median of what was best there; infinite before a report."""
    at = np.unique(np.concatenate([getattr(s, along) for s in searches]))
    until = [np.searchsorted(getattr(s, along), at, side="right") for s in searches]
    best = [np.append(np.inf, s.best)[number] for s, number in zip(searches, until, strict=True)]
    return at, np.median(best, axis=0)


def draw(searches):
    """Return two panels, the least loss by seconds and by epochs: each search thin, their median thick."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    seconds, epochs = figure.subplots(1, 2, sharey=True)
    for axes, along in ((seconds, "at"), (epochs, "spent")):
        for name, each in searches.items():
            for s in each:
                axes.step(getattr(s, along), s.best, where="post", color=COLOURS[name], alpha=0.35, linewidth=0.8)
            axes.step(*median(each, along), where="post", color=COLOURS[name], linewidth=2.2, label=name)
        axes.grid(alpha=0.3, which="both")
    seconds.set(xlabel="wall time, s (tracing and compilation included)", ylabel="least validation loss so far")
    seconds.set_xlim(left=0)
    seconds.set_yscale("log")
    seconds.set_ylim(0.05, 1.0)  # a guess has 2.3; what matters is below
    seconds.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], labels=["0.05", "0.1", "0.2", "0.5", "1"])
    seconds.yaxis.set_minor_formatter(NullFormatter())
    epochs.set(xlabel="training so far, epochs of all members", xscale="log")
    epochs.legend(loc="lower left")
    value = {name: np.median([s.found.best_value for s in each]) for name, each in searches.items()}
    took = {name: np.median([s.seconds for s in each]) for name, each in searches.items()}
    total = max(s.spent[-1] for each in searches.values() for s in each)
    best = min(value, key=value.__getitem__)
    figure.suptitle(f"Digits, {total:,.0f} epochs for each search: {best} finds the lowest loss, {value[best]:.3f}, "
                    f"in {took[best]:.1f} s; the quickest takes {min(took.values()):.1f} s")  # fmt: skip
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=4, help="of each hyperparameter in the grid")
    parser.add_argument("--epochs", type=int, default=16, help="of a whole run")
    parser.add_argument("--repeats", type=int, default=3, help="searches of each kind, with keys of their own")
    parser.add_argument("--seeds", type=int, default=8, help="networks trained with what a search found")
    parser.add_argument("--picture", default="sweep_digits.png", help="where to draw the curves")
    main(**vars(parser.parse_args()))
