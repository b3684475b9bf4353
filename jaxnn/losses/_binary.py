"""Losses of yes and no: binary cross-entropy, from logits, of one label, of many, and weighed.

The loss has the dtype of the logits, to which the labels are converted, as in optax.

Dimensions: `shape` any shape, `labels` the last axis where an example has several.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Num

from jaxnn.errors import ShapeError
from jaxnn.losses._dtypes import cotangent
from jaxnn.losses._log_probabilities import times
from jaxnn.losses._shapes import check_range, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def check_binary(logits: AnyArray, labels: AnyArray, **settings: object) -> None:
    """Raise an error unless there is one probability a logit."""
    check_same_shape(logits, labels)
    if labels.dtype != bool:
        check_range("targets", labels, 0, 1, why="they are probabilities")


@op(check_binary)
def binary_cross_entropy(
    logits: Float[Array, "*shape"], labels: Num[Array, "*shape"] | Bool[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Cross-entropy of yes and no from a logit, l = -t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid.

    Computed as (1 - t) z + log(1 + exp(-z)) for z > 0 and -t z + log(1 + exp(z)) elsewhere, which is the same, keeps
    its digits, and is finite for every finite z. Each element is judged by itself, so several labels an example may
    be true at once; `multilabel_cross_entropy` sums them. It is `sigmoid_binary_cross_entropy` too, optax's name.

    Args:
        logits: z, any shape, any real numbers: the model's output without a sigmoid.
        labels: t, 0 or 1 or a probability, the same shape; integers and booleans have no derivative.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> binary_cross_entropy(jnp.array([0.0, 1000.0, -1000.0]), jnp.array([1.0, 1.0, 1.0]))
    Array([6.931472e-01, 0.000000e+00, 1.000000e+03], dtype=float32)

    Source: Cox, "The regression analysis of binary sequences" (1958). Equal to optax's
    `sigmoid_binary_cross_entropy`; Keras starts from probabilities.
    """
    return cross_entropy_of_logits(logits, labels.astype(logits.dtype))


def binary_cross_entropy_fwd(logits, labels):
    """Remember z and t."""
    return cross_entropy_of_logits(logits, labels.astype(logits.dtype)), (logits, labels)


def binary_cross_entropy_bwd(residuals, dl):
    """d log(1 + exp(z)) / dz = s(z), so dz = dl (s(z) - t); and dl/dt = -z."""
    z, labels = residuals
    return dl * (lax.logistic(z) - labels.astype(z.dtype)), cotangent(-dl * z, labels)


binary_cross_entropy.defvjp(binary_cross_entropy_fwd, binary_cross_entropy_bwd)


def _check_weighted(
    logits: AnyArray, labels: AnyArray, *, positive_weight: Scalar = 1.0, negative_weight: Scalar = 1.0
) -> None:
    check_binary(logits, labels)
    for name, weight in (("positive_weight", positive_weight), ("negative_weight", negative_weight)):
        shape = jnp.shape(weight)
        if shape not in ((), logits.shape[-1:]):
            raise ShapeError(
                f"{name} to be one number or of shape {tuple(logits.shape[-1:])}",
                why=f"logits are {tuple(logits.shape)}, with the labels last",
                got=shape,
            )


