"""The numbers of the catalogue, each under its item's name, and the errors that must not be made."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import losses

y, prediction = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 5.0])


def close(value, expected, rtol=1e-9):
    np.testing.assert_allclose(np.asarray(value), expected, rtol=rtol)


def slope(loss, *arrays, **settings):
    """The hand-written gradient of the mean with respect to the prediction."""
    out, residuals = loss.fwd(*map(jnp.asarray, arrays), **settings)
    return loss.bwd(residuals, jnp.full(out.shape, 1 / out.size, out.dtype), **settings)[0]


def test_LOSS_1_a_loss_is_of_each_example_and_its_mean_and_sum_are_taken_afterwards(x64):
    l = losses.mse(jnp.asarray(prediction), jnp.asarray(y))
    assert l.shape == (3,)
    close(losses.weighted_mean(l), l.sum() / 3)


def test_LOSS_2_mse(x64):
    close(losses.mse(jnp.asarray(prediction), jnp.asarray(y)).mean(), 1.4166666667)
    close(slope(losses.mse, prediction, y), -(2 / 3) * (y - prediction))


def test_LOSS_3_half_squared_error(x64):
    close(losses.half_squared_error(jnp.asarray(prediction), jnp.asarray(y)).sum(), 2.125)
    close(slope(losses.half_squared_error, prediction, y), -(y - prediction) / 3)


def test_LOSS_4_sum_of_squared_errors(x64):
    rows = jnp.asarray(prediction)[None], jnp.asarray(y)[None]
    close(losses.sse(*rows), [4.25])
    close(slope(losses.sse, *rows), -2 * (y - prediction)[None])


def test_LOSS_5_mae(x64):
    close(losses.mae(jnp.asarray(prediction), jnp.asarray(y)).mean(), 0.8333333333)
    close(slope(losses.mae, prediction, y), np.array([1, 0, 1]) / 3)  # 0 at 0


def test_E_15_the_half_sum_is_not_the_mean_squared_error(x64):
    half_sum = losses.half_squared_error(jnp.asarray(prediction), jnp.asarray(y)).sum()
    close(half_sum, 2.125)
    assert abs(losses.mse(jnp.asarray(prediction), jnp.asarray(y)).mean() - half_sum) > 0.7


def test_E_16_half_the_sum_is_not_the_mean_absolute_error(x64):
    absolute = losses.mae(jnp.asarray(prediction), jnp.asarray(y))
    close(absolute.sum() / 2, 1.25)
    assert abs(absolute.mean() - 1.25) > 0.4


def test_LOSS_6_huber(x64):
    e, zero = jnp.array([0.5, 0.0, 2.0]), jnp.zeros(3)
    close(losses.huber_loss(e, zero), [0.125, 0, 1.5])
    close(losses.huber_loss(e, zero).mean(), 0.5416666667)
    for delta in (0.5, 1.0, 3.0):
        close(losses.huber(jnp.array(delta), delta=delta), delta**2 / 2)  # where the branches meet
        wide = jnp.linspace(-10, 10, 9)
        close(9 * slope(losses.huber_loss, wide, jnp.zeros(9), delta=delta), np.clip(wide, -delta, delta))


def test_E_17_huber_is_never_negative_and_takes_the_square_up_to_delta(x64):
    e = jnp.linspace(-3, 3, 13)
    assert (losses.huber_loss(e, delta=1.0) >= 0).all()
    close(losses.huber_loss(jnp.array(0.0), delta=2.0), 0)  # the branch for large errors would give -2
    close(losses.huber_loss(jnp.array([0.9, 1.0])), [0.405, 0.5])


def test_LOSS_7_binary_cross_entropy(x64):
    p, t = jnp.array([0.9, 0.1]), jnp.ones(2)
    close(losses.binary_cross_entropy_from_probabilities(p, t), [0.1053605157, 2.3025850930])
    p, t = jnp.array([0.9, 0.2]), jnp.array([1.0, 0.0])
    logits = jnp.log(p / (1 - p))
    close(losses.binary_cross_entropy_from_probabilities(p, t).mean(), 0.1642520335)
    close(losses.binary_cross_entropy(logits, t).mean(), 0.1642520335)
    close(losses.binary_cross_entropy(jnp.array([1000.0, -1000.0]), t), [0, 0])
    close(losses.binary_cross_entropy(jnp.array([-1000.0, 1000.0]), t), [1000, 1000])


def test_LOSS_8_multilabel_is_summed_over_labels_and_E_18_says_so(x64):
    p, t = jnp.array([[0.9, 0.2]]), jnp.array([[1.0, 0.0]])
    logits = jnp.log(p / (1 - p))
    close(losses.multilabel_cross_entropy(logits, t), [0.3285040670])
    close(losses.binary_cross_entropy(logits, t).sum(-1), [0.3285040670])
    close(losses.binary_cross_entropy(logits, t).mean(-1), [0.3285040670 / 2])


def test_LOSS_9_categorical_cross_entropy(x64):
    p, t = jnp.array([[0.2, 0.7, 0.1]]), jnp.array([[0.0, 1.0, 0.0]])
    close(losses.cross_entropy_from_probabilities(p, t), [0.3566749439])
    close(losses.cross_entropy(jnp.log(p), t), [0.3566749439])
    close(slope(losses.cross_entropy, jnp.log(p), t), p - t)


def test_LOSS_10_sparse_categorical_cross_entropy(x64):
    p, label = jnp.array([[0.2, 0.7, 0.1]]), jnp.array([1])
    for value in (
        losses.cross_entropy_from_probabilities(p, label),
        losses.cross_entropy(jnp.log(p), label),
        losses.sparse_cross_entropy(jnp.log(p), label),
    ):
        close(value, [0.3566749439])


def test_E_82_cross_entropy_of_two_classes_is_the_binary_one(x64):
    z = jnp.array([0.3, -2.0])
    two = jnp.stack([jnp.zeros(2), z], -1)
    for label in (0, 1):
        labels = jnp.full(2, label)
        close(losses.cross_entropy(two, labels), losses.binary_cross_entropy(z, labels))


def test_LOSS_11_kl_divergence(x64):
    p, q = jnp.array([0.5, 0.5]), jnp.array([0.9, 0.1])
    close(losses.kl_divergence(jnp.log(q), p), 0.5108256238)
    close(losses.kl_divergence(jnp.log(p), q), 0.3680642072)
    close(losses.kl_divergence_from_probabilities(q, p), 0.5108256238)
    close(losses.kl_divergence(jnp.log(q), q), 0)
    entropy = -(p * jnp.log(p)).sum()
    close(losses.softmax_cross_entropy(jnp.log(q), p), entropy + losses.kl_divergence(jnp.log(q), p))
    assert losses.kl_divergence(jnp.log(q), jnp.array([1.0, 0.0])) == -jnp.log(q[0])  # 0 log 0 = 0


def test_LOSS_14_poisson(x64):
    close(losses.poisson_nll(jnp.array(3.0), jnp.array(2.0)), 0.8027754227)
    close(losses.poisson_nll_from_log_rate(jnp.log(jnp.array(3.0)), jnp.array(2.0)), 0.8027754227)
    close(slope(losses.poisson_nll, 2.0, 2.0), 0)  # smallest where the rate is the count
    assert losses.poisson_nll(jnp.array(2.0), jnp.array(2.0)) < losses.poisson_nll(jnp.array(2.1), jnp.array(2.0))


@pytest.mark.parametrize(("probability", "t"), [(0.9, 1.0), (0.2, -1.0)])
def test_E_19_hinge_takes_a_raw_score_and_not_a_probability(probability, t, x64):
    """A score beyond 1 costs nothing, which a probability never is: it would be pushed on for ever."""
    p = jnp.array(probability)
    score = 3 * jnp.log(p / (1 - p))
    assert losses.hinge_loss(score, jnp.array(t)) == 0
    assert losses.hinge_loss(p, jnp.array(t)) > 0.09


def test_LOSS_16_cosine_proximity(x64):
    p, t = jnp.array([1.0, 2.0]), jnp.array([2.0, 1.0])
    close(losses.cosine_proximity(p, t), -0.8)
    for scale in (1e-3, 7.0, 1e3):  # invariant to positive scaling, and the slope along it is 0
        close(losses.cosine_proximity(scale * p, t), -0.8)
        close(losses.cosine_proximity(p, scale * t), -0.8)
    assert abs((slope(losses.cosine_proximity, p, t) * p).sum()) < 1e-12
    close(losses.cosine_proximity(p, 3 * p), -1)  # the least


def test_LOSS_18_a_class_weight_multiplies_the_loss_of_its_class(x64):
    z, labels, w = jnp.zeros((3, 2)), jnp.array([0, 1, 1]), jnp.array([1.0, 3.0])
    l = losses.sparse_cross_entropy(z, labels, class_weights=w)
    close(l, np.log(2) * np.array([1, 3, 3]))
    # The two means: over the examples, and over their weights.
    close(losses.weighted_mean(l), np.log(2) * 7 / 3)
    unweighted = losses.sparse_cross_entropy(z, labels)
    close(losses.weighted_mean(unweighted, losses.label_weights(labels, class_weights=w)), np.log(2))


def test_LOSS_18_and_IMB_3_balanced_weights_let_each_class_pull_alike(x64):
    labels = jnp.repeat(jnp.array([0, 1]), jnp.array([90, 10]))
    counts = np.bincount(labels)
    w = len(labels) / (2 * counts)  # n / (K n_k)
    close(w, [0.5555555556, 5.0])
    z = jnp.zeros((100, 2))
    l = losses.sparse_cross_entropy(z, labels, class_weights=w)
    close(l[:90].sum(), l[90:].sum())
    close(losses.sparse_cross_entropy(z, labels, class_weights=[1.0, 1.0]), losses.sparse_cross_entropy(z, labels))
    pull = slope(losses.sparse_cross_entropy, z, labels, class_weights=jnp.asarray(w))
    close(pull, w[labels][:, None] * slope(losses.sparse_cross_entropy, z, labels))  # gradients in proportion


class Pinball:
    """A loss as an object: the slope is its own above and below."""

    def __init__(self, share):
        self.share = share

    def __call__(self, prediction, target):
        e = target - prediction
        return jnp.where(e > 0, self.share * e, (self.share - 1) * e)


def cubed(prediction, target, power=3):
    return jnp.abs(prediction - target) ** power


CUSTOM = {"function": cubed, "lambda": lambda p, t: (p - t) ** 4, "partial": functools.partial(cubed, power=2),
          "object": Pinball(0.9), "jitted": jax.jit(cubed)}  # fmt: skip


@pytest.mark.parametrize("loss", CUSTOM.values(), ids=CUSTOM)
def test_LOSS_19_any_function_of_prediction_and_target_is_trained_on_either_road(loss):
    batch = nn.Data(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [1.0]]))
    after = []
    for road in (nn.by_autodiff, nn.by_hand):
        t = nn.trainer(nn.Dense(1), loss, nn.sgd(0.1), gradient=road)
        ts, info = t.step(t.init(jax.random.key(0), batch.x), batch)
        np.testing.assert_allclose(info.loss, loss(info.prediction, batch.y).mean(), rtol=1e-6)
        after.append(ts.params["w"])
    np.testing.assert_allclose(*after, rtol=1e-6)
    assert after[0] != t.init(jax.random.key(0), batch.x).params["w"]


def test_LOSS_19_a_function_that_takes_the_mean_itself_is_told_to_leave_it():
    t = nn.trainer(nn.Dense(1), lambda p, t: ((p - t) ** 2).mean(), nn.sgd(0.1))
    batch = nn.Data(jnp.ones((2, 1)), jnp.ones((2, 1)))
    with pytest.raises(
        nn.ShapeError, match=r"a loss of shape \(batch, ...\), .*\n  hint: return the loss of each example"
    ):
        t.step(t.init(jax.random.key(0), batch.x), batch)


@pytest.mark.parametrize(("error", "loss"), [(1.0, losses.mae), (1.0, losses.huber_loss), (2.0, losses.mse)])
def test_LOSS_20_an_outlier_pulls_no_more_than_its_loss_lets_it(error, loss):
    """The slope of absolute and Huber's errors is bounded, the squared error's grows with the error."""
    d = jax.grad(lambda x: loss(x, jnp.zeros(())))(jnp.float32(1000.0))
    assert d == (2000 if loss is losses.mse else error)
