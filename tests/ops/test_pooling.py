"""Pooling: values and gradients by the definition, by JAX and by PyTorch; who wins a tie; and what is refused."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxnn as nn
from jaxnn.ops import Op, _winners, adaptive_average_pool, adaptive_max_pool, average_pool, max_pool
from jaxnn.ops._max_pooling import max_pool_bwd, max_pool_fwd

tried = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
whole = lambda *shape: np.random.default_rng(0).integers(-1, 2, shape).astype(float)  # every other window has a tie


def by_definition(x, dy, parts, *, largest, counts=None):
    """y and dx by a loop over windows, each of which sees the elements from `start` to `end` along each axis."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for q in itertools.product(*(range(len(p)) for p in parts)):
        seen = [(slice(None), *p) for p in itertools.product(*(range(*p[i]) for p, i in zip(parts, q, strict=True)))]
        elements, q = np.stack([x[p] for p in seen]), (slice(None), *q)
        share = 1 / len(seen) if counts is None else 1 / counts
        winner = elements.argmax(0)  # NumPy's is the first, and the first NaN if there is one
        y[q] = np.take_along_axis(elements, winner[None], 0)[0] if largest else elements.sum(0) * share
        for i, p in enumerate(seen):
            dx[p] += dy[q] * ((winner == i) if largest else share)
    return y, dx


def roads(op, x, **keywords):
    """y, dy, and dx on every road: by hand, by JAX of the plain function, and by the op as it is called."""
    out = jax.eval_shape(partial(op.plain, **keywords), x)
    dy = np.random.default_rng(1).integers(1, 9, out.shape).astype(x.dtype)

    @jax.jit
    def all_of_them(x, dy):
        y, residuals = op.fwd(x, **keywords)
        return y, {
            "hand": op.bwd(residuals, dy, **keywords)[0],
            "plain": jax.vjp(partial(op.plain, **keywords), x)[1](dy)[0],
            "called": jax.vjp(partial(op, **keywords), x)[1](dy)[0],
        }

    y, dx = all_of_them(x, dy)
    return y, dy, dx


def parts_of_windows(sizes, window, stride, padding):
    """What each window sees of each axis, from the sizes of the output as TensorFlow and PyTorch define them."""
    parts = []
    for axis, (n, k, s) in enumerate(zip(sizes, window, stride, strict=True)):
        if padding == "SAME":
            out = math.ceil(n / s)
            low = max((out - 1) * s + k - n, 0) // 2
        else:
            low, high = (0, 0) if padding == "VALID" else padding[axis]
            out = (n + low + high - k) // s + 1
        parts.append([(max(s * q - low, 0), min(s * q - low + k, n)) for q in range(out)])
    return parts


@st.composite
def geometries(draw):
    rank = draw(st.integers(1, 3))
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    window, stride = numbers(1, 4), numbers(1, 4)
    padding = draw(st.sampled_from(["VALID", "SAME", "numbers"]))
    if padding == "numbers":
        padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    least = [1 if padding == "SAME" else k for k in window]
    sizes = tuple(draw(st.integers(low, 6 if rank < 3 else 4)) for low in least)
    return sizes, window, stride, padding


@tried(max_examples=60)
@given(geometry=geometries())
def test_max_pool_of_any_geometry_with_ties_on_every_road(geometry, x64):
    sizes, window, stride, padding = geometry
    x = whole(2, *sizes, 2)
    y, dy, dx = roads(max_pool, x, window=window, stride=stride, padding=padding)
    y_expected, expected = by_definition(x, dy, parts_of_windows(*geometry), largest=True)
    np.testing.assert_array_equal(y, y_expected)
    for road, d in dx.items():
        np.testing.assert_array_equal(d, expected, err_msg=road)


@tried(max_examples=30)
@given(geometry=geometries(), count_padding=st.booleans())
def test_average_pool_of_any_geometry_on_every_road(geometry, count_padding, x64):
    sizes, window, stride, padding = geometry
    x = whole(2, *sizes, 2)
    keywords = {"window": window, "stride": stride, "padding": padding, "count_padding": count_padding}
    y, dy, dx = roads(average_pool, x, **keywords)
    counts = math.prod(window) if count_padding else None
    y_expected, expected = by_definition(x, dy, parts_of_windows(*geometry), largest=False, counts=counts)
    np.testing.assert_allclose(y, y_expected, rtol=1e-12, atol=1e-14)
    for road, d in dx.items():
        np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-14, err_msg=road)


