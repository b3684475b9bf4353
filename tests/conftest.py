"""Every test runs strict: dtypes and ranks are never promoted silently, and (in pyproject.toml) warnings are errors."""

import contextlib
import gc
import os
import shutil
import tempfile

from little_optimised import FLAGS

# Nearly all the time of these tests is compilation of tiny programs: so let XLA optimise little (but see `optimised`),
# and let no worker of pytest-xdist compile what another one, or it itself, has compiled.
os.environ.setdefault("XLA_FLAGS", FLAGS)
_own = "JAXNN_TESTS_COMPILED" not in os.environ  # in the one process that outlives the workers, which inherit it
_compiled = os.environ.setdefault("JAXNN_TESTS_COMPILED", os.path.join(tempfile.gettempdir(), f"jaxnn-{os.getpid()}"))

import jax  # noqa: E402 - reads the flags
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler  # noqa: E402 - no public name leads to how much jax optimises, and
from jax._src.lru_cache import LRUCache  # noqa: E402 - to how it writes

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


def pytest_collection_finish():
    """Python's collector need not look, at every trace anew, at what was imported and stays."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    if _own:
        shutil.rmtree(_compiled, ignore_errors=True)


@pytest.fixture(autouse=True, scope="module")
def programs_are_let_go():
    """What one file has compiled no other one calls: kept, it would come to gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def slow_is_optimised(request):
    if request.node.get_closest_marker("slow"):
        request.getfixturevalue("optimised")


@pytest.fixture
def optimised(monkeypatch):
    """XLA takes more time to compile, and what it compiles less time to run: for tests that compute for seconds."""
    compile_or_get_cached = compiler.compile_or_get_cached

    def compile_optimised(backend, computation, devices, options, *args, **keywords):
        options.executable_build_options.debug_options.xla_backend_optimization_level = 1
        return compile_or_get_cached(backend, computation, devices, options, *args, **keywords)

    monkeypatch.setattr(compiler, "compile_or_get_cached", compile_optimised)


@pytest.fixture
def checking_leaks():
    """A context in which a tracer that outlives its trace is an error.

    JAX collects garbage before it looks, at every trace: so let it collect only what is new.
    """

    @contextlib.contextmanager
    def checking():
        gc.freeze()
        try:
            with jax.checking_leaks():
                yield
        finally:
            gc.unfreeze()

    return checking


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
