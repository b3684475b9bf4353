"""Gradient descent in numbers worked by hand, named after the items of the scope that they belong to.

The first steps of each optimizer stand in tests/optim/test_worked_numbers.py; here is where they lead to, and how data
is cut into steps.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.training import Reason

pytestmark = pytest.mark.usefixtures("x64")

N = 1000
LINE = np.random.default_rng(0).normal(size=(N, 2))
TARGETS = LINE @ [[1.0], [-2.0]] + 0.1 * np.random.default_rng(1).normal(size=(N, 1))
KEY = jax.random.key(0)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0))
def down_the_square(rate, decay):
    """From 2 down x^2 by the heavy ball, of which a decay of 0 is gradient descent."""
    return nn.minimize(lambda x: x**2, 2.0, nn.momentum(rate, decay), max_steps=4000, tolerance=1e-6)


def square_runs(rates, decay=0.0):
    """One run for each rate, always so many that the program is one."""
    rates = np.asarray(rates)
    found = down_the_square(np.resize(rates, 12), np.full(12, decay))
    return jax.tree.map(lambda a: np.asarray(a)[: len(rates)], found)


def trained(data, batch_size, *, rate=0.1, epochs=1, **settings):
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(rate))
    begin = trainer.init(KEY, data.x)
    end, history = nn.fit(trainer, begin, data, epochs=epochs, batch_size=batch_size, **settings)
    return begin, end, history


def line():
    return nn.Data(jnp.asarray(LINE), jnp.asarray(TARGETS))


def gradient(params, data):
    """Of the mean, not the sum, of squared errors."""
    return jax.grad(lambda p: jnp.mean((data.x @ p["w"] + p["b"][None] - data.y) ** 2))(params)


def test_GD_1_weights_and_biases_move_by_the_rate_times_their_slope():
    x, z = np.array([1.0, 2.0, -1.0]), np.array([3.0, 1.0, 0.0])
    f = lambda p: jnp.sum((z - p["w"] * x - p["b"]) ** 2)
    found = nn.minimize(f, {"w": 0.5, "b": -1.0}, nn.sgd(0.01), max_steps=1)
    error = z - 0.5 * x + 1.0
    assert float(found.x["w"]) == pytest.approx(0.5 + 0.01 * 2 * (error * x).sum(), rel=1e-12)
    assert float(found.x["b"]) == pytest.approx(-1.0 + 0.01 * 2 * error.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("batch_size", "drop", "steps"),
    [(N, False, 1), (1, False, 1000), (32, False, 32), (32, True, 31)],
    ids=["GD-2 full batch", "GD-4 stochastic", "GD-5 mini-batch", "GD-5 without the last 8"],
)
def test_GD_2_4_and_5_the_steps_of_an_epoch_of_1000(batch_size, drop, steps):
    _, end, _ = trained(line(), batch_size, drop_remainder=drop, rate=1e-3)
    assert (end.step, end.epoch) == (steps, 1)


def test_GD_2_a_step_of_the_full_batch_is_that_of_the_mean_gradient():
    begin, end, _ = trained(line(), N)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, begin.params, gradient(begin.params, line()))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), end.params, expected)


def test_GD_3_and_E_22_the_order_of_rows_does_not_matter_to_the_full_batch():
    """It is parameters that are updated, not data: shuffling neither helps nor harms."""
    order = np.random.default_rng(2).permutation(N)
    data = line()
    begin, end, _ = trained(data, N, epochs=3, shuffle=False)
    for permuted in (trained(data.take(order), N, epochs=3, shuffle=False), trained(data, N, epochs=3)):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), permuted[1].params, end.params)
    whole, shuffled = (gradient(begin.params, rows) for rows in (data, data.take(order)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), shuffled, whole)


def test_GD_3_it_matters_to_mini_batches():
    data = line()
    _, end, _ = trained(data, 32, shuffle=False)
    _, shuffled, _ = trained(data, 32)
    assert abs(end.params["w"] - shuffled.params["w"]).max() > 1e-4


def test_GD_4_and_E_23_a_stochastic_step_is_that_of_one_example():
    data = line().take(jnp.array([7]))
    begin, end, _ = trained(data, 1)
    (x,), (z,), w, b = map(np.asarray, (data.x, data.y, begin.params["w"], begin.params["b"]))
    error = x @ w + b - z
    np.testing.assert_allclose(end.params["w"], w - 0.1 * 2 * error * x[:, None], rtol=1e-12)
    np.testing.assert_allclose(end.params["b"], b - 0.1 * 2 * error, rtol=1e-12)


def test_GD_5_mini_batch_gradients_weighed_by_size_are_the_full_gradient_on_average():
    params = {"w": jnp.array([[0.3], [0.4]]), "b": jnp.array([-0.2])}
    data = line()
    batches = [data.take(np.arange(i, min(i + 32, N))) for i in range(0, N, 32)]
    sizes = [len(batch.x) for batch in batches]
    assert (len(sizes), sizes[-1]) == (32, 8)
    slopes = jax.jit(gradient)
    grads = [slopes(params, batch) for batch in batches]
    mean = jax.tree.map(lambda *g: sum(n * each for n, each in zip(sizes, g, strict=True)) / N, *grads)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), mean, slopes(params, data))
    unweighed = jax.tree.map(lambda *g: sum(g) / len(g), *grads)
    assert abs(unweighed["w"] - mean["w"]).max() > 1e-6


def test_GD_5_the_last_batch_of_fit_is_the_mean_of_its_8_examples():
    """At a rate of 0 an epoch's loss is that of the beginning, in which each example counts once."""
    data = line()
    begin, _, history = trained(data, 32, rate=0.0)
    w, b = map(np.asarray, (begin.params["w"], begin.params["b"]))
    expected = np.mean((LINE @ w + b - TARGETS) ** 2)
    assert float(history["loss"][0]) == pytest.approx(expected, rel=1e-12)


