"""Initialisation that looks at data: orthogonal weights, scaled until each layer's output has variance 1."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import located, values
from jaxnn.initializers._orthogonal import orthonormal
from jaxnn.layers import Conv, ConvTranspose, Dense, DepthwiseConv, Layer, Parallel, Remat, Repeat, Residual, Serial
from jaxnn.layers._layer import LayerLike, as_layer, child_key, place
from jaxnn.ops import add
from jaxnn.typing import Array, Data, Key, Params, State, accumulator_dtype


def lsuv(
    model: LayerLike, params: Params, state: State, batch: Any, *, key: Key | None = None, train: bool = False
) -> Params:
    """Layer-sequential unit variance: orthogonal weights, each layer's output of variance 1 on the batch.

    From the first layer to the last, with those before it done: the weight w of a dense layer or a convolution is
    replaced by the orthonormal factor of itself (which of normal numbers is an orthogonal matrix, all of them equally
    likely, and of an orthogonal one that one), and then w and b are divided by the standard deviation of the layer's
    output, over all its elements. It is linear in both, so once is enough. Other parameters stay. A `repeat` is gone
    through copy by copy. Within a residual the layers have variance 1; the sums, of course, grow.

    A pure function: compile it, map it over keys of the parameters or over batches. (The paper scales w alone, which
    is the same while biases are zero, as they are at first.)

    Args:
        model: A layer, or layers in `serial`, `parallel`, `residual` and `repeat`, however nested.
        params: Its parameters, drawn at random.
        state: Its state; it is not changed.
        batch: A `Data`, or its x alone. The more examples, the nearer to 1 the variance on others.
        key: For layers that draw random numbers in training, if `train`.
        train: Whether dropout drops and batch normalisation takes the batch's own statistics meanwhile.

    Returns:
        Parameters of the same shapes and dtypes.

    Raises:
        ValueError: The weights of a layer, or of one of its groups, are all alike, such as zeros, of which there is no
            orthonormal factor; or its output does not vary, or is not finite. (In a compiled function and within
            `repeat`, where that cannot be seen, such weights are scaled as they are, and such an output is not.)
        TypeError: A layer of another kind has layers within, and what they are given cannot be known.

    >>> import jaxnn as nn
    >>> model, x = nn.serial(nn.Dense(32), nn.relu, nn.Dense(32)), jax.random.normal(jax.random.key(1), (64, 16))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> params = lsuv(model, params, state, x)
    >>> model.apply(params, state, x)[0].var().round(3)
    Array(1., dtype=float32)

    Source: Mishkin and Matas, "All you need is a good init" (2016).
    """
    x = batch.x if isinstance(batch, Data) else batch
    return _scaled(as_layer(model), params, state, jax.tree.map(jnp.asarray, x), key, train)[0]


def _scaled(layer: Layer, params: Params, state: State, x: Any, key: Key | None, train: bool) -> tuple[Params, Any]:
    """Return the layer's new parameters, and its output with them."""
    match layer:
        case Dense() | Conv() | DepthwiseConv() | ConvTranspose():
            params = {**params, "w": _orthogonal(layer, params["w"])}
            deviation = _deviation(layer.apply(params, state, x)[0])
            params = {name: (p / deviation.astype(p.dtype)) for name, p in params.items()}
            return params, layer.apply(params, state, x)[0]
        case Serial(layers=layers):
            new = {}
            for i, (name, child) in enumerate(layers):
                new[name], x = _child(name, child, params, state, x, child_key(key, i), train)
            return new, x
        case Parallel(layers=layers):
            new, y = {}, {}
            for i, (name, child) in enumerate(layers):
                new[name], y[name] = _child(name, child, params, state, x, child_key(key, i), train)
            return new, tuple(y.values())
        case Residual(layer=child):
            params, y = _scaled(child, params, state, x, key, train)
            return params, add(x, y)
        case Remat(layer=child):
            return _scaled(child, params, state, x, key, train)
        case Repeat(layer=child, n=n):

            def block(x, copy):
                params, state, key = copy
                params, y = _scaled(child, params, state, x, key, train)
                return y, params

            keys = None if key is None else jax.vmap(child_key, (None, 0))(key, jnp.arange(n))
            y, params = lax.scan(block, x, (params, state, keys), length=n)
            return params, y
    if any(map(_scales, layer.children.values())):
        raise TypeError(f"expected serial, parallel, residual or repeat, because what the layers within are given must "
                        f"be known; got {layer!r}")  # fmt: skip
    return params, layer.apply(params, state, x, key=key, train=train)[0]


def _scales(layer: Layer) -> bool:
    """Whether there is a layer to scale in it."""
    return isinstance(layer, Dense | Conv | DepthwiseConv | ConvTranspose) or any(map(_scales, layer.children.values()))


def _child(name, layer, params, state, x, key, train):
    with located(place(name, layer, x)):
        return _scaled(layer, params.get(name, {}), state.get(name, {}), x, key, train)


def _orthogonal(layer: Layer, w: Array) -> Array:
    """The orthonormal factor of a weight, of each group by itself: what a unit sums over against units.

    Of zeros, and of units that are all alike, QR would make up a factor that has nothing to do with them.
    """
    groups = w.shape[-1] // layer.multiplier if isinstance(layer, DepthwiseConv) else getattr(layer, "groups", 1)
    apart = w.reshape(*w.shape[:-1], groups, w.shape[-1] // groups)
    apart = apart.swapaxes(-1, -3) if isinstance(layer, ConvTranspose) else apart
    each = jnp.moveaxis(apart, -2, 0)
    matrices = each.reshape(groups, -1, each.shape[-1]).astype(accumulator_dtype(w.dtype))
    first = matrices[:, :1, :1]
    alike = (matrices == first).all((1, 2), keepdims=True) & ((first == 0) | (min(matrices.shape[1:]) > 1))
    seen = values(alike)
    if seen is not None and seen.any():
        error = ValueError(f"expected weights that were drawn at random, because their orthonormal factor takes their "
                           f"place; got weights that are all {matrices[seen.argmax(), 0, 0]}")  # fmt: skip
        error.add_note("  hint: begin with w_init=jaxnn.initializers.orthogonal()")
        raise error
    factors = jnp.where(alike, matrices, jax.vmap(orthonormal)(matrices))
    new = jnp.moveaxis(factors.reshape(each.shape), 0, -2)
    new = new.swapaxes(-1, -3) if isinstance(layer, ConvTranspose) else new
    return new.reshape(w.shape).astype(w.dtype)


def _deviation(y: Array) -> Array:
    """The standard deviation of an output: the divisor of what it is linear in."""
    deviation = y.astype(accumulator_dtype(y.dtype)).std()
    good = (deviation > 0) & jnp.isfinite(deviation)
    seen = values(good)
    if seen is not None and not seen:
        raise ValueError(f"expected an output that varies and is finite, because it is scaled to variance 1; "
                         f"got one of standard deviation {deviation}")  # fmt: skip
    return jnp.where(good, deviation, 1)
