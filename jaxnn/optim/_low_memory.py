"""Running means in half of the memory: kept in bfloat16, rounded up or down by chance."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.tree_util import GetAttrKey
from optax import with_extra_args_support

from jaxnn.optim._arithmetic import next_count
from jaxnn.optim._key import KeyOrSeed, check_key, key_of
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Key

MEANS = {"trace", "ema", "mu", "nu", "nu_max", "exp_avg", "exp_avg_sq", "e_g", "e_x", "m1", "m2", "v_row", "v_col"}
"""What states of ours and of optax call running means and velocities. Sums, and copies of parameters, are none: what is
rounded by chance in them, parameters would follow."""


class LowMemoryState(NamedTuple):
    """State of `low_memory`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32
    key: Key  # the root of the chance
    inner: Any  # that of the optimizer, with running means in bfloat16


def low_memory(optimizer: Optimizer, key: KeyOrSeed = 0) -> Optimizer:
    """Keep the running means of an optimizer in bfloat16, a half of float32, rounded by `stochastic_round`.

    They are found by their names in the state, such as `mu`, `nu` and `trace`: those of `adam`, `momentum`, `rmsprop`,
    `lion`, `amsgrad`, `adafactor` and their like. Each step computes in float32, and rounds what it keeps. bfloat16 has
    8 bits: a running square with a decay of 0.999 moves by less than a thousandth of itself, which to the nearest is
    nothing, so that it stands still; rounded by chance it moves by as much as it should on average. So do the
    means of parameters that are in bfloat16 themselves. Sums, copies of parameters, what there is one of, such as a
    learning rate, and what is of other dtypes are kept as they are.

    Args:
        optimizer: One of ours or of optax.
        key: Of the chance, or a number that seeds one. Members of a sweep may share it.

    Raises:
        TypeError: `key` is neither a key nor an integer.

    >>> import jaxnn as nn
    >>> optimizer, p = low_memory(nn.adam(0.1)), jnp.ones(3)
    >>> state = optimizer.init(p)
    >>> optax.tree.get(state, "nu").dtype, optimizer.update(p, state, p)[0].dtype
    (dtype(bfloat16), dtype('float32'))

    Source: Gupta et al., "Deep learning with limited numerical precision" (2015), for rounding by chance.
    """
    check_key(key)
    inner = with_extra_args_support(optimizer)

    def init(params):
        # Zeros and ones are exact; what else begins there is rounded as well as it can be, to the nearest.
        kept = _map_means(lambda a: a.astype(jnp.bfloat16), inner.init(params))
        return LowMemoryState(jnp.zeros((), jnp.int32), key_of(key), kept)

    def update(updates, state, params=None, **extra):
        wide = _map_means(lambda a: a.astype(jnp.float32), state.inner)
        updates, new = inner.update(updates, wide, params, **extra)
        seeds = iter(
            jax.random.bits(jax.random.fold_in(state.key, state.count), (len(jax.tree.leaves(new)),), jnp.uint32)
        )
        kept = _map_means(lambda a: _rounded(a.astype(jnp.float32), next(seeds)), new)
        return updates, LowMemoryState(next_count(state.count), state.key, kept)

    return optax.GradientTransformationExtraArgs(init, update)


def stochastic_round(key: Key, x: Array) -> Array:
    """Round float32 to one of its two neighbours in bfloat16, to each the likelier the nearer: on average it is x.

    bfloat16 is the upper half of the bits of float32, and the lower half, over 2^16, is how far x is from the
    neighbour nearer to 0 on the way to the other one. Adding a random number below 2^16 carries into the upper half
    with that probability. Infinities and NaN stay what they are; a number that rounds up beyond the largest is
    infinite.

    Args:
        key: Of the chance.
        x: Any shape, float32.

    Returns:
        bfloat16, in the shape of x.

    Raises:
        TypeError: x is not float32.

    >>> x = jnp.full(10_000, 1.0 + 2**-9)  # a quarter of the way from 1 to its neighbour, 1 + 2^-7
    >>> rounded = stochastic_round(jax.random.key(0), x)
    >>> jnp.unique(rounded), bool(abs((rounded > 1).mean() - 0.25) < 0.01)
    (Array([1, 1.00781], dtype=bfloat16), True)
    """
    if x.dtype != jnp.float32:
        raise TypeError(f"expected x of float32, because bfloat16 is the upper half of its bits; got {x.dtype}")
    return _rounded(x, jax.random.bits(key, (), jnp.uint32))


def _rounded(x: Array, seed: Array) -> Array:
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    upper = ((bits + _chance(seed, x.shape)) >> 16).astype(jnp.uint16)
    return jnp.where(jnp.isfinite(x), lax.bitcast_convert_type(upper, jnp.bfloat16), x.astype(jnp.bfloat16))


def _chance(seed: Array, shape: tuple[int, ...]) -> Array:
    """Numbers below 2^16, a hash of the seed and of where each stands: in the same pass as what they round.

    `jax.random.bits` would take thirty times as long as all of Adam. The mixing of bits is Wellons' "lowbias32".
    """
    place = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    x = place * jnp.uint32(0x9E3779B9) ^ seed
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x >> 16


def _map_means(function: Callable[[Array], Array], state: Any) -> Any:
    def of_leaf(path, leaf):
        names = {key.name for key in path if isinstance(key, GetAttrKey)}
        return function(leaf) if names & MEANS and leaf.dtype in (jnp.float32, jnp.bfloat16) and leaf.ndim > 0 else leaf

    return jax.tree_util.tree_map_with_path(of_leaf, state)
