"""What is refused before a run begins, and what the error says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import said

import jaxnn as nn

NAN = float("nan")
REGRESSOR = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
CLASSIFIER = nn.trainer(nn.serial(nn.Dense(4), nn.relu, nn.Dense(3)), nn.losses.cross_entropy, nn.sgd(0.1))


def labelled(labels):
    return nn.Data(np.zeros((len(labels), 2), np.float32), np.array(labels, np.int32))


def examples(x=(6, 2), y=(6, 1), w=None):
    return nn.Data(*(None if shape is None else np.zeros(shape, np.float32) for shape in (x, y, w)))


def spoiled(field, index, value):
    data = examples(w=(6,))
    getattr(data, field)[index] = value
    return data


@functools.cache
def beginning(trainer):
    return jax.jit(trainer.init)(jax.random.key(0), jnp.zeros((1, 2)))


def fit(trainer, data, **settings):
    return nn.fit(trainer, beginning(trainer), data, **{"epochs": 1, "batch_size": 2, **settings})


def evaluate(trainer, data):
    return nn.evaluate(trainer, beginning(trainer), data)


def refused(trainer, data, enter=fit, **settings):
    """What `fit` or `evaluate` says of data that it refuses."""
    with pytest.raises(ValueError, match="expected") as error:
        enter(trainer, data, **settings)
    return said(error.value)


BAD = {
    "labels too large": (
        CLASSIFIER, labelled([0, 1, 3]),
        ["labels from 0 to 2", "logits are (3, 3)", "got labels from 0 to 3"],
    ),
    "labels below 0": (CLASSIFIER, labelled([0, -1, 2]), ["labels from 0 to 2", "got labels from -1 to 2"]),
    "one-hot rows of too few classes": (
        CLASSIFIER, examples((4, 2), (4, 2)),
        ["prediction and target of one shape", "prediction (4, 3), target (4, 2)"],
    ),
    "NaN in inputs": (
        REGRESSOR, spoiled("x", (4, 1), NAN),
        ["data.x to be finite", "NaN or infinity in 1 of 6 examples", "first in example 4"],
    ),
    "infinity in targets": (
        REGRESSOR, spoiled("y", slice(2, 4), np.inf),
        ["data.y to be finite", "in 2 of 6 examples", "first in example 2"],
    ),
    "NaN in weights": (REGRESSOR, spoiled("w", 0, NAN), ["data.w to be finite", "first in example 0"]),
    "a weight below 0": (REGRESSOR, spoiled("w", 3, -0.5), ["data.w of at least 0", "got -0.5"]),
    "fewer targets than inputs": (
        REGRESSOR, examples(y=(5, 1)), ["one target (and weight) an input", "data.x has 6", "data.y has 5"],
    ),
    "fewer weights than inputs": (REGRESSOR, examples(w=(5,)), ["data.x has 6", "data.y has 6", "data.w has 5"]),
    "no examples": (REGRESSOR, examples((0, 2), (0, 1)), ["at least one example", "data.x has 0"]),
    "targets without the last axis": (
        REGRESSOR, examples(y=(6,)),
        ["one shape", "broadcasting would compare every prediction with every target", "prediction (6, 1), target (6,)",
         "hint: drop the last axis"],
    ),
    "too few features": (
        CLASSIFIER, nn.Data(np.zeros((3, 5), np.float32), np.zeros(3, np.int32)),
        ["expected x of shape (..., 2)", "because w is (2, 4)", "got (3, 5)",
         "in dense_0: Dense(4), input float32[3,5]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("enter", [fit, evaluate])
@pytest.mark.parametrize(("trainer", "data", "parts"), BAD.values(), ids=BAD)
def test_bad_data_is_refused_with_reasons(trainer, data, parts, enter):
    message = refused(trainer, data, enter)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("batch_size", "parts"),
    [(7, ["batch_size of at most 6", "data has that many", "got 7"]), (0, ["batch_size of at least 1", "got 0"])],
)
def test_a_batch_of_more_than_there_is_or_of_nothing_is_refused(batch_size, parts):
    message = refused(REGRESSOR, examples(), batch_size=batch_size)
    for part in parts:
        assert part in message


def test_validation_is_checked_under_its_own_name_and_may_be_smaller_than_a_batch():
    assert "validation.x to be finite" in refused(REGRESSOR, examples(), validation=spoiled("x", 0, NAN))
    _, history = fit(REGRESSOR, examples(), batch_size=6, validation=examples((2, 2), (2, 1)))
    assert history["validation_loss"].shape == (1,)


@pytest.mark.parametrize(
    ("data", "batch_size", "parts"),
    [
        (examples(y=(5, 1)), 7, ["data.x has 6", "data.y has 5", "expected batch_size of at most"]),
        (examples((0, 2), (0, 1)), 0, ["at least one example", "batch_size of at least 1"]),
        (examples()._replace(x=np.full((6, 2), NAN), w=np.full(6, -1.0)), 2, ["data.x to be finite", "data.w of at"]),
    ],
    ids=["counts and batch", "empty and no batch", "values"],
)
def test_several_slips_are_told_at_once(data, batch_size, parts):
    message = refused(REGRESSOR, data, batch_size=batch_size)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("rows", [(6, 5), (5, 6)])
def test_every_array_of_the_inputs_has_one_row_an_example(key, rows):
    trainer = nn.trainer(nn.serial(lambda x: x[1], nn.Dense(1)), nn.losses.mse, nn.sgd(0.1))
    x = tuple(np.zeros((n, 2), np.float32) for n in rows)
    ts = trainer.init(key, x)
    with pytest.raises(ValueError, match="one target") as error:
        nn.fit(trainer, ts, nn.Data(x, np.zeros((5, 1), np.float32)), epochs=1, batch_size=5)
    for i, n in enumerate(rows):
        assert f"data.x.{i} has {n}" in said(error.value)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("enter", [fit, evaluate])
@pytest.mark.parametrize(
    ("data", "error", "why"),
    [
        (tuple(examples()[:2]), TypeError, r"expected data as nn.Data\(x, y\).*got \(float32\[6,2\], float32\[6,1\]\)"),
        (nn.Data([[1.0, 2.0]], [[1.0]]), ValueError, "arrays with a leading axis of examples"),
        (examples(y=()), ValueError, "arrays with a leading axis of examples; got data.y"),
    ],
    ids=["a pair", "lists", "a number"],
)
def test_what_is_no_data_set_is_refused(data, error, why, enter):
    with pytest.raises(error, match=why):
        enter(REGRESSOR, data)


@pytest.mark.parametrize("enter", ["apply", "fwd"])
def test_dropout_in_training_without_a_key_states_the_call(key, enter):
    model = nn.serial(nn.Dense(2), nn.Dropout(0.5))
    params, state = model.init(key, jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="expected a key, because Dropout draws at random in training") as error:
        getattr(model, enter)(params, state, jnp.zeros((1, 2)), train=True)
    assert "apply(params, state, x, key=key, train=True)" in said(error.value)
    assert "in dropout_0: Dropout(0.5)" in said(error.value)


@pytest.mark.parametrize(
    "data", [labelled([0, 1, 3, 0]), labelled([0, 1, 2, 0])._replace(x=np.full((4, 2), NAN))], ids=["labels", "inputs"]
)
def test_values_of_tracers_are_left_alone(data):
    """The same data that is refused outside runs under jit, and shows as NaN."""
    run = lambda data: fit(CLASSIFIER, data)
    with pytest.raises(ValueError, match="expected"):
        run(data)
    _, history = jax.jit(run)(jax.tree.map(jnp.asarray, data))
    assert jnp.isnan(history["loss"]).all()


def test_shapes_of_tracers_are_checked():
    with pytest.raises(nn.ShapeError, match="one shape"):
        jax.jit(lambda data: fit(REGRESSOR, data))(examples(y=(6,)))


def test_good_data_of_numpy_is_accepted():
    data = nn.Data(np.eye(6, 2), np.ones((6, 1)), np.ones(6, int))
    _, history = fit(REGRESSOR, data, batch_size=6, validation=data)
    assert np.isfinite(history["validation_loss"]).all()
