"""How sure an ensemble is, and whether it is the data or the members that leave it in doubt.

Dimensions: `members` the first axis; `batch`; `...` any further axes; `classes` the last axis of logits. Weights are
`(members,)`, or have more of the axes of what they weigh, in its order. All is computed in float32 at least.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxnn.errors import ShapeError
from jaxnn.losses._shapes import check_range
from jaxnn.ops import log_softmax, mean_of_members, soft_vote
from jaxnn.typing import AnyArray, Array, accumulator_dtype


class Uncertainty(NamedTuple):
    """What the members of a classifier say together, and how much of their doubt they share; entropies in nats.

    >>> agree = uncertainty(jnp.zeros((5, 1, 2)))
    >>> differ = uncertainty(jnp.array([[[30.0, 0.0]], [[0.0, 30.0]]]))
    >>> [round(float(a[0]), 3) for a in (agree.entropy, agree.mutual_information)]
    [0.693, 0.0]
    >>> [round(float(a[0]), 3) for a in (differ.entropy, differ.mutual_information)]
    [0.693, 0.693]
    """

    mean: Array  # probabilities of classes, the mean over members; (batch, ..., classes)
    variance: Array  # of these probabilities over members; (batch, ..., classes)
    entropy: Array  # of the mean: all doubt; (batch, ...)
    expected_entropy: Array  # mean of members' entropies: doubt that is in the data; (batch, ...)
    mutual_information: Array  # the difference: doubt about which member is right, 0 or more; (batch, ...)


def uncertainty(z: AnyArray, weights: AnyArray | None = None) -> Uncertainty:
    """Say from members' logits how sure a classifier is: H(mean p) = mean H(p) + I, of which I is the disagreement.

    With p_m = softmax(z_m), the entropy of the mean probabilities is all doubt there is. Its part that every member
    has for itself is the expected entropy; the rest is the mutual information of the class and the member, I = mean_m
    KL(p_m || mean p), by which BALD chooses what to label next: it is 0 where all agree, be they sure or not, and log
    members at most. It is computed as that mean, so that it is exact where entropies would cancel, and from
    logarithms, so that no logit is too large.

    Args:
        z: Logits of members, `(members, batch, ..., classes)`, such as `ensemble.predictions(params, state, x)[0]` or
            the samples of `monte_carlo_dropout`.
        weights: Of members, `(members,)`, or as far along the shape of z as they differ; `None` for 1.

    Returns:
        An `Uncertainty`.

    Raises:
        ShapeError: There are fewer than 2 classes, or the weights do not fit z.
        ValueError: A weight is negative.

    >>> import jax, jaxnn as nn
    >>> five = nn.Ensemble(nn.Dense(3), 5)
    >>> params, state = five.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> nn.ensembles.uncertainty(five.predictions(params, state, jnp.ones((2, 4)))[0]).mutual_information.shape
    (2,)

    Source: Houlsby et al., "Bayesian active learning for classification and preference learning" (2011); Gal, Islam
    and Ghahramani, "Deep Bayesian active learning with image data" (2017).
    """
    z = jnp.asarray(z)
    weights = None if weights is None else jnp.asarray(weights)
    z = z.astype(accumulator_dtype(z.dtype))
    log_mean = soft_vote(z, weights)
    log_p = log_softmax(z)
    p, mean = jnp.exp(log_p), jnp.exp(log_mean)
    over_members = lambda a: mean_of_members(a, weights)
    information = over_members(_times(p, log_p - jnp.where(log_mean == -jnp.inf, 0, log_mean)[None]).sum(-1))
    return Uncertainty(
        mean=mean,
        variance=over_members((p - mean[None]) ** 2),
        entropy=-_times(mean, log_mean).sum(-1),
        expected_entropy=over_members(-_times(p, log_p).sum(-1)),
        mutual_information=jnp.maximum(information, 0),  # rounding may take it below
    )


class Spread(NamedTuple):
    """What the members of a regression say together: mean and variance of the mixture of their distributions.

    >>> spread(jnp.array([[1.0], [3.0]]), jnp.array([[0.5], [0.1]]))
    Spread(mean=Array([2.], dtype=float32), variance=Array([1.3], dtype=float32), within=Array([0.3], dtype=float32), between=Array([1.], dtype=float32))
    """  # noqa: E501 - as it is printed

    mean: Array  # the mean of members' means; (batch, ...)
    variance: Array  # of the mixture, within + between; (batch, ...)
    within: Array  # the mean of members' variances: noise that is in the data; (batch, ...)
    between: Array  # the variance of members' means: their disagreement; (batch, ...)


def spread(means: AnyArray, variances: AnyArray | None = None, weights: AnyArray | None = None) -> Spread:
    """Take members' predictions for one mixture, with mean m = mean_k m_k and variance mean_k v_k + mean_k (m_k - m)^2.

    Args:
        means: m_k, what members predict, `(members, batch, ...)`.
        variances: v_k, how far they think to be off, squared, the same shape; `None` for members that do not say.
        weights: Of members, `(members,)`, or as far along the shape of the means as they differ; `None` for 1.

    Returns:
        A `Spread`; the paper's sigma*^2 is its variance.

    Raises:
        ShapeError: Variances or weights do not fit the means.
        ValueError: A variance or a weight is negative.

    >>> spread(jnp.array([[1.0], [3.0]])).variance
    Array([1.], dtype=float32)

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles" (2017), section 2.4.
    """
    means = jnp.asarray(means)
    if variances is not None and jnp.shape(variances) != means.shape:
        raise ShapeError(
            f"variances of shape {means.shape}", why="each prediction has one", got=tuple(jnp.shape(variances))
        )
    check_range("variances", variances, 0, why="they are squares; exp(...) makes variances of their logarithms")
    weights = None if weights is None else jnp.asarray(weights)
    means = means.astype(accumulator_dtype(means.dtype))
    mean = mean_of_members(means, weights)
    between = mean_of_members((means - mean[None]) ** 2, weights)
    if variances is None:
        within = jnp.zeros_like(between)
    else:
        within = mean_of_members(jnp.asarray(variances).astype(means.dtype), weights)
    return Spread(mean, within + between, within, between)


def _times(p: Array, log: Array) -> Array:
    """p log, with 0 times minus infinity 0."""
    return jnp.where(p == 0, 0, p * jnp.where(p == 0, 0, log))
