"""Mechanic: a factor of the steps of any optimizer that is learnt on the way."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, ratio, root, widest
from jaxnn.optim._checks import check_number, check_params, check_positive, check_real
from jaxnn.optim._norms import global_norm, inner_product
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import copied, narrowest
from jaxnn.typing import Array, Scalar


class MechanicState(NamedTuple):
    """State of `mechanize`; r, m, v and s have shape (num_betas,) and the narrowest dtype of the parameters."""

    base_optimizer_state: Any
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name
    r: Array  # what was won
    m: Array  # the largest |h|, fading
    v: Array  # the sum of h^2, fading
    s: Array  # what the sum of steps is multiplied by, in parts
    x0: Any  # p_0, like the parameters


def mechanize(
    base_optimizer: Optimizer,
    weight_decay: Scalar = 1e-2,
    eps: Scalar = 1e-8,
    s_init: Scalar = 1e-6,
    num_betas: int = 6,
) -> optax.GradientTransformationExtraArgs:
    """Multiply the sum of all steps of an optimizer by a factor s that is learnt, p = p_0 + s D.

    With S = sum(s), D = (p - p_0) / (S + eps) the steps u so far, and g' = g + weight_decay S |g| / (|p| + eps) p:
    h = -<g', D>, and for each beta = 1 - 10^-1, .., 1 - 10^-num_betas
    m' <- max(beta m, |h| + eps), v <- beta^2 v + h^2, r <- beta r + s min(max(h, -m), m), with the m before,
    s <- (s_init / num_betas m' + max(r, 0)) / (sqrt(v) + eps); then p <- p_0 + sum(s) (D + u).

    A schedule of the optimizer remains; what is learnt is its scale, so let its largest value be 1.

    Args:
        base_optimizer: Any but one that makes steps of a given length, as LARS does.
        weight_decay: As of g' above, which is used for s alone; beside any decay of the optimizer.
        eps: Keeps divisors from 0; above 0.
        s_init: The first s.
        num_betas: How many horizons are tried at once.

    Raises:
        ValueError: `eps` or `s_init` is a number that is not above 0, `weight_decay` one below 0, or `num_betas` one
            below 1; or `update` is called without parameters.

    >>> from jaxnn.optim import sgd
    >>> optimizer, x = mechanize(sgd(1.0), s_init=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-2., dtype=float32)

    Source: Cutkosky, Defazio and Mehta, "Mechanic: a learning rate tuner" (2023), with the later clipping of h.
    """
    check_positive("a scale of nothing stays nothing", eps=eps, s_init=s_init)
    check_number("weights fade and do not grow", weight_decay=weight_decay)
    if num_betas < 1:
        raise ValueError(f"expected num_betas of 1 or more, because each is a horizon; got {num_betas}")
    base = optax.with_extra_args_support(base_optimizer)

    def init(params):
        dtype = narrowest(params)
        zeros = lambda: jnp.zeros(num_betas, dtype)
        s = jnp.full(num_betas, jnp.asarray(s_init, dtype))
        return MechanicState(base.init(params), jnp.zeros((), jnp.int32), zeros(), zeros(), zeros(), s, copied(params))

    def update(updates, state, params=None, **extra):
        check_params(params, "the way from the first ones is measured")
        check_real(updates)
        u, base_state = base.update(updates, state.base_optimizer_state, params, **extra)
        wide = widest(state.s, *jax.tree.leaves(updates), *jax.tree.leaves(params))
        r, m, v, s = (a.astype(wide) for a in (state.r, state.m, state.v, state.s))
        epsilon, first, decay = (jnp.asarray(a, wide) for a in (eps, s_init, weight_decay))

        # Parameters that were put in after `init`, from a checkpoint, are the first.
        x0 = jax.tree.map(lambda p, x0: jnp.where(state.count == 0, p.astype(x0.dtype), x0), params, state.x0)
        S = s.sum()
        D = jax.tree.map(lambda p, x0: (p.astype(wide) - x0.astype(wide)) / (S + epsilon), params, x0)
        fade = decay * S * global_norm(updates).astype(wide) / (global_norm(params).astype(wide) + epsilon)
        h = -inner_product(jax.tree.map(lambda g, p: g.astype(wide) + fade * p.astype(wide), updates, params), D)

        beta = jnp.asarray([1 - 0.1**i for i in range(1, num_betas + 1)], wide)
        clipped = jnp.clip(h, -m, m)
        m = jnp.maximum(beta * m, jnp.abs(h) + epsilon)
        v = beta**2 * v + h**2
        r = beta * r + clipped * s
        s = ratio(first / num_betas * m + jnp.maximum(r, 0), root(v) + epsilon)

        def step(x0, D, u, p):
            return (x0.astype(wide) + s.sum() * (D + u.astype(wide)) - p.astype(wide)).astype(u.dtype)

        r, m, v, s_kept = (a.astype(state.s.dtype) for a in (r, m, v, s))
        return jax.tree.map(step, x0, D, u, params), MechanicState(
            base_state, next_count(state.count), r, m, v, s_kept, x0
        )

    return optax.GradientTransformationExtraArgs(init, update)
