"""The dynamic loss scale: PyTorch's rule, steps that are left out without a trace, and training in float16 with it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim
from jaxnn._micro_batches import micro_batched
from jaxnn.layers import Precision, in_precision

SETTINGS = {"initial": 8.0, "growth_interval": 3, "growth_factor": 4.0, "backoff_factor": 0.25, "least": 1.0}
random = np.random.default_rng(0)
GRADS = random.normal(size=(24, 3))
OVERFLOWS = [0, 1, 2, 10, 15, 16]  # in a row to below the least, alone, and just after it has grown
GRADS[OVERFLOWS, random.integers(0, 3, len(OVERFLOWS))] = [np.inf, np.nan, -np.inf, np.nan, np.inf, np.nan]
START = np.array([1.0, -2.0, 0.5])


def ran(optimizer, grads=GRADS, dtype=jnp.float64, extra=lambda g: {}):
    """Parameters, scales and counts after each step, and the last state; in one program."""

    def step(carry, g):
        p, state = carry
        updates, state = optimizer.update({"w": g, "held": None}, state, p, **extra(g))
        p = optim.apply_updates(p, updates)
        return (p, state), (p["w"], optim.loss_scale_of(state), state.good_steps)

    p = {"w": jnp.asarray(START, dtype), "held": None}
    (_, state), seen = jax.lax.scan(step, (p, optimizer.init(p)), jnp.asarray(grads, dtype))
    return *seen, state


def by_a_loop(grads, initial, growth_interval, growth_factor, backoff_factor, least, rate=0.1, momentum=0.9):
    """The rule in words of Python, with momentum for the optimizer."""
    p, v, s, good, seen = START, np.zeros(3), initial, 0, []
    for g in grads:
        if np.isfinite(g).all():
            v = g + momentum * v
            p = p - rate * v
            good += 1
            if good == growth_interval:
                s, good = s * growth_factor, 0
        else:
            s, good = max(s * backoff_factor, least), 0
        seen.append((p, s, good))
    return [np.array(column) for column in zip(*seen, strict=True)]


def test_it_follows_the_rule(x64):
    p, s, good, _ = ran(optim.dynamic_loss_scale(optim.momentum(0.1), **SETTINGS))
    for got, expected in zip((p, s, good), by_a_loop(GRADS, **SETTINGS), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert len(set(np.asarray(s))) > 3
    assert s.dtype == jnp.float32


def test_what_is_left_out_leaves_no_trace_in_the_optimizer(x64):
    """Parameters and the whole state of Adam are those of a run without these steps."""
    _, _, _, state = ran(optim.dynamic_loss_scale(optim.adam(0.1)))
    p, _, _, never = ran(optim.dynamic_loss_scale(optim.adam(0.1)), np.delete(GRADS, OVERFLOWS, 0))
    leaves = [jax.tree.leaves(each.inner_state) for each in (state, never)]
    for got, expected in zip(*leaves, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert np.isfinite(p).all()
    assert int(state.inner_state[0].count) == len(GRADS) - len(OVERFLOWS)


@pytest.mark.oracle
def test_the_rule_is_that_of_grad_scaler():
    torch = pytest.importorskip("torch")
    given = {name: SETTINGS[name] for name in ("growth_interval", "growth_factor", "backoff_factor")}
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, **given)
    p = torch.tensor(START, dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    path, scales = [], []
    for g in GRADS.astype(np.float32):
        scaler.scale((p * torch.tensor(g)).sum()).backward()  # whose gradient is g
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        path.append(p.detach().numpy().copy())
        scales.append(scaler.get_scale())
    ours, s, _, _ = ran(optim.dynamic_loss_scale(optim.momentum(0.1), 8.0, least=1e-20, **given), dtype=jnp.float32)
    np.testing.assert_allclose(ours, path, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(s, scales)


def test_the_scale_stays_below_infinity():
    """As PyTorch's does; what would be infinite would make every gradient 0 or NaN from then on."""
    grows = optim.dynamic_loss_scale(optim.sgd(0.1), 2.0**126, growth_interval=1)
    _, s, good, _ = ran(grows, np.ones((4, 3)), jnp.float32)
    np.testing.assert_array_equal(s, [2.0**127] * 4)
    assert (good == 0).all()


