"""Convolution against XLA's and PyTorch's, in every geometry; what it refuses; and on which platform it does what."""

import functools
import importlib.util
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import jaxnn as nn
from jaxnn.ops import _correlation, conv, conv_transpose, depthwise_conv
from jaxnn.ops import _correlation_cpu as cpu
from jaxnn.ops import _correlation_products as products
from jaxnn.ops import _correlation_xla as xla
from jaxnn.ops._edges import surround
from jaxnn.ops._windows import windows


@st.composite
def geometries(draw):
    """Shapes and settings of a convolution, with padding as numbers, as PyTorch has it."""
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    sizes = [draw(st.integers(1, 9 if rank < 3 else 5)) for _ in range(rank)]
    # Often three taps next to each other, for which there is a form of its own.
    taps = [draw(st.sampled_from([1, 2, 3, 3, 3, 4] if rank < 3 else [1, 2, 3, 3])) for _ in range(rank)]
    stride, dilation = ([draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in range(rank)] for _ in range(2))
    padding = [draw(st.integers(0, 3)) for _ in range(rank)]
    least = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(taps, dilation, padding, strict=True)]
    sizes = [max(n, m) for n, m in zip(sizes, least, strict=True)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    i, o = (groups * draw(st.sampled_from([1, 2, 3, 8, 9])) for _ in range(2))
    return draw(st.integers(1, 3)), sizes, taps, i, o, {
        "stride": tuple(stride),
        "padding": tuple(padding),
        "dilation": tuple(dilation),
        "groups": groups,
    }  # fmt: skip


def draw_arrays(*shapes):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape)) for shape in shapes]


def both_roads(op, arrays, settings):
    """Output and gradients, by hand and as JAX derives them from XLA's convolution."""

    @jax.jit
    def compute(arrays):
        expected, pullback = jax.vjp(functools.partial(op.plain, **settings), *arrays)
        dy = jnp.cos(jnp.arange(expected.size, dtype=expected.dtype)).reshape(expected.shape)
        got, residuals = op.fwd(*arrays, **settings)
        return (got, op.bwd(residuals, dy, **settings)), (expected, pullback(dy)), dy

    return compute(arrays)


def torch_layout(a):
    """(batch, *n, features) as PyTorch has it, or (*taps, in, out)."""
    import torch

    return torch.tensor(np.array(a), requires_grad=True)


def torch_answer(kind, x, w, b, dy, settings):
    """Output and gradients of PyTorch's convolution, features last."""
    torch = pytest.importorskip("torch")
    rank = x.ndim - 2
    function = getattr(torch.nn.functional, f"{kind}{rank}d")
    leaves = [torch_layout(a) for a in (x, w, b)]
    x, w, b = leaves
    channels_first = x.movedim(-1, 1).contiguous(), w.movedim((-1, -2), (0, 1)).contiguous()
    y = function(*channels_first, b, **settings).movedim(1, -1)
    y.backward(torch.tensor(np.array(dy)))
    return y.detach().numpy(), tuple(leaf.grad.numpy() for leaf in leaves)


def check_geometry(geometry):
    n, sizes, taps, i, o, settings = geometry
    arrays = draw_arrays((n, *sizes, i), (*taps, i // settings["groups"], o), (o,))
    got, expected, dy = both_roads(conv, arrays, settings)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, expected)
    if importlib.util.find_spec("torch") is not None:
        answer = torch_answer("conv", *arrays, dy, settings)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, answer)


@pytest.fixture
def forgetful():
    """What is remembered of the three maps is forgotten before and after a test that changes them."""
    _correlation._on_platform.cache_clear()
    yield
    _correlation._on_platform.cache_clear()


