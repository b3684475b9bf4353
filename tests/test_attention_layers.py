"""Attention layers against other libraries, weights carried over; sequences, caches, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

BATCH, TIME, MEMORY, WIDTH, HEADS = 2, 5, 7, 8, 4


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def parameters(layer, x):
    """Parameters away from zero, biases too."""
    params, state = layer.init(jax.random.key(0), x)
    return {name: normal(*p.shape, seed=i) for i, (name, p) in enumerate(sorted(params.items()))}, state


def gradients(layer, params, state, x, d_y, *, y_of=lambda y: y):
    (y, _), residuals = layer.fwd(params, state, x)
    d_params, dx = layer.bwd(residuals, d_y)
    return y_of(y), d_params, dx


MASKS = {
    "whole": (False, None),
    "causal": (True, None),
    "masked": (False, np.random.default_rng(3).uniform(size=(BATCH, HEADS, TIME, TIME)) < 0.6),
    "lengths": (False, np.arange(TIME) < np.array([[3], [1]])),
}


def with_diagonal(mask):
    """Every query sees itself: one that sees nothing is NaN in PyTorch's layer, and the mean of all in flax."""
    return mask if mask is None or mask.ndim == 2 else mask | np.eye(TIME, dtype=bool)


@pytest.mark.oracle
@pytest.mark.parametrize(("causal", "mask"), MASKS.values(), ids=MASKS)
def test_self_attention_is_that_of_torch(causal, mask, x64):
    torch = pytest.importorskip("torch")
    mask, x, d_y = with_diagonal(mask), normal(BATCH, TIME, WIDTH, seed=5), normal(BATCH, TIME, WIDTH, seed=6)
    layer = nn.SelfAttention(HEADS, causal=causal)
    params, state = parameters(layer, x)
    y, d, dx = gradients(layer, params, state, x if mask is None else (x, jnp.asarray(mask)), d_y)

    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, p in {"in_proj_weight": params["w_qkv"].T, "in_proj_bias": params["b_qkv"]}.items():
            getattr(theirs, name).copy_(torch.tensor(np.asarray(p)))
        theirs.out_proj.weight.copy_(torch.tensor(np.asarray(params["w_o"].T)))
        theirs.out_proj.bias.copy_(torch.tensor(np.asarray(params["b_o"])))
    if causal:
        mask = np.tril(np.ones((BATCH, HEADS, TIME, TIME), bool))
    elif mask is not None:
        mask = np.broadcast_to(mask[:, None, None] if mask.ndim == 2 else mask, (BATCH, HEADS, TIME, TIME))
    hidden = None if mask is None else torch.tensor(~mask.reshape(BATCH * HEADS, TIME, TIME))
    given = torch.tensor(np.asarray(x), requires_grad=True)
    out, _ = theirs(given, given, given, attn_mask=hidden, need_weights=False)
    out.backward(torch.tensor(np.asarray(d_y)))

    expected = {
        "w_qkv": theirs.in_proj_weight.grad.T, "b_qkv": theirs.in_proj_bias.grad,
        "w_o": theirs.out_proj.weight.grad.T, "b_o": theirs.out_proj.bias.grad,
    }  # fmt: skip
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx if mask is None or causal else dx[0], given.grad.numpy(), rtol=1e-10, atol=1e-11)
    for name, theirs_d in expected.items():
        np.testing.assert_allclose(d[name], theirs_d.numpy(), rtol=1e-10, atol=1e-11, err_msg=name)


def of_flax(params, parts):
    """Parameters of flax's layer: a kernel `(width, heads, features)` for each part of a product."""
    names = {"q": ["query"], "kv": ["key", "value"], "qkv": ["query", "key", "value"]}
    tree = {"out": {"kernel": params["w_o"].reshape(HEADS, -1, WIDTH), "bias": params["b_o"]}}
    for part in parts:
        n = len(names[part])
        for name, w, b in zip(
            names[part], jnp.split(params[f"w_{part}"], n, 1), jnp.split(params[f"b_{part}"], n), strict=True
        ):
            tree[name] = {"kernel": w.reshape(w.shape[0], HEADS, -1), "bias": b.reshape(HEADS, -1)}
    return {"params": tree}


