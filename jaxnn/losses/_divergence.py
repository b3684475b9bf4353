"""Divergences: how far one distribution is from another, in nats.

The prediction comes first, as a logarithm, for it is a log-softmax, and the target second; Keras's functions take
probabilities, the target first. 0 log 0 is 0.

Dimensions: `shape` any shape; `axis` says along which axes, by default the last, a distribution lies, and `where`, a
mask of the whole shape or of it without these axes, what counts. Where a target is 0 its derivative, which has no
finite value, is that of the formula without its logarithm.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.losses._categorical import check_rows
from jaxnn.losses._log_probabilities import masked, spread
from jaxnn.losses._shapes import check_positive, check_range, check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar


@op(check_rows)
def kl_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of a prediction from the target, l = sum_j t_j (log t_j - log p_j).

    It is KL(target || prediction): 0 if they are equal, not symmetric, and the cross-entropy less the target's entropy.

    Args:
        log_predictions: log p, `(..., classes)`; minus infinity where the target is 0 adds nothing (in optax, NaN).
        targets: t, probabilities, the same shape.
        axis: The axis or axes of a distribution, None for all.
        where: What counts; a mask.

    Returns:
        `(...)`. PyTorch's `KLDivLoss` is this too, before it divides by the number of all elements.

    Raises:
        ShapeError: The shapes differ.

    >>> kl_divergence(jnp.log(jnp.array([0.9, 0.1])), jnp.array([0.5, 0.5]))
    Array(0.51082563, dtype=float32)

    Source: Kullback and Leibler, "On information and sufficiency" (1951); the name, the signature and the value are
    optax's.
    """
    log_p, t = masked(log_predictions, axis, where), masked(targets, axis, where)
    return (t * (_log(t) - _where_any(t, log_p))).sum(axis)


