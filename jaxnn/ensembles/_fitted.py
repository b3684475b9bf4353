"""Models that have been fitted, and the parameters of several of them stacked to those of an ensemble.

Dimensions: `members` the models, the axis in front of each leaf.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import tree
from jaxnn.ensembles._members import model_is_structure
from jaxnn.errors import ShapeError, describe, values
from jaxnn.layers import Ensemble, Layer, LayerLike
from jaxnn.ops import Op, soft_vote
from jaxnn.typing import AnyArray, Array, Params, State, accumulator_dtype


@model_is_structure
class Fitted(NamedTuple):
    """A model with the parameters and the state that it was given by training: all that is needed to predict.

    It is a tree whose leaves are those of params and state, and whose structure holds the model: so a function that
    fits one may be compiled and mapped.

    Attributes:
        model: The layer.
        params: All its parameters.
        state: Its state.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.Dense(2), jnp.ones((3, 4))
    >>> fitted = nn.ensembles.Fitted(model, *model.init(jax.random.key(0), x))
    >>> fitted.model.apply(fitted.params, fitted.state, x)[0].shape
    (3, 2)
    """

    model: Layer
    params: Params
    state: State


def stacked(members: Sequence[tuple[Params, State]]) -> tuple[Params, State]:
    """Stack the parameters and states of models of one structure, with an axis of members in front of each leaf.

    Args:
        members: A pair `(params, state)` of each, at least one.

    Returns:
        Params and state with leaves `(members, ...)`, of which `unstacked` makes the pairs again.

    Raises:
        TypeError: What is given for a member is no pair.
        ValueError: There are no members, they have not the same leaves, or parameters are missing that were frozen.
        ShapeError: Leaves of one name have not the same shape and dtype.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.Dense(2)
    >>> params, state = stacked([model.init(jax.random.key(seed), jnp.ones((1, 4))) for seed in range(3)])
    >>> params["w"].shape
    (3, 4, 2)
    """
    pairs = list(members)
    for i, pair in enumerate(pairs):
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"expected a pair (params, state) of each member, because these are stacked; got a "
                            f"{type(pair).__name__} for member {i}\n  hint: (fitted.params, fitted.state), or "
                            "(nn.tree.merge(ts.params, ts.frozen), ts.state) of a train state")  # fmt: skip
    pairs = [(params, state) for params, state in pairs]
    if not pairs:
        raise ValueError("expected members to stack, because an ensemble has one at least; got none")
    for part, of_members in zip(("params", "state"), zip(*pairs, strict=True), strict=True):
        _check_alike(part, of_members)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)


def unstacked(params: Params, state: State) -> list[tuple[Params, State]]:
    """Return the pair `(params, state)` of each member, given stacked ones.

    Raises:
        ValueError: There are no leaves, or these have not one number of members.

    >>> import jax.numpy as jnp
    >>> unstacked({"w": jnp.array([1, 2])}, {})
    [({'w': Array(1, dtype=int32)}, {}), ({'w': Array(2, dtype=int32)}, {})]
    """
    n = members_of(params, state)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], (params, state)) for i in range(n)]


def members_of(params: Params, state: State) -> int:
    """Return how many members stacked trees hold.

    Raises:
        ValueError: There are no leaves, or these have not one number of members.
    """
    shapes = {name: np.shape(leaf) for name, leaf in tree.named_leaves({"params": params, "state": state}).items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError("expected leaves with one axis of members in front, because models were stacked; "
                         f"got {listed or 'none'}")  # fmt: skip
    return next(iter(shapes.values()))[0]


def ensemble_of(
    model: LayerLike,
    params: Params,
    state: State,
    *,
    weights: AnyArray | None = None,
    combine: Op | Callable[[Any, Any], Any] = soft_vote,
) -> Fitted:
    """Make one fitted ensemble of members that are there.

    Args:
        model: The layer that each member is.
        params: Those of members, stacked.
        state: That of members, stacked.
        weights: Of members, `(members,)`; `None` for 1.
        combine: How their outputs become one, as in `nn.Ensemble`.

    Raises:
        ValueError: The trees do not hold one number of members.
        ShapeError: There is not one weight a member.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.Dense(2), jnp.ones((3, 4))
    >>> trained = [model.init(jax.random.key(seed), x) for seed in range(5)]
    >>> fitted = nn.ensembles.ensemble_of(model, *nn.ensembles.stacked(trained), combine=nn.ops.mean_of_members)
    >>> fitted.model
    Ensemble(Dense(2), members=5, combine=mean_of_members)
    >>> fitted.model.apply(fitted.params, fitted.state, x)[0].shape
    (3, 2)
    """
    n = members_of(params, state)
    if weights is None:
        floating = [leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        weights = jnp.ones(n, accumulator_dtype(floating[0] if floating else jnp.result_type(float)))
    elif np.shape(weights) != (n,):
        raise ShapeError(f"weights of shape ({n},)", why="each member has one", got=np.shape(weights))
    return Fitted(Ensemble(model, n, combine=combine), params, {"weights": jnp.asarray(weights), "members": state})


def member(fitted: Fitted, i: int | Array) -> Fitted:
    """Return one member of a fitted ensemble, as a model of its own.

    Args:
        fitted: An `Ensemble` with its parameters and state.
        i: Which member, from 0; negative ones count from the end. May be traced.

    Raises:
        TypeError: The model is no `Ensemble`.
        IndexError: There is no such member.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.Ensemble(nn.Dense(2), 5)
    >>> fitted = nn.ensembles.Fitted(model, *model.init(jax.random.key(0), jnp.ones((3, 4))))
    >>> nn.ensembles.member(fitted, 1).model, nn.ensembles.member(fitted, 1).params["w"].shape
    (Dense(2), (4, 2))
    """
    ensemble = fitted.model
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"expected a fitted Ensemble, because a member of it is wanted; got {ensemble!r}")
    seen = values(i)
    if seen is not None and not -ensemble.members <= seen < ensemble.members:
        raise IndexError(f"expected a member from 0 to {ensemble.members - 1}, because there are {ensemble.members}; "
                         f"got {i}")  # fmt: skip
    take = lambda leaf: jnp.asarray(leaf)[i]
    return Fitted(ensemble.model, *jax.tree.map(take, (fitted.params, fitted.state["members"])))  # pyright: ignore[reportArgumentType]


def _check_alike(part: str, members: Sequence[Any]) -> None:
    """Raise an error that names every leaf in which a member differs from the first."""
    first = tree.named_leaves(members[0])
    gap = lambda leaf: leaf is None
    held = tree.named_leaves(jax.tree.map(lambda leaf: 0 if gap(leaf) else None, members[0], is_leaf=gap))
    if part == "params" and held:
        raise ValueError(f"expected all parameters of each member, because members are whole models; got none for "
                         f"{', '.join(held)}\n  hint: all parameters of a train state are "
                         "nn.tree.merge(ts.params, ts.frozen)")  # fmt: skip
    for i, other in enumerate(members):
        leaves = tree.named_leaves(other)
        only = [f"{name} of member {0 if name in first else i}" for name in sorted(first.keys() ^ leaves.keys())]
        if only or jax.tree.structure(other) != jax.tree.structure(members[0]):
            raise ValueError(
                f"expected {part} with the same leaves in all members, because they are stacked; member {i} differs "
                f"from member 0: {', '.join(only) + ' only' if only else 'in structure'}\n"
                "  hint: nn.vote is for members of several structures"
            )
        different = [
            f"{name} is {describe(leaf)} in member 0 and {describe(leaves[name])} in member {i}"
            for name, leaf in first.items()
            if (np.shape(leaf), jnp.result_type(leaf)) != (np.shape(leaves[name]), jnp.result_type(leaves[name]))
        ]
        if different:
            raise ShapeError(
                f"{part} with leaves of the same shapes and dtypes in all members",
                why="they are stacked",
                got="; ".join(different),
                hint="nn.vote is for members of several structures",
            )
