"""What the tests of training share: small problems, comparisons of trees, and a count of compilations."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from jaxnn.training import Outcome

COMPILED = "/jax/core/compile/backend_compile_duration"


def regression(n=10, *, weighted=False, seed=0, dtype=None):
    """Examples (n, 3) with targets (n, 1), and weights (n,) if asked for, in JAX's default dtype."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    y = np.sin(x.sum(axis=1, keepdims=True)) + 0.1 * random.normal(size=(n, 1))
    w = random.uniform(0.5, 2, size=n) if weighted else None
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), nn.Data(x, y, w))


def smooth(learning_rate=0.05):
    """A trainer without kinks, so that derivatives through its runs can be checked by differences.

    It is as small as a model can be, for nearly all the time of these tests goes into compilation.
    """
    return nn.trainer(nn.serial(nn.Dense(1, bias=False), nn.tanh), nn.losses.mse, nn.adam(learning_rate))


def absolute_error(prediction, target):
    return jnp.abs(prediction - target)


def outline(n=4, dtype=None):
    return jax.ShapeDtypeStruct((n, 3), jnp.result_type(float) if dtype is None else dtype)


def epochs_of(history):
    """How many epochs there were: every name has this many rows, and NaN after them."""
    (count,) = {int((~jnp.isnan(rows)).sum()) for rows in history.values()}
    assert all(bool(jnp.isfinite(rows[:count]).all()) for rows in history.values())
    return count


def assert_close(got, expected, tolerance):
    """Same structure and shapes, and numbers, NaN included, no further apart than `tolerance`; 0 is bit for bit."""
    got, expected = (tuple(each) if isinstance(each, Outcome) else each for each in (got, expected))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    names = nn.tree.named_leaves(expected)
    for (name, e), g in zip(names.items(), jax.tree.leaves(got), strict=True):
        e, g = _numbers(e), _numbers(g)
        assert g.shape == e.shape, name
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance, err_msg=name)


def _numbers(leaf):
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def said(error):
    """All that an error says: its message and its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


@contextlib.contextmanager
def compilations():
    """Collect one entry for every program that XLA compiles within."""
    seen = []

    def listen(event, duration, **_):
        if event == COMPILED:
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
