"""Rprop: for each parameter a length of step, which grows while the gradient keeps its sign."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.errors import values
from jaxnn.optim._arithmetic import cast_like, widest
from jaxnn.optim._checks import check_at_least_1, check_decay, check_number, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


class ScaleByRpropState(NamedTuple):
    """State of `scale_by_rprop`."""

    step_sizes: Any  # s, like the parameters
    prev_updates: Any  # the direction of the step before, s sign(g) or 0, like the parameters


def scale_by_rprop(
    learning_rate: Scalar,
    eta_minus: Scalar = 0.5,
    eta_plus: Scalar = 1.2,
    min_step_size: Scalar = 1e-6,
    max_step_size: Scalar = 50.0,
) -> Optimizer:
    """Step by s sign(g), where s grows while the sign stays, and shrinks where it has changed.

    With the direction d of the step before: where g d > 0, s <- min(eta_plus s, max_step_size) and d <- s sign(g);
    where g d < 0, s <- max(eta_minus s, min_step_size) and d <- 0, so that the next step is taken as a first one;
    where it is 0, s stays and d <- s sign(g).

    It is made for gradients of the whole data set: those of batches change their sign by chance. In optax 0.2.8 what
    is returned is the direction of the step before, so that the first step is 0 and each later one is late; here, as
    in PyTorch, it is that of this step.

    Args:
        learning_rate: s before the first step. Not a schedule.
        eta_minus: The factor where the sign has changed.
        eta_plus: The factor where it has not.
        min_step_size: Below which s does not shrink.
        max_step_size: Above which s does not grow.

    Raises:
        ValueError: A number of which steps would not shrink (`eta_minus` outside 0 to 1) or grow (`eta_plus` below 1),
            or a negative length, or a least length above the largest.

    >>> t = scale_by_rprop(0.25)
    >>> updates, state = t.update(jnp.array([4.0, 4.0]), t.init(jnp.array([2.0, 2.0])))
    >>> updates, t.update(jnp.array([1.0, -1.0]), state)[0]
    (Array([0.25, 0.25], dtype=float32), Array([0.3, 0. ], dtype=float32))

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm"
    (1993), in the form Rprop- of Igel and Huesken, "Improving the Rprop learning algorithm" (2000), with d set to 0
    (iRprop-).
    """
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_number("it bounds the length of a step", min_step_size=min_step_size, max_step_size=max_step_size)
    check_decay("a step that went too far must shrink", eta_minus=eta_minus)
    check_at_least_1("steps in one direction must grow", eta_plus=eta_plus)
    least, largest = values(min_step_size), values(max_step_size)
    if least is not None and largest is not None and (least > largest).any():
        raise ValueError(f"expected min_step_size up to max_step_size, because it bounds from below; got "
                         f"{min_step_size} and {max_step_size}")  # fmt: skip

    def init(params):
        return ScaleByRpropState(
            jax.tree.map(lambda p: jnp.full_like(p, jnp.asarray(learning_rate, p.dtype)), params),
            jax.tree.map(jnp.zeros_like, params),
        )

    def update(updates, state, params=None):
        del params
        check_real(updates)
        before = jax.tree.map(lambda g, d: jnp.sign(g).astype(d.dtype) * d, updates, state.prev_updates)

        def lengthen(s, agrees, g):
            wide = widest(s, g)
            number = lambda value: jnp.asarray(value, wide)
            s = s.astype(wide)
            changed = s * jnp.where(agrees > 0, number(eta_plus), number(eta_minus))
            bounded = jnp.clip(changed, min=number(min_step_size), max=number(max_step_size))
            return jnp.where(agrees == 0, s, bounded)

        s = jax.tree.map(lengthen, state.step_sizes, before, updates)
        d = jax.tree.map(
            lambda s, agrees, g: jnp.where(agrees < 0, 0, s * jnp.sign(g).astype(s.dtype)), s, before, updates
        )
        return cast_like(d, updates), ScaleByRpropState(
            cast_like(s, state.step_sizes), cast_like(d, state.prev_updates)
        )

    return optax.GradientTransformation(init, update)


def rprop(
    learning_rate: Scalar,
    eta_minus: Scalar = 0.5,
    eta_plus: Scalar = 1.2,
    min_step_size: Scalar = 1e-6,
    max_step_size: Scalar = 50.0,
) -> Optimizer:
    """Rprop, p <- p - s sign(g), with a length s for each parameter; see `scale_by_rprop`.

    Args:
        learning_rate: s before the first step. Not a schedule.
        eta_minus: The factor of s where the gradient has changed its sign.
        eta_plus: The factor of s where it has not.
        min_step_size: Below which s does not shrink.
        max_step_size: Above which s does not grow.

    Raises:
        ValueError: A number of which steps would not shrink (`eta_minus` outside 0 to 1) or grow (`eta_plus` below 1),
            or a negative length, or a least length above the largest.

    >>> optimizer, x = rprop(0.1), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.1, dtype=float32)

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm"
    (1993).
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale_by_learning_rate(1.0)
    )