@op(_check_weighted)
def weighted_binary_cross_entropy(
    logits: Float[Array, "*shape"],
    labels: Num[Array, "*shape"] | Bool[Array, "*shape"],
    *,
    positive_weight: Scalar = 1.0,
    negative_weight: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """Binary cross-entropy with a weight of each answer, l = -a t log s(z) - b (1 - t) log(1 - s(z)).

    The weights act in the loss, so the mean over examples is divided by their number, as in PyTorch and Keras.

    Args:
        logits: z, any shape, any real numbers.
        labels: t, 0 or 1 or a probability, the same shape; integers and booleans have no derivative.
        positive_weight: a, one number or one a label, `(labels,)`: PyTorch's `pos_weight`. About the number of
            negatives for each positive makes up for their rarity.
        negative_weight: b, alike.

    Raises:
        ShapeError: The shapes differ, or the weights do not fit the last axis.
        ValueError: A concrete target is not within 0 and 1.

    >>> weighted_binary_cross_entropy(jnp.zeros(2), jnp.array([1.0, 0.0]), positive_weight=3.0).round(4)
    Array([2.0794, 0.6931], dtype=float32)

    Source: King and Zeng, "Logistic regression in rare events data" (2001).
    """
    t = labels.astype(logits.dtype)
    a, b = _weight(positive_weight, logits), _weight(negative_weight, logits)
    return a * times(t, softplus(-logits)) + b * times(1 - t, softplus(logits))


def weighted_binary_cross_entropy_fwd(logits, labels, *, positive_weight=1.0, negative_weight=1.0):
    """Remember z and t."""
    weights = {"positive_weight": positive_weight, "negative_weight": negative_weight}
    return weighted_binary_cross_entropy.plain(logits, labels, **weights), (logits, labels)


def weighted_binary_cross_entropy_bwd(residuals, dl, *, positive_weight=1.0, negative_weight=1.0):
    """d log s(z) / dz = s(-z), so dz = dl (b (1 - t) s(z) - a t s(-z)); and dl/dt = b log(1 - s(z)) - a log s(z)."""
    z, labels = residuals
    t = labels.astype(z.dtype)
    a, b = _weight(positive_weight, z), _weight(negative_weight, z)
    dz = dl * (b * (1 - t) * lax.logistic(z) - a * t * lax.logistic(-z))
    return dz, cotangent(dl * (a * softplus(-z) - b * softplus(z)), labels)


weighted_binary_cross_entropy.defvjp(weighted_binary_cross_entropy_fwd, weighted_binary_cross_entropy_bwd)


@op(check_binary)
def multilabel_cross_entropy(
    logits: Float[Array, "*batch labels"], labels: Num[Array, "*batch labels"] | Bool[Array, "*batch labels"]
) -> Float[Array, "*batch"]:
    """Sum over labels of the binary cross-entropy of each, l = sum_j -t_j log s(z_j) - (1 - t_j) log(1 - s(z_j)).

    The labels are independent: any number of them may be true. It is the sum over the last axis, not the mean, which
    Keras's and PyTorch's functions take over all; `binary_cross_entropy` leaves them apart.

    Args:
        logits: z, `(..., labels)`, any real numbers.
        labels: t, 0 or 1 or a probability, the same shape; integers and booleans have no derivative.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete target is not within 0 and 1.

    >>> multilabel_cross_entropy(jnp.zeros((1, 3)), jnp.array([[1, 0, 1]])).round(4)
    Array([2.0794], dtype=float32)

    Source: Cox, "The regression analysis of binary sequences" (1958).
    """
    return sum_of_last(cross_entropy_of_logits(logits, labels.astype(logits.dtype)))


def multilabel_cross_entropy_fwd(logits, labels):
    """Remember z and t."""
    return sum_of_last(cross_entropy_of_logits(logits, labels.astype(logits.dtype))), (logits, labels)


def multilabel_cross_entropy_bwd(residuals, dl):
    """As for one label: dz_j = dl (s(z_j) - t_j); and dl/dt_j = -z_j."""
    return binary_cross_entropy_bwd(residuals, dl[..., None])


multilabel_cross_entropy.defvjp(multilabel_cross_entropy_fwd, multilabel_cross_entropy_bwd)


def cross_entropy_of_logits(z, t):
    """The binary cross-entropy, with 0 infinity = 0; its derivative at 0 is 1/2 - t, as it should."""
    c = jnp.where(z > 0, 1 - t, -t)
    return times(c, z) + jnp.log1p(jnp.exp(jnp.where(z > 0, -z, z)))


def softplus(z):
    """log(1 + exp(z)), with the derivative 1/2 at 0."""
    return jnp.where(z > 0, z, 0) + jnp.log1p(jnp.exp(jnp.where(z > 0, -z, z)))


def sum_of_last(x):
    """Sum over the last axis, in float32 at least."""
    return x.astype(accumulator_dtype(x.dtype)).sum(-1).astype(x.dtype)


def _weight(weight, like):
    return jnp.broadcast_to(lax.convert_element_type(weight, like.dtype), like.shape)


# The name of optax.
sigmoid_binary_cross_entropy = binary_cross_entropy
