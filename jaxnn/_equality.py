"""When frozen values are equal whose settings may be arrays: initialisers and metrics."""

from dataclasses import fields
from typing import Any, TypeVar

import jax.core
import numpy as np

from jaxnn.errors import is_array, values

_Class = TypeVar("_Class", bound=type)


def by_value(cls: _Class) -> _Class:
    """Let a frozen dataclass be equal to one of equal settings, and hash, also where a setting is an array.

    Arrays are equal if their shape, dtype and numbers are, so that what is compiled for one is found by another that
    was written anew. A number of NumPy is the number of Python that it holds; an array is never equal to a number. A
    tracer is equal to itself alone and does not hash, for nothing may be remembered by it.

    >>> from dataclasses import dataclass
    >>> @by_value
    ... @dataclass(frozen=True)
    ... class Shift:
    ...     by: Any
    >>> Shift(np.arange(3)) == Shift(np.arange(3)), Shift(np.arange(3)) == Shift(np.arange(3.0))
    (True, False)
    >>> hash(Shift(np.arange(3))) == hash(Shift(np.arange(3)))
    True
    """

    def equal(self, other: object) -> Any:
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, setting.name), getattr(other, setting.name)) for setting in fields(cls))
        return all(a is b or (not (_traced(a) or _traced(b)) and _held(a) == _held(b)) for a, b in pairs)

    def hashed(self) -> int:
        return hash((cls, *(_held(getattr(self, setting.name)) for setting in fields(cls))))

    cls.__eq__, cls.__hash__ = equal, hashed  # pyright: ignore[reportAttributeAccessIssue]
    return cls


def _traced(setting: Any) -> bool:
    return isinstance(setting, jax.core.Tracer)


def _held(setting: Any) -> Any:
    """What a setting is compared by: an array's shape, dtype and bytes."""
    if isinstance(setting, tuple):
        return tuple(map(_held, setting))
    if isinstance(setting, np.generic):
        return setting.item()
    seen = values(setting) if is_array(setting) else None
    return setting if seen is None else (seen.shape, seen.dtype, seen.tobytes())