@pytest.mark.parametrize(("causal", "mask"), MASKS.values(), ids=MASKS)
def test_self_attention_is_that_of_flax(causal, mask, x64, loose):
    linen = pytest.importorskip("flax.linen")
    mask, x, d_y = with_diagonal(mask), normal(BATCH, TIME, WIDTH, seed=5), normal(BATCH, TIME, WIDTH, seed=6)
    layer = nn.SelfAttention(HEADS, causal=causal)
    params, state = parameters(layer, x)
    y, d, dx = gradients(layer, params, state, x if mask is None else (x, jnp.asarray(mask)), d_y)

    if causal:
        theirs_mask = linen.make_causal_mask(x[..., 0])
    else:
        theirs_mask = mask[:, None, None] if mask is not None and mask.ndim == 2 else mask
    module = linen.MultiHeadDotProductAttention(HEADS)
    theirs = lambda params, x: module.apply(of_flax(params, ["qkv"]), x, mask=theirs_mask)
    expected, backward = jax.vjp(theirs, params, x)
    d_expected, dx_expected = backward(d_y)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx[0] if isinstance(dx, tuple) else dx, dx_expected, rtol=1e-10, atol=1e-11)
    for name in params:
        np.testing.assert_allclose(d[name], d_expected[name], rtol=1e-10, atol=1e-11, err_msg=name)


def test_cross_attention_is_that_of_flax(x64, loose):
    linen = pytest.importorskip("flax.linen")
    x, memory, d_y = normal(BATCH, TIME, WIDTH), normal(BATCH, MEMORY, 6, seed=1), normal(BATCH, TIME, WIDTH, seed=2)
    mask = jnp.asarray(np.random.default_rng(3).uniform(size=(BATCH, TIME, MEMORY)) < 0.6).at[..., 0].set(True)
    layer = nn.CrossAttention(HEADS)
    params, state = parameters(layer, (x, memory))
    y, d, (dx, d_memory, none) = gradients(layer, params, state, (x, memory, mask), d_y)
    module = linen.MultiHeadDotProductAttention(HEADS)
    theirs = lambda params, x, memory: module.apply(of_flax(params, ["q", "kv"]), x, memory, mask=mask[:, None])
    expected, backward = jax.vjp(theirs, params, x, memory)
    assert none is None
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    for name, ours, d_theirs in zip(
        [*params, "x", "memory"],
        [*(d[name] for name in params), dx, d_memory],
        [*(backward(d_y)[0][name] for name in params), *backward(d_y)[1:]],
        strict=True,
    ):
        np.testing.assert_allclose(ours, d_theirs, rtol=1e-10, atol=1e-11, err_msg=name)


def test_fewer_heads_of_the_memory_are_heads_that_share_weights(x64):
    """Grouped-query attention is the usual one in which successive heads have the same keys and values."""
    x = normal(BATCH, TIME, WIDTH)
    layer = nn.SelfAttention(HEADS, kv_heads=2)
    params, _ = parameters(layer, x)
    q, k, v = (a.reshape((*a.shape[:-1], -1, 2)) for a in jnp.split(params["w_qkv"], [8, 12], -1))
    b_q, b_k, b_v = (a.reshape(-1, 2) for a in jnp.split(params["b_qkv"], [8, 12]))
    twice = lambda *parts: jnp.concatenate([p if i == 0 else jnp.repeat(p, 2, -2) for i, p in enumerate(parts)], -2)
    shared = params | {"w_qkv": twice(q, k, v).reshape(WIDTH, 24), "b_qkv": twice(b_q, b_k, b_v).reshape(24)}
    expected, _ = nn.SelfAttention(HEADS).apply(shared, {}, x)
    np.testing.assert_allclose(layer.apply(params, {}, x)[0], expected, rtol=1e-12)


def test_lengths_are_a_mask_of_the_memory():
    """Nothing that lies within depends on what lies beyond, in the forward or in its gradient."""
    x, lengths = normal(3, TIME, WIDTH).astype(jnp.float32), jnp.array([3, 0, 5])
    layer = nn.SelfAttention(HEADS, rotary=True)
    params, state = layer.init(jax.random.key(0), x)
    inside = jnp.arange(TIME)[None, :] < lengths[:, None]
    y, _ = layer.apply(params, state, nn.Sequences(x, lengths))
    other, _ = layer.apply(params, state, nn.Sequences(jnp.where(inside[..., None], x, 9.0), lengths))
    assert isinstance(y, nn.Sequences)
    assert y.lengths is lengths
    np.testing.assert_array_equal(y.x[inside], other.x[inside])
    np.testing.assert_allclose(y.x[0, :3], layer.apply(params, state, x[:1, :3])[0][0], rtol=1e-4, atol=1e-6)
    assert jnp.isfinite(y.x).all()

    _, residuals = layer.fwd(params, state, nn.Sequences(x, lengths))
    d_y = jnp.where(inside[..., None], 1.0, 0.0) * jnp.ones_like(x)
    d_params, dx = layer.bwd(residuals, nn.Sequences(d_y))
    assert not dx.x[~inside].any()
    assert dx.lengths is None
    assert all(jnp.isfinite(d).all() for d in d_params.values())


