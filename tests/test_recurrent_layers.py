"""Recurrent layers: what they carry from call to call, in both directions, in models, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import tree

BATCH, TIME, IN, HIDDEN = 4, 6, 3, 5
KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def normal(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def made(layer, x, seed=0):
    return layer.init(jax.random.key(seed), x)


# Parameters.


def test_the_gate_f_begins_by_remembering():
    b = made(nn.LSTM(HIDDEN), normal(BATCH, TIME, IN))[0]["b"]
    np.testing.assert_array_equal(b, np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN))
    b = made(nn.LSTM(2, forget_bias=-3.0, b_init=nn.initializers.ones), normal(BATCH, TIME, IN))[0]["b"]
    np.testing.assert_array_equal(b, np.repeat([1.0, -2.0, 1.0, 1.0], 2))


@every
def test_each_gate_is_drawn_by_itself(kind):
    params, _ = made(kind(HIDDEN), normal(BATCH, TIME, IN))
    gates = params["w_h"].shape[1] // HIDDEN
    orthogonal = np.stack(np.split(params["w_h"], gates, axis=1))
    np.testing.assert_allclose(
        np.swapaxes(orthogonal, 1, 2) @ orthogonal, np.broadcast_to(np.eye(HIDDEN), orthogonal.shape), atol=1e-5
    )
    limit = np.sqrt(6 / (IN + HIDDEN))  # of one gate, and not of all side by side
    assert 0.8 * limit < abs(params["w_x"]).max() <= limit
    blocks = np.split(params["w_x"], gates, axis=1)
    assert len({block.tobytes() for block in blocks}) == gates


# What is carried from call to call.


@every
def test_a_stream_in_pieces_is_the_whole(kind):
    x = normal(BATCH, TIME, IN)
    layer = kind(HIDDEN, stateful=True)
    params, state = made(layer, x)
    whole, whole_end = layer.apply(params, state, x)
    pieces = []
    for piece in (x[:, :1], x[:, 1:1], x[:, 1:4], x[:, 4:]):  # one of them is empty
        y, state = layer.apply(params, state, piece)
        pieces.append(y)
    chex.assert_trees_all_close(jnp.concatenate(pieces, axis=1), whole, atol=1e-6)
    chex.assert_trees_all_close(state, whole_end, atol=1e-6)


@every
def test_the_end_of_sequences_is_the_begin_of_others(kind):
    x, layer = normal(BATCH, TIME, IN), kind(HIDDEN)
    params, state = made(layer, x)
    whole, _ = layer.apply(params, state, nn.Sequences(x))
    first, _ = layer.apply(params, state, nn.Sequences(x[:, :2], jnp.array([2, 2, 2, 2])))
    then, _ = layer.apply(params, state, nn.Sequences(x[:, 2:], begin=first.end))
    chex.assert_trees_all_close(jnp.concatenate([first.x, then.x], axis=1), whole.x, atol=1e-6)
    chex.assert_trees_all_close(then.end, whole.end, atol=1e-6)
    assert first.begin is None
    assert then.lengths is None


def test_no_gradient_passes_through_the_state(x64):
    """Truncated backpropagation through time: a call's gradient is by what it is given."""
    x, model = normal(BATCH, TIME, IN, dtype=np.float64), nn.serial(nn.LSTM(HIDDEN, stateful=True), nn.last)
    params, state = made(model, x)
    batch = nn.Data(x, normal(BATCH, HIDDEN, seed=1, dtype=np.float64))
    step = lambda road, model: jax.jit(lambda state, batch: road(model, nn.losses.mse)(params, {}, state, batch))
    by_hand = step(nn.by_hand, model)
    _, (begun, _), _ = by_hand(state, batch)
    _, _, d_params = by_hand(begun, batch)
    chex.assert_trees_all_close(step(nn.by_autodiff, model)(begun, batch)[2], d_params, rtol=1e-10)
    # The same as with the carry as a constant.
    begin = begun["lstm_0"]["h"], begun["lstm_0"]["c"]
    alone = step(nn.by_hand, nn.serial(nn.LSTM(HIDDEN), nn.last))
    _, _, expected = alone({}, nn.Data(nn.Sequences(x, begin=begin), batch.y))
    chex.assert_trees_all_close(d_params, expected, rtol=1e-10)


# Both directions.


@every
def test_bidirectional_is_one_forward_and_one_backward_side_by_side(kind):
    x = nn.Sequences(normal(BATCH, TIME, IN), jnp.array([6, 0, 1, 4]))
    model = nn.bidirectional(kind(HIDDEN))
    params, state = made(model, x)
    y, _ = model.apply(params, state, x)
    forward, _ = kind(HIDDEN).apply(params["forward"], {}, x)
    backward, _ = kind(HIDDEN, reverse=True).apply(params["backward"], {}, x)
    chex.assert_trees_all_equal(y.x, jnp.concatenate([forward.x, backward.x], axis=-1))
    chex.assert_trees_all_equal(y.end, (forward.end, backward.end))
    assert not np.array_equal(params["forward"]["w_x"], params["backward"]["w_x"])


