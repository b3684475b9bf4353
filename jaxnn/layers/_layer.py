"""A layer: settings, with the pure functions that initialise, apply and differentiate it."""

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, TypeAlias, final

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxnn.errors import describe, is_array, located
from jaxnn.layers._auxiliary import auxiliary_loss
from jaxnn.ops import Op, add, concatenate, last, mean_over_time
from jaxnn.ops._op import pull, pullback
from jaxnn.ops._settings import static
from jaxnn.typing import Array, Key, Params, Residuals, Sequences, State


class Layer(ABC):
    """Settings of a layer, and four pure functions of them.

    ==============================================================  ====================================
    `init(key, x) -> (params, state)`                               x is an array or a `ShapeDtypeStruct`
    `apply(params, state, x, *, key, train) -> (y, state)`          the layer
    `fwd(params, state, x, *, key, train) -> ((y, state), residuals)`  the layer, remembering
    `bwd(residuals, dy) -> (d_params, dx)`                          the layer, backwards
    ==============================================================  ====================================

    A layer is a frozen dataclass that holds settings and never arrays, so it prints, compares, hashes and
    pickles. `x` has a leading batch axis. `train` is a Python bool. `key` is needed by layers that draw
    random numbers in training, and by no others. `bwd` returns `None` where there is no gradient: for `dx`
    if x is integer, and for `d_params` that are provably zero.

    A new layer defines `init`, and either `apply` (JAX then derives its backward), or `fwd` and `bwd`
    (`apply` is then `fwd` without its residuals), or all three:

    >>> import jax, jaxnn as nn
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class GradientReversal(nn.Layer):
    ...     strength: float = 1.0
    ...     def init(self, key, x):
    ...         return {}, {}
    ...     def fwd(self, params, state, x, *, key=None, train=False):
    ...         return (x, state), ()
    ...     def bwd(self, residuals, dy):
    ...         return {}, -self.strength * dy
    >>> GradientReversal(0.5), GradientReversal(0.5).hand
    (GradientReversal(strength=0.5), True)
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        apply, fwd, bwd = (getattr(cls, name) is not getattr(Layer, name) for name in ("apply", "fwd", "bwd"))
        if fwd != bwd or not (apply or fwd):
            raise TypeError(f"expected {cls.__name__} to define apply, or fwd and bwd, or all three")

    @abstractmethod
    def init(self, key: Key, x: Any) -> tuple[Params, State]:
        """Draw parameters and initial state for inputs of the shape and dtype of `x`."""

    def apply(
        self, params: Params, state: State, x: Any, *, key: Key | None = None, train: bool = False
    ) -> tuple[Any, State]:
        """Return the output and the new state."""
        return self.fwd(params, state, x, key=key, train=train)[0]

    def fwd(
        self, params: Params, state: State, x: Any, *, key: Key | None = None, train: bool = False
    ) -> tuple[tuple[Any, State], Residuals]:
        """Return the output and the new state, and what the backward needs."""

        def apply(params, x):
            y, new = self.apply(params, state, x, key=key, train=train)
            return (y, auxiliary_loss(new)), new

        ((y, added), new), backward = pullback(apply, params, x, has_aux=True)
        return (y, new), (backward, jax.tree.map(jnp.ones_like, added))

    def bwd(self, residuals: Residuals, dy: Any) -> tuple[Params, Any]:
        """Return the cotangents of the parameters and of the input, given that of the output."""
        backward, d_added = residuals  # the loss has a slope of 1 by what a layer adds to it
        d_params, dx = pull(backward, (dy, d_added))
        return d_params, dx

    @property
    def name(self) -> str:
        """What the layer is called among its siblings, before its number: `batch_norm` of `batch_norm_0`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def hand(self) -> bool:
        """Whether the backward is written by hand, in this layer and all within it."""
        written = type(self).bwd is not Layer.bwd
        return written and all(layer.hand for layer in self.children.values())

    @property
    def children(self) -> Mapping[str, "Layer"]:
        """The layers within, by name; empty for all but combinators."""
        return {}

    def freeze(self, frozen: Params) -> "Layer":
        """Return the layer as it runs when the leaves of `frozen` that are not `None` are held fixed."""
        del frozen
        return self

    def __repr__(self) -> str:
        return show(self)


LayerLike: TypeAlias = Layer | Op | Callable[[Any], Any]
"""A layer, or what stands for one wherever a layer may: an op of one array, or a function of one array."""


