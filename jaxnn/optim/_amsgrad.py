"""AMSGrad: Adam whose divisor never falls."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square, over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype


class ScaleByAmsgradState(NamedTuple):
    """State of `scale_by_amsgrad`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # v, like the parameters
    nu_max: Any  # the largest v^ so far, like the parameters


def scale_by_amsgrad(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Optimizer:
    """Divide a running mean of gradients by the root of the largest running square that there was so far.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, m^ = m / (1 - b1^t), v^ = v / (1 - b2^t), t from 1,
    v_max <- max(v_max, v^), direction = m^ / (sqrt(v_max + eps_root) + eps).

    The maximum is of v^. Keras's and PyTorch's is of v itself, and is corrected afterwards, sqrt(v_max / (1 - b2^t)),
    so that there the divisor may fall while the correction does. The paper corrects nothing.

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2.
        eps: Added outside the root, as in PyTorch; Keras's default is 1e-7, on the root of the uncorrected v_max.
        eps_root: Added inside the root.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        bias_correction_mu: Whether m^ is m corrected for its start, or m, as in the paper.
        bias_correction_nu: Whether v^ is v corrected for its start, or v, as in the paper.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` or `eps_root` one below 0.

    >>> t = scale_by_amsgrad()
    >>> _, state = t.update(jnp.array(4.0), t.init(jnp.array(2.0)))
    >>> t.update(jnp.array(0.0), state)[1].nu_max
    Array(16., dtype=float32)

    Source: Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (2018).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        nu, nu_max = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return ScaleByAmsgradState(jnp.zeros((), jnp.int32), mu, nu, nu_max)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)
        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: average_square(v, g, b2), state.nu, updates)

        def largest(v_max, v):
            return jnp.maximum(v_max.astype(v.dtype), corrected(v, b2, t) if bias_correction_nu else v)

        def direction(m, v_max, g):
            wide = accumulator_dtype(g.dtype)
            m, v_max = m.astype(wide), v_max.astype(wide)
            m_hat = corrected(m, b1, t) if bias_correction_mu else m
            return over_root(m_hat, v_max, eps, eps_root).astype(g.dtype)

        nu_max = jax.tree.map(largest, state.nu_max, nu)
        return jax.tree.map(direction, mu, nu_max, updates), ScaleByAmsgradState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu), cast_like(nu_max, state.nu_max)
        )

    return optax.GradientTransformation(init, update)


def amsgrad(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Optimizer:
    """AMSGrad, p <- p - learning_rate m^ / (sqrt(v_max + eps_root) + eps); see `scale_by_amsgrad` for m^ and v_max.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        bias_correction_mu: Whether the mean is corrected for its start; not in the paper.
        bias_correction_nu: Whether squares are corrected for their start before the maximum is taken; not in the
            paper, and in Keras and PyTorch after it.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `learning_rate`, `eps` or `eps_root`
            one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = amsgrad(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (2018).
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )
