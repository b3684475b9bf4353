"""Multiply-adds against numbers worked by hand, one for every way in which a program can hold them."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxnn as nn
from jaxnn._programs._costs import multiply_adds, nbytes_out


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Dense(64), (32, 784), 32 * 784 * 64),
        (nn.Dense(64), (32, 7, 5, 10), 32 * 7 * 5 * 10 * 64),
        (nn.Conv(20, (3, 3)), (1, 28, 28, 8), 28 * 28 * 3 * 3 * 8 * 20),
        (nn.Conv(20, (3, 3)), (4, 28, 28, 8), 4 * 28 * 28 * 3 * 3 * 8 * 20),
        (nn.Conv(20, (3, 5), padding="VALID"), (1, 28, 28, 8), 26 * 24 * 3 * 5 * 8 * 20),
        (nn.Conv(20, 3, stride=2, dilation=2), (1, 28, 8), 14 * 3 * 8 * 20),
        (nn.Conv(20, 3, groups=4), (1, 28, 28, 8), 28 * 28 * 3 * 3 * (8 // 4) * 20),
        (nn.Conv(20, 1), (1, 28, 28, 8), 28 * 28 * 8 * 20),
        (nn.DepthwiseConv(3), (1, 28, 28, 8), 28 * 28 * 3 * 3 * 8),
        (nn.DepthwiseConv(3, multiplier=2, stride=2), (1, 28, 28, 8), 14 * 14 * 3 * 3 * 16),
        (nn.serial(nn.DepthwiseConv(3), nn.Conv(64, 1)), (1, 28, 28, 32), 28 * 28 * 32 * (3 * 3 + 64)),
        (nn.ConvTranspose(16, (4, 4), stride=2), (1, 7, 7, 32), 7 * 7 * 4 * 4 * 32 * 16),
        (nn.ConvTranspose(16, 3, stride=2, padding="VALID"), (1, 7, 32), 7 * 3 * 32 * 16),
        (nn.ConvTranspose(16, 3, stride=(2, 1), groups=4), (1, 7, 5, 32), 7 * 5 * 3 * 3 * (32 // 4) * 16),
        (nn.ConvTranspose(16, 3), (1, 7, 32), 7 * 3 * 32 * 16),
        (nn.serial(nn.relu, nn.BatchNorm(), nn.Dropout(0.5), nn.flatten, nn.softmax), (2, 4, 4, 3), 0),
        (nn.serial(nn.MaxPool(2), nn.AveragePool(2), nn.global_average_pool), (2, 8, 8, 3), 0),
        (nn.repeat(nn.residual(nn.Dense(8)), 5), (2, 8), 5 * 2 * 8 * 8),
        (nn.repeat(nn.serial(nn.repeat(nn.Dense(8), 3), nn.Dense(8)), 5), (2, 8), 5 * (3 + 1) * 2 * 8 * 8),
        (nn.parallel(nn.Dense(8), nn.Dense(3)), (2, 8), 2 * 8 * (8 + 3)),
    ],
    ids=repr,
)
def test_of_layers(layer, shape, expected):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    with nn.plain():
        assert multiply_adds(jax.make_jaxpr(lambda *a: layer.apply(*a)[0])(params, state, x).jaxpr) == expected


def test_a_look_up_has_none():
    assert nn.summary(nn.Embed(1000, 64), jax.ShapeDtypeStruct((2, 5), jnp.int32)).multiply_adds == 0


product = lambda a: a @ a
with_a_rule = jax.custom_vjp(product)
with_a_rule.defvjp(lambda a: (a @ a @ a, a), lambda a, dy: (dy,))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(product, 6**3, id="product"),
        pytest.param(jax.jit(product), 6**3, id="jit"),
        pytest.param(jax.checkpoint(product), 6**3, id="checkpoint"),
        pytest.param(with_a_rule, 6**3, id="a rule's forward is not there twice"),
        pytest.param(lambda a: lax.fori_loop(0, 7, lambda i, a: a @ a, a), 7 * 6**3, id="loop"),
        pytest.param(lambda a: lax.map(lambda row: a @ row, a), 6 * 6**2, id="map"),
        pytest.param(lambda a: jax.vmap(lambda row: a @ row)(a), 6 * 6**2, id="vmap"),
        pytest.param(lambda a: lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a @ a, a), 2 * 6**3, id="dearest"),
        pytest.param(lambda a: lax.while_loop(lambda a: a[0, 0] > 0, product, a), 6**3, id="while counts once"),
        pytest.param(lambda a: jnp.einsum("bi,bj->bij", a, a), 6**3, id="outer products"),
        pytest.param(lambda a: jnp.einsum("ij,ij->i", a, a), 6**2, id="inner products"),
        pytest.param(lambda a: jnp.tanh(a) * a + a.sum(), 0, id="element by element"),
    ],
)
def test_of_programs(function, expected):
    assert multiply_adds(jax.make_jaxpr(function)(jnp.zeros((6, 6))).jaxpr) == expected


def test_bytes_out_count_an_array_once_and_none_that_was_given():
    def function(a, b):
        c = a + b
        return {"a": a, "c": c, "again": c, "d": jnp.zeros(3, jnp.int8), "number": 1.0}

    x = jnp.zeros(5)
    assert nbytes_out(jax.make_jaxpr(function)(x, x).jaxpr) == 5 * 4 + 3