# In parts, so that several workers share them.
@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("part", range(10))
def test_500_random_geometries_equal_xla_and_torch(part, x64, loose, forgetful, monkeypatch):
    if part >= 2:  # a fifth of them everywhere, against XLA's
        pytest.importorskip("torch")
    # So small that images go through the loop one by one or a few at a time, as large ones do.
    monkeypatch.setattr(products, "WORKSPACE", (2**21, 4096)[part % 2])
    # And every form where it can be used, not only where it wins.
    for name in ("WIDE", "MANY", "THIN"):
        monkeypatch.setattr(cpu, name, (getattr(cpu, name), 2)[part // 2 % 2])

    @seed(part)
    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(geometry=geometries())
    def check(geometry):
        check_geometry(geometry)

    check()


@pytest.mark.parametrize("blocks", ["one", "several"])
@pytest.mark.oracle
def test_a_geometry_equals_xla_and_torch_where_there_is_one(blocks, x64, loose, forgetful, monkeypatch):
    monkeypatch.setattr(products, "WORKSPACE", {"one": 2**21, "several": 2**15}[blocks])
    settings = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 1}
    check_geometry((5, (7, 16), (3, 2), 8, 9, settings))


@pytest.mark.parametrize(
    ("sizes", "taps", "settings"),
    [
        ((5,), (3,), {"stride": 2, "padding": 0}),
        ((4, 3), (3, 4), {"stride": (2, 3), "padding": (1, 2), "extra": (1, 0)}),
        ((3, 4), (2, 2), {"stride": 1, "padding": 1, "dilation": 2, "groups": 2}),
        ((2, 2, 3), (2, 1, 2), {"stride": 2, "padding": 0, "extra": 1}),
    ],
)
@pytest.mark.oracle
def test_transposed_convolution_equals_torch(sizes, taps, settings, x64, loose):
    groups = settings.get("groups", 1)
    arrays = draw_arrays((2, *sizes, 8), (*taps, 6 // groups, 8), (6,))
    got, expected, dy = both_roads(conv_transpose, arrays, settings)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, expected)
    settings = {"output_padding" if name == "extra" else name: setting for name, setting in settings.items()}
    answer = torch_answer("conv_transpose", *arrays, dy, settings)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, answer)


def test_transposed_convolution_is_the_transpose_of_convolution(x64):
    y, w = draw_arrays((2, 5, 4, 3), (3, 3, 2, 3))
    # A stride of 2 makes 5 windows of 9 positions and of 10 alike.
    for size, extra in {9: 0, 10: (1, 0)}.items():
        (x,) = draw_arrays((2, size, 9, 2))
        forward = conv(x, w, stride=2, padding=(1, 0))
        back = conv_transpose(y, w, stride=2, padding=(1, 0), extra=extra)
        assert forward.shape == y.shape
        assert back.shape == x.shape
        np.testing.assert_allclose(jnp.vdot(forward, y), jnp.vdot(x, back), rtol=1e-12)


@pytest.mark.parametrize("block", [0, 10**9])
def test_wrong_backward_is_caught(block, x64, forgetful, monkeypatch):
    """The proof that the checks above can fail: a weight gradient whose taps are in reverse."""
    monkeypatch.setattr(products, "WORKSPACE", block + 1)
    right = products.weigh
    turned = lambda x, y, *, axes: jnp.flip(right(x, y, axes=axes), 0)
    monkeypatch.setattr(products, "weigh", turned)
    arrays = draw_arrays((3, 5, 5, 8), (2, 2, 8, 8), (8,))
    got, expected, _ = both_roads(conv, arrays, {})
    np.testing.assert_allclose(got[1][0], expected[1][0], rtol=1e-11, atol=1e-11)
    assert not np.allclose(got[1][1], expected[1][1])


def test_blocks_that_do_not_come_out_even_are_filled_up():
    """A prime number of images: zeros fill up the last block, and nobody sees them."""
    x = jnp.arange(7.0).reshape(7, 1)
    seen = []

    def double(x):
        seen.append(x.shape)
        return 2 * x

    y = products.over_images(double, (x,), products.WORKSPACE // 4 // 3)
    np.testing.assert_array_equal(y, 2 * x)
    assert seen[0] == (3, 1)
    total = products.over_images(lambda x: x.sum(), (x,), products.WORKSPACE // 4 // 3, add=True)
    assert total == 21


def test_images_are_split_into_equal_blocks_where_that_takes_few_more():
    seen = []
    block = lambda x: seen.append(len(x)) or x
    products.over_images(block, (jnp.zeros((64, 1)),), products.WORKSPACE // 4 // 22)
    assert seen[0] == 16  # not 22, 22 and 20


def test_on_another_platform_xla_convolves():
    x, w = jnp.zeros((2, 8, 8, 8)), jnp.zeros((3, 3, 8, 8))
    step = jax.jit(jax.grad(lambda w: conv(x, w).sum()))
    for platform, convolutions in {"cpu": False, "cuda": True, "tpu": True}.items():
        text = step.trace(w).lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == convolutions, platform


def test_convolution_on_another_platform_is_right(x64, forgetful, monkeypatch):
    """What is chosen there, run here."""
    here = lambda *arrays, cpu, default: default(*arrays)
    monkeypatch.setattr(jax.lax, "platform_dependent", here)
    arrays = draw_arrays((2, 7, 6, 4), (3, 2, 2, 6), (6,))
    got, expected, _ = both_roads(conv, arrays, {"stride": (2, 1), "dilation": (1, 2), "groups": 2, "padding": 1})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), got, expected)


def test_no_convolution_and_no_scatter_on_cpu():
    """XLA's weight gradient is up to 100 times slower in a loop there."""
    x, w = jnp.zeros((2, 8, 8, 8)), jnp.zeros((3, 3, 8, 8))
    both = jax.jit(jax.grad(lambda x, w: conv(x, w, stride=2).sum(), argnums=(0, 1)))
    text = both.lower(x, w).as_text()
    for slow in ("convolution", "scatter", "gather"):
        assert f"stablehlo.{slow}" not in text
    with nn.plain():
        assert "stablehlo.convolution" in both.lower(x, w).as_text()


def test_second_derivative_goes_through_the_rules_too(x64):
    x, w = (a / 8 for a in draw_arrays((2, 12, 12, 8), (3, 3, 8, 8)))  # or the sine below would round too much

    def slope(x, w):
        return jnp.sum(jnp.sin(jax.grad(lambda w: jnp.sum(conv(x, w, stride=2) ** 3))(w)))

    got = jax.jit(jax.grad(slope, argnums=(0, 1)))
    text = got.lower(x, w).as_text()
    assert "stablehlo.convolution" not in text
    ruled = got(x, w)
    with nn.plain():
        expected = jax.grad(slope, argnums=(0, 1))(x, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-9), ruled, expected)


def test_half_precision_adds_up_in_single():
    """A weight gradient over many positions, in bfloat16: its sum would stop growing at 256."""
    x, dy = jnp.ones((1, 32, 32, 8), jnp.bfloat16), jnp.ones((1, 32, 32, 8), jnp.bfloat16)
    w = jnp.zeros((1, 1, 8, 8), jnp.bfloat16)
    _, dw, _ = conv.bwd((x, w, None), dy)
    assert dw.dtype == jnp.bfloat16
    np.testing.assert_array_equal(dw, jnp.full(w.shape, 1024, jnp.bfloat16))


def test_causal_output_never_sees_what_comes_after():
    x, w = draw_arrays((1, 9, 1), (3, 1, 1))
    y = conv(x, w, padding="CAUSAL", dilation=2)
    later = conv(x.at[:, 5:].set(100.0), w, padding="CAUSAL", dilation=2)
    assert y.shape == (1, 9, 1)
    np.testing.assert_array_equal(y[:, :5], later[:, :5])
    assert (y[:, 5:] != later[:, 5:]).any()
    wide = conv_transpose(x, w, stride=2, padding="CAUSAL")
    later = conv_transpose(x.at[:, 5:].set(100.0), w, stride=2, padding="CAUSAL")
    assert wide.shape == (1, 18, 1)
    np.testing.assert_array_equal(wide[:, :10], later[:, :10])
    assert (wide[:, 10:] != later[:, 10:]).any()


def test_circular_convolution_commutes_with_a_shift(x64):
    x, w = draw_arrays((2, 6, 2), (3, 2, 3))
    circular = lambda x: conv(jnp.concatenate([x[:, -1:], x, x[:, :1]], axis=1), w, padding="VALID")
    np.testing.assert_allclose(circular(jnp.roll(x, 2, axis=1)), jnp.roll(circular(x), 2, axis=1), rtol=1e-12)


def test_depthwise_is_convolution_of_each_feature(x64):
    x, w = draw_arrays((2, 5, 4, 3), (3, 3, 1, 6))
    each = [conv(x[..., i : i + 1], w[..., 2 * i : 2 * i + 2]) for i in range(3)]
    np.testing.assert_allclose(depthwise_conv(x, w), jnp.concatenate(each, axis=-1), rtol=1e-12, atol=1e-12)


def test_1x1_is_a_product_at_every_pixel(x64):
    x, w = draw_arrays((2, 4, 3, 8), (1, 1, 8, 9))
    np.testing.assert_allclose(conv(x, w), jnp.einsum("nhwi,io->nhwo", x, w[0, 0]), rtol=1e-12)


def test_members_with_their_own_weights_equal_single_ones(x64):
    x, w = draw_arrays((3, 2, 5, 5, 8), (3, 3, 3, 8, 8))
    loss = lambda x, w: jnp.sum(jnp.sin(conv(x, w, stride=2)))
    together = jax.jit(jax.vmap(jax.value_and_grad(loss, argnums=(0, 1))))(x, w)
    each = [jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(x[m], w[m]) for m in range(3)]
    single = jax.tree.map(lambda *a: jnp.stack(a), *each)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), together, single)


