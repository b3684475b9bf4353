"""That the benchmark of hand-written backwards has every op, and says what it sees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from benchmarks import hand_vs_autodiff
from benchmarks._rows_of_ops import GROUPS, Row, normal
from jaxnn.ops import _correlation

ROWS = [row for make in GROUPS.values() for row in make(True)]


OPS = [op for of in (nn.ops, nn.losses) for name in of.__all__ if isinstance(op := getattr(of, name), nn.Op)]
INSTALLED = {
    "adaptive_max_pool", "attention", "batch_norm", "gelu_tanh", "global_max_pool", "gru", "layer_norm", "linear",
    "linear_cross_entropy", "lstm", "max_pool", "prelu", "rnn", "soft_vote", "squareplus", "swiglu",
}  # fmt: skip


def test_no_rule_is_installed_that_is_not_named_here():
    """One is installed where the benchmark has shown that it wins; of a convolution the maps are, `conv_ops.py`."""
    assert {op.name for op in OPS if op.installed} == INSTALLED
    of_convolutions = _correlation.correlate, _correlation.transpose, _correlation.weigh
    assert all(op.installed for op in of_convolutions)


def test_every_op_that_is_written_by_hand_has_one_row():
    ops = [row.op for row in ROWS]
    assert len(set(ops)) == len(ops)
    assert set(ops) == {op for op in OPS if op.hand}


@pytest.mark.parametrize("group", GROUPS)
def test_a_quick_row_is_as_a_full_one_of_fewer_numbers(group):
    """They are the same ops with as many arrays of as many axes; a full one has more in them."""
    for quick, full in zip(GROUPS[group](True), GROUPS[group](False), strict=True):
        assert quick.op is full.op
        few, many = (jax.eval_shape(functools.partial(row.arrays, 0)) for row in (quick, full))
        assert [a.ndim for a in jax.tree.leaves(few)] == [a.ndim for a in jax.tree.leaves(many)]
        assert sum(a.size for a in jax.tree.leaves(few)) < sum(a.size for a in jax.tree.leaves(many))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.op.name)
def test_both_roads_return_the_same_shapes(row):
    arrays = row.arrays(0)
    dy = jax.eval_shape(functools.partial(row.op.plain, **row.settings), *arrays)
    hand, auto = (jax.eval_shape(both, arrays, dy) for both in hand_vs_autodiff.roads(row).values())
    assert hand == auto


def test_a_loop_computes_what_its_last_call_does():
    row = Row(nn.ops.tanh, (normal(3),))
    (both, _), calls = hand_vs_autodiff.roads(row).values(), [row.arrays(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *calls)
    last = jax.jit(hand_vs_autodiff.in_scan(both))(stacked, stacked[0])
    expected = jax.jit(both)(calls[-1], calls[-1][0])
    assert jax.tree.map(lambda a, b: bool(abs(a - b).max() < 1e-6), last, expected) == (True, [True])


def seen(hand, auto, *, installed):
    by = hand_vs_autodiff
    in_scan = {by.HAND + by.IN_SCAN: hand, by.JAX + by.IN_SCAN: auto}
    return {
        "microseconds": in_scan | {by.HAND: hand, by.JAX: auto},
        "temporary bytes": {by.HAND: 2048, by.JAX: None},
        "installed": installed,
    }


def test_a_rule_wins_by_the_median_and_by_the_least_or_not_at_all():
    wins = lambda hand, auto: hand_vs_autodiff.wins(seen(hand, auto, installed=False))
    assert wins([100.0, 110.0, 100.0], [106.0, 120.0, 105.0])
    assert not wins([100.0, 110.0, 100.0], [104.0, 120.0, 108.0])  # the least times are 100 and 104
    assert not wins([90.0, 110.0, 100.0], [110.0, 112.0, 102.0])  # the middle of the ratios is 1.02
    assert not wins([100.0] * 3, [50.0] * 3)


def test_the_table_and_the_summary_name_what_is_installed_for_nothing():
    ops = {
        "good": seen([1.0, 1.0], [2.0, 2.0], installed=True),
        "idle": seen([2.0, 2.0], [1.0, 1.0], installed=True),
        "fast": seen([1.0, 1.0], [3.0, 3.0], installed=False),
    }
    head, good, idle, _ = hand_vs_autodiff.table({"workload": "some", "ops": ops}).splitlines()
    assert head.split()[0] == "some"
    assert " ".join(good.split()) == "good 1.0 2.00 (2.00 .. 2.00) 2.00 2.00 (2.00 .. 2.00) 2 - yes yes"
    assert idle.split()[-2:] == ["no", "yes"]
    assert hand_vs_autodiff.summary({"some": {"ops": ops}}) == (
        "installed, but does not win: idle\nwins, but is not installed: fast"
    )


def test_what_is_not_the_same_is_not_timed():
    with pytest.raises(ValueError, match=r"expected what JAX derives, up to rounding; got a difference of .* in tanh"):
        hand_vs_autodiff.check([np.ones(2)], [np.zeros(2)], "tanh")
