"""A loss scale that follows what float16 can hold, in the state of an optimizer."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.errors import is_array, values
from jaxnn.optim._arithmetic import chosen, next_count
from jaxnn.optim._checks import check_at_least_1, check_count, check_positive, check_range
from jaxnn.optim._combining import with_extra_args_support
from jaxnn.optim._masking import MaskedState, PartitionState
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class LossScaleState(NamedTuple):
    """State of `dynamic_loss_scale`."""

    inner_state: Any  # of the optimizer
    loss_scale: Array  # of the next step, shape (), float32
    good_steps: Array  # since it last changed, shape (), int32


def dynamic_loss_scale(
    optimizer: Optimizer,
    initial: Scalar = 2.0**15,
    growth_interval: Scalar = 2000,
    growth_factor: Scalar = 2.0,
    backoff_factor: Scalar = 0.5,
    least: Scalar = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that leaves out steps whose gradients overflowed, and keeps the loss scale below where they do.

    Cotangents in float16 are 0 below 6e-8 and infinite beyond 65504, so they are multiplied by a scale s on the way
    back and divided by it after: a trainer does so with the s of this optimizer's state, and by hand a road does with
    `loss_scale=loss_scale_of(opt_state)`. What `update` gets is divided already. Then

        if a gradient is not finite:    s <- max(backoff s, least), updates of 0, and the optimizer's state stays
        else:                           the optimizer's own step, and after `growth_interval` of them s <- growth s

    The count of steps begins anew whenever s changes, and s that would be infinite stays. This is the rule of PyTorch's
    `GradScaler`, which has no least.

    In a chain, put it round all links that must not see such a gradient, and their state: it is outermost as a rule, of
    averages too, and of `by_name`, for a step is left out as a whole. `apply_if_finite` and `MultiSteps` go round it as
    well, but a `MultiSteps` gathers an infinite gradient.

    Args:
        optimizer: What moves the parameters where gradients are finite.
        initial: s at first.
        growth_interval: After how many good steps in a row s grows.
        growth_factor: By how much.
        backoff_factor: What s is multiplied by after gradients that were not finite.
        least: What s does not fall below.

    Raises:
        ValueError: `initial` or `least` is a number that is not above 0, or `initial` one below `least`;
            `growth_interval` is one below 1 or not whole, `growth_factor` one below 1, or `backoff_factor` one that is
            not between 0 and 1.

    >>> from jaxnn.optim import sgd
    >>> optimizer, p = dynamic_loss_scale(sgd(0.5), initial=8.0), jnp.array([0.0])
    >>> skipped, state = optimizer.update(jnp.array([jnp.inf]), optimizer.init(p), p)
    >>> taken, state = optimizer.update(jnp.array([2.0]), state, p)
    >>> skipped, taken, state.loss_scale
    (Array([0.], dtype=float32), Array([-1.], dtype=float32), Array(4., dtype=float32))

    Source: Micikevicius et al., "Mixed precision training" (2018), section 3.2.
    """
    check_positive("cotangents are multiplied and divided by it", initial=initial, least=least)
    check_count("it counts steps", growth_interval=growth_interval)
    check_at_least_1("the scale must grow", growth_factor=growth_factor)
    check_range("between 0 and 1", lambda x: (x > 0) & (x < 1), "the scale must fall", backoff_factor=backoff_factor)
    floor = values(least)
    if floor is not None:
        check_range(f"of least, {least}, or more", lambda x: x >= floor, "it does not fall below that", initial=initial)
    optimizer = with_extra_args_support(optimizer)

    def init(params):
        return LossScaleState(optimizer.init(params), jnp.array(initial, jnp.float32), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra):
        finite = all_finite(updates)

        # Not even in the branch that is not taken, for its derivative would be NaN. The loss and the gradient are among
        # the extra arguments too.
        def harmless(a):
            inexact = is_array(a) and jnp.issubdtype(a.dtype, jnp.inexact)
            return jnp.where(finite, a, jnp.zeros_like(a)) if inexact else a

        safe, extra = jax.tree.map(harmless, (updates, extra))
        given, inner = optimizer.update(safe, state.inner_state, params, **extra)
        given = jax.tree.map(lambda u: jnp.where(finite, u, jnp.zeros_like(u)), given)

        s = state.loss_scale
        number = lambda n: jnp.asarray(n, s.dtype)
        good = next_count(state.good_steps)
        grows = good >= jnp.asarray(growth_interval, good.dtype)
        larger = s * number(growth_factor)
        kept = jnp.where(grows & jnp.isfinite(larger), larger, s)
        smaller = jnp.maximum(s * number(backoff_factor), number(least))
        return given, LossScaleState(
            chosen(finite, inner, state.inner_state),
            jnp.where(finite, kept, smaller),
            jnp.where(finite & ~grows, good, jnp.zeros_like(good)),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def loss_scale_of(state: Any) -> Array | None:
    """Return the loss scale out of an optimizer's state, wherever in it it stands; `None` if there is none.

    Raises:
        ValueError: There are several.

    >>> from jaxnn.optim import chain, clip, sgd
    >>> optimizer = chain(clip(1.0), dynamic_loss_scale(sgd(0.1), initial=64.0))
    >>> loss_scale_of(optimizer.init(jnp.array([2.0]))), loss_scale_of(sgd(0.1).init(jnp.array([2.0])))
    (Array(64., dtype=float32), None)
    """
    kinds = LossScaleState, MaskedState, PartitionState
    is_found = lambda node: isinstance(node, kinds)
    nodes = [node for node in jax.tree.leaves(state, is_leaf=is_found) if is_found(node)]
    is_scaled = lambda node: isinstance(node, LossScaleState)
    for node in nodes:
        if not is_scaled(node) and any(map(is_scaled, jax.tree.leaves(node, is_leaf=is_scaled))):
            raise ValueError(
                "expected dynamic_loss_scale around the optimizers of all parts, because a step whose gradient is not "
                "finite is to be left out of each; got it in that of one part\n"
                "  hint: dynamic_loss_scale(by_name({...}))"
            )
    found = [node.loss_scale for node in nodes if is_scaled(node)]
    if len(found) > 1:
        raise ValueError(
            f"expected one loss scale, because a step has one backward; got {len(found)}\n"
            "  hint: dynamic_loss_scale goes round the whole optimizer, once"
        )
    return found[0] if found else None


def all_finite(grads: Any) -> Array:
    """Return whether no number of a gradient is infinite or NaN.

    >>> all_finite({"w": jnp.array([1.0, jnp.inf])}), all_finite({})
    (Array(False, dtype=bool), Array(True, dtype=bool))
    """
    each = (jnp.isfinite(g).all() for g in jax.tree.leaves(grads))
    return functools.reduce(jnp.logical_and, each, jnp.array(True))
