"""Combinators: layers made of layers. Their backward is the chain rule."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError, describe, located
from jaxnn.layers._auxiliary import check_way_back
from jaxnn.layers._layer import (
    Layer,
    LayerLike,
    all_held,
    as_layer,
    call,
    child_key,
    outline,
    output_outline,
    place,
)
from jaxnn.ops import add
from jaxnn.typing import Sequences


@final
@dataclass(frozen=True, repr=False)
class Serial(Layer):
    """Layers one after another, y = f_k(... f_2(f_1(x))), as `serial` makes them.

    Attributes:
        layers: Names and layers, in order.
    """

    layers: tuple[tuple[str, Layer], ...]

    def init(self, key, x):
        params, state, x = {}, {}, outline(x)
        for i, (name, layer) in enumerate(self.layers):
            with located(place(name, layer, x)):
                params[name], state[name] = layer.init(jax.random.fold_in(key, i), x)
                x = output_outline(layer, params[name], state[name], x)
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        new = {}
        for i, (name, layer) in enumerate(self.layers):
            x, new[name] = call(
                name, layer.apply, params.get(name, {}), state.get(name, {}), x, key=child_key(key, i), train=train
            )
        return x, new

    def fwd(self, params, state, x, *, key=None, train=False):
        new, residuals = {}, {}
        for i, (name, layer) in enumerate(self.layers):
            (x, new[name]), residuals[name] = call(
                name, layer.fwd, params.get(name, {}), state.get(name, {}), x, key=child_key(key, i), train=train
            )
            if train:
                check_way_back(name, x, new)
        return (x, new), residuals

    def bwd(self, residuals, dy):
        d_params = {}
        for name, layer in reversed(self.layers):
            if not jax.tree.leaves(dy):  # integers have no gradient, and nothing below them has
                break
            d_params[name], dy = layer.bwd(residuals[name], dy)
        return d_params, dy

    @property
    def children(self) -> Mapping[str, Layer]:
        return dict(self.layers)

    def freeze(self, frozen):
        return Serial(_frozen(self.layers, frozen))

    def __repr__(self) -> str:
        return _written("serial", self.layers)


def serial(*layers: LayerLike, **named: LayerLike) -> Serial:
    """Put layers one after another.

    Args:
        *layers: Layers, ops or functions, named by kind and number: `dense_0`, `relu_0`, `dense_1`.
        **named: Further layers under names of your own.

    Returns:
        A layer whose params and state are dicts by name.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.serial(nn.Dense(64), nn.relu, nn.Dense(10))
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 784)))
    >>> jax.tree.map(jnp.shape, params)
    {'dense_0': {'b': (64,), 'w': (784, 64)}, 'dense_1': {'b': (10,), 'w': (64, 10)}, 'relu_0': {}}
    >>> nn.serial(stem=nn.Dense(64), head=nn.Dense(10))
    serial(stem=Dense(64), head=Dense(10))
    """
    return Serial(_named(layers, named))


@final
@dataclass(frozen=True, repr=False)
class Parallel(Layer):
    """Layers side by side on one input, y = (f_1(x), ..., f_k(x)), as `parallel` makes them.

    Attributes:
        layers: Names and layers, in order.
    """

    layers: tuple[tuple[str, Layer], ...]

    def init(self, key, x):
        params, state, x = {}, {}, outline(x)
        for i, (name, layer) in enumerate(self.layers):
            with located(place(name, layer, x)):
                params[name], state[name] = layer.init(jax.random.fold_in(key, i), x)
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        y, new = {}, {}
        for i, (name, layer) in enumerate(self.layers):
            y[name], new[name] = call(
                name, layer.apply, params.get(name, {}), state.get(name, {}), x, key=child_key(key, i), train=train
            )
        return tuple(y.values()), new

    def fwd(self, params, state, x, *, key=None, train=False):
        y, new, residuals = {}, {}, {}
        for i, (name, layer) in enumerate(self.layers):
            (y[name], new[name]), residuals[name] = call(
                name, layer.fwd, params.get(name, {}), state.get(name, {}), x, key=child_key(key, i), train=train
            )
            if train:
                check_way_back(name, y[name], new[name])
        return (tuple(y.values()), new), residuals

    def bwd(self, residuals, dy):
        d_params, dx = {}, None
        for (name, layer), dy_i in zip(self.layers, dy, strict=True):
            if dy_i is None:
                continue
            d_params[name], dx_i = layer.bwd(residuals[name], dy_i)
            dx = dx_i if dx is None else dx if dx_i is None else jax.tree.map(jnp.add, dx, dx_i)
        return d_params, dx

    @property
    def children(self) -> Mapping[str, Layer]:
        return dict(self.layers)

    def freeze(self, frozen):
        return Parallel(_frozen(self.layers, frozen))

    def __repr__(self) -> str:
        return _written("parallel", self.layers)


def parallel(*layers: LayerLike, **named: LayerLike) -> Parallel:
    """Give one input to several layers and return the tuple of their outputs.

    Join them with `concatenate` or `add`, which take such a tuple. An input that is needed as it is passes
    through an empty `serial()`.

    Args:
        *layers: Layers, ops or functions, named by kind and number.
        **named: Further layers under names of your own.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.zeros((32, 8))
    >>> wide = nn.serial(nn.parallel(nn.Dense(16), nn.serial()), nn.concatenate)
    >>> params, state = wide.init(jax.random.key(0), x)
    >>> wide.apply(params, state, x)[0].shape
    (32, 24)
    """
    return Parallel(_named(layers, named))


@final
@dataclass(frozen=True, repr=False)
class Residual(Layer):
    """A layer and a way round it, y = x + f(x), as `residual` makes it. It adds no level of names.

    Attributes:
        layer: f, whose output has the shape of its input.
    """

    layer: Layer

    def init(self, key, x):
        params, state = self.layer.init(key, x)
        _onto(add.check, outline(x), output_outline(self.layer, params, state, outline(x)))
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        y, state = self.layer.apply(params, state, x, key=key, train=train)
        return _onto(add, x, y), state

    def fwd(self, params, state, x, *, key=None, train=False):
        (y, state), residuals = self.layer.fwd(params, state, x, key=key, train=train)
        return (_onto(add.plain, x, y), state), residuals

    def bwd(self, residuals, dy):
        d_params, dx = self.layer.bwd(residuals, dy)
        return d_params, dy if dx is None else _onto(jnp.add, dy, dx)

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self.layer}

    def freeze(self, frozen):
        return Residual(self.layer.freeze(frozen))

    def __repr__(self) -> str:
        return f"residual({self.layer!r})"


def residual(*layers: LayerLike, **named: LayerLike) -> Residual:
    """Add a layer's input to its output, y = x + f(x).

    Args:
        *layers: f, or several that are put in series.
        **named: Further layers under names of your own.

    Raises:
        ShapeError: f changes the shape.

    >>> import jaxnn as nn
    >>> nn.residual(nn.Dense(64), nn.relu)
    residual(serial(Dense(64), relu))

    Source: He et al., "Deep residual learning for image recognition" (2016).
    """
    return Residual(one_layer(layers, named))


@final
@dataclass(frozen=True, repr=False)
class Repeat(Layer):
    """n copies of a block one after another, each with parameters of its own, as `repeat` makes them.

    The block is compiled once and run in a `scan`, so compile time does not grow with n. Parameters and
    state are the block's with an axis of length n in front. It adds no level of names.

    Attributes:
        layer: The block, whose output has the shape and dtype of its input.
        n: The number of copies.
    """

    layer: Layer
    n: int

    def init(self, key, x):
        x = outline(x)
        params, state = jax.vmap(lambda key: self.layer.init(key, x))(self._keys(key))
        first = lambda stacked: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), stacked)
        y = output_outline(self.layer, first(params), first(state), x)
        if y != x:
            raise ShapeError(
                f"a block whose output is {describe(x)}, like its input",
                why=f"it is repeated {self.n} times",
                got=describe(y),
            )
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        def block(x, copy):
            params, state, key = copy
            return self.layer.apply(params, state, x, key=key, train=train)

        return lax.scan(block, x, (params, state, self._keys(key)), length=self.n)

    def fwd(self, params, state, x, *, key=None, train=False):
        shared = {}

        def block(x, copy):
            params, state, key = copy
            (y, state), residuals = self.layer.fwd(params, state, x, key=key, train=train)
            # What a block remembers of its parameters is there already, stacked: no need for a second copy.
            leaves, shared["structure"] = jax.tree.flatten(residuals)
            stacked = {id(leaf): i for i, leaf in enumerate(jax.tree.leaves(params))}
            shared["sources"] = [stacked.get(id(leaf)) for leaf in leaves]
            own = [leaf for leaf in leaves if id(leaf) not in stacked]
            return y, (state, own)

        y, (state, own) = lax.scan(block, x, (params, state, self._keys(key)), length=self.n)
        of_params, own = jax.tree.leaves(params), iter(own)
        leaves = [next(own) if i is None else of_params[i] for i in shared["sources"]]
        return (y, state), jax.tree.unflatten(shared["structure"], leaves)

    def bwd(self, residuals, dy):
        def block(dy, residuals):
            d_params, dx = self.layer.bwd(residuals, dy)
            return dx, d_params

        dx, d_params = lax.scan(block, dy, residuals, length=self.n, reverse=True)
        return d_params, dx

    def _keys(self, key):
        return None if key is None else jax.vmap(child_key, (None, 0))(key, jnp.arange(self.n))

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self.layer}

    def freeze(self, frozen):
        return Repeat(self.layer.freeze(frozen), self.n)

    def __repr__(self) -> str:
        return f"repeat({self.layer!r}, {self.n})"


def repeat(layer: LayerLike, n: int) -> Repeat:
    """Put n copies of a block one after another, compiled once.

    Args:
        layer: The block, whose output has the shape and dtype of its input.
        n: The number of copies, at least 1.

    Raises:
        ValueError: n is not positive.
        ShapeError: The block changes the shape or the dtype.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> tower = nn.repeat(nn.residual(nn.Dense(64), nn.relu), 8)
    >>> params, state = tower.init(jax.random.key(0), jnp.zeros((32, 64)))
    >>> params["dense_0"]["w"].shape
    (8, 64, 64)
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"expected n of at least 1, because it counts copies of a block; got {n}")
    return Repeat(as_layer(layer), n)


