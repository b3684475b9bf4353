"""Steps of which the sign of the gradient, or the past of it, decides."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxnn import optim
from optimizer_rows._row import ADAM, RATE, Row, only_w

DELTA = {"rho": 0.9, "eps": 1e-3}
HOPE = {"alpha": 0.9, "beta": 0.7}


def undelayed(transform):
    """Return optax's Rprop with the update of this step, which it keeps in its state, for that of the step before."""

    def update(updates, state, params=None):
        _, state = transform.update(updates, state, params)
        return state.prev_updates, state

    return optax.GradientTransformation(transform.init, update)


def loss(grads, params):
    """Some number above 0 that goes with the gradients, as the value of a loss does."""
    del params
    return {"value": sum(jnp.sum(g.astype(g.dtype) ** 2) for g in jax.tree.leaves(grads)) * 0.3}


ROWS = [
    Row("adadelta", optim.adadelta, optax.adadelta, {**RATE, **DELTA, "weight_decay": 0.02}),
    Row(
        "adadelta_masked",
        partial(optim.adadelta, weight_decay_mask=only_w),
        partial(optax.adadelta, weight_decay_mask=only_w),
        {**RATE, **DELTA, "weight_decay": 0.02},
    ),
    Row("scale_by_adadelta", optim.scale_by_adadelta, optax.scale_by_adadelta, DELTA, rounding=5.0),  # it feeds itself
    Row("scale_by_sign", optim.scale_by_sign, optax.scale_by_sign, {}),
    Row("sign_sgd", optim.sign_sgd, optax.sign_sgd, RATE),
    Row("signum", optim.signum, optax.signum, {**RATE, "beta": 0.8}),
    # Steps within their bounds, and steps at each bound. The first step, which is no schedule, is given another name.
    Row(
        "scale_by_rprop",
        lambda first, **rest: optim.scale_by_rprop(learning_rate=first, **rest),
        lambda first, **rest: undelayed(optax.scale_by_rprop(learning_rate=first, **rest)),
        {"first": 0.1, "eta_minus": 0.4, "eta_plus": 1.3},
    ),
    Row(
        "rprop",
        lambda first, **rest: optim.rprop(learning_rate=first, **rest),
        lambda first, **rest: optax.chain(
            undelayed(optax.scale_by_rprop(learning_rate=first, **rest)), optax.scale(-1.0)
        ),
        {"first": 0.1, "eta_minus": 0.4, "eta_plus": 1.3, "min_step_size": 0.03, "max_step_size": 0.15},
    ),
    Row(
        "scale_by_polyak",
        partial(optim.scale_by_polyak, max_learning_rate=10.0),
        partial(optax.scale_by_polyak, max_learning_rate=10.0),
        {"f_min": 0.1, "eps": 0.1},
        loss,
    ),
    Row(
        "scale_by_polyak_at_most",
        optim.scale_by_polyak,
        optax.scale_by_polyak,
        {"max_learning_rate": 0.1},
        loss,
    ),
    Row(
        "scale_by_polyak_plus",
        partial(optim.scale_by_polyak, variant="sps+"),
        partial(optax.scale_by_polyak, variant="sps+"),
        {"f_min": 0.1, "eps": 0.1},
        loss,
    ),
    Row(
        "polyak_sgd",
        partial(optim.polyak_sgd, max_learning_rate=10.0),
        partial(optax.polyak_sgd, max_learning_rate=10.0),
        {"scaling": 0.8, "f_min": 0.1, "eps": 0.1},
        loss,
    ),
]
FLAGGED = [
    Row("scale_by_optimistic_gradient", optim.scale_by_optimistic_gradient, optax.scale_by_optimistic_gradient, HOPE),
    Row(
        "optimistic_gradient_descent",
        optim.optimistic_gradient_descent,
        optax.optimistic_gradient_descent,
        {**RATE, **HOPE},
    ),
    Row("optimistic_adam_v2", optim.optimistic_adam_v2, optax.optimistic_adam_v2, {**RATE, **HOPE, **ADAM}),
    Row(
        "optimistic_adam_v2_heavy",
        partial(optim.optimistic_adam_v2, nesterov=False),
        partial(optax.optimistic_adam_v2, nesterov=False),
        {**RATE, **HOPE, **ADAM},
    ),
]
"""What keeps a bool in its state: `test_signs` runs the contract over them."""
