"""The order of an epoch: a permutation that looks random, computed at any position by itself."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnn.training import shuffled

# Without its annotation the function takes a traced n too: so one program, compiled with care, serves every n.
CARE = {"xla_backend_optimization_level": 2}
of_any_n = jax.jit(inspect.unwrap(shuffled), compiler_options=CARE)
of_any_key = jax.jit(jax.vmap(inspect.unwrap(shuffled), (0, None, None)), compiler_options=CARE)
KEYS, LARGEST = 4096, 97


@functools.cache
def orders(n):
    """One whole order of n for each of many keys, `(KEYS, n)`."""
    return np.asarray(of_any_key(jax.random.split(jax.random.key(0), KEYS), jnp.arange(LARGEST), n))[:, :n]


def p_of(counts):
    """The p-value of counts that should all be alike."""
    return stats.chisquare(counts.ravel()).pvalue


def test_is_a_bijection_for_every_n_up_to_5000(key):
    positions = jnp.arange(5000)
    for n in range(1, 5001):
        order = np.asarray(of_any_n(key, positions, n))[:n]
        assert order.min() >= 0
        np.testing.assert_array_equal(np.bincount(order, minlength=n), 1, err_msg=f"{n}")


@pytest.mark.parametrize("n", [1, 97, 5000])
def test_a_traced_n_stands_for_a_static_one(key, n):
    positions = jnp.arange(5000) % n
    np.testing.assert_array_equal(of_any_n(key, positions, n), shuffled(key, positions, n))


def test_never_collides_nor_leaves_its_range_at_the_largest_n(key):
    n = 2**31 - 1
    positions = jnp.concatenate([jnp.arange(50_000), jnp.arange(n - 50_000, n)])
    order = np.asarray(shuffled(key, positions, n))
    assert len(np.unique(order)) == len(order)
    assert order.min() >= 0
    assert order.max() < n
    assert 0.45 < np.mean(order / n) < 0.55


def test_is_one_permutation_a_key(key):
    other = jax.random.fold_in(key, 1)
    here, again, there = (np.asarray(of_any_n(k, jnp.arange(5000), 5000)) for k in (key, key, other))
    np.testing.assert_array_equal(here, again)
    assert np.mean(here == there) < 0.01


@pytest.mark.parametrize("positions", [996, [[5, 1, 1], [700, 2, 0]]], ids=str)
def test_any_positions_can_be_asked_for_alone(key, positions):
    whole = np.asarray(of_any_n(key, jnp.arange(5000), 997))
    np.testing.assert_array_equal(of_any_n(key, jnp.array(positions), 997), whole[np.array(positions)])


@pytest.mark.parametrize("n", [2, 3, 10, 97])
def test_every_index_is_as_likely_at_every_position(n):
    drawn = orders(n)
    counts = np.stack([np.bincount(drawn[:, position], minlength=n) for position in range(n)])
    assert min(map(p_of, counts)) * n > 1e-3, "some position prefers some index"
    assert min(map(p_of, counts.T)) * n > 1e-3, "some index prefers some position"
    # Rows and columns of the table have fixed sums, which leaves (n - 1)^2 degrees of freedom.
    expected = KEYS / n
    statistic = ((counts - expected) ** 2 / expected).sum() * (n - 1) / n
    assert 1e-3 < stats.chi2.sf(statistic, (n - 1) ** 2) < 1 - 1e-3


@pytest.mark.parametrize("first", range(6))
def test_neighbours_are_any_pair_of_indices(first):
    drawn = orders(7)
    pairs = drawn[:, first] * 7 + drawn[:, first + 1]
    counts = np.bincount(pairs, minlength=49).reshape(7, 7)
    assert (np.diag(counts) == 0).all()
    assert p_of(counts[~np.eye(7, dtype=bool)]) > 1e-3


def test_all_120_orders_of_five_are_as_likely():
    drawn = orders(5)
    _, counts = np.unique(drawn @ 5 ** np.arange(5), return_counts=True)
    assert len(counts) == 120
    assert p_of(counts) > 1e-3


def test_displacements_of_neighbours_are_uncorrelated():
    drawn = orders(97)
    correlation = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    expected = -1 / 96  # without replacement
    assert abs(correlation - expected) < 4 / np.sqrt(drawn[:, 1:].size)
