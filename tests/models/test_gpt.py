"""The transformer: both roads, its peer in PyTorch, what it must not see, and decoding with a cache."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from benchmarks import gpt as benchmark

VOCABULARY, CONTEXT = 11, 6
SIZES = {"width": 8, "heads": 2, "blocks": 2, "context": CONTEXT}
MODELS = {
    "learned": {},
    "rotary": {"rotary": True, "kv_heads": 1},
    "dropout": {"dropout": 0.3},
    "repeated": {"repeated": True},
}
every = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
strictly_by_hand = functools.partial(nn.by_hand, strict=True)


def model(*, repeated=False, **settings):
    """The model; or with its blocks in a `repeat`, which is how one would build a deep one."""
    transformer = nn.models.gpt(VOCABULARY, **(SIZES | settings))
    if not repeated:
        return transformer
    parts = dict(transformer.children)
    block, *others = parts["blocks"].children.values()
    return nn.serial(**(parts | {"blocks": nn.repeat(block, 1 + len(others))}))


def ids(batch=4, time=CONTEXT, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCABULARY, (batch, time)), jnp.int32)


def batch_of(seed=0):
    return nn.Data(ids(seed=seed), ids(seed=seed + 100))


@every
def test_both_roads_and_central_differences_agree_and_by_hand_needs_no_more_memory(settings):
    trainer = nn.trainer(model(**settings), nn.losses.cross_entropy, nn.sgd(0.1), gradient=strictly_by_hand)
    train_state = jax.jit(trainer.init)(jax.random.key(1), ids())
    comparison = nn.compare(model(**settings), nn.losses.cross_entropy, train_state, batch_of(), directions=1, rounds=1)
    assert comparison.agrees, comparison
    # All keys moved by one vector change no weight: the bias of the keys has no gradient, but only as a part of b_qkv.
    assert not [row.name for row in comparison.rows if row.zero]
    assert comparison.hand.nbytes <= comparison.autodiff.nbytes


@every
def test_an_ensemble_by_hand_is_the_same_as_by_autodiff(settings, x64):
    keys = jax.random.split(jax.random.key(2), 2)
    transformer = model(**settings)
    params, state = jax.jit(jax.vmap(lambda key: transformer.init(key, ids())))(keys)
    batch = jax.tree.map(lambda *a: jnp.stack(a), batch_of(0), batch_of(1))
    run = lambda road: jax.jit(
        jax.vmap(lambda p, s, b, k: road(transformer, nn.losses.cross_entropy)(p, {}, s, b, key=k))
    )
    hand = run(strictly_by_hand)(params, state, batch, keys)
    with nn.plain():
        autodiff = run(nn.by_autodiff)(params, state, batch, keys)
    chex.assert_trees_all_close(hand, autodiff, rtol=1e-9, atol=1e-11)


def test_steps_in_a_scan_are_the_steps_of_a_loop(x64):
    trainer = nn.trainer(model(), nn.losses.cross_entropy, nn.adamw(1e-2), gradient=strictly_by_hand)
    begin = jax.jit(trainer.init)(jax.random.key(0), ids())
    batches = [batch_of(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *batches)
    scanned, _ = jax.jit(lambda ts: jax.lax.scan(lambda ts, b: (trainer.step(ts, b)[0], None), ts, stacked))(begin)
    step, looped = jax.jit(trainer.step), begin
    for batch in batches:
        looped, _ = step(looped, batch)
    chex.assert_trees_all_close(scanned.params, looped.params, rtol=1e-9, atol=1e-11)


@pytest.mark.oracle
def test_the_contestants_of_the_benchmark_are_one_function(x64):
    """GPT-2 in PyTorch with the same weights: the logits, and the gradient of the loss by every parameter."""
    torch = pytest.importorskip("torch")
    workload = benchmark.gpt(quick=True)
    ours, theirs = workload.jaxnn, workload.pytorch().double()
    batch = nn.Data(jnp.asarray(workload.data.x[:2]), jnp.asarray(workload.data.y[:2]))
    params, state = jax.jit(ours.init)(jax.random.key(0), batch.x)
    params = jax.tree.map(
        lambda p, i: p + 0.1 * jax.random.normal(jax.random.key(i), p.shape, p.dtype),
        params,
        jax.tree.unflatten(jax.tree.structure(params), range(len(jax.tree.leaves(params)))),
    )
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            tensor.copy_(torch.tensor(np.array(leaf_of(params, name))))
    x, y = (torch.tensor(np.asarray(a)).long() for a in batch[:2])
    logits = theirs(x)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()

    value, (_, prediction), grads = jax.jit(strictly_by_hand(ours, nn.losses.cross_entropy))(params, {}, state, batch)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(prediction, logits.detach().numpy(), rtol=1e-9, atol=1e-11)
    for name, tensor in theirs.named_parameters():
        np.testing.assert_allclose(leaf_of(grads, name), tensor.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)


def leaf_of(params, name):
    """Our leaf of a name in PyTorch, in its shape."""
    place, _, kind = name.rpartition(".")
    outside = {
        "tokens.weight": ("embed", "table"),
        "positions.weight": ("positions", "table"),
        "blocks.4.weight": ("norm", "scale"),
        "blocks.4.bias": ("norm", "offset"),
    }
    if name in outside:
        layer, leaf = outside[name]
        return params[layer][leaf]
    if place == "head":
        return params["head"]["w"].T
    _, i, branch, *within = place.split(".")
    layer, leaf = {
        ("attention", "0"): ("layer_norm_0", {"weight": "scale", "bias": "offset"}),
        ("attention", "1", "qkv"): ("self_attention_0", {"weight": "w_qkv", "bias": "b_qkv"}),
        ("attention", "1", "out"): ("self_attention_0", {"weight": "w_o", "bias": "b_o"}),
        ("mlp", "0"): ("layer_norm_0", {"weight": "scale", "bias": "offset"}),
        ("mlp", "1"): ("dense_0", {"weight": "w", "bias": "b"}),
        ("mlp", "3"): ("dense_1", {"weight": "w", "bias": "b"}),
    }[branch, *within]
    ours = params["blocks"][f"block_{i}"][branch][layer][leaf[kind]]
    return ours.T if ours.ndim == 2 else ours


@every
def test_a_later_token_never_changes_an_earlier_logit(settings):
    transformer = model(**settings)
    params, state = transformer.init(jax.random.key(0), ids())
    run = jax.jit(lambda x: transformer.apply(params, state, x)[0])
    y, other = run(ids()), run(ids().at[:, 4:].set(ids(time=2, seed=5)))
    np.testing.assert_array_equal(y[:, :4], other[:, :4])
    assert (y[:, 4:] != other[:, 4:]).any()
    np.testing.assert_allclose(run(ids()[2:3])[0], y[2], rtol=1e-4, atol=1e-6)  # nor does another sequence


@pytest.mark.parametrize("settings", [{}, {"rotary": True}, {"kv_heads": 1}, {"repeated": True}], ids=str)
@pytest.mark.parametrize("chunks", [[1] * 6, [4, 1, 1], [6]], ids=str)
def test_decoding_gives_the_logits_of_the_whole(settings, chunks, x64):
    transformer, decoder = model(**settings), model(**settings, cache=CONTEXT)
    params, state = transformer.init(jax.random.key(0), ids())
    whole, _ = transformer.apply(params, state, ids())
    fresh, state = decoder.init(jax.random.key(0), ids())
    chex.assert_trees_all_equal_shapes(fresh, params)
    decode, parts, at = jax.jit(decoder.apply), [], 0
    for steps in chunks:
        logits, state = decode(params, state, ids()[:, at : at + steps])
        parts, at = [*parts, logits], at + steps
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rotary", [False, True])
def test_tokens_are_drawn_in_one_program(rotary, x64):
    """The likeliest token each time, in a scan, is what the whole sequence would have chosen."""
    transformer, decoder = model(rotary=rotary), model(rotary=rotary, cache=CONTEXT)
    params, _ = transformer.init(jax.random.key(3), ids())
    params = jax.tree.map(lambda p: 3 * p, params)
    _, state = decoder.init(jax.random.key(0), ids())

    def step(carry, _):
        token, state = carry
        logits, state = decoder.apply(params, state, token)
        token = logits.argmax(-1).astype(token.dtype)
        return (token, state), token[:, 0]

    first = ids(time=1)
    _, drawn = jax.jit(lambda: jax.lax.scan(step, (first, state), length=CONTEXT))()
    sequence = jnp.concatenate([first, drawn.T[:, :-1]], 1)
    whole, _ = transformer.apply(params, {}, sequence)
    np.testing.assert_array_equal(whole.argmax(-1), drawn.T)


def message_of(x, **settings):
    transformer = model(**settings)
    params, state = transformer.init(jax.random.key(0), ids())
    with pytest.raises((nn.ShapeError, ValueError)) as caught:
        transformer.apply(params, state, x)
    return "\n".join([str(caught.value), *(note for note in caught.value.__notes__ if note.startswith("  "))])


def test_token_ids_out_of_range_name_the_layer():
    told = message_of(ids().at[0, 0].set(VOCABULARY))
    assert "expected ids from 0 to 10, because the table is (11, 8); got ids from " in told
    assert "in embed: Embed(11, features=8), input int32[4,6]" in told
    transformer = model()
    params, state = transformer.init(jax.random.key(0), ids())
    y, _ = jax.jit(transformer.apply)(params, state, ids().at[0, 2].set(-1))
    assert jnp.isnan(y[0, 2:]).all()
    assert jnp.isfinite(y[1:]).all()


def test_a_sequence_longer_than_the_context_names_the_layer():
    told = message_of(ids(time=CONTEXT + 1))
    assert "expected at most 6 steps, because the table has 6 positions; got 7 steps" in told
    assert "in positions: PositionalEmbedding(6), input float32[4,7,8]" in told
    told = message_of(ids(time=CONTEXT + 1), rotary=True, cache=CONTEXT)
    assert "expected at most 6 steps, because cache=6; got 7" in told
    assert "in self_attention_0: SelfAttention(2, causal=True, rotary=True, cache=6, " in told


def test_what_goes_on_from_a_full_cache_is_nan():
    decoder = model(cache=CONTEXT)
    params, state = decoder.init(jax.random.key(0), ids())
    decode = jax.jit(decoder.apply)
    logits, state = decode(params, state, ids())
    assert jnp.isfinite(logits).all()
    assert jnp.isnan(decode(params, state, ids(time=1))[0]).all()


def test_it_has_as_many_parameters_as_gpt_2():
    """124 million, of which our untied head is 38.6 million more."""
    gpt_2 = nn.models.gpt(50257, width=768, heads=12, blocks=12, context=1024)
    params, _ = jax.eval_shape(lambda: gpt_2.init(jax.random.key(0), jnp.zeros((1, 8), jnp.int32)))
    assert nn.tree.count(params) == 124_439_808 + 50257 * 768


def test_branches_end_in_smaller_weights():
    params, _ = nn.models.gpt(11, width=64, heads=2, blocks=8, context=6).init(jax.random.key(0), ids())
    block = params["blocks"]["block_7"]
    for w in (block["attention"]["self_attention_0"]["w_qkv"], block["mlp"]["dense_0"]["w"]):
        np.testing.assert_allclose(w.std(), 0.02, rtol=0.03)
    for w in (block["attention"]["self_attention_0"]["w_o"], block["mlp"]["dense_1"]["w"]):
        np.testing.assert_allclose(w.std(), 0.02 / 4, rtol=0.03)
