"""Divergences: how far one distribution is from another, in nats.

The prediction comes first, as a logarithm, for it is a log-softmax, and the target second; Keras's functions take
probabilities, the target first. 0 log 0 is 0.

Dimensions: `shape` any shape; `axis` says along which axes, by default the last, a distribution lies, and `where`, a
mask of the whole shape or of it without these axes, what counts. Where a target is 0 its derivative, which has no
finite value, is that of the formula without its logarithm.
"""

import math

import jax.numpy as jnp
from jaxtyping import Float, Num

from jaxnn.losses._categorical import check_rows
from jaxnn.losses._dtypes import cotangents, together
from jaxnn.losses._log_probabilities import masked, spread, where_any
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import Array


@op(check_rows)
def kl_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Num[Array, "*shape"],
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
    log_p, t = _that_count(log_predictions, targets, axis, where)
    return (t * (_log(t) - where_any(t, log_p))).sum(axis)


def kl_divergence_fwd(log_predictions, targets, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count, and the dtypes."""
    loss = kl_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, _remembered(log_predictions, targets, axis, where)


def kl_divergence_bwd(residuals, dl, axis=-1, where=None):
    """dl/dlog p = -t, and dl/dt = log t + 1 - log p."""
    log_p, t, *arrays = residuals
    dl = spread(dl, t.ndim, axis)
    dt = dl * (_log(t) - where_any(t, log_p) + (t > 0).astype(t.dtype))
    return cotangents((-dl * t, masked(dt, axis, where)), arrays)


kl_divergence.defvjp(kl_divergence_fwd, kl_divergence_bwd)


@op(check_rows)
def kl_divergence_with_log_targets(
    log_predictions: Float[Array, "*shape"],
    log_targets: Num[Array, "*shape"],
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
    log_p, u = _that_count(log_predictions, log_targets, axis, where)
    return (jnp.exp(u) * _difference(u, log_p)).sum(axis)


def kl_divergence_with_log_targets_fwd(log_predictions, log_targets, axis=-1, where=None):
    """Remember log p and log t, both 0 for what does not count, and the dtypes."""
    loss = kl_divergence_with_log_targets.plain(log_predictions, log_targets, axis=axis, where=where)
    return loss, _remembered(log_predictions, log_targets, axis, where)


def kl_divergence_with_log_targets_bwd(residuals, dl, axis=-1, where=None):
    """dl/dlog p = -exp(u), and dl/du = exp(u) (u - log p + 1)."""
    log_p, u, *arrays = residuals
    d = spread(dl, u.ndim, axis) * jnp.exp(u)
    du = d * (_difference(u, log_p) + 1)
    return cotangents((masked(-d, axis, where), masked(du, axis, where)), arrays)


kl_divergence_with_log_targets.defvjp(kl_divergence_with_log_targets_fwd, kl_divergence_with_log_targets_bwd)


@op(check_rows)
def generalized_kl_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Num[Array, "*shape"],
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
    log_p, t = _that_count(log_predictions, targets, axis, where)
    more = (masked(jnp.exp(log_p), axis, where) - t).sum(axis)
    return kl_divergence(log_predictions, targets, axis=axis, where=where) + more


def generalized_kl_divergence_fwd(log_predictions, targets, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count, and the dtypes."""
    loss = generalized_kl_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, _remembered(log_predictions, targets, axis, where)


def generalized_kl_divergence_bwd(residuals, dl, axis=-1, where=None):
    """To the divergence's, exp(log p) - t adds p for log p and -1 for t."""
    log_p, t, *arrays = residuals
    d_log_p, dt = kl_divergence.bwd((log_p, t, log_p, t), dl, axis=axis, where=where)
    dl = spread(dl, t.ndim, axis)
    d_log_p = d_log_p + masked(dl * jnp.exp(log_p), axis, where)
    dt = dt - masked(jnp.broadcast_to(dl, t.shape), axis, where)
    return cotangents((d_log_p, dt), arrays)


generalized_kl_divergence.defvjp(generalized_kl_divergence_fwd, generalized_kl_divergence_bwd)


@op(check_rows)
def jensen_shannon_divergence(
    log_predictions: Float[Array, "*shape"],
    targets: Num[Array, "*shape"],
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
    log_p, t = _that_count(log_predictions, targets, axis, where)
    p, log_m = masked(jnp.exp(log_p), axis, where), _log_mean(log_p, t)
    return (p * (_finite(log_p) - log_m) + t * (_log(t) - log_m)).sum(axis) / 2


def jensen_shannon_divergence_fwd(log_predictions, targets, *, axis=-1, where=None):
    """Remember log p and t, both 0 for what does not count, and the dtypes."""
    loss = jensen_shannon_divergence.plain(log_predictions, targets, axis=axis, where=where)
    return loss, _remembered(log_predictions, targets, axis, where)


def jensen_shannon_divergence_bwd(residuals, dl, *, axis=-1, where=None):
    """What m moves by cancels, so dl/dlog p = p (log p - log m) / 2, and dl/dt = (log t - log m) / 2."""
    log_p, t, *arrays = residuals
    p, log_m = masked(jnp.exp(log_p), axis, where), _log_mean(log_p, t)
    half = spread(dl, t.ndim, axis) / 2
    d_log_p, dt = half * p * (_finite(log_p) - log_m), half * (_log(t) - log_m)
    return cotangents((d_log_p, masked(dt, axis, where)), arrays)


jensen_shannon_divergence.defvjp(jensen_shannon_divergence_fwd, jensen_shannon_divergence_bwd)


def _that_count(log_predictions, targets, axis, where):
    """Both in one dtype, and 0 for what does not count."""
    return tuple(masked(a, axis, where) for a in together(log_predictions, targets))


def _remembered(log_predictions, targets, axis, where):
    arrays = shape_only(log_predictions), shape_only(targets)
    return *_that_count(log_predictions, targets, axis, where), *arrays


def _log(t):
    """log t, and 0 where t is 0."""
    return jnp.where(t == 0, 0, jnp.log(jnp.where(t == 0, 1, t)))


def _finite(log_p):
    return jnp.where(log_p == -jnp.inf, 0, log_p)


def _log_mean(log_p, t):
    """log((p + t) / 2), also where p is too small to be held.

    Where p is 0, log t - log m is log 2 for every t; so it is where t is 0 too.
    """
    log_sum = jnp.where(t == 0, _finite(log_p), jnp.logaddexp(log_p, _log(t)))
    return log_sum - math.log(2)


def _difference(u, log_p):
    """u - log p, and 0 where exp(u) is."""
    gone = jnp.exp(u) == 0
    return jnp.where(gone, 0, jnp.where(gone, 0, u) - jnp.where(gone, 0, log_p))


convex_kl_divergence = generalized_kl_divergence
