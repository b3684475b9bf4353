"""Lookahead: fast parameters that run ahead, and slow ones that follow a part of the way.

`lookahead` has optax's contract, whose parameters are the pair of both; `with_lookahead` keeps the slow ones in its
state, so that its parameters are a model's and a trainer takes it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import with_extra_args_support

from jaxnn.optim._apply_updates import apply_updates
from jaxnn.optim._arithmetic import widest
from jaxnn.optim._checks import check_count, check_params, check_part
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import copied
from jaxnn.typing import Array, Scalar


class LookaheadParams(NamedTuple):
    """Both sets of parameters; what `lookahead` takes for params and returns updates of.

    >>> LookaheadParams.init_synced({"w": jnp.array([1.0])}).slow
    {'w': Array([1.], dtype=float32)}
    """

    fast: Any  # the gradients are those at these
    slow: Any  # these are for inference

    @classmethod
    def init_synced(cls, params: Any) -> "LookaheadParams":
        """Return a pair that begins with the same parameters."""
        return cls(params, params)


class LookaheadState(NamedTuple):
    """State of `lookahead`."""

    fast_state: Any  # of the fast optimizer
    steps_since_sync: Array  # shape (), int32


class WithLookaheadState(NamedTuple):
    """State of `with_lookahead`."""

    fast_state: Any  # of the fast optimizer
    steps_since_sync: Array  # shape (), int32
    slow: Any  # the slow parameters, like the parameters


def lookahead(
    fast_optimizer: Optimizer, sync_period: Scalar, slow_step_size: Scalar, reset_state: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Lookahead: after k steps of the fast parameters w the slow ones s follow, and the fast go on from there.

    w <- w + u for the update u of the fast optimizer; at every k-th step then s <- s + alpha (w - s), w <- s.

    The parameters are a pair, `LookaheadParams.init_synced(params)`, as in optax; the gradients are those at its
    `fast`. So a trainer, whose parameters are its model's, does not take it; it takes `with_lookahead`. The updates
    must be added as they are: what changes them on the way, such as a scaling after this in a chain, parts the two
    where they should meet.

    Args:
        fast_optimizer: What moves the fast parameters; it gets their updates and any extra arguments.
        sync_period: k. With a tracer below 1 they follow at every step.
        slow_step_size: alpha, from 0, with which the fast go back to where they began, to 1, with which they go on.
        reset_state: Whether the fast optimizer begins anew after every k-th step; the paper keeps its state.

    Raises:
        ValueError: `sync_period` is a number below 1 or not whole, `slow_step_size` one that is not from 0 to 1, or
            `update` is called without such a pair.

    >>> from jaxnn.optim import apply_updates, sgd
    >>> optimizer, params = lookahead(sgd(0.5), 2, 0.5), LookaheadParams.init_synced(jnp.array(8.0))
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(params.fast, state, params)
    ...     params = apply_updates(params, updates)
    ...     print(*params)
    4.0 8.0
    5.0 5.0

    Source: Zhang, Lucas, Hinton and Ba, "Lookahead optimizer: k steps forward, 1 step back" (2019), algorithm 1.
    """
    check_count("it counts steps", sync_period=sync_period)
    check_part("it is the part of a way that is gone", slow_step_size=slow_step_size)
    fast_optimizer = with_extra_args_support(fast_optimizer)

    def init(params):
        fast = params.fast if isinstance(params, LookaheadParams | optax.LookaheadParams) else params
        return LookaheadState(fast_optimizer.init(fast), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra):
        if not isinstance(params, LookaheadParams | optax.LookaheadParams):
            raise ValueError(
                "expected params to be LookaheadParams, because fast and slow ones are moved; "
                f"got {type(params).__name__}\n  hint: begin with params = LookaheadParams.init_synced(params), "
                "and take gradients at params.fast"
            )
        updates, fast_state = fast_optimizer.update(updates, state.fast_state, params.fast, **extra)
        steps = state.steps_since_sync + 1
        meets = steps >= jnp.asarray(sync_period, jnp.int32)

        def follow(u, w, s):
            """The updates of a fast parameter and its slow one."""
            wide = widest(u, w, s)
            u, w, s = u.astype(wide), w.astype(wide), s.astype(wide)
            ahead = w + u - s
            slow = jnp.asarray(slow_step_size, wide) * ahead
            return jnp.where(meets, u - ahead + slow, u), jnp.where(meets, slow, 0)

        pairs = jax.tree.map(follow, updates, params.fast, params.slow)
        fast, slow = (jax.tree.map(lambda u, pair, i=i: pair[i].astype(u.dtype), updates, pairs) for i in (0, 1))
        if reset_state:
            fast_state = jax.tree.map(
                lambda new, begun: jnp.where(meets, begun, new), fast_state, fast_optimizer.init(params.fast)
            )
        return type(params)(fast=fast, slow=slow), LookaheadState(fast_state, jnp.where(meets, 0, steps))

    return optax.GradientTransformationExtraArgs(init, update)


def with_lookahead(
    optimizer: Optimizer, sync_period: Scalar = 5, slow_step_size: Scalar = 0.5, reset_state: bool = False
) -> optax.GradientTransformationExtraArgs:
    """`lookahead` for a trainer: the parameters are the fast ones alone, and the slow ones s are in the state.

    w <- w + u for the update u of the optimizer; at every k-th step then s <- s + alpha (w - s), w <- s.

    The slow ones are for inference; after every k-th step the two are the same. Between,
    `train_state._replace(params=optax.tree.get(train_state.opt_state, "slow"))` has the slow ones.

    The updates must be added as they are: what changes them on the way, such as a scaling after this in a chain, parts
    the two where they should meet. Parameters that `refreeze` unfreezes begin with slow ones that are the same.

    Args:
        optimizer: What moves the fast parameters; it gets any extra arguments.
        sync_period: k, often 5 to 10. With a tracer below 1 they follow at every step.
        slow_step_size: alpha, often 0.5 to 0.8; from 0, with which the fast go back to where they began, to 1, with
            which they go on.
        reset_state: Whether the optimizer begins anew after every k-th step; the paper keeps its state.

    Raises:
        ValueError: `sync_period` is a number below 1 or not whole, `slow_step_size` one that is not from 0 to 1, or
            `update` is called without parameters.

    >>> from jaxnn.optim import apply_updates, sgd
    >>> optimizer, w = with_lookahead(sgd(0.5), 2), jnp.array(8.0)
    >>> state = optimizer.init(w)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(w, state, w)
    ...     w = apply_updates(w, updates)
    ...     print(w, state.slow)
    4.0 8.0
    5.0 5.0

    Source: Zhang, Lucas, Hinton and Ba, "Lookahead optimizer: k steps forward, 1 step back" (2019), algorithm 1.
    """
    of_pairs = lookahead(optimizer, sync_period, slow_step_size, reset_state)

    def init(params):
        begun: Any = of_pairs.init(params)
        return WithLookaheadState(begun.fast_state, begun.steps_since_sync, copied(params))

    def update(updates, state, params: Any = None, **extra):
        check_params(params, "the slow ones follow them")
        pair: Any = LookaheadParams(fast=params, slow=state.slow)
        of_pair: Any = LookaheadState(state.fast_state, state.steps_since_sync)
        moved: Any
        moved, of_pair = of_pairs.update(updates, of_pair, pair, **extra)
        slow = apply_updates(state.slow, moved.slow)
        return moved.fast, WithLookaheadState(of_pair.fast_state, of_pair.steps_since_sync, slow)

    return optax.GradientTransformationExtraArgs(init, update)
