"""An ensemble of models of several structures, as one layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError, describe
from jaxnn.layers._combinators import Parallel, parallel
from jaxnn.layers._ensemble import as_op, check_one_array
from jaxnn.layers._layer import Layer, LayerLike, outline, output_outline, parameter_dtype
from jaxnn.ops import Op, soft_vote
from jaxnn.typing import accumulator_dtype


@final
@dataclass(frozen=True, repr=False)
class Vote(Layer):
    """Layers side by side on one input, whose outputs are combined to one, as `vote` makes them.

    Attributes:
        layers: Names and members, in order.
        combine: An op of the outputs `(members, batch, ...)` and the weights `(members,)`, or a function of them.

    >>> import jaxnn as nn
    >>> nn.vote(nn.Dense(3), nn.Dense(3)).layers
    (('dense_0', Dense(3)), ('dense_1', Dense(3)))
    """

    layers: tuple[tuple[str, Layer], ...]
    combine: Op | Callable[[Any, Any], Any] = soft_vote

    def init(self, key, x):
        params, state = self._members.init(key, x)
        weights = jnp.ones(len(self.layers), accumulator_dtype(parameter_dtype(jax.tree.leaves(x)[0])))
        state = {"weights": weights, **state}
        output_outline(self, params, state, outline(x))
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        z, new = self._members.apply(params, state, x, key=key, train=train)
        return as_op(self.combine)(self._stacked(z), state["weights"]), {"weights": state["weights"], **new}

    def fwd(self, params, state, x, *, key=None, train=False):
        (z, new), of_layers = self._members.fwd(params, state, x, key=key, train=train)
        y, of_vote = as_op(self.combine).fwd(self._stacked(z), state["weights"])
        return (y, {"weights": state["weights"], **new}), {"layers": of_layers, "vote": of_vote}

    def bwd(self, residuals, dy):
        dz, _ = as_op(self.combine).bwd(residuals["vote"], dy)
        return self._members.bwd(residuals["layers"], tuple(dz))

    @property
    def _members(self) -> Parallel:
        return Parallel(self.layers)

    @property
    def children(self) -> Mapping[str, Layer]:
        return self._members.children

    @property
    def hand(self) -> bool:
        return self._members.hand and as_op(self.combine).hand

    def freeze(self, frozen):
        return Vote(self._members.freeze(frozen).layers, self.combine)

    def _stacked(self, z):
        for one in z:
            check_one_array(one)
        if len({(outline(one).shape, outline(one).dtype) for one in z}) != 1:
            listed = ", ".join(f"{name} gives {describe(one)}" for name, one in zip(self.children, z, strict=True))
            raise ShapeError("outputs of one shape and dtype from all members", why="they are combined", got=listed)
        return jnp.stack(z)

    def __repr__(self) -> str:
        listed = repr(self._members).removeprefix("parallel(").removesuffix(")")
        return f"vote({listed}{'' if self.combine is soft_vote else f', combine={self.combine!r}'})"


def vote(*layers: LayerLike, combine: Op | Callable[[Any, Any], Any] = soft_vote, **named: LayerLike) -> Vote:
    """Give one input to several models and combine their outputs to one, y = combine(outputs, weights).

    Members may have any structure, as long as their outputs have one shape; where they have one structure too,
    `Ensemble` runs them as one program. State: `weights`, `(members,)`, at first all 1, which no training changes, and
    beside it that of each member under its name.

    Args:
        *layers: The members: layers, ops or functions, named by kind and number.
        combine: An op of the outputs `(members, batch, ...)` and the weights: `nn.ops.soft_vote` makes one classifier
            of several, as do `hard_vote`, and `mean_of_members` one regression; or a function of these two.
        **named: Further members under names of your own.

    Raises:
        ValueError: There is no member, or one is named `weights`.
        ShapeError: Their outputs have not one shape and dtype, or `combine` cannot take them.
        TypeError: A member puts out several arrays, or `combine` is no op or function.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.vote(nn.Dense(3), deep=nn.serial(nn.Dense(8), nn.relu, nn.Dense(3)))
    >>> model
    vote(Dense(3), deep=serial(Dense(8), relu, Dense(3)))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> list(params), state["weights"], model.apply(params, state, jnp.ones((2, 4)))[0].shape
    (['dense_0', 'deep'], Array([1., 1.], dtype=float32), (2, 3))

    Source: Kittler et al., "On combining classifiers" (1998).
    """
    members = parallel(*layers, **named)
    as_op(combine)
    if not members.layers:
        raise ValueError("expected members, because their outputs are combined; got none")
    if "weights" in members.children:
        raise ValueError("expected no member named weights, because the state has the weights of all under that name; "
                         f"got {members.children['weights']!r}")  # fmt: skip
    return Vote(members.layers, combine)
