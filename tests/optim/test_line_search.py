"""Line searches and L-BFGS: beside optax, by the conditions that define them, and by the matrix that L-BFGS stands for.

They need a function, which the rows of the contract do not have; so its properties are here again.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim
from jaxnn.optim._zoom_interpolation import Point, cubic_minimum

x64 = pytest.mark.usefixtures("x64")
loose = pytest.mark.usefixtures("loose")


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(x):
    return jnp.sum(jnp.array([1.0, 10.0, 1000.0]) * x**2) / 2


def bowl(x):
    return jnp.sum(jnp.array([1.0, 2.5, 4.0]) * (x - 1) ** 2) / 2


def badly_scaled(x):
    return jnp.sum(jnp.array([1e-6, 1.0, 1e6]) * x**2) / 2


def beale(x):
    a, b = x[0], x[1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def wavy(x):
    return jnp.sum(0.1 * jnp.cos(x) * x**2 + 0.05 * x**2)


def flat(x):
    return jnp.sum(x**4) + 1e-3 * jnp.sum(x**2)


STARTS = {
    rosenbrock: np.array([-1.2, 1.0]),
    quadratic: np.array([1.0, -2.0, 3.0]),
    bowl: np.array([1.0, -2.0, 3.0]),
    badly_scaled: np.array([1.0, -2.0, 3.0]),
    beale: np.array([1.0, 1.5]),
    wavy: np.array([3.0, -7.0, 11.0]),
    flat: np.array([10.0, -3.0, 0.1]),
}


def walk(optimizer, f, start, steps):
    """Parameters and states, step for step."""

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(f)(x)
        updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
        x = optim.apply_updates(x, updates)
        return (x, state), (x, state)

    return jax.lax.scan(step, (start, optimizer.init(start)), length=steps)[1]


def walked(optimizer, f, steps=15, start=None):
    start = jnp.asarray(STARTS[f]) if start is None else start
    return jax.tree.map(np.asarray, jax.jit(lambda start: walk(optimizer, f, start, steps))(start))


def descent(search):
    return optim.chain(optim.sgd(1.0), search)


def assert_same(ours, theirs, rtol):
    """Leaf by leaf with their names and dtypes, relative to the largest number that a leaf has had."""
    ours, theirs = jax.tree_util.tree_leaves_with_path(ours), jax.tree_util.tree_leaves_with_path(theirs)
    assert [jax.tree_util.keystr(keys) for keys, _ in ours] == [jax.tree_util.keystr(keys) for keys, _ in theirs]
    for (keys, a), (_, b) in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = np.abs(b[np.isfinite(b)]).max(initial=1e-300)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=rtol, err_msg=jax.tree_util.keystr(keys))


# The same numbers as optax.


@x64
@loose
@pytest.mark.parametrize(
    ("f", "settings"),
    [
        (beale, {"max_backtracking_steps": 25}),
        (wavy, {"max_backtracking_steps": 15, "store_grad": True}),
        (quadratic, {"max_backtracking_steps": 40, "slope_rtol": 0.3, "atol": 1e-3, "rtol": 1e-4, "store_grad": True}),
        (
            badly_scaled,
            {
                "max_backtracking_steps": 40,
                "decrease_factor": 0.5,
                "increase_factor": jnp.inf,
                "max_learning_rate": 10.0,
                "store_grad": True,
            },
        ),
        (quadratic, {"max_backtracking_steps": 3}),  # too few: it takes steps that are too long
    ],
)
def test_backtracking_equals_optax_step_for_step(f, settings):
    ours, theirs = (
        walked(descent(library.scale_by_backtracking_linesearch(**settings)), f) for library in (optim, optax)
    )
    assert_same(ours, theirs, 1e-12)


@x64
@loose
@pytest.mark.parametrize(
    ("f", "settings"),
    [
        (rosenbrock, {"max_linesearch_steps": 20}),
        (rosenbrock, {"max_linesearch_steps": 20, "initial_guess_strategy": "one"}),
        (badly_scaled, {"max_linesearch_steps": 3}),  # too few: it falls back on what it has
        (bowl, {"max_linesearch_steps": 20, "max_learning_rate": 1.0}),
        (beale, {"max_linesearch_steps": 15, "curv_rtol": 0.1, "slope_rtol": 1e-2}),
        (badly_scaled, {"max_linesearch_steps": 30}),
        (quadratic, {"max_linesearch_steps": 15, "max_learning_rate": 1e-3, "approx_dec_rtol": None}),
        (wavy, {"max_linesearch_steps": 15, "curv_rtol": 0.01, "stepsize_precision": 0.1}),
        (flat, {"max_linesearch_steps": 15, "curv_rtol": jnp.inf, "increase_factor": 5.0}),
        (flat, {"max_linesearch_steps": 8, "tol": 1e-3}),
    ],
)
def test_zoom_equals_optax_step_for_step(f, settings):
    ours, theirs = (walked(descent(library.scale_by_zoom_linesearch(**settings)), f) for library in (optim, optax))
    assert_same(ours, theirs, 1e-10)


@x64
def test_the_cubic_through_points_of_a_parabola_has_its_minimum():
    """Optax's is rounding noise there, for it divides by the coefficient of the cube, which should be 0.

    So along `quadratic` it takes one path with XLA's optimisations and another one without.
    """
    random = np.random.default_rng(0)
    (minimum, curvature), rates = random.uniform(0.1, 3, (2, 200)), random.uniform(0, 4, (3, 200))
    points = [Point(x, curvature * (x - minimum) ** 2 + 7, 2 * curvature * (x - minimum)) for x in rates]
    found = np.asarray(jax.jit(cubic_minimum)(*points))
    np.testing.assert_allclose(np.median(found / minimum), 1, rtol=1e-13)
    assert np.mean(np.abs(found - minimum) < 1e-9) > 0.9, "where the points are not close together"


@x64
@loose
@pytest.mark.parametrize(
    ("f", "settings"),
    [
        (rosenbrock, {}),
        (rosenbrock, {"memory_size": 1}),
        (beale, {"memory_size": 3, "scale_init_precond": False}),
        (flat, {"learning_rate": 0.5, "memory_size": 2}),
        (quadratic, {"learning_rate": 0.3, "memory_size": 3, "linesearch": None}),
    ],
)
def test_lbfgs_equals_optax_step_for_step(f, settings):
    ours, theirs = (walked(library.lbfgs(**settings), f, 12) for library in (optim, optax))
    assert_same(ours, theirs, 1e-9)


@x64
@loose
@pytest.mark.parametrize("size", [2, 6])
def test_lbfgs_converges_on_rosenbrock_in_the_steps_of_optax(size):
    start = jnp.tile(jnp.array([-1.2, 1.0]), size // 2)

    def steps_to_the_minimum(library):
        xs, _ = walked(library.lbfgs(), rosenbrock, 60, start)
        return int(np.argmax(np.abs(xs - 1).max(1) < 1e-8))

    ours, theirs = steps_to_the_minimum(optim), steps_to_the_minimum(optax)
    assert 20 < ours < 60
    assert abs(ours - theirs) <= 1


NAMES = ["scale_by_backtracking_linesearch", "scale_by_zoom_linesearch", "scale_by_lbfgs", "lbfgs"]


@pytest.mark.parametrize("name", [*NAMES, "value_and_grad_from_state"])
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [
        (p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values() if p.name != "linesearch"
    ]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name))


def test_the_line_search_of_lbfgs_is_that_of_optax_unless_told_otherwise():
    assert list(inspect.signature(optim.lbfgs).parameters) == list(inspect.signature(optax.lbfgs).parameters)
    state = optim.lbfgs().init(jnp.zeros(2))
    assert isinstance(state[2], optim.ScaleByZoomLinesearchState)


@pytest.mark.parametrize(
    "name",
    ["ScaleByBacktrackingLinesearchState", "ScaleByZoomLinesearchState", "ZoomLinesearchInfo", "ScaleByLBFGSState"],
)
def test_the_fields_of_states_are_those_of_optax(name):
    assert getattr(optim, name)._fields == getattr(optax, name)._fields


# What they are defined by.


@x64
@pytest.mark.parametrize("f", [rosenbrock, quadratic, badly_scaled, beale, wavy, flat])
def test_after_each_step_of_zoom_the_conditions_of_wolfe_hold(f):
    c1, c2, g = 1e-3, 0.3, jax.jit(jax.value_and_grad(f))
    search = optim.scale_by_zoom_linesearch(40, slope_rtol=c1, curv_rtol=c2, approx_dec_rtol=None, stepsize_precision=0)
    xs, (_, state) = walked(descent(search), f, 12)
    for before, after, rate in zip([STARTS[f], *xs], xs, state.learning_rate, strict=False):
        (value, grad), (new_value, new_grad) = g(jnp.asarray(before)), g(jnp.asarray(after))
        slope, new_slope = -grad @ grad, -grad @ new_grad
        rounding = 1e-14 * abs(float(value))
        assert new_value <= value + c1 * rate * slope + rounding
        assert abs(new_slope) <= c2 * abs(slope) * (1 + 1e-9)
    np.testing.assert_array_equal(state.info.decrease_error, 0)
    np.testing.assert_array_equal(state.info.curvature_error, 0)


@x64
@pytest.mark.parametrize("f", [rosenbrock, beale, wavy])
def test_backtracking_takes_the_first_rate_of_its_sequence_that_meets_the_condition_of_armijo(f):
    value_and_grad = jax.jit(jax.value_and_grad(f))
    x, rate, rates = STARTS[f], 1.0, []
    for _ in range(6):
        value, grad = map(np.asarray, value_and_grad(jnp.asarray(x)))
        rate = min(1.5 * rate, 1.0)
        while float(value_and_grad(jnp.asarray(x - rate * grad))[0]) > value - 0.1 * rate * grad @ grad:
            rate = 0.7 * rate
        x = x - rate * grad
        rates.append(rate)
    search = optim.scale_by_backtracking_linesearch(60, slope_rtol=0.1, decrease_factor=0.7)
    xs, (_, state) = walked(descent(search), f, 6)
    np.testing.assert_allclose(state.learning_rate, rates, rtol=1e-12)
    np.testing.assert_allclose(xs[-1], x, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "rate"), [({}, 0.8), ({"rtol": 0.01}, 1.0), ({"atol": 0.01}, 1.0), ({"max_learning_rate": 0.9}, 0.9)]
)
def test_backtracking_lets_as_much_of_the_fall_be_missing_as_it_is_told(settings, rate):
    """From 1 to -1, where a rate of 1 leads, x^2 does not fall."""
    x, f = jnp.array(1.0), lambda x: x**2
    search = optim.scale_by_backtracking_linesearch(15, **settings)
    _, state = jax.jit(lambda x: search.update(-2 * x, search.init(x), x, value=f(x), grad=2 * x, value_fn=f))(x)
    assert float(state.learning_rate) == pytest.approx(rate)


@x64
@loose
@pytest.mark.parametrize(
    ("curvature", "approx_dec_rtol", "rate", "misses"),
    [
        (0.6, 1e-6, 1.0, False),
        (1.4, 1e-6, 0.5, False),  # at a rate of 1 the slope is 0.4 of what it was, and upward: 0.2 is allowed
        (0.05, 1e-6, 2.0, False),  # too steep still at 1, where the value is what it was: it goes on
        (0.6, None, None, True),
    ],
)
def test_zoom_goes_by_slopes_where_values_do_not_differ_but_by_rounding(curvature, approx_dec_rtol, rate, misses):
    f, x = lambda x: 1e12 + curvature * x**2 / 2, jnp.array(1e-3)
    for library in (optim, optax):
        search = library.scale_by_zoom_linesearch(15, slope_rtol=0.4, approx_dec_rtol=approx_dec_rtol)
        update = lambda x, search=search: search.update(
            -curvature * x, search.init(x), x, value=f(x), grad=curvature * x, value_fn=f
        )
        _, state = jax.jit(update)(x)
        assert (float(state.info.decrease_error) > 0) == misses
        if rate is not None:
            assert float(state.learning_rate) == pytest.approx(rate, rel=1e-12)


@x64
def test_zoom_leaves_no_short_interval_before_the_function_has_fallen_somewhere():
    _, (_, state) = walked(descent(optim.scale_by_zoom_linesearch(40, stepsize_precision=0.1)), badly_scaled, 1)
    np.testing.assert_array_equal(state.info.decrease_error, 0)
    assert 1e-7 < float(state.learning_rate[0]) < 2e-6


def test_at_a_minimum_a_search_with_an_infinite_part_of_the_slope_ends_at_once():
    f, x = lambda x: x**2, jnp.array(0.0)
    search = optim.scale_by_zoom_linesearch(15, curv_rtol=jnp.inf)
    _, state = jax.jit(lambda x: search.update(-2 * x, search.init(x), x, value=f(x), grad=2 * x, value_fn=f))(x)
    assert (int(state.info.num_linesearch_steps), float(state.info.curvature_error)) == (1, 0)


@x64
@pytest.mark.parametrize("scale_init_precond", [True, False])
def test_lbfgs_multiplies_by_the_matrix_that_its_memory_stands_for(scale_init_precond):
    random, steps, size = np.random.default_rng(0), 7, 4
    curvature = np.diag([1.0, 3.0, 0.2, 5.0])
    xs = random.normal(size=(steps, size))
    gs = xs @ curvature
    t = optim.scale_by_lbfgs(3, scale_init_precond)

    def step(state, now):
        updates, state = t.update(now[1], state, now[0])
        return state, updates

    _, directions = jax.jit(lambda: jax.lax.scan(step, t.init(jnp.zeros(size)), (jnp.asarray(xs), jnp.asarray(gs))))()
    for k in range(steps):
        gamma, pairs = 1.0, [(xs[i + 1] - xs[i], gs[i + 1] - gs[i]) for i in range(max(k - 3, 0), k)]
        if scale_init_precond:
            gamma = min(1, 1 / np.linalg.norm(gs[0]))
            if pairs:
                s, y = pairs[-1]
                gamma = (s @ y) / (y @ y)
        H = gamma * np.eye(size)
        for s, y in pairs:
            V = np.eye(size) - np.outer(y, s) / (s @ y)
            H = V.T @ H @ V + np.outer(s, s) / (s @ y)
        np.testing.assert_allclose(directions[k], H @ gs[k], rtol=1e-10)


@x64
def test_lbfgs_finds_the_minimum_of_a_parabola_once_it_has_seen_every_direction():
    xs, _ = walked(optim.lbfgs(linesearch=optim.scale_by_zoom_linesearch(40, curv_rtol=1e-6)), quadratic, 5)
    assert np.abs(xs[1]).max() > 1e-3
    assert np.abs(xs[3]).max() < 1e-8


@x64
def test_a_step_of_zero_or_a_gradient_that_stays_is_left_out_of_the_memory():
    t = optim.scale_by_lbfgs(2)
    x, g = jnp.array([1.0, 2.0]), jnp.array([0.3, 0.4])
    _, state = t.update(g, t.init(x), x)
    updates, state = t.update(g, state, x)
    np.testing.assert_array_equal(state.weights_memory, 0)
    np.testing.assert_allclose(updates, g, rtol=1e-15)


@pytest.mark.oracle
@x64
def test_lbfgs_of_one_parameter_without_a_search_is_that_of_torch():
    """Of more than one it differs by the first step, which torch divides by the sum of the gradient's magnitudes."""
    torch = pytest.importorskip("torch")
    f = lambda x: x**4 / 4 + x**2 - 3 * x
    x = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    theirs, seen = torch.optim.LBFGS([x], lr=0.4, max_iter=1, history_size=3), []

    def closure():
        theirs.zero_grad()
        loss = f(x)
        loss.backward()
        return loss

    for _ in range(8):
        theirs.step(closure)
        seen.append(x.item())
    xs, _ = walked(optim.lbfgs(0.4, 3, linesearch=None), f, 8, jnp.array(4.0))
    np.testing.assert_allclose(xs, seen, rtol=1e-9)


