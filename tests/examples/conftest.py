"""Examples are scripts, not a package, so their tests load them by path."""

import contextlib
import functools
import importlib.util
import io
import pathlib
import sys
from typing import Any, NamedTuple

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "examples"


class Told(NamedTuple):
    """What an example returned and what it printed."""

    metric: Any
    output: str


@functools.cache
def load(name):
    spec = importlib.util.spec_from_file_location(f"jaxnn_examples_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what a module defines can be pickled only if the module is found again
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example():
    """A function: the example of that name, as a module, imported once."""
    return load


@pytest.fixture(scope="session")
def told():
    """A function: what `main(**settings)` of the example of that name returns and prints, run once."""

    @functools.cache
    def tell(name, **settings):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            metric = load(name).main(**settings)
        return Told(metric, output.getvalue())

    return tell