class OpLayer(Layer):
    """A layer that wires one op to its input and its named parameters, and so has all three.

    A subclass states `op`; `arrays`, the op's arrays by name, where `"x"` is the input and any other name a
    parameter; and, if these settings leave some of them out, which `parameters` there are. Fields that are named
    like a setting of the op are that setting. Without parameters it needs no `init`.

    Raises:
        ValueError: The parameters do not have these names.
    """

    op: ClassVar[Op]
    arrays: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        for setting in fields(self) if is_dataclass(self) else ():
            object.__setattr__(self, setting.name, static(getattr(self, setting.name)))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters with these settings; the op's other arrays are `None`."""
        return tuple(name for name in self.arrays if name != "x")

    @property
    def settings(self) -> dict[str, Any]:
        """The op's keyword settings."""
        names = (setting.name for setting in fields(self)) if is_dataclass(self) else ()
        return {name: getattr(self, name) for name in names if name in self.op.keywords}

    @property
    def hand(self) -> bool:
        return self.op.hand

    def init(self, key: Key, x: Any) -> tuple[Params, State]:
        del key, x
        if self.parameters:
            raise TypeError(f"expected {type(self).__name__} to define init, because it has the parameters "
                            f"{', '.join(self.parameters)}; got none")  # fmt: skip
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        return self.op(*self._wired(params, x), **self.settings), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        y, residuals = self.op.fwd(*self._wired(params, x), **self.settings)
        return (y, state), residuals

    def bwd(self, residuals, dy):
        d = dict(zip(self.arrays, self.op.bwd(residuals, dy, **self.settings), strict=True))
        dx = d.pop("x")
        return {name: d_leaf for name, d_leaf in d.items() if d_leaf is not None}, dx

    def _wired(self, params, x):
        check_names(self, params, self.parameters)
        return [x if name == "x" else params.get(name) for name in self.arrays]


@final
@dataclass(frozen=True, repr=False)
class Unary(OpLayer):
    """An op of one array as a layer, without parameters: what `serial(..., relu, ...)` makes of `relu`."""

    op: Op  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def name(self) -> str:
        return self.op.name

    def __repr__(self) -> str:
        return repr(self.op)


@final
@dataclass(frozen=True, repr=False)
class Joining(Layer):
    """An op of several arrays, as a layer whose input is the tuple of them: `concatenate` or `add`."""

    op: Op

    def init(self, key, x):
        del key, x
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key, train
        return self.op(*x), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key, train
        y, residuals = self.op.fwd(*x)
        return (y, state), residuals

    def bwd(self, residuals, dy):
        return {}, self.op.bwd(residuals, dy)

    @property
    def name(self) -> str:
        return self.op.name

    @property
    def hand(self) -> bool:
        return self.op.hand

    def __repr__(self) -> str:
        return self.op.name


@final
@dataclass(frozen=True, repr=False)
class OverTime(Layer):
    """An op of sequences and their lengths, as a layer whose input is an array or `Sequences`: `last`."""

    op: Op

    def init(self, key, x):
        del key, x
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key, train
        return self.op(*self._arrays(x)), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key, train
        y, residuals = self.op.fwd(*self._arrays(x))
        return (y, state), {"sequences" if isinstance(x, Sequences) else "array": residuals}

    def bwd(self, residuals, dy):
        ((given, residuals),) = residuals.items()
        dx, _ = self.op.bwd(residuals, dy)
        return {}, Sequences(dx) if given == "sequences" else dx

    @property
    def name(self) -> str:
        return self.op.name

    @property
    def hand(self) -> bool:
        return self.op.hand

    def _arrays(self, x):
        return (x.x, x.lengths) if isinstance(x, Sequences) else (x, None)

    def __repr__(self) -> str:
        return self.op.name


@final
@dataclass(frozen=True, repr=False)
class Function(Layer):
    """A function of one array as a layer, with JAX's own backward."""

    function: Callable[[Any], Any]

    def init(self, key, x):
        del key, x
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key, train
        return self.function(x), state

    @property
    def name(self) -> str:
        name = getattr(self.function, "__name__", "function")
        return name if name.isidentifier() else "function"

    def __repr__(self) -> str:
        return self.name


def as_layer(layer: LayerLike) -> Layer:
    """Return the layer that `layer` is or stands for.

    >>> import jaxnn as nn
    >>> as_layer(nn.relu), as_layer(lambda x: 2 * x).hand
    (relu, False)
    """
    if isinstance(layer, Layer):
        return layer
    if isinstance(layer, Op):
        if layer in (add, concatenate):
            return Joining(layer)
        return OverTime(layer) if layer in (last, mean_over_time) else Unary(layer)
    if isinstance(layer, type):
        raise TypeError(f"expected a layer, because it is to be applied; got the class {layer.__name__}: "
                        f"write {layer.__name__}(...)")  # fmt: skip
    if callable(layer):
        return Function(layer)
    raise TypeError(f"expected a layer, an op or a function of one array; got {layer!r}")


