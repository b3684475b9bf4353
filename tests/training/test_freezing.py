"""What is frozen rests to the last bit, and what is frozen later or no longer leaves the rest as it goes on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import assert_close, regression

import jaxnn as nn
from jaxnn import optim
from jaxnn.gradients import with_penalty
from jaxnn.training import refreeze

float64 = pytest.mark.usefixtures("x64")
MODEL = nn.serial(stem=nn.Dense(2), tanh=nn.tanh, head=nn.Dense(1, bias=False))
STEM, HEAD = "stem/.*", "head/.*"
B1, B2, EPS = 0.9, 0.999, 1e-8


def trainer(optimizer, freeze=(), gradient=nn.by_autodiff):
    return nn.trainer(MODEL, nn.losses.mse, optimizer, gradient=gradient, freeze=freeze)


def parts(rate=0.1):
    return optim.by_name({STEM: optim.adam(rate), HEAD: optim.adam(rate)})


def whole(ts):
    return nn.tree.named_leaves(nn.tree.merge(ts.params, ts.frozen))


def pairs(tree):
    """Leaves by name, as NumPy has them."""
    return {name: np.asarray(leaf) for name, leaf in nn.tree.named_leaves(tree).items()}


# Frozen.


@pytest.mark.parametrize(
    "optimizer",
    [optim.adamw(0.1, weight_decay=0.1), optim.chain(optim.add_decayed_weights(0.1), optim.momentum(0.1))],
    ids=["adamw", "momentum with decay"],
)
@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
def test_what_is_frozen_is_the_same_to_the_last_bit(key, road, optimizer):
    """Neither decay, nor a velocity from before, nor a penalty moves it."""
    penalised = with_penalty(road, nn.losses.Penalty(l2=0.1))
    t, data = trainer(optimizer, gradient=penalised), regression(8)

    @jax.jit
    def run(key):
        ts, _ = nn.fit(t, t.init(key, data.x), data, epochs=1, batch_size=4)
        frozen, ts = refreeze(t, ts, STEM)
        return ts, nn.fit(frozen, ts, data, epochs=2, batch_size=4)[0]

    before, after = run(key)
    assert_close(after.frozen, before.frozen, 0)
    assert (whole(after)["head/w"] != whole(before)["head/w"]).all()


# The rest goes on.


def gradients(p, x, y):
    """Of the mean of squared errors, by NumPy."""
    h = np.tanh(x @ p["stem/w"] + p["stem/b"])
    d = 2 * (h @ p["head/w"] - y) / y.size
    d_h = d @ p["head/w"].T * (1 - h**2)
    return {"stem/w": x.T @ d_h, "stem/b": d_h.sum(0), "head/w": h.T @ d}


def plain_loop(p, x, y, stages, shared=False):
    """Adam for each parameter alone, with means and a count of its own unless that is shared."""
    p, kept, count = dict(p), {}, 0
    for learning, steps in stages:
        kept = {name: kept.get(name, (0.0, 0.0, 0)) for name in p if name.split("/")[0] in learning}
        for _ in range(steps):
            count += 1
            for name, g in gradients(p, x, y).items():
                if name not in kept:
                    continue
                m, v, t = kept[name]
                m, v, t = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2, count if shared else t + 1
                p[name] = p[name] - 0.1 * (m / (1 - B1**t)) / (np.sqrt(v / (1 - B2**t)) + EPS)
                kept[name] = m, v, t
    return p


STAGES = [(("head",), 4), (("head", "stem"), 3), (("stem",), 2), (("head", "stem"), 3)]


def staged(optimizer, key, data, stages=STAGES):
    """The same in a trainer: from stage to stage other parts are frozen."""
    freeze = lambda learning: tuple(f"{part}/.*" for part in ("head", "stem") if part not in learning)
    t = trainer(optimizer, freeze(stages[0][0]))
    begun = ts = t.init(key, data.x)
    for learning, steps in stages:
        t, ts = refreeze(t, ts, freeze(learning))
        ts, _ = nn.fit(t, ts, data, epochs=steps, batch_size=8, shuffle=False)
    return begun, ts


@float64
@pytest.mark.parametrize("shared", [False, True], ids=["a count for each part", "one count"])
def test_each_parameter_moves_as_with_an_optimizer_of_its_own(key, shared):
    data = regression(8)
    begun, ts = jax.jit(lambda key: staged(optim.adam(0.1) if shared else parts(), key, data))(key)
    expected = plain_loop(pairs(begun.params) | pairs(begun.frozen), *map(np.asarray, data[:2]), STAGES, shared)
    for name, leaf in whole(ts).items():
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-9, err_msg=name)
    assert ts.step == 12


@float64
def test_a_part_with_a_count_of_its_own_begins_with_steps_of_the_learning_rate(key):
    """And one that shares an old count with steps that are too long, as `refreeze` says."""
    data = regression(8)

    def first_and_longest(optimizer):
        """How far the stem goes in its first step, and in one of 12, in learning rates; its gradient stays."""
        t = nn.trainer(nn.serial(stem=nn.Dense(1), head=nn.Dense(1)), lambda p, y: p, optimizer, freeze=STEM)
        ts = t.init(key, data.x)
        old = jax.tree.map(lambda leaf: leaf + 10**6 if leaf.ndim == 0 else leaf, ts.opt_state)  # that many steps
        t, ts = refreeze(t, ts._replace(opt_state=old), ())

        def step(ts, _):
            new, _ = t.step(ts, data)
            return new, jnp.abs(new.params["stem"]["b"] - ts.params["stem"]["b"])[0] / 1e-6

        lengths = jax.lax.scan(step, ts, length=12)[1]
        return lengths[0], lengths.max()

    run = lambda optimizer: [float(each) for each in jax.jit(lambda: first_and_longest(optimizer))()]
    own = optim.by_name({STEM: optim.adam(1e-6), HEAD: optim.adam(1e-6)})
    np.testing.assert_allclose(run(own), 1, rtol=1e-4)
    np.testing.assert_allclose(run(optim.adam(1e-6)), [0.1 / 0.001**0.5, 6.57], rtol=1e-3)


WRAPPERS = {
    "chain": optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(nn.cosine_decay_schedule(0.1, 9))),
    "averages": optim.exponentially_averaged(optim.adam(0.1), 0.5),
    "MultiSteps": optim.MultiSteps(optim.adam(0.1), 2),
    "with_lookahead": optim.with_lookahead(optim.adam(0.1), 3),
    "inject_hyperparams": optax.inject_hyperparams(optim.sgd)(learning_rate=0.1, momentum=0.9),
    "by_name": parts(),
    "all of it": optim.MultiSteps(optim.exponentially_averaged(optim.chain(optim.clip(0.1), parts())), 2),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_was_kept_of_what_goes_on_is_kept_and_the_rest_is_as_at_the_beginning(key, name):
    t, data = trainer(WRAPPERS[name], STEM), regression(8)
    made = {}

    @jax.jit
    def run(key):
        ts = t.init(key, data.x)
        for _ in range(3):
            ts, _ = t.step(ts, data)
        made["all"], free = refreeze(t, ts, ())
        _, same = refreeze(t, ts, STEM)
        _, back = refreeze(made["all"], free, STEM)
        on, _ = made["all"].step(free, data)
        return ts, free, t.optimizer.init(free.params), same, back, on

    ts, free, fresh, same, back, on = run(key)
    assert_close(same, ts, 0)
    assert_close(back, ts, 0)
    assert (made["all"].freeze, whole(free).keys()) == ((), whole(ts).keys())
    assert all(leaf is None for leaf in jax.tree.leaves(free.frozen, is_leaf=lambda leaf: leaf is None))
    old, new, fresh = (pairs(state) for state in (ts.opt_state, free.opt_state, fresh))
    assert new.keys() == fresh.keys() > old.keys()
    for leaf, value in new.items():
        np.testing.assert_array_equal(value, old.get(leaf, fresh[leaf]), err_msg=leaf)
    assert sum(bool((value != fresh[leaf]).any()) for leaf, value in new.items()) >= 2
    assert all(np.isfinite(leaf).all() for leaf in pairs(on.opt_state).values())


@float64
def test_an_average_and_a_slow_weight_of_what_is_unfrozen_begin_as_its_value(key):
    data = regression(8)
    optimizer = optim.exponentially_averaged(optim.with_lookahead(optim.sgd(0.1), 5), 0.9)
    t = trainer(optimizer, STEM)

    @jax.jit
    def run(key):
        ts = t.init(key, data.x)
        for _ in range(2):
            ts, _ = t.step(ts, data)
        return refreeze(t, ts, ())[1]

    free = run(key)
    for kept in (optim.averaged_params(free), free.opt_state.inner_state.slow):
        assert_close(kept["stem"], free.params["stem"], 0)
        assert (kept["head"]["w"] != free.params["head"]["w"]).any()


def test_a_loss_scale_that_has_fallen_stays(key):
    t = trainer(optim.dynamic_loss_scale(optim.adam(0.1)), STEM)
    ts = t.init(key, regression(8).x)
    ts = ts._replace(opt_state=ts.opt_state._replace(loss_scale=jnp.float32(4.0)))
    assert optim.loss_scale_of(refreeze(t, ts, ())[1].opt_state) == 4.0


# What is frozen costs nothing.


@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
def test_operations_and_state_fall_when_a_part_is_frozen_and_rise_when_it_is_not(road):
    model = nn.serial(stem=nn.serial(nn.Dense(64), nn.tanh, nn.Dense(64), nn.tanh), head=nn.Dense(2))
    t = nn.trainer(model, nn.losses.cross_entropy, optim.sgd(0.1, momentum=0.9), gradient=road)
    data = nn.Data(jnp.ones((128, 64)), jnp.zeros(128, jnp.int32))
    ts = jax.eval_shape(t.init, jax.random.key(0), data.x)

    def costs(t, ts):
        flops = jax.jit(t.step).lower(ts, data).compile().cost_analysis()["flops"]
        return flops, len(jax.tree.leaves(ts.opt_state))

    def change(t, ts, freeze):
        made = []
        ts = jax.eval_shape(lambda ts: made.append(refreeze(t, ts, freeze)) or made[0][1], ts)
        return made[0][0], ts

    frozen, ts_frozen = change(t, ts, "stem/.*")
    again, ts_again = change(frozen, ts_frozen, ())
    (flops, leaves), (flops_frozen, leaves_frozen) = costs(t, ts), costs(frozen, ts_frozen)
    assert (leaves, leaves_frozen) == (6, 2)
    assert flops_frozen < 0.5 * flops
    assert costs(again, ts_again) == (flops, leaves)


# Transformations.


@float64
def test_gradual_unfreezing_of_many_runs_at_once_equals_a_loop(key):
    data, keys = regression(8), jax.random.split(key, 3)
    run = jax.jit(lambda key: staged(parts(), key, data, STAGES[:2])[1])
    many = jax.jit(jax.vmap(lambda key: staged(parts(), key, data, STAGES[:2])[1]))(keys)
    for i, key in enumerate(keys):
        one = run(key)
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], (many.params, many.opt_state)), one[0:1] + one[3:4], 1e-9)


@float64
def test_stacked_train_states_change_by_vmap(key):
    t, data = trainer(parts(), STEM), regression(8)
    begun = jax.jit(jax.vmap(lambda key: t.init(key, data.x)))(jax.random.split(key, 3))
    free = jax.jit(jax.vmap(lambda ts: refreeze(t, ts, ())[1]))(begun)
    one = jax.jit(lambda ts: refreeze(t, ts, ())[1])(jax.tree.map(lambda leaf: leaf[1], begun))
    assert_close(jax.tree.map(lambda leaf: leaf[1], free), one, 0)


# Errors.


def test_a_pattern_that_matches_nothing_is_refused(key):
    t = trainer(optim.adam(0.1))
    ts = t.init(key, regression(8).x)
    with pytest.raises(
        ValueError, match=r"expected every pattern to match .*; 'neck/.\*' matches none of: head/w, ste"
    ):
        refreeze(t, ts, ("stem/.*", "neck/.*"))


def test_a_train_state_of_another_trainer_is_refused(key):
    t, other, frozen = trainer(optim.adam(0.1)), trainer(optim.momentum(0.1)), trainer(optim.adam(0.1), STEM)
    x = regression(8).x
    with pytest.raises(ValueError, match="expected the optimizer state of this trainer's optimizer"):
        refreeze(t, other.init(key, x), STEM)
    with pytest.raises(
        ValueError, match=r"expected a train state that holds nothing fixed, .*; got one that holds stem"
    ):
        refreeze(t, frozen.init(key, x), ())


def test_an_optimizer_that_keeps_parameters_together_is_refused(key):
    t = trainer(optim.flatten(optim.adam(0.1)))
    ts = t.init(key, regression(8).x)
    with pytest.raises(
        ValueError,
        match=r"expected an optimizer that keeps its state parameter by parameter, because .*; got 0/mu of shape "
        r"\(10,\) before and \(2,\) after\n  hint: flatten\(optimizer\) has all",
    ):
        refreeze(t, ts, STEM)


def test_the_trainer_is_the_same_but_for_what_it_freezes(key):
    t = trainer(optim.adam(0.1))
    changed, _ = refreeze(t, t.init(key, regression(8).x), STEM)
    assert changed == dataclasses.replace(t, freeze=(STEM,))


@pytest.mark.parametrize("optimizer", [optim.flatten(optim.momentum(0.1)), optim.lbfgs()], ids=["flatten", "lbfgs"])
def test_what_is_kept_together_is_not_mistaken_for_the_parameters_own_where_sizes_agree(key, optimizer):
    """Two layers of one shape take turns: whose the vector is, its shape does not say."""
    model = nn.serial(a=nn.Dense(3), b=nn.Dense(3))
    t = nn.trainer(model, nn.losses.mse, optimizer, freeze="a/.*")
    ts = t.init(key, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="keeps its state parameter by parameter"):
        refreeze(t, ts, "b/.*")
    same, _ = refreeze(t, ts, "a/.*")
    assert same == t
