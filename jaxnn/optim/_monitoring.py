"""Numbers about the updates at a place in a chain, which are kept in the state to be looked at."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import SnapshotState as SnapshotState
from optax import snapshot as snapshot

from jaxnn.optim._combining import chain, stateless, with_extra_args_support
from jaxnn.optim._momentum import ema
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Scalar


class MonitorState(NamedTuple):
    """State of `monitor`."""

    measurements: Any  # by name, as of the last updates; 0 before there were any
    measure_states: tuple[Any, ...]  # of the measures, in their order


def monitor(measures: Mapping[str, Any]) -> optax.GradientTransformationExtraArgs:
    """Hand updates on as they are, and keep in the state what some measures make of them.

    `optax.tree.get(state, name)` finds a measurement. Before the first updates it is 0, so that the state goes through
    `scan` and a trainer; in optax there is none then.

    Args:
        measures: By name, functions of the updates, such as `global_norm`, or transformations whose updates are the
            measurement, such as `measure_with_ema` returns.

    >>> t = monitor({"largest": lambda updates: abs(updates).max()})
    >>> _, state = t.update(jnp.array([3.0, -4.0]), t.init(jnp.zeros(2)))
    >>> optax.tree.get(state, "largest")
    Array(4., dtype=float32)
    """
    measured = {name: with_extra_args_support(_transformation(measure)) for name, measure in measures.items()}

    def measure_all(updates, states, params, extra):
        both = [m.update(updates, s, params, **extra) for m, s in zip(measured.values(), states, strict=True)]
        return dict(zip(measured, [seen for seen, _ in both], strict=True)), tuple(state for _, state in both)

    def init(params):
        states = tuple(m.init(params) for m in measured.values())
        shapes, _ = jax.eval_shape(lambda: measure_all(params, states, params, {}))
        return MonitorState(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), states)

    def update(updates, state, params=None, **extra):
        return updates, MonitorState(*measure_all(updates, state.measure_states, params, extra))

    return optax.GradientTransformationExtraArgs(init, update)


def measure_with_ema(
    measure: Callable[[Any], Any], decay: Scalar, debias: bool = True, accumulator_dtype: Any = None
) -> Optimizer:
    """A measure for `monitor`: the running mean of another one, m <- decay m + (1 - decay) measure(updates).

    Args:
        measure: A function of the updates; of bools or integers, such as whether a norm is above a bound, the mean is
            that of floats.
        decay: Of the mean.
        debias: Whether it is divided by 1 - decay^t.
        accumulator_dtype: In which it is kept; that of the measurement with `None`.

    Raises:
        ValueError: `decay` is a number that is not from 0 to below 1.

    >>> t = monitor({"often": measure_with_ema(lambda updates: abs(updates).max() > 1.0, 0.5, debias=False)})
    >>> _, state = t.update(jnp.array([3.0, -4.0]), t.init(jnp.zeros(2)))
    >>> optax.tree.get(state, "often")
    Array(0.5, dtype=float32)
    """

    def floats(updates):
        to_float = lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
        return jax.tree.map(to_float, measure(updates))

    mean = ema(decay, debias, accumulator_dtype)
    return chain(
        stateless(lambda updates, params: floats(updates)), mean._replace(init=lambda params: mean.init(floats(params)))
    )


def _transformation(measure: Any) -> Optimizer:
    """A measure as a transformation whose updates are the measurement."""
    if not callable(measure):
        return measure
    function: Callable[[Any], Any] = measure
    return stateless(lambda updates, params: function(updates))
