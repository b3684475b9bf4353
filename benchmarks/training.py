"""How fast is a whole training epoch of a multilayer perceptron, against what else one could use?

===========  ======================================================  ================================
workload     model and data                                          what it measures
===========  ======================================================  ================================
`mlp-small`  64-32-10 relu, batch 32, the digits                     the overhead of a step
`mlp`        784-512-256-10 relu, batch 128, 4096 random examples    matrix products
===========  ======================================================  ================================

How contestants train and what is measured stands in `_race.py`. (`mlp-small` fits into a cache, which is faster
than main memory, so its limit is not a strict one.)

    python -m benchmarks.training
    python -m benchmarks.training --quick
    python -m benchmarks.training --workload mlp --rounds 15 --json benchmarks/results/my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0, five rounds): on
`mlp-small` a step of `fit` is 2.6 times faster than a jitted flax step that picks its own batch, 44 times than flax as
its examples loop, 19 than PyTorch and 11 than scikit-learn, and 5.6 times above the limit; a whole run of flax in one
scan is as fast. On `mlp` it is 1.2, 1.7 and 1.4 times faster than the first three, and 1.2 times above the limit.
"""

import functools
import itertools
import warnings
from collections.abc import Sequence

import numpy as np

import jaxnn as nn
from benchmarks import _command, _model_mlp, _race, _timing, _train_pytorch, _training
from benchmarks._workload import Contestant, Workload


def mlp_small(quick: bool) -> Workload:
    """Return the workload that measures the overhead of a step."""
    train, _ = nn.data.digits()
    return mlp_workload("mlp-small", train, (64, 32, 10), 32, epochs=1 if quick else 20)


def mlp(quick: bool) -> Workload:
    """Return the workload that measures matrix products."""
    n, widths = 512 if quick else 4096, (784, 512, 256, 10)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, widths[0]), np.float32)
    y = rng.integers(0, widths[-1], n, np.int32)
    return mlp_workload("mlp", nn.Data(x, y), widths, 128, epochs=1 if quick else 5)


WORKLOADS = {"mlp-small": mlp_small, "mlp": mlp}


def mlp_workload(name: str, data: nn.Data, widths: Sequence[int], batch_size: int, *, epochs: int) -> Workload:
    """Return a multilayer perceptron with these widths: inputs, hidden layers, classes."""
    return Workload(
        name,
        f"{'-'.join(map(str, widths))} relu",
        data,
        batch_size,
        epochs,
        products=tuple(i * o for i, o in itertools.pairwise(widths)),
        jaxnn=_model_mlp.in_jaxnn(widths),
        flax=functools.partial(_model_mlp.in_flax, widths),
        nnx=functools.partial(_model_mlp.in_nnx, widths),
        equinox=functools.partial(_model_mlp.in_equinox, widths),
        keras=functools.partial(_model_mlp.in_keras, widths),
        pytorch=functools.partial(_model_mlp.in_pytorch, widths),
    )


def scikit_learn(workload: Workload, *, widths: Sequence[int] = (64, 32, 10)) -> Contestant:
    """Return scikit-learn's classifier, always on the CPU."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    def run() -> float:
        classifier = MLPClassifier(
            hidden_layer_sizes=widths[1:-1],
            alpha=0.0,
            batch_size=workload.batch_size,  # pyright: ignore[reportArgumentType] - a number or "auto"
            learning_rate_init=workload.learning_rate,
            max_iter=workload.epochs,
            n_iter_no_change=workload.epochs + 1,  # never stop early
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(workload.data.x, workload.data.y)
        return float(classifier.loss_)

    return Contestant(run, workload.run_steps)


def measure(workload: Workload, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    makers = {**_training.JAX, **_training.LIGHTER}
    for threads in sorted({1, _timing.cores()}):  # one is faster where there is little to do
        name = f"PyTorch, {threads} thread{'s' * (threads > 1)}"
        makers[name] = functools.partial(_train_pytorch.pytorch, threads=threads)
    if workload.name == "mlp-small":
        makers["scikit-learn"] = scikit_learn
    return _race.measure(workload, makers=makers, rounds=rounds, quick=quick)


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=9)
