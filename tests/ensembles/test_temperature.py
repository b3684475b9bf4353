"""The temperature is SciPy's minimum, changes no answer, and makes a classifier as sure as it is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations
from scipy import optimize, special

import jaxnn as nn
from jaxnn.ensembles import Fitted, calibrated, temperature


def sure(n=400, classes=4, factor=3.0, seed=0):
    """Labels drawn from softmax(z), and logits that are `factor` times too large."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, classes))
    y = np.array([random.choice(classes, p=p) for p in special.softmax(z, -1)])
    return factor * z, y


def scipys(z, y, w=None):
    rows = np.arange(len(z))
    nll = lambda u: np.average(-special.log_softmax(z * np.exp(u), -1)[rows, y], weights=w)
    return np.exp(-optimize.minimize_scalar(nll, bounds=(-9, 9), method="bounded", options={"xatol": 1e-12}).x)


@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 3.0, 500.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scipys_minimum(factor, weighted, x64):
    z, y = sure(factor=factor)
    w = np.random.default_rng(1).uniform(0.1, 2, size=len(y)) if weighted else None
    got = jax.jit(temperature)(jnp.asarray(z), jnp.asarray(y), None if w is None else jnp.asarray(w))
    np.testing.assert_allclose(got, scipys(z, y, w), rtol=1e-5)
    np.testing.assert_allclose(temperature(jnp.asarray(z, jnp.float32), jnp.asarray(y), w), got, rtol=2e-5)


def test_the_derivative_is_zero_there(x64):
    z, y = map(jnp.asarray, sure())
    t = temperature(z, y)
    slope = jax.grad(lambda u: nn.losses.cross_entropy(z * jnp.exp(u), y).mean())(-jnp.log(t))
    assert abs(slope) < 1e-12


def test_it_is_mapped_and_of_rows_and_tokens(x64):
    z, y = (jnp.asarray(a[:240]) for a in sure())
    t = temperature(z, y)
    np.testing.assert_allclose(temperature(z.reshape(60, 4, 4), y.reshape(60, 4)), t, rtol=1e-10)
    np.testing.assert_allclose(temperature(z, jax.nn.one_hot(y, 4)), t, rtol=1e-10)
    parts = jax.jit(jax.vmap(temperature))(z.reshape(3, 80, 4), y.reshape(3, 80))
    alone = jax.jit(temperature)
    np.testing.assert_allclose(parts, [alone(z[i : i + 80], y[i : i + 80]) for i in (0, 80, 160)], rtol=1e-9)
    np.testing.assert_allclose(temperature(7 * z, y), 7 * t, rtol=1e-9)
    never = jnp.concatenate([z, jnp.full((240, 1), -jnp.inf)], 1)
    np.testing.assert_allclose(temperature(never, y), t, rtol=1e-10)


def test_it_moves_with_logits_and_weights(x64):
    """The derivative through the minimum, against differences."""
    z, y = map(jnp.asarray, sure(n=30))
    w = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2, size=30))
    found = jax.jit(temperature)
    slopes = jax.jit(jax.grad(temperature, (0, 2)))(z, y, w)
    random = np.random.default_rng(2)
    v_z, v_w = random.normal(size=z.shape), random.normal(size=w.shape)
    along = lambda h: float(found(z + h * v_z, y, w + h * v_w))
    expected = (along(1e-4) - along(-1e-4)) / 2e-4
    np.testing.assert_allclose(np.vdot(slopes[0], v_z) + np.vdot(slopes[1], v_w), expected, rtol=1e-5)


def test_where_there_is_no_minimum_it_ends():
    z = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(temperature(z, jnp.asarray([0, 1])), 1e-4, rtol=1e-3)
    np.testing.assert_allclose(temperature(z, jnp.asarray([1, 0])), 1e4, rtol=1e-3)
    assert np.isnan(temperature(z, jnp.asarray([1, 0]), jnp.zeros(2)))
    assert temperature(jnp.full((2, 2), 5.0), jnp.asarray([1, 0])) == 1  # all alike
    assert temperature(z.at[1].set(3.0), jnp.asarray([1, 0]), jnp.asarray([0.0, 1.0])) == 1  # all that count
    assert np.isnan(temperature(z.at[0, 0].set(jnp.nan), jnp.asarray([1, 0])))
    assert np.isnan(jax.jit(temperature)(z, jnp.asarray([2, 0])))  # no class, which a program cannot refuse


def test_calibration_lowers_the_error_and_changes_no_answer():
    """On examples that the temperature has not seen."""
    (z, y), (unseen, truth) = sure(2000), sure(2000, seed=1)
    rows = lambda z, y: nn.Data(jnp.asarray(z, jnp.float32), jnp.asarray(y))
    before = Fitted(nn.serial(), {}, {})
    after = calibrated(before, rows(z, y))
    t = after.params["temperature"]["temperature"]
    np.testing.assert_allclose(t, 3, rtol=0.1)

    def said(fitted):
        trainer = nn.trainer(fitted.model, nn.losses.cross_entropy, nn.sgd(0.1))
        ts = trainer.begin(jax.random.key(0), fitted.params, fitted.state)
        held_out = rows(unseen, truth)
        error = nn.metrics.Through(nn.softmax, nn.metrics.CalibrationError(15))
        return np.asarray(trainer.predict(ts, held_out.x)), *(
            float(nn.evaluate(trainer, ts, held_out, metric)) for metric in (error, nn.losses.cross_entropy)
        )

    (z_0, error_0, loss_0), (z_1, error_1, loss_1) = said(before), said(after)
    np.testing.assert_array_equal(z_0.argmax(-1), z_1.argmax(-1))
    assert error_0 > 0.15
    assert error_1 < 0.04
    assert loss_1 < loss_0


def test_a_temperature_is_not_trained_unless_asked():
    model = nn.serial(model=nn.Dense(3), temperature=nn.layers.Temperature())
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1), freeze="temperature/.*")
    ts = trainer.init(jax.random.key(0), jnp.ones((2, 4)))
    ts, _ = trainer.step(ts, nn.Data(jnp.ones((2, 4)), jnp.asarray([0, 1])))
    assert ts.frozen["temperature"]["temperature"] == 1


def test_it_is_compiled_once():
    z, y = (jnp.asarray(a[:20]) for a in sure())
    temperature(z, y)
    with compilations() as seen:
        temperature(z, y)
    assert not seen


REFUSED = {
    "no batch": (
        (np.zeros(3), np.zeros((), int)),
        nn.ShapeError,
        r"expected logits of shape \(batch, ..., classes\), because examples are weighed; got \(3,\)",
    ),
    "negative": (
        (np.zeros((3, 2)), np.zeros(3, int), -np.ones(3)),
        ValueError,
        "expected weights of at least 0, because a mean is taken with them; got weights from -1.0 to -1.0",
    ),
    "labels": ((np.zeros((3, 2)), np.zeros(2, int)), nn.ShapeError, r"expected integer labels of shape \(3,\)"),
    "no class": ((np.zeros((3, 2)), np.full(3, 2)), ValueError, "expected labels from 0 to 1"),
    "weights": (
        (np.zeros((3, 2)), np.zeros(3, int), np.ones(2)),
        nn.ShapeError,
        r"expected weights of shape \(3,\), because logits are \(3, 2\); got \(2,\)",
    ),
    "nothing": (
        (np.zeros((0, 2)), np.zeros(0, int)),
        ValueError,
        r"expected examples, because the temperature is what fits them; got logits \(0, 2\)",
    ),
}


@pytest.mark.parametrize(("arrays", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        temperature(*arrays)
