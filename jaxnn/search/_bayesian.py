"""`bayesian`: a sweep whose trials come in batches, each drawn by Optuna from what the earlier ones were worth."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, SupportsIndex, final

import jax
import numpy as np

from jaxnn.errors import describe, is_array
from jaxnn.search._asking import Asking, lent, optuna_or_error, quiet, study_for, translated
from jaxnn.search._ledger import Ledger, header, opened
from jaxnn.search._members import Block, Blocks, Group, Method, grouped, identity, round_to, traced_dtype
from jaxnn.search._result import Mode, Sweep, settings
from jaxnn.search._space import Choice, Column, Distribution, Integer, LogUniform, Uniform, as_column
from jaxnn.search._sweep import (
    Member,
    Told,
    check_alike,
    check_call,
    check_names,
    computed_by,
    objective_of,
    outline_of,
    put,
    traced_block,
)
from jaxnn.training._checks import count
from jaxnn.training._progress import sink
from jaxnn.tree import named_leaves
from jaxnn.typing import Key


def bayesian(
    run: Callable[..., Any],
    distributions: Mapping[str, Distribution],
    key: Key,
    *,
    trials: SupportsIndex,
    batch: SupportsIndex = 8,
    seeds: SupportsIndex = 1,
    static: Sequence[str] = (),
    objective: str | None = None,
    mode: Mode = "min",
    method: Method | None = None,
    sampler: Callable[..., Any] | None = None,
    study: Any = None,
    ledger: str | os.PathLike | None = None,
    progress: bool = True,
) -> Sweep:
    """Search by a model of what trials are worth: ask Optuna for a batch, compute it, tell it the results, go on.

    `run` is what `sweep` takes: numbers are traced, and what is no number or is named in `static` is passed as it is.
    All members of a batch are computed at once, in blocks of one shape, so a search of numbers is one compiled program
    whatever is asked; there is a further one for each combination of static hyperparameters, when it is first asked
    for. A member's key is `member_key(key, trial, seed)`.

    By default trials are drawn by Optuna's tree-structured Parzen estimator: ten at random, then where good ones are
    dense and bad ones are not. While a batch is asked for, trials without a result count as bad (a constant liar),
    which keeps the batch apart. Larger batches take fewer rounds, and learn less from as many trials. It takes about
    6 ms to ask for a trial: for thousands of cheap members `sweep` of a `Sobol` space is the faster search.

    A trial is told by the mean of its seeds. One with a seed whose objective is NaN or infinite is told as pruned: no
    number of it enters the model, which takes it for worse than all others and turns away from its neighbours.

    The sampler is made anew for each trial, seeded by the key and the trial's number. So the same key makes the same
    search, and one that was killed goes on as if it had not been.

    Args:
        run: A pure function `run(key, **hyperparameters)` that returns a scalar, or a dict (or other tree) of real
            arrays, a scalar among them.
        distributions: `Uniform`, `LogUniform`, `Integer` or `Choice` by name of the hyperparameter.
        key: From `jax.random.key`.
        trials: How many to compute, in all: those of the ledger are counted.
        batch: Trials that are asked for and computed at once, with all their seeds.
        seeds: Members of each trial, with keys of their own.
        static: Numbers to pass as Python's, because shapes or branches depend on them.
        objective: The name of the scalar to search by; may be left out if there is only one.
        mode: `"min"` if less of it is better, `"max"` if more.
        method: `"vmap"` computes members at once, `"map"` one after another; the default is chosen as in `sweep`.
        sampler: A function `sampler(seed=...)` that makes an Optuna sampler, such as `optuna.samplers.GPSampler`. One
            that keeps more than its seed and the study's trials (CMA-ES) does not go on after a kill as it would have;
            one that goes through a sequence should not take the seed, `lambda seed: QMCSampler(seed=0)`.
        study: An Optuna study to search in, by default one in memory. Processes share one by a storage, such as
            `optuna.create_study(study_name=..., storage=..., load_if_exists=True)`: each makes `trials` of its own and
            returns them, and learns from those of all. Each needs a key of its own, as
            `jax.random.fold_in(key, process)`, or they try the same; and a ledger of its own. Trials that the study had
            before count as well. Its own sampler is not asked, unless by `sampler=lambda seed: study.sampler`, which
            is not seeded by the key.
        ledger: A file to write finished members to, with what was asked. If it is there already the search goes on
            from it: the study is told what it lacks, so its storage may be gone. Give a new one in place of a journal
            that was torn in the midst of a write, which Optuna cannot go on with. With a greater number of trials a
            finished search goes on too. What a ledger cannot know is whether `run` or the sampler has changed. One
            process at a time may have it open.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `Sweep`, its trials in the order in which they were asked for.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
        TypeError: `run` does not take a hyperparameter, or wants further ones; a hyperparameter has no distribution;
            the key, the sampler or the study is none; a setting is no int; or it is called within `jit` and the like.
        ValueError: There is no hyperparameter; `run` returns no scalar or none of the objective's name, or results
            whose shapes depend on static hyperparameters; a setting is below 1 or unknown; a name in `static` is no
            hyperparameter; the study does not go the way of `mode`; or the ledger is that of another search.

    >>> import jaxnn as nn
    >>> run = lambda key, x, power: abs(x - 0.3) ** power
    >>> of = {"x": nn.search.Uniform(-1.0, 1.0), "power": nn.search.Choice([1, 2])}
    >>> found = nn.search.bayesian(run, of, jax.random.key(0), trials=24, static=["power"], progress=False)
    >>> found.trials, found.best_value < 0.01
    (24, True)

    Source: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization" (2011); Akiba, Sano,
    Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework" (2019).
    """
    optuna = optuna_or_error()
    check_call(key, mode, method)
    trials = count(trials, "trials", why="a search is of some")
    batch = count(batch, "batch", why="so many trials are asked for at once")
    seeds = count(seeds, "seeds", why="each trial has some members")
    _check_distributions(distributions)
    check_names(run, distributions, static)
    if sampler is not None and not callable(sampler):
        raise TypeError(f"expected sampler as a function that makes one, because each trial has one seeded by the key; "
                        f"got {sampler!r}\n  hint: sampler=optuna.samplers.{type(sampler).__name__}")  # fmt: skip
    study = study_for(optuna, study, mode)

    lowest = {name: of.quantiles(np.zeros(1)) for name, of in distributions.items()}
    static = [name for name, column in lowest.items() if name in static or isinstance(column, list)]
    dtypes = {name: traced_dtype(np.asarray(column)) for name, column in lowest.items() if name not in static}
    groups = min(math.prod(_options(distributions[name], batch) for name in static), batch)
    devices, begun = jax.local_devices(), time.perf_counter()
    size = round_to(-(-min(batch, trials) // groups) * seeds, len(devices), up=True)
    programs = _Programs(lambda statics: Blocks(run, statics, key, dtypes, method, devices), size)
    outline = programs.outline(grouped(lowest, static)[0].statics)  # before anything is asked
    outline = outline if not is_array(outline) else {"objective": outline}
    objective = objective_of(named_leaves(outline), objective)

    of = {name: translated(optuna, distribution) for name, distribution in distributions.items()}
    record = {"asked": {name: np.zeros(()) for name in of}, "results": outline}  # of a member, in the ledger
    names = list(named_leaves(record))
    leaves = named_leaves(outline)
    results = {name: np.zeros((trials, seeds, *a.shape), a.dtype) for name, a in leaves.items()}
    head = header({name: [each] for name, each in distributions.items()}, key, seeds, record)
    del head["trials"]  # one may ask for more of them
    head |= {"batch": batch, "objective": objective, "mode": mode}
    asked: list[dict[str, float]] = []
    with (
        nullcontext(Ledger(None, {})) if ledger is None else opened(ledger, head, record) as book,
        quiet(optuna),
        lent(study),
    ):
        finished = {
            member: dict(zip(names, a, strict=True)) for member, a in book.finished.items() if member[0] < trials
        }
        for member, kept in finished.items():
            put(results, [member], {name: kept[f"results/{name}"][None] for name in results})
        known = {trial: {name: kept[f"asked/{name}"].item() for name in of} for (trial, _), kept in finished.items()}
        asking = Asking(optuna, study, of, key, sampler or optuna.samplers.TPESampler, kept=ledger is not None)
        told = Told(trials * seeds, len(finished), objective, mode)
        with sink(told.total, told.done, progress=progress) as shown:
            shown.say(_banner(trials, seeds, batch, told.done, devices))
            for first in range(0, trials, batch):
                numbers = range(first, min(first + batch, trials))
                whole = all((trial, seed) in finished for trial in numbers for seed in range(seeds))
                values = {trial: _value(results[objective][trial]) for trial in numbers} if whole else {}
                asked += [asking.ask(trial, known.get(trial), values) for trial in numbers]
                if whole:
                    continue
                columns = _columns(distributions, lowest, asked)
                for group, members in _parts(columns, static, first, seeds, size):
                    new = [at for at, member in enumerate(members) if member not in finished]
                    if not new:
                        continue
                    if group.statics not in programs:
                        programs.compile(group.statics)
                        shown.say(f"compiled {settings(group.statics) or 'the program'} for blocks of {size:,}; "
                                  f"{time.perf_counter() - begun:.1f} s since the beginning")  # fmt: skip
                    # Members that the ledger has keep their places, so that the others are bit for bit what they would
                    # have been, and what is asked next is as well.
                    block, values = programs[group.statics], {name: columns[name] for name in dtypes}
                    computed = {name: a[new] for name, a in computed_by(block, key, members, values, dtypes).items()}
                    members = [members[at] for at in new]
                    if ledger is not None:
                        entry = {f"asked/{name}": np.array([asked[t][name] for t, _ in members]) for name in of}
                        book.append(members, entry | {f"results/{name}": a for name, a in computed.items()})
                    put(results, members, computed)
                    text = told.about(computed[objective])
                    shown.show(told.done, text, last=told.done == told.total)
                for trial in numbers:
                    asking.tell(trial, _value(results[objective][trial]))
    tree = jax.tree.unflatten(jax.tree.structure(outline), list(results.values()))
    return Sweep(_columns(distributions, lowest, asked), tree, objective, mode)


@final
class _Programs:
    """Compiled blocks by static hyperparameters, each made when it is first wanted."""

    def __init__(self, blocks: Callable[[dict[str, Any]], Blocks], size: int) -> None:
        self._blocks, self._size = blocks, size
        self._traced: dict[tuple, tuple[Group, Blocks, Any]] = {}
        self._compiled: dict[tuple, Block] = {}

    def __contains__(self, statics: dict[str, Any]) -> bool:
        return _same(statics) in self._compiled

    def __getitem__(self, statics: dict[str, Any]) -> Block:
        return self._compiled[_same(statics)]

    def outline(self, statics: dict[str, Any]) -> Any:
        """Trace a program, and return the outlines of a member's results; raise unless they are those of the first."""
        same = _same(statics)
        if same not in self._traced:
            blocks = self._blocks(statics)
            traced = traced_block(blocks, self._size, search="bayesian")
            self._traced[same] = Group(statics, np.arange(0)), blocks, traced
        (first, _, of_first), (group, _, of_group) = next(iter(self._traced.values())), self._traced[same]
        check_alike([first, group], [outline_of(of_first), outline_of(of_group)])
        return outline_of(of_group)

    def compile(self, statics: dict[str, Any]) -> None:
        self.outline(statics)
        _, blocks, traced = self._traced[_same(statics)]
        self._compiled[_same(statics)] = blocks.compile(traced, self._size, None)


