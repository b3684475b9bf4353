"""What the benchmarks say about their workloads: how much is computed, and that it is what it is called."""

import cnn
import conv_ops
import jax
import numpy as np
import pytest
import sweep
import training
from _geometries import GEOMETRIES

import jaxnn as nn


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


def test_adam_moves_seven_arrays_for_each_parameter():
    assert training.mlp_small(quick=True).moved == 7 * 4 * (65 * 32 + 33 * 10)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_geometry_is_what_jaxnn_and_xla_compute(name):
    geometry = conv_ops.workload(name, quick=False)
    x, w, y = (jax.ShapeDtypeStruct(shape, np.float32) for shape in geometry.shapes)
    assert jax.eval_shape(conv_ops.ours(geometry), x, w) == y
    assert jax.eval_shape(conv_ops.xla(geometry), x, w) == y
    assert geometry.operations == 2 * y.size * w.size // geometry.features
    assert str(geometry).startswith(f"{name}: ")


def test_some_members_of_a_sweep_reach_from_one_end_to_the_other():
    full = sweep.mlp_small(quick=False)
    assert len(full.some) == sweep.TIMED
    assert (full.some[0], full.some[-1]) == ((0, 0), (15, 15))
    assert str(full).startswith("256 runs, 16 learning rates from 0.0001 to 0.1 with 16 seeds each, of mlp-small")


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
