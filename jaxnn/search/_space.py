"""Spaces of hyperparameters: what is tried, and in which order.

A distribution maps the unit interval to values, u to its quantile there. So a grid is a product of lists, and the
other spaces are points in a unit cube, one axis a hyperparameter: random ones, or those of a sequence that fills the
cube more evenly.
"""

import abc
import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, SupportsIndex, TypeAlias, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import is_array
from jaxnn.training._checks import count, integer
from jaxnn.typing import Key

Column: TypeAlias = np.ndarray | list[Any]
"""One hyperparameter in all trials: an array of numbers, or a list of what is no number, bools included."""


@runtime_checkable
class Distribution(Protocol):
    """Where the values of a hyperparameter come from."""

    def quantiles(self, u: np.ndarray) -> Column:
        """Return the value at each u, from 0 to below 1."""
        ...


@runtime_checkable
class Space(Protocol):
    """What `sweep` takes trials from."""

    @property
    def trials(self) -> int:
        """How many there are."""
        ...

    def columns(self, key: Key) -> dict[str, Column]:
        """Return every hyperparameter by name, its values in the order of trials; the same ones for the same key."""
        ...


@final
@dataclass(frozen=True)
class Uniform:
    """Numbers from `low` to `high`, all alike: low + (high - low) u.

    >>> Uniform(0.0, 0.5).quantiles(np.array([0.0, 0.5]))
    array([0.  , 0.25])
    """

    low: float | int
    high: float | int

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"expected low below high, and both finite, because numbers are drawn between them; "
                             f"got low={self.low}, high={self.high}")  # fmt: skip

    def quantiles(self, u: np.ndarray) -> Column:
        return np.clip(self.low + (self.high - self.low) * u, self.low, self.high)


@final
@dataclass(frozen=True)
class LogUniform:
    """Numbers from `low` to `high` whose logarithms are all alike: low (high / low)^u.

    It is for what is known to a power of 10: learning rates, penalties.

    >>> LogUniform(1e-4, 1.0).quantiles(np.array([0.0, 0.25, 0.5])).round(6)
    array([0.0001, 0.001 , 0.01  ])
    """

    low: float | int
    high: float | int

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"expected low above 0 and below high, because logarithms are drawn between them; "
                             f"got low={self.low}, high={self.high}")  # fmt: skip

    def quantiles(self, u: np.ndarray) -> Column:
        return np.clip(self.low * (self.high / self.low) ** u, self.low, self.high)


