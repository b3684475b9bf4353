"""A small GPT-2, as the users of each library write it, with weights of variance 0.02^2 and no dropout.

Ours divides those that end a branch by the root of the number of branches, as GPT-2 does.
"""

import functools
from typing import Any

import jaxnn as nn

VOCABULARY, WIDTH, HEADS, BLOCKS = 256, 128, 4, 4


def in_jaxnn(context: int) -> nn.Layer:
    """Return jaxnn's."""
    return nn.models.gpt(VOCABULARY, width=WIDTH, heads=HEADS, blocks=BLOCKS, context=context)


def in_flax(context: int) -> Any:
    """Return flax.linen's."""
    import flax.linen as linen
    from jax.nn.initializers import normal

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x, mask):
            y = linen.LayerNorm(epsilon=1e-5)(x)
            x = x + linen.MultiHeadDotProductAttention(HEADS, kernel_init=normal(0.02))(y, mask=mask)
            y = linen.LayerNorm(epsilon=1e-5)(x)
            y = linen.gelu(linen.Dense(4 * WIDTH, kernel_init=normal(0.02))(y))
            return x + linen.Dense(WIDTH, kernel_init=normal(0.02))(y)

    class GPT(linen.Module):
        @linen.compact
        def __call__(self, ids):
            x = linen.Embed(VOCABULARY, WIDTH, embedding_init=normal(0.02))(ids)
            x = x + self.param("positions", normal(0.02), (context, WIDTH))
            mask = linen.make_causal_mask(ids)
            for _ in range(BLOCKS):
                x = Block()(x, mask)
            x = linen.LayerNorm(epsilon=1e-5)(x)
            return linen.Dense(VOCABULARY, use_bias=False, kernel_init=normal(0.02))(x)

    return GPT()


def in_nnx(context: int, rngs: Any) -> Any:
    """Return flax.nnx's."""
    import jax
    from flax import nnx

    linear = functools.partial(nnx.Linear, kernel_init=jax.nn.initializers.normal(0.02), rngs=rngs)
    embed = functools.partial(nnx.Embed, embedding_init=jax.nn.initializers.normal(0.02), rngs=rngs)
    norm = functools.partial(nnx.LayerNorm, WIDTH, epsilon=1e-5, rngs=rngs)

    class Block(nnx.Module):
        def __init__(self):
            self.norm1, self.norm2 = norm(), norm()
            self.attention = nnx.MultiHeadAttention(
                HEADS, WIDTH, kernel_init=jax.nn.initializers.normal(0.02), decode=False, rngs=rngs
            )
            self.up, self.down = linear(WIDTH, 4 * WIDTH), linear(4 * WIDTH, WIDTH)

        def __call__(self, x, mask):
            x = x + self.attention(self.norm1(x), mask=mask)
            return x + self.down(nnx.gelu(self.up(self.norm2(x))))

    class GPT(nnx.Module):
        def __init__(self):
            self.tokens, self.positions = embed(VOCABULARY, WIDTH), embed(context, WIDTH)
            self.blocks = nnx.List([Block() for _ in range(BLOCKS)])
            self.norm, self.head = norm(), linear(WIDTH, VOCABULARY, use_bias=False)

        def __call__(self, ids):
            x = self.tokens(ids) + self.positions(jax.numpy.arange(context))
            mask = nnx.make_causal_mask(ids)
            for block in self.blocks:
                x = block(x, mask)
            return self.head(self.norm(x))

    return GPT()