@every
def test_bidirectional_takes_a_begin_for_each(kind, x64):
    x = normal(BATCH, TIME, IN, dtype=np.float64)
    carry = lambda seed: (
        tuple(normal(BATCH, HIDDEN, seed=seed + i, dtype=np.float64) for i in range(2))
        if kind is nn.LSTM
        else normal(BATCH, HIDDEN, seed=seed, dtype=np.float64)
    )
    given = nn.Sequences(x, jnp.array([6, 0, 1, 4]), begin=(carry(1), carry(5)))
    model = nn.bidirectional(kind(HIDDEN))
    params, state = made(model, given)
    (y, _), residuals = model.fwd(params, state, given)
    d_params, dx = model.bwd(residuals, y._replace(lengths=None))

    def half_square(params, x, begin):
        y, _ = model.apply(params, state, given._replace(x=x, begin=begin))
        return sum((a * a).sum() for a in jax.tree.leaves((y.x, y.end))) / 2

    with nn.plain():
        expected = jax.grad(half_square, (0, 1, 2))(params, given.x, given.begin)
    chex.assert_trees_all_close((d_params, dx.x, dx.begin), expected, rtol=1e-10, atol=1e-12)


# In models.


def test_a_classifier_of_sequences_has_one_gradient_on_both_roads(x64):
    model = nn.serial(
        embed=nn.each_step(nn.Embed(7, 4)),
        tower=nn.serial(nn.bidirectional(nn.GRU(3)), nn.LSTM(HIDDEN, checkpoint=2), nn.RNN(4, reverse=True)),
        head=nn.serial(nn.parallel(nn.last, nn.mean_over_time), nn.concatenate, nn.Dense(2)),
    )
    random = np.random.default_rng(0)
    ids = jnp.asarray(random.integers(0, 7, (BATCH, TIME)), jnp.int32)
    batch = nn.Data(nn.Sequences(ids, jnp.array([6, 0, 1, 4])), jnp.array([0, 1, 1, 0]))
    members = [made(model, batch.x, seed) for seed in (0, 1)]
    loss = nn.losses.cross_entropy
    hand = lambda params, state: nn.by_hand(model, loss, strict=True)(params, {}, state, batch)
    auto = lambda params, state: nn.by_autodiff(model, loss)(params, {}, state, batch)
    one = jax.jit(auto)
    expected = [one(*member) for member in members]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    got = jax.jit(jax.vmap(hand))(*stacked)
    chex.assert_trees_all_close(got, jax.tree.map(lambda *leaves: jnp.stack(leaves), *expected), rtol=1e-9)
    assert "hand" in str(nn.summary(model, batch.x))
    assert "auto" not in str(nn.summary(model, batch.x))


def test_compare_finds_that_the_roads_agree():
    model = nn.serial(nn.LSTM(HIDDEN), nn.GRU(4, recurrent_bias=True), nn.last, nn.Dense(1))
    batch = nn.Data(normal(BATCH, TIME, IN), normal(BATCH, 1, seed=1))
    ts = nn.trainer(model, nn.losses.mse, nn.sgd(0.1)).init(jax.random.key(0), batch.x)
    assert nn.compare(model, nn.losses.mse, ts, batch).agrees


def test_summary_counts_what_every_step_multiplies():
    rows = nn.summary(nn.serial(nn.LSTM(8), nn.last, nn.Dense(2)), jnp.zeros((1, 10, 3))).rows
    assert [row.path for row in rows] == ["lstm_0", "last_0", "dense_0"]
    assert [row.parameters for row in rows] == [4 * (8 * (8 + 3) + 8), 0, 18]
    assert [row.multiply_adds for row in rows] == [10 * 4 * 8 * (8 + 3), 0, 16]


def test_names_are_what_the_layers_are():
    model = nn.serial(nn.RNN(2), nn.bidirectional(nn.LSTM(2)), nn.GRU(2), nn.mean_over_time)
    assert repr(model) == "serial(RNN(2), bidirectional(LSTM(2)), GRU(2), mean_over_time)"
    params, _ = made(model, normal(BATCH, TIME, IN))
    assert list(params) == ["rnn_0", "bidirectional_0", "gru_0", "mean_over_time_0"]
    assert "bidirectional_0/backward/w_h" in tree.named_leaves(params)


def test_gradients_by_jax_are_by_the_same_rule():
    """It is installed, so `jax.grad` runs it; forward-mode derivatives are those of the plain function."""
    x, layer = normal(BATCH, TIME, IN), nn.LSTM(HIDDEN)
    params, state = made(layer, x)
    f = lambda x: layer.apply(params, state, x)[0].sum()
    assert "custom_jvp" in str(jax.make_jaxpr(f)(x))
    along = lambda x: jax.jvp(f, (x,), (x,))[1]
    np.testing.assert_allclose(jax.jit(along)(x), jnp.vdot(jax.grad(f)(x), x), rtol=1e-4)
    with nn.plain():
        assert "custom_jvp" not in str(jax.make_jaxpr(f)(x))


