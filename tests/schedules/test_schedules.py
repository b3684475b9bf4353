"""Numbers worked by hand, other libraries' schedules, and arguments that cannot be meant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import schedules


def values(schedule, counts):
    return np.array([float(schedule(count)) for count in counts])


def test_LRS_1_a_schedule_may_be_of_any_optimizer_and_of_any_hyperparameter(x64):
    falling = schedules.linear_decay(1.0, 4)
    for optimizer in (nn.sgd, nn.momentum):
        x, state = jnp.array(1.0), optimizer(falling).init(jnp.array(1.0))
        for _ in range(5):
            updates, state = optimizer(falling).update(jnp.array(1.0), state, x)
        assert updates == 0


def test_LRS_2_step_decay_halves_every_ten_epochs(x64):
    schedule = schedules.step_decay(0.1, 10)
    np.testing.assert_array_equal(values(schedule, [*range(10)]), 0.1)
    np.testing.assert_array_equal(values(schedule, [*range(10, 20)]), 0.05)
    assert schedule(20) == 0.025


def test_E_43_the_factor_of_step_decay_is_whatever_is_given(x64):
    np.testing.assert_allclose(values(schedules.step_decay(0.1, 10, 0.1), (0, 10, 20)), [0.1, 0.01, 0.001], rtol=1e-15)


def test_LRS_3_exponential_decay(x64):
    assert float(schedules.exponential_decay(0.1, 1, 0.9)(10)) == pytest.approx(0.0348678440, abs=1e-10)
    # The other form in use, s_0 exp(-k t), is that of the factor e^-k.
    assert float(schedules.exponential_decay(0.1, 1, np.exp(-0.3))(7)) == pytest.approx(0.1 * np.exp(-2.1), rel=1e-14)


def test_LRS_4_cosine_decay(x64):
    np.testing.assert_allclose(
        values(schedules.cosine_decay_schedule(0.1, 100), (0, 50, 100)), [0.1, 0.05, 0], atol=1e-16
    )
    lowest = schedules.cosine_decay_schedule(0.1, 100, alpha=0.2)
    np.testing.assert_allclose(values(lowest, (0, 50, 100)), [0.1, 0.02 + 0.08 / 2, 0.02], rtol=1e-15)


def test_LRS_6_warm_up_and_then_cool_down(x64):
    schedule = schedules.warmup_schedule(schedules.linear_decay(0.1, 50), 10)
    np.testing.assert_allclose(values(schedule, (0, 5, 10)), [0, 0.05, 0.1], rtol=1e-14)
    assert (np.diff(values(schedule, range(10, 70))) <= 0).all()
    assert schedule(60) == 0


def test_the_linear_schedule_of_the_notes(x64):
    epochs = np.arange(5)
    np.testing.assert_allclose(values(schedules.linear_decay(0.1, 5), epochs), 0.1 * (1 - epochs / 5), rtol=1e-14)


def test_noam_is_equation_3_of_the_paper_which_counts_from_1(x64):
    step = np.arange(1, 100)
    paper = 512**-0.5 * np.minimum(step**-0.5, step * 30**-1.5)
    np.testing.assert_allclose(values(schedules.noam_schedule(512, 30), range(99)), paper, rtol=1e-13)


def test_inverse_time_decay_is_that_of_keras(x64):
    t = np.arange(40)
    schedule = schedules.inverse_time_decay(0.1, 7, 0.5)
    np.testing.assert_allclose(values(schedule, t), 0.1 / (1 + 0.5 * t / 7), rtol=1e-14)
    stairs = schedules.inverse_time_decay(0.1, 7, 0.5, staircase=True)
    np.testing.assert_allclose(values(stairs, t), 0.1 / (1 + 0.5 * (t // 7)), rtol=1e-14)


@pytest.mark.parametrize(("t_mul", "m_mul"), [(1.0, 0.9), (1.5, 1.0), (2.0, 0.8), (3.0, 1.1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_restarts_are_those_of_a_loop_over_periods(t_mul, m_mul, dtype):
    """Where logarithms are rounded to either side of an integer, too."""
    steps, peak, expected = 10.0, 0.1, []
    begin = 0.0
    for t in range(400):
        while t >= begin + steps:
            begin, steps, peak = begin + steps, steps * t_mul, peak * m_mul
        expected.append(0.01 + (peak * 0.9) * (1 + np.cos(np.pi * (t - begin) / steps)) / 2)
    with jax.enable_x64(dtype == "float64"):
        schedule = jax.jit(jax.vmap(schedules.cosine_restarts_schedule(0.1, 10, t_mul, m_mul, alpha=0.1)))
        np.testing.assert_allclose(schedule(np.arange(400)), expected, rtol=2e-4 if dtype == "float32" else 1e-10)


@pytest.mark.oracle
def test_cycles_steps_and_restarts_are_those_of_torch(x64):
    torch = pytest.importorskip("torch")
    of = torch.optim.lr_scheduler

    def rates(make, base=0.1):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base, momentum=0.9)
        scheduler, seen = make(optimizer), []
        for _ in range(60):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return seen

    theirs = {
        "triangular": rates(lambda o: of.CyclicLR(o, 0.01, 0.1, 7, 5)),
        "triangular2": rates(lambda o: of.CyclicLR(o, 0.01, 0.1, 7, mode="triangular2")),
        "exp_range": rates(lambda o: of.CyclicLR(o, 0.01, 0.1, 7, mode="exp_range", gamma=0.97)),
        "step": rates(lambda o: of.StepLR(o, 9, 0.3)),
        "exponential": rates(lambda o: of.ExponentialLR(o, 0.93)),
        "linear": rates(lambda o: of.LinearLR(o, 0.2, 1.0, 20)),
        "polynomial": rates(lambda o: of.PolynomialLR(o, 30, 1.5)),
        "restarts": rates(lambda o: of.CosineAnnealingWarmRestarts(o, 8, 2)),
    }
    ours = {
        "triangular": schedules.cyclic_schedule(0.01, 0.1, 7, 5),
        "triangular2": schedules.cyclic_schedule(0.01, 0.1, 7, cycle_decay=0.5),
        "exp_range": schedules.cyclic_schedule(0.01, 0.1, 7, step_decay=0.97),
        "step": schedules.step_decay(0.1, 9, 0.3),
        "exponential": schedules.exponential_decay(0.1, 1, 0.93),
        "linear": schedules.linear_schedule(0.02, 0.1, 20),
        "polynomial": schedules.polynomial_schedule(0.1, 0.0, 1.5, 30),
        "restarts": schedules.cosine_restarts_schedule(0.1, 8),
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(values(ours[name], range(60)), expected, rtol=1e-8, atol=1e-12, err_msg=name)


def test_steps_may_be_tracers(x64):
    """Where optax has them as keys of a dict, they are pairs."""

    @jax.jit
    def at(boundary, transition_steps, pct_start):
        counts = jnp.arange(60)
        stairs = schedules.piecewise_constant_schedule(0.1, [(boundary, 0.5), (30, 0.1)])
        points = schedules.piecewise_interpolate_schedule("cosine", 0.1, [(boundary, 0.5), (30, 0.1)])
        cycle = schedules.linear_onecycle_schedule(transition_steps, 0.1, pct_start)
        other = schedules.cosine_onecycle_schedule(transition_steps, 0.1, pct_start)
        return [jax.vmap(schedule)(counts) for schedule in (stairs, points, cycle, other)]

    expected = [
        schedules.piecewise_constant_schedule(0.1, {10: 0.5, 30: 0.1}),
        schedules.piecewise_interpolate_schedule("cosine", 0.1, {10: 0.5, 30: 0.1}),
        schedules.linear_onecycle_schedule(50, 0.1, 0.25),
        schedules.cosine_onecycle_schedule(50, 0.1, 0.25),
    ]
    for traced, schedule in zip(at(10, 50, 0.25), expected, strict=True):
        np.testing.assert_allclose(traced, values(schedule, range(60)), rtol=1e-12)


def test_a_warm_up_of_no_steps_is_none(x64):
    after = schedules.warmup_cosine_decay_schedule(0.0, 0.1, 0, 40)
    np.testing.assert_allclose(
        values(after, range(50)), values(schedules.cosine_decay_schedule(0.1, 40), range(50)), rtol=1e-14
    )


def test_tracers_that_cannot_be_meant_do_what_is_documented():
    constant = lambda steps: schedules.exponential_decay(0.1, steps, 0.5)(7)
    assert jax.jit(constant)(0) == jnp.float32(0.1)
    assert jax.jit(lambda steps: schedules.linear_schedule(0.1, 0.0, steps)(7))(0) == jnp.float32(0.1)
    assert jnp.isnan(jax.jit(lambda steps: schedules.cyclic_schedule(0.0, 0.1, steps)(7))(0))


period = {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.cosine_decay_schedule(0.1, 0), "expected decay_steps above 0, because the value decays"),
        (lambda: schedules.cosine_decay_schedule(0.1, jnp.nan), "expected decay_steps above 0, .*; got nan"),
        (lambda: schedules.exponential_decay(0.1, -1, 0.5), "expected transition_steps above 0, .*; got -1"),
        (lambda: schedules.step_decay(0.1, 0), "expected decay_steps above 0, because it is the length of a stair"),
        (lambda: schedules.inverse_time_decay(0.1, 0, 1.0), "expected decay_steps above 0"),
        (lambda: schedules.linear_decay(0.1, 0), "expected total_steps above 0"),
        (lambda: schedules.noam_schedule(512, 0), "expected warmup_steps above 0, because the value rises over them"),
        (lambda: schedules.noam_schedule(0, 10), "expected features above 0, because it is the width of a model"),
        (lambda: schedules.inverse_square_root_schedule(0.1, -3), "expected warmup_steps above 0, .*; got -3"),
        (lambda: schedules.warmup_cosine_decay_schedule(0.0, 0.1, 10, 10), "decay_steps counts the warm-up too; got 0"),
        (lambda: schedules.sgdr_schedule([]), "expected at least one period, .*; got none"),
        (lambda: schedules.sgdr_schedule([period | {"decay_steps": 5}]), "decay_steps counts the warm-up too"),
        (lambda: schedules.cosine_restarts_schedule(0.1, 0), "expected first_decay_steps above 0"),
        (lambda: schedules.cosine_restarts_schedule(0.1, 9, 0.5), "expected t_mul of 1 or more, .*; got 0.5"),
        (
            lambda: schedules.cyclic_schedule(0.0, 0.1, 0),
            "expected step_size_up above 0, because a triangle",
        ),
        (lambda: schedules.cyclic_schedule(0.0, 0.1, 3, -1), "expected step_size_down above 0, .*; got -1"),
        (lambda: schedules.linear_onecycle_schedule(0, 0.1), "expected transition_steps above 0"),
        (lambda: schedules.cosine_onecycle_schedule(0, 0.1), "expected transition_steps above 0"),
        (
            lambda: schedules.piecewise_constant_schedule(0.1, {3: -0.5}),
            r"expected scales of 0 or more, .*\[-0.5\]",
        ),
        (lambda: schedules.piecewise_interpolate_schedule("spline", 0.1), "expected interpolate_type .*; got 'spline'"),
        (lambda: schedules.join_schedules([jnp.sin], [3]), "expected one boundary fewer .*; got 1 for 1 schedules"),
        (lambda: schedules.join_schedules([], []), "expected one boundary fewer .*; got 0 for 0 schedules"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()
