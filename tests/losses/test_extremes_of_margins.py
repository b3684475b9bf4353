"""Losses of margins, directions, overlaps, rankings and alignments, and penalties, at the ends of float32.

Value, hand-written gradient, and JAX's of the plain function, all with respect to the first array. Where a limit
exists it is meant, as for a true score of infinity; what is infinity less infinity is NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import losses

INF, NAN = np.inf, np.nan
SURE, OTHERS = [[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [INF, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, 0.0, 1.0]], [0, 1, 0, 1, 1]

# Name: arrays, settings, value, gradient with respect to the first array.
CASES = [
    ("hinge_loss", ([1e4, -1e4, INF, -INF, 0.0], [1.0, 1.0, 1.0, 1.0, -1.0]), {}, [0, 10001, 0, INF, 1],
     [0, -1, 0, -1, 1]),
    ("squared_hinge_loss", ([1e4, -1e4, INF], [1.0, 1.0, 1.0]), {}, [0, 10001.0**2, 0], [0, -20002, 0]),
    ("perceptron_loss", ([1e4, -1e4, INF, -INF], [1.0] * 4), {}, [0, 1e4, 0, INF], [0, -1, 0, -1]),
    ("multiclass_hinge_loss", (SURE, OTHERS), {}, [0, 20001, 0, INF, 2],
     [[0, 0, 0], [1, -1, 0], [0, 0, 0], [1, -1, 0], [0, -1, 1]]),
    ("multiclass_perceptron_loss", (SURE, OTHERS), {}, [0, 20000, 0, INF, 1],
     [[0, 0, 0], [1, -1, 0], [0, 0, 0], [1, -1, 0], [0, -1, 1]]),
    ("categorical_hinge_loss", (SURE, OTHERS), {}, [0, 20001, 0, INF, 2],
     [[0, 0, 0], [1, -1, 0], [0, 0, 0], [1, -1, 0], [0, -1, 1]]),
    ("categorical_hinge_loss", ([[INF, 0.0, 1.0], [-INF, 0.0, 1.0]], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), {}, [0, INF],
     [[0, 0, 0], [-1, 0, 1]]),
    ("sparsemax_loss", ([1e4, -1e4, INF, -INF], [1, 1, 1, 1]), {}, [0, 1e4, 0, INF], [0, -1, 0, -1]),
    ("multiclass_sparsemax_loss", ([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-INF, 0.0, 1.0], [-INF, 0.0, 1.0]],
                                   [0, 1, 2, 0]), {}, [0, 2e4, 0, INF], [[0, 0, 0], [1, -1, 0], [0, 0, 0], [-1, 0, 1]]),
    ("cosine_distance", ([[1e4, -1e4], [0.0, 0.0]], [[1e4, 1e4], [1.0, 1.0]]), {"epsilon": 1e-8}, [1, 1],
     [[-0.5e-4, -0.5e-4], [-np.sqrt(0.5) * 1e4] * 2]),
    ("cosine_similarity", ([[1e4, -1e4]], [[1e4, 1e4]]), {}, [0], [[0.5e-4, 0.5e-4]]),
    ("cosine_similarity", ([[0.0, 0.0]], [[1.0, 1.0]]), {}, [NAN], [[NAN, NAN]]),  # as optax's
    ("cosine_proximity", ([[1e30, 0.0], [1e-30, 0.0], [0.0, 0.0]], [[2.0, 2.0]] * 3), {}, [-np.sqrt(0.5)] * 2 + [0],
     [[0, -np.sqrt(0.5) * 1e-30], [0, -np.sqrt(0.5) * 1e30], [0, 0]]),
    ("triplet_margin_loss", ([[1e4, -1e4], [0.0, 0.0]], [[-1e4, 1e4], [0.0, 0.0]], [[1e4, 0.0], [0.0, 0.0]]), {},
     [2e4 * np.sqrt(2) - 1e4 + 1, 1], [[np.sqrt(0.5), 1 - np.sqrt(0.5)], [0, 0]]),
    ("triplet_margin_loss", ([[1e30, 0.0]], [[0.0, 0.0]], [[1e30, 0.0]]), {}, [1e30], [[1, 0]]),
    ("contrastive_loss", ([[1e4, 0.0], [0.0, 0.0], [1e30, 0.0], [3.0, 3.0]], [[-1e4, 0.0], [0.0, 0.0], [0.0, 0.0],
                                                                             [3.0, 3.0]], [1, 1, 0, 0]), {},
     [4e8, 0, 0, 1], [[4e4, 0], [0, 0], [0, 0], [0, 0]]),
    ("ntxent", ([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], [0, 0, 1]), {"temperature": 1e-4}, (2e4 + np.log(2)) / 2,
     [[0, 0]] * 3),
    ("dice_loss", ([[[1e4, -1e4], [-1e4, 1e4]]], [[[1.0, 0.0], [1.0, 0.0]]]), {"smooth": 0.0}, [(1 / 3 + 1) / 2],
     [[[0, 0], [0, 0]]]),
    ("binary_dice_loss", ([[1e4, -1e4, INF, -INF]], [[1.0, 0.0, 1.0, 0.0]]), {}, [0], [[0, 0, 0, 0]]),
    ("multiclass_generalized_dice_loss", ([[[1e4, -1e4], [-1e4, 1e4]]], [[[1.0, 0.0], [0.0, 1.0]]]), {}, 0,
     [[[0, 0], [0, 0]]]),
    ("ranking_softmax_loss", ([[1e4, -1e4, 0.0], [-INF, 0.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
     {"reduce_fn": None}, [2e4, np.log(2)], [[1, -1, 0], [0, -0.5, 0.5]]),
    ("ctc_loss", ([[[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], [[-INF, 0.0, 0.0], [-INF, 0.0, 0.0]]], [[0, 0], [0, 1]],
                  [[1], [2]], [[0], [0]]), {}, [0, np.log(2)],
     [[[0, 0, 0], [0, 0, 0]], [[0, 0.5, -0.5], [0, 0, 0]]]),
    ("sse", ([[1e4, -1e4], [INF, 0.0]], [[0.0, 0.0], [0.0, 0.0]]), {}, [2e8, INF], [[2e4, -2e4], [INF, 0]]),
    ("gaussian_nll", ([1e4, 0.0, 1e4], [0.0, 0.0, 1e4], [1.0, 0.0, INF]), {}, [5e7, np.log(1e-6) / 2, INF],
     [1e4, 0, 0]),
    ("gaussian_nll_from_log_variance", ([[0.0, -1e4], [1e20, 1e4], [0.0, INF]], [0.0, 0.0, 0.0]), {},
     [-5e3, 5e3, INF], [[0, 0.5], [0, 0.5], [0, 0.5]]),
    ("gamma_nll", ([1e4, 1e-30, INF], [1e4, 0.0, 1.0]), {}, [np.log(1e4) + 1, np.log(1e-30), INF], [0, 1e30, 0]),
    ("gamma_nll_from_log_mean", ([-1e4, INF, -1e4], [0.0, 1.0, 1.0]), {}, [-1e4, INF, INF], [1, 1, -INF]),
    ("poisson_nll", ([INF, 1e-30], [1.0, 0.0]), {}, [INF, 1e-30], [1, 1]),
    ("poisson_nll_from_log_rate", ([INF, -INF, 1e4], [1.0, 0.0, 0.0]), {}, [INF, 0, INF], [INF, 0, INF]),
    ("kl_divergence_with_log_targets", ([[-INF, 0.0]], [[-1e4, 0.0]]), {}, [0], [[0, -1]]),  # exp(-1e4) is 0
    ("sigmoid_focal_loss", ([INF, -INF, INF], [0.0, 1.0, 1.0]), {}, [INF, INF, 0], [1, -1, 0]),
    ("softmax_focal_loss", ([[-INF, 0.0, 0.0], [-INF, 0.0, 0.0]], [0, 1]), {"gamma": 1.0}, [INF, np.log(2) / 2],
     [[-1, 0.5, 0.5], [0, -(1 + np.log(2)) / 4, (1 + np.log(2)) / 4]]),
    ("l1_penalty", ([1e30, -1e4, 0.0, INF],), {"strength": 0.5}, INF, [0.5, -0.5, 0, 0.5]),
    ("l2_penalty", ([1e4, -1e4, 0.0, INF],), {"strength": 0.5}, INF, [1e4, -1e4, 0, INF]),
    ("elastic_net_penalty", ([1e4, -1e4, 0.0],), {"l1": 0.5, "l2": 0.5}, 1e8 + 1e4, [1e4 + 0.5, -1e4 - 0.5, 0]),
    ("soft_threshold", ([1e4, 0.0, INF, -INF],), {"threshold": 0.5}, [1e4 - 0.5, 0, INF, -INF], [1, 0, 1, 1]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arrays", "settings", "value", "slope"), CASES, ids=[name for name, *_ in CASES])
def test_value_and_gradient_on_both_roads_are_those_of_the_limit(name, arrays, settings, value, slope):
    loss, (x, *rest) = getattr(losses, name), [jnp.asarray(a) for a in arrays]

    @jax.jit
    def both(x, *rest):
        out, residuals = loss.fwd(x, *rest, **settings)
        derived = jax.grad(lambda x: loss.plain(x, *rest, **settings).sum())(x)
        return out, loss.bwd(residuals, jnp.ones_like(out), **settings)[0], derived

    out, *gradients = both(x, *rest)
    np.testing.assert_allclose(out, value, rtol=2e-6, atol=1e-6)
    for d in gradients:
        np.testing.assert_allclose(d, slope, rtol=1e-5, atol=1e-7)


def test_an_infinite_logit_of_classes_is_nan_as_in_jax():
    """Infinity less infinity; a class that cannot be is minus infinity."""
    for logits in ([[INF, 0.0]], [[INF, INF]]):
        assert jnp.isnan(losses.cross_entropy(jnp.array(logits), jnp.array([0]))).all()
        assert jnp.isnan(jax.nn.log_softmax(jnp.array(logits))).any()


NAN_FIRST = {
    "hinge_loss": (jnp.ones(2),), "squared_hinge_loss": (jnp.ones(2),), "perceptron_loss": (jnp.ones(2),),
    "multiclass_hinge_loss": (jnp.array([0, 1]),), "multiclass_perceptron_loss": (jnp.array([0, 1]),),
    "categorical_hinge_loss": (jnp.array([0, 1]),), "sparsemax_loss": (jnp.array([0, 1]),),
    "multiclass_sparsemax_loss": (jnp.array([0, 1]),), "cosine_similarity": (jnp.ones((2, 3)),),
    "cosine_distance": (jnp.ones((2, 3)),), "cosine_proximity": (jnp.ones((2, 3)),),
    "triplet_margin_loss": (jnp.ones((2, 3)), jnp.zeros((2, 3))),
    "contrastive_loss": (jnp.ones((2, 3)), jnp.array([0, 1])), "dice_loss": (jnp.ones((2, 3)),),
    "binary_dice_loss": (jnp.ones((2, 3)),), "gaussian_nll": (jnp.ones(2), jnp.ones(2)),
}  # fmt: skip
VECTORS = {"hinge_loss", "squared_hinge_loss", "perceptron_loss", "sparsemax_loss", "gaussian_nll"}


@pytest.mark.parametrize("name", NAN_FIRST)
def test_nan_stays_nan_of_its_own_example(name):
    x = jnp.array([NAN, 0.5]) if name in VECTORS else jnp.array([[NAN, 0.5, 0.25], [0.5, 0.75, 0.25]])
    loss = getattr(losses, name)
    assert jnp.isnan(loss(x, *NAN_FIRST[name])).tolist() == [True, False]
