"""Positions, added to what stands at them: a table that is learned, or sines and cosines."""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax.numpy as jnp

from jaxnn.errors import ShapeError, values
from jaxnn.initializers import Initializer, normal
from jaxnn.layers._each_step import values_of, with_values
from jaxnn.layers._layer import Layer, check_names, parameter_dtype
from jaxnn.ops import embed
from jaxnn.ops._positions import sinusoidal


@final
@dataclass(frozen=True, repr=False)
class PositionalEmbedding(Layer):
    """Add a learned vector for each position, y_t = x_t + table_t.

    x is `(batch, time, features)` or `Sequences` of that, and y is like it.

    Parameters: `table`, `(length, features)`. State: with a cache `position`, that of the next step; then a call goes
    on where the last one ended, as it does with the cache of `SelfAttention`.

    Attributes:
        length: Number of positions, from 0 to length - 1.
        cache: Whether positions are counted from call to call.
        table_init: Initialiser of the table. N(0, 0.02^2), as in BERT and GPT-2.

    Raises:
        ShapeError: There are more steps than positions. In a compiled program, where steps of earlier calls are
            not seen, y is NaN.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.zeros((2, 3, 4))
    >>> params, state = nn.PositionalEmbedding(8).init(jax.random.key(0), x)
    >>> y, state = nn.PositionalEmbedding(8).apply(params, state, x)
    >>> bool((y[0] == params["table"][:3]).all())
    True

    Source: Gehring et al., "Convolutional sequence to sequence learning" (2017).
    """

    length: int
    _: KW_ONLY
    cache: bool = False
    table_init: Initializer = normal(0.02)  # noqa: RUF009 - a frozen value

    def init(self, key, x):
        x = values_of(x)
        _check_steps(x)
        return {"table": self.table_init(key, (self.length, x.shape[-1]), parameter_dtype(x))}, _beginning(self.cache)

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        positions, state = self._counted(params, state, x)
        return _added(x, embed(positions, params["table"])), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        positions, state = self._counted(params, state, x)
        rows, residuals = embed.fwd(positions, params["table"])
        return (_added(x, rows), state), residuals

    def bwd(self, residuals, dy):
        _, d_table = embed.bwd(residuals, values_of(dy).sum(0))
        return {"table": d_table}, dy

    def _counted(self, params, state, x):
        check_names(self, params, ["table"])
        x = values_of(x)
        _check_steps(x)
        before = values(state["position"]) if self.cache else 0
        if x.shape[1] + (before or 0) > self.length:
            raise ShapeError(f"at most {self.length} steps", why=f"the table has {self.length} positions",
                             got=f"{x.shape[1]} steps" + (f" after {before}" if before else ""))  # fmt: skip
        return _count(self.cache, state, x)


@final
@dataclass(frozen=True, repr=False)
class Sinusoidal(Layer):
    """Add sines and cosines of the position, y_t = x_t + p_t, with p of `ops.sinusoidal`.

    x is `(batch, time, features)`, or `Sequences` of that, with an even number of features, and y is like it.

    State: with a cache `position`, that of the next step; then a call goes on where the last one ended.

    Attributes:
        base: Of the angles.
        cache: Whether positions are counted from call to call.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> y, _ = nn.Sinusoidal().apply({}, {}, jnp.zeros((1, 2, 4)))
    >>> (100 * y[0]).round()
    Array([[  0., 100.,   0., 100.],
           [ 84.,  54.,   1., 100.]], dtype=float32)

    Source: Vaswani et al., "Attention is all you need" (2017).
    """

    _: KW_ONLY
    base: float = 10000.0
    cache: bool = False

    def init(self, key, x):
        del key
        _check_steps(values_of(x))
        return {}, _beginning(self.cache)

    def apply(self, params, state, x, *, key=None, train=False):
        return self.fwd(params, state, x, key=key, train=train)[0]

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key, train
        within = values_of(x)
        _check_steps(within)
        positions, state = _count(self.cache, state, within)
        return (_added(x, sinusoidal(positions, within.shape[-1], base=self.base, dtype=within.dtype)), state), ()

    def bwd(self, residuals, dy):
        return {}, dy


def _check_steps(x):
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ShapeError("floating x of shape (batch, time, features)", why="a vector is added to each step",
                         got=f"{x.dtype} of shape {tuple(x.shape)}")  # fmt: skip


def _beginning(cache):
    return {"position": jnp.zeros((), jnp.int32)} if cache else {}


def _count(cache, state, x):
    """The positions of the steps of x, and the new state."""
    steps = jnp.arange(x.shape[1], dtype=jnp.int32)
    if not cache:
        return steps, state
    return state["position"] + steps, {"position": state["position"] + x.shape[1]}


def _added(x, rows):
    within = values_of(x)
    return with_values(x, within + jnp.broadcast_to(rows, within.shape))