# Transformations of JAX.


OPTIMIZERS = {
    "backtracking": descent(optim.scale_by_backtracking_linesearch(30, store_grad=True)),
    "zoom": descent(optim.scale_by_zoom_linesearch(20)),
    "lbfgs": optim.lbfgs(memory_size=3),
}
each = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


@x64
@each
def test_vmap_over_where_it_starts_equals_a_loop(optimizer):
    starts = jnp.array([[-1.2, 1.0], [0.5, 2.0], [3.0, -1.0]])
    run = lambda start: walk(optimizer, rosenbrock, start, 5)
    mapped, alone = jax.jit(jax.vmap(run))(starts), jax.jit(run)
    alone = [alone(start) for start in starts]
    assert_same(jax.tree.map(np.asarray, mapped), jax.tree.map(lambda *leaves: np.stack(leaves), *alone), 1e-9)


SWEPT = {
    "backtracking": (
        lambda **settings: descent(optim.scale_by_backtracking_linesearch(**settings)),
        {
            "max_backtracking_steps": 30,
            "slope_rtol": 0.2,
            "decrease_factor": 0.8,
            "increase_factor": 1.3,
            "max_learning_rate": 0.9,
            "atol": 0.01,
            "rtol": 1e-3,
        },
    ),
    "zoom": (
        lambda **settings: descent(optim.scale_by_zoom_linesearch(**settings)),
        {
            "max_linesearch_steps": 20,
            "max_learning_rate": 0.4,
            "tol": 1e-3,
            "increase_factor": 1.7,
            "slope_rtol": 0.1,
            "curv_rtol": 0.5,
            "approx_dec_rtol": 1e-6,
            "stepsize_precision": 1e-5,
        },
    ),
    "lbfgs": (lambda learning_rate: optim.lbfgs(learning_rate, 3, linesearch=None), {"learning_rate": 0.5}),
}
each_swept = pytest.mark.parametrize(("make", "settings"), SWEPT.values(), ids=SWEPT)


