"""How long does one wait for the first loss, and for an import, with jaxnn and with what else one could use?

=======================  ======================================================================================
workload                 what a new process does
=======================  ======================================================================================
`first-epoch-mlp-small`  it trains the model of that name in `training.py` for its first epoch, and tells the loss
`first-epoch-cnn`        likewise, that in `cnn.py`
`import`                 `import jax, jax.numpy` and a library: what this takes beyond `import jax, jax.numpy`;
                         of jaxnn with all that training a perceptron asks it for
=======================  ======================================================================================

Times are seen from outside: from the start of a process until it tells its loss, or that all is imported. The programs
stand in `_first_epoch.py`; the data are read from a file, the same for all. Cold is without anything that was compiled
by an earlier process. Warm is with all that the same program has left in a folder of its own: jaxnn's by
`nn.cache_compilations`, other programs on JAX by JAX's settings to the same end, `torch.compile` as it always does.
Eager PyTorch and scikit-learn keep nothing, and are timed in both states all the same. Before the rounds every program
runs once, with its folder: then what Python compiles of modules is there for all, as it is of an installed package.

`torch.compile` wants a C++ compiler; `--quick` leaves it out.

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, five rounds): importing jaxnn with
all that a perceptron asks it for takes 0.09 s (0.08 .. 0.14) beyond JAX, optax with flax.linen 0.20, with flax.nnx
0.29, with equinox 0.26, Keras 1.3 and PyTorch 0.95.

    python -m benchmarks.waiting
    python -m benchmarks.waiting --quick
    python -m benchmarks.waiting --workload import --rounds 15 --json benchmarks/results/waiting-my-machine.json
"""

import contextlib
import functools
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import _command, _first_epoch, _timing, cnn, training
from benchmarks._workload import Workload

ROOT = Path(__file__).parents[1]
"""Where the processes run, so that they find this package and jaxnn."""


def nowhere(folder: str) -> dict[str, str]:
    """Return the environment variables of a program that keeps nothing: none."""
    return {}


def by_jaxnn(folder: str) -> dict[str, str]:
    """Return that by which jaxnn's program is told where to keep what is compiled."""
    return {_first_epoch.CACHE: folder}


def by_jax(folder: str) -> dict[str, str]:
    """Return those by which JAX keeps all that it compiles, however small and however quickly."""
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def by_pytorch(folder: str) -> dict[str, str]:
    """Return that by which `torch.compile` is told where to keep what it compiles."""
    return {"TORCHINDUCTOR_CACHE_DIR": folder}


@dataclass(frozen=True)
class Program:
    """What a new process does."""

    arguments: tuple[str, ...]  # of Python
    needs: tuple[str, ...] = ()  # packages
    commands: tuple[str, ...] = ()  # one of which it needs too, where there are any
    warm: Callable[[str], dict[str, str]] = nowhere  # environment variables, given the folder of the program
    cold: Callable[[str], dict[str, str]] = nowhere  # likewise, given an empty folder

    def check(self) -> "Program":
        """Return this.

        Raises:
            ImportError: What it needs is not installed.
        """
        for package in self.needs:
            if importlib.util.find_spec(package) is None:
                raise ImportError(f"No module named {package!r}")
        if self.commands and not any(map(shutil.which, self.commands)):
            raise ImportError(f"it wants one of {', '.join(self.commands)}")
        return self


@dataclass(frozen=True)
class Waiting:
    """Programs that do the same, each in its way, and until when they are waited for."""

    title: str
    programs: Mapping[str, Program]
    until: str  # the word that a process says
    states: tuple[str, ...]  # in which of them processes are started
    beyond: str | None = None  # the program whose time is taken off
    data: Workload | None = None  # whose data they are given


def training_with(library: str) -> tuple[str, ...]:
    """Return the arguments for the program of a library."""
    return "-m", _first_epoch.__name__, library


COMPILERS = "c++", "g++", "clang++"

FIRST_EPOCH = {
    "jaxnn by_autodiff": Program(training_with("jaxnn"), warm=by_jaxnn),
    "jaxnn by_hand": Program(training_with("jaxnn-by-hand"), warm=by_jaxnn),
    "flax": Program(training_with("flax"), ("flax", "optax"), warm=by_jax),
    "flax.nnx": Program(training_with("nnx"), ("flax", "optax"), warm=by_jax),
    "equinox": Program(training_with("equinox"), ("equinox", "optax"), warm=by_jax),
    "Keras": Program(training_with("keras"), ("keras",), warm=by_jax),
    "PyTorch": Program(training_with("pytorch"), ("torch",)),
    "PyTorch compiled": Program(training_with("pytorch-compiled"), ("torch",), COMPILERS, by_pytorch, by_pytorch),
    "scikit-learn": Program(training_with("scikit-learn"), ("sklearn",)),
}
"""Who trains."""


