"""The summary of a model: its rows, its totals, its text, and that it computes and allocates nothing."""

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn

BLOCK = nn.residual(nn.Dense(8), nn.relu)
MODELS = {
    "dense": nn.Dense(3),
    "op": nn.relu,
    "serial": nn.serial(nn.Dense(8), nn.relu, nn.Dense(10, bias=False)),
    "nested": nn.serial(encoder=nn.serial(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.5)), head=nn.Dense(2)),
    "repeat": nn.serial(stem=nn.Dense(8), tower=nn.repeat(nn.serial(BLOCK, norm=nn.BatchNorm()), 4)),
    "repeat of repeat": nn.serial(nn.repeat(nn.serial(inner=nn.repeat(BLOCK, 3)), 2)),
    "parallel": nn.serial(nn.parallel(nn.Dense(16), nn.serial()), nn.concatenate, nn.BatchNorm()),
    "residual": nn.residual(nn.Dense(8)),
    "empty": nn.serial(),
}
X = jnp.zeros((2, 8))

each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def rows_of(model, x=X):
    return {row.path: row for row in nn.summary(model, x).rows}


@each_model
def test_totals_are_those_of_what_init_makes(model, key):
    params, state = jax.eval_shape(nn.layers.serial(model).init, key, X)
    summary = nn.summary(model, X)
    assert summary.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert summary.nbytes == sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    assert summary.state == sum(leaf.size for leaf in jax.tree.leaves(state))


def test_bytes_are_those_that_the_arrays_take(key):
    params, _ = nn.Dense(5, w_init=nn.initializers.zeros).init(key, X)
    assert nn.summary(nn.Dense(5), X).nbytes == sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert nn.summary(nn.Dense(5), jax.ShapeDtypeStruct(X.shape, jnp.bfloat16)).nbytes == 2 * (8 * 5 + 5)


@each_model
def test_rows_add_up_to_the_totals(model):
    summary = nn.summary(model, X)
    assert sum(row.parameters for row in summary.rows) == summary.parameters
    assert sum(row.nbytes for row in summary.rows) == summary.nbytes


def test_nothing_is_computed_because_layers_and_initialisers_see_tracers_only():
    seen = []

    def initializer(key, shape, dtype):
        seen.append(key)
        return jnp.zeros(shape, dtype)

    def function(x):
        seen.append(x)
        return x

    nn.summary(nn.serial(nn.Dense(5, w_init=initializer), function), X)
    assert len(seen) >= 3  # once for the outline of w, and twice for those of the function's output
    assert all(isinstance(x, jax.core.Tracer) for x in seen)


def test_a_model_far_larger_than_memory_can_be_summed_up():
    x = jax.ShapeDtypeStruct((32, 250_000), jnp.float32)
    summary = nn.summary(nn.serial(nn.Dense(250_000, bias=False), nn.relu, nn.Dense(250_000, bias=False)), x)
    assert (summary.parameters, summary.nbytes) == (125_000_000_000, 500_000_000_000)


def test_an_array_and_its_outline_give_the_same_summary():
    model = MODELS["nested"]
    assert nn.summary(model, X) == nn.summary(model, jax.ShapeDtypeStruct(X.shape, X.dtype))


def test_a_path_leads_through_all_named_layers_and_a_row_is_a_layer_without_others():
    assert list(rows_of(MODELS["nested"])) == ["encoder/dense_0", "encoder/batch_norm_0", "encoder/dropout_0", "head"]
    assert list(rows_of(MODELS["parallel"])) == [
        "parallel_0/dense_0",
        "parallel_0/serial_0",
        "concatenate_0",
        "batch_norm_0",
    ]


def test_rows_stand_in_the_order_in_which_layers_run_not_in_that_of_the_tree():
    many = nn.serial(*[nn.Dense(8)] * 11)
    assert [row.path for row in nn.summary(many, X).rows] == [f"dense_{i}" for i in range(11)]


@pytest.mark.parametrize("name", ["dense", "op", "residual", "empty"])
def test_a_model_that_is_one_layer_has_one_row_without_a_path(name):
    (row,) = nn.summary(MODELS[name], X).rows
    assert row.path == ""
    assert row.layer == nn.layers.serial(MODELS[name]).layers[0][1]


def test_the_output_is_that_of_the_layer_for_such_inputs():
    rows = rows_of(MODELS["parallel"], jax.ShapeDtypeStruct((5, 7, 8), jnp.bfloat16))
    outputs = {path: (row.output.shape, row.output.dtype) for path, row in rows.items()}
    assert outputs["parallel_0/dense_0"] == ((5, 7, 16), jnp.bfloat16)
    assert outputs["concatenate_0"] == ((5, 7, 24), jnp.bfloat16)


def test_copies_in_a_repeat_are_counted_and_their_parameters_taken_together():
    rows = rows_of(MODELS["repeat"])
    assert {path: row.copies for path, row in rows.items()} == {
        "stem": 1,
        "tower/residual_0/dense_0": 4,
        "tower/residual_0/relu_0": 4,
        "tower/norm": 4,
    }
    assert rows["tower/residual_0/dense_0"].parameters == 4 * (8 * 8 + 8)
    assert rows["tower/residual_0/dense_0"].output.shape == (2, 8)


def test_copies_in_a_repeat_of_a_repeat_multiply():
    row = rows_of(MODELS["repeat of repeat"])["repeat_0/inner/dense_0"]
    assert (row.copies, row.parameters) == (6, 6 * (8 * 8 + 8))


def test_hand_tells_whether_the_backward_is_written_by_hand():
    def double(x):
        return 2 * x

    rows = rows_of(nn.serial(nn.Dense(4), double, nn.BatchNorm(), nn.relu))
    assert {path: row.hand for path, row in rows.items()} == {
        "dense_0": True,
        "double_0": False,
        "batch_norm_0": True,
        "relu_0": True,
    }


def test_a_shape_that_cannot_be_meant_is_refused_with_its_place():
    with pytest.raises(nn.ShapeError) as caught:
        nn.summary(nn.serial(encoder=nn.serial(nn.Dense(4), nn.residual(nn.Dense(5)))), X)
    places = [note.split(":")[0] for note in caught.value.__notes__ if note.startswith("  in ")]
    assert places == ["  in residual_0", "  in encoder"]


def test_printed_it_is_this_table():
    def double(x):
        return 2 * x

    model = nn.serial(stem=nn.serial(nn.Dense(64), nn.BatchNorm()), tower=nn.repeat(nn.residual(nn.Dense(64)), 3))
    model = nn.serial(model, double, head=nn.Dense(10, bias=False))
    assert str(nn.summary(model, jax.ShapeDtypeStruct((32, 784), jnp.float32))) == (
        """\
path                        layer                           output          parameters       size  backward
--------------------------  ------------------------------  --------------  ----------  ---------  --------
serial_0/stem/dense_0       Dense(64)                       float32[32,64]      50,240  196.2 KiB  hand
serial_0/stem/batch_norm_0  BatchNorm()                     float32[32,64]         128      512 B  hand
serial_0/tower              repeat(residual(Dense(64)), 3)  float32[32,64]      12,480   48.8 KiB  hand
double_0                    double                          float32[32,64]           0        0 B  auto
head                        Dense(10, bias=False)           float32[32,10]         640    2.5 KiB  hand
63,488 parameters, 248.0 KiB; state: 128 values"""
    )


def test_copies_are_printed_before_the_layer():
    assert "tower/residual_0/dense_0  4 x Dense(8)     float32[2,8]" in str(nn.summary(MODELS["repeat"], X))
