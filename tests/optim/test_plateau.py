"""When a learning rate falls on a plateau: by hand, as in optax, and against the conventions of others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

IMPROVING = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8]


def scales(transform, losses, params=None):
    """What updates are multiplied by after each value, in one compiled program."""
    params = jnp.ones(()) if params is None else params

    def step(state, loss):
        _, state = transform.update(params, state, value=loss)
        return state, state.scale

    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        run = jax.jit(lambda losses: jax.lax.scan(step, transform.init(params), losses)[1])
        return np.asarray(run(jnp.asarray(losses)))


def falls(transform, losses):
    """After which values, counted from 0, the rate falls."""
    seen = np.concatenate([[1.0], scales(transform, losses)])
    return list(np.flatnonzero(np.diff(seen) < 0))


def test_LRS_5_the_rate_is_halved_after_the_fourth_value(x64):
    np.testing.assert_array_equal(scales(optim.reduce_on_plateau(0.5, 2), [1.0, 0.9, 0.9, 0.9]), [1, 1, 1, 0.5])


SETTINGS = [
    {},
    {"patience": 1},
    {"patience": 2, "factor": 0.3, "cooldown": 2},
    {"patience": 2, "factor": 0.3, "cooldown": 3, "min_scale": 0.05},
    {"patience": 1, "accumulation_size": 3},
    {"patience": 2, "rtol": 0.0, "atol": 0.05},
    {"patience": 2, "rtol": 0.1, "atol": 0.01, "accumulation_size": 2, "cooldown": 1},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("narrow", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.1)], ids=["f32", "bf16"])
def test_every_state_is_that_of_optax_for_values_of_0_or_more(settings, narrow, tolerance, x64):
    """The scale has the narrowest dtype of the parameters; optax rounds the factor to it, too."""
    losses = np.abs(np.random.default_rng(0).normal(size=80)).cumsum()[::-1] * np.linspace(1, 3, 80)
    params = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(3, narrow)}

    def path(transform):
        update, state, seen = jax.jit(lambda s, v: transform.update(params, s, value=v)), transform.init(params), []
        for loss in losses:
            updates, state = update(state, jnp.float32(loss))
            seen.append(jax.tree.map(lambda a: np.asarray(a, float), (updates, state._asdict())))
        return seen, state

    ours, state = path(optim.reduce_on_plateau(**settings))
    with jax.numpy_dtype_promotion("standard"):
        theirs, _ = path(optax.contrib.reduce_on_plateau(**settings))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance), ours, theirs)
    assert (state.scale.dtype, state.best_value.dtype) == (narrow, jnp.float32)


def test_a_negative_value_is_better_only_if_it_is_less():
    """Log-likelihoods of densities are negative as losses; for optax one that is worse by less than rtol is better."""
    worse = [-1.0, -0.99995, -0.9999, -0.99985]
    assert falls(optim.reduce_on_plateau(patience=3), worse) == [3]
    assert falls(optax.contrib.reduce_on_plateau(patience=3), worse) == []
    better = [-1.0, -1.1, -1.2, -1.3, -1.4]
    assert falls(optim.reduce_on_plateau(patience=1), better) == []


def test_more_may_be_better():
    accuracies = [0.1, 0.2, 0.3, 0.3, 0.3, 0.4, 0.3]
    assert falls(optim.reduce_on_plateau(patience=2, mode="max"), accuracies) == [4]
    negated = [-a for a in accuracies]
    assert falls(optim.reduce_on_plateau(patience=2), negated) == [4]
    assert falls(optim.reduce_on_plateau(patience=2, mode="max"), [-3.0, -2.0, -2.0, -2.0, -1.0]) == [3]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_counts_as_in_keras(patience):
    """Keras: wait += 1 for each that is no improvement, and the rate falls if wait >= patience."""
    best, wait, expected = np.inf, 0, []
    for t, loss in enumerate(IMPROVING):
        if loss < best - 1e-4 * abs(best) if np.isfinite(best) else True:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= patience:
                expected.append(t)
                wait = 0
    assert falls(optim.reduce_on_plateau(patience=patience), IMPROVING) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_one_more_than_that_of_torch(patience):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience - 1, eps=0.0)
    expected, rate = [], 1.0
    for t, loss in enumerate(IMPROVING):
        scheduler.step(loss)
        if optimizer.param_groups[0]["lr"] < rate:
            expected.append(t)
        rate = optimizer.param_groups[0]["lr"]
    assert falls(optim.reduce_on_plateau(patience=patience), IMPROVING) == expected


def test_nan_is_no_improvement_and_is_forgotten():
    assert falls(optim.reduce_on_plateau(patience=2), [1.0, np.nan, np.nan, 0.5, 0.4]) == [2]


def test_a_sweep_of_every_argument_is_each_run_by_itself():
    losses = np.abs(np.random.default_rng(0).normal(size=40)) + 1
    names = ("factor", "patience", "rtol", "atol", "cooldown", "accumulation_size", "min_scale")
    members = np.array([(0.5, 2, 1e-4, 0, 0, 1, 0), (0.3, 3, 0.1, 0.1, 2, 2, 0.05), (0.9, 1, 0, 0, 1, 1, 0.5)])
    of_one = lambda row: scales(optim.reduce_on_plateau(**dict(zip(names, row, strict=True))), losses)
    transform = lambda row: optim.reduce_on_plateau(**dict(zip(names, row, strict=True)))

    def traced(row):
        t = transform(row)
        step = lambda state, loss: (lambda s: (s, s.scale))(t.update(jnp.ones(()), state, value=loss)[1])
        return jax.lax.scan(step, t.init(jnp.ones(())), jnp.asarray(losses, jnp.float32))[1]

    mapped = jax.jit(jax.vmap(traced))(jnp.asarray(members, jnp.float32))
    np.testing.assert_allclose(mapped, [of_one(row) for row in members], rtol=1e-6)


def test_it_stands_in_a_chain_and_takes_its_value_there():
    optimizer = optim.chain(optim.adam(0.1), optim.reduce_on_plateau(0.5, 1))
    x = jnp.array(1.0)
    state = optimizer.init(x)
    for loss, expected in ((1.0, -0.1), (1.0, -0.05)):
        updates, state = optimizer.update(x, state, x, value=loss)
        np.testing.assert_allclose(updates, expected, rtol=1e-5)


def test_there_may_be_no_parameters():
    t = optim.reduce_on_plateau(0.5, 1)
    _, state = t.update({}, t.init({}), value=1.0)
    assert t.update({}, state, value=1.0)[1].scale == 0.5


def test_what_is_watched_has_to_be_given():
    t = optim.reduce_on_plateau()
    with pytest.raises(TypeError, match=r"expected value, because it is what is watched; got none: call update\("):
        t.update(jnp.ones(()), t.init(jnp.ones(())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 1.0}, "expected factor between 0 and 1, because the rate falls; got 1.0"),
        ({"factor": np.nan}, "expected factor between 0 and 1, .*; got nan"),
        ({"patience": 0}, "expected patience of 1 or more, because it counts values; got 0"),
        ({"accumulation_size": 0}, "expected accumulation_size of 1 or more"),
        ({"rtol": -1.0}, "expected rtol of 0 or more, because .*; got -1.0"),
        ({"cooldown": -1}, "expected cooldown of 0 or more"),
        ({"mode": "least"}, "expected mode to be 'min' or 'max', because one of them is better; got 'least'"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, message, unannotated):
    with pytest.raises(ValueError, match=message):
        optim.reduce_on_plateau(**settings)


def test_what_waits_for_rows_takes_the_same_scale_from_them_and_none_from_steps():
    """Its runs within `fit` are in tests/training/test_on_validation.py."""
    optimizer = optim.chain(optim.sgd(1.0), optim.reduce_on_validation(0.5, 2, monitor="validation_loss"))

    def step(state, value):
        updates, state = optimizer.update(jnp.ones(()), state, value=value)
        state = optim.after_row(state, {"loss": value, "validation_loss": value})
        return state, updates

    run = jax.jit(lambda values: jax.lax.scan(step, optimizer.init(jnp.ones(())), values)[1])
    expected = scales(optim.reduce_on_plateau(0.5, 2), IMPROVING)  # after each value: the next step sees it
    np.testing.assert_array_equal(run(jnp.asarray(IMPROVING)), -np.concatenate([[1], expected[:-1]]))
    assert optim.after_row({"count": 3}, {}) == {"count": 3}
