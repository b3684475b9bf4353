"""What the benchmarks say about their workloads: how much is computed, and that it is what it is called."""

import math

import jax
import numpy as np
import pytest

import jaxnn as nn
from benchmarks import _train_keras, cnn, conv_ops, ensemble, gpt, recurrence, sweep, training
from benchmarks._geometries import GEOMETRIES


@pytest.mark.parametrize("make", [training.mlp_small, training.mlp, cnn.cnn, cnn.resnet])
def test_the_operations_of_a_workload_are_those_that_xla_counts(make):
    workload = make(quick=True)
    x = jax.ShapeDtypeStruct((workload.batch_size, *workload.data.x.shape[1:]), np.float32)
    params, state = jax.eval_shape(workload.jaxnn.init, jax.random.key(0), x)
    with nn.plain():
        forward = jax.jit(lambda *args: workload.jaxnn.apply(*args, train=True)[0]).lower(params, state, x)
    products = 2 * workload.batch_size * sum(workload.products)
    assert workload.operations == 3 * products - 2 * workload.batch_size * workload.products[0]
    # XLA leaves out what meets padding, and counts what is no product.
    np.testing.assert_allclose(forward.cost_analysis()["flops"], products, rtol=0.15)


def test_the_operations_of_gpt_are_its_products_but_of_scores_those_that_causality_leaves():
    workload = gpt.gpt(quick=True)
    x = jax.ShapeDtypeStruct(workload.data.x[: workload.batch_size].shape, np.int32)
    context, batch = x.shape[1], workload.batch_size
    of_scores = gpt.BLOCKS * 2 * gpt.WIDTH * context
    whole = nn.summary(workload.jaxnn, x).multiply_adds // batch
    assert sum(workload.products) == whole - of_scores * context + of_scores * (context + 1) // 2
    assert workload.operations == 3 * 2 * batch * sum(workload.products)


def test_adam_moves_seven_arrays_for_each_parameter():
    assert training.mlp_small(quick=True).moved == 7 * 4 * (65 * 32 + 33 * 10)


