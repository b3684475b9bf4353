"""Members of an ensemble: what trains one, how all of them are one program, and what is refused before.

Dimensions: `members` models of one kind, `n` examples.
"""

from collections.abc import Callable, Mapping
from typing import Any, SupportsIndex, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn import tree
from jaxnn.errors import is_array
from jaxnn.layers._layer import Layer, outline
from jaxnn.ops import Op
from jaxnn.training._checks import count
from jaxnn.training._trainer import TrainState
from jaxnn.typing import Data, Key, Params, State

Train: TypeAlias = Callable[..., TrainState]
"""A pure function `train(key, data, **hyperparameters) -> train_state`: a whole run, from `trainer.init` on."""


Combine: TypeAlias = Op | Callable[[Any, Any], Any]
"""What makes one output of those of members and their weights, as `nn.Ensemble` takes it."""
T = TypeVar("T", bound=type)


def model_is_structure(kind: T) -> T:
    """Register a named tuple with a model as a tree of its other fields, so that a function may be mapped over it."""
    fields = [name for name in kind._fields if name != "model"]
    registered = lambda value: [(jax.tree_util.GetAttrKey(name), getattr(value, name)) for name in fields]
    rebuilt = lambda model, children: kind(model=model, **dict(zip(fields, children, strict=True)))
    jax.tree_util.register_pytree_with_keys(kind, lambda value: (registered(value), value.model), rebuilt)
    return kind


def trained(model: Layer, train: Train, key: Key, data: Data, **hyperparameters: Any) -> tuple[Params, State]:
    """Return all parameters, frozen ones too, and the state of the model that `train` makes.

    Raises:
        TypeError: It makes something else than a train state.
        ValueError: The train state is that of another model.
    """
    try:
        ts = train(key, data, **hyperparameters)
    except TypeError as error:  # which is also what JAX raises where a number is wanted and a tracer comes
        if hyperparameters:
            error.add_note(f"  hint: train is given tracers for {', '.join(hyperparameters)}, because members are one "
                           "program; members of several structures are joined by nn.vote")  # fmt: skip
        raise
    if not isinstance(ts, TrainState):
        got = f"a {type(ts).__name__} of {len(ts)}" if isinstance(ts, tuple) else repr(ts)
        raise TypeError(f"expected train to return a train state, because its parameters make a member; got {got}\n"
                        "  hint: return nn.fit(...)[0], without the history")  # fmt: skip
    params = tree.merge(ts.params, ts.frozen)
    _check_model(model, key, data.x, params, ts.state)
    return params, ts.state


def _check_model(model: Layer, key: Key, x: Any, params: Params, state: State) -> None:
    """Raise an error unless parameters and state are named and shaped as those of the model."""
    expected = tree.named_leaves(jax.eval_shape(lambda key: model.init(key, outline(x)), key))
    got = tree.named_leaves((params, state))
    shape = lambda leaves, name: tuple(leaves[name].shape) if name in leaves else "none"
    wrong = [f"{name.partition('/')[2]}: {shape(got, name)} for {shape(expected, name)}"
             for name in {**expected, **got} if shape(got, name) != shape(expected, name)]  # fmt: skip
    if wrong:
        raise ValueError(
            f"expected train to return a train state of {model!r}, because that model is given to the ensemble and "
            f"runs with its parameters; got {', '.join(wrong)}"
        )


def mapped(function: Callable[[Any], Any], each: Any, block: int | None) -> Any:
    """Return `function` of every element of the leading axis: all at once, or a block at a time to bound memory."""
    size = len(jax.tree.leaves(each)[0])
    if block is None or block >= size:
        return jax.vmap(function)(each)
    return lax.map(function, each, batch_size=block)


def block_of(block: SupportsIndex | None) -> int | None:
    """Return the setting `block` as Python's int, or `None` for all members at once."""
    return None if block is None else count(block, "block", why="it counts members that are computed at a time")


def columns_of(hyperparameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return hyperparameters of members as arrays, in JAX's dtypes.

    Raises:
        TypeError: One is not made of numbers.
    """
    columns = {}
    for name, column in (hyperparameters or {}).items():
        array = column if is_array(column) else np.asarray(column)
        if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or array.ndim == 0:
            raise TypeError(
                f"expected hyperparameter {name} as an array of numbers, one for each member, because members are one "
                f"program; got {column!r}\n  hint: members of several structures are joined by nn.vote"
            )
        # On the host, where that compiles nothing.
        columns[name] = array.astype(jnp.result_type(array)) if isinstance(array, np.ndarray) else array
    return columns