@tried(max_examples=15)
@given(axes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=2))
def test_adaptive_pools_of_any_sizes_on_every_road(axes, x64):
    sizes, size = zip(*axes, strict=True)
    x = whole(2, *sizes, 2)
    parts = [[(math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i in range(m)] for n, m in axes]
    for op in (adaptive_max_pool, adaptive_average_pool):
        y, dy, dx = roads(op, x, size=size)
        y_expected, expected = by_definition(x, dy, parts, largest=op is adaptive_max_pool)
        np.testing.assert_allclose(y, y_expected, rtol=1e-12, atol=1e-14)
        for road, d in dx.items():
            np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-14, err_msg=road)


@pytest.mark.parametrize("sizes", [(5,), (3, 4), (2, 3, 2)])
def test_global_pools_on_every_road(sizes, x64):
    x = whole(2, *sizes, 3)
    for op in (nn.global_max_pool, nn.global_average_pool):
        y, dy, dx = roads(op, x)
        assert y.shape == (2, 3)
        one = (2, *(1 for _ in sizes), 3)
        y_expected, expected = by_definition(
            x, np.reshape(dy, one), [[(0, n)] for n in sizes], largest=op is nn.global_max_pool
        )
        np.testing.assert_allclose(y.reshape(one), y_expected, rtol=1e-12, atol=1e-14)
        for road, d in dx.items():
            np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-14, err_msg=road)


# PyTorch


def of_pytorch(function, x, dy):
    """PyTorch's y and dx of arrays whose channels come last."""
    torch = pytest.importorskip("torch")
    first = lambda a: torch.from_numpy(np.moveaxis(np.array(a), -1, 1).copy())
    last = lambda a: np.moveaxis(a.detach().numpy(), 1, -1)
    x = first(x).requires_grad_()
    y = function(torch.nn.functional, x)
    return last(y), last(torch.autograd.grad(y, x, first(dy))[0])


