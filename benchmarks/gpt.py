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

Last answer, on two cores of an AMD EPYC, jax 0.10.2, flax 0.12.8, torch 2.13.0, five rounds (results/cpu-2-cores.json):
by autodiff, which has the rules of attention, products and layer norm, a step takes 96 ms, by hand as long (0.93 ..
1.05), PyTorch compiled 1.08 times as long (0.66 .. 1.13), flax in one scan 1.16, as its examples 1.63, flax.nnx 1.67,
Keras 2.0 and equinox 2.1. The limit is at 0.57.

    python -m benchmarks.gpt
    python -m benchmarks.gpt --quick
    python -m benchmarks.gpt --rounds 15 --json benchmarks/results/gpt-my-machine.json
"""

import functools

import numpy as np

import jaxnn as nn
from benchmarks import _command, _model_gpt, _race, _train_pytorch, _training
from benchmarks._model_gpt import BLOCKS, HEADS, VOCABULARY, WIDTH
from benchmarks._workload import Workload


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
        jaxnn=_model_gpt.in_jaxnn(context),
        flax=functools.partial(_model_gpt.in_flax, context),
        nnx=functools.partial(_model_gpt.in_nnx, context),
        equinox=functools.partial(_model_gpt.in_equinox, context),
        keras=functools.partial(_model_gpt.in_keras, context),
        pytorch=functools.partial(_model_gpt.in_pytorch, context),
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


def measure(workload: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    makers = {**_training.JAX, "PyTorch": _train_pytorch.pytorch}
    if not quick:
        makers["PyTorch compiled"] = functools.partial(_train_pytorch.pytorch, compiled=True)
    return _race.measure(workload, makers=makers, rounds=rounds, quick=quick)


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=7)
