"""How fast is a training epoch of a convolutional network, against what else one could use?

========  =======================================================================  ==============================
workload  model and data                                                           what it measures
========  =======================================================================  ==============================
`cnn`     28x28x1: conv 32, relu, maxpool, conv 64, relu, maxpool, dense 128, 10;  convolution and its gradients
          batch 64, 1280 random images
`resnet`  32x32x3: conv 64 and three residual blocks of width 64 with BatchNorm,   likewise, wider, and
          global average pool, dense 10; batch 32, 256 random images               normalisation
========  =======================================================================  ==============================

All convolutions are 3x3 with padding "SAME". How contestants train and what is measured stands in `_race.py`.
The limit counts no operations but those of convolutions and products, and of these also such as meet padding.
In `resnet` flax's scan is of two steps, because XLA's weight gradient takes seconds there. `torch.compile` wants a C++
compiler; `--quick` leaves it out. That model is compiled, not the whole step, and what it took may come from its cache.

    python -m benchmarks.cnn
    python -m benchmarks.cnn --quick
    python -m benchmarks.cnn --workload cnn --rounds 15 --json benchmarks/results/cnn-my-machine.json

Last measured answer (results/cnn-cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, seven rounds):
a step of `fit` on `cnn` is 5.3 times (3.8 .. 5.8) faster than flax as its examples loop, 40 times than flax in one
scan, and 1.20 times (1.01 .. 1.59) than PyTorch in memory format `channels_last`; the limit is 1.9 times below. On
`resnet` it is 2.3 times faster than flax, and PyTorch with `channels_last` takes 0.89 (0.71 .. 0.91) of its time; the
limit is 1.4 times below.
"""

import functools
from dataclasses import replace
from typing import Any

import numpy as np

import jaxnn as nn
from benchmarks import _command, _race, _training
from benchmarks._workload import Workload


def cnn(quick: bool) -> Workload:
    """Return the workload that measures convolution and its gradients."""
    return Workload(
        "cnn",
        "conv 32, relu, maxpool, conv 64, relu, maxpool, dense 128, relu, dense 10 on 28x28x1",
        random_images(16 if quick else 1280, (28, 28, 1)),
        batch_size=8 if quick else 64,
        epochs=1,
        products=(28 * 28 * 9 * 32, 14 * 14 * 9 * 32 * 64, 7 * 7 * 64 * 128, 128 * 10),
        jaxnn=jaxnn_cnn(),
        flax=flax_cnn,
        pytorch=pytorch_cnn,
    )


def resnet(quick: bool) -> Workload:
    """Return the workload that measures wider convolutions, and normalisation."""
    return Workload(
        "resnet",
        "conv 64, batch norm, relu, and three residual blocks of two of them, average pool, dense 10 on 32x32x3",
        random_images(4 if quick else 256, (32, 32, 3)),
        batch_size=2 if quick else 32,
        epochs=1,
        products=(32 * 32 * 9 * 3 * 64, *(6 * (32 * 32 * 9 * 64 * 64,)), 64 * 10),
        jaxnn=jaxnn_resnet(),
        flax=flax_resnet,
        pytorch=pytorch_resnet,
    )


WORKLOADS = {"cnn": cnn, "resnet": resnet}


def random_images(n: int, shape: tuple[int, int, int], classes: int = 10) -> nn.Data:
    """Return n images of a shape: for each class a random one, with noise upon it, so that it can be learned."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, n, np.int32)
    of_class = rng.standard_normal((classes, *shape), np.float32)
    return nn.Data(of_class[y] + rng.standard_normal((n, *shape), np.float32), y)


def jaxnn_cnn() -> nn.Layer:
    """Return jaxnn's."""
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


def flax_cnn() -> Any:
    """Return flax's."""
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


def pytorch_cnn() -> Any:
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


def jaxnn_resnet() -> nn.Layer:
    """Return jaxnn's."""
    conv = lambda: nn.serial(nn.Conv(64, (3, 3), bias=False), nn.BatchNorm())
    block = lambda: nn.serial(nn.residual(conv(), nn.relu, conv()), nn.relu)
    return nn.serial(conv(), nn.relu, block(), block(), block(), nn.global_average_pool, nn.Dense(10))


def flax_resnet() -> Any:
    """Return flax's."""
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


def pytorch_resnet() -> Any:
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


def measure(workload: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    makers = {
        **_training.JAX,
        "PyTorch": _training.pytorch,
        "PyTorch, channels_last": functools.partial(_training.pytorch, channels_last=True),
    }
    if workload.name == "resnet":
        del makers["flax, one scan"]
        makers["flax, scan of two steps"] = lambda workload: _training.flax_scan(first_steps(workload, 2))
    if not quick:
        makers["PyTorch compiled, ch._last"] = functools.partial(_training.pytorch, channels_last=True, compiled=True)
    return _race.measure(workload, makers=makers, rounds=rounds, quick=quick)


def first_steps(workload: Workload, steps: int) -> Workload:
    """Return the workload with no more data than so many steps of an epoch take."""
    x, y, _ = workload.data
    n = steps * workload.batch_size
    return replace(workload, data=nn.Data(x[:n], y[:n]))


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=7)
