"""A transformer that predicts the next token."""

from jaxnn.initializers import normal
from jaxnn.layers import (
    Dense,
    Dropout,
    Embed,
    Layer,
    LayerNorm,
    PositionalEmbedding,
    SelfAttention,
    Serial,
    residual,
    serial,
)
from jaxnn.ops import gelu_tanh


def gpt(
    vocabulary: int,
    *,
    width: int,
    heads: int,
    blocks: int,
    context: int,
    kv_heads: int | None = None,
    rotary: bool = False,
    dropout: float | None = None,
    cache: int | None = None,
) -> Serial:
    """A transformer that predicts each next token from those up to it, as GPT-2.

    Every block has two branches, x + f(x): attention, and a dense layer of four times the width with a gelu and one
    back; both with a layer norm before. Weights are drawn from N(0, 0.02^2), and those that end a branch divided by
    sqrt(2 blocks), the root of the number of branches. In GPT-2 the last product has the first table for its weights;
    here it has weights of its own. With many blocks `repeat(block, blocks)` is compiled in less time, and by hand it is
    no slower; JAX's own backward of it takes half as long again. With a vocabulary of tens of thousands `DeferredDense`
    in the place of the head saves the memory of all logits.

    With a cache it decodes: each call goes on where the last one ended. The parameters are the same, so train without
    one, and decode with one, from the state that its `init` returns.

    Shapes: integers `(batch, time)` to logits `(batch, time, vocabulary)`.

    Args:
        vocabulary: Number of tokens.
        width: Features of a token on its way, a multiple of `heads`.
        heads: Of attention.
        blocks: How many.
        context: The longest sequence, where positions are learned.
        kv_heads: Heads of keys and values, a divisor of `heads`; `None` for as many.
        rotary: Whether queries and keys are turned by their positions, instead of learned ones being added.
        dropout: Rate of what each branch gives; `None` for no dropout.
        cache: How many steps can be decoded; `None` for whole sequences.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> sizes = {"width": 16, "heads": 2, "blocks": 2, "context": 8}
    >>> model, decoder = nn.models.gpt(50, **sizes), nn.models.gpt(50, **sizes, cache=8)
    >>> ids = jnp.array([[3, 1, 4, 1, 5]])
    >>> params, state = model.init(jax.random.key(0), ids)
    >>> whole, _ = model.apply(params, state, ids)
    >>> whole.shape
    (1, 5, 50)
    >>> _, state = decoder.init(jax.random.key(0), ids)
    >>> for i in range(5):
    ...     logits, state = decoder.apply(params, state, ids[:, i : i + 1])
    >>> jnp.allclose(logits[:, 0], whole[:, 4], atol=1e-5)
    Array(True, dtype=bool)

    Source: Radford et al., "Language models are unsupervised multitask learners" (2019).
    """
    usual, last = normal(0.02), normal(0.02 / (2 * blocks) ** 0.5)

    def branch(*layers) -> Layer:
        return residual(LayerNorm(), *layers, *([] if dropout is None else [Dropout(dropout)]))

    block = serial(
        attention=branch(
            SelfAttention(
                heads, kv_heads=kv_heads, causal=True, rotary=rotary, cache=cache, w_init=usual, w_o_init=last
            )
        ),
        mlp=branch(Dense(4 * width, w_init=usual), gelu_tanh, Dense(width, w_init=last)),
    )
    positions = {} if rotary else {"positions": PositionalEmbedding(context, cache=cache is not None)}
    return serial(
        embed=Embed(vocabulary, width),
        **positions,
        blocks=serial(**{f"block_{i}": block for i in range(blocks)}),
        norm=LayerNorm(),
        head=Dense(vocabulary, bias=False, w_init=usual),
    )
