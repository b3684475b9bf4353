"""`halving`: many runs with a little budget, the best of them with more, and so on: members compacted between rungs."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.errors import describe, is_array
from jaxnn.search._halved import Halved, over_seeds
from jaxnn.search._members import check_key, member_key, traced_dtype
from jaxnn.search._result import Mode, settings, written
from jaxnn.search._space import Column, Space
from jaxnn.training._checks import count, integer
from jaxnn.training._compiled import transforming
from jaxnn.training._progress import clock, sink
from jaxnn.tree import named_leaves
from jaxnn.typing import Array, Key


def halving(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    space: Space,
    key: Key,
    *,
    budgets: Sequence[SupportsIndex],
    factor: SupportsIndex = 3,
    seeds: SupportsIndex = 1,
    mode: Mode = "min",
    block: SupportsIndex | None = None,
    progress: bool = True,
) -> Halved:
    """Give all trials the first budget, the best of them the second one, and so on: successive halving.

    Of n trials floor(n / factor^i) are at rung i, from 0. There each has had `budgets[i]` in all, so it is advanced by
    what is new, from the state in which it was. With n = 27, factor 3 and budgets of 1, 3 and 9 epochs, 27 members
    train for 1 epoch, 9 of them for 2 more, 3 of these for 6 more: 63 epochs rather than 243.

    The members of a rung are one block, computed at once by one compiled program: their states are gathered from the
    larger block before (compacting), so nothing is spent on those that are out. There is a program for each rung, as
    each has a size of its own, and all are traced before anything is computed. They run on one device. (Compiling them
    takes a second or so each: where whole runs are no longer than that, a `sweep`, with one program, is sooner done.)

    A member's key is `member_key(key, trial, seed)`, as in `sweep`, so it is the single run `state = begin(key, ...)`,
    `state, value = advance(state, budgets[0], ...)`, `advance(state, budgets[1] - budgets[0], ...)`, but for rounding.
    A trial whose value is NaN or infinite, for one of its seeds, is never promoted.

    It is right where trials that are good early are good in the end; `hyperband` hedges against that.

    Args:
        begin: A pure function `begin(key, **hyperparameters) -> state`; the state is any tree of arrays, such as a
            `TrainState`, and holds what later randomness comes from.
        advance: A pure function `advance(state, more, **hyperparameters) -> (state, value)` that goes on by `more`,
            Python's int: epochs, steps, or whatever budgets count. The value is a scalar that ranks.
        space: What to try: `Random` for instance. All hyperparameters must be numbers, which are traced.
        key: From `jax.random.key`.
        budgets: What a member has had in all at each rung: ints, each greater than the last.
        factor: Of how many trials one is promoted, the paper's eta: 3 or 4 are usual.
        seeds: Members of each trial, with keys of their own; trials are ranked by the mean.
        mode: `"min"` if less is better, `"max"` if more.
        block: Members at a time, where those of a rung need too much memory, or more than a CPU's cache; by default
            all at once. Still it is one program a rung.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `Halved`: hyperparameters, values at each rung, ranking, a table, and the state of the best.

    Raises:
        TypeError: A setting is no int; the key or the space is none; or it is called within `jit`, `vmap` or `grad`.
        ValueError: There are fewer than factor^(rungs - 1) trials, so that none would be left; budgets do not grow; a
            setting is too small or unknown; a hyperparameter is no number; or `advance` gives no pair of a state like
            the one it got and a real scalar.

    >>> import jaxnn as nn
    >>> train, test = nn.data.digits()
    >>> def trainer(learning_rate):
    ...     return nn.trainer(nn.Dense(10), nn.losses.cross_entropy, nn.adam(learning_rate))
    >>> def begin(key, learning_rate):
    ...     return trainer(learning_rate).init(key, train.x)
    >>> def advance(ts, epochs, learning_rate):
    ...     ts, _ = nn.fit(trainer(learning_rate), ts, train, epochs=epochs, batch_size=64)
    ...     return ts, nn.evaluate(trainer(learning_rate), ts, test)
    >>> space = nn.search.Random(9, learning_rate=nn.search.LogUniform(1e-5, 1.0))
    >>> halved = nn.search.halving(begin, advance, space, jax.random.key(0), budgets=(1, 3), progress=False)
    >>> halved.spent, halved.rungs.tolist().count(2), int(halved.state.epoch)
    (15, 3, 3)

    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (2016);
    the counts are those of SuccessiveHalving within Hyperband, Li et al. (2018).
    """
    budgets = [integer(budget, "budgets", why="a member goes on by whole numbers") for budget in budgets]
    factor = at_least_two(factor)
    columns = columns_of(space, key)
    trials = len(next(iter(columns.values())))
    if not budgets or any(more < 1 for more in np.diff(budgets, prepend=0)):
        raise ValueError(f"expected budgets that grow from at least 1, because each is what members have had in all; "
                         f"got {tuple(budgets)}")  # fmt: skip
    wanted = factor ** (len(budgets) - 1)
    if trials < wanted:
        raise ValueError(f"expected at least {wanted:,} trials, because of each {factor} one is promoted, "
                         f"{len(budgets) - 1} times, and one must be left; got {trials:,}\n"
                         "  hint: fewer budgets, or a space of more trials")  # fmt: skip
    return halved(begin, advance, columns, key, [Bracket(0, trials, 0)], budgets,
                  factor=factor, seeds=seeds, mode=mode, block=block, progress=progress)  # fmt: skip


class Bracket(NamedTuple):
    """Consecutive trials that are ranked among each other, from some rung on."""

    begin: int
    end: int
    first: int

    def size(self, rung: int, factor: int) -> int:
        """Return how many of them are at a rung."""
        return (self.end - self.begin) // factor ** max(rung - self.first, 0)


def halved(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    columns: Mapping[str, np.ndarray],
    key: Key,
    brackets: Sequence[Bracket],
    budgets: Sequence[int],
    *,
    factor: int,
    seeds: SupportsIndex,
    mode: Mode,
    block: SupportsIndex | None,
    progress: bool,
) -> Halved:
    """Halve some brackets side by side: at a rung the members of all are one block."""
    seeds = count(seeds, "seeds", why="each trial has some members")
    block = None if block is None else count(block, "block", why="it counts members")
    if mode not in ("min", "max"):
        raise ValueError(f"expected mode as 'min' or 'max'; got {mode!r}")
    begun = time.perf_counter()
    trials = brackets[-1].end
    sizes = [sum(bracket.size(rung, factor) for bracket in brackets) for rung in range(len(budgets))]
    gains = np.diff(budgets, prepend=0).tolist()
    programs = _traced(begin, advance, columns, key, sizes, gains, seeds, block)

    values, rungs = np.full((trials, seeds, len(budgets)), np.nan), np.zeros(trials, int)
    there, slots, state, kept = np.arange(trials), np.arange(trials), None, None
    total, done, sign = int(np.dot(sizes, gains)) * seeds, 0, 1.0 if mode == "min" else -1.0
    with sink(total, 0, progress=progress) as shown:
        shown.say(_banner(sizes, seeds, budgets, len(brackets)))
        for rung, program in enumerate(programs):
            # Where some failed there are fewer than the block has room for: the first one fills it up.
            room = np.concatenate([slots, np.full(sizes[rung] - len(slots), slots[0])])
            trial, seed = np.repeat(there[room], seeds), np.tile(np.arange(seeds), len(room))
            source = key if state is None else state
            members = (trial, seed) if state is None else (np.repeat(room, seeds) * seeds + seed,)
            members = [each.astype(np.int32) for each in members]
            given = {name: column[trial].astype(traced_dtype(column)) for name, column in columns.items()}
            state, value = program.lower().compile()(source, *members, given)

            there = there[slots]
            got = np.asarray(jax.device_get(value), float).reshape(-1, seeds)[: len(there)]
            values[there, :, rung], rungs[there] = got, rung + 1
            mean = over_seeds(got)
            if np.isfinite(mean).any():
                kept = state, there, got
            done += sizes[rung] * gains[rung] * seeds
            best = np.min(sign * mean, where=np.isfinite(mean), initial=np.inf)
            last = rung + 1 == len(budgets) or not np.isfinite(best)
            left = f"{len(there):,} trial{'s' * (len(there) > 1)}"
            how = f"best {written(float(sign * best))}" if np.isfinite(best) else "all failed"
            text = f"rung {rung + 1}/{len(budgets)}: {left}, {how}"
            shown.show(done, f"{text}, {clock(time.perf_counter() - begun)}", last=last)
            if last:
                break
            slots = np.concatenate(
                [_promoted(there, sign * mean, bracket, bracket.size(rung + 1, factor)) for bracket in brackets]
            )

    bracket = np.repeat(np.arange(len(brackets)), [bracket.end - bracket.begin for bracket in brackets])
    result = Halved(columns, values, rungs, bracket, tuple(budgets), mode, None)
    if kept is None:
        return result
    state, there, got = kept
    (slot,) = np.flatnonzero(there == result.ranking[0])
    member = int(slot) * seeds + int(np.argmin(sign * got[slot]))
    return Halved(columns, values, rungs, bracket, tuple(budgets), mode, member_of(state, np.int32(member)))


@jax.jit
def member_of(state: Any, member: Array) -> Any:
    return jax.tree.map(lambda a: a[member], state)


def _promoted(trials: np.ndarray, signed: np.ndarray, bracket: Bracket, at_most: int) -> np.ndarray:
    """Return where those of the bracket are that go on: the best ones, none that failed."""
    (slots,) = np.nonzero((trials >= bracket.begin) & (trials < bracket.end) & np.isfinite(signed))
    return np.sort(slots[np.argsort(signed[slots], kind="stable")[:at_most]])


def _traced(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    columns: Mapping[str, np.ndarray],
    key: Key,
    sizes: Sequence[int],
    gains: Sequence[int],
    seeds: int,
    block: int | None,
) -> list[Any]:
    """Trace the program of every rung: the first one's begins, each other one's gathers what the last one made."""

    def on(state, more, values):
        return advanced(advance, state, more, values)

    def begun(more, key, each):
        trial, seed, values = each
        state = jax.tree.map(jnp.asarray, begin(member_key(key, trial, seed), **values))
        return on(state, more, values)

    def mapped(function, members):
        if block is not None and block < len(jax.tree.leaves(members)[0]):
            return lax.map(function, members, batch_size=block)
        return jax.vmap(function)(members)

    def first(more, key, trials, seeds, values):
        return mapped(partial(begun, more, key), (trials, seeds, values))

    def later(more, state, members, values):
        compact = jax.tree.map(lambda a: a[members], state)
        return mapped(lambda each: on(each[0], more, each[1]), (compact, values))

    def of(size, dtype):
        return jax.ShapeDtypeStruct((size * seeds,), dtype)

    traced = []
    for size, more in zip(sizes, gains, strict=True):
        values = {name: of(size, traced_dtype(column)) for name, column in columns.items()}
        numbers = of(size, jnp.int32)
        if not traced:
            args = jax.ShapeDtypeStruct(key.shape, key.dtype), numbers, numbers, values
        else:
            args = traced[-1].out_info[0], numbers, values
        traced.append(jax.jit(partial(later if traced else first, more)).trace(*args))
    return traced


def advanced(advance: Callable[..., Any], state: Any, more: int, values: Mapping[str, Array]) -> tuple[Any, Array]:
    """Advance one member, and raise unless it gives a state like the one it got, and a real scalar."""
    given = advance(state, more, **values)
    if type(given) is not tuple or len(given) != 2:
        raise ValueError(f"expected advance to return (state, value), because a member goes on from the state and is "
                         f"ranked by the value; got {type(given).__name__}")  # fmt: skip
    after, value = (jax.tree.map(jnp.asarray, part) for part in given)
    if not is_array(value) or value.shape != () or not _real(value.dtype):
        raise ValueError(f"expected advance to return (state, value) with a real scalar as the value, because trials "
                         f"are ranked by it; got {describe(value)}\n"
                         "  hint: nn.evaluate gives one")  # fmt: skip
    expected, got = named_leaves(state), named_leaves(after)
    like = lambda a: (a.shape, a.dtype)
    unlike = [name for name in expected | got
              if name not in expected or name not in got or like(expected[name]) != like(got[name])]  # fmt: skip
    if unlike or jax.tree.structure(state) != jax.tree.structure(after):
        listed = ", ".join(f"{name or 'a state'} of {describe(got.get(name))} from {describe(expected.get(name))}"
                           for name in unlike[:3])  # fmt: skip
        raise ValueError(f"expected advance to return a state like the one that it got, because members go on from "
                         f"it; got {listed or 'another structure'}")  # fmt: skip
    return after, value


def _real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def columns_of(space: Space, key: Key) -> dict[str, np.ndarray]:
    """Return the hyperparameters of all trials, all of them numbers.

    Raises:
        TypeError: The key or the space is none; or this is within a transformation.
        ValueError: There is no trial, or a hyperparameter is no number.
    """
    if transforming():
        raise TypeError("expected to be called outside of jit, vmap, grad and the like, because the host ranks between "
                        "rungs; got a call within one")  # fmt: skip
    check_key(key)
    if not isinstance(space, Space) or isinstance(space, type):
        raise TypeError(f"expected a space, because trials come from one; got {space!r}\n"
                        "  hint: nn.search.Random(27, learning_rate=nn.search.LogUniform(1e-4, 1.0))")  # fmt: skip
    columns: Mapping[str, Column] = space.columns(key)
    if not len(next(iter(columns.values()), ())):
        raise ValueError(f"expected a trial, because a space is of some; got {space} without one")
    numbers = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    if len(numbers) < len(columns):
        others = {name: column[0] for name, column in columns.items() if name not in numbers}
        raise ValueError(f"expected hyperparameters that are numbers, because all members of a rung are one program; "
                         f"got {settings(others)}\n  hint: functools.partial gives one value to begin and advance; "
                         "nn.search.sweep tries several")  # fmt: skip
    return numbers


def at_least_two(factor: SupportsIndex) -> int:
    """Return the factor as Python's int."""
    number = integer(factor, "factor", why="of so many trials one is promoted")
    if number < 2:
        raise ValueError(f"expected factor of at least 2, because of so many trials one is promoted; got {number}")
    return number


def _banner(sizes: Sequence[int], seeds: int, budgets: Sequence[int], brackets: int) -> str:
    each = f" x {seeds:,} seeds" if seeds > 1 else ""
    beside = f", {brackets} brackets side by side" if brackets > 1 else ""
    at = ", ".join(f"{size:,} at {budget:,}" for size, budget in zip(sizes, budgets, strict=True))
    return f"{sizes[0]:,} trials{each}{beside}: {at}"