def first_epoch(make: Callable[[bool], Workload], quick: bool) -> Waiting:
    """Return the first epoch of a workload, given how to make that."""
    workload = replace(make(quick), epochs=1)
    programs = dict(FIRST_EPOCH)
    if quick:
        del programs["PyTorch compiled"]
    if workload.data.x.ndim > 2:
        del programs["scikit-learn"]
    return Waiting(f"first epoch of {workload}", programs, "loss", ("cold", "warm"), data=workload)


JAX = "jax, jax.numpy"


def importing(packages: str, before: str = "") -> tuple[str, ...]:
    """Return the arguments for a program that imports packages and says so."""
    return "-c", f"{before}import {packages}; print('imported', flush=True)"


ASKED = "nn.trainer, nn.fit, nn.serial, nn.Dense, nn.relu, nn.adam, nn.by_autodiff, nn.losses.cross_entropy, nn.Data"
"""What a first program asks jaxnn for, which imports a name when it is first asked for."""

IMPORTS = {
    "jaxnn, and what trains": Program(importing(f"{JAX}, jaxnn as nn; {ASKED}")),
    "jaxnn, its name alone": Program(importing(f"{JAX}, jaxnn")),
    JAX: Program(importing(JAX)),
    "optax, flax.linen": Program(importing(f"{JAX}, optax, flax.linen"), ("optax", "flax")),
    "optax, flax.nnx": Program(importing(f"{JAX}, optax, flax.nnx"), ("optax", "flax")),
    "optax, equinox": Program(importing(f"{JAX}, optax, equinox"), ("optax", "equinox")),
    "Keras": Program(importing(f"{JAX}, keras", "import os; os.environ['KERAS_BACKEND'] = 'jax'; "), ("keras",)),
    "PyTorch": Program(importing(f"{JAX}, torch"), ("torch",)),
}
"""Who imports what."""


def imports(quick: bool) -> Waiting:
    """Return the imports."""
    return Waiting(f"import, beyond that of {JAX}", IMPORTS, "imported", ("import",), beyond=JAX)


WORKLOADS = {
    "first-epoch-mlp-small": functools.partial(first_epoch, training.mlp_small),
    "first-epoch-cnn": functools.partial(first_epoch, cnn.cnn),
    "import": imports,
}


@dataclass(frozen=True)
class Seen:
    """What was seen of a process."""

    seconds: Mapping[str, float]  # from its start until it said a word; and until its "exit"
    processor: float = 0.0  # seconds that it kept processors busy, all together
    loss: float | None = None  # which it told


def watch(arguments: Sequence[str], variables: Mapping[str, str]) -> Seen:
    """Run Python to its end, and look on.

    Raises:
        RuntimeError: It failed; the message is the last line of what it wrote to stderr.

    >>> watch(["-c", "print('loss', 0.5)"], os.environ).loss
    0.5
    """
    seconds, loss = {}, None
    with tempfile.TemporaryFile("w+") as errors:
        busy, start = of_children(), time.perf_counter()
        command = [sys.executable, *arguments]
        with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=errors, text=True) as of:
            assert of.stdout is not None, "it is a pipe"
            for line in of.stdout:
                word, _, rest = line.strip().partition(" ")
                seconds[word] = time.perf_counter() - start
                loss = float(rest) if word == "loss" else loss
        seconds["exit"] = time.perf_counter() - start
        errors.seek(0)
        if of.returncode:
            raise RuntimeError([f"it ended with {of.returncode}", *errors.read().splitlines()][-1])
    return Seen(seconds, of_children() - busy, loss)


def of_children() -> float:
    """Return the processor seconds of all processes that this one has started and seen end."""
    times = os.times()
    return times.children_user + times.children_system


