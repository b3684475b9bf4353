"""Run every example's `main` at tiny size, and every benchmark as `--quick`: do they still run at all?"""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
    "sweep_256": {"rates": 2, "seeds": 2, "epochs": 1, "picture": None},
    "xor": {"epochs": 5, "picture": None},
    "vae_digits": {"epochs": 1, "hidden": 8, "latent": 2, "picture": None},
    "feedback_alignment": {"epochs": 1, "hidden": 8, "picture": None},
    "other_backwards": {"epochs": 1, "hidden": 4, "features": 2},
}


def main() -> None:
    """Run them all; the first that fails stops."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        print(f"-- {path.name}: {module.main(**TINY.get(path.stem, {}))}")
    for path in sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        print(f"-- {path.name} --quick", flush=True)
        subprocess.run([sys.executable, str(path), "--quick"], check=True)


if __name__ == "__main__":
    main()