def test_E_24_an_epoch_of_mini_batches_goes_further_than_one_of_the_full_batch():
    """Both look at each example once; which step takes longer is another matter."""
    data = line()
    losses = [float(trained(data, size, epochs=2)[2]["loss"][-1]) for size in (N, 32)]
    assert losses[1] < 0.1 * losses[0]


def test_GD_6_the_square_converges_for_rates_between_0_and_1_only():
    rates = [0.01, 0.1, 0.499, 0.5, 0.9, 0.99, 1.0, 1.001, 1.1, 1.5, 0.0]
    found = square_runs(rates)
    k = np.arange(4001)
    with np.errstate(over="ignore"):
        for i, rate in enumerate(rates):
            way = found.trajectory[i, : found.steps[i]]
            np.testing.assert_allclose(way, 2 * (1 - 2 * rate) ** k[: len(way)], rtol=1e-9, atol=1e-300)
    reasons = [Reason(code).name for code in found.reason]
    assert reasons == ["TOLERANCE"] * 6 + ["MAX_STEPS"] * 2 + ["DIVERGED"] * 2 + ["MAX_STEPS"]
    assert (found.steps[3], found.x[3]) == (1, 0)  # the Newton step, of 1 / f''
    np.testing.assert_array_equal(found.trajectory[6], 2 * (-1.0) ** k)
    np.testing.assert_array_equal(found.trajectory[10], 2)
    assert (np.diff(found.values[7]) > 0).all(), "it has not overflowed yet, but it never falls"


@pytest.mark.parametrize(
    ("x0", "minimiser", "step"), [(3.0, 1.0, 0.4), (2.8, -0.2, 0.2)], ids=["as reconstructed", "or otherwise"]
)
def test_GD_7_two_numbers_do_not_say_where_it_began(x0, minimiser, step):
    """2.2 and 1.72 follow from any quadratic whose curvature times the rate is `step`, and from other starts."""
    for curvature in (0.5, 2.0, 4.0):
        f = lambda x, c=curvature: c / 2 * (x - minimiser) ** 2
        found = nn.minimize(f, x0, nn.sgd(step / curvature), max_steps=100, tolerance=1e-9)
        np.testing.assert_allclose(found.trajectory[:3], [x0, 2.2, 1.72], rtol=1e-12)
        assert float(found.x) == pytest.approx(minimiser, abs=1e-8)


def sums(squares, rate=0.4, steps=400):
    """From 0.2 towards the slope 2 of z = 2x, by the sum of squared errors, for each sum of x^2."""
    down = lambda s: nn.minimize(lambda w: s * (2 - w) ** 2, 0.2, nn.sgd(rate), max_steps=steps, tolerance=1e-9)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(down))(np.asarray(squares)))