def test_every_number_can_be_swept(x64):
    """One program for all members, each of which is what it is alone."""
    members = {
        "initial": np.array([8.0, 64.0, 1.0]),
        "growth_interval": np.array([3, 1, 5]),
        "growth_factor": np.array([4.0, 2.0, 1.5]),
        "backoff_factor": np.array([0.25, 0.5, 0.9]),
        "least": np.array([1.0, 0.125, 1.0]),
    }
    programs = []

    @jax.jit
    def swept(members):
        programs.append(None)
        return jax.vmap(lambda each: ran(optim.dynamic_loss_scale(optim.momentum(0.1), **each))[:3])(members)

    got = swept(members)
    swept({name: each[::-1] for name, each in members.items()})
    assert len(programs) == 1
    for i in range(3):
        alone = by_a_loop(GRADS, **{name: each[i] for name, each in members.items()})
        for a, b in zip(got, alone, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-6)


def test_derivatives_pass_by_the_steps_that_are_left_out(x64):
    """By the learning rate and by the gradients: those of a run without them, and 0 for them."""

    def end(rate, grads):
        return (ran(optim.dynamic_loss_scale(optim.adam(rate)), grads)[0][-1] * jnp.arange(1.0, 4)).sum()

    slope, d_grads = jax.jit(jax.grad(end, (0, 1)))(0.1, GRADS)
    kept = np.delete(np.arange(len(GRADS)), OVERFLOWS)
    slope_of_the_rest, d_rest = jax.jit(jax.grad(end, (0, 1)))(0.1, GRADS[kept])
    np.testing.assert_allclose(slope, slope_of_the_rest, rtol=1e-12)
    np.testing.assert_allclose(d_grads[kept], d_rest, rtol=1e-10, atol=1e-14)
    assert (d_grads[np.array(OVERFLOWS)] == 0).all()


def test_extra_arguments_are_handed_on_but_no_nan_among_them(x64):
    """Polyak's rule has the loss for an argument; that of an overflow must not come near it."""
    extra = lambda g: {"value": 0.3 * jnp.square(g).sum(), "value_fn": abs}
    p, *_ = ran(optim.dynamic_loss_scale(optim.polyak_sgd()), extra=extra)
    bare = optim.polyak_sgd()
    expected, kept = jnp.asarray(START), bare.init(jnp.asarray(START))
    for g in np.delete(GRADS, OVERFLOWS, 0):
        updates, kept = bare.update(jnp.asarray(g), kept, expected, value=0.3 * np.square(g).sum())
        expected = expected + updates
    np.testing.assert_allclose(p[-1], expected, rtol=1e-12)

    def by_rate(rate, grads):
        """Of an optimizer that takes a step as long as the loss: 0 times an infinite one is NaN."""

        def update(updates, state, params=None, *, value, **extra):
            return jax.tree.map(lambda g: -rate * value * g, updates), state

        inner = optax.GradientTransformationExtraArgs(bare.init, update)
        return ran(optim.dynamic_loss_scale(inner), grads, extra=extra)[0][-1].sum()

    slope = jax.jit(jax.grad(by_rate))
    of_the_rest = slope(0.1, np.delete(GRADS, OVERFLOWS, 0))
    np.testing.assert_allclose(slope(0.1, GRADS), of_the_rest, rtol=1e-10)
    assert abs(of_the_rest) > 0


def test_dtypes_and_leaves_that_are_none_stay():
    optimizer = optim.dynamic_loss_scale(optim.momentum(0.1))
    p = {"w": jnp.ones(3, jnp.bfloat16), "none": None, "empty": jnp.zeros((0, 2)), "scalar": jnp.ones(())}
    state = optimizer.init(p)
    updates, after = jax.jit(optimizer.update)(p, state, p)
    dtypes = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
    assert dtypes(updates) == dtypes(p)
    assert dtypes(after) == dtypes(state)
    of_nothing, _ = optimizer.update({}, optimizer.init({}), {})
    assert of_nothing == {}


def test_the_scale_is_found_wherever_it_stands():
    p = jnp.ones(2)
    scaled = optim.dynamic_loss_scale(optim.sgd(0.1), 64.0)
    for optimizer in (scaled, optim.chain(optim.clip(1.0), scaled), optim.exponentially_averaged(scaled)):
        assert float(optim.loss_scale_of(optimizer.init(p))) == 64
    assert optim.loss_scale_of(optim.adam(0.1).init(p)) is None
    with pytest.raises(ValueError, match="expected one loss scale, because a step has one backward; got 2\n  hint: "):
        optim.loss_scale_of(optim.chain(scaled, scaled).init(p))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"initial": 0.0}, "expected initial above 0, because cotangents are multiplied and divided by it; got 0.0"),
        ({"initial": float("nan")}, "expected initial above 0, because .*; got nan"),
        ({"least": 0.0}, "expected least above 0, because .*; got 0.0"),
        ({"initial": 2.0, "least": 4.0}, "expected initial of least, 4.0, or more, because it does not fall .*; got 2"),
        ({"growth_interval": 0}, "expected growth_interval of 1 or more, because it counts steps; got 0"),
        ({"growth_interval": 1.5}, "expected growth_interval to be an integer, because it counts steps; got 1.5"),
        ({"growth_factor": 0.5}, "expected growth_factor of 1 or more, because the scale must grow; got 0.5"),
        ({"backoff_factor": 1.0}, "expected backoff_factor between 0 and 1, because the scale must fall; got 1.0"),
        ({"backoff_factor": 0.0}, "expected backoff_factor between 0 and 1, because the scale must fall; got 0.0"),
    ],
    ids=repr,
)
def test_numbers_that_cannot_be_meant_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        optim.dynamic_loss_scale(optim.sgd(0.1), **setting)


