"""Gradients with noise that fades."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, root
from jaxnn.optim._checks import check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._key import KeyOrSeed, check_key, key_of
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype


class AddNoiseState(NamedTuple):
    """State of `add_noise`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    rng_key: Array  # for the next step, a typed key of shape ()


def add_noise(eta: Scalar, gamma: Scalar, key: KeyOrSeed | None = None, *, seed: int | None = None) -> Optimizer:
    """Add normal noise whose variance fades, direction = g + z, z from N(0, eta / t^gamma), t from 1.

    The numbers are those that optax draws from the same key.

    Args:
        eta: The variance at the first step; its root is the standard deviation. The paper chooses it from 0.01, 0.3
            and 1. A derivative by it at 0, which is infinite, is taken as 0.
        gamma: How fast the variance fades; 0.55 in the paper, where t is counted from 0 as 1 + t.
        key: A key, or an integer that makes one; with `None` it is made of 0. Optimizers with equal keys add the same.
        seed: The older name of `key`, for an integer.

    Raises:
        ValueError: `eta` or `gamma` is a number below 0, or NaN; or both `key` and `seed` are given.
        TypeError: `key` or `seed` is neither a key nor an integer.

    >>> t = add_noise(eta=1.0, gamma=0.5, key=0)
    >>> z, _ = t.update(jnp.zeros(10000), t.init(None))
    >>> z.std().round(1)
    Array(1., dtype=float32)

    Source: Neelakantan et al., "Adding gradient noise improves learning for very deep networks" (2015).
    """
    check_number("it is a variance", eta=eta)
    check_number("noise must fade", gamma=gamma)
    if key is not None and seed is not None:
        raise ValueError(f"expected key or seed, because they are two names of one argument; got key={key} and "
                         f"seed={seed}")  # fmt: skip
    given = next((given for given in (key, seed) if given is not None), 0)
    check_key(given)

    def init(params):
        del params
        return AddNoiseState(jnp.zeros((), jnp.int32), key_of(given))

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)
        after, now = jax.random.split(state.rng_key)
        leaves, structure = jax.tree.flatten(updates)

        def noisy(g, key):
            wide = accumulator_dtype(g.dtype)
            deviation = root(jnp.asarray(eta, wide) * t.astype(wide) ** -jnp.asarray(gamma, wide))
            return (g.astype(wide) + deviation * jax.random.normal(key, g.shape, g.dtype).astype(wide)).astype(g.dtype)

        direction = [noisy(g, key) for g, key in zip(leaves, jax.random.split(now, len(leaves)), strict=True)]
        return jax.tree.unflatten(structure, direction), AddNoiseState(t, after)

    return optax.GradientTransformation(init, update)


def noisy_sgd(
    learning_rate: LearningRate,
    eta: Scalar = 0.01,
    gamma: Scalar = 0.55,
    key: KeyOrSeed | None = None,
    *,
    seed: int | None = None,
) -> Optimizer:
    """Gradient descent with noise, p <- p - learning_rate (g + z), z from N(0, eta / t^gamma).

    Args:
        learning_rate: A number, a tracer or a schedule.
        eta: The variance of the noise at the first step.
        gamma: How fast the variance fades.
        key: A key, or an integer that makes one; with `None` it is made of 0.
        seed: The older name of `key`, for an integer.

    Raises:
        ValueError: `learning_rate`, `eta` or `gamma` is a number below 0, or both `key` and `seed` are given.

    >>> optimizer, x = noisy_sgd(0.1, eta=0.0, key=0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.4, dtype=float32)

    Source: Neelakantan et al., "Adding gradient noise improves learning for very deep networks" (2015).
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
