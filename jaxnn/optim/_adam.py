"""Adam: a running mean of gradients over the root of their running square."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square, mean_ahead, over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class ScaleByAdamState(NamedTuple):
    """State of `scale_by_adam`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # v, like the parameters


def scale_by_adam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Divide a running mean of gradients by the root of their running square, both corrected for their start.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, m^ = m / (1 - b1^t), v^ = v / (1 - b2^t), t from 1,
    direction = m^ / (sqrt(v^ + eps_root) + eps).

    Args:
        b1: Decay of the mean, beta_1.
        b2: Decay of the square, beta_2.
        eps: Added outside the root, as in the paper and PyTorch; Keras's default is 1e-7, on sqrt(v). With 0,
            gradients that were always 0 give NaN.
        eps_root: Added inside the root; 0 in the paper. The gradient through a root of 0 is taken as 0
            here, so that hypergradients are finite without it.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        nesterov: Use b1 m_(t) / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t) for m^, with constant b1.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `eps` or `eps_root` one below 0.

    >>> t = scale_by_adam()
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(1., dtype=float32)

    Source: Kingma and Ba, "Adam" (2015); Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        nu = jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        del params
        t = next_count(state.count)
        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: average_square(v, g, b2), state.nu, updates)

        def direction(m, v, g):
            wide = accumulator_dtype(g.dtype)
            m_hat, v_hat = mean_ahead(m.astype(wide), g, b1, t, nesterov), corrected(v.astype(wide), b2, t)
            return over_root(m_hat, v_hat, eps, eps_root).astype(g.dtype)

        return jax.tree.map(direction, mu, nu, updates), ScaleByAdamState(
            t, cast_like(mu, state.mu), cast_like(nu, state.nu)
        )

    return optax.GradientTransformation(init, update)


def adam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Adam, p <- p - learning_rate m^ / (sqrt(v^ + eps_root) + eps); see `scale_by_adam` for m^ and v^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. With 0, gradients that were always 0 give NaN.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether to look ahead, which makes it `nadam`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `learning_rate`, `eps` or `eps_root`
            one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adam(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


def adamw(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: Scalar | Schedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Adam with decoupled weight decay, p <- p - learning_rate (m^ / (sqrt(v^) + eps) + weight_decay p).

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. With 0, gradients that were always 0 give NaN.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate, unlike in the paper.
            PyTorch's default is 1e-2, Keras's 4e-3.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        nesterov: Whether to look ahead, which makes it `nadamw`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adamw(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def nadam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Optimizer:
    """Nadam, which is `adam` with b1 m_t / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t) for its corrected mean.

    No gradient ahead is taken: the mean is about what it would be after one more step. Keras and PyTorch let b1 grow,
    b1 (1 - 0.5 0.96^t) and b1 (1 - 0.5 0.96^(0.004 t)), and take other paths.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients, the same at every step.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. With 0, gradients that were always 0 give NaN.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether to look ahead; otherwise it is `adam`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or `learning_rate`, `eps` or `eps_root`
            one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = nadam(0.1), jnp.array(2.0)
    >>> f"{optimizer.update(2 * x, optimizer.init(x), x)[0]:.4f}"
    '-0.1474'

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


def nadamw(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: Scalar | Schedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
) -> Optimizer:
    """`nadam` with decoupled weight decay, which is `adamw` with the mean of `nadam`.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients, the same at every step.
        b2: Decay of the mean of squared gradients.
        eps: Added outside the root. With 0, gradients that were always 0 give NaN.
        eps_root: Added inside the root.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        nesterov: Whether to look ahead; otherwise it is `adamw`.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = nadamw(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> f"{optimizer.update(2 * x, optimizer.init(x), x)[0]:.4f}"
    '-0.2474'

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (2016); Loshchilov and Hutter, "Decoupled weight decay
    regularization" (2019).
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)
