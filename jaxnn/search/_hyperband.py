"""`hyperband`: successive halving from several first budgets, side by side."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, SupportsIndex

import numpy as np

from jaxnn.search._halved import Halved
from jaxnn.search._halving import Bracket, at_least_two, columns_of, halved
from jaxnn.search._result import Mode
from jaxnn.search._space import Distribution, Random
from jaxnn.training._checks import count
from jaxnn.typing import Key


def hyperband(
    begin: Callable[..., Any],
    advance: Callable[..., tuple[Any, Any]],
    distributions: Mapping[str, Distribution],
    key: Key,
    *,
    most: SupportsIndex,
    least: SupportsIndex = 1,
    factor: SupportsIndex = 3,
    seeds: SupportsIndex = 1,
    mode: Mode = "min",
    block: SupportsIndex | None = None,
    progress: bool = True,
) -> Halved:
    """Halve several brackets of random trials, from many with little budget each to few with all of it.

    How early bad trials can be told is not known: so bracket s, of s_max + 1, begins with

        n = ceil((s_max + 1) eta^s / (s + 1)) trials at r = R eta^-s, where s_max = floor(log_eta(R / least)),

    and floor(n eta^-i) of them are at its rung i, with r eta^i: `halving`. Here R is `most` and eta `factor`; budgets
    that are no whole numbers are rounded down. With R = 81 and eta = 3 there are brackets of 81 trials from budget 1,
    34 from 3, 15 from 9, 8 from 27, and 5 with 81. (Those who round (s_max + 1) / (s + 1) down first have 81, 27, 9, 6
    and 5.)

    The paper has one bracket after another. Here they are side by side: all members, of whatever bracket, go from
    budget to budget together and are one block, but a bracket ranks only from its own first budget on. That makes one
    compiled program for each budget, 5 rather than 15, and larger blocks. The trials, their budgets and who is promoted
    are the same; only `advance` must be the same run in one step or in several, as `fit` is.

    Args:
        begin: `begin(key, **hyperparameters) -> state`, as for `halving`.
        advance: `advance(state, more, **hyperparameters) -> (state, value)`, as for `halving`.
        distributions: Of each hyperparameter, all of numbers, as for `Random`; how many trials there are, brackets say.
        key: From `jax.random.key`.
        most: The budget that a member may have, the paper's R.
        least: The first budget is no less.
        factor: Of how many trials one is promoted, the paper's eta.
        seeds: Members of each trial.
        mode: `"min"` if less is better, `"max"` if more.
        block: Members at a time, as for `halving`.
        progress: Whether to show on stderr how far it is.

    Returns:
        A `Halved`; its `brackets` count from 0, the one with the most trials. The best is that of all.

    Raises:
        TypeError: A setting is no int, or a distribution none; or as `halving`.
        ValueError: `least` is above `most`, or `factor` below 2; or as `halving`.

    >>> import jax, jax.numpy as jnp
    >>> import jaxnn as nn
    >>> begin = lambda key, rate: jnp.ones(())
    >>> def advance(x, steps, rate):  # of gradient descent on x^2 / 2
    ...     x = x * (1 - rate) ** steps
    ...     return x, x**2 / 2
    >>> rates = {"rate": nn.search.LogUniform(1e-3, 10.0)}
    >>> found = nn.search.hyperband(begin, advance, rates, jax.random.key(0), most=9, progress=False)
    >>> found.budgets, np.bincount(found.brackets), found.spent
    ((1, 3, 9), array([9, 5, 3]), 69)

    Source: Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: a novel bandit-based approach to
    hyperparameter optimization" (2018), algorithm 1.
    """
    factor = at_least_two(factor)
    least = count(least, "least", why="a first budget is something")
    most = count(most, "most", why="a last budget is something")
    if least > most:
        raise ValueError(f"expected least of at most most, because budgets grow from one to the other; got least="
                         f"{least:,}, most={most:,}")  # fmt: skip
    budgets, counts = plan(least, most, factor)
    ends = [0, *np.cumsum(counts).tolist()]
    brackets = [Bracket(first, last, rung) for rung, (first, last) in enumerate(pairwise(ends))]
    columns = columns_of(Random(ends[-1], **distributions), key)
    return halved(begin, advance, columns, key, brackets, budgets,
                  factor=factor, seeds=seeds, mode=mode, block=block, progress=progress)  # fmt: skip


def plan(least: int, most: int, factor: int) -> tuple[list[int], list[int]]:
    """Return the budgets, and for each the number of trials of the bracket that begins with it.

    >>> plan(1, 81, 3)
    ([1, 3, 9, 27, 81], [81, 34, 15, 8, 5])
    """
    last = 0  # floor(log(most / least)), which is no matter of rounding in whole numbers
    while least * factor ** (last + 1) <= most:
        last += 1
    budgets = [most // factor ** (last - rung) for rung in range(last + 1)]
    counts = [-(-(last + 1) * factor**s // (s + 1)) for s in range(last, -1, -1)]
    return budgets, counts