def _onto(add: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """Add x to y; of `Sequences` to what goes through the layers, and not to the lengths."""
    return y._replace(x=add(x.x, y.x)) if isinstance(y, Sequences) else add(x, y)


def _named(layers: tuple[LayerLike, ...], named: Mapping[str, LayerLike]) -> tuple[tuple[str, Layer], ...]:
    pairs, seen = [], Counter()
    for layer in map(as_layer, layers):
        pairs.append((f"{layer.name}_{seen[layer.name]}", layer))
        seen[layer.name] += 1
    pairs += [(name, as_layer(layer)) for name, layer in named.items()]
    names = [name for name, _ in pairs]
    if any("/" in name or not name for name in names):
        raise ValueError(
            f"expected names of layers without '/', because it joins them; got {', '.join(map(repr, names))}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected one layer a name; {', '.join(twice)} would name two")
    return tuple(pairs)


def one_layer(layers: tuple[LayerLike, ...], named: Mapping[str, LayerLike]) -> Layer:
    """Return the only layer, or several in series."""
    return as_layer(layers[0]) if len(layers) == 1 and not named else serial(*layers, **named)


def _frozen(layers: tuple[tuple[str, Layer], ...], frozen: Any) -> tuple[tuple[str, Layer], ...]:
    held = all_held(frozen)

    def freeze(name: str, layer: Layer) -> Layer:
        own = frozen.get(name, {})
        # A layer without parameters is held where all beside it are; what it is given only has to say so.
        bare = not jax.tree.leaves(own, is_leaf=lambda leaf: leaf is None)
        return layer.freeze(frozen if held and bare else own)

    return tuple((name, freeze(name, layer)) for name, layer in layers)


def _written(name: str, layers: tuple[tuple[str, Layer], ...]) -> str:
    given = {given for given, _ in _named(tuple(layer for _, layer in layers), {})}
    parts = [repr(layer) if name in given else f"{name}={layer!r}" for name, layer in layers]
    return f"{name}({', '.join(parts)})"
