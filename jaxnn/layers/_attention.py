"""Self-attention: the steps of a sequence look at each other; and the cache with which one decodes."""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError, values
from jaxnn.initializers import Initializer, lecun_normal, zeros
from jaxnn.layers._each_step import values_of, with_values
from jaxnn.layers._heads import (
    check_heads,
    check_sequence,
    drawn,
    features_of_heads,
    in_a_row,
    into_heads,
    names_of,
    present,
    projected,
    within,
)
from jaxnn.layers._layer import Layer, check_names, parameter_dtype
from jaxnn.ops import attention, linear, rotary
from jaxnn.typing import Sequences


@final
@dataclass(frozen=True, repr=False)
class SelfAttention(Layer):
    """Every step of a sequence looks at the sequence, y = concat_h(attention(q_h, k_h, v_h)) w_o + b_o.

    q, k and v of all heads are x w_qkv + b_qkv, cut up in this order. x is `(batch, time, width)`, or `Sequences` of
    that, whose lengths say what is seen, or a pair `(x, mask)` with a mask as `ops.attention` takes it. y is
    `Sequences` if x is, and otherwise an array of the shape of x.

    Parameters: `w_qkv`, `(width, (heads + 2 kv_heads) features)`; `w_o`, `(heads features, width)`; with a bias
    `b_qkv`, `b_o`. One product is faster than three. Weights from elsewhere are put side by side: of flax
    `concatenate([kernel.reshape(width, -1) for each of query, key, value], axis=1)`; PyTorch's `in_proj_weight.T` and
    `out_proj.weight.T` are these two.

    State: with a cache `k`, `v`, `(batch, cache, kv_heads, features)`, and `length`, how many steps are in it. Every
    call puts its steps behind those, and they see all up to themselves: steps that come one by one, or in chunks, get
    what the whole sequence at once would. A model without a cache has the same parameters: train that one. The
    gradient of a call is by what it is given, not by what it finds.

    Attributes:
        heads: Number of heads.
        kv_heads: Heads of k and v, a divisor of `heads`; `None` for as many. 1 is multi-query attention.
        features: Of each head; `None` for width / heads.
        causal: Whether a step sees no later ones.
        rotary: Whether q and k are turned by their positions: see `ops.rotary`. With a cache they go on counting.
        base: Of the angles of that.
        bias: Whether there are b_qkv and b_o.
        cache: The number of steps that it holds; `None` for no cache.
        w_init: Initialiser of w_qkv, drawn as one matrix, as in PyTorch, which has xavier_uniform; flax has
            lecun_normal, of each part.
        w_o_init: Initialiser of w_o; `None` for w_init.
        b_init: Initialiser of the biases.

    Raises:
        ShapeError: The heads do not divide the width, a mask fits not, or a sequence is longer than the cache.
        ValueError: Settings contradict each other, or the cache is full; in a compiled program, where that is not
            seen, y is NaN.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jax.random.normal(jax.random.key(1), (1, 6, 8))
    >>> params, _ = nn.SelfAttention(2, causal=True).init(jax.random.key(0), x)
    >>> whole, _ = nn.SelfAttention(2, causal=True).apply(params, {}, x)
    >>> decoder = nn.SelfAttention(2, causal=True, cache=6)
    >>> _, state = decoder.init(jax.random.key(0), x)
    >>> first, state = decoder.apply(params, state, x[:, :4])
    >>> then, state = decoder.apply(params, state, x[:, 4:])
    >>> int(state["length"]), jnp.allclose(jnp.concatenate([first, then], axis=1), whole, atol=1e-6)
    (6, Array(True, dtype=bool))

    Source: Vaswani et al., "Attention is all you need" (2017); Shazeer, "Fast transformer decoding" (2019).
    """

    heads: int
    _: KW_ONLY
    kv_heads: int | None = None
    features: int | None = None
    causal: bool = False
    rotary: bool = False
    base: float = 10000.0
    bias: bool = True
    cache: int | None = None
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    w_o_init: Initializer | None = None
    b_init: Initializer = zeros

    def __post_init__(self) -> None:
        check_heads(self.heads, self.kv_heads)
        if self.cache is not None and not self.causal:
            raise ValueError("expected causal=True, because what is in a cache has not seen what comes after; got "
                             f"causal={self.causal} with cache={self.cache}")  # fmt: skip

    def init(self, key, x):
        x = values_of(x[0] if _is_pair(x) else x)
        features, dtype = features_of_heads(self.heads, self.features, x), parameter_dtype(x)
        width, kv_heads = x.shape[-1], self.kv_heads or self.heads
        shapes = {"qkv": (width, (self.heads + 2 * kv_heads) * features), "o": (self.heads * features, width)}
        inits = {"qkv": self.w_init, "o": self.w_o_init or self.w_init}
        params = drawn(key, shapes, inits, self.b_init if self.bias else None, dtype)
        if self.cache is None:
            return params, {}
        k, v = (jnp.zeros((x.shape[0], self.cache, kv_heads, features), dtype) for _ in "kv")
        return params, {"k": k, "v": v, "length": jnp.zeros((), jnp.int32)}

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        x, mask = self._opened(params, state, x)
        q, k, v = self._cut(projected(values_of(x), params["w_qkv"], params.get("b_qkv")))
        positions = self._positions(state, q)
        if self.rotary:
            q, k = (rotary(a, positions, base=self.base) for a in (q, k))
        q, k, v, mask, state = self._extended(state, positions, q, k, v, mask)
        y = attention(q, k, v, mask, causal=self._causal)
        return with_values(x, projected(in_a_row(y), params["w_o"], params.get("b_o"))), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        x, mask = self._opened(params, state, x)
        qkv, of_qkv = linear.fwd(values_of(x), params["w_qkv"], params.get("b_qkv"))
        q, k, v = self._cut(qkv)
        positions = self._positions(state, q)
        if self.rotary:
            q, k = (rotary.fwd(a, positions, base=self.base)[0] for a in (q, k))
        q, k, v, mask, state = self._extended(state, positions, q, k, v, mask)
        heads, of_heads = attention.fwd(q, k, v, mask, causal=self._causal)
        y, (_, *of_o) = linear.fwd(in_a_row(heads), params["w_o"], params.get("b_o"))  # heads are remembered already
        return (with_values(x, y), state), (of_qkv, positions, of_heads, of_o)

    def bwd(self, residuals, dy):
        of_qkv, positions, of_heads, of_o = residuals
        d_heads, d_w_o, d_b_o = linear.bwd((in_a_row(of_heads.y), *of_o), values_of(dy))
        dq, dk, dv, _ = attention.bwd(of_heads, into_heads(d_heads, self.heads), causal=self._causal)
        if self.cache is not None:  # what was in it already is given
            dk, dv = (lax.dynamic_slice_in_dim(d, positions[0], dq.shape[1], 1) for d in (dk, dv))
        if self.rotary:
            dq, dk = (rotary.bwd(positions, d, base=self.base)[0] for d in (dq, dk))
        d_qkv = jnp.concatenate([in_a_row(d) for d in (dq, dk, dv)], -1)
        dx, d_w_qkv, d_b_qkv = linear.bwd(of_qkv, d_qkv)
        d_params = {"w_qkv": d_w_qkv, "b_qkv": d_b_qkv, "w_o": d_w_o, "b_o": d_b_o}
        was_pair = of_heads.mask is not None and self.cache is None and not isinstance(dy, Sequences)
        return present(d_params), (dx, None) if was_pair else with_values(dy, dx)

    @property
    def _causal(self) -> bool:
        """Whether the op counts steps; with a cache the mask does."""
        return self.causal and self.cache is None

    def _opened(self, params, state, x):
        """The array or the sequences, and what is seen of them."""
        check_names(self, params, names_of(("qkv", "o"), self.bias))
        given, mask = x if _is_pair(x) else (x, within(x))
        check_sequence("x", values_of(given))
        if self.cache is not None:
            if mask is not None or isinstance(x, Sequences):
                raise TypeError("expected an array, because the cache counts the steps of all sequences alike; got "
                                f"{'Sequences' if isinstance(x, Sequences) else 'a mask'}")  # fmt: skip
            self._check_room(state, x)
        return given, mask

    def _check_room(self, state, x):
        batch, length = state["k"].shape[0], values(state["length"])
        if x.shape[0] != batch:
            raise ShapeError(f"x of shape ({batch}, time, width)", why="the cache was made for such a batch",
                             got=tuple(x.shape), hint="init with x of the batch that is decoded")  # fmt: skip
        if x.shape[1] + (length or 0) > self.cache:
            raise ValueError(f"expected at most {self.cache} steps, because cache={self.cache}; got {x.shape[1]}"
                             + (f" after {length}" if length else ""))  # fmt: skip

    def _cut(self, qkv):
        """q, k and v, `(batch, time, heads, features)`, of the outputs of the first product."""
        kv_heads = self.kv_heads or self.heads
        features = qkv.shape[-1] // (self.heads + 2 * kv_heads)
        ends = self.heads * features, (self.heads + kv_heads) * features
        return map(into_heads, jnp.split(qkv, ends, -1), (self.heads, kv_heads, kv_heads))

    def _positions(self, state, q):
        """Of the steps, counted from the first in the cache; `None` if nobody asks."""
        if self.cache is None and not self.rotary:
            return None
        first = 0 if self.cache is None else state["length"]
        return first + jnp.arange(q.shape[1], dtype=jnp.int32)

    def _extended(self, state, positions, q, k, v, mask):
        """q, k, v and the mask with what the cache holds, and the new state."""
        if self.cache is None:
            return q, k, v, mask, state
        length, time = state["length"], q.shape[1]
        # In the dtype with which the cache was made, which `in_precision` leaves as it is.
        put = lambda held, new: lax.dynamic_update_slice_in_dim(held, new.astype(held.dtype), length, 1)
        held = {"k": put(state["k"], k), "v": put(state["v"], v)}
        k, v = (held[name].astype(q.dtype) for name in "kv")
        mask = jnp.arange(self.cache, dtype=jnp.int32)[None, None, :] <= positions[None, :, None]
        q = q + jnp.where(length + time <= self.cache, 0, jnp.nan).astype(q.dtype)  # where nobody can be told
        return q, k, v, mask, held | {"length": length + time}


def _is_pair(x):
    return isinstance(x, tuple) and not isinstance(x, Sequences)
