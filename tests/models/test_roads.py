"""Every model that is meant to be copied: the two roads to its gradient agree, strictly by hand, alone and mapped."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import models

BATCH = 6


def normal(*shape):
    return lambda seed: np.random.default_rng(seed).normal(size=(BATCH, *shape))


def words(seed):
    """Of all lengths from 0 on."""
    tokens = np.random.default_rng(seed).integers(0, 5, (BATCH, BATCH - 1))
    return nn.Sequences(tokens, np.arange(BATCH))


def labels(seed=0):
    return np.random.default_rng(seed).integers(0, 3, size=BATCH)


def brightness(*shape):
    return lambda seed: np.random.default_rng(seed + 1).uniform(size=(BATCH, *shape))


def cells(seed):
    """Three objects in each picture."""
    random = np.random.default_rng(seed)
    boxes, kinds = random.uniform(0.1, 0.9, (BATCH, 3, 4)), random.integers(0, 2, (BATCH, 3))
    of_one = functools.partial(models.yolo_targets, grid=3, classes=2)
    return jax.vmap(of_one)(jnp.asarray(boxes), jnp.asarray(kinds))


# A model, its loss, and inputs and targets by seed.
detector = nn.serial(nn.Conv(4, (3, 3)), nn.tanh, models.yolo_head(3, 2, 2))
MODELS = {
    "mlp": (models.mlp((5, 3)), nn.losses.cross_entropy, normal(4), labels),
    "mlp_tanh": (models.mlp((5, 4, 3), activation=nn.tanh), nn.losses.cross_entropy, normal(4), labels),
    "convnet": (models.convnet(3, features=(3, 4)), nn.losses.cross_entropy, normal(8, 8, 2), labels),
    "resnet": (models.resnet(3, blocks=2, features=2), nn.losses.cross_entropy, normal(8, 8, 2), labels),
    "lstm_classifier": (models.lstm_classifier(5, 3, width=2, units=4), nn.losses.cross_entropy, words, labels),
    "autoencoder": (models.autoencoder(6, 5, 2), nn.losses.binary_cross_entropy, normal(6), brightness(6)),
    "vae": (models.vae(6, hidden=5, latent=2), nn.losses.negative_elbo, normal(6), brightness(6)),
    "unet_small": (
        models.unet_small(1, features=2),
        nn.losses.binary_cross_entropy,
        normal(8, 8, 2),
        brightness(8, 8, 1),
    ),
    "yolo_head": (detector, nn.losses.yolo_loss, normal(7, 8, 2), cells),
}
every = pytest.mark.parametrize("name", MODELS)


@every
def test_both_roads_and_central_differences_agree(name):
    model, loss, inputs, targets = MODELS[name]
    nn.by_hand(model, loss, strict=True)  # refuses what is not written by hand
    batch = nn.Data(inputs(0), targets(0))
    trainer = nn.trainer(model, loss, nn.sgd(0.1))
    comparison = nn.compare(
        model, loss, jax.jit(trainer.init)(jax.random.key(1), batch.x), batch, directions=1, rounds=1
    )
    assert comparison.agrees, comparison
    # Nothing is learned in vain: there is no bias before a normalisation.
    assert not [row.name for row in comparison.rows if row.zero]


@every
def test_an_ensemble_by_hand_is_the_same_as_by_autodiff(name, x64):
    """Compiled, and mapped over parameters, state, batches and keys."""
    model, loss, inputs, targets = MODELS[name]

    def member(key, seed):
        batch = nn.Data(inputs(seed), targets(seed)).on_device()
        return *jax.jit(model.init)(key, batch.x), batch

    keys = jax.random.split(jax.random.key(2), 2)
    params, state, batch = jax.tree.map(lambda *a: jnp.stack(a), *map(member, keys, range(2)))
    road = lambda road: jax.jit(jax.vmap(lambda p, s, b, k: road(model, loss)(p, {}, s, b, key=k)))
    hand = road(functools.partial(nn.by_hand, strict=True))(params, state, batch, keys)
    with nn.plain():
        autodiff = road(nn.by_autodiff)(params, state, batch, keys)
    chex.assert_trees_all_close(hand, autodiff, rtol=1e-10, atol=1e-10)


def outputs(model, *shape):
    """Shapes that a model of `(32, *shape)` puts out, and the number of its parameters."""
    x = jax.ShapeDtypeStruct((32, *shape), jnp.float32)
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
    y = jax.eval_shape(lambda *a: model.apply(*a)[0], params, state, x)
    return jax.tree.map(lambda a: a.shape, y), nn.tree.count(params)


def test_the_residual_network_is_that_of_the_paper():
    """He et al.'s table 6: 20 layers, 0.27 million parameters. The projections of option B are 2,752 more."""
    resnet = nn.summary(models.resnet(10), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    layers = [row for row in resnet.rows if isinstance(row.layer, nn.Conv | nn.Dense)]
    round_ = [row for row in layers if "round" in row.path]
    assert sum(row.copies for row in layers) - len(round_) == 6 * 3 + 2
    option_a = sum(
        k * k * i * o for k, i, o, n in [(3, 3, 16, 1), (3, 16, 16, 6), (3, 16, 32, 1), (3, 32, 32, 5), (3, 32, 64, 1),
                                         (3, 64, 64, 5)] for _ in range(n)
    ) + 2 * (16 * 7 + 32 * 6 + 64 * 6) + 64 * 10 + 10  # fmt: skip
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert option_a == 269_722
    assert resnet.parameters == option_a + projections == 272_474
    with pytest.raises(ValueError, match="expected at least 2 blocks a stage, because all but the first are repeated"):
        models.resnet(10, blocks=1)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_u_keeps_the_size_of_the_picture(levels):
    assert outputs(models.unet_small(3, features=4, levels=levels), 16, 24, 2)[0] == (32, 16, 24, 3)


def test_the_u_says_where_sizes_do_not_divide():
    with pytest.raises(nn.ShapeError, match="expected arrays that agree in every axis but the last") as caught:
        outputs(models.unet_small(1, features=4), 10, 10, 2)
    assert any("concatenate_0" in note for note in caught.value.__notes__)


def test_what_goes_across_the_u_is_not_blurred_by_what_is_below():
    """With nothing coming up from below, the output still depends on every pixel."""
    model, x = models.unet_small(1, features=2, levels=1), jnp.asarray(normal(4, 4, 1)(0), jnp.float32)
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    up = params["u"]["parallel_0"]["below"]["up"]
    params["u"]["parallel_0"]["below"]["up"] = jax.tree.map(jnp.zeros_like, up)
    slope = jax.jit(jax.grad(lambda x: (model.apply(params, state, x)[0] ** 2).sum()))(x)
    assert (slope != 0).all()


def test_ETC_4_an_autoencoder_has_a_bottleneck():
    assert outputs(models.autoencoder(64, 32, 8), 64) == ((32, 64), 2 * 64 * 32 + 2 * 32 * 8 + 32 + 8 + 32 + 64)


def test_an_mlp_needs_a_size():
    with pytest.raises(ValueError, match="expected at least one size, because the last is that of the output; got"):
        models.mlp(())