@pytest.mark.parametrize(
    ("x", "w", "b", "settings", "message"),
    [
        ((2, 8, 8, 3), (3, 3, 4, 5), None, {},
         r"x of 4 features, \(batch, ..., 4\), because w is \(3, 3, 4, 5\): 4 features in; got \(2, 8, 8, 3\)"),
        ((2, 4, 8, 8), (3, 3, 4, 5), None, {},
         r"got \(2, 4, 8, 8\)\n  hint: features come last; move them there with jnp.moveaxis\(x, 1, -1\)$"),
        ((2, 8, 4, 8), (3, 3, 4, 5), None, {}, r"hint: features come last; .* jnp.moveaxis\(x, 2, -1\)$"),
        ((2, 4, 4, 8), (3, 3, 4, 5), None, {}, r"got \(2, 4, 4, 8\)$"),  # it might be either of the two
        ((4, 8, 8, 3), (3, 3, 4, 5), None, {}, r"got \(4, 8, 8, 3\)$"),  # a batch is not of features
        ((2, 8, 8, 6), (3, 3, 4, 6), None, {"groups": 2}, r"8 features.*w is .* 4 features in for each of 2 groups"),
        ((2, 8, 8), (3, 3, 1, 5), None, {}, r"x of shape \(batch, n0, n1, features\), because w is .*2 spatial axes"),
        ((2, 8, 8), (3, 3, 1, 5), None, {}, r"hint: images without colour need an axis of one feature: x\[..., None\]"),
        ((2, 8, 8, 4), (4, 5), None, {},
         r"w of shape \(k0, k1, in, out\), because x is \(2, 8, 8, 4\): 2 spatial axes; got \(4, 5\)$"),
        ((2, 8, 8, 4), (3, 4, 5), None, {}, r"w of shape \(k0, k1, in, out\), .*\(3, 4, 5\)\n  hint: if it is x that"),
        ((2, 4), (4, 5), None, {}, r"w of shape \(\*taps, in, out\), because windows lie along .*; got \(4, 5\)$"),
        ((2, 8, 8, 0), (3, 3, 4, 5), None, {}, r"x of at least one feature, and .* one position .*got \(2, 8, 8, 0\)$"),
        ((2, 0, 8, 4), (3, 3, 4, 5), None, {}, r"at least one position along each spatial axis, .*got \(2, 0, 8, 4\)$"),
        ((2, 8, 8, 4), (3, 3, 4, 0), None, {}, r"w without an empty axis, .*got \(3, 3, 4, 0\)$"),
        ((2, 2, 5, 4), (3, 3, 4, 5), None, {"padding": "VALID"},
         r"an input of at least \(3, 3\) in its 2 spatial axes, because a window spans \(3, 3\); got \(2, 5\)"),
        ((2, 2, 5, 4), (3, 3, 4, 5), None, {"padding": 1, "dilation": 3},
         r"at least \(5, 5\) .*spans \(7, 7\) and padding is 1; got \(2, 5\)"),
        ((2, 8, 8, 4), (3, 3, 4, 5), (4,), {},
         r"b of shape \(5,\), because w is \(3, 3, 4, 5\): 5 features out; got \(4,\)$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"groups": 2}, r"groups that divide .*=2 with 8 features in and 5 out"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"stride": (1, 2, 3)}, r"stride as one number or 2, .*got \(1, 2, 3\)"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"stride": 0}, r"stride of at least 1, because it counts positions; got 0"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"stride": 1.5}, r"stride as whole numbers, because .*; got 1.5$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"dilation": (True, 1)}, r"dilation as whole numbers, .*; got \(True, 1\)$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"groups": True}, r"groups as a whole number of at least 1, .*got True$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"groups": 0}, r"groups as a whole number of at least 1, .*got 0$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": "FULL"},
         r"padding SAME, SAME_LOWER, VALID, CAUSAL, CIRCULAR, REFLECT or numbers, because .*; got 'FULL'$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": "same"}, r"got 'same'\n  hint: in capitals, 'SAME'$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": ((0, 1),)},
         r"padding as one number, or one number or pair for each of 2 axes, because .*; got \(\(0, 1\),\)$"),
        ((2, 8, 4), (3, 4, 5), None, {"padding": (0, 1)},
         r"each of 1 axes, .*; got \(0, 1\)\n  hint: before and after the only axis is written \(\(0, 1\),\)$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": -1},
         r"padding of at least 0, because it counts positions before and after; got -1$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": (1, (0, -2))}, r"of at least 0, .*got \(1, \(0, -2\)\)$"),
        *(
            ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": padding},
             rf"padding as whole numbers or pairs of them, \(before, after\), .*; got {re.escape(repr(padding))}$")
            for padding in (1.5, True, None, ((1, 2, 3), 1), ((1, 0.5), 1))
        ),
        ((2, 2, 8, 4), (7, 7, 4, 5), None, {"padding": "REFLECT"},
         r"at least \(4, 4\) positions along 2 spatial axes, because padding='REFLECT' repeats .*; got \(2, 8\)$"),
        ((2, 2, 8, 4), (7, 7, 4, 5), None, {"padding": "CIRCULAR"}, r"at least \(3, 3\) positions .*; got \(2, 8\)$"),
        ((2, 8, 8, 4), (3, 3, 4, 5), None, {"padding": "CAUSAL"}, r"one spatial axis for padding='CAUSAL'.*got 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_convolved_is_refused(x, w, b, settings, message, unannotated):
    arrays = [None if shape is None else jnp.zeros(shape) for shape in (x, w, b)]
    for function in (conv, conv.plain, conv.fwd):
        with pytest.raises(ValueError, match=f"(?s)^expected .*{message}"):  # hints are matched too
            function(*arrays, **settings)


def test_whole_numbers_are_refused(unannotated):
    with pytest.raises(TypeError, match="expected floating x, because it is weighed and added up; got int32"):
        conv(jnp.zeros((1, 4, 4, 1), jnp.int32), jnp.zeros((3, 3, 1, 1)))


def test_two_dtypes_are_refused(unannotated):
    with pytest.raises(TypeError, match=r"expected x and w of one dtype, .*got bfloat16 and float32: cast one of them"):
        conv(jnp.zeros((1, 4, 4, 1), jnp.bfloat16), jnp.zeros((3, 3, 1, 1)))


def test_a_second_call_compiles_nothing():
    """Outside of any program, where every loop would be compiled on its own."""
    x, w = jnp.ones((64, 16, 16, 16)), jnp.ones((3, 3, 16, 16))
    conv(x, w)
    with jax.no_tracing():
        conv(x, w)


def test_settings_may_be_lists(unannotated):
    x, w = jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1))
    np.testing.assert_array_equal(conv(x, w, padding=[[1, 0], [0, 1]]), conv(x, w, padding=((1, 0), (0, 1))))
    np.testing.assert_array_equal(nn.ops.max_pool(x, window=[2, 2]), nn.ops.max_pool(x, window=(2, 2)))
    assert hash(nn.MaxPool([2, 2])) == hash(nn.MaxPool((2, 2)))
    assert nn.Conv(3, [3, 3], padding=[[1, 1], [0, 2]]) == nn.Conv(3, (3, 3), padding=((1, 1), (0, 2)))


