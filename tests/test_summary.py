"""The summary of a model: its rows, its totals, its text, and that it computes and allocates nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive

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
CNN = nn.serial(nn.Conv(20, (3, 3)), nn.BatchNorm(), nn.relu, nn.MaxPool((2, 1)))

each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def double(x):
    return 2 * x


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


def test_members_of_an_ensemble_are_counted_and_their_parameters_taken_together():
    summary = nn.summary(nn.serial(vote=nn.Ensemble(nn.serial(nn.Dense(5), nn.relu), 3)), X)
    rows = {row.path: row for row in summary.rows}
    assert {path: row.copies for path, row in rows.items()} == {"vote/dense_0": 3, "vote/relu_0": 3}
    assert (rows["vote/dense_0"].parameters, summary.multiply_adds) == (3 * (8 * 5 + 5), 2 * 3 * 8 * 5)
    assert summary.activations == 4 * 2 * 3 * (5 + 5)


def test_multiply_adds_and_bytes_are_those_of_x_as_it_is_given():
    summaries = [nn.summary(MODELS["serial"], jnp.zeros((batch, 8))) for batch in (1, 32)]
    assert [summary.multiply_adds for summary in summaries] == [8 * 8 + 8 * 10, 32 * (8 * 8 + 8 * 10)]
    assert [summary.activations for summary in summaries] == [4 * (8 + 8 + 10), 32 * 4 * (8 + 8 + 10)]
    assert [summary.examples for summary in summaries] == [1, 32]


@each_model
def test_multiply_adds_and_activations_of_rows_add_up_to_the_totals(model):
    summary = nn.summary(model, X)
    assert sum(row.multiply_adds for row in summary.rows) == summary.multiply_adds
    assert sum(row.activations for row in summary.rows) == summary.activations


def test_costs_of_copies_are_taken_together():
    row = rows_of(MODELS["repeat of repeat"])["repeat_0/inner/dense_0"]
    assert (row.multiply_adds, row.activations) == (6 * 2 * 8 * 8, 6 * 2 * 8 * 4)
    row = rows_of(MODELS["repeat"])["tower/residual_0/dense_0"]
    assert (row.multiply_adds, row.activations) == (4 * 2 * 8 * 8, 4 * 2 * 8 * 4)


def test_activations_are_in_the_dtype_of_the_output():
    rows = rows_of(nn.serial(nn.Embed(10, 6), nn.Dense(3)), jnp.zeros((2, 5), jnp.int32))
    assert [row.activations for row in rows.values()] == [2 * 5 * 6 * 4, 2 * 5 * 3 * 4]
    (row,) = nn.summary(nn.Dense(3), jax.ShapeDtypeStruct((2, 5), jnp.bfloat16)).rows
    assert row.activations == 2 * 3 * 2
    (row,) = nn.summary(nn.parallel(nn.Dense(3)), X).rows
    assert row.activations == 2 * 3 * 4


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(nn.Dense(3), 0, id="x and w are there anyway"),
        pytest.param(nn.serial(nn.Dense(3), nn.Dense(5)), 2 * 3 * 4, id="the input of the second"),
        pytest.param(nn.serial(nn.Dense(3), nn.relu), 2 * 3, id="relu a byte each"),
        pytest.param(nn.serial(nn.Dense(3), nn.relu, nn.Dense(5)), 2 * 3 * (1 + 4), id="both"),
        pytest.param(nn.serial(nn.Dense(3), nn.tanh, nn.Dense(5)), 2 * 3 * 4, id="one array for two"),
        pytest.param(nn.repeat(nn.Dense(8), 5), 5 * 2 * 8 * 4, id="every copy its own input"),
        pytest.param(nn.serial(), 0, id="nothing"),
    ],
)
def test_remembered_is_what_forward_keeps_for_backward_beside_x_and_parameters(model, expected):
    assert nn.summary(model, X).remembered == expected


@pytest.mark.parametrize("name", MODELS)
def test_remembered_is_at_most_all_residuals(name, key):
    """Which hold x and the parameters as well, and an array twice that two layers need."""
    layer = nn.layers.serial(MODELS[name])
    params, state = layer.init(key, X)
    _, residuals = layer.fwd(params, state, X, key=key, train=True)
    assert nn.summary(layer, X).remembered <= nn.tree.nbytes(residuals)


def test_a_layer_with_jaxs_backward_remembers_what_jax_does():
    assert nn.summary(nn.serial(nn.Dense(8), jnp.sin), X).remembered == 2 * 8 * 4  # its cosine


def looked_up(x):
    return jax.pure_callback(np.sign, x, x)


opaque = Primitive("opaque")  # JAX gives its own ones derivatives by and by
opaque.def_impl(lambda x: x)
opaque.def_abstract_eval(lambda x: x)


def without_rule(x):
    return opaque.bind(x)


class Failing(nn.Layer):
    """A layer that raises an error of some kind: in training, or in its backward's own forward."""

    def __init__(self, error, *, only_in_fwd):
        self.error, self.only_in_fwd = error, only_in_fwd

    def init(self, key, x):
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        if train and not self.only_in_fwd:
            raise self.error
        return x, state

    def fwd(self, params, state, x, *, key=None, train=False):
        raise self.error

    def bwd(self, residuals, dy):
        return {}, dy


