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

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, seven rounds):
a step of `fit` on `cnn` is 5.3 times (3.8 .. 5.8) faster than flax as its examples loop, 40 times than flax in one
scan, and 1.20 times (1.01 .. 1.59) than PyTorch in memory format `channels_last`; the limit is 1.9 times below. On
`resnet` it is 2.3 times faster than flax, and PyTorch with `channels_last` takes 0.89 (0.71 .. 0.91) of its time; the
limit is 1.4 times below.
"""

import functools
from dataclasses import replace

import numpy as np

import jaxnn as nn
from benchmarks import _command, _model_cnn, _model_resnet, _race, _train_flax, _train_pytorch, _training
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
        jaxnn=_model_cnn.in_jaxnn(),
        flax=_model_cnn.in_flax,
        nnx=_model_cnn.in_nnx,
        equinox=_model_cnn.in_equinox,
        keras=_model_cnn.in_keras,
        pytorch=_model_cnn.in_pytorch,
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
        jaxnn=_model_resnet.in_jaxnn(),
        flax=_model_resnet.in_flax,
        nnx=_model_resnet.in_nnx,
        equinox=_model_resnet.in_equinox,
        keras=_model_resnet.in_keras,
        pytorch=_model_resnet.in_pytorch,
    )


WORKLOADS = {"cnn": cnn, "resnet": resnet}


def random_images(n: int, shape: tuple[int, int, int], classes: int = 10) -> nn.Data:
    """Return n images of a shape: for each class a random one, with noise upon it, so that it can be learned."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, n, np.int32)
    of_class = rng.standard_normal((classes, *shape), np.float32)
    return nn.Data(of_class[y] + rng.standard_normal((n, *shape), np.float32), y)


def measure(workload: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    makers = {
        **_training.JAX,
        "PyTorch": _train_pytorch.pytorch,
        "PyTorch, channels_last": functools.partial(_train_pytorch.pytorch, channels_last=True),
    }
    if workload.name == "resnet":
        del makers["flax, one scan"]
        makers["flax, scan of two steps"] = lambda workload: _train_flax.one_scan(first_steps(workload, 2))
    if not quick:
        makers["PyTorch compiled, ch._last"] = functools.partial(
            _train_pytorch.pytorch, channels_last=True, compiled=True
        )
    return _race.measure(workload, makers=makers, rounds=rounds, quick=quick)


def first_steps(workload: Workload, steps: int) -> Workload:
    """Return the workload with no more data than so many steps of an epoch take."""
    x, y, _ = workload.data
    n = steps * workload.batch_size
    return replace(workload, data=nn.Data(x[:n], y[:n]))


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=7)
