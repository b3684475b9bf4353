"""Averages of parameters: their numbers by a loop, PyTorch's and optax's, and that a trainer carries them along."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

STEPS, RATE = 9, 0.3
random = np.random.default_rng(0)
NOISE = random.normal(size=(STEPS, 3))
START = np.array([2.0, -1.0, 0.5])


def path():
    """Parameters after each step of gradient descent on a noisy quadratic, by NumPy."""
    p, seen = START, []
    for noise in NOISE:
        p = p - RATE * (p + noise)
        seen.append(p)
    return np.array(seen)


def averages(wrapped, dtype=jnp.float64):
    """Parameters and averages after each step, in one program."""

    def step(carry, noise):
        p, state = carry
        updates, state = wrapped.update({"w": p["w"] + noise, "held": None}, state, p)
        p = optim.apply_updates(p, updates)
        return (p, state), (p["w"], optim.averaged_params(state)["w"], state.weight)

    p = {"w": jnp.asarray(START, dtype), "held": None}
    return jax.lax.scan(step, (p, wrapped.init(p)), jnp.asarray(NOISE, dtype))[1]


def exponential(params, decay, start, debias):
    """The average as its definition has it: all weights, for each step anew."""
    seen = []
    for t in range(1, len(params) + 1):
        if t <= start:
            seen.append(params[t - 1])
            continue
        taken = params[start:t]
        decays = np.array([decay(s) if callable(decay) else decay for s in range(start, t)])
        weights = (1 - decays) * np.array([np.prod(decays[i + 1 :]) for i in range(len(decays))])
        if not debias:
            weights[0] = np.prod(decays[1:])
        seen.append((weights[:, None] * taken).sum(0) / weights.sum())
    return np.array(seen)


def equal(params, start, every):
    seen = []
    for t in range(1, len(params) + 1):
        taken = params[start + every - 1 : t : every]
        seen.append(taken.mean(0) if len(taken) else params[t - 1])
    return np.array(seen)


warming = lambda t: (1.0 + t) / (10.0 + t)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("decay", [0.0, 0.7, 0.999, warming], ids=["0", "0.7", "0.999", "schedule"])
def test_the_exponential_average_is_that_of_its_definition(decay, start, debias, x64):
    given = (lambda count: decay(count.astype(float))) if callable(decay) else decay
    params, got, weight = averages(optim.exponentially_averaged(optim.sgd(RATE), given, start, debias))
    np.testing.assert_allclose(params, path(), rtol=1e-12)
    np.testing.assert_allclose(got, exponential(path(), decay, start, debias), rtol=1e-11)
    if not callable(decay):
        n = np.maximum(np.arange(1, STEPS + 1) - start, 0)
        np.testing.assert_allclose(weight, 1 - decay**n if debias else n > 0, rtol=1e-12)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (0, 3), (2, 1), (2, 3), (20, 1)])
def test_the_equal_average_is_that_of_its_definition(start, every, x64):
    params, got, weight = averages(optim.equally_averaged(optim.sgd(RATE), start, every))
    np.testing.assert_allclose(params, path(), rtol=1e-12)
    np.testing.assert_allclose(got, equal(path(), start, every), rtol=1e-12)
    np.testing.assert_array_equal(weight, np.maximum(np.arange(1, STEPS + 1) - start, 0) // every)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("wrapped", "arguments"),
    [
        (optim.equally_averaged(optim.sgd(RATE)), lambda swa: {}),
        (
            optim.exponentially_averaged(optim.sgd(RATE), 0.9, debias=False),
            lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)},
        ),
    ],
    ids=["equal", "exponential"],
)
def test_they_are_the_averaged_model_of_pytorch(wrapped, arguments, x64):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(START[None]))
    swa = torch.optim.swa_utils.AveragedModel(model, **arguments(torch.optim.swa_utils))
    sgd, seen = torch.optim.SGD(model.parameters(), lr=RATE), []
    for noise in NOISE:
        model.weight.grad = model.weight.detach() + torch.tensor(noise)
        sgd.step()
        swa.update_parameters(model)
        seen.append(swa.module.weight.detach().numpy()[0].copy())
    np.testing.assert_allclose(averages(wrapped)[1], seen, rtol=1e-12)


def test_vmap_over_decay_start_and_period_equals_a_loop(x64):
    exponentially = lambda decay, start: averages(optim.exponentially_averaged(optim.sgd(RATE), decay, start))
    mapped = jax.jit(jax.vmap(exponentially))(jnp.array([0.5, 0.9]), jnp.array([0, 3]))[1]
    np.testing.assert_allclose(mapped, [exponential(path(), *each, True) for each in ((0.5, 0), (0.9, 3))], rtol=1e-12)
    equally = lambda start, every: averages(optim.equally_averaged(optim.sgd(RATE), start, every))
    mapped = jax.jit(jax.vmap(equally))(jnp.array([0, 3]), jnp.array([2, 1]))[1]
    np.testing.assert_allclose(mapped, [equal(path(), *each) for each in ((0, 2), (3, 1))], rtol=1e-12)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_the_derivatives_of_an_average_are_right(decay, debias, x64):
    def last(rate, decay):
        wrapped = optim.exponentially_averaged(optim.momentum(rate, 0.5), decay, 2, debias)
        return (averages(wrapped)[1][-1] * np.arange(1.0, 4.0)).sum()

    at, h = jax.jit(last), 1e-6
    derivatives = jax.jit(jax.grad(last, (0, 1)))(RATE, decay)
    ahead = [at(RATE + h, decay), (-3 * at(RATE, decay) + 4 * at(RATE, decay + h) - at(RATE, decay + 2 * h)) / (2 * h)]
    np.testing.assert_allclose(derivatives, [(ahead[0] - at(RATE - h, decay)) / (2 * h), ahead[1]], rtol=1e-6)


def test_updates_state_and_dtypes_are_those_of_the_optimizer_within():
    p = {"w": jnp.ones(2, jnp.bfloat16), "held": None}
    for wrap in (optim.exponentially_averaged, optim.equally_averaged):
        plain, wrapped = optim.adam(0.1), wrap(optim.adam(0.1))
        updates, state = wrapped.update(p, wrapped.init(p), p)
        expected, inner = plain.update(p, plain.init(p), p)
        jax.tree.map(np.testing.assert_array_equal, (updates, state.inner_state), (expected, inner))
        assert updates["held"] is None
        assert state.average["w"].dtype == jnp.float32
        again = jax.eval_shape(wrapped.update, p, state, p)[1]
        assert jax.tree.map(lambda a: (a.shape, a.dtype), again) == jax.tree.map(lambda a: (a.shape, a.dtype), state)


def test_an_average_of_bfloat16_moves_by_parts_that_bfloat16_would_lose():
    wrapped, p = optim.exponentially_averaged(optim.sgd(1.0), 0.9999, debias=False), jnp.ones((), jnp.bfloat16)
    _, state = wrapped.update(jnp.zeros_like(p), wrapped.init(p), p)
    _, state = wrapped.update(jnp.ones_like(p), state, p)
    assert float(optim.averaged_params(state)) == pytest.approx(0.9999, rel=1e-6)


def test_init_returns_arrays_of_their_own():
    p = {"w": jnp.ones((2, 3)), "b": jnp.ones((2, 3))}
    leaves = jax.tree.leaves((p, optim.exponentially_averaged(optim.sgd(0.1)).init(p)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_averages_are_found_wherever_they_stand():
    average, p = optim.equally_averaged(optim.adam(0.1)), {"w": jnp.array([2.0])}
    for wrapped in (
        average,
        optim.chain(optim.clip(1.0), average),
        optim.chain(optim.chain(optim.clip(1.0), average)),
        optax.named_chain(("clip", optim.clip(1.0)), ("average", average)),
        optax.MultiSteps(average, 2),
        optax.apply_if_finite(average, 3),
    ):
        np.testing.assert_array_equal(optim.averaged_params(wrapped.init(p))["w"], p["w"])


def test_around_it_steps_that_are_not_taken_are_not_averaged(loose):
    p = jnp.array(2.0)
    steps = optax.MultiSteps(optim.equally_averaged(optim.sgd(1.0)), 2)
    state, update = steps.init(p), jax.jit(steps.update)
    for g in (0.5, 1.5, 2.0, 2.0):  # means of 1 and 2 lead to 1 and to -1
        updates, state = update(jnp.array(g), state, p)
        p = optim.apply_updates(p, updates)
    assert (float(p), float(optim.averaged_params(state))) == (-1.0, 0.0)

    p = jnp.array(2.0)
    finite = optax.apply_if_finite(optim.equally_averaged(optim.sgd(1.0)), 5)
    state, update = finite.init(p), jax.jit(finite.update)
    for g in (1.0, np.nan, 2.0):
        updates, state = update(jnp.array(g), state, p)
        p = optim.apply_updates(p, updates)
    assert (float(p), float(optim.averaged_params(state))) == (-1.0, 0.0)


def test_extra_arguments_go_to_the_optimizer_within():
    wrapped = optim.exponentially_averaged(optim.chain(optim.sgd(0.1), optim.reduce_on_plateau(0.5, 1)))
    p = jnp.ones(2)
    _, state = wrapped.update(p, wrapped.init(p), p, value=jnp.float32(1.0))
    assert float(state.inner_state[1].best_value) == 1.0


# With a trainer.


X = np.random.default_rng(1).normal(size=(8, 3))
SETTINGS = {"epochs": 2, "batch_size": 4, "shuffle": False}


def data():
    return nn.Data(jnp.asarray(X), jnp.asarray(X.sum(1, keepdims=True)))


def make(rate):
    return nn.trainer(nn.Dense(1), nn.losses.mse, optim.exponentially_averaged(nn.adam(rate), 0.8), freeze="b")


def test_a_trainer_carries_the_average_and_so_does_fit(x64):
    t = make(0.1)
    ts = begun = t.init(jax.random.key(0), data().x)
    step, expected, weights = jax.jit(t.step), 0.0, 0.0
    for i in range(4):
        ts, _ = step(ts, data().take(np.arange(4) + 4 * (i % 2)))
        expected, weights = 0.8 * expected + 0.2 * np.asarray(ts.params["w"]), 0.8 * weights + 0.2
    np.testing.assert_allclose(optim.averaged_params(ts.opt_state)["w"], expected / weights, rtol=1e-12)

    fitted, _ = nn.fit(t, begun, data(), **SETTINGS)
    for average in (optim.averaged_params(fitted.opt_state), optim.averaged_params(fitted)):
        assert average["b"] is None
        np.testing.assert_allclose(average["w"], expected / weights, rtol=1e-12)
    averaged = fitted._replace(params=optim.averaged_params(fitted.opt_state))
    np.testing.assert_allclose(t.predict(averaged, data().x), X @ (expected / weights), rtol=1e-12)


def test_each_member_of_a_vmap_over_fit_has_its_average(x64):
    begun = make(0.1).init(jax.random.key(0), data().x)
    average = lambda rate: optim.averaged_params(nn.fit(make(rate), begun, data(), **SETTINGS)[0])["w"]
    np.testing.assert_allclose(jax.vmap(average)(jnp.array([0.1, 0.2])), [average(0.1), average(0.2)], rtol=1e-12)


def test_a_run_that_was_saved_goes_on_with_its_average(x64):
    x = jnp.asarray(random.normal(size=(4, 3)))
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optim.equally_averaged(nn.sgd(0.1)))
    step, batch, ts = jax.jit(t.step), nn.Data(x, x.sum(1, keepdims=True)), t.init(jax.random.key(0), x)
    saved, _ = step(ts, batch)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(saved.opt_state)]
    loaded = saved._replace(opt_state=jax.tree.unflatten(jax.tree.structure(t.optimizer.init(saved.params)), leaves))
    (on, _), (direct, _) = step(loaded, batch), step(saved, batch)
    jax.tree.map(np.testing.assert_array_equal, optim.averaged_params(on), optim.averaged_params(direct))


def test_a_batch_of_weight_0_is_no_step_of_the_average(x64):
    x = jnp.ones((2, 3))
    t = nn.trainer(nn.Dense(1), nn.losses.mse, optim.equally_averaged(nn.sgd(0.1)))
    ts, _ = jax.jit(t.step)(t.init(jax.random.key(0), x), nn.Data(x, x[:, :1], jnp.zeros(2)))
    assert float(ts.opt_state.weight) == 0


# Without an optimizer.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_targets_follow_as_in_optax(dtype, loose):
    tree = lambda: {"w": jnp.asarray(random.normal(size=3), dtype), "held": None}
    new, old = tree(), tree()
    for ours, theirs in (
        (optim.incremental_update(new, old, 0.25), optax.incremental_update(new, old, 0.25)),
        (optim.periodic_update(new, old, 4, 2), optax.periodic_update(new, old, 4, 2)),
        (optim.periodic_update(new, old, 5, 2), optax.periodic_update(new, old, 5, 2)),
    ):
        assert ours["held"] is None
        assert ours["w"].dtype == dtype
        np.testing.assert_allclose(
            np.asarray(ours["w"], float), np.asarray(theirs["w"], float), rtol=1e-6 if dtype == jnp.float32 else 0.02
        )


def test_targets_follow_by_traced_parts_and_periods():
    new, old = jnp.array([1.0, 2.0]), jnp.array([3.0, 6.0])
    moved = jax.vmap(lambda part: optim.incremental_update(new, old, part))(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(moved, [old, [2.0, 4.0], new])
    taken = jax.vmap(lambda period: optim.periodic_update(new, old, 6, period))(jnp.array([2, 4]))
    np.testing.assert_array_equal(taken, [new, old])


@pytest.mark.parametrize("name", ["incremental_update", "periodic_update"])
def test_arguments_are_those_of_optax(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


# Errors.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.exponentially_averaged(optim.sgd(0.1), 1.0), "decay from 0 to below 1, because an average must"),
        (lambda: optim.exponentially_averaged(optim.sgd(0.1), start=-1), "start of 0 or more, because it counts steps"),
        (lambda: optim.equally_averaged(optim.sgd(0.1), -1), "start of 0 or more, because it counts steps; got -1"),
        (lambda: optim.equally_averaged(optim.sgd(0.1), 0, 0), "every of 1 or more, because it counts steps; got 0"),
        (lambda: optim.incremental_update(1.0, 2.0, -0.5), "step_size from 0 to 1, because it is the part of a way"),
        (lambda: optim.periodic_update(1.0, 2.0, 0, 0), "update_period of 1 or more, because it counts steps; got 0"),
        (
            lambda: optim.averaged_params(optim.adam(0.1).init(jnp.ones(2))),
            "the state of one optimizer that averages parameters, because they are taken out of it; got one with 0 ",
        ),
        (
            lambda: optim.averaged_params([optim.equally_averaged(optim.sgd(0.1)).init(jnp.ones(2))] * 2),
            "the state of one optimizer that averages .*; got one with 2 averages\n  hint: exponentially_averaged",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ValueError, match=f"expected {message}"):
        make()


@pytest.mark.parametrize("wrap", [optim.exponentially_averaged, optim.equally_averaged])
def test_an_average_asks_for_parameters(wrap):
    wrapped = wrap(optim.sgd(0.1))
    with pytest.raises(ValueError, match=r"expected params, because it is they that are averaged; got None: call upd"):
        wrapped.update(jnp.ones(2), wrapped.init(jnp.ones(2)))
