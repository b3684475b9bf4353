"""The convolutional network on digits, smaller and for fewer epochs: in 16 bits it reads as well as in 32."""

import functools

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn
from jaxnn.layers import Precision, in_precision

EPOCHS, BATCH = 4, 16


@pytest.fixture(scope="module")
def accuracy(example):
    """A function: the accuracy on the test digits after a run with these settings."""
    digits = example("cnn_digits")
    train, test = map(digits.images, nn.data.digits())

    @functools.cache
    def trained(compute=None, road=nn.by_autodiff):
        model = nn.serial(digits.block(8), digits.block(16), nn.flatten, nn.Dense(10))
        optimizer = nn.adam(nn.cosine_decay_schedule(1e-2, EPOCHS * -(-train.examples // BATCH)))
        if compute is not None:
            model = in_precision(model, policy=Precision(compute))
        if compute == jnp.float16:
            optimizer = nn.optim.dynamic_loss_scale(optimizer, 2.0**24, growth_interval=50)
        trainer = nn.trainer(model, nn.losses.cross_entropy, optimizer, gradient=road)
        fit = jax.jit(lambda ts: nn.fit(trainer, ts, train, epochs=EPOCHS, batch_size=BATCH)[0])
        train_state = fit(trainer.init(jax.random.key(0), train.x))
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(train_state.params))
        scale = nn.optim.loss_scale_of(train_state.opt_state)
        assert scale is None or 2**8 < float(scale) < 2**24  # it fell until it fitted
        return float(nn.evaluate(trainer, train_state, test, nn.metrics.accuracy))

    return trained


@pytest.mark.slow
@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
@pytest.mark.parametrize("compute", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_sixteen_bits_are_enough_for_digits(accuracy, compute, road):
    in_float32 = accuracy()
    assert in_float32 > 0.95
    assert abs(accuracy(compute, road) - in_float32) <= 0.015
