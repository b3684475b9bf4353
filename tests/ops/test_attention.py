"""Attention against other libraries, in and out of blocks; what must not be seen, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import jaxnn as nn
from jaxnn.ops import attention
from jaxnn.ops._attention_blocks import Grid

BATCH, TIME, MEMORY, HEADS, FEATURES = 2, 5, 7, 4, 3


def arrays(time=TIME, memory=MEMORY, kv_heads=HEADS, *, dtype=jnp.float64, seed=0):
    random = np.random.default_rng(seed)
    shapes = [(BATCH, time, HEADS, FEATURES), *[(BATCH, memory, kv_heads, FEATURES)] * 2]
    return [jnp.asarray(random.normal(size=shape)).astype(dtype) for shape in shapes]


def mask_of(*shape, seen=0.5):
    """Bools, of which the last query sees nothing."""
    mask = np.random.default_rng(1).uniform(size=shape) < seen
    if len(shape) > 2:
        mask[..., -1, :] = False
    return jnp.asarray(mask)


def both(q, k, v, mask=None, **settings):
    """The output by hand, and the gradients for a fixed random cotangent."""
    y, residuals = attention.fwd(q, k, v, mask, **settings)
    return [y, *attention.bwd(residuals, cotangent(y), **settings)[:3]]


def cotangent(y):
    return jnp.asarray(np.random.default_rng(2).normal(size=y.shape)).astype(y.dtype)


CASES = {
    "whole": ({}, None),
    "causal": ({"causal": True}, None),
    "scaled": ({"scale": 0.7}, None),
    "masked": ({}, (BATCH, HEADS, TIME, MEMORY)),
    "masked alike in all heads": ({}, (BATCH, 1, TIME, MEMORY)),
    "masked in groups": ({"kv_heads": 2}, (BATCH, HEADS, TIME, MEMORY)),
    "causal in groups": ({"kv_heads": 1, "causal": True}, None),
}
every_case = pytest.mark.parametrize(("settings", "shape"), CASES.values(), ids=CASES)


def drawn(settings, shape):
    """Arrays, a mask and the op's settings of a case; causal ones are square, where all libraries agree."""
    settings = dict(settings)
    memory = TIME if settings.get("causal") else MEMORY
    return arrays(memory=memory, kv_heads=settings.pop("kv_heads", HEADS)), shape and mask_of(*shape), settings


@pytest.mark.oracle
@every_case
def test_output_and_gradients_are_those_of_torch(settings, shape, x64):
    torch = pytest.importorskip("torch")
    given, mask, settings = drawn(settings, shape)
    q, k, v = (torch.tensor(np.asarray(a)).transpose(1, 2).requires_grad_(True) for a in given)
    y = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, None if mask is None else torch.tensor(np.asarray(mask)),
        is_causal=settings.get("causal", False), scale=settings.get("scale"), enable_gqa=True,
    )  # fmt: skip
    ours, *d_ours = both(*given, mask, **settings)
    y.backward(torch.tensor(np.asarray(cotangent(ours))).transpose(1, 2))
    for hand, theirs in zip((ours, *d_ours), (y.detach(), q.grad, k.grad, v.grad), strict=True):
        np.testing.assert_allclose(hand, theirs.transpose(1, 2).numpy(), rtol=1e-11, atol=1e-13)


@every_case
def test_output_and_gradients_are_those_of_jax(settings, shape, x64, loose):
    given, mask, settings = drawn(settings, shape)
    if mask is not None:
        mask = mask.at[..., 0].set(True)  # a query that sees nothing has the mean of all in JAX
    y, backward = jax.vjp(
        functools.partial(
            jax.nn.dot_product_attention,
            mask=mask,
            is_causal=settings.get("causal", False),
            scale=settings.get("scale"),
        ),
        *given,
    )
    for hand, theirs in zip(both(*given, mask, **settings), (y, *backward(cotangent(y))), strict=True):
        np.testing.assert_allclose(hand, theirs, rtol=2e-6, atol=2e-6)  # its scores are float32 always


BLOCKED = {
    "causal": ((11, 11), {"causal": True}, None),
    "causal, more memory": ((5, 11), {"causal": True}, None),
    "causal, less memory": ((11, 5), {"causal": True}, None),
    "one query": ((1, 11), {"causal": True}, None),
    "lengths": ((11, 7), {}, (BATCH, 7)),
    "masked": ((6, 11), {}, (BATCH, 6, 11)),
    "masked in some heads": ((6, 11), {}, (BATCH, HEADS, 1, 11)),
    "masked and causal": ((7, 7), {"causal": True}, (1, HEADS, 7, 7)),
    "masked for all keys alike": ((7, 5), {}, (BATCH, 7, 1)),
}


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize(("sizes", "settings", "shape"), BLOCKED.values(), ids=BLOCKED)
def test_blocks_of_any_size_give_what_one_gives(sizes, settings, shape, block, x64):
    given = *arrays(*sizes, kv_heads=2), shape and mask_of(*shape)
    whole, parts = (jax.jit(functools.partial(both, **settings, block=b))(*given) for b in (100, block))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [None, (1, HEADS, 1, 1)], ids=["causal", "masked too"])
