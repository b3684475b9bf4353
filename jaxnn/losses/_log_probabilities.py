"""What the losses of classes share: log-probabilities of logits, along any axes, over the classes that count.

`axis` is one axis, a tuple of them or None for all. `where` is a mask of the logits' shape, or of their shape without
the axes, where it says of each example whether it counts.
"""

import math

import jax.numpy as jnp
from jax import lax

from jaxnn.typing import Array


def axes_of(axis, ndim):
    """Return the axes that are meant, counted from the first.

    >>> axes_of(-1, 3), axes_of((0, -1), 3), axes_of(None, 2)
    ((2,), (0, 2), (0, 1))
    """
    axes = tuple(range(ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(a % ndim for a in axes)


def counted(where, shape, axis):
    """Return the mask in the full shape.

    >>> counted(jnp.array([True, False]), (2, 3), -1)
    Array([[ True,  True,  True],
           [False, False, False]], dtype=bool)
    """
    if where.ndim != len(shape):
        where = jnp.expand_dims(where, axes_of(axis, len(shape)))
    return jnp.broadcast_to(where, shape)


def masked(x, axis, where):
    """Return x with 0 for what does not count."""
    return x if where is None else jnp.where(counted(where, x.shape, axis), x, 0)


def spread(dl, ndim, axis):
    """Return the cotangent of a sum over the axes with an axis of length 1 in place of each."""
    return jnp.expand_dims(dl, axes_of(axis, ndim))


def log_softmax(logits: Array, axis: int | tuple[int, ...] | None = -1, where: Array | None = None) -> Array:
    """Return log p_j = z_j - log sum_k exp z_k over the k that count; for those that do not, 0.

    The largest z is subtracted first, which changes nothing and keeps every exponential finite.

    >>> log_softmax(jnp.array([0.0, 1e4, 0.0]), where=jnp.array([True, False, True]))
    Array([-0.6931472,  0.       , -0.6931472], dtype=float32)
    """
    if where is None:
        shifted = logits - lax.stop_gradient(logits.max(axis, keepdims=True))
        return shifted - jnp.log(jnp.exp(shifted).sum(axis, keepdims=True))
    counts = counted(where, logits.shape, axis)
    among = jnp.where(counts, logits, -jnp.inf)
    some = counts.any(axis, keepdims=True)
    shifted = among - jnp.where(some, lax.stop_gradient(among.max(axis, keepdims=True)), 0)
    total = jnp.exp(shifted).sum(axis, keepdims=True)
    return jnp.where(counts, shifted - jnp.log(jnp.where(some, total, 1)), 0)


def counted_beside(c, x):
    """Return x, and 0 where it is infinite and c is 0: what c x is made of."""
    return jnp.where((c == 0) & jnp.isinf(x), 0, x)


def times(c, x):
    """Return c x with 0 infinity = 0.

    >>> times(jnp.array([0.0, 0.5]), jnp.array([jnp.inf, jnp.inf]))
    Array([ 0., inf], dtype=float32)
    """
    return c * counted_beside(c, x)


def times_log(t, log_p):
    """Return t log p with 0 log 0 = 0.

    >>> times_log(jnp.array([0.0, 0.5]), jnp.array([-jnp.inf, -2.0]))
    Array([ 0., -1.], dtype=float32)
    """
    return t * where_any(t, log_p)


def where_any(t, log_p):
    """Return log p, and 0 where it is minus infinity and t is 0."""
    return jnp.where((t == 0) & (log_p == -jnp.inf), 0, log_p)


def classes_last(a, axis):
    """Return the array with its axes of classes made into one, the last."""
    if axis in (-1, a.ndim - 1):
        return a
    axes = axes_of(axis, a.ndim)
    batch = tuple(i for i in range(a.ndim) if i not in axes)
    classes = math.prod(a.shape[i] for i in axes)
    return a.transpose(batch + axes).reshape(*(a.shape[i] for i in batch), classes)


def classes_back(a, axis, shape):
    """Return the array whose `classes_last` it is."""
    if axis in (-1, len(shape) - 1):
        return a
    axes = axes_of(axis, len(shape))
    order = tuple(i for i in range(len(shape)) if i not in axes) + axes
    return a.reshape([shape[i] for i in order]).transpose([order.index(i) for i in range(len(shape))])


def number(setting, like):
    """Return a setting in the dtype of an array, so that it promotes none.

    >>> number(0.5, jnp.zeros(3, jnp.bfloat16)).dtype
    dtype(bfloat16)
    """
    return lax.convert_element_type(setting, like.dtype)


def onehot(labels, like):
    """Return whether each class is the label, as booleans of the shape of `like`, with classes last."""
    # In int32, for in uint8 the count of 256 or more classes would begin again at 0.
    return labels.astype(jnp.int32)[..., None] == lax.broadcasted_iota(jnp.int32, like.shape, like.ndim - 1)


def missing(labels, like):
    """Return 0 where a label is a class, and NaN where it is not."""
    in_range = (labels >= 0) & (labels.astype(jnp.int32) < like.shape[-1])
    return jnp.where(in_range, 0, jnp.nan).astype(like.dtype)
