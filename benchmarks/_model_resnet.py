"""A residual network of width 64 for images of 32x32x3, as the users of each library write it.

A convolution with batch norm and relu, three residual blocks of two of them, an average pool and a dense layer. All
convolutions are 3x3 with padding "SAME" and no bias.
"""

import functools
from typing import Any

import jaxnn as nn


def in_jaxnn() -> nn.Layer:
    """Return jaxnn's."""
    conv = lambda: nn.serial(nn.Conv(64, (3, 3), bias=False), nn.BatchNorm())
    block = lambda: nn.serial(nn.residual(conv(), nn.relu, conv()), nn.relu)
    return nn.serial(conv(), nn.relu, block(), block(), block(), nn.global_average_pool, nn.Dense(10))


def in_flax() -> Any:
    """Return flax.linen's."""
    import flax.linen

    class ConvBN(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            x = flax.linen.Conv(64, (3, 3), use_bias=False)(x)
            return flax.linen.BatchNorm(use_running_average=False)(x)

    class ResNet(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            x = flax.linen.relu(ConvBN()(x))
            for _ in range(3):
                y = flax.linen.relu(ConvBN()(x))
                x = flax.linen.relu(x + ConvBN()(y))
            return flax.linen.Dense(10)(x.mean(axis=(1, 2)))

    return ResNet()


def in_nnx(rngs: Any) -> Any:
    """Return flax.nnx's."""
    from flax import nnx

    def conv(channels):
        return nnx.Sequential(
            nnx.Conv(channels, 64, (3, 3), use_bias=False, rngs=rngs), nnx.BatchNorm(64, rngs=rngs)
        )  # fmt: skip

    class Block(nnx.Module):
        def __init__(self):
            self.body = nnx.Sequential(conv(64), nnx.relu, conv(64))

        def __call__(self, x):
            return nnx.relu(x + self.body(x))

    pool = lambda x: x.mean(axis=(1, 2))
    return nnx.Sequential(conv(3), nnx.relu, Block(), Block(), Block(), pool, nnx.Linear(64, 10, rngs=rngs))


def in_equinox(key: Any) -> Any:
    """Return equinox's; its batch norm asks for statistics along the axis "batch"."""
    import equinox
    import jax

    keys = iter(jax.random.split(key, 8))
    relu = equinox.nn.Lambda(jax.nn.relu)

    def conv(channels):
        return equinox.nn.Sequential([
            equinox.nn.Conv2d(channels, 64, 3, padding="SAME", use_bias=False, key=next(keys)),
            equinox.nn.BatchNorm(64, "batch", mode="batch"),
        ])  # fmt: skip

    class Block(equinox.nn.StatefulLayer):
        body: Any

        def __init__(self):
            self.body = equinox.nn.Sequential([conv(64), relu, conv(64)])

        def __call__(self, x, state, *, key=None):
            y, state = self.body(x, state)
            return jax.nn.relu(x + y), state

    pool = equinox.nn.Lambda(lambda x: x.mean(axis=(1, 2)))
    return equinox.nn.Sequential([
        conv(3), relu, Block(), Block(), Block(), pool, equinox.nn.Linear(64, 10, key=next(keys))
    ])  # fmt: skip


def in_keras() -> Any:
    """Return that of Keras."""
    import keras
    from keras import layers

    def conv(x):
        return layers.BatchNormalization(epsilon=1e-5)(layers.Conv2D(64, 3, padding="same", use_bias=False)(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs))
    for _ in range(3):
        y = layers.ReLU()(conv(x))
        x = layers.ReLU()(layers.Add()([x, conv(y)]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def in_pytorch() -> Any:
    """Return PyTorch's."""
    from torch import nn

    blocks = [pytorch_block()() for _ in range(3)]
    return nn.Sequential(pytorch_conv(3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def pytorch_conv(channels: int) -> Any:
    """Return PyTorch's convolution with batch norm."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(channels, 64, 3, padding="same", bias=False), nn.BatchNorm2d(64))


@functools.cache
def pytorch_block() -> Any:
    """Return PyTorch's class of residual blocks: one for all models, or `torch.compile` would compile each anew."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(pytorch_conv(64), nn.ReLU(), pytorch_conv(64))

        def forward(self, x):
            return nn.functional.relu(x + self.body(x))

    return Block
