"""SM3: the adaptivity of AdaGrad with one number for each row and each column."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, ratio, root
from jaxnn.optim._checks import check_decay, check_number, check_part, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, accumulator_dtype


class ScaleBySM3State(NamedTuple):
    """State of `scale_by_sm3`."""

    mu: Any  # for each leaf a list of vectors, one as long as each axis; of a scalar one scalar
    nu: Any  # m, like the parameters


def scale_by_sm3(b1: Scalar = 0.9, b2: Scalar = 1.0, eps: Scalar = 1e-8) -> Optimizer:
    """Divide by the root of a bound on the sum of squares, kept as one number for each index of each axis.

    With mu_r[i] for row i and mu_c[j] for column j (and so on for more axes),
    v[i, j] = min(mu_r[i], mu_c[j]) + g[i, j]^2, mu_r[i] <- max_j v[i, j], mu_c[j] <- max_i v[i, j],
    m <- b1 m + (1 - b1) g / sqrt(v + eps), with g / sqrt(v + eps) taken as 0 where v is; the direction is m.
    v is no less than the sum of squares that AdaGrad keeps; of a vector or a scalar it is that sum.

    Args:
        b1: Decay of m. It is not corrected for its start from 0.
        b2: Of v: at 1 squares are summed; below, averaged, v = b2 min(...) + (1 - b2) g^2.
        eps: Added inside the root.

    Raises:
        ValueError: `b1` is a number that is not from 0 to below 1, `b2` one that is not from 0 to 1, or `eps` one
            below 0. optax cannot take scalar parameters or axes without numbers; here they pass.

    >>> t = scale_by_sm3(b1=0.0)
    >>> updates, state = t.update(jnp.array([[3.0, 4.0]]), t.init(jnp.zeros((1, 2))))
    >>> updates, state.mu
    (Array([[1., 1.]], dtype=float32), [Array([16.], dtype=float32), Array([ 9., 16.], dtype=float32)])

    Source: Anil et al., "Memory-efficient adaptive optimization" (2019), algorithm SM3-II.
    """
    check_decay("a mean must forget", b1=b1)
    check_number("it keeps a divisor from 0", eps=eps)
    check_part("squares are averaged below 1 and summed at it", b2=b2)

    def init(params):
        zeros = lambda p: [jnp.zeros((n,), p.dtype) for n in p.shape] or [jnp.zeros_like(p)]
        return ScaleBySM3State(jax.tree.map(zeros, params), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        check_real(updates)

        def accumulate(g, mu):
            wide = accumulator_dtype(g.dtype)
            decay = jnp.asarray(b2, wide)
            bound = functools.reduce(jnp.minimum, [_along(a.astype(wide), axis, g.ndim) for axis, a in enumerate(mu)])
            return decay * bound + jnp.where(decay == 1, 1, 1 - decay) * jnp.square(g.astype(wide))

        def direction(g, v):
            divisor = jnp.where(v == 0, 0, root(v + jnp.asarray(eps, v.dtype)))
            return ratio(g.astype(v.dtype), divisor)

        v = jax.tree.map(accumulate, updates, state.mu)
        m = jax.tree.map(lambda m, g, v: average(m, direction(g, v), b1), state.nu, updates, v)
        mu = jax.tree.map(lambda v, mu: [_largest(v, axis).astype(a.dtype) for axis, a in enumerate(mu)], v, state.mu)
        return cast_like(m, updates), ScaleBySM3State(mu, cast_like(m, state.nu))

    return optax.GradientTransformation(init, update)


def sm3(learning_rate: LearningRate, momentum: Scalar = 0.9) -> Optimizer:
    """SM3, p <- p - learning_rate m, m a running mean of g / sqrt(v + 1e-8); see `scale_by_sm3` for v.

    Args:
        learning_rate: A number, a tracer or, unlike in optax, a schedule.
        momentum: Decay of m.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `momentum` one that is not from 0 to below 1.

    >>> optimizer, x = sm3(0.1, momentum=0.0), jnp.array([[2.0, 1.0]])
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array([[-0.1, -0.1]], dtype=float32)

    Source: Anil et al., "Memory-efficient adaptive optimization" (2019).
    """
    check_decay("a mean must forget", momentum=momentum)
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))


def _along(a: Array, axis: int, ndim: int) -> Array:
    return a.reshape([-1 if i == axis else 1 for i in range(ndim)]) if a.size else jnp.zeros([1] * ndim, a.dtype)


def _largest(v: Array, axis: int) -> Array:
    if not v.size:
        return jnp.zeros(v.shape[axis], v.dtype)
    return v.max(tuple(i for i in range(v.ndim) if i != axis))
