"""What all tests rely on: programs that workers share are whole or not there, and leaks are found."""

import threading

import jax
import jax.numpy as jnp
import pytest
from jax._src import compiler
from jax._src.lru_cache import LRUCache

KEPT = []


def test_nobody_reads_what_is_half_written(tmp_path):
    program, seen = bytes(2**27), set()
    cache = LRUCache(str(tmp_path), max_size=-1)
    writing = threading.Thread(target=cache.put, args=("key", program))
    writing.start()
    while writing.is_alive():
        found = cache.get("key")
        seen.add(None if found is None else len(found))
    writing.join()
    assert seen <= {None, len(program)}
    assert cache.get("key") == program
    assert [file.name for file in tmp_path.iterdir()] == ["key-cache"]


def test_a_leak_is_found(checking_leaks):
    with checking_leaks():
        jax.jit(jnp.sin).trace(1.0)
        with pytest.raises(Exception, match="Leaked tracer"):
            jax.jit(KEPT.append).trace(1.0)
    KEPT.clear()


@pytest.mark.parametrize("expected", [pytest.param(1, marks=pytest.mark.slow), 0])
def test_what_runs_for_long_is_optimised(expected, monkeypatch):
    levels, compile_and_load = [], compiler.backend_compile_and_load

    def watched(backend, module, devices, options, *args, **keywords):
        levels.append(options.executable_build_options.debug_options.xla_backend_optimization_level)
        return compile_and_load(backend, module, devices, options, *args, **keywords)

    monkeypatch.setattr(compiler, "backend_compile_and_load", watched)
    jax.jit(lambda x: jnp.tanh(x) + expected).lower(jax.ShapeDtypeStruct((61, 7), jnp.float32)).compile()
    assert levels == [expected]
