"""RAdam: Adam that divides by a root only when enough gradients were seen to know it."""

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import ScaleByAdamState
from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, root
from jaxnn.optim._checks import check_decay, check_number, check_range
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square, mean_ahead, over_root
from jaxnn.optim._norms import number_dtype
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype


def scale_by_radam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    threshold: Scalar = 5.0,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Move as Adam does, times r, where the running square is of enough gradients, and along their mean before.

    rho_inf = 2 / (1 - b2) - 1, rho = rho_inf - 2 t b2^t / (1 - b2^t), the number of gradients that the square is of,
    r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)), m^ and v^ as in Adam, t from 1,
    direction = r m^ / (sqrt(v^ + eps_root) + eps) where rho >= threshold, and m^ otherwise.

    rho is a difference of numbers that are large at a b2 close to 1, and taken as written, as optax takes it, loses
    nearly all digits in float32: with a b2 of 0.9999 it is off by more than 1, and steps are rectified before they
    are due. Here it is right to five digits.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2. With 2 / 3 or less, rho never comes to 5.
        eps: Added outside the root; PyTorch adds it to the root of the uncorrected square.
        eps_root: Added inside the root.
        threshold: The least rho at which to divide; PyTorch's is just above 5. A tracer below 4 makes r 0 where
            rho is below 4, down to 2.
        nesterov: Whether m^ looks ahead, as in `scale_by_adam`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, `eps` or `eps_root` one below 0, or
            `threshold` one below 4.

    >>> t = scale_by_radam()
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(4., dtype=float32)

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond" (2020).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)
    check_range("of 4 or more", lambda x: x >= 4, "of so few gradients no variance is known", threshold=threshold)

    def init(params):
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)

        def direction(m, v, g):
            wide = accumulator_dtype(g.dtype)
            m, v = m.astype(wide), v.astype(wide)
            real = number_dtype(m)
            rho, rho_inf = _gradients_seen(jnp.asarray(b2, real), t.astype(real))
            rectified = rho >= jnp.asarray(threshold, real)
            limit = jnp.where(rectified, (rho_inf - 4) * (rho_inf - 2) * rho, 1)
            r = root((rho - 4) * (rho - 2) * rho_inf / limit).astype(wide)
            m_hat = mean_ahead(m, g, b1, t, nesterov)
            return jnp.where(rectified, r * over_root(m_hat, corrected(v, b2, t), eps, eps_root), m_hat).astype(g.dtype)

        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: average_square(v, g, b2), state.nu, updates)
        return jax.tree.map(direction, mu, nu, updates), ScaleByAdamState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def radam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    threshold: Scalar = 5.0,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """RAdam, p <- p - learning_rate r m^ / (sqrt(v^) + eps), and p - learning_rate m^ in the first steps.

    With the defaults these are five. See `scale_by_radam` for r, m^ and v^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        eps_root: Added inside the root.
        threshold: How many gradients the square must be of before it divides.
        nesterov: Whether the mean looks ahead by one step.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, `threshold` one below 4, or another
            argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = radam(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.4, dtype=float32)

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond" (2020).
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


def _gradients_seen(b2: Array, t: Array) -> tuple[Array, Array]:
    """Return rho and rho_inf, without the difference of two large numbers that rho is for a b2 close to 1.

    With b2 = e^-x, 1 / (1 - b2) is 1/x plus something of the order of 1, and t b2^t / (1 - b2^t) is the same 1/x less
    something of the order of t: so only what is left of each is subtracted.
    """
    x = -jnp.log1p(jnp.maximum(b2, jnp.finfo(b2.dtype).tiny) - 1)
    return 1 + 2 * (t * _beyond(t * x) - _beyond(x)), 2 / (1 - b2) - 1


def _beyond(y: Array) -> Array:
    """1/y - 1/(e^y - 1), by its series where that would cancel."""
    small, large = jnp.minimum(y, 0.1), jnp.maximum(y, 0.1)
    series = 1 / 2 - small / 12 + small**3 / 720 - small**5 / 30240 + small**7 / 1209600
    return jnp.where(y < 0.1, series, 1 / large + jnp.exp(-large) / jnp.expm1(-large))