@x64
@each_swept
def test_vmap_over_every_hyperparameter_compiles_once_and_equals_a_loop(make, settings):
    traces = []

    def run(settings):
        traces.append(1)
        return walk(make(**settings), beale, jnp.asarray(STARTS[beale]), 4)[0]

    members = [settings] + [{**settings, name: type(value)(0.6 * value)} for name, value in settings.items()]
    compiled = jax.jit(run)
    looped = [compiled(jax.tree.map(jnp.asarray, member)) for member in members]
    assert len(traces) == 1
    mapped = jax.jit(jax.vmap(run))({name: jnp.array([m[name] for m in members]) for name in settings})
    np.testing.assert_allclose(mapped, np.stack(looped), rtol=1e-9)


@x64
@pytest.mark.parametrize(
    ("make", "settings", "name"),
    [
        (*SWEPT["backtracking"], "decrease_factor"),
        (*SWEPT["backtracking"], "max_learning_rate"),
        (*SWEPT["zoom"], "max_learning_rate"),
        (lambda learning_rate: optim.lbfgs(learning_rate, 3), {"learning_rate": 0.5}, "learning_rate"),
        (*SWEPT["lbfgs"], "learning_rate"),
    ],
)
def test_the_forward_derivative_of_a_run_is_right(make, settings, name):
    @jax.jit
    def last(value):
        return walk(make(**{**settings, name: value}), beale, jnp.asarray(STARTS[beale]), 4)[0][-1].sum()

    value, h = jnp.asarray(settings[name]), 1e-6
    _, derivative = jax.jit(lambda value: jax.jvp(last, (value,), (jnp.ones(()),)))(value)
    np.testing.assert_allclose(derivative, (last(value + h) - last(value - h)) / (2 * h), rtol=1e-5)
    assert abs(derivative) > 1e-3


