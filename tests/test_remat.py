"""`remat`: the same numbers from less memory."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

BLOCK = nn.residual(nn.LayerNorm(), nn.Dense(256), nn.gelu, nn.Dropout(0.2), nn.Dense(32))
ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
MODELS = {
    "in a row": lambda remat: nn.serial(*(remat(BLOCK) for _ in range(4)), nn.Dense(3)),
    "repeated": lambda remat: nn.serial(nn.repeat(remat(BLOCK), 8), nn.Dense(3)),
}
BATCH = nn.Data(jnp.asarray(np.random.default_rng(0).normal(size=(512, 32)), jnp.float32), jnp.arange(512) % 3)


def as_it_is(layer):
    return layer


def compiled(make, remat, road):
    """The gradient as a function of the parameters, and these. They are a dict by other names with remat in a row."""
    model = make(remat)
    params, state = model.init(jax.random.key(0), BATCH.x)
    step = lambda params: road(model, nn.losses.cross_entropy)(params, {}, state, BATCH, key=jax.random.key(1))
    return jax.jit(step).lower(params).compile(), params


@functools.cache
def pair(make, road):
    """Without and with remat."""
    return compiled(make, as_it_is, road), compiled(make, nn.remat, road)


@roads
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_values_and_gradients_are_the_same(make, road):
    (step, params), (again, same) = pair(make, road)
    chex.assert_trees_all_equal(jax.tree.leaves(params), jax.tree.leaves(same))
    for ours, expected in zip(jax.tree.leaves(again(same)), jax.tree.leaves(step(params)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=5e-6)


@roads
def test_memory_of_a_compiled_step_falls(road):
    """In a loop, on any platform."""
    temporary = lambda step: step.memory_analysis().temp_size_in_bytes
    before, after = (temporary(step) for step, _ in pair(MODELS["repeated"], road))
    assert after < 0.6 * before
    by_autodiff = temporary(pair(MODELS["repeated"], nn.by_autodiff)[1][0])
    assert after <= 1.05 * by_autodiff


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_is_remembered_is_the_inputs(make):
    before, after = (nn.summary(make(remat), BATCH.x).remembered for remat in (as_it_is, nn.remat))
    inputs = 8 * BATCH.x.nbytes + BATCH.x.nbytes  # of blocks, of which one is x itself, and of the last layer
    assert after <= inputs + 64
    assert after < before / 8


def test_a_run_with_remat_can_be_differentiated_and_mapped():
    """Through both roads: a hypergradient, over several members."""

    def loss(rate, road):
        model = nn.serial(nn.remat(nn.Dense(4), nn.tanh), nn.Dense(3))
        trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(rate), gradient=road)
        ts = trainer.init(jax.random.key(0), BATCH.x)
        return nn.fit(trainer, ts, BATCH, epochs=1, batch_size=256)[1]["loss"][-1]

    slopes = [jax.jit(jax.vmap(jax.grad(lambda r, road=road: loss(r, road))))(jnp.array([0.1, 0.2])) for road in
              ROADS.values()]  # fmt: skip
    np.testing.assert_allclose(*slopes, rtol=1e-4)
    assert abs(slopes[0]).min() > 1e-3


def test_summary_and_receptive_field_look_within():
    x = jnp.zeros((1, 12, 12, 3))
    conv, bare = (nn.summary(nn.serial(remat(nn.Conv(4, 3)), nn.relu), x) for remat in (nn.remat, as_it_is))
    assert str(conv.rows[0].field) == str(bare.rows[0].field) == "3x3=9"
    assert conv.multiply_adds == bare.multiply_adds
    within = nn.summary(nn.serial(block=nn.remat(nn.Conv(4, 3), nn.relu)), x)
    assert [row.path for row in within.rows] == ["block/conv_0", "block/relu_0"]


def test_errors_are_located_within():
    model = nn.serial(block=nn.remat(nn.Dense(4), nn.Dense(3)))
    params, state = model.init(jax.random.key(0), jnp.ones((2, 5)))
    for method in (model.apply, model.fwd):
        with pytest.raises(nn.ShapeError, match=r"expected x of shape \(..., 5\)") as caught:
            method(params, state, jnp.ones((2, 6)))
        assert [note.split(":")[0] for note in caught.value.__notes__ if note.startswith("  in")] == [
            "  in dense_0",
            "  in block",
        ]


def test_a_frozen_batch_norm_rests_within():
    model = nn.serial(block=nn.remat(nn.Dense(4), nn.BatchNorm()), head=nn.Dense(3))
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), freeze="block/.*")
    ts = trainer.init(jax.random.key(0), BATCH.x)
    chex.assert_trees_all_equal(trainer.step(ts, BATCH)[0].state, ts.state)
