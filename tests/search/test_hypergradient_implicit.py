"""The implicit hypergradient of ridge regression, which has a closed form, and of a network at its minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations, said

import jaxnn as nn
from jaxnn.search import implicit_hypergradient

pytestmark = pytest.mark.usefixtures("x64")
random = np.random.default_rng(0)
X, V = random.normal(size=(20, 4)), random.normal(size=(9, 4))
Y, U = X @ np.arange(4.0) + random.normal(size=20), V @ np.arange(4.0) + random.normal(size=9)
STRENGTHS = np.array([0.5, 1.0, 2.0, 4.0])  # one for each weight


def training(w, h):
    return ((X @ w - Y) ** 2).sum() + (h * w**2).sum()


def validation(w, h):
    del h
    return ((V @ w - U) ** 2).mean()


def ridge(h):
    """w* = (X'X + diag h)^-1 X'y."""
    return np.linalg.solve(X.T @ X + np.diag(h), X.T @ Y)


def closed_form(h, damping=0.0):
    """dw*/dh_i = -(X'X + diag h)^-1 e_i w_i, where H = 2 (X'X + diag h)."""
    w, H = ridge(h), 2 * (X.T @ X + np.diag(h)) + damping * np.eye(4)
    return -np.linalg.solve(H, 2 * V.T @ (V @ w - U) / len(V)) * 2 * w


def test_of_ridge_regression_it_is_the_closed_form():
    found = implicit_hypergradient(training, validation, ridge(STRENGTHS), STRENGTHS, tolerance=1e-12)
    np.testing.assert_allclose(found.grads, closed_form(STRENGTHS), rtol=1e-9)
    np.testing.assert_allclose(found.value, ((V @ ridge(STRENGTHS) - U) ** 2).mean(), rtol=1e-12)
    assert found.steps == 4  # as many as there are dimensions
    assert found.residual < 1e-12
    assert found.gradient_norm < 1e-10
    sides = [[validation(ridge(STRENGTHS + sign * 1e-5 * e), None) for sign in (1, -1)] for e in np.eye(4)]
    np.testing.assert_allclose(found.grads, [(p - m) / 2e-5 for p, m in sides], rtol=1e-6)


def test_damping_and_few_steps_give_another_gradient_and_say_so():
    w = ridge(STRENGTHS)
    damped = implicit_hypergradient(training, validation, w, STRENGTHS, damping=3.0, tolerance=1e-12)
    np.testing.assert_allclose(damped.grads, closed_form(STRENGTHS, 3.0), rtol=1e-9)
    early = implicit_hypergradient(training, validation, w, STRENGTHS, max_steps=1)
    assert early.steps == 1
    assert early.residual > 1e-3
    assert implicit_hypergradient(training, validation, w + 1.0, STRENGTHS).gradient_norm > 1  # is no minimum


def test_what_validation_has_of_hyperparameters_itself_is_in_it():
    both = lambda w, h: validation(w, h) + (h**2).sum()
    found = implicit_hypergradient(training, both, ridge(STRENGTHS), STRENGTHS, tolerance=1e-12)
    np.testing.assert_allclose(found.grads, closed_form(STRENGTHS) + 2 * STRENGTHS, rtol=1e-9)
    none = implicit_hypergradient(training, lambda w, h: (h**2).sum() + 0 * w.sum(), ridge(STRENGTHS), STRENGTHS)
    np.testing.assert_allclose(none.grads, 2 * STRENGTHS)
    assert none.steps == 0


def test_of_a_network_at_its_minimum_it_is_that_of_differences():
    """A hidden layer and names: what is minimised is the loss of a trainer with a penalty, by hand."""
    model = nn.serial(nn.Dense(2), nn.tanh, nn.Dense(1))
    data, judged = nn.Data(X[:, :2], Y[:, None] / 5), nn.Data(V[:, :2], U[:, None] / 5)
    begin, _ = jax.tree.map(np.asarray, model.init(jax.random.key(0), data.x))

    def training(params, h):
        road = nn.with_penalty(nn.by_autodiff, nn.losses.Penalty(l2=h["l2"]))
        return road(model, nn.losses.mse)(params, {}, {}, data.on_device())[0]

    def validation(params, h):
        del h
        return nn.losses.mse(model.apply(params, {}, jnp.asarray(judged.x))[0], jnp.asarray(judged.y)).mean()

    @jax.jit
    def minimum(l2):
        loss = lambda params: training(params, {"l2": l2})
        return nn.minimize(loss, begin, nn.optim.lbfgs(), max_steps=300, tolerance=1e-11).x

    at = {"l2": 0.02}
    found = implicit_hypergradient(training, validation, minimum(0.02), at, tolerance=1e-11)
    sides = [jax.jit(validation)(minimum(0.02 + step), at) for step in (1e-5, -1e-5)]
    np.testing.assert_allclose(found.grads["l2"], (sides[0] - sides[1]) / 2e-5, rtol=1e-5)
    assert found.gradient_norm < 1e-10
    assert found.residual < 1e-10


def test_under_vmap_each_is_its_own_and_one_compilation_serves_all():
    strengths = np.stack([STRENGTHS, 3 * STRENGTHS])
    w = np.stack([ridge(h) for h in strengths])
    mapped = jax.jit(jax.vmap(lambda w, h: implicit_hypergradient(training, validation, w, h, tolerance=1e-12)))(
        w, strengths
    )
    implicit_hypergradient(training, validation, w[0], strengths[0], tolerance=1e-12)
    with compilations() as seen:
        each = [
            implicit_hypergradient(training, validation, *both, tolerance=1e-12)
            for both in zip(w, strengths, strict=True)
        ]
    assert not seen
    np.testing.assert_allclose(mapped.grads, [one.grads for one in each], rtol=1e-9)


def test_where_there_is_no_minimum_it_is_an_error_and_nan_inside():
    saddle = lambda w, h: w[0] ** 2 - h * w[1] ** 2
    far = lambda w, h: ((w - 1) ** 2).sum()
    w = np.zeros(2)
    with pytest.raises(
        ValueError, match="a minimum of the training loss, with upward curvature in every direction"
    ) as raised:
        implicit_hypergradient(saddle, far, w, 2.0)
    assert "damping=1e-3" in said(raised.value)
    assert jnp.isnan(jax.jit(lambda h: implicit_hypergradient(saddle, far, w, h))(2.0).grads)
    assert_close(
        implicit_hypergradient(saddle, far, w, 2.0, damping=5.0).grads, 0.0, 0
    )  # at w = 0 nothing depends on h


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((training, validation, np.arange(4), STRENGTHS), {}, TypeError, r"expected params that are real and floating"),
        ((training, validation, np.zeros(4), 2), {}, TypeError, r"expected hyperparameters that are real and floating"),
        ((lambda w, h: w * h, validation, np.zeros(4), STRENGTHS), {}, nn.ShapeError, r"the training loss to give one"),
        ((training, lambda w, h: w, np.zeros(4), STRENGTHS), {}, nn.ShapeError, r"the validation loss to give one"),
        ((training, validation, np.zeros(4), STRENGTHS), {"damping": -1.0}, ValueError, "damping"),
        ((training, validation, np.zeros(4), STRENGTHS), {"tolerance": -1.0}, ValueError, "tolerance"),
        ((training, validation, np.zeros(4), STRENGTHS), {"max_steps": 0}, ValueError, "max_steps of at least 1"),
    ],
)  # fmt: skip
def test_what_it_cannot_take_is_refused(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        implicit_hypergradient(*arguments, **settings)
