"""D-adaptation: Adam with a learning rate that is a lower bound of the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count, ratio, root, widest
from jaxnn.optim._checks import check_decay, check_number, check_params, check_positive, check_real
from jaxnn.optim._learning_rate import LearningRate, at
from jaxnn.optim._moments import average_square
from jaxnn.optim._norms import inner_product, total
from jaxnn.optim._parameters import narrowest
from jaxnn.typing import Array, Scalar


class DAdaptAdamWState(NamedTuple):
    """State of `dadapt_adamw`."""

    exp_avg: Any  # m, like the parameters
    exp_avg_sq: Any  # v, like the parameters
    grad_sum: Any  # s, like the parameters
    estim_lr: Array  # d, shape (), in the narrowest dtype of the parameters
    numerator_weighted: Array  # r, as d
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name


def dadapt_adamw(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    estim_lr0: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """AdamW with the rate l = d learning_rate sqrt(1 - b2^t) / (1 - b1^t), where d is found on the way.

    With c = sqrt(b2): r <- c r + (1 - c) l <g, s / (sqrt(v) + eps)>, of s and v from before the step,
    m <- b1 m + (1 - b1) l g, v <- b2 v + (1 - b2) g^2, s <- c s + (1 - c) l g,
    d <- max(d, r / ((1 - c) |s|_1)), p <- p - m / (sqrt(v) + eps) - weight_decay l p.

    Args:
        learning_rate: A factor of d; a number, a tracer or a schedule. Recommended are 1, or a fall from it to 0.
        betas: b1 and b2, the decays of the mean and of the square.
        eps: Keeps the divisor from 0. Without it what has had no gradient stays; in optax it becomes NaN.
        estim_lr0: The first d: below what is right, for d only grows.
        weight_decay: Multiplied by l, as in AdamW.

    Raises:
        ValueError: A decay is a number that is not from 0 to below 1, `estim_lr0` one that is not above 0, or another
            argument one below 0; or `update` is called without parameters.

    >>> optimizer, x = dadapt_adamw(estim_lr0=0.5), jnp.array(2.0)
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> updates.round(3), state.estim_lr
    (Array(-0.5, dtype=float32), Array(0.5, dtype=float32))

    While all gradients are 0 there is nothing to estimate, and d stays; in optax it becomes NaN.

    Source: Defazio and Mishchenko, "Learning-rate-free learning by D-adaptation" (2023).
    """
    b1, b2 = betas
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_positive("estimates grow from it", estim_lr0=estim_lr0)
    check_number("it is a factor of the length of steps", learning_rate=learning_rate)
    check_number("it keeps a divisor from 0", eps=eps)
    check_number("weights fade and do not grow", weight_decay=weight_decay)

    def init(params):
        dtype = narrowest(params)
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        return DAdaptAdamWState(zeros(), zeros(), zeros(), jnp.asarray(estim_lr0, dtype), jnp.zeros((), dtype),
                                jnp.zeros((), jnp.int32))  # fmt: skip

    def update(updates, state, params=None, **extra):
        del extra
        check_params(params, "weights decay in proportion to themselves")
        check_real(updates)
        t = next_count(state.count)
        wide = widest(state.estim_lr, *jax.tree.leaves(updates), *jax.tree.leaves(params))
        d, r = state.estim_lr.astype(wide), state.numerator_weighted.astype(wide)
        beta1, beta2, epsilon, decay = (jnp.asarray(a, wide) for a in (b1, b2, eps, weight_decay))
        c = root(beta2)

        started = t.astype(wide)
        rate = d * jnp.asarray(at(learning_rate, state.count), wide) * (root(1 - beta2**started) / (1 - beta1**started))
        over = lambda a, v: ratio(a.astype(wide), root(v.astype(wide)) + epsilon)
        downhill = inner_product(updates, jax.tree.map(over, state.grad_sum, state.exp_avg_sq))
        scaled = jax.tree.map(lambda g: rate * g.astype(wide), updates)
        m = jax.tree.map(lambda m, lg: average(m, lg, b1), state.exp_avg, scaled)
        v = jax.tree.map(lambda v, g: average_square(v, g, b2), state.exp_avg_sq, updates)
        s = jax.tree.map(lambda s, lg: average(s, lg, c), state.grad_sum, scaled)
        r = c * r + (1 - c) * rate * downhill.astype(wide)
        d = jnp.maximum(d, ratio(r, (1 - c) * total(s).astype(wide)))

        step = lambda m, v, p, g: (-decay * rate * p.astype(wide) - over(m, v)).astype(g.dtype)
        state = DAdaptAdamWState(
            cast_like(m, state.exp_avg), cast_like(v, state.exp_avg_sq), cast_like(s, state.grad_sum),
            d.astype(state.estim_lr.dtype), r.astype(state.numerator_weighted.dtype), t,
        )  # fmt: skip
        return jax.tree.map(step, m, v, params, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
