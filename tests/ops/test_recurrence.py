"""Recurrent cells: against PyTorch, flax and loops in NumPy, what lies beyond the lengths, memory, and refusals."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops, tree

BATCH, TIME, IN, HIDDEN = 5, 6, 3, 4
LENGTHS = np.array([6, 1, 4, 2, 6])


@dataclass(frozen=True)
class Cell:
    """One of them, how many gates and carries it has, and what it is elsewhere."""

    op: Any
    gates: int
    torch: str
    flax: Any
    carries: int = 1
    recurrent_bias: bool = False

    def __repr__(self):
        return f"{self.op}{'_with_recurrent_bias' * self.recurrent_bias}"


CELLS = [
    Cell(ops.rnn, 1, "RNN", linen.SimpleCell),
    Cell(ops.lstm, 4, "LSTM", linen.OptimizedLSTMCell, carries=2),
    Cell(ops.gru, 3, "GRU", linen.GRUCell),
    Cell(ops.gru, 3, "GRU", linen.GRUCell, recurrent_bias=True),
]
every = pytest.mark.parametrize("cell", CELLS, ids=repr)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])


@dataclass(frozen=True)
class Drawn:
    """What a cell is run over, and the cotangents of what it puts out."""

    x: Any
    begin: tuple
    weights: tuple  # w_x, w_h, b and, of a GRU, b_hn or None
    dy: Any
    d_end: tuple

    @property
    def arrays(self):
        return self.x, *self.begin, *self.weights


def drawn(cell, seed=0, time=TIME, dtype=np.float64):
    random = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape).astype(dtype))
    columns = cell.gates * HIDDEN
    weights = normal(IN, columns), normal(HIDDEN, columns), normal(columns)
    if cell.op is ops.gru:
        weights = *weights, normal(HIDDEN) if cell.recurrent_bias else None
    carry = lambda: tuple(normal(BATCH, HIDDEN) for _ in range(cell.carries))
    return Drawn(normal(BATCH, time, IN), carry(), weights, normal(BATCH, time, HIDDEN), carry())


def by_hand(cell, arrays, lengths, dy, d_end, **settings):
    """y, the carry at the end as a tuple, and the cotangent of every array but the lengths."""
    end = d_end[0] if cell.carries == 1 else d_end

    @jax.jit
    def both(arrays, lengths, dy, end):
        (y, last), residuals = cell.op.fwd(*arrays, lengths, **settings)
        return y, last, cell.op.bwd(residuals, (dy, end), **settings)

    y, last, d_arrays = both(arrays, lengths, dy, end)
    assert d_arrays[-1] is None
    return y, (last,) if cell.carries == 1 else last, d_arrays[:-1]


def close(got, expected, rtol=1e-11):
    chex.assert_trees_all_close(jax.tree.map(np.asarray, got), expected, rtol=rtol, atol=1e-12)


# What it is elsewhere.


def biases_of_torch(cell, weights):
    """Two biases whose sum is b; but in the second of a GRU b_hn stands by itself."""
    _, _, b, *b_hn = weights
    second = np.random.default_rng(2).normal(size=b.shape)
    if cell.op is ops.gru:
        second[2 * HIDDEN :] = 0
    first = np.asarray(b) - second
    if cell.recurrent_bias:
        second[2 * HIDDEN :] = b_hn[0]
    return first, second


@every
@pytest.mark.oracle
def test_both_directions_of_packed_sequences_are_those_of_pytorch(cell, x64):
    torch = pytest.importorskip("torch")
    given = [drawn(cell, seed) for seed in (0, 1)]  # forward and backward, of which the first has x
    tensor = lambda a: torch.tensor(np.asarray(a), requires_grad=True)
    network = getattr(torch.nn, cell.torch)(IN, HIDDEN, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for suffix, direction in zip(("", "_reverse"), given, strict=True):
            w_x, w_h, *_ = direction.weights
            b_ih, b_hh = biases_of_torch(cell, direction.weights)
            for name, value in (("weight_ih", w_x.T), ("weight_hh", w_h.T), ("bias_ih", b_ih), ("bias_hh", b_hh)):
                getattr(network, f"{name}_l0{suffix}").copy_(torch.tensor(np.asarray(value)))

    x = tensor(given[0].x)
    begin = [tensor(np.stack(pair)) for pair in zip(*(direction.begin for direction in given), strict=True)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    y, end = network(packed, begin[0] if cell.carries == 1 else tuple(begin))
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=TIME)
    end = (end,) if cell.carries == 1 else end
    dy = np.concatenate([direction.dy for direction in given], axis=-1)
    d_end = [np.stack(pair) for pair in zip(*(direction.d_end for direction in given), strict=True)]
    total = (y * torch.tensor(dy)).sum()
    for carry, d in zip(end, d_end, strict=True):
        total = total + (carry * torch.tensor(d)).sum()
    total.backward()

    dx = 0
    for i, (suffix, direction) in enumerate(zip(("", "_reverse"), given, strict=True)):
        arrays = given[0].x, *direction.begin, *direction.weights
        got, ends, (dx_i, *d) = by_hand(
            cell, arrays, jnp.asarray(LENGTHS), direction.dy, direction.d_end, reverse=bool(i)
        )
        dx = dx + dx_i
        close(got, y.detach().numpy()[..., i * HIDDEN : (i + 1) * HIDDEN])
        close(ends, tuple(carry[i].detach().numpy() for carry in end))
        d_begin, (dw_x, dw_h, db, *db_hn) = d[: cell.carries], d[cell.carries :]
        close(d_begin, [a.grad.numpy()[i] for a in begin])
        of = lambda name, suffix=suffix: getattr(network, f"{name}_l0{suffix}").grad.numpy()
        close((dw_x.T, dw_h.T, db), (of("weight_ih"), of("weight_hh"), of("bias_ih")))
        if cell.recurrent_bias:
            close(db_hn[0], of("bias_hh")[2 * HIDDEN :])
    close(dx, x.grad.numpy())


def flax_params(cell, weights):
    """The parameters of flax's cell: a kernel for each gate, with biases where it has them."""
    w_x, w_h, b, *b_hn = (None if w is None else np.asarray(w) for w in weights)
    if cell.op is ops.rnn:
        return {"i": {"kernel": w_x, "bias": b}, "h": {"kernel": w_h}}
    split = partial(np.split, indices_or_sections=cell.gates, axis=-1)
    names = "ifgo" if cell.op is ops.lstm else "rzn"
    gates = {n: (k_x, k_h, b_) for n, k_x, k_h, b_ in zip(names, split(w_x), split(w_h), split(b), strict=True)}
    if cell.op is ops.lstm:
        of_x = {f"i{n}": {"kernel": k_x} for n, (k_x, _, _) in gates.items()}
        return of_x | {f"h{n}": {"kernel": k_h, "bias": b_} for n, (_, k_h, b_) in gates.items()}
    of_x = {f"i{n}": {"kernel": k_x, "bias": b_} for n, (k_x, _, b_) in gates.items()}
    of_h = {f"h{n}": {"kernel": k_h} for n, (_, k_h, _) in gates.items()}
    of_h["hn"]["bias"] = np.zeros(HIDDEN) if b_hn[0] is None else b_hn[0]
    return of_x | of_h