@pytest.mark.parametrize("rotary", [False, True])
def test_a_later_step_never_changes_an_earlier_one(rotary):
    x = normal(BATCH, 8, WIDTH).astype(jnp.float32)
    layer = nn.SelfAttention(HEADS, causal=True, rotary=rotary)
    params, state = layer.init(jax.random.key(0), x)
    run = jax.jit(lambda x: layer.apply(params, state, x)[0])
    y, other = run(x), run(x.at[:, 5:].set(-3 * x[:, 5:]))
    np.testing.assert_array_equal(y[:, :5], other[:, :5])
    assert (y[:, 5:] != other[:, 5:]).any(-1).all()


CUTS = {"one by one": [1] * 6, "in chunks": [3, 1, 2], "whole": [6], "with room to spare": [2, 2]}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("settings", [{}, {"rotary": True}, {"kv_heads": 2, "bias": False}], ids=str)
def test_with_a_cache_steps_get_what_the_whole_would(cut, settings, x64):
    x = normal(BATCH, 6, WIDTH)
    layer, decoder = (nn.SelfAttention(HEADS, causal=True, cache=cache, **settings) for cache in (None, 6))
    params, _ = layer.init(jax.random.key(0), x)
    _, state = decoder.init(jax.random.key(0), x)
    whole, _ = layer.apply(params, {}, x)
    decode, at, parts = jax.jit(decoder.apply), 0, []
    for steps in cut:
        y, state = decode(params, state, x[:, at : at + steps])
        parts, at = [*parts, y], at + steps
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole[:, :at], rtol=1e-12, atol=1e-13)
    assert state["length"] == at


def test_one_program_decodes_every_step(x64):
    x = normal(BATCH, 6, WIDTH)
    decoder = nn.SelfAttention(HEADS, causal=True, cache=6)
    params, state = decoder.init(jax.random.key(0), x)
    step = lambda state, x: decoder.apply(params, state, x[:, None])[::-1]
    _, y = jax.jit(lambda state: jax.lax.scan(step, state, x.swapaxes(0, 1)))(state)
    whole, _ = nn.SelfAttention(HEADS, causal=True).apply(params, {}, x)
    np.testing.assert_allclose(y[:, :, 0].swapaxes(0, 1), whole, rtol=1e-12, atol=1e-13)


def test_the_gradient_of_a_chunk_is_by_the_chunk(x64):
    """What lies in the cache is given: the gradient is that of JAX with the state held fixed."""
    x = normal(BATCH, 5, WIDTH)
    decoder = nn.SelfAttention(HEADS, causal=True, rotary=True, cache=8)
    params, state = decoder.init(jax.random.key(0), x)
    _, state = decoder.apply(params, state, x[:, :3])
    chunk, d_y = x[:, 3:], normal(BATCH, 2, WIDTH, seed=1)
    with nn.plain():
        _, backward = jax.vjp(lambda params, x: decoder.apply(params, state, x)[0], params, chunk)
    _, d_params, dx = gradients(decoder, params, state, chunk, d_y)
    d_expected, dx_expected = backward(d_y)
    np.testing.assert_allclose(dx, dx_expected, rtol=1e-11, atol=1e-13)
    for name, d in d_params.items():
        np.testing.assert_allclose(d, d_expected[name], rtol=1e-11, atol=1e-13)


def test_a_full_cache_is_refused_or_gives_nan():
    x = normal(BATCH, 6, WIDTH).astype(jnp.float32)
    decoder = nn.SelfAttention(HEADS, causal=True, cache=6)
    params, state = decoder.init(jax.random.key(0), x)
    _, state = decoder.apply(params, state, x[:, :4])
    with pytest.raises(ValueError, match="expected at most 6 steps, because cache=6; got 3 after 4"):
        decoder.apply(params, state, x[:, :3])
    with pytest.raises(ValueError, match="expected at most 6 steps, because cache=6; got 12"):
        jax.eval_shape(decoder.apply, params, state, jnp.zeros((BATCH, 12, WIDTH)))
    decode = jax.jit(decoder.apply)
    y, state = decode(params, state, x[:, :2])
    assert jnp.isfinite(y).all()
    for _ in range(2):
        y, state = decode(params, state, x[:, :1])
        assert jnp.isnan(y).all()


def message_of(layer, x, *, init=None):
    """The error's message and where it happened, as `serial` tells it."""
    model = nn.serial(layer)

    def run():
        params, state = model.init(jax.random.key(0), x if init is None else init)
        return model.apply(params, state, x)

    with pytest.raises((nn.ShapeError, ValueError, TypeError)) as caught:
        run()
    return "\n".join([str(caught.value), *(note for note in caught.value.__notes__ if note.startswith("  "))])


X = jnp.zeros((BATCH, TIME, WIDTH))


