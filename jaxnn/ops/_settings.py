"""The settings of a function: which of its parameters they are, and the form in which they are kept."""

import inspect
import itertools
import operator
from collections.abc import Callable
from typing import Any, SupportsIndex, final, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.errors import is_array
from jaxnn.typing import Array, Scalar


def static(setting: Any) -> Any:
    """Return a setting as what can be hashed and printed: a tuple for a list, a number for NumPy's; and so within.

    >>> static([[1, np.int64(1)], (0, 2)]), static("SAME"), static(True)
    (((1, 1), (0, 2)), 'SAME', True)
    """
    if isinstance(setting, list | tuple):
        return tuple(map(static, setting))
    # A bool is an index for Python, and an array claims to be one.
    if isinstance(setting, np.bool_ | np.floating):
        return setting.item()
    index = isinstance(setting, SupportsIndex) and not isinstance(setting, bool | np.ndarray | jax.Array)
    return operator.index(setting) if index else setting


@final
class Signature:
    """What a function takes: arrays by position, and after them settings by name.

    A parameter with a default that is not `None` is a setting, as a keyword is, and so are all after it.

    Attributes:
        settings: The names of the settings.
        arrays: Those annotated as a union with `Array`, such as `Array | None`.
        swept: Those that may be arrays or tracers: these, and those annotated as a `Scalar`.

    >>> def softened(x, *, by: Scalar = 2.0, where: Array | None = None, axis: int = -1): ...
    >>> signature = Signature(softened)
    >>> sorted(signature.settings), sorted(signature.swept)
    (['axis', 'by', 'where'], ['by', 'where'])
    >>> signature.kept({"where": [True, False]}), signature.used({"where": (True, False)})
    ({'where': (True, False)}, {'where': Array([ True, False], dtype=bool)})
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            parameters = tuple(inspect.signature(function).parameters.values())
        except ValueError:  # a function that is built in need not say what it takes
            parameters = ()
        settings = tuple(itertools.dropwhile(lambda p: not _is_setting(p), parameters))
        self.settings = frozenset(p.name for p in settings)
        self.arrays = frozenset(p.name for p in settings if Array in get_args(p.annotation))
        self.swept = self.arrays | {p.name for p in settings if p.annotation is Scalar}
        self._by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def divide(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tell arrays from settings that came by position, as in some of optax's losses."""
        names = dict(enumerate(self._by_position))
        late = [i for i in range(len(arguments)) if names.get(i) in self.settings]
        arrays = tuple(a for i, a in enumerate(arguments) if i not in late)
        return arrays, {names[i]: arguments[i] for i in late}

    def kept(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return settings that nobody can change: what is compiled for them is found by them.

        A list of numbers that stands for an array stays a tuple, which is equal to any other of the same numbers.
        """
        settings = {name: _constant(s) if isinstance(s, np.ndarray) else static(s) for name, s in settings.items()}
        of_arrays = [name for name in self._lists(settings) if any(map(is_array, jax.tree.leaves(settings[name])))]
        return settings | {name: jnp.asarray(settings[name]) for name in of_arrays}

    def used(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return settings as the function takes them: arrays where tuples stand for them.

        Raises:
            TypeError: A tuple is none of numbers in rows of one length.
        """
        return settings | {name: _as_array(name, settings[name]) for name in self._lists(settings)}

    def _lists(self, settings: dict[str, Any]) -> list[str]:
        return [name for name in self.arrays & settings.keys() if isinstance(settings[name], tuple)]


def _is_setting(p: inspect.Parameter) -> bool:
    return p.kind is p.KEYWORD_ONLY or p.default not in (p.empty, None)


def _as_array(name: str, numbers: Any) -> Array:
    try:
        return _constant(np.asarray(numbers))
    except (TypeError, ValueError):
        raise TypeError(
            f"expected {name} as numbers, in rows of one length, because it is an array; got {numbers!r}"
        ) from None


def _constant(values: np.ndarray) -> Array:
    """Copy NumPy's array to one that cannot be changed, and whose values are seen within `jit` too."""
    with jax.ensure_compile_time_eval():
        return jnp.array(values)
