"""Layers and optimizers against Keras, on its JAX backend: values, gradients, paths; and where they part ways."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops, optim

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("loose")]

BATCH, TIME, IN, HIDDEN = 3, 5, 4, 6


@pytest.fixture(autouse=True, scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        return pytest.importorskip("keras")


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


def of_keras(layer, x, **settings):
    """A function (weights, x) -> y of a layer of Keras, and its weights, drawn at random."""
    layer.build(x.shape)
    weights = [drawn(*w.shape, seed=i + 1) for i, w in enumerate(layer.trainable_variables)]
    fixed = [jnp.asarray(v.value) for v in layer.non_trainable_variables]
    return lambda weights, x: layer.stateless_call(weights, fixed, x, **settings)[0], weights


def assert_same(ours, theirs, weights, x):
    """Values, and the gradients by x and by every weight as the other library has them.

    In float32: in float64 some of Keras's layers round to it, and others fail.
    """
    y, pull = jax.vjp(theirs, weights, x)
    z, pull_ours = jax.vjp(ours, weights, x)
    dy = jax.tree.map(lambda a: drawn(*a.shape, seed=9), y)
    for found, expected in ((z, y), (pull_ours(dy), pull(dy))):
        # The largest of all: the gradient of attention by the bias of its keys is rounding and nothing else.
        scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm(keras, reverse):
    x, zeros = drawn(BATCH, TIME, IN), jnp.zeros((BATCH, HIDDEN))
    theirs, weights = of_keras(keras.layers.LSTM(HIDDEN, return_sequences=True, go_backwards=reverse), x)

    def ours(weights, x):
        y, _ = ops.lstm(x, zeros, zeros, *weights, reverse=reverse)
        return y[:, ::-1] if reverse else y  # Keras leaves the steps in the order in which it took them

    assert_same(ours, theirs, weights, x)


@pytest.mark.parametrize("lengths", [[5, 1, 3]])
def test_lstm_of_several_lengths(keras, lengths):
    x, zeros, lengths = drawn(BATCH, TIME, IN), jnp.zeros((BATCH, HIDDEN)), jnp.array(lengths)
    layer = keras.layers.LSTM(HIDDEN, return_sequences=True, return_state=True, zero_output_for_mask=True)
    theirs, weights = of_keras(layer, x, mask=jnp.arange(TIME) < lengths[:, None])

    def ours(weights, x):
        y, (h, c) = ops.lstm(x, zeros, zeros, *weights, lengths)
        return y, h, c

    assert_same(ours, lambda weights, x: tuple(theirs(weights, x)), weights, x)


def test_gru(keras):
    x, zeros = drawn(BATCH, TIME, IN), jnp.zeros((BATCH, HIDDEN))
    theirs, weights = of_keras(keras.layers.GRU(HIDDEN, return_sequences=True, reset_after=True), x)

    def ours(weights, x):
        of_ours = lambda w: jnp.concatenate([w[..., HIDDEN : 2 * HIDDEN], w[..., :HIDDEN], w[..., 2 * HIDDEN :]], -1)
        w_x, w_h, b = map(of_ours, weights)
        b_x, b_h = b
        # Outside of the gate n the two biases of Keras are only ever added.
        both = b_x + b_h.at[2 * HIDDEN :].set(0.0)
        return ops.gru(x, zeros, w_x, w_h, both, b_h[2 * HIDDEN :])[0]

    assert_same(ours, theirs, weights, x)


def test_simple_rnn(keras):
    x, zeros = drawn(BATCH, TIME, IN), jnp.zeros((BATCH, HIDDEN))
    theirs, weights = of_keras(keras.layers.SimpleRNN(HIDDEN, return_sequences=True), x)
    assert_same(lambda weights, x: ops.rnn(x, zeros, *weights)[0], theirs, weights, x)


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        pytest.param(nn.LayerNorm(epsilon=1e-3), "LayerNormalization", (BATCH, TIME, 8), id="layer"),
        pytest.param(nn.RMSNorm(epsilon=1e-6), "RMSNormalization", (BATCH, TIME, 8), id="rms"),
        pytest.param(nn.GroupNorm(2, epsilon=1e-3), "GroupNormalization", (BATCH, 3, 3, 8), id="group"),
        pytest.param(nn.BatchNorm(epsilon=1e-3), "BatchNormalization", (BATCH, 3, 3, 8), id="batch"),
    ],
)
def test_norms(keras, ours, theirs, shape):
    x = drawn(*shape)
    settings = {"groups": 2} if theirs == "GroupNormalization" else {}
    training = {"training": True} if theirs == "BatchNormalization" else {}
    function, weights = of_keras(getattr(keras.layers, theirs)(**settings), x, **training)
    params, state = ours.init(jax.random.key(0), x)
    names = ("scale", "offset")[: len(weights)]
    assert set(names) == set(params)
    apply = lambda weights, x: ours.apply(dict(zip(names, weights, strict=True)), state, x, train=True)[0]
    assert_same(apply, function, weights, x)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_attention(keras, causal, kv_heads):
    x = drawn(BATCH, TIME, 8)
    layer = keras.layers.GroupQueryAttention(3, 4, kv_heads)
    layer.build(x.shape, x.shape, x.shape)
    weights = [drawn(*w.shape, seed=i + 1) for i, w in enumerate(layer.trainable_variables)]

    def theirs(weights, x):
        return layer.stateless_call(weights, [], x, x, x, use_causal_mask=causal)[0]

    def ours(weights, x):
        w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o = weights
        q, k, v = (jnp.einsum("btd,dhf->bthf", x, w) + b for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
        return jnp.einsum("bthf,hfd->btd", ops.attention(q, k, v, causal=causal), w_o) + b_o

    assert_same(ours, theirs, weights, x)


# Optimizers, in float64.


def their_path(optimizer, grads, start):
    """Parameters after every step of an optimizer of Keras, gradients given."""
    optimizer.build([keras_variable(start)])
    variables, state, seen = [start], [jnp.asarray(v.value) for v in optimizer.variables], []
    for g in grads:
        variables, state = optimizer.stateless_apply(state, [g], variables)
        seen.append(variables[0])
    return np.stack(seen)


def keras_variable(value):
    import keras

    return keras.Variable(value, dtype=value.dtype.name)


def our_path(optimizer, grads, start):
    p, state, seen = start, optimizer.init(start), []
    for g in grads:
        updates, state = optimizer.update(g, state, p)
        p = optim.apply_updates(p, updates)
        seen.append(p)
    return np.stack(seen)


def grads():
    return [drawn(3, seed=i) for i in range(20)]


AGREE = {
    "sgd": (lambda: nn.sgd(0.1), "SGD", {}),
    "momentum": (lambda: nn.momentum(0.1, 0.9), "SGD", {"momentum": 0.9}),
    "nesterov": (lambda: nn.nesterov(0.1, 0.9), "SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": (lambda: optim.adagrad(0.1), "Adagrad", {}),
    "rmsprop": (lambda: optim.rmsprop(0.1, eps=1e-7), "RMSprop", {}),
    "rmsprop, centered": (
        lambda: optim.rmsprop(0.1, eps=1e-7, centered=True, momentum=0.8),
        "RMSprop",
        {"centered": True, "momentum": 0.8},
    ),
    "adadelta": (lambda: optim.adadelta(0.1, rho=0.95, eps=1e-7), "Adadelta", {}),
    "lion": (lambda: optim.lion(0.1, weight_decay=0.0), "Lion", {"beta_1": 0.9, "beta_2": 0.99}),
    "adam, but for eps": (lambda: nn.adam(0.1, eps=0.0), "Adam", {"epsilon": 0.0}),
    "adamw, but for eps": (
        lambda: nn.adamw(0.1, eps=0.0, weight_decay=0.02),
        "AdamW",
        {"epsilon": 0.0, "weight_decay": 0.02},
    ),
    "adamax, but for eps": (lambda: optim.adamax(0.1, eps=0.0), "Adamax", {"epsilon": 0.0}),
}


@pytest.mark.parametrize(("ours", "theirs", "settings"), AGREE.values(), ids=AGREE)
def test_the_path_is_that_of_keras(keras, ours, theirs, settings, x64):
    start = drawn(3, seed=99)
    expected = their_path(getattr(keras.optimizers, theirs)(learning_rate=0.1, **settings), grads(), start)
    # Keras keeps the learning rate in float32.
    np.testing.assert_allclose(our_path(ours(), grads(), start), expected, rtol=1e-6, atol=1e-7)


APART = {
    "adam adds eps to the root as it is": (lambda: nn.adam(0.1, eps=0.1), "Adam", {"epsilon": 0.1}),
    "nadam lets b1 grow": (lambda: optim.nadam(0.1), "Nadam", {"epsilon": 1e-8}),
    "amsgrad has the maximum of the square as it is": (
        lambda: optim.amsgrad(0.1),
        "Adam",
        {"amsgrad": True, "epsilon": 1e-8},
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "settings"), APART.values(), ids=APART)
def test_where_they_part_ways(keras, ours, theirs, settings, x64):
    start = drawn(3, seed=99)
    expected = their_path(getattr(keras.optimizers, theirs)(learning_rate=0.1, **settings), grads(), start)
    assert np.abs(our_path(ours(), grads(), start) - expected).max() > 1e-3


def test_the_velocity_of_keras_holds_the_learning_rate(keras, x64):
    """So under a schedule each gradient keeps the rate of its own step, and ours takes that of the step now."""
    start = drawn(3, seed=99)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    expected = their_path(keras.optimizers.SGD(schedule, momentum=0.9), grads(), start)
    ours = our_path(nn.momentum(nn.schedules.exponential_decay(0.1, 1, 0.5), 0.9), grads(), start)
    assert np.abs(ours - expected).max() > 0.1
    within = optim.chain(nn.sgd(nn.schedules.exponential_decay(0.1, 1, 0.5)), optim.trace(0.9))
    np.testing.assert_allclose(our_path(within, grads(), start), expected, rtol=1e-6, atol=1e-7)


def test_activity_penalty(keras):
    x = drawn(BATCH, TIME, IN)
    layer = keras.layers.ActivityRegularization(l1=0.3, l2=0.2)
    layer(x)
    _, state = nn.layers.ActivityPenalty(l1=0.3, l2=0.2).apply({}, {}, x, train=True)
    np.testing.assert_allclose(state["auxiliary_loss"], float(sum(layer.losses)), rtol=1e-5)
