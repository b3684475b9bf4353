"""Benchmarks are scripts that import each other by name, so their tests see them as a script does."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