@pytest.mark.parametrize("sizes", [(65, 65), (130, 130), (70, 140), (140, 70), (100, 30)], ids=str)
def test_strips_of_queries_give_what_blocks_give(sizes, shape, x64):
    """Where causality leaves out a part of the memory that is worth it, queries go in strips, and not in a loop."""
    given = *arrays(*sizes, kv_heads=2), shape and mask_of(*shape[:-2], *sizes)
    strips, blocks = (Grid.of(*(a.swapaxes(1, 2) for a in given[:2]), causal=True, block=b) for b in (256, 7))
    assert len(strips.strips) == -(-sizes[0] // 64)
    assert not blocks.strips
    in_strips, in_blocks = (jax.jit(functools.partial(both, causal=True, block=b))(*given) for b in (256, 7))
    for a, b in zip(in_strips, in_blocks, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14)


def test_queries_of_a_causal_op_stand_at_the_end_of_the_memory(x64):
    q, k, v = arrays(MEMORY, MEMORY)
    whole = attention(q, k, v, causal=True)
    np.testing.assert_allclose(attention(q[:, -3:], k, v, causal=True), whole[:, -3:], rtol=1e-13)
    np.testing.assert_allclose(attention(q[:, -1:], k, v, causal=True), attention(q[:, -1:], k, v), rtol=1e-13)
    # With fewer keys than queries, the first queries stand before all of them.
    assert not attention(q, k[:, :2], v[:, :2], causal=True)[:, : MEMORY - 2].any()


@pytest.mark.parametrize("block", [3, 100])
@pytest.mark.parametrize("op", [attention, attention.plain], ids=["rule", "plain"])
def test_what_comes_later_is_never_seen(op, block):
    """To the last bit, and in the gradient too."""
    q, k, v = arrays(8, 8, dtype=jnp.float32)
    out = lambda k, v: op(q, k, v, causal=True, block=block)
    changed = [a.at[:, 5:].set(100 * a[:, 5:] + 3) for a in (k, v)]
    y, others = out(k, v), out(*changed)
    np.testing.assert_array_equal(y[:, :5], others[:, :5])
    assert (y[:, 5:] != others[:, 5:]).all()
    for d in jax.grad(lambda k, v: out(k, v)[:, :5].sum(), argnums=(0, 1))(k, v):
        assert not d[:, 5:].any()
        assert d[:, :5].any()


@pytest.mark.parametrize("block", [2, 100])
def test_what_is_masked_is_never_seen(block):
    q, k, v = arrays(dtype=jnp.float32)
    mask = jnp.arange(MEMORY)[None] < jnp.array([[3], [6]])
    y = attention(q, k, v, mask, block=block)
    others = attention(q, k.at[0, 3:].set(7.0), v.at[0, 3:].set(-7.0), mask, block=block)
    np.testing.assert_array_equal(y, others)
    np.testing.assert_allclose(y[:1], attention(q[:1], k[:1, :3], v[:1, :3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [2, 100])
@pytest.mark.parametrize("op", [attention, attention.plain], ids=["rule", "plain"])
def test_who_sees_nothing_gets_nothing(op, block):
    q, k, v = arrays(dtype=jnp.float32)
    mask = jnp.ones((BATCH, TIME, MEMORY), bool).at[0, 2].set(False).at[1].set(False)
    y, backward = jax.vjp(lambda *a: op(*a, mask, block=block), q, k, v)
    dq, dk, dv = backward(jnp.ones_like(y))
    assert not y[0, 2].any()
    assert y[0, 3].all()
    assert not dq[0, 2].any()
    for d in (y, dq, dk, dv):
        assert not d[1].any()
        assert jnp.isfinite(d).all()


def test_examples_do_not_see_each_other():
    q, k, v = arrays(dtype=jnp.float32)
    y = attention(q, k, v)
    np.testing.assert_array_equal(attention(q, k.at[1].set(0.5), v.at[1].set(0.5))[0], y[0])
    np.testing.assert_allclose(attention(q[:1], k[:1], v[:1]), y[:1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("block", [2, 100])
def test_scores_of_any_size_are_finite(block):
    """Whoever computes exp(s) without its maximum gets infinity."""
    q, k, v = arrays(dtype=jnp.float32)
    y, dq, dk, dv = both(1e4 * q, 1e4 * k, v, block=block)
    assert all(jnp.isfinite(a).all() for a in (y, dq, dk, dv))
    best = jnp.einsum("bthd,bmhd->bhtm", q, k).argmax(-1)
    chosen = jax.vmap(jax.vmap(lambda v, i: v[i], (1, 0), 0))(v, best).swapaxes(1, 2)
    np.testing.assert_allclose(y, chosen, rtol=1e-6)


def test_the_softmax_of_bfloat16_is_in_float32():
    q, k, v = arrays(2, 2000, dtype=jnp.bfloat16)
    exact = attention(*(a.astype(jnp.float32) for a in (q, k, v)))
    y = attention(q, k, v, block=1000)
    assert y.dtype == jnp.bfloat16
    # A sum of 2000 weights in bfloat16 would stop to grow at 256.
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=2e-3)


def sizes(program):
    """The number of elements of every array that a program makes, its loops' included."""
    for eqn in program.eqns:
        yield from (v.aval.size for v in eqn.outvars)
        for inner in jaxprs_in_params(eqn.params):
            yield from sizes(inner)


def test_no_array_of_time_by_memory_is_made_or_remembered():
    time, block = 96, 8
    given = arrays(time, time, dtype=jnp.float32)
    run = lambda *a: both(*a, causal=True, block=block)
    largest = max(sizes(jax.make_jaxpr(run)(*given).jaxpr))
    rows = BATCH * HEADS * time * max(FEATURES, block)
    assert largest <= rows < BATCH * HEADS * time * time
    # Even of a single block, no scores are remembered.
    _, remembered = jax.eval_shape(functools.partial(attention.fwd, causal=True), *given)
    assert max(leaf.size for leaf in jax.tree.leaves(remembered)) == BATCH * HEADS * time * FEATURES


def test_blocks_that_causality_excludes_are_left_out():
    places = lambda time, memory, **settings: len(
        Grid.of(jnp.zeros((1, time, 1)), jnp.zeros((1, memory, 1)), block=4, **settings).places
    )
    assert places(16, 16, causal=False) == 16
    assert places(16, 16, causal=True) == 10
    assert places(8, 16, causal=True) == 4 + 3
    assert places(16, 4, causal=True) == 1


def test_grad_uses_the_rule_and_plain_does_not():
    q, k, v = arrays(8, 8, dtype=jnp.float32)
    slope = jax.grad(lambda q: attention(q, k, v, block=2).sum())
    largest = lambda: max(sizes(jax.make_jaxpr(slope)(q).jaxpr))
    assert largest() < BATCH * HEADS * 64
    with nn.plain():
        assert largest() == BATCH * HEADS * 64
        jax.jvp(lambda q: attention(q, k, v), (q,), (q,))


def test_a_scale_may_be_a_tracer(x64):
    q, k, v = arrays()
    scaled = jax.vmap(lambda scale: attention(q, k, v, scale=scale))(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(scaled[1], attention(4.0 * q, k, v, scale=0.5), rtol=1e-12)
    slope = jax.grad(lambda scale: attention(q, k, v, scale=scale).sum())(0.5)
    step = lambda h: attention(q, k, v, scale=0.5 + h).sum()
    np.testing.assert_allclose(slope, (step(1e-5) - step(-1e-5)) / 2e-5, rtol=1e-7)


REFUSED = {
    "a mask of another shape": (
        {"mask": jnp.ones((BATCH, MEMORY, TIME), bool)},
        r"expected a mask of shape \(2, 7\), \(2, 5, 7\), \(2, 4, 5, 7\), or with 1 .*; got \(2, 7, 5\)",
    ),
    "a mask of too few axes": ({"mask": jnp.ones(MEMORY, bool)}, r"expected a mask of shape .*; got \(7,\)"),
    "a mask of numbers": ({"mask": jnp.ones((BATCH, MEMORY))}, "expected a mask of bool, .*; got float32"),
    "features that differ": (
        {"k": jnp.zeros((BATCH, MEMORY, HEADS, 2))},
        r"expected k of shape \(2, memory, kv_heads, 3\), because q is \(2, 5, 4, 3\); got \(2, 7, 4, 2\)",
    ),
    "values of another memory": (
        {"v": jnp.zeros((BATCH, 6, HEADS, FEATURES))},
        r"expected v of shape \(2, 7, 4, values\), because k is \(2, 7, 4, 3\); got \(2, 6, 4, 3\)",
    ),
    "heads that do not divide": (
        {"k": jnp.zeros((BATCH, MEMORY, 3, FEATURES)), "v": jnp.zeros((BATCH, MEMORY, 3, FEATURES))},
        "expected q with a multiple of 3 heads, .*; got 4 heads",
    ),
    "no heads": (
        {"q": jnp.zeros((BATCH, TIME, FEATURES))},
        r"expected q of shape \(batch, time, heads, features\), .*; got \(2, 5, 3\)",
    ),
    "another dtype": (
        {"v": jnp.zeros((BATCH, MEMORY, HEADS, FEATURES), jnp.bfloat16)},
        "expected q, k and v of one floating dtype, .*; got float32, float32, bfloat16",
    ),
}


@pytest.mark.parametrize(("changed", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("road", ["__call__", "plain", "fwd"])
def test_what_does_not_fit_is_refused(changed, message, road, unannotated):
    given = dict(zip("qkv", arrays(dtype=jnp.float32), strict=True)) | {"mask": None} | changed
    with pytest.raises((nn.ShapeError, TypeError), match=message):
        getattr(attention, road)(*given.values())


def test_a_block_has_something_in_it():
    with pytest.raises(ValueError, match=r"expected block of at least 1, .*; got 0"):
        attention(*arrays(dtype=jnp.float32), block=0)