@pytest.mark.parametrize(
    "model",
    [looked_up, without_rule, Failing(NotImplementedError("inference only"), only_in_fwd=False)],
    ids=["a callback", "no rule", "a layer that says so"],
)
def test_a_model_that_cannot_be_trained_has_a_summary_too(model):
    summary = nn.summary(nn.serial(nn.Dense(3), model), X)
    assert summary.remembered is None
    assert str(summary).endswith("48 mult-adds (24 an example); 48 B of outputs; not trainable")


@pytest.mark.parametrize("only_in_fwd", [True, False])
@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError, ZeroDivisionError, nn.ShapeError])
def test_a_mistake_in_a_layer_is_none_of_being_trainable(error, only_in_fwd):
    raised = nn.ShapeError("x of another shape", why="of this test", got=()) if error is nn.ShapeError else error("oh")
    with pytest.raises(error) as caught:
        nn.summary(nn.serial(nn.Dense(3), Failing(raised, only_in_fwd=only_in_fwd)), X)
    assert caught.value is raised
    assert "in failing_0: Failing()" in "\n".join(raised.__notes__)


def test_what_is_seen_stands_in_rows_of_images_and_sequences_only():
    field = lambda model, *shape: nn.summary(model, jnp.zeros(shape)).rows[-1].field
    assert field(nn.Dense(3), 2, 8) is None
    assert field(nn.Dense(3), 2, 8, 4).size == (1,)
    assert nn.summary(nn.concatenate, (X, X)).rows[0].field is None
    assert field(nn.serial(lambda x: jnp.ones((2, 4, 3))), 2, 8, 4) is None  # it sees nothing of x


def test_what_is_seen_in_rows_is_what_the_model_up_to_there_sees():
    layers = [
        nn.Conv(4, 3),
        nn.relu,
        nn.MaxPool(2),
        nn.residual(nn.Conv(4, 3)),
        nn.repeat(nn.Conv(4, 3), 3),
        nn.flatten,
    ]
    x = jnp.zeros((2, 24, 24, 3))
    rows = nn.summary(nn.serial(*layers), x).rows
    for i, row in enumerate(rows, 1):
        assert row.field == nn.receptive_field(nn.serial(*layers[:i]), x)


def test_of_copies_the_last_one_is_shown():
    tower = nn.repeat(nn.serial(nn.Conv(3, 3), nn.relu), 4)
    (conv, relu) = nn.summary(tower, jnp.zeros((1, 24, 3))).rows
    assert (conv.copies, conv.field.size, relu.field.size) == (4, (9,), (9,))


