"""How fast is a training epoch of a small transformer, against what else one could use?

========  =======================================================================  ==============================
workload  model and data                                                           what it measures
========  =======================================================================  ==============================
`gpt`     GPT-2 of four blocks, width 128, 4 heads, 128 tokens of 256 kinds;       attention, normalisation,
          batch 16, AdamW, 160 random sequences                                    and products not so large
========  =======================================================================  ==============================

How contestants train and what is measured stands in `_race.py`. All have the same layers: learned positions, layer
norm before both branches of a block, causal attention with biases, a dense layer of four times the width with the tanh
form of gelu, a last layer norm, and a product for the logits. The limit counts no operations but those of products, and
of the scores no more than causality leaves, which are about half.

Last answer, on two cores of an AMD EPYC, jax 0.10.2, flax 0.12.8, torch 2.13.0 (results/gpt-cpu-2-cores.json): by hand
a step takes 0.78 (0.68 .. 0.88) of the time by autodiff, PyTorch compiled or not 0.87 (0.66 .. 1.09), flax in one scan
0.97 (0.73 .. 1.05) and as its examples 1.36. So by hand it is faster than the best peer (medians 97 and 104 ms), and
by autodiff (124 ms) slower. The limit is at 0.47.

    python -m benchmarks.gpt
    python -m benchmarks.gpt --quick
    python -m benchmarks.gpt --rounds 15 --json benchmarks/results/gpt-my-machine.json
"""

import functools
from typing import Any

import numpy as np

import jaxnn as nn
from benchmarks import _command, _race, _training
from benchmarks._workload import Workload

VOCABULARY, WIDTH, HEADS, BLOCKS = 256, 128, 4, 4


def gpt(quick: bool) -> Workload:
    """Return the workload that measures attention and normalisation."""
    context = 16 if quick else 128
    of_block = context * 12 * WIDTH**2, context * (context + 1) * WIDTH
    return Workload(
        "gpt",
        f"GPT-2 of {BLOCKS} blocks, width {WIDTH}, {HEADS} heads, {context} tokens of {VOCABULARY} kinds",
        random_text(8 if quick else 160, context),
        batch_size=4 if quick else 16,
        epochs=1,
        products=(0, *(BLOCKS * of_block), context * WIDTH * VOCABULARY),  # the first layer is a table
        jaxnn=nn.models.gpt(VOCABULARY, width=WIDTH, heads=HEADS, blocks=BLOCKS, context=context),
        flax=functools.partial(flax_gpt, context),
        pytorch=functools.partial(pytorch_gpt, context),
        weight_decay=0.01,
    )


WORKLOADS = {"gpt": gpt}


def random_text(n: int, context: int) -> nn.Data:
    """Return sequences in which each token has eight that may follow, and each token's follower."""
    rng = np.random.default_rng(0)
    followers = rng.integers(0, VOCABULARY, (VOCABULARY, 8), np.int32)
    text = np.empty((n, context + 1), np.int32)
    text[:, 0] = rng.integers(0, VOCABULARY, n)
    for t in range(context):
        text[:, t + 1] = followers[text[:, t], rng.integers(0, 8, n)]
    return nn.Data(text[:, :-1].copy(), text[:, 1:].copy())


def flax_gpt(context: int) -> Any:
    """Return flax's."""
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


def pytorch_gpt(context: int) -> Any:
    """Return PyTorch's."""
    import torch

    model = pytorch_classes()(context)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)
    return model


@functools.cache
def pytorch_classes() -> Any:
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


def measure(workload: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    makers = {**_training.JAX, "PyTorch": _training.pytorch}
    if not quick:
        makers["PyTorch compiled"] = functools.partial(_training.pytorch, compiled=True)
    return _race.measure(workload, makers=makers, rounds=rounds, quick=quick)


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=7)
