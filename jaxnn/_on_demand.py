"""Public names that are imported when they are first asked for: nobody waits for the rooms of a house not entered."""

import linecache
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_IMPORT = re.compile(r"^ +from (\S+) import (?:\(\s*)?(\w+) as \2\b", re.MULTILINE)


def on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`, which import a name when it is first asked for.

    The names are those that the package imports under `if TYPE_CHECKING:`, each by itself, `as` what it is called; so
    one list serves readers, type checkers and this. It is read from the source, which has to be there.

    Raises:
        AttributeError: The package has no such name.

    >>> import jaxnn as nn
    >>> nn.optim.adam.__module__, "adam" in dir(nn.optim)
    ('jaxnn.optim._adam', True)

    Source: Levkivskyi, PEP 562, "Module __getattr__ and __dir__" (2017).
    """
    module = sys.modules[package]

    @cache
    def homes() -> dict[str, str]:
        source = "".join(linecache.getlines(module.__file__ or "", vars(module)))
        return {name: home for home, name in _IMPORT.findall(source)}

    def getattribute(name: str) -> Any:
        home = homes().get(name)
        if home is None and not name.startswith("_") and find_spec(f"{package}.{name}"):
            home = package  # a module, as `jaxnn.typing`, which is there where anyone has imported it
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        value = import_module(f"{home}.{name}") if home == package else getattr(import_module(home), name)
        setattr(module, name, value)  # from now on Python finds it without asking here
        return value

    def names() -> list[str]:
        return sorted({*homes(), *(name for name in vars(module) if name.startswith("__"))})

    return getattribute, names