def outline(x: Any) -> Any:
    """Return the shapes and dtypes of a tree of arrays without their data."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), x)


def output_outline(layer: Layer, params: Params, state: State, x: Any) -> Any:
    """Return the shape and dtype of the layer's output; nothing is computed."""
    return jax.eval_shape(lambda *arrays: layer.apply(*arrays)[0], params, state, x)


def parameter_dtype(x: Any) -> Any:
    """Return the dtype of parameters for input x: its own if it is a floating one, else JAX's default."""
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def child_key(key: Key | None, position: int | Array) -> Key | None:
    """Return the key of the child at `position`: the stream of the parent, folded in with the position."""
    return None if key is None else jax.random.fold_in(key, position)


def show(layer: Any) -> str:
    """Return a dataclass as it would be written: settings that have their default value are left out.

    >>> import jaxnn as nn
    >>> nn.Dense(64), nn.Dense(64, bias=False), nn.Dropout(0.5), nn.LayerNorm(epsilon=1e-6)
    (Dense(64), Dense(64, bias=False), Dropout(0.5), LayerNorm(epsilon=1e-06))
    """
    if not is_dataclass(layer):
        return f"{type(layer).__name__}()"
    shown = []
    for position, setting in enumerate(fields(layer)):
        value = getattr(layer, setting.name)
        text = describe(value) if is_array(value) else repr(value)
        if position == 0 and not setting.kw_only and setting.default is not value:
            shown.append(text)
        elif is_array(value) or is_array(setting.default) or value != setting.default:
            shown.append(f"{setting.name}={text}")
    return f"{type(layer).__name__}({', '.join(shown)})"


@dataclass
class Call:
    """One call of a layer, as an observer sees it: where, which layer, the outlines of what it is given, and y."""

    path: str
    layer: Layer
    params: Any
    state: Any
    x: Any
    y: Any = field(default=None)


_path: ContextVar[tuple[str, ...]] = ContextVar("path", default=())
_observed: ContextVar[list[Call] | None] = ContextVar("observed", default=None)


def check_names(layer: Layer, params: Params, names: Collection[str]) -> None:
    """Raise an error unless `params` has these names and no others."""
    if set(params) != set(names):
        raise ValueError(
            f"expected parameters {', '.join(names) or 'none'}, because the layer is {layer!r}; "
            f"got {', '.join(params) or 'none'}"
        )


def all_held(frozen: Params) -> bool:
    """Whether there are leaves and none of them is `None`: all of them are held fixed."""
    leaves = jax.tree.leaves(frozen, is_leaf=lambda leaf: leaf is None)
    return bool(leaves) and all(leaf is not None for leaf in leaves)


def place(name: str, layer: Layer, x: Any) -> Callable[[], str]:
    """Return what an error's trail says of a layer: `dense_0: Dense(64), input float32[32,784]`."""
    return lambda: f"{name}: {layer!r}, input {describe(x)}"


def call(name: str, method: Callable[..., Any], params: Params, state: State, x: Any, **keywords: Any) -> Any:
    """Call a child's `apply` or `fwd` under its name, so that errors and `observe` know where they are.

    Combinators call their children through this and no other way.
    """
    layer: Layer = method.__self__  # pyright: ignore[reportFunctionMemberAccess]
    token = _path.set((*_path.get(), name))
    try:
        with located(place(name, layer, x)):
            calls, path = _observed.get(), "/".join(_path.get())
            seen = None
            if calls is not None:
                seen = Call(path, layer, *outline((params, state, x)))
                calls.append(seen)
            out = method(params, state, x, **keywords)
            if not (isinstance(out, tuple) and len(out) == 2):
                raise TypeError(f"expected {method.__name__} to return a pair, because state is handed on beside the "
                                f"output; got {type(out).__name__}")  # fmt: skip
            if seen is not None:
                seen.y = jax.tree.map(lambda a: checkpoint_name(a, path), out[0])
                out = seen.y, out[1]
            return out
    finally:
        _path.reset(token)


@contextlib.contextmanager
def observe() -> Iterator[list[Call]]:
    """Collect every call of a named layer's `apply` within, in the order in which they begin.

    In a program that is traced within, what each puts out has its path for a `checkpoint_name`.
    """
    calls: list[Call] = []
    token = _observed.set(calls)
    try:
        yield calls
    finally:
        _observed.reset(token)