# Refusals.


@every
def test_a_carry_of_another_batch_size_is_refused(kind):
    model = nn.serial(nn.Dense(IN), kind(HIDDEN, stateful=True))
    params, state = made(model, normal(BATCH, TIME, 2))
    with pytest.raises(nn.ShapeError) as error:
        model.apply(params, state, normal(2, TIME, 2))
    assert str(error.value) == (
        f"expected x of shape (4, time, in), because the carry in the state is (4, {HIDDEN}), of the batch for which "
        f"it was initialised; got (2, {TIME}, {IN})"
    )
    name = kind.__name__
    assert error.value.__notes__ == [
        f"  in {name.lower()}_0: {name}({HIDDEN}, stateful=True), input float32[2,{TIME},{IN}]",
        "  hint: initialise the state anew for other sequences",
    ]


@every
def test_a_begin_of_another_batch_size_is_refused(kind):
    model = nn.serial(kind(HIDDEN))
    params, state = made(model, normal(BATCH, TIME, IN))
    begin = (jnp.zeros((2, HIDDEN)),) * 2 if kind is nn.LSTM else jnp.zeros((2, HIDDEN))
    with pytest.raises(nn.ShapeError, match=r"expected h of shape \(4, 5\), .*; got \(2, 5\)\n  in .*_0: "):
        model.apply(params, state, nn.Sequences(normal(BATCH, TIME, IN), begin=begin))


def test_other_features_than_it_was_initialised_for_are_refused():
    model = nn.serial(nn.GRU(HIDDEN))
    params, state = made(model, normal(BATCH, TIME, IN))
    message = r"expected x of shape \(batch, time, 3\), because w_x is \(3, 15\); got \(4, 6, 2\)\n  in gru_0: GRU\(5\)"
    with pytest.raises(nn.ShapeError, match=message):
        model.apply(params, state, normal(BATCH, TIME, 2))


def test_an_input_without_time_is_refused():
    with pytest.raises(
        nn.ShapeError, match=r"x of shape \(batch, time, in\), because it is run over time; got \(4, 6\)"
    ):
        made(nn.RNN(2), normal(BATCH, TIME))


def test_lengths_of_another_batch_size_are_refused(unannotated):
    model = nn.serial(nn.LSTM(HIDDEN))
    x = normal(BATCH, TIME, IN)
    params, state = made(model, x)
    message = r"expected lengths of shape \(4,\), because x is \(4, 6, 3\); got \(3,\)\n  in lstm_0: LSTM\(5\)"
    with pytest.raises(nn.ShapeError, match=message):
        model.apply(params, state, nn.Sequences(x, jnp.array([1, 2, 3])))


def test_a_begin_that_is_no_carry_is_refused():
    x = normal(BATCH, TIME, IN)
    params, state = made(nn.LSTM(HIDDEN), x)
    with pytest.raises(
        TypeError, match=r"begin as a tuple \(h, c\), because that is the carry of LSTM\(5\); got Array"
    ):
        nn.LSTM(HIDDEN).apply(params, state, nn.Sequences(x, begin=jnp.zeros((BATCH, HIDDEN))))
    model = nn.bidirectional(nn.RNN(HIDDEN))
    params, state = made(model, x)
    with pytest.raises(
        TypeError, match="begin as a pair, because what runs backwards has a carry of its own; got Array"
    ):
        model.apply(params, state, nn.Sequences(x, begin=jnp.zeros((BATCH, HIDDEN))))


def test_a_begin_beside_a_state_is_refused():
    layer, x = nn.RNN(HIDDEN, stateful=True), normal(BATCH, TIME, IN)
    params, state = made(layer, x)
    message = r"expected no begin, because RNN\(5, stateful=True\) begins where it has ended before; got one"
    with pytest.raises(ValueError, match=message):
        layer.apply(params, state, nn.Sequences(x, begin=jnp.zeros((BATCH, HIDDEN))))


def test_what_runs_backwards_has_no_state(unannotated):
    with pytest.raises(ValueError, match="stateful=False, because what runs backwards begins at the end of a sequence"):
        nn.LSTM(2, reverse=True, stateful=True)
    with pytest.raises(ValueError, match=r"stateful=False, because .* got LSTM\(2, stateful=True\)"):
        nn.bidirectional(nn.LSTM(2, stateful=True))
    with pytest.raises(ValueError, match=r"reverse=False, because .* got GRU\(2, reverse=True\)"):
        nn.bidirectional(nn.GRU(2, reverse=True))
    with pytest.raises(TypeError, match=r"a recurrent layer, because it is run in both directions; got Dense\(2\)"):
        nn.bidirectional(nn.Dense(2))
