"""NovoGrad: gradients over the norm of their layer, with a velocity."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count, widest
from jaxnn.optim._checks import check_decay, check_number, check_params
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, at, scale_by_learning_rate
from jaxnn.optim._moments import over_root
from jaxnn.optim._norms import inner_product
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule


class ScaleByNovogradState(NamedTuple):
    """State of `scale_by_novograd`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # v, shape () for each parameter


def scale_by_novograd(
    b1: Scalar = 0.9,
    b2: Scalar = 0.25,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    weight_decay: Scalar | Schedule = 0.0,
    mu_dtype: Any = None,
) -> Optimizer:
    """Divide each gradient by the root of the running square of its norm, and accumulate a velocity.

    v <- b2 v + (1 - b2) |g|^2, with v = |g|^2 at the first step, one number for each leaf of the parameters,
    m <- b1 m + g / (sqrt(v + eps_root) + eps) + weight_decay p, direction = m. There is no factor 1 - b1, as in
    `trace`, and no memory for squares.

    Args:
        b1: Decay of the velocity, beta_1.
        b2: Decay of the squared norm, beta_2; small, for a norm of many numbers is known well from few steps.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: A number, a tracer or a schedule, called with the count of steps before this one; in optax no
            schedule. What decays passes through the velocity.
        mu_dtype: Dtype of m; that of the parameters if `None`. In optax the direction is rounded to it too.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, another argument one below 0, or `update`
            is called without parameters.

    >>> t, p = scale_by_novograd(), jnp.array([0.0, 0.0])
    >>> t.update(jnp.array([3.0, 4.0]), t.init(p), p)[0]
    Array([0.6, 0.8], dtype=float32)

    Source: Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep
    networks" (2019).
    """
    check_decay("a velocity and a mean must fade", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)
    check_number("weights fade and do not grow", weight_decay=weight_decay)

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        nu = jax.tree.map(lambda p: jnp.zeros((), p.dtype), params)
        return ScaleByNovogradState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        check_params(params, "weights decay in proportion to themselves")
        decay = at(weight_decay, state.count)

        def squared_norm(v, g):
            square = inner_product(g, g)  # not the square of a norm, whose derivative
            v = v.astype(widest(v, square))  # at 0 is NaN
            return jnp.where(state.count == 0, square.astype(v.dtype), average(v, square, b2))

        def velocity(m, v, g, p):
            wide = widest(m, v, g, p)
            m, v, g, p = (a.astype(wide) for a in (m, v, g, p))
            return jnp.asarray(b1, wide) * m + (over_root(g, v, eps, eps_root) + jnp.asarray(decay, wide) * p)

        nu = jax.tree.map(squared_norm, state.nu, updates)
        mu = jax.tree.map(velocity, state.mu, nu, updates, params)
        return cast_like(mu, updates), ScaleByNovogradState(
            next_count(state.count), cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def novograd(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.25,
    eps: Scalar = 1e-6,
    eps_root: Scalar = 0.0,
    weight_decay: Scalar | Schedule = 0.0,
) -> Optimizer:
    """NovoGrad, m <- b1 m + g / (sqrt(v) + eps) + weight_decay p, p <- p - learning_rate m, v that of a layer.

    See `scale_by_novograd` for v.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the velocity.
        b2: Decay of the squared norm.
        eps: Added outside the root; 1e-8 in `scale_by_novograd`, as in optax.
        eps_root: Added inside the root.
        weight_decay: A number, a tracer or a schedule; it passes through the velocity.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, another argument one below 0, or `update`
            is called without parameters.

    >>> import jax.numpy as jnp
    >>> optimizer, x = novograd(0.1, eps=0.0, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep
    networks" (2019).
    """
    return chain(scale_by_novograd(b1, b2, eps, eps_root, weight_decay), scale_by_learning_rate(learning_rate))