@every
@both_ways
def test_masked_sequences_are_those_of_flax(cell, reverse, x64, loose):
    given = drawn(cell)
    module = linen.RNN(cell.flax(HIDDEN, param_dtype=jnp.float64), return_carry=True, reverse=reverse, keep_order=True)
    lengths = jnp.asarray(LENGTHS)
    within = jnp.arange(TIME)[None, :, None] < lengths[:, None, None]
    # flax's carry of an LSTM is (c, h), and beyond the lengths it puts out what it happens to compute.
    order = lambda carry: carry[0] if cell.carries == 1 else carry[::-1]

    @jax.jit
    def theirs(params, x, begin):
        end, y = module.apply({"params": {"cell": params}}, x, initial_carry=order(begin), seq_lengths=lengths)
        return jnp.where(within, y, 0), (end,) if cell.carries == 1 else end[::-1]

    params = jax.tree.map(jnp.asarray, flax_params(cell, given.weights))
    (y, end), backward = jax.vjp(theirs, params, given.x, given.begin)
    d_params, dx, d_begin = backward((given.dy, given.d_end))

    got, ends, (d_x, *d) = by_hand(cell, given.arrays, lengths, given.dy, given.d_end, reverse=reverse)
    close((got, ends, d_x, tuple(d[: cell.carries])), (y, end, dx, d_begin))
    d_weights = jax.tree.map(np.asarray, flax_params(cell, d[cell.carries :]))
    if cell.op is ops.gru and not cell.recurrent_bias:
        d_weights["hn"]["bias"] = d_params["hn"]["bias"]  # which we do not have
    close(d_weights, jax.tree.map(np.asarray, d_params))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def keras_lstm(x, h, c, kernel, recurrent_kernel, bias):
    """A loop over time as Keras describes its LSTM: gates in the order i, f, c, o."""
    ys = []
    for x_t in np.moveaxis(x, 1, 0):
        i, f, candidate, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys, 1)


