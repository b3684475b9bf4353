"""Ops whose backward is their own equal, for random shapes and layouts, what JAX derives of the equation as it stands.

The equations are written out here in `jax.numpy` and `jax.lax`, without what the library has: so what is compared is
the op as it is called, its hand-written pair and its plain function, each against the same reference. Sizes may be odd,
and 1. Arrays come as they are, or as views of others with strides that are negative or not theirs, or with their axes
the other way round, to be turned within the compiled program, so that XLA has layouts to choose from. Shapes of
convolutions and poolings by the hundred are in their own files.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

import jaxnn as nn

tried = functools.partial(
    settings, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
layouts = st.sampled_from(["as it is", "strided", "turned"])
small = st.integers(1, 5)

pytestmark = pytest.mark.usefixtures("x64")


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def with_strides(a):
    """The same numbers, as a view: every other element of a larger array, from its end to its beginning."""
    large = np.full([2 * n for n in a.shape], np.nan if a.dtype.kind == "f" else 0, a.dtype)
    view = large[(slice(None, None, -2),) * a.ndim]
    view[...] = a
    return view


def check(op, reference, arrays, layout, **keywords):
    """All that the op has, against the reference and its vjp with respect to the floating arrays."""
    moving = [i for i, a in enumerate(arrays) if a is not None and a.dtype.kind == "f"]
    of = {"as it is": lambda a: a, "strided": with_strides, "turned": np.transpose}[layout]
    given = [None if a is None else of(a) for a in arrays]

    @jax.jit
    def compute(given):
        arrays = [a if a is None or layout != "turned" else jnp.transpose(a) for a in given]

        def pull(function):
            def of_moving(*some):
                whole = list(arrays)
                for i, a in zip(moving, some, strict=True):
                    whole[i] = a
                return function(*whole)

            y, backward = jax.vjp(of_moving, *(arrays[i] for i in moving))
            dy = jax.tree.map(lambda y: jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape), y)
            return y, backward(dy), dy

        y, d, dy = pull(reference)
        own, residuals = op.fwd(*arrays, **keywords)
        d_own = op.bwd(residuals, dy, **keywords)
        by_hand = own, tuple(d_own[i] for i in moving)
        called = pull(functools.partial(op, **keywords))[:2]
        plain = pull(functools.partial(op.plain, **keywords))[:2]
        return (y, d), {"by hand": by_hand, "as it is called": called, "plain": plain}

    expected, roads = compute(given)
    for road, got in roads.items():
        jax.tree.map(
            lambda a, b, road=road: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=road), got, expected
        )


# Windows


def convolution(x, w, b, *, stride, padding, dilation, groups):
    rank = x.ndim - 2
    n = "DHW"[-rank:]
    y = lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=(f"N{n}C", f"{n}IO", f"N{n}C"),
    )  # fmt: skip
    return y + b.reshape((1,) * (rank + 1) + (-1,))


@tried(max_examples=5)
@given(
    batch=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(5, 9), min_size=1, max_size=2),
    taps=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 3]),
    features=st.sampled_from([(1, 1), (1, 8), (3, 5)]),
    pad=st.integers(0, 1),
    layout=layouts,
)
def test_convolutions(batch, sizes, taps, stride, dilation, groups, features, pad, layout):
    rank, (i, o) = len(sizes), features
    keywords = {
        "stride": (stride,) * rank,
        "padding": ((pad, pad),) * rank,
        "dilation": (dilation,) * rank,
        "groups": groups,
    }
    arrays = normal(batch, *sizes, groups * i), normal(*(taps,) * rank, i, groups * o), normal(groups * o)
    check(nn.ops.conv, functools.partial(convolution, **keywords), arrays, layout, **keywords)


@tried(max_examples=8)
@given(
    batch=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(3, 7), min_size=1, max_size=2),
    features=small,
    window=st.integers(1, 3),
    stride=st.integers(1, 3),
    largest=st.booleans(),
    layout=layouts,
)
def test_pools(batch, sizes, features, window, stride, largest, layout):
    windows, strides = ((1, *(n,) * len(sizes), 1) for n in (window, stride))
    spatial = {"window": (window,) * len(sizes), "stride": (stride,) * len(sizes), "padding": "VALID"}

    def reference(x):
        if largest:
            return lax.reduce_window(x, -jnp.inf, lax.max, windows, strides, "VALID")
        return lax.reduce_window(x, 0.0, lax.add, windows, strides, "VALID") / window ** len(sizes)

    op = nn.ops.max_pool if largest else nn.ops.average_pool
    check(op, reference, [normal(batch, *sizes, features)], layout, **spatial)


# Recurrence


def unrolled(cell, carry, x, lengths, *, reverse):
    """A loop over steps; beyond the length of a sequence its carry is held, and y is 0."""
    time = x.shape[1]
    y = [None] * time
    for t in reversed(range(time)) if reverse else range(time):
        inside = (jnp.full(x.shape[0], time) if lengths is None else lengths)[:, None] > t
        carry = tuple(jnp.where(inside, new, old) for new, old in zip(cell(carry, x[:, t]), carry, strict=True))
        y[t] = jnp.where(inside, carry[0], 0)
    return jnp.stack(y, axis=1), carry


def of_lstm(x, h, c, w_x, w_h, b, lengths, *, reverse):
    def cell(carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ w_x + h @ w_h + b[None], 4, axis=1)
        c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
        return lax.logistic(o) * jnp.tanh(c), c

    return unrolled(cell, (h, c), x, lengths, reverse=reverse)


def of_gru(x, h, w_x, w_h, b, b_hn, lengths, *, reverse):
    def cell(carry, x):
        (h,) = carry
        (r, z, n), (h_r, h_z, h_n) = (jnp.split(a, 3, axis=1) for a in (x @ w_x + b[None], h @ w_h))
        r, z = lax.logistic(r + h_r), lax.logistic(z + h_z)
        n = jnp.tanh(n + r * (h_n + b_hn[None]))
        return ((1 - z) * n + z * h,)

    y, (h,) = unrolled(cell, (h,), x, lengths, reverse=reverse)
    return y, h


def of_rnn(x, h, w_x, w_h, b, lengths, *, reverse):
    y, (h,) = unrolled(lambda h, x: (jnp.tanh(x @ w_x + h[0] @ w_h + b[None]),), (h,), x, lengths, reverse=reverse)
    return y, h


@tried(max_examples=8)
@given(
    kind=st.sampled_from(["lstm", "gru", "rnn"]),
    batch=st.sampled_from([1, 3]),
    time=st.integers(1, 5),
    features=st.sampled_from([1, 3]),
    hidden=st.sampled_from([1, 5]),
    lengths=st.booleans(),
    reverse=st.booleans(),
    checkpoint=st.sampled_from([None, 1, 3]),
    layout=layouts,
)
def test_recurrences(kind, batch, time, features, hidden, lengths, reverse, checkpoint, layout):
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind] * hidden
    x, weights = normal(batch, time, features), [normal(features, gates), normal(hidden, gates), normal(gates)]
    carry = [normal(batch, hidden, seed=i) for i in range(2 if kind == "lstm" else 1)]
    within = [normal(hidden, seed=9)] if kind == "gru" else []
    steps = np.random.default_rng(time).integers(0, time + 1, batch) if lengths else None
    reference = functools.partial({"lstm": of_lstm, "gru": of_gru, "rnn": of_rnn}[kind], reverse=reverse)
    keywords = {"reverse": reverse, "checkpoint": checkpoint}
    check(getattr(nn.ops, kind), reference, [x, *carry, *weights, *within, steps], layout, **keywords)


# Attention


def of_attention(q, k, v, mask, *, causal):
    (batch, time, heads, features), memory = q.shape, k.shape[1]
    k, v = (jnp.repeat(a, heads // a.shape[2], axis=2) for a in (k, v))
    s = jnp.einsum("bthd,bmhd->bhtm", q, k) / features**0.5
    seen = np.tril(np.ones((time, memory), bool), memory - time) if causal else np.ones((time, memory), bool)
    seen = jnp.broadcast_to(seen, (batch, heads, time, memory))
    if mask is not None:
        axes = {2: (1, 2), 3: (1,), 4: ()}[mask.ndim]
        seen = seen & jnp.broadcast_to(jnp.expand_dims(mask, axes), seen.shape)
    p = jnp.where(seen, jnp.exp(s - s.max(-1, keepdims=True)), 0)  # of a query that sees nothing y is 0
    total = p.sum(-1, keepdims=True)
    return jnp.einsum("bhtm,bmhd->bthd", p / jnp.where(total == 0, 1, total), v)


@tried(max_examples=8)
@given(
    batch=st.sampled_from([1, 2]),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    heads=st.sampled_from([(1, 1), (3, 1), (4, 2), (3, 3)]),
    features=st.sampled_from([(1, 3), (5, 2)]),
    mask=st.sampled_from([None, 2, 3, 4]),
    causal=st.booleans(),
    block=st.sampled_from([1, 2, 4, 256]),
    layout=layouts,
)
def test_attention(batch, sizes, heads, features, mask, causal, block, layout):
    (time, memory), (heads, kv_heads), (d, d_v) = sizes, heads, features
    arrays = [normal(batch, time, heads, d), normal(batch, memory, kv_heads, d), normal(batch, memory, kv_heads, d_v)]
    shape = {None: None, 2: (batch, memory), 3: (1, time, memory), 4: (batch, heads, time, memory)}[mask]
    arrays.append(None if shape is None else normal(*shape, seed=7) > -0.5)
    reference = functools.partial(of_attention, causal=causal)
    check(nn.ops.attention, reference, arrays, layout, causal=causal, block=block)


# Normalisation


def normalised(x, axes, scale, offset, *, centred=True):
    mean = x.mean(axes, keepdims=True) if centred else 0
    y = (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-3)
    return moved(y, scale, offset)


def moved(y, scale, offset):
    y = y if scale is None else y * jnp.broadcast_to(scale, y.shape)
    return y if offset is None else y + jnp.broadcast_to(offset, y.shape)


def of_batch_norm(x, scale, offset):
    axes = tuple(range(x.ndim - 1))
    return normalised(x, axes, scale, offset), x.mean(axes), x.var(axes)


def of_group_norm(x, scale, offset, *, groups):
    grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    y = normalised(grouped, (*range(1, x.ndim - 1), x.ndim), None, None).reshape(x.shape)
    return moved(y, scale, offset)


@tried(max_examples=8)
@given(
    kind=st.sampled_from(["batch_norm", "layer_norm", "rms_norm", "group_norm"]),
    batch=st.sampled_from([1, 3]),
    sizes=st.lists(small, max_size=2),
    features=st.sampled_from([3, 6]),
    affine=st.booleans(),
    layout=layouts,
)
def test_normalisations(kind, batch, sizes, features, affine, layout):
    arrays = [
        normal(batch, *sizes, features),
        *([normal(features), normal(features, seed=1)] if affine else [None] * 2),
    ]
    keywords = {"epsilon": 1e-3}
    reference = {
        "batch_norm": of_batch_norm,
        "layer_norm": lambda x, scale, offset: normalised(x, -1, scale, offset),
        "rms_norm": lambda x, scale: normalised(x, -1, scale, None, centred=False),
        "group_norm": functools.partial(of_group_norm, groups=3 if features == 6 else 1),
    }[kind]
    if kind == "rms_norm":
        arrays = arrays[:2]
    if kind == "group_norm":
        keywords["groups"] = 3 if features == 6 else 1
    check(getattr(nn.ops, kind), reference, arrays, layout, **keywords)


# Cross-entropy


def of_logits(z, labels):
    return jax.nn.logsumexp(z, axis=-1) - jnp.take_along_axis(z, labels[..., None], axis=-1)[..., 0]


@tried(max_examples=8)
@given(batch=st.lists(small, min_size=1, max_size=2), classes=st.integers(1, 9), layout=layouts)
def test_cross_entropies(batch, classes, layout):
    labels = np.random.default_rng(classes).integers(0, classes, batch)
    op = nn.losses.softmax_cross_entropy_with_integer_labels
    check(op, of_logits, [normal(*batch, classes), labels], layout)


@tried(max_examples=8)
@given(
    batch=st.lists(small, min_size=1, max_size=2),
    features=small,
    classes=st.integers(1, 9),
    chunk=st.integers(1, 10),
    bias=st.booleans(),
    layout=layouts,
)
def test_cross_entropies_in_chunks(batch, features, classes, chunk, bias, layout):
    labels = np.random.default_rng(classes).integers(0, classes, batch)
    arrays = [normal(*batch, features), normal(features, classes), normal(classes) if bias else None, labels]
    reference = lambda x, w, b, labels: of_logits(moved(x @ w, None, b), labels)
    check(nn.losses.linear_cross_entropy, reference, arrays, layout, chunk=chunk)


# That a wrong one is seen


def test_a_wrong_backward_and_a_wrong_forward_are_seen():
    wrong = nn.Op(jnp.sin)
    wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (1.001 * jnp.cos(x) * dy,))
    with pytest.raises(AssertionError, match="by hand"):
        check(wrong, jnp.sin, [normal(3, 4)], "turned")
    with pytest.raises(AssertionError, match="as it is called"):
        check(nn.tanh, jnp.sin, [normal(3, 4)], "strided")


def test_a_view_has_strides_of_its_own_and_the_same_numbers():
    a = normal(3, 4)
    view = with_strides(a)
    np.testing.assert_array_equal(view, a)
    assert not view.flags.c_contiguous
    assert all(n < 0 for n in view.strides)
