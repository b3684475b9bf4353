"""The variational autoencoder: an autoencoder whose codes are drawn, so that others than those of examples decode too.

Dimensions: `batch` examples, `features` of an example, `latent` numbers in a code.
"""

from jaxnn.initializers import he_normal
from jaxnn.layers import Dense, GaussianSample, Layer, parallel, serial
from jaxnn.models._mlp import mlp
from jaxnn.ops import relu


def vae(features: int, *, hidden: int = 256, latent: int = 8) -> Layer:
    """An encoder to means and log-variances, (m, s), and a decoder of a draw, z = m + exp(s / 2) e, to logits.

    It puts out `(logits, (m, s))`, which is what `nn.losses.negative_elbo` takes, with x as the target; in inference z
    is m. A draw of N(0, 1) that goes through the decoder alone, which is called out/logits/decoder, gives a sample of
    what examples look like.

    Shapes: `(batch, features)` to `(batch, features)` and two of `(batch, latent)`.

    Args:
        features: Of x.
        hidden: Units of the one hidden layer of either half.
        latent: Numbers in a code.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model, x = nn.models.vae(64, hidden=32, latent=2), jnp.zeros((10, 64))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> (logits, (m, s)), _ = model.apply(params, state, x, key=jax.random.key(1), train=True)
    >>> logits.shape, m.shape, nn.losses.negative_elbo((logits, (m, s)), x).shape
    ((10, 64), (10, 2), (10,))

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014).
    """
    code = parallel(means=Dense(latent), log_variances=Dense(latent))
    draw = serial(draw=GaussianSample(), decoder=mlp((hidden, features)))
    return serial(
        encoder=serial(Dense(hidden, w_init=he_normal()), relu, code),
        out=parallel(logits=draw, code=serial()),
    )
