"""Random omission: each element is dropped, with the others scaled so that the mean stays."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import values
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Key, Scalar


def _check_dropout(x: AnyArray, rate: Scalar, key: Any, *, shared: int | tuple[int, ...] = ()) -> None:
    del key
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because what is kept is scaled; got {x.dtype}: cast it first")
    seen = values(rate)
    if seen is not None and not 0 <= seen <= 1:
        raise ValueError(f"expected a rate from 0 to 1, because it is the probability of dropping; got {seen}")
    beyond = [axis for axis in _axes(shared) if not -x.ndim <= axis < x.ndim]
    if beyond:
        raise ValueError(f"expected shared axes of x, because the mask is the same along them; x has {x.ndim} and got "
                         f"{', '.join(map(str, beyond))}")  # fmt: skip


@op(_check_dropout)
def dropout(
    x: Float[Array, "..."], rate: Scalar, key: Key, *, shared: int | tuple[int, ...] = ()
) -> Float[Array, "..."]:
    """Drop each element with probability `rate` and scale the rest, y = m x / (1 - rate), m ~ Bernoulli(1 - rate).

    So the mean of y over masks is x, and nothing is left to do in inference ("inverted" dropout; the paper
    scales the weights afterwards instead). `rate` is the probability of dropping, as in flax, Keras and
    PyTorch; that of `jax.example_libraries.stax` is of keeping. It may be a tracer. No derivative is defined
    with respect to it, because the mask's own dependence on it has none. At a rate of 1 all is dropped.

    Args:
        x: Any shape.
        rate: Probability of dropping.
        key: Of the mask.
        shared: Axes along which the mask is the same: all that lies along them is dropped or kept together. flax
            calls them `broadcast_dims`.

    Returns:
        The shape of x.

    Raises:
        TypeError: x is not floating.
        ValueError: A concrete rate is not from 0 to 1, or x has no such axis.

    >>> dropout(jnp.ones(5), 0.5, jax.random.key(0))
    Array([0., 0., 2., 2., 0.], dtype=float32)
    >>> dropout(jnp.ones((2, 5)), 0.5, jax.random.key(0), shared=0)
    Array([[0., 0., 2., 2., 0.],
           [0., 0., 2., 2., 0.]], dtype=float32)

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """
    keep, gain = _mask(x, rate, key, shared)
    return jnp.where(keep, x * gain, 0)


def dropout_fwd(x, rate, key, *, shared=()):
    """Remember the mask, one byte an element that is drawn, and the gain 1 / (1 - rate)."""
    keep, gain = _mask(x, rate, key, shared)
    return jnp.where(keep, x * gain, 0), (keep, gain)


def dropout_bwd(residuals, dy, *, shared=()):
    """dy/dx = m / (1 - rate), so dx is dy with the same elements dropped and scaled."""
    del shared
    keep, gain = residuals
    return jnp.where(keep, dy * gain, 0), None, None


dropout.defvjp(dropout_fwd, dropout_bwd)


def _mask(x, rate, key, shared):
    kept = 1 - lax.stop_gradient(jnp.asarray(rate, x.dtype))
    alike = {axis % x.ndim for axis in _axes(shared)}
    shape = tuple(1 if axis in alike else n for axis, n in enumerate(x.shape))
    keep = jax.random.uniform(key, shape, jnp.float32) < kept.astype(jnp.float32)
    # At kept = 0 nothing is kept, and the gain only has to be finite.
    return keep, 1 / jnp.where(kept > 0, kept, 1)


def _axes(shared: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shared,) if isinstance(shared, int) else shared