def test_GD_8_and_E_25_the_sum_of_squared_inputs_decides():
    found = sums([0.2, 1.0, 1.24, 1.25, 1.3, 2.4, 2.5, 2.6, 5.0])
    np.testing.assert_allclose(found.trajectory[1, :5], [0.2, 1.64, 1.928, 1.9856, 1.99712], rtol=1e-12)
    np.testing.assert_allclose(found.values[1, :4], [3.24, 0.1296, 0.005184, 0.00020736], rtol=1e-9)
    errors = found.trajectory - 2
    for i in (0, 1, 2):  # below 1.25: smaller and smaller steps, and none too far
        way = errors[i, : found.steps[i]]
        assert (way < 0).all()
        assert (np.diff(abs(np.diff(way))) < 0).all()
    assert found.steps[3] == 1
    np.testing.assert_allclose(found.x[3], 2, rtol=1e-15)
    for i in (4, 5):  # up to 2.5: too far each time, and yet nearer
        assert (errors[i, 1 : found.steps[i]] * errors[i, : found.steps[i] - 1] < 0).all()
    assert [Reason(code).name for code in found.reason] == ["TOLERANCE"] * 6 + ["MAX_STEPS"] * 2 + ["DIVERGED"]
    np.testing.assert_allclose(found.trajectory[6, :3], [0.2, 3.8, 0.2], rtol=1e-12)
    assert (np.diff(found.values[7:, :100]) > 0).all()


def test_E_25_with_a_mean_the_size_of_the_data_set_does_not_matter():
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=64)

    def last(reduce, n):
        f = lambda w: reduce((2 * x[:n] - w * x[:n]) ** 2)
        return nn.minimize(f, 0.2, nn.sgd(0.4), max_steps=20, tolerance=1e-9)

    assert Reason(last(jnp.sum, 1).reason) is Reason.TOLERANCE
    assert float(last(jnp.sum, 64).value) > 1e30
    for n in (1, 4, 64):
        np.testing.assert_allclose(last(jnp.mean, n).trajectory[:4], [0.2, 1.64, 1.928, 1.9856], rtol=1e-12)


def test_GD_9_and_ETC_10_from_random_weights_until_small_enough_or_out_of_steps():
    @jax.jit
    def descend(key, tolerance):
        f = lambda w: jnp.mean((LINE @ w - TARGETS) ** 2)
        return nn.minimize(f, jax.random.normal(key, (2, 1)), nn.sgd(0.1), max_steps=60, tolerance=tolerance)

    best, *_ = np.linalg.lstsq(LINE, TARGETS)
    starts = []
    for seed in range(3):
        loose, tight, never = (descend(jax.random.key(seed), tolerance) for tolerance in (1e-1, 1e-4, 0.0))
        assert [Reason(run.reason).name for run in (loose, tight, never)] == ["TOLERANCE", "TOLERANCE", "MAX_STEPS"]
        assert 0 < loose.steps < tight.steps < never.steps == 60
        assert loose.gradient_norm <= 1e-1 < loose.gradient_norms[loose.steps - 1]
        np.testing.assert_allclose(tight.x, best, atol=1e-4)
        starts.append(tight.trajectory[0])
    assert np.ptp(starts) > 0.1


def test_GD_10_too_small_is_slow_and_too_large_oscillates_or_diverges():
    found = square_runs([0.001, 0.01, 0.1, 0.4, 0.6, 0.9, 0.99])
    assert (np.diff(found.steps[:4]) < 0).all()
    assert (np.diff(found.steps[4:]) > 0).all()
    assert Reason(found.reason[0]) is Reason.MAX_STEPS, "it stagnates"
    assert found.values[0, 100] > 0.5 * found.values[0, 0]
    signs = np.sign(found.trajectory[:, :10])
    np.testing.assert_array_equal(signs[:4], 1)
    np.testing.assert_array_equal(signs[4:], np.broadcast_to((-1.0) ** np.arange(10), (3, 10)))


def test_GD_11_and_E_26_a_lower_rate_cures_divergence_and_momentum_only_some():
    """The heavy ball is stable up to 2 (1 + b) / L, here 1 + b: no more than twice as far, and not by its direction."""
    assert [Reason(code).name for code in square_runs([1.1, 0.11]).reason] == ["DIVERGED", "TOLERANCE"]
    with_momentum = square_runs([1.1, 1.88, 1.95], decay=0.9)
    assert [Reason(code).name for code in with_momentum.reason] == ["TOLERANCE", "TOLERANCE", "DIVERGED"]
    adam = nn.minimize(lambda x: x**2, 2.0, nn.adam(1.1), max_steps=1000, tolerance=1e-6)
    assert Reason(adam.reason) is Reason.TOLERANCE


def test_MOM_6_momentum_may_overshoot_where_descent_does_not():
    rates = [0.01, 0.1, 0.4]
    assert (np.nanmin(square_runs(rates).trajectory, axis=1) > 0).all()
    assert (np.nanmin(square_runs(rates, decay=0.9).trajectory, axis=1) < -0.5).all()


def test_MOM_6_momentum_crosses_flat_ground_in_fewer_steps():
    flat = lambda x: -jnp.exp(-(x**2))  # whose slope at 3 is 7e-4
    steps = [int(nn.minimize(flat, 3.0, o, max_steps=8000).steps) for o in (nn.sgd(0.1), nn.momentum(0.1, 0.9))]
    assert steps[1] < 0.5 * steps[0] < 4000