def test_transposed_and_depthwise_refuse_too(unannotated):
    x = jnp.zeros((1, 4, 4, 3))
    with pytest.raises(nn.ShapeError, match=r"x of 5 features, .*because w is \(3, 3, 4, 5\)"):
        conv_transpose(x, jnp.zeros((3, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"expected extra so small that no further window fits.*extra=2 with stride=2"):
        conv_transpose(x, jnp.zeros((3, 3, 4, 3)), stride=2, padding=0, extra=2)
    with pytest.raises(ValueError, match=r"expected no extra with padding='SAME'.*got extra=1"):
        conv_transpose(x, jnp.zeros((3, 3, 4, 3)), stride=2, extra=1)
    with pytest.raises(nn.ShapeError, match="of their positions padding=9 takes away all"):
        conv_transpose(x, jnp.zeros((3, 3, 4, 3)), padding=9)
    with pytest.raises(nn.ShapeError, match=r"x of 6 features, .*because w is \(3, 3, 2, 6\): 6 features in; got"):
        conv_transpose(x, jnp.zeros((3, 3, 2, 6)), groups=2)
    with pytest.raises(ValueError, match=r"groups that divide .*=2 with 3 features in and 8 out"):
        conv_transpose(x, jnp.zeros((3, 3, 4, 3)), groups=2)
    with pytest.raises(nn.ShapeError, match=r"w of shape \(k0, k1, out, in\), because x is"):
        conv_transpose(x, jnp.zeros((4, 3)))
    with pytest.raises(nn.ShapeError, match="x of at least one feature"):
        depthwise_conv(x[..., :0], jnp.zeros((3, 3, 1, 6)))
    with pytest.raises(nn.ShapeError, match=r"w of shape \(\*taps, 1, out\), because every feature"):
        depthwise_conv(x, jnp.zeros((3, 3, 3, 6)))
    with pytest.raises(nn.ShapeError, match="as many features as divide 7"):
        depthwise_conv(x, jnp.zeros((3, 3, 1, 7)))


def test_three_maps_are_derivatives_of_one_number(x64):
    """sum_qjio x_pi w_jio y_qo, three ways."""
    axes = windows((7, 6), (3, 2), stride=(2, 1), padding=1, dilation=(1, 2))
    x, w, y = draw_arrays((2, 7, 6, 4), (3, 2, 2, 6), (2, *(a.out for a in axes), 6))
    settings = {"axes": axes, "groups": 2}
    for maps in (xla, cpu):
        numbers = [
            jnp.vdot(maps.correlate(x, w, **settings), y),
            jnp.vdot(maps.transpose(y, w, **settings), x),
            jnp.vdot(maps.weigh(x, y, **settings), w),
        ]
        np.testing.assert_allclose(numbers, numbers[0], rtol=1e-11)
    assert math.isfinite(numbers[0])


def test_a_layer_refuses_what_does_not_count(key, unannotated):
    x = jnp.zeros((1, 4, 4, 4))
    for layer, message in (
        (nn.Conv(2.5, 3), "features as a whole number of at least 1, because it counts outputs; got 2.5"),
        (nn.Conv(True, 3), "features as a whole number .*; got True"),
        (nn.ConvTranspose(0, 3), "features as a whole number .*; got 0"),
        (nn.DepthwiseConv(3, multiplier=0), "multiplier as a whole number of at least 1, .*; got 0"),
        (nn.Conv(4, 3, groups=1.0), "groups as a whole number of at least 1, .*; got 1.0"),
        (nn.Conv(4, 3, groups=3), "groups that divide .* groups=3 with 4 features in and 4 out"),
        (nn.Conv(4, (3, 2.0)), r"window as whole numbers, .*; got \(3, 2.0\)"),
        (nn.Conv(4, (3,)), r"x of shape \(batch, ..., features\) with 1 spatial axes, because the window is \(3,\)"),
    ):
        with pytest.raises(ValueError, match=f"^expected {message}"):
            layer.init(key, x)
    with pytest.raises(nn.ShapeError, match="x of at least one feature"):
        nn.Conv(4, 3).init(key, x[..., :0])


def test_whole_numbers_of_numpy_are_whole_numbers(key, unannotated):
    i = np.int64
    x, w = draw_arrays((1, 6, 6, 4), (3, 3, 2, 6))
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)
    settings = {"stride": (2, 1), "padding": (1, (1, 0)), "dilation": (1, 2), "groups": 2}
    numpy = {"stride": [i(2), np.uint8(1)], "padding": (i(1), (i(1), i(0))), "dilation": (1, i(2)), "groups": i(2)}
    for function in (conv, conv.plain, lambda *arrays, **settings: conv.fwd(*arrays, **settings)[0]):
        np.testing.assert_array_equal(function(x, w, **numpy), function(x, w, **settings))
    residuals = conv.fwd(x, w, **numpy)[1]
    dy = conv(x, w, **settings)
    np.testing.assert_array_equal(conv.bwd(residuals, dy, **numpy)[0], conv.bwd(residuals, dy, **settings)[0])
    np.testing.assert_array_equal(nn.ops.max_pool(x, window=i(2)), nn.ops.max_pool(x, window=2))
    np.testing.assert_array_equal(nn.ops.adaptive_max_pool(x, size=(i(2), 1)), nn.ops.adaptive_max_pool(x, size=(2, 1)))
    for layer, written in (
        (nn.Conv(i(6), (i(3), 3), **numpy), nn.Conv(6, (3, 3), **settings)),
        (nn.DepthwiseConv(i(3), multiplier=i(2)), nn.DepthwiseConv(3, multiplier=2)),
        (nn.ConvTranspose(i(2), i(3), padding=0, extra=i(1), stride=i(2)),
         nn.ConvTranspose(2, 3, padding=0, extra=1, stride=2)),
        (nn.MaxPool((i(2), i(2)), stride=i(1)), nn.MaxPool((2, 2), stride=1)),
        (nn.AdaptiveAveragePool(i(2)), nn.AdaptiveAveragePool(2)),
    ):  # fmt: skip
        assert (layer, hash(layer), repr(layer)) == (written, hash(written), repr(written))
        params, state = layer.init(key, x)
        assert layer.apply(params, state, x)[0].shape == written.apply(params, state, x)[0].shape


def test_arrays_are_not_settings():
    with pytest.raises(TypeError, match=r"expected the arrays of conv by position, .*got stride as an array"):
        conv(jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 1)), stride=jnp.array(2))


