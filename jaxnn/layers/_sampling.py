"""The draw in the middle of a variational autoencoder, as a layer."""

from dataclasses import dataclass
from typing import final

import jax.numpy as jnp

from jaxnn.layers._layer import Layer
from jaxnn.ops import gaussian_sample


@final
@dataclass(frozen=True, repr=False)
class GaussianSample(Layer):
    """In training a draw z = m + exp(s / 2) e, e from N(0, 1); in inference its mean, m.

    Its input is the pair (m, s), such as `parallel` puts out: means and logarithms of variances, of one shape.

    Raises:
        ShapeError: The two have not the same shape.
        ValueError: There is no key in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> pair = jnp.zeros((2, 3)), jnp.full((2, 3), -jnp.inf)
    >>> nn.GaussianSample().apply({}, {}, pair, key=jax.random.key(0), train=True)[0].shape
    (2, 3)

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014).
    """

    def init(self, key, x):
        del key
        gaussian_sample.check(*x, None)
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        del params
        return (gaussian_sample(*x, _required(key)) if train else x[0]), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del params
        if not train:
            return (x[0], state), {}
        z, residuals = gaussian_sample.fwd(*x, _required(key))
        return (z, state), {"drawn": residuals}

    def bwd(self, residuals, dy):
        if not residuals:
            return {}, (dy, jnp.zeros_like(dy))
        d_means, d_log_variances, _ = gaussian_sample.bwd(residuals["drawn"], dy)
        return {}, (d_means, d_log_variances)


def _required(key):
    if key is None:
        raise ValueError(
            "expected a key, because a code is drawn in training; got None\n"
            "  hint: pass key=jax.random.key(...), or train=False for the mean"
        )
    return key