def bowl(rate, x0):
    """A convex function whose curvatures are 1 and 10, and its minimum at (1, -1)."""
    f = lambda x: ((x[0] - 1) ** 2 + 10 * (x[1] + 1) ** 2) / 2
    return nn.minimize(f, x0, nn.sgd(rate), max_steps=2000, tolerance=1e-8)


def test_GD_12_and_E_27_a_convex_function_is_descended_from_anywhere_if_the_rate_is_below_2_over_L():
    starts = np.random.default_rng(0).normal(size=(6, 2)) * 100
    found = jax.jit(jax.vmap(jax.vmap(bowl, (None, 0)), (0, None)))(np.array([0.02, 0.19, 0.3]), starts)
    reasons = [[Reason(code).name for code in row] for row in found.reason]
    assert reasons == [["TOLERANCE"] * 6, ["TOLERANCE"] * 6, ["DIVERGED"] * 6]
    np.testing.assert_allclose(found.x[:2], np.broadcast_to([1.0, -1.0], (2, 6, 2)), atol=1e-7)


def test_E_27_and_if_there_is_a_minimum():
    """That of exp(-x), which is convex, is nowhere: what is found is a slope that is small enough."""
    found = [nn.minimize(lambda x: jnp.exp(-x), 0.0, nn.sgd(1.0), max_steps=2000, tolerance=t) for t in (1e-1, 1e-3)]
    assert [Reason(run.reason).name for run in found] == ["TOLERANCE", "TOLERANCE"]
    assert found[0].x + 4 < found[1].x


def two_wells(x):
    """One well at about -1.04, and a higher one at 0.96."""
    return (x**2 - 1) ** 2 + 0.3 * x


down_two_wells = partial(nn.minimize, two_wells, optimizer=nn.sgd(0.05), max_steps=500)


def test_DIAG_7_and_GD_13_of_many_starts_some_find_the_lower_well():
    starts = jnp.linspace(-2, 2, 9)
    found = jax.jit(jax.vmap(down_two_wells))(starts)
    roots = np.roots([4, 0, -4, 0.3]).real
    lower, ridge, higher = np.sort(roots)
    np.testing.assert_allclose(found.x, np.where(np.asarray(starts) < ridge, lower, higher), atol=1e-4)
    best = found.x[found.value.argmin()]
    np.testing.assert_allclose(best, lower, atol=1e-4)
    assert two_wells(lower) < two_wells(higher) - 0.5


def test_DIAG_7_momentum_or_a_larger_rate_may_leave_the_higher_well():
    lower = np.roots([4, 0, -4, 0.3]).real.min()
    from_the_right = partial(nn.minimize, two_wells, 2.0, max_steps=2000)
    assert from_the_right(nn.sgd(0.01)).x > 0.9
    for optimizer in (nn.momentum(0.01, 0.9), nn.sgd(0.11)):
        np.testing.assert_allclose(from_the_right(optimizer).x, lower, atol=1e-4)


def saddle(p):
    """Level at 0, from where it falls along y to the minima at 1 and -1."""
    return p["x"] ** 2 + p["y"] ** 4 / 4 - p["y"] ** 2 / 2


@pytest.mark.parametrize(("y", "ends"), [(0.0, 0.0), (1e-6, 1.0), (-1e-6, -1.0)])
def test_GD_13_a_saddle_holds_what_begins_exactly_above_it_and_nothing_else(y, ends):
    """Its gradient is 0, so the reason is the tolerance there too: a small gradient is no proof of a minimum."""
    found = nn.minimize(saddle, {"x": 1.0, "y": y}, nn.sgd(0.1), max_steps=1000, tolerance=1e-8)
    assert Reason(found.reason) is Reason.TOLERANCE
    np.testing.assert_allclose([found.x["x"], found.x["y"]], [0, ends], atol=1e-7)


def test_DIAG_12_values_that_rise_are_divergence_before_anything_overflows():
    found = square_runs([1.1, 0.9, 1.0])
    np.testing.assert_allclose(found.trajectory[0, :3], [2, -2.4, 2.88], rtol=1e-12)
    assert Reason(found.reason[0]) is Reason.DIVERGED
    assert not np.isfinite(found.gradient_norm[0])
    with np.errstate(invalid="ignore"):
        rises = [np.diff(row[: steps + 1])[:100] > 0 for row, steps in zip(found.values, found.steps, strict=True)]
    assert (rises[0].all(), rises[1].any(), rises[2].any()) == (True, False, False)
    assert (np.diff(np.sign(found.trajectory[1, :20])) != 0).all(), "oscillates as it converges"