# Training.

ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
X = random.normal(size=(16, 3)).astype(np.float32)
BATCH = nn.Data(jnp.asarray(X), jnp.asarray(np.sin(X.sum(1, keepdims=True))))
FLOAT16 = Precision(jnp.float16)


def trained(road, optimizer, batches, policy=FLOAT16, loss=nn.losses.mse):
    """The states and losses after each batch, of a model without anything random in it; one program."""
    model = in_precision(nn.Dense(4), nn.tanh, nn.Dense(1), policy=policy)
    trainer = nn.trainer(model, loss, optimizer, gradient=road)

    @jax.jit
    def run(batches):
        def step(ts, batch):
            ts, info = trainer.step(ts, batch)
            return ts, (ts, info.loss)

        return jax.lax.scan(step, trainer.init(jax.random.key(0), BATCH.x), batches)[1]

    return run(jax.tree.map(lambda *rows: jnp.stack(rows), *batches))


@roads
def test_an_overflow_of_the_scale_is_left_out_until_it_fits(road):
    """2^24 times any cotangent is infinite in float16: every step is left out until it has fallen."""
    ts, losses = trained(road, optim.dynamic_loss_scale(optim.adam(0.05), 2.0**24), [BATCH] * 30)
    s = np.asarray(ts.opt_state.loss_scale)
    skipped = int((s < 2.0**24).argmin() if s[0] == 2.0**24 else (np.diff(s) < 0).sum() + 1)
    assert 5 < skipped < 20
    np.testing.assert_array_equal(s[:skipped], 2.0 ** (23 - np.arange(skipped)))
    assert (s[skipped:] == s[skipped - 1]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((ts.params, ts.opt_state)))
    assert len(set(np.asarray(losses[: skipped + 1]))) == 1  # nothing has moved
    assert losses[-1] < 0.5 * losses[0]
    never, _ = trained(road, optim.dynamic_loss_scale(optim.adam(0.05), float(s[-1])), [BATCH] * (30 - skipped))
    for got, expected in zip(jax.tree.leaves(ts.params), jax.tree.leaves(never.params), strict=True):
        np.testing.assert_array_equal(got[-1], expected[-1])


@pytest.mark.parametrize("road", [*ROADS.values(), micro_batched(nn.by_hand, 5)], ids=[*ROADS, "in parts"])
def test_a_batch_that_overflows_is_left_out(road):
    """The gradient of this one is not finite whatever the scale: parameters go on as if there had been none."""
    huge = BATCH._replace(x=BATCH.x.at[3, 1].set(1e6))
    optimizer = optim.dynamic_loss_scale(optim.adam(0.05), 2.0**10)
    ts, _ = trained(road, optimizer, [BATCH] * 3 + [huge] + [BATCH] * 4)
    never, _ = trained(road, optimizer, [BATCH] * 7)
    np.testing.assert_array_equal(ts.opt_state.loss_scale, [2.0**10] * 3 + [2.0**9] * 5)
    for got, expected in zip(jax.tree.leaves(ts.params), jax.tree.leaves(never.params), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got[3], got[2])
        np.testing.assert_allclose(got[4:], expected[3:], rtol=1e-4, atol=1e-5)
    # Without this optimizer that is the end.
    ts, _ = trained(road, optim.adam(0.05), [BATCH, huge, BATCH])
    assert not any(np.isfinite(leaf[-1]).all() for leaf in jax.tree.leaves(ts.params))


