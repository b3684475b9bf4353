"""One row per op, loss and layer that was written for a model, and for one whose output is a tree."""

import jax.numpy as jnp

import jaxnn as nn
from cases._kinds import B, C, F, LayerCase, OpCase, each, fixed_key, normal, unit
from jaxnn.ops import Op


def flat(op, pack, unpack):
    """An op of a tree as one of the arrays in it: the contract is of arrays."""
    whole = Op(lambda *arrays, **settings: op.plain(*pack(*arrays), **settings))
    whole.__name__ = op.name
    whole.defvjp(
        lambda *arrays, **settings: op.fwd(*pack(*arrays), **settings),
        lambda residuals, d, **settings: unpack(*op.bwd(residuals, d, **settings)),
    )
    return whole


ELBO = flat(
    nn.losses.negative_elbo,
    lambda logits, means, log_variances, targets: ((logits, (means, log_variances)), targets),
    lambda d_prediction, d_targets: (d_prediction[0], *d_prediction[1], d_targets),
)


def grid(*shape):
    """Targets of a detector, in half of whose cells there is an object."""

    def draw(random, batch, dtype):
        t = random.uniform(0.1, 0.9, size=(batch, *shape))
        t[..., 4] = random.integers(0, 2, size=t.shape[:-1])
        return jnp.asarray(t).astype(dtype)

    return draw


OPS = [
    OpCase("gaussian_sample", nn.ops.gaussian_sample, each(normal(B, F), normal(B, F), fixed_key), family="sampling"),
]
LOSSES = [
    OpCase("gaussian_kl", nn.losses.gaussian_kl, each(normal(B, F), normal(B, F)), family="variational"),
    OpCase("negative_elbo", ELBO, each(normal(B, 2, C), normal(B, F), normal(B, F), unit(B, 2, C)), {"beta": 0.3}),
    OpCase("yolo_loss", nn.losses.yolo_loss, each(normal(B, 3, 3, 10 + C), grid(3, 3, 5 + C)), family="detection"),
    OpCase(
        "yolo_loss_of_one_box",
        nn.losses.yolo_loss,
        each(normal(B, 2, 2, 5), grid(2, 2, 5)),
        {"place": 2.0, "empty": 0.1},
    ),
]
LAYERS = [
    LayerCase("gaussian_sample", nn.GaussianSample(), each(normal(B, F), normal(B, F))),
    LayerCase("vae", nn.models.vae(6, hidden=5, latent=2), normal(B, 6)),
]
