"""Members of a sweep: their keys, which of them share a program, and compiled programs for blocks of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, TypeAlias, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxnn._programs._costs import largest_array
from jaxnn.errors import describe, is_array
from jaxnn.search._space import Column
from jaxnn.typing import Array, Key

Method: TypeAlias = Literal["vmap", "map"]
"""How a device computes the members of its block: at once, or one after another."""
ALONE_FROM = {"cpu": 2**20}
"""Bytes of an array in a member's loops from which on members of a block are computed one after another.

On a CPU members at once, each with such arrays, drive one another's out of the cache. Measured by
`benchmarks/sweep.py`: with arrays of 8 KiB (a small perceptron) `vmap` is the faster, with 1.5 MiB (the weights of a
larger one) and 6 MiB (images after a convolution) it is `map`.
"""


def member_key(key: Key, trial: int | Array, seed: int | Array = 0) -> Key:
    """Return the key that `sweep` gives to a member: `key` with its trial's and its seed's number folded in.

    It depends on nothing else, so a member is the same in any block, on any device, after a resumption and alone:

    >>> import jaxnn as nn
    >>> run = lambda key, x: (x - jax.random.uniform(key)) ** 2
    >>> swept = nn.search.sweep(run, nn.search.Grid(x=[0.1, 0.5]), jax.random.key(0), seeds=3, progress=False)
    >>> alone = run(member_key(jax.random.key(0), trial=1, seed=2), 0.5)
    >>> np.allclose(swept.values[1, 2], alone)
    True
    """
    return jax.random.fold_in(jax.random.fold_in(key, trial), seed)


def check_key(key: Any) -> None:
    """Raise an error unless `key` is a single key of `jax.random.key`."""
    if not (is_array(key) and key.ndim == 0 and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"expected a key, because members draw from it; got {describe(key)}\n  hint: jax.random.key(0)")


class Group(NamedTuple):
    """Trials that differ in traced numbers alone."""

    statics: dict[str, Any]
    trials: np.ndarray


def grouped(columns: Mapping[str, Column], static: Sequence[str]) -> list[Group]:
    """Return the trials by their static hyperparameters, in the order in which these first come.

    >>> columns = {"rate": np.array([0.1, 0.2, 0.3]), "width": np.array([8, 16, 8])}
    >>> [(group.statics, group.trials.tolist()) for group in grouped(columns, ["width"])]
    [({'width': 8}, [0, 2]), ({'width': 16}, [1])]
    """
    (trials,) = {len(column) for column in columns.values()}
    groups: dict[tuple, tuple[dict[str, Any], list[int]]] = {}
    for trial in range(trials):
        statics = {name: plain(columns[name][trial]) for name in static}
        same = tuple(map(identity, statics.values()))
        groups.setdefault(same, (statics, []))[1].append(trial)
    return [Group(statics, np.array(trials)) for statics, trials in groups.values()]


def plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python, and everything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def identity(value: Any) -> Any:
    """What is equal for values that make the same program; those of 1, 1.0 and True may differ."""
    try:
        hash(value)
    except TypeError:  # such as a list, which a space repeats as the same object
        return id(value)
    return type(value), value


class Block(NamedTuple):
    """A compiled program for so many members at once."""

    members: int
    program: Callable[..., Any]


@final
@dataclass(frozen=True)
class Blocks:
    """What makes blocks for a group: of whatever size they are, they compute the same members."""

    run: Callable[..., Any]
    statics: Mapping[str, Any]
    key: Key
    dtypes: Mapping[str, Any]  # of the traced hyperparameters
    asked: Method | None
    devices: Sequence[Any]

    @cached_property
    def _member(self) -> Any:
        """A member by itself, traced once: `jit` keeps what `method` looks at for the program of a block."""

        def member(key, trial, seed, values):
            return jax.tree.map(jnp.asarray, self.run(member_key(key, trial, seed), **self.statics, **values))

        return jax.jit(member, inline=True)

    @cached_property
    def method(self) -> Method:
        """As it was asked for, or by the size of a member's arrays."""
        alone_from = ALONE_FROM.get(self.devices[0].platform)
        if self.asked is not None or alone_from is None:
            return self.asked or "vmap"
        member = jax.make_jaxpr(self._member)(*self._like(()))
        return "map" if largest_array(member.jaxpr) >= alone_from else "vmap"

    @cached_property
    def function(self) -> Any:
        """The jitted `(key, trials, seeds, values) -> results` of as many members as it is given."""

        def members(key, trials, seeds, values):
            if self.method == "vmap":
                return jax.vmap(partial(self._member, key))(trials, seeds, values)
            return lax.map(lambda each: self._member(key, *each), (trials, seeds, values))

        if len(self.devices) > 1:
            # Each device has members of its own and never asks the others, not even whether theirs have stopped.
            each = PartitionSpec("members")
            mesh = Mesh(np.array(self.devices), ("members",))
            specs = PartitionSpec(), each, each, each
            members = jax.shard_map(members, mesh=mesh, in_specs=specs, out_specs=each, check_vma=False)
        return jax.jit(members)

    def trace(self, members: int) -> Any:
        """Trace a block of so many."""
        return self.function.trace(*self._like((members,)))

    def _like(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Return what members of such a shape are given: key, trials, seeds, values."""
        of = lambda dtype: jax.ShapeDtypeStruct(shape, dtype)
        values = {name: of(dtype) for name, dtype in self.dtypes.items()}
        key = jax.ShapeDtypeStruct(self.key.shape, self.key.dtype)
        return key, of(jnp.int32), of(jnp.int32), values

    def words(self, members: int) -> str:
        """Return what is told of blocks of so many."""
        return f"blocks of {members:,}" + ", one member after another" * (self.method == "map")

    def compile(self, traced: Any, members: int, memory: int | None) -> Block:
        """Compile what was traced; or, if it needs more than so many bytes of a device, a block of fewer members."""
        at_least = len(self.devices)
        while True:
            program = traced.lower().compile()
            needed = _bytes(program)
            if memory is None or needed <= memory or members <= at_least:
                return Block(members, program)
            # As if all of it grew with the members: what does not leaves room, and the smaller block fits.
            fits = round_to(int(members * memory / needed), at_least, up=False)
            members = max(min(fits, members - at_least), at_least)
            traced = self.trace(members)


def _bytes(program: Any) -> int:
    """What a program needs of each device, as far as its compiler tells."""
    stats = program.memory_analysis()
    if stats is None:
        return 0
    return stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes


def traced_dtype(column: np.ndarray) -> Any:
    """Return the dtype in which numbers are traced: that of JAX's floats or of its ints."""
    return jnp.result_type(float if jnp.issubdtype(column.dtype, jnp.floating) else int)


def round_to(members: int, devices: int, *, up: bool) -> int:
    """Return the next number of members of which each device has as many, and at least one.

    >>> round_to(7, 2, up=True), round_to(7, 2, up=False), round_to(1, 4, up=False)
    (8, 6, 4)
    """
    return max(-(-members // devices) if up else members // devices, 1) * devices


def even(members: int, at_most: int, devices: int) -> int:
    """Return the size of equal blocks that leave the least to be filled up.

    >>> even(10, 8, 1), even(10, 8, 4), even(3, 8, 1)
    (5, 8, 3)
    """
    at_most = round_to(at_most, devices, up=False)
    blocks = -(-members // at_most)
    return min(round_to(-(-members // blocks), devices, up=True), at_most)
