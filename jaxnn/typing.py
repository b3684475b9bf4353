"""Names for the types that pass through the library, and a glossary of the dimensions in its annotations.

Dimensions, as they stand in annotations such as `Float[Array, "*batch features"]`:

==========  ===============================================================================
batch       examples that are processed together; always the leading axis of a layer's input
features    the last axis: channels of an image, units of a dense layer, width of an embedding
in, out     features before and after a layer
classes     the last axis of a classifier's output (its logits)
vocabulary  rows of an embedding table
time        steps of a sequence, the axis after the batch
heads       of attention: groups of features that attend for themselves
...         any further axes, time or space, that an op leaves alone
==========  ===============================================================================

Outside pytest the annotations are documentation and cost nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

Array: TypeAlias = jax.Array
AnyArray: TypeAlias = jax.Array | np.ndarray | jax.ShapeDtypeStruct
"""An array, or only its shape and dtype: what is enough to check, and to initialise for."""
Scalar: TypeAlias = float | int | np.generic | jax.Array
"""A number, or a tracer in its place: a hyperparameter that may be swept."""
Key: TypeAlias = PRNGKeyArray
Params: TypeAlias = Mapping[str, Any]
"""Nested dicts of arrays, keyed by layer name and leaf name; `None` where a leaf is held elsewhere."""
State: TypeAlias = Mapping[str, Any]
"""Nested dicts of what a layer carries but does not learn, such as running statistics."""
Residuals: TypeAlias = Any
"""A tree of arrays: what a forward remembers for its backward."""
Schedule: TypeAlias = Callable[[Any], Any]
"""A function of the step count, such as a learning rate that decays."""


def accumulator_dtype(dtype: Any) -> Any:
    """Return the dtype in which numbers of `dtype` are summed and averaged: float32 at least.

    >>> accumulator_dtype(jnp.bfloat16), accumulator_dtype(jnp.float64)
    (dtype('float32'), dtype('float64'))
    """
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"expected a floating or complex dtype, because means and scalings are taken in it; got {dtype}"
        )
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


class Data(NamedTuple):
    """A data set, or a batch of one: inputs, targets and optional weights, with a shared leading axis.

    Attributes:
        x: Inputs, shape `(batch, ...)`.
        y: Targets, shape `(batch, ...)`, as the loss wants them.
        w: Weights of the examples, shape `(batch,)` or any longer prefix of the loss's shape; `None`
            weighs all alike.

    >>> import jax.numpy as jnp
    >>> data = Data(jnp.arange(6.0).reshape(3, 2), jnp.array([0, 1, 0]))
    >>> data.examples, data.w
    (3, None)
    """

    x: Any
    y: Any
    w: Any = None

    @property
    def examples(self) -> int:
        """The number of examples: the length of the leading axis."""
        return jax.tree.leaves(self.x)[0].shape[0]

    def on_device(self) -> "Data":
        """Return the same with JAX arrays for NumPy's.

        >>> import numpy as np
        >>> Data(np.ones((2, 3)), np.zeros(2)).on_device().x.dtype
        dtype('float32')
        """
        return jax.tree.map(jnp.asarray, self)

    def take(self, index: Any) -> "Data":
        """Return the rows at `index`, in that order.

        >>> import jax.numpy as jnp
        >>> Data(jnp.array([10, 20, 30]), jnp.array([1, 2, 3])).take(jnp.array([2, 0])).y
        Array([3, 1], dtype=int32)
        """
        return jax.tree.map(lambda a: jnp.asarray(a)[jnp.asarray(index)], self)


class Sequences(NamedTuple):
    """Sequences of several lengths in one array, for recurrent layers and attention.

    A layer that is given `Sequences` returns them, with the lengths handed on. What lies at or beyond the length of a
    sequence is no part of it: nothing in it depends on that, and recurrent layers put out 0 there.

    Attributes:
        x: Values, `(batch, time, ...)`.
        lengths: Steps of each sequence, `(batch,)`, integers from 0 to time; `None` if all have `time` of them.
        begin: The carry with which the first recurrent layer begins, which takes it away; `None` for zeros.
        end: The carry that the last recurrent layer ends with; `None` before there was one.

    >>> import jax.numpy as jnp
    >>> pair = Sequences(jnp.zeros((2, 5, 3)), jnp.array([5, 2]))
    >>> pair.x.shape, pair.lengths
    ((2, 5, 3), Array([5, 2], dtype=int32))
    """

    x: Any
    lengths: Any = None
    begin: Any = None
    end: Any = None

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "dtype"):  # what asks for these takes them for an array
            raise AttributeError(f"expected an array, because of its {name}; got Sequences, which are several\n"
                                 "  hint: each_step(...) applies layers at each time step and hands the lengths on",
                                 name=name, obj=self)  # fmt: skip
        raise AttributeError(f"Sequences have {', '.join(self._fields)}, and no {name}", name=name, obj=self)


class Deferred(NamedTuple):
    """The logits x w + b of a linear layer, not computed yet: what `DeferredDense` puts out in training.

    `nn.losses.cross_entropy` takes them in chunks of the classes, and never holds all of them.

    Attributes:
        x: Input of the layer, `(batch, ..., features)`.
        w: Weights, `(features, classes)`.
        b: Bias, `(classes,)`; `None` for none.

    >>> import jax.numpy as jnp
    >>> Deferred(jnp.array([[3.0, 4.0]]), jnp.array([[2.0], [-1.0]])).logits
    Array([[2.]], dtype=float32)
    """

    x: Any
    w: Any
    b: Any = None

    @property
    def logits(self) -> Array:
        """All of them, `(batch, ..., classes)`."""
        y = self.x @ self.w
        return y if self.b is None else y + jnp.broadcast_to(self.b, y.shape)

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "dtype"):  # what asks for these takes them for an array
            raise AttributeError(f"expected logits, because of their {name}; got Deferred, of which they are the "
                                 "product\n  hint: prediction.logits computes them; cross_entropy does so in chunks",
                                 name=name, obj=self)  # fmt: skip
        raise AttributeError(f"Deferred has {', '.join(self._fields)} and logits, and no {name}", name=name, obj=self)
