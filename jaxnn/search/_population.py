"""Population-based training: runs that copy the better ones of them on the way, and change what they copied."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, SupportsIndex, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.search._halving import advanced, columns_of, member_of
from jaxnn.search._members import member_key
from jaxnn.search._result import Mode, settings, written
from jaxnn.search._space import Space
from jaxnn.training._checks import count
from jaxnn.typing import Array, Key

FACTORS = (0.8, 1.2)
"""What a copied hyperparameter is multiplied by, either one as likely; those of the paper."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """What all members of a population were given and gave, round by round, and where the best one came from.

    Attributes:
        hyperparameters: By name, what each member had in each round; shape `(rounds, members)`.
        values: What `advance` gave, shape `(rounds, members)`.
        parents: Whose state each member went on from in each round: its own number, or that of whom it copied; shape
            `(rounds, members)`.
        mode: Whether the least value is best, or the greatest.
        state: The best member's state after the last round.

    >>> values = np.array([[3.0, 1.0], [0.9, 0.8]])
    >>> rates = {"rate": np.array([[0.1, 0.5], [0.4, 0.5]])}
    >>> population = Population(rates, values, np.array([[0, 1], [1, 1]]), "min", None)
    >>> population
    Population of 2 members, 2 rounds: best 0.8 of member 1, at rate=0.5 in the end
    >>> population.lineage(0), population.schedule(0)
    (array([1, 0]), {'rate': array([0.5, 0.4])})
    """

    hyperparameters: Mapping[str, np.ndarray]
    values: np.ndarray
    parents: np.ndarray
    mode: Mode
    state: Any

    @property
    def best(self) -> int:
        """The number of the member with the best last value.

        Raises:
            ValueError: All failed.
        """
        signed = np.where(np.isfinite(self.values[-1]), self.values[-1], np.nan)
        if np.isnan(signed).all():
            raise ValueError(f"expected a member with a finite value, because the best is one; got {len(signed)} that "
                             "all failed\n  hint: a smaller learning rate is the usual cure")  # fmt: skip
        return int(np.nanargmin(signed) if self.mode == "min" else np.nanargmax(signed))

    @property
    def best_value(self) -> float:
        """The last value of the best member.

        Raises:
            ValueError: All failed.
        """
        return float(self.values[-1, self.best])

    def lineage(self, member: int) -> np.ndarray:
        """Return which member held, in each round, what has become of a member; shape `(rounds,)`.

        Args:
            member: Its number, from 0.
        """
        held = [member]
        for parents in self.parents[:0:-1]:
            held.append(int(parents[held[-1]]))
        return np.array(held[::-1])

    def schedule(self, member: int) -> dict[str, np.ndarray]:
        """Return the hyperparameters that made a member what it is, by its lineage; each of shape `(rounds,)`.

        With it a single run repeats what the population has found, as far as randomness lets it.

        Args:
            member: Its number, such as `population.best`.
        """
        held = self.lineage(member)
        return {name: rows[np.arange(len(rows)), held] for name, rows in self.hyperparameters.items()}

    def __repr__(self) -> str:
        rounds, members = self.values.shape
        population = f"Population of {members:,} members, {rounds:,} round{'s' * (rounds > 1)}"
        if not np.isfinite(self.values[-1]).any():
            return f"{population}: all failed"
        last = {name: float(rows[-1, self.best]) for name, rows in self.hyperparameters.items()}
        return f"{population}: best {written(self.best_value)} of member {self.best}, at {settings(last)} in the end"


def population_based_training(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    space: Space,
    key: Key,
    *,
    rounds: SupportsIndex,
    more: SupportsIndex = 1,
    within: Mapping[str, tuple[float, float]] | None = None,
    mode: Mode = "min",
) -> Population:
    """Train a population whose worst quarter copies the best quarter after each round, in one compiled program.

    Each trial of the space is a member. A round advances all of them; between two rounds each of the n // 4 worst ones
    takes over state and hyperparameters of one of the n // 4 best, drawn at random (exploit), and multiplies each
    hyperparameter by 0.8 or 1.2 (explore). So hyperparameters change during a run: what is found is a schedule, of
    which `Population.schedule` tells, and it costs no more than the members' runs.

    A member whose value is NaN or infinite has failed: it copies too, and none copies it. A state that is copied has
    the key that is in it; the copy draws the same numbers from then on.

    Args:
        begin: `begin(key, **hyperparameters) -> state`, as for `halving`; the key is `member_key(key, member)`.
        advance: `advance(state, more, **hyperparameters) -> (state, value)`, as for `halving`.
        space: What members begin with, floats all: `nn.search.Random(20, ...)` for instance.
        key: From `jax.random.key`.
        rounds: How many.
        more: What a round goes on by.
        within: Bounds `(low, high)` by name, for what must not leave them, such as a momentum: `{"momentum": (0.0,
            0.99)}`. Others go wherever factors take them.
        mode: `"min"` if less is better, `"max"` if more.

    Returns:
        A `Population`: hyperparameters, values and parents in all rounds, and the state of the best.

    Raises:
        TypeError: A setting is no int; the key or the space is none; or it is called within `jit`, `vmap` or `grad`.
        ValueError: There are fewer than 4 members; a setting is below 1 or unknown; a hyperparameter is no float; a
            bound's name is unknown, or it is not above the other; or `advance` gives no pair of a state like the one it
            got and a real scalar.

    >>> import jaxnn as nn
    >>> begin = lambda key, rate: jnp.full((), 10.0)
    >>> def advance(x, steps, rate):  # of gradient descent on x^2 / 2
    ...     x = x * (1 - rate) ** steps
    ...     return x, x**2 / 2
    >>> space = nn.search.Random(8, rate=nn.search.LogUniform(1e-3, 0.1))
    >>> key, settings = jax.random.key(0), {"rounds": 12, "within": {"rate": (0.0, 1.0)}}
    >>> population = nn.search.population_based_training(begin, advance, space, key, **settings)
    >>> rate = population.schedule(population.best)["rate"]
    >>> bool(rate[-1] > rate[0]), population.parents.shape
    (True, (12, 8))

    Source: Jaderberg et al., "Population based training of neural networks" (2017), with truncation selection; its
    quarter is a fifth there.
    """
    columns = columns_of(space, key)
    rounds = count(rounds, "rounds", why="members are compared after each")
    more = count(more, "more", why="a round goes on by it")
    if mode not in ("min", "max"):
        raise ValueError(f"expected mode as 'min' or 'max'; got {mode!r}")
    whole = [name for name, column in columns.items() if not np.issubdtype(column.dtype, np.floating)]
    if whole:
        raise ValueError(f"expected hyperparameters that are floats, because they are multiplied by {FACTORS[0]} or "
                         f"{FACTORS[1]}; got ints for {', '.join(whole)}")  # fmt: skip
    members = len(next(iter(columns.values())))
    if members < 4:
        raise ValueError(f"expected at least 4 members, because a quarter of them copies; got {members}")
    bounds = _bounds(columns, within or {})
    dtype = jnp.result_type(float)
    begun = {name: column.astype(dtype) for name, column in columns.items()}
    evolved = jax.jit(partial(_evolved, begin, advance, bounds, rounds, more, 1 if mode == "min" else -1))
    state, *rows = evolved(key, begun)
    hyperparameters, values, parents = jax.device_get(rows)
    hyperparameters = {name: hyperparameters[name] for name in columns}  # in the order of the space
    result = Population(hyperparameters, values, parents, mode, None)
    best = result.best if np.isfinite(values[-1]).any() else 0
    return Population(hyperparameters, values, parents, mode, member_of(state, np.int32(best)))


class _Round(NamedTuple):
    state: Any  # of all members, each leaf (members, ...)
    values: Array  # after the last round, shape (members,)
    hyperparameters: Any  # each (members,)


def _evolved(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    bounds: Mapping[str, tuple[float, float]],
    rounds: int,
    more: int,
    sign: int,
    key: Key,
    hyperparameters: Mapping[str, Array],
) -> tuple[Any, Any, Array, Array]:
    """Return the last state of all members, and the rows of hyperparameters, values and parents."""
    members = len(next(iter(hyperparameters.values())))
    numbers = jnp.arange(members)
    drawing = jax.random.fold_in(key, members)  # no member's key: those are folded with smaller numbers

    def begun(number, hyperparameters):
        return jax.tree.map(_strong, begin(member_key(key, number), **hyperparameters))

    def on(state, hyperparameters):
        return advanced(advance, state, more, hyperparameters)

    def step(at: _Round, k: Array) -> tuple[_Round, Any]:
        key_of_parents, key_of_factors = jax.random.split(jax.random.fold_in(drawing, k))
        parents, copies = _exploited(key_of_parents, sign * at.values)
        parents, copies = jnp.where(k > 0, parents, numbers), copies & (k > 0)
        state, hyperparameters = jax.tree.map(lambda a: a[parents], (at.state, at.hyperparameters))
        hyperparameters = _explored(key_of_factors, hyperparameters, copies, bounds)
        state, values = jax.vmap(on)(state, hyperparameters)
        state, values = jax.tree.map(_strong, state), values.astype(at.values.dtype)
        return _Round(state, values, hyperparameters), (hyperparameters, values, parents)

    state = jax.vmap(begun)(numbers, hyperparameters)
    at = _Round(state, jnp.zeros(members), dict(hyperparameters))
    at, rows = lax.scan(step, at, jnp.arange(rounds))
    return at.state, *rows


def _exploited(key: Key, signed: Array) -> tuple[Array, Array]:
    """Return whose state each member goes on from, and which members copy: the worst quarter, and what failed."""
    (members,) = signed.shape
    quarter = members // 4
    finite = jnp.isfinite(signed)
    order = jnp.argsort(jnp.where(finite, signed, jnp.inf))
    rank = jnp.argsort(order)
    alive = finite.sum()
    copies = ((rank >= members - quarter) | ~finite) & (alive > 0)
    # Where fewer than a quarter have not failed, these are the best; none of the others is drawn.
    best = jnp.clip(alive, 1, quarter)
    drawn = order[jax.random.randint(key, (members,), 0, best)]
    parents = jnp.where(copies, drawn, jnp.arange(members))
    return parents, copies & (parents != jnp.arange(members))


def _explored(
    key: Key, hyperparameters: Mapping[str, Array], copies: Array, bounds: Mapping[str, tuple[float, float]]
) -> dict[str, Array]:
    """Multiply the hyperparameters of copies by either factor, and keep them within bounds."""
    explored = {}
    for axis, (name, h) in enumerate(hyperparameters.items()):
        greater = jax.random.bernoulli(jax.random.fold_in(key, axis), shape=h.shape)
        factor = jnp.where(greater, *(jnp.asarray(f, h.dtype) for f in reversed(FACTORS)))
        low, high = (jnp.asarray(bound, h.dtype) for bound in bounds[name])
        explored[name] = jnp.where(copies, jnp.clip(h * factor, low, high), h)
    return explored


def _strong(a: Any) -> Array:
    """An array whose dtype does not depend on what it is computed with, as a carry's must not."""
    a = jnp.asarray(a)
    return a if jnp.issubdtype(a.dtype, jax.dtypes.extended) else lax.convert_element_type(a, a.dtype)


def _bounds(columns: Mapping[str, np.ndarray], within: Mapping[str, tuple[float, float]]) -> dict:
    """The bounds of each hyperparameter, infinite where there are none."""
    unknown = [name for name in within if name not in columns]
    if unknown:
        raise ValueError(f"expected within for hyperparameters of the space, {', '.join(columns)}; got "
                         f"{', '.join(map(repr, unknown))}")  # fmt: skip
    for name, (low, high) in within.items():
        column = columns[name]
        if not low < high or (column < low).any() or (column > high).any():
            raise ValueError(f"expected within of {name} as (low, high) with all members between, because they begin "
                             f"there; got {low} and {high}, and members from {column.min():.4g} to "
                             f"{column.max():.4g}")  # fmt: skip
    return {name: within.get(name, (-np.inf, np.inf)) for name in columns}
