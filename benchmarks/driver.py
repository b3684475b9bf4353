"""What does `run`, which the host drives in sight, cost over `fit`, which is one compiled program?

===========  =========================================================================================
workload     training
===========  =========================================================================================
`mlp-small`  that of `training.py`, for so many epochs that it takes several chunks: the shortest steps
`validated`  the same, with validation and a metric after every epoch
`cnn`        that of `cnn.py`: long steps
===========  =========================================================================================

`run` is timed silent, and with its progress on stderr, which goes to a file and so is of lines, not a bar. What is
measured beside the times stands in `_race.py`; trace and compile are those of `fit`, `run`'s are in its first call.

    python -m benchmarks.driver
    python -m benchmarks.driver --quick
    python -m benchmarks.driver --rounds 15 --json benchmarks/results/driver-my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, 13 rounds): over `fit`,
`run` takes 2.8 % (-2.5 .. 9.5) silent and 1.3 % with lines on `mlp-small`, 1.1 % (-22 .. 9) and 0.5 % with validation,
and no more on `cnn` (-4.0 %, -22 .. 6).
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jaxnn as nn
from benchmarks import _command, _race, _timing, _training, cnn, training
from benchmarks._workload import Contestant, Workload


@dataclass(frozen=True)
class Driven:
    """A workload for `fit` and `run`, and what else they are given."""

    workload: Workload
    settings: Mapping[str, Any] = field(default_factory=dict)


def mlp_small(quick: bool) -> Driven:
    """Return the workload of the shortest steps."""
    return Driven(replace(training.mlp_small(quick), epochs=2 if quick else 1000))


def validated(quick: bool) -> Driven:
    """Return the same with validation."""
    _, test = nn.data.digits()
    settings = {"validation": test.on_device(), "metrics": nn.metrics.accuracy}
    return Driven(replace(mlp_small(quick).workload, name="mlp-small with validation"), settings)


def long_steps(quick: bool) -> Driven:
    """Return the workload of long steps."""
    return Driven(replace(cnn.cnn(quick), epochs=1 if quick else 4))


WORKLOADS = {"mlp-small": mlp_small, "validated": validated, "cnn": long_steps}


def with_lines(*args: Any, **settings: Any) -> Any:
    """Run with the progress that is written where there is no terminal."""
    with tempfile.TemporaryFile("w") as lines, contextlib.redirect_stderr(lines):
        return nn.run(*args, **settings)


def measure(driven: Driven, *, rounds: int, quick: bool) -> _command.Results:
    """Return what a step takes in each way."""

    def ran(workload: Workload, run: Callable[..., Any]) -> Contestant:
        return replace(_training.jaxnn_fit(workload, fit=run, **driven.settings), program=_timing.Program)

    makers = {
        "fit": functools.partial(_training.jaxnn_fit, **driven.settings),
        "run, silent": functools.partial(ran, run=functools.partial(nn.run, progress=False)),
        "run, with lines": functools.partial(ran, run=with_lines),
    }
    return _race.measure(driven.workload, makers=makers, rounds=rounds, quick=quick)


def table(result: _command.Results) -> str:
    """Return what was measured, and the overhead in percent, for a reader."""
    (_, fit), *runs = result["contestants"].items()
    overhead = {
        name: _timing.spread([100 * (ratio - 1) for ratio in _timing.ratios(run["microseconds"], fit["microseconds"])])
        for name, run in runs
    }
    return "\n".join([_race.table(result), *(f"{name}: {percent} % over fit" for name, percent in overhead.items())])


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=9)
