"""Cross-entropy of integer labels, from logits.

Dimensions: `batch` examples, `classes` the axis of logits that `axis` names, by default the last, `...` any further
axes. `where` says which logits count, or which examples: one that does not has the loss 0.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Integer

from jaxnn.errors import ShapeError, values
from jaxnn.losses._log_probabilities import axes_of, classes_back, classes_last, counted, missing, onehot
from jaxnn.losses._shapes import check_axes, check_integer
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array


def check_integer_labels(
    logits: AnyArray,
    labels: AnyArray,
    axis: int | tuple[int, ...] = -1,
    where: AnyArray | None = None,
    *,
    ignore: int | None = None,
) -> None:
    """Raise an error unless there is one label an example, and each that counts and can be seen is a class."""
    if axis is None:
        raise TypeError("expected axis to be an integer or a tuple, because a label counts classes along it; got None")
    check_axes(logits.shape, axis, where)
    axes = axes_of(axis, len(logits.shape))
    batch = tuple(n for i, n in enumerate(logits.shape) if i not in axes)
    place = "with the classes last" if axis == -1 else f"with the classes along {axis}"
    if labels.shape != batch:
        raise ShapeError(
            f"integer labels of shape {batch}",
            why=f"logits are {tuple(logits.shape)}, {place}",
            got=tuple(labels.shape),
            hint="one-hot rows are floating: y.astype(float)" if labels.shape == logits.shape else None,
        )
    check_integer(labels)
    seen = values(labels)
    if seen is not None and ignore is not None:
        seen = seen[seen != ignore]
    # What does not count may have any label, such as -1.
    if where is None and seen is not None and seen.size:
        classes, smallest, largest = math.prod(logits.shape[a] for a in axes), seen.min(), seen.max()
        if smallest < 0 or largest >= classes:
            raise ValueError(
                f"expected labels from 0 to {classes - 1}, because logits are {tuple(logits.shape)}, {place}; "
                f"got labels from {smallest} to {largest}"
            )


@op(check_integer_labels)
def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "..."],
    labels: Integer[Array, "..."],
    axis: int | tuple[int, ...] = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Negative log-probability of the label, l = log sum_j exp(z_j) - z_label for logits z.

    Args:
        logits: z, `(..., classes)`, any real numbers; minus infinity for a class that cannot be.
        labels: Integers from 0 to classes - 1, `(...)`.
        axis: The axis of classes; of several, a label counts through them in the order given.
        where: Which classes are summed over, `(..., classes)`, or which examples count, `(...)`; a mask.

    Returns:
        `(...)`. Inside a compiled program, where a label cannot be refused, one that is out of range gives
        NaN.

    Raises:
        ShapeError: The labels have another shape than the logits without their classes.
        ValueError: A concrete label is out of range.

    >>> logits = jnp.log(jnp.array([[0.2, 0.7, 0.1]]))
    >>> softmax_cross_entropy_with_integer_labels(logits, jnp.array([1])).round(4)
    Array([0.3567], dtype=float32)

    Source: Bridle (1990); the name, the signature and the value are optax's.
    """
    return _of_labels(logits, labels, axis, where)[0]


def softmax_cross_entropy_with_integer_labels_fwd(logits, labels, axis=-1, where=None):
    """Remember the probabilities p = softmax(z) and the labels."""
    l, shifted, log_sum = _of_labels(logits, labels, axis, where)
    p = jnp.exp(shifted - log_sum[..., None])
    return l, (classes_back(p, axis, logits.shape), labels)


def softmax_cross_entropy_with_integer_labels_bwd(residuals, dl, axis=-1, where=None):
    """d log sum exp / dz_j = p_j and dz_label / dz_j = [j = label], so dz = dl (p - onehot)."""
    p, labels = residuals
    shape, p = p.shape, classes_last(p, axis)
    dz = jnp.where(onehot(labels, p), p - 1, p) * dl[..., None]
    if where is not None:
        dz = jnp.where(classes_last(counted(where, shape, axis), axis).any(-1, keepdims=True), dz, 0)
    return classes_back(dz, axis, shape), None


softmax_cross_entropy_with_integer_labels.defvjp(
    softmax_cross_entropy_with_integer_labels_fwd, softmax_cross_entropy_with_integer_labels_bwd
)


def _of_labels(logits, labels, axis, where):
    """The loss, the shifted logits of what counts, with the classes last, and the log of the sum of their exp."""
    z = classes_last(logits, axis)
    if where is None:
        among, some = z, None
        top = lax.stop_gradient(z.max(-1, keepdims=True))
        total = jnp.exp(among - top).sum(-1)
    else:
        counts = classes_last(counted(where, logits.shape, axis), axis)
        some = counts.any(-1)
        among = jnp.where(counts, z, -jnp.inf)
        top = jnp.where(some[..., None], lax.stop_gradient(among.max(-1, keepdims=True)), 0)
        total = jnp.where(some, jnp.exp(among - top).sum(-1), 1)
    log_sum = jnp.log(total)
    l = log_sum - jnp.where(onehot(labels, z), z - top, 0).sum(-1) + missing(labels, z)
    return (l if some is None else jnp.where(some, l, 0)), among - top, log_sum
