"""Prediction and target of two dtypes: that of the loss is JAX's promotion of both, each cotangent has its own array's.

So it is in optax. Integers and booleans take the dtype of the prediction, and have no cotangent.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import _losses, _margins_and_similarities

import jaxnn as nn
from jaxnn import losses

CASES = [*_losses.LOSSES, *_margins_and_similarities.LOSSES]
# The first row of every loss of two arrays or more; but for that of weights, which multiplies them as a layer does.
ROWS = {case.op.name: case for case in reversed(CASES) if len(case.arrays(np.random.default_rng(0), 6, "float32")) > 1}
del ROWS["linear_cross_entropy"]
# The labels of these become logits' dtype, as in optax; a mean has that of the losses, smoothed labels that of labels.
FOLLOW = {"binary_cross_entropy", "multilabel_cross_entropy", "weighted_binary_cross_entropy", "sigmoid_focal_loss",
          "binary_cross_entropy_from_probabilities", "ranking_softmax_loss", "weighted_mean",
          "smooth_labels"}  # fmt: skip
# Their second array is an embedding, or the share of a mixture, and no target; and to some, integers are labels.
NO_TARGET = {"triplet_margin_loss", "contrastive_loss", "smooth_labels"}
LABELS = {"cross_entropy", "categorical_hinge_loss", "cross_entropy_from_probabilities"}


def arrays_of(name):
    return ROWS[name].arrays(np.random.default_rng(0), 6, jnp.float32)


def both_roads(name, *sets):
    """Loss, hand-written cotangents and JAX's of the first array for each set of arrays, in one compiled program."""
    case = ROWS[name]

    def run(first, *rest):
        out, residuals = case.op.fwd(first, *rest, **case.settings)
        plain = lambda first: jax.tree.leaves(case.op.plain(first, *rest, **case.settings))[0]
        l, pull = jax.vjp(plain, first)
        dl = (jnp.arange(l.size).reshape(l.shape) / l.size + 0.5).astype(l.dtype)
        leaves, structure = jax.tree.flatten(out)
        d_out = jax.tree.unflatten(structure, [dl, *map(jnp.zeros_like, leaves[1:])])
        return l, case.op.bwd(residuals, d_out, **case.settings), pull(dl)[0]

    return jax.jit(lambda *sets: [run(*arrays) for arrays in sets])(*sets)


def is_floating(a):
    return a is not None and jnp.issubdtype(a.dtype, jnp.floating)


def wide(a):
    return np.asarray(a.astype(jnp.float32))


@pytest.mark.parametrize("name", ROWS)
def test_a_bfloat16_prediction_and_float32_targets(name):
    prediction, *targets = arrays_of(name)
    rounded = prediction.astype(jnp.bfloat16)
    (l, ds, d), (expected, d_expected, _) = both_roads(
        name, (rounded, *targets), (rounded.astype(jnp.float32), *targets)
    )
    alone = name in FOLLOW or not any(map(is_floating, targets))
    assert l.dtype == (jnp.bfloat16 if alone else jnp.float32)
    np.testing.assert_allclose(wide(l), expected, rtol=0.03, atol=0.03)
    assert d.dtype == jnp.bfloat16
    for array, a, b in zip((rounded, *targets), ds, d_expected, strict=True):
        assert (a is None) == (b is None) == (a is None or not is_floating(array))
        if a is not None:
            assert a.dtype == array.dtype
            scale = np.abs(b).max()
            np.testing.assert_allclose(wide(a), b, rtol=0.03, atol=0.03 * scale)
    np.testing.assert_allclose(wide(d), wide(ds[0]), rtol=0.03, atol=0.03 * np.abs(wide(d)).max())


TARGETS = [name for name in ROWS if is_floating(arrays_of(name)[1]) and name not in NO_TARGET]


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in LABELS])
def test_integer_targets_have_the_value_of_floats_and_no_cotangent(name):
    prediction, target, *others = (a.astype(jnp.bfloat16) if is_floating(a) else a for a in arrays_of(name))
    integers = jnp.round(target).astype(jnp.int32)
    floats = integers.astype(target.dtype)
    (l, ds, d), (expected, d_expected, _) = both_roads(
        name, (prediction, integers, *others), (prediction, floats, *others)
    )
    assert ds[1] is None
    assert l.dtype == d.dtype == ds[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(wide(l), wide(expected), rtol=0.01)
    np.testing.assert_allclose(wide(ds[0]), wide(d_expected[0]), rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TARGETS if name in vars(optax.losses)])
def test_the_dtype_of_the_loss_is_that_of_optax(name, loose):
    """For every mixture of prediction and target that optax takes; it refuses some integers."""
    settings = {n: s for n, s in ROWS[name].settings.items() if n != "class_weights"}  # they have a dtype of their own
    prediction, target, *others = arrays_of(name)
    compared = 0
    for first in (jnp.float16, jnp.bfloat16, jnp.float32):
        for second in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.int32):
            if (name, second) == ("multiclass_generalized_dice_loss", jnp.int32):
                continue  # optax's weights of classes are float32 then
            mixed = prediction.astype(first), target.astype(second), *others
            outline = lambda f, mixed=mixed: jax.eval_shape(lambda *a: f(*a, **settings), *mixed)
            try:
                expected = outline(getattr(optax.losses, name))
            except (TypeError, ValueError):
                assert second == jnp.int32
                continue
            assert outline(getattr(losses, name)) == expected, (first, second)
            compared += 1
    assert compared >= 9


def test_a_loss_of_a_maximum_has_the_dtype_of_both_too():
    hand = nn.Op(jax.nn.logsumexp)
    hand.defvjp(lambda s: (jax.nn.logsumexp(s), s), lambda s, d: (d * jax.nn.softmax(s),))
    scores, targets = jnp.zeros((2, 3), jnp.bfloat16), jnp.eye(3)[:2]
    for maximum in (hand, jax.nn.logsumexp):
        loss = losses.make_fenchel_young_loss(maximum)
        l, residuals = loss.fwd(scores, targets)
        assert l.dtype == jnp.float32
        assert [d.dtype for d in loss.bwd(residuals, jnp.ones(2))] == [jnp.bfloat16, jnp.float32]
        l, residuals = loss.fwd(scores, targets.astype(jnp.int32))
        assert l.dtype == jnp.bfloat16
        assert loss.bwd(residuals, jnp.ones(2, jnp.bfloat16))[1] is None