def keras_gru(x, h, kernel, recurrent_kernel, bias):
    """A loop over time as Keras describes its GRU with reset_after: the order z, r, h, and two rows of bias."""
    ys = []
    for x_t in np.moveaxis(x, 1, 0):
        (x_z, x_r, x_h), (h_z, h_r, h_h) = (
            np.split(a @ w + b, 3, axis=-1) for a, w, b in zip((x_t, h), (kernel, recurrent_kernel), bias, strict=True)
        )
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
        ys.append(h)
    return np.stack(ys, 1)


def test_lstm_takes_the_weights_of_keras_as_they_are(x64):
    given = drawn(CELLS[1])
    y, _ = ops.lstm(*given.arrays)
    close(y, keras_lstm(*map(np.asarray, given.arrays)))


def test_gru_takes_the_weights_of_keras_in_another_order(x64):
    given = drawn(CELLS[3])
    w_x, w_h, b, b_hn = map(np.asarray, given.weights)
    of_keras = lambda w: np.concatenate([w[..., HIDDEN : 2 * HIDDEN], w[..., :HIDDEN], w[..., 2 * HIDDEN :]], axis=-1)
    bias = of_keras(b), np.concatenate([np.zeros(2 * HIDDEN), b_hn])
    expected = keras_gru(np.asarray(given.x), np.asarray(given.begin[0]), of_keras(w_x), of_keras(w_h), bias)
    close(ops.gru(*given.arrays)[0], expected)


# Lengths.


def with_lengths(cell, given, lengths, **settings):
    return by_hand(cell, given.arrays, jnp.asarray(lengths), given.dy, given.d_end, **settings)


@every
@both_ways
def test_a_sequence_of_length_0_ends_as_it_begins(cell, reverse, x64):
    given = drawn(cell)
    y, end, (dx, *d) = with_lengths(cell, given, np.zeros(BATCH, int), reverse=reverse)
    close(end, given.begin)
    close(tuple(d[: cell.carries]), given.d_end)
    assert not any(np.asarray(a).any() for a in (y, dx, *d[cell.carries :]) if a is not None)


@every
@both_ways
def test_a_sequence_of_length_1_is_one_step(cell, reverse, x64):
    given = drawn(cell)
    y, end, _ = with_lengths(cell, given, np.ones(BATCH, int), reverse=reverse)
    alone, ends = cell.op(given.x[:, :1], *given.begin, *given.weights, reverse=not reverse)
    close(y[:, :1], alone)
    close(end, (ends,) if cell.carries == 1 else ends)
    assert not np.asarray(y[:, 1:]).any()