@x64
def test_lbfgs_without_a_search_can_be_differentiated_in_reverse_with_gradients_of_zero_too():
    def last(rate, start):
        return walk(optim.lbfgs(rate, 3, linesearch=None), flat, start, 4)[0][-1].sum()

    derivative = jax.jit(jax.grad(last))
    start = jnp.asarray(STARTS[flat])
    h, at = 1e-6, jax.jit(last)
    np.testing.assert_allclose(derivative(0.5, start), (at(0.5 + h, start) - at(0.5 - h, start)) / (2 * h), rtol=1e-6)
    assert float(derivative(0.5, jnp.zeros(3))) == 0


# Trees, dtypes, and functions of more than the parameters.


@each
def test_init_returns_arrays_of_their_own(optimizer):
    params = {"w": jnp.ones(3), "b": jnp.ones(())}
    leaves = jax.tree.leaves((params, optimizer.init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def of_a_tree(tree):
    return rosenbrock(jnp.concatenate([tree["a"].reshape(-1), tree["b"][None]])) + tree["empty"].sum()


@x64
@each
def test_a_tree_takes_the_path_of_its_leaves_in_a_row(optimizer):
    tree = {"a": jnp.array([[-1.2, 1.0]]), "b": jnp.array(0.5), "empty": jnp.zeros((0, 3)), "none": None}
    seen, _ = walked(optimizer, of_a_tree, 6, tree)
    row, _ = walked(optimizer, rosenbrock, 6, jnp.array([-1.2, 1.0, 0.5]))
    assert seen["none"] is None
    np.testing.assert_allclose(np.column_stack([seen["a"].reshape(6, 2), seen["b"]]), row, rtol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@each
def test_numbers_are_kept_in_float32_at_least_and_updates_in_the_dtype_of_gradients(optimizer, dtype):
    f = lambda x: quadratic(x.astype(jnp.float32))
    begin = jnp.array([1.0, -2.0, 3.0], dtype)
    xs, state = walked(optimizer, f, 8, begin)
    assert xs.dtype == dtype
    for keys, leaf in jax.tree_util.tree_leaves_with_path(state):
        of_parameters = keys[-1].name in ("grad", "params", "updates", "diff_params_memory", "diff_updates_memory")
        assert leaf.dtype in ((dtype,) if of_parameters else (jnp.float32, jnp.int32)), keys
    assert f(jnp.asarray(xs[-1])) < 0.1 * f(begin)
    # What the search has found holds where its updates have led, but for bfloat16 that XLA does not round in between.
    rtol = 1e-6 if dtype == jnp.float32 else 0.03
    np.testing.assert_allclose(state[-1].value, jax.vmap(f)(jnp.asarray(xs)), rtol=rtol)


@each
def test_extra_arguments_reach_the_function_and_one_that_it_does_not_take_is_refused(optimizer):
    f = lambda params, x, *, y: jnp.sum((x * params - y) ** 2)
    given = {"x": jnp.array([1.0, 2.0]), "y": jnp.array([3.0, -4.0])}
    params = jnp.zeros(2)
    value, grad = jax.value_and_grad(f)(params, **given)
    state = optimizer.init(params)
    updates, _ = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=f, **given)
    assert f(params + updates, **given) < value
    with pytest.raises(TypeError, match=r"expected extra arguments that value_fn takes, .* got z, and it takes params"):
        optimizer.update(grad, state, params, value=value, grad=grad, value_fn=f, **given, z=1.0)
    any_name = lambda params, **rest: f(params, **rest)  # noqa: PLW0108
    same, _ = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=any_name, **given)
    np.testing.assert_array_equal(same, updates)


# Where it fails.


@pytest.mark.parametrize(
    "search",
    [optim.scale_by_backtracking_linesearch(3), optim.scale_by_zoom_linesearch(3)],
    ids=["backtracking", "zoom"],
)
def test_where_the_function_is_finite_nowhere_no_step_is_made_and_the_next_search_begins_anew(search):
    optimizer, x = descent(search), jnp.array(1.0)
    nowhere = lambda x: jnp.where(x == 1, 1.0, jnp.nan) * x
    value, grad = jnp.array(1.0), jnp.array(1.0)
    updates, state = optimizer.update(grad, optimizer.init(x), x, value=value, grad=grad, value_fn=nowhere)
    assert float(updates) == float(state[1].learning_rate) == 0
    f = lambda x: x**2
    updates, state = optimizer.update(2 * x, state, x, value=f(x), grad=2 * x, value_fn=f)
    assert float(state[1].learning_rate) > 0.1
    assert f(x + updates) < f(x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (optim.scale_by_backtracking_linesearch, "the function has not fallen enough from 4.0, with a slope of 16.0"),
        (optim.scale_by_zoom_linesearch, "no rate was found, from a value of 4.0 and a slope of 16.0"),
    ],
)
def test_a_search_that_fails_says_so_if_it_is_asked_to(make, words, capfd):
    x, f = jnp.array(2.0), lambda x: x**2
    search = make(3, verbose=True)
    for sign, printed in ((-1.0, False), (1.0, True)):  # against the slope, and up along it
        search.update(sign * 4 * x / 2, search.init(x), x, value=f(x), grad=2 * x, value_fn=f)
        jax.effects_barrier()
        assert (words in capfd.readouterr().out) == printed


