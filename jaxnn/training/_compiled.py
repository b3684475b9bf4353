"""Compilation that is there when a user calls, and out of the way inside a transformation."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.extend.core import get_opaque_trace_state


@functools.cache
def _outside() -> Any:
    """The state of no transformation: that of a thread that has just begun, whoever imports this, and where."""
    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(get_opaque_trace_state).result()


def transforming() -> bool:
    """Whether this runs within `jit`, `vmap`, `grad` and the like."""
    return get_opaque_trace_state() != _outside()


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile `function(static, *arrays)` once for every value of its static first argument.

    Within `jit`, `vmap`, `grad` and the like the function runs as it is: the caller compiles there, and the
    static argument may hold tracers (a learning rate that is swept), which no cache may keep. It also runs
    as it is, in smaller pieces, if the static argument cannot be hashed. `options` are the compiler's.
    """
    jitted = jax.jit(function, static_argnums=0, compiler_options=options)

    @functools.wraps(function)
    def call(static: Any, *arrays: Any) -> Any:
        if transforming() or not hashable(static):
            return function(static, *arrays)
        return jitted(static, *arrays)

    return call


def hashable(value: Any) -> bool:
    """Whether `value` can be a key: what compilation is remembered by."""
    try:
        hash(value)
    except TypeError:
        return False
    return True
