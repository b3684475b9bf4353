"""Gains against PyTorch's and against integrals by SciPy, and which initialiser is recommended."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import jaxnn as nn
from jaxnn.initializers import VarianceScaling, gain, he_normal, lecun_normal, recommend_init
from jaxnn.ops import (
    celu,
    elu,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    identity,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softmax,
    softplus,
    squareplus,
    step,
    tanh,
)

TORCH = {
    "identity": (identity, "linear"),
    "sigmoid": (sigmoid, "sigmoid"),
    "tanh": (tanh, "tanh"),
    "relu": (relu, "relu"),
    "leaky_relu": (leaky_relu, "leaky_relu"),
    "leaky_relu_0.2": (leaky_relu.bind(slope=0.2), "leaky_relu", 0.2),
    "selu": (selu, "selu"),
}


@pytest.mark.oracle
@pytest.mark.parametrize(("activation", "name"), [(row[0], row[1:]) for row in TORCH.values()], ids=TORCH)
def test_gains_are_those_of_torch(activation, name):
    torch = pytest.importorskip("torch")
    assert gain(activation) == pytest.approx(torch.nn.init.calculate_gain(*name), rel=1e-7)


EXACT = {
    "identity": (identity, 1),
    "identity_3": (identity.bind(slope=3.0), 1 / 3),
    "relu": (relu, math.sqrt(2)),
    "tanh": (tanh, 5 / 3),
    "selu": (selu, 3 / 4),
    "sigmoid": (sigmoid, 1),
    "leaky_relu": (leaky_relu.bind(slope=0.3), math.sqrt(2 / (1 + 0.3**2))),
    "step": (step, math.sqrt(2)),
    "bipolar_step": (step.bind(low=-1.0), 1),
}


@pytest.mark.parametrize(("activation", "expected"), EXACT.values(), ids=EXACT)
def test_gains_with_a_formula(activation, expected, x64):
    assert gain(activation) == pytest.approx(expected, rel=1e-13)


def second_moment(f):
    """E[f(z)^2] for z from N(0, 1), by SciPy's adaptive rule between the kinks."""
    density = lambda z: f(z) ** 2 * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return integrate.quad(density, -12, 12, points=[-6, -3, -1, 0, 1, 3, 6], limit=500, epsabs=1e-15)[0]


def phi(z):
    return (1 + math.erf(z / math.sqrt(2))) / 2


# The formulas, apart from the library.
FORMULAS = {
    "relu6": (relu6, lambda z: min(max(z, 0), 6)),
    "elu": (elu, lambda z: z if z > 0 else math.expm1(z)),
    "celu": (celu.bind(alpha=2.0), lambda z: z if z > 0 else 2 * math.expm1(z / 2)),
    "gelu": (gelu, lambda z: z * phi(z)),
    "gelu_tanh": (gelu_tanh, lambda z: z / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))),
    "silu": (silu, lambda z: z / (1 + math.exp(-z))),
    "silu_2": (silu.bind(beta=2.0), lambda z: z / (1 + math.exp(-2 * z))),
    "mish": (mish, lambda z: z * math.tanh(math.log1p(math.exp(z)))),
    "hard_silu": (hard_silu, lambda z: z * min(max(z + 3, 0), 6) / 6),
    "softplus": (softplus, lambda z: math.log1p(math.exp(z))),
    "log_sigmoid": (log_sigmoid, lambda z: -math.log1p(math.exp(-z))),
    "soft_sign": (soft_sign, lambda z: z / (1 + abs(z))),
    "hard_tanh": (hard_tanh, lambda z: min(max(z, -1), 1)),
    "hard_sigmoid": (hard_sigmoid, lambda z: min(max(z + 3, 0), 6) / 6),
    "squareplus": (squareplus, lambda z: (z + math.sqrt(z * z + 4)) / 2),
    "another": (jnp.sin, math.sin),
}


