"""Votes are what NumPy makes of the members' outputs, stay finite at extremes, and refuse what cannot be meant."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression

import jaxnn as nn
from jaxnn import ops

VOTES = [ops.sum_of_members, ops.mean_of_members, ops.soft_vote, ops.hard_vote]
by_op = pytest.mark.parametrize("op", VOTES, ids=repr)


def drawn(seed=0, *, each=False, members=5, batch=4, classes=3):
    """Logits and weights of members, or of each example of each."""
    random = np.random.default_rng(seed)
    shape = (members, batch) if each else (members,)
    return 3 * random.normal(size=(members, batch, classes)), random.uniform(0.1, 2, size=shape)


def numpys(op, z, w):
    w = np.broadcast_to(w.reshape(w.shape + (1,) * (z.ndim - w.ndim)), z.shape)
    votes = (z.argmax(-1)[..., None] == np.arange(z.shape[-1])).astype(float)
    return {
        ops.sum_of_members: lambda: (w * z).sum(0),
        ops.mean_of_members: lambda: np.average(z, 0, w),
        ops.soft_vote: lambda: np.log(np.average(special.softmax(z, -1), 0, w)),
        ops.hard_vote: lambda: np.log(np.maximum(np.average(votes, 0, w), np.finfo(float).tiny)),
    }[op]()


@by_op
@pytest.mark.parametrize("each", [False, True], ids=["members", "examples"])
def test_equals_numpy(op, each, x64):
    z, w = drawn(each=each)
    np.testing.assert_allclose(op(jnp.asarray(z), jnp.asarray(w)), numpys(op, z, w), rtol=1e-12, atol=1e-12)


def test_equals_sklearns_voting_classifier(x64):
    """Of three logistic regressions, with weights, on noise that they do not agree about."""
    random = np.random.default_rng(0)
    x, y, w = random.normal(size=(90, 4)), random.integers(0, 3, size=90), [1.0, 2.0, 1.5]
    members = [(str(c), LogisticRegression(C=c)) for c in (1e-3, 0.1, 100.0)]
    soft = VotingClassifier(members, voting="soft", weights=w).fit(x, y)
    hard = VotingClassifier(members, voting="hard", weights=w).fit(x, y)
    z = jnp.asarray(np.stack([np.log(member.predict_proba(x)) for member in soft.estimators_]))
    assert len({tuple(row) for row in np.asarray(z).argmax(-1)}) > 1
    np.testing.assert_allclose(np.exp(ops.soft_vote(z, jnp.asarray(w))), soft.predict_proba(x), rtol=1e-10)
    np.testing.assert_array_equal(ops.hard_vote(z, jnp.asarray(w)).argmax(-1), hard.predict(x))


def test_the_mean_of_probabilities_is_not_that_of_logits(x64):
    """The oracle can tell the two apart."""
    z, w = drawn()
    soft, mean = (op(jnp.asarray(z), jnp.asarray(w)) for op in (ops.soft_vote, ops.mean_of_members))
    assert np.abs(special.softmax(soft, -1) - special.softmax(mean, -1)).max() > 0.05


@by_op
def test_without_weights_all_count_alike(op):
    z = jnp.asarray(drawn()[0], jnp.float32)
    np.testing.assert_array_equal(op(z), op(z, jnp.ones(len(z))))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), op=st.sampled_from(VOTES[1:]))
def test_neither_order_nor_scale_of_weights_matters(seed, scale, op, x64):
    z, w = drawn(seed, each=bool(seed % 2))
    order = np.random.default_rng(seed).permutation(len(z))
    y = op(jnp.asarray(z), jnp.asarray(w))
    np.testing.assert_allclose(op(jnp.asarray(z[order]), jnp.asarray(scale * w[order])), y, rtol=1e-10, atol=1e-12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_members_that_agree_say_what_one_says(seed, x64):
    z, w = drawn(seed)
    same = jnp.asarray(np.broadcast_to(z[:1], z.shape))
    np.testing.assert_allclose(ops.mean_of_members(same, jnp.asarray(w)), z[0], rtol=1e-12)
    np.testing.assert_allclose(ops.soft_vote(same, jnp.asarray(w)), special.log_softmax(z[0], -1), rtol=1e-10)
    np.testing.assert_array_equal(ops.hard_vote(same, jnp.asarray(w)).argmax(-1), z[0].argmax(-1))


@by_op
@pytest.mark.parametrize("each", [False, True], ids=["members", "examples"])
def test_a_member_of_weight_zero_does_not_count(op, each):
    """Not in the output, and without a NaN in any gradient, however sure it is."""
    z, w = (a.astype(np.float32) for a in drawn(each=each))
    z[2] = [[1e4, -1e4, 0]]
    w[2] = 0
    others = [i for i in range(5) if i != 2]
    np.testing.assert_allclose(
        op(jnp.asarray(z), jnp.asarray(w)), op(jnp.asarray(z[others]), jnp.asarray(w[others])), rtol=1e-5, atol=1e-6
    )
    _, residuals = op.fwd(jnp.asarray(z), jnp.asarray(w))
    dz, dw = op.bwd(residuals, jnp.ones((4, 3), jnp.float32))
    np.testing.assert_array_equal(dz[2], np.zeros((4, 3)))
    assert np.isfinite(dz).all()
    assert np.isfinite(dw).all()
    if op is not ops.sum_of_members:
        auto = jax.grad(lambda z: op.plain(z, jnp.asarray(w)).sum())(jnp.asarray(z))
        np.testing.assert_allclose(dz, auto, rtol=1e-4, atol=1e-5)


def test_small_weights_make_no_nan_of_a_member_of_weight_zero():
    """A class that only it allows, and weights that are small: p over their weighted sum is more than float32 holds."""
    z = jnp.asarray([[[0.0, -300.0]], [[0.0, -300.0]], [[-300.0, 300.0]]])
    _, residuals = ops.soft_vote.fwd(z, jnp.asarray([1e-5, 1e-5, 0.0]))
    dz, dw = ops.soft_vote.bwd(residuals, jnp.asarray([[1.0, 2.0]]))
    np.testing.assert_allclose(dz, [[[-1, 1]], [[-1, 1]], [[0, 0]]], atol=1e-6)
    assert np.isfinite(dw).all()


@by_op
def test_integer_weights_count_and_have_no_gradient(op, unannotated):
    z = jnp.asarray(drawn()[0], jnp.float32)
    weights = np.array([1, 2, 0, 3, 1])
    y, residuals = op.fwd(z, jnp.asarray(weights))
    np.testing.assert_allclose(y, op(z, jnp.asarray(weights, jnp.float32)), rtol=1e-6)
    assert op.bwd(residuals, y)[1] is None


def test_soft_vote_is_finite_where_probabilities_vanish():
    z = jnp.asarray([[[0.0, 2000.0]], [[0.0, 1000.0]]])
    y, residuals = ops.soft_vote.fwd(z)
    np.testing.assert_allclose(y, [[-1000 - np.log(2), 0]], rtol=1e-6, atol=1e-7)
    dz, _ = ops.soft_vote.bwd(residuals, jnp.asarray([[1.0, 0.0]]))
    np.testing.assert_allclose(dz, [[[0, 0]], [[1, -1]]], atol=1e-6)  # all depends on the member that doubts most


def test_a_class_that_no_member_allows_stays_impossible():
    z = jnp.asarray([[[0.0, -jnp.inf, 1.0]], [[2.0, -jnp.inf, 0.0]]])
    y, residuals = ops.soft_vote.fwd(z)
    assert y[0, 1] == -jnp.inf
    np.testing.assert_allclose(jax.nn.softmax(y).sum(), 1, rtol=1e-6)
    dz, _ = ops.soft_vote.bwd(residuals, jnp.asarray([[1.0, 0.0, 0.0]]))
    assert np.isfinite(dz).all()
    np.testing.assert_array_equal(dz[..., 1], np.zeros((2, 1)))


def test_hard_vote_counts_votes_and_is_finite():
    z = jnp.asarray([[[3.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]], [[9.0, 1.0, 0.0]]])
    y = ops.hard_vote(z)
    np.testing.assert_allclose(jax.nn.softmax(y), [[2 / 3, 1 / 3, 0]], rtol=1e-6)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(jax.grad(lambda z: ops.hard_vote(z).sum())(z), np.zeros_like(z))


def test_nobody_to_ask_and_members_that_broke_show():
    z = jnp.asarray(drawn()[0], jnp.float32)
    weights = np.ones((5, 4), np.float32)
    weights[:, 1] = 0
    for op in VOTES[1:]:
        y = op(z, jnp.asarray(weights))
        assert np.isnan(y[1]).all()
        assert np.isfinite(np.asarray(y)[[0, 2, 3]]).all()
        assert np.isnan(op(z.at[0, 2, 0].set(jnp.nan))[2]).all() or op is ops.mean_of_members
        assert np.isnan(op(z.at[0, 2, 0].set(jnp.nan))[2, 0])


def test_sums_of_bfloat16_are_taken_in_float32():
    """257 ones: in bfloat16 a sum of ones stays at 256."""
    z = jnp.ones((257, 2, 2), jnp.bfloat16)
    np.testing.assert_array_equal(ops.mean_of_members(z).astype(jnp.float32), np.ones((2, 2)))
    _, residuals = ops.sum_of_members.fwd(jnp.ones((1, 257), jnp.bfloat16), jnp.ones(1))
    assert ops.sum_of_members.bwd(residuals, jnp.ones(257, jnp.bfloat16))[1] == 257


REFUSED = {
    "no members": (
        ops.mean_of_members,
        (np.zeros(3),),
        nn.ShapeError,
        r"expected z of shape \(members, batch, ...\), because it holds the outputs of members; got \(3,\)",
    ),
    "another number": (
        ops.sum_of_members,
        (np.zeros((3, 2)), np.ones(2)),
        nn.ShapeError,
        r"expected weights of shape \(3,\) or \(3, 2\), because they weigh members, or each example of each, and z is "
        r"\(3, 2\); got \(2,\)",
    ),
    "no axis": (ops.soft_vote, (np.zeros((3, 2, 4)), np.ones(())), nn.ShapeError, r"expected weights .* got \(\)"),
    "negative": (
        ops.mean_of_members,
        (np.zeros((2, 2)), np.array([1.0, -0.5])),
        ValueError,
        "expected weights of at least 0, because a mean is taken with them; got -0.5",
    ),
    "negative votes": (ops.hard_vote, (np.zeros((1, 2, 2)), -np.ones(1)), ValueError, "expected weights of at least 0"),
    "one class": (
        ops.soft_vote,
        (np.zeros((3, 4, 1)),),
        nn.ShapeError,
        r"expected z of shape \(members, batch, ..., classes\) with 2 classes at least, because members vote for "
        r"classes; got \(3, 4, 1\)\n  hint: mean_of_members is for outputs that are no logits of classes",
    ),
    "no classes": (ops.hard_vote, (np.zeros((3, 4)),), nn.ShapeError, r"classes\) with 2 classes .* got \(3, 4\)"),
    "a weight a class": (
        ops.soft_vote,
        (np.zeros((3, 4, 2)), np.ones((3, 4, 2))),
        nn.ShapeError,
        r"expected weights of shape \(3,\) or \(3, 4\), because the classes of an example have one weight together; "
        r"got \(3, 4, 2\)",
    ),
}


@pytest.mark.parametrize(("op", "arrays", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(op, arrays, error, message, unannotated):
    with pytest.raises(error) as raised:
        op(*(jnp.asarray(a, jnp.float32) for a in arrays))
    said = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert re.search(message, said), said


def test_a_temperature_is_one_number_above_zero(unannotated):
    with pytest.raises(nn.ShapeError, match=r"expected a temperature of shape \(\), because all logits have one; got"):
        ops.tempered(jnp.zeros((2, 2)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"expected a temperature above 0, because logits are divided by it; got 0"):
        ops.tempered(jnp.zeros((2, 2)), jnp.zeros(()))
    with pytest.raises(TypeError, match=r"expected a floating or complex dtype, .*; got int32"):
        ops.tempered(jnp.zeros((2, 2), jnp.int32), jnp.full((), 2.5))  # which would be cut to 2


def test_votes_are_mapped_and_compiled_with_traced_weights():
    z = jnp.asarray(drawn()[0], jnp.float32)
    weights = jnp.asarray(np.random.default_rng(1).uniform(size=(3, 5)).astype(np.float32))
    mapped = jax.jit(jax.vmap(ops.soft_vote, (None, 0)))(z, weights)
    chex.assert_trees_all_close(mapped, jnp.stack([ops.soft_vote(z, w) for w in weights]), rtol=1e-5)
