"""Run every example's `main` at tiny size, and every benchmark as `--quick`: do they still run at all?"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from little_optimised import FLAGS  # noqa: E402 - of the tests, whose folder has no package

# An example that is not here runs with its defaults.
TINY = {
    "gpt_characters": {
        "steps": 4,
        "every": 2,
        "characters": 5000,
        "context": 32,
        "width": 8,
        "heads": 2,
        "blocks": 1,
        "picture": None,
    },
    "mlp_digits": {"epochs": 1, "hidden": 8, "picture": None},
    "backprop_by_hand": {"steps": 2},
    "cnn_digits": {"epochs": 1, "features": 2, "pictures": None},
    "lstm_memory": {"steps": 4, "epochs": 1, "examples": 32, "hidden": 3, "picture": None},
    "initialisers": {"layers": 3, "width": 16, "draws": 2, "picture": None},
    "ensemble_digits": {"members": 2, "epochs": 3, "seeds": 2, "picture": None},
    "sweep_256": {"rates": 2, "seeds": 2, "epochs": 1, "picture": None},
    "sweep_digits": {"values": 2, "epochs": 2, "repeats": 1, "seeds": 1, "picture": None},
    "imbalance": {"seeds": 2, "steps": 8, "n": 2600, "n_test": 800, "picture": None},
    "transfer_digits": {"seeds": 2, "features": 2, "turns": 1, "sizes": (10,), "steps": 3, "picture": None},
    "xor": {"epochs": 5, "picture": None},
    "hypergradient": {"runs": 2, "points": 2, "seeds": 1, "epochs": 1, "picture": None},
    "vae_digits": {"epochs": 1, "hidden": 8, "latent": 2, "picture": None},
    "feedback_alignment": {"epochs": 1, "hidden": 8, "picture": None},
    "other_backwards": {"epochs": 1, "hidden": 4, "features": 2},
    "optimizers_race": {
        "optimizers": ("sgd", "lookahead"),
        "rates": 2,
        "steps": 3,
        "digits_rates": 2,
        "digits_steps": 3,
        "picture": None,
    },
}

# What a script of the benchmarks is asked for, if not for all that it has: the others measure themselves.
SOME = {"run": ["optimizer-many", "driver-mlp-small"]}
NO_BENCHMARKS = {"readme"}  # it writes


def example(name: str) -> None:
    """Run an example at its tiny size."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    print(module.main(**TINY.get(name, {})))


def main() -> None:
    """Run them all, as many at a time as there are cores; the first that fails stops.

    They do little but compile, the benchmarks the same programs twice: so XLA shall optimise little, and keep what it
    has compiled for all of them.
    """
    names = [path.stem for path in sorted((ROOT / "examples").glob("*.py"))]
    commands = {f"{name}.py": [__file__, name] for name in names}
    for path in sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        if path.stem not in NO_BENCHMARKS:
            arguments = [f"benchmarks.{path.stem}", *SOME.get(path.stem, []), "--quick"]
            commands[" ".join(arguments)] = ["-m", *arguments]

    def run(told: str) -> None:
        command = [sys.executable, *commands[told]]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"-- {told}\n{done.stdout}", flush=True)
        if done.returncode:
            raise SystemExit(f"{told} failed:\n{done.stderr}")

    with tempfile.TemporaryDirectory() as kept, ThreadPoolExecutor(os.cpu_count()) as pool:
        environment = {
            "XLA_FLAGS": FLAGS,
            "JAX_COMPILATION_CACHE_DIR": kept,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
            **os.environ,
        }
        running = [pool.submit(run, told) for told in commands]
        try:
            for future in running:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    example(*sys.argv[1:]) if sys.argv[1:] else main()