def environment(python: str, keeping: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process: this one's, but for what says where something compiled is kept.

    Args:
        python: The folder for what Python compiles of modules.
        keeping: The variables that say where the rest is kept.
    """
    of_others = {*by_jaxnn(""), *by_jax(""), *by_pytorch(""), "PYTHONDONTWRITEBYTECODE"}
    ours = {name: value for name, value in os.environ.items() if name not in of_others}
    always = {
        "PYTHONPYCACHEPREFIX": python,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process may hold most of a GPU's memory
        "JAX_TRACEBACK_FILTERING": "off",  # so that the last line of an error says what it was
    }
    return {**ours, **always, **keeping}


@contextlib.contextmanager
def starter(waiting: Waiting) -> Iterator[Callable[[str, str], Seen]]:
    """Make a folder for what is kept, and give what starts a program, of which it is told the name, in a state."""
    with tempfile.TemporaryDirectory() as folder:
        task: tuple[str, ...] = ()
        if waiting.data is not None:
            x, y, _ = waiting.data.data
            np.savez(f"{folder}/data.npz", x=x, y=y)
            task = waiting.data.name, f"{folder}/data.npz", str(waiting.data.batch_size)

        def start(name: str, state: str) -> Seen:
            program, own = waiting.programs[name], Path(folder, "of programs", name)
            own.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as empty:
                keeping = program.cold(empty) if state == "cold" else program.warm(str(own))
                return watch([*program.arguments, *task], environment(f"{folder}/of Python", keeping))

        yield start


def measure(waiting: Waiting, *, rounds: int, quick: bool) -> _command.Results:
    """Return for how long every program is waited for, in every state. One that fails at first is left out."""
    entered, left_out = _timing.enter({name: program.check for name, program in waiting.programs.items()})
    with starter(waiting) as start:
        for name in list(entered):
            try:
                start(name, "warm")
            except RuntimeError as error:
                if name.startswith("jax"):  # ours, or what the others are measured beyond
                    raise
                left_out[name] = str(error)
                del entered[name]
        seen: dict[str, dict[str, list[Seen]]] = {name: {state: [] for state in waiting.states} for name in entered}
        for _ in range(rounds):
            for state in waiting.states:
                for name in entered:
                    time.sleep(_timing.REST)
                    seen[name][state].append(start(name, state))
    return results(waiting, seen, left_out)


def results(
    waiting: Waiting, seen: Mapping[str, Mapping[str, Sequence[Seen]]], left_out: Mapping[str, str]
) -> _command.Results:
    """Return what was seen of all programs in all states, as JSON has it."""

    def until(word: str, name: str) -> dict[str, list[float]]:
        return {state: [each.seconds[word] for each in times] for state, times in seen[name].items()}

    def beyond(name: str) -> dict[str, list[float]]:
        if waiting.beyond is None:
            return until(waiting.until, name)
        base = until(waiting.until, waiting.beyond)
        return {
            state: [a - b for a, b in zip(times, base[state], strict=True)]
            for state, times in until(waiting.until, name).items()
        }

    return {
        "workload": waiting.title,
        "contestants": {
            name: {
                "seconds": beyond(name),
                "seconds to imported": until("imported", name),
                "seconds to exit": until("exit", name),
                "processor seconds": {
                    state: [each.processor for each in all_of] for state, all_of in seen[name].items()
                },
                "last loss": [times[-1].loss for times in seen[name].values()][-1],
            }
            for name in seen
        },
        "left out": dict(left_out),
    }


def table(result: _command.Results) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds.

    Beside them stand medians: of the last state, until all was imported and until the process ended; and for how long
    processors were busy, which depends less on who else uses the machine.
    """
    first, *_ = (seen["seconds"] for seen in result["contestants"].values())
    heads = [head for state in first for head in (f"{state}, s", "over the first")]
    busy = [f"processors {state}, s" for state in first]
    rows = [("", *heads, "until imported, s", "until exit, s", *busy, "last loss")]
    for name, seen in result["contestants"].items():
        cells = []
        for state, seconds in seen["seconds"].items():
            cells += [_timing.spread(seconds, 2), _timing.spread(_timing.ratios(seconds, first[state]), 2)]
        last = [[*seen[f"seconds to {word}"].values()][-1] for word in ("imported", "exit")]
        cells += [_timing.number(statistics.median(each)) for each in (*last, *seen["processor seconds"].values())]
        rows.append((name, *cells, _timing.number(seen["last loss"], 4)))
    return "\n".join([result["workload"], _timing.aligned(rows), *_timing.absent(result["left out"])])


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=5, tiny=("first-epoch-mlp-small", "import"))
