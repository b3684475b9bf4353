"""Yogi: Adam whose running square moves by as much as the squared gradient, however far it is from it."""

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import ScaleByAdamState
from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, squared, widest
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar, accumulator_dtype


def scale_by_yogi(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-3,
    eps_root: Scalar = 0.0,
    initial_accumulator_value: Scalar = 1e-6,
) -> Optimizer:
    """Divide a running mean of gradients by the root of a square that moves towards theirs at the pace of g^2.

    m <- b1 m + (1 - b1) g, v <- v - (1 - b2) sign(v - g^2) g^2, both corrected for their start as in Adam,
    direction = m^ / (sqrt(v^ + eps_root) + eps). Adam moves v by (1 - b2) (v - g^2), which is more where v is the
    larger: small gradients then make v fall, and the steps grow, slower here than there.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2.
        eps: Added outside the root.
        eps_root: Added inside the root.
        initial_accumulator_value: Of m and of v before the first step, so that parameters whose gradient is 0 move too.
            The correction for the start takes it as if it were 0.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> t = scale_by_yogi(b1=0.5, b2=0.5, eps=0.0, initial_accumulator_value=0.0)
    >>> _, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> state.nu, t.update(jnp.array(2.0), state)[1].nu
    (Array(8., dtype=float32), Array(6., dtype=float32))

    Source: Zaheer et al., "Adaptive methods for nonconvex optimization" (2018).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)
    check_number("it is a mean of squares", initial_accumulator_value=initial_accumulator_value)

    def init(params):
        start = lambda p: jnp.full_like(p, jnp.asarray(initial_accumulator_value, p.dtype))
        mu, nu = (jax.tree.map(start, params) for _ in range(2))
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)

        def square(v, g):
            wide = widest(v, g)
            v, square = v.astype(wide), squared(g.astype(wide))
            return v - (1 - jnp.asarray(b2, wide)) * jnp.sign(v - square) * square

        def direction(m, v, g):
            wide = accumulator_dtype(g.dtype)
            m_hat, v_hat = corrected(m.astype(wide), b1, t), corrected(v.astype(wide), b2, t)
            return over_root(m_hat, v_hat, eps, eps_root).astype(g.dtype)

        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(square, state.nu, updates)
        return jax.tree.map(direction, mu, nu, updates), ScaleByAdamState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def yogi(learning_rate: LearningRate, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-3) -> Optimizer:
    """Yogi, p <- p - learning_rate m^ / (sqrt(v^) + eps), v <- v - (1 - b2) sign(v - g^2) g^2; m and v begin at 1e-6.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the square.
        eps: Added outside the root; much larger than Adam's, as in the paper.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = yogi(0.1), jnp.array(2.0)
    >>> f"{optimizer.update(2 * x, optimizer.init(x), x)[0]:.5f}"
    '-0.09997'

    Source: Zaheer et al., "Adaptive methods for nonconvex optimization" (2018).
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))
