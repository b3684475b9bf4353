"""Monte Carlo dropout draws as in training, has the moments that can be worked out, and changes nothing else."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations

import jaxnn as nn
from jaxnn.ensembles import monte_carlo_dropout

KEY = jax.random.key(0)


def begun(model, x):
    params, state = model.init(KEY, x)
    return jax.tree.map(lambda p: p + 0.1, params), state


def test_moments_of_a_linear_model():
    """y = sum_i m_i x_i w_i / (1 - p): its mean is x w, and its variance p / (1 - p) sum_i x_i^2 w_i^2."""
    p, samples = 0.3, 20_000
    model = nn.serial(nn.Dropout(p), nn.Dense(2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32))
    params, state = begun(model, x)
    z = np.asarray(monte_carlo_dropout(model, params, state, x, KEY, samples=samples))
    w, b = (np.asarray(params["dense_0"][name]) for name in "wb")
    variance = p / (1 - p) * (np.asarray(x) ** 2 @ w**2)
    error = np.sqrt(variance / samples)
    assert (np.abs(z.mean(0) - (np.asarray(x) @ w + b)) < 4 * error).all()
    np.testing.assert_allclose(z.var(0), variance, rtol=0.06)


def test_the_draws_are_those_of_training_and_norms_those_of_inference():
    model = nn.serial(
        nn.Dense(5), nn.BatchNorm(), nn.SpatialDropout(0.5), nn.residual(nn.drop_connect(nn.Dense(5), 0.5))
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    params, state = begun(model, x)
    state = state | {"batch_norm_0": {"mean": jnp.full(5, 0.5), "var": jnp.full(5, 2.0)}}
    z = monte_carlo_dropout(model, params, state, x, KEY, samples=3)
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), freeze="batch_norm_0/.*")
    frozen = trainer.begin(KEY, params, state).frozen  # a frozen norm runs as in inference
    resting = model.freeze(frozen)
    for i in range(3):
        expected, same = resting.apply(params, state, x, key=jax.random.fold_in(KEY, i), train=True)
        np.testing.assert_allclose(z[i], expected, rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_equal(same["batch_norm_0"], state["batch_norm_0"])
    moving, _ = model.apply(params, state, x, key=jax.random.fold_in(KEY, 0), train=True)
    assert np.abs(moving - z[0]).max() > 0.1  # with the norm of the batch it is another one


def test_blocks_and_compilation_change_no_sample():
    model = nn.repeat(nn.stochastic_depth(nn.Dense(4), nn.tanh, rate=0.4), 3)
    x = jnp.ones((5, 4))
    params, state = begun(model, x)
    sampled = lambda block: monte_carlo_dropout(model, params, state, x, KEY, samples=7, block=block)
    together, in_blocks = sampled(None), jax.jit(lambda: sampled(3))()
    np.testing.assert_allclose(in_blocks, together, rtol=1e-6, atol=1e-6)
    assert len(np.unique(np.asarray(together).round(4), axis=0)) > 1
    rates = jax.vmap(lambda rate: monte_carlo_dropout(nn.Dropout(rate), {}, {}, x, KEY, samples=2))(
        jnp.asarray([0.0, 1.0])
    )
    np.testing.assert_array_equal(rates, np.stack([np.ones((2, 5, 4)), np.zeros((2, 5, 4))]))


def test_it_is_compiled_once():
    """An equal model is the same program."""
    x = jnp.ones((2, 4))
    params, state = begun(nn.serial(nn.Dropout(0.5), nn.Dense(2)), x)
    sampled = lambda: monte_carlo_dropout(
        nn.serial(nn.Dropout(0.5), nn.Dense(2)), params, state, x, KEY, samples=3, block=2
    )
    sampled()
    with compilations() as seen:
        sampled()
    assert not seen


def test_an_ensemble_may_drop_too():
    model = nn.Ensemble(nn.serial(nn.Dropout(0.5), nn.Dense(3)), 4)
    params, state = begun(model, jnp.ones((2, 6)))
    assert monte_carlo_dropout(model, params, state, jnp.ones((2, 6)), KEY, samples=5).shape == (5, 2, 3)


def test_a_model_that_does_not_draw_is_refused(unannotated):
    model = nn.serial(nn.Dense(2), nn.BatchNorm())
    message = (
        r"expected a model with dropout or other noise in it, because samples differ by what is drawn; got "
        r"serial\(Dense\(2\), BatchNorm\(\)\)\n  hint: train with nn.Dropout\(0.1\) before the last layer"
    )
    with pytest.raises(ValueError, match=message):
        monte_carlo_dropout(model, {}, {}, jnp.ones((2, 3)), KEY, samples=5)
    with pytest.raises(ValueError, match="expected samples of at least 1, because it counts draws; got 0"):
        monte_carlo_dropout(nn.Dropout(0.5), {}, {}, jnp.ones(2), KEY, samples=0)
    with pytest.raises(
        ValueError, match="expected block of at least 1, because it counts samples that are computed at"
    ):
        monte_carlo_dropout(nn.Dropout(0.5), {}, {}, jnp.ones(2), KEY, samples=3, block=0)
    with pytest.raises(TypeError, match=r"expected samples to be an int, because it counts draws; got 2\.5"):
        monte_carlo_dropout(nn.Dropout(0.5), {}, {}, jnp.ones(2), KEY, samples=2.5)