def of_flax(workload, x):
    shapes = jax.eval_shape(workload.flax().init, jax.random.key(0), x)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def of_nnx(workload, x):
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.eval_shape(lambda: workload.nnx(nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def of_equinox(workload, x):
    eqx = pytest.importorskip("equinox")
    model, _ = eqx.filter_eval_shape(lambda: eqx.nn.make_with_state(workload.equinox)(jax.random.key(0)))
    leaves = jax.tree.leaves(eqx.filter(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)))
    return sum(leaf.size for leaf in leaves)


def of_keras(workload, x):
    try:
        _train_keras.keras_on_jax()
    except ImportError as error:
        pytest.skip(str(error))
    return sum(math.prod(variable.shape) for variable in workload.keras().trainable_variables)


def of_pytorch(workload, x):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        return sum(weight.numel() for weight in workload.pytorch().parameters())


ORACLES = [pytest.param(count, marks=pytest.mark.oracle) for count in (of_equinox, of_keras, of_pytorch)]


@pytest.mark.parametrize("count", [of_flax, of_nnx, *ORACLES])
@pytest.mark.parametrize("make", [training.mlp_small, cnn.cnn, cnn.resnet, gpt.gpt])
def test_the_model_of_a_peer_has_as_many_parameters_as_ours(make, count, loose):
    workload = make(quick=True)
    x = jax.ShapeDtypeStruct((2, *workload.data.x.shape[1:]), workload.data.x.dtype)
    params, _ = jax.eval_shape(workload.jaxnn.init, jax.random.key(0), x)
    assert count(workload, x) == nn.tree.count(params)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_geometry_is_what_jaxnn_and_xla_compute(name):
    geometry = conv_ops.workload(name, quick=False)
    x, w, y = (jax.ShapeDtypeStruct(shape, np.float32) for shape in geometry.shapes)
    assert jax.eval_shape(conv_ops.ours(geometry), x, w) == y
    assert jax.eval_shape(conv_ops.xla(geometry), x, w) == y
    assert geometry.operations == 2 * y.size * w.size // geometry.features
    assert str(geometry).startswith(f"{name}: ")


@pytest.mark.parametrize("name", recurrence.WORKLOADS)
def test_the_operations_of_a_recurrence_are_three_times_those_of_its_forward(name):
    workload = recurrence.workload(name, quick=True)
    x = jax.ShapeDtypeStruct((workload.batch, workload.time, workload.features), np.float32)
    assert workload.operations == 3 * 2 * nn.summary(workload.layer, x).multiply_adds
    assert str(workload).startswith(f"{name}: {workload.kind}, batch 4, time 8")


def test_a_table_of_recurrence_has_a_row_for_each_contestant():
    result = {
        "workload": "lstm: of two",
        "microseconds": {"ours, by JAX": [1000.0, 2000.0], "PyTorch": [3000.0, 4000.0]},
        "programs": {"ours, by JAX": {"trace": 1.0, "compile": 2.0, "memory": 2**20}},
        "left out": {"equinox": "it is not there"},
        "limit": {
            "microseconds": [500.0, 500.0],
            "operations per second": [1e9, 1e9],
            "bytes per second": [1e9, 1e9],
        },
    }
    title, heads, ours, pytorch, limit, last, left_out = recurrence.table(result).splitlines()
    assert (title, heads.split()[0]) == ("lstm: of two", "ms")
    assert ours.split()[-1] == "1.00"
    assert pytorch.split()[:2] == ["PyTorch", "3.50"]
    assert "2.50 (2.00 .. 3.00)" in pytorch
    assert limit.startswith("limit")
    assert last == "ours, by JAX / limit 3.00 (2.00 .. 4.00), at 1.0 GFLOP/s and 1.0 GB/s"
    assert left_out == "left out: equinox, because it is not there"


def test_some_members_of_a_sweep_reach_from_one_end_to_the_other():
    full = sweep.mlp_small(quick=False)
    assert len(full.some) == sweep.TIMED
    assert (full.members[full.some[0]], full.members[full.some[-1]]) == ((0, 0), (15, 15))
    assert str(full).startswith("256 runs, 16 learning rates from 0.0001 to 0.1 with 16 seeds each, of mlp-small")


def test_members_of_a_sweep_are_the_same_runs_in_blocks_and_by_a_call_each():
    few = sweep.mlp_small(quick=True)
    alone, blocks = sweep.a_call_each(few), sweep.in_blocks(few, "vmap", jax.devices())
    np.testing.assert_allclose(blocks.run(), alone.run(), rtol=1e-4)
    assert (blocks.parts, alone.parts) == (4, 4)


def test_an_ensemble_is_the_same_all_at_once_and_in_blocks():
    few = ensemble.Bag(training.mlp_small(quick=True), 3)
    together, blocks = ensemble.in_one_program(few), ensemble.in_one_program(few, 2)
    np.testing.assert_allclose(blocks.run(), together.run(), rtol=1e-4)
    assert str(few).startswith("3 members on bootstrap samples, of mlp-small: 1437 examples")


RESULT = {
    "microseconds": {
        which: {
            "ours": [10.0, 20.0],
            "ours, in a scan": [11.0, 20.0],
            "XLA": [30.0, 30.0],
            "XLA, in a scan": [110.0],
            "PyTorch": [5.0, 10.0],
            "PyTorch, ch._last": [20.0, 10.0],
        }
        for which in conv_ops.VARIED
    },
    "limit": {"microseconds of arithmetic": [5.0, 5.0], "microseconds": [10.0, 8.0]},
}


def test_convolutions_are_compared_round_by_round_and_with_the_better_layout_of_pytorch():
    assert conv_ops.compared(RESULT, "by w") == {
        "ours / arithmetic": [2.0, 4.0],
        "ours / with memory": [1.0, 2.5],
        "scan / outside": [1.1, 1.0],
        "XLA / ours": [3.0, 1.5],
        "both in a scan": [10.0],
        "PyTorch / ours": [0.5, 0.5],
    }


def test_the_summary_names_the_worst_geometry():
    slower = {"microseconds": {which: seen | {"ours": [40.0, 40.0]} for which, seen in RESULT["microseconds"].items()}}
    lines = conv_ops.summary({"wide": RESULT, "odd": RESULT | slower}).splitlines()
    assert lines[0].split("  ")[0] == "over all geometries: mean, worst"
    assert "4.90, 8.00 odd" in lines[1]  # ours / arithmetic: of medians 3 and 8 their mean, and the larger
    assert "1.30, 0.75 odd" in lines[1]  # XLA / ours: of 2.25 and 0.75 the smaller