@roads
def test_gradients_that_float16_does_not_have_are_there_with_a_scale(road):
    """A loss so small that its cotangents are 0 in float16."""
    small = lambda prediction, target: 1e-8 * jnp.square(prediction - target)
    steps = functools.partial(trained, road, batches=[BATCH] * 2, loss=small)
    start = steps(optim.sgd(0.0))[0].params
    lost, _ = steps(optim.sgd(1e7))
    kept, _ = steps(optim.dynamic_loss_scale(optim.sgd(1e7)))
    wide, _ = steps(optim.sgd(1e7), policy=Precision(jnp.float32))
    for began, *ends in zip(*(jax.tree.leaves(each) for each in (start, lost.params, kept.params, wide.params)),
                            strict=True):  # fmt: skip
        none, scaled, expected = (end[-1] - began[-1] for end in ends)
        assert (none == 0).all()
        np.testing.assert_allclose(scaled, expected, atol=0.03 * abs(expected).max())


@roads
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_a_run_in_mixed_precision_learns_what_one_in_float32_does(road, dtype):
    optimizer = optim.dynamic_loss_scale(optim.adam(0.05)) if dtype == jnp.float16 else optim.adam(0.05)
    _, losses = trained(road, optimizer, [BATCH] * 60, Precision(dtype))
    _, wide = trained(road, optim.adam(0.05), [BATCH] * 60, Precision(jnp.float32))
    assert losses[-1] < 0.3 * losses[0]
    np.testing.assert_allclose(losses, wide, atol=0.03 * float(wide[0]))


@roads
def test_running_statistics_do_not_see_what_is_left_out(road):
    huge = BATCH._replace(x=BATCH.x.at[3, 1].set(1e6))
    model = in_precision(nn.Dense(4), nn.BatchNorm(), nn.tanh, nn.Dense(1), policy=Precision(jnp.float16))
    optimizer = optim.dynamic_loss_scale(optim.adam(0.05), 2.0**10)
    trainer = nn.trainer(model, nn.losses.mse, optimizer, gradient=road)
    begin = trainer.init(jax.random.key(0), BATCH.x)
    step = jax.jit(lambda ts, batch: trainer.step(ts, batch)[0])
    skipped, taken = step(begin, huge), step(begin, BATCH)
    assert (skipped.step, skipped.opt_state.loss_scale) == (1, 2.0**9)
    for parts in zip(*(jax.tree.leaves((ts.params, ts.state)) for ts in (begin, skipped, taken)), strict=True):
        before, left_out, after = parts
        np.testing.assert_array_equal(left_out, before)
        assert np.isfinite(after).all()
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (taken.state, begin.state)), strict=True))


def test_a_run_does_not_take_a_step_that_was_left_out_for_a_slip(recwarn):
    """`run` warns where nothing moves; here the scale did."""
    trainer = nn.trainer(
        in_precision(nn.Dense(1), policy=Precision(jnp.float16)),
        nn.losses.mse,
        optim.dynamic_loss_scale(optim.adam(0.05), 2.0**24),
    )
    data = nn.Data(BATCH.x, BATCH.y)
    nn.run(trainer, trainer.init(jax.random.key(0), data.x), data, epochs=3, batch_size=4, chunk=1, progress=False)
    assert not recwarn.list


def test_a_step_that_was_left_out_is_no_part_of_the_history():
    """Of three steps an epoch one overflows, whatever the scale; of the other kind all do."""
    model = in_precision(nn.Dense(4), nn.tanh, nn.Dense(1), policy=FLOAT16)
    trainer = nn.trainer(model, nn.losses.mse, optim.dynamic_loss_scale(optim.sgd(0.0), 2.0**4))
    huge = BATCH.x.at[3, 1].set(1e6)
    settings = {"epochs": 1, "batch_size": 4, "shuffle": False, "record": {"norm": nn.training.gradient_norm}}
    fit = lambda data, **given: nn.fit(trainer, trainer.init(jax.random.key(0), BATCH.x), data, **settings | given)[1]
    seen, rest = fit(BATCH._replace(x=huge)), fit(jax.tree.map(lambda a: a[4:], nn.Data(BATCH.x, BATCH.y)))
    for name in ("loss", "norm"):
        np.testing.assert_allclose(seen[name], rest[name], rtol=1e-5)
    rows = fit(BATCH._replace(x=huge), steps_per_row=1)
    assert (np.isnan(rows["loss"]) == [True, False, False, False]).all()


def test_a_scale_of_one_part_is_refused():
    one = optim.by_name({"stem/.*": optim.sgd(0.1), ".*": optim.dynamic_loss_scale(optim.sgd(0.1))})
    trainer = nn.trainer(nn.serial(stem=nn.Dense(2), head=nn.Dense(1)), nn.losses.mse, one)
    with pytest.raises(ValueError, match="expected dynamic_loss_scale around the optimizers of all parts"):
        trainer.step(trainer.init(jax.random.key(0), BATCH.x), BATCH)
