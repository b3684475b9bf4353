"""What an array is said to see of its input, against derivatives: never too little, and of windows not too much."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LAYERS
from jax import lax

import jaxnn as nn
from jaxnn._programs import _dependence, _rules
from jaxnn._programs._dependence import follow
from jaxnn._programs._sight import Sight
from jaxnn._receptive_field import seen_by_inputs, spatial_axes

ONES = nn.initializers.ones


def patches(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 3, 3, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // 2, w // 3, 6 * c)


def attention(x):
    x = x[:, :, 0]
    return jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", x, x)) @ x


def over_time(x):
    rows = jnp.moveaxis(x, 1, 0)
    last, all_of_them = lax.scan(lambda total, row: (jnp.tanh(total + row), total), jnp.zeros_like(rows[0]), rows)
    return jnp.concatenate([jnp.moveaxis(all_of_them, 0, 1), last[:, None]], axis=1)


def three_times(x):
    return lax.fori_loop(0, 3, lambda i, x: nn.ops.average_pool(x, window=(3, 1), stride=1, padding="SAME"), x)


def convolution(**settings):
    w = jnp.ones((3, 2, 2, 2))
    return lambda x: lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **settings)


with_a_rule = jax.custom_jvp(lambda x: x[:, 2:] + x[:, :-2])
with_a_rule.defjvp(lambda x, dx: (with_a_rule(*x), dx[0][:, 2:] + dx[0][:, :-2]))

# Windows: what is said of them is just what the derivative shows, at the element that sees most.
TIGHT = {
    "element by element": lambda x: jnp.tanh(2 * x + 1) * jnp.where(x > 0, x, -x),
    "with a mean of features": lambda x: x - x.mean(axis=-1, keepdims=True),
    "softmax": jax.nn.softmax,
    "sorted features": lambda x: jnp.sort(x, axis=-1),
    "cumulated features": lambda x: jnp.cumsum(x, axis=3),
    "split features": lambda x: (lambda a, b: a * jax.nn.sigmoid(b))(*jnp.split(x, 2, axis=-1)),
    "largest feature": lambda x: x.max(axis=-1),
    "product over features": lambda x: jnp.einsum("bhwc,cd->bhwd", x, jnp.ones((2, 3))),
    "product from the left": lambda x: jnp.einsum("dc,bhwc->dbhw", jnp.ones((3, 2)), x).transpose(1, 2, 3, 0),
    "product for each row": lambda x: jnp.einsum("bhwc,hcd->bhwd", x, jnp.ones((8, 2, 3))),
    "moved axes": lambda x: jnp.moveaxis(x, 3, 1).swapaxes(2, 3)[..., None].squeeze(4),
    "slice": lambda x: x[:, 1:7:2, ::3],
    "turned round": lambda x: x[:, ::-1, 1:],
    "shifted": lambda x: x[:, 1:, 2:] + x[:, :-1, :-2],
    "neighbours": lambda x: x[:, 1:] - x[:, :-1],
    "conv": convolution(window_strides=(1, 1), padding="SAME"),
    "conv with a stride": convolution(window_strides=(2, 3), padding="VALID"),
    "dilated conv": convolution(window_strides=(1, 1), padding=((2, 1), (0, 1)), rhs_dilation=(2, 3)),
    "transposed conv": convolution(window_strides=(1, 1), padding=((2, 2), (1, 1)), lhs_dilation=(2, 3)),
    "conv, features first": lambda x: lax.conv(jnp.moveaxis(x, -1, 1), jnp.ones((2, 2, 3, 2)), (2, 1), "SAME"),
    "sum in a window": lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 1, 1), "SAME"),
    "dilated window": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "VALID", (1, 1, 1, 1), (1, 3, 2, 1)
    ),
    "twice as large": lambda x: jnp.repeat(jnp.repeat(x, 2, axis=1), 3, axis=2),
    "halved and enlarged": lambda x: jnp.repeat(jnp.repeat(x[:, ::2], 2, axis=1)[:, :, ::3], 3, axis=2),
    "averages of what is enlarged": lambda x: three_times(jnp.repeat(x[:, ::2], 2, axis=1)),
    "enlarged twice": lambda x: jnp.repeat(three_times(jnp.repeat(x[:, ::2], 3, axis=1)), 2, axis=1)[:, 1::3],
    "enlarged, and not": lambda x: jnp.repeat(x[:, ::2], 2, axis=1) + x,
    "enlarged, in two axes": lambda x: jnp.repeat(x, 4, axis=1).reshape(len(x), 8, 4, 6, 2),
    "pad between": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (1, 0, 1), (0, 2, 2), (0, 0, 0))),
    "three times": three_times,
    "within others": jax.jit(jax.checkpoint(lambda x: jax.nn.relu(x[:, 1:] + x[:, :-1]))),
    "mapped": jax.vmap(lambda x: x[1:] * x[:-1]),
    "with a rule": with_a_rule,
}

# Other moves: what is said of them may be more than the derivative shows, never less.
SOUND = {
    "both ways": lambda x: jnp.concatenate([x, three_times(x)], axis=-1),
    "a branch": lambda x: lax.cond(jnp.array(True), lambda x: x[:, 1:], lambda x: x[:, :-1], x),
    "patches": patches,
    "largest in a window": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), "VALID"),
    "rolled": lambda x: jnp.roll(x, 2, axis=1) + jnp.roll(x, -1, axis=2),
    "padded with itself": lambda x: jnp.pad(x, ((0, 0), (2, 2), (1, 1), (0, 0)), mode="wrap")[:, 2:],
    "mirrored at the ends": lambda x: jnp.pad(x, ((0, 0), (1, 2), (1, 1), (0, 0)), mode="reflect"),
    "unequal ways": lambda x: x[:, ::2] + x[:, :4],
    "one after the other": lambda x: jnp.concatenate([x[:, ::2], 1 + 0 * x, x[:, 5:]], axis=1),
    "behind nothing of x": lambda x: jnp.concatenate([jnp.ones((2, 3, 6, 2)), x, jnp.ones((2, 1, 6, 2))], axis=1),
    "cumulated": lambda x: jnp.cumsum(x, axis=1) + jnp.flip(jnp.cumprod(x, axis=2), axis=1),
    "sorted": lambda x: jnp.sort(x, axis=2),
    "transformed": lambda x: jnp.fft.rfft(x, axis=2).real,
    "over all positions": lambda x: x.mean(axis=(1, 2)),
    "over one axis": lambda x: jnp.broadcast_to(x.sum(axis=1, keepdims=True), x.shape),
    "squeeze and excite": lambda x: x * jax.nn.sigmoid(x.mean(axis=(1, 2), keepdims=True)),
    "one number": jnp.sum,
    "flattened": lambda x: x.reshape(len(x), -1),
    "rows and columns in one": lambda x: x.reshape(len(x), 48, 2),
    "one, and back": lambda x: x.reshape(len(x), 48, 2)[:, 1:].reshape(len(x), 47, 1, 2),
    "rearranged": lambda x: x.reshape(len(x), 4, 12, 2),
    "taken": lambda x: x[:, jnp.array([5, 0, 2])],
    "put": lambda x: x.at[:, 3].set(7 * x[:, 0]),
    "sliced by a number": lambda x: lax.dynamic_slice_in_dim(x, jnp.argmax(x[0, :, 0, 0]), 3, axis=1),
    "attention": attention,
    "products": lambda x: jnp.einsum("bhwc,bhvc->bwhv", x, x),
    "over time": over_time,
    "while": lambda x: lax.while_loop(lambda a: a[0, 0, 0, 0] > 1e9, lambda a: a[:, ::-1] / 2, x),
    "a branch that x decides": lambda x: lax.cond(x[0, 7, 0, 0] > 0, lambda x: x[:, 1:], lambda x: 2 * x[:, :-1], x),
    "weights made of x": lambda x: lax.conv(jnp.moveaxis(x, -1, 1), x[:, :2, :3].transpose(0, 3, 1, 2), (1, 1), "SAME"),
    "three levels": lambda x: patches(three_times(jnp.repeat(patches(x), 2, axis=1))[:, ::-1, :2].repeat(3, axis=2)),
    "many steps": lambda x: three_times(jnp.repeat(jnp.repeat(x[:, 1::2], 9, axis=1), 8, axis=1))[:, ::9],
    "steps that do not fit": lambda x: jnp.repeat(x, 3, axis=1)[:, 1:-3].reshape(len(x), 2, 10, 6, 2),
    "steps along both": lambda x: jnp.repeat(patches(x), 2, axis=1) + jnp.repeat(patches(x), 2, axis=2).mean(),
    "one of many steps": lambda x: jnp.repeat(x, 3, axis=1)[:, 5:6].reshape(len(x), 6, 2),
    "steps within others": lambda x: jnp.repeat(x.reshape(len(x), 8, 2, 3, 2), 2, axis=3).reshape(len(x), 8, 12, 2),
    "steps in one": lambda x: jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=1).reshape(len(x), 16 * 12, 2),
    "steps that meet": lambda x: jnp.repeat(x, 2, axis=1)[:, :12] + jnp.repeat(x, 3, axis=1)[:, :12],
    "enlarged and looked at": lambda x: three_times(jnp.repeat(x, 3, axis=1)[:, 1::2]),
    "resized": lambda x: jax.image.resize(x, (2, 16, 3, 2), "linear"),
}

each_tight = pytest.mark.parametrize("function", TIGHT.values(), ids=TIGHT)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 6, 2)), jnp.float32)


@pytest.fixture(scope="module")
def derivatives():
    """Of the functions here at x, by function: each is computed once."""
    return {}


def said(sight, shape):
    """low(i) and high(i), as the documentation of a sight has them."""
    i = np.indices(shape)
    moved = sum((float(rate) * i_a for rate, i_a in zip(sight.rates, i, strict=True)), np.zeros(shape))
    steps, r = len(sight.lows), 0
    if steps > 1:
        r = i[sight.axis] % steps
        moved = moved - float(sight.rates[sight.axis]) * r
    ends = (np.asarray(ends, float)[r] for ends in (sight.lows, sight.highs))
    low, high = (moved + end for end in ends)
    return np.ceil(low - 1e-9), np.floor(high + 1e-9)


def said_and_shown(function, x, derivatives):
    """The first and last position that each element of y is said to see, and those that it sees, for each axis of x."""
    with nn.plain():
        program = jax.make_jaxpr(function)(x)
        if function not in derivatives:
            derivatives[function] = np.asarray(jax.jacfwd(function)(x))
    derivative = derivatives[function]
    (seen,) = follow(program.jaxpr, seen_by_inputs((), (), x), {})
    y = derivative.shape[: -x.ndim]
    assert seen is not None
    for axis, sight in zip(spatial_axes(x), seen, strict=True):
        others = tuple(len(y) + a for a in range(x.ndim) if a != axis)
        depends = (derivative != 0).any(axis=others)
        n, some = x.shape[axis], depends.any(axis=-1)
        low, high = said(sight, y)
        first, last = depends.argmax(axis=-1), n - 1 - depends[..., ::-1].argmax(axis=-1)
        yield low, high, np.where(some, first, 99), np.where(some, last, -99)


def assert_never_too_little(function, x, derivatives):
    for low, high, first, last in said_and_shown(function, x, derivatives):
        assert (low <= first).all()
        assert (last <= high).all()


@each_tight
def test_what_is_said_of_windows_is_what_derivatives_show(function, x, derivatives):
    assert_never_too_little(function, x, derivatives)
    for n, (low, high, first, last) in zip(x.shape[1:], said_and_shown(function, x, derivatives), strict=False):
        within = (low >= 0) & (high < n) & (last >= 0)  # not on padding, and not where the derivative is 0 everywhere
        assert within.any()
        np.testing.assert_array_equal(first[within], low[within])
        np.testing.assert_array_equal(last[within], high[within])


@pytest.mark.parametrize("function", SOUND.values(), ids=SOUND)
def test_what_is_said_of_other_moves_is_not_too_little(function, x, derivatives):
    assert_never_too_little(function, x, derivatives)


def conv(stride, taps, dilation, padding):
    def move(x):
        w = jnp.ones((*taps, x.shape[-1], 2))
        return nn.ops.conv(x, w, stride=stride, dilation=dilation, padding=padding)

    return move


# Each takes any image of at least 3 by 3.
MOVES = [
    conv(1, (2, 3), 1, "SAME"),
    conv((2, 1), (3, 2), 1, 1),
    conv((1, 3), (2, 2), (1, 2), "SAME"),
    lambda x: nn.ops.conv_transpose(x, jnp.ones((2, 3, 2, x.shape[-1])), stride=2),
    lambda x: nn.ops.conv_transpose(x, jnp.ones((1, 2, 2, x.shape[-1])), stride=(3, 2)),
    lambda x: nn.ops.average_pool(x, window=(3, 2), stride=1, padding="SAME"),
    lambda x: jnp.repeat(x, 2, axis=1),
    lambda x: jnp.repeat(x, 3, axis=2),
    lambda x: x[:, ::-1],
    lambda x: x.swapaxes(1, 2),
    lambda x: x[:, 1:, ::2] if x.shape[1] > 3 and x.shape[2] > 4 else x,
    lambda x: (
        x[:, : x.shape[1] // 2 * 2].reshape(len(x), x.shape[1] // 2, 2, *x.shape[2:]).mean(2) if x.shape[1] > 5 else x
    ),
    lambda x: x.reshape(len(x), -1, x.shape[-1]).reshape(len(x), x.shape[2], x.shape[1], -1),
    lambda x: jnp.concatenate([x, x[:, ::-1], x[:, 1:2]], axis=1),
    lambda x: jnp.concatenate([x, jnp.roll(x, 1, axis=2)], axis=-1),
    lambda x: x + nn.ops.average_pool(x, window=2, stride=1, padding="SAME"),
    lambda x: x * x.mean(axis=(0, 1, 3)).sum(),
    lambda x: lax.fori_loop(0, 2, lambda i, x: x + jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1], x),
]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_said_of_moves_one_after_the_other_is_not_too_little(seed, x):
    chosen = np.random.default_rng(seed).integers(len(MOVES), size=4)

    def function(x):
        for i in chosen:
            x = MOVES[i](x)
        return x

    assert_never_too_little(jax.jit(function), x, {})


INPUTS = {case: case.x(np.random.default_rng(0), 1, jnp.float32) for case in LAYERS}
IMAGES = [case for case, x in INPUTS.items() if spatial_axes(x) and jnp.issubdtype(x.dtype, jnp.floating)]


@pytest.mark.parametrize("case", IMAGES, ids=repr)
def test_what_is_said_of_layers_is_not_too_little(case, key):
    x = INPUTS[case]
    params, state = jax.jit(case.layer.init)(key, x)
    assert_never_too_little(jax.jit(lambda x: case.layer.apply(params, state, x)[0]), x, {})


def primitives(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for body in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from primitives(body)


def test_every_rule_is_met_by_a_function_here(x):
    met = {
        name
        for function in [*TIGHT.values(), *SOUND.values()]
        for name in primitives(jax.make_jaxpr(function)(x).jaxpr)
    }
    special = {name for name, rule in _rules.RULES.items() if rule is not _rules.RULES["add"]}
    spared = {"cumlogsumexp", "cummax", "cummin", "reduce_window_min"}
    spared |= {"argmin", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"}
    assert special - spared <= met
    assert {"cumsum", "argmax", "reduce_max", "reduce_window_max"} <= met


@each_tight
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_rule_that_says_too_little_is_found(function, end, x, derivatives, monkeypatch):
    """The last primitive of the program but calls and loops claims one position less at one end."""
    used = [name for name in primitives(jax.make_jaxpr(function)(x).jaxpr) if name in _rules.RULES]
    rule = _rules.RULES[used[-1]]

    def less(eqn, k, sight, out):
        sight = rule(eqn, k, sight, out)
        return sight.wider(1, 0) if end == "low" else sight.wider(0, -1)

    monkeypatch.setitem(_dependence.RULES, used[-1], less)
    with pytest.raises(AssertionError):
        assert_never_too_little(function, x, derivatives)


def test_what_does_not_depend_on_the_input_sees_nothing(x):
    program = jax.make_jaxpr(lambda x: (jnp.ones(3), x, jnp.arange(x.shape[1]) * 2))(x)
    nothing, own, neither = follow(program.jaxpr, seen_by_inputs((), (), x), {})
    assert nothing is None
    assert neither is None
    assert own == (Sight((0, 1, 0, 0)), Sight((0, 0, 1, 0)))


@pytest.mark.parametrize("shape", [(0, 4, 3, 2), (2, 0, 3, 2), (2, 4, 3, 0)])
def test_an_empty_input_can_be_followed(shape):
    x = jnp.zeros(shape)
    program = jax.make_jaxpr(lambda x: x.reshape(shape[0], shape[1] * 3 * shape[3]).reshape(-1))(x)
    assert follow(program.jaxpr, seen_by_inputs((), (), x), {})[0] is not None


def test_the_forward_of_a_custom_backward_is_followed(x):
    function = jax.custom_vjp(lambda x: x[:, 2:] + x[:, :-2])
    function.defvjp(lambda x: (x[:, 2:] + x[:, :-2], x), lambda x, dy: (x,))
    assert follow(jax.make_jaxpr(function)(x).jaxpr, seen_by_inputs((), (), x), {}) == [
        (Sight((0, 1, 0, 0), (0,), (2,)), Sight((0, 0, 1, 0)))
    ]


def test_a_loop_that_settles_is_not_run_to_its_end(x):
    program = jax.make_jaxpr(lambda x: lax.fori_loop(0, 10**9, lambda i, x: 2 * x, x))(x)
    assert follow(program.jaxpr, seen_by_inputs((), (), x), {})[0] == seen_by_inputs((), (), x)[0]