@pytest.mark.parametrize(("activation", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_other_gains_are_one_over_the_root_of_the_second_moment(activation, formula, x64):
    assert gain(activation) == pytest.approx(second_moment(formula) ** -0.5, rel=1e-12)


def test_in_float32_a_gain_is_right_to_its_rounding():
    for activation, formula in FORMULAS.values():
        assert gain(activation) == pytest.approx(second_moment(formula) ** -0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "by_convention", "keeps"), [(tanh, 5 / 3, 1.592537), (sigmoid, 1, 1.846230), (selu, 3 / 4, 1.0)]
)
def test_conventional_gains_differ_from_what_keeps_a_variance_of_1(activation, by_convention, keeps):
    formulas = {
        "tanh": math.tanh,
        "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
        "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * math.expm1(z)),
    }
    assert gain(activation) == pytest.approx(by_convention)
    assert second_moment(formulas[activation.name]) ** -0.5 == pytest.approx(keeps, rel=1e-6)


@pytest.mark.parametrize("at", [-2.68, -0.6759, -0.3, 0.06, 0.44, 1.0001, 2.551])
def test_a_kink_within_a_panel_costs_the_fourth_digit_at_most_and_a_jump_the_second(at):
    tail, density = math.erfc(at / math.sqrt(2)) / 2, math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
    kinked = (1 + at * at) * tail - at * density  # E[max(z - at, 0)^2]
    assert gain(lambda z: jnp.maximum(z - at, 0)) == pytest.approx(kinked**-0.5, rel=1e-3)
    # The worst there is: what does not vary but within the panels beside 0.
    narrow = abs(at) / 100
    assert gain(lambda z: jnp.clip(z, -narrow, narrow)) == pytest.approx(
        second_moment(lambda z: min(max(z, -narrow), narrow)) ** -0.5, rel=1e-3
    )
    assert gain(lambda z: (z > at).astype(z.dtype)) == pytest.approx(tail**-0.5, rel=2e-2)


def test_a_kink_at_a_multiple_of_one_eighth_costs_nothing(x64):
    for at in (-1.625, 0.125, 2.25):
        tail, density = math.erfc(at / math.sqrt(2)) / 2, math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
        kinked = (1 + at * at) * tail - at * density
        assert gain(lambda z, at=at: jnp.maximum(z - at, 0)) == pytest.approx(kinked**-0.5, rel=1e-12)
        assert gain(lambda z, at=at: (z > at).astype(z.dtype)) == pytest.approx(tail**-0.5, rel=1e-12)


def test_functions_of_jax_have_the_gains_of_the_ops_with_their_names():
    assert gain(jnp.tanh) == gain(tanh)
    assert gain(jax.nn.relu) == gain(relu)
    assert gain(jax.nn.elu) == pytest.approx(gain(elu), rel=1e-6)


def test_in_a_compiled_function_a_gain_is_a_number_and_of_a_tracer_it_is_one(key):
    seen = []

    @jax.jit
    def draw(slope):
        seen.append((gain(gelu), recommend_init(gelu)))
        scale = gain(leaky_relu.bind(slope=slope)) ** 2
        return scale, VarianceScaling(scale, "fan_in", "normal")(key, (4, 4), jnp.float32)

    scale, w = draw(0.3)
    ((number, initializer),) = seen
    assert isinstance(number, float)
    assert initializer == recommend_init(gelu)
    assert scale == pytest.approx(2 / (1 + 0.3**2), rel=1e-5)
    np.testing.assert_allclose(w, VarianceScaling(2 / 1.09, "fan_in", "normal")(key, (4, 4), jnp.float32), rtol=1e-5)


@pytest.mark.parametrize("function", [gain, recommend_init])
def test_what_is_no_function_of_each_element_is_refused(function):
    message = r"each element by itself, .*; softmax gives float32\[1536\] for float32\[1536\], and other values for a"
    with pytest.raises(ValueError, match=message):
        function(softmax)
    with pytest.raises(ValueError, match=r"each element by itself, .*; glu gives float32\[768\] for float32\[1536\]$"):
        function(jax.nn.glu)
    with pytest.raises(ValueError, match=r"^expected a function with a second moment above 0 and .* has 0\.0$"):
        function(jnp.zeros_like)


# Those that join features, or have a parameter of their own.
NOT_OF_ELEMENTS = {"glu", "swiglu", "softmax", "log_softmax", "standardize", "prelu", "parametric_swish"}
ACTIVATIONS = {
    "celu", "elu", "gelu", "gelu_tanh", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "log_sigmoid", "log_softmax", "mish", "parametric_swish", "prelu", "relu", "relu6", "selu", "sigmoid",
    "silu", "soft_sign", "softmax", "softplus", "sparse_plus", "sparse_sigmoid", "squareplus", "standardize", "step",
    "swiglu", "swish", "tanh",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ACTIVATIONS - NOT_OF_ELEMENTS))
def test_every_activation_of_elements_has_a_gain_that_keeps_its_second_moment_or_is_conventional(name, x64):
    f = getattr(nn.ops, name)
    z = np.random.default_rng(0).normal(size=100_000)
    keeps = float((np.asarray(f(jnp.asarray(z))) ** 2).mean()) ** -0.5
    conventional = {"tanh": 5 / 3, "sigmoid": 1, "selu": 3 / 4}
    assert gain(f) == pytest.approx(conventional.get(name, keeps), rel=0.02)
    assert recommend_init(f).scale > 0


@pytest.mark.parametrize("name", sorted(NOT_OF_ELEMENTS))
def test_every_other_is_refused(name):
    message = "of one array" if name in ("prelu", "parametric_swish") else "of each element by itself"
    with pytest.raises((TypeError, ValueError), match=f"^expected a function {message}"):
        gain(getattr(nn.ops, name))


def test_an_activation_with_a_parameter_has_the_gain_of_what_it_begins_as():
    message = r"^expected a function of one array, .*; prelu takes x and slope\n  hint: .*lambda x: prelu\(x, slope\)$"
    with pytest.raises(TypeError, match=message):
        gain(nn.ops.prelu)
    assert gain(lambda x: nn.ops.prelu(x, jnp.float32(0.25))) == pytest.approx(math.sqrt(2 / (1 + 0.25**2)), rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", nn.Dense, nn.Dense(3)])
def test_what_is_no_function_is_refused(activation, unannotated):
    with pytest.raises(TypeError, match=r"^expected an activation, such as nn\.relu, because the gain is that of a"):
        gain(activation)


def test_INIT_15_E_48_rectifiers_get_he_s_and_what_saturates_xavier_s():
    assert recommend_init(relu) == he_normal()
    assert recommend_init(identity) == recommend_init(selu) == lecun_normal()
    for activation, factor in ((tanh, 5 / 3), (hard_tanh, 5 / 3), (sigmoid, 4), (hard_sigmoid, 6), (soft_sign, 3)):
        assert recommend_init(activation) == VarianceScaling(factor**2, "fan_avg", "normal")
    for activation in (leaky_relu.bind(slope=0.2), elu, gelu, identity.bind(slope=2.0)):
        recommended = recommend_init(activation)
        assert (recommended.mode, recommended.distribution) == ("fan_in", "normal")
        assert recommended.scale == pytest.approx(gain(activation) ** 2)
