"""Prodigy: Adam with a learning rate that grows with an estimate of the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count, ratio, root, widest
from jaxnn.optim._checks import check_decay, check_number, check_params, check_positive, check_real
from jaxnn.optim._learning_rate import LearningRate, at
from jaxnn.optim._moments import average_square
from jaxnn.optim._norms import inner_product, total
from jaxnn.optim._parameters import copied, difference, narrowest
from jaxnn.typing import Array, Scalar


class ProdigyState(NamedTuple):
    """State of `prodigy`."""

    exp_avg: Any  # m, like the parameters
    exp_avg_sq: Any  # v, like the parameters
    grad_sum: Any  # s, like the parameters
    params0: Any  # p_0, like the parameters
    estim_lr: Array  # d, shape (), in the narrowest dtype of the parameters
    numerator_weighted: Array  # r, as d
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name


def prodigy(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    beta3: Scalar | None = None,
    eps: Scalar = 1e-8,
    estim_lr0: Scalar = 1e-6,
    estim_lr_coef: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    safeguard_warmup: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam of d g with the rate l = d learning_rate sqrt(1 - b2^t) / (1 - b1^t), where d is found on the way.

    m <- b1 m + (1 - b1) d g, v <- b2 v + (1 - b2) (d g)^2,
    r <- b3 r + d / d_0 l <g, p_0 - p>, s <- b3 s + l / d_0 d g,
    d <- max(d, estim_lr_coef r / |s|_1), p <- p - l m / (sqrt(v) + d eps) - weight_decay l p,
    where all but the last d are those from before the step.

    Args:
        learning_rate: A factor of d; a number, a tracer or a schedule. Recommended are 1, or a fall from it to 0.
        betas: b1 and b2, the decays of the mean and of the square.
        beta3: b3, the decay of r and s; sqrt(b2) if `None`.
        eps: Keeps the divisor from 0. Without it what has had no gradient stays; in optax it becomes NaN.
        estim_lr0: d_0, the first d: below what is right, for d only grows.
        estim_lr_coef: A factor of what d is taken to be.
        weight_decay: Multiplied by l, as in AdamW.
        safeguard_warmup: Whether s <- b3 s + d / d_0 d g, without the rate, so that small ones at the start of a
            warm-up do not make r / |s|_1 large.

    Raises:
        ValueError: A decay is a number that is not from 0 to below 1, `estim_lr0` one that is not above 0, or another
            argument one below 0; or `update` is called without parameters.

    >>> optimizer, x = prodigy(estim_lr0=0.5), jnp.array(2.0)
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> updates.round(3), state.estim_lr
    (Array(-0.5, dtype=float32), Array(0.5, dtype=float32))

    While all gradients are 0 there is nothing to estimate, and d stays; in optax it becomes NaN.

    Source: Mishchenko and Defazio, "Prodigy: an expeditiously adaptive parameter-free learner" (2023).
    """
    try:
        b1, b2 = betas
    except (TypeError, ValueError):
        raise ValueError(f"expected betas to be two numbers, because there are two means; got {betas!r}") from None
    check_decay("a mean must forget", b1=b1, b2=b2, beta3=beta3)
    check_positive("estimates grow from it", estim_lr0=estim_lr0)
    check_number("it is a factor of the length of steps", learning_rate=learning_rate, estim_lr_coef=estim_lr_coef)
    check_number("it keeps a divisor from 0", eps=eps)
    check_number("weights fade and do not grow", weight_decay=weight_decay)

    def init(params):
        dtype = narrowest(params)
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        return ProdigyState(zeros(), zeros(), zeros(), copied(params), jnp.asarray(estim_lr0, dtype),
                            jnp.zeros((), dtype), jnp.zeros((), jnp.int32))  # fmt: skip

    def update(updates, state, params=None, **extra):
        del extra
        check_params(params, "the distance from the first ones is estimated")
        check_real(updates)
        t = next_count(state.count)
        downhill = inner_product(updates, difference(state.params0, params))
        wide = widest(state.estim_lr, downhill)
        d, r, downhill = (a.astype(wide) for a in (state.estim_lr, state.numerator_weighted, downhill))
        beta1, beta2, d0, epsilon, decay = (jnp.asarray(a, wide) for a in (b1, b2, estim_lr0, eps, weight_decay))
        b3 = root(beta2) if beta3 is None else jnp.asarray(beta3, wide)

        started = t.astype(wide)
        rate = d * jnp.asarray(at(learning_rate, state.count), wide) * (root(1 - beta2**started) / (1 - beta1**started))
        scaled = jax.tree.map(lambda g: d * g.astype(wide), updates)
        m = jax.tree.map(lambda m, dg: average(m, dg, b1), state.exp_avg, scaled)
        v = jax.tree.map(lambda v, dg: average_square(v, dg, b2), state.exp_avg_sq, scaled)
        weight = (d if safeguard_warmup else rate) / d0
        s = jax.tree.map(lambda s, dg: b3 * s.astype(wide) + weight * dg, state.grad_sum, scaled)
        r = b3 * r + d / d0 * rate * downhill
        d = jnp.maximum(d, ratio(jnp.asarray(estim_lr_coef, wide) * r, total(s).astype(wide)))

        def step(m, v, p, g):
            direction = ratio(m.astype(wide), root(v.astype(wide)) + d * epsilon)
            return (-decay * rate * p.astype(wide) - rate * direction).astype(g.dtype)

        state = ProdigyState(
            cast_like(m, state.exp_avg), cast_like(v, state.exp_avg_sq), cast_like(s, state.grad_sum), state.params0,
            d.astype(state.estim_lr.dtype), r.astype(state.numerator_weighted.dtype), t,
        )  # fmt: skip
        return jax.tree.map(step, m, v, params, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
