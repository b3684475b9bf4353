"""Decision stumps, found by exhaustive search: weak learners that scikit-learn has as well."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn


@dataclass(frozen=True)
class Stump(nn.Layer):
    """One row of outputs for what is at most a threshold in a feature, another for the rest.

    Its state is what it was trained on, to be looked at: weights and targets.
    """

    outputs: int

    def init(self, key, x):
        n, dtype, no = x.shape[0], x.dtype, jnp.zeros((), x.dtype)
        leaf = jnp.zeros(self.outputs, dtype)
        params = {"feature": jnp.zeros((), jnp.int32), "threshold": no, "left": leaf, "right": leaf}
        return params, {"w": jnp.zeros(n, dtype), "y": jnp.zeros((n, self.outputs), dtype)}

    def apply(self, params, state, x, *, key=None, train=False):
        left = jnp.take(x, params["feature"], axis=1) <= params["threshold"]
        return jnp.where(left[:, None], params["left"][None], params["right"][None]), state


def purest(sums, weight):
    """For one-hot targets the split of least Gini impurity, and for any others that of least squared error."""
    return (sums**2).sum(-1) / jnp.where(weight == 0, 1, weight)


def fewest_wrong(sums, weight):
    return sums.max(-1)


def stumps(outputs, score=purest, heeds_weights=True):
    """Return a function that trains the best stump: of labels, or of rows of targets."""
    trainer = nn.trainer(Stump(outputs), nn.losses.mse, nn.sgd(0.0))

    def train(key, data):
        x, y = data.x, data.y
        y = jax.nn.one_hot(y, outputs, dtype=x.dtype) if y.ndim == 1 else y
        given = jnp.ones(len(x), x.dtype) if data.w is None else data.w
        w = given if heeds_weights else jnp.ones_like(given)
        order = x.argsort(0)  # (n, features)
        xs, ws = jnp.take_along_axis(x, order, 0), w[order]
        left, lighter = (ws[..., None] * y[order]).cumsum(0)[:-1], ws.cumsum(0)[:-1]
        total, whole = (w[:, None] * y).sum(0), w.sum()
        right, heavier = total.reshape(1, 1, -1) - left, whole - lighter
        gain = jnp.where(xs[1:] > xs[:-1], score(left, lighter) + score(right, heavier), -jnp.inf)
        at, feature = jnp.unravel_index(gain.argmax(), gain.shape)
        mean = lambda sums, weight: sums[at, feature] / weight[at, feature]
        threshold = (xs[at, feature] + xs[at + 1, feature]) / 2
        params = {
            "feature": feature.astype(jnp.int32),
            "threshold": threshold,
            "left": mean(left, lighter),
            "right": mean(right, heavier),
        }
        return trainer.begin(key, params, {"w": given, "y": y})

    return train


def blobs(n, classes, seed=0, weighted=True):
    """Examples of overlapping classes, of which scikit-learn's trees see every digit: they look at float32."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, n).astype(np.int32)
    x = (random.normal(size=(n, 3)) + 1.2 * np.eye(classes, 3)[y]).astype(np.float32).astype(np.float64)
    return nn.Data(x, y, random.uniform(0.5, 2, n) if weighted else None)
