"""Descent down a plain function: the way it takes, why it stops, and that it is a pure function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import assert_close, compilations, said

import jaxnn as nn
from jaxnn import optim
from jaxnn.training import Reason

float64 = pytest.mark.usefixtures("x64")

STEPS = 6
square = lambda x: x**2


def valley(p):
    """Rosenbrock's, of a tree."""
    return 100 * (p["y"] - p["x"] ** 2).sum() ** 2 + ((1 - p["x"]) ** 2).sum()


def start():
    return {"x": jnp.array([-1.2]), "y": jnp.array([1.0])}


def by_loop(optimizer, f, x, steps):
    """The same in Python, as optax's documentation writes it: rows of x, value and norm."""
    rows, state = [], optimizer.init(x)

    @jax.jit
    def step(x, state):
        value, grad = jax.value_and_grad(f)(x)
        updates, state = optax.with_extra_args_support(optimizer).update(
            grad, state, x, value=value, grad=grad, value_fn=f
        )
        return (x, value, optax.tree.norm(grad)), optax.apply_updates(x, updates), state

    for _ in range(steps + 1):
        row, x, state = step(x, state)
        rows.append(row)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


@float64
@pytest.mark.parametrize(
    "optimizer",
    [nn.momentum(1e-3), optax.adam(0.05), optim.lbfgs(), optim.polyak_sgd(1e-2), optax.polyak_sgd(1e-2)],
    ids=["momentum", "optax.adam", "lbfgs", "polyak_sgd", "optax.polyak_sgd"],
)
def test_the_way_is_that_of_a_loop_in_python(optimizer, loose):
    found = nn.minimize(valley, start(), optimizer, max_steps=STEPS, tolerance=0)
    expected = by_loop(optimizer, valley, start(), STEPS)
    assert_close((found.trajectory, found.values, found.gradient_norms), expected, 1e-9)
    last = jax.tree.map(lambda rows: rows[-1], expected)
    assert_close((found.x, found.value, found.gradient_norm), last, 1e-9)
    assert (found.steps, Reason(found.reason)) == (STEPS, Reason.MAX_STEPS)


@float64
def test_the_end_of_a_long_way_is_that_of_scipy():
    scipy = pytest.importorskip("scipy.optimize")
    theirs = scipy.minimize(
        lambda p: 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2, [-1.2, 1.0], method="BFGS", options={"gtol": 1e-5}
    )
    ours = nn.minimize(valley, start(), optim.lbfgs(), max_steps=100)
    assert Reason(ours.reason) is Reason.TOLERANCE
    assert ours.gradient_norm <= 1e-5
    np.testing.assert_allclose([ours.x["x"][0], ours.x["y"][0]], theirs.x, atol=1e-4)


@float64
@pytest.mark.parametrize(
    ("rate", "settings", "reason", "steps"),
    [
        pytest.param(0.25, {"tolerance": 0.3}, Reason.TOLERANCE, 4, id="gradients 4, 2, 1, 0.5, 0.25"),
        pytest.param(0.25, {"tolerance": 0.25}, Reason.TOLERANCE, 4, id="as small is small enough"),
        pytest.param(0.25, {"tolerance": 4.0}, Reason.TOLERANCE, 0, id="at once"),
        pytest.param(0.25, {"tolerance": 1e-3}, Reason.MAX_STEPS, STEPS, id="too few steps"),
        pytest.param(0.25, {"target": 0.0625}, Reason.TARGET, 3, id="values 4, 1, 0.25, 0.0625"),
        pytest.param(0.25, {"target": 0.3, "tolerance": 1.0}, Reason.TOLERANCE, 2, id="both: the gradient first"),
        pytest.param(0.5, {"tolerance": 0}, Reason.TOLERANCE, 1, id="a gradient of 0 is within 0"),
        pytest.param(0.25, {"tolerance": 4 / 2**STEPS}, Reason.TOLERANCE, STEPS, id="with the last step"),
        pytest.param(1e200, {}, Reason.DIVERGED, 1, id="infinite after one step"),
        pytest.param(1.1, {}, Reason.MAX_STEPS, STEPS, id="rising, and still finite"),
    ],
)
def test_stops_for_a_reason(rate, settings, reason, steps):
    found = nn.minimize(square, 2.0, nn.sgd(rate), max_steps=STEPS, **settings)
    assert (Reason(found.reason), found.steps) == (reason, steps)
    x = np.full(STEPS + 1, np.nan)
    x[: steps + 1] = 2 * (1 - 2 * rate) ** np.arange(steps + 1.0)
    with np.errstate(over="ignore"):
        expected = (x, x**2, np.sqrt((2 * x) ** 2))
    assert_close((found.trajectory, found.values, found.gradient_norms), expected, 1e-12)
    assert_close(found.x, x[steps], 1e-12)