@final
@dataclass(frozen=True)
class Integer:
    """Whole numbers from `low` to `high`, both of them included, all alike.

    >>> Integer(1, 4).quantiles(np.array([0.0, 0.3, 0.99]))
    array([1, 2, 4])
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        low, high = (integer(v, name, why="whole numbers are drawn") for name, v in vars(self).items())
        if low > high:
            raise ValueError(f"expected low of at most high, because numbers are drawn from one to the other; "
                             f"got low={low}, high={high}")  # fmt: skip

    def quantiles(self, u: np.ndarray) -> Column:
        return self.low + np.floor(u * (self.high - self.low + 1)).astype(int)


@final
@dataclass(frozen=True)
class Choice:
    """One of some options, all alike: numbers or strings, activations, optimizers, or any Python objects.

    >>> Choice(("relu", "tanh")).quantiles(np.array([0.0, 0.4, 0.6]))
    ['relu', 'relu', 'tanh']
    """

    options: Sequence[Any]

    def __post_init__(self) -> None:
        if len(self.options) == 0:
            raise ValueError("expected options, because one of them is drawn; got none")

    def quantiles(self, u: np.ndarray) -> Column:
        chosen = np.floor(u * len(self.options)).astype(int)
        return _at(as_column(self.options), chosen)


@final
class Grid:
    """Every value of each axis with every one of the others; the last axis varies fastest.

    Args:
        **axes: Values by name of the hyperparameter, in a list or an array.

    Raises:
        ValueError: There is no axis, or one without values.
        TypeError: An axis is no row of values.

    >>> grid = Grid(learning_rate=[0.1, 0.01, 0.001], width=[16, 32])
    >>> grid.trials
    6
    >>> grid.columns(jax.random.key(0))["width"]
    array([16, 32, 16, 32, 16, 32])
    """

    def __init__(self, **axes: Any) -> None:
        if not axes:
            raise ValueError(f"expected a hyperparameter, because a space is of some; got none{_SEEDS_ALONE}")
        for name, values in axes.items():
            row = values.ndim == 1 if is_array(values) else isinstance(values, Sequence) and not isinstance(values, str)
            if not row:
                raise TypeError(f"expected {name} as values in a row, because a grid goes over them; got {values!r}\n"
                                f"  hint: Grid({name}=[...])")  # fmt: skip
            if len(values) == 0:
                raise ValueError(f"expected values of {name}, because a grid goes over them; got none")
        self.axes = {name: as_column(values) for name, values in axes.items()}

    @property
    def trials(self) -> int:
        return math.prod(len(values) for values in self.axes.values())

    def columns(self, key: Key) -> dict[str, Column]:
        rows = itertools.product(*(range(len(values)) for values in self.axes.values()))
        at = np.array(list(rows)).T
        return {name: _at(values, index) for (name, values), index in zip(self.axes.items(), at, strict=True)}

    def __repr__(self) -> str:
        return f"Grid({', '.join(f'{name}={list(values)}' for name, values in self.axes.items())})"


class _Drawn(abc.ABC):
    """A number of trials, each with a value from the distribution of every hyperparameter."""

    def __init__(self, trials: SupportsIndex, /, **distributions: Distribution) -> None:
        self._trials = count(trials, "trials", why="a space is of some")
        if not distributions:
            raise ValueError(f"expected a hyperparameter, because a space is of some; got none{_SEEDS_ALONE}")
        for name, distribution in distributions.items():
            if not isinstance(distribution, Distribution) or isinstance(distribution, type):
                raise TypeError(f"expected {name} as Uniform, LogUniform, Integer or Choice, because its values are "
                                f"drawn; got {distribution!r}\n  hint: Choice([...]) draws from a list")  # fmt: skip
        self.distributions = distributions

    @property
    def trials(self) -> int:
        return self._trials

    def columns(self, key: Key) -> dict[str, Column]:
        cube = self._cube(np.asarray(jax.random.key_data(key)).ravel().tolist())
        return {name: of.quantiles(u) for (name, of), u in zip(self.distributions.items(), cube, strict=True)}

    @abc.abstractmethod
    def _cube(self, seed: list[int]) -> np.ndarray:
        """Points in the unit cube, of shape (hyperparameters, trials)."""

    def __repr__(self) -> str:
        settings = "".join(f", {name}={of}" for name, of in self.distributions.items())
        return f"{type(self).__name__}({self._trials}{settings})"


@final
class Random(_Drawn):
    """Independent draws: the usual first search.

    Of a grid's many trials few differ in the one or two hyperparameters that matter; of random ones all do. More
    trials under the same key begin with those of fewer, and a further hyperparameter leaves the others as they were.

    Args:
        trials: How many.
        **distributions: `Uniform`, `LogUniform`, `Integer` or `Choice` by name of the hyperparameter.

    Raises:
        ValueError: There are no trials, or no hyperparameters.
        TypeError: The number of trials is no int, or a hyperparameter has no distribution.

    >>> space = Random(3, learning_rate=LogUniform(1e-4, 1e-1), optimizer=Choice(["adam", "sgd"]))
    >>> space.columns(jax.random.key(0))["learning_rate"].round(4)
    array([0.0054, 0.0028, 0.0003])

    Source: Bergstra and Bengio, "Random search for hyper-parameter optimization" (2012).
    """

    def _cube(self, seed: list[int]) -> np.ndarray:
        streams = [np.random.default_rng([*seed, zlib.crc32(name.encode())]) for name in self.distributions]
        return np.array([stream.random(self.trials) for stream in streams])


@final
class Sobol(_Drawn):
    """Points of a scrambled Sobol sequence: they fill the space more evenly than random ones.

    The most even are 2^k of them. SciPy computes them, up to 21,201 hyperparameters.

    Args:
        trials: How many.
        **distributions: As for `Random`. Their order is that of the sequence's axes.

    Raises:
        ValueError: There are no trials, or no hyperparameters.
        TypeError: The number of trials is no int, or a hyperparameter has no distribution.

    >>> u = Sobol(4, dropout=Uniform(0.0, 1.0)).columns(jax.random.key(0))["dropout"]
    >>> sorted((4 * u).astype(int).tolist())  # one in each quarter
    [0, 1, 2, 3]

    Source: Sobol, "On the distribution of points in a cube and the approximate evaluation of integrals" (1967); Owen,
    "Scrambling Sobol' and Niederreiter-Xing points" (1998).
    """

    def _cube(self, seed: list[int]) -> np.ndarray:
        from scipy.stats import qmc

        # SciPy has called the generator seed before 1.15, and still takes it.
        sequence = qmc.Sobol(len(self.distributions), seed=np.random.default_rng(seed))  # pyright: ignore[reportCallIssue]
        # The beginning of a power of 2 is what the sequence begins with, without SciPy's warning that it is less even.
        return sequence.random_base2((self.trials - 1).bit_length())[: self.trials].T


@final
class Halton(_Drawn):
    """Points of a scrambled Halton sequence: more even than random ones for any number of trials.

    It is for few hyperparameters, below about ten: their axes have the primes as bases, and large ones need many
    points to be even. SciPy computes it.

    Args:
        trials: How many.
        **distributions: As for `Random`. Their order is that of the sequence's axes.

    Raises:
        ValueError: There are no trials, or no hyperparameters.
        TypeError: The number of trials is no int, or a hyperparameter has no distribution.

    >>> u = Halton(6, dropout=Uniform(0.0, 1.0), momentum=Uniform(0.0, 1.0)).columns(jax.random.key(0))
    >>> sorted((2 * u["dropout"]).astype(int).tolist()), sorted((3 * u["momentum"]).astype(int).tolist())
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2])

    Source: Halton, "On the efficiency of certain quasi-random sequences of points in evaluating multi-dimensional
    integrals" (1960); Owen, "A randomized Halton algorithm in R" (2017).
    """

    def _cube(self, seed: list[int]) -> np.ndarray:
        from scipy.stats import qmc

        sequence = qmc.Halton(len(self.distributions), seed=np.random.default_rng(seed))  # pyright: ignore[reportCallIssue]
        return sequence.random(self.trials).T


_SEEDS_ALONE = "\n  hint: to repeat one setting with many seeds, give it alone: Grid(learning_rate=[0.01])"


def _at(values: Column, index: np.ndarray) -> Column:
    return values[index] if isinstance(values, np.ndarray) else [values[i] for i in index]


def as_column(values: Any) -> Column:
    """Return values as an array if they are numbers, and else as a list.

    >>> as_column([1, 0.5]), as_column([True, False]), as_column([None, 0.5])
    (array([1. , 0.5]), [True, False], [None, 0.5])
    """
    if is_array(values):
        values = np.asarray(values)
        real = jnp.issubdtype(values.dtype, jnp.floating) or jnp.issubdtype(values.dtype, jnp.integer)
        return values if real else values.tolist()
    values = list(values)
    number = lambda v: isinstance(v, int | float | np.integer | np.floating) and not isinstance(v, bool)
    return np.asarray(values) if all(map(number, values)) else values
