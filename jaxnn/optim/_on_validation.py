"""A learning rate that falls when validation gets no better: it waits for rows of a run's history, not for steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import chosen, scaled
from jaxnn.optim._plateau import ReduceLROnPlateauState, reduce_on_plateau
from jaxnn.typing import Array, Scalar


@final
@partial(jax.tree_util.register_dataclass, data_fields=["plateau", "settings"], meta_fields=["monitor", "mode"])
@dataclass(frozen=True)
class ReduceOnValidationState:
    """State of `reduce_on_validation`, with its numbers: whoever has seen a row can tell what follows from it."""

    plateau: ReduceLROnPlateauState
    settings: dict[str, Any]  # numbers of `reduce_on_plateau`, each of shape ()
    monitor: str | None
    mode: Literal["min", "max"]

    def after(self, value: Array) -> "ReduceOnValidationState":
        """Return the state after a row in which `value` was seen."""
        rule = reduce_on_plateau(**self.settings, mode=self.mode)
        plateau: Any = rule.update((), self.plateau, value=value)[1]
        return replace(self, plateau=plateau)


def reduce_on_validation(
    factor: Scalar = 0.1,
    patience: Scalar = 10,
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Scalar = 0,
    min_scale: Scalar = 0.0,
    *,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
) -> optax.GradientTransformationExtraArgs:
    """Scale updates as `reduce_on_plateau` does, by values that `fit` and `run` evaluate, not by the losses of steps.

    At the end of every row of the history that has what is watched, an epoch unless `steps_per_row` or
    `validate_every` says otherwise, the scale may fall; steps change nothing. So under `vmap` it falls for each
    member by its own validation, it is saved and resumed with the rest of the train state, and it stands in a chain
    where it is to act: `exponentially_averaged(chain(adam(1e-3), reduce_on_validation(patience=3)))`.

    In a loop of one's own, `after_row(opt_state, {"validation_loss": value})` is what `fit` calls.

    Args:
        factor: By what the scale is multiplied, between 0 and 1.
        patience: After how many rows without an improvement.
        rtol: How much better a value must be, relative to the best.
        atol: How much better, absolutely.
        cooldown: For how many rows after a fall nothing is counted.
        min_scale: Below what the scale does not fall.
        monitor: A name in the history; `"validation_loss"` where there is validation, else `"loss"`.
        mode: Whether less is better or more; an accuracy wants `"max"`.

    Raises:
        ValueError: As `reduce_on_plateau` does.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> rule = nn.optim.reduce_on_validation(factor=0.5, patience=2)
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.optim.chain(nn.sgd(1.0), rule))
    >>> train, ts = nn.Data(x, 3 * x + 1), t.init(jax.random.key(0), x)
    >>> ts, history = nn.fit(t, ts, train, epochs=20, batch_size=16, validation=train)
    >>> float(ts.opt_state[1].plateau.scale) < 1
    True

    The numbers and their conventions are those of `reduce_on_plateau`: patience as in optax and Keras, one less than
    PyTorch's.
    """
    given = {"factor": factor, "patience": patience, "rtol": rtol, "atol": atol, "cooldown": cooldown}
    given |= {"min_scale": min_scale}
    rule = reduce_on_plateau(**given, mode=mode)
    dtypes = {name: jnp.int32 if name in ("patience", "cooldown") else jnp.result_type(float) for name in given}
    settings = lambda: {name: jnp.asarray(value, dtypes[name]) for name, value in given.items()}

    def init(params: Any) -> Any:
        del params
        plateau: Any = rule.init(jnp.zeros((), jnp.result_type(float)))  # values of the history are in this dtype
        return ReduceOnValidationState(plateau, settings(), monitor, mode)

    def update(updates, state, params=None, **extra):
        del params, extra
        # The numbers are this optimizer's, also if it goes on from the state of another one.
        state = replace(state, settings=settings())
        return jax.tree.map(lambda g: scaled(state.plateau.scale, g), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def after_row(opt_state: Any, row: Mapping[str, Array], *, validated: Array | bool = True) -> Any:
    """Return an optimizer's state after a row of the history, in which each `reduce_on_validation` has looked.

    Args:
        opt_state: Of an optimizer with any number of them in it, none included.
        row: Values by name.
        validated: Whether the row has values of validation; if not, what watches these waits.

    Raises:
        ValueError: What is watched is not in the row.

    >>> rule = reduce_on_validation(factor=0.5, patience=1)
    >>> state = rule.init(jnp.array(1.0))
    >>> for value in (1.0, 2.0):
    ...     state = after_row(state, {"loss": jnp.array(value)})
    ...     print(state.plateau.scale)
    1.0
    0.5
    """

    def look(node):
        if not isinstance(node, ReduceOnValidationState):
            return node
        name = node.monitor or ("validation_loss" if "validation_loss" in row else "loss")
        if name not in row:
            raise ValueError(f"expected reduce_on_validation to watch one of {', '.join(row)}, because these are "
                             f"recorded; got {name!r}")  # fmt: skip
        value = row[name].astype(node.plateau.best_value.dtype)
        due = validated if name.startswith("validation_") else True
        return chosen(due, node.after(value), node)

    return jax.tree.map(look, opt_state, is_leaf=lambda node: isinstance(node, ReduceOnValidationState))