def kl_divergence_fwd(log_predictions, targets, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count."""
    loss = kl_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, (masked(log_predictions, axis, where), masked(targets, axis, where))


def kl_divergence_bwd(residuals, dl, axis=-1, where=None):
    """dl/dlog p = -t, and dl/dt = log t + 1 - log p."""
    log_p, t = residuals
    dl = spread(dl, t.ndim, axis)
    dt = dl * (_log(t) - _where_any(t, log_p) + (t > 0).astype(t.dtype))
    return -dl * t, masked(dt, axis, where)


kl_divergence.defvjp(kl_divergence_fwd, kl_divergence_bwd)


@op(check_rows)
def kl_divergence_with_log_targets(
    log_predictions: Float[Array, "*shape"],
    log_targets: Float[Array, "*shape"],
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence with the target as a logarithm too, l = sum_j exp(u_j) (u_j - log p_j), u = log t.

    Args:
        log_predictions: log p, `(..., classes)`.
        log_targets: u, the same shape; minus infinity adds nothing (in optax, NaN).
        axis: The axis or axes of a distribution, None for all.
        where: What counts; a mask.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> kl_divergence_with_log_targets(jnp.log(jnp.array([0.9, 0.1])), jnp.log(jnp.array([0.5, 0.5]))).round(4)
    Array(0.5108, dtype=float32)

    Source: Kullback and Leibler (1951); the name, the signature and the value are optax's.
    """
    log_p, u = masked(log_predictions, axis, where), masked(log_targets, axis, where)
    return (jnp.exp(u) * _difference(u, log_p)).sum(axis)


def kl_divergence_with_log_targets_fwd(log_predictions, log_targets, axis=-1, where=None):
    """Remember log p and log t."""
    loss = kl_divergence_with_log_targets.plain(log_predictions, log_targets, axis=axis, where=where)
    return loss, (masked(log_predictions, axis, where), masked(log_targets, axis, where))


def kl_divergence_with_log_targets_bwd(residuals, dl, axis=-1, where=None):
    """dl/dlog p = -exp(u), and dl/du = exp(u) (u - log p + 1)."""
    log_p, u = residuals
    d = spread(dl, u.ndim, axis) * jnp.exp(u)
    return masked(-d, axis, where), masked(d * (_difference(u, log_p) + 1), axis, where)


kl_divergence_with_log_targets.defvjp(kl_divergence_with_log_targets_fwd, kl_divergence_with_log_targets_bwd)


@op(check_rows)
def generalized_kl_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of numbers that need not sum to 1, l = sum_j t_j (log t_j - log p_j) + p_j - t_j.

    It is never negative, whatever the sums, and is `kl_divergence` where they are equal. It is `convex_kl_divergence`
    too, optax's old name.

    Args:
        log_predictions: log p, `(..., classes)`.
        targets: t, 0 or more, the same shape.
        axis: The axis or axes of a distribution, None for all.
        where: What counts; a mask.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> generalized_kl_divergence(jnp.log(jnp.array([3.0, 1.0])), jnp.array([1.0, 1.0])).round(3)
    Array(0.901, dtype=float32)

    Source: Bregman, "The relaxation method of finding the common point of convex sets" (1967); the name, the signature
    and the value are optax's.
    """
    p = masked(jnp.exp(masked(log_predictions, axis, where)), axis, where)
    return kl_divergence(log_predictions, targets, axis=axis, where=where) + (p - masked(targets, axis, where)).sum(
        axis
    )


def generalized_kl_divergence_fwd(log_predictions, targets, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count."""
    loss = generalized_kl_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, (masked(log_predictions, axis, where), masked(targets, axis, where))


def generalized_kl_divergence_bwd(residuals, dl, axis=-1, where=None):
    """To the divergence's, exp(log p) - t adds p for log p and -1 for t."""
    d_log_p, dt = kl_divergence_bwd(residuals, dl, axis, where)
    dl = spread(dl, dt.ndim, axis)
    return d_log_p + masked(dl * jnp.exp(residuals[0]), axis, where), dt - masked(
        jnp.broadcast_to(dl, dt.shape), axis, where
    )


generalized_kl_divergence.defvjp(generalized_kl_divergence_fwd, generalized_kl_divergence_bwd)


def _check_probabilities(predictions: AnyArray, targets: AnyArray, *, epsilon: Scalar = 1e-7) -> None:
    check_same_shape(predictions, targets)
    check_range("predictions", predictions, 0, why="they are probabilities; logarithms have kl_divergence")
    check_range("targets", targets, 0, why="they are probabilities")
    check_positive("epsilon", epsilon, why="it stands for probabilities of 0")


@op(_check_probabilities)
def kl_divergence_from_probabilities(
    predictions: Float[Array, "*batch classes"], targets: Float[Array, "*batch classes"], *, epsilon: Scalar = 1e-7
) -> Float[Array, "*batch"]:
    """Kullback-Leibler divergence of clipped probabilities, l = sum_j t_j log(t_j / p_j), both within epsilon and 1.

    Keras's convention: its `KLDivergence` has this value, but takes the target first. The direction is that of
    `kl_divergence`, KL(target || prediction). What is clipped has the derivative 0.

    Args:
        predictions: p, `(..., classes)`, probabilities.
        targets: t, probabilities, the same shape.
        epsilon: The least probability.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.
        ValueError: A concrete probability is negative, or epsilon is not positive.

    >>> kl_divergence_from_probabilities(jnp.array([0.9, 0.1]), jnp.array([0.5, 0.5])).round(4)
    Array(0.5108, dtype=float32)

    Source: Kullback and Leibler, "On information and sufficiency" (1951).
    """
    p, t = _clip(predictions, epsilon), _clip(targets, epsilon)
    return (t * (jnp.log(t) - jnp.log(p))).sum(-1)


def kl_divergence_from_probabilities_fwd(predictions, targets, *, epsilon=1e-7):
    """Remember p and t."""
    return kl_divergence_from_probabilities.plain(predictions, targets, epsilon=epsilon), (predictions, targets)


def kl_divergence_from_probabilities_bwd(residuals, dl, *, epsilon=1e-7):
    """Where nothing is clipped, dl/dp = -t / p, and dl/dt = log t + 1 - log p."""
    p, t = (_clip(a, epsilon) for a in residuals)
    dl = dl[..., None]
    clipped = [(a <= lax.convert_element_type(epsilon, a.dtype)) | (a >= 1) for a in residuals]
    return jnp.where(clipped[0], 0, -dl * t / p), jnp.where(clipped[1], 0, dl * (jnp.log(t) + 1 - jnp.log(p)))


kl_divergence_from_probabilities.defvjp(kl_divergence_from_probabilities_fwd, kl_divergence_from_probabilities_bwd)


@op(check_rows)
def jensen_shannon_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    axis: int | tuple[int, ...] | None = -1,
    where: Array | None = None,
) -> Float[Array, "..."]:
    """Mean divergence from the mean, l = (KL(p || m) + KL(t || m)) / 2, m = (p + t) / 2.

    It is symmetric in p and t, finite for all distributions, and at most log 2. Its square root is a metric, which is
    what SciPy's `jensenshannon` returns.

    Args:
        log_predictions: log p, `(..., classes)`.
        targets: t, probabilities, the same shape.
        axis: The axis or axes of a distribution, None for all.
        where: What counts; a mask.

    Returns:
        `(...)`.

    Raises:
        ShapeError: The shapes differ.

    >>> jensen_shannon_divergence(jnp.array([0.0, -jnp.inf]), jnp.array([0.0, 1.0])).round(4)
    Array(0.6931, dtype=float32)

    Source: Lin, "Divergence measures based on the Shannon entropy" (1991).
    """
    log_p, t = masked(log_predictions, axis, where), masked(targets, axis, where)
    p = masked(jnp.exp(log_p), axis, where)
    log_m = _log((p + t) / 2)
    return (p * (_finite(log_p) - log_m) + t * (_log(t) - log_m)).sum(axis) / 2


