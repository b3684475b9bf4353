"""AdEMAMix: Adam that also follows a mean of gradients with a long memory; and its form with one mean."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, widest
from jaxnn.optim._checks import check_decay, check_number, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, at, scale_by_learning_rate
from jaxnn.optim._moments import average_square, over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class ScaleByAdemamixState(NamedTuple):
    """State of `scale_by_ademamix`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    count_m2: Array  # what schedules of b3 and alpha are called with; t too
    m1: Any  # the mean that forgets soon, like the parameters
    m2: Any  # the one that forgets late, like the parameters
    nu: Any  # v, like the parameters


def scale_by_ademamix(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    b3: Scalar | Schedule = 0.9999,
    alpha: Scalar | Schedule = 6.0,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
) -> Optimizer:
    """Divide two running means of gradients, one of them long, by the root of their running square.

    m1 <- b1 m1 + (1 - b1) g, m2 <- b3 m2 + (1 - b3) g, v <- b2 v + (1 - b2) g^2,
    direction = (m1 / (1 - b1^t) + alpha m2) / (sqrt(v / (1 - b2^t) + eps_root) + eps), t from 1.

    m2 is not corrected for its start from 0: it is to come in slowly.

    Args:
        b1: Decay of the short mean, beta_1.
        b2: Decay of the square, beta_2.
        b3: Decay of the long mean, beta_3: a number, a tracer or a schedule. The paper lets it grow from b1.
        alpha: Weight of the long mean: a number, a tracer or a schedule. The paper lets it grow from 0. The default
            is 6 here and 5 in `ademamix`, as in optax.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of m1, m2 and, as in optax, of v; that of the parameters if `None`.

    Raises:
        ValueError: `b1`, `b2` or `b3` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> t = scale_by_ademamix(b3=0.5, alpha=4.0)
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(3., dtype=float32)

    Source: Pagliardini, Ablin and Grangier, "The AdEMAMix optimizer: better, faster, older" (2024).
    """
    check_decay("a mean must forget", b1=b1, b2=b2, b3=b3)
    check_number("gradients of old count for those of now", alpha=alpha)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        m1, m2, nu = (jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params) for _ in range(3))
        return ScaleByAdemamixState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), m1, m2, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)
        slow = at(b3, state.count_m2)
        weight = at(alpha, state.count_m2)

        def direction(m1, m2, v, g):
            wide = accumulator_dtype(g.dtype)
            m1, m2, v = (a.astype(wide) for a in (m1, m2, v))
            mixed = corrected(m1, b1, t) + jnp.asarray(weight, wide) * m2
            return over_root(mixed, corrected(v, b2, t), eps, eps_root).astype(g.dtype)

        m1 = jax.tree.map(lambda m, g: average(m, g, b1), state.m1, updates)
        m2 = jax.tree.map(lambda m, g: average(m, g, slow), state.m2, updates)
        nu = jax.tree.map(lambda v, g: average_square(v, g, b2), state.nu, updates)
        kept = cast_like(m1, state.m1), cast_like(m2, state.m2), cast_like(nu, state.nu)
        return jax.tree.map(direction, m1, m2, nu, updates), ScaleByAdemamixState(t, next_count(state.count_m2), *kept)

    return optax.GradientTransformation(init, update)


def ademamix(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    b3: Scalar | Schedule = 0.9999,
    alpha: Scalar | Schedule = 5.0,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """AdEMAMix, p <- p - learning_rate ((m1^ + alpha m2) / (sqrt(v^) + eps) + weight_decay p).

    See `scale_by_ademamix` for m1^, m2 and v^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the short mean of gradients.
        b2: Decay of the mean of squared gradients.
        b3: Decay of the long mean of gradients: a number, a tracer or a schedule.
        alpha: Weight of the long mean: a number, a tracer or a schedule.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of all three means; that of the parameters if `None`.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1`, `b2` or `b3` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = ademamix(0.1, b3=0.5, alpha=4.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.3, dtype=float32)

    Source: Pagliardini, Ablin and Grangier, "The AdEMAMix optimizer: better, faster, older" (2024).
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """State of `scale_by_simplified_ademamix`."""

    t: Array  # shape (), int32
    m: Any  # velocity, like the parameters
    n: Any  # mean of squares, like the parameters


def scale_by_simplified_ademamix(
    b1: Scalar = 0.99,
    b2: Scalar = 0.95,
    alpha: Scalar | Schedule = 0.0,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
) -> Optimizer:
    """Divide a velocity, to which the gradient is added once more, by the root of the running square.

    m <- b1 m + g, n <- b2 n + (1 - b2) g^2,
    direction = (m + alpha g) / (sqrt(n / (1 - b2^t) + eps_root) + eps), t from 1.

    m has no factor 1 - b1, so steps are up to 1 / (1 - b1) times as long as those of Adam: rates are to be smaller.

    Args:
        b1: Decay of the velocity, beta_1.
        b2: Decay of the mean of squares, beta_2.
        alpha: Weight of the newest gradient beside the velocity: a number, a tracer or a schedule.
        eps: Added outside the root.
        eps_root: Added inside the root.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> t = scale_by_simplified_ademamix(alpha=2.0)
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(3., dtype=float32)

    Source: Morwani et al., "Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants"
    (2025).
    """
    check_decay("a velocity and a mean must fade", b1=b1, b2=b2)
    check_number("the gradient counts as it is and not reversed", alpha=alpha)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        m, n = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleBySimplifiedAdEMAMixState(jnp.zeros((), jnp.int32), m, n)

    def update(updates, state, params=None):
        del params
        check_real(updates)
        t = next_count(state.t)
        weight = at(alpha, state.t)

        def velocity(m, g):
            wide = widest(m, g)
            return jnp.asarray(b1, wide) * m.astype(wide) + g.astype(wide)

        def direction(m, n, g):
            ahead = m + jnp.asarray(weight, m.dtype) * g.astype(m.dtype)
            return over_root(ahead, corrected(n, b2, t).astype(m.dtype), eps, eps_root).astype(g.dtype)

        m = jax.tree.map(velocity, state.m, updates)
        n = jax.tree.map(lambda n, g: average_square(n, g, b2), state.n, updates)
        return jax.tree.map(direction, m, n, updates), ScaleBySimplifiedAdEMAMixState(
            t, cast_like(m, state.m), cast_like(n, state.n)
        )

    return optax.GradientTransformation(init, update)


def simplified_ademamix(
    learning_rate: LearningRate,
    b1: Scalar = 0.99,
    b2: Scalar = 0.95,
    alpha: Scalar | Schedule = 0.0,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """AdEMAMix with one velocity, p <- p - learning_rate ((m + alpha g) / (sqrt(n^) + eps) + weight_decay p).

    See `scale_by_simplified_ademamix` for m and n^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the velocity.
        b2: Decay of the mean of squares.
        alpha: Weight of the newest gradient beside the velocity: a number, a tracer or a schedule.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = simplified_ademamix(0.1, alpha=2.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.3, dtype=float32)

    Source: Morwani et al., "Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants"
    (2025).
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