@pytest.mark.parametrize(
    ("f", "x0", "steps"),
    [
        pytest.param(square, jnp.nan, 0, id="it begins with NaN"),
        pytest.param(lambda x: jnp.minimum(x, 1.0) - jnp.log(x), 1e-40, 0, id="an infinite gradient"),
        pytest.param(lambda x: jnp.where(x < 5, -1e10 * x, 0.0), 1.0, 1, id="an infinite x of finite value"),
        pytest.param(lambda x: jnp.where(x < 1e20, -x * 1e-3, -jnp.inf), 0.0, 1, id="an infinite drop"),
    ],
)
def test_what_is_not_finite_has_diverged(f, x0, steps):
    """Also where value and gradient of an x that is infinite are 0, as the third one's would be."""
    found = nn.minimize(f, x0, nn.sgd(1e30), max_steps=5, tolerance=0.0, target=-1e38)
    assert Reason(found.reason) is Reason.DIVERGED
    assert found.steps == steps


def test_a_reason_reads_well():
    assert str(Reason(jnp.int32(2))) == "the value is within the target"
    assert [Reason(code).name for code in jnp.array([3, 0])] == ["MAX_STEPS", "DIVERGED"]
    assert all(str(reason) for reason in Reason)


def descend(rate, x0, tolerance, target):
    return nn.minimize(valley, x0, nn.adam(rate), max_steps=20, tolerance=tolerance, target=target)


@float64
def test_each_member_of_a_sweep_is_its_own_run_to_where_it_stops():
    rates, tolerances = jnp.array([0.05, 0.5, 0.1, 0.01, 1e300]), jnp.array([1e-9, 30.0, 1e-9, 200.0, 1e-9])
    targets = jnp.array([-1.0, -1.0, 5.0, 1.0, -1.0])
    x0 = {"x": jnp.linspace(-1.2, 0.4, 5)[:, None], "y": jnp.ones((5, 1))}
    together = jax.jit(jax.vmap(descend))(rates, x0, tolerances, targets)
    alone = jax.jit(descend)
    for i in range(5):
        at = partial(jax.tree.map, lambda a, i=i: a[i])
        assert_close(at(together), alone(*map(at, (rates, x0, tolerances, targets))), 1e-8)
    assert {Reason(code).name for code in together.reason} == {"MAX_STEPS", "TOLERANCE", "TARGET", "DIVERGED"}
    assert len(set(np.asarray(together.steps).tolist())) > 2


def after(k, rate, x0):
    """x after k steps down x^2 / 2 + x^4 / 4, in Python."""
    for _ in range(k):
        x0 = x0 - rate * (x0 + x0**3)
    return x0


@float64
def test_the_gradient_is_that_of_the_steps_taken():
    quartic = lambda x: x**2 / 2 + x**4 / 4

    def ours(rate, x0, tolerance):
        found = nn.minimize(quartic, x0, nn.sgd(rate), max_steps=9, tolerance=tolerance)
        way = jnp.where(jnp.isnan(found.trajectory), 0, found.trajectory)
        return found.x + (jnp.arange(10.0) * way).sum(), found.steps

    def theirs(steps, rate, x0):
        return after(steps, rate, x0) + sum(k * after(k, rate, x0) for k in range(steps + 1))

    got = jax.jit(jax.vmap(jax.value_and_grad(ours, (0, 1, 2), has_aux=True), (0, None, None)))
    rates = jnp.array([0.01, 0.3, 0.6])
    (values, steps), slopes = got(rates, 0.9, 0.05)
    assert steps.tolist()[:1] == [9]
    assert len(set(steps.tolist())) == 3
    for i, rate in enumerate(rates):
        expected = jax.value_and_grad(partial(theirs, int(steps[i])), (0, 1))(rate, 0.9)
        assert_close((values[i], (slopes[0][i], slopes[1][i])), expected, 1e-10)
    assert_close(slopes[2], jnp.zeros(3), 0)


