"""Initialisers that draw nothing: constants, and the identity of dense layers and convolutions."""

from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.errors import ShapeError, is_array
from jaxnn.initializers._initializer import Initializer, check_axes
from jaxnn.typing import Array, Key, Scalar


@final
@by_value
@dataclass(frozen=True, repr=False)
class Constant:
    """Every element is `value`, whatever the key.

    Weights that are all alike stay alike, because their gradients are; this is for biases and scales.

    Attributes:
        value: Of every element; or an array of one for each feature, which is the last axis, such as the biases whose
            softmax is the frequencies of classes. May be a tracer.

    Raises:
        ShapeError: There is not one value for each feature.

    >>> import jax
    >>> Constant(0.5), Constant(0.0), Constant(0.5)(jax.random.key(0), (2,), jnp.bfloat16)
    (Constant(0.5), zeros, Array([0.5, 0.5], dtype=bfloat16))
    >>> Constant(jnp.array([0.0, 1.5]))(jax.random.key(0), (2,))
    Array([0. , 1.5], dtype=float32)

    Source: of biases Goodfellow, Bengio and Courville, "Deep learning" (2016), section 8.4.
    """

    value: Scalar

    def __repr__(self) -> str:
        if is_array(self.value):
            return f"Constant({self.value})"
        return {0.0: "zeros", 1.0: "ones"}.get(self.value, f"Constant({self.value})")  # pyright: ignore[reportArgumentType,reportCallIssue]

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Fill an array."""
        del key
        value = jnp.asarray(self.value, dtype)
        if value.shape not in ((), shape[-1:]):
            raise ShapeError(f"a constant of shape () or {shape[-1:]}", why=f"it is to fill {shape}", got=value.shape)
        return jnp.full(shape, value, dtype)


zeros: Initializer = Constant(0.0)
"""All zeros: right for biases; a layer whose weights are all zero passes no gradient on."""

ones: Initializer = Constant(1.0)
"""All ones: right for scales; units whose weights are all one stay alike."""


def constant(value: Scalar) -> Constant:
    """Every element is `value`, w_ij = value: for biases and scales, as a layer of like units learns like one unit.

    >>> constant(0.1)
    Constant(0.1)

    Source: Goodfellow, Bengio and Courville (2016), section 8.4.
    """
    return Constant(value)


@final
@by_value
@dataclass(frozen=True)
class Identity:
    """A layer that at first returns `scale` times what it is given, w_ij = scale [i = j], of input i and output j.

    The weight of a convolution has them at the tap that reads the position itself under "SAME" padding and stride 1,
    which is (n - 1) // 2 of a window of n. (PyTorch's `dirac_` takes n // 2, which is the same for odd n.) Of more
    outputs than inputs the others are 0, and of fewer the first inputs are kept.

    Attributes:
        scale: Of the ones. May be a tracer.

    Raises:
        ShapeError: The shape has fewer than two axes.

    >>> import jax
    >>> Identity()(jax.random.key(0), (2, 3), jnp.float32)
    Array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)

    Source: Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units" (2015).
    """

    scale: Scalar = 1.0

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Lay the diagonal down."""
        del key
        check_axes(shape)
        return at_centre(jnp.eye(*shape[-2:], dtype=dtype) * jnp.asarray(self.scale, dtype), shape)


def identity(scale: Scalar = 1.0) -> Identity:
    """The identity of a dense layer, and of a convolution: each feature passes through by itself.

    >>> import jax
    >>> identity()(jax.random.key(0), (3, 1, 1), jnp.float32)[:, 0, 0]
    Array([0., 1., 0.], dtype=float32)

    Source: Le, Jaitly and Hinton (2015).
    """
    return Identity(scale)


def at_centre(matrix: Array, shape: tuple[int, ...]) -> Array:
    """Return the weight of a convolution that has a matrix at the centre of its window and zeros elsewhere."""
    if 0 in shape[:-2]:
        return jnp.zeros(shape, matrix.dtype)
    centre = tuple((n - 1) // 2 for n in shape[:-2])
    return jnp.zeros(shape, matrix.dtype).at[centre].set(matrix)