def in_equinox(context: int, key: Any) -> Any:
    """Return equinox's, whose weights are drawn anew, as its page of tricks has it."""
    import equinox
    import jax
    import jax.numpy as jnp

    draws = iter(jax.random.split(key, 100))

    class Block(equinox.Module):
        norm1: equinox.nn.LayerNorm
        norm2: equinox.nn.LayerNorm
        attention: equinox.nn.MultiheadAttention
        up: equinox.nn.Linear
        down: equinox.nn.Linear

        def __init__(self):
            biases = dict.fromkeys([f"use_{which}_bias" for which in ("query", "key", "value", "output")], True)
            self.norm1, self.norm2 = equinox.nn.LayerNorm(WIDTH), equinox.nn.LayerNorm(WIDTH)
            self.attention = equinox.nn.MultiheadAttention(HEADS, WIDTH, **biases, key=next(draws))
            self.up = equinox.nn.Linear(WIDTH, 4 * WIDTH, key=next(draws))
            self.down = equinox.nn.Linear(4 * WIDTH, WIDTH, key=next(draws))

        def __call__(self, x, mask):
            y = jax.vmap(self.norm1)(x)
            x = x + self.attention(y, y, y, mask=mask)
            feed = lambda x: self.down(jax.nn.gelu(self.up(self.norm2(x))))
            return x + jax.vmap(feed)(x)

    class GPT(equinox.Module):
        tokens: equinox.nn.Embedding
        positions: equinox.nn.Embedding
        blocks: list[Block]
        norm: equinox.nn.LayerNorm
        head: equinox.nn.Linear

        def __init__(self):
            self.tokens = equinox.nn.Embedding(VOCABULARY, WIDTH, key=next(draws))
            self.positions = equinox.nn.Embedding(context, WIDTH, key=next(draws))
            self.blocks = [Block() for _ in range(BLOCKS)]
            self.norm = equinox.nn.LayerNorm(WIDTH)
            self.head = equinox.nn.Linear(WIDTH, VOCABULARY, use_bias=False, key=next(draws))

        def __call__(self, ids, state):
            x = jax.vmap(self.tokens)(ids) + self.positions.weight
            mask = jnp.tril(jnp.ones((context, context), bool))
            for block in self.blocks:
                x = block(x, mask)
            return jax.vmap(lambda x: self.head(self.norm(x)))(x), state

    def drawn(layer):
        if isinstance(layer, equinox.nn.Linear | equinox.nn.Embedding):
            weight = 0.02 * jax.random.normal(next(draws), layer.weight.shape)
            layer = equinox.tree_at(lambda layer: layer.weight, layer, weight)
        if isinstance(layer, equinox.nn.Linear) and layer.bias is not None:
            layer = equinox.tree_at(lambda layer: layer.bias, layer, jnp.zeros_like(layer.bias))
        return layer

    has_weights = lambda node: isinstance(node, equinox.nn.Linear | equinox.nn.Embedding)
    return jax.tree.map(drawn, GPT(), is_leaf=has_weights)


def in_keras(context: int) -> Any:
    """Return that of Keras."""
    import keras

    layers: Any = keras.layers

    normal = keras.initializers.RandomNormal(stddev=0.02, seed=keras.random.SeedGenerator(0))
    norm = functools.partial(layers.LayerNormalization, epsilon=1e-5)
    dense = functools.partial(layers.Dense, kernel_initializer=normal)
    gelu = functools.partial(keras.activations.gelu, approximate=True)

    class Embeddings(layers.Layer):
        def __init__(self):
            super().__init__()
            self.tokens = layers.Embedding(VOCABULARY, WIDTH, embeddings_initializer=normal)
            self.positions = layers.Embedding(context, WIDTH, embeddings_initializer=normal)

        def call(self, ids):
            return self.tokens(ids) + self.positions(keras.ops.arange(context))

    ids = keras.Input((context,), dtype="int32")
    x = Embeddings()(ids)
    for _ in range(BLOCKS):
        y = norm()(x)
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, kernel_initializer=normal)
        x = layers.Add()([x, attention(y, y, use_causal_mask=True)])
        y = dense(4 * WIDTH, activation=gelu)(norm()(x))
        x = layers.Add()([x, dense(WIDTH)(y)])
    return keras.Model(ids, dense(VOCABULARY, use_bias=False)(norm()(x)))


def in_pytorch(context: int) -> Any:
    """Return PyTorch's."""
    import torch

    model = pytorch_class()(context)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)
    return model


@functools.cache
def pytorch_class() -> Any:
    """Return PyTorch's class: one for all models, or `torch.compile` would compile each anew."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            batch, time, width = x.shape
            q, k, v = self.qkv(x).view(batch, time, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(batch, time, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.Sequential(nn.LayerNorm(WIDTH), Attention())
            self.mlp = nn.Sequential(
                nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU("tanh"), nn.Linear(4 * WIDTH, WIDTH)
            )

        def forward(self, x):
            x = x + self.attention(x)
            return x + self.mlp(x)

    class GPT(nn.Module):
        def __init__(self, context):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(context, WIDTH)
            self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)), nn.LayerNorm(WIDTH))
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

        def forward(self, ids):
            steps = torch.arange(ids.shape[1], device=ids.device)
            return self.head(self.blocks(self.tokens(ids) + self.positions(steps)))

    return GPT
