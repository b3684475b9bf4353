"""Running means of gradients and of their squares: what the contract of optimizers does not say of them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxnn import optim, schedules
from jaxnn.optim._radam import _gradients_seen

T = np.arange(1, 21)[:, None]
GRADIENTS = np.random.default_rng(3).normal(size=(20, 4))
GRADIENTS[:, 3] *= 1e-3

NAMES = [
    *("nadam", "nadamw", "adamw", "amsgrad", "adamax", "adamaxw", "adabelief", "yogi", "radam", "lion", "adan"),
    *("novograd", "ademamix", "simplified_ademamix", "acprop", "adopt", "madgrad"),
]
TRANSFORMS = [
    *("scale_by_amsgrad", "scale_by_adamax", "scale_by_belief", "scale_by_yogi", "scale_by_radam", "scale_by_lion"),
    *("scale_by_adan", "scale_by_novograd", "scale_by_ademamix", "scale_by_simplified_ademamix", "scale_by_acprop"),
    *("scale_by_adopt", "scale_by_madgrad"),
]


def peer(name):
    return getattr(optax, name) if hasattr(optax, name) else getattr(contrib, name)


def path(optimizer, gradients=GRADIENTS, params=None):
    """Updates step for step, and the last state, of gradients that are given."""
    gradients = jnp.asarray(gradients)
    params = jnp.ones_like(gradients[0]) if params is None else params

    @jax.jit
    def whole(gradients):
        step = lambda state, g: optimizer.update(g, state, params)[::-1]
        return jax.lax.scan(step, optimizer.init(params), gradients)

    state, updates = whole(gradients)
    return np.asarray(updates), state


def descent(optimizer, steps, start=2.0):
    """Parameters after each step down x^2."""

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(2 * x, state, x)
        return (x + updates, state), x + updates

    x = jnp.asarray(start)
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[1])())


def means(decay, values, start=0.0):
    """Running means after each step, by a loop."""
    seen, mean = [], np.full(values.shape[1:], start)
    for value in values:
        mean = decay * mean + (1 - decay) * value
        seen.append(mean)
    return np.array(seen)


def torch_updates(name, gradients=GRADIENTS, **settings):
    torch = pytest.importorskip("torch")
    x = torch.zeros(gradients.shape[1:], dtype=torch.float64, requires_grad=True)
    optimizer, seen = getattr(torch.optim, name)([x], **settings), [np.zeros(gradients.shape[1:])]
    for g in gradients:
        x.grad = torch.tensor(g)
        optimizer.step()
        seen.append(x.detach().numpy().copy())
    return np.diff(seen, axis=0)


# Names, defaults and states.


@pytest.mark.parametrize("name", [*NAMES, *TRANSFORMS])
def test_arguments_and_defaults_are_those_of_optax(name):
    outline = lambda function: [
        (p.name, p.kind, None if p.name == "clip_value_fn" else p.default)  # no two functions are equal
        for p in inspect.signature(function).parameters.values()
    ]
    assert outline(getattr(optim, name)) == outline(peer(name))


@pytest.mark.parametrize("name", NAMES)
def test_with_the_defaults_updates_and_states_are_those_of_optax(name, x64, loose):
    (ours, our_state), (theirs, their_state) = (path(f(0.1)) for f in (getattr(optim, name), peer(name)))
    # optax takes the sqrt(t) of madgrad in float32, and loses five digits in the differences of radam.
    rtol = {"madgrad": 1e-7, "radam": 1e-9}.get(name, 1e-12)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())
    fields = lambda state: [
        (type(part).__name__, getattr(part, "_fields", ())) for part in jax.tree.leaves(state, is_leaf=is_state)
    ]
    is_state = lambda part: hasattr(part, "_fields")
    assert fields(our_state) == fields(their_state)
    for a, b in zip(jax.tree.leaves(our_state), jax.tree.leaves(their_state), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("name", ["adamw", "nadamw", "adamaxw", "lion", "adan", "ademamix", "acprop"])
def test_weight_decay_may_follow_a_schedule(name, x64, loose):
    (ours, _), (theirs, _) = (
        path(f(0.1, weight_decay=optax.linear_schedule(1.0, 0.0, 10)))[:2] for f in (getattr(optim, name), peer(name))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("scale_by_amsgrad", {}),
        ("scale_by_lion", {}),
        ("scale_by_ademamix", {"b3": jnp.float32(0.999)}),
        ("scale_by_adopt", {}),
        ("scale_by_adopt", {"nesterov": True}),
    ],
)
def test_only_the_kept_state_is_rounded_to_mu_dtype(name, settings, loose):
    # Decays are arrays, because optax multiplies bfloat16 by a Python float in bfloat16.
    settings = {**settings, "b1": jnp.float32(0.9), "b2": jnp.float32(0.99)}
    g, p = jnp.float32([1.2345678, -0.3]), jnp.ones(2)

    def two(f):  # each step from a state as it is kept
        optimizer = f(mu_dtype=jnp.bfloat16, **settings)
        update = jax.jit(optimizer.update)
        first, state = update(g, optimizer.init(p), p)
        state = jax.tree.map(lambda new, old: new.astype(old.dtype), state, optimizer.init(p))
        return first, update(0.5 * g, state, p)[0], state

    for ours, theirs in zip(*(jax.tree.leaves(two(f)) for f in (getattr(optim, name), peer(name))), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        (optim.lion(0.1), 1),
        (optim.novograd(0.1), 1),
        (optim.adamax(0.1), 2),
        (optim.adabelief(0.1), 2),
        (optim.amsgrad(0.1), 3),
        (optim.ademamix(0.1), 3),
        (optim.madgrad(0.1), 3),
        (optim.adan(0.1), 4),
    ],
    ids=["lion", "novograd", "adamax", "adabelief", "amsgrad", "ademamix", "madgrad", "adan"],
)
def test_OPT_12_numbers_kept_for_each_parameter(optimizer, numbers):
    state = jax.eval_shape(optimizer.init, jnp.ones(3))
    assert sum(leaf.shape == (3,) for leaf in jax.tree.leaves(state)) == numbers


# Adam and Nadam.


@pytest.mark.parametrize(("alias", "of"), [("nadam", "adam"), ("nadamw", "adamw")])
def test_nadam_is_adam_that_looks_ahead(alias, of, x64):
    ahead, _ = path(getattr(optim, of)(0.1, nesterov=True))
    np.testing.assert_array_equal(path(getattr(optim, alias)(0.1))[0], ahead)
    np.testing.assert_array_equal(path(getattr(optim, alias)(0.1, nesterov=False))[0], path(getattr(optim, of)(0.1))[0])


def test_OPT_9_nadam(x64):
    np.testing.assert_allclose(descent(optim.nadam(0.1), 3), [1.85263158, 1.73912147, 1.63428419], atol=1e-8)


def test_the_eps_of_keras_is_on_the_root_of_the_uncorrected_square(x64):
    """So it is larger at first: theirs is ours by sqrt(1 - b2^t)."""
    eps = 1e-3
    m_hat = means(0.9, GRADIENTS) / (1 - 0.9**T)
    v = means(0.999, GRADIENTS**2)
    keras = -0.1 * np.sqrt(1 - 0.999**T) * m_hat / (np.sqrt(v) + eps)
    here = np.stack([path(optim.adam(0.1, eps=eps / np.sqrt(1 - 0.999**t)))[0][t - 1] for t in (1, 5, 20)])
    np.testing.assert_allclose(here, keras[[0, 4, 19]], rtol=1e-12)
    assert np.abs(path(optim.adam(0.1, eps=eps))[0] / keras - 1).max() > 0.5


def nadam_by_growing_means(psi):
    """Of Keras with psi 1, of PyTorch with psi 4e-3: b1 (1 - 0.5 0.96^(psi t)) for b1, and their products."""
    mu = lambda t: 0.9 * (1 - 0.5 * 0.96 ** (psi * t))
    m, v_hat = means(0.9, GRADIENTS), means(0.999, GRADIENTS**2) / (1 - 0.999**T)
    product = np.cumprod(mu(T), axis=0)
    m_hat = mu(T + 1) * m / (1 - product * mu(T + 1)) + (1 - mu(T)) * GRADIENTS / (1 - product)
    return -0.1 * m_hat / (np.sqrt(v_hat) + 1e-8)


def test_nadam_of_keras_and_of_torch_are_two_others(x64):
    ours, _ = path(optim.nadam(0.1))
    keras, torch = nadam_by_growing_means(1.0), nadam_by_growing_means(4e-3)
    for a, b in ((ours, keras), (ours, torch), (keras, torch)):
        assert np.abs(a - b).max() > 0.01


@pytest.mark.oracle
def test_nadam_of_torch_is_by_growing_means():
    """Whose products are in float32."""
    np.testing.assert_allclose(torch_updates("NAdam", lr=0.1), nadam_by_growing_means(4e-3), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [optim.scale_by_adam, optim.scale_by_amsgrad, optim.scale_by_adan, optim.scale_by_ademamix],
    ids=lambda make: make.__name__,
)
def test_the_square_of_a_gradient_in_float16_is_not_0(make):
    """Not even 1e-8, which is less than the smallest number there."""
    optimizer, params = make(), jnp.ones(2)
    updates, _ = jax.jit(optimizer.update)(jnp.float16([1e-4, -1e-4]), optimizer.init(params))
    assert updates.dtype == jnp.float16
    np.testing.assert_allclose(updates, [1, -1], rtol=0.01)


# AMSGrad.


def amsgrad_of_raw_squares(eps):
    """Of Keras and PyTorch: the largest v, corrected after. They differ in where eps is, and not with 0."""
    m_hat, v_max = means(0.9, GRADIENTS) / (1 - 0.9**T), np.maximum.accumulate(means(0.999, GRADIENTS**2), axis=0)
    return -0.1 * m_hat / (np.sqrt(v_max / (1 - 0.999**T)) + eps)


def test_the_maximum_of_amsgrad_is_of_corrected_squares(x64):
    m_hat = means(0.9, GRADIENTS) / (1 - 0.9**T)
    v_hat = means(0.999, GRADIENTS**2) / (1 - 0.999**T)
    ours, _ = path(optim.amsgrad(0.1))
    np.testing.assert_allclose(ours, -0.1 * m_hat / (np.sqrt(np.maximum.accumulate(v_hat, 0)) + 1e-8), rtol=1e-12)
    assert np.abs(ours - amsgrad_of_raw_squares(1e-8)).max() > 0.01


def test_amsgrad_uncorrected_is_that_of_keras_and_torch_but_for_their_correction(x64):
    ours, _ = path(optim.amsgrad(0.1, eps=0.0, bias_correction_nu=False))
    np.testing.assert_allclose(ours * np.sqrt(1 - 0.999**T), amsgrad_of_raw_squares(0.0), rtol=1e-12)


@pytest.mark.oracle
def test_amsgrad_of_torch_is_of_raw_squares():
    theirs = torch_updates("Adam", lr=0.1, amsgrad=True, eps=1e-3)
    np.testing.assert_allclose(theirs, amsgrad_of_raw_squares(1e-3), rtol=1e-9)


def test_the_divisor_of_amsgrad_never_falls(x64):
    gradients = np.array([3.0, *[0.1] * 9])[:, None]
    _, (adam, _) = path(optim.adam(0.1), gradients)
    _, (amsgrad, _) = path(optim.amsgrad(0.1), gradients)
    assert float(amsgrad.nu_max[0]) == pytest.approx(9.0)
    assert float(adam.nu[0]) / (1 - 0.999**10) < 1


# Adamax.


def test_OPT_8_adamax(x64):
    np.testing.assert_allclose(descent(optim.adamax(0.1), 3), [1.9, 1.80253411, 1.70764823], atol=1e-8)


def test_E_36_the_maximum_of_adamax_is_of_sizes_and_fades(x64):
    """Of sizes: or negative gradients would not count. It fades: or it would stay 5. The eps is inside of it."""
    gradients, u, seen = np.array([-5.0, 1.0, 1.0, -2.0, 0.0])[:, None], 0.0, []
    for g in gradients[:, 0]:
        u = max(0.5 * u, abs(g) + 1e-3)
        seen.append(u)
    ours, _ = path(optim.adamax(0.1, b2=0.5, eps=1e-3), gradients)
    m_hat = means(0.9, gradients) / (1 - 0.9 ** T[:5])
    np.testing.assert_allclose(ours, -0.1 * m_hat / np.array(seen)[:, None], rtol=1e-12)
    np.testing.assert_allclose(seen, [5.001, 2.5005, 1.25025, 2.001, 1.0005])


def test_adamax_of_keras_adds_eps_after_the_maximum(x64):
    u, seen = np.zeros(4), []
    for g in GRADIENTS:
        u = np.maximum(0.9 * u, np.abs(g))
        seen.append(u)
    m_hat = means(0.9, GRADIENTS) / (1 - 0.9**T)
    keras = lambda eps: -0.1 * m_hat / (np.array(seen) + eps)
    np.testing.assert_allclose(path(optim.adamax(0.1, b2=0.9, eps=0.0))[0], keras(0.0), rtol=1e-12)
    ours, _ = path(optim.adamax(0.1, b2=0.9, eps=1e-3))
    np.testing.assert_allclose(ours[0], keras(1e-3)[0], rtol=1e-12)
    assert np.abs(ours / keras(1e-3) - 1).max() > 0.01


@pytest.mark.oracle
def test_adamax_is_that_of_torch(x64):
    ours, _ = path(optim.adamax(0.1, b2=0.9, eps=1e-3))
    np.testing.assert_allclose(ours, torch_updates("Adamax", lr=0.1, betas=(0.9, 0.9), eps=1e-3), rtol=1e-9)


# AdaBelief, ACProp and Yogi.


def test_the_steps_of_adabelief_are_long_where_gradients_are_as_expected(x64):
    steady, wild = np.ones((200, 1)), np.where(np.arange(200) % 2, 3.0, -1.0)[:, None]  # of the same mean
    longer = lambda optimizer: path(optimizer, steady)[0][-1, 0] / path(optimizer, wild)[0][-1, 0]
    assert longer(optim.adabelief(0.1)) > 5 > 3 > longer(optim.adam(0.1))


def test_the_eps_root_of_adabelief_gathers_in_its_state(x64):
    _, state = path(optim.scale_by_belief(b2=0.5, eps_root=1e-3), np.zeros((20, 1)))
    assert float(state.nu[0]) == pytest.approx(2e-3, rel=1e-5)


def test_acprop_divides_by_what_was_known_before_the_gradient(x64):
    gradients = GRADIENTS[:, :3]
    ours, _ = path(optim.acprop(0.1, eps=1e-3, eps_root=1e-4), gradients)
    last = np.concatenate([np.zeros((1, 3)), means(0.9, gradients)[:-1]])
    s, divisor = np.zeros(3), [np.ones(3)]
    for t, (g, m) in enumerate(zip(gradients, last, strict=True), 1):
        s = 0.999 * s + 0.001 * (g - m) ** 2 + 1e-4
        divisor.append(np.sqrt(s / (1 - 0.999**t)))
    np.testing.assert_allclose(ours, -0.1 * gradients / (np.array(divisor[:-1]) + 1e-3), rtol=1e-10)


def test_the_square_of_yogi_falls_slower_than_that_of_adam_where_gradients_become_small(x64):
    gradients = np.array([10.0, *[0.1] * 30])[:, None]
    _, yogi = path(optim.scale_by_yogi(b2=0.9), gradients)
    _, adam = path(optim.scale_by_adam(b2=0.9), gradients)
    assert float(yogi.nu[0]) == pytest.approx(10 - 30 * 0.1 * 0.01, rel=1e-3)
    assert float(adam.nu[0]) < 1


def test_yogi_begins_at_a_millionth(x64):
    state = optim.yogi(0.1).init(jnp.ones(2))[0]
    np.testing.assert_array_equal(jnp.stack([state.mu, state.nu]), 1e-6)
    updates, _ = path(optim.yogi(0.1), np.zeros((1, 1)))
    assert float(updates[0, 0]) == pytest.approx(-0.1 * 9e-6 / (1e-3**0.5 + 1e-3), rel=1e-9)


# RAdam.


@pytest.mark.oracle
def test_radam_is_that_of_torch_but_for_where_eps_is(x64):
    ours, _ = path(optim.radam(0.1, eps=0.0))
    np.testing.assert_allclose(ours, torch_updates("RAdam", lr=0.1, eps=0.0), rtol=1e-8)
    eps = torch_updates("RAdam", lr=0.1, eps=1e-3)
    assert np.abs(path(optim.radam(0.1, eps=1e-3))[0] / eps - 1).max() > 0.1


def test_radam_follows_the_mean_for_five_steps_and_then_divides(x64):
    ours, _ = path(optim.scale_by_radam())
    m_hat = means(0.9, GRADIENTS) / (1 - 0.9**T)
    np.testing.assert_allclose(ours[:5], m_hat[:5], rtol=1e-12)
    assert (np.abs(ours[5:] / m_hat[5:] - 1) > 0.01).all()


@pytest.mark.parametrize("b2", [0.9, 0.99, 0.999, 0.9999])
def test_radam_in_float32_is_no_further_from_float64_than_optax_is(b2, loose):
    """Of which rho in float32 is off by more than 1 at 0.9999, so that it divides at the second step already."""
    ours, theirs = (path(f.scale_by_radam(b2=b2), GRADIENTS.astype(np.float32))[0] for f in (optim, optax))
    with jax.enable_x64(True):
        exact, _ = path(optim.scale_by_radam(b2=float(np.float32(b2))))
    error = lambda updates: np.abs(updates - exact).max() / np.abs(exact).max()
    assert error(ours) < 1e-5
    assert error(ours) <= error(theirs) + 1e-6
    assert b2 < 0.9999 or error(theirs) > 0.05


def test_rho_of_radam_is_its_definition(x64):
    t, b2 = np.array([1, 2, 5, 6, 50, 90, 100, 1000, 100_000.0]), np.array([[0.0], [0.5], [0.9], [0.999]])
    rho, rho_inf = jax.jit(_gradients_seen)(b2, t[None])
    expected = 2 / (1 - b2) - 1 - 2 * t * b2**t / (1 - b2**t)
    np.testing.assert_allclose(rho, expected, rtol=1e-9)
    np.testing.assert_allclose(rho[:, 4:], expected[:, 4:], rtol=2e-11)  # where this loses fewer digits itself
    np.testing.assert_allclose(rho_inf, 2 / (1 - b2) - 1)


@pytest.mark.parametrize(("b2", "threshold"), [(0.0, 5.0), (1 / 3, 5.0), (0.6, 5.0), (0.9, 3.0)])
def test_radam_and_its_derivatives_are_finite_where_the_root_is_not_real(b2, threshold, x64):
    def moved(b2, threshold):
        optimizer, p = optim.scale_by_radam(b2=b2, threshold=threshold), jnp.ones(4)
        step = lambda state, g: optimizer.update(g, state, p)[::-1]
        return jax.lax.scan(step, optimizer.init(p), jnp.asarray(GRADIENTS))[1].sum()

    value, derivatives = jax.jit(jax.value_and_grad(moved, (0, 1)))(b2, threshold)
    assert np.isfinite([value, *derivatives]).all()


# Lion.


def test_lion_moves_every_parameter_by_the_rate(x64):
    ours, _ = path(optim.lion(0.1, weight_decay=0.0))
    m = np.concatenate([np.zeros((1, 4)), means(0.99, GRADIENTS)[:-1]])
    np.testing.assert_allclose(ours, -0.1 * np.sign(0.9 * m + 0.1 * GRADIENTS), rtol=1e-12)


@pytest.mark.parametrize(
    ("mode", "bend"), [("hard", np.sign), ("smooth", lambda x: np.tanh(0.5 * x)), ("refined", lambda x: x.clip(-1, 1))]
)
def test_the_modes_of_lion(mode, bend, x64):
    gradients = 8 * GRADIENTS
    ours, _ = path(optim.scale_by_lion(b1=0.7, mode=mode, smooth_beta=0.5), gradients)
    m = np.concatenate([np.zeros((1, 4)), means(0.99, gradients)[:-1]])
    np.testing.assert_allclose(ours, bend(0.7 * m + 0.3 * gradients), rtol=1e-12)


# Adan and NovoGrad.


def test_adan_begins_with_a_difference_of_0_and_looks_ahead(x64):
    ours, state = path(optim.scale_by_adan(eps=1e-3))
    d = np.concatenate([np.zeros((1, 4)), np.diff(GRADIENTS, axis=0)])
    m, v, n = means(0.98, GRADIENTS), means(0.92, d), means(0.99, (GRADIENTS + 0.08 * d) ** 2)
    ahead = m / (1 - 0.98**T) + 0.08 * v / (1 - 0.92**T)
    np.testing.assert_allclose(ours, ahead / (np.sqrt(n / (1 - 0.99**T)) + 1e-3), rtol=1e-10)
    np.testing.assert_array_equal(state.g, GRADIENTS[-1])


def test_adan_of_its_authors_looks_ahead_by_b2_differences(x64):
    """And that of optax, and so ours, by 1 - b2: they are one only where b2 is a half."""
    d = np.concatenate([np.zeros((1, 4)), np.diff(GRADIENTS, axis=0)])

    def authors(b2):
        n_hat = means(0.99, (GRADIENTS + b2 * d) ** 2) / (1 - 0.99**T)
        return (means(0.98, GRADIENTS) / (1 - 0.98**T) + b2 * means(b2, d) / (1 - b2**T)) / (np.sqrt(n_hat) + 1e-8)

    np.testing.assert_allclose(path(optim.scale_by_adan(b2=0.5))[0], authors(0.5), rtol=1e-9)
    assert np.abs(path(optim.scale_by_adan(b2=0.92))[0] - authors(0.92)).max() > 0.1


def test_novograd_divides_by_the_norm_of_a_layer(x64):
    ours, state = path(optim.scale_by_novograd(eps=0.0, weight_decay=0.1))
    squares = (GRADIENTS**2).sum(axis=1)
    v, m, seen = squares[0], np.zeros(4), []
    for t, g in enumerate(GRADIENTS):
        v = 0.25 * v + 0.75 * squares[t] if t else v
        m = 0.9 * m + g / np.sqrt(v) + 0.1
        seen.append(m)
    np.testing.assert_allclose(ours, seen, rtol=1e-12)
    assert state.nu.shape == ()


def test_novograd_decays_by_a_schedule_of_the_steps_before(x64):
    """Which its annotation in optax allows, and its code does not."""
    ours, _ = path(optim.scale_by_novograd(b1=0.0, weight_decay=lambda t: 0.1 * t.astype(float)), np.zeros((3, 1)))
    np.testing.assert_allclose(ours[:, 0], [0.0, 0.1, 0.2])


@pytest.mark.parametrize("make", [optim.scale_by_novograd, functools.partial(optim.scale_by_madgrad, 0.1)])
def test_without_parameters_they_are_refused(make):
    optimizer = make()
    with pytest.raises(ValueError, match=r"expected params, because .*; got None: call update\(updates, state, params"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize("name", [*NAMES, *TRANSFORMS])
def test_the_derivative_by_a_gradient_of_0_is_finite(name, x64):
    """As of a layer behind a dead one, through two steps."""
    optimizer = getattr(optim, name)(**({"learning_rate": 0.1} if name in NAMES or "madgrad" in name else {}))

    def moved(g):
        p = jnp.ones(3)
        step = lambda state, g: optimizer.update(g, state, p)[::-1]
        return jax.lax.scan(step, optimizer.init(p), jnp.stack([g, g]))[1].sum()

    assert np.isfinite(jax.jit(jax.grad(moved))(jnp.zeros(3))).all()


# AdEMAMix.


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "ademamix",
            {"alpha": schedules.linear_schedule(0.0, 5.0, 10), "b3": schedules.linear_schedule(0.9, 0.99, 10)},
        ),
        ("simplified_ademamix", {"alpha": schedules.linear_schedule(0.0, 5.0, 10)}),
    ],
)
def test_the_weight_of_the_long_mean_may_follow_a_schedule(name, settings, x64, loose):
    (ours, _), (theirs, _) = (path(f(0.1, **settings)) for f in (getattr(optim, name), getattr(contrib, name)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert np.abs(ours - path(getattr(optim, name)(0.1))[0]).max() > 0.01


def test_ademamix_without_its_long_mean_is_adam(x64):
    np.testing.assert_allclose(path(optim.ademamix(0.1, alpha=0.0))[0], path(optim.adam(0.1))[0], rtol=1e-12)


# ADOPT.


def test_the_first_step_of_adopt_moves_nothing_and_is_finite_with_an_eps_of_0(x64):
    gradients = GRADIENTS + 0.0
    gradients[0] = 1.0
    for clipping in (True, False):
        ours, _ = path(optim.adopt(0.1, eps=0.0, use_clipping=clipping), gradients)
        np.testing.assert_array_equal(ours[0], 0)
        assert np.isfinite(ours).all()


def test_adopt_clips_to_a_function_of_the_steps_before(x64, loose):
    clip = lambda t: 0.1 * t
    (ours, _), (theirs, _) = (path(f.adopt(0.1, clip_value_fn=clip)) for f in (optim, contrib))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    assert np.abs(ours - path(optim.adopt(0.1))[0]).max() > 1e-3


# MADGRAD.


def test_madgrad_goes_further_from_its_start_by_the_rate_to_two_thirds(x64):
    ones = jnp.ones(4)
    far = lambda rate: path(optim.madgrad(rate, momentum=0.0, eps=0.0), params=ones)[0]
    np.testing.assert_allclose(far(0.8), far(0.1) * 8 ** (2 / 3), rtol=1e-9)


def test_madgrad_keeps_parameters_of_its_own():
    params = jnp.ones(3)
    assert optim.scale_by_madgrad(0.1).init(params).x0.unsafe_buffer_pointer() != params.unsafe_buffer_pointer()


# What cannot be meant.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.nadam(0.1, b1=1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.nadamw(0.1, weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.amsgrad(-0.1), "expected learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.amsgrad(0.1, b2=1.5), "expected b2 from 0 to below 1, because a mean must forget; got 1.5"),
        (lambda: optim.amsgrad(0.1, eps_root=-1.0), "expected eps_root of 0 or more, because it keeps a divisor"),
        (lambda: optim.adamax(0.1, b2=1.0), "expected b2 from 0 to below 1, because a mean and a maximum must fade"),
        (lambda: optim.adamaxw(0.1, eps=jnp.nan), "expected eps of 0 or more, because it keeps a divisor .*; got nan"),
        (lambda: optim.adabelief(0.1, b1=-0.1), "expected b1 from 0 to below 1, because a mean must forget; got -0.1"),
        (lambda: optim.adabelief(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.yogi(0.1, b1=1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.yogi(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (
            lambda: optim.scale_by_yogi(initial_accumulator_value=-1.0),
            "expected initial_accumulator_value of 0 or more, because it is a mean of squares; got -1.0",
        ),
        (lambda: optim.radam(0.1, b2=1.0), "expected b2 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.radam(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (
            lambda: optim.radam(0.1, threshold=3),
            "expected threshold of 4 or more, because of so few gradients no variance is known; got 3",
        ),
        (lambda: optim.radam(0.1, threshold=jnp.nan), "expected threshold of 4 or more, .*; got nan"),
        (lambda: optim.lion(0.1, b2=1.0), "expected b2 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.lion(0.1, weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (
            lambda: optim.scale_by_lion(mode="soft"),
            'expected mode "hard", "smooth" or "refined", because it says how to bend the mean; got \'soft\'',
        ),
        (lambda: optim.scale_by_lion(smooth_beta=-1.0), "expected smooth_beta of 0 or more, because it is a slope"),
        (lambda: optim.adan(0.1, b3=1.0), "expected b3 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.adan(0.1, eps_root=-1.0), "expected eps_root of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.novograd(0.1, b1=1.0), "expected b1 from 0 to below 1, because a velocity and a mean must fade"),
        (lambda: optim.novograd(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.novograd(0.1, weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
        (lambda: optim.ademamix(0.1, b3=1.0), "expected b3 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.ademamix(0.1, alpha=-1.0), "expected alpha of 0 or more, because gradients of old count"),
        (lambda: optim.ademamix(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.simplified_ademamix(0.1, b1=1.0), "expected b1 from 0 to below 1, because a velocity and a"),
        (lambda: optim.simplified_ademamix(0.1, alpha=-1.0), "expected alpha of 0 or more, because the gradient"),
        (lambda: optim.simplified_ademamix(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor"),
        (lambda: optim.adopt(0.1, b2=1.0), "expected b2 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.adopt(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.acprop(0.1, b1=1.0), "expected b1 from 0 to below 1, because a mean must forget; got 1.0"),
        (lambda: optim.acprop(0.1, eps_root=-1.0), "expected eps_root of 0 or more, because it keeps a divisor"),
        (lambda: optim.madgrad(-0.1), "expected learning_rate of 0 or more, because it is the length of a step"),
        (lambda: optim.madgrad(0.1, 1.0), "expected momentum from 0 to below 1, because parameters must move; got 1.0"),
        (lambda: optim.madgrad(0.1, eps=-1.0), "expected eps of 0 or more, because it keeps a divisor from 0"),
        (lambda: optim.madgrad(0.1, weight_decay=-1.0), "expected weight_decay of 0 or more, because weights fade"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message, unannotated):
    with pytest.raises(ValueError, match=message):
        make()
