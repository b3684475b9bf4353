"""A recurrent layer in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn.errors import located
from jaxnn.layers._layer import Layer, call, child_key, place
from jaxnn.layers._recurrence import Recurrent
from jaxnn.ops import concatenate
from jaxnn.typing import Sequences


@final
@dataclass(frozen=True, repr=False)
class Bidirectional(Layer):
    """Two copies of a recurrent layer, which run to meet each other, as `bidirectional` makes it.

    Attributes:
        layer: The one that runs forward.
    """

    layer: Recurrent

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            raise TypeError(f"expected a recurrent layer, because it is run in both directions; got {self.layer!r}")
        if self.layer.reverse:
            raise ValueError("expected a layer with reverse=False, because it is the one that runs forward; "
                             f"got {self.layer!r}")  # fmt: skip
        if self.layer.stateful:
            raise ValueError("expected a layer with stateful=False, because what runs backwards begins at the end of a "
                             f"sequence, which does not go on; got {self.layer!r}")  # fmt: skip

    def init(self, key, x):
        params, state = {}, {}
        for i, (name, layer) in enumerate(self.children.items()):
            with located(place(name, layer, x)):
                params[name], state[name] = layer.init(jax.random.fold_in(key, i), x)
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        y, new = {}, {}
        for i, (name, layer) in enumerate(self.children.items()):
            y[name], new[name] = call(
                name, layer.apply, params[name], state.get(name, {}), _one_of(x, i), key=child_key(key, i), train=train
            )
        return _joined(concatenate, *y.values()), new

    def fwd(self, params, state, x, *, key=None, train=False):
        y, new, residuals = {}, {}, {}
        for i, (name, layer) in enumerate(self.children.items()):
            (y[name], new[name]), residuals[name] = call(
                name, layer.fwd, params[name], state.get(name, {}), _one_of(x, i), key=child_key(key, i), train=train
            )
        return (_joined(concatenate.plain, *y.values()), new), residuals

    def bwd(self, residuals, dy):
        d_params, dx = {}, {}
        for (name, layer), dy_i in zip(self.children.items(), _split(dy), strict=True):
            d_params[name], dx[name] = layer.bwd(residuals[name], dy_i)
        return d_params, _added(*dx.values())

    @property
    def children(self) -> Mapping[str, Layer]:
        backward = replace(self.layer, reverse=True)  # pyright: ignore[reportArgumentType]
        return {"forward": self.layer, "backward": backward}

    def __repr__(self) -> str:
        return f"bidirectional({self.layer!r})"


def bidirectional(layer: Recurrent) -> Bidirectional:
    """Run a recurrent layer over x, and a copy of it backwards, y_t = (forward h_t, backward h_t) side by side.

    So y has twice its features, and each step of it has seen the whole sequence. The copies have parameters of their
    own, under the names `forward` and `backward`. Of `Sequences` both `begin` and `end` are pairs of carries; the
    copy that runs backwards begins at the last step of each sequence, and ends at the first.

    Args:
        layer: An `RNN`, `LSTM` or `GRU`.

    Raises:
        TypeError: It is no recurrent layer.
        ValueError: It runs backwards already, or is stateful.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.bidirectional(nn.LSTM(8))
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 5, 3)))
    >>> list(params), model.apply(params, state, jnp.zeros((2, 5, 3)))[0].shape
    (['forward', 'backward'], (2, 5, 16))

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997).
    """
    return Bidirectional(layer)


def _one_of(x: Any, i: int) -> Any:
    """What one of the two is given."""
    if not isinstance(x, Sequences) or x.begin is None:
        return x
    if not isinstance(x.begin, tuple) or len(x.begin) != 2:
        raise TypeError("expected begin as a pair, because what runs backwards has a carry of its own; "
                        f"got {type(x.begin).__name__}")  # fmt: skip
    return x._replace(begin=x.begin[i])


def _joined(concatenate: Any, forward: Any, backward: Any) -> Any:
    """The outputs of both side by side; the carries with which they end as a pair."""
    if not isinstance(forward, Sequences):
        return concatenate(forward, backward)
    return forward._replace(x=concatenate(forward.x, backward.x), end=(forward.end, backward.end))


def _split(dy: Any) -> Any:
    """The cotangent of the output of each."""
    if not isinstance(dy, Sequences):
        return jnp.split(dy, 2, axis=-1)
    values = (None, None) if dy.x is None else jnp.split(dy.x, 2, axis=-1)
    ends = (None, None) if dy.end is None else dy.end
    return [Sequences(value, end=end) for value, end in zip(values, ends, strict=True)]


def _added(forward: Any, backward: Any) -> Any:
    """The cotangent of what both were given; but each has a begin of its own."""
    if not isinstance(forward, Sequences):
        return forward + backward
    begin = None if forward.begin is None else (forward.begin, backward.begin)
    return Sequences(forward.x + backward.x, begin=begin)