def jensen_shannon_divergence_fwd(log_predictions, targets, *, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count."""
    loss = jensen_shannon_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, (masked(log_predictions, axis, where), masked(targets, axis, where))


def jensen_shannon_divergence_bwd(residuals, dl, *, axis=-1, where=None):
    """What m moves by cancels, so dl/dlog p = p (log p - log m) / 2, and dl/dt = (log t - log m) / 2."""
    log_p, t = residuals
    p = masked(jnp.exp(log_p), axis, where)
    half, log_m = spread(dl, t.ndim, axis) / 2, _log((p + t) / 2)
    return half * p * (_finite(log_p) - log_m), masked(half * (_log(t) - log_m - (t == 0).astype(t.dtype)), axis, where)


jensen_shannon_divergence.defvjp(jensen_shannon_divergence_fwd, jensen_shannon_divergence_bwd)


def _log(t):
    """log t, and 0 where t is 0."""
    return jnp.where(t == 0, 0, jnp.log(jnp.where(t == 0, 1, t)))


def _where_any(t, log_p):
    """log p, and 0 where both it is minus infinity and t is 0."""
    return jnp.where((t == 0) & (log_p == -jnp.inf), 0, log_p)


def _finite(log_p):
    return jnp.where(log_p == -jnp.inf, 0, log_p)


def _difference(u, log_p):
    """u - log p, and 0 where u is minus infinity."""
    return jnp.where(u == -jnp.inf, 0, jnp.where(u == -jnp.inf, 0, u) - jnp.where(u == -jnp.inf, 0, log_p))


def _clip(p, epsilon):
    epsilon = lax.convert_element_type(epsilon, p.dtype)
    return jnp.where(p >= 1, 1, jnp.where(p <= epsilon, epsilon, p))


convex_kl_divergence = generalized_kl_divergence
