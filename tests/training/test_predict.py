"""Prediction in batches of one shape, for any number of inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, regression, said

import jaxnn as nn

TRAINER = nn.trainer(nn.serial(nn.Dense(2), nn.BatchNorm(), nn.Dropout(0.5)), nn.losses.mse, nn.sgd(0.1))


@pytest.fixture
def begun(key):
    x = regression(10).x
    return TRAINER.init(key, x), x


@pytest.mark.parametrize("batch_size", [None, 1, 3, 5, np.int64(10), 64])
def test_it_is_what_the_model_puts_out_for_all_at_once(begun, batch_size):
    ts, x = begun
    got = nn.predict(TRAINER, ts, x, batch_size=batch_size)
    assert_close(got, jax.jit(TRAINER.predict)(ts, x), 1e-6)


@pytest.mark.parametrize("n", [0, 1, 4, 5])
def test_of_any_number(begun, n):
    ts, x = begun
    got = nn.predict(TRAINER, ts, np.asarray(x)[:n], batch_size=4)
    assert got.shape == (n, 2)
    assert_close(got, np.asarray(TRAINER.predict(ts, x))[:n], 1e-6)


def seen(x):
    """A model of trees: what a batch has, in all shapes, and how many there were."""
    return {"x": x["a"], "pair": (x["a"].sum(1), x["b"])}


def test_of_trees_of_inputs_and_outputs(key):
    trainer = nn.trainer(seen, nn.losses.mse, nn.sgd(0.1))
    x = {"a": np.arange(14.0, dtype=np.float32).reshape(7, 2), "b": np.arange(7, dtype=np.int32)}
    ts = trainer.init(key, x)
    expected = {"x": x["a"], "pair": (x["a"].sum(1), x["b"])}
    for batch_size in (None, 3, 7):
        got = nn.predict(trainer, ts, x, batch_size=batch_size)
        assert_close(got, expected, 0)
        assert got["pair"][1].dtype == np.int32


def test_sequences_keep_their_lengths(key):
    trainer = nn.trainer(nn.LSTM(2), nn.losses.mse, nn.sgd(0.1))
    random = np.random.default_rng(0)
    x = nn.Sequences(jnp.asarray(random.normal(size=(5, 4, 3)), jnp.float32), jnp.array([4, 0, 2, 1, 3], jnp.int32))
    ts = trainer.init(key, x)
    assert_close(nn.predict(trainer, ts, x, batch_size=2), jax.jit(trainer.predict)(ts, x), 1e-6)


def test_for_the_same_shapes_it_compiles_once(begun):
    ts, x = begun
    for inputs, compiles in ((x, True), (np.asarray(x) + 1, False)):
        with compilations() as programs:
            nn.predict(TRAINER, ts, inputs, batch_size=4)
        assert bool(programs) == compiles


def test_it_is_pure(begun):
    ts, x = begun
    states = jax.vmap(lambda i: TRAINER.init(jax.random.fold_in(ts.key, i), x))(jnp.arange(3))
    predict = lambda ts, x: nn.predict(TRAINER, ts, x, batch_size=4)
    got = jax.jit(jax.vmap(predict, (0, None)))(states, x)
    looped = jnp.stack([predict(jax.tree.map(lambda a, i=i: a[i], states), x) for i in range(3)])
    assert_close(got, looped, 1e-6)
    slope = jax.jit(jax.grad(lambda x: predict(ts, x).sum()))(x)
    assert_close(slope, jax.jit(jax.grad(lambda x: TRAINER.predict(ts, x).sum()))(x), 1e-6)


def mean_of_batch(x):
    return x.mean(0)


REFUSED = {
    "data": (
        lambda ts: nn.predict(TRAINER, ts, regression(4)),
        TypeError,
        "expected inputs alone, because nothing is c",
    ),
    "batches of nothing": (
        lambda ts: nn.predict(TRAINER, ts, regression(4).x, batch_size=0),
        ValueError,
        "expected batch_size of at least 1, because it counts examples; got 0",
    ),
    "parts of batches": (
        lambda ts: nn.predict(TRAINER, ts, regression(4).x, batch_size=2.5),
        TypeError,
        "expected batch_size to be an int, because it counts examples; got 2.5",
    ),
    "numbers": (
        lambda ts: nn.predict(TRAINER, ts, {"a": 1.0}),
        nn.ShapeError,
        r"expected inputs of shape \(batch, ...\), because there is an output for each; got x/a without a leading axis",
    ),
    "nothing": (
        lambda ts: nn.predict(TRAINER, ts, ()),
        nn.ShapeError,
        "because there is an output for each; got no arr",
    ),
    "several numbers": (
        lambda ts: nn.predict(TRAINER, ts, {"a": jnp.zeros((3, 2)), "b": jnp.zeros(4)}),
        nn.ShapeError,
        "expected inputs with one leading axis, because it counts examples; got x/a with 3, x/b with 4",
    ),
    "other features": (
        lambda ts: nn.predict(TRAINER, ts, jnp.zeros((5, 4)), batch_size=2),
        nn.ShapeError,
        r"expected x of shape \(..., 3\)",
    ),
}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("enter", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(enter, kind, message, begun):
    with pytest.raises(kind, match=message):
        enter(begun[0])


def test_what_is_of_a_whole_batch_cannot_be_put_together(key):
    trainer = nn.trainer(mean_of_batch, nn.losses.mse, nn.sgd(0.1))
    x = regression(5).x
    ts = trainer.init(key, x)
    assert nn.predict(trainer, ts, x).shape == (3,)
    with pytest.raises(nn.ShapeError) as caught:
        nn.predict(trainer, ts, x, batch_size=2)
    assert said(caught.value).startswith(
        "expected outputs of shape (2, ...), because the model was given 2 examples, and batches are put one after "
        "another; got (3,)\n  hint: without batch_size the model runs once, and whatever it puts out is returned"
    )
