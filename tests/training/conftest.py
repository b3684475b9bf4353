"""The tests of training compile some hundred programs of a few microseconds each."""

import jax
import pytest


@pytest.fixture(autouse=True)
def compiled_without_care():
    """Leave out XLA's optimisations: that halves the time of these tests, nearly all of which is compilation."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
