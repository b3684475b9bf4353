"""Numbers worked by hand, named after the items of the scope that they belong to: one parameter, f(x) = x^2."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

pytestmark = pytest.mark.usefixtures("x64")

square = lambda x: x**2


def path(optimizer, steps, f=square, start=2.0):
    """Parameters after each step, and the state after the last."""
    x, seen = jnp.asarray(start), []
    state = optimizer.init(x)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(f)(x), state, x)
        x = optim.apply_updates(x, updates)
        seen.append(x)
    return np.array(seen), state


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        pytest.param(nn.sgd(0.1), [1.6, 1.28, 1.024], id="OPT-2 gradient descent"),
        pytest.param(nn.adam(0.1), [1.9, 1.80016649, 1.70062339], id="OPT-6 Adam"),
        pytest.param(nn.adam(0.1, nesterov=True), [1.85263158, 1.73912147, 1.63428419], id="OPT-9 Nadam"),
        pytest.param(optim.adagrad(0.1, 0.0, 1e-8), [1.9, 1.83112505, 1.77582152], id="OPT-4 AdaGrad"),
        pytest.param(optim.rmsprop(0.1), [1.68377223, 1.47387531, 1.30871787], id="OPT-5 RMSprop"),
        pytest.param(optim.averaged_momentum(0.1), [1.96, 1.8848, 1.779424], id="MOM-1 EMA form"),
        pytest.param(nn.momentum(0.1 * (1 - 0.9), 0.9), [1.96, 1.8848, 1.779424], id="MOM-1 by the heavy ball"),
        pytest.param(nn.momentum(0.1, 0.9), [1.6, 0.92, 0.124], id="MOM-2 heavy ball"),
    ],
)
def test_three_steps_from_2_at_learning_rate_a_tenth(optimizer, expected):
    np.testing.assert_allclose(path(optimizer, 3)[0], expected, atol=1e-8)


def test_mom_1_the_ema_form_is_the_heavy_ball_at_a_rate_smaller_by_1_minus_decay():
    ema = optim.chain(optax.ema(0.9, debias=False), nn.sgd(0.1))
    np.testing.assert_allclose(path(nn.momentum(0.1 * (1 - 0.9), 0.9), 20)[0], path(ema, 20)[0], rtol=1e-12)


@pytest.mark.parametrize("start", [2.0, -300.0, 1e-3])
def test_opt_6_the_first_step_of_adam_is_the_learning_rate(start):
    (x,), _ = path(nn.adam(0.1), 1, start=start)
    assert abs(start - x) == pytest.approx(0.1, rel=1e-5)


def test_mom_3_nesterov_holds_the_parameters_ahead_of_the_textbook_ones():
    rate, decay, theta, v, textbook, ahead = 0.1, 0.9, 2.0, 0.0, [], []
    for _ in range(3):
        v = decay * v + rate * 2 * (theta - decay * v)
        theta = theta - v
        textbook.append(theta)
        ahead.append(theta - decay * v)
    np.testing.assert_allclose(textbook, [1.6, 0.992, 0.35584], rtol=1e-12)

    for steps in (1, 2, 3):
        ours, (trace, _) = path(nn.nesterov(rate, decay), steps)
        assert ours[-1] == pytest.approx(ahead[steps - 1], rel=1e-12)
        assert ours[-1] + decay * rate * trace.trace == pytest.approx(textbook[steps - 1], rel=1e-12)


@pytest.mark.parametrize(
    "optimizer",
    [optim.chain(optax.ema(0.0, debias=False), nn.sgd(0.1)), nn.momentum(0.1, 0.0), nn.nesterov(0.1, 0.0)],
    ids=["EMA form", "heavy ball", "Nesterov"],
)
def test_mom_4_momentum_of_zero_is_gradient_descent(optimizer):
    np.testing.assert_allclose(path(optimizer, 3)[0], [1.6, 1.28, 1.024], rtol=1e-12)


def test_mom_6_momentum_needs_fewer_steps_where_curvatures_differ_a_hundredfold():
    curvature = jnp.array([1.0, 100.0])

    def steps_to_a_millionth(optimizer):
        def step(carry):
            x, state, count = carry
            updates, state = optimizer.update(curvature * x, state, x)
            return optim.apply_updates(x, updates), state, count + 1

        x = jnp.ones(2)
        begin = (x, optimizer.init(x), 0)
        return int(jax.lax.while_loop(lambda carry: jnp.abs(carry[0]).max() > 1e-6, step, begin)[2])

    without = steps_to_a_millionth(nn.sgd(2 / (1 + 100)))  # the rate that converges fastest: (99 / 101)^steps
    assert without == 691
    assert steps_to_a_millionth(nn.momentum((1 + 0.9**0.5) ** 2 / 100, 0.9)) < 0.6 * without


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.01, [1.96, 1.9208, 1.882384]),
        (0.5, [0.0, 0.0]),
        (1.0, [-2.0, 2.0, -2.0, 2.0]),
        (1.1, [-2.4, 2.88]),
    ],
    ids=["a small rate creeps", "0.5 arrives at once", "1 oscillates", "1.1 diverges"],
)
def test_gd_6_a_square_converges_for_rates_between_0_and_1_only(rate, expected):
    np.testing.assert_allclose(path(nn.sgd(rate), len(expected))[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("f", "rate"), [(lambda x: (x - 1) ** 2, 0.2), (lambda x: 2 * x**2 - 4 * x, 0.1)])
def test_gd_7_from_3_to_2_2_to_1_72(f, rate):
    np.testing.assert_allclose(path(nn.sgd(rate), 4, f, 3.0)[0], [2.2, 1.72, 1.432, 1.2592], rtol=1e-12)


def test_gd_8_the_fit_of_z_to_2x_through_the_trainer():
    trainer = nn.trainer(nn.Dense(1, bias=False), nn.losses.mse, nn.sgd(0.4))
    point = nn.Data(jnp.array([[1.0]]), jnp.array([[2.0]]))
    ts = trainer.init(jax.random.key(0), point.x)._replace(params={"w": jnp.array([[0.2]])})
    step, weights, losses = jax.jit(trainer.step), [], []
    for _ in range(4):
        ts, info = step(ts, point)
        weights.append(float(ts.params["w"][0, 0]))
        losses.append(float(info.loss))
    np.testing.assert_allclose(weights, [1.64, 1.928, 1.9856, 1.99712], rtol=1e-12)
    np.testing.assert_allclose(losses, [3.24, 0.1296, 0.005184, 0.00020736], rtol=1e-9)


@pytest.mark.parametrize(
    ("squares", "expected"),
    [(1.25, [2.0, 2.0]), (2.5, [3.8, 0.2]), (2.6, [2 + 1.08 * 1.8, 2 - 1.08**2 * 1.8])],
    ids=["arrives at once", "oscillates", "diverges"],
)
def test_gd_8_the_sum_of_squared_inputs_decides_whether_it_converges(squares, expected):
    np.testing.assert_allclose(path(nn.sgd(0.4), 2, lambda w: squares * (2 - w) ** 2, 0.2)[0], expected, rtol=1e-12)


def test_gd_8_a_factor_of_a_half_halves_the_step():
    weights, _ = path(nn.sgd(0.4), 3, lambda w: (2 - w) ** 2 / 2, 0.2)
    np.testing.assert_allclose(weights, [0.92, 1.352, 1.6112], rtol=1e-12)


def test_a_schedule_is_called_with_the_steps_taken_before():
    xs, _ = path(nn.sgd(lambda count: 0.1 / (count.astype(float) + 1)), 2, lambda x: x, 2.0)
    np.testing.assert_allclose(xs, [1.9, 1.85], rtol=1e-12)


def test_e_33_the_eps_of_adam_is_outside_the_root_and_eps_root_inside():
    g, eps = 3e-3, 4e-3
    first = lambda **eps: path(nn.adam(0.1, **eps), 1, lambda x: g * x, 0.0)[0][0]
    assert first(eps=eps) == pytest.approx(-0.1 * g / (g + eps), rel=1e-9)
    assert first(eps=0.0, eps_root=eps**2) == pytest.approx(-0.1 * g / 5e-3, rel=1e-9)


@pytest.mark.parametrize("optimizer", [nn.momentum, nn.nesterov])
@pytest.mark.parametrize("decay", [-0.1, 1.0, 2])
def test_MOM_5_decay_is_from_0_to_below_1(optimizer, decay):
    with pytest.raises(ValueError, match=f"expected decay from 0 to below 1, .* got {decay}"):
        optimizer(0.1, decay)


def test_the_centred_form_corrected_for_its_start_is_that_of_optax(loose):
    """In float64: after one step the corrected variance is 0, which float32 rounds to either side."""
    settings = {"centered": True, "bias_correction": True, "initial_scale": 0.3, "eps": 0.1}
    ours, theirs = (path(library.rmsprop(0.1, **settings), 20)[0] for library in (optim, optax))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_variance_that_is_rounded_to_below_0_is_0(loose):
    """Of gradients that stay as they are there is none; optax divides by the root of what rounding leaves."""
    g = jnp.float32(12345.678)

    def last(library):
        t = library.scale_by_stddev(bias_correction=True)
        state, seen = t.init(g), []
        for _ in range(30):
            updates, state = t.update(g, state)
            seen.append(float(updates))
        return np.array(seen)

    assert np.isfinite(last(optim)).all()
    assert not np.isfinite(last(optax)).all()


@pytest.mark.parametrize("make", [nn.adam, optim.rmsprop, optim.adagrad])
def test_what_has_met_NaN_stays_NaN(make):
    """A run that has gone wrong shows it, and makes no step of any other length."""
    optimizer, x = make(0.1), jnp.array(2.0)
    updates, state = optimizer.update(jnp.array(jnp.nan), optimizer.init(x), x)
    assert np.isnan(updates)
    assert np.isnan(optimizer.update(jnp.array(1.0), state, x)[0])


@pytest.mark.parametrize(
    ("grads", "got"),
    [
        ({"a": {"w": 1.0}}, "none for a/b"),
        ({"a": {"w": 1.0, "b": 1.0}, "c": 1.0}, "some for c"),
        ({"a": {"w": 1.0, "v": 1.0}}, "none for a/b and some for a/v"),
        ({"a": {"w": 1.0, "b": None}}, "none for a/b"),
    ],
)
@pytest.mark.parametrize("make", [nn.adam, nn.sgd, nn.momentum, optim.rmsprop], ids=lambda make: make.__name__)
def test_gradients_of_other_leaves_are_refused(make, grads, got):
    optimizer, params = make(0.1), {"a": {"w": jnp.ones(()), "b": jnp.ones(())}}
    message = f"expected gradients like the parameters, because each .*; got {got}\n  the parameters are a/b, a/w"
    with pytest.raises(ValueError, match=message):
        optimizer.update(jax.tree.map(jnp.asarray, grads), optimizer.init(params), params)


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float16")], ids=str)
def test_updates_are_added_in_the_wider_dtype_and_kept_in_that_of_the_parameters(dtypes):
    p, u = (jnp.asarray([1.0, 2.0], dtype) for dtype in dtypes)
    moved = optim.apply_updates({"p": p, "none": None}, {"p": u, "none": None})
    assert moved["p"].dtype == p.dtype
    assert moved["none"] is None
    np.testing.assert_array_equal(moved["p"].astype(float), [2.0, 4.0])


def test_what_stands_before_a_lookahead_in_a_chain_sees_gradients_of_the_fast_parameters():
    params = optim.LookaheadParams.init_synced({"w": jnp.array(1.0)})
    optimizer = optim.chain(optax.clip(0.5), optim.lookahead(optim.sgd(0.1), 2, 0.5))
    updates, _ = optimizer.update({"w": jnp.array(3.0)}, optimizer.init(params), params)
    assert float(updates.fast["w"]) == pytest.approx(-0.05)
    with pytest.raises(ValueError, match=r"expected gradients like the parameters, .* got none for w"):
        optimizer.update({}, optimizer.init(params), params)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (lambda: nn.momentum(0.1), "SGD", {"momentum": 0.9}),
        (lambda: nn.nesterov(0.1), "SGD", {"momentum": 0.9, "nesterov": True}),
        (lambda: nn.adam(0.1), "Adam", {}),
        (lambda: nn.adamw(0.1, weight_decay=0.02), "AdamW", {"weight_decay": 0.02}),
    ],
    ids=["momentum", "nesterov", "adam", "adamw"],
)
def test_the_path_is_that_of_torch(ours, theirs, settings):
    torch = pytest.importorskip("torch")
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    optimizer, seen = getattr(torch.optim, theirs)([x], lr=0.1, **settings), []
    for _ in range(20):
        optimizer.zero_grad()
        (x**2).backward()
        optimizer.step()
        seen.append(x.item())
    np.testing.assert_allclose(path(ours(), 20)[0], seen, rtol=1e-9)


def test_OPT_12_adagrad_and_rmsprop_keep_one_number_a_parameter_and_adam_two():
    floats = lambda optimizer: [leaf for leaf in jax.tree.leaves(optimizer.init(jnp.ones(3))) if leaf.shape == (3,)]
    assert [len(floats(o)) for o in (nn.sgd(0.1), optim.adagrad(0.1), optim.rmsprop(0.1), nn.adam(0.1))] == [0, 1, 1, 2]


def test_E_31_and_32_the_sum_of_adagrad_takes_in_the_gradient_of_its_own_step_and_never_falls():
    _, state = path(optim.adagrad(0.1, 0.0), 3)
    (G,) = jax.tree.leaves(state)
    xs = [2.0, *path(optim.adagrad(0.1, 0.0), 2)[0]]
    assert float(G) == pytest.approx(sum((2 * x) ** 2 for x in xs), rel=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("settings", [{}, {"centered": True}, {"momentum": 0.9}], ids=str)
def test_E_33_rmsprop_with_eps_outside_is_that_of_torch(settings):
    torch = pytest.importorskip("torch")
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    theirs, seen = torch.optim.RMSprop([x], lr=0.1, alpha=0.9, eps=1e-3, **settings), []
    for _ in range(20):
        theirs.zero_grad()
        (x**2).backward()
        theirs.step()
        seen.append(x.item())
    ours, _ = path(optim.rmsprop(0.1, 0.9, 1e-3, eps_in_sqrt=False, **settings), 20)
    np.testing.assert_allclose(ours, seen, rtol=1e-9)


@pytest.mark.oracle
def test_E_33_adagrad_from_0_is_that_of_torch_but_for_where_eps_is():
    torch = pytest.importorskip("torch")
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    theirs, seen = torch.optim.Adagrad([x], lr=0.1, eps=0.0), []
    for _ in range(20):
        theirs.zero_grad()
        (x**2).backward()
        theirs.step()
        seen.append(x.item())
    np.testing.assert_allclose(path(optim.adagrad(0.1, 0.0, 0.0), 20)[0], seen, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.sgd(-0.1), "expected learning_rate of 0 or more, because it is the length of a step; got -0.1"),
        (lambda: optim.sgd(jnp.nan), "expected learning_rate of 0 or more, .*; got nan"),
        (lambda: optim.sgd(0.1, 1.0), "expected momentum from 0 to below 1, because a velocity must fade; got 1.0"),
        (lambda: optim.adam(0.1, b1=1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.adam(0.1, b2=-0.1), "expected b2 from 0 to below 1, .*; got -0.1"),
        (lambda: optim.adam(0.1, eps=-1e-8), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.adamw(0.1, weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.adagrad(0.1, -1.0), "expected initial_accumulator_value of 0 or more, .* sum of squares"),
        (lambda: optim.rmsprop(0.1, 1.5), "expected decay from 0 to below 1, because a mean must forget; got 1.5"),
        (lambda: optim.rmsprop(0.1, initial_scale=-1.0), "expected initial_scale of 0 or more, .* mean of squares"),
        (lambda: optim.rmsprop(0.1, momentum=1.0), "expected momentum from 0 to below 1, because a velocity must fade"),
        (lambda: optim.ema(1.0), "expected decay from 0 to below 1, because a mean must forget; got 1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()
