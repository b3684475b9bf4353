"""An ensemble of models of one structure, as one layer.

Dimensions: `members` the models; `batch`; `...` the further axes of a model's output.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn.errors import describe, is_array
from jaxnn.layers._layer import Layer, LayerLike, as_layer, child_key, outline, output_outline, parameter_dtype
from jaxnn.ops import Op, soft_vote
from jaxnn.typing import accumulator_dtype


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Remembered:
    """How the residuals of a member are put together: of leaves of its own, and of those of x, which all are given."""

    structure: Any
    given: tuple[int | None, ...]  # for each leaf, which of x it is; `None` for one of the member's own

    def put_together(self, own: Any, shared: Mapping[int, Any]) -> Any:
        own = iter(own)
        return jax.tree.unflatten(self.structure, [next(own) if i is None else shared[i] for i in self.given])


@final
@dataclass(frozen=True, repr=False)
class Ensemble(Layer):
    """Members of one structure, each with parameters of its own, that all see x; y = combine(their outputs, weights).

    All members are one program: their parameters and states are those of the model with an axis of length `members`
    in front, and the model is mapped over it. An ensemble is a layer like any other, so it can be trained as a whole,
    evaluated, summarised, saved, and put within another model. Its members need not have been trained together: stack
    the parameters of models that are there with `nn.ensembles.stacked`.

    Parameters: the model's, stacked; it adds no level of names. State: `weights`, `(members,)`, at first all 1, which
    no training changes; and `members`, the model's states, stacked. In training each member draws for itself.

    Attributes:
        model: The layer that each member is.
        members: How many there are, at least 1.
        combine: An op of the outputs `(members, batch, ...)` and the weights: `nn.ops.soft_vote` makes one classifier
            of several, as do `hard_vote`, and `mean_of_members` one regression; or a function of these two.

    Raises:
        ValueError: There is no member.
        TypeError: `members` is no int, `combine` no op or function, or an op that is given outputs of several arrays.
        ShapeError: `combine` cannot take the outputs.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.serial(nn.Dense(8), nn.relu, nn.Dense(3))
    >>> five, x = nn.Ensemble(model, 5), jnp.ones((2, 4))
    >>> params, state = five.init(jax.random.key(0), x)
    >>> params["dense_0"]["w"].shape, five.apply(params, state, x)[0].shape
    ((5, 4, 8), (2, 3))
    >>> five.predictions(params, state, x)[0].shape
    (5, 2, 3)

    Source: Hansen and Salamon, "Neural network ensembles" (1990); Lakshminarayanan et al., "Simple and scalable
    predictive uncertainty estimation using deep ensembles" (2017).
    """

    model: LayerLike
    members: int
    _: KW_ONLY
    combine: Op | Callable[[Any, Any], Any] = soft_vote

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_layer(self.model))
        if not isinstance(self.members, int) or isinstance(self.members, bool):
            raise TypeError(f"expected members to be an int, because it counts models; got {self.members!r}")
        if self.members < 1:
            raise ValueError(f"expected members of at least 1, because it counts models; got {self.members}")
        as_op(self.combine)

    def init(self, key, x):
        x = outline(x)
        params, state = jax.vmap(lambda key: self._model.init(key, x))(self._keys(key))
        if isinstance(self.combine, Op):
            first = lambda stacked: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), stacked)
            check_one_array(output_outline(self._model, first(params), first(state), x))
        weights = jnp.ones(self.members, accumulator_dtype(parameter_dtype(jax.tree.leaves(x)[0])))
        state = {"weights": weights, "members": state}
        output_outline(self, params, state, x)
        return params, state

    def predictions(self, params: Any, state: Any, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, Any]:
        """Return the output of each member, `(members, batch, ...)`, and the new states of members, stacked."""

        def member(params, state, key):
            return self._model.apply(params, state, x, key=key, train=train)

        return jax.vmap(member, axis_size=self.members)(params, state["members"], self._keys(key))

    def apply(self, params, state, x, *, key=None, train=False):
        z, members = self.predictions(params, state, x, key=key, train=train)
        return self._op(z, state["weights"]), {"weights": state["weights"], "members": members}

    def fwd(self, params, state, x, *, key=None, train=False):
        given, seen = jax.tree.leaves(x), {}
        position = {id(leaf): i for i, leaf in enumerate(given)}

        def member(params, state, key):
            out, residuals = self._model.fwd(params, state, x, key=key, train=train)
            # What is remembered of x is the same for all members: no need for a copy each.
            leaves, structure = jax.tree.flatten(residuals)
            seen["remembered"] = _Remembered(structure, tuple(position.get(id(leaf)) for leaf in leaves))
            return out, [leaf for leaf in leaves if id(leaf) not in position]

        (z, members), own = jax.vmap(member, axis_size=self.members)(params, state["members"], self._keys(key))
        y, of_vote = self._op.fwd(z, state["weights"])
        shared = {i: given[i] for i in sorted({i for i in seen["remembered"].given if i is not None})}
        residuals = {"members": own, "shared": shared, "remembered": seen["remembered"], "vote": of_vote}
        return (y, {"weights": state["weights"], "members": members}), residuals

    def bwd(self, residuals, dy):
        def member(own, dz):
            return self._model.bwd(residuals["remembered"].put_together(own, residuals["shared"]), dz)

        dz, _ = self._op.bwd(residuals["vote"], dy)
        d_params, dx = jax.vmap(member, axis_size=self.members)(residuals["members"], dz)
        return d_params, jax.tree.map(lambda d: d.sum(0), dx)

    @property
    def _model(self) -> Layer:
        return self.model  # pyright: ignore[reportReturnType] - a layer from `__post_init__` on

    @property
    def _op(self) -> Op:
        return as_op(self.combine)

    def _keys(self, key):
        return None if key is None else jax.vmap(child_key, (None, 0))(key, jnp.arange(self.members))

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self._model}

    @property
    def hand(self) -> bool:
        return self._model.hand and self._op.hand

    def freeze(self, frozen):
        return Ensemble(self._model.freeze(frozen), self.members, combine=self.combine)


def as_op(combine: Op | Callable[[Any, Any], Any]) -> Op:
    """Return a function of outputs and weights as an op, with JAX's own backward if it is none yet.

    Raises:
        TypeError: It is neither.
    """
    if not callable(combine):
        raise TypeError("expected combine to be an op or a function of outputs and weights, because it makes one "
                        f"output of those of members; got {combine!r}")  # fmt: skip
    return combine if isinstance(combine, Op) else Op(combine)


def check_one_array(y: Any) -> None:
    """Raise an error unless a member puts out one array.

    Raises:
        TypeError: It puts out several.
    """
    if not is_array(y):
        raise TypeError(f"expected one array as the output of a member, because outputs are combined; got "
                        f"{describe(y)}")  # fmt: skip