def test_an_op_without_arrays_is_told_how_layers_are_written():
    no_arrays = r"^expected the arrays of {}, because it is a function of them; got none\n  hint: {}"
    as_layer = r"as a layer it stands without parentheses: serial\(..., global_average_pool, ...\)$"
    with pytest.raises(TypeError, match=no_arrays.format("global_average_pool", as_layer)):
        nn.global_average_pool()
    as_class = r"a layer with settings is a class, such as MaxPool\(\(2, 2\)\)$"
    with pytest.raises(TypeError, match=no_arrays.format("max_pool", as_class)):
        nn.ops.max_pool(window=2)


# Paddings by name


@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", "VALID", "CIRCULAR", "REFLECT"])
@pytest.mark.parametrize(
    ("sizes", "taps", "stride", "dilation"),
    [((7,), (3,), (1,), (1,)), ((8, 5), (4, 3), (2, 1), (1, 2)), ((6, 7), (2, 1), (3, 2), (2, 1))],
)
def test_paddings_equal_those_of_flax(padding, sizes, taps, stride, dilation, loose):
    linen = pytest.importorskip("flax.linen")
    x, w = (a.astype(jnp.float32) for a in draw_arrays((2, *sizes, 3), (*taps, 3, 4)))
    theirs = linen.Conv(4, taps, stride, padding, kernel_dilation=dilation, use_bias=False)
    expected = theirs.apply({"params": {"kernel": w}}, x)
    got = conv(x, w, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("padding", "mode"), [("CIRCULAR", "wrap"), ("REFLECT", "reflect")])
