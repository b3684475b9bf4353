"""Compiled programs that outlive the process which compiled them."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache_compilations(path: str | os.PathLike[str]) -> Path:
    """Keep what JAX compiles in a directory, where this process and later ones find it rather than compile it again.

    It is JAX's own persistent cache, without its thresholds: by default JAX keeps no program that compiled in less
    than a second, which leaves out initial weights, evaluation and most steps of a small model. What was compiled
    before the call is not kept. A program is found again if it, the versions of JAX and jaxlib, the flags and the kind
    of device are the same; it is traced all the same. Nothing is ever deleted (`jax_compilation_cache_max_size`
    limits it), and nothing is kept unless this is called.

    Two cautions. A program for a CPU uses what the processor that compiled it can do, so machines with different
    processors need a directory each, also where they share a home. And a program is loaded as code: whoever may write
    to the directory may run code in your name.

    Args:
        path: A local directory, made if there is none; `~` is your home.

    Returns:
        The whole path.

    Raises:
        OSError: The directory cannot be made or written to.

    >>> nn.cache_compilations("~/.cache/jaxnn")  # at the top of a script  # doctest: +SKIP
    PosixPath('/home/me/.cache/jaxnn')

    Convention: JAX's `jax_compilation_cache_dir`, `jax_persistent_cache_min_compile_time_secs` of 0, and
    `jax_persistent_cache_min_entry_size_bytes` of -1.
    """
    folder = Path(path)
    try:
        if "://" in os.fspath(path):
            raise OSError("an address, for which there is `jax_compilation_cache_dir`")
        folder = folder.expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it cannot be written to")
    except (OSError, RuntimeError) as error:  # the latter of a home that there is not
        raise OSError(
            f"expected a directory to write to, because compiled programs are kept in it; got {folder}: {error}\n"
            "  hint: choose one of your own, such as ~/.cache/jaxnn"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # or a directory that was in use before would still be
    return folder