@every
@both_ways
@pytest.mark.parametrize("checkpoint", [None, 4])
def test_what_lies_beyond_the_lengths_changes_nothing_not_even_a_nan(cell, reverse, checkpoint, x64):
    given, lengths = drawn(cell), np.array([3, 0, 5, 1, 6])
    beyond = (np.arange(TIME)[None, :] >= lengths[:, None])[..., None]
    spoilt = lambda a: jnp.where(beyond, jnp.nan, a)
    other = Drawn(spoilt(given.x), given.begin, given.weights, spoilt(given.dy), given.d_end)
    settings = {"reverse": reverse, "checkpoint": checkpoint}
    got, same = (with_lengths(cell, each, lengths, **settings) for each in (given, other))
    chex.assert_trees_all_equal(got, same)
    chex.assert_tree_all_finite(got)

    # Nor does it for JAX's gradient of the plain function.
    def total(x, *weights):
        y, _ = cell.op.plain(x, *given.begin, *weights, jnp.asarray(lengths), **settings)
        return (y * y).sum()

    gradient = jax.jit(jax.grad(total, (0, 1, 2, 3)))
    chex.assert_trees_all_equal(*(gradient(each.x, *given.weights) for each in (given, other)))


@every
@both_ways
def test_each_sequence_is_as_it_is_alone(cell, reverse, x64):
    """Batch independence, and lengths as if each sequence had been cut by itself."""
    given = drawn(cell)
    y, end, (dx, *_) = with_lengths(cell, given, LENGTHS, reverse=reverse)
    run = lambda x, begin, dy, d_end: by_hand(cell, (x, *begin, *given.weights), None, dy, d_end, reverse=reverse)
    for i in (1, 2):
        own = slice(i, i + 1)
        alone = run(
            given.x[own, : LENGTHS[i]],
            tuple(a[own] for a in given.begin),
            given.dy[own, : LENGTHS[i]],
            tuple(a[own] for a in given.d_end),
        )
        close(y[own, : LENGTHS[i]], np.asarray(alone[0]))
        close(tuple(a[own] for a in end), tuple(map(np.asarray, alone[1])))
        close(dx[own, : LENGTHS[i]], np.asarray(alone[2][0]))


# Chunks, cotangents that are absent, narrow numbers, memory.


@every
def test_a_cotangent_that_is_absent_is_0(cell, x64):
    given = drawn(cell)
    nothing = (None,) * cell.carries
    zeros = tuple(map(jnp.zeros_like, given.d_end))
    run = lambda dy, d_end: by_hand(cell, given.arrays, None, dy, d_end)[2]
    close(run(given.dy, nothing), tuple(map(_array, run(given.dy, zeros))))
    close(run(None, given.d_end), tuple(map(_array, run(jnp.zeros_like(given.dy), given.d_end))))


def _array(a):
    return None if a is None else np.asarray(a)


def test_lstm_takes_no_cotangent_of_its_end_at_all(x64):
    given = drawn(CELLS[1])
    _, residuals = ops.lstm.fwd(*given.arrays)
    close(ops.lstm.bwd(residuals, (given.dy, None)), ops.lstm.bwd(residuals, (given.dy, (None, None))))


@every
def test_bfloat16_carries_float32(cell):
    """With the state in bfloat16, a small step would be lost in every sum: 256 + 1 is 256."""
    given = drawn(cell, time=64, dtype=np.float32)
    wide = cell.op(*given.arrays)
    narrow = cell.op(*jax.tree.map(lambda a: a.astype(jnp.bfloat16), given.arrays))
    assert narrow[0].dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(narrow[1]))
    np.testing.assert_allclose(narrow[0].astype(jnp.float32), wide[0], atol=0.15)


@every
def test_no_more_is_remembered_than_by_jax(cell):
    given = drawn(cell, time=32, dtype=np.float32).arrays
    ours = jax.eval_shape(lambda *arrays: cell.op.fwd(*arrays)[1], *given)
    jaxs = jax.eval_shape(lambda *arrays: jax.vjp(cell.op.plain, *arrays)[1], *given)
    assert tree.nbytes(ours) < 0.7 * tree.nbytes(jaxs)


@every
def test_chunks_take_the_memory_of_long_sequences_away(cell):
    given = drawn(cell, time=1024, dtype=np.float32)

    def memory(checkpoint):
        def both(arrays, dy):
            (y, _), residuals = cell.op.fwd(*arrays, checkpoint=checkpoint)
            end = (None,) * cell.carries if cell.carries > 1 else None
            return y, cell.op.bwd(residuals, (dy, end), checkpoint=checkpoint)

        return jax.jit(both).lower(given.arrays, given.dy).compile().memory_analysis().temp_size_in_bytes

    # Of a plain RNN no more is remembered than h, which is the output too: there is little to take away.
    assert memory(32) < (1 if cell.gates == 1 else 0.5) * memory(None)