def test_padding_that_repeats_x_is_numpys(padding, mode):
    x = np.arange(40.0).reshape(2, 5, 4, 1)
    axes = windows((5, 4), (4, 3), padding=padding, dilation=(1, 2))
    got, within = surround(jnp.asarray(x), axes, padding)
    ends = [(0, 0), *((a.low, a.high) for a in axes), (0, 0)]
    np.testing.assert_array_equal(got, np.pad(x, ends, mode=mode))
    assert [a.out for a in within] == [a.out for a in axes] == [5, 4]


@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT", "SAME_LOWER"])
def test_transposed_convolution_is_the_transpose_with_every_padding(padding, x64):
    x, y, w = draw_arrays((2, 8, 9, 2), (2, 4, 3, 3), (4, 3, 2, 3))
    settings = {"stride": (2, 3), "padding": padding}
    back = conv_transpose(y, w, **settings)
    assert back.shape == x.shape
    np.testing.assert_allclose(jnp.vdot(conv(x, w, **settings), y), jnp.vdot(x, back), rtol=1e-12)


def test_a_fold_that_forgets_what_comes_back_is_caught(x64, monkeypatch):
    """The proof that the contract's rows of these paddings can fail."""
    from jaxnn.ops import _convolution, _edges

    cut = lambda dx, axes, padding: dx[:, axes[0].low : axes[0].low + axes[0].size]
    arrays = draw_arrays((2, 5, 2), (3, 2, 2), (2,))
    error = lambda: abs(np.subtract(*(d[1][0] for d in both_roads(conv, arrays, {"padding": "CIRCULAR"})[:2]))).max()
    assert error() < 1e-12
    assert _convolution.fold is _edges.fold
    monkeypatch.setattr(_convolution, "fold", cut)
    assert error() > 0.1


def test_windows_that_go_round_commute_with_a_shift(key):
    layer, x = nn.Conv(4, (3, 2), padding="CIRCULAR"), jax.random.normal(key, (2, 6, 7, 3))
    params, state = layer.init(key, x)
    apply, shift = (lambda x: layer.apply(params, state, x)[0]), (lambda x: jnp.roll(x, (2, -3), axis=(1, 2)))
    np.testing.assert_allclose(apply(shift(x)), shift(apply(x)), rtol=1e-5, atol=1e-5)
