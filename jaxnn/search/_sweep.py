"""`sweep`: a function of hyperparameters and a key, at all trials of a space with all seeds."""

import difflib
import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, SupportsIndex, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import describe, is_array
from jaxnn.search._ledger import Ledger, header, opened
from jaxnn.search._members import Block, Blocks, Group, Method, check_key, even, grouped, traced_dtype
from jaxnn.search._result import Mode, Sweep, settings, written
from jaxnn.search._space import Column, Space
from jaxnn.training._checks import count
from jaxnn.training._compiled import transforming
from jaxnn.training._progress import clock, sink
from jaxnn.tree import named_leaves
from jaxnn.typing import Key

Member: TypeAlias = tuple[int, int]
"""A trial and a seed."""
AT_MOST = {"cpu": 8, "elsewhere": 256}
"""Members a device that a block has by default, if they need little memory.

On a CPU what they compute should stay in its cache: by `benchmarks/sweep.py` 8 are as fast as 32, in less memory.
Elsewhere they should fill the device; more would only hide how far a sweep is.
"""


def sweep(
    run: Callable[..., Any],
    space: Space,
    key: Key,
    *,
    seeds: SupportsIndex = 1,
    static: Sequence[str] = (),
    objective: str | None = None,
    mode: Mode = "min",
    method: Method | None = None,
    block: SupportsIndex | None = None,
    memory: SupportsIndex = 2**30,
    ledger: str | os.PathLike | None = None,
    progress: bool = True,
) -> Sweep:
    """Compute `run` at every trial of a space with every seed, many members at once.

    Numbers are traced: whatever their values, members are one compiled program. What is no number (an activation, an
    optimizer, a string, a bool, `None`) or is named in `static` (a width, a number of epochs) is passed as it is, and
    there is one program for each combination of these. All combinations are traced before any is compiled, so an error
    in the last one costs no result.

    Members run in blocks of one shape, the last one filled up with repeats that are thrown away. Where JAX has several
    devices each has an equal part of every block, and they never wait for each other within one: on a CPU,
    `jax.config.update("jax_num_cpu_devices", n)` at the beginning of a program makes n of its cores. A member's key is
    `member_key(key, trial, seed)`, so no member depends on blocks, devices, or on which others there are: it is the
    single run, but for rounding.

    Args:
        run: A pure function `run(key, **hyperparameters)` that returns a scalar, or a dict (or other tree) of real
            arrays, a scalar among them.
        space: What to try: `Grid`, `Random`, `Sobol` or `Halton`. The same key draws the same trials.
        key: From `jax.random.key`.
        seeds: Members of each trial, with keys of their own.
        static: Numbers to pass as Python's, because shapes or branches depend on them.
        objective: The name of the scalar that ranks trials; may be left out if there is only one.
        mode: `"min"` if less of it is better, `"max"` if more.
        method: How a device computes the members of its block: `"vmap"` at once, which is for small models, or `"map"`
            one after another, for those of which a single one keeps it busy. By default at once, but on a CPU one after
            another if there are arrays of 1 MiB and more in a member's loops, as in convolutional networks, whose
            members fill its cache alone.
        block: Members at a time, at most, on all devices; each has as many of them, and at least one. By default as
            many as `memory` allows, but no more than 32 a device on a CPU, where caches are small, and 256 elsewhere.
        memory: Bytes of each device that a block may need, as its compiler tells, if `block` is not given; by default
            1 GiB. Where the first block would need more a smaller one is compiled in its place.
        ledger: A file to write finished members to. If it is there already, because the sweep was killed, these are
            not computed again; whenever that was, the result is that of an undisturbed sweep. What it cannot know
            is whether `run` has changed, or a function among the hyperparameters. One process at a time may have it
            open.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `Sweep`: hyperparameters, results, ranking, a table. Members whose objective is NaN or infinite are
        counted in it and ranked last.

    Raises:
        TypeError: `run` does not take a hyperparameter, or wants further ones; the key is none; a setting is no int; or
            it is called within `jit`, `vmap`, `grad` and the like.
        ValueError: `run` returns no scalar or none of the objective's name, or results whose shapes depend on static
            hyperparameters; a setting is below 1 or unknown; a name in `static` is no hyperparameter; or the ledger is
            that of another sweep.

    >>> import jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> def run(key, learning_rate, activation):
    ...     model = nn.serial(nn.Dense(16), activation, nn.Dense(10))
    ...     trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(learning_rate))
    ...     ts = trainer.init(key, train.x)
    ...     ts, history = nn.fit(trainer, ts, train, epochs=2, batch_size=64)
    ...     return {"loss": history["loss"], "accuracy": nn.evaluate(trainer, ts, test, nn.metrics.accuracy)}
    >>> space = nn.search.Grid(learning_rate=[1e-4, 1e-2], activation=[nn.relu, nn.tanh])
    >>> swept = nn.search.sweep(run, space, jax.random.key(0), seeds=2, mode="max", progress=False)
    >>> swept.best["learning_rate"], swept.results["loss"].shape
    (0.01, (4, 2, 2))
    """
    check_call(key, mode, method)
    seeds = count(seeds, "seeds", why="each trial has some members")
    block = None if block is None else count(block, "block", why="it counts members")
    memory = count(memory, "memory", why="it counts bytes")
    if not isinstance(space, Space) or isinstance(space, type):
        raise TypeError(f"expected a space, because trials come from one; got {space!r}\n"
                        "  hint: nn.search.Grid(learning_rate=[...])")  # fmt: skip
    columns = space.columns(key)
    if not _trials(columns):
        raise ValueError(f"expected a trial, because a space is of some; got {space} without one")
    check_names(run, columns, static)

    static = [name for name, column in columns.items() if name in static or isinstance(column, list)]
    devices, begun = jax.local_devices(), time.perf_counter()
    at_most = block or AT_MOST.get(devices[0].platform, AT_MOST["elsewhere"]) * len(devices)
    dtypes = {name: traced_dtype(np.asarray(columns[name])) for name in columns if name not in static}
    works = []
    for group in grouped(columns, static):
        members = len(group.trials) * seeds
        size = even(members, at_most, len(devices))
        blocks = Blocks(run, group.statics, key, dtypes, method, devices)
        works.append((group, blocks, size, traced_block(blocks, size)))
    outlines = [outline_of(traced) for *_, traced in works]
    check_alike([group for group, *_ in works], outlines)
    outline = outlines[0] if not is_array(outlines[0]) else {"objective": outlines[0]}
    objective = objective_of(named_leaves(outline), objective)

    leaves = named_leaves(outline)
    results = {name: np.zeros((_trials(columns), seeds, *a.shape), a.dtype) for name, a in leaves.items()}
    head = {} if ledger is None else header(columns, key, seeds, outline)
    with nullcontext(Ledger(None, {})) if ledger is None else opened(ledger, head, outline) as book:
        for member, kept in book.finished.items():
            put(results, [member], {name: leaf[None] for name, leaf in zip(results, kept, strict=True)})
        told = Told(_trials(columns) * seeds, len(book.finished), objective, mode)
        with sink(told.total, told.done, progress=progress) as shown:
            shown.say(_banner(_trials(columns), seeds, told.done, len(works), devices))
            for group, blocks, size, traced in works:
                pending = [(int(t), s) for t in group.trials for s in range(seeds) if (int(t), s) not in book.finished]
                if not pending:
                    continue
                compiled = blocks.compile(traced, size, memory if block is None else None)
                shown.say(f"compiled {settings(group.statics) or 'the program'} for {blocks.words(compiled.members)}; "
                          f"{time.perf_counter() - begun:.1f} s since the beginning")  # fmt: skip
                for i in range(0, len(pending), compiled.members):
                    members = pending[i : i + compiled.members]
                    computed = computed_by(compiled, key, members, {name: columns[name] for name in dtypes}, dtypes)
                    if ledger is not None:
                        book.append(members, computed)
                    put(results, members, computed)
                    text = told.about(computed[objective])
                    shown.show(told.done, text, last=told.done == told.total)
    tree = jax.tree.unflatten(jax.tree.structure(outline), list(results.values()))
    return Sweep(columns, tree, objective, mode)