# The numbers of the catalogue.


def test_RNN_1_is_tanh_of_x_and_h_and_bias(x64):
    given = drawn(CELLS[0])
    (w_x, w_h, b), (h,) = map(np.asarray, given.weights), map(np.asarray, given.begin)
    for t in range(TIME):
        h = np.tanh(np.asarray(given.x)[:, t] @ w_x + h @ w_h + b)
        close(ops.rnn(*given.arrays)[0][:, t], h)


def test_RNN_2_an_lstm_of_4_on_3_has_128_parameters():
    params, _ = nn.LSTM(4).init(jax.random.key(0), jnp.zeros((2, 5, 3)))
    x, h = 3, 4
    assert tree.count(params) == 4 * (h * (h + x) + h) == 128


def test_RNN_3_a_gru_of_4_on_3_has_96_parameters():
    x, h = 3, 4
    sizes = {bias: tree.count(nn.GRU(h, recurrent_bias=bias).init(jax.random.key(0), jnp.zeros((2, 5, x)))[0])
             for bias in (False, True)}  # fmt: skip
    assert sizes[False] == 3 * (h * (h + x) + h) == 96
    assert sizes[True] == 96 + h


def reach(layer, time=50, features=16):
    """How large the gradient of the last output is at the first step, against that at the last."""
    x = jax.random.normal(jax.random.key(1), (8, time, features))
    params, state = layer.init(jax.random.key(0), x)
    dx = jax.grad(lambda x: (nn.last(layer.apply(params, state, x)[0]) ** 2).sum())(x)
    size = jnp.sqrt((dx * dx).sum((0, 2)))
    return float(size[0] / size[-1])


def test_RNN_4_the_gradient_of_a_tanh_network_fades_and_that_of_an_lstm_less():
    rnn, remembering, forgetting = map(reach, (nn.RNN(16), nn.LSTM(16), nn.LSTM(16, forget_bias=-1.0)))
    assert rnn < 1e-3
    assert remembering > 3 * rnn
    assert forgetting < 1e-3 * remembering


# Refusals.


