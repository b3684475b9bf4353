"""What a run may record of its steps beside loss and metrics: functions for `fit(..., record=...)`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import tree
from jaxnn.optim import ReduceLROnPlateauState, ReduceOnValidationState, ScaleByScheduleState, global_norm
from jaxnn.training._trainer import Observed, TrainState
from jaxnn.typing import Array, Params, Scalar, Schedule

SCHEDULED = ScaleByScheduleState, optax.ScaleByScheduleState


def gradient_norm(train_state: TrainState, observed: Observed) -> Array:
    """Return the norm of the whole gradient, sqrt(sum of squares of all its elements).

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 8)[:, None]
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    >>> record = {"gradient_norm": nn.training.gradient_norm}
    >>> ts, data = t.init(jax.random.key(0), x), nn.Data(x, 3 * x)
    >>> _, history = nn.fit(t, ts, data, epochs=5, batch_size=4, record=record)
    >>> bool(history["gradient_norm"][-1] < history["gradient_norm"][0])
    True
    """
    del train_state
    return global_norm(observed.grads)


def gradient_norms(train_state: TrainState, observed: Observed) -> dict[str, Array]:
    """Return the norm of the gradient by each parameter, by its name.

    >>> import jax, jaxnn as nn
    >>> x, record = jnp.linspace(-1, 1, 8)[:, None], {"gradient": nn.training.gradient_norms}
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    >>> ts, data = t.init(jax.random.key(0), x), nn.Data(x, 3 * x)
    >>> sorted(nn.fit(t, ts, data, epochs=1, batch_size=4, record=record)[1])
    ['gradient/b', 'gradient/w', 'loss']
    """
    del train_state
    return _norms(observed.grads)


def update_norms(train_state: TrainState, observed: Observed) -> dict[str, Array]:
    """Return the norm of what is added to each parameter, by its name.

    >>> import jax, jaxnn as nn
    >>> x, record = jnp.linspace(-1, 1, 8)[:, None], {"update": nn.training.update_norms}
    >>> t = nn.trainer(nn.Dense(1, bias=False), nn.losses.mse, nn.optim.sign_sgd(0.5))
    >>> ts, data = t.init(jax.random.key(0), x), nn.Data(x, 3 * x)
    >>> nn.fit(t, ts, data, epochs=2, batch_size=4, record=record)[1]["update/w"]
    Array([0.5, 0.5], dtype=float32)
    """
    del train_state
    return _norms(observed.updates)


def relative_update_norms(train_state: TrainState, observed: Observed) -> dict[str, Array]:
    """Return the norm of what is added to each parameter over the parameter's own; 0 where that is 0.

    About 1e-3 is usual where training goes well.

    >>> import jax, jaxnn as nn
    >>> x, record = jnp.linspace(-1, 1, 8)[:, None], {"relative": nn.training.relative_update_norms}
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(1e-3))
    >>> ts, data = t.init(jax.random.key(0), x), nn.Data(x, 3 * x)
    >>> bool(nn.fit(t, ts, data, epochs=1, batch_size=4, record=record)[1]["relative/w"][0] < 0.01)
    True
    """
    weights = _norms(train_state.params)
    ratio = lambda u, w: jnp.where(w == 0, 0, u / jnp.where(w == 0, 1, w))
    return {name: ratio(u, weights[name]) for name, u in _norms(observed.updates).items()}


def learning_rate(rate: Scalar | Schedule) -> Callable[[TrainState, Observed], Array]:
    """Return what records the learning rate of each step: a schedule's value there, lowered as a plateau has it.

    The schedule is taken at the optimizer's own count, which steps that are left out do not move, if there is one count
    in its state, and at the train state's step otherwise. What `reduce_on_plateau` and `reduce_on_validation` multiply
    updates by is in it.

    Args:
        rate: What the optimizer was given. Call this once for a schedule: each call makes a new function, and with it
            `fit` compiles anew.

    >>> import jax, jaxnn as nn
    >>> x, schedule = jnp.linspace(-1, 1, 8)[:, None], nn.schedules.exponential_decay(0.1, 1, 0.5)
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(schedule))
    >>> record = {"learning_rate": nn.training.learning_rate(schedule)}
    >>> data, ts = nn.Data(x, 3 * x), t.init(jax.random.key(0), x)
    >>> nn.fit(t, ts, data, epochs=3, batch_size=8, record=record)[1]["learning_rate"]
    Array([0.1  , 0.05 , 0.025], dtype=float32)
    """

    def rate_of(train_state: TrainState, observed: Observed) -> Array:
        del observed
        found = _found(train_state.opt_state)
        counts = [state.count for state in found if isinstance(state, SCHEDULED)]
        count = counts[0] if len(counts) == 1 else train_state.step
        now = jnp.asarray(rate(count) if callable(rate) else rate, jnp.result_type(float))
        for state in found:
            if not isinstance(state, SCHEDULED):
                plateau = state.plateau if isinstance(state, ReduceOnValidationState) else state
                now = now * plateau.scale.astype(now.dtype)
        return now

    return rate_of


def _found(opt_state: Any) -> list[Any]:
    """The states that say how far a schedule is, and what a plateau has made of the rate."""
    kinds = *SCHEDULED, ReduceOnValidationState, ReduceLROnPlateauState
    is_found = lambda node: isinstance(node, kinds)
    return [node for node in jax.tree.leaves(opt_state, is_leaf=is_found) if is_found(node)]


def _norms(params: Params) -> dict[str, Any]:
    return {name: global_norm(leaf) for name, leaf in tree.named_leaves(params).items()}