def _same(statics: Mapping[str, Any]) -> tuple:
    return tuple(map(identity, statics.values()))


def _parts(
    columns: Mapping[str, Column], static: Sequence[str], first: int, seeds: int, size: int
) -> Iterator[tuple[Group, list[Member]]]:
    """Yield the members of trials from the first one on, as many at a time as there are in a block of one program."""
    for group in grouped(columns, static):
        members = [(trial, seed) for trial in group.trials.tolist() for seed in range(seeds) if trial >= first]
        for i in range(0, len(members), size):
            yield group, members[i : i + size]


def _check_distributions(distributions: Any) -> None:
    if not isinstance(distributions, Mapping):
        raise TypeError(f"expected distributions by name of the hyperparameter; got {describe(distributions)}\n"
                        "  hint: {'learning_rate': nn.search.LogUniform(1e-4, 0.1)}")  # fmt: skip
    if not distributions:
        raise ValueError("expected a hyperparameter, because a search is of some; got none")
    for name, distribution in distributions.items():
        if not isinstance(distribution, Uniform | LogUniform | Integer | Choice):
            raise TypeError(f"expected {name} as Uniform, LogUniform, Integer or Choice, because its values are "
                            f"drawn; got {distribution!r}\n  hint: Choice([...]) draws from a list")  # fmt: skip


