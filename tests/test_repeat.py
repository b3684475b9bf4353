"""Depth costs no time to compile: a repeated layer is one loop, however many copies there are."""

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn


def lines(model, part, gradient):
    """How long the program is that draws parameters, or takes a step, before it is compiled."""
    trainer = nn.trainer(model, nn.losses.mse, nn.adam(1e-3), gradient=gradient)
    key, x = jax.random.key(0), jax.ShapeDtypeStruct((2, 3), jnp.float32)
    begin = lambda key: trainer.init(key, x)
    if part == "init":
        return jax.jit(begin).lower(key).as_text().count("\n")
    return jax.jit(trainer.step).lower(jax.eval_shape(begin, key), nn.Data(x, x)).as_text().count("\n")


@pytest.mark.parametrize("gradient", [nn.by_hand, nn.by_autodiff])
@pytest.mark.parametrize("part", ["init", "step"])
def test_programs_of_2_and_of_12_copies_are_as_long(part, gradient):
    block = nn.residual(nn.Dense(3), nn.tanh)
    deep = lambda copies: nn.serial(nn.repeat(block, copies), nn.Dense(3))
    assert lines(deep(2), part, gradient) == lines(deep(12), part, gradient)
    copied = lambda copies: nn.serial(*[block] * copies, nn.Dense(3))
    assert lines(copied(2), part, gradient) < lines(copied(12), part, gradient)  # so the measure sees depth
