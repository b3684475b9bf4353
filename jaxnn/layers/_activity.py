"""Layers that hand on what they are given and add to the loss what it costs, whatever the loss is."""

from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp

from jaxnn.layers._auxiliary import AUXILIARY
from jaxnn.layers._each_step import values_of, with_values
from jaxnn.layers._layer import Layer
from jaxnn.losses import elastic_net_penalty, gaussian_kl
from jaxnn.losses._shapes import check_range
from jaxnn.ops._lengths import check_lengths, steps_within
from jaxnn.typing import AnyArray, Array, Scalar, Sequences, accumulator_dtype


@final
@dataclass(frozen=True, repr=False)
class ActivityPenalty(Layer):
    """Hand on x and, in training, add to the loss 1/batch sum_i (l1 sum |x_i| + l2 sum x_i^2).

    So what a layer puts out is kept small, or with l1 sparse: most of it 0. The mean is over all rows of a batch, those
    that only fill up its last one and those of weight 0 among them. In inference nothing is added. x is any array
    `(batch, ...)`, or `Sequences`, of which nothing beyond the lengths counts; within `each_step` all of it does.

    State: `auxiliary_loss`, `()`, in float32 at least: what the last batch in training has added. That is how any layer
    adds to a loss, and on both roads its gradient comes with it. A layer of your own that keeps the units of a gate
    equally busy:

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Balance(nn.Layer):
    ...     strength: float = 0.01
    ...     def init(self, key, x):
    ...         return {}, {"auxiliary_loss": jnp.zeros(())}
    ...     def apply(self, params, state, x, *, key=None, train=False):
    ...         shares = x.mean(0)  # of the batch, by unit; they sum to 1
    ...         added = self.strength * x.shape[1] * (shares**2).sum()  # least where all shares are the same
    ...         return x, {"auxiliary_loss": added.astype(jnp.float32)} if train else state
    >>> nn.serial(nn.Dense(4), nn.softmax, Balance(0.1))
    serial(Dense(4), softmax, Balance(strength=0.1))

    Attributes:
        l1: Strength of the absolute values, at least 0. May be a tracer. The derivative at 0 is taken as 0.
        l2: Strength of the squares, at least 0. May be a tracer.

    Raises:
        ValueError: A strength is negative.
        TypeError: x is not floating.

    >>> layer, x = nn.ActivityPenalty(l1=0.1, l2=0.5), jnp.array([[1.0, -2.0], [0.0, 1.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x, train=True)[1]  # (0.1 * 4 + 0.5 * 6) / 2
    {'auxiliary_loss': Array(1.7, dtype=float32)}

    Source: as `ActivityRegularization`, Keras; the gate, Shazeer et al., "Outrageously large neural networks" (2017).
    """

    l1: Scalar = 0.0
    l2: Scalar = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            check_range(name, getattr(self, name), 0, why="a penalty grows with what it is of")

    def init(self, key, x):
        del key
        return {}, _nothing(values_of(x))

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key
        if not train:
            return x, state
        inside = _inside(x)
        return x, {AUXILIARY: elastic_net_penalty(_wide(inside), l1=self.l1, l2=self.l2) / _rows(inside)}

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key
        if not train:
            return (x, state), {}
        inside = _inside(x)
        total, _ = elastic_net_penalty.fwd(_wide(inside), l1=self.l1, l2=self.l2)
        return (x, {AUXILIARY: total / _rows(inside)}), {"penalised": inside}

    def bwd(self, residuals, dy):
        if not residuals:
            return {}, dy
        x, d = residuals["penalised"], values_of(dy)
        # The loss has a slope of 1 by what is added to it.
        one = jnp.ones((), accumulator_dtype(x.dtype))
        (dx,) = elastic_net_penalty.bwd(_wide(x), one / _rows(x), l1=self.l1, l2=self.l2)
        return {}, with_values(dy, d + dx.astype(d.dtype))


@final
@dataclass(frozen=True, repr=False)
class GaussianKL(Layer):
    """Hand on a pair (m, s) and, in training, add to the loss strength mean_i KL(N(m_i, exp(s_i)) || N(0, 1)).

    The pair is that of `GaussianSample`: means and logarithms of variances, `(batch, latent)`. The divergence is
    `nn.losses.gaussian_kl`, in nats, a sum over a code and a mean over all rows of a batch, those that only fill up its
    last one and those of weight 0 among them. With it any model can have a variational code in its middle, and any
    loss. In inference nothing is added.

    State: `auxiliary_loss`, `()`, in float32 at least: what the last batch in training has added.

    Attributes:
        strength: At least 0; beta of the beta-VAE. May be a tracer.

    Raises:
        ValueError: The strength is negative.
        ShapeError: The two have not the same shape.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.serial(nn.parallel(nn.Dense(2), nn.Dense(2)), nn.GaussianKL(0.5), nn.GaussianSample())
    serial(parallel(Dense(2), Dense(2)), GaussianKL(0.5), GaussianSample())
    >>> layer, pair = nn.GaussianKL(0.5), (jnp.array([[0.0, 0.0], [1.0, 2.0]]), jnp.zeros((2, 2)))
    >>> params, state = layer.init(jax.random.key(0), pair)
    >>> layer.apply(params, state, pair, train=True)[1]  # 0.5 (0 + 2.5) / 2
    {'auxiliary_loss': Array(0.625, dtype=float32)}

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014); Higgins et al., "beta-VAE" (2017).
    """

    strength: Scalar = 1.0

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, why="codes are to come nearer to the standard normal")

    def init(self, key, x):
        del key
        gaussian_kl.check(*x)
        return {}, _nothing(x[0])

    def apply(self, params, state, x, *, key=None, train=False):
        del params, key
        return x, self._mean(gaussian_kl(*map(_wide, x))) if train else state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params, key
        if not train:
            return (x, state), {}
        kl, residuals = gaussian_kl.fwd(*map(_wide, x))
        return (x, self._mean(kl)), {"code": residuals, "each": jnp.ones_like(kl)}

    def bwd(self, residuals, dy):
        if not residuals:
            return {}, dy
        each = residuals["each"]
        d_each = jnp.asarray(self.strength, each.dtype) * each / max(each.size, 1)
        added = gaussian_kl.bwd(residuals["code"], d_each)
        return {}, tuple(d + a.astype(d.dtype) for d, a in zip(dy, added, strict=True))

    def _mean(self, kl: Array) -> dict[str, Array]:
        return {AUXILIARY: jnp.asarray(self.strength, kl.dtype) * kl.sum() / max(kl.size, 1)}


def _nothing(x: AnyArray) -> dict[str, Any]:
    """The state before the first batch."""
    return {AUXILIARY: jnp.zeros((), accumulator_dtype(x.dtype))}


def _inside(x: Any) -> Array:
    """The values of x, with 0 for what lies beyond the lengths of `Sequences`, where penalty and slope are 0 then."""
    if not isinstance(x, Sequences) or x.lengths is None:
        return jnp.asarray(values_of(x))
    check_lengths(x.x, x.lengths)
    within = steps_within(x.lengths, x.x.shape[1])
    return jnp.where(within.reshape(within.shape + (1,) * (x.x.ndim - 2)), x.x, 0)


def _rows(x: Array) -> int:
    """How many examples the mean is over; 1 if there are none, to divide by."""
    return max(len(x), 1)


def _wide(x: AnyArray) -> Array:
    x = jnp.asarray(x)
    return x.astype(accumulator_dtype(x.dtype))