def _options(distribution: Distribution, at_most: int) -> int:
    """How many values there are, or so many where they are numbers of a line."""
    match distribution:
        case Choice(options):
            return len(options)
        case Integer(low, high):
            return int(high) - int(low) + 1
    return at_most


def _columns(
    distributions: Mapping[str, Distribution], lowest: Mapping[str, Column], asked: Sequence[Mapping[str, float]]
) -> dict[str, Column]:
    """Return every hyperparameter, its values in the order in which they were asked for."""
    columns: dict[str, Column] = {}
    for name, distribution in distributions.items():
        numbers = np.array([each[name] for each in asked])
        if isinstance(distribution, Choice):
            options, places = as_column(distribution.options), numbers.astype(int)
            columns[name] = options[places] if isinstance(options, np.ndarray) else [options[i] for i in places]
        else:
            columns[name] = numbers.astype(np.asarray(lowest[name]).dtype)
    return columns


def _value(values: np.ndarray) -> float | None:
    """What a trial is told by: the mean of its seeds, or nothing if one of them has failed."""
    values = np.asarray(values, float)
    return float(values.mean()) if np.isfinite(values).all() else None


def _banner(trials: int, seeds: int, batch: int, done: int, devices: Sequence[Any]) -> str:
    each = f" x {seeds:,} seeds" if seeds > 1 else ""
    finished = f", {done:,} of them in the ledger" if done else ""
    return (f"{trials:,} trials{each}: {trials * seeds:,} members{finished}, {batch:,} trials at a time, "
            f"on {len(devices)} x {devices[0].device_kind}")  # fmt: skip
