"""Gradients of which no example's share can be told: bounded one by one, summed, and noisy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._key import KeyOrSeed, check_key, key_of
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._momentum import trace
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._per_example_clipping import per_example_global_norm_clip
from jaxnn.typing import Array, Scalar, accumulator_dtype


class DifferentiallyPrivateAggregateState(NamedTuple):
    """State of `differentially_private_aggregate`."""

    rng_key: Array  # for the next step, a typed key of shape ()


def differentially_private_aggregate(
    l2_norm_clip: Scalar, noise_multiplier: Scalar, key: KeyOrSeed | None = None, *, seed: int | None = None
) -> Optimizer:
    """Average gradients of examples, each shortened to norm C, with noise, (sum_i g_i min(1, C / |g_i|) + C z) / n.

    z is from N(0, noise_multiplier^2). The gradients have an axis for the n examples in front, as
    `jax.vmap(jax.grad(loss), (None, 0))` returns them, and the updates have not: so this comes first in a chain, and
    what accumulates gradients, such as `MultiSteps`, has no place before it. The numbers are those that optax draws
    from the same key.

    How private the result is depends on how examples are drawn and how many steps there are too, and is not computed
    here.

    Args:
        l2_norm_clip: C, the bound on the norm of each example's gradient over all leaves.
        noise_multiplier: The standard deviation of the noise, as a multiple of C.
        key: A key of `jax.random`, or an integer that makes one. Whoever knows it can take the noise away. Optax makes
            one of 0 if none is given, here that is refused.
        seed: The older name of `key`, for an integer.

    Raises:
        ValueError: A number is below 0 or NaN, none or both of `key` and `seed` are given, or gradients have no axis in
            front.
        TypeError: `key` or `seed` is neither a key nor an integer.

    >>> t = differentially_private_aggregate(1.0, 0.0, key=0)
    >>> t.update(jnp.array([[3.0, 4.0], [0.0, 1.0]]), t.init(None))[0]
    Array([0.3, 0.9], dtype=float32)

    Source: Abadi et al., "Deep learning with differential privacy" (2016).
    """
    check_number("it bounds a norm", l2_norm_clip=l2_norm_clip)
    check_number("it is a standard deviation", noise_multiplier=noise_multiplier)
    if (key is None) == (seed is None):
        raise ValueError("expected key or seed, one of them, because noise that anyone can draw again hides nothing; "
                         f"got key={key} and seed={seed}")  # fmt: skip
    given = seed if key is None else key
    check_key(given)

    def init(params):
        del params
        return DifferentiallyPrivateAggregateState(key_of(given))

    def update(updates, state, params=None):
        del params
        sums, _ = per_example_global_norm_clip(updates, l2_norm_clip)
        leaves, structure = jax.tree.flatten(sums)
        examples = jax.tree.leaves(updates)[0].shape[0]
        after, *now = jax.random.split(state.rng_key, len(leaves) + 1)

        def noisy(g, key):
            wide = accumulator_dtype(g.dtype)
            deviation = jnp.asarray(l2_norm_clip, wide) * jnp.asarray(noise_multiplier, wide)
            z = jax.random.normal(key, g.shape, g.dtype).astype(wide)
            return ((g.astype(wide) + deviation * z) / examples).astype(g.dtype)

        mean = [noisy(g, key) for g, key in zip(leaves, now, strict=True)]
        return jax.tree.unflatten(structure, mean), DifferentiallyPrivateAggregateState(after)

    return optax.GradientTransformation(init, update)


def dpsgd(
    learning_rate: LearningRate,
    l2_norm_clip: Scalar,
    noise_multiplier: Scalar,
    seed: int,
    momentum: Scalar | None = None,
    nesterov: bool = False,
) -> Optimizer:
    """Gradient descent by `differentially_private_aggregate`, of gradients with an axis for the examples in front.

    Args:
        learning_rate: A number, a tracer or a schedule.
        l2_norm_clip: The bound on the norm of each example's gradient.
        noise_multiplier: The standard deviation of the noise, as a multiple of the bound.
        seed: An integer, of which the key of the noise is made.
        momentum: Decay of a velocity of the noisy means; with `None` there is none.
        nesterov: Whether that looks ahead by one step.

    Raises:
        ValueError: A number is below 0 or NaN, `momentum` is one that is not from 0 to below 1, or gradients have no
            axis in front.

    >>> optimizer = dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
    >>> optimizer.update(jnp.array([[3.0, 4.0], [0.0, 1.0]]), optimizer.init(jnp.zeros(2)))[0]
    Array([-0.03, -0.09], dtype=float32)

    Source: Abadi et al., "Deep learning with differential privacy" (2016).
    """
    check_decay("a velocity must fade", momentum=momentum)
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed=seed),
        identity() if momentum is None else trace(momentum, nesterov),
        scale_by_learning_rate(learning_rate),
    )