def test_heads_divide_the_width():
    assert message_of(nn.SelfAttention(3), X) == (
        "expected x of shape (batch, time, width) with a width that 3 heads divide, because each has an equal part of "
        "it; got (2, 5, 8)\n  in self_attention_0: SelfAttention(3), input float32[2,5,8]\n"
        "  hint: features=... says how many each head has"
    )
    nn.SelfAttention(3, features=2).init(jax.random.key(0), X)
    assert "that 3 heads divide" in message_of(nn.CrossAttention(3), (X, X))


def test_heads_of_the_memory_divide_the_others():
    with pytest.raises(ValueError, match=r"expected kv_heads that divide the 4 heads, .*; got 3"):
        nn.SelfAttention(4, kv_heads=3)
    with pytest.raises(ValueError, match=r"expected heads of at least 1, .*; got 0"):
        nn.CrossAttention(0)


def test_a_cache_wants_causality():
    with pytest.raises(ValueError, match=r"expected causal=True, .*; got causal=False with cache=8"):
        nn.SelfAttention(4, cache=8)


def test_a_mask_of_another_shape_names_the_layer():
    told = message_of(nn.SelfAttention(HEADS), (X, jnp.ones((BATCH, TIME + 1), bool)))
    assert told == (
        "expected a mask of shape (2, 5), (2, 5, 5), (2, 4, 5, 5), or with 1 for any of these, because it says for "
        "each query, or for all, what is seen of the memory; got (2, 6)\n"
        "  in self_attention_0: SelfAttention(4), input (float32[2,5,8], bool[2,6])"
    )


@pytest.mark.parametrize("given", ["Sequences", "a mask"])
def test_a_cache_takes_arrays_only(given):
    x = nn.Sequences(X, jnp.array([1, 2])) if given == "Sequences" else (X, jnp.ones((BATCH, TIME), bool))
    told = message_of(nn.SelfAttention(HEADS, causal=True, cache=8), x, init=X)
    assert told.startswith("expected an array, because the cache counts the steps of all sequences alike; got " + given)


def test_a_cache_is_for_its_batch():
    told = message_of(nn.SelfAttention(HEADS, causal=True, cache=8), X[:1], init=X)
    assert told.startswith("expected x of shape (2, time, width), because the cache was made for such a batch; got (1,")


def test_sequences_of_vectors_are_wanted():
    assert "expected x of shape (batch, time, width), " in message_of(nn.SelfAttention(HEADS), X[0])
    assert "expected memory of shape (batch, time, width), " in message_of(nn.CrossAttention(HEADS), (X, X[0]))
    lengths = nn.Sequences(X, jnp.ones(3, jnp.int32))
    assert "expected lengths of shape (2,), because x is (2, 5, 8); got (3,)" in message_of(
        nn.SelfAttention(4), lengths
    )


POSITIONS = [nn.PositionalEmbedding(6, cache=True), nn.Sinusoidal(cache=True)]


@pytest.mark.parametrize("layer", POSITIONS, ids=repr)
def test_positions_go_on_from_call_to_call(layer, x64):
    x = normal(BATCH, 6, WIDTH)
    params, state = layer.init(jax.random.key(0), x)
    whole, _ = layer.apply(params, state, x)
    first, state = jax.jit(layer.apply)(params, state, x[:, :2])
    then, state = jax.jit(layer.apply)(params, state, x[:, 2:])
    np.testing.assert_allclose(jnp.concatenate([first, then], 1), whole, rtol=1e-14)
    assert state["position"] == 6


def test_the_waves_are_added():
    y, _ = nn.Sinusoidal().apply({}, {}, X)
    np.testing.assert_array_equal(y[1], nn.ops.sinusoidal(jnp.arange(TIME), WIDTH))


def test_a_sequence_longer_than_the_table_names_the_layer():
    assert message_of(nn.PositionalEmbedding(4), X) == (
        "expected at most 4 steps, because the table has 4 positions; got 5 steps\n"
        "  in positional_embedding_0: PositionalEmbedding(4), input float32[2,5,8]"
    )
    layer = nn.PositionalEmbedding(6, cache=True)
    params, state = layer.init(jax.random.key(0), X)
    _, state = layer.apply(params, state, X)
    with pytest.raises(nn.ShapeError, match="because the table has 6 positions; got 5 steps after 5"):
        layer.apply(params, state, X)
    assert jnp.isnan(jax.jit(layer.apply)(params, state, X)[0][:, 1:]).all()


def test_positions_are_added_to_vectors(unannotated):
    for layer in (nn.PositionalEmbedding(4), nn.Sinusoidal()):
        told = message_of(layer, jnp.zeros((2, 3), jnp.int32))
        assert "expected floating x of shape (batch, time, features), " in told
        assert "got int32 of shape (2, 3)" in told
