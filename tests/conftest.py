"""Every test runs strict: dtypes and ranks are never promoted silently, and (in pyproject.toml) warnings are errors."""

import os
import shutil
import tempfile
from importlib.metadata import version

# Nearly all the time of these tests is compilation of tiny programs: so let XLA optimise little, let it not compete
# with the other workers of pytest-xdist, and let no worker compile what another one, or it itself, has compiled.
_flags = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):
    _flags += " --xla_cpu_use_fusion_emitters=false"  # halves the time; later versions abort at this flag
os.environ.setdefault("XLA_FLAGS", _flags)
_own = "JAXNN_TESTS_COMPILED" not in os.environ  # in the one process that outlives the workers, which inherit it
_compiled = os.environ.setdefault("JAXNN_TESTS_COMPILED", os.path.join(tempfile.gettempdir(), f"jaxnn-{os.getpid()}"))

import jax  # noqa: E402 - reads the flags
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from jax._src.lru_cache import LRUCache  # noqa: E402 - no public name leads to how jax writes

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", _compiled)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _put(self, key, value):
    """Keep a compiled program: as jax does, but all of it at once.

    jax writes into the file that it reads from. Another worker that looks just then finds a part of a program, and
    one that is killed leaves it there for good.
    """
    with tempfile.NamedTemporaryFile(dir=self.path, prefix="writing-", delete=False) as file:
        file.write(value)
    os.replace(file.name, os.path.join(self.path, f"{key}-cache"))


LRUCache.put = _put


def pytest_sessionfinish():
    if _own:
        shutil.rmtree(_compiled, ignore_errors=True)


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


@pytest.fixture
def unannotated():
    """Without the execution of annotations, which would refuse some arguments before the library does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
