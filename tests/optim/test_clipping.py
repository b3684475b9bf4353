"""Bounds on gradients and parameters and what else shapes updates, beyond the contract that `optimizer_rows` checks."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim

G = np.array([3.0, 4.0])
random = np.random.default_rng(0)


def once(transform, updates, params=None):
    """The updates of one step."""
    return transform.update(updates, transform.init(params if params is not None else updates), params)[0]


def array(x, dtype=jnp.float32):
    return jnp.asarray(np.asarray(x), dtype)


def assert_trees_close(ours, theirs, rtol=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        pytest.param(optim.clip_by_global_norm(1.0), [0.6, 0.8], id="norm 1"),
        pytest.param(optim.clip_by_global_norm(10.0), [3.0, 4.0], id="norm 10"),
        pytest.param(optim.clip(1.0), [1.0, 1.0], id="value 1"),
        pytest.param(optim.clip_by_block_rms(0.5**0.5), [0.6, 0.8], id="rms of a norm of 1"),
    ],
)
def test_DIAG_3_what_becomes_of_3_and_4(transform, expected):
    np.testing.assert_allclose(once(transform, array(G)), expected, rtol=1e-6)


@pytest.mark.parametrize("bound", [0.0, 1.0])
@pytest.mark.parametrize(
    "make",
    [optim.clip, optim.clip_by_global_norm, optim.clip_by_block_rms, lambda b: optim.adaptive_grad_clip(b, eps=b)],
    ids=["clip", "global_norm", "block_rms", "adaptive"],
)
def test_DIAG_3_zero_gradients_stay_zero_and_their_derivatives_are_finite(make, bound):
    zeros, run = jnp.zeros(2), lambda bound, g: once(make(bound), g, jnp.zeros(2)).sum()
    np.testing.assert_array_equal(once(make(bound), zeros, zeros), [0, 0])
    by_bound, by_gradient = jax.jit(jax.grad(run, (0, 1)))(bound, zeros)
    assert np.isfinite(by_bound)
    assert np.isfinite(by_gradient).all()


@pytest.mark.parametrize("make", [optim.clip_by_global_norm, optim.clip_by_block_rms], ids=["norm", "rms"])
def test_within_the_bound_nothing_is_rounded(make):
    g = array(random.normal(size=(50, 7)))
    np.testing.assert_array_equal(once(make(1e3), g), g)
    np.testing.assert_array_equal(once(make(jnp.inf), g), g)


def test_the_norm_is_of_all_leaves_and_taken_in_float32_at_least():
    tree = {"a": jnp.full(3000, 0.1, jnp.bfloat16), "b": (array([[2.0]]), None)}
    expected = np.sqrt(3000 * float(tree["a"][0]) ** 2 + 4)
    assert optim.global_norm(tree).dtype == jnp.float32
    assert float(optim.global_norm(tree)) == pytest.approx(expected, rel=1e-6)
    assert optim.global_norm({}) == 0


def test_where_the_norm_is_infinite_finite_updates_become_0_and_one_nan_makes_all_nan():
    for clip in (optim.clip_by_global_norm(1.0), optax.clip_by_global_norm(1.0)):
        np.testing.assert_array_equal(once(clip, array([3e38, 3e38])), [0, 0])
        assert np.isnan(once(clip, array([np.nan, 1.0]))).all()
    for clip in (optim.clip_by_block_rms(1.0), optax.clip_by_block_rms(1.0)):
        assert np.isnan(once(clip, array([np.nan, 1.0]))).all()
    for clip in (optim.adaptive_grad_clip(1.0), optax.adaptive_grad_clip(1.0)):
        with jax.numpy_dtype_promotion("standard"):
            assert np.isnan(once(clip, array([[np.nan], [1.0]]), jnp.ones((2, 1)))).all()


def test_pytorch_shortens_to_a_millionth_less_and_a_millionth_earlier(x64):
    """Its factor is min(1, max_norm / (||g|| + 1e-6))."""
    for g, max_norm in ((G, 1.0), (G, 5.0), (G * 1e-6, 5e-6), (G, 10.0)):
        pytorch = g * min(1, max_norm / (np.linalg.norm(g) + 1e-6))
        ours = once(optim.clip_by_global_norm(max_norm), jnp.asarray(g))
        difference = np.linalg.norm(ours) - np.linalg.norm(pytorch)
        expected = max_norm * 1e-6 / (np.linalg.norm(g) + 1e-6) if max_norm <= 5 else 0
        np.testing.assert_allclose(difference, expected, rtol=1e-6, atol=1e-16)


@pytest.mark.oracle
@pytest.mark.parametrize("max_norm", [1.0, 5.0, 10.0])
def test_pytorch_clips_as_that_loop_does_and_by_value_as_we_do(max_norm):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    p.grad = torch.tensor(G)
    torch.nn.utils.clip_grad_norm_([p], max_norm)
    np.testing.assert_allclose(p.grad, G * min(1, max_norm / (5 + 1e-6)), rtol=1e-15)
    p.grad = torch.tensor(G)
    torch.nn.utils.clip_grad_value_([p], max_norm / 2)
    np.testing.assert_allclose(p.grad, once(optim.clip(max_norm / 2), array(G)), rtol=1e-6)


# By units.

SHAPES = [(), (5,), (1, 5), (4, 5), (2, 3, 4), (2, 3, 4, 5), (2, 2, 3, 4, 2), (0, 3), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_units_and_their_bounds_are_those_of_optax(shape, loose):
    g, p = (array(random.normal(size=shape)) for _ in range(2))
    assert_trees_close(optim.unitwise_norm(g), optax.transforms.unitwise_norm(g))
    assert_trees_close(once(optim.adaptive_grad_clip(0.5), g, p), once(optax.adaptive_grad_clip(0.5), g, p))


def test_a_kernel_over_time_has_its_fan_in_on_two_axes():
    g = random.normal(size=(2, 3, 4)).astype(np.float32)
    expected = np.broadcast_to(np.sqrt((g**2).sum((0, 1))), g.shape)
    np.testing.assert_allclose(optim.unitwise_norm(jnp.asarray(g), axis=(0, 1)), expected, rtol=1e-6)
    np.testing.assert_allclose(optim.unitwise_norm(jnp.asarray(g), axis=(-3, -2)), expected, rtol=1e-6)


def test_adaptive_clipping_is_the_loop_over_units():
    g, w, clipping, eps = random.normal(size=(4, 3)), random.normal(size=(4, 3)), 0.4, 0.7
    w[:, 0] = 0
    expected = g.copy()
    for j in range(3):
        bound = clipping * max(np.linalg.norm(w[:, j]), eps)
        if np.linalg.norm(g[:, j]) > bound:
            expected[:, j] *= bound / np.linalg.norm(g[:, j])
    np.testing.assert_allclose(once(optim.adaptive_grad_clip(clipping, eps), array(g), array(w)), expected, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, (0, 2)], ids=str)
def test_along_given_axes_adaptive_clipping_is_that_of_optax(axis, loose):
    g, p = (array(random.normal(size=(2, 3, 4))) for _ in range(2))
    ours, theirs = optim.adaptive_grad_clip(0.3, axis=axis), optax.adaptive_grad_clip(0.3, axis=axis)
    assert_trees_close(once(ours, g, p), once(theirs, g, p))


def test_unitwise_clip_guards_its_divisor():
    zero = jnp.zeros(2)
    np.testing.assert_array_equal(optim.unitwise_clip(zero, zero, zero), [0, 0])
    np.testing.assert_allclose(optim.unitwise_clip(zero + 1.0, zero + 0.5, zero + 3.0, 2.0), [0.75, 0.75])


# By examples.

EXAMPLES = {"w": random.normal(size=(6, 2, 3)), "b": random.normal(size=(6, 3)), "s": random.normal(size=6)}
EXAMPLES = jax.tree.map(
    lambda g: g.astype(np.float32) * np.linspace(0, 2, 6, dtype=np.float32).reshape(6, *[1] * (g.ndim - 1)), EXAMPLES
)


@pytest.mark.parametrize("bound", [0.0, 1.3, 1e3])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.per_example_global_norm_clip, optax.per_example_global_norm_clip),
        (optim.per_example_layer_norm_clip, optax.per_example_layer_norm_clip),
        (
            lambda g, c: optim.per_example_layer_norm_clip(g, c, uniform=False),
            lambda g, c: optax.per_example_layer_norm_clip(g, c, uniform=False),
        ),
    ],
    ids=["global", "layers", "layers by size"],
)
def test_per_example_clipping_is_that_of_optax_and_the_bound_may_be_a_tracer(ours, theirs, bound, loose):
    grads = jax.tree.map(jnp.asarray, EXAMPLES)
    assert_trees_close(jax.jit(ours)(grads, bound), theirs(grads, bound), 2e-6)


def test_per_example_clipping_is_the_loop_over_examples():
    expected, shortened = jax.tree.map(lambda g: np.zeros(g.shape[1:]), EXAMPLES), 0
    for i in range(6):
        norm = np.sqrt(sum((g[i] ** 2).sum() for g in EXAMPLES.values()))
        factor = 1.3 / norm if norm > 1.3 else 1.0
        shortened += norm > 1.3
        expected = jax.tree.map(lambda total, g: total + factor * g[i], expected, EXAMPLES)  # noqa: B023 - at once
    sums, count = optim.per_example_global_norm_clip(jax.tree.map(jnp.asarray, EXAMPLES), 1.3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6), sums, expected)
    assert 0 < shortened < 6
    assert count == shortened


def test_per_example_clipping_has_finite_derivatives_at_an_example_of_zeros():
    total = lambda g, bound: optim.per_example_global_norm_clip([g], bound)[0][0].sum()
    by_gradient, by_bound = jax.grad(total, (0, 1))(jnp.array([[0.0, 0.0], [3.0, 4.0]]), 1.0)
    np.testing.assert_array_equal(by_gradient[0], [1, 1])
    assert by_bound == pytest.approx(1.4)


@pytest.mark.parametrize("clip", [optim.per_example_global_norm_clip, optim.per_example_layer_norm_clip])
@pytest.mark.parametrize("grads", [[np.zeros((2, 3)), np.zeros((3, 3))], [np.zeros(2), np.zeros(())], []], ids=len)
def test_per_example_clipping_without_an_axis_for_the_examples_is_refused(clip, grads):
    with pytest.raises(ValueError, match="expected gradients with an axis for the examples in front, of one length, "
                                         "because each example's is bounded; got shapes"):  # fmt: skip
        clip(grads, 1.0)


# What else shapes updates.


def test_a_length_of_1_is_given_to_updates_and_none_to_zeros():
    normalize = optim.normalize_by_update_norm(eps=0.0)
    np.testing.assert_allclose(once(normalize, array(G)), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(once(normalize, jnp.zeros(2)), [0, 0])
    derivative = jax.grad(lambda eps: once(optim.normalize_by_update_norm(1.0, eps), jnp.zeros(2)).sum())(0.0)
    assert derivative == 0


def test_centralize_takes_the_mean_of_optax_and_the_docstring_that_of_the_paper():
    g = random.normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(once(optim.centralize(), jnp.asarray(g)), g - g.mean((1, 2), keepdims=True), atol=1e-6)
    f = lambda g: g - g.mean(range(g.ndim - 1), keepdims=True)
    paper = optim.stateless(lambda updates, params: jax.tree.map(f, updates))
    centred = once(paper, jnp.asarray(g))
    np.testing.assert_allclose(centred, g - g.mean((0, 1), keepdims=True), atol=1e-6)
    np.testing.assert_allclose(np.asarray(centred).mean((0, 1)), np.zeros(4), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zero_nans_is_that_of_optax_through_a_scan(dtype):
    steps = {"w": array([[1.0, np.nan], [2.0, np.inf], [np.nan, np.nan]], dtype), "b": array([1.0, 2.0, np.nan], dtype)}
    params = {"w": jnp.zeros(2, dtype), "b": jnp.zeros((), dtype)}

    def seen(transform):
        def step(state, g):
            updates, state = transform.update(g, state)
            return state, (updates, state)

        return jax.jit(lambda: jax.lax.scan(step, transform.init(params), steps)[1])()

    (ours, our_state), (theirs, their_state) = seen(optim.zero_nans()), seen(optax.zero_nans())
    assert_trees_close(ours, theirs)
    assert optim.ZeroNansState._fields == optax.ZeroNansState._fields
    assert_trees_close(our_state.found_nan, their_state.found_nan)
    np.testing.assert_array_equal(our_state.found_nan["w"], [True, False, True])


def test_zero_nans_passes_none_by():
    transform, g = optim.zero_nans(), {"w": array([np.nan]), "held": None}
    updates, state = transform.update(g, transform.init(g))
    assert updates["held"] is None
    assert jax.tree.structure(state) == jax.tree.structure(transform.init(g))


def test_parameters_are_kept_from_going_below_0_on_the_dot():
    p, u = array([0.3, 0.1, 0.7, -0.5, -0.5]), array([-0.7, -0.1, -0.1, 0.2, 0.9])
    kept = once(optim.keep_params_nonnegative(), u, p)
    np.testing.assert_allclose(p + kept, [0, 0, 0.6, 0, 0.4], rtol=1e-6, atol=0)


def test_the_period_of_apply_every_may_be_a_tracer():
    g = jnp.arange(1.0, 8.0)

    def given(transform):
        def step(state, g):
            updates, state = transform.update(g, state)
            return state, updates

        return jax.lax.scan(step, transform.init(g[0]), g)[1]

    mapped = jax.jit(jax.vmap(lambda k: given(optim.apply_every(k))))(jnp.array([1, 2, 3]))
    np.testing.assert_array_equal(mapped, [[1, 2, 3, 4, 5, 6, 7], [0, 3, 0, 7, 0, 11, 0], [0, 0, 6, 0, 0, 15, 0]])


def test_a_sum_that_was_nan_is_forgotten_with_its_period():
    """Optax multiplies it by 0, which leaves NaN for good."""
    transform, seen = optim.apply_every(2), []
    state = transform.init(jnp.zeros(()))
    for g in (np.nan, 1.0, 2.0, 3.0):
        updates, state = transform.update(array(g), state)
        seen.append(float(updates))
    np.testing.assert_array_equal(seen, [0, np.nan, 0, 5])


# All of them.


@pytest.mark.parametrize(
    "transform",
    [
        optim.clip(0.5),
        optim.clip_by_global_norm(0.5),
        optim.clip_by_block_rms(0.5),
        optim.adaptive_grad_clip(0.5),
        optim.centralize(),
        optim.scale(0.5),
        optim.normalize_by_update_norm(),
        optim.apply_every(2),
        optim.keep_params_nonnegative(),
        optim.zero_nans(),
    ],
    ids=["clip", "norm", "rms", "adaptive", "centralize", "scale", "normalize", "every", "nonnegative", "nans"],
)
def test_empty_leaves_and_numbers_pass(transform):
    tree = {"empty": jnp.zeros((0, 3)), "other": jnp.zeros((3, 0)), "number": array(-2.0)}
    updates = once(transform, tree, tree)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, tree)
    assert np.isfinite(updates["number"])
    derivative = jax.grad(lambda g: sum(leaf.sum() for leaf in jax.tree.leaves(once(transform, g, tree))))(tree)
    assert np.isfinite(derivative["number"])


@pytest.mark.parametrize(
    "name",
    ["clip", "clip_by_global_norm", "clip_by_block_rms", "adaptive_grad_clip", "unitwise_norm", "unitwise_clip",
     "per_example_global_norm_clip", "per_example_layer_norm_clip", "centralize", "scale", "normalize_by_update_norm",
     "apply_every", "keep_params_nonnegative", "zero_nans", "global_norm"],
)  # fmt: skip
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(optim, name)) == outline(getattr(optax, name, None) or getattr(optax.transforms, name))


def test_states_are_named_as_those_of_optax():
    assert optim.ApplyEvery._fields == optax.ApplyEvery._fields
    assert optim.NonNegativeParamsState is optax.NonNegativeParamsState


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (optim.clip, "expected max_delta of 0 or more, because it bounds absolute values"),
        (optim.clip_by_global_norm, "expected max_norm of 0 or more, because it bounds a norm"),
        (optim.clip_by_block_rms, "expected threshold of 0 or more, because it bounds a root of"),
        (optim.adaptive_grad_clip, "expected clipping of 0 or more, because it is a ratio of norms"),
        (lambda bad: optim.adaptive_grad_clip(1.0, bad), "expected eps of 0 or more, because it is a norm"),
        (lambda bad: optim.unitwise_clip(*[jnp.zeros(2)] * 3, bad), "expected div_eps of 0 or more, because it keeps"),
        (lambda bad: optim.per_example_global_norm_clip([], bad), "expected l2_norm_clip of 0 or more, because it bou"),
        (lambda bad: optim.per_example_layer_norm_clip([], bad), "expected global_l2_norm_clip of 0 or more, because"),
        (lambda bad: optim.normalize_by_update_norm(1.0, bad), "expected eps of 0 or more, because it keeps a divisor"),
        (optim.apply_every, "expected k of 1 or more, because it counts steps"),
    ],
    ids=lambda value: value.split(",")[0] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_bounds_that_cannot_be_meant_are_refused(make, message, bad):
    with pytest.raises(ValueError, match=f"{message}.*; got {bad}"):
        make(bad)


@pytest.mark.parametrize(
    ("make", "name"), [(optim.scale, "step_size"), (optim.normalize_by_update_norm, "scale_factor")], ids=["a", "b"]
)
def test_a_factor_of_nan_is_refused(make, name):
    with pytest.raises(ValueError, match=f"expected {name} to be a number, because updates are mult.* by it; got nan"):
        make(np.nan)


@pytest.mark.parametrize(
    ("transform", "because"),
    [(optim.adaptive_grad_clip(1.0), "gradients are bounded by"), (optim.keep_params_nonnegative(), "it is they that")],
    ids=["adaptive", "nonnegative"],
)
def test_what_looks_at_parameters_asks_for_them(transform, because):
    with pytest.raises(ValueError, match=f"expected params, because {because} .*; got None: call update"):
        transform.update(jnp.ones(2), transform.init(jnp.ones(2)))


def test_norms_of_units_over_axes_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"expected an array of at most five axes, because .*; got shape \(2, 2, 2, 2"):
        optim.unitwise_norm(jnp.ones([2] * 6))
    with pytest.raises(ValueError, match=r"expected an array with the axes \(0, 1\), because .*; got shape \(3,\)"):
        optim.unitwise_norm(jnp.ones(3), axis=(0, 1))
    with pytest.raises(ValueError, match=r"expected g_norm and max_norm of the shape of grad, because each number has "
                                         r"its bound; got \(1,\), \(2,\) and \(2,\)"):  # fmt: skip
        optim.unitwise_clip(jnp.ones(1), jnp.ones(2), jnp.ones(2))
