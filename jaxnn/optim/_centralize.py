"""Gradients without their mean."""

import jax
import optax

from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import accumulator_dtype


def centralize() -> Optimizer:
    """Subtract from each row of a leaf the row's mean, g <- g - mean(g over all axes but the first).

    Leaves of one axis and numbers are left alone. The paper's mean is over the inputs of each unit, and its weights,
    as PyTorch's, are (out, in, ...). For weights (in, out) as here the axes, which are optax's, are the other ones: the
    mean is over the units for each input. To follow the paper, as Keras's example does, take it over all axes but the
    last: `stateless(lambda updates, params: jax.tree.map(f, updates))` with
    f(g) = g - g.mean(range(g.ndim - 1), keepdims=True) for leaves of two axes or more.

    >>> import jax.numpy as jnp
    >>> t = centralize()
    >>> t.update({"w": jnp.array([[1.0, 3.0], [2.0, 8.0]]), "b": jnp.array([1.0, 2.0])}, t.init(None))[0]["w"]
    Array([[-1.,  1.],
           [-3.,  3.]], dtype=float32)

    Source: Yong, Huang, Hua and Zhang, "Gradient centralization: a new optimization technique for deep neural
    networks" (2020), equation 1.
    """

    def update(updates, state, params=None):
        del params

        def centred(g):
            if g.ndim < 2:
                return g
            wide = g.astype(accumulator_dtype(g.dtype))
            return (wide - wide.mean(tuple(range(1, g.ndim)), keepdims=True)).astype(g.dtype)

        return jax.tree.map(centred, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
