"""Averages of the parameters, which often generalise better than the last: exponential, and over equal weights.

Both wrap an optimizer, whose updates they hand on, and hold the average in its state: so it goes through `scan`,
`vmap`, checkpoints and a trainer as the rest of the state does. `averaged_params` takes it out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count, ratio, widest
from jaxnn.optim._checks import check_count, check_decay, check_params, check_part
from jaxnn.optim._combining import with_extra_args_support
from jaxnn.optim._learning_rate import at
from jaxnn.optim._norms import number_dtype
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class AveragedParamsState(NamedTuple):
    """State of `exponentially_averaged` and of `equally_averaged`."""

    inner_state: Any  # of the optimizer
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32
    weight: Array  # the sum of the weights in the average, 0 before it begins; shape (), float32 at least
    average: Any  # like the parameters, float32 at least


def exponentially_averaged(
    optimizer: Optimizer, decay: Scalar | Schedule = 0.999, start: Scalar = 0, debias: bool = True
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that also averages the parameters p after each step, a <- decay a + (1 - decay) p.

    With `debias` the weights are (1 - decay) decay^k for the parameters of k steps ago, divided by their sum, as if
    there had been none before the first. Without, the first ones have the weight decay^n after n more steps, as in
    PyTorch's `AveragedModel` with `get_ema_multi_avg_fn` and in Keras's `use_ema`, whose `ema_momentum` is 0.99.

    The average is of p + u for the updates u that go out, so this must be what is outermost: in a chain whose later
    links change u, or in a mask, it would be of parameters that never were. `MultiSteps`, `apply_if_finite` and
    `dynamic_loss_scale` around it are as they should be, and average only after steps that are taken. The average of
    bfloat16 is kept in float32, in which it can move by small parts.

    Args:
        optimizer: What moves the parameters.
        decay: A number, a tracer, or a schedule of the count of steps before this one; a common one is
            `lambda t: jnp.minimum(0.999, (1 + t) / (10 + t))`, with which the average forgets its beginning faster.
        start: After how many steps it begins; until then the average is the parameters.
        debias: Whether the first parameters weigh no more than the others.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1, `start` one below 0 or not whole, or `update` is
            called without parameters.

    >>> from jaxnn.optim import apply_updates, sgd
    >>> optimizer, p = exponentially_averaged(sgd(0.5), decay=0.5), jnp.array(6.0)
    >>> state = optimizer.init(p)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(p, state, p)
    ...     p = apply_updates(p, updates)
    >>> p, averaged_params(state)  # (1.5 + 3 / 2) / (1 + 1 / 2)
    (Array(1.5, dtype=float32), Array(2., dtype=float32))

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), with equal weights;
    Kingma and Ba, "Adam" (2015), section 7.2, with these.
    """
    check_decay("an average must forget", decay=None if callable(decay) else decay)
    check_count("it counts steps", 0, start=start)

    def moves(count, weight):
        """By which part the average moves towards the parameters, and the sum of the weights after."""
        d = jnp.asarray(at(decay, count), weight.dtype)
        after = d * weight + (1 - d) if debias else jnp.ones_like(weight)
        part = jnp.where(weight == 0, 1, ratio(1 - d, after))
        begun = count >= jnp.asarray(start, count.dtype)
        return jnp.where(begun, part, 1), jnp.where(begun, after, 0)

    return _averaged(optimizer, moves)


