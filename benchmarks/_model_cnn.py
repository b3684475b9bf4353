"""A small convolutional network for images of 28x28x1, as the users of each library write it.

All convolutions are 3x3 with padding "SAME".
"""

from typing import Any


def in_jaxnn() -> Any:
    """Return jaxnn's."""
    import jaxnn as nn

    return nn.serial(
        nn.Conv(32, (3, 3)),
        nn.relu,
        nn.MaxPool((2, 2)),
        nn.Conv(64, (3, 3)),
        nn.relu,
        nn.MaxPool((2, 2)),
        nn.flatten,
        nn.Dense(128),
        nn.relu,
        nn.Dense(10),
    )


def in_flax() -> Any:
    """Return flax.linen's."""
    import flax.linen

    class CNN(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            for features in (32, 64):
                x = flax.linen.relu(flax.linen.Conv(features, (3, 3))(x))
                x = flax.linen.max_pool(x, (2, 2), strides=(2, 2))
            x = x.reshape(x.shape[0], -1)
            x = flax.linen.relu(flax.linen.Dense(128)(x))
            return flax.linen.Dense(10)(x)

    return CNN()


def in_nnx(rngs: Any) -> Any:
    """Return flax.nnx's."""
    from flax import nnx

    class CNN(nnx.Module):
        def __init__(self, rngs):
            self.conv1 = nnx.Conv(1, 32, (3, 3), rngs=rngs)
            self.conv2 = nnx.Conv(32, 64, (3, 3), rngs=rngs)
            self.linear1 = nnx.Linear(7 * 7 * 64, 128, rngs=rngs)
            self.linear2 = nnx.Linear(128, 10, rngs=rngs)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), strides=(2, 2))
            x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), strides=(2, 2))
            return self.linear2(nnx.relu(self.linear1(x.reshape(x.shape[0], -1))))

    return CNN(rngs)


def in_equinox(key: Any) -> Any:
    """Return equinox's."""
    import equinox
    import jax

    keys = jax.random.split(key, 4)
    relu = equinox.nn.Lambda(jax.nn.relu)
    return equinox.nn.Sequential([
        equinox.nn.Conv2d(1, 32, 3, padding="SAME", key=keys[0]),
        relu,
        equinox.nn.MaxPool2d(2, 2),
        equinox.nn.Conv2d(32, 64, 3, padding="SAME", key=keys[1]),
        relu,
        equinox.nn.MaxPool2d(2, 2),
        equinox.nn.Lambda(jax.numpy.ravel),
        equinox.nn.Linear(7 * 7 * 64, 128, key=keys[2]),
        relu,
        equinox.nn.Linear(128, 10, key=keys[3]),
    ])  # fmt: skip


def in_keras() -> Any:
    """Return that of Keras."""
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ])  # fmt: skip


def in_pytorch() -> Any:
    """Return PyTorch's."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
