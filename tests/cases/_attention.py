"""One row per op and layer of attention and positions."""

import jax.numpy as jnp

import jaxnn as nn
from cases._kinds import B, F, LayerCase, OpCase, absent, each, integers, normal, sequences

attention, rotary = nn.ops.attention, nn.ops.rotary


def mask(*shape):
    """Bools of which some rows are all False: queries that see nothing."""

    def draw(random, batch, dtype):
        sized = tuple(batch if n == "n" else n for n in shape)
        return jnp.asarray(random.uniform(size=sized) < random.choice([0.0, 0.5, 0.9], size=(*sized[:-1], 1)))

    return draw


def attention_row(name, time, memory, heads, kv_heads, *, seen=absent, values=3, family="", **settings):
    arrays = each(normal(B, time, heads, 3), normal(B, memory, kv_heads, 3), normal(B, memory, kv_heads, values), seen)
    return OpCase(name, attention, arrays, settings, family=family, exact=False)


OPS = [
    attention_row("attention", 5, 5, 2, 2, family="attention"),
    attention_row("attention_causal", 5, 5, 2, 2, causal=True),
    attention_row("attention_of_groups", 4, 6, 4, 2, values=2, causal=True, scale=0.3),
    attention_row("attention_masked", 4, 5, 2, 1, seen=mask(B, 2, 4, 5)),
    attention_row("attention_of_what_is_within", 4, 5, 2, 2, seen=mask(B, 5)),
    attention_row("attention_of_a_pattern", 4, 5, 2, 2, seen=mask(1, 4, 5)),
    attention_row("attention_in_blocks", 7, 7, 2, 2, block=3, causal=True, family="attention_in_blocks"),
    attention_row("attention_in_blocks_masked", 5, 8, 4, 2, block=3, seen=mask(B, 5, 8)),
    attention_row("attention_in_blocks_of_heads", 5, 8, 4, 2, block=2, seen=mask(B, 4, 1, 8)),
    attention_row("attention_in_blocks_of_a_short_memory", 8, 5, 2, 2, block=3, causal=True),
    OpCase("rotary", rotary, each(normal(B, 5, 2, 4), integers(100, 5)), family="rotary"),
    OpCase("rotary_of_each", rotary, each(normal(B, 5, 2, 6), integers(100, B, 5)), {"base": 50.0}),
]

STEPS = normal(B, 5, F)

LAYERS = [
    LayerCase("self_attention", nn.SelfAttention(2), STEPS),
    LayerCase("self_attention_causal", nn.SelfAttention(2, causal=True, bias=False), STEPS),
    LayerCase("self_attention_in_groups", nn.SelfAttention(4, kv_heads=2, features=2, rotary=True), STEPS),
    LayerCase("self_attention_of_sequences", nn.SelfAttention(2, rotary=True), sequences(STEPS)),
    LayerCase("self_attention_masked", nn.SelfAttention(2, causal=True), each(STEPS, mask(B, 2, 5, 5))),
    LayerCase("self_attention_cached", nn.SelfAttention(2, causal=True, rotary=True, cache=7), STEPS),
    LayerCase("cross_attention", nn.CrossAttention(2), each(STEPS, normal(B, 3, 6))),
    LayerCase(
        "cross_attention_of_sequences",
        nn.CrossAttention(2, kv_heads=1, features=3, bias=False),
        each(sequences(STEPS), sequences(normal(B, 3, 6))),
    ),
    LayerCase("cross_attention_masked", nn.CrossAttention(2), each(STEPS, normal(B, 3, 6), mask(B, 5, 3))),
    LayerCase("positional_embedding", nn.PositionalEmbedding(7), STEPS),
    LayerCase("positional_embedding_of_sequences", nn.PositionalEmbedding(5), sequences(STEPS)),
    LayerCase("positional_embedding_cached", nn.PositionalEmbedding(7, cache=True), STEPS),
    LayerCase("sinusoidal", nn.Sinusoidal(), STEPS),
    LayerCase("sinusoidal_of_sequences", nn.Sinusoidal(base=100.0), sequences(STEPS)),
    LayerCase("sinusoidal_cached", nn.Sinusoidal(cache=True), STEPS),
]