@pytest.mark.parametrize("missing", ["params", "value", "grad", "value_fn"])
@pytest.mark.parametrize("search", [optim.scale_by_backtracking_linesearch(3), optim.scale_by_zoom_linesearch(3)])
def test_what_a_search_needs_and_is_not_given_is_named(search, missing):
    x, f = jnp.array(2.0), lambda x: x**2
    given = {"params": x, "value": f(x), "grad": 2 * x, "value_fn": f, missing: None}
    with pytest.raises(ValueError, match=f"expected {missing}, because a line search looks at a function; got None"):
        search.update(-2 * x, search.init(x), **given)


def test_lbfgs_without_parameters_is_refused():
    t = optim.scale_by_lbfgs()
    with pytest.raises(ValueError, match="expected params, because steps are differences of them; got None"):
        t.update(jnp.ones(2), t.init(jnp.ones(2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.scale_by_backtracking_linesearch(-1),
            "expected max_backtracking_steps of 0 or more, because it counts; got -1",
        ),
        (
            lambda: optim.scale_by_backtracking_linesearch(5, slope_rtol=-0.1),
            "expected slope_rtol from 0 to 1, because it is a part of the slope; got -0.1",
        ),
        (
            lambda: optim.scale_by_backtracking_linesearch(5, decrease_factor=1.0),
            "expected decrease_factor between 0 and 1, because rates shorten; got 1.0",
        ),
        (
            lambda: optim.scale_by_backtracking_linesearch(5, increase_factor=0.5),
            "expected increase_factor of 1 or more, because else rates would vanish; got 0.5",
        ),
        (
            lambda: optim.scale_by_backtracking_linesearch(5, max_learning_rate=jnp.nan),
            "expected max_learning_rate of 0 or more, because it is the length of a step; got nan",
        ),
        (
            lambda: optim.scale_by_backtracking_linesearch(5, rtol=-1.0),
            "expected rtol of 0 or more, because a tolerance has no sign; got -1.0",
        ),
        (
            lambda: optim.scale_by_zoom_linesearch(0),
            "expected max_linesearch_steps of 1 or more, because one rate must be tried; got 0",
        ),
        (
            lambda: optim.scale_by_zoom_linesearch(5, increase_factor=0.5),
            "expected increase_factor of 1 or more, because the search goes out; got 0.5",
        ),
        (
            lambda: optim.scale_by_zoom_linesearch(5, curv_rtol=-0.9),
            "expected curv_rtol of 0 or more, because it is a part of the slope; got -0.9",
        ),
        (
            lambda: optim.scale_by_zoom_linesearch(5, tol=jnp.nan),
            "expected tol of 0 or more, because a tolerance has no sign; got nan",
        ),
        (
            lambda: optim.scale_by_zoom_linesearch(5, initial_guess_strategy="two"),
            "expected initial_guess_strategy 'keep' or 'one', because a search begins somewhere; got 'two'",
        ),
        (
            lambda: optim.lbfgs(memory_size=0),
            "expected memory_size of 1 or more, because the last steps are remembered; got 0",
        ),
        (
            lambda: optim.lbfgs(-1.0),
            "expected learning_rate of 0 or more, because it is the length of a step; got -1.0",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()


# The value and the gradient in the state.


@x64
def test_value_and_grad_from_state_are_those_of_the_function_and_are_not_computed_again():
    calls = []

    def f(x):
        jax.debug.callback(lambda: calls.append(1))
        return rosenbrock(x)

    optimizer, x = OPTIMIZERS["zoom"], jnp.array([-1.2, 1.0])
    state = optimizer.init(x)
    from_state = jax.jit(lambda x, state: optim.value_and_grad_from_state(f)(x, state=state))
    for step in range(3):
        calls.clear()
        value, grad = from_state(x, state)
        jax.effects_barrier()
        assert bool(calls) == (step == 0)
        expected = jax.value_and_grad(rosenbrock)(x)
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(grad, expected[1], rtol=1e-12)
        updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=rosenbrock)
        x = x + updates


def test_value_and_grad_from_state_of_a_search_that_keeps_no_gradient_is_refused():
    search, x = optim.scale_by_backtracking_linesearch(3), jnp.array(2.0)
    with pytest.raises(ValueError, match=r"expected a value and a gradient in the state, .* got no grad"):
        optim.value_and_grad_from_state(lambda x: x**2)(x, state=search.init(x))
    with pytest.raises(ValueError, match=r"expected a value and a gradient in the state, .* got no value"):
        optim.value_and_grad_from_state(lambda x: x**2)(x, state=optim.sgd(0.1).init(x))


def test_value_and_grad_from_state_passes_arguments_on():
    f = lambda x, a, *, b: a * x + b
    search, x = optim.scale_by_backtracking_linesearch(3, store_grad=True), jnp.array(2.0)
    value, grad = optim.value_and_grad_from_state(f)(x, 3.0, state=search.init(x), b=1.0)
    assert (float(value), float(grad)) == (7.0, 3.0)
