"""An op: a mathematical function and its hand-written backward, side by side, as one value."""

import functools
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, final

import jax
import jax.numpy as jnp
from jax.dtypes import float0

from jaxnn.errors import is_array
from jaxnn.ops._rule import with_rule
from jaxnn.ops._settings import Signature
from jaxnn.typing import Array, Residuals

# A user context is part of the cache key of every jit, scan and checkpoint; a ContextVar goes stale in them.
_PLAIN = jax.make_user_context(False)


def plain() -> AbstractContextManager[Any]:
    """Return a context in which every op is its plain function, without any installed rule.

    A check must compare a hand-written rule with what JAX derives from the plain function; otherwise an
    installed rule would be compared with itself. Nothing else needs it: in forward mode (`jax.jvp`, `jax.jacfwd`) the
    derivative is JAX's of the plain function wherever a rule is installed.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> total = lambda x: nn.ops.max_pool(x, window=2).sum()
    >>> with nn.plain():
    ...     jax.jit(jax.grad(total))(jnp.array([[[1.0], [3.0]]])).ravel()
    Array([0., 1.], dtype=float32)
    """
    return _PLAIN(True)


@final
class Op:
    """A pure function on arrays, what it remembers, and its backward.

    ======================================  =====================================================
    `op(*arrays, **settings)`               the function, with the rule if one is installed
    `op.plain(*arrays, **settings)`         the function alone; JAX derives its backward
    `op.fwd(*arrays, **settings)`           `(out, residuals)`, with `out` equal to `plain`'s
    `op.bwd(residuals, d_out, **settings)`  the cotangent of each array, `None` where there is none
    ======================================  =====================================================

    The pair `fwd`, `bwd` has the contract of `jax.custom_vjp`, and residuals are arrays only, so that they
    can be carried through `jit`, stacked by `scan` and mapped by `vmap`. Arrays are positional. Settings are
    keyword-only, static and hashable; lists and NumPy's integers become tuples and integers. A setting that is
    annotated as a `Scalar`, or as a union with `Array` such as `Array | None`, may be an array or a tracer too, so
    that it can be swept or be a mask; only JAX's own backward differentiates with respect to it. Such an array is a
    copy if it is NumPy's, which may change later, and for a union a list of numbers stands for one. A parameter with
    a default that is not `None` is a setting too, and so are all after it; they may then also be given by position,
    as in some of optax's losses. `op.bind(**settings)` is the op with its settings. Integers, keys, and whatever has
    no derivative get `None`. The two forwards are equal to the last bit, except where they compute the same sums in
    another order, as convolution does: there they are equal to rounding.

    An op without a hand-written pair is complete too: its backward is then JAX's own (`hand` is False).

    Attributes:
        hand: Whether the backward is written by hand.
        installed: Whether `jax.grad` uses it as well, because a benchmark showed that it is faster. `jax.jvp` then
            still uses what JAX derives of the plain function.

    >>> import jax.numpy as jnp
    >>> @Op
    ... def square(x):
    ...     return x * x
    >>> def square_fwd(x):
    ...     return x * x, x
    >>> def square_bwd(x, dy):
    ...     return (2 * x * dy,)
    >>> square.defvjp(square_fwd, square_bwd)
    >>> y, residuals = square.fwd(jnp.array(3.0))
    >>> y, square.bwd(residuals, jnp.array(1.0))
    (Array(9., dtype=float32, weak_type=True), (Array(6., dtype=float32, weak_type=True),))
    """

    def __init__(self, function: Callable[..., Any], check: Callable[..., None] | None = None) -> None:
        functools.update_wrapper(self, function)
        self._plain = function
        self._check = check
        self._fwd: Callable[..., tuple[Any, Residuals]] | None = None
        self._bwd: Callable[..., tuple[Any, ...]] | None = None
        self._unbound, self._settings = self, dict[str, Any]()
        self.installed = False

    def defvjp(
        self,
        fwd: Callable[..., tuple[Any, Residuals]],
        bwd: Callable[..., tuple[Any, ...]],
        *,
        install: bool = False,
    ) -> None:
        """Define the hand-written pair; with `install`, `jax.grad` uses it too, and `jax.jvp` the plain function."""
        self._fwd, self._bwd, self.installed = fwd, bwd, install

    @property
    def name(self) -> str:
        """The function's name, which names the layer too: `relu`."""
        return getattr(self, "__name__", type(self._plain).__name__)

    @property
    def hand(self) -> bool:
        """Whether the backward is written by hand."""
        return self._bwd is not None

    @functools.cached_property
    def _signature(self) -> Signature:
        return Signature(self._plain)

    @property
    def keywords(self) -> frozenset[str]:
        """The names of the settings."""
        return self._signature.settings

    @property
    def swept(self) -> frozenset[str]:
        """The names of the settings that may be arrays."""
        return self._signature.swept

    def _sorted(self, arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Put settings that came by position with those that came by name, and those that are bound."""
        arrays, given = self._signature.divide(arguments)
        twice = given.keys() & settings.keys()
        if twice:
            raise TypeError(f"expected one value of {', '.join(sorted(twice))} of {self}; got one by position and one "
                            "by name")  # fmt: skip
        return arrays, self._settings | self._signature.kept(given | settings)

    def _used(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Put those that are bound with those of a call, as the function takes them."""
        return self._signature.used(self._settings | self._signature.kept(settings))

    def bind(self, **settings: Any) -> "Op":
        """Return the op with these settings, for where an op is given and not called: in a model, as a loss.

        Raises:
            TypeError: A setting is none of the op's.

        >>> import jaxnn as nn
        >>> nn.serial(nn.Dense(3), nn.ops.softmax.bind(axis=0))
        serial(Dense(3), softmax(axis=0))
        """
        unknown = settings.keys() - self.keywords
        if unknown:
            raise TypeError(f"expected settings of {self}, which are {', '.join(sorted(self.keywords)) or 'none'}; "
                            f"got {', '.join(sorted(unknown))}")  # fmt: skip
        bound = object.__new__(Op)  # a copy would be what unpickling gives
        bound.__dict__.update(self.__dict__)
        bound._settings = self._settings | self._signature.kept(settings)
        return bound

    def check(self, *arrays: Any, **settings: Any) -> None:
        """Raise an error if the arrays cannot be meant: shapes always, values where they are concrete."""
        settings = self._used(settings)
        keywords = [name for name, setting in settings.items() if is_array(setting) and name not in self.swept]
        if keywords:
            raise TypeError(
                f"expected the arrays of {self} by position, because keywords are its static settings; "
                f"got {', '.join(keywords)} as an array"
            )
        if not arrays:
            raise TypeError(
                f"expected the arrays of {self}, because it is a function of them; got none\n  hint: "
                + (
                    "a layer with settings is a class, such as MaxPool((2, 2))"
                    if settings
                    else f"as a layer it stands without parentheses: serial(..., {self}, ...)"
                )
            )
        if self._check is not None:
            self._check(*arrays, **settings)

    def __call__(self, *arrays: Any, **settings: Any) -> Any:
        """Apply the function, with its rule where one is installed and `plain()` is not in force."""
        arrays, settings = self._sorted(arrays, settings)
        self.check(*arrays, **settings)
        # A rule knows no derivative with respect to a setting, and not how arrays lie on devices where their types say.
        ruled = self.installed and not _PLAIN.value and not any(map(is_array, settings.values()))
        if ruled and not any(map(_is_sharded, arrays)):
            return _with_rule(self, tuple(sorted(settings.items())), len(arrays))(*arrays)
        return self._plain(*arrays, **self._used(settings))

    def plain(self, *arrays: Any, **settings: Any) -> Any:
        """Apply the function alone, without a rule of its own or of any op within it."""
        arrays, settings = self._sorted(arrays, settings)
        self.check(*arrays, **settings)
        with _PLAIN(True):
            return self._plain(*arrays, **self._used(settings))

    def fwd(self, *arrays: Any, **settings: Any) -> tuple[Any, Residuals]:
        """Apply the function and return `(out, residuals)`."""
        arrays, settings = self._sorted(arrays, settings)
        self.check(*arrays, **settings)
        settings = self._used(settings)
        if self._fwd is None:
            return pullback(functools.partial(self._plain, **settings), *arrays)
        return self._fwd(*arrays, **settings)

    def bwd(self, residuals: Residuals, d_out: Any, **settings: Any) -> tuple[Any, ...]:
        """Return the cotangent of every array, given the cotangent of the output."""
        if self._bwd is None:
            return pull(residuals, d_out)
        d_arrays = self._bwd(residuals, d_out, **self._used(settings))
        if not isinstance(d_arrays, tuple):
            raise TypeError(
                f"expected the backward of {self} to return a tuple, because it has one cotangent for each "
                f"array; got {type(d_arrays).__name__}"
            )
        return d_arrays

    def __eq__(self, other: object) -> bool:
        """Whether it is the same op with the same settings; arrays are the same if they are one."""
        if not isinstance(other, Op) or self._unbound is not other._unbound:
            return False
        mine, others = self._settings, other._settings
        same = lambda a, b: a is b or (not (is_array(a) or is_array(b)) and a == b)
        return mine.keys() == others.keys() and all(same(mine[name], others[name]) for name in mine)

    def __hash__(self) -> int:
        settings = self._settings.items()
        return hash((id(self._unbound), frozenset((name, id(s) if is_array(s) else s) for name, s in settings)))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={setting!r}" for name, setting in self._settings.items())
        return f"{self.name}({settings})" if settings else self.name

    def __reduce__(self) -> Any:
        if self._settings:
            return _bound, (self._plain.__module__, self.__qualname__, self._settings)  # pyright: ignore[reportAttributeAccessIssue]
        return self.__qualname__  # pyright: ignore[reportAttributeAccessIssue]


def _bound(module: str, name: str, settings: dict[str, Any]) -> Op:
    """Unpickle an op with settings."""
    return getattr(importlib.import_module(module), name).bind(**settings)


def op(check: Callable[..., None]) -> Callable[[Callable[..., Any]], Op]:
    """Make an op of a function whose arguments are checked first, on every road, by `check`.

    >>> from jaxnn.errors import ShapeError
    >>> def has_rows(x):
    ...     if x.ndim == 0:
    ...         raise ShapeError("x with a leading axis", why="rows are counted", got=x.shape)
    >>> @op(has_rows)
    ... def rows(x):
    ...     return x.shape[0]
    >>> rows(jnp.zeros((3, 2)))
    3
    """
    return lambda function: Op(function, check)


def shape_only(x: Array) -> Array:
    """Remember the shape and dtype of `x` but none of its data, as an array of no elements.

    Residuals are arrays, so that they stack and map; a backward that needs only a shape finds it at
    `shape_only(x).shape[1:]`.

    >>> shape_only(jnp.ones((2, 3))).shape
    (0, 2, 3)
    """
    return jnp.zeros((0, *x.shape), x.dtype)


def pullback(function: Callable[..., Any], *args: Any, has_aux: bool = False) -> tuple[Any, Residuals]:
    """Return `function(*args)` and JAX's own backward of it, which is a tree of arrays: a valid residual."""
    if has_aux:
        out, backward, aux = jax.vjp(function, *args, has_aux=True)
        return (out, aux), backward
    return jax.vjp(function, *args)


def pull(backward: Any, d_out: Any) -> tuple[Any, ...]:
    """Apply what `pullback` remembered; integers and keys get `None`."""
    return jax.tree.map(lambda d: None if d.dtype == float0 else d, backward(d_out))


def _is_sharded(array: Any) -> bool:
    """Whether it is part of an array's type along which axes of a mesh it lies (`jax.sharding.AxisType.Explicit`)."""
    return is_array(array) and any(axis is not None for axis in jax.typeof(array).sharding.spec)


@functools.cache
def _with_rule(op: Op, settings: tuple[tuple[str, Any], ...], given: int) -> Callable[..., Any]:
    # Not `plain`: where a rule is installed, its forward may be the faster one too. What is remembered for nobody
    # costs nothing in a compiled program.
    keywords = dict(settings)
    return with_rule(
        lambda *arrays: op.fwd(*arrays, **keywords)[0],
        functools.partial(op.fwd, **keywords),
        # An array that is left out, such as a mask, has no cotangent either.
        lambda *pair: op.bwd(*pair, **keywords)[:given],
        lambda arrays, tangents: jax.jvp(functools.partial(op.plain, **keywords), arrays, tangents)[1],
    )
