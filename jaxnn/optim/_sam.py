"""Sharpness-aware minimization: gradients where the loss nearby is highest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import chosen, ratio, widest
from jaxnn.optim._checks import check_count, check_params, known_count
from jaxnn.optim._combining import apply_updates
from jaxnn.optim._norms import global_norm
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import copied
from jaxnn.typing import Array, Scalar

NormalizeState = optax.EmptyState


def normalize() -> Optimizer:
    """Divide gradients by their norm over all leaves, g / |g|; 0 stays 0, where optax returns NaN.

    >>> t = normalize()
    >>> t.update(jnp.array([3.0, -4.0]), t.init(None))[0]
    Array([ 0.6, -0.8], dtype=float32)
    """

    def update(updates, state, params=None):
        del params
        norm = global_norm(updates)

        def unit(g):
            wide = widest(g, norm)
            return ratio(g.astype(wide), norm.astype(wide)).astype(g.dtype)

        return jax.tree.map(unit, updates), state

    return optax.GradientTransformation(lambda params: NormalizeState(), update)


class SAMState(NamedTuple):
    """State of `sam`."""

    steps_since_sync: Array  # climbed since the last descent, shape (), int32
    opt_state: Any
    adv_state: Any
    cache: Any  # p, where the climb began, like the parameters; None in opaque mode


def sam(
    optimizer: Optimizer,
    adv_optimizer: Optimizer,
    sync_period: Scalar = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Climb for sync_period - 1 steps, take the gradient there, and descend with it from where the climb began.

    q <- p, q <- q - a(grad f(q)) for each step up, where a is what the adversarial optimizer would descend by, then
    p <- p + u(grad f(q)). Of the paper is `sam(sgd(rate), chain(normalize(), sgd(rho)))`: rho is how far to climb.

    Plainly, each call of `update` is one step, up or down, and the parameters are at q in between: every
    `sync_period`-th call they are at p again, and are to be evaluated only then. In opaque mode each call is all
    steps, and the parameters are always at p: for models with running statistics, which must not see q.

    Args:
        optimizer: That descends.
        adv_optimizer: That climbs: its descent, turned round.
        sync_period: How many gradients there are to one step down; with 1 there is no climb. In opaque mode no tracer.
        reset_state: Whether each climb begins with a new state; else the one before the last step is kept, as in optax.
        opaque_mode: Whether one call is all steps. `update(grads, state, params, grad_fn=...)` then needs a function of
            parameters q and the number i of the step up, from 0, that returns gradients.
        batch_axis_name: Of a mapped axis over which the gradients of `grad_fn` are averaged; in opaque mode only.

    Raises:
        ValueError: `sync_period` is below 1 or not whole, or `update` is called without parameters or, in opaque mode,
            without `grad_fn`.

    >>> import jax
    >>> from jaxnn.optim import apply_updates, chain, sgd
    >>> optimizer, x = sam(sgd(0.5), chain(normalize(), sgd(1.0))), jnp.array(2.0)
    >>> state = optimizer.init(x)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(jax.grad(lambda x: x**2)(x), state, x)
    ...     x = apply_updates(x, updates)
    ...     print(x)
    3.0
    -1.0

    In optax, plain steps with a `sync_period` of 1 take each step back again at the next one, and other extra
    arguments are refused; here they go to both optimizers.

    Source: Foret, Kleiner, Mobahi and Neyshabur, "Sharpness-aware minimization for efficiently improving
    generalization" (2021).
    """
    check_count("its last step descends", sync_period=sync_period)
    calls = known_count("its steps are unrolled", sync_period=sync_period) if opaque_mode else 1
    outer, inner = optax.with_extra_args_support(optimizer), optax.with_extra_args_support(adv_optimizer)

    def init(params):
        cache = None if opaque_mode else copied(params)
        return SAMState(jnp.zeros((), jnp.int32), outer.init(params), inner.init(params), cache)

    def one_step(updates, state, params: Any = None, *, grad_fn=None, **extra):
        del grad_fn
        check_params(params, "they are brought back to where the climb began")
        count = state.steps_since_sync
        period = jnp.asarray(sync_period, count.dtype)
        first, last = count == 0, count == period - 1
        cache = chosen(first, params, state.cache)
        up, adv_state = inner.update(updates, state.adv_state, params, **extra)
        down, opt_state = outer.update(updates, state.opt_state, cache, **extra)
        back = jax.tree.map(lambda c, p, u: c.astype(u.dtype) - p.astype(u.dtype) + u, cache, params, down)
        return chosen(last, back, jax.tree.map(jnp.negative, up)), SAMState(
            (count + 1) % period,
            chosen(last, opt_state, state.opt_state),
            chosen(last, inner.init(params) if reset_state else state.adv_state, adv_state),
            cache,
        )

    def all_steps(updates, state, params: Any = None, *, grad_fn: Callable[[Any, int], Any] | None = None, **extra):
        check_params(params, "the climb begins there")
        if grad_fn is None:
            raise ValueError("expected grad_fn, because in opaque mode gradients are taken within the step; got None: "
                             "call update(updates, state, params, grad_fn=lambda params, i: ...)")  # fmt: skip
        grads, q, adv_state = updates, params, state.adv_state
        for i in range(calls - 1):
            up, adv_state = inner.update(grads, adv_state, q, **extra)
            q = apply_updates(q, jax.tree.map(jnp.negative, up))
            grads = grad_fn(q, i)
            if batch_axis_name is not None:
                grads = jax.lax.pmean(grads, batch_axis_name)
        down, opt_state = outer.update(grads, state.opt_state, params, **extra)
        adv_state = inner.init(params) if reset_state else adv_state
        return down, SAMState(jnp.zeros((), jnp.int32), opt_state, adv_state, None)

    return optax.GradientTransformationExtraArgs(init, all_steps if opaque_mode else one_step)