def test_branches_have_rows_of_their_own():
    model = nn.serial(nn.parallel(a=nn.Conv(3, 3), b=nn.Conv(3, 5)), nn.concatenate)
    rows = rows_of(model, jnp.zeros((1, 24, 3)))
    assert [row.field.size[0] for row in rows.values()] == [3, 5, 5]


def test_an_observed_program_computes_what_it_does_unobserved(key):
    """Names are put on what layers put out; derivatives and values go through them."""
    x = jax.random.normal(key, (2, 8, 6, 3))
    params, state = CNN.init(key, x)
    f = lambda x: CNN.apply(params, state, x)[0].sum()
    unobserved = jax.jit(jax.value_and_grad(f))(x)
    with nn.layers._layer.observe() as calls:
        observed = jax.jit(jax.value_and_grad(f))(x)
    assert len(calls) == 4
    jax.tree.map(np.testing.assert_array_equal, observed, unobserved)


def test_hand_tells_whether_the_backward_is_written_by_hand():
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
    model = nn.serial(stem=nn.serial(nn.Dense(64), nn.BatchNorm()), tower=nn.repeat(nn.residual(nn.Dense(64)), 3))
    model = nn.serial(model, double, head=nn.Dense(10, bias=False))
    assert str(nn.summary(model, jax.ShapeDtypeStruct((32, 784), jnp.float32))) == (
        """\
path                        layer                           output            bytes  parameters  mult-adds  backward
--------------------------  ------------------------------  --------------  -------  ----------  ---------  --------
serial_0/stem/dense_0       Dense(64)                       float32[32,64]  8.0 KiB      50,240       1.6M  hand
serial_0/stem/batch_norm_0  BatchNorm()                     float32[32,64]  8.0 KiB         128          0  hand
serial_0/tower              repeat(residual(Dense(64)), 3)  float32[32,64]  8.0 KiB      12,480     393.2K  hand
double_0                    double                          float32[32,64]  8.0 KiB           0          0  auto
head                        Dense(10, bias=False)           float32[32,10]  1.2 KiB         640      20.5K  hand
63,488 parameters, 248.0 KiB; state: 128 values
2.0M mult-adds (63.1K an example); 33.2 KiB of outputs; 40.2 KiB remembered in training"""
    )


def test_of_images_it_prints_what_is_seen_too():
    model = nn.serial(CNN, up=nn.ConvTranspose(8, 2, stride=4), tail=nn.serial(nn.flatten, nn.Dense(2)))
    assert str(nn.summary(model, jax.ShapeDtypeStruct((1, 28, 24, 3), jnp.float32))) == (
        """\
path                   layer                                 output                   bytes  parameters  mult-adds    sees     jump  backward
---------------------  ------------------------------------  -------------------  ---------  ----------  ---------  ------  -------  --------
serial_0/conv_0        Conv(20, window=(3, 3))               float32[1,28,24,20]   52.5 KiB         560     362.9K   3x3=9        1  hand
serial_0/batch_norm_0  BatchNorm()                           float32[1,28,24,20]   52.5 KiB          40          0   3x3=9        1  hand
serial_0/relu_0        relu                                  float32[1,28,24,20]   52.5 KiB           0          0   3x3=9        1  hand
serial_0/max_pool_0    MaxPool((2, 1))                       float32[1,14,24,20]   26.2 KiB           0          0  4x3=12      2x1  hand
up                     ConvTranspose(8, window=2, stride=4)  float32[1,56,96,8]   168.0 KiB         648     215.0K  4x3=12  1/2x1/4  hand
tail/flatten_0         flatten                               float32[1,43008]     168.0 KiB           0          0     all           hand
tail/dense_0           Dense(2)                              float32[1,2]               8 B      86,018      86.0K     all           hand
87,266 parameters, 340.9 KiB; state: 40 values
663.9K mult-adds; 519.8 KiB of outputs; 279.6 KiB remembered in training"""  # noqa: E501
    )


def test_copies_are_printed_before_the_layer():
    assert "tower/residual_0/dense_0  4 x Dense(8)     float32[2,8]" in str(nn.summary(MODELS["repeat"], X))
