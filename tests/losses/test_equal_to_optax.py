"""Values and gradients of the losses that optax has too, in float64, and where they differ."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import losses

ROWS, CLASSES = 6, 4


def draw(*kinds):
    random = np.random.default_rng(0)
    p = lambda shape: (lambda e: e / e.sum(-1, keepdims=True))(random.uniform(0.1, 1, shape))
    kinds_of = {
        "x": lambda: random.normal(size=(ROWS, CLASSES)) * 3,
        "p": lambda: p((ROWS, CLASSES)),
        "logp": lambda: np.log(p((ROWS, CLASSES))),
        "onehot": lambda: np.eye(CLASSES)[random.integers(0, CLASSES, ROWS)],
        "binary": lambda: random.integers(0, 2, (ROWS, CLASSES)).astype(float),
        "labels": lambda: random.integers(0, CLASSES, ROWS),
        "column labels": lambda: random.integers(0, ROWS, CLASSES),
        "flat labels": lambda: np.asarray(random.integers(0, ROWS * CLASSES)),
    }
    return [jnp.asarray(kinds_of[kind]()) for kind in kinds]


MASK = np.random.default_rng(1).uniform(size=(ROWS, CLASSES)) < 0.6
MASK[2], MASK[3] = False, True
EXAMPLES = np.array([True, False, True, True, False, True])

CASES = [
    ("squared_error", ("x", "x"), {}),
    ("squared_error", ("x",), {}),
    ("l2_loss", ("x", "x"), {}),
    ("l2_loss", ("x",), {}),
    ("huber_loss", ("x", "x"), {}),
    ("huber_loss", ("x",), {"delta": 0.3}),
    ("log_cosh", ("x", "x"), {}),
    ("sigmoid_binary_cross_entropy", ("x", "p"), {}),
    ("sigmoid_binary_cross_entropy", ("x", "binary"), {}),
    ("sigmoid_focal_loss", ("x", "binary"), {}),
    ("sigmoid_focal_loss", ("x", "p"), {"alpha": 0.25, "gamma": 1.5}),
    ("sigmoid_focal_loss", ("x", "p"), {"gamma": 0.0}),
    ("softmax_cross_entropy", ("x", "p"), {}),
    ("softmax_cross_entropy", ("x", "p"), {"axis": 0}),
    ("softmax_cross_entropy", ("x", "p"), {"axis": None}),
    ("softmax_cross_entropy", ("x", "p"), {"axis": (0, 1)}),
    ("softmax_cross_entropy", ("x", "p"), {"where": MASK}),
    ("softmax_cross_entropy", ("x", "p"), {"where": EXAMPLES}),
    ("softmax_cross_entropy_with_integer_labels", ("x", "labels"), {}),
    ("softmax_cross_entropy_with_integer_labels", ("x", "column labels"), {"axis": 0}),
    ("softmax_cross_entropy_with_integer_labels", ("x", "flat labels"), {"axis": (1, 0)}),
    ("softmax_cross_entropy_with_integer_labels", ("x", "labels"), {"where": MASK}),
    ("softmax_cross_entropy_with_integer_labels", ("x", "labels"), {"where": EXAMPLES}),
    ("safe_softmax_cross_entropy", ("x", "onehot"), {}),
    ("safe_softmax_cross_entropy", ("x", "p"), {}),
    ("poly_loss_cross_entropy", ("x", "p"), {}),
    ("poly_loss_cross_entropy", ("x", "p"), {"epsilon": -1.0, "where": MASK}),
    ("poly_loss_cross_entropy", ("x", "p"), {"axis": 0}),
    ("smooth_labels", ("onehot", 0.1), {}),
    ("smooth_labels", ("onehot", 0.1), {"axis": 0}),
    ("smooth_labels", ("onehot", 0.1), {"where": MASK | ~MASK.any(-1, keepdims=True)}),
    ("kl_divergence", ("logp", "p"), {}),
    ("kl_divergence", ("logp", "onehot"), {}),
    ("kl_divergence", ("logp", "p"), {"axis": 0}),
    ("kl_divergence", ("logp", "p"), {"where": MASK}),
    ("kl_divergence_with_log_targets", ("logp", "logp"), {}),
    ("kl_divergence_with_log_targets", ("logp", "logp"), {"axis": None, "where": MASK}),
    ("generalized_kl_divergence", ("logp", "p"), {}),
    ("generalized_kl_divergence", ("x", "p"), {"axis": 0, "where": MASK}),
]


@pytest.mark.parametrize(("name", "kinds", "settings"), CASES)
def test_value_and_gradient_are_those_of_optax(name, kinds, settings, x64, loose):
    arrays = draw(*(k for k in kinds if isinstance(k, str))) + [k for k in kinds if not isinstance(k, str)]
    settings = {n: jnp.asarray(s) if n == "where" else s for n, s in settings.items()}
    ours, theirs = getattr(losses, name), getattr(optax.losses, name)
    expected, pull = jax.vjp(lambda *a: theirs(*a, **settings), *arrays)
    d_out = jnp.asarray(np.random.default_rng(2).normal(size=expected.shape))
    out, residuals = ours.fwd(*arrays, **settings)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-13)
    # With respect to labels of 0 and 1, logarithms in optax's have no derivative, or lose a term.
    compared = 1 if name in ("kl_divergence", "sigmoid_focal_loss") and kinds[1] in ("onehot", "binary") else None
    for d, expected in list(zip(ours.bwd(residuals, d_out, **settings), pull(d_out), strict=False))[:compared]:
        if d is not None:
            # Optax's gradients with respect to the labels of what does not count are NaN, ours are 0.
            assert ("where" in settings) or not np.isnan(expected).any()
            np.testing.assert_allclose(d, np.nan_to_num(expected, nan=0.0), rtol=1e-9, atol=1e-12)


def test_every_name_of_optax_in_this_group_is_compared():
    assert {name for name, *_ in CASES} == {
        "squared_error", "l2_loss", "huber_loss", "log_cosh", "sigmoid_binary_cross_entropy", "sigmoid_focal_loss",
        "softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels", "safe_softmax_cross_entropy",
        "poly_loss_cross_entropy", "smooth_labels", "kl_divergence", "kl_divergence_with_log_targets",
        "generalized_kl_divergence"}  # fmt: skip
    assert losses.convex_kl_divergence is losses.generalized_kl_divergence


def test_axis_and_where_may_come_by_position_as_in_optax():
    x, p = (a.astype(jnp.float32) for a in draw("x", "p"))
    mask = jnp.asarray(MASK)
    for loss in (losses.softmax_cross_entropy, losses.kl_divergence):
        np.testing.assert_array_equal(loss(x, p, 0, mask), loss(x, p, axis=0, where=mask))
        np.testing.assert_array_equal(loss.fwd(x, p, 0)[0], loss.plain(x, p, axis=0))


def test_where_optax_gives_nan_for_zero_log_zero_the_loss_is_finite(loose):
    log_p, t = jnp.array([0.0, -jnp.inf]), jnp.array([1.0, 0.0])
    assert jnp.isnan(optax.losses.kl_divergence(log_p, t))
    assert losses.kl_divergence(log_p, t) == 0
    assert jnp.isnan(optax.losses.kl_divergence_with_log_targets(log_p, jnp.log(t)))
    assert losses.kl_divergence_with_log_targets(log_p, jnp.log(t)) == 0
    # And where the name says which of the two it is, NaN stays as it is there.
    assert jnp.isnan(losses.softmax_cross_entropy(log_p, t))
    assert losses.safe_softmax_cross_entropy(log_p, t) == losses.cross_entropy(log_p, t) == 0


def test_log_cosh_keeps_the_digits_that_optax_loses(loose):
    small = jnp.float32(1e-3)
    np.testing.assert_allclose(losses.log_cosh(small), 0.5e-6, rtol=1e-6)
    assert abs(optax.losses.log_cosh(small) / 0.5e-6 - 1) > 1e-2


def test_binary_cross_entropy_keeps_the_digits_of_a_sure_and_right_answer():
    np.testing.assert_allclose(
        losses.binary_cross_entropy(jnp.float32(20.0), jnp.float32(1.0)), 2.0611537e-9, rtol=1e-6
    )