def check_call(key: Key, mode: str, method: str | None) -> None:
    """Raise unless a search can be made here, with this key and these settings."""
    if transforming():
        raise TypeError("expected to be called outside of jit, vmap, grad and the like, because the host drives a "
                        "sweep; got a call within one")  # fmt: skip
    for name, value, known in (("mode", mode, ("min", "max")), ("method", method or "vmap", ("vmap", "map"))):
        if value not in known:
            raise ValueError(f"expected {name} as {' or '.join(map(repr, known))}; got {value!r}")
    check_key(key)


def _trials(columns: Mapping[str, Column]) -> int:
    return len(next(iter(columns.values()), ()))


def computed_by(
    block: Block, key: Key, members: Sequence[Member], columns: Mapping[str, Column], dtypes: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the results of members, no more than there are in a block; what fills it up is dropped."""
    filled = [*members, *[members[0]] * (block.members - len(members))]
    trials, seeds = np.array(filled, np.int32).T
    values = {name: np.asarray(columns[name])[trials].astype(dtype) for name, dtype in dtypes.items()}
    computed = named_leaves(jax.device_get(block.program(key, trials, seeds, values)))
    return {name or "objective": leaf[: len(members)] for name, leaf in computed.items()}


def put(results: Mapping[str, np.ndarray], members: Sequence[Member], computed: Mapping[str, np.ndarray]) -> None:
    """Put the results of members where they belong."""
    for name, leaf in computed.items():
        results[name][tuple(np.transpose(members))] = leaf


class Told:
    """What is told of a sweep: how much of it is done, and what has been found."""

    def __init__(self, total: int, done: int, objective: str, mode: Mode) -> None:
        self.total, self.done = total, done
        self._objective, self._sign = objective, 1.0 if mode == "min" else -1.0
        self._begun, self._new, self._failed, self._best = time.perf_counter(), 0, 0, np.inf

    def about(self, values: np.ndarray) -> str:
        """Count members with these objectives, and say how far the sweep is."""
        self.done, self._new = self.done + len(values), self._new + len(values)
        finite = np.isfinite(values)
        self._failed += int((~finite).sum())
        self._best = min(self._best, np.min(self._sign * np.asarray(values, float), where=finite, initial=np.inf))
        left, elapsed = self.total - self.done, time.perf_counter() - self._begun
        words = [f"member {self.done:,}/{self.total:,}"]
        words.append(f"{clock(elapsed / self._new * left)} left" if left else f"took {clock(elapsed)}")
        if np.isfinite(self._best):
            words.append(f"best {self._objective} {written(float(self._sign * self._best))}")
        if self._failed:
            words.append(f"{self._failed:,} failed")
        return ", ".join(words)


def _banner(trials: int, seeds: int, done: int, programs: int, devices: Sequence[Any]) -> str:
    each = f" x {seeds:,} seeds" if seeds > 1 else ""
    finished = f", {done:,} of them in the ledger" if done else ""
    return (f"{trials:,} trials{each}: {trials * seeds:,} members{finished}, {programs:,} "
            f"program{'s' * (programs > 1)}, on {len(devices)} x {devices[0].device_kind}")  # fmt: skip


def traced_block(blocks: Blocks, size: int, *, search: str = "sweep") -> Any:
    """Trace a block of so many members; where `run` fails for what the search traces, say what the search can do."""
    traced = blocks.dtypes
    try:
        return blocks.trace(size)
    except TypeError as error:  # which is also what JAX raises where a number is wanted and a tracer comes
        if traced:
            error.add_note(f"  hint: run is given tracers for {', '.join(traced)}; "
                           f"{search}(..., static=(...)) passes those that shapes depend on as numbers")  # fmt: skip
        raise


def outline_of(traced: Any) -> Any:
    """Of a member's results, from those of a block."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), traced.out_info)


def check_names(run: Callable[..., Any], columns: Mapping[str, Any], static: Sequence[str]) -> None:
    """Raise unless `run` takes the hyperparameters, all that it must have, and `static` are some of them."""
    if isinstance(static, str):
        raise TypeError(f"expected static as a sequence of names; got the string {static!r}\n  hint: ({static!r},)")
    unknown = [name for name in static if name not in columns]
    if unknown:
        raise ValueError(f"expected static as hyperparameters of the space, which has {', '.join(columns)}; got "
                         f"{', '.join(map(repr, unknown))}")  # fmt: skip
    try:
        _, *parameters = inspect.signature(run).parameters.values()
    except ValueError:  # written in C, or without a parameter, which the call will tell
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    takes = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in columns if name not in takes]
    if unknown:
        near = [match for name in unknown for match in difflib.get_close_matches(name, takes, n=1)]
        hint = f"\n  hint: did you mean {', '.join(near)}?" if near else ""
        raise TypeError(f"expected hyperparameters that run takes after the key, ({', '.join(takes)}), because each is "
                        f"passed by name; got {', '.join(unknown)}{hint}")  # fmt: skip
    wanted = [p.name for p in parameters if p.name in takes and p.default is p.empty and p.name not in columns]
    if wanted:
        raise TypeError(f"expected a space with all hyperparameters that run wants; got none for {', '.join(wanted)}\n"
                        "  hint: functools.partial gives a value to all members")  # fmt: skip


