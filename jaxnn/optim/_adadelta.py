"""AdaDelta: steps in the unit of the parameters, from a running square of the steps themselves."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import cast_like, ratio, root
from jaxnn.optim._checks import check_decay, check_number, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._moments import average_square
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Scalar, Schedule


class ScaleByAdaDeltaState(NamedTuple):
    """State of `scale_by_adadelta`."""

    e_g: Any  # E[g^2], like the parameters
    e_x: Any  # E[x^2], like the parameters


def scale_by_adadelta(rho: Scalar = 0.9, eps: Scalar = 1e-6) -> Optimizer:
    """Multiply by the root mean square of past steps x over that of gradients.

    E[g^2] <- rho E[g^2] + (1 - rho) g^2, x = sqrt(E[x^2] + eps) / sqrt(E[g^2] + eps) g,
    E[x^2] <- rho E[x^2] + (1 - rho) x^2; the direction is x, whose square is averaged before any learning rate.

    Args:
        rho: Decay of both running means.
        eps: Added inside both roots. The first step is from it alone: where it is 0, none is ever made.

    Raises:
        ValueError: `rho` is a number that is not from 0 to below 1, or `eps` one below 0.

    >>> t = scale_by_adadelta(rho=0.25, eps=1.0)
    >>> updates, state = t.update(jnp.array(2.0), t.init(jnp.array(1.0)))
    >>> updates, state.e_g
    (Array(1., dtype=float32), Array(3., dtype=float32))

    Source: Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.
    """
    check_decay("a mean must forget", rho=rho)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdaDeltaState(zeros(), zeros())

    def update(updates, state, params=None):
        del params
        check_real(updates)
        e_g = jax.tree.map(lambda e_g, g: average_square(e_g, g, rho), state.e_g, updates)

        def step(g, e_g, e_x):
            wide = e_g.dtype
            small = jnp.asarray(eps, wide)
            return ratio(root(e_x.astype(wide) + small) * g.astype(wide), root(e_g + small))

        x = jax.tree.map(step, updates, e_g, state.e_x)
        e_x = jax.tree.map(lambda e_x, x: average_square(e_x, x, rho), state.e_x, x)
        return cast_like(x, updates), ScaleByAdaDeltaState(cast_like(e_g, state.e_g), cast_like(e_x, state.e_x))

    return optax.GradientTransformation(init, update)


def adadelta(
    learning_rate: LearningRate | None = None,
    rho: Scalar = 0.9,
    eps: Scalar = 1e-6,
    weight_decay: Scalar | Schedule = 0.0,
    weight_decay_mask: Any = None,
) -> Optimizer:
    """AdaDelta, p <- p - learning_rate x, with the step x of `scale_by_adadelta` taken of g + weight_decay p.

    Without a learning rate to choose, rho and eps are left to be chosen: the first steps are of about
    sqrt(eps / (1 - rho)), whatever the gradient.

    Args:
        learning_rate: A number, a tracer or a schedule. `None` is the 1 of the paper and of PyTorch, and descends;
            in optax `None` leaves out the sign too, and `apply_updates` then climbs. Keras's default is 0.001, with
            which hardly anything moves.
        rho: Decay of both running means; 0.95 in Keras and in the paper's experiments.
        eps: Added inside both roots; Keras's default is 1e-7.
        weight_decay: L2, a number, a tracer or a schedule: added to the gradient before it is scaled, as in PyTorch.
        weight_decay_mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `rho` is a number that is not from 0 to below 1, or another argument one below 0; or `update` is
            called without parameters.

    >>> optimizer, x = adadelta(rho=0.25, eps=1.0), jnp.array(1.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-1., dtype=float32)

    Source: Zeiler, "ADADELTA: an adaptive learning rate method" (2012).
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
    )
