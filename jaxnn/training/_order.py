"""Order: a random permutation that is computed at any position, without computing the rest of it."""

import jax
import jax.numpy as jnp
from jaxtyping import UInt32

from jaxnn.typing import Array, Key

ROUNDS = 24


def shuffled(key: Key, position: Array, n: int) -> Array:
    """Return where a random permutation of 0 ... n - 1 sends `position`.

    A swap-or-not cipher: in round r an index i and its partner (K_r - i) mod n either change places or do
    not, as one bit of a hash of the larger of them decides. Each round is a bijection for any n, so all
    together are. Unlike a sort of random numbers it needs no memory, and any position alone can be asked
    for, which is what makes resuming in the middle of an epoch trivial.

    Args:
        key: Chooses the permutation.
        position: Integers from 0 to n - 1, any shape.
        n: How many there are, at most 2^31 - 1; a Python int.

    Returns:
        int32, the shape of `position`.

    >>> jnp.sort(shuffled(jax.random.key(0), jnp.arange(6), 6))
    Array([0, 1, 2, 3, 4, 5], dtype=int32)

    Source: Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle" (2012).
    """
    K, salt = jax.random.bits(key, (2, ROUNDS), jnp.uint32)
    K = K % jnp.uint32(n)
    i = position.astype(jnp.uint32)
    for r in range(ROUNDS):
        partner = K[r] + jnp.where(i > K[r], jnp.uint32(n), jnp.uint32(0)) - i
        swap = _hash(jnp.maximum(i, partner) ^ salt[r]) & 1
        i = jnp.where(swap == 1, partner, i)
    return i.astype(jnp.int32)


def _hash(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Mix 32 bits so that each decides the lowest: the finaliser of MurmurHash3 (Appleby, 2011)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