def check_alike(groups: Sequence[Group], outlines: Sequence[Any]) -> None:
    """Raise unless all programs return the same names, shapes and dtypes."""
    first = named_leaves(outlines[0])
    for group, outline in zip(groups, outlines, strict=True):
        leaves = named_leaves(outline)
        if list(leaves) != list(first):
            raise ValueError(f"expected a run that returns the same results for all static hyperparameters, because "
                             f"each is one array of all members; got {_names(leaves)} with {settings(group.statics)}, "
                             f"and {_names(first)} with {settings(groups[0].statics)}")  # fmt: skip
        for name, leaf in leaves.items():
            if (leaf.shape, leaf.dtype) != (first[name].shape, first[name].dtype):
                raise ValueError(f"expected a run that returns one shape for all static hyperparameters, because "
                                 f"results are one array of all members; got {name or 'a result'} of "
                                 f"{describe(leaf)} with {settings(group.statics)}, and of {describe(first[name])} "
                                 f"with {settings(groups[0].statics)}")  # fmt: skip


def _names(leaves: Mapping[str, Any]) -> str:
    return ", ".join(leaves) or "nothing"


def objective_of(outlines: Mapping[str, Any], objective: str | None) -> str:
    """Return the name of what ranks trials."""
    not_real = [name for name, a in outlines.items() if not _real(a.dtype)]
    if not_real:
        raise ValueError(f"expected a run that returns arrays of real numbers or bools; got {', '.join(not_real)} of "
                         f"{', '.join(describe(outlines[name]) for name in not_real)}")  # fmt: skip
    scalars = [name for name, a in outlines.items() if a.shape == ()]
    got = ", ".join(f"{name}: {describe(a)}" for name, a in outlines.items()) or "nothing"
    if not scalars:
        raise ValueError(f"expected a run that returns a scalar, because trials are ranked by one; got {got}\n"
                         '  hint: history["loss"][-1] is the last row of a history')  # fmt: skip
    if objective is None and len(scalars) > 1:
        raise ValueError(f"expected objective as the name of a scalar, because trials are ranked by one; got none, and "
                         f"a run that returns {got}")  # fmt: skip
    if objective is not None and objective not in scalars:
        raise ValueError(f"expected objective as the name of a scalar that run returns, {', '.join(scalars)}; got "
                         f"{objective!r}, and a run that returns {got}")  # fmt: skip
    return scalars[0] if objective is None else objective


def _real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