def lstm_arrays(**others):
    given = dict(zip(("x", "h", "c", "w_x", "w_h", "b", "lengths"), (*drawn(CELLS[1]).arrays, None), strict=True))
    return tuple((given | others).values())


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"x": jnp.zeros((5, 6, 2))}, r"x of shape \(batch, time, 3\), because w_x is \(3, 16\); got \(5, 6, 2\)"),
        ({"x": jnp.zeros((6, 3))}, r"x of shape \(batch, time, 3\), because w_x is \(3, 16\); got \(6, 3\)"),
        ({"h": jnp.zeros((2, 4))}, r"h of shape \(5, 4\), because x is \(5, 6, 3\) and w_h \(4, 16\); got \(2, 4\)"),
        ({"c": jnp.zeros((5, 3))}, r"c of shape \(5, 4\), because x is \(5, 6, 3\) and w_h \(4, 16\); got \(5, 3\)"),
        ({"w_h": jnp.zeros((4, 12))}, r"w_h of shape \(hidden, 4 hidden\), because it makes the gates of h; got"),
        ({"w_x": jnp.zeros((3, 12))}, r"w_x of shape \(in, 16\), because w_h is \(4, 16\); got \(3, 12\)"),
        ({"b": jnp.zeros(4)}, r"b of shape \(16,\), because w_h is \(4, 16\); got \(4,\)"),
        ({"lengths": jnp.ones(4, jnp.int32)}, r"lengths of shape \(5,\), because x is \(5, 6, 3\); got \(4,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(others, message, unannotated, x64):
    with pytest.raises(nn.ShapeError, match="^expected " + message):
        ops.lstm(*lstm_arrays(**others))


def test_a_row_without_features_is_told_of_the_axis(unannotated):
    one = jnp.ones((1, 1))
    with pytest.raises(nn.ShapeError) as error:
        ops.rnn(jnp.ones((2, 5)), jnp.zeros((2, 1)), one, one, jnp.zeros(1))
    assert "  hint: a single feature is an axis too: x[..., None]" in error.value.__notes__


def test_a_recurrent_bias_that_does_not_fit_is_refused(unannotated, x64):
    *arrays, _ = drawn(CELLS[3]).arrays
    with pytest.raises(nn.ShapeError, match=r"b_hn of shape \(4,\), because w_h is \(4, 12\); got \(12,\)"):
        ops.gru(*arrays, jnp.zeros(12))
    with pytest.raises(TypeError, match="x and b_hn of one dtype, because they are added up; got float64 and float32"):
        ops.gru(*arrays, jnp.zeros(4, jnp.float32))


@pytest.mark.parametrize(
    ("others", "error", "message"),
    [
        (
            {"x": jnp.zeros((5, 6, 3), jnp.int32)},
            TypeError,
            "floating x, because it is weighed .* got int32",
        ),
        ({"x": jnp.zeros((5, 6, 3), jnp.float32)}, TypeError, "x and w_x of one dtype, .* got float32 and float64"),
        ({"lengths": jnp.ones(5)}, TypeError, "integer lengths, because they count steps; got float"),
        ({"lengths": jnp.full(5, 7)}, ValueError, r"lengths from 0 to 6, because x is \(5, 6, 3\); got .* from 7 to 7"),
        ({"lengths": jnp.full(5, -1)}, ValueError, "lengths from 0 to 6, .* got lengths from -1 to -1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(others, error, message, unannotated, x64):
    with pytest.raises(error, match="^expected " + message):
        ops.lstm(*lstm_arrays(**others))


@pytest.mark.parametrize("checkpoint", [0, -2, 2.0])
def test_a_chunk_of_no_steps_is_refused(checkpoint, unannotated, x64):
    with pytest.raises(ValueError, match="a checkpoint of at least 1, because it is the length of a chunk; got"):
        ops.lstm(*lstm_arrays(), checkpoint=checkpoint)


@pytest.mark.parametrize("op", [ops.last, ops.mean_over_time], ids=repr)
def test_of_no_steps_nothing_stands_for_all(op, unannotated):
    with pytest.raises(nn.ShapeError, match=r"at least one step, because one .* got \(2, 0, 3\)"):
        op(jnp.zeros((2, 0, 3)))
    with pytest.raises(TypeError, match=r"floating x, .* got int32: cast it first"):
        op(jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(nn.ShapeError, match=r"lengths of shape \(2,\), because x is \(2, 3\); got \(3,\)"):
        op(jnp.zeros((2, 3)), jnp.ones(3, jnp.int32))


# What stands for a sequence.


@pytest.mark.parametrize("op", [ops.last, ops.mean_over_time], ids=repr)
def test_what_stands_for_a_sequence_is_of_its_own_steps(op, x64):
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    lengths = np.array([5, 1, 0, 3])
    of_steps = {"last": lambda steps: steps[-1], "mean_over_time": lambda steps: steps.mean(0)}[op.name]
    expected = np.stack([of_steps(row[:n]) if n else np.zeros(3) for row, n in zip(x, lengths, strict=True)])
    beyond = (np.arange(5)[None, :] >= lengths[:, None])[..., None]
    spoilt = jnp.where(beyond, jnp.nan, jnp.asarray(x))
    y, residuals = op.fwd(spoilt, jnp.asarray(lengths))
    close(y, expected, rtol=1e-14)
    dx, _ = op.bwd(residuals, jnp.ones((4, 3)))
    steps = np.ones(4) if op is ops.last else lengths
    share = np.where(beyond, 0, 1 / np.maximum(steps, 1)[:, None, None])
    if op is ops.last:
        share = share * (np.arange(5)[None, :] == lengths[:, None] - 1)[..., None]
    close(dx, np.broadcast_to(share, x.shape), rtol=1e-14)


def test_the_mean_of_bfloat16_is_summed_in_float32():
    x = jnp.ones((1, 1000, 1), jnp.bfloat16)
    assert float(ops.mean_over_time(x)[0, 0]) == 1
    assert float(ops.mean_over_time(x, jnp.array([999]))[0, 0]) == 1
