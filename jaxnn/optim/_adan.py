"""Adan: running means of gradients, of their differences, and of the squares of both."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, squared, widest
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import over_root
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule


class ScaleByAdanState(NamedTuple):
    """State of `scale_by_adan`."""

    m: Any  # mean of gradients, like the parameters
    v: Any  # mean of their differences, like the parameters
    n: Any  # mean of squares, like the parameters
    g: Any  # the gradient of the last step, like the parameters
    t: Array  # shape (), int32


def scale_by_adan(
    b1: Scalar = 0.98,
    b2: Scalar = 0.92,
    b3: Scalar = 0.99,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
) -> Optimizer:
    """Look ahead by the mean difference of gradients, and divide by the root of the mean square of what that gives.

    d = g - g_last, and 0 at the first step, m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) d,
    n <- b3 n + (1 - b3) (g + (1 - b2) d)^2, each corrected for its start as in Adam,
    direction = (m^ + (1 - b2) v^) / (sqrt(n^ + eps_root) + eps).

    As in optax, both factors before d and v^ are 1 - b2. The authors' are b2, which makes them look ahead by 0.92
    differences rather than 0.08: the paper writes 1 - beta_2 too, but there beta_2 is what is 1 - b2 here.

    Args:
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of differences; 1 - b2 is also by how many of them to look ahead.
        b3: Decay of the mean of squares.
        eps: Added outside the root.
        eps_root: Added inside the root; 0 here and 1e-8 in `adan`, as in optax.

    Raises:
        ValueError: `b1`, `b2` or `b3` is a number that is not from 0 to below 1, or `eps` or `eps_root` one below 0.

    >>> t = scale_by_adan()
    >>> t.update(jnp.array(4.0), t.init(jnp.array(2.0)))[0]
    Array(1., dtype=float32)

    Source: Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models" (2022).
    """
    check_decay("a mean must forget", b1=b1, b2=b2, b3=b3)
    check_number("it keeps a divisor from 0", eps=eps, eps_root=eps_root)

    def init(params):
        m, v, n, g = (jax.tree.map(jnp.zeros_like, params) for _ in range(4))
        return ScaleByAdanState(m, v, n, g, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        t = next_count(state.t)

        def difference(g, last):
            wide = widest(g, last)
            return jnp.where(state.t == 0, 0, g.astype(wide) - last.astype(wide))

        def ahead(g, d):
            return g.astype(d.dtype) + (1 - jnp.asarray(b2, d.dtype)) * d

        def direction(m, v, n):
            m_hat, v_hat, n_hat = corrected(m, b1, t), corrected(v, b2, t), corrected(n, b3, t)
            return over_root(ahead(m_hat, v_hat), n_hat, eps, eps_root)

        d = jax.tree.map(difference, updates, state.g)
        m = jax.tree.map(lambda m, g: average(m, g, b1), state.m, updates)
        v = jax.tree.map(lambda v, d: average(v, d, b2), state.v, d)
        n = jax.tree.map(lambda n, g, d: average(n, squared(ahead(g, d)), b3), state.n, updates, d)
        new = (m, v, n, updates)
        m_kept, v_kept, n_kept, g_kept = (cast_like(a, old) for a, old in zip(new, state[:4], strict=True))
        directions = cast_like(jax.tree.map(direction, m, v, n), updates)
        return directions, ScaleByAdanState(m_kept, v_kept, n_kept, g_kept, t)

    return optax.GradientTransformation(init, update)


def adan(
    learning_rate: LearningRate,
    b1: Scalar = 0.98,
    b2: Scalar = 0.92,
    b3: Scalar = 0.99,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
) -> Optimizer:
    """Adan, p <- p - learning_rate ((m^ + (1 - b2) v^) / (sqrt(n^ + eps_root) + eps) + weight_decay p).

    See `scale_by_adan` for m^, v^ and n^.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of differences.
        b3: Decay of the mean of squares.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate. The paper divides by
            1 + learning_rate weight_decay instead.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1`, `b2` or `b3` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = adan(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models" (2022).
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