def test_the_gradient_is_finite_where_that_of_the_function_is_0():
    end = lambda rate: sum(nn.minimize(square, 2.0, nn.sgd(rate), max_steps=3)[1:3])
    assert_close(jax.grad(end)(0.5), jnp.float32(0), 0)


def test_other_starts_and_tolerances_are_no_other_program():
    optimizer = nn.adam(0.1)
    nn.minimize(valley, start(), optimizer, max_steps=5)
    with compilations() as seen:
        for tolerance in (1e-3, 0.5):
            x0 = jax.tree.map(lambda a, t=tolerance: np.asarray(a) + np.float32(t), start())
            nn.minimize(valley, x0, optimizer, max_steps=5, tolerance=tolerance, target=-tolerance)
    assert len(seen) == 0


def test_no_tracer_outlives_its_run(checking_leaks):
    def run(curvature):
        return nn.minimize(lambda x: curvature * x**2, 1.0, nn.sgd(0.1 * curvature), max_steps=3).value

    with checking_leaks():
        jax.jit(jax.grad(run))(1.0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_are_kept(dtype):
    x0 = {"a": jnp.ones(2, dtype), "none": None, "b": (jnp.ones((), jnp.float32),)}
    found = nn.minimize(lambda x: (x["a"] ** 2).sum() + x["b"][0].astype(dtype), x0, nn.sgd(0.1), max_steps=3)
    assert jax.tree.map(lambda a: (a.dtype, a.shape), found.x) == jax.tree.map(lambda a: (a.dtype, a.shape), x0)
    assert found.trajectory["a"].shape == (4, 2)
    assert (found.value.dtype, found.gradient_norm.dtype) == (dtype, jnp.float32)


@pytest.mark.parametrize(
    ("x0", "settings", "error", "message"),
    [
        (2, {}, TypeError, r"^expected x0 to be real and floating, because .*; got int32\[\]\n  hint: 2.0 for 2"),
        ({"a": 1.0, "b": np.arange(2)}, {}, TypeError, r"got int32\[2\] for b"),
        (1j, {}, TypeError, r"got complex64\[\]"),
        (1.0, {"max_steps": 0}, ValueError, "^expected max_steps of at least 1, because .*; got 0$"),
        (1.0, {"max_steps": 2.0}, TypeError, "^expected max_steps to be an int, because .*; got 2.0$"),
        (1.0, {"tolerance": -1e-3}, ValueError, "^expected tolerance of 0 or more, because .*; got -0.001$"),
        (1.0, {"tolerance": jnp.nan}, ValueError, "^expected tolerance of 0 or more, because .*; got nan$"),
        (1.0, {"target": jnp.nan}, ValueError, "^expected target to be a number, because .*; got nan$"),
        (1.0, {"optimizer": 0.1}, TypeError, "^expected an optimizer, such as nn.sgd.*; got 0.1$"),
    ],
)
def test_what_cannot_be_meant_is_refused(x0, settings, error, message, unannotated):
    settings = {"optimizer": nn.sgd(0.1), "max_steps": 3} | settings
    with pytest.raises(error, match=message):
        nn.minimize(lambda x: jnp.zeros(()), x0, **settings)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (
            lambda x: jnp.stack([x, x]),
            nn.ShapeError,
            "expected f to give one number, of shape (), because it is that which is made small; got float32[2]\n"
            "  hint: jnp.sum or jnp.mean of many",
        ),
        (lambda x: (x, x), nn.ShapeError, "got (float32[], float32[])"),
        (lambda x: None, nn.ShapeError, "got None"),
        (lambda x: jnp.int32(1), TypeError, "expected f to give a real, floating number, because others have no slope"),
    ],
)
def test_a_function_that_gives_no_number_is_refused(f, error, message):
    with pytest.raises(error) as caught:
        nn.minimize(f, 1.0, nn.sgd(0.1), max_steps=3)
    assert message in said(caught.value)
