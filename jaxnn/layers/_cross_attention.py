"""Cross-attention: the steps of one sequence look at another."""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax
import jax.numpy as jnp

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
from jaxnn.ops import attention, linear


@final
@dataclass(frozen=True, repr=False)
class CrossAttention(Layer):
    """Every step of a sequence looks at a memory, y = concat_h(attention(q_h, k_h, v_h)) w_o + b_o.

    q of all heads is x w_q + b_q; k and v of all heads are memory w_kv + b_kv, cut up in this order. The input is
    `(x, memory)` or `(x, memory, mask)`, with x `(batch, time, width)`, memory `(batch, memory, width of memory)`, and
    a mask as `ops.attention` takes it. Either may be `Sequences`: the lengths of the memory say what is seen, if there
    is no mask. y is `Sequences` if x is, and otherwise an array of the shape of x. Nothing is kept of a memory from
    call to call.

    Parameters: `w_q`, `(width, heads features)`; `w_kv`, `(width of memory, 2 kv_heads features)`; `w_o`,
    `(heads features, width)`; with a bias `b_q`, `b_kv`, `b_o`.

    Attributes:
        heads: Number of heads.
        kv_heads: Heads of k and v, a divisor of `heads`; `None` for as many.
        features: Of each head; `None` for width / heads.
        bias: Whether there are b_q, b_kv and b_o.
        w_init: Initialiser of w_q and w_kv.
        w_o_init: Initialiser of w_o; `None` for w_init.
        b_init: Initialiser of the biases.

    Raises:
        ShapeError: The heads do not divide the width of x, or memory or mask does not fit x.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> english, french = jnp.zeros((2, 7, 8)), jnp.zeros((2, 9, 6))
    >>> layer = nn.CrossAttention(4)
    >>> params, state = layer.init(jax.random.key(0), (english, french))
    >>> layer.apply(params, state, (english, french))[0].shape
    (2, 7, 8)

    Source: Vaswani et al., "Attention is all you need" (2017).
    """

    heads: int
    _: KW_ONLY
    kv_heads: int | None = None
    features: int | None = None
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    w_o_init: Initializer | None = None
    b_init: Initializer = zeros

    def __post_init__(self) -> None:
        check_heads(self.heads, self.kv_heads)

    def init(self, key, x):
        x, memory, *_ = map(values_of, x)
        check_sequence("memory", memory)
        features, width = features_of_heads(self.heads, self.features, x), x.shape[-1]
        shapes = {
            "q": (width, self.heads * features),
            "kv": (memory.shape[-1], 2 * (self.kv_heads or self.heads) * features),
            "o": (self.heads * features, width),
        }
        inits = {"q": self.w_init, "kv": self.w_init, "o": self.w_o_init or self.w_init}
        return drawn(key, shapes, inits, self.b_init if self.bias else None, parameter_dtype(x)), {}

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        x, memory, mask = self._opened(params, x)
        q = projected(values_of(x), params["w_q"], params.get("b_q"))
        kv = projected(values_of(memory), params["w_kv"], params.get("b_kv"))
        y = attention(*self._cut(q, kv), mask)
        return with_values(x, projected(in_a_row(y), params["w_o"], params.get("b_o"))), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        form = jax.tree.map(lambda _: None, x)  # what came as Sequences, and whether with a mask
        x, memory, mask = self._opened(params, x)
        q, of_q = linear.fwd(values_of(x), params["w_q"], params.get("b_q"))
        kv, of_kv = linear.fwd(values_of(memory), params["w_kv"], params.get("b_kv"))
        heads, of_heads = attention.fwd(*self._cut(q, kv), mask)
        y, (_, *of_o) = linear.fwd(in_a_row(heads), params["w_o"], params.get("b_o"))  # heads are remembered already
        return (with_values(x, y), state), (of_q, of_kv, of_heads, of_o, form)

    def bwd(self, residuals, dy):
        of_q, of_kv, of_heads, of_o, (_, of_memory, *of_mask) = residuals
        d_heads, d_w_o, d_b_o = linear.bwd((in_a_row(of_heads.y), *of_o), values_of(dy))
        dq, dk, dv, _ = attention.bwd(of_heads, into_heads(d_heads, self.heads))
        dx, d_w_q, d_b_q = linear.bwd(of_q, in_a_row(dq))
        d_memory, d_w_kv, d_b_kv = linear.bwd(of_kv, jnp.concatenate([in_a_row(dk), in_a_row(dv)], -1))
        d_params = {"w_q": d_w_q, "b_q": d_b_q, "w_kv": d_w_kv, "b_kv": d_b_kv, "w_o": d_w_o, "b_o": d_b_o}
        return present(d_params), (with_values(dy, dx), with_values(of_memory, d_memory), *of_mask)

    def _opened(self, params, x):
        """x, the memory, and what is seen of it."""
        check_names(self, params, names_of(("q", "kv", "o"), self.bias))
        x, memory, *mask = x
        check_sequence("x", values_of(x))
        check_sequence("memory", values_of(memory))
        return x, memory, mask[0] if mask else within(memory)

    def _cut(self, q, kv):
        """q, k and v, `(batch, time, heads, features)`, of the outputs of the first products."""
        kv_heads = self.kv_heads or self.heads
        k, v = jnp.split(kv, 2, -1)
        return into_heads(q, self.heads), into_heads(k, kv_heads), into_heads(v, kv_heads)