def equally_averaged(
    optimizer: Optimizer, start: Scalar = 0, every: Scalar = 1
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that also takes the mean of the parameters at steps start + every, start + 2 every and so on.

    a <- a + (p - a) / n for the n-th of them, with the parameters p after the step. This is stochastic weight
    averaging, if `optimizer` goes on with a learning rate that is high enough to move about, constant or cyclic, and
    `every` is the length of an epoch or a cycle; with 1 it is the mean of Polyak. PyTorch's `AveragedModel` is the
    same, but its user says when.

    Running statistics, as batch normalization has them, are those of the last parameters and not of the mean:
    `nn.training.recalibrated` computes them anew.

    It must be outermost, for the reasons that `exponentially_averaged` gives, and its mean is kept in float32 at least.

    Args:
        optimizer: What moves the parameters.
        start: After how many steps it begins. Until the first are taken, the average is the parameters.
        every: Of how many steps one is taken.

    Raises:
        ValueError: `start` is a number below 0, `every` one below 1, one of them not whole, or `update` is called
            without parameters. With a tracer below 1 for `every` what comes out means nothing.

    >>> from jaxnn.optim import apply_updates, sgd
    >>> optimizer, p = equally_averaged(sgd(0.5), start=1), jnp.array(8.0)
    >>> state = optimizer.init(p)
    >>> for _ in range(3):
    ...     updates, state = optimizer.update(p, state, p)
    ...     p = apply_updates(p, updates)
    >>> p, averaged_params(state)  # (2 + 1) / 2
    (Array(1., dtype=float32), Array(1.5, dtype=float32))

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018), algorithm 1.
    """
    check_count("it counts steps", 0, start=start)
    check_count("it counts steps", every=every)

    def moves(count, weight):
        after = count + 1 - jnp.asarray(start, count.dtype)
        taken = (after > 0) & (after % jnp.asarray(every, count.dtype) == 0)
        n = weight + taken.astype(weight.dtype)
        return ratio(taken.astype(n.dtype), n, 1), n

    return _averaged(optimizer, moves)


def averaged_params(state: Any) -> Any:
    """Return the averaged parameters out of a state, wherever in it they stand, in float32 at least.

    `evaluate(..., averaged=True)` evaluates a trainer's, and `nn.training.averaged` puts them into a train state.

    Args:
        state: Of an optimizer that averages, or of a chain or a wrapper with one in it, or a whole train state.

    Raises:
        ValueError: There is no average in the state, or there are several.

    >>> from jaxnn.optim import chain, clip, sgd
    >>> optimizer = chain(clip(1.0), exponentially_averaged(sgd(0.1)))
    >>> averaged_params(optimizer.init({"w": jnp.array([2.0])}))
    {'w': Array([2.], dtype=float32)}
    """
    is_average = lambda node: isinstance(node, AveragedParamsState)
    found = [node.average for node in jax.tree.leaves(state, is_leaf=is_average) if is_average(node)]
    if len(found) != 1:
        raise ValueError(
            "expected the state of one optimizer that averages parameters, because they are taken out of it; got one "
            f"with {len(found)} averages\n"
            "  hint: exponentially_averaged(optimizer) is one, and equally_averaged(optimizer)"
        )
    return found[0]


def incremental_update(new_tensors: Any, old_tensors: Any, step_size: Scalar) -> Any:
    """Return step_size new + (1 - step_size) old, as networks that follow another one move; in the old ones' dtype.

    Args:
        new_tensors: A tree of arrays, such as the parameters of the network that learns.
        old_tensors: A tree of the same structure, such as those of the one that follows.
        step_size: From 0, which gives the old ones, to 1, which gives the new.

    Raises:
        ValueError: `step_size` is a number that is not from 0 to 1.

    >>> incremental_update({"w": jnp.array(1.0)}, {"w": jnp.array(3.0)}, 0.25)
    {'w': Array(2.5, dtype=float32)}

    Source: Lillicrap et al., "Continuous control with deep reinforcement learning" (2015), algorithm 1.
    """
    check_part("it is the part of a way that is gone", step_size=step_size)

    def move(new, old):
        wide = widest(new, old)
        return average(old.astype(wide), new.astype(wide), 1 - jnp.asarray(step_size, wide)).astype(old.dtype)

    return jax.tree.map(move, new_tensors, old_tensors)


def periodic_update(new_tensors: Any, old_tensors: Any, steps: Scalar, update_period: Scalar) -> Any:
    """Return the new tensors at every step that the period divides, the old ones at the others; in their dtype.

    Args:
        new_tensors: A tree of arrays.
        old_tensors: A tree of the same structure.
        steps: The count of steps.
        update_period: Of how many steps there is one at which the new ones are taken; step 0 is one.

    Raises:
        ValueError: `update_period` is a number below 1, or not whole.

    >>> [int(periodic_update(jnp.array(1), jnp.array(0), steps, 3)) for steps in range(5)]
    [1, 0, 0, 1, 0]

    Source: Mnih et al., "Human-level control through deep reinforcement learning" (2015), algorithm 1.
    """
    check_count("it counts steps", update_period=update_period)
    taken = jnp.asarray(steps, jnp.int32) % jnp.asarray(update_period, jnp.int32) == 0
    return jax.tree.map(lambda new, old: jnp.where(taken, new.astype(old.dtype), old), new_tensors, old_tensors)


def _averaged(
    optimizer: Optimizer, moves: Callable[[Array, Array], tuple[Array, Array]]
) -> optax.GradientTransformationExtraArgs:
    """The part that both share: a <- a + part (p - a), with the part of moves(count, weight) -> (part, weight)."""
    optimizer = with_extra_args_support(optimizer)

    def init(params):
        copies = jax.tree.map(lambda p: jnp.array(p, accumulator_dtype(p.dtype)), params)
        return AveragedParamsState(
            optimizer.init(params), jnp.zeros((), jnp.int32), jnp.zeros((), number_dtype(params)), copies
        )

    def update(updates, state, params: Any = None, **extra):
        check_params(params, "it is they that are averaged")
        updates, inner = optimizer.update(updates, state.inner_state, params, **extra)
        part, weight = moves(state.count, state.weight)

        moved = optax.apply_updates(params, updates)
        new = jax.tree.map(lambda a, p: average(a, p.astype(a.dtype), 1 - part), state.average, moved)
        return updates, AveragedParamsState(inner, next_count(state.count), weight, cast_like(new, state.average))

    return optax.GradientTransformationExtraArgs(init, update)
