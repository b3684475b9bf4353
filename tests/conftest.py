"""Every test runs strict: dtypes and ranks are never promoted silently, and (in pyproject.toml) warnings are errors."""

import os

# Twice as fast for small arrays, and free of competition between the workers of pytest-xdist.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    """float64 everywhere in the test, as gradients are checked."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def loose():
    """JAX's own promotion, for peers that rely on it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
