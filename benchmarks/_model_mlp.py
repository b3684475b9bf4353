"""A multilayer perceptron with given widths (inputs, hidden layers, classes), as the users of each library write it."""

import itertools
from collections.abc import Sequence
from typing import Any


def in_jaxnn(widths: Sequence[int]) -> Any:
    """Return jaxnn's."""
    import jaxnn as nn

    *hidden, classes = widths[1:]
    return nn.serial(*(layer for width in hidden for layer in (nn.Dense(width), nn.relu)), nn.Dense(classes))


def in_flax(widths: Sequence[int]) -> Any:
    """Return flax.linen's."""
    import flax.linen

    class MLP(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            for width in widths[1:-1]:
                x = flax.linen.relu(flax.linen.Dense(width)(x))
            return flax.linen.Dense(widths[-1])(x)

    return MLP()


def in_nnx(widths: Sequence[int], rngs: Any) -> Any:
    """Return flax.nnx's."""
    from flax import nnx

    pairs = itertools.pairwise(widths)
    layers = [layer for i, o in pairs for layer in (nnx.Linear(i, o, rngs=rngs), nnx.relu)]
    return nnx.Sequential(*layers[:-1])


def in_equinox(widths: Sequence[int], key: Any) -> Any:
    """Return equinox's."""
    import equinox
    import jax

    keys = jax.random.split(key, len(widths) - 1)
    linear = [equinox.nn.Linear(i, o, key=k) for (i, o), k in zip(itertools.pairwise(widths), keys, strict=True)]
    hidden = [layer for each in linear[:-1] for layer in (each, equinox.nn.Lambda(jax.nn.relu))]
    return equinox.nn.Sequential([*hidden, linear[-1]])


def in_keras(widths: Sequence[int]) -> Any:
    """Return that of Keras."""
    import keras

    hidden = [keras.layers.Dense(width, activation="relu") for width in widths[1:-1]]
    return keras.Sequential([keras.Input((widths[0],)), *hidden, keras.layers.Dense(widths[-1])])


def in_pytorch(widths: Sequence[int]) -> Any:
    """Return PyTorch's."""
    import torch

    pairs = itertools.pairwise(widths)
    layers = [layer for i, o in pairs for layer in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])
