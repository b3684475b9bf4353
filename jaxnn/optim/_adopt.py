"""ADOPT: a mean of gradients, each divided by the root of the squares before it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import ScaleByAdamState
from jaxnn.optim._arithmetic import average, cast_like, next_count, root, widest
from jaxnn.optim._checks import check_decay, check_number, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


def _fourth_root(count: Array) -> Array:
    return count**0.25


def scale_by_adopt(
    b1: Scalar = 0.9,
    b2: Scalar = 0.9999,
    eps: Scalar = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = _fourth_root,
) -> Optimizer:
    """Average gradients, each divided first by the root of the running square of those before it.

    u = g / max(sqrt(v), eps), clipped to c(t) on both sides, m <- b1 m + (1 - b1) u, direction = m, and only then
    v <- b2 v + (1 - b2) g^2. The first step only sets v = g^2, and moves nothing. Because g is not in its own divisor,
    it converges with any b2.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2.
        eps: The least divisor.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        nesterov: Whether to move along b1 m + (1 - b1) u instead.
        use_clipping: Whether u is clipped, which keeps the first steps short where the first gradients were near 0.
        clip_value_fn: c, of the count of steps before this one; its fourth root by default.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` one below 0.

    >>> t = scale_by_adopt(b1=0.5)
    >>> first, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> first, t.update(jnp.array(2.0), state)[0]
    (Array(0., dtype=float32), Array(0.25, dtype=float32))

    Source: Taniguchi et al., "ADOPT: modified Adam can converge with any beta2 with the optimal rate" (2024).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        nu = jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        check_real(updates)
        first = state.count == 0

        def scaled(g, v):
            wide = widest(g, v)
            # By 1 at the first step, of which nothing is used: by an eps of 0 it would be NaN.
            u = g.astype(wide) / jnp.where(first, 1, jnp.maximum(root(v.astype(wide)), jnp.asarray(eps, wide)))
            if use_clipping:
                # Of a float, for the fourth root of an integer is none.
                c = jnp.asarray(clip_value_fn(state.count.astype(wide)), wide)
                u = jnp.clip(u, -c, c)
            return u

        u = jax.tree.map(scaled, updates, state.nu)
        mean = lambda m, u: jnp.where(first, m.astype(widest(m, u)), average(m, u, b1))
        mu = jax.tree.map(mean, state.mu, u)
        nu = jax.tree.map(lambda v, g: average_square(v, g, jnp.where(first, 0, jnp.asarray(b2))), state.nu, updates)
        direction = jax.tree.map(mean, mu, u) if nesterov else mu
        return cast_like(direction, updates), ScaleByAdamState(
            next_count(state.count), cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def adopt(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.9999,
    eps: Scalar = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = _fourth_root,
) -> Optimizer:
    """ADOPT, m <- b1 m + (1 - b1) clip(g / max(sqrt(v), eps)), p <- p - learning_rate m, v of earlier gradients only.

    See `scale_by_adopt` for v and the clipping. The first step moves nothing.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of scaled gradients.
        b2: Decay of the mean of squared gradients.
        eps: The least divisor.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether to look ahead by one step.
        use_clipping: Whether scaled gradients are clipped.
        clip_value_fn: To what, of the count of steps before this one; its fourth root by default.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adopt(0.1, b1=0.0), jnp.array(2.0)
    >>> _, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> optimizer.update(2 * x, state, x)[0]
    Array(-0.1, dtype=float32)

    Source: Taniguchi et al., "ADOPT: modified Adam can converge with any beta2 with the optimal rate" (2024).
    """
    return chain(
        scale_by_adopt(
            b1, b2, eps, mu_dtype, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn
        ),
        scale_by_learning_rate(learning_rate),
    )