@tried(max_examples=30)
@given(geometry=geometries())
@pytest.mark.oracle
def test_windows_equal_those_of_pytorch(geometry, x64):
    pytest.importorskip("torch")
    sizes, window, stride, padding = geometry
    x = whole(2, *sizes, 2)
    if isinstance(padding, str):
        padding = tuple((0, 0) if padding == "VALID" else (k // 2, (k - 1) // 2) for k in window)
    ends = [end for low_high in reversed(padding) for end in low_high]
    called = lambda name, F: getattr(F, f"{name}{len(sizes)}d")
    keywords = {"window": window, "stride": stride, "padding": padding}

    def largest(F, x):
        return called("max_pool", F)(F.pad(x, ends, value=-math.inf), window, stride)

    def mean(F, x):
        total, count = (called("avg_pool", F)(F.pad(a, ends), window, stride) for a in (x, x.detach() * 0 + 1))
        return total / count

    def mean_of_all(F, x):
        return called("avg_pool", F)(F.pad(x, ends), window, stride)

    for op, function, more in (
        (max_pool, largest, {}),
        (average_pool, mean, {}),
        (average_pool, mean_of_all, {"count_padding": True}),
    ):
        y, residuals = op.fwd(jnp.asarray(x), **keywords, **more)
        dy = np.random.default_rng(1).integers(1, 9, y.shape).astype(float)
        (dx,) = op.bwd(residuals, jnp.asarray(dy), **keywords, **more)
        for ours, theirs in zip((y, dx), of_pytorch(function, x, dy), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14, err_msg=op.name)


@pytest.mark.parametrize(("sizes", "size"), [((7,), (3,)), ((5, 4), (2, 4)), ((2, 3), (4, 7)), ((3, 4, 5), (2, 3, 2))])
@pytest.mark.oracle
def test_adaptive_windows_equal_those_of_pytorch(sizes, size, x64):
    pytest.importorskip("torch")
    x = whole(2, *sizes, 2)
    for op, name in ((adaptive_max_pool, "adaptive_max_pool"), (adaptive_average_pool, "adaptive_avg_pool")):
        y, dy, dx = roads(op, x, size=size)
        function = lambda F, x, name=name: getattr(F, f"{name}{len(sizes)}d")(x, size)
        for ours, theirs in zip((y, dx["hand"]), of_pytorch(function, x, dy), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14, err_msg=name)


def test_defaults_of_flax_are_as_the_docstrings_say(loose):
    linen = pytest.importorskip("flax.linen")
    x = jnp.asarray(whole(2, 5, 6, 3), jnp.float32)
    keywords = {"window": (3, 2), "stride": (2, 2), "padding": "SAME"}
    theirs = {"window_shape": (3, 2), "strides": (2, 2), "padding": "SAME"}
    np.testing.assert_array_equal(max_pool(x, **keywords), linen.max_pool(x, **theirs))
    np.testing.assert_allclose(average_pool(x, **keywords, count_padding=True), linen.avg_pool(x, **theirs), rtol=1e-6)
    np.testing.assert_allclose(
        average_pool(x, **keywords), linen.avg_pool(x, **theirs, count_include_pad=False), rtol=1e-6
    )
    np.testing.assert_array_equal(max_pool(x, window=(3, 2), stride=1), linen.max_pool(x, (3, 2)))


# Ties


def tied(kind, *shape):
    x = np.random.default_rng(2).normal(size=shape)
    values = {"equal": np.ones(shape), "zeros of relu": np.maximum(x - 0.5, 0), "-inf": np.full(shape, -np.inf)}
    return values[kind]


of_every_rank = pytest.mark.parametrize(
    ("sizes", "window", "stride"),
    [((9,), (3,), (2,)), ((5, 6), (2, 2), (2, 2)), ((5, 6), (3, 3), (1, 2)), ((3, 4, 4), (2, 3, 2), (1, 2, 2))],
)


@pytest.mark.parametrize("kind", ["equal", "zeros of relu", "-inf"])
@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
@of_every_rank
def test_the_first_of_equal_elements_gets_the_gradient(kind, padded, sizes, window, stride, x64):
    x = tied(kind, 2, *sizes, 2)
    padding = tuple((1, 1) if padded else (0, 0) for _ in sizes)
    _, dy, dx = roads(max_pool, x, window=window, stride=stride, padding=padding)
    parts = parts_of_windows(sizes, window, stride, padding)
    expected = by_definition(x, dy, parts, largest=True)[1]
    if kind == "-inf" and padded:
        # JAX's own derivative cannot tell -inf from the padding, and loses the gradient to it. Ours can.
        assert dx.pop("plain").sum() < dy.sum()
    for road, d in dx.items():
        np.testing.assert_array_equal(d, expected, err_msg=road)
        assert d.sum() == dy.sum()


@pytest.mark.parametrize("kind", ["equal", "zeros of relu", "-inf"])
@of_every_rank
@pytest.mark.oracle
def test_pytorch_has_the_same_winner(kind, sizes, window, stride, x64):
    pytest.importorskip("torch")
    x, padding = tied(kind, 2, *sizes, 2), tuple(1 for _ in sizes)
    y, dy, dx = roads(max_pool, x, window=window, stride=stride, padding=padding)
    pooled = lambda F, x: getattr(F, f"max_pool{len(sizes)}d")(x, window, stride, padding)
    for ours, theirs in zip((y, dx["hand"]), of_pytorch(pooled, x, dy), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_backward_in_which_the_last_wins_is_caught(x64):
    """The check of this file can fail: read backwards, windows have the same winners but for ties."""
    turned = lambda a: a[:, ::-1, ::-1]
    last = Op(max_pool._plain)
    last.defvjp(
        lambda x, **keywords: (max_pool.plain(x, **keywords), max_pool_fwd(turned(x), **keywords)[1]),
        lambda residuals, dy, **keywords: (turned(max_pool_bwd(residuals, turned(dy), **keywords)[0]),),
    )
    for x, agree in ((np.random.default_rng(0).normal(size=(2, 4, 6, 2)), True), (tied("equal", 2, 4, 6, 2), False)):
        _, dy, dx = roads(last, x, window=(2, 2))
        expected = by_definition(x, dy, parts_of_windows((4, 6), (2, 2), (2, 2), "VALID"), largest=True)[1]
        np.testing.assert_array_equal(dx["plain"], expected)
        assert np.array_equal(dx["hand"], expected) == agree


@pytest.mark.parametrize("keywords", [{"window": 2}, {"window": 6}, {"window": 3, "stride": 1, "padding": "SAME"}])
def test_nan_is_seen_and_the_first_one_gets_the_gradient(keywords, x64):
    x = jnp.zeros((1, 6, 1)).at[0, [2, 3], 0].set(jnp.nan)
    y, residuals = max_pool.fwd(x, **keywords)
    np.testing.assert_array_equal(y, max_pool.plain(x, **keywords))
    assert jnp.isnan(y).any()
    (dx,) = max_pool.bwd(residuals, jnp.where(jnp.isnan(y), 1.0, 0.0), **keywords)
    first = np.zeros(6)
    first[2] = jnp.isnan(y).sum()
    if keywords["window"] == 3:  # the last window that sees a NaN does not see the first
        first[2:4] = first[2] - 1, 1
    np.testing.assert_array_equal(dx[0, :, 0], first)


# Many taps and many parts


MANY = [
    *((max_pool, 150, {"window": k, "stride": 1}) for k in (_winners.MOST_TAPS, _winners.MOST_TAPS + 1)),
    (max_pool, 150, {"window": 70, "stride": 2, "padding": ((69, 30),)}),
    *((max_pool, 40, {"window": 41 - m, "stride": 1}) for m in (_winners.MOST_PARTS, _winners.MOST_PARTS + 1)),
    *((adaptive_max_pool, 50, {"size": m}) for m in (_winners.MOST_PARTS, _winners.MOST_PARTS + 1, 49, 50)),
    (adaptive_max_pool, 3, {"size": 20}),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["whole", "equal", "-inf", "nan"])
@pytest.mark.parametrize(("op", "n", "keywords"), MANY)
def test_the_first_wins_on_both_sides_of_the_threshold(op, n, keywords, kind, x64):
    x = whole(2, n, 1) if kind in ("whole", "nan") else tied(kind, 2, n, 1)
    if kind == "nan":
        x[:, n // 2 : n // 2 + 2] = np.nan
    y, dy, dx = roads(op, x, **keywords)
    if op is max_pool:
        parts = parts_of_windows((n,), (keywords["window"],), (keywords["stride"],), keywords.get("padding", "VALID"))
    else:
        m = keywords["size"]
        parts = [[(math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i in range(m)]]
    y_expected, expected = by_definition(x, dy, parts, largest=True)
    np.testing.assert_array_equal(y, y_expected)
    if kind == "nan" or (kind == "-inf" and "padding" in keywords):
        del dx["plain"]  # JAX's own derivative cannot tell -inf from the padding, and of NaNs it has another
    for road, d in dx.items():
        np.testing.assert_array_equal(d, expected, err_msg=road)


@pytest.mark.parametrize(
    ("op", "shape", "keywords"),
    [
        (max_pool, (1, 1000, 1), {"window": 300, "stride": 1}),
        (max_pool, (1, 1000, 1), {"window": 700, "stride": 1}),
        (adaptive_max_pool, (1, 1000, 1), {"size": 300}),
        (nn.global_max_pool, (1, 2048, 2048, 3), {}),
        (nn.global_average_pool, (1, 2048, 2048, 3), {}),
    ],
)
def test_a_program_does_not_grow_with_taps_and_parts(op, shape, keywords):
    def both(x):
        return jax.grad(lambda x: op(x, **keywords).sum())(x), op.fwd(x, **keywords)

    with jax.enable_x64(False):
        lines = jax.jit(both).lower(jax.ShapeDtypeStruct(shape, jnp.float32)).as_text().count("\n")
    assert lines < 250
    with nn.plain():
        assert jax.jit(both).lower(jax.ShapeDtypeStruct(shape, jnp.float32)).as_text().count("\n") < 250


# What is remembered, what is computed


def test_a_byte_is_remembered_for_each_window_along_each_axis():
    x = jnp.zeros((8, 28, 28, 4))
    (rows, columns), shape = max_pool.fwd(x, window=(2, 2))[1]
    assert (rows.dtype, columns.dtype, shape.size) == (jnp.uint8, jnp.uint8, 0)
    assert rows.nbytes + columns.nbytes == 0.75 * x.size
    assert average_pool.fwd(x, window=2)[1].size == 0
    remembered = lambda op, n, **keywords: (
        jax.eval_shape(partial(op.fwd, **keywords), jnp.zeros((1, n, 1)))[1][0][0].dtype
    )
    for n, dtype in ((256, jnp.uint8), (257, jnp.uint16)):
        assert remembered(max_pool, n, window=200, stride=1) == dtype  # positions, of many taps
        assert remembered(adaptive_max_pool, n, size=2) == dtype


GEOMETRIES = [
    (max_pool, {"window": (2, 2)}), (max_pool, {"window": 3, "stride": 2, "padding": "SAME"}),
    (max_pool, {"window": (5, 6)}), (average_pool, {"window": 3, "stride": 2, "padding": "SAME"}),
    (adaptive_max_pool, {"size": 3}), (adaptive_average_pool, {"size": 3}),
    (nn.global_max_pool, {}), (nn.global_average_pool, {}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "keywords"), GEOMETRIES)
def test_nothing_is_gathered_or_scattered(op, keywords):
    x = jnp.zeros((2, 5, 6, 3))
    slow = ("scatter", "gather", "reduce_window")

    def lowered(backward):
        return jax.jit(partial(backward)).lower(x).as_text()

    def by_hand(x):
        y, residuals = op.fwd(x, **keywords)
        return op.bwd(residuals, y, **keywords)

    def by_jax(x):
        y, backward = jax.vjp(partial(op, **keywords), x)
        return backward(y)

    assert not any(word in lowered(by_hand) for word in slow)
    assert not any(word in lowered(by_jax) for word in slow)
    if op is max_pool:  # the search can find what it looks for
        with nn.plain():
            assert "select_and_scatter" in lowered(by_jax)


@pytest.mark.parametrize(("op", "keywords"), GEOMETRIES)
def test_gradients_of_the_called_op_map_and_scan(op, keywords, x64):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 5, 6, 2)))
    slope = jax.grad(lambda x: (op(x, **keywords) ** 2).sum())
    with nn.plain():
        expected = jnp.stack([slope(x_i) for x_i in x])
    np.testing.assert_allclose(jax.vmap(slope)(x), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(jax.lax.map(slope, x), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("op", "keywords"),
    [(average_pool, {"window": 64}), (adaptive_average_pool, {"size": 1}), (nn.global_average_pool, {})],
)
def test_means_of_bfloat16_are_summed_in_float32(op, keywords):
    x = jnp.ones((1, 64, 64, 1), jnp.bfloat16)  # where 256 + 1 = 256

    @jax.jit
    def both(x):
        y, residuals = op.fwd(x, **keywords)
        return y, op.bwd(residuals, y, **keywords)[0]

    y, dx = both(x)
    assert (y.dtype, y.item()) == (jnp.bfloat16, 1.0)
    assert dx.dtype == jnp.bfloat16
    np.testing.assert_array_equal(dx.astype(jnp.float32), np.full(x.shape, 1 / 4096))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_integers_have_a_largest_but_no_derivative_and_no_mean(dtype, unannotated):
    x = jnp.arange(6, dtype=dtype).reshape(1, 6, 1)
    for op, keywords, expected in (
        (max_pool, {"window": 3, "stride": 2, "padding": 1}, [1, 3, 5]),
        (max_pool, {"window": 6}, [5]),
        (adaptive_max_pool, {"size": 2}, [2, 5]),
        (nn.global_max_pool, {}, [5]),
    ):
        y, residuals = op.fwd(x, **keywords)
        assert y.dtype == dtype
        assert y.ravel().tolist() == expected == op(x, **keywords).ravel().tolist()
        assert op.bwd(residuals, y, **keywords) == (None,)
    for op, keywords in (
        (average_pool, {"window": 2}),
        (adaptive_average_pool, {"size": 1}),
        (nn.global_average_pool, {}),
    ):
        with pytest.raises(TypeError, match=r"expected floating x, because a mean of integers .*; got u?int\d+: cast"):
            op(x, **keywords)


# What is refused


def pool(x, op=max_pool, **keywords):
    return op(jnp.zeros(x), **keywords)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (
            lambda: pool((2, 3, 5, 1), window=4),
            nn.ShapeError,
            r"an input of at least \(4, 4\) in its 2 spatial axes, because a window spans \(4, 4\); got \(3, 5\)",
        ),
        (
            lambda: pool((2, 3, 5, 1), average_pool, window=(6, 2), padding=1),
            nn.ShapeError,
            r"at least \(4, 1\) in its 2 spatial axes, because a window spans \(6, 2\) and padding is 1; got \(3, 5\)",
        ),
        (
            lambda: pool((2, 28, 28), window=(2, 2)),
            nn.ShapeError,
            r"x of shape \(batch, n0, n1, features\), because the window is \(2, 2\); got \(2, 28, 28\)",
        ),
        (
            lambda: pool((2, 3), window=2),
            nn.ShapeError,
            r"expected x of shape \(batch, \*n, features\), because the window is 2; got \(2, 3\)",
        ),
        (
            lambda: pool((2, 3), nn.global_average_pool),
            nn.ShapeError,
            r"expected x of shape \(batch, \*n, features\), because .*; got \(2, 3\)",
        ),
        (
            lambda: pool((2, 3, 3, 1), adaptive_average_pool, size=(2,)),
            nn.ShapeError,
            r"expected x of shape \(batch, n0, features\), because the size is \(2,\); got \(2, 3, 3, 1\)",
        ),
        (
            lambda: pool((2, 3, 3, 1), window=2, stride=(1, 1, 1)),
            ValueError,
            r"expected stride as one number or 2, because windows lie along 2 axes; got \(1, 1, 1\)",
        ),
        (
            lambda: pool((2, 3, 3, 1), window=2, padding=((0, 1),)),
            ValueError,
            r"expected padding as one number, or one number or pair for each of 2 axes, .*; got \(\(0, 1\),\)",
        ),
        (
            lambda: pool((2, 3, 3, 1), window=2, padding=2),
            ValueError,
            r"expected padding smaller than the window, because each window must see an element of x; "
            r"got padding 2 and window 2",
        ),
        (
            lambda: pool((2, 3, 3, 1), window=2, padding="CIRCULAR"),
            ValueError,
            r"expected padding that repeats nothing of x, .*; got 'CIRCULAR'\n  hint: pad x before, with jnp.pad",
        ),
        (
            lambda: pool((2, 3, 3, 1), window=2, stride=0),
            ValueError,
            r"expected stride of at least 1, because it counts positions; got 0",
        ),
        (
            lambda: pool((2, 3, 3, 1), adaptive_max_pool, size=0),
            ValueError,
            r"expected size of at least 1, because it counts positions; got 0",
        ),
        (
            lambda: pool((2, 0, 3, 1), window=2, padding="SAME"),
            nn.ShapeError,
            r"expected at least one position along each spatial axis, because .*; got \(2, 0, 3, 1\)",
        ),
        (
            lambda: pool((2, 0, 3, 1), nn.global_max_pool),
            nn.ShapeError,
            r"expected at least one position along each spatial axis, because .*; got \(2, 0, 3, 1\)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_pooled_is_refused_with_numbers(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()


def test_an_image_without_colour_is_told_how_to_get_one():
    with pytest.raises(nn.ShapeError) as caught:
        pool((2, 28, 28), window=(2, 2))
    assert caught.value.__notes__ == ["  hint: images without colour need an axis of one feature: x[..., None]"]


def test_a_16_by_16_image_can_be_halved_four_times_and_no_more():
    x = jnp.zeros((2, 16, 16, 3))
    four = nn.serial(*[nn.MaxPool((2, 2))] * 4)
    y, _ = jax.eval_shape(four.apply, *four.init(jax.random.key(0), x), x)
    assert y.shape == (2, 1, 1, 3)
    with pytest.raises(nn.ShapeError) as caught:
        nn.serial(*[nn.MaxPool((2, 2))] * 5).init(jax.random.key(0), x)
    assert [str(caught.value), *caught.value.__notes__[:2]] == [
        "expected an input of at least (2, 2) in its 2 spatial axes, because a window spans (2, 2); got (1, 1)",
        "  in max_pool_4: MaxPool((2, 2)), input float32[2,1,1,3]",
        "  hint: leave out a pooling or a stride, or pad with padding='SAME'",
    ]


def test_pooling_keeps_features_and_has_no_parameters():
    x = jnp.zeros((2, 8, 6, 5))
    for layer, shape in (
        (nn.MaxPool(2), (2, 4, 3, 5)),
        (nn.AveragePool((2, 1), stride=(1, 3), padding="SAME"), (2, 8, 2, 5)),
        (nn.AdaptiveMaxPool(3), (2, 3, 3, 5)),
        (nn.AdaptiveAveragePool((3, 1)), (2, 3, 1, 5)),
        (nn.serial(nn.global_average_pool), (2, 5)),
        (nn.serial(nn.global_max_pool), (2, 5)),
    ):
        params, state = layer.init(jax.random.key(0), x)
        assert not jax.tree.leaves((params, state))
        assert jax.eval_shape(layer.apply, params, state, x)[0].shape == shape


def test_settings_read_as_they_are_written():
    assert repr(nn.MaxPool((2, 2))) == "MaxPool((2, 2))"
    assert repr(nn.MaxPool(3, stride=2, padding="SAME")) == "MaxPool(3, stride=2, padding='SAME')"
    assert repr(nn.AveragePool(2, count_padding=True)) == "AveragePool(2, count_padding=True)"
    assert repr(nn.AdaptiveAveragePool((7, 7))) == "AdaptiveAveragePool((7, 7))"
